/* mc.h - a small explicit-state model checker that runs the runtime's own source files.
 *
 * A model is one translation unit: tests/model/atomic.h instead of runtime/atomic.h, the runtime files
 * under test included as they are, stand-ins for what lies below them, and a list of cases.  A case has
 * 2 to MC_THREADS threads, which are coroutines here.  Every atomic operation on memory that two threads
 * share is a point where the controller may go on with another thread; the search visits every state that
 * can be reached (states, not paths: a state that was seen is not gone through again, so loops end).
 *
 * Memory is x86-TSO.  Relaxed and release stores go to the thread's store buffer, in order; moving the
 * oldest one to memory is a step of its own.  Loads look into the own buffer first.  Locked operations,
 * full fences and system calls wait until the own buffer is empty.  rt_light() is nothing.  rt_heavy()
 * goes on when each other thread's earlier stores have been in memory at one moment since (what membarrier
 * does).  What the compiler may reorder is not modelled, nor are weaker processors; plain data takes effect
 * at once, which is right as long as there are no data races (ThreadSanitizer's part).
 *
 * Reductions, all exact:
 *   - what only one thread touches, or nobody writes, is no scheduling point.  Found out while searching;
 *     when it turns out wrong the search starts over.
 *   - putting a store into the buffer is none: nobody sees that.  For a heavy barrier of another thread,
 *     stores since the last step count as not made yet, the way that allows more.
 *   - a store is moved to memory right before a step that it matters to, not earlier.
 *
 * A case too large for that has a bound on preemptions, and its line says so: a thread that could go on is
 * interrupted at most so often (going on with another one while it is blocked, asleep or pauses is free).
 *
 * Wrong is: a call of mc_fail(), a crash, an end (nothing can happen any more) in which a thread that is
 * no daemon has not returned or the case's end() objects, and a state from which no end can be reached.
 * The interleaving is printed, a column a thread. */
#ifndef WEFT_MC_H
#define WEFT_MC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MC_THREADS 6

struct mc_case {
	const char *name;
	void (*setup)(void); /* before any thread runs: mc_thread(), values; atomic operations take effect at once */
	void (*end)(void);   /* in every end: mc_fail() if it is wrong; NULL: nothing to ask */
	int preemptions;     /* only so often may a thread be interrupted that could go on; 0: no bound */
};
extern const struct mc_case mc_cases[]; /* ended by a name of NULL */

/* From setup() */
void mc_thread(const char *name, void (*fn)(void *arg), void *arg);
void mc_daemon(const char *name, void (*fn)(void *arg), void *arg); /* need not return */
/* A stack for a goroutine with `bytes` of record above it; the record's address. */
void *mc_stack(size_t bytes);

void mc_stack_live(void *sp); /* what is live on it at first */

/* Nobody decides anything by these bytes (counters, what only dumps show): no scheduling point. */
void mc_hint(const volatile void *p, size_t bytes);

/* From threads */
int mc_self(void);              /* 0, 1, ... in the order of mc_thread(); -1: setup() or end() */
unsigned mc_choose(unsigned n); /* any of 0 ... n-1 */
/* Go on when *word is v. */
void mc_wait_eq(_Atomic uint32_t *word, uint32_t v);
long mc_futex(long op, _Atomic uint32_t *word, uint32_t arg, bool timed);
/* This thread goes on on another stack: the one left is live from `live` on, sp lies in the next. */
void mc_stack_switch(uintptr_t live, uintptr_t sp);
void mc_stack_reset(void *record); /* nothing below the record is live any more */
void mc_note(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* a line in the interleaving */
/* From anywhere; does not return on a thread. */
void mc_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#define MC_CHECK(c) ((c) ? (void)0 : mc_fail("%s (line %d)", #c, __LINE__))

/* A model may set this: called whenever a thread is about to go on. */
extern void (*mc_resumed)(int thread);

/* For atomic.h */
uint64_t mc_ld(const volatile void *p, unsigned size, const char *text);
void mc_st(volatile void *p, unsigned size, uint64_t v, const char *text);
/* The calling thread may read and write *p until it calls again. */
void mc_rmw(volatile void *p, unsigned size, const char *text);
void mc_rmw_done(const volatile void *p, unsigned size, bool written);
void mc_fence(void);
void mc_heavy(void);
void mc_pause(void); /* it waits for another thread: going on with one is no preemption */

#endif
