/* test_net_wait.c - waiting for descriptors, and how that ends: closing, cancelling, deadlines, peers that are gone,
 * descriptors that others close. */
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netpair.h"
#include "rtest.h"

static void begin2(void)
{
	rtest_begin(2);
}

/* --- Giving up -------------------------------------------------------------------------------------------------------
 */

static _Atomic uint64_t waiter_id;
static _Atomic int outcome;

static bool waiter_known(void *arg)
{
	(void)arg;
	return waiter_id != 0;
}

static void read_one(void *arg)
{
	char c;

	waiter_id = weft_goid();
	outcome = (int)weft_read(*(int *)arg, &c, 1);
}
static void accept_one(void *arg)
{
	waiter_id = weft_goid();
	outcome = weft_accept(*(int *)arg, NULL, NULL);
}
static void write_without_end(void *arg)
{
	static char buf[65536];

	waiter_id = weft_goid();
	do {
		outcome = (int)weft_write(*(int *)arg, buf, sizeof buf);
	} while (outcome > 0);
}
static void await_either(void *arg)
{
	waiter_id = weft_goid();
	outcome = weft_wait_fd(*(int *)arg, POLLIN);
}

static void start_waiting(weft_fn fn, int *fd)
{
	waiter_id = 0;
	outcome = 1;
	ck_assert_int_eq(weft_go_in(inst, fn, fd), 0);
	rtest_wait(waiter_known, NULL, "the waiter runs");
	rtest_wait_parked(waiter_id, RT_WAIT_IO);
}

START_TEST(closing_wakes_readers_writers_acceptors_with_EBADF)
{
	static const weft_fn ways[] = { read_one, write_without_end, await_either };
	int fds[2], l;

	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		tcp_pair(fds);
		start_waiting(ways[i], &fds[0]);
		ck_assert_int_eq(weft_close(fds[0]), 0);
		rtest_wait_gone();
		ck_assert_int_eq(outcome, -EBADF);
		ck_assert_int_eq(weft_close(fds[1]), 0);
	}
	l = listen_on("tcp", "127.0.0.1:0");
	start_waiting(accept_one, &l);
	ck_assert_int_eq(weft_close(l), 0);
	rtest_wait_gone();
	ck_assert_int_eq(outcome, -EBADF);
	ck_assert_int_eq(weft_close(l), -EBADF);
}
END_TEST

START_TEST(ending_the_instance_calls_io_off)
{
	int fds[2], pipes[2];

	tcp_pair(fds);
	ck_assert_int_eq(pipe(pipes), 0);
	start_waiting(read_one, &fds[0]);
	start_waiting(read_one, &pipes[0]);
	weft_inst_cancel(inst);
	rtest_wait_gone();
	ck_assert_int_eq(outcome, -ECANCELED);
	close_pair(fds);
	ck_assert_int_eq(weft_close(pipes[0]), 0);
	ck_assert_int_eq(weft_close(pipes[1]), 0);
}
END_TEST

START_TEST(a_deadline_ends_reading_and_can_be_moved)
{
	int fds[2];
	char c;

	tcp_pair(fds);
	ck_assert_int_eq(weft_set_deadline(fds[0], POLLIN, weft_now() + 20 * WEFT_MS), 0);
	ck_assert_int_eq(weft_read(fds[0], &c, 1), -ETIMEDOUT); /* on this thread, which is no goroutine */
	rtest_run(read_one, &fds[0]);
	ck_assert_int_eq(outcome, -ETIMEDOUT);           /* at once: it is over */
	ck_assert_int_eq(weft_write(fds[0], "x", 1), 1); /* the other direction has none */
	ck_assert_int_eq(weft_set_deadline(fds[0], POLLIN, 0), 0);
	start_waiting(read_one, &fds[0]);
	ck_assert_int_eq(weft_set_deadline(fds[0], POLLIN, weft_now() + 10 * WEFT_MS), 0);
	rtest_wait_gone();
	ck_assert_int_eq(outcome, -ETIMEDOUT);
	ck_assert_int_eq(weft_set_deadline(fds[0], POLLIN, weft_now() + 1000 * WEFT_SEC), 0);
	start_waiting(read_one, &fds[0]);
	ck_assert_int_eq(weft_write(fds[1], "y", 1), 1);
	rtest_wait_gone();
	ck_assert_int_eq(outcome, 1);
	ck_assert_int_eq(weft_set_deadline(0, POLLIN, 1), -EINVAL);
	ck_assert_int_eq(weft_set_deadline(fds[0], 0, 1), -EINVAL);
	close_pair(fds);
}
END_TEST

