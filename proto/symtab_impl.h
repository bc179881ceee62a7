/* symtab_impl.h - the reader's inside, shared by symtab.c (symbols) and plt.c (stubs). */
#ifndef WEFT_PROTO_SYMTAB_IMPL_H
#define WEFT_PROTO_SYMTAB_IMPL_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"
#include "weft_read.h"

#define NAME_MAX_LEN 4096 /* pprof reads texts by lines of at most 64 KiB */

/* Where bytes come from: the file, or for the vDSO this process's memory. */
struct image {
	int fd;
	uint64_t base, size;
	bool own_fd;
};

/* A symbol on its way into the table. */
struct candidate {
	uint64_t addr, size;
	uint64_t limit; /* where its section ends */
	const char *name;
	uint32_t rank; /* smaller is better */
};

struct reader {
	struct image im;
	const struct weft_module *m;
	Elf64_Shdr *sec;
	size_t n_sec;
	char *str;
	struct candidate *c;
	uint32_t n, cap;
	struct arena arena; /* names that are made */
};

/* n bytes at `at` and a NUL after them, to be freed.  1; 0: not there; -ENOMEM. */
int image_load(const struct image *im, uint64_t at, uint64_t n, void *out);

/* plt.c: add the stubs through which the object calls others, as "name@plt".  0, or -ENOMEM. */
int plt_candidates(struct reader *r);

#endif
