/* waitgroup.c - wait groups: one word {count:32, waiters:32} and a semaphore to sleep on.
 *
 * The add that brings the count to zero takes all waiters off the word and wakes them.  It is the last
 * to touch the group: so a group on the stack of the one who waits is fine.
 *
 * Misuse that can be seen is fatal: a negative count; an add that starts a new round (from zero) while goroutines
 * still wait for the last, or waits and adds while they are being woken. */
#include "rt.h"

struct wg {
	_Atomic uint64_t state; /* count << 32 | waiters */
	_Atomic uint32_t sema;
};
_Static_assert(sizeof(struct wg) <= sizeof(weft_wg), "weft_wg holds a wait group");

static RT_NOINLINE void wake_all(struct wg *x, uint32_t waiters)
{
	struct m *m = rt_enter(rt_self());

	/* Nobody may add now: the waiters have not returned.  Before the last is woken, since then the
	 * group may be gone. */
	if (xchg(&x->state, 0) != waiters)
		rt_fatal("weft_wg_add: called while others are being let go by the same wait group");
	while (waiters--)
		rt_sema_release(m, &x->sema, waiters ? RT_READY_QUEUE : RT_READY_NEXT);
	if (m)
		rt_leave(m);
}

void weft_wg_add(weft_wg *wg, int n)
{
	struct wg *x = (struct wg *)wg;
	uint64_t new = add_sc(&x->state, (uint64_t)(int64_t)n << 32) + ((uint64_t)(int64_t)n << 32);
	int32_t count = (int32_t)(new >> 32);

	if (unlikely(count < 0))
		rt_fatal("weft_wg_add: the wait group's count has become negative");
	if (likely((uint32_t) new == 0))
		return;
	if (unlikely(n > 0 && count == n))
		rt_fatal("weft_wg_add: called from zero while others wait for the wait group");
	if (count == 0) {
		wake_all(x, (uint32_t) new);
		RT_KEEP_FRAME();
	}
}

void weft_wg_done(weft_wg *wg)
{
	weft_wg_add(wg, -1);
}

void weft_wg_wait(weft_wg *wg)
{
	struct wg *x = (struct wg *)wg;
	uint64_t old = ld_acq(&x->state);
	struct m *m;

	do {
		if (old >> 32 == 0) {
			atomic_thread_fence(memory_order_acquire);
			return;
		}
	} while (!cas(&x->state, &old, old + 1));
	m = rt_enter(rt_self());
	rt_sema_acquire(&m, &x->sema, RT_WAIT_WAITGROUP, false);
	if (m)
		rt_leave(m);
}

int weft_wg_go(weft_wg *wg, weft_fn fn, void *arg)
{
	struct m *m;
	int rc;

	weft_wg_add(wg, 1);
	m = rt_enter(rt_self());
	rc = rt_go(m, weft_instance_self(),
		   &(struct rt_go_args){ .fn = fn, .arg = arg, .wg = wg, .frame = __builtin_frame_address(0) });
	if (m)
		rt_leave(m);
	if (rc < 0)
		weft_wg_add(wg, -1);
	return rc;
}
