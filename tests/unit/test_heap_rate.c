/* test_heap_rate.c - how often malloc is sampled, and that what was not is made up for. */
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "rheap.h"

START_TEST(scaled_samples_add_up_to_what_was_allocated)
{
	static const struct {
		size_t size;
		int blocks;
	} round[] = { { 48, 4000000 }, { 1024, 1000000 }, { 65536, 20000 }, { 1 << 20, 400 } };

	for (size_t i = 0; i < sizeof round / sizeof *round; i++) {
		double want = (double)round[i].size * round[i].blocks, rate = 512 << 10, sigma;
		struct rheap before, s;

		rheap_begin(512 << 10);
		before = rheap_look(site_malloc, NULL);
		for (int k = 0; k < round[i].blocks; k++)
			free(site_malloc(round[i].size));
		s = rheap_look(site_malloc, NULL);
		/* of a binomial sum with the chance of a block of that size */
		sigma = sqrt(round[i].blocks * exp(-(double)round[i].size / rate) /
			     (1 - exp(-(double)round[i].size / rate))) *
			(double)round[i].size;
		ck_assert_msg(fabs(s.bytes - before.bytes - want) < 3 * sigma + 1,
			      "blocks of %zu: %.0f bytes seen, %.0f allocated, sigma %.0f", round[i].size,
			      s.bytes - before.bytes, want, sigma);
		ck_assert_int_eq(s.v[0], s.v[2]);
		rtest_end();
	}
}
END_TEST

struct stage {
	_Atomic int now;
};

static void *second_thread(void *arg)
{
	struct stage *stage = arg;

	for (int want = 1; want <= 2; want++) {
		while (ld_acq(&stage->now) != want * 2 - 1)
			sched_yield();
		for (int i = 0; i < 100; i++)
			free(site_malloc(1000));
		st_rel(&stage->now, want * 2);
	}
	return NULL;
}

static void stage_wait(struct stage *stage, int want)
{
	st_rel(&stage->now, want);
	while (ld_acq(&stage->now) != want + 1)
		sched_yield();
}

START_TEST(a_change_of_the_rate_is_soon_seen_by_every_thread_and_0_stops_it)
{
	struct stage stage = { 0 };
	void *kept;
	pthread_t t;

	rheap_begin(0);
	free(site_malloc(1000));
	rheap_expect(site_malloc, 0, 0, 0, 0);
	ck_assert_int_eq(pthread_create(&t, NULL, second_thread, &stage), 0);
	stage_wait(&stage, 1);
	rheap_expect(site_malloc, 0, 0, 0, 0);
	weft_host_heap_rate(1);
	free(site_malloc(1000));
	rheap_expect(site_malloc, 1, 1000, 1, 1000);
	stage_wait(&stage, 3);
	ck_assert_int_gt(rheap_look(site_malloc, NULL).v[0], 50);
	ck_assert_int_eq(pthread_join(t, NULL), 0);
	kept = site_malloc(77);
	weft_host_heap_rate(0);
	free(kept); /* is known all the same */
	ck_assert_int_eq(rheap_look(site_malloc, NULL).v[0], rheap_look(site_malloc, NULL).v[2]);
	rtest_end();
}
END_TEST

START_TEST(each_sample_remembers_the_rate_of_its_time)
{
	struct weft_prof_sample s;
	uint32_t at = 0;
	int seen = 0;

	rheap_begin(1);
	free(site_malloc(500));
	weft_host_heap_rate(2);
	for (int i = 0; i < 1000; i++)
		free(site_malloc(500));
	while (weft_read_prof(WEFT_PROF_HEAP, &at, &s))
		if (s.depth && weft_read_func_start(s.pc[0] - 1) == (uintptr_t)site_malloc)
			seen |= 1 << weft_read_heap_rate(s.extra);
	ck_assert_int_eq(seen, 1 << 1 | 1 << 2);
	rtest_end();
}
END_TEST

START_TEST(calls_are_counted_once_somebody_asks)
{
	uint64_t calls, bytes, calls2, bytes2;

	rheap_begin(0);
	free(site_malloc(10));
	weft_read_mallocs(&calls, &bytes);
	ck_assert_uint_eq(calls, 0);
	ck_assert_int_eq(weft_host_count_mallocs(), 0);
	weft_read_mallocs(&calls, &bytes);
	for (int i = 0; i < 5; i++)
		free(site_malloc(10));
	weft_read_mallocs(&calls2, &bytes2);
	ck_assert_uint_eq(calls2 - calls, 5);
	ck_assert_uint_eq(bytes2 - bytes, 50);
	rheap_expect(site_malloc, 0, 0, 0, 0);
	rtest_end();
}
END_TEST

Suite *test_heap_rate(void);
Suite *test_heap_rate(void)
{
	Suite *s = suite_create("heap_rate");
	TCase *t = tcase_create("rate");

	tcase_set_tags(t, "malloc");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, scaled_samples_add_up_to_what_was_allocated);
	tcase_add_test(t, a_change_of_the_rate_is_soon_seen_by_every_thread_and_0_stops_it);
	tcase_add_test(t, each_sample_remembers_the_rate_of_its_time);
	tcase_add_test(t, calls_are_counted_once_somebody_asks);
	suite_add_tcase(s, t);
	return s;
}
