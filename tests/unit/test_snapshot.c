/* test_snapshot.c - looking at all goroutines from outside while they go on. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rlook.h"
#include "rt.h"
#include "rtest.h"

#ifdef RT_TSAN
#define TSAN 1
#else
#define TSAN 0
#endif

/* --- Parked ------------------------------------------------------------------------------------------- */

static NOINLINE void mother(void *arg)
{
	weft_label_push("colour", "green");
	weft_label_push("user", "42");
	(void)weft_go_with(wait_here, arg,
			   &(struct weft_go_opts){ .size = sizeof(struct weft_go_opts), .name = "daughter" });
	(void)add_sc(&look_started, 1);
	(void)weft_chan_recv(look_never, NULL, 1);
	weft_label_pop();
}

START_TEST(parked_goroutine_tells_all_about_itself)
{
	static struct seen s, m;
	const struct weft_goroutine *g = &s.g[0];
	uint64_t pc[WEFT_STACK_MAX];
	int n;

	rtest_begin(2);
	look_never = weft_chan_new(1, 0);
	look_go(mother, NULL);
	look_await(2);
	do { /* it says that it has started a little before it waits */
		look(&s, (void *)wait_here);
		look(&m, (void *)mother);
	} while (s.g[0].status != WEFT_G_WAITING || m.g[0].status != WEFT_G_WAITING);

	ck_assert_int_eq(s.n, 1);
	ck_assert_int_eq(m.n, 1);
	ck_assert_int_eq(s.all, 2);
	ck_assert_str_eq(weft_read_reason(g->reason), "chan receive");
	ck_assert_uint_eq(g->start, (uintptr_t)wait_here);
	ck_assert_uint_eq(g->parent, m.g[0].id);
	ck_assert_str_eq(g->name, "daughter");
	ck_assert_ptr_null(m.g[0].name);
	ck_assert_str_eq(weft_read_instance(g->instance), "test");
	ck_assert(passes(g, (void *)wait_here));
	ck_assert(rooted(g));
	ck_assert_uint_eq(g->flags, 0);
	ck_assert_int_eq(g->tid, 0);
	ck_assert(g->since > 0 && g->since <= weft_now());
	ck_assert_int_eq(g->labels.n, 2);
	ck_assert_str_eq(g->labels.l[0].key, "colour");
	ck_assert_str_eq(g->labels.l[0].value, "green");
	ck_assert_str_eq(g->labels.l[1].value, "42");
	n = weft_read_stack(g->created, pc, WEFT_STACK_MAX);
	ck_assert_int_gt(n, 0);
	ck_assert_uint_eq(weft_read_func_start(pc[0] - 1), (uintptr_t)mother);
	look_end();
}
END_TEST

static NOINLINE int recurse(int n)
{
	int below = 0;

	if (n) {
		below = recurse(n - 1);
	} else {
		(void)add_sc(&look_started, 1);
		(void)weft_chan_recv(look_never, NULL, 1);
	}
	look_sink++;
	return below + 1;
}
static void deep(void *arg)
{
	look_sink += recurse((int)(intptr_t)arg);
}

START_TEST(deep_stack_keeps_its_leaf_side)
{
	static struct seen s;

	rtest_begin(2);
	look_never = weft_chan_new(1, 0);
	look_go(deep, (void *)(intptr_t)300);
	look_await(1);
	do
		look(&s, (void *)recurse);
	while (s.g[0].status != WEFT_G_WAITING);

	ck_assert_int_eq(s.g[0].depth, WEFT_STACK_MAX);
	ck_assert_uint_eq(s.g[0].flags, WEFT_GF_CUT);
	look_end();
}
END_TEST

/* --- Running --------------------------------------------------------------------------------------------- */

