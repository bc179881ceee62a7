/* test_schedstate.c - the scheduler's state: the text and the JSON byte by byte, and that what is read is true. */
#include <stdio.h>
#include <string.h>

#include "rtest.h"

#include "rt.h"
#include "schedstate.h"

Suite *test_schedstate(void);

static struct weft_sched_m ms[] = {
	{ .id = 0, .tid = 71, .p = 1, .goid = 9 },
	{ .id = 3, .tid = 72, .p = -1, .spinning = false, .blocked = true },
};
static struct weft_sched_g gs[] = {
	{ .id = 9, .status = WEFT_G_RUNNING, .m = 0 },
	{ .id = 10, .status = WEFT_G_WAITING, .reason = RT_WAIT_CHAN_RECV, .m = -1 },
	{ .id = 11, .status = WEFT_G_DETACHED, .m = 3 },
};
static const struct sched_state fixed = {
	.s = { .uptime = 1009999999,
	       .maxprocs = 2,
	       .idle_procs = 1,
	       .threads = 5,
	       .spinning = 1,
	       .idle_threads = 2,
	       .runq = 4,
	       .n = 2,
	       .p = { { .status = WEFT_P_IDLE, .m = -1, .runq = 0 },
		      { .status = WEFT_P_RUNNING, .m = 0, .tick = 77, .runq = 3, .gfree = 16, .timers = 2 } } },
	.m = ms,
	.g = gs,
	.n_m = 2,
	.n_g = 3,
	.all_g = 5,
};

static void check_text(struct buf *b, const char *want)
{
	ck_assert_int_eq(b->failed, 0);
	buf_add(b, "", 1);
	ck_assert_str_eq(b->b, want);
	buf_free(b);
}

START_TEST(the_short_form_is_one_line_as_go_s)
{
	struct buf b = { 0 };

	sched_text(&b, &fixed, false);
	check_text(&b,
		   "SCHED 1009ms: gomaxprocs=2 idleprocs=1 threads=5 spinningthreads=1 needspinning=0 idlethreads=2 "
		   "runqueue=4 [0 3]\n");
}
END_TEST

START_TEST(the_long_form_has_a_line_for_each_p_m_and_g)
{
	struct buf b = { 0 };

	sched_text(&b, &fixed, true);
	check_text(&b,
		   "SCHED 1009ms: gomaxprocs=2 idleprocs=1 threads=5 spinningthreads=1 needspinning=0 idlethreads=2 "
		   "runqueue=4\n"
		   "  P0: status=0 schedtick=0 m=nil runqsize=0 gfreecnt=0 timerslen=0\n"
		   "  P1: status=1 schedtick=77 m=0 runqsize=3 gfreecnt=16 timerslen=2\n"
		   "  M0: p=1 curg=9 spinning=false blocked=false tid=71\n"
		   "  M3: p=nil curg=nil spinning=false blocked=true tid=72\n"
		   "  G9: status=2() m=0\n"
		   "  G10: status=4(chan receive) m=nil\n"
		   "  G11: status=3() m=3\n"
		   "  ... and 2 more goroutines\n");
}
END_TEST

START_TEST(the_json_says_the_same)
{
	struct buf b = { 0 };

	sched_json(&b, &fixed);
	check_text(&b,
		   "{\"uptime_ms\":1009,\"gomaxprocs\":2,\"idleprocs\":1,\"threads\":5,\"spinningthreads\":1,"
		   "\"needspinning\":false,\"idlethreads\":2,\"runqueue\":4,\"goroutines\":5,\n\"ps\":[\n"
		   "{\"id\":0,\"status\":\"idle\",\"schedtick\":0,\"m\":null,\"runqsize\":0,\"gfreecnt\":0,"
		   "\"timerslen\":0},\n"
		   "{\"id\":1,\"status\":\"running\",\"schedtick\":77,\"m\":0,\"runqsize\":3,\"gfreecnt\":16,"
		   "\"timerslen\":2}],\n\"ms\":[\n"
		   "{\"id\":0,\"tid\":71,\"p\":1,\"curg\":9,\"spinning\":false,\"blocked\":false},\n"
		   "{\"id\":3,\"tid\":72,\"p\":null,\"curg\":null,\"spinning\":false,\"blocked\":true}],\n\"gs\":[\n"
		   "{\"id\":9,\"status\":\"running\",\"m\":0},\n"
		   "{\"id\":10,\"status\":\"waiting\",\"reason\":\"chan receive\",\"m\":null},\n"
		   "{\"id\":11,\"status\":\"running without a P\",\"m\":3}]}\n");
}
END_TEST

