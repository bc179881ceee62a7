/* test_select.c - promises of select. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "rtest.h"

typedef WEFT_CHAN(int64_t) int_chan;

static void begin1(void)
{
	rtest_begin(1);
}
static void begin3(void)
{
	rtest_begin(3);
}

/* A goroutine that selects over some cases and says what came of it. */
struct sel {
	struct weft_case *cases;
	size_t n;
	weft_ctx *ctx;
	int rc;
	_Atomic uint64_t goid;
	_Atomic int done;
};
static void do_select(void *arg)
{
	struct sel *s = arg;
	weft_ctx *old = s->ctx ? weft_ctx_enter(s->ctx) : NULL;

	s->goid = weft_goid();
	s->rc = weft_select_n(s->cases, s->n, sizeof *s->cases);
	if (s->ctx)
		weft_ctx_enter(old);
	s->done = 1;
}
static bool has_goid(void *arg)
{
	return ((struct sel *)arg)->goid != 0;
}
static bool is_done(void *arg)
{
	return ((struct sel *)arg)->done;
}
static void start(struct sel *s)
{
	ck_assert_int_eq(weft_go_in(inst, do_select, s), 0);
	rtest_wait(has_goid, s, "the goroutine runs");
	rtest_wait_parked(s->goid, s->n ? RT_WAIT_SELECT : RT_WAIT_SELECT_NONE);
}
static void finished(struct sel *s)
{
	rtest_wait(is_done, s, "the select is done");
}

static int_chan chan_of(size_t cap)
{
	int_chan c;

	ck_assert_int_eq(weft_make(&c, cap), 0);
	return c;
}

START_TEST(with_nothing_ready_the_default_runs)
{
	int_chan c = chan_of(0), nil = { NULL };
	int64_t v;

	ck_assert_int_eq(weft_select(weft_on_recv(c, &v), weft_on_default, weft_on_send(c, 1)), 1);
	ck_assert_int_eq(weft_select(weft_on_recv(nil, &v), weft_on_send(nil, 1), weft_on_default), 2);
	ck_assert_int_eq(weft_select(weft_on_default), 0);
	weft_chan_free(c.h);
}
END_TEST

START_TEST(what_is_ready_is_taken_before_the_default)
{
	int_chan c = chan_of(1);
	int64_t v = 0;

	ck_assert_int_eq(weft_select(weft_on_recv(c, &v), weft_on_send(c, 41), weft_on_default), 1);
	ck_assert_int_eq(weft_select(weft_on_recv(c, &v), weft_on_send(c, 42), weft_on_default), 0);
	ck_assert_int_eq(v, 41);
	weft_chan_free(c.h);
}
END_TEST

START_TEST(closed_channels_are_ready_and_say_so)
{
	int_chan c = chan_of(1);
	bool ok = true;
	int64_t v = 9;

	ck_assert_int_eq(weft_send(c, 5), 0);
	weft_chan_finish(c);
	ck_assert_int_eq(weft_select(weft_on_recv_ok(c, &v, &ok)), 0);
	ck_assert(ok && v == 5);
	ck_assert_int_eq(weft_select(weft_on_recv_ok(c, &v, &ok)), 0);
	ck_assert(!ok && v == 0);
	ck_assert_int_eq(weft_select(weft_on_send(c, 1), weft_on_default), -EPIPE);
	ok = true;
	ck_assert_int_eq(weft_select((struct weft_case){
				 .op = WEFT_OP_SEND, .on = c.h, .elem = &v, .size = sizeof v, .ok = &ok }),
			 0);
	ck_assert(!ok);
	weft_chan_free(c.h);
}
END_TEST

