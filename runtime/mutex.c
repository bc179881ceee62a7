/* mutex.c - mutex and once.
 *
 * One word of state: LOCKED | WOKEN | STARVING | waiters << 3, and a semaphore (sema.c) to sleep on.
 *
 * Normal mode: an unlock wakes the longest waiting, which competes with whoever comes along (and mostly
 * loses to one that runs already: that is what makes it fast).  WOKEN says that one is on its way, so
 * further unlocks wake nobody.  A waiter that has waited for STARVE switches the mutex to starving mode:
 * unlock hands it to the head of the queue, newcomers queue at the tail; back to normal when a waiter
 * got it in less, or was the last.  (Go's mutex has the same two modes.)
 *
 * The fast paths touch no P and need no rt_enter(). */
#include <string.h>

#include "rt.h"

#define LOCKED 1u
#define WOKEN 2u
#define STARVING 4u
#define WAITER 8u
#define STARVE (1 * WEFT_MS)
#define SPINS 4
#define SPIN_PAUSES 30

struct mutex {
	_Atomic uint32_t state;
	_Atomic uint32_t sema;
	/* Where on which stack it was locked last: one store of what is in a register, into a line that is ours
	 * anyway.  Says who holds it when a deadlock is explained (deadlock.c); nothing else relies on it. */
	_Atomic uintptr_t on;
};
_Static_assert(sizeof(struct mutex) <= sizeof(weft_mutex), "weft_mutex holds a mutex");

struct once {
	_Atomic uint32_t done;
	struct mutex lock;
};
_Static_assert(sizeof(struct once) <= sizeof(weft_once), "weft_once holds a once");

/* Spinning pays when the holder runs on another P right now and nobody waits behind us. */
static bool worth_spinning(int spun)
{
	return spun < SPINS && ld(&sched.n_active) > ld(&sched.n_idle_ps) + 1;
}

static RT_NOINLINE void lock_slow(struct mutex *x, enum rt_wait reason)
{
	struct m *m = rt_enter(rt_self());
	int64_t waiting_since = 0;
	bool starving = false, awoke = false, lifo;
	uint32_t old = ld(&x->state);
	int spun = 0;

	for (;;) {
		uint32_t new = old;

		if ((old & (LOCKED | STARVING)) == LOCKED && worth_spinning(spun)) {
			if (!awoke && !(old & WOKEN) && old >= WAITER && cas(&x->state, &old, old | WOKEN))
				awoke = true;
			for (int i = 0; i < SPIN_PAUSES; i++)
				rt_pause();
			spun++;
			old = ld(&x->state);
			continue;
		}
		if (!(old & STARVING))
			new |= LOCKED;
		if (old & (LOCKED | STARVING))
			new += WAITER;
		if (starving && old & LOCKED)
			new |= STARVING;
		if (awoke)
			new &= ~WOKEN;
		if (!cas(&x->state, &old, new))
			continue;
		if (!(old & (LOCKED | STARVING)))
			break;
		lifo = waiting_since != 0; /* has waited before: it goes to the head */
		if (!lifo)
			waiting_since = rt_now();
		rt_sema_acquire(&m, &x->sema, reason, lifo);
		starving = starving || rt_now() - waiting_since > STARVE;
		old = ld(&x->state);
		if (old & STARVING) {
			/* Handed to us: the state still says unlocked, and that we wait. */
			uint32_t change = LOCKED - WAITER;

			if (!starving || old >> 3 == 1)
				change -= STARVING;
			add_sc(&x->state, change);
			break;
		}
		awoke = true;
		spun = 0;
	}
	atomic_thread_fence(memory_order_acquire);
	st(&x->on, (uintptr_t)__builtin_frame_address(0));
	if (m)
		rt_leave(m);
}

static RT_NOINLINE void unlock_slow(struct mutex *x, uint32_t new)
{
	struct m *m;

	if (!((new + LOCKED) & LOCKED))
		rt_fatal("weft_unlock: the mutex is not locked");
	m = rt_enter(rt_self());
	if (new &STARVING) {
		rt_sema_release(m, &x->sema, RT_READY_NEXT);
	} else {
		for (uint32_t old = new;;) {
			if (old < WAITER || old & (LOCKED | WOKEN | STARVING))
				break; /* nobody to wake, or somebody else sees to it */
			if (cas(&x->state, &old, (old - WAITER) | WOKEN)) {
				rt_sema_release(m, &x->sema, RT_READY_QUEUE);
				break;
			}
		}
	}
	if (m)
		rt_leave(m);
}

static inline void lock(struct mutex *x, enum rt_wait reason)
{
	uint32_t free = 0;

	if (unlikely(!cas(&x->state, &free, LOCKED)))
		lock_slow(x, reason);
	else
		st(&x->on, (uintptr_t)__builtin_frame_address(0));
	RT_KEEP_FRAME();
}

static inline void unlock(struct mutex *x)
{
	uint32_t old = atomic_fetch_sub_explicit(&x->state, LOCKED, memory_order_acq_rel);

	if (unlikely(old != LOCKED))
		unlock_slow(x, old - LOCKED);
	RT_KEEP_FRAME();
}

void weft_lock(weft_mutex *m)
{
	lock((struct mutex *)m, RT_WAIT_MUTEX);
}

bool weft_trylock(weft_mutex *m)
{
	struct mutex *x = (struct mutex *)m;
	uint32_t old = ld(&x->state);

	if (old & (LOCKED | STARVING) || !cas(&x->state, &old, old | LOCKED))
		return false;
	st(&x->on, (uintptr_t)__builtin_frame_address(0));
	return true;
}

const void *rt_mutex_of(const _Atomic uint32_t *sema, enum rt_wait reason, uintptr_t *locked_on)
{
	const struct mutex *x = (const struct mutex *)((const char *)sema - offsetof(struct mutex, sema));

	*locked_on = ld(&x->on);
	return reason == RT_WAIT_ONCE ? (const char *)x - offsetof(struct once, lock) : (const char *)x;
}

void weft_unlock(weft_mutex *m)
{
	unlock((struct mutex *)m);
}

void weft_once_do(weft_once *o, weft_fn fn, void *arg)
{
	struct once *x = (struct once *)o;

	if (likely(ld_acq(&x->done))) /* pairs with the release below */
		return;
	lock(&x->lock, RT_WAIT_ONCE);
	if (!ld(&x->done)) {
		fn(arg);
		st_rel(&x->done, 1);
	}
	unlock(&x->lock);
}
