/* debuginfo.h - source positions and inlined functions from the DWARF of one mapped object.
 *
 * Read with libdw through the descriptor in struct weft_module, which is open on the file that was mapped,
 * so what happened to its name since does not matter; or, where that file holds none, from the separate
 * file of the same build-id under /usr/lib/debug.
 *
 * libdw is not thread-safe, and everything here builds up on use: one caller at a time per struct debug. */
#ifndef WEFT_PROTO_DEBUGINFO_H
#define WEFT_PROTO_DEBUGINFO_H

#include <stdbool.h>
#include <stdint.h>

#include "weft_read.h"

#define DEBUG_FRAMES_MAX 32 /* functions at one address; of a longer chain the outer ones are left out */

struct debug_frame {
	const char *name;    /* qualified, without parameters and template arguments; NULL: unknown */
	const char *linkage; /* as the linker knows it, NULL: like name */
	const char *file;    /* absolute where the compiler said so; "" unknown */
	int line;            /* 0: unknown */
	int start_line;      /* of the function, in file; 0: unknown */
};
struct debug_frames {
	int n;          /* innermost first; 0: nothing is known.  The last one is the function itself */
	bool functions; /* names and inlined functions are known, not the position alone */
	struct debug_frame f[DEBUG_FRAMES_MAX];
};

struct debug;
struct debug *debug_open(const struct weft_module *m); /* NULL: no memory.  Reads nothing yet */
void debug_close(struct debug *d);
/* What stands at an ELF address.  Strings live until debug_close().
 * 1: not finished at `until` (CLOCK_MONOTONIC ns), call again; 0: *out is filled; -ENOMEM. */
int debug_at(struct debug *d, uint64_t addr, int64_t until, struct debug_frames *out);

#endif
