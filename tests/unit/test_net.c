/* test_net.c - the network calls: TCP, UDP, Unix sockets, pipes, files; deadlines, closing, cancelling. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rtest.h"

static void begin2(void)
{
	rtest_begin(2);
}

/* --- Pairs of connected sockets ------------------------------------------------------------------------------ */

static const char *address_of(int fd, char buf[80])
{
	struct sockaddr_in6 sa; /* the larger one */
	socklen_t len = sizeof sa;
	char ip[64];

	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	if (sa.sin6_family == AF_INET6)
		snprintf(buf, 80, "[%s]:%d", inet_ntop(AF_INET6, &sa.sin6_addr, ip, sizeof ip), ntohs(sa.sin6_port));
	else
		snprintf(buf, 80, "%s:%d", inet_ntop(AF_INET, &((struct sockaddr_in *)&sa)->sin_addr, ip, sizeof ip),
			 ntohs(sa.sin6_port));
	return buf;
}

static int listen_on(const char *net, const char *addr)
{
	int fd = weft_listen(net, addr);

	ck_assert_msg(fd >= 0, "listen %s %s: %s", net, addr, weft_strerror(fd));
	return fd;
}

static void connect_pair(const char *net, const char *addr, int fds[2])
{
	char buf[80];
	int l = listen_on(net, addr);

	fds[0] = weft_dial(net, strncmp(net, "unix", 4) == 0 ? addr : address_of(l, buf));
	ck_assert_msg(fds[0] >= 0, "dial %s %s: %s", net, addr, weft_strerror(fds[0]));
	fds[1] = weft_accept(l, NULL, NULL);
	ck_assert_int_ge(fds[1], 0);
	ck_assert_int_eq(weft_close(l), 0);
}

static void tcp_pair(int fds[2])
{
	connect_pair("tcp", "127.0.0.1:0", fds);
}

static void close_pair(int fds[2])
{
	ck_assert_int_eq(weft_close(fds[0]), 0);
	ck_assert_int_eq(weft_close(fds[1]), 0);
}

/* --- What is sent arrives -------------------------------------------------------------------------------------- */

static void echo_until_end(void *arg)
{
	int fd = *(int *)arg;
	char buf[512];
	ssize_t n;

	while ((n = weft_read(fd, buf, sizeof buf)) > 0)
		ck_assert_int_eq(weft_write(fd, buf, (size_t)n), n);
	ck_assert_int_eq(n, 0);
	ck_assert_int_eq(weft_close(fd), 0);
}

static void talk(int fds[2])
{
	char out[100], in[100];
	weft_wg wg = { 0 };

	ck_assert_int_eq(weft_wg_go(&wg, echo_until_end, &fds[1]), 0);
	for (int i = 0; i < 50; i++) {
		int n = snprintf(out, sizeof out, "message %d", i), got = 0;

		ck_assert_int_eq(weft_write(fds[0], out, (size_t)n), n);
		while (got < n) {
			ssize_t k = weft_read(fds[0], in + got, sizeof in - (size_t)got);

			ck_assert_int_gt(k, 0);
			got += (int)k;
		}
		ck_assert_mem_eq(in, out, n);
	}
	ck_assert_int_eq(shutdown(fds[0], SHUT_WR), 0);
	ck_assert_int_eq(weft_read(fds[0], in, sizeof in), 0);
	weft_wg_wait(&wg);
	ck_assert_int_eq(weft_close(fds[0]), 0);
}

static void talk_over(void *arg)
{
	const char *const *net_addr = arg;
	int fds[2];

	connect_pair(net_addr[0], net_addr[1], fds);
	talk(fds);
}

static bool have_ipv6(void)
{
	int fd = weft_listen("tcp6", "[::1]:0");

	return fd >= 0 && weft_close(fd) == 0;
}

START_TEST(tcp_carries_bytes_both_ways)
{
	rtest_run(talk_over, (const char *[]){ "tcp", "127.0.0.1:0" });
}
END_TEST
START_TEST(ipv6_carries_bytes_both_ways)
{
	if (have_ipv6())
		rtest_run(talk_over, (const char *[]){ "tcp6", "[::1]:0" });
}
END_TEST
START_TEST(a_unix_socket_carries_bytes_both_ways)
{
	char path[64];

	snprintf(path, sizeof path, "@weft-test-%d", getpid());
	rtest_run(talk_over, (const char *[]){ "unix", path });
	snprintf(path, sizeof path, "/tmp/weft-test-%d", getpid());
	rtest_run(talk_over, (const char *[]){ "unix", path });
	unlink(path);
}
END_TEST

