/* test_log.c - log lines on their way to the embedder, and texts of results. */
#include <check.h>
#include <string.h>

#include "rt.h"

static struct {
	int lines, level;
	bool named;
	char instance[64], text[2000];
	uint64_t goid;
} got;

static void take(void *user, int level, const char *instance, uint64_t goid, const char *text)
{
	ck_assert_ptr_eq(user, &got);
	got.lines++;
	got.level = level;
	got.named = instance != NULL;
	strcpy(got.instance, instance ? instance : "");
	got.goid = goid;
	strcpy(got.text, text);
	*__errno_location() = EXDEV;
}

static void setup(void)
{
	sched.opts.log = take;
	sched.opts.user = &got;
}

START_TEST(line_carries_level_instance_and_goroutine)
{
	static struct m m;
	static struct g g;
	static struct weft_inst inst = { .number = 1, .name = "primes" };

	st(&g.id, 17);
	g.inst = &inst;
	st(&m.cur, &g);
	rt_tls_m = &m;
	weft_log(WEFT_WARN, "%d of %s", 3, "four");
	ck_assert_int_eq(got.level, WEFT_WARN);
	ck_assert_str_eq(got.instance, "primes");
	ck_assert_uint_eq(got.goid, 17);
	ck_assert_str_eq(got.text, "3 of four");
}
END_TEST

START_TEST(line_of_a_foreign_thread_has_neither)
{
	weft_log(WEFT_INFO, "hello");
	ck_assert(!got.named);
	ck_assert_uint_eq(got.goid, 0);
	rt_log(WEFT_ERROR, "runtime");
	ck_assert(!got.named);
	ck_assert_int_eq(got.lines, 2);
}
END_TEST

START_TEST(long_line_is_cut_at_a_thousand_bytes_and_counted)
{
	struct weft_counters c;
	char s[1201];

	memset(s, 'x', sizeof s - 1);
	s[1200] = 0;
	s[1000] = 0;
	weft_log(WEFT_INFO, "%s", s);
	rt_log_counters(&c);
	ck_assert_uint_eq(strlen(got.text), 1000);
	ck_assert_uint_eq(c.logs_cut, 0);

	s[1000] = 'x';
	weft_log(WEFT_INFO, "%s", s);
	rt_log_counters(&c);
	ck_assert_uint_eq(strlen(got.text), 1000);
	ck_assert_uint_eq(c.logs_cut, 1);
}
END_TEST

START_TEST(cut_does_not_split_a_character)
{
	char s[1201];

	memset(s, 'x', sizeof s - 1);
	s[1200] = 0;
	memcpy(s + 998, "\xe2\x82\xac", 3);
	weft_log(WEFT_INFO, "%s", s);
	ck_assert_uint_eq(strlen(got.text), 998);
}
END_TEST

START_TEST(control_characters_and_final_newlines_do_not_pass)
{
	weft_log(WEFT_INFO, "one\ntwo\t\x1b[31mred\n\n");
	ck_assert_str_eq(got.text, "one two  [31mred");
}
END_TEST

START_TEST(level_is_held_to_its_range)
{
	weft_log(-5, "x");
	ck_assert_int_eq(got.level, WEFT_ERROR);
	weft_log(99, "x");
	ck_assert_int_eq(got.level, WEFT_DEBUG);
}
END_TEST

START_TEST(errno_is_as_before)
{
	*__errno_location() = E2BIG;
	weft_log(WEFT_INFO, "%f", 1.5);
	ck_assert_int_eq(*__errno_location(), E2BIG);
}
END_TEST

START_TEST(without_a_taker_nothing_happens)
{
	sched.opts.log = NULL;
	weft_log(WEFT_INFO, "x");
	ck_assert_int_eq(got.lines, 0);
}
END_TEST

START_TEST(results_have_texts)
{
	ck_assert_str_eq(weft_strerror(-ECANCELED), "Operation canceled");
	ck_assert_str_eq(weft_strerror(-ENOMEM), "Cannot allocate memory");
	ck_assert_str_eq(weft_strerror(0), "Success");
	ck_assert_str_eq(weft_strerror(3), "Success");
	ck_assert_str_eq(weft_strerror(-4000), "Unknown error");
	ck_assert_str_eq(weft_strerror(INT32_MIN), "Unknown error");
}
END_TEST

Suite *test_log(void);
Suite *test_log(void)
{
	Suite *s = suite_create("log");
	TCase *t = tcase_create("log");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, line_carries_level_instance_and_goroutine);
	tcase_add_test(t, line_of_a_foreign_thread_has_neither);
	tcase_add_test(t, long_line_is_cut_at_a_thousand_bytes_and_counted);
	tcase_add_test(t, cut_does_not_split_a_character);
	tcase_add_test(t, control_characters_and_final_newlines_do_not_pass);
	tcase_add_test(t, level_is_held_to_its_range);
	tcase_add_test(t, errno_is_as_before);
	tcase_add_test(t, without_a_taker_nothing_happens);
	tcase_add_test(t, results_have_texts);
	suite_add_tcase(s, t);
	return s;
}
