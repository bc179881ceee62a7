/* test_http_listen.c - forms of a listen entry, and what may be bound. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server.h"

static char err[512];

static struct listen_spec parsed(const char *entry)
{
	struct listen_spec spec;

	ck_assert_msg(listen_parse(entry, &spec, err, sizeof err) == 0, "%s", err);
	return spec;
}

START_TEST(the_four_forms_are_understood)
{
	struct listen_spec s = parsed("127.0.0.1:6060");

	ck_assert(s.kind == LISTEN_TCP && !strcmp(s.host, "127.0.0.1") && !strcmp(s.port, "6060"));
	s = parsed("[::1]:0");
	ck_assert(s.kind == LISTEN_TCP && !strcmp(s.host, "::1") && !strcmp(s.port, "0"));
	s = parsed(":6060");
	ck_assert(s.kind == LISTEN_TCP && !*s.host);
	s = parsed("unix:/run/weftd/debug.sock");
	ck_assert(s.kind == LISTEN_UNIX && !strcmp(s.name, "/run/weftd/debug.sock"));
	s = parsed("fd:web");
	ck_assert(s.kind == LISTEN_FD && !strcmp(s.name, "web"));
}
END_TEST

START_TEST(anything_else_is_refused_by_name)
{
	static const char *const bad[] = {
		"",       "localhost", "localhost:", "localhost:x", "localhost:65536", "localhost:-1", "::1:6060",
		"[::1]",  "[::1]6060", "[x]:1",      "[]:1",        "unix:",           "unix:rel",     "fd:",
		"fd:a:b", "[::1:6060",
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct listen_spec s;
		char quoted[64];

		ck_assert_msg(listen_parse(bad[i], &s, err, sizeof err) == -EINVAL, "%s", bad[i]);
		snprintf(quoted, sizeof quoted, "\"%s\"", bad[i]);
		ck_assert_msg(strstr(err, quoted), "%s does not name %s", err, quoted);
	}
}
END_TEST

START_TEST(a_unix_path_that_does_not_fit_is_refused)
{
	char entry[200] = "unix:/";
	struct listen_spec s;

	memset(entry + 6, 'x', 106);
	ck_assert_int_eq(listen_parse(entry, &s, err, sizeof err), 0);
	entry[6 + 106] = 'x';
	ck_assert_int_eq(listen_parse(entry, &s, err, sizeof err), -EINVAL);
}
END_TEST

static bool local4(const char *text)
{
	struct sockaddr_in a = { .sin_family = AF_INET };

	ck_assert_int_eq(inet_pton(AF_INET, text, &a.sin_addr), 1);
	return listen_is_local((struct sockaddr *)&a);
}

static bool local6(const char *text)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6 };

	ck_assert_int_eq(inet_pton(AF_INET6, text, &a.sin6_addr), 1);
	return listen_is_local((struct sockaddr *)&a);
}

START_TEST(loopback_is_127_8_and_its_ipv6_forms)
{
	ck_assert(local4("127.0.0.1") && local4("127.255.1.2"));
	ck_assert(!local4("0.0.0.0") && !local4("128.0.0.1") && !local4("10.0.0.1"));
	ck_assert(local6("::1") && local6("::ffff:127.0.0.1"));
	ck_assert(!local6("::") && !local6("fe80::1") && !local6("::ffff:10.0.0.1"));
}
END_TEST

START_TEST(other_addresses_need_allow_remote)
{
	static const char *const remote[] = { "0.0.0.0:0", ":0", "[::]:0" };
	struct listener l[1];

	for (size_t i = 0; i < sizeof remote / sizeof *remote; i++) {
		memset(l, 0, sizeof l);
		ck_assert_int_eq(listen_open(remote[i], false, l, 1, err, sizeof err), -EACCES);
		ck_assert_msg(strstr(err, "allow_remote"), "%s", err);
	}
	memset(l, 0, sizeof l);
	ck_assert_msg(listen_open("0.0.0.0:0", true, l, 1, err, sizeof err) == 1, "%s", err);
	listen_close(l);
}
END_TEST

START_TEST(port_0_reports_the_port_it_got)
{
	struct listener l[1] = { 0 };
	unsigned port;

	ck_assert_msg(listen_open("127.0.0.1:0", false, l, 1, err, sizeof err) == 1, "%s", err);
	ck_assert_int_eq(sscanf(l->address, "127.0.0.1:%u", &port), 1);
	ck_assert_uint_gt(port, 0);
	listen_close(l);
}
END_TEST

START_TEST(a_unix_socket_is_private_replaces_a_stale_one_and_is_removed)
{
	char dir[] = "/tmp/weft-listen-XXXXXX", entry[64];
	struct listener first[1] = { 0 }, second[1] = { 0 };
	struct stat st;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(entry, sizeof entry, "unix:%s/s", dir);
	ck_assert_msg(listen_open(entry, false, first, 1, err, sizeof err) == 1, "%s", err);
	ck_assert_int_eq(stat(entry + 5, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0660);

	ck_assert_int_eq(listen_open(entry, false, second, 1, err, sizeof err), -EADDRINUSE); /* it lives */
	close(first->fd);
	memset(second, 0, sizeof second);
	ck_assert_msg(listen_open(entry, false, second, 1, err, sizeof err) == 1, "%s", err); /* it is dead */

	listen_close(second);
	ck_assert_int_eq(access(entry + 5, F_OK), -1);
	free(first->path);
	free(first->address);
	rmdir(dir);
}
END_TEST

START_TEST(a_passed_socket_is_found_by_its_name)
{
	struct listener own[1] = { 0 }, got[2] = { 0 };
	char number[16], names[512] = "";

	ck_assert_msg(listen_open("127.0.0.1:0", false, own, 1, err, sizeof err) == 1, "%s", err);
	ck_assert_int_eq(listen_open("fd:web", false, got, 2, err, sizeof err), -ENOENT);
	snprintf(number, sizeof number, "%d", (int)getpid());
	setenv("LISTEN_PID", number, 1);
	snprintf(number, sizeof number, "%d", own->fd - 2);
	setenv("LISTEN_FDS", number, 1);
	/* Passed ones begin at 3; what is open before ours goes by other names. */
	for (int fd = 3; fd < own->fd && strlen(names) < sizeof names - 16; fd++)
		strcat(names, "other:");
	setenv("LISTEN_FDNAMES", strcat(names, "web"), 1);

	ck_assert_msg(listen_open("fd:web", false, got, 2, err, sizeof err) == 1, "%s", err);
	ck_assert_int_eq(got[0].fd, own->fd);
	ck_assert_str_eq(got[0].address, own->address);
	ck_assert_int_eq(listen_open("fd:nobody", false, got + 1, 1, err, sizeof err), -ENOENT);
	listen_close(got);
	free(own->address);
}
END_TEST

Suite *test_http_listen(void);
Suite *test_http_listen(void)
{
	Suite *s = suite_create("http_listen");
	TCase *t = tcase_create("listen");

	tcase_add_test(t, the_four_forms_are_understood);
	tcase_add_test(t, anything_else_is_refused_by_name);
	tcase_add_test(t, a_unix_path_that_does_not_fit_is_refused);
	tcase_add_test(t, loopback_is_127_8_and_its_ipv6_forms);
	tcase_add_test(t, other_addresses_need_allow_remote);
	tcase_add_test(t, port_0_reports_the_port_it_got);
	tcase_add_test(t, a_unix_socket_is_private_replaces_a_stale_one_and_is_removed);
	tcase_add_test(t, a_passed_socket_is_found_by_its_name);
	suite_add_tcase(s, t);
	return s;
}
