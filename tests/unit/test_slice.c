/* test_slice.c - goroutines that compute: slices, checkpoints, the cap of hand-offs. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "rtest.h"

static _Atomic int n_in;
static _Atomic bool stop;

static bool reached(void *arg)
{
	const int *want = arg;

	return atomic_load(&n_in) >= *want;
}

static _Atomic uint64_t sink;
static void hog(void *arg)
{
	uint64_t x = weft_goid();

	n_in++;
	while (!stop)
		for (int i = 0; i < 1000; i++)
			x = x * 6364136223846793005u + 1442695040888963407u;
	sink = x;
	(void)arg;
}

static void hog_with_checkpoints(void *arg)
{
	n_in++;
	while (!stop) {
		for (volatile int i = 0; i < 1000; i++)
			;
		(void)weft_checkpoint();
	}
	(void)arg;
}

static _Atomic int ticks;
static void ticker(void *arg)
{
	while (!stop) {
		weft_sleep(WEFT_MS);
		ticks++;
	}
	(void)arg;
}
static bool ticked(void *arg)
{
	return ticks >= *(int *)arg;
}

/* More hogs than CPUs: their threads wait for one, which is not blocking. */
START_TEST(a_goroutine_that_computes_is_never_taken_for_a_blocked_one)
{
	struct weft_counters c;

	rtest_begin(2);
	for (int i = 0; i < 6; i++)
		weft_go_in(inst, hog, NULL);
	weft_go_in(inst, ticker, NULL);
	rtest_wait(ticked, &(int){ 100 }, "the ticker has ticked");
	rtest_wait(reached, &(int){ 6 }, "all hogs have begun");
	stop = true;
	rtest_wait_gone();
	weft_read_counters(&c);
	ck_assert_uint_eq(c.handoffs_blocked, 0);
	ck_assert_uint_ge(c.handoffs_slice, 2);
	ck_assert_uint_eq(c.handed_off, 0);
	rtest_end();
}
END_TEST

/* --- Slices ------------------------------------------------------------------------------------------------------ */

static char logged[4096];
static _Atomic int n_logged;
static void keep_log(void *user, int level, const char *instance, uint64_t goid, const char *text)
{
	(void)user, (void)level, (void)instance, (void)goid;
	if (strstr(text, "handoff_max")) {
		snprintf(logged, sizeof logged, "%s", text);
		n_logged++;
	}
}

static bool is_refused(void *arg)
{
	struct weft_counters c;

	(void)arg;
	weft_read_counters(&c);
	ck_assert_uint_le(c.handed_off, 2);
	return c.preempt_refused[WEFT_REFUSED_HANDOFF_MAX] >= 3;
}

START_TEST(at_the_cap_hogs_keep_their_p_and_are_named_once)
{
	rtest_begin_with(&(struct weft_host_opts){ .maxprocs = 1, .handoff_max = 2, .log = keep_log });
	for (int i = 0; i < 5; i++)
		weft_go_in(inst, hog, NULL);
	rtest_wait(is_refused, NULL, "refusals are counted");
	ck_assert_int_eq(n_logged, 1);
	ck_assert_msg(strstr(logged, "of \"test\""), "%s", logged);
	stop = true;
	rtest_wait_gone();
	rtest_end();
}
END_TEST

START_TEST(a_checkpoint_lets_others_go_first_without_a_handoff)
{
	struct weft_counters c;

	rtest_begin(1);
	for (int i = 0; i < 3; i++)
		weft_go_in(inst, hog_with_checkpoints, NULL);
	rtest_wait(reached, &(int){ 3 }, "all have had their turn");
	weft_read_counters(&c);
	stop = true;
	rtest_wait_gone();
	ck_assert_int_eq(weft_checkpoint(), 0); /* on a thread */
	rtest_end();
}
END_TEST

static void until_cancelled(void *arg)
{
	int rc;

	n_in++;
	do
		rc = weft_checkpoint();
	while (rc == 0);
	*(_Atomic int *)arg = rc;
}
START_TEST(a_checkpoint_says_that_the_context_is_over)
{
	static _Atomic int rc;

	rtest_begin(1);
	weft_go_in(inst, until_cancelled, (void *)&rc);
	rtest_wait(reached, &(int){ 1 }, "it loops");
	weft_inst_cancel(inst);
	rtest_wait_gone();
	ck_assert_int_eq(rc, -ECANCELED);
	rtest_end();
}
END_TEST

Suite *test_slice(void);
Suite *test_slice(void)
{
	Suite *s = suite_create("slice");
	TCase *t = tcase_create("slice");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, at_the_cap_hogs_keep_their_p_and_are_named_once);
	tcase_add_test(t, a_checkpoint_lets_others_go_first_without_a_handoff);
	tcase_add_test(t, a_checkpoint_says_that_the_context_is_over);
	suite_add_tcase(s, t);
	t = tcase_create("named");
	tcase_set_timeout(t, 120);
	tcase_set_tags(t, "kernel-sees-registers");
	tcase_add_test(t, a_goroutine_that_computes_is_never_taken_for_a_blocked_one);
	suite_add_tcase(s, t);
	return s;
}