START_TEST(every_p_wedged_and_all_is_seen)
{
	static struct seen s;
	int64_t until = weft_now() + PATIENCE;
	int answers = 0;

	rtest_begin(2);
	look_never = weft_chan_new(1, 0);
	look_go(spin_here, NULL);
	look_go(spin_here, NULL);
	look_await(2);
	for (int i = 0; i < 20; i++)
		look_go(wait_here, NULL); /* these wait for their turn */
	for (int i = 0; i < 20 || answers < 10; i++) {
		int64_t t = weft_now();

		ck_assert_msg(t < until, "%d answers", answers);
		look(&s, (void *)spin_here);
		ck_assert_int_lt(weft_now() - t, WEFT_SEC);
		ck_assert_int_eq(s.n, 2);
		ck_assert_int_eq(s.all, 22);
		for (int k = 0; k < s.n; k++) {
			ck_assert(s.g[k].status == WEFT_G_RUNNING || s.g[k].status == WEFT_G_DETACHED);
			if (s.g[k].flags & WEFT_GF_UNAVAILABLE)
				continue; /* a very busy machine: it had no CPU in time */
			ck_assert_uint_eq(s.g[k].flags, WEFT_GF_EXACT);
			ck_assert_int_gt(s.g[k].tid, 0);
			ck_assert(passes(&s.g[k], (void *)spin_here));
			ck_assert(rooted(&s.g[k]));
			answers++;
		}
	}
	look_end();
}
END_TEST

START_TEST(goroutine_that_has_not_run_yet_shows_where_it_will_start)
{
	static struct seen s;

	rtest_begin(1);
	look_never = weft_chan_new(1, 0);
	look_go(spin_here, NULL);
	look_await(1);
	look_go(wait_here, NULL);
	look(&s, (void *)wait_here);

	ck_assert_int_eq(s.n, 1);
	if (s.g[0].status == WEFT_G_RUNNABLE) {
		ck_assert_int_eq(s.g[0].depth, 1);
		ck_assert_uint_eq(s.g[0].pc[0], (uintptr_t)wait_here);
	}
	look_end();
}
END_TEST

/* --- Exactly once -------------------------------------------------------------------------------------------- */

#define STEADY 1000

static uint64_t steady[STEADY];

static NOINLINE void steady_one(void *arg)
{
	steady[(intptr_t)arg] = weft_goid();
	(void)add_sc(&look_started, 1);
	(void)weft_chan_recv(look_never, NULL, 1);
	look_sink++;
}

static NOINLINE void mayfly(void *arg)
{
	(void)arg;
	weft_yield();
	look_sink++;
}

static NOINLINE void breeder(void *arg)
{
	(void)arg;
	while (!ld(&look_stop)) {
		for (int i = 0; i < 10; i++)
			(void)weft_go(mayfly, NULL);
		(void)weft_sleep(WEFT_MS);
	}
}

static bool is_steady(uint64_t id)
{
	return bsearch(&id, steady, STEADY, sizeof id, compare_ids) != NULL;
}

START_TEST(who_lives_throughout_is_seen_exactly_once_while_others_come_and_go)
{
	static struct weft_goroutine g;
	static uint64_t ids[STEADY * 20];

	rtest_begin(2);
	look_never = weft_chan_new(1, 0);
	for (intptr_t i = 0; i < STEADY; i++)
		look_go(steady_one, (void *)i);
	look_await(STEADY);
	qsort(steady, STEADY, sizeof *steady, compare_ids);
	look_go(breeder, NULL);
	look_go(breeder, NULL);
	for (int round = 0; round < 30; round++) {
		struct weft_snapshot *s = weft_snapshot_new();
		int n = 0, steadies = 0;

		while (weft_snapshot_next(s, &g)) {
			ck_assert_int_lt(n, STEADY * 20);
			ids[n++] = g.id;
			if (!is_steady(g.id))
				continue;
			steadies++;
			ck_assert(passes(&g, (void *)steady_one));
			ck_assert(rooted(&g));
			/* one may be on its way into the wait, and stand in a futex call there */
			ck_assert_uint_eq(g.flags & (WEFT_GF_UNAVAILABLE | WEFT_GF_CUT), 0);
			ck_assert(!(g.flags & WEFT_GF_APPROX) || (g.flags & WEFT_GF_BLOCKED));
		}
		weft_snapshot_free(s);
		ck_assert_int_eq(steadies, STEADY);
		qsort(ids, (size_t)n, sizeof *ids, compare_ids);
		for (int i = 1; i < n; i++)
			ck_assert_uint_ne(ids[i - 1], ids[i]);
	}
	look_end();
}
END_TEST

