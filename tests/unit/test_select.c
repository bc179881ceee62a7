/* test_select.c - promises of select. */
#include <pthread.h>
#include <stdatomic.h>

#include "rtest.h"

typedef WEFT_CHAN(int64_t) int_chan;

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

/* --- Foreign threads --- */

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
	TCase *one = rtest_case(1, 120), *three = rtest_case(3, 120);

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
		tcase_add_test(tc, a_foreign_thread_selects_too);
		tcase_add_test(tc, a_foreign_thread_hears_of_the_end_of_an_instance);
	}
	suite_add_tcase(s, one);
	suite_add_tcase(s, three);
	return s;
}
