/* test_life.c - limits, stacks and the memory of a spike, the life of the runtime itself. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "rtest.h"

static void add_one(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
}

/* --- Limits, stacks --- */

static void block_on(void *arg)
{
	int64_t v;

	weft_chan_recv(arg, &v, sizeof v);
}
START_TEST(more_than_max_goroutines_is_eagain)
{
	weft_chan *c;
	int rc = 0, n = 0;

	rtest_begin_with(&(struct weft_host_opts){ .maxprocs = 2, .max_goroutines = 200 });
	c = weft_chan_new(8, 0);
	while (n < 1000 && (rc = weft_go_in(inst, block_on, c)) == 0)
		n++;
	ck_assert_int_eq(rc, -EAGAIN);
	ck_assert_int_eq(n, 200);
	weft_chan_close(c);
	rtest_wait_gone();
	ck_assert_int_eq(weft_go_in(inst, block_on, c), 0); /* there is room again */
	rtest_wait_gone();
	weft_chan_free(c);
	rtest_end();
}
END_TEST

static void use_stack(void *arg)
{
	volatile char deep[40000];

	memset((void *)deep, 1, sizeof deep);
	weft_yield();
	ck_assert_int_eq(deep[sizeof deep - 1], 1);
	atomic_fetch_add((_Atomic int *)arg, 1);
}
START_TEST(stacks_work_with_every_kind_of_guard)
{
	static const char *const names[] = { "", "userfaultfd", "mprotect", "canary" };
	static _Atomic int ran;
	struct weft_counters c;

	rtest_begin_with(&(struct weft_host_opts){ .maxprocs = 2, .no_guard = (1u << _i) - 1 });
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(weft_go_in(inst, use_stack, &ran), 0);
	rtest_wait_gone();
	ck_assert_int_eq(ran, 100);
	weft_read_counters(&c);
	if (_i)
		ck_assert(!strcmp(c.guard, names[_i]) || (_i == 1 && !strcmp(c.guard, "mprotect"))); /* not permitted */
	ck_assert_uint_eq(c.unguarded, _i == 3 ? c.stacks_mapped : 0);
	rtest_end();
}
END_TEST

#ifndef RTEST_SANITIZER /* at most 8,000 goroutines there, and no memory figures */
static uint64_t resident(void)
{
	unsigned long size, pages;
	FILE *f = fopen("/proc/self/statm", "r");

	ck_assert_int_eq(fscanf(f, "%lu %lu", &size, &pages), 2);
	fclose(f);
	return pages * 4096;
}
#endif
static bool all_parked(void *arg)
{
	struct weft_counters c;

	weft_read_counters(&c);
	return c.waiting == (uint64_t)(uintptr_t)arg && c.parks[RT_WAIT_CHAN_RECV] >= (uint64_t)(uintptr_t)arg;
}
static bool one_runs(void *arg)
{
	struct weft_counters c;

	(void)arg;
	weft_read_counters(&c);
	return c.running == 1;
}
#ifndef RTEST_SANITIZER
static bool trimmed(void *arg)
{
	struct weft_counters c;

	(void)arg;
	weft_read_counters(&c);
	return c.stacks_trimmed > 15000;
}
START_TEST(the_memory_of_a_spike_is_given_back)
{
	weft_chan *c;
	uint64_t before, peak;

	rtest_begin(2);
	c = weft_chan_new(8, 0);
	before = resident();
	for (int i = 0; i < 20000; i++)
		ck_assert_int_eq(weft_go_in(inst, block_on, c), 0);
	rtest_wait(all_parked, (void *)20000, "all are parked");
	peak = resident();
	ck_assert_uint_gt(peak - before, 20000 * 4096ull);
	weft_chan_close(c);
	rtest_wait_gone();
	rtest_wait(trimmed, NULL, "stacks are given back");
	ck_assert_uint_lt(resident() - before, (peak - before) / 3);

	/* and they can be used again */
	for (int i = 0; i < 20000; i++)
		ck_assert_int_eq(weft_go_in(inst, block_on, c), 0);
	rtest_wait_gone();
	rtest_end();
}
END_TEST

#endif

/* --- The runtime's own life --- */

static void yields(void *arg)
{
	(void)weft_sleep(0);
	(void)arg;
}

static void cycle(weft_chan **abandoned)
{
	static _Atomic int ran;
	weft_chan *c;

	rtest_begin(3);
	c = *abandoned = weft_chan_new(8, 0);
	for (int i = 0; i < 50; i++) {
		ck_assert_int_eq(weft_go_in(inst, add_one, &ran), 0);
		ck_assert_int_eq(weft_go_in(inst, yields, NULL), 0);
		ck_assert_int_eq(weft_go_in(inst, block_on, c), 0); /* abandoned at stop */
	}
	rtest_wait(all_parked, (void *)50, "all are parked");
	rtest_end();
}
START_TEST(start_and_stop_leave_nothing_behind)
{
	static weft_chan *abandoned[101];
	int threads = 0, fds = 0, maps = 0;

	for (int i = 1; i <= 100; i++) {
		cycle(&abandoned[i]);
		if (i == 10) {
			threads = rtest_threads();
			fds = rtest_fds();
			maps = rtest_maps();
		}
	}
	ck_assert_int_eq(rtest_threads(), threads);
	ck_assert_int_eq(rtest_fds(), fds);
#ifndef RTEST_SANITIZER                            /* whose own tables grow */
	ck_assert_int_le(rtest_maps(), maps + 90); /* one small mapping an instance, which are never freed */
#else
	(void)maps;
#endif
}
END_TEST

static _Atomic bool let_go;
static void wedge(void *arg)
{
	(void)arg;
	while (!let_go)
		;
}
START_TEST(stop_says_when_a_worker_does_not_come_back)
{
	rtest_begin(2);
	ck_assert_int_eq(weft_host_start(&(struct weft_host_opts){ .maxprocs = 1 }), -EBUSY);
	ck_assert_int_eq(weft_go_in(inst, wedge, NULL), 0);
	rtest_wait(one_runs, NULL, "it runs");
	ck_assert_int_eq(weft_host_stop(50 * WEFT_MS), -ETIMEDOUT);
	let_go = true;
	rtest_end();
}
END_TEST

Suite *test_life(void);
Suite *test_life(void)
{
	Suite *s = suite_create("life");
	TCase *t = tcase_create("life");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, more_than_max_goroutines_is_eagain);
	tcase_add_loop_test(t, stacks_work_with_every_kind_of_guard, 0, 4);
	tcase_add_test(t, stop_says_when_a_worker_does_not_come_back);
	suite_add_tcase(s, t);
	t = tcase_create("memory");
	tcase_set_timeout(t, 120);
	tcase_set_tags(t, "process-memory");
#ifndef RTEST_SANITIZER
	tcase_add_test(t, the_memory_of_a_spike_is_given_back);
#endif
	tcase_add_test(t, start_and_stop_leave_nothing_behind);
	suite_add_tcase(s, t);
	return s;
}
