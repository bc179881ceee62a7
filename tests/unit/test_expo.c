/* test_expo.c - the metrics text, byte by byte. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expo.h"

static void check_text(struct buf *b, const char *want)
{
	ck_assert_int_eq(b->failed, 0);
	buf_add(b, "", 1);
	ck_assert_str_eq(b->b, want);
	buf_free(b);
}

START_TEST(family_has_help_and_type_then_samples)
{
	struct buf b = { 0 };

	expo_family(&b, "weft_goroutines", EXPO_GAUGE, "Goroutines by state.");
	expo_u64(&b, "weft_goroutines", 3, "state", "waiting", NULL);
	expo_u64(&b, "weft_goroutines", 18446744073709551615u, "state", "running", "p", "0", NULL);
	expo_value(&b, "weft_goroutines", 0.5, NULL);

	check_text(&b, "# HELP weft_goroutines Goroutines by state.\n"
		       "# TYPE weft_goroutines gauge\n"
		       "weft_goroutines{state=\"waiting\"} 3\n"
		       "weft_goroutines{state=\"running\",p=\"0\"} 18446744073709551615\n"
		       "weft_goroutines 0.5\n");
}
END_TEST

START_TEST(types_have_the_words_of_the_format)
{
	struct buf b = { 0 };

	expo_family(&b, "a_total", EXPO_COUNTER, "A");
	expo_family(&b, "b_seconds", EXPO_HISTOGRAM, "B");

	check_text(&b, "# HELP a_total A\n# TYPE a_total counter\n"
		       "# HELP b_seconds B\n# TYPE b_seconds histogram\n");
}
END_TEST

START_TEST(label_values_escape_backslash_quote_and_newline)
{
	struct buf b = { 0 };

	expo_u64(&b, "m", 1, "l", "a\\b\"c\nd\xc3\xbc", NULL);

	check_text(&b, "m{l=\"a\\\\b\\\"c\\nd\xc3\xbc\"} 1\n");
}
END_TEST

START_TEST(help_escapes_backslash_and_newline_but_no_quote)
{
	struct buf b = { 0 };

	expo_family(&b, "m", EXPO_GAUGE, "a\\b\"c\nd");

	check_text(&b, "# HELP m a\\\\b\"c\\nd\n# TYPE m gauge\n");
}
END_TEST

START_TEST(bytes_that_are_not_utf8_become_question_marks)
{
	struct buf b = { 0 };

	expo_u64(&b, "m", 1, "l", "x\xff\xc3y\xe2\x82", NULL);

	check_text(&b, "m{l=\"x??y??\"} 1\n");
}
END_TEST

START_TEST(numbers_are_the_shortest_that_read_back)
{
	static const struct {
		double v;
		const char *text;
	} t[] = {
		{ 0, "m 0\n" },
		{ 1, "m 1\n" },
		{ -3, "m -3\n" },
		{ 0.1, "m 0.1\n" },
		{ 1.0 / 3, "m 0.3333333333333333\n" },
		{ 12000000, "m 12000000\n" },
		{ 1753900000.123, "m 1753900000.123\n" },
		{ 6.399999999999999e-08, "m 6.399999999999999e-08\n" },
		{ 1e300, "m 1e+300\n" },
		{ 1.8446744073709552e19, "m 1.8446744073709552e+19\n" },
		{ NAN, "m NaN\n" },
		{ INFINITY, "m +Inf\n" },
		{ -INFINITY, "m -Inf\n" },
	};
	struct buf b = { 0 };

	expo_value(&b, "m", t[_i].v, NULL);

	check_text(&b, t[_i].text);
}
END_TEST
#define NUMBERS 13

START_TEST(every_double_reads_back_exactly)
{
	const char *env = getenv("WEFT_SEED");
	unsigned seed = env ? (unsigned)strtoul(env, NULL, 0) : 20240517;

	printf("seed %u (WEFT_SEED=)\n", seed);
	for (int i = 0; i < 20000; i++) {
		struct buf b = { 0 };
		union {
			uint32_t u[2];
			double d;
		} v = { .u = { (uint32_t)rand_r(&seed) << 1 ^ (uint32_t)rand_r(&seed),
			       (uint32_t)rand_r(&seed) << 1 ^ (uint32_t)rand_r(&seed) } };

		if (!isfinite(v.d))
			continue;
		expo_value(&b, "m", v.d, NULL);
		buf_add(&b, "", 1);
		ck_assert_msg(strtod(b.b + 2, NULL) == v.d, "%a came out as %s", v.d, b.b);
		buf_free(&b);
	}
}
END_TEST

START_TEST(text_longer_than_any_first_guess_is_kept_whole)
{
	struct buf b = { 0 };
	char *want = calloc(1, 400001);

	for (int i = 0; i < 1000; i++) {
		memset(want + 400L * i, 'a' + i % 26, 400);
		buf_fmt(&b, "%.400s", want + 400L * i);
	}
	ck_assert_uint_eq(b.len, 400000);
	check_text(&b, want);
	free(want);
}
END_TEST

Suite *test_expo(void);
Suite *test_expo(void)
{
	Suite *s = suite_create("expo");
	TCase *t = tcase_create("expo");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, family_has_help_and_type_then_samples);
	tcase_add_test(t, types_have_the_words_of_the_format);
	tcase_add_test(t, label_values_escape_backslash_quote_and_newline);
	tcase_add_test(t, help_escapes_backslash_and_newline_but_no_quote);
	tcase_add_test(t, bytes_that_are_not_utf8_become_question_marks);
	tcase_add_loop_test(t, numbers_are_the_shortest_that_read_back, 0, NUMBERS);
	tcase_add_test(t, every_double_reads_back_exactly);
	tcase_add_test(t, text_longer_than_any_first_guess_is_kept_whole);
	suite_add_tcase(s, t);
	return s;
}
