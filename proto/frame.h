/* frame.h - what a viewer is told about one address: the one place where addresses become words.
 *
 * Profiles and texts alike ask here, so pseudo frames, hidden frames and names agree everywhere.  An
 * address stands for one frame per function that was inlined there and for the function itself.
 *
 * What was found out about an address is kept for the life of the process and found again without further
 * work, up to FRAMES_MAX addresses; beyond them functions have names, but no lines.  Any thread, but no
 * signal handler.  Threads that look up what is known do not wait for one that reads debug information. */
#ifndef WEFT_PROTO_FRAME_H
#define WEFT_PROTO_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "weft_read.h"

#define FRAMES_MAX 262144 /* some 40 MB */

struct frame {
	const char *name;                 /* never NULL; valid UTF-8; lives as long as the process */
	const char *system;               /* as the linker knows it, likewise; name, if it is the same */
	uint64_t entry;                   /* start of the function it is inlined into or is, 0: unknown */
	const char *file;                 /* "" when not known */
	int line;                         /* 0: not known */
	int start_line;                   /* of the function; 0: not known */
	const struct weft_module *module; /* NULL: pseudo frame, or nobody's code */
	bool exact;                       /* the name is from a symbol table or debug information, not made up */
	bool named;                       /* false: there is only the address to show */
	bool internal;                    /* the runtime's own inside: hidden where it leads */
	bool root;                        /* where every goroutine begins: never shown */
	bool inlined;                     /* into the next one */
	bool inlines;                     /* were functions inlined here, it is known */
};
struct frames {
	const struct frame *f; /* innermost first; the last one is the function itself */
	int n;                 /* at least 1 */
};

/* pc: a call address or one of PPROF_PC_*.  May read debug information for as long as it takes. */
struct frames frames_at(uint64_t pc);
/* What there is to say where nothing is to be said: one that is not named. */
struct frames frames_none(void);
/* The function itself, which others may have been inlined into. */
struct frame frame_at(uint64_t pc);
/* Do some of that work, till about `until` (CLOCK_MONOTONIC ns).  0: frames_at(pc) is ready; 1: call again. */
int frames_prepare(uint64_t pc, int64_t until);
/* Give back what reading debug information left in memory for the next time, of objects that nobody has
 * asked about since the last call.  true: something is still held. */
bool frames_trim(void);
bool frame_is_pseudo(uint64_t pc);

/* To call addresses, leaf first: drops null entries; exact: pc[0] is no return address.  Pseudo
 * frames stay.  Returns how many. */
int frame_calls(const uint64_t *pc, int depth, bool exact, uint64_t *call);

#endif
