/* weft_trace.h - what the recorder holds: the list of events, and records as they are read.
 *
 * Reading stops nobody and needs no goroutine; callable from any thread of the embedder, not from a signal handler. */
#ifndef WEFT_READ_TRACE_H
#define WEFT_READ_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weft_labels; /* weft_read.h */

/* seq is that of the goroutine (G) or P that a record is about, +n: after it was counted up by n; in GO_CREATE, where
 * G's is 0, its instance; in what plugins say the number of a name, weft_read_trace_name().  gid is who runs on the
 * thread, 0: the scheduler; in GO_CREATE, where that is known from what came before, the start function.
 *
 * LABELS name the set for weft_read_labels(), as long as that knows it; where it was made just now there is its text
 * as well, as flags say: key=value, ...
 *
 * What plugins say (TASK_* to LOG, and LABELS) stands in the records of the thread that its goroutine was on, between
 * a GO_START of it and what ends that; but what it says within a blocking section (SYSCALL_BEGIN to _END or REATTACH)
 * stands under thread 0.  Records that belong together stand together, or were lost.  Depth tells where a region's
 * other end was lost: a REGION_BEGIN ends what is open at its depth and below, a REGION_END what is open below. */
#define WEFT_EVENTS(X)                                                                                                 \
	/* name, subject, seq */                                                                                       \
	X(NONE, "-", "-")                                                                                              \
	X(PROC_START, "P", "P+1")                 /* a thread takes a P */                                             \
	X(PROC_STOP, "P", "P")                    /* gives it up */                                                    \
	X(GO_CREATE, "new goroutine", "instance") /* stack: the go statement; flags: 1 from a thread without P */      \
	X(GO_START, "goroutine", "G+1")           /* dispatched */                                                     \
	X(GO_DESTROY, "goroutine", "G")           /* returned; stack: instance */                                      \
	X(GO_YIELD, "goroutine", "G")             /* flags: 0 yields, 1 was interrupted, 2 changes threads; stack */   \
	X(GO_BLOCK, "goroutine", "G")             /* flags: why, see weft_read_trace_reason(); stack */                \
	X(GO_UNBLOCK, "woken goroutine", "G+1")   /* stack: the waker */                                               \
	X(SYSCALL_BEGIN, "goroutine", "P+1")      /* a declared blocking section; stack */                             \
	X(SYSCALL_END, "goroutine", "P")          /* the P was not taken meanwhile */                                  \
	X(PROC_STEAL, "victim goroutine", "P+1")  /* pid: the P, taken in such a section */                            \
	X(HANDOFF, "victim goroutine", "P+2")     /* pid: the P; stack: victim's or 0 */                               \
	X(REATTACH, "goroutine", "G+1")           /* came back without a P; flags: 1 and has to queue for one */       \
	X(PROCS_CHANGE, "new number", "-")                                                                             \
	X(LABELS, "slot of the label set", "G") /* gid has another; stack: generation; flags: TEXT records */          \
	X(HEAP, "bytes in use", "-")            /* of malloc(), by weft's count */                                     \
	X(TEXT, "14 bytes of text", "text")     /* as are stack and seq, in memory's order; see weft_rec_text() */     \
	X(TASK_PARENT, "task", "-")             /* right before the TASK_BEGIN of one below it */                      \
	X(TASK_BEGIN, "task", "name")           /* flags: 1 if it has a parent; stack */                               \
	X(TASK_END, "task", "-")                /* gid 0: by a thread that is no goroutine; stack */                   \
	X(REGION_BEGIN, "task or 0", "name")    /* flags: how many are open around it; stack */                        \
	X(REGION_END, "task or 0", "name")      /* as its REGION_BEGIN; stack */                                       \
	X(LOG, "task or 0", "name (category)")  /* flags: TEXT records right before it; stack */                       \
	X(CPU_SAMPLE, "thread id", "-")         /* gid 0: no goroutine; pid; stack; when it was taken */

enum weft_event {
#define X(name, subject, seq) WEFT_EV_##name,
	WEFT_EVENTS(X)
#undef X
		WEFT_EV_N
};

#define WEFT_REC_NO_P 0xffffu
/* The tid of CPU_SAMPLE records: they are written by weft_cpu_drain(), so later than their time, and not quite in its
 * order.  Their innermost frame is the beginning of its function. */
#define WEFT_REC_SAMPLES (-2)

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
/* Both, where b was read after a, from before that on: as if read at once, but that nothing of a was lost meanwhile. */
struct weft_recs *weft_recs_join(const struct weft_recs *a, const struct weft_recs *b);

/* The text of r, a LOG or LABELS with flags, NUL-terminated: at most WEFT_TRACE_TEXT bytes, cut to cap - 1.  first: the
 * earliest record of the array that r is in.  Its length; -1: (part of) it is not there. */
#define WEFT_TRACE_TEXT 256
int weft_rec_text(const struct weft_rec *first, const struct weft_rec *r, char *out, size_t cap);

/* A label set by its slot and generation; false: it is long gone. */
bool weft_read_labels(uint64_t slot, uint32_t generation, struct weft_labels *out);

/* A name that a plugin gave: good for the life of the process, at most 63 bytes.  "" for 0 and what is no number of a
 * name, "(other)" for what came when there was room for no more of them.  From any thread. */
const char *weft_read_trace_name(uint32_t number);

/* Why it blocks, in the words that viewers of traces know. */
const char *weft_read_trace_reason(int reason);

#endif
