/* test_timer.c - timer objects: ticks, functions, setting anew, stopping, freeing. */
#include <stdatomic.h>

#include "rtest.h"

/* Run as goroutine (rtest_run) and directly on the test's thread, which is none. */
static void one_tick(void *arg)
{
	int64_t from = weft_now(), at = 0;
	weft_timer *t = weft_timer_new(3 * WEFT_MS, 0);
	weft_chan *c = weft_timer_chan(t);

	(void)arg;
	ck_assert_int_eq(weft_chan_recv(c, &at, sizeof at), 1);
	ck_assert_int_ge(at - from, 3 * WEFT_MS);
	ck_assert_int_le(at, weft_now());
	ck_assert(!weft_timer_stop(t)); /* it has fired, and was taken */
	ck_assert_int_eq(weft_chan_try_recv(c, &at, sizeof at), -EAGAIN);
	weft_timer_free(t);
}
START_TEST(a_timer_sends_the_instant_once)
{
	rtest_run(one_tick, NULL);
	one_tick(NULL);
}
END_TEST

static void ticks(void *arg)
{
	int64_t from = weft_now(), last = from, at;
	weft_timer *t = weft_timer_new(WEFT_MS, 2 * WEFT_MS);

	(void)arg;
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(weft_chan_recv(weft_timer_chan(t), &at, sizeof at), 1);
		ck_assert_int_gt(at, last);
		ck_assert_int_ge(at - from, WEFT_MS + i * 2 * WEFT_MS); /* never early, and never two for one */
		last = at;
	}
	weft_timer_free(t);
}
START_TEST(a_ticker_ticks_each_period_and_never_early)
{
	rtest_run(ticks, NULL);
	ticks(NULL);
}
END_TEST

static void slow_reader(void *arg)
{
	weft_timer *t = weft_timer_new(WEFT_MS, WEFT_MS);
	int64_t at, slept;

	(void)arg;
	ck_assert_int_eq(weft_sleep(20 * WEFT_MS), 0);
	slept = weft_now();
	ck_assert_uint_le(weft_chan_len(weft_timer_chan(t)), 1);
	ck_assert_int_eq(weft_chan_recv(weft_timer_chan(t), &at, sizeof at), 1);
	ck_assert_int_le(at, weft_now());
	ck_assert_int_eq(weft_chan_recv(weft_timer_chan(t), &at, sizeof at), 1);
	ck_assert_int_ge(at, slept - 20 * WEFT_MS);
	weft_timer_free(t);
}
START_TEST(ticks_nobody_takes_are_dropped)
{
	rtest_run(slow_reader, NULL);
}
END_TEST

static bool has_tick(void *arg)
{
	return weft_chan_len(weft_timer_chan(arg)) == 1;
}
static void set_anew(void *arg)
{
	weft_timer *t = arg;
	int64_t from = weft_now(), at;

	ck_assert(weft_timer_stop(t)); /* its tick was still there */
	ck_assert_int_eq(weft_chan_try_recv(weft_timer_chan(t), &at, sizeof at), -EAGAIN);
	ck_assert(!weft_timer_reset(t, 1000 * WEFT_SEC));
	ck_assert(weft_timer_reset(t, 2 * WEFT_MS));
	ck_assert_int_eq(weft_chan_recv(weft_timer_chan(t), &at, sizeof at), 1);
	ck_assert_int_ge(at - from, 2 * WEFT_MS);
	ck_assert(!weft_timer_reset(t, WEFT_FOREVER));
	ck_assert(!weft_timer_stop(t));
	ck_assert_int_eq(weft_select(weft_on_tick(t, &at), weft_on_after(3 * WEFT_MS)), 1);
	ck_assert(!weft_timer_reset(t, 0));
	ck_assert_int_eq(weft_select(weft_on_tick(t, NULL), weft_on_after(1000 * WEFT_SEC)), 0);
}
START_TEST(reset_and_stop_leave_no_tick_of_before)
{
	weft_timer *t = weft_timer_new(0, 0);

	rtest_wait(has_tick, t, "the timer has fired");
	rtest_run(set_anew, t);
	weft_timer_reset(t, 0);
	rtest_wait(has_tick, t, "the timer has fired");
	set_anew(t);
	weft_timer_free(t);
	weft_timer_free(NULL);
	ck_assert(!weft_timer_stop(NULL) && !weft_timer_reset(NULL, 1));
	ck_assert_ptr_null(weft_timer_chan(NULL));
	ck_assert_ptr_null(weft_timer_new(1, -1));
}
END_TEST

/* --- Functions ----------------------------------------------------------------------------------------- */

static _Atomic int called;
static _Atomic int64_t called_at;
static _Atomic uint64_t called_on;
static _Atomic(weft_timer *) handle;
static void call(void *arg)
{
	called_at = weft_now();
	called_on = weft_goid();
	ck_assert_ptr_eq(weft_instance_self(), inst);
	ck_assert_int_eq(weft_sleep(WEFT_US), 0); /* it may wait */
	called += *(int *)arg;
}
static bool was_called(void *arg)
{
	return called >= *(int *)arg;
}
static int one = 1;
static _Atomic int64_t armed_at;
static void arm(void *arg)
{
	(void)arg;
	armed_at = weft_now();
	handle = weft_after(2 * WEFT_MS, call, &one);
}
START_TEST(after_calls_the_function_on_a_goroutine_of_its_own)
{
	rtest_run(arm, NULL);
	rtest_wait(was_called, &(int){ 1 }, "the function was called");
	ck_assert_int_ge(called_at - armed_at, 2 * WEFT_MS);
	ck_assert_uint_ne(called_on, 0);
	ck_assert_ptr_null(weft_timer_chan(handle));
	weft_timer_reset(handle, WEFT_MS);
	rtest_wait(was_called, &(int){ 2 }, "the function was called again");
	weft_timer_free(handle);
	rtest_wait_gone();
	ck_assert_ptr_null(weft_after(1, call, &one)); /* a foreign thread in no instance */
	ck_assert_int_eq(weft_enter(inst), 0);
	handle = weft_after(1, call, &one);
	ck_assert_ptr_null(weft_after(1, NULL, &one));
	weft_leave();
	rtest_wait(was_called, &(int){ 3 }, "it works from an entered thread");
	weft_timer_free(handle);
}
END_TEST

