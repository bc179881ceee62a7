/* test_ctx.c - contexts, what they call off and who keeps them. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rtest.h"

/* A goroutine that waits on a channel, carrying a context. */
struct waits {
	weft_ctx *ctx; /* or NULL */
	weft_chan *c;
	bool enters; /* the context by itself: it may be over already */
	int rc;
	_Atomic uint64_t goid;
	_Atomic int done;
};
static void wait_in(void *arg)
{
	struct waits *w = arg;

	w->goid = weft_goid();
	if (w->enters)
		weft_ctx_enter(w->ctx);
	w->rc = weft_chan_recv(w->c, NULL, 8);
	w->done = 1;
}
static bool has_goid(void *arg)
{
	return ((struct waits *)arg)->goid != 0;
}
static bool is_done(void *arg)
{
	return ((struct waits *)arg)->done;
}
static void carry(void *arg)
{
	struct waits *w = arg;
	struct weft_go_opts opts = { .size = sizeof opts, .ctx = w->enters ? NULL : w->ctx };

	ck_assert_int_eq(weft_go_with(wait_in, w, &opts), 0);
}
static void start(struct waits *w)
{
	rtest_run(carry, w);
	rtest_wait(has_goid, w, "the goroutine runs");
	rtest_wait_parked(w->goid, RT_WAIT_CHAN_RECV);
}
static void finished(struct waits *w)
{
	rtest_wait(is_done, w, "the wait is over");
}
static weft_ctx *ctx_new(weft_ctx *parent, int64_t deadline)
{
	weft_ctx *c;

	ck_assert_int_eq(weft_enter(inst), 0);
	c = weft_ctx_new(parent, deadline);
	weft_leave();
	ck_assert_ptr_nonnull(c);
	return c;
}

START_TEST(cancelling_ends_what_is_below_and_nothing_above)
{
	weft_chan *c = weft_chan_new(8, 0);
	weft_ctx *top = ctx_new(NULL, WEFT_FOREVER), *mid = ctx_new(top, WEFT_FOREVER),
		 *low = ctx_new(mid, WEFT_FOREVER), *side = ctx_new(top, WEFT_FOREVER);
	struct waits w[] = { { .ctx = top, .c = c },
			     { .ctx = mid, .c = c },
			     { .ctx = low, .c = c },
			     { .ctx = low, .c = c },
			     { .ctx = side, .c = c } };

	for (int i = 0; i < 5; i++)
		start(&w[i]);
	weft_ctx_cancel(mid);
	for (int i = 1; i < 4; i++) {
		finished(&w[i]);
		ck_assert_int_eq(w[i].rc, -ECANCELED);
	}
	ck_assert_int_eq(weft_ctx_err(top), 0);
	ck_assert_int_eq(weft_ctx_err(side), 0);
	ck_assert_int_eq(weft_ctx_err(mid), -ECANCELED);
	ck_assert_int_eq(weft_ctx_err(low), -ECANCELED);
	ck_assert(!w[0].done && !w[4].done);
	weft_ctx_free(mid);
	weft_ctx_free(top); /* ends side as well, whose handle is still ours */
	finished(&w[0]);
	finished(&w[4]);
	ck_assert_int_eq(weft_ctx_err(side), -ECANCELED);
	weft_ctx_free(side);
	weft_ctx_free(low);
	rtest_wait_gone();
	weft_chan_free(c);
}
END_TEST