START_TEST(misuse_is_an_error_and_takes_nothing)
{
	static struct weft_case many[WEFT_SELECT_MAX + 1];
	int_chan c = chan_of(1);
	int64_t v = 3;
	struct weft_case recv = weft_on_recv(c, &v), wrong = recv;

	weft_send(c, 4);
	wrong.op = 77;
	ck_assert_int_eq(weft_select(recv, wrong), -EINVAL);
	wrong.op = 0;
	ck_assert_int_eq(weft_select(recv, wrong), -EINVAL);
	wrong = recv;
	wrong.size = 4;
	ck_assert_int_eq(weft_select(recv, wrong), -EINVAL);
	ck_assert_int_eq(weft_select(recv, weft_on_default, weft_on_default), -EINVAL);
	ck_assert_int_eq(weft_select_n(&recv, 1, sizeof recv - 8), -EINVAL);
	ck_assert_int_eq(weft_select_n(NULL, 1, sizeof recv), -EINVAL);
	for (size_t i = 0; i < WEFT_SELECT_MAX + 1; i++)
		many[i] = recv;
	ck_assert_int_eq(weft_select_n(many, WEFT_SELECT_MAX + 1, sizeof *many), -E2BIG);
	ck_assert_int_eq(weft_chan_len(c.h), 1);
	ck_assert_int_eq(v, 3);
	weft_chan_free(c.h);
}
END_TEST

START_TEST(a_waiting_select_takes_what_comes_first_and_nothing_more)
{
	int_chan a = chan_of(0), b = chan_of(0);
	int64_t va = 0, vb = 0;
	struct sel s = { .cases = (struct weft_case[]){ weft_on_recv(a, &va), weft_on_recv(b, &vb) }, .n = 2 };

	start(&s);
	ck_assert_int_eq(weft_send(b, 7), 0);
	finished(&s);
	ck_assert_int_eq(s.rc, 1);
	ck_assert(va == 0 && vb == 7);
	ck_assert_int_eq(weft_chan_try_send(a.h, &va, sizeof va), -EAGAIN); /* it stands in no queue any more */
	weft_chan_free(a.h);
	weft_chan_free(b.h);
}
END_TEST

START_TEST(a_waiting_send_case_hands_over_or_hears_of_the_close)
{
	int_chan a = chan_of(0), b = chan_of(0);
	int64_t v = 0;
	bool ok = true;
	struct sel s = { .cases = (struct weft_case[]){ weft_on_recv(a, NULL), weft_on_send(b, 8) }, .n = 2 };

	start(&s);
	ck_assert_int_eq(weft_recv(b, &v), 1);
	ck_assert_int_eq(v, 8);
	finished(&s);
	ck_assert_int_eq(s.rc, 1);

	s.done = 0;
	s.goid = 0;
	s.cases[1].ok = &ok;
	start(&s);
	weft_chan_finish(b);
	finished(&s);
	ck_assert_int_eq(s.rc, 1);
	ck_assert(!ok);
	weft_chan_free(a.h);
	weft_chan_free(b.h);
}
END_TEST

START_TEST(close_ends_a_waiting_receive_case_with_a_zeroed_element)
{
	int_chan a = chan_of(0);
	int64_t v = 5;
	bool ok = true;
	struct sel s = { .cases = (struct weft_case[]){ weft_on_recv_ok(a, &v, &ok) }, .n = 1 };

	start(&s);
	weft_chan_finish(a);
	finished(&s);
	ck_assert_int_eq(s.rc, 0);
	ck_assert(!ok && v == 0);
	weft_chan_free(a.h);
}
END_TEST

START_TEST(a_select_does_not_meet_itself)
{
	int_chan c = chan_of(0);
	int64_t v = 0, w = 0;
	struct sel s = { .cases = (struct weft_case[]){ weft_on_recv(c, &v), weft_on_send(c, 2), weft_on_recv(c, &w) },
			 .n = 3 };

	start(&s);
	ck_assert_int_eq(weft_recv(c, &v), 1);
	ck_assert_int_eq(v, 2);
	finished(&s);
	ck_assert_int_eq(s.rc, 1);
	weft_chan_free(c.h);
}
END_TEST