static weft_chan *ping[2][8];

static NOINLINE void player(void *arg)
{
	int pair = (int)((intptr_t)arg >> 1), side = (intptr_t)arg & 1;

	(void)add_sc(&look_started, 1);
	while (!ld(&look_stop)) {
		char b = 1;

		if (weft_chan_send(ping[side][pair], &b, 1) < 0 || weft_chan_recv(ping[!side][pair], &b, 1) < 0)
			break;
	}
}

START_TEST(goroutines_that_never_stand_still_are_seen_all_the_same)
{
	static struct seen s;
	int missed = 0;

	rtest_begin(2);
	for (int i = 0; i < 8; i++) {
		ping[0][i] = weft_chan_new(1, 1);
		ping[1][i] = weft_chan_new(1, 1);
		look_go(player, (void *)(intptr_t)(2 * i));
		look_go(player, (void *)(intptr_t)(2 * i + 1));
	}
	look_await(16);
	for (int round = 0; round < 50; round++) {
		look(&s, (void *)player);
		ck_assert_int_eq(s.n, 16);
		for (int i = 0; i < s.n; i++) {
			if (s.g[i].flags & WEFT_GF_UNAVAILABLE) {
				missed++;
				continue;
			}
			ck_assert_msg(s.g[i].depth > 0 && (s.g[i].depth == 1 || rooted(&s.g[i])), "status %d depth %d",
				      s.g[i].status, s.g[i].depth);
		}
	}
	ck_assert_int_le(missed, 16 * 50 / 4); /* a busy machine may keep a thread off the CPU */
	look_end();
}
END_TEST

static void *looker(void *arg)
{
	struct seen *s = malloc(sizeof *s);

	ck_assert_ptr_nonnull(s);
	for (int i = 0; i < 20; i++) {
		look(s, (void *)spin_here);
		if (s->n != 2)
			*(int *)arg = s->n;
	}
	free(s);
	return NULL;
}

START_TEST(several_may_look_at_once)
{
	pthread_t t[4];
	int bad[4] = { 2, 2, 2, 2 };

	rtest_begin(3);
	look_go(spin_here, NULL);
	look_go(spin_here, NULL);
	look_await(2);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, looker, &bad[i]), 0);
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(pthread_join(t[i], NULL), 0);
		ck_assert_int_eq(bad[i], 2);
	}
	look_end();
}
END_TEST

START_TEST(every_reason_has_a_word)
{
	for (int i = 0; i < RT_WAIT_N; i++)
		ck_assert_uint_gt(strlen(weft_read_reason(i)), 3);
	ck_assert_str_eq(weft_read_reason(RT_WAIT_SLEEP), "sleep");
	ck_assert_str_eq(weft_read_reason(-1), "waiting");
	ck_assert_str_eq(weft_read_reason(9999), "waiting");
}
END_TEST

Suite *test_snapshot(void);
Suite *test_snapshot(void)
{
	Suite *s = suite_create("snapshot");
	TCase *tc = tcase_create("snapshot"), *running = tcase_create("running");

	tcase_set_timeout(tc, 60);
	tcase_set_timeout(running, 60);
	tcase_add_test(tc, parked_goroutine_tells_all_about_itself);
	tcase_add_test(tc, deep_stack_keeps_its_leaf_side);
	tcase_add_test(tc, goroutine_that_has_not_run_yet_shows_where_it_will_start);
	tcase_add_test(tc, who_lives_throughout_is_seen_exactly_once_while_others_come_and_go);
	tcase_add_test(tc, every_reason_has_a_word);
	if (!TSAN) { /* it runs handlers only where a thread calls something that it wraps */
		tcase_add_test(running, every_p_wedged_and_all_is_seen);
		tcase_add_test(running, goroutines_that_never_stand_still_are_seen_all_the_same);
		tcase_add_test(running, several_may_look_at_once);
	}
	suite_add_tcase(s, tc);
	suite_add_tcase(s, running);
	return s;
}
