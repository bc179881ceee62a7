/* rec.h - what the recorder writes: one list of events, one 32-byte record.
 *
 * A record is written before its transition becomes visible to another thread (before the run-queue
 * push, before the lock under which a wait is published is dropped), so that a reader who orders the
 * records of one goroutine or P by `seq` sees causes before effects.  Which transition writes what:
 * the table below (ring.c says how chunks live and die). */
#ifndef WEFT_RT_REC_H
#define WEFT_RT_REC_H

#include <stdint.h>

#define RT_EVENTS(X)                                                                                                   \
	/* name, subject, seq counts for */                                                                            \
	X(NONE, "-", "-")                                                                                              \
	X(PROC_START, "P", "P+1")                /* an M takes a P */                                                  \
	X(PROC_STOP, "P", "P")                   /* gives it up */                                                     \
	X(GO_CREATE, "new goroutine", "G=0")     /* stack: the go statement; flags: 1 from a thread without P */       \
	X(GO_START, "goroutine", "G+1")          /* dispatched */                                                      \
	X(GO_DESTROY, "goroutine", "G")          /* returned */                                                        \
	X(GO_YIELD, "goroutine", "G")            /* yields; flags: 1 was interrupted; stack */                         \
	X(GO_BLOCK, "goroutine", "G")            /* flags: enum rt_wait; stack */                                      \
	X(GO_UNBLOCK, "woken goroutine", "G+1")  /* stack: the waker */                                                \
	X(SYSCALL_BEGIN, "goroutine", "P+1")     /* a declared blocking section; stack */                              \
	X(SYSCALL_END, "goroutine", "P")         /* the P was not taken meanwhile */                                   \
	X(PROC_STEAL, "victim goroutine", "P+1") /* pid: the P, taken in such a section */                             \
	X(HANDOFF, "victim goroutine", "P+2")    /* pid: the P; stack: victim's or 0 */                                \
	X(REATTACH, "goroutine", "G+1")          /* came back without a P; flags: 1 and has to queue for one */        \
	X(PROCS_CHANGE, "new number", "-")                                                                             \
	X(LABELS, "slot of the label set", "-") /* the goroutine's set changed; stack: its generation */               \
	X(HEAP, "bytes in use", "-")                                                                                   \
	X(TEXT, "24 bytes of text", "-")

enum rt_event {
#define X(name, subject, seq) RT_EV_##name,
	RT_EVENTS(X)
#undef X
		RT_EV_N
};

struct rt_rec {
	_Atomic uint64_t tsc;
	_Atomic uint64_t gid_type;    /* gid:48 | type:8 | flags:8 */
	_Atomic uint64_t subject_pid; /* subject:48 | pid:16 (0xffff: no P) */
	_Atomic uint64_t stack_seq;   /* seq:32 of the goroutine or P it is about, never reset | stack id:32 */
};
_Static_assert(sizeof(struct rt_rec) == 32, "record layout");

#endif
