/* test_netpoll.c - many descriptors, goroutines and threads at once; who asks the kernel, and what that costs. */
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "rt.h"
#include "rtest.h"

/* As many descriptors as the system lets us have, want at most. */
static int descriptors(int want)
{
	struct rlimit l;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	l.rlim_cur = l.rlim_max < (rlim_t)want + 100 ? l.rlim_max : (rlim_t)want + 100;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
	return (int)l.rlim_cur - 100;
}

static int port_of(int fd)
{
	struct sockaddr_in sa = { 0 };
	socklen_t len = sizeof sa;

	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	return ntohs(sa.sin_port);
}

static int dial_port(int port)
{
	char addr[32];
	int fd;

	snprintf(addr, sizeof addr, "127.0.0.1:%d", port);
	fd = weft_dial("tcp", addr);
	ck_assert_msg(fd >= 0, "dial: %s", weft_strerror(fd));
	return fd;
}

/* --- A server with many clients -------------------------------------------------------------------------------- */

static int listener;
static _Atomic int served;

static void serve(void *arg)
{
	int fd = *(int *)arg;
	char buf[64];
	ssize_t n;

	while ((n = weft_read(fd, buf, sizeof buf)) > 0)
		if (weft_write(fd, buf, (size_t)n) != n)
			break;
	ck_assert_int_eq(weft_close(fd), 0);
	served++;
}
static void accept_all(void *arg)
{
	int fd;

	(void)arg;
	while ((fd = weft_accept(listener, NULL, NULL)) >= 0)
		ck_assert_int_eq(weft_go_copy(serve, &fd), 0);
	ck_assert_int_eq(fd, -EBADF);
}

static void ask_and_answer(int fd, int times)
{
	char out[64], in[64];

	for (int i = 0; i < times; i++) {
		memset(out, 'a' + (fd + i) % 26, sizeof out);
		ck_assert_int_eq(weft_write(fd, out, sizeof out), sizeof out);
		for (size_t got = 0; got < sizeof in;) {
			ssize_t n = weft_read(fd, in + got, sizeof in - got);

			ck_assert_int_gt(n, 0);
			got += (size_t)n;
		}
		ck_assert_mem_eq(in, out, sizeof in);
	}
}

static int rounds;
static void client(void *arg)
{
	int fd = dial_port((int)(intptr_t)arg);

	ask_and_answer(fd, rounds);
	ck_assert_int_eq(weft_close(fd), 0);
}
static void many_clients(void *arg)
{
	weft_wg wg = { 0 };
	int n = *(int *)arg, acceptors = 3;

	listener = weft_listen("tcp", "127.0.0.1:0");
	ck_assert_int_ge(listener, 0);
	for (int i = 0; i < acceptors; i++) /* several at one listener */
		ck_assert_int_eq(weft_wg_go(&wg, accept_all, NULL), 0);
	weft_wg clients = { 0 };
	for (int i = 0; i < n; i++)
		ck_assert_int_eq(weft_wg_go(&clients, client, (void *)(intptr_t)port_of(listener)), 0);
	weft_wg_wait(&clients);
	ck_assert_int_eq(weft_close(listener), 0);
	weft_wg_wait(&wg);
}
START_TEST(a_thousand_clients_are_served_at_once)
{
	int n = rtest_scale(1000), most = descriptors(2 * n) / 2;

	n = n < most ? n : most;
	rounds = 20;
	rtest_run(many_clients, &n);
	rtest_wait_gone();
	ck_assert_int_eq(served, n);
}
END_TEST

/* --- Threads that are no goroutines ------------------------------------------------------------------------------ */

static void *client_thread(void *arg)
{
	client(arg);
	return NULL;
}
START_TEST(foreign_threads_do_the_same_and_block)
{
	pthread_t threads[8];

	listener = weft_listen("tcp", "127.0.0.1:0");
	ck_assert_int_ge(listener, 0);
	ck_assert_int_eq(weft_go_in(inst, accept_all, NULL), 0);
	rounds = 50;
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, client_thread, (void *)(intptr_t)port_of(listener)),
				 0);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(weft_close(listener), 0);
	rtest_wait_gone();
	ck_assert_int_eq(served, 8);
}
END_TEST

