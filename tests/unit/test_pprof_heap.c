/* test_pprof_heap.c - what sampled blocks stand for. */
#include <check.h>
#include <stdlib.h>

#include "server.h"

#define RATE (512 << 10)

static void expect(int64_t n, int64_t bytes, int64_t want_n, int64_t want_bytes)
{
	heap_scale(&n, &bytes, RATE, 1);
	ck_assert_int_eq(n, want_n);
	ck_assert_int_eq(bytes, want_bytes);
}

START_TEST(samples_are_scaled_as_go_does_it)
{
	expect(0, 0, 0, 0);
	expect(4, 4096, 2050, 2099200);
	expect(3, 3072, 1537, 1574400);
	expect(1, RATE, 1, 829411);
	expect(1, 64 * RATE, 1, 64 * RATE); /* certain to be hit */
	expect(-4, -4096, -2050, -2099200); /* of a difference */
}
END_TEST

START_TEST(of_rates_0_and_1_and_of_the_same_nothing_is_scaled)
{
	for (int64_t rate = 0; rate <= 1; rate++) {
		int64_t n = 7, bytes = 100;

		heap_scale(&n, &bytes, rate, 1);
		ck_assert_int_eq(n, 7);
		ck_assert_int_eq(bytes, 100);
		heap_scale(&n, &bytes, RATE, RATE);
		ck_assert_int_eq(n, 7);
	}
}
END_TEST

START_TEST(a_sample_of_another_rate_becomes_what_it_would_be_under_that_of_the_text)
{
	int64_t n = 1000000, bytes = 1000000000, n2 = n, bytes2 = bytes;

	heap_scale(&n, &bytes, 64 << 10, RATE);
	heap_scale(&n, &bytes, RATE, 1);
	heap_scale(&n2, &bytes2, 64 << 10, 1);
	ck_assert_int_lt(llabs(bytes - bytes2), bytes2 / 1000);
	ck_assert_int_lt(llabs(n - n2), n2 / 1000);
}
END_TEST

Suite *test_pprof_heap(void);
Suite *test_pprof_heap(void)
{
	Suite *s = suite_create("pprof_heap");
	TCase *t = tcase_create("scale");

	tcase_add_test(t, samples_are_scaled_as_go_does_it);
	tcase_add_test(t, of_rates_0_and_1_and_of_the_same_nothing_is_scaled);
	tcase_add_test(t, a_sample_of_another_rate_becomes_what_it_would_be_under_that_of_the_text);
	suite_add_tcase(s, t);
	return s;
}
