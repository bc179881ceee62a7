/* test_pin.c - goroutines that are locked to their thread. */
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "rtest.h"

static _Atomic bool stop;
static _Atomic int n_moved, n_free_moves, first_tid;
static weft_chan *chan;

static void spin(int64_t ns)
{
	for (int64_t until = weft_now() + ns; weft_now() < until;)
		;
}

/* Something that lets others run, or loses the P. */
static void something(uint64_t *rng)
{
	int64_t v = 1;

	switch (rtest_random(rng) % 7) {
	case 0:
		weft_yield();
		break;
	case 1:
		(void)weft_sleep((int64_t)(rtest_random(rng) % 200000));
		break;
	case 2:
		(void)weft_chan_try_send(chan, &v, sizeof v);
		break;
	case 3:
		(void)weft_chan_try_recv(chan, &v, sizeof v);
		break;
	case 4:
		WEFT_BLOCKING
		{
			usleep((unsigned)(rtest_random(rng) % 300));
		}
		break;
	case 5:
		usleep((unsigned)(rtest_random(rng) % 1000));
		break;
	default:
		if (rtest_random(rng) % 8 == 0)
			spin(15 * WEFT_MS);
	}
}

static void pinned(void *arg)
{
	uint64_t rng = weft_goid() * 7919 + 1;
	int tid;

	(void)arg;
	weft_lock_thread();
	tid = gettid();
	for (int i = 0; i < rtest_scale(400) && !stop; i++) {
		something(&rng);
		n_moved += gettid() != tid;
	}
	weft_unlock_thread();
	weft_yield();
}

static void unpinned(void *arg)
{
	uint64_t rng = weft_goid() * 7919 + 1;
	int tid = gettid();

	(void)arg;
	while (!stop) {
		something(&rng);
		n_free_moves += gettid() != tid;
		tid = gettid();
	}
}

static bool few_left(void *arg)
{
	return weft_inst_live(inst) <= (uint64_t) * (int *)arg;
}

START_TEST(a_locked_goroutine_stays_on_its_thread_whatever_happens)
{
	rtest_begin(3);
	chan = weft_chan_new(8, 4);
	for (int i = 0; i < 6; i++)
		ck_assert_int_eq(weft_go_in(inst, unpinned, NULL), 0);
	for (int i = 0; i < 6; i++)
		ck_assert_int_eq(weft_go_in(inst, pinned, NULL), 0);
	rtest_wait(few_left, &(int){ 6 }, "the locked ones are through");
	stop = true;
	rtest_wait_gone();
	ck_assert_int_eq(n_moved, 0);
	ck_assert_int_gt(n_free_moves, 0); /* the others do move, so there was something to prove */
	weft_chan_free(chan);
	rtest_end();
}
END_TEST

static _Atomic int other_tid, woke_tid;
static void other(void *arg)
{
	(void)arg;
	other_tid = gettid();
}
static void sleeps_locked(void *arg)
{
	(void)arg;
	weft_lock_thread();
	first_tid = gettid();
	(void)weft_go(other, NULL);
	(void)weft_sleep(20 * WEFT_MS);
	woke_tid = gettid();
	weft_unlock_thread();
}

START_TEST(others_run_on_its_thread_while_it_waits)
{
	rtest_begin(1);
	rtest_run(sleeps_locked, NULL);
	rtest_wait_gone();
	ck_assert_int_eq(other_tid, first_tid);
	ck_assert_int_eq(woke_tid, first_tid);
	rtest_end();
}
END_TEST

static void locks_twice(void *arg)
{
	weft_lock_thread();
	weft_lock_thread();
	weft_unlock_thread();
	first_tid = gettid();
	for (int i = 0; i < 50; i++) {
		(void)weft_sleep(100 * WEFT_US);
		n_moved += gettid() != first_tid;
	}
	(void)arg; /* returns locked */
}
static bool thread_is_gone(void *arg)
{
	char name[64];

	(void)arg;
	snprintf(name, sizeof name, "/proc/self/task/%d", first_tid);
	return access(name, F_OK) != 0;
}

START_TEST(returning_while_locked_ends_the_thread)
{
	rtest_begin(2);
	weft_go_in(inst, locks_twice, NULL);
	rtest_wait_gone();
	ck_assert_int_eq(n_moved, 0);
	rtest_wait(thread_is_gone, NULL, "its thread has ended");
	for (int i = 0; i < 20; i++)
		rtest_run(other, NULL); /* and all Ps still work */
	weft_lock_thread();             /* on a thread: nothing */
	weft_unlock_thread();
	rtest_end();
}
END_TEST

static int pipe_fd[2];
static _Atomic int section_tid;
static _Atomic uint64_t locked_id;
static void blocks_in_a_section(void *arg)
{
	char c;

	(void)arg;
	WEFT_BLOCKING
	{
		section_tid = gettid();
		(void)!read(pipe_fd[0], &c, 1);
	}
}
static void waits_locked(void *arg)
{
	int64_t v;

	(void)arg;
	weft_lock_thread();
	first_tid = gettid();
	locked_id = weft_goid();
	ck_assert_int_eq(weft_go(blocks_in_a_section, NULL), 0);
	ck_assert_int_eq(weft_chan_recv(chan, &v, sizeof v), 1);
	woke_tid = gettid();
	weft_unlock_thread();
}
static bool is_set(void *arg)
{
	return *(_Atomic int *)arg != 0;
}
static bool is_locked(uint64_t id)
{
	struct weft_snapshot *s = weft_snapshot_new();
	struct weft_goroutine g;
	bool locked = false;

	while (weft_snapshot_next(s, &g) > 0)
		locked |= g.id == id && g.flags & WEFT_GF_LOCKED;
	weft_snapshot_free(s);
	return locked;
}

/* With one P the other can only run on the locked one's thread, and would sleep there. */
START_TEST(a_section_of_another_does_not_keep_a_locked_goroutine_waiting)
{
	int64_t v = 1;

	ck_assert_int_eq(pipe(pipe_fd), 0);
	rtest_begin(1);
	chan = weft_chan_new(8, 0);
	weft_go_in(inst, waits_locked, NULL);
	rtest_wait(is_set, &section_tid, "the other is in its section");
	rtest_wait_parked(locked_id, RT_WAIT_CHAN_RECV);
	ck_assert(is_locked(locked_id));
	ck_assert_int_ne(section_tid, first_tid);

	ck_assert_int_eq(weft_chan_send(chan, &v, sizeof v), 0);
	rtest_wait(is_set, &woke_tid, "the locked one goes on");
	ck_assert_int_eq(woke_tid, first_tid);
	ck_assert_int_eq(write(pipe_fd[1], "x", 1), 1);
	rtest_wait_gone();
	weft_chan_free(chan);
	rtest_end();
}
END_TEST

Suite *test_pin(void);
Suite *test_pin(void)
{
	Suite *s = suite_create("pin");
	TCase *t = tcase_create("pin");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_locked_goroutine_stays_on_its_thread_whatever_happens);
	tcase_add_test(t, others_run_on_its_thread_while_it_waits);
	tcase_add_test(t, a_section_of_another_does_not_keep_a_locked_goroutine_waiting);
	tcase_add_test(t, returning_while_locked_ends_the_thread);
	suite_add_tcase(s, t);
	return s;
}
