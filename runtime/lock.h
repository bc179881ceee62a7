/* lock.h - locks and notes: they block the M, never park a G (lock.c). */
#ifndef WEFT_RT_LOCK_H
#define WEFT_RT_LOCK_H

#include "base.h"

/* Lock order: a thread may take a lock only if every lock it holds stands above it here.  Two of one
 * rank are taken in address order.  Checked where RT_CHECKS. */
#define RT_LOCK_RANKS(X)                                                                                               \
	X(USER, "one condition or semaphore: zero, as it lies in a plugin's memory")                                   \
	X(PROCS, "how many Ps there shall be")                                                                         \
	X(INST, "the table of instances")                                                                              \
	X(TICK, "one timer object")                                                                                    \
	X(CHAN, "one channel; select takes several")                                                                   \
	X(CTXS, "what one shard of an instance has made")                                                              \
	X(CTX, "one family of contexts; select takes several")                                                         \
	X(SEMA, "one bucket of the wait table")                                                                        \
	X(FD, "one descriptor")                                                                                        \
	X(HELPERS, "the helper threads' queue")                                                                        \
	X(TIMERS, "one P's timer heap")                                                                                \
	X(SCHED, "global run queue, idle Ps and Ms")                                                                   \
	X(ARENA, "free bitmaps of the stack arenas")                                                                   \
	X(LABEL, "the slab of label sets")                                                                             \
	X(CHUNK, "the recorder's chunk pool")                                                                          \
	X(CELL, "free cells of one kind")                                                                              \
	X(LEAF, "nothing is taken under it")                                                                           \
	X(HEAP, "sampled blocks: but malloc() and free() may be called under any")

enum rt_rank {
#define X(name, what) RT_RANK_##name,
	RT_LOCK_RANKS(X)
#undef X
		RT_RANK_N
};

struct rt_lock {
	_Atomic uint32_t word; /* 0 free, 1 held */
#if RT_CHECKS
	enum rt_rank rank; /* by rt_lock_init(), or zero-initialised statics set it */
#endif
};
#if RT_CHECKS
#define RT_LOCK_INIT(r)                                                                                                \
	{                                                                                                              \
		.rank = RT_RANK_##r                                                                                    \
	}
#else
#define RT_LOCK_INIT(r)                                                                                                \
	{                                                                                                              \
		0                                                                                                      \
	}
#endif
void rt_lock_slow(struct rt_lock *l);
void rt_lock_wake(struct rt_lock *l);
#if RT_CHECKS
void rt_rank_take(struct rt_lock *l);
void rt_rank_drop(struct rt_lock *l);
#else
#define rt_rank_take(l) ((void)0)
#define rt_rank_drop(l) ((void)0)
#endif

static inline void rt_lock_init(struct rt_lock *l, enum rt_rank rank)
{
	*l = (struct rt_lock){ 0 };
#if RT_CHECKS
	l->rank = rank;
#else
	(void)rank;
#endif
}
static inline void rt_lock(struct rt_lock *l)
{
	uint32_t free = 0;

	rt_rank_take(l);
	if (unlikely(!atomic_compare_exchange_strong_explicit(&l->word, &free, 1, memory_order_acquire,
							      memory_order_relaxed)))
		rt_lock_slow(l);
}
static inline bool rt_trylock(struct rt_lock *l)
{
	uint32_t free = 0;

	if (!atomic_compare_exchange_strong_explicit(&l->word, &free, 1, memory_order_acquire, memory_order_relaxed))
		return false;
	rt_rank_take(l);
	return true;
}
/* How many threads sleep on a lock, by its address: not in the lock, whose memory may be gone as soon as
 * the next owner had it. */
extern _Atomic uint32_t rt_lock_sleepers[256];
static inline _Atomic uint32_t *rt_sleepers_of(const struct rt_lock *l)
{
	return &rt_lock_sleepers[((uintptr_t)l * 0x9e3779b97f4a7c15ull) >> 56];
}
/* The sleeper's heavy barrier in rt_lock_slow() pairs with the light one here: either we see it, or
 * it sees the lock free.  After the store the lock is only an address. */
static inline void rt_unlock(struct rt_lock *l)
{
	rt_rank_drop(l);
	st_rel(&l->word, 0);
	rt_light();
	if (unlikely(ld(rt_sleepers_of(l))))
		rt_lock_wake(l);
}

/* One thread waits, others wake it; a wake-up before the wait is kept. */
struct rt_note {
	_Atomic uint32_t word;
};
void rt_note_wake(struct rt_note *n);
/* Until woken or until monotonic instant `until` (INT64_MAX: for ever).  True: woken. */
bool rt_note_wait(struct rt_note *n, int64_t until);

#endif