/* Nobody but this thread uses the network: an M that already sleeps has to take the poller's place. */
START_TEST(a_foreign_thread_alone_is_woken_by_the_network)
{
	int l = weft_listen("tcp", "127.0.0.1:0"), fd, other;
	char c;
	pthread_t thread;

	ck_assert_int_ge(l, 0);
	fd = dial_port(port_of(l));
	other = weft_accept(l, NULL, NULL);
	ck_assert_int_ge(other, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, client_thread, (void *)(intptr_t)port_of(l)), 0);
	rounds = 1;
	served = 0;
	ck_assert_int_eq(weft_close(other), 0);
	other = weft_accept(l, NULL, NULL);
	ck_assert_int_ge(other, 0);
	serve(&other);
	pthread_join(thread, NULL);
	ck_assert_int_eq(weft_read(fd, &c, 1), 0);
	ck_assert_int_eq(weft_close(fd), 0);
	ck_assert_int_eq(weft_close(l), 0);
}
END_TEST

/* --- While the Ps are busy ---------------------------------------------------------------------------------------- */

static _Atomic bool enough;
static void spin_and_yield(void *arg)
{
	(void)arg;
	while (!enough)
		weft_yield();
}
static int ends[2];
static void pass_on(void *arg)
{
	(void)arg;
	ask_and_answer(ends[0], 30);
	enough = true;
	ck_assert_int_eq(weft_close(ends[0]), 0);
}
static void connect_ends(void)
{
	int l = weft_listen("tcp", "127.0.0.1:0");

	ends[0] = dial_port(port_of(l));
	ends[1] = weft_accept(l, NULL, NULL);
	ck_assert_int_ge(ends[1], 0);
	ck_assert_int_eq(weft_close(l), 0);
}
START_TEST(the_network_gets_its_turn_while_others_never_stop)
{
	connect_ends();
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(weft_go_in(inst, spin_and_yield, NULL), 0);
	ck_assert_int_eq(weft_go_in(inst, serve, &ends[1]), 0);
	ck_assert_int_eq(weft_go_in(inst, pass_on, NULL), 0);
	rtest_wait_gone();
}
END_TEST

static void spin_alone(void *arg)
{
	(void)arg;
	while (!enough)
		rt_pause();
}
static _Atomic bool reader_done;
static void read_once(void *arg)
{
	char c;

	(void)arg;
	ck_assert_int_eq(weft_read(ends[1], &c, 1), 1);
	reader_done = true;
}
static bool is_reader_done(void *arg)
{
	(void)arg;
	return reader_done;
}
/* The poller itself has got the hog: sysmon asks, and another P runs the reader. */
START_TEST(a_free_p_serves_the_network_while_a_hog_runs)
{
	connect_ends();
	for (int i = 0; i < 20; i++) {
		enough = reader_done = false;
		ck_assert_int_eq(weft_go_in(inst, read_once, NULL), 0);
		ck_assert_int_eq(weft_go_in(inst, spin_alone, NULL), 0);
		ck_assert_int_eq(weft_go_in(inst, spin_alone, NULL), 0);
		ck_assert_int_eq(weft_write(ends[0], "x", 1), 1);
		rtest_wait(is_reader_done, NULL, "the reader got its byte");
		enough = true;
		rtest_wait_gone();
	}
	ck_assert_int_eq(weft_close(ends[0]), 0);
	ck_assert_int_eq(weft_close(ends[1]), 0);
}
END_TEST

/* --- Nothing to do costs nothing ------------------------------------------------------------------------------------
 */

static bool polls_stand_still(void *arg)
{
	struct weft_counters a, b;

	(void)arg;
	weft_read_counters(&a);
	nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	weft_read_counters(&b);
	return b.net_descriptors > 100 && a.net_polls == b.net_polls;
}
static void hold(void *arg)
{
	char c;

	ck_assert_int_eq(weft_read((int)(intptr_t)arg, &c, 1), 0);
	ck_assert_int_eq(weft_close((int)(intptr_t)arg), 0);
}
START_TEST(idle_connections_keep_nobody_awake)
{
	int l = weft_listen("tcp", "127.0.0.1:0"), fd[100];

	ck_assert_int_ge(l, 0);
	for (int i = 0; i < 100; i++) {
		int other;

		fd[i] = dial_port(port_of(l));
		other = weft_accept(l, NULL, NULL);
		ck_assert_int_ge(other, 0);
		ck_assert_int_eq(weft_go_in(inst, hold, (void *)(intptr_t)other), 0);
	}
	rtest_wait(polls_stand_still, NULL, "nobody asks the kernel while nothing happens");
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(weft_close(fd[i]), 0);
	rtest_wait_gone();
	ck_assert_int_eq(weft_close(l), 0);
}
END_TEST