START_TEST(a_deadline_ends_waits_with_etimedout)
{
	weft_chan *c = weft_chan_new(8, 0);
	int64_t at = weft_now() + 10 * WEFT_MS;
	weft_ctx *top = ctx_new(NULL, at), *low = ctx_new(top, at + 100 * WEFT_SEC);
	struct waits a = { .ctx = top, .c = c, .enters = true }, b = { .ctx = low, .c = c, .enters = true };

	ck_assert_int_eq(weft_ctx_deadline(top), at);
	ck_assert_int_eq(weft_ctx_deadline(low), at);
	rtest_run(carry, &a);
	rtest_run(carry, &b);
	finished(&a);
	finished(&b);
	ck_assert_int_ge(weft_now(), at);
	ck_assert_int_eq(a.rc, -ETIMEDOUT);
	ck_assert_int_eq(b.rc, -ETIMEDOUT);
	ck_assert_int_eq(weft_ctx_err(low), -ETIMEDOUT);
	weft_ctx_cancel(low);
	ck_assert_int_eq(weft_ctx_err(low), -ETIMEDOUT); /* what came first stays */
	weft_ctx_free(low);
	weft_ctx_free(top);
	weft_chan_free(c);
}
END_TEST

START_TEST(a_deadline_that_has_passed_or_a_parent_that_is_over_gives_a_context_that_is_over)
{
	weft_ctx *late = ctx_new(NULL, weft_now() - 1), *child = ctx_new(late, WEFT_FOREVER);

	ck_assert_int_eq(weft_ctx_err(late), -ETIMEDOUT);
	ck_assert_int_eq(weft_ctx_err(child), -ETIMEDOUT);
	weft_ctx_free(late);
	weft_ctx_free(child);
	ck_assert_int_eq(weft_ctx_err(NULL), -ECANCELED);
	weft_ctx_free(NULL);
	weft_ctx_cancel(NULL);
	ck_assert_ptr_null(weft_ctx_new(NULL, WEFT_FOREVER)); /* a foreign thread that entered no instance */
	ck_assert_ptr_null(weft_ctx_enter(NULL));
}
END_TEST

/* --- The current one ------------------------------------------------------------------------------------ */

static void narrow(void *arg)
{
	weft_ctx *root = weft_ctx_self();
	weft_chan *c = arg;
	int64_t from = weft_now();
	int rc = 0, outer = 0;

	WEFT_TIMEOUT(10 * WEFT_MS) {
		ck_assert_ptr_ne(weft_ctx_self(), root);
		rc = weft_chan_recv(c, NULL, 8);
		ck_assert_int_eq(weft_sleep(1000 * WEFT_SEC), -ETIMEDOUT);
		ck_assert_int_eq(weft_go(wait_in, arg), -ETIMEDOUT);
	}
	ck_assert_int_eq(rc, -ETIMEDOUT);
	ck_assert_int_ge(weft_now() - from, 10 * WEFT_MS);
	ck_assert_ptr_eq(weft_ctx_self(), root);
	ck_assert_int_eq(weft_sleep(1), 0);
	WEFT_TIMEOUT(WEFT_FOREVER) {
		WEFT_TIMEOUT(1000 * WEFT_SEC)
			ck_assert_int_eq(weft_sleep(WEFT_MS), 0);
		WEFT_TIMEOUT(0)
			outer = weft_chan_recv(c, NULL, 8);
		ck_assert_int_eq(weft_ctx_err(weft_ctx_self()), 0);
	}
	ck_assert_int_eq(outer, -ETIMEDOUT);
	ck_assert_ptr_eq(weft_ctx_enter(NULL), root); /* as after a failed weft_ctx_new() */
	ck_assert_int_eq(weft_chan_recv(c, NULL, 8), -ECANCELED);
	weft_ctx_enter(root);
}
START_TEST(a_timeout_scope_narrows_and_gives_back)
{
	weft_chan *c = weft_chan_new(8, 0);

	rtest_run(narrow, c);
	weft_chan_free(c);
}
END_TEST

static void wait_for_input(void *arg)
{
	int *fds = arg, rc = 0;

	WEFT_TIMEOUT(5 * WEFT_MS)
		rc = weft_wait_fd(fds[0], POLLIN);
	ck_assert_int_eq(rc, -ETIMEDOUT);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	WEFT_TIMEOUT(1000 * WEFT_SEC)
		rc = weft_wait_fd(fds[0], POLLIN);
	ck_assert_int_ge(rc, 0);
}
START_TEST(a_timeout_scope_ends_waits_for_descriptors_too)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	rtest_run(wait_for_input, fds);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

