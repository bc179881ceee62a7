/* test_http_access.c - which Host, Origin and Sec-Fetch-Site are served. */
#include <check.h>

#include "server.h"

static const char *const allowed[] = { "weft.example", "Other.Name" };

static bool host_ok(const char *host)
{
	return access_host_ok(host, allowed, 2);
}

START_TEST(addresses_localhost_and_configured_names_are_hosts)
{
	static const char *const good[] = {
		"127.0.0.1", "127.0.0.1:6060", "10.1.2.3:1",   "[::1]",        "[::1]:6060",     "[fe80::1]:1",
		"localhost", "LocalHost:6060", "localhost.:1", "weft.example", "WEFT.EXAMPLE:1", "other.name.",
	};

	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		ck_assert_msg(host_ok(good[i]), "%s", good[i]);
}
END_TEST

START_TEST(names_of_others_and_malformed_hosts_are_refused)
{
	static const char *const bad[] = {
		"",
		"evil.example",
		"localhost.evil",
		"127.0.0.1.evil",
		"xweft.example",
		"weft.example.evil",
		"::1",
		"[::1",
		"[::1]6060",
		"[::1]:60x",
		"[localhost]",
		"[127.0.0.1]",
		":80",
		"localhost:x",
		"localhost:1:2",
		"0x7f.0.0.1",
		"127.1",
		"2130706433",
		"a b",
		".",
		"[]",
		"[]:1",
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_msg(!host_ok(bad[i]), "%s", bad[i]);
}
END_TEST

START_TEST(an_origin_must_be_the_host_itself)
{
	ck_assert(access_origin_ok("http://localhost:6060", "localhost:6060"));
	ck_assert(access_origin_ok("HTTPS://LocalHost:6060", "localhost:6060"));
	ck_assert(!access_origin_ok("http://localhost", "localhost:6060"));
	ck_assert(!access_origin_ok("http://localhost:6060/", "localhost:6060"));
	ck_assert(!access_origin_ok("http://evil.example", "localhost"));
	ck_assert(!access_origin_ok("null", "null"));
	ck_assert(!access_origin_ok("http://x", NULL));
}
END_TEST

START_TEST(pages_of_other_sites_are_refused)
{
	ck_assert(access_site_ok("same-origin"));
	ck_assert(access_site_ok("none"));
	ck_assert(!access_site_ok("same-site"));
	ck_assert(!access_site_ok("cross-site"));
	ck_assert(!access_site_ok(""));
}
END_TEST

Suite *test_http_access(void);
Suite *test_http_access(void)
{
	Suite *s = suite_create("http_access");
	TCase *t = tcase_create("access");

	tcase_add_test(t, addresses_localhost_and_configured_names_are_hosts);
	tcase_add_test(t, names_of_others_and_malformed_hosts_are_refused);
	tcase_add_test(t, an_origin_must_be_the_host_itself);
	tcase_add_test(t, pages_of_other_sites_are_refused);
	suite_add_tcase(s, t);
	return s;
}
