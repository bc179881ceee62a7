/* test_locks.c - rwmutex, condition, semaphore, and what wait groups find misused. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "often.h"
#include "rtest.h"

/* A goroutine that makes one call and says how it went. */
struct call {
	void *what;
	void *with;
	int64_t n;
	int rc;
	_Atomic uint64_t goid;
	_Atomic int done;
};
static bool has_goid(void *arg)
{
	return ((struct call *)arg)->goid != 0;
}
static bool is_done(void *arg)
{
	return ((struct call *)arg)->done;
}
static void start(struct call *c, weft_fn fn, enum rt_wait reason)
{
	ck_assert_int_eq(weft_go_in(inst, fn, c), 0);
	rtest_wait(has_goid, c, "the goroutine runs");
	rtest_wait_parked(c->goid, reason);
}
static void finished(struct call *c)
{
	rtest_wait(is_done, c, "the call is done");
}

/* --- Rwmutex ------------------------------------------------------------------------------------------------ */

static weft_rwmutex rw;
static void do_rlock(void *arg)
{
	struct call *c = arg;

	c->goid = weft_goid();
	weft_rlock(&rw);
	c->done = 1;
}
static void do_wlock(void *arg)
{
	struct call *c = arg;

	c->goid = weft_goid();
	weft_wlock(&rw);
	c->done = 1;
}
START_TEST(a_waiting_writer_goes_before_later_readers_and_they_before_the_next)
{
	struct call writer = { 0 }, next = { 0 }, reader[3] = { 0 };

	weft_rlock(&rw);
	weft_rlock(&rw);
	start(&writer, do_wlock, RT_WAIT_RWMUTEX_W);
	for (int i = 0; i < 3; i++)
		start(&reader[i], do_rlock, RT_WAIT_RWMUTEX_R);
	start(&next, do_wlock, RT_WAIT_MUTEX);
	ck_assert(!weft_try_rlock(&rw) && !weft_try_wlock(&rw));
	weft_runlock(&rw);
	ck_assert(!writer.done);
	weft_runlock(&rw);
	finished(&writer);
	ck_assert(!reader[0].done && !weft_try_rlock(&rw) && !weft_try_wlock(&rw));
	weft_wunlock(&rw);
	for (int i = 0; i < 3; i++)
		finished(&reader[i]);
	rtest_wait_parked(next.goid, RT_WAIT_RWMUTEX_W);
	for (int i = 0; i < 3; i++)
		weft_runlock(&rw);
	finished(&next);
	weft_wunlock(&rw);
	ck_assert(weft_try_wlock(&rw));
	ck_assert(!weft_try_rlock(&rw));
	weft_wunlock(&rw);
	ck_assert(weft_try_rlock(&rw) && weft_try_rlock(&rw) && !weft_try_wlock(&rw));
	weft_runlock(&rw);
	weft_runlock(&rw);
}
END_TEST

/* Readers never see a writer, nor writers anybody. */
static _Atomic int inside; /* readers +1, writers +1000 */
static int rounds;
static void read_or_write(void *arg)
{
	uint64_t rng = ((uintptr_t)arg + 1) * 0x9e3779b97f4a7c15ull;

	for (int i = 0; i < rounds; i++) {
		uint64_t r = rtest_random(&rng) % 16;

		if (r == 0 || (r == 1 && weft_try_wlock(&rw))) {
			if (r == 0)
				weft_wlock(&rw);
			often_eq(atomic_fetch_add(&inside, 1000), 0);
			if (i % 3 == 0)
				weft_yield();
			inside -= 1000;
			weft_wunlock(&rw);
		} else if (r != 2 || weft_try_rlock(&rw)) {
			if (r != 2)
				weft_rlock(&rw);
			often(atomic_fetch_add(&inside, 1) < 999);
			if (i % 5 == 0)
				weft_yield();
			inside--;
			weft_runlock(&rw);
		}
	}
}
static void *read_or_write_thread(void *arg)
{
	read_or_write(arg);
	return NULL;
}
static void many_of(void *arg)
{
	weft_wg wg = { 0 };

	for (uintptr_t i = 0; i < 20; i++)
		ck_assert_int_eq(weft_wg_go(&wg, (weft_fn)arg, (void *)i), 0);
	weft_wg_wait(&wg);
}
START_TEST(writers_exclude_everybody)
{
	pthread_t t;

	rounds = rtest_scale(5000);
	ck_assert_int_eq(pthread_create(&t, NULL, read_or_write_thread, (void *)77), 0);
	rtest_run(many_of, (void *)read_or_write);
	pthread_join(t, NULL);
	ck_assert_int_eq(inside, 0);
}
END_TEST

/* --- Condition ------------------------------------------------------------------------------------------------ */