static void leave_children(void *arg)
{
	struct waits *w = arg;

	WEFT_TIMEOUT(1000 * WEFT_SEC) {
		for (int i = 0; i < 4; i++) {
			ck_assert_int_eq(weft_go(wait_in, &w[i]), 0);
			while (!w[i].goid)
				weft_yield();
		}
	}
}
START_TEST(leaving_a_scope_cancels_what_was_started_inside_and_that_keeps_the_context)
{
	struct waits w[4] = { 0 };

	w[0].c = w[1].c = w[2].c = w[3].c = weft_chan_new(8, 0);
	rtest_run(leave_children, w);
	for (int i = 0; i < 4; i++) {
		finished(&w[i]);
		ck_assert_int_eq(w[i].rc, -ECANCELED);
	}
	rtest_wait_gone();
	weft_chan_free(w[0].c);
}
END_TEST

/* Born with a context whose maker has freed it: it may be left and entered again. */
static _Atomic(weft_ctx *) born_with;
static void come_back(void *arg)
{
	weft_ctx *mine = weft_ctx_self(), *own, *old;

	while (weft_ctx_err(mine) == 0)
		weft_yield();
	own = weft_ctx_new(born_with, WEFT_FOREVER); /* below one that is over */
	old = weft_ctx_enter(NULL);
	ck_assert_ptr_eq(old, mine);
	ck_assert_ptr_eq(weft_ctx_err(own) < 0 ? mine : NULL, mine);
	weft_ctx_free(own);
	weft_ctx_enter(old);
	ck_assert_int_eq(weft_ctx_err(weft_ctx_self()), -ECANCELED);
	*(int *)arg = 1;
}
static void free_early(void *arg)
{
	weft_ctx *c = weft_ctx_new(NULL, WEFT_FOREVER);
	struct weft_go_opts opts = { .size = sizeof opts, .ctx = c };
	weft_wg wg = { 0 };

	born_with = c;
	ck_assert_int_eq(weft_go_with(come_back, arg, &opts), 0);
	weft_ctx_free(c);
	weft_wg_wait(&wg);
}
START_TEST(a_goroutine_keeps_alive_what_it_was_born_with)
{
	int done = 0;

	rtest_run(free_early, &done);
	rtest_wait_gone();
	ck_assert_int_eq(done, 1);
}
END_TEST

START_TEST(values_are_found_from_below_and_the_nearest_counts)
{
	weft_ctx *top = ctx_new(NULL, WEFT_FOREVER), *low = ctx_new(top, WEFT_FOREVER);
	static int ka, kb, a, b, c;

	ck_assert_int_eq(weft_ctx_set(top, &ka, &a), 0);
	ck_assert_int_eq(weft_ctx_set(low, &kb, &b), 0);
	ck_assert_ptr_eq(weft_ctx_get(low, &ka), &a);
	ck_assert_ptr_eq(weft_ctx_get(low, &kb), &b);
	ck_assert_ptr_null(weft_ctx_get(top, &kb));
	ck_assert_int_eq(weft_ctx_set(low, &ka, &c), 0);
	ck_assert_ptr_eq(weft_ctx_get(low, &ka), &c);
	ck_assert_ptr_eq(weft_ctx_get(top, &ka), &a);
	ck_assert_int_eq(weft_ctx_set(top, &ka, &b), 0);
	ck_assert_ptr_eq(weft_ctx_get(top, &ka), &b);
	ck_assert_int_eq(weft_ctx_set(top, NULL, &b), -EINVAL);
	ck_assert_int_eq(weft_ctx_set(NULL, &ka, &b), -EINVAL);
	ck_assert_ptr_null(weft_ctx_get(NULL, &ka));
	weft_ctx_free(top);
	ck_assert_ptr_eq(weft_ctx_get(low, &ka), &c); /* low keeps top */
	ck_assert_ptr_null(weft_ctx_get(low, &top));
	weft_ctx_free(low);
}
END_TEST