static void dial_a_name(void *arg)
{
	char addr[80], *port;
	int l = listen_on("tcp4", "localhost:0"), fds[2] = { -1, -1 };

	(void)arg;
	port = strrchr(address_of(l, addr), ':');
	ck_assert_ptr_nonnull(port);
	memmove(addr + 9, port, strlen(port) + 1);
	memcpy(addr, "localhost", 9);
	fds[0] = weft_dial("tcp4", addr);
	ck_assert_msg(fds[0] >= 0, "dial %s: %s", addr, weft_strerror(fds[0]));
	fds[1] = weft_accept(l, NULL, NULL);
	ck_assert_int_ge(fds[1], 0);
	close_pair(fds);
	ck_assert_int_eq(weft_close(l), 0);
}
START_TEST(names_are_looked_up_off_the_workers)
{
	rtest_run(dial_a_name, NULL);
}
END_TEST

START_TEST(what_is_no_address_is_refused)
{
	static const char *const bad[] = { "", "127.0.0.1", ":", "1.2.3.4:", "::1:80", "[::1:80", "a:b:c" };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_msg(weft_listen("tcp", bad[i]) == -EINVAL, "%s", bad[i]);
	ck_assert_int_eq(weft_dial("tcp", "127.0.0.1:99999"), -EINVAL);
	ck_assert_int_eq(weft_dial("tcp", "127.0.0.1:no-such-service"), -ENOENT);
	ck_assert_int_eq(weft_dial("sctp", "127.0.0.1:1"), -EINVAL);
	ck_assert_int_eq(weft_dial(NULL, "127.0.0.1:1"), -EINVAL);
	ck_assert_int_eq(weft_dial("tcp", NULL), -EINVAL);
	ck_assert_int_eq(weft_dial("unix", ""), -EINVAL);
	ck_assert_int_eq(weft_dial("unix", "/nonexistent/socket"), -ENOENT);
}
END_TEST

static void dial_nobody(void *arg)
{
	char addr[80];
	int l = listen_on("tcp", "127.0.0.1:0");

	(void)arg;
	address_of(l, addr);
	ck_assert_int_eq(weft_close(l), 0);
	ck_assert_int_eq(weft_dial("tcp", addr), -ECONNREFUSED);
}
START_TEST(nobody_listens_is_an_error_of_dial)
{
	rtest_run(dial_nobody, NULL);
}
END_TEST

static void datagrams(void *arg)
{
	int a = listen_on("udp", "127.0.0.1:0"), b;
	struct sockaddr_in from;
	socklen_t len = sizeof from;
	char addr[80], buf[32];

	(void)arg;
	b = weft_dial("udp", address_of(a, addr));
	ck_assert_int_ge(b, 0);
	ck_assert_int_eq(weft_write(b, "hello", 5), 5);
	ck_assert_int_eq(weft_recvfrom(a, buf, sizeof buf, 0, (struct sockaddr *)&from, &len), 5);
	ck_assert_mem_eq(buf, "hello", 5);
	ck_assert_int_eq(weft_sendto(a, "", 0, 0, (struct sockaddr *)&from, len), 0);
	ck_assert_int_eq(weft_sendto(a, "back", 4, 0, (struct sockaddr *)&from, len), 4);
	ck_assert_int_eq(weft_read(b, buf, sizeof buf), 0);
	ck_assert_int_eq(weft_read(b, buf, 2), 2);
	ck_assert_mem_eq(buf, "ba", 2);
	ck_assert_int_eq(weft_close(a), 0);
	ck_assert_int_eq(weft_close(b), 0);
}
START_TEST(udp_keeps_messages_apart)
{
	rtest_run(datagrams, NULL);
}
END_TEST

/* --- More than a buffer holds --------------------------------------------------------------------------------------
 */

#define MUCH (3u << 20)
#define PARTS 505479 /* what send_much() sends after that */

static void send_much(void *arg)
{
	int fd = *(int *)arg;
	char *buf = malloc(MUCH);
	struct iovec iov[40];

	for (uint32_t i = 0; i < MUCH; i++)
		buf[i] = (char)(i * 7 + (i >> 12));
	ck_assert_int_eq(weft_write(fd, buf, MUCH), MUCH);
	for (int i = 0; i < 40; i++) /* parts of very different sizes, some empty */
		iov[i] = (struct iovec){ buf + i * 1000, i % 3 ? (size_t)(i * 997) : 0 };
	for (int i = 0; i < 40; i++)
		ck_assert_uint_lt((size_t)i * 1000 + iov[i].iov_len, MUCH);
	ck_assert_int_eq(weft_writev(fd, iov, 40), PARTS);
	ck_assert_int_eq(weft_close(fd), 0);
	free(buf);
}