static weft_mutex mutex;
static weft_cond cond;
static _Atomic int order;
static void do_wait(void *arg)
{
	struct call *c = arg;

	weft_lock(&mutex);
	c->goid = weft_goid();
	c->rc = weft_cond_wait(&cond, &mutex);
	c->n = ++order;
	ck_assert(!weft_trylock(&mutex)); /* we hold it, however the wait ended */
	weft_unlock(&mutex);
	c->done = 1;
}
START_TEST(a_signal_wakes_the_longest_waiting_a_broadcast_all)
{
	struct call c[5] = { 0 };

	weft_cond_signal(&cond); /* nobody there: not kept */
	for (int i = 0; i < 5; i++)
		start(&c[i], do_wait, RT_WAIT_COND);
	weft_cond_signal(&cond);
	finished(&c[0]);
	ck_assert(!c[1].done && c[0].rc == 0);
	weft_lock(&mutex);
	weft_cond_signal(&cond);
	weft_unlock(&mutex);
	finished(&c[1]);
	ck_assert(!c[2].done && c[1].n == 2);
	weft_cond_broadcast(&cond);
	for (int i = 2; i < 5; i++) {
		finished(&c[i]);
		ck_assert_int_eq(c[i].rc, 0);
	}
}
END_TEST

START_TEST(a_condition_that_is_called_off_has_the_mutex_and_takes_no_signal)
{
	struct call c[3] = { 0 };
	weft_cond *x = &cond;
	weft_inst *other = weft_inst_new("other");
	struct call keeps = { 0 };

	for (int i = 0; i < 3; i++)
		start(&c[i], do_wait, RT_WAIT_COND);
	ck_assert_int_eq(weft_go_in(other, do_wait, &keeps), 0);
	rtest_wait(has_goid, &keeps, "the goroutine runs");
	rtest_wait_parked(keeps.goid, RT_WAIT_COND);
	weft_lock(&mutex); /* so that those called off are still in line for it, and on the list */
	weft_inst_cancel(inst);
	weft_cond_signal(x);
	weft_unlock(&mutex);
	finished(&keeps);
	ck_assert_int_eq(keeps.rc, 0);
	for (int i = 0; i < 3; i++) {
		finished(&c[i]);
		ck_assert_int_eq(c[i].rc, -ECANCELED);
	}
}
END_TEST

/* A queue with room for a few, with conditions: generations of waiters, no signal lost. */
static int queued, made, eaten;
static weft_cond not_empty, not_full;
#define ROOM 3
static void produce(void *arg)
{
	(void)arg;
	for (int i = 0; i < rounds; i++) {
		WEFT_LOCKED(&mutex) {
			while (queued == ROOM)
				ck_assert_int_eq(weft_cond_wait(&not_full, &mutex), 0);
			queued++;
			made++;
		}
		weft_cond_signal(&not_empty);
	}
}
static void consume(void *arg)
{
	(void)arg;
	for (int i = 0; i < rounds; i++) {
		WEFT_LOCKED(&mutex) {
			while (queued == 0)
				ck_assert_int_eq(weft_cond_wait(&not_empty, &mutex), 0);
			queued--;
			eaten++;
		}
		weft_cond_signal(&not_full);
	}
}
static void both(void *arg)
{
	weft_wg wg = { 0 };

	(void)arg;
	for (int i = 0; i < 6; i++) {
		ck_assert_int_eq(weft_wg_go(&wg, produce, NULL), 0);
		ck_assert_int_eq(weft_wg_go(&wg, consume, NULL), 0);
	}
	weft_wg_wait(&wg);
}
static void *produce_thread(void *arg)
{
	produce(arg);
	return NULL;
}
static void *consume_thread(void *arg)
{
	consume(arg);
	return NULL;
}
START_TEST(no_signal_is_lost_between_goroutines_and_threads)
{
	pthread_t a, b;

	rounds = rtest_scale(3000);
	ck_assert_int_eq(pthread_create(&a, NULL, produce_thread, NULL), 0);
	ck_assert_int_eq(pthread_create(&b, NULL, consume_thread, NULL), 0);
	rtest_run(both, NULL);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	ck_assert_int_eq(made, 7 * rounds);
	ck_assert_int_eq(eaten, 7 * rounds);
}
END_TEST

/* --- Semaphore --------------------------------------------------------------------------------------------------- */

static weft_sem sem;
static void do_acquire(void *arg)
{
	struct call *c = arg;

	c->goid = weft_goid();
	c->rc = weft_sem_acquire(&sem, c->n);
	c->done = 1;
}
START_TEST(permits_are_given_first_come_first_served)
{
	struct call big = { .n = 3 }, small = { .n = 1 };

	weft_sem_init(&sem, 2);
	ck_assert_int_eq(weft_sem_try_acquire(&sem, 3), -EAGAIN);
	ck_assert_int_eq(weft_sem_acquire(&sem, 1), 0);
	start(&big, do_acquire, RT_WAIT_SEMAPHORE);
	start(&small, do_acquire, RT_WAIT_SEMAPHORE); /* one is there, but big came first */
	ck_assert_int_eq(weft_sem_try_acquire(&sem, 1), -EAGAIN);
	weft_sem_release(&sem, 2);
	finished(&big);
	ck_assert(!small.done);
	weft_sem_release(&sem, 1);
	finished(&small);
	ck_assert_int_eq(big.rc, 0);
	ck_assert_int_eq(small.rc, 0);
	ck_assert_int_eq(weft_sem_acquire(&sem, 0), -EINVAL);
	ck_assert_int_eq(weft_sem_try_acquire(&sem, -1), -EINVAL);
}
END_TEST

