/* test_deadlock.c - which instances are found to be in a deadlock, which are not, and what is said. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "rtest.h"

#include "rt.h"

Suite *test_deadlock(void);

/* The log: written by the caller of weft_host_find_deadlocks(), which is the test's thread. */
static char said[16384];
static int n_said;

static weft_mutex a, b;
static weft_chan *chan;
static _Atomic uint64_t first_id, second_id;
static _Atomic int locked;

static void log_line(void *user, int level, const char *instance, uint64_t goid, const char *text)
{
	size_t n = strlen(said);

	(void)user, (void)goid;
	if (!instance)
		return; /* of the runtime: how stacks are guarded */
	ck_assert_int_eq(level, WEFT_WARN);
	ck_assert_str_eq(instance, "test");
	snprintf(said + n, sizeof said - n, "%s\n", text);
	n_said++;
}

static void begin(void)
{
	rtest_begin_with(&(struct weft_host_opts){ .maxprocs = 2, .recorder_bytes = 1 << 20, .log = log_line });
	chan = weft_chan_new(sizeof(int), 0);
	ck_assert_ptr_nonnull(chan);
}

static void end(void)
{
	weft_inst_cancel(inst);
	rtest_end();
}

/* A look asks to be left alone for a hundred times as long as it took. */
static int look(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 20 * WEFT_MS }, NULL);
	return weft_host_find_deadlocks();
}

/* The looks from the first quiet one on, which the rest after a slow one may swallow.  How many were found. */
static int look_until_found(void)
{
	int n = 0;

	for (int i = 0; i < 500 && n == 0; i++)
		n = look();
	return n;
}

static void says(const char *what)
{
	ck_assert_msg(strstr(said, what) != NULL, "\"%s\" is not in:\n%s", what, said);
}

/* --- Found ------------------------------------------------------------------------------------------ */

static void lock_both(weft_mutex *one, weft_mutex *other, _Atomic uint64_t *id)
{
	st(id, weft_goid());
	weft_lock(one);
	(void)add(&locked, 1);
	while (ld(&locked) < 2)
		weft_yield();
	weft_lock(other);
}
static void first(void *arg)
{
	(void)arg;
	lock_both(&a, &b, &first_id);
}
static void second(void *arg)
{
	(void)arg;
	lock_both(&b, &a, &second_id);
}

static bool both_run(void *unused)
{
	(void)unused;
	return ld(&first_id) && ld(&second_id);
}

/* Until both stand still for these reasons. */
static void start_both(weft_fn one, enum rt_wait one_waits, weft_fn other, enum rt_wait other_waits)
{
	ck_assert_int_eq(weft_inst_call(inst, one, NULL, NULL), 0);
	ck_assert_int_eq(weft_inst_call(inst, other, NULL, NULL), 0);
	rtest_wait(both_run, NULL, "both run");
	rtest_wait_parked(ld(&first_id), one_waits);
	rtest_wait_parked(ld(&second_id), other_waits);
}

START_TEST(two_locks_in_opposite_order_are_found_with_their_cycle_and_said_once)
{
	char want[256];

	start_both(first, RT_WAIT_MUTEX, second, RT_WAIT_MUTEX);

	ck_assert_int_eq(look(), 0); /* one look proves nothing */
	ck_assert_int_eq(n_said, 0);
	ck_assert_int_eq(look_until_found(), 1);
	says("all 2 goroutines wait");
	says("a cycle of 2: ");
	snprintf(want, sizeof want, "goroutine %llu waits for the mutex at %p, locked by goroutine %llu",
		 (unsigned long long)ld(&first_id), (void *)&b, (unsigned long long)ld(&second_id));
	says(want);
	says("[sync.Mutex.Lock], as ");

	n_said = 0;
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(look(), 0);
	ck_assert_int_eq(n_said, 0);
}
END_TEST

static void lock_twice(void *arg)
{
	(void)arg;
	st(&first_id, weft_goid());
	weft_lock(&a);
	weft_lock(&a);
}

