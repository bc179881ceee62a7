/* gotrace.h - an execution trace, for `go tool trace` or for Perfetto, from what the recorder holds.
 *
 * A trace is written while it lasts: begin, take records as often as they would else be lost, end; bytes are taken
 * from `out` at any time.  The file is one generation of Go's format of version 1.23, or JSON in the Trace Event
 * Format.  What is not known for certain (states at the start, records that were lost) is made up so that the file is
 * valid whatever happened; how often is counted.
 *
 * One thread at a time per trace. */
#ifndef WEFT_PROTO_GOTRACE_H
#define WEFT_PROTO_GOTRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "text.h"
#include "weft_read.h"
#include "weft_trace.h"

enum gotrace_format { GOTRACE_GO, GOTRACE_CHROME };
struct gotrace_opts {
	enum gotrace_format format;
	int64_t from;                                  /* CLOCK_MONOTONIC ns; not 0 */
	int host;                                      /* the id under which threads that are no workers appear */
	bool no_stacks;                                /* goroutines keep their names */
	uint64_t g;                                    /* only this goroutine; 0: all */
	bool (*passes)(void *user, uint32_t instance); /* only those of such instances; NULL: all */
	/* Stacks, what plugins called things, and label sets, by number; NULL: weft_read_stack(),
	 * weft_read_trace_name(), weft_read_labels() */
	int (*stack)(void *user, uint32_t id, uint64_t *pc, int cap);
	const char *(*name)(void *user, uint32_t number);
	bool (*labels)(void *user, uint64_t slot, uint32_t generation, struct weft_labels *out);
	void *user;
	uint64_t max_bytes; /* of events: then it is full, and only to be ended; 0: no limit */
};
struct gotrace;
/* What gotrace_take() is given reaches that far back before what it is about, ns: there lie effects stamped too early.
 * For gotrace_begin() it is more: who was stopped while it did something has done it by the second half of that. */
#define GOTRACE_BEFORE INT64_C(50000000)
#define GOTRACE_FIRST INT64_C(250000000)
/* When a trace of these records up to `end` can begin, `from` or later: as far behind what was lost, but where there is
 * hardly more than that, three quarters of the records are for the trace, of which some may lack their causes. */
int64_t gotrace_from(const struct weft_recs *recs, int64_t from, int64_t end);
struct gotrace *gotrace_new(const struct gotrace_opts *opts); /* NULL: no memory */
void gotrace_free(struct gotrace *t);
struct buf *gotrace_out(struct gotrace *t);

/* What lives, as seen at `from` or any time later, before the (last) records of gotrace_begin() were read. */
void gotrace_goroutine(struct gotrace *t, const struct weft_goroutine *w);
void gotrace_proc(struct gotrace *t, int id);
void gotrace_thread(struct gotrace *t, const struct weft_sched_m *m);
void gotrace_procs(struct gotrace *t, int n);         /* how many Ps may run */
void gotrace_heap(struct gotrace *t, uint64_t bytes); /* in use at the start; 0: nobody knows */

/* Leave out what came after `time`, in place. */
void gotrace_forget_after(struct weft_recs *recs, int64_t time);
/* All records from GOTRACE_FIRST before `from` on: states at the start are inferred from what happens
 * next.  They are written by gotrace_write().  What is written while they are read is to be forgotten first: of that
 * there may be effects without their causes. */
void gotrace_begin(struct gotrace *t, const struct weft_recs *recs);
/* Further ones; those that were written already don't matter. */
void gotrace_take(struct gotrace *t, const struct weft_recs *recs);
/* Write what was taken, up to the time `until`, and as far as its causes are there.  1: call again, the time `budget`
 * (CLOCK_MONOTONIC ns) is over; 0: done, the records are no longer needed; -ENOMEM. */
int gotrace_write(struct gotrace *t, int64_t until, int64_t budget);
bool gotrace_begun(const struct gotrace *t); /* by then the states at the start are written */
/* After that: the time of the earliest record that may still be missing. */
int64_t gotrace_next(const struct gotrace *t);
/* GOTRACE_CHROME: the next gotrace_write() looks up names.  None does that has not been announced so, but gives 1: for
 * callers who bring symbol tables up to date before, or look names up in turns. */
bool gotrace_names(const struct gotrace *t);
/* Names and stacks.  1: call again; 0: the trace is complete; -ENOMEM. */
int gotrace_end(struct gotrace *t, int64_t budget);

/* Has somebody taken CPU samples?  They come late. */
bool gotrace_samples(const struct gotrace *t);
bool gotrace_full(const struct gotrace *t);
/* How often something was made up to fill a hole. */
uint64_t gotrace_repairs(const struct gotrace *t);
uint64_t gotrace_events(const struct gotrace *t);

#endif