START_TEST(one_that_is_called_off_lets_those_behind_it_pass)
{
	struct call big = { .n = 100 }, small = { .n = 1 };
	weft_inst *other = weft_inst_new("other");

	weft_sem_init(&sem, 1);
	start(&big, do_acquire, RT_WAIT_SEMAPHORE);
	ck_assert_int_eq(weft_go_in(other, do_acquire, &small), 0);
	rtest_wait(has_goid, &small, "the goroutine runs");
	rtest_wait_parked(small.goid, RT_WAIT_SEMAPHORE);
	weft_inst_cancel(inst);
	finished(&big);
	finished(&small);
	ck_assert_int_eq(big.rc, -ECANCELED);
	ck_assert_int_eq(small.rc, 0);
	ck_assert_int_eq(weft_sem_try_acquire(&sem, 1), -EAGAIN);
}
END_TEST

static _Atomic int64_t taken;
static void take_some(void *arg)
{
	uint64_t rng = ((uintptr_t)arg + 1) * 0x9e3779b97f4a7c15ull;

	for (int i = 0; i < rounds; i++) {
		int64_t n = (int64_t)(rtest_random(&rng) % 4) + 1;

		ck_assert_int_eq(weft_sem_acquire(&sem, n), 0);
		ck_assert_int_le(atomic_fetch_add(&taken, n), 5 - n);
		if (i % 4 == 0)
			weft_yield();
		taken -= n;
		weft_sem_release(&sem, n);
	}
}
START_TEST(never_more_are_taken_than_there_are)
{
	rounds = rtest_scale(2000);
	weft_sem_init(&sem, 5);
	rtest_run(many_of, (void *)take_some);
	ck_assert_int_eq(weft_sem_try_acquire(&sem, 5), 0);
}
END_TEST

/* --- Misuse ----------------------------------------------------------------------------------------------------- */

static void dies_of(void (*misuse)(void), const char *words)
{
	char text[4096] = "";
	ssize_t n;
	size_t len = 0;
	int status, fds[2];
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 2);
		misuse();
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], text + len, sizeof text - 1 - len)) > 0) {
		len += (size_t)n;
		if (len > sizeof text / 2)
			len = sizeof text / 2; /* the head is what matters */
	}
	close(fds[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGABRT);
	ck_assert_msg(strstr(text, words) != NULL, "it says: %s", text);
}
static void runlock_unlocked(void)
{
	weft_rwmutex m = { 0 };

	weft_runlock(&m);
}
static void wunlock_unlocked(void)
{
	weft_rwmutex m = { 0 };

	weft_wunlock(&m);
}
static void wunlock_rlocked(void)
{
	weft_rwmutex m = { 0 };

	weft_rlock(&m);
	weft_wunlock(&m);
}
static void no_permits(void)
{
	weft_sem s;

	weft_sem_init(&s, -1);
}
static void release_none(void)
{
	weft_sem_release(&sem, 0);
}
/* As it looks when an add from zero overtakes the waking of the last round. */
static void add_under_waiters(void)
{
	weft_wg wg = { { 1 } };

	weft_wg_add(&wg, 1);
}
START_TEST(misuse_is_fatal_and_named)
{
	dies_of(runlock_unlocked, "weft_runlock");
	dies_of(wunlock_unlocked, "weft_wunlock");
	dies_of(wunlock_rlocked, "weft_wunlock");
	dies_of(no_permits, "weft_sem_init");
	dies_of(release_none, "weft_sem_release");
	dies_of(add_under_waiters, "weft_wg_add");
}
END_TEST

Suite *test_locks(void);
Suite *test_locks(void)
{
	Suite *s = suite_create("locks");
	TCase *none = tcase_create("no runtime");

	for (int ps = 1; ps <= 3; ps += 2) {
		TCase *t = rtest_case(ps, 60);

		tcase_add_test(t, a_waiting_writer_goes_before_later_readers_and_they_before_the_next);
		tcase_add_test(t, writers_exclude_everybody);
		tcase_add_test(t, a_signal_wakes_the_longest_waiting_a_broadcast_all);
		tcase_add_test(t, a_condition_that_is_called_off_has_the_mutex_and_takes_no_signal);
		tcase_add_test(t, no_signal_is_lost_between_goroutines_and_threads);
		tcase_add_test(t, permits_are_given_first_come_first_served);
		tcase_add_test(t, one_that_is_called_off_lets_those_behind_it_pass);
		tcase_add_test(t, never_more_are_taken_than_there_are);
		suite_add_tcase(s, t);
	}
	tcase_add_test(none, misuse_is_fatal_and_named);
	suite_add_tcase(s, none);
	return s;
}
