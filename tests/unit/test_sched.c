/* test_sched.c - starting, yielding, sleeping, fairness, stealing. */
#include <stdatomic.h>

#include "often.h"
#include "rtest.h"

/* --- Starting --- */

static void add_one(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
}

START_TEST(every_goroutine_started_runs_once)
{
	static _Atomic int ran;
	int n = rtest_scale(50000);

	for (int i = 0; i < n; i++)
		often_eq(weft_go_in(inst, add_one, &ran), 0);
	rtest_wait_gone();
	ck_assert_int_eq(ran, n);
}
END_TEST

struct tree {
	_Atomic int leaves;
	weft_wg wg;
};
struct node {
	struct tree *t;
	int size;
};
static void grow(void *arg)
{
	struct node *n = arg;

	if (n->size <= 1) {
		atomic_fetch_add(&n->t->leaves, 1);
	} else {
		struct node child = { n->t, n->size / 10 };

		weft_wg_add(&n->t->wg, 10);
		for (int i = 0; i < 10; i++)
			ck_assert_int_eq(weft_go_copy(grow, &child), 0);
	}
	weft_wg_done(&n->t->wg);
}
static void plant(void *arg)
{
	struct node root = { arg, 10000 };

	weft_wg_add(&root.t->wg, 1);
	ck_assert_int_eq(weft_go_copy(grow, &root), 0);
	weft_wg_wait(&root.t->wg);
}
START_TEST(a_tree_of_copies_has_all_its_leaves)
{
	struct tree t = { 0 };

	rtest_run(plant, &t);
	ck_assert_int_eq(t.leaves, 10000);
}
END_TEST

static _Atomic uint64_t parent_seen;
static void note_ids(void *arg)
{
	atomic_fetch_add((_Atomic uint64_t *)arg, weft_goid());
}
static void child_of(void *arg)
{
	uint64_t before = weft_goid();

	parent_seen = before;
	weft_go(note_ids, arg);
	weft_yield();
	ck_assert_uint_eq(weft_goid(), before);
}
START_TEST(ids_are_never_reused)
{
	static _Atomic uint64_t sum;
	uint64_t last = 0;

	for (int i = 0; i < 300; i++) {
		rtest_run(child_of, &sum);
		ck_assert_uint_ne(parent_seen, last);
		last = parent_seen;
	}
	ck_assert_uint_gt(sum, 0);
	ck_assert_uint_eq(weft_goid(), 0);
}
END_TEST

START_TEST(bad_arguments_are_refused)
{
	struct weft_go_opts big = { .size = sizeof big, .arg_size = WEFT_ARG_MAX + 1 };
	struct weft_go_opts old = { .size = 3 };

	ck_assert_int_eq(weft_go(add_one, NULL), -EPERM); /* this thread is in no instance */
	ck_assert_int_eq(weft_go_in(NULL, add_one, NULL), -EPERM);
	ck_assert_int_eq(weft_go_in(inst, NULL, NULL), -EINVAL);
	ck_assert_int_eq(weft_enter(inst), 0);
	ck_assert_int_eq(weft_enter(inst), -EBUSY);
	ck_assert_int_eq(weft_go_with(add_one, NULL, &big), -EINVAL);
	ck_assert_int_eq(weft_go_with(add_one, NULL, &old), -EINVAL);
	ck_assert_str_eq(weft_instance_name(), "test");
	weft_leave();
	ck_assert_int_eq(weft_go(add_one, NULL), -EPERM);
}
END_TEST

/* --- Yield, sleep, time --- */

static void yielder(void *arg)
{
	int *turns = arg;

	for (int i = 0; i < 1000; i++) {
		(*turns)++;
		weft_yield();
	}
}
START_TEST(yield_lets_others_run)
{
	static int turns[10];

	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(weft_go_in(inst, yielder, &turns[i]), 0);
	rtest_wait_gone();
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(turns[i], 1000);
}
END_TEST

static void sleeper(void *arg)
{
	int64_t ms = (int64_t)(intptr_t)arg, t = weft_now();

	ck_assert_int_eq(weft_sleep(ms * WEFT_MS), 0);
	ck_assert_int_ge(weft_now() - t, ms * WEFT_MS);
}
START_TEST(sleep_lasts_at_least_as_long_as_asked)
{
	for (intptr_t i = 0; i < 200; i++)
		ck_assert_int_eq(weft_go_in(inst, sleeper, (void *)(i % 40)), 0);
	rtest_wait_gone();
}
END_TEST

static _Atomic bool ran_beside;
static void beside(void *arg)
{
	(void)arg;
	ran_beside = true;
}
static void spin_and_sleep(void *arg)
{
	(void)arg;
	ck_assert_int_eq(weft_go(beside, NULL), 0);
	while (!ran_beside)
		ck_assert_int_eq(weft_sleep(1000), 0);
}
START_TEST(a_sleeping_starter_lets_the_started_run)
{
	rtest_run(spin_and_sleep, NULL);
}
END_TEST

static void long_sleeper(void *arg)
{
	*(int *)arg = weft_sleep(3600 * WEFT_SEC);
}
START_TEST(cancel_ends_a_long_sleep)
{
	static int rc[100];

	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(weft_go_in(inst, long_sleeper, &rc[i]), 0);
	while (weft_inst_live(inst) != 100)
		;
	weft_inst_cancel(inst);
	rtest_wait_gone();
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(rc[i], -ECANCELED);
}
END_TEST

/* --- Fairness --- */

