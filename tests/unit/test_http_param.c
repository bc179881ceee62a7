/* test_http_param.c - request targets and query parameters. */
#include <check.h>
#include <string.h>

#include "server.h"

static const char *get(const char *query, const char *key)
{
	static char buf[32];

	return param_get(query, key, buf, sizeof buf) ? buf : "(absent)";
}

START_TEST(first_value_of_a_repeated_key_wins)
{
	ck_assert_str_eq(get("debug=1&debug=0", "debug"), "1");
	ck_assert_str_eq(get("x=9&debug=&debug=2", "debug"), "");
}
END_TEST

START_TEST(keys_match_whole_and_decoded)
{
	ck_assert_str_eq(get("xdebug=1&debugx=2", "debug"), "(absent)");
	ck_assert_str_eq(get("%64ebug=%31", "debug"), "1");
	ck_assert_str_eq(get("debug", "debug"), "");
	ck_assert_str_eq(get("", "debug"), "(absent)");
	ck_assert_str_eq(get("&&a+b=c+d&", "a b"), "c d");
}
END_TEST

START_TEST(malformed_pairs_do_not_exist)
{
	ck_assert_str_eq(get("a=%zz&a=1", "a"), "1");
	ck_assert_str_eq(get("a=%2&a=1", "a"), "1");
	ck_assert_str_eq(get("a=%00&a=1", "a"), "1");
	ck_assert_str_eq(get("a=1;b=2", "a"), "(absent)");
	ck_assert_str_eq(get("a=1234567890123456789012345678901234567890", "a"), "(absent)");
}
END_TEST

static void check_int(const char *query, bool given, bool valid, int64_t value)
{
	struct param p = param_int(query, "n");

	ck_assert_msg(p.given == given && p.valid == valid && (!valid || p.value == value),
		      "\"%s\": given %d valid %d value %lld", query, p.given, p.valid, (long long)p.value);
}

START_TEST(numbers_are_decimal_and_saturate)
{
	check_int("n=0", true, true, 0);
	check_int("n=007", true, true, 7);
	check_int("n=-3", true, true, -3);
	check_int("n=%2B3", true, true, 3);
	check_int("n=9223372036854775807", true, true, INT64_MAX);
	check_int("n=9223372036854775808", true, true, INT64_MAX);
	check_int("n=99999999999999999999999999", true, true, INT64_MAX);
	check_int("n=-9223372036854775807", true, true, -INT64_MAX);
	check_int("n=-9223372036854775808", true, true, INT64_MIN);
	check_int("n=-9223372036854775809", true, true, INT64_MIN);
}
END_TEST

START_TEST(what_is_no_number_is_given_but_not_valid)
{
	static const char *const bad[] = {
		"n=1.5", "n=abc", "n=0x10", "n=1e3", "n=+3", "n=3+", "n=-", "n=%2B", "n=--1"
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		check_int(bad[i], true, false, 0);
	check_int("n=", false, false, 0);
	check_int("m=1", false, false, 0);
}
END_TEST

static void check_target(const char *target, bool ok, const char *path, const char *query, const char *host)
{
	char p[64], h[32];
	const char *q = "";
	bool got = param_target(target, p, sizeof p, &q, h, sizeof h);

	ck_assert_msg(got == ok, "%s", target);
	if (!ok)
		return;
	ck_assert_str_eq(p, path);
	ck_assert_str_eq(q, query);
	ck_assert_str_eq(h, host);
}

START_TEST(targets_lose_their_absolute_prefix_and_are_decoded_once)
{
	check_target("/debug/pprof/?a=%31", true, "/debug/pprof/", "a=%31", "");
	check_target("/%2564?x?y", true, "/%64", "x?y", "");
	check_target("/a+b", true, "/a+b", "", "");
	check_target("http://h:1/p?q", true, "/p", "q", "h:1");
	check_target("HTTPS://[::1]/p", true, "/p", "", "[::1]");
	check_target("http://h", true, "", "", "h");
	check_target("http://h?q", true, "", "q", "h");
}
END_TEST

START_TEST(targets_that_hide_something_are_refused)
{
	check_target("/a%00b", false, "", "", "");
	check_target("/a%", false, "", "", "");
	check_target("/a%g0", false, "", "", "");
	check_target("/a b", false, "", "", "");
	check_target("/a?b c", false, "", "", "");
	check_target("http:///p", false, "", "", "");
	check_target("http://0123456789012345678901234567890123456789/p", false, "", "", "");
}
END_TEST

Suite *test_http_param(void);
Suite *test_http_param(void)
{
	Suite *s = suite_create("http_param");
	TCase *t = tcase_create("param");

	tcase_add_test(t, first_value_of_a_repeated_key_wins);
	tcase_add_test(t, keys_match_whole_and_decoded);
	tcase_add_test(t, malformed_pairs_do_not_exist);
	tcase_add_test(t, numbers_are_decimal_and_saturate);
	tcase_add_test(t, what_is_no_number_is_given_but_not_valid);
	tcase_add_test(t, targets_lose_their_absolute_prefix_and_are_decoded_once);
	tcase_add_test(t, targets_that_hide_something_are_refused);
	suite_add_tcase(s, t);
	return s;
}