START_TEST(a_lock_taken_twice_is_a_cycle_of_one)
{
	ck_assert_int_eq(weft_inst_call(inst, lock_twice, NULL, NULL), 0);
	st(&second_id, 1);
	rtest_wait(both_run, NULL, "it runs");
	rtest_wait_parked(ld(&first_id), RT_WAIT_MUTEX);

	ck_assert_int_eq(look_until_found(), 1);
	says("all 1 goroutine wait");
	says("a cycle of 1: ");
}
END_TEST

static void counted(void *arg)
{
	(void)arg;
	st(&second_id, weft_goid());
	weft_lock(&a); /* whoever waits for us has it */
}
static void waits_for_group(void *arg)
{
	weft_wg wg = { 0 };

	(void)arg;
	st(&first_id, weft_goid());
	weft_lock(&a);
	if (weft_wg_go(&wg, counted, NULL) == 0)
		weft_wg_wait(&wg);
}

START_TEST(a_cycle_may_go_through_a_wait_group)
{
	ck_assert_int_eq(weft_inst_call(inst, waits_for_group, NULL, NULL), 0);
	rtest_wait(both_run, NULL, "both run");
	rtest_wait_parked(ld(&first_id), RT_WAIT_WAITGROUP);
	rtest_wait_parked(ld(&second_id), RT_WAIT_MUTEX);

	ck_assert_int_eq(look_until_found(), 1);
	says("waits for the wait group at");
	says("a cycle of 2: ");
}
END_TEST

static _Atomic int got; /* so that none of the calls below is a jump */

static void receive_first(void *arg)
{
	(void)arg;
	st(&first_id, weft_goid());
	got = weft_chan_recv(chan, NULL, sizeof(int));
}
static void receive_second(void *arg)
{
	(void)arg;
	st(&second_id, weft_goid());
	got = weft_chan_recv(chan, NULL, sizeof(int)) + 1;
}

START_TEST(receivers_without_a_sender_are_found_and_told_by_stack)
{
	start_both(receive_first, RT_WAIT_CHAN_RECV, receive_second, RT_WAIT_CHAN_RECV);

	ck_assert_int_eq(look_until_found(), 1);
	says("1 goroutine [chan receive]");
	ck_assert_ptr_null(strstr(said, "cycle"));
}
END_TEST

/* --- Not found ---------------------------------------------------------------------------------------- */

static void never_found(void)
{
	for (int i = 0; i < 6; i++)
		ck_assert_int_eq(look(), 0);
	ck_assert_int_eq(n_said, 0);
}

static void sleep_long(void *arg)
{
	(void)arg;
	st(&second_id, weft_goid());
	(void)weft_sleep(1000 * WEFT_SEC);
}

START_TEST(an_instance_with_one_that_sleeps_is_not_found)
{
	start_both(receive_first, RT_WAIT_CHAN_RECV, sleep_long, RT_WAIT_SLEEP);

	never_found();
}
END_TEST

static int pair[2];
static void read_socket(void *arg)
{
	char c;

	(void)arg;
	st(&second_id, weft_goid());
	ck_assert_int_eq(weft_read(pair[0], &c, 1), 1);
}

START_TEST(an_instance_with_one_that_waits_for_the_network_is_not_found)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	start_both(receive_first, RT_WAIT_CHAN_RECV, read_socket, RT_WAIT_IO);

	never_found();
	ck_assert_int_eq(write(pair[1], "x", 1), 1);
}
END_TEST

/* As a primitive with a deadline waits. */
static void receive_until(void *arg)
{
	struct m *m = rt_enter(rt_self());

	(void)arg;
	st(&second_id, weft_goid());
	(void)rt_wait_open(ld(&m->cur));
	(void)rt_park_until(&m, RT_WAIT_CHAN_RECV, NULL, weft_now() + 1000 * WEFT_SEC);
	rt_leave(m);
}

