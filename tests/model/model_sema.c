/* model_sema.c - semaphores (sema.c) and what stands on them: mutex and once (mutex.c), wait groups
 * (waitgroup.c).
 *
 * One holder at a time, no wake-up lost, nothing left behind: in the end every word is as it was at first and
 * every queue empty.  The clock says at will that a waiter has waited too long, so both modes of the mutex
 * meet. */
#include "threads.h"

#include <mutex.c>
#include <sema.c>
#undef WAITER
#include <waitgroup.c>

struct rt_wait_rates rt_wait_rates; /* nobody counts */

void rt_contended(struct m *m, uint64_t now, uint64_t span, void *frame)
{
	(void)m, (void)now, (void)span, (void)frame;
}
uint64_t rt_tsc(void)
{
	return 1;
}
weft_inst *weft_instance_self(void)
{
	return NULL;
}
int rt_go(struct m *m, struct weft_inst *inst, const struct rt_go_args *args)
{
	(void)m, (void)inst, (void)args;
	return -ENOMEM;
}
/* Not 0: that would mean "has not waited yet". */
int64_t rt_now(void)
{
	return mc_choose(2) ? 1 : 2 + STARVE;
}

/* procs 1: nobody spins */
static void world(uint32_t procs)
{
	threads_begin();
	st(&sched.n_active, procs);
}

static void nobody_waits(void)
{
	for (uint32_t i = 0; i < BUCKETS; i++)
		if (buckets[i].head)
			mc_fail("somebody still stands in a queue");
}

/* --- Mutex --- */

static struct mutex x, y;
static _Atomic uint32_t inside, inside_y; /* relaxed: as buffered as what a lock guards */
static uint32_t times;

static void section(_Atomic uint32_t *in)
{
	if (ld(in))
		mc_fail("two threads hold the mutex");
	st(in, 1);
	times++;
	st(in, 0);
}

static void locker(void *arg)
{
	for (intptr_t n = (intptr_t)arg; n > 0; n--) {
		weft_lock((weft_mutex *)&x);
		section(&inside);
		weft_unlock((weft_mutex *)&x);
	}
}

static void tryer(void *arg)
{
	(void)arg;
	if (!weft_trylock((weft_mutex *)&x)) {
		times++;
		return;
	}
	section(&inside);
	weft_unlock((weft_mutex *)&x);
}

/* Another mutex, whose waiters may stand in the same bucket. */
static void locker_y(void *arg)
{
	(void)arg;
	weft_lock((weft_mutex *)&y);
	section(&inside_y);
	weft_unlock((weft_mutex *)&y);
}

static void mutex_two(void)
{
	world(1);
	mc_thread("A", locker, (void *)2);
	mc_thread("B", locker, (void *)2);
}

static void mutex_three(void)
{
	world(1);
	mc_thread("A", locker, (void *)1);
	mc_thread("B", locker, (void *)1);
	mc_thread("C", locker, (void *)1);
}

static void mutex_again(void)
{
	world(1);
	mc_thread("A", locker, (void *)2);
	mc_thread("B", locker, (void *)1);
	mc_thread("C", locker, (void *)1);
}

static void mutex_try(void)
{
	world(1);
	mc_thread("A", locker, (void *)2);
	mc_thread("B", tryer, NULL);
	mc_thread("C", locker, (void *)1);
}

static void mutex_spin(void)
{
	world(8);
	mc_thread("A", locker, (void *)1);
	mc_thread("B", locker, (void *)1);
	mc_thread("C", locker, (void *)1);
}

static void mutex_pair(void)
{
	world(1);
	mc_thread("A", locker, (void *)1);
	mc_thread("B", locker, (void *)1);
	mc_thread("C", locker_y, NULL);
	mc_thread("D", locker_y, NULL);
}

static void mutex_free(uint32_t want)
{
	if (ld(&x.state) || ld(&x.sema) || ld(&y.state) || ld(&y.sema))
		mc_fail("at the end the mutex is {%#x, %u}, the other {%#x, %u}", ld(&x.state), ld(&x.sema),
			ld(&y.state), ld(&y.sema));
	MC_CHECK(times == want);
	nobody_waits();
}
static void free_3(void)
{
	mutex_free(3);
}
static void free_4(void)
{
	mutex_free(4);
}

/* --- Once --- */

static struct once o;
static uint32_t calls;
static _Atomic uint32_t made;

static void first(void *arg)
{
	(void)arg;
	calls++;
	st(&made, 1);
}

static void caller(void *arg)
{
	(void)arg;
	weft_once_do((weft_once *)&o, first, NULL);
	if (ld(&made) != 1)
		mc_fail("weft_once_do() returned before the call had");
}

static void once_three(void)
{
	world(1);
	mc_thread("A", caller, NULL);
	mc_thread("B", caller, NULL);
	mc_thread("C", caller, NULL);
}