static _Atomic uint64_t spinner;

static void spin(void *arg)
{
	(void)arg;
	st(&spinner, weft_goid());
	while (!weft_inst_cancelled(inst))
		;
}
static void wait_for_ever(void *arg)
{
	(void)arg;
	(void)weft_sleep(1000 * WEFT_SEC);
}
static bool it_spins(void *unused)
{
	(void)unused;
	return ld(&spinner) != 0;
}

static struct sched_state now;

static bool as_expected(void *unused)
{
	uint32_t timers = 0;
	size_t waiting = 0, on_m = 0, runs = 0;

	(void)unused;
	ck_assert_int_eq(sched_state_read(&now, true), 0);
	for (int i = 0; i < now.s.n; i++)
		timers += now.s.p[i].timers;
	for (size_t i = 0; i < now.n_g; i++) {
		waiting += now.g[i].status == WEFT_G_WAITING && now.g[i].reason == RT_WAIT_SLEEP && now.g[i].m < 0;
		runs += now.g[i].id == ld(&spinner) && now.g[i].status == WEFT_G_RUNNING && now.g[i].m >= 0;
	}
	for (size_t i = 0; i < now.n_m; i++)
		on_m += now.m[i].goid == ld(&spinner) && now.m[i].p >= 0 && now.m[i].tid > 0 && !now.m[i].blocked;
	sched_state_free(&now);
	return now.s.maxprocs == 3 && now.s.n == 3 && now.s.idle_procs == 2 && now.s.threads == (int)now.n_m &&
	       now.s.idle_threads == now.s.threads - 1 && now.s.runq == 0 && !now.s.spinning && now.all_g == 8 &&
	       now.n_g == 8 && timers == 7 && waiting == 7 && runs == 1 && on_m == 1 && !now.s.need_spinning;
}

START_TEST(what_is_read_is_true_once_it_is_quiet)
{
	rtest_begin(3);
	for (int i = 0; i < 7; i++)
		ck_assert_int_eq(weft_inst_call(inst, wait_for_ever, NULL, NULL), 0);
	ck_assert_int_eq(weft_inst_call(inst, spin, NULL, NULL), 0);
	rtest_wait(it_spins, NULL, "it spins");

	rtest_wait(as_expected, NULL, "7 sleep and 1 runs");

	ck_assert_int_gt(now.s.uptime, 0);
	weft_inst_cancel(inst);
	rtest_wait_gone();
	rtest_end();
}
END_TEST

START_TEST(more_goroutines_than_are_listed_are_counted)
{
	int n = rtest_scale(SCHED_GS_MAX * 2);

	rtest_begin(2);
	for (int i = 0; i < n; i++)
		ck_assert_int_eq(weft_inst_call(inst, wait_for_ever, NULL, NULL), 0);
	ck_assert_int_eq(sched_state_read(&now, true), 0);
	ck_assert_uint_eq(now.all_g, (size_t)n);
	ck_assert_uint_eq(now.n_g, n < SCHED_GS_MAX ? (size_t)n : SCHED_GS_MAX);
	sched_state_free(&now);
	weft_inst_cancel(inst);
	rtest_wait_gone();
	rtest_end();
}
END_TEST

Suite *test_schedstate(void)
{
	Suite *s = suite_create("schedstate");
	TCase *t = tcase_create("schedstate");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, the_short_form_is_one_line_as_go_s);
	tcase_add_test(t, the_long_form_has_a_line_for_each_p_m_and_g);
	tcase_add_test(t, the_json_says_the_same);
	tcase_add_test(t, what_is_read_is_true_once_it_is_quiet);
	tcase_add_test(t, more_goroutines_than_are_listed_are_counted);
	suite_add_tcase(s, t);
	return s;
}