typedef WEFT_CHAN(int64_t) int_chan;
static _Atomic bool stop_pair, old_ran;
static int_chan ping, pong;
static void pinger(void *arg)
{
	int64_t v = 0;

	(void)arg;
	while (!stop_pair && weft_send(ping, v) == 0 && weft_recv(pong, &v) > 0)
		;
	weft_chan_finish(ping);
}
static void ponger(void *arg)
{
	int64_t v;

	(void)arg;
	while (weft_recv(ping, &v) > 0 && weft_send(pong, v) == 0)
		;
}
static void starved(void *arg)
{
	(void)arg;
	old_ran = true;
	stop_pair = true;
}
START_TEST(a_pair_that_hands_over_for_ever_starves_nobody)
{
	weft_make(&ping, 0);
	weft_make(&pong, 1);
	weft_go_in(inst, pinger, NULL);
	weft_go_in(inst, ponger, NULL);
	weft_go_in(inst, starved, NULL);
	rtest_wait_gone();
	ck_assert(old_ran);
}
END_TEST

/* A spawner that never stops spawning must not starve its first child (newest runs first). */
static _Atomic bool first_ran;
static void first_child(void *arg)
{
	(void)arg;
	first_ran = true;
}
static void other_child(void *arg)
{
	(void)arg;
}
static void spawner(void *arg)
{
	(void)arg;
	weft_go(first_child, NULL);
	while (!first_ran) {
		weft_go(other_child, NULL);
		weft_go(other_child, NULL);
		weft_yield();
	}
}
START_TEST(the_oldest_spawned_runs_although_newer_come_for_ever)
{
	rtest_run(spawner, NULL);
}
END_TEST

/* --- Several Ps --- */

static _Atomic int at_once, most_at_once;
static void meet(void *arg)
{
	int n = atomic_fetch_add(&at_once, 1) + 1, most = most_at_once;

	(void)arg;
	while (most < n && !atomic_compare_exchange_weak(&most_at_once, &most, n))
		;
	for (int64_t until = weft_now() + 10 * WEFT_SEC; most_at_once < 3 && weft_now() < until;)
		;
	atomic_fetch_sub(&at_once, 1);
}
static void meet_all(void *arg)
{
	weft_wg wg = { 0 };

	(void)arg;
	for (int i = 0; i < 3; i++)
		weft_wg_go(&wg, meet, NULL);
	weft_wg_wait(&wg);
}
START_TEST(as_many_run_at_once_as_there_are_ps)
{
	rtest_run(meet_all, NULL);
	ck_assert_int_eq(most_at_once, 3);
}
END_TEST

/* A goroutine hands over to another and never comes back to the scheduler: sysmon frees run-next. */
static int_chan handed;
static _Atomic bool got_it;
static void receiver(void *arg)
{
	int64_t v;

	(void)arg;
	ck_assert_int_eq(weft_recv(handed, &v), 1);
	got_it = true;
}
static void hander(void *arg)
{
	(void)arg;
	ck_assert_int_eq(weft_send(handed, 1), 0);
	for (int64_t until = weft_now() + 20 * WEFT_SEC; !got_it && weft_now() < until;)
		;
	ck_assert(got_it);
}
static void hand_over_and_spin(void *arg)
{
	weft_wg wg = { 0 };

	(void)arg;
	weft_make(&handed, 0);
	weft_wg_go(&wg, receiver, NULL);
	weft_sleep(2 * WEFT_MS);
	weft_wg_go(&wg, hander, NULL);
	weft_wg_wait(&wg);
}
START_TEST(what_was_handed_over_runs_although_the_giver_spins)
{
	rtest_run(hand_over_and_spin, NULL);
}
END_TEST

/* --- errno --- */

static void errno_keeper(void *arg)
{
	for (int i = 0; i < 200; i++) {
		errno = (int)(intptr_t)arg;
		weft_yield();
		if (i % 10 == 0)
			weft_sleep(1);
		ck_assert_int_eq(errno, (int)(intptr_t)arg);
	}
}
START_TEST(errno_belongs_to_the_goroutine)
{
	for (intptr_t i = 1; i < 50; i++)
		weft_go_in(inst, errno_keeper, (void *)i);
	rtest_wait_gone();
}
END_TEST

Suite *test_sched(void);
Suite *test_sched(void)
{
	Suite *s = suite_create("sched");
	TCase *t;

	for (int ps = 1; ps <= 3; ps += 2) {
		t = rtest_case(ps, 120);
		tcase_add_test(t, every_goroutine_started_runs_once);
		tcase_add_test(t, a_tree_of_copies_has_all_its_leaves);
		tcase_add_test(t, ids_are_never_reused);
		tcase_add_test(t, bad_arguments_are_refused);
		tcase_add_test(t, yield_lets_others_run);
		tcase_add_test(t, sleep_lasts_at_least_as_long_as_asked);
		tcase_add_test(t, a_sleeping_starter_lets_the_started_run);
		tcase_add_test(t, cancel_ends_a_long_sleep);
		tcase_add_test(t, a_pair_that_hands_over_for_ever_starves_nobody);
		tcase_add_test(t, the_oldest_spawned_runs_although_newer_come_for_ever);
		tcase_add_test(t, errno_belongs_to_the_goroutine);
		if (ps > 1) {
			tcase_add_test(t, as_many_run_at_once_as_there_are_ps);
			tcase_add_test(t, what_was_handed_over_runs_although_the_giver_spins);
		}
		suite_add_tcase(s, t);
	}
	return s;
}
