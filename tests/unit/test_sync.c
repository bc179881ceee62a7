/* test_sync.c - mutex, wait group, once; on goroutines and on threads that are none. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rtest.h"

/* --- Mutex --- */

static weft_mutex mutex;
static long guarded;
static int rounds;

static void incrementer(void *arg)
{
	(void)arg;
	for (int i = 0; i < rounds; i++) {
		WEFT_LOCKED(&mutex) {
			long v = guarded;

			if (i % 16 == 0)
				weft_yield();
			guarded = v + 1;
		}
	}
}
static void increment_all(void *arg)
{
	weft_wg wg = { 0 };

	(void)arg;
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(weft_wg_go(&wg, incrementer, NULL), 0);
	weft_wg_wait(&wg);
}
START_TEST(a_mutex_excludes)
{
	rounds = rtest_scale(2000);
	rtest_run(increment_all, NULL);
	ck_assert_int_eq(guarded, 50L * rounds);
}
END_TEST

static void *incrementer_thread(void *arg)
{
	incrementer(arg);
	return NULL;
}
START_TEST(a_mutex_excludes_goroutines_and_foreign_threads_alike)
{
	pthread_t threads[4];

	rounds = rtest_scale(2000);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, incrementer_thread, NULL), 0);
	rtest_run(increment_all, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(guarded, 54L * rounds);
}
END_TEST

START_TEST(trylock_says_whether_it_got_it)
{
	ck_assert(weft_trylock(&mutex));
	ck_assert(!weft_trylock(&mutex));
	weft_unlock(&mutex);
	ck_assert(weft_trylock(&mutex));
	weft_unlock(&mutex);
}
END_TEST

static _Atomic uint64_t waiter_id;
static void lock_and_unlock(void *arg)
{
	waiter_id = weft_goid();
	weft_lock(arg);
	weft_unlock(arg);
}
static bool waiter_known(void *arg)
{
	(void)arg;
	return waiter_id != 0;
}
START_TEST(cancel_does_not_call_a_lock_off)
{
	weft_lock(&mutex);
	weft_go_in(inst, lock_and_unlock, &mutex);
	rtest_wait(waiter_known, NULL, "it runs");
	rtest_wait_parked(waiter_id, RT_WAIT_MUTEX);
	weft_inst_cancel(inst);
	rtest_wait_parked(waiter_id, RT_WAIT_MUTEX);
	weft_unlock(&mutex);
	rtest_wait_gone();
}
END_TEST

/* One goroutine takes the mutex again and again; a second must get it nonetheless. */
static _Atomic bool got_turn;
static void greedy(void *arg)
{
	while (!got_turn) {
		weft_lock(arg);
		for (int64_t until = weft_now() + 100 * WEFT_US; weft_now() < until;)
			;
		weft_unlock(arg);
	}
}
static void modest(void *arg)
{
	weft_lock(arg);
	got_turn = true;
	weft_unlock(arg);
}
static void greed(void *arg)
{
	weft_wg wg = { 0 };

	weft_wg_go(&wg, greedy, arg);
	weft_wg_go(&wg, greedy, arg);
	weft_wg_go(&wg, modest, arg);
	weft_wg_wait(&wg);
}
START_TEST(a_waiter_is_not_starved_by_those_who_run)
{
	rtest_run(greed, &mutex);
	ck_assert(got_turn);
}
END_TEST

static void dies_of(void (*misuse)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int null = dup(2);

		close(2); /* the dump is not what is tested here */
		(void)null;
		misuse();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGABRT);
}
static void unlock_unlocked(void)
{
	weft_mutex m = { 0 };

	weft_unlock(&m);
}
static void negative_group(void)
{
	weft_wg wg = { 0 };

	weft_wg_done(&wg);
}
START_TEST(misuse_is_fatal)
{
	dies_of(unlock_unlocked);
	dies_of(negative_group);
}
END_TEST

/* --- Wait group --- */

