/* test_weftdebug.c - what WEFTDEBUG may hold, and what is said about the rest. */
#include <check.h>
#include <string.h>

#include "daemon.h"

Suite *test_weftdebug(void);

static struct weftdebug got;
static char warning[512];

static void parse(const char *env)
{
	weftdebug_parse(env, &got, warning, sizeof warning);
}

START_TEST(without_it_nothing_is_on_and_nothing_said)
{
	parse(NULL);
	ck_assert(got.schedtrace == 0 && !got.scheddetail && !got.inittrace && !*warning);
	parse("");
	ck_assert(got.schedtrace == 0 && !got.scheddetail && !got.inittrace && !*warning);
	parse(",,");
	ck_assert(!*warning);
}
END_TEST

START_TEST(all_keys_are_understood_and_the_last_of_equal_ones_counts)
{
	parse("schedtrace=1000,scheddetail=1,inittrace=1");
	ck_assert_int_eq(got.schedtrace, WEFT_SEC);
	ck_assert(got.scheddetail && got.inittrace && !*warning);

	parse("inittrace=1,schedtrace=5,inittrace=0,schedtrace=0");
	ck_assert(got.schedtrace == 0 && !got.inittrace && !*warning);
}
END_TEST

START_TEST(what_is_not_understood_is_named_once_with_what_is_allowed_and_the_rest_counts)
{
	parse("gctrace=1,inittrace=1,schedtrace=soon");
	ck_assert(got.inittrace && got.schedtrace == 0);
	ck_assert_str_eq(warning, "environment WEFTDEBUG: not understood: \"gctrace=1\", \"schedtrace=soon\"; "
				  "allowed are schedtrace=MILLISECONDS, scheddetail=1, inittrace=1 (0: off)");
}
END_TEST

START_TEST(values_out_of_range_are_not_understood)
{
	static const char *const bad[] = { "schedtrace",     "schedtrace=",         "schedtrace=-1",
					   "schedtrace= 1",  "schedtrace=86400001", "schedtrace=99999999999999999999",
					   "scheddetail=2",  "inittrace=yes",       "=1",
					   "schedtrace=1ms", "SCHEDTRACE=1" };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		parse(bad[i]);
		ck_assert_msg(strstr(warning, bad[i]) != NULL, "%s: \"%s\"", bad[i], warning);
		ck_assert(got.schedtrace == 0 && !got.scheddetail && !got.inittrace);
	}
}
END_TEST

START_TEST(a_long_one_gives_a_warning_that_fits)
{
	static char env[100000];

	memset(env, 'x', sizeof env - 1);
	for (size_t i = 10; i < sizeof env - 1; i += 10 + i / 100)
		env[i] = ',';
	parse(env);
	ck_assert_uint_gt(strlen(warning), 100);
	ck_assert_uint_lt(strlen(warning), sizeof warning);
}
END_TEST

Suite *test_weftdebug(void)
{
	Suite *s = suite_create("weftdebug");
	TCase *t = tcase_create("weftdebug");

	tcase_add_test(t, without_it_nothing_is_on_and_nothing_said);
	tcase_add_test(t, all_keys_are_understood_and_the_last_of_equal_ones_counts);
	tcase_add_test(t, what_is_not_understood_is_named_once_with_what_is_allowed_and_the_rest_counts);
	tcase_add_test(t, values_out_of_range_are_not_understood);
	tcase_add_test(t, a_long_one_gives_a_warning_that_fits);
	suite_add_tcase(s, t);
	return s;
}