/* Two selects that each send and receive on one channel meet each other, never themselves. */
static void meet(void *arg)
{
	struct sel *s = arg;

	for (int64_t i = 0; i < (int64_t)s->n; i++) {
		int_chan c = { .h = (weft_chan *)s->cases };
		int64_t v = -1, me = (int64_t)weft_goid();

		if (weft_select(weft_on_recv(c, &v), weft_on_send(c, me)) == 0)
			ck_assert(v != me && v > 0);
	}
	s->done = 1;
}
START_TEST(two_selects_on_both_ends_of_a_channel_meet_each_other)
{
	int_chan c = chan_of(0);
	struct sel s[2] = { { .cases = (void *)c.h, .n = (size_t)rtest_scale(20000) } };

	s[1].cases = s[0].cases;
	s[1].n = s[0].n;
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(weft_go_in(inst, meet, &s[i]), 0);
	finished(&s[0]);
	finished(&s[1]);
	weft_chan_free(c.h);
}
END_TEST

START_TEST(after_fires_when_nothing_else_comes)
{
	int_chan c = chan_of(0);
	int64_t v, from = weft_now();
	struct sel s = { .cases = (struct weft_case[]){ weft_on_recv(c, &v), weft_on_after(WEFT_FOREVER),
							weft_on_after(5 * WEFT_MS), weft_on_after(WEFT_SEC * 1000) },
			 .n = 4 };

	ck_assert_int_eq(weft_go_in(inst, do_select, &s), 0);
	finished(&s);
	ck_assert_int_eq(s.rc, 2);
	ck_assert_int_ge(weft_now() - from, 5 * WEFT_MS);
	ck_assert_int_eq(weft_select(weft_on_recv(c, &v), weft_on_after(0)), 1);
	ck_assert_int_eq(weft_select(weft_on_after(2 * WEFT_MS)), 0); /* on this thread, which is no goroutine */
	weft_chan_free(c.h);
}
END_TEST

START_TEST(done_is_ready_when_the_context_is_over)
{
	weft_ctx *ctx;
	struct sel s = { .n = 1 };

	ck_assert_int_eq(weft_select(weft_on_done(NULL), weft_on_default), 0);
	ck_assert_int_eq(weft_enter(inst), 0);
	ctx = weft_ctx_new(NULL, WEFT_FOREVER);
	weft_leave();
	ck_assert_int_eq(weft_select(weft_on_done(ctx), weft_on_default), 1);
	s.cases = (struct weft_case[]){ weft_on_done(ctx) };
	start(&s);
	weft_ctx_cancel(ctx);
	finished(&s);
	ck_assert_int_eq(s.rc, 0);
	ck_assert_int_eq(weft_select(weft_on_done(ctx), weft_on_default), 0);
	weft_ctx_free(ctx);
}
END_TEST

START_TEST(the_end_of_the_own_context_is_told_to_its_done_case_or_calls_off)
{
	int_chan c = chan_of(0);
	weft_ctx *ctx, *child;
	struct sel with = { .n = 2 }, without = { .n = 1 }, empty = { .n = 0 }, timed = { .n = 2 };

	ck_assert_int_eq(weft_enter(inst), 0);
	ctx = weft_ctx_new(NULL, WEFT_FOREVER);
	child = weft_ctx_new(ctx, WEFT_FOREVER);
	weft_leave();
	with.ctx = without.ctx = empty.ctx = timed.ctx = child;
	with.cases = (struct weft_case[]){ weft_on_recv(c, NULL), weft_on_done(ctx) };
	without.cases = (struct weft_case[]){ weft_on_recv(c, NULL) };
	timed.cases = (struct weft_case[]){ weft_on_recv(c, NULL), weft_on_after(1000 * WEFT_SEC) };
	start(&with);
	start(&without);
	start(&empty);
	start(&timed);
	weft_ctx_cancel(ctx);
	finished(&with);
	finished(&without);
	finished(&empty);
	finished(&timed);
	ck_assert_int_eq(with.rc, 1);
	ck_assert_int_eq(without.rc, -ECANCELED);
	ck_assert_int_eq(empty.rc, -ECANCELED);
	ck_assert_int_eq(timed.rc, -ECANCELED);
	weft_ctx_free(child);
	weft_ctx_free(ctx);
	weft_chan_free(c.h);
}
END_TEST