START_TEST(stopping_the_instance_ends_every_context_made_below)
{
	weft_chan *c = weft_chan_new(8, 0);
	weft_ctx *top = ctx_new(NULL, WEFT_FOREVER), *low = ctx_new(top, WEFT_FOREVER);
	struct waits a = { .ctx = top, .c = c }, b = { .ctx = low, .c = c }, r = { .c = c };

	start(&a);
	start(&b);
	start(&r);
	weft_inst_cancel(inst);
	finished(&a);
	finished(&b);
	finished(&r);
	ck_assert_int_eq(a.rc, -ECANCELED);
	ck_assert_int_eq(b.rc, -ECANCELED);
	ck_assert_int_eq(weft_ctx_err(low), -ECANCELED);
	weft_ctx_free(top);
	weft_ctx_free(low);
	weft_chan_free(c);
}
END_TEST

/* Trees of contexts grow, time out and are cancelled while goroutines wait in them. */
static _Atomic int timed_out, cancelled, fine;
static void twig(void *arg)
{
	int rc = weft_chan_recv(arg, NULL, 8);

	ck_assert(rc == -ETIMEDOUT || rc == -ECANCELED || rc == 1);
	*(rc == 1 ? &fine : rc == -ETIMEDOUT ? &timed_out : &cancelled) += 1;
}
static void branch(void *arg)
{
	uint64_t rng = weft_goid() * 0x9e3779b97f4a7c15ull | 1;

	for (int i = 0; i < rtest_scale(400); i++) {
		WEFT_TIMEOUT((int64_t)(rtest_random(&rng) % 300) * WEFT_US) {
			weft_ctx *c = weft_ctx_new(NULL, weft_now() + (int64_t)(rtest_random(&rng) % 300) * WEFT_US);
			weft_ctx *old = weft_ctx_enter(c);

			(void)weft_go(twig, arg);
			weft_ctx_enter(old);
			(void)weft_go(twig, arg);
			if (rtest_random(&rng) % 2)
				(void)weft_sleep((int64_t)(rtest_random(&rng) % 200) * WEFT_US);
			if (rtest_random(&rng) % 2)
				weft_ctx_cancel(c);
			if (rtest_random(&rng) % 4 == 0)
				(void)weft_chan_try_send(arg, &rng, 8);
			weft_ctx_free(c);
		}
	}
}
static void forest(void *arg)
{
	weft_wg wg = { 0 };

	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(weft_wg_go(&wg, branch, arg), 0);
	weft_wg_wait(&wg);
}
START_TEST(contexts_come_and_go_under_stress)
{
	weft_chan *c = weft_chan_new(8, 0);

	rtest_run(forest, c);
	rtest_wait_gone();
	ck_assert_int_gt(timed_out + cancelled, 0);
	weft_chan_free(c);
}
END_TEST

Suite *test_ctx(void);
Suite *test_ctx(void)
{
	Suite *s = suite_create("ctx");
	for (int ps = 1; ps <= 3; ps += 2) {
		TCase *t = rtest_case(ps, 60);

		tcase_add_test(t, cancelling_ends_what_is_below_and_nothing_above);
		tcase_add_test(t, a_deadline_ends_waits_with_etimedout);
		tcase_add_test(t, a_deadline_that_has_passed_or_a_parent_that_is_over_gives_a_context_that_is_over);
		tcase_add_test(t, a_timeout_scope_narrows_and_gives_back);
		tcase_add_test(t, a_timeout_scope_ends_waits_for_descriptors_too);
		tcase_add_test(t, leaving_a_scope_cancels_what_was_started_inside_and_that_keeps_the_context);
		tcase_add_test(t, a_goroutine_keeps_alive_what_it_was_born_with);
		tcase_add_test(t, values_are_found_from_below_and_the_nearest_counts);
		tcase_add_test(t, stopping_the_instance_ends_every_context_made_below);
		tcase_add_test(t, contexts_come_and_go_under_stress);
		suite_add_tcase(s, t);
	}
	return s;
}