static void once_end(void)
{
	MC_CHECK(calls == 1);
	MC_CHECK(ld(&o.lock.state) == 0 && ld(&o.lock.sema) == 0);
	nobody_waits();
}

/* --- Wait group: its memory is its waiters' as soon as they are back --- */

#define GONE 0x5eedu

static struct wg wg;
static _Atomic uint32_t results, out; /* of workers; waiters that are back */

static void worker(void *arg)
{
	(void)arg;
	add(&results, 1);
	weft_wg_done((weft_wg *)&wg);
}

static void waiter_of(void *arg)
{
	weft_wg_wait((weft_wg *)&wg);
	if (ld(&results) != 2)
		mc_fail("the wait ended when %u of 2 were done", ld(&results));
	if (add_sc(&out, 1) + 1 == (uint32_t)(uintptr_t)arg) {
		st(&wg.state, GONE);
		st(&wg.sema, GONE);
	}
}

static void wg_one(void)
{
	world(1);
	weft_wg_add((weft_wg *)&wg, 2);
	mc_thread("worker 1", worker, NULL);
	mc_thread("worker 2", worker, NULL);
	mc_thread("waiter", waiter_of, (void *)1);
}

static void wg_two(void)
{
	world(1);
	weft_wg_add((weft_wg *)&wg, 2);
	mc_thread("worker 1", worker, NULL);
	mc_thread("worker 2", worker, NULL);
	mc_thread("waiter 1", waiter_of, (void *)2);
	mc_thread("waiter 2", waiter_of, (void *)2);
}

static void wg_end(void)
{
	if (ld(&wg.state) != GONE || ld(&wg.sema) != GONE)
		mc_fail("the group was written to after its waiters were back: {%llx, %x}",
			(unsigned long long)ld(&wg.state), ld(&wg.sema));
	nobody_waits();
}

/* --- Semaphore --- */

static _Atomic uint32_t permits, taken;

static void user(void *lifo)
{
	struct m *m = rt_enter(rt_self());

	rt_sema_acquire(&m, &permits, RT_WAIT_MUTEX, lifo != NULL);
	if (add_sc(&taken, 1) >= 2)
		mc_fail("three have got one of two permits");
	add_sc(&taken, (uint32_t)-1);
	rt_sema_release(m, &permits, RT_READY_QUEUE);
	rt_leave(m);
}

static void sema_four(void)
{
	world(1);
	st(&permits, 2);
	mc_thread("A", user, NULL);
	mc_thread("B", user, NULL);
	mc_thread("C", user, NULL);
	mc_thread("D", user, (void *)1);
}

/* Two in one bucket: what is unlinked in the middle or at the end, others still stand in it. */
static _Atomic uint32_t one, others[64], *other;

static void taker(void *times_other)
{
	for (intptr_t n = (intptr_t)times_other; n >= 0; n -= 2) {
		struct m *m = rt_enter(rt_self());

		rt_sema_acquire(&m, times_other ? other : &one, RT_WAIT_MUTEX, false);
		rt_leave(m);
	}
}

static void giver(void *arg)
{
	(void)arg;
	for (int i = 0; i < 3; i++) {
		struct m *m = rt_enter(rt_self());

		rt_sema_release(m, i < 2 ? other : &one, RT_READY_QUEUE);
		rt_leave(m);
	}
}

static void sema_two(void)
{
	world(1);
	other = others;
	while (bucket_of(other) != bucket_of(&one))
		MC_CHECK(++other < others + 64);
	mc_thread("taker", taker, NULL);
	mc_thread("taker of another, twice", taker, (void *)2);
	mc_thread("giver", giver, NULL);
}

static void sema_two_end(void)
{
	MC_CHECK(ld(&one) == 0 && ld(other) == 0);
	nobody_waits();
}

static void sema_end(void)
{
	MC_CHECK(ld(&permits) == 2);
	nobody_waits();
}

const struct mc_case mc_cases[] = {
	{ "sema: four want one of two permits", sema_four, sema_end, 0 },
	{ "sema: two of them in one bucket", sema_two, sema_two_end, 0 },
	{ "mutex: two threads, twice each", mutex_two, free_4, 0 },
	{ "mutex: three threads", mutex_three, free_3, 0 },
	{ "mutex: three threads, one of them twice", mutex_again, free_4, 0 },
	{ "mutex: with trylock", mutex_try, free_4, 0 },
	{ "mutex: three threads that spin", mutex_spin, free_3, 0 },
	{ "mutex: two beside one another", mutex_pair, free_4, 0 },
	{ "once: three call", once_three, once_end, 0 },
	{ "wait group: two workers, a waiter", wg_one, wg_end, 0 },
	{ "wait group: two workers, two waiters", wg_two, wg_end, 0 },
	{ NULL, NULL, NULL, 0 },
};
