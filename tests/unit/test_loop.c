/* test_loop.c - the promises of struct http_loop, kept by daemon/loop.c. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http.h"
#include "loop.h"

static struct loop *loop;
static const struct http_loop *on;

static void set_up(void)
{
	loop = loop_new();
	ck_assert_ptr_nonnull(loop);
	on = loop_http(loop);
}

static void tear_down(void)
{
	loop_free(loop);
}

#define POSTS 10000
static int posted[2], in_order = 1;

static void take_post(void *arg)
{
	intptr_t v = (intptr_t)arg;
	int who = (int)(v / POSTS);

	in_order &= posted[who]++ == v % POSTS;
	if (posted[0] == POSTS && posted[1] == POSTS)
		loop_stop(loop);
}

static void *post_many(void *arg)
{
	for (intptr_t i = 0; i < POSTS; i++)
		on->post(on->user, take_post, (void *)((intptr_t)arg * POSTS + i));
	return NULL;
}

START_TEST(posts_of_a_thread_arrive_all_and_in_order)
{
	pthread_t t[2];

	for (intptr_t i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, post_many, (void *)i), 0);
	loop_run(loop);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);

	ck_assert_int_eq(posted[0], POSTS);
	ck_assert_int_eq(posted[1], POSTS);
	ck_assert(in_order);
}
END_TEST

#define TASKS 200
static atomic_int inside, most, worked[TASKS];
static int done_next, done_in_order = 1;
static pthread_t loop_thread;

static void lane_work(void *arg)
{
	int n = atomic_fetch_add(&inside, 1) + 1;

	if (n > most)
		most = n;
	usleep(50);
	worked[(intptr_t)arg]++;
	atomic_fetch_sub(&inside, 1);
}

static void lane_done(void *arg)
{
	ck_assert(pthread_equal(pthread_self(), loop_thread));
	done_in_order &= (intptr_t)arg == done_next++;
	if (done_next == TASKS)
		loop_stop(loop);
}

START_TEST(tasks_of_a_lane_run_one_at_a_time_and_in_order)
{
	loop_thread = pthread_self();
	for (intptr_t i = 0; i < TASKS; i++)
		ck_assert_int_eq(on->offload(on->user, 1, lane_work, lane_done, (void *)i), 0);
	loop_run(loop);

	ck_assert_int_eq(most, 1);
	ck_assert(done_in_order);
	for (int i = 0; i < TASKS; i++)
		ck_assert_int_eq(worked[i], 1);
}
END_TEST

static struct http_timer *timers[3];
static int fired[3];

static void timer_fired(void *arg)
{
	fired[(intptr_t)arg]++;
	if ((intptr_t)arg == 2)
		loop_stop(loop);
}

START_TEST(a_timer_fires_once_and_not_when_disarmed)
{
	for (intptr_t i = 0; i < 3; i++)
		timers[i] = on->timer(on->user, timer_fired, (void *)i);
	on->arm(on->user, timers[0], 1000000);
	on->arm(on->user, timers[1], 1000000);
	on->arm(on->user, timers[2], 20000000);
	on->arm(on->user, timers[1], -1);
	loop_run(loop);

	ck_assert_int_eq(fired[0], 1);
	ck_assert_int_eq(fired[1], 0);
	ck_assert_int_eq(fired[2], 1);
	on->untimer(on->user, timers[0]);
}
END_TEST

static int sv[2];
static struct http_watch *watch;
static unsigned seen;

static void hung_up(void *arg, unsigned events)
{
	(void)arg;
	seen |= events;
	on->unwatch(on->user, watch);
	close(sv[0]); /* allowed right away */
	loop_stop(loop);
}

static void shut(void *arg)
{
	(void)arg;
	ck_assert_uint_eq(seen, 0);
	shutdown(sv[1], SHUT_WR);
}

START_TEST(data_is_no_hang_up_but_a_half_close_is)
{
	struct http_timer *t = on->timer(on->user, shut, NULL);

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	watch = on->watch(on->user, sv[0], HTTP_HANGUP, hung_up, NULL);
	ck_assert_ptr_nonnull(watch);
	ck_assert_int_eq(write(sv[1], "x", 1), 1);
	on->arm(on->user, t, 20000000);
	loop_run(loop);

	ck_assert_uint_eq(seen, HTTP_HANGUP);
	close(sv[1]);
}
END_TEST

static void nothing(void *arg)
{
	(void)arg;
}

START_TEST(freeing_waits_for_tasks_that_are_out)
{
	for (intptr_t i = 0; i < 20; i++)
		ck_assert_int_eq(on->offload(on->user, (int)(i % 2), lane_work, nothing, (void *)i), 0);
	loop_free(loop);
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(worked[i], 1);
	loop = loop_new(); /* for tear_down */
}
END_TEST

Suite *test_loop(void);
Suite *test_loop(void)
{
	Suite *s = suite_create("loop");
	TCase *t = tcase_create("loop");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, posts_of_a_thread_arrive_all_and_in_order);
	tcase_add_test(t, tasks_of_a_lane_run_one_at_a_time_and_in_order);
	tcase_add_test(t, a_timer_fires_once_and_not_when_disarmed);
	tcase_add_test(t, data_is_no_hang_up_but_a_half_close_is);
	tcase_add_test(t, freeing_waits_for_tasks_that_are_out);
	suite_add_tcase(s, t);
	return s;
}
