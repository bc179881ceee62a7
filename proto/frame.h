/* frame.h - what a viewer is told about one address: the one place where addresses become words.
 *
 * Profiles and texts alike ask here, so pseudo frames, hidden frames and names agree everywhere. */
#ifndef WEFT_PROTO_FRAME_H
#define WEFT_PROTO_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "weft_read.h"

struct frame {
	const char *name;                 /* never NULL; valid UTF-8; lives as long as the process */
	uint64_t entry;                   /* start of the function, 0: unknown */
	const char *file;                 /* "" when not known */
	int line;                         /* 0: not known */
	int start_line;                   /* of the function; 0: not known */
	const struct weft_module *module; /* NULL: pseudo frame, or nobody's code */
	bool exact;                       /* the name is from a symbol table, not made up */
	bool named;                       /* false: there is only the address to show */
	bool internal;                    /* the runtime's own inside: hidden where it leads */
	bool root;                        /* where every goroutine begins: never shown */
};

/* pc: a call address or one of PPROF_PC_*.  Any thread but no signal handler. */
struct frame frame_at(uint64_t pc);
bool frame_is_pseudo(uint64_t pc);

/* To call addresses, leaf first: drops null entries; exact: pc[0] is no return address.  Pseudo
 * frames stay.  Returns how many. */
int frame_calls(const uint64_t *pc, int depth, bool exact, uint64_t *call);

#endif