START_TEST(a_deadline_ends_a_select_with_etimedout)
{
	int_chan c = chan_of(0);
	struct sel s = { .cases = (struct weft_case[]){ weft_on_recv(c, NULL), weft_on_after(1000 * WEFT_SEC) },
			 .n = 2 };

	ck_assert_int_eq(weft_enter(inst), 0);
	s.ctx = weft_ctx_new(NULL, weft_now() + 3 * WEFT_MS);
	weft_leave();
	ck_assert_int_eq(weft_go_in(inst, do_select, &s), 0);
	finished(&s);
	ck_assert_int_eq(s.rc, -ETIMEDOUT);
	weft_ctx_free(s.ctx);
	weft_chan_free(c.h);
}
END_TEST

START_TEST(stopping_the_instance_calls_selects_off)
{
	int_chan c = chan_of(0);
	struct sel a = { .cases = (struct weft_case[]){ weft_on_recv(c, NULL), weft_on_send(c, 1) }, .n = 2 };
	struct sel b = { .n = 0 };

	start(&a);
	start(&b);
	weft_inst_cancel(inst);
	finished(&a);
	finished(&b);
	ck_assert_int_eq(a.rc, -ECANCELED);
	ck_assert_int_eq(b.rc, -ECANCELED);
	rtest_wait_gone();
	weft_chan_free(c.h);
}
END_TEST

/* --- Fairness -------------------------------------------------------------------------------------------- */

#define READY 6
static long picked[READY];
static void pick_many(void *arg)
{
	int_chan c[READY + 1];
	long n = *(long *)arg;
	int64_t v;

	for (int i = 0; i <= READY; i++)
		c[i] = chan_of(1);
	for (int i = 0; i < READY; i++)
		weft_send(c[i], i);
	for (long k = 0; k < n; k++) {
		/* one that is not ready stands among them */
		int i = weft_select(weft_on_recv(c[0], &v), weft_on_recv(c[READY], &v), weft_on_recv(c[1], &v),
				    weft_on_recv(c[2], &v), weft_on_recv(c[3], &v), weft_on_recv(c[4], &v),
				    weft_on_recv(c[5], &v));

		ck_assert(i >= 0 && i != 1 && v == (i ? i - 1 : 0));
		picked[v]++;
		weft_send(c[v], v);
	}
	for (int i = 0; i <= READY; i++)
		weft_chan_free(c[i].h);
}

/* With 5 degrees of freedom chi-square exceeds 50 once in 10^9. */
static double chi_square(long n)
{
	double expected = (double)n / READY, sum = 0;

	for (int i = 0; i < READY; i++)
		sum += ((double)picked[i] - expected) * ((double)picked[i] - expected) / expected;
	return sum;
}
START_TEST(ready_cases_are_equally_likely)
{
	long n = rtest_scale(200000);

	rtest_run(pick_many, &n);
	ck_assert_msg(chi_square(n) < 50, "chi-square %.1f", chi_square(n));
	memset(picked, 0, sizeof picked);
	pick_many(&n); /* a foreign thread draws from elsewhere */
	ck_assert_msg(chi_square(n) < 50, "foreign: chi-square %.1f", chi_square(n));
}
END_TEST

static void record_picks(void *arg)
{
	int_chan c = chan_of(1);
	unsigned char *out = arg;

	for (int i = 0; i < 64; i++) {
		out[i] = (unsigned char)weft_select(weft_on_after(0), weft_on_after(0), weft_on_after(0));
	}
	weft_chan_free(c.h);
}
START_TEST(the_seed_decides_what_is_chosen)
{
	unsigned char picks[3][64];
	uint64_t seeds[] = { 12, 12, 13 };

	for (int i = 0; i < 3; i++) {
		rtest_begin_with(&(struct weft_host_opts){ .maxprocs = 1, .seed = seeds[i] });
		rtest_run(record_picks, picks[i]);
		rtest_end();
	}
	ck_assert_mem_eq(picks[0], picks[1], 64);
	ck_assert_mem_ne(picks[0], picks[2], 64);
}
END_TEST