static _Atomic int finished;
static void finish(void *arg)
{
	(void)arg;
	weft_yield();
	atomic_fetch_add(&finished, 1);
}
struct group {
	weft_wg wg;
	_Atomic int woken;
};
static void wait_group(void *arg)
{
	struct group *g = arg;

	weft_wg_wait(&g->wg);
	g->woken++;
}
static void group_main(void *arg)
{
	struct group g = { 0 };
	weft_wg waiters = { 0 };

	(void)arg;
	for (int round = 0; round < 50; round++) {
		int before = finished;

		g.woken = 0;
		for (int i = 0; i < 20; i++)
			ck_assert_int_eq(weft_wg_go(&g.wg, finish, NULL), 0);
		for (int i = 0; i < 5; i++)
			ck_assert_int_eq(weft_wg_go(&waiters, wait_group, &g), 0);
		weft_wg_wait(&g.wg);
		ck_assert_int_eq(finished, before + 20);
		weft_wg_wait(&waiters);
		ck_assert_int_eq(g.woken, 5);
	}
	weft_wg_wait(&g.wg); /* at zero: no wait */
}
START_TEST(a_wait_group_wakes_all_waiters_at_zero_and_can_be_used_again)
{
	rtest_run(group_main, NULL);
}
END_TEST

START_TEST(a_wait_group_that_could_not_start_adds_nothing)
{
	weft_wg wg = { 0 };

	ck_assert_int_eq(weft_wg_go(&wg, finish, NULL), -EPERM);
	ck_assert_int_eq(weft_wg_go(&wg, NULL, NULL), -EPERM);
	weft_wg_wait(&wg);
}
END_TEST

/* --- Once --- */

static weft_once once;
static _Atomic int called;
static void call_me(void *arg)
{
	(void)arg;
	weft_sleep(2 * WEFT_MS);
	called++;
}
static void once_user(void *arg)
{
	(void)arg;
	weft_once_do(&once, call_me, NULL);
	ck_assert_int_eq(called, 1);
}
START_TEST(once_calls_once_and_all_return_after_it)
{
	for (int i = 0; i < 30; i++)
		ck_assert_int_eq(weft_go_in(inst, once_user, NULL), 0);
	rtest_wait_gone();
	ck_assert_int_eq(called, 1);
}
END_TEST

/* --- Foreign threads --- */

static weft_chan *pipe_in, *pipe_out;
static void *foreign_worker(void *arg)
{
	int64_t v;
	int rc;

	(void)arg;
	while ((rc = weft_chan_recv(pipe_in, &v, sizeof v)) > 0) {
		v *= 2;
		ck_assert_int_eq(weft_chan_send(pipe_out, &v, sizeof v), 0);
	}
	ck_assert_int_eq(rc, 0);
	return NULL;
}
static void feed(void *arg)
{
	int64_t sum = 0, v;
	int n = *(int *)arg;

	for (int64_t i = 1; i <= n; i++) {
		ck_assert_int_eq(weft_chan_send(pipe_in, &i, sizeof i), 0);
		ck_assert_int_eq(weft_chan_recv(pipe_out, &v, sizeof v), 1);
		sum += v;
	}
	ck_assert_int_eq(sum, (int64_t)n * (n + 1));
	weft_chan_close(pipe_in);
}
START_TEST(foreign_threads_send_receive_and_block_like_goroutines)
{
	pthread_t threads[3];
	int n = rtest_scale(2000);

	pipe_in = weft_chan_new(8, 0);
	pipe_out = weft_chan_new(8, 4);
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, foreign_worker, NULL);
	rtest_run(feed, &n);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(weft_sleep(1000), 0);
	weft_yield();
	ck_assert_ptr_null(weft_ctx_self());
	ck_assert_int_eq(weft_ctx_err(NULL), -ECANCELED);
	weft_chan_free(pipe_in);
	weft_chan_free(pipe_out);
}
END_TEST

Suite *test_sync(void);
Suite *test_sync(void)
{
	Suite *s = suite_create("sync");
	for (int ps = 1; ps <= 3; ps += 2) {
		TCase *t = rtest_case(ps, 120);

		tcase_add_test(t, a_mutex_excludes);
		tcase_add_test(t, a_mutex_excludes_goroutines_and_foreign_threads_alike);
		tcase_add_test(t, trylock_says_whether_it_got_it);
		tcase_add_test(t, cancel_does_not_call_a_lock_off);
		if (ps > 1) /* on one P a goroutine that never waits keeps it: nobody preempts it yet */
			tcase_add_test(t, a_waiter_is_not_starved_by_those_who_run);
		tcase_add_test(t, a_wait_group_wakes_all_waiters_at_zero_and_can_be_used_again);
		tcase_add_test(t, a_wait_group_that_could_not_start_adds_nothing);
		tcase_add_test(t, once_calls_once_and_all_return_after_it);
		tcase_add_test(t, foreign_threads_send_receive_and_block_like_goroutines);
		suite_add_tcase(s, t);
	}
	TCase *t = tcase_create("misuse");

	tcase_add_test(t, misuse_is_fatal);
	suite_add_tcase(s, t);
	return s;
}
