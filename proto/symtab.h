/* symtab.h - the functions of one mapped object, read from its file.
 *
 * A table never changes once symtab_read() has returned it; one that was published is never freed:
 * signal handlers may be in it.  Addresses are those of the ELF file. */
#ifndef WEFT_PROTO_SYMTAB_H
#define WEFT_PROTO_SYMTAB_H

#include <stdint.h>

#include "weft_read.h"

#define SYM_NONE UINT32_MAX

struct sym {
	uint64_t addr, end;
	uint32_t name;   /* offset in names */
	uint32_t around; /* the function that this one lies inside, or SYM_NONE */
};
struct symtab {
	char *names; /* UTF-8 without control characters */
	uint32_t n;
	struct sym *sym; /* by addr, one per address */
};

/* Functions of m's executable segment; an empty table if the file has none or is damaged.
 * 0, or -ENOMEM. */
int symtab_read(const struct weft_module *m, const struct symtab **out);
/* Only for a table that nobody else has seen. */
void symtab_free(const struct symtab *t);
/* The function at an ELF address, or NULL.  Async-signal-safe. */
const struct sym *symtab_at(const struct symtab *t, uint64_t addr);

#endif