START_TEST(a_wait_with_a_deadline_is_not_for_ever)
{
	start_both(receive_first, RT_WAIT_CHAN_RECV, receive_until, RT_WAIT_CHAN_RECV);

	never_found();
}
END_TEST

static void tick_then_wait(void *arg)
{
	weft_timer *t = weft_timer_new(1000 * WEFT_SEC, 0);
	int64_t at;

	(void)arg;
	st(&second_id, weft_goid());
	if (weft_chan_recv(weft_timer_chan(t), &at, sizeof at) < 0)
		weft_timer_free(t);
}

START_TEST(while_there_is_a_timer_it_is_not_found)
{
	start_both(receive_first, RT_WAIT_CHAN_RECV, tick_then_wait, RT_WAIT_CHAN_RECV);

	never_found();

	weft_inst_cancel(inst);
	rtest_wait_gone(); /* it frees the timer */
}
END_TEST

static void with_a_deadline(void *arg)
{
	weft_ctx *ctx = weft_ctx_new(NULL, weft_now() + 1000 * WEFT_SEC), *before = weft_ctx_enter(ctx);

	receive_second(arg);
	weft_ctx_enter(before);
	weft_ctx_free(ctx);
}

START_TEST(a_context_with_a_deadline_ends_the_wait_some_day)
{
	start_both(receive_first, RT_WAIT_CHAN_RECV, with_a_deadline, RT_WAIT_CHAN_RECV);

	never_found();
}
END_TEST

static void timer_of_before(void *arg)
{
	(void)arg;
	weft_timer_free(weft_timer_new(1000 * WEFT_SEC, 0));
	weft_ctx_free(weft_ctx_new(NULL, weft_now() + 1000 * WEFT_SEC));
}

START_TEST(timers_and_contexts_of_before_do_not_count)
{
	rtest_run(timer_of_before, NULL);
	rtest_wait_gone();
	st(&inst->outside, 0); /* rtest_run() is a thread that started one */
	start_both(receive_first, RT_WAIT_CHAN_RECV, receive_second, RT_WAIT_CHAN_RECV);

	ck_assert_int_eq(look_until_found(), 1);
}
END_TEST

static weft_rwmutex rw;
static WEFT_CHAN(int) ints;

static void wait_for_itself(void *arg)
{
	(void)arg;
	st(&first_id, weft_goid());
	weft_rlock(&rw);
	weft_wlock(&rw);
}
static void select_either(void *arg)
{
	(void)arg;
	st(&second_id, weft_goid());
	got = weft_select(weft_on_recv(ints, NULL), weft_on_send(ints, 1));
}
static void select_until_the_end(void *arg)
{
	(void)arg;
	st(&second_id, weft_goid());
	got = weft_select(weft_on_recv(ints, NULL), weft_on_done(weft_ctx_self()));
}

START_TEST(select_and_read_locks_count_too)
{
	ints.h = chan;
	start_both(wait_for_itself, RT_WAIT_RWMUTEX_W, select_either, RT_WAIT_SELECT);

	ck_assert_int_eq(look_until_found(), 1);
	says("[sync.RWMutex.Lock]");
	says("[select]");
}
END_TEST

START_TEST(who_waits_for_the_end_of_the_instance_just_idles)
{
	ints.h = chan;
	start_both(receive_first, RT_WAIT_CHAN_RECV, select_until_the_end, RT_WAIT_SELECT);

	never_found();
}
END_TEST

static void spin(void *arg)
{
	(void)arg;
	st(&second_id, weft_goid());
	while (!weft_inst_cancelled(inst))
		;
}

START_TEST(an_instance_with_one_that_runs_is_not_found)
{
	ck_assert_int_eq(weft_inst_call(inst, receive_first, NULL, NULL), 0);
	ck_assert_int_eq(weft_inst_call(inst, spin, NULL, NULL), 0);
	rtest_wait(both_run, NULL, "both run");
	rtest_wait_parked(ld(&first_id), RT_WAIT_CHAN_RECV);

	never_found();
}
END_TEST

