/* mapping.h - which mapped objects a profile names, in the order in which it names them.
 *
 * Number 1 is the main program, as pprof takes it; the others come as locations ask for them.
 * Owned by one builder. */
#ifndef WEFT_PROTO_MAPPING_H
#define WEFT_PROTO_MAPPING_H

#include <stddef.h>
#include <stdint.h>

#include "store.h"
#include "weft_read.h"

struct mapping_list {
	const struct weft_module **v; /* number 1 first */
	uint32_t n, cap;
};

/* Put the main program first.  main_pc: any address in it.  0, or -ENOMEM. */
int mapping_begin(struct mapping_list *l, uint64_t main_pc);
/* The number of m, 0 for NULL; -ENOMEM. */
int64_t mapping_id(struct mapping_list *l, const struct weft_module *m);
void mapping_free(struct mapping_list *l);

/* The path as a viewer wants it (what the kernel adds of a deleted file is cut), into buf. */
const char *mapping_path(const struct weft_module *m, char *buf, size_t cap);
/* Hexadecimal, "" if there is none.  cap: 2 * WEFT_BUILD_ID_MAX + 1. */
const char *mapping_build_id(const struct weft_module *m, char *buf);

#endif