/* --- Many cases, many goroutines -------------------------------------------------------------------------- */

static void many_cases(void *arg)
{
	static weft_chan *c[WEFT_SELECT_MAX];
	struct weft_case *cases = calloc(WEFT_SELECT_MAX, sizeof *cases);
	size_t n = *(size_t *)arg;
	int64_t v = 0;

	for (size_t i = 0; i < n; i++) {
		c[i] = weft_chan_new(8, 1);
		cases[i] = (struct weft_case){ .op = WEFT_OP_RECV, .on = c[i], .elem = &v, .size = 8 };
	}
	for (int64_t i = 0; i < (int64_t)n; i++) {
		ck_assert_int_eq(weft_chan_send(c[i], &i, 8), 0);
		ck_assert_int_eq(weft_select_n(cases, n, sizeof *cases), i);
		ck_assert_int_eq(v, i);
	}
	for (size_t i = 0; i < n; i++)
		weft_chan_free(c[i]);
	free(cases);
}
START_TEST(many_cases_are_no_trouble)
{
	size_t n[] = { 8, 9, 64, 65, WEFT_SELECT_MAX };

	for (size_t i = 0; i < sizeof n / sizeof *n; i++)
		rtest_run(many_cases, &n[i]);
}
END_TEST

/* Goroutines send and receive on random pairs of four channels, some with a time limit: what was sent is received. */
#define STRESS_CHANS 4
static weft_chan *stress_chan[STRESS_CHANS];
static _Atomic int64_t sent_sum, received_sum, sent_n, received_n;
static int stress_ops;
static uint64_t stress_seed;
static void stress(void *arg)
{
	uint64_t rng = stress_seed + (uintptr_t)arg * 0x9e3779b97f4a7c15ull;

	for (int i = 0; i < stress_ops; i++) {
		weft_chan *a = stress_chan[rtest_random(&rng) % STRESS_CHANS];
		weft_chan *b = stress_chan[rtest_random(&rng) % STRESS_CHANS];
		int64_t out = (int64_t)(rtest_random(&rng) % 1000), in = 0;
		struct weft_case cases[3] = {
			{ .op = WEFT_OP_SEND, .on = a, .elem = &out, .size = 8 },
			{ .op = WEFT_OP_RECV, .on = b, .elem = &in, .size = 8 },
			{ .op = WEFT_OP_AFTER, .ns = (int64_t)(rtest_random(&rng) % 50) * WEFT_US },
		};
		int rc = weft_select_n(cases, 3, sizeof *cases);

		if (rc == 0) {
			sent_sum += out;
			sent_n++;
		} else if (rc == 1) {
			received_sum += in;
			received_n++;
		} else {
			ck_assert_int_eq(rc, 2);
		}
	}
}
static void stress_all(void *arg)
{
	weft_wg wg = { 0 };

	(void)arg;
	for (uintptr_t i = 0; i < 16; i++)
		ck_assert_int_eq(weft_wg_go(&wg, stress, (void *)i), 0);
	weft_wg_wait(&wg);
}
static void *stress_thread(void *arg)
{
	stress(arg);
	return NULL;
}
START_TEST(under_stress_everything_sent_is_received_once)
{
	pthread_t t;
	int64_t v;

	stress_seed = rtest_seed();
	stress_ops = rtest_scale(5000);
	for (int i = 0; i < STRESS_CHANS; i++)
		stress_chan[i] = weft_chan_new(8, (size_t)i % 3);
	ck_assert_int_eq(pthread_create(&t, NULL, stress_thread, (void *)99), 0);
	rtest_run(stress_all, NULL);
	pthread_join(t, NULL);
	for (int i = 0; i < STRESS_CHANS; i++) {
		while (weft_chan_try_recv(stress_chan[i], &v, 8) == 1) {
			received_sum += v;
			received_n++;
		}
		weft_chan_free(stress_chan[i]);
	}
	ck_assert_int_eq(sent_n, received_n);
	ck_assert_int_eq(sent_sum, received_sum);
	ck_assert_int_gt(sent_n, 0);
}
END_TEST

