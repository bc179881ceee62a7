/* test_preempt.c - slices ended by signal: where they may be, and that nobody notices.
 *
 * Runs alone, for it looks at how late others are. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "retake.h"
#include "rlate.h"

static _Atomic bool stop;
static _Atomic int n_begun, n_wrong;

/* --- Where it may be -------------------------------------------------------------------------------------------------
 */

static void compute(void)
{
	rtest_compute(&stop);
}
static void arithmetic(void *arg)
{
	(void)arg;
	n_begun++;
	compute();
}
static int compares(const void *a, const void *b)
{
	compute();
	return a > b;
}
static void sorts(void *arg)
{
	int v[3] = { 0 };

	(void)arg;
	n_begun++;
	qsort(v, 3, sizeof *v, compares);
}
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void in_once(void *arg)
{
	(void)arg;
	n_begun++;
	pthread_once(&once, compute);
}
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void holds_mutex(void *arg)
{
	(void)arg;
	n_begun++;
	pthread_mutex_lock(&mutex);
	compute();
	pthread_mutex_unlock(&mutex);
}

static const struct {
	weft_fn fn;
	enum weft_refusal why; /* N: it is interrupted */
} places[] = {
	{ arithmetic, WEFT_REFUSED_N },
	{ sorts, WEFT_REFUSED_LIBRARY },
	{ in_once, WEFT_REFUSED_LIBRARY },
	{ holds_mutex, WEFT_REFUSED_LOCKS },
};

static bool all_begun(void *arg)
{
	return n_begun >= *(int *)arg;
}

/* Two of them and one P: the second begins when the first has been made to give way. */
START_TEST(a_goroutine_is_interrupted_only_where_that_is_safe)
{
	enum weft_refusal why = places[_i].why;
	struct weft_counters c;

	rt_preempt_program = true;
	rtest_begin_with(&(struct weft_host_opts){ .maxprocs = 1 });
	weft_inst_preempt(inst, WEFT_PREEMPT_SIGNAL);
	for (int i = 0; i < 2; i++)
		weft_go_in(inst, places[_i].fn, NULL);
	rtest_wait(all_begun, &(int){ 2 }, "both have had a turn");
	stop = true;
	rtest_wait_gone();
	weft_read_counters(&c);
	if (why == WEFT_REFUSED_N) {
		ck_assert_uint_ge(c.preempted, 1);
		ck_assert_uint_eq(c.handoffs_slice, 0);
	} else {
		ck_assert_uint_eq(c.preempted, 0);
		ck_assert_uint_ge(c.handoffs_slice, 1);
		ck_assert_uint_ge(c.preempt_refused[why], 2);
	}
	rtest_end();
}
END_TEST

/* --- A crowd -------------------------------------------------------------------------------------------------- */

/* By signal from the start; and by default, when only the first are handed off. */
START_TEST(a_hundred_hogs_do_not_make_others_late)
{
	int64_t p99 = INT64_MAX;
	int hogs = 100;

	rt_preempt_program = true;
	rtest_begin(2);
	weft_inst_preempt(inst, _i ? WEFT_PREEMPT_SIGNAL : WEFT_PREEMPT_HANDOFF);
	for (int try = 0; try < 4 && p99 >= 50 * WEFT_MS; try++) {
		stop = false;
		n_begun = 0;
		late_reset();
		for (int i = 0; i < hogs; i++)
			ck_assert_int_eq(weft_go_in(inst, arithmetic, NULL), 0);
		rtest_wait(all_begun, &hogs, "all have had a turn");
		ck_assert_int_eq(weft_go_in(inst, late_ticker, NULL), 0);
		late_await(300);
		stop = true;
		late_stop();
		rtest_wait_gone();
		p99 = late_p99();
	}
	ck_assert_msg(p99 < 50 * WEFT_MS, "the 99th percentile of the lateness is %.1f ms", (double)p99 / WEFT_MS);
	rtest_end();
}
END_TEST

static void locked_behind_a_hog(void *arg)
{
	weft_lock_thread();
	(void)weft_go(arithmetic, NULL);
	(void)weft_sleep(WEFT_MS); /* its thread runs the other, which never calls anything */
	weft_unlock_thread();
	stop = true;
	(void)arg;
}

START_TEST(a_locked_goroutine_gets_its_thread_back_from_a_hog)
{
	rt_preempt_program = true;
	rtest_begin(1 + _i);
	for (int i = 0; i <= _i; i++)
		weft_go_in(inst, locked_behind_a_hog, NULL);
	rtest_wait_gone();
	rtest_end();
}
END_TEST

/* --- Locks
 * ----------------------------------------------------------------------------------------------------------------- */

static void waits_with_a_lock(void *arg)
{
	pthread_mutex_t mine = PTHREAD_MUTEX_INITIALIZER;
	int tid = gettid();

	(void)arg;
	pthread_mutex_lock(&mine);
	for (int i = 0; i < 50; i++) {
		weft_sleep(100 * WEFT_US);
		n_wrong += gettid() != tid;
	}
	pthread_mutex_unlock(&mine);
	weft_yield();
}

START_TEST(a_goroutine_that_waits_with_a_lock_stays_on_its_thread)
{
	struct weft_counters c;

	rtest_begin(3);
	for (int i = 0; i < 9; i++)
		weft_go_in(inst, waits_with_a_lock, NULL);
	rtest_wait_gone();
	weft_read_counters(&c);
	ck_assert_int_eq(n_wrong, 0);
	ck_assert_uint_ge(c.parked_locked, 9 * 50);
	rtest_end();
}
END_TEST

Suite *test_preempt(void);
Suite *test_preempt(void)
{
	Suite *s = suite_create("preempt");
	TCase *t = tcase_create("preempt");

	tcase_set_timeout(t, 180);
	tcase_set_tags(t, "interrupts");
	tcase_add_loop_test(t, a_goroutine_is_interrupted_only_where_that_is_safe, 0,
			    (int)(sizeof places / sizeof *places));
	tcase_add_loop_test(t, a_hundred_hogs_do_not_make_others_late, 0, 2);
	tcase_add_loop_test(t, a_locked_goroutine_gets_its_thread_back_from_a_hog, 0, 2);
	suite_add_tcase(s, t);
	t = tcase_create("locks");
	tcase_set_timeout(t, 180);
	tcase_set_tags(t, "pthread-locks");
	tcase_add_test(t, a_goroutine_that_waits_with_a_lock_stays_on_its_thread);
	suite_add_tcase(s, t);
	return s;
}