static void fill_until_deadline(void *arg)
{
	static char buf[1 << 20];
	int fd = *(int *)arg;
	ssize_t n;

	ck_assert_int_eq(weft_set_deadline(fd, POLLOUT, weft_now() + 50 * WEFT_MS), 0);
	do {
		n = weft_write(fd, buf, sizeof buf);
	} while (n == (ssize_t)sizeof buf);
	outcome = (int)n;
	ck_assert_int_eq(weft_write(fd, buf, 1), -ETIMEDOUT);
}
START_TEST(a_write_that_gives_up_says_how_much_it_wrote)
{
	int fds[2];

	tcp_pair(fds);
	rtest_run(fill_until_deadline, &fds[0]);
	ck_assert(outcome == -ETIMEDOUT || (outcome > 0 && outcome < 1 << 20));
	close_pair(fds);
}
END_TEST

START_TEST(a_reset_peer_is_an_error_and_no_signal)
{
	struct linger hard = { 1, 0 };
	int fds[2], rc = 0;
	char c;

	tcp_pair(fds);
	start_waiting(read_one, &fds[0]);
	ck_assert_int_eq(setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
	ck_assert_int_eq(weft_close(fds[1]), 0);
	rtest_wait_gone();
	ck_assert_int_eq(outcome, -ECONNRESET);
	ck_assert_int_eq(weft_read(fds[0], &c, 1), 0);
	for (int i = 0; i < 2 && rc >= 0; i++)
		rc = (int)weft_write(fds[0], "x", 1);
	ck_assert_int_eq(rc, -EPIPE);
	ck_assert_int_eq(weft_close(fds[0]), 0);
}
END_TEST

/* --- Waiting without reading
 * ------------------------------------------------------------------------------------------ */

static void count_eventfd(void *arg)
{
	int fd = *(int *)arg;
	uint64_t n;

	waiter_id = weft_goid();
	for (int sum = 0; sum < 100;) {
		ck_assert_int_eq(weft_wait_fd(fd, POLLIN), POLLIN);
		ck_assert_int_eq(read(fd, &n, sizeof n), sizeof n);
		sum += (int)n;
	}
}
START_TEST(wait_fd_waits_for_a_librarys_own_descriptor)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	uint64_t one = 1;

	ck_assert_int_eq(weft_wait_fd(fd, POLLIN | POLLOUT), POLLOUT);
	ck_assert_int_eq(weft_wait_fd(fd, 0), -EINVAL);
	ck_assert_int_eq(weft_wait_fd(fd, POLLPRI), -EINVAL);
	ck_assert_int_eq(weft_go_in(inst, count_eventfd, &fd), 0);
	rtest_wait(waiter_known, NULL, "it runs");
	for (int i = 0; i < 100; i++) {
		if (i % 10 == 0)
			rtest_wait_parked(waiter_id, RT_WAIT_IO);
		ck_assert_int_eq(write(fd, &one, sizeof one), sizeof one);
	}
	rtest_wait_gone();
	close(fd);
}
END_TEST

