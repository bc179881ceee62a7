/* test_net.c - what is sent arrives: TCP, UDP, Unix sockets, IPv6, pipes, files; names and addresses. */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "netpair.h"
#include "often.h"
#include "rtest.h"

static void begin2(void)
{
	rtest_begin(2);
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

			often_eq(c, (char)(at * 7 + (at >> 12)));
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

/* A listening socket on loopback; sa: where. */
static int listening(int backlog, struct sockaddr_in *sa)
{
	socklen_t len = sizeof *sa;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*sa = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	ck_assert_int_eq(bind(fd, (struct sockaddr *)sa, sizeof *sa), 0);
	ck_assert_int_eq(listen(fd, backlog), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)sa, &len), 0);
	return fd;
}

/* One that nobody accepts from and that has no room: who connects hears nothing. */
static void deaf(struct sockaddr_in *sa)
{
	(void)listening(0, sa);
	for (int i = 0; i < 4; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		(void)connect(fd, (struct sockaddr *)sa, sizeof *sa);
	}
}

#define LEAST (100 * WEFT_MS)

static void add_address(struct rt_addrs *as, const struct sockaddr_in *sa)
{
	as->a[as->n].len = sizeof *sa;
	memcpy(&as->a[as->n++].sa, sa, sizeof *sa);
}

static void dials_a_deaf_one_first(void *arg)
{
	struct rt_addrs as = { .type = SOCK_STREAM };
	struct sockaddr_in sa;
	struct m *m;
	int fd = -1;

	(void)arg;
	deaf(&sa);
	add_address(&as, &sa);
	(void)listening(16, &sa);
	add_address(&as, &sa);
	WEFT_TIMEOUT(20 * LEAST) {
		int64_t began = weft_now();

		m = rt_enter(rt_self());
		fd = rt_dial(&m, &as);
		rt_leave(m);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_ge(weft_now() - began, 9 * LEAST); /* half of what there was */
	}
	ck_assert_int_eq(weft_close(fd), 0);
}

START_TEST(an_address_that_says_nothing_leaves_time_for_the_next)
{
	rt_dial_least_ns = LEAST;
	rtest_run(dials_a_deaf_one_first, NULL);
}
END_TEST

Suite *test_net(void);
Suite *test_net(void)
{
	Suite *s = suite_create("net");
	TCase *t = tcase_create("net");

	tcase_add_checked_fixture(t, begin2, rtest_end);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, tcp_carries_bytes_both_ways);
	tcase_add_test(t, ipv6_carries_bytes_both_ways);
	tcase_add_test(t, a_unix_socket_carries_bytes_both_ways);
	tcase_add_test(t, names_are_looked_up_off_the_workers);
	tcase_add_test(t, what_is_no_address_is_refused);
	tcase_add_test(t, nobody_listens_is_an_error_of_dial);
	tcase_add_test(t, an_address_that_says_nothing_leaves_time_for_the_next);
	tcase_add_test(t, udp_keeps_messages_apart);
	tcase_add_test(t, write_sends_all_of_it_while_the_reader_takes_its_time);
	tcase_add_test(t, pipes_of_others_are_waited_for_whether_they_block_or_not);
	tcase_add_test(t, files_are_read_and_written_and_sent);
	suite_add_tcase(s, t);
	return s;
}