static void stop_all(void *arg)
{
	weft_timer *t[100];
	int stopped = 0;

	(void)arg;
	for (int i = 0; i < 100; i++)
		t[i] = weft_after(i * 50 * WEFT_US, call, &one);
	(void)weft_sleep(WEFT_MS);
	for (int i = 0; i < 100; i++)
		stopped += weft_timer_stop(t[i]);
	(void)weft_sleep(10 * WEFT_MS);
	while (called + stopped < 100) /* those that had started */
		weft_yield();
	ck_assert_int_eq(called + stopped, 100);
	for (int i = 0; i < 100; i++)
		weft_timer_free(t[i]);
}
START_TEST(what_stop_says_is_so)
{
	rtest_run(stop_all, NULL);
	rtest_wait_gone();
}
END_TEST

static void fill(void *arg)
{
	(void)arg;
	weft_sleep(20 * WEFT_MS);
}
START_TEST(a_function_waits_for_a_goroutine_to_be_had)
{
	rtest_begin_with(&(struct weft_host_opts){ .maxprocs = 1, .max_goroutines = 64 });
	ck_assert_int_eq(weft_enter(inst), 0);
	handle = weft_after(10 * WEFT_MS, call, &one);
	while (weft_go_in(inst, fill, NULL) == 0)
		;
	weft_leave();
	rtest_wait(was_called, &(int){ 1 }, "the function was called");
	weft_timer_free(handle);
	rtest_wait_gone();
	rtest_end();
}
END_TEST

START_TEST(a_stopped_instances_timers_fire_no_more)
{
	weft_timer *t;

	ck_assert_int_eq(weft_enter(inst), 0);
	t = weft_timer_new(WEFT_MS, WEFT_MS);
	handle = weft_after(2 * WEFT_MS, call, &one);
	weft_leave();
	weft_inst_cancel(inst);
	weft_timer_stop(t);
	weft_timer_reset(t, 0);
	ck_assert_int_eq(weft_select(weft_on_tick(t, NULL), weft_on_after(20 * WEFT_MS)), 1);
	ck_assert_int_eq(called, 0);
	weft_timer_free(t);
	weft_timer_free(handle);
}
END_TEST

/* Timers are made, set anew, stopped and freed at random while they fire. */
static uint64_t seed;
static _Atomic int taken;
static void shake(void *arg)
{
	uint64_t rng = seed + (uintptr_t)arg * 0x9e3779b97f4a7c15ull;

	for (int i = 0; i < rtest_scale(300); i++) {
		int64_t period = rtest_random(&rng) % 2 ? (int64_t)(rtest_random(&rng) % 100 + 1) * WEFT_US : 0;
		weft_timer *t = weft_timer_new((int64_t)(rtest_random(&rng) % 200) * WEFT_US, period);
		weft_timer *a = weft_after((int64_t)(rtest_random(&rng) % 200) * WEFT_US, call, &one);

		for (int k = (int)(rtest_random(&rng) % 8); k > 0; k--) {
			int64_t ns = (int64_t)(rtest_random(&rng) % 200) * WEFT_US;

			switch (rtest_random(&rng) % 4) {
			case 0:
				(void)weft_timer_reset(t, ns);
				break;
			case 1:
				(void)weft_timer_stop(a);
				break;
			case 2:
				(void)weft_timer_reset(a, ns);
				break;
			default:
				taken += weft_select(weft_on_tick(t, NULL), weft_on_after(ns)) == 0;
			}
		}
		weft_timer_free(t);
		weft_timer_free(a);
	}
}
static void shake_all(void *arg)
{
	weft_wg wg = { 0 };

	(void)arg;
	for (uintptr_t i = 1; i <= 8; i++)
		ck_assert_int_eq(weft_wg_go(&wg, shake, (void *)i), 0);
	weft_wg_wait(&wg);
}
START_TEST(timers_come_and_go_under_stress)
{
	seed = rtest_seed();
	rtest_run(shake_all, NULL);
	shake((void *)99);
	rtest_wait_gone();
	ck_assert_int_gt(taken, 0);
	ck_assert_int_gt(called, 0);
}
END_TEST

Suite *test_timer(void);
Suite *test_timer(void)
{
	Suite *s = suite_create("timer");
	TCase *own = tcase_create("own runtime");

	for (int ps = 1; ps <= 3; ps += 2) {
		TCase *t = rtest_case(ps, 60);

		tcase_add_test(t, a_timer_sends_the_instant_once);
		tcase_add_test(t, a_ticker_ticks_each_period_and_never_early);
		tcase_add_test(t, ticks_nobody_takes_are_dropped);
		tcase_add_test(t, reset_and_stop_leave_no_tick_of_before);
		tcase_add_test(t, after_calls_the_function_on_a_goroutine_of_its_own);
		tcase_add_test(t, what_stop_says_is_so);
		tcase_add_test(t, a_stopped_instances_timers_fire_no_more);
		tcase_add_test(t, timers_come_and_go_under_stress);
		suite_add_tcase(s, t);
	}
	tcase_set_timeout(own, 60);
	tcase_add_test(own, a_function_waits_for_a_goroutine_to_be_had);
	suite_add_tcase(s, own);
	return s;
}