static void *foreign_select(void *arg)
{
	struct sel *s = arg;

	s->rc = weft_select_n(s->cases, s->n, sizeof *s->cases);
	s->done = 1;
	return NULL;
}
START_TEST(a_foreign_thread_selects_too)
{
	int_chan a = chan_of(0), b = chan_of(0);
	int64_t v = 0;
	struct sel s = { .cases = (struct weft_case[]){ weft_on_recv(a, &v), weft_on_recv(b, &v),
							weft_on_after(1000 * WEFT_SEC) },
			 .n = 3 };
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, foreign_select, &s), 0);
	ck_assert_int_eq(weft_send(b, 6), 0);
	pthread_join(t, NULL);
	ck_assert_int_eq(s.rc, 1);
	ck_assert_int_eq(v, 6);
	weft_chan_free(a.h);
	weft_chan_free(b.h);
}
END_TEST

START_TEST(a_foreign_thread_hears_of_the_end_of_an_instance)
{
	struct sel s = { .n = 1 };
	_Atomic(weft_ctx *) root = NULL;
	pthread_t t;

	ck_assert_int_eq(weft_enter(inst), 0);
	root = weft_ctx_new(NULL, WEFT_FOREVER);
	weft_leave();
	s.cases = (struct weft_case[]){ weft_on_done(root) };
	ck_assert_int_eq(pthread_create(&t, NULL, foreign_select, &s), 0);
	weft_inst_cancel(inst);
	pthread_join(t, NULL);
	ck_assert_int_eq(s.rc, 0);
	weft_ctx_free(root);
}
END_TEST

Suite *test_select(void);
Suite *test_select(void)
{
	Suite *s = suite_create("select");
	TCase *one = tcase_create("one P"), *three = tcase_create("three Ps"), *own = tcase_create("own runtime");

	tcase_add_checked_fixture(one, begin1, rtest_end);
	tcase_add_checked_fixture(three, begin3, rtest_end);
	tcase_set_timeout(one, 120);
	tcase_set_timeout(three, 120);
	tcase_set_timeout(own, 120);
	for (int i = 0; i < 2; i++) {
		TCase *tc = i ? three : one;

		tcase_add_test(tc, with_nothing_ready_the_default_runs);
		tcase_add_test(tc, what_is_ready_is_taken_before_the_default);
		tcase_add_test(tc, closed_channels_are_ready_and_say_so);
		tcase_add_test(tc, misuse_is_an_error_and_takes_nothing);
		tcase_add_test(tc, a_waiting_select_takes_what_comes_first_and_nothing_more);
		tcase_add_test(tc, a_waiting_send_case_hands_over_or_hears_of_the_close);
		tcase_add_test(tc, close_ends_a_waiting_receive_case_with_a_zeroed_element);
		tcase_add_test(tc, a_select_does_not_meet_itself);
		tcase_add_test(tc, two_selects_on_both_ends_of_a_channel_meet_each_other);
		tcase_add_test(tc, after_fires_when_nothing_else_comes);
		tcase_add_test(tc, done_is_ready_when_the_context_is_over);
		tcase_add_test(tc, the_end_of_the_own_context_is_told_to_its_done_case_or_calls_off);
		tcase_add_test(tc, a_deadline_ends_a_select_with_etimedout);
		tcase_add_test(tc, stopping_the_instance_calls_selects_off);
		tcase_add_test(tc, ready_cases_are_equally_likely);
		tcase_add_test(tc, many_cases_are_no_trouble);
		tcase_add_test(tc, under_stress_everything_sent_is_received_once);
		tcase_add_test(tc, a_foreign_thread_selects_too);
		tcase_add_test(tc, a_foreign_thread_hears_of_the_end_of_an_instance);
	}
	tcase_add_test(own, the_seed_decides_what_is_chosen);
	suite_add_tcase(s, one);
	suite_add_tcase(s, three);
	suite_add_tcase(s, own);
	return s;
}
