/* weft_trace.h - what the recorder holds: the list of events, and records as they are read.
 *
 * Reading stops nobody and needs no goroutine; callable from any thread of the embedder, not from a signal handler. */
#ifndef WEFT_READ_TRACE_H
#define WEFT_READ_TRACE_H

#include <stddef.h>
#include <stdint.h>

/* seq is that of the goroutine (G) or P that a record is about, +n: after it was counted up by n.  gid is who runs on
 * the thread, 0: the scheduler; in GO_CREATE, where that is known from what came before, the start function. */
#define WEFT_EVENTS(X)                                                                                                 \
	/* name, subject, seq */                                                                                       \
	X(NONE, "-", "-")                                                                                              \
	X(PROC_START, "P", "P+1")                /* a thread takes a P */                                              \
	X(PROC_STOP, "P", "P")                   /* gives it up */                                                     \
	X(GO_CREATE, "new goroutine", "G=0")     /* stack: the go statement; flags: 1 from a thread without P */       \
	X(GO_START, "goroutine", "G+1")          /* dispatched */                                                      \
	X(GO_DESTROY, "goroutine", "G")          /* returned */                                                        \
	X(GO_YIELD, "goroutine", "G")            /* flags: 0 yields, 1 was interrupted, 2 changes threads; stack */    \
	X(GO_BLOCK, "goroutine", "G")            /* flags: why, see weft_read_trace_reason(); stack */                 \
	X(GO_UNBLOCK, "woken goroutine", "G+1")  /* stack: the waker */                                                \
	X(SYSCALL_BEGIN, "goroutine", "P+1")     /* a declared blocking section; stack */                              \
	X(SYSCALL_END, "goroutine", "P")         /* the P was not taken meanwhile */                                   \
	X(PROC_STEAL, "victim goroutine", "P+1") /* pid: the P, taken in such a section */                             \
	X(HANDOFF, "victim goroutine", "P+2")    /* pid: the P; stack: victim's or 0 */                                \
	X(REATTACH, "goroutine", "G+1")          /* came back without a P; flags: 1 and has to queue for one */        \
	X(PROCS_CHANGE, "new number", "-")                                                                             \
	X(LABELS, "slot of the label set", "G") /* the goroutine's set changed; stack: its generation */               \
	X(HEAP, "bytes in use", "-")                                                                                   \
	X(TEXT, "24 bytes of text", "-")

enum weft_event {
#define X(name, subject, seq) WEFT_EV_##name,
	WEFT_EVENTS(X)
#undef X
		WEFT_EV_N
};

#define WEFT_REC_NO_P 0xffffu

struct weft_rec {
	int64_t time; /* CLOCK_MONOTONIC ns, as the thread saw it: not the order of causes */
	uint64_t at;  /* its number among those of its thread: grows, with holes */
	uint64_t gid, subject;
	uint32_t stack, seq; /* stack: weft_read_stack() */
	int tid;             /* 0: by threads that are no workers, one after the other */
	uint16_t pid;
	uint8_t event, flags;
};

/* The records of some time; those of a thread stand together, in the order in which it wrote them. */
struct weft_recs {
	int64_t lost; /* what was written up to then may be missing */
	size_t n, cap;
	struct weft_rec r[];
};
/* What has been written at `from` (CLOCK_MONOTONIC ns) or later, and some of what came before.  A record is found
 * here before anything that it says can be seen elsewhere.  10 ms for a pool of 16 MiB.  NULL: no memory. */
struct weft_recs *weft_recs_read(int64_t from);
void weft_recs_free(struct weft_recs *recs);

/* Why it blocks, in the words that viewers of traces know. */
const char *weft_read_trace_reason(int reason);

#endif
