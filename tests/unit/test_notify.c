/* test_notify.c - the service manager's protocol, against a socket of our own. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon.h"

Suite *test_notify(void);

static char folder[64], path[80];

static void make_folder(void)
{
	strcpy(folder, "/tmp/weft-notify-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/socket", folder);
}

static void remove_folder(void)
{
	(void)unlink(path);
	(void)rmdir(folder);
}

/* A manager that listens at name; '@' begins an abstract one. */
static int manager(const char *name)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	memcpy(at.sun_path, name, strlen(name));
	if (name[0] == '@')
		at.sun_path[0] = 0;
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, len), 0);
	return fd;
}

static void expect(int fd, const char *text)
{
	char got[1024];
	ssize_t n = recv(fd, got, sizeof got - 1, MSG_DONTWAIT); /* a datagram is there when sendto() is back */

	ck_assert_int_ge(n, 0);
	got[n] = 0;
	ck_assert_str_eq(got, text);
}

START_TEST(a_message_reaches_a_socket_in_the_file_system)
{
	struct notify n;
	int fd = manager(path);

	ck_assert_int_eq(notify_init(&n, path), 0);
	notify_send(&n, "READY=1\nSTATUS=%d things", 3);

	expect(fd, "READY=1\nSTATUS=3 things");
	notify_done(&n);
	ck_assert_int_eq(n.fd, -1);
}
END_TEST

START_TEST(a_message_reaches_an_abstract_socket)
{
	struct notify n;
	char name[64];
	int fd;

	snprintf(name, sizeof name, "@weft-test-%d", getpid());
	fd = manager(name);

	ck_assert_int_eq(notify_init(&n, name), 0);
	notify_send(&n, "STOPPING=1");

	expect(fd, "STOPPING=1");
	notify_done(&n);
}
END_TEST

START_TEST(without_a_socket_messages_go_nowhere)
{
	struct notify n;

	ck_assert_int_eq(notify_init(&n, NULL), 0);
	ck_assert_int_eq(n.fd, -1);
	notify_send(&n, "READY=1");
	notify_done(&n);
}
END_TEST

START_TEST(an_unusable_address_is_an_error_and_switches_it_off)
{
	struct notify n;
	char longer[200];

	memset(longer, 'x', sizeof longer - 1);
	longer[0] = '/';
	longer[sizeof longer - 1] = 0;

	ck_assert_int_eq(notify_init(&n, "relative"), -EINVAL);
	ck_assert_int_eq(n.fd, -1);
	ck_assert_int_eq(notify_init(&n, ""), -EINVAL);
	ck_assert_int_eq(notify_init(&n, "@"), -EINVAL);
	ck_assert_int_eq(notify_init(&n, longer), -ENAMETOOLONG);
	ck_assert_int_eq(n.fd, -1);
	notify_send(&n, "READY=1");
}
END_TEST

START_TEST(a_manager_that_does_not_read_makes_nobody_wait)
{
	struct notify n;
	char first[32];
	int fd = manager(path);

	ck_assert_int_eq(notify_init(&n, path), 0);
	/* More than any queue of datagrams holds; a send that waited would run into the test's time limit. */
	for (int i = 0; i < 20000; i++)
		notify_send(&n, "STATUS=%d", i);

	ck_assert_int_eq(recv(fd, first, sizeof first, MSG_DONTWAIT), (ssize_t)strlen("STATUS=0"));
	notify_done(&n);
}
END_TEST

START_TEST(a_manager_that_is_gone_is_no_error)
{
	struct notify n;
	int fd = manager(path);

	ck_assert_int_eq(notify_init(&n, path), 0);
	close(fd);
	notify_send(&n, "READY=1");
	unlink(path);
	notify_send(&n, "READY=1");
	notify_done(&n);
}
END_TEST

START_TEST(a_message_that_is_too_long_is_cut)
{
	struct notify n;
	char got[2048], longer[1500];
	int fd = manager(path);
	ssize_t len;

	memset(longer, 'y', sizeof longer - 1);
	longer[sizeof longer - 1] = 0;
	ck_assert_int_eq(notify_init(&n, path), 0);
	notify_send(&n, "STATUS=%s", longer);

	len = recv(fd, got, sizeof got, MSG_DONTWAIT);
	ck_assert_int_eq(len, 511);
	ck_assert_int_eq(memcmp(got, "STATUS=yyy", 10), 0);
	notify_done(&n);
}
END_TEST

Suite *test_notify(void)
{
	Suite *s = suite_create("notify");
	TCase *c = tcase_create("notify");

	tcase_add_checked_fixture(c, make_folder, remove_folder);
	tcase_add_test(c, a_message_reaches_a_socket_in_the_file_system);
	tcase_add_test(c, a_message_reaches_an_abstract_socket);
	tcase_add_test(c, without_a_socket_messages_go_nowhere);
	tcase_add_test(c, an_unusable_address_is_an_error_and_switches_it_off);
	tcase_add_test(c, a_manager_that_does_not_read_makes_nobody_wait);
	tcase_add_test(c, a_manager_that_is_gone_is_no_error);
	tcase_add_test(c, a_message_that_is_too_long_is_cut);
	suite_add_tcase(s, c);
	return s;
}
