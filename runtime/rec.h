/* rec.h - what the recorder writes: one 32-byte record.
 *
 * A record is written before its transition becomes visible to another thread (before the run-queue
 * push, before the lock under which a wait is published is dropped), so that a reader who orders the
 * records of one goroutine or P by `seq` sees causes before effects.  Which transition writes what:
 * weft_trace.h (ring.c says how chunks live and die). */
#ifndef WEFT_RT_REC_H
#define WEFT_RT_REC_H

#include "weft_trace.h"

enum rt_event {
#define X(name, subject, seq) RT_EV_##name,
	WEFT_EVENTS(X)
#undef X
		RT_EV_N
};

struct rt_rec {
	_Atomic uint64_t tsc;
	_Atomic uint64_t gid_type;    /* gid:48 | type:8 | flags:8 */
	_Atomic uint64_t subject_pid; /* subject:48 | pid:16 (0xffff: no P) */
	_Atomic uint64_t stack_seq;   /* seq:32 of the goroutine or P it is about, never reset | stack id:32 */
};
#define RT_TEXT_BYTES 14 /* of a TEXT record: its subject, stack and seq; flags: which part, from 0 */
_Static_assert(sizeof(struct rt_rec) == 32, "record layout");

#endif
