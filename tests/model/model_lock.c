/* model_lock.c - rt_lock and rt_note (lock.c) down to the futex: one holder at a time, no wake-up lost. */
#include "atomic.h"

#include "rt.h"

#include "sys.h"
#include <lock.c>

static struct rt_lock l, l2;
static _Atomic uint32_t inside; /* by relaxed stores: as buffered as what a lock guards */
static uint32_t done;
static struct rt_note note;
static int64_t clock_now;

long rt_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	(void)nr, (void)e, (void)f;
	return mc_futex(b & 127, (_Atomic uint32_t *)a, (uint32_t)c, d != 0);
}

int64_t rt_now(void)
{
	return mc_choose(2) ? clock_now : 0;
}

static void section(void)
{
	if (ld(&inside))
		mc_fail("two threads hold the lock");
	st(&inside, 1);
	done++;
	st(&inside, 0);
}

static void locker(void *arg)
{
	for (intptr_t n = (intptr_t)arg; n > 0; n--) {
		rt_lock(&l);
		section();
		rt_unlock(&l);
	}
}

static void tryer(void *arg)
{
	(void)arg;
	if (rt_trylock(&l)) {
		section();
		rt_unlock(&l);
	} else {
		done++;
	}
}

/* Another lock that shares the entry of sleepers would look the same. */
static void of_other_lock(void *arg)
{
	(void)arg;
	rt_lock(&l2);
	rt_unlock(&l2);
}

static void two(void)
{
	mc_thread("A", locker, (void *)2);
	mc_thread("B", locker, (void *)2);
}

static void three(void)
{
	mc_thread("A", locker, (void *)1);
	mc_thread("B", locker, (void *)1);
	mc_thread("C", locker, (void *)1);
}

static void with_try(void)
{
	mc_thread("A", locker, (void *)1);
	mc_thread("B", tryer, NULL);
	mc_thread("C", locker, (void *)1);
	mc_thread("D", of_other_lock, NULL);
}

static void end_free(void)
{
	if (ld(&l.word) || ld(rt_sleepers_of(&l)))
		mc_fail("at the end the lock is %u, its sleepers %u", ld(&l.word), ld(rt_sleepers_of(&l)));
}
static void end_two(void)
{
	MC_CHECK(done == 4);
	end_free();
}
static void end_three(void)
{
	MC_CHECK(done == 3);
	end_free();
}

/* --- Notes --- */

static _Atomic uint32_t news;

static void waker(void *arg)
{
	(void)arg;
	st(&news, 1);
	rt_note_wake(&note);
}

static void waiter(void *arg)
{
	(void)arg;
	MC_CHECK(rt_note_wait(&note, INT64_MAX));
	MC_CHECK(ld(&news) == 1);
}

/* A limit may pass; then the wake-up is kept for the next wait. */
static void patient(void *arg)
{
	(void)arg;
	if (!rt_note_wait(&note, 5))
		MC_CHECK(rt_note_wait(&note, INT64_MAX));
	MC_CHECK(ld(&news) == 1);
}

static void wake_once(void)
{
	mc_thread("waiter", waiter, NULL);
	mc_thread("waker", waker, NULL);
}

static void wake_twice(void)
{
	mc_thread("waiter", waiter, NULL);
	mc_thread("waker 1", waker, NULL);
	mc_thread("waker 2", waker, NULL);
}

static void wake_late(void)
{
	clock_now = 10;
	mc_thread("waiter", patient, NULL);
	mc_thread("waker", waker, NULL);
}

const struct mc_case mc_cases[] = {
	{ "lock: two threads, twice each", two, end_two, 0 },
	{ "lock: three threads", three, end_three, 0 },
	{ "lock: with trylock and another lock beside it", with_try, end_three, 0 },
	{ "note: woken before, while or after it waits", wake_once, NULL, 0 },
	{ "note: two wake it", wake_twice, NULL, 0 },
	{ "note: with a limit", wake_late, NULL, 0 },
	{ NULL, NULL, NULL, 0 },
};