START_TEST(while_a_thread_is_inside_it_is_not_found)
{
	ck_assert_int_eq(weft_enter(inst), 0);
	start_both(receive_first, RT_WAIT_CHAN_RECV, receive_second, RT_WAIT_CHAN_RECV);
	never_found();

	weft_leave();

	ck_assert_int_eq(look_until_found(), 1);
}
END_TEST

static void receive_both(void *arg)
{
	(void)arg;
	st(&second_id, weft_goid());
	(void)weft_chan_recv(chan, NULL, sizeof(int));
	st(&second_id, 0);
	(void)weft_chan_recv(chan, NULL, sizeof(int));
}
static bool second_got_it(void *unused)
{
	(void)unused;
	return ld(&second_id) == 0;
}

START_TEST(once_woken_by_a_thread_it_is_not_found)
{
	uint64_t id;

	st(&first_id, 1);
	ck_assert_int_eq(weft_inst_call(inst, receive_both, NULL, NULL), 0);
	rtest_wait(both_run, NULL, "it runs");
	id = ld(&second_id);
	rtest_wait_parked(id, RT_WAIT_CHAN_RECV);
	ck_assert_int_eq(weft_chan_try_send(chan, &(int){ 1 }, sizeof(int)), 0);
	rtest_wait(second_got_it, NULL, "it got the first");
	rtest_wait_parked(id, RT_WAIT_CHAN_RECV);

	never_found();
}
END_TEST

static weft_chan *back;

static void echo(void *arg)
{
	int v;

	(void)arg;
	st(&first_id, weft_goid());
	while (weft_chan_recv(chan, &v, sizeof v) > 0)
		(void)weft_chan_send(back, &v, sizeof v);
}
static void ask(void *arg)
{
	int v = 0;

	(void)arg;
	st(&second_id, weft_goid());
	while (weft_chan_send(chan, &v, sizeof v) == 0 && weft_chan_recv(back, &v, sizeof v) > 0)
		v++;
}

START_TEST(two_that_wait_for_each_other_in_turn_are_not_found)
{
	back = weft_chan_new(sizeof(int), 0);
	ck_assert_int_eq(weft_inst_call(inst, echo, NULL, NULL), 0);
	ck_assert_int_eq(weft_inst_call(inst, ask, NULL, NULL), 0);
	rtest_wait(both_run, NULL, "both run");

	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(look(), 0);
	ck_assert_int_eq(n_said, 0);
}
END_TEST

Suite *test_deadlock(void)
{
	Suite *s = suite_create("deadlock");
	TCase *t = tcase_create("deadlock");

	tcase_add_checked_fixture(t, begin, end);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, two_locks_in_opposite_order_are_found_with_their_cycle_and_said_once);
	tcase_add_test(t, a_lock_taken_twice_is_a_cycle_of_one);
	tcase_add_test(t, a_cycle_may_go_through_a_wait_group);
	tcase_add_test(t, receivers_without_a_sender_are_found_and_told_by_stack);
	tcase_add_test(t, an_instance_with_one_that_sleeps_is_not_found);
	tcase_add_test(t, an_instance_with_one_that_waits_for_the_network_is_not_found);
	tcase_add_test(t, a_wait_with_a_deadline_is_not_for_ever);
	tcase_add_test(t, while_there_is_a_timer_it_is_not_found);
	tcase_add_test(t, a_context_with_a_deadline_ends_the_wait_some_day);
	tcase_add_test(t, timers_and_contexts_of_before_do_not_count);
	tcase_add_test(t, select_and_read_locks_count_too);
	tcase_add_test(t, who_waits_for_the_end_of_the_instance_just_idles);
	tcase_add_test(t, an_instance_with_one_that_runs_is_not_found);
	tcase_add_test(t, while_a_thread_is_inside_it_is_not_found);
	tcase_add_test(t, once_woken_by_a_thread_it_is_not_found);
	tcase_add_test(t, two_that_wait_for_each_other_in_turn_are_not_found);
	suite_add_tcase(s, t);
	return s;
}