/* --- Random closing
 * ---------------------------------------------------------------------------------------------------- */

static void reader_at(void *arg)
{
	char buf[16];
	int fd = *(int *)arg;

	while (weft_read(fd, buf, sizeof buf) > 0)
		;
}
static void writer_at(void *arg)
{
	int fd = *(int *)arg;

	while (weft_write(fd, "0123456789abcdef", 16) > 0)
		weft_yield();
}
static void closer_at(void *arg)
{
	int fd = *(int *)arg;

	weft_yield();
	ck_assert_int_eq(weft_close(fd), 0);
}
static void close_while_used(void *arg)
{
	uint64_t seed = *(uint64_t *)arg;
	int l = weft_listen("tcp", "127.0.0.1:0"), port = port_of(l);

	for (int i = 0; i < rtest_scale(400); i++) {
		int a = dial_port(port), b = weft_accept(l, NULL, NULL);

		ck_assert_int_ge(b, 0);
		for (int k = 0; k < 2; k++) {
			ck_assert_int_eq(weft_go_copy(reader_at, &a), 0);
			ck_assert_int_eq(weft_go_copy(reader_at, &b), 0);
		}
		ck_assert_int_eq(weft_go_copy(writer_at, &a), 0);
		for (uint64_t n = rtest_random(&seed) % 8; n > 0; n--)
			weft_yield();
		ck_assert_int_eq(weft_go_copy(closer_at, &a), 0);
		ck_assert_int_eq(weft_go_copy(closer_at, &b), 0);
	}
	ck_assert_int_eq(weft_close(l), 0);
}
START_TEST(closing_while_others_read_and_write_ends_them_all)
{
	uint64_t seed = rtest_seed();
	struct weft_counters c;

	rtest_run(close_while_used, &seed);
	rtest_wait_gone();
	weft_read_counters(&c);
	ck_assert_uint_eq(c.net_descriptors, 0);
}
END_TEST

/* --- Again and again
 * ----------------------------------------------------------------------------------------------------- */

START_TEST(starting_anew_leaves_no_descriptor_and_no_waiter_behind)
{
	int before = 0;

	for (int i = 0; i < 5; i++) {
		rtest_begin(2);
		connect_ends();
		ck_assert_int_eq(weft_go_in(inst, read_once, NULL), 0);
		ck_assert_int_eq(weft_write(ends[0], "x", 1), 1);
		rtest_wait_gone();
		ck_assert_int_eq(weft_go_in(inst, read_once, NULL), 0); /* waits when the runtime stops */
		rtest_end();
		ck_assert_int_eq(weft_close(ends[0]), 0);
		ck_assert_int_eq(weft_close(ends[1]), 0);
		if (i == 0)
			before = rtest_fds();
	}
	ck_assert_int_eq(rtest_fds(), before);
}
END_TEST

Suite *test_netpoll(void);
Suite *test_netpoll(void)
{
	Suite *s = suite_create("netpoll");
	TCase *one = rtest_case(1, 120), *three = rtest_case(3, 120), *none = tcase_create("restart");

	tcase_add_test(one, a_thousand_clients_are_served_at_once);
	tcase_add_test(one, the_network_gets_its_turn_while_others_never_stop);
	tcase_add_test(one, closing_while_others_read_and_write_ends_them_all);
	suite_add_tcase(s, one);
	tcase_add_test(three, a_thousand_clients_are_served_at_once);
	tcase_add_test(three, foreign_threads_do_the_same_and_block);
	tcase_add_test(three, a_foreign_thread_alone_is_woken_by_the_network);
	tcase_add_test(three, the_network_gets_its_turn_while_others_never_stop);
	tcase_add_test(three, a_free_p_serves_the_network_while_a_hog_runs);
	tcase_add_test(three, idle_connections_keep_nobody_awake);
	tcase_add_test(three, closing_while_others_read_and_write_ends_them_all);
	suite_add_tcase(s, three);
	tcase_set_timeout(none, 120);
	tcase_add_test(none, starting_anew_leaves_no_descriptor_and_no_waiter_behind);
	suite_add_tcase(s, none);
	return s;
}