static void await_out(void *arg)
{
	ck_assert_int_eq(weft_wait_fd(*(int *)arg, POLLOUT) & POLLOUT, POLLOUT);
}
static void fill(void *arg)
{
	int *ends = arg;
	char buf[4096] = { 0 };

	while (write(ends[0], buf, sizeof buf) > 0)
		;
}
START_TEST(one_waits_to_read_and_another_to_write_the_same_foreign_socket)
{
	int ends[2];
	char buf[65536];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	fill(ends);
	ck_assert_int_eq(weft_go_in(inst, await_out, &ends[0]), 0);
	start_waiting(read_one, &ends[0]);
	ck_assert_int_eq(write(ends[1], "x", 1), 1); /* the reader goes, the other waits on */
	while (read(ends[1], buf, sizeof buf) > 0)
		;
	rtest_wait_gone();
	ck_assert_int_eq(outcome, 1);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

/* --- Descriptors that others close
 * -------------------------------------------------------------------------------------- */

#ifndef RTEST_SANITIZER /* it has its own close() */
START_TEST(close_by_a_library_wakes_who_waits)
{
	int fds[2], pipes[2], with[2];

	tcp_pair(fds);
	start_waiting(read_one, &fds[0]);
	ck_assert_int_eq(close(fds[0]), 0);
	rtest_wait_gone();
	ck_assert_int_eq(outcome, -EBADF);
	ck_assert_int_eq(weft_close(fds[1]), 0);

	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(pipe(with), 0);
	start_waiting(read_one, &pipes[0]);
	ck_assert_int_eq(dup2(with[0], pipes[0]), pipes[0]);
	rtest_wait_gone();
	ck_assert_int_eq(outcome, -EBADF);
	start_waiting(read_one, &pipes[0]); /* what is open there now */
	ck_assert_int_eq(write(with[1], "x", 1), 1);
	rtest_wait_gone();
	ck_assert_int_eq(outcome, 1);

	start_waiting(read_one, &pipes[0]);
	ck_assert_int_eq(dup3(with[1], pipes[0], O_CLOEXEC), pipes[0]);
	rtest_wait_gone();
	ck_assert_int_eq(outcome, -EBADF);
	start_waiting(read_one, &with[0]);
	ck_assert_int_eq(close_range((unsigned)with[0], (unsigned)with[0], 0), 0);
	rtest_wait_gone();
	ck_assert_int_eq(outcome, -EBADF);
	ck_assert_int_eq(close_range(1u << 30, UINT32_MAX, 0), 0);
	ck_assert_int_eq(close(-1), -1);
	ck_assert_int_eq(*__errno_location(), EBADF);
	ck_assert_int_eq(dup2(pipes[1], pipes[1]), pipes[1]);
	ck_assert_int_eq(dup2(-1, pipes[1]), -1);
	ck_assert_int_eq(weft_wait_fd(pipes[1], POLLOUT) & POLLERR, POLLERR); /* nobody reads it any more */
}
END_TEST

#endif

START_TEST(a_child_closes_its_own_descriptors_and_not_its_parents)
{
	int fds[2], status;
	pid_t child;

	tcp_pair(fds);
	start_waiting(read_one, &fds[0]);
	child = fork();
	if (child == 0) {
		close(fds[0]);
		close_range(3, ~0u, 0);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	rtest_wait_parked(waiter_id, RT_WAIT_IO);
	ck_assert_int_eq(weft_write(fds[1], "x", 1), 1);
	rtest_wait_gone();
	ck_assert_int_eq(outcome, 1);
	close_pair(fds);
}
END_TEST

Suite *test_net_wait(void);
Suite *test_net_wait(void)
{
	Suite *s = suite_create("net_wait");
	TCase *t = tcase_create("net_wait");
#ifndef RTEST_SANITIZER
	TCase *c = tcase_create("interposed");

	tcase_add_checked_fixture(c, begin2, rtest_end);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, close_by_a_library_wakes_who_waits);
	suite_add_tcase(s, c);
#endif
	tcase_add_checked_fixture(t, begin2, rtest_end);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, closing_wakes_readers_writers_acceptors_with_EBADF);
	tcase_add_test(t, ending_the_instance_calls_io_off);
	tcase_add_test(t, a_deadline_ends_reading_and_can_be_moved);
	tcase_add_test(t, a_write_that_gives_up_says_how_much_it_wrote);
	tcase_add_test(t, a_reset_peer_is_an_error_and_no_signal);
	tcase_add_test(t, wait_fd_waits_for_a_librarys_own_descriptor);
	tcase_add_test(t, one_waits_to_read_and_another_to_write_the_same_foreign_socket);
	tcase_add_test(t, a_child_closes_its_own_descriptors_and_not_its_parents);
	suite_add_tcase(s, t);
	return s;
}
