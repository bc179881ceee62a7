/* test_wake_order.c - who is woken is the one it was meant for, and when: hand-overs, signals. */
#include <stdatomic.h>

#include "retake.h"
#include "rt.h"
#include "rtest.h"

/* --- Hand-overs: on one P, so that the order is the scheduler's ------------------------------------------------ */

static _Atomic uint32_t permits;
static int order[8], n_ran;

static void acquires(void *arg)
{
	struct m *m = rt_enter(rt_self());

	(void)arg;
	rt_sema_acquire(&m, &permits, RT_WAIT_MUTEX, false);
	rt_leave(m);
	order[n_ran++] = 1;
}
static void is_runnable(void *arg)
{
	(void)arg;
	weft_yield(); /* into the queue: first in, first out */
	order[n_ran++] = 2;
}
/* The P's turns of the oldest, which come when time is up, don't or do again. */
static struct m *enter_turns(uint64_t at)
{
	struct m *m = rt_enter(rt_self());

	ld(&m->p)->turn_at = at;
	return m;
}
/* The one that waits has its turn; then others are made runnable, and it is woken. */
static void release(void *arg)
{
	weft_wg wg = { 0 };
	struct m *m;

	n_ran = 0;
	rt_leave(enter_turns(UINT64_MAX));
	ck_assert_int_eq(weft_wg_go(&wg, acquires, NULL), 0);
	weft_yield();
	ck_assert_int_eq(n_ran, 0);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(weft_wg_go(&wg, is_runnable, NULL), 0);
	weft_yield();
	m = enter_turns(UINT64_MAX);
	rt_sema_release(m, &permits, *(enum rt_how *)arg);
	rt_leave(m);
	weft_wg_wait(&wg);
	ck_assert_int_eq(n_ran, 6);
	rt_leave(enter_turns(0));
}
static bool was_first(enum rt_how how)
{
	rtest_run(release, &how);
	return order[0] == 1;
}

START_TEST(who_is_handed_a_permit_runs_before_those_who_were_runnable)
{
	rt_slice_ns = INT64_MAX; /* nobody is interrupted, however long its thread gets no CPU */
	for (int i = 0; i < 40; i++) {
		ck_assert(was_first(RT_READY_NEXT));
		ck_assert(!was_first(RT_READY_QUEUE));
	}
}
END_TEST

/* --- Signals --------------------------------------------------------------------------------------------------------
 */

static weft_mutex lock;
static weft_cond changed;
static _Atomic int n_woken[2], generation;

struct waiter {
	int kind; /* 0: waits before the signal, 1: after it */
	_Atomic uint64_t goid;
};
static void waits(void *arg)
{
	struct waiter *w = arg;

	w->goid = weft_goid();
	weft_lock(&lock);
	ck_assert_int_eq(weft_cond_wait(&changed, &lock), 0);
	n_woken[w->kind]++;
	weft_unlock(&lock);
}
static bool has_goid(void *arg)
{
	return ((struct waiter *)arg)->goid != 0;
}
static bool woken(void *arg)
{
	return n_woken[0] == *(int *)arg;
}

/* The mutex is held while the later one comes, so it waits as soon as it is let in: maybe before the earlier one,
 * which the signal was for, has run. */
START_TEST(a_signal_is_not_stolen_by_who_waits_later)
{
	int rounds = rtest_scale(1000);

	for (int i = 1; i <= rounds; i++) {
		struct waiter early = { .kind = 0 }, late = { .kind = 1 };

		ck_assert_int_eq(weft_go_in(inst, waits, &early), 0);
		rtest_wait(has_goid, &early, "the earlier one runs");
		rtest_wait_parked(early.goid, RT_WAIT_COND);
		weft_lock(&lock);
		ck_assert_int_eq(weft_go_in(inst, waits, &late), 0);
		weft_cond_signal(&changed);
		weft_unlock(&lock);
		rtest_wait(woken, &i, "the earlier one is woken");
		rtest_wait(has_goid, &late, "the later one runs");
		rtest_wait_parked(late.goid, RT_WAIT_COND);
		ck_assert_int_eq(n_woken[1], i - 1);
		weft_cond_signal(&changed);
		rtest_wait_gone();
	}
	ck_assert_int_eq(n_woken[1], rounds);
}
END_TEST

/* Every signal is for the generation that waits, whoever comes meanwhile. */
#define CROWD 10
static _Atomic int woken_of[3], n_waiting;
static void waits_in_generation(void *arg)
{
	int mine = *(int *)arg;

	weft_lock(&lock);
	n_waiting++;
	ck_assert_int_eq(weft_cond_wait(&changed, &lock), 0);
	ck_assert_int_le(mine, generation);
	woken_of[mine]++;
	weft_unlock(&lock);
}
static bool all_wait(void *arg)
{
	bool all;

	weft_lock(&lock); /* whoever is counted has given it back, and so waits */
	all = n_waiting == *(int *)arg;
	weft_unlock(&lock);
	return all;
}
static bool generation_woken(void *arg)
{
	return woken_of[*(int *)arg] == CROWD;
}
START_TEST(signals_wake_one_generation_before_the_next)
{
	static const int all[] = { 0, 1, 2 };
	int n = 0;

	for (int g = 0; g < 3; g++) {
		for (int i = 0; i < CROWD; i++)
			ck_assert_int_eq(weft_go_in(inst, waits_in_generation, (void *)&all[g]), 0);
		n += CROWD;
		rtest_wait(all_wait, &n, "all of them wait");
	}
	for (int g = 0; g < 3; g++) {
		generation = g;
		for (int i = 0; i < CROWD; i++)
			weft_cond_signal(&changed);
		rtest_wait(generation_woken, (void *)&all[g], "the whole generation is woken");
	}
	rtest_wait_gone();
}
END_TEST

Suite *test_wake_order(void);
Suite *test_wake_order(void)
{
	Suite *s = suite_create("wake order");
	TCase *t = rtest_case(1, 120);

	tcase_add_test(t, who_is_handed_a_permit_runs_before_those_who_were_runnable);
	tcase_add_test(t, a_signal_is_not_stolen_by_who_waits_later);
	tcase_add_test(t, signals_wake_one_generation_before_the_next);
	suite_add_tcase(s, t);
	t = rtest_case(3, 120);
	tcase_add_test(t, a_signal_is_not_stolen_by_who_waits_later);
	tcase_add_test(t, signals_wake_one_generation_before_the_next);
	suite_add_tcase(s, t);
	return s;
}