static void receive_much(void *arg)
{
	int *fds = arg, fd = fds[1];
	uint32_t at = 0;
	char part[2][1500];
	struct iovec iov[2] = { { part[0], sizeof part[0] }, { part[1], sizeof part[1] } };
	ssize_t n;

	while ((n = weft_readv(fd, iov, 2)) > 0) {
		for (ssize_t i = 0; i < n && at < MUCH; i++, at++) {
			char c = i < 1500 ? part[0][i] : part[1][i - 1500];

			ck_assert_int_eq(c, (char)(at * 7 + (at >> 12)));
		}
		fds[2] += (int)n;
	}
	ck_assert_int_eq(n, 0);
	ck_assert_int_eq(weft_close(fd), 0);
}

static void much(void *arg)
{
	weft_wg wg = { 0 };
	int fds[3] = { 0 };

	(void)arg;
	tcp_pair(fds);
	ck_assert_int_eq(weft_wg_go(&wg, send_much, &fds[0]), 0);
	ck_assert_int_eq(weft_wg_go(&wg, receive_much, fds), 0);
	weft_wg_wait(&wg);
	ck_assert_int_eq(fds[2], MUCH + PARTS);
}
START_TEST(write_sends_all_of_it_while_the_reader_takes_its_time)
{
	rtest_run(much, NULL);
}
END_TEST

static void pipe_much(void *arg)
{
	weft_wg wg = { 0 };
	int fds[3] = { 0 }, ends[2];

	ck_assert_int_eq(pipe2(ends, *(int *)arg), 0);
	fds[0] = ends[1];
	fds[1] = ends[0];
	ck_assert_int_eq(weft_wg_go(&wg, send_much, &fds[0]), 0);
	ck_assert_int_eq(weft_wg_go(&wg, receive_much, fds), 0);
	weft_wg_wait(&wg);
	ck_assert_int_eq(fds[2], MUCH + PARTS);
}
START_TEST(pipes_of_others_are_waited_for_whether_they_block_or_not)
{
	rtest_run(pipe_much, &(int){ 0 });
	rtest_run(pipe_much, &(int){ O_NONBLOCK });
}
END_TEST

static void use_files(void *arg)
{
	char path[64], buf[100] = { 0 };
	int fds[2], fd;
	off_t from = 6;

	(void)arg;
	snprintf(path, sizeof path, "/tmp/weft-test-file-%d", getpid());
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	ck_assert_int_ge(fd, 0);
	unlink(path);
	ck_assert_int_eq(weft_write(fd, "first second third", 18), 18);
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	ck_assert_int_eq(weft_read(fd, buf, 5), 5);
	ck_assert_str_eq(buf, "first");
	tcp_pair(fds);
	ck_assert_int_eq(weft_sendfile(fds[0], fd, &from, 1000), 12);
	ck_assert_int_eq(from, 18);
	ck_assert_int_eq(weft_sendfile(fds[0], fd, NULL, 3), 3);
	ck_assert_int_eq(weft_close(fds[0]), 0);
	for (ssize_t n, got = 0; (n = weft_read(fds[1], buf + got, sizeof buf - (size_t)got)) > 0;)
		got += n;
	ck_assert_str_eq(buf, "second third se");
	ck_assert_int_eq(weft_close(fds[1]), 0);
	ck_assert_int_eq(weft_wait_fd(fd, POLLIN), POLLIN);
	ck_assert_int_eq(weft_close(fd), 0);
	ck_assert_int_eq(weft_read(fd, buf, 1), -EBADF);
}
START_TEST(files_are_read_and_written_and_sent)
{
	rtest_run(use_files, NULL);
}
END_TEST

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

Suite *test_net(void);
Suite *test_net(void)
{
	Suite *s = suite_create("net");
	TCase *t = tcase_create("net");
#ifndef RTEST_SANITIZER
	TCase *c = tcase_create("interposed");

	tcase_add_checked_fixture(c, begin2, rtest_end);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, close_by_a_library_wakes_who_waits);
	suite_add_tcase(s, c);
#endif
	tcase_add_checked_fixture(t, begin2, rtest_end);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, tcp_carries_bytes_both_ways);
	tcase_add_test(t, ipv6_carries_bytes_both_ways);
	tcase_add_test(t, a_unix_socket_carries_bytes_both_ways);
	tcase_add_test(t, names_are_looked_up_off_the_workers);
	tcase_add_test(t, what_is_no_address_is_refused);
	tcase_add_test(t, nobody_listens_is_an_error_of_dial);
	tcase_add_test(t, udp_keeps_messages_apart);
	tcase_add_test(t, write_sends_all_of_it_while_the_reader_takes_its_time);
	tcase_add_test(t, pipes_of_others_are_waited_for_whether_they_block_or_not);
	tcase_add_test(t, files_are_read_and_written_and_sent);
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
