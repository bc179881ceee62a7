/* test_procs.c - the number of Ps: set, automatic, and changed while everything runs. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rt.h"
#include "rtest.h"

static _Atomic int turns, stop;

static void turning(void *arg)
{
	weft_chan *c = arg;
	int64_t v = 0;

	while (!stop) {
		if (c && weft_chan_try_send(c, &v, sizeof v) < 0)
			(void)weft_chan_try_recv(c, &v, sizeof v);
		atomic_fetch_add(&turns, 1);
		weft_yield();
	}
}

static void sleeping(void *arg)
{
	(void)arg;
	while (!stop) {
		ck_assert_int_eq(weft_sleep(200 * WEFT_US), 0);
		atomic_fetch_add(&turns, 1);
	}
}

static uint32_t active(void)
{
	return ld(&sched.n_active);
}

static bool settled(void *arg)
{
	(void)arg;
	return active() == ld(&sched.maxprocs);
}

START_TEST(the_number_can_be_asked_and_set)
{
	rtest_begin(3);
	ck_assert_int_eq(weft_maxprocs(0), 3);
	ck_assert_int_eq(weft_maxprocs(-5), 3);
	ck_assert_int_eq(weft_maxprocs(5), 3);
	ck_assert_int_eq(weft_maxprocs(0), 5);
	ck_assert_int_eq(weft_maxprocs(WEFT_MAXPROCS_LIMIT + 1), -EINVAL);
	ck_assert_int_eq(weft_maxprocs(WEFT_MAXPROCS_LIMIT), 5);
	ck_assert_int_eq(weft_maxprocs(1), WEFT_MAXPROCS_LIMIT);
	rtest_wait(settled, NULL, "all idle Ps are retired");
	ck_assert_int_ge(weft_ncpu(), 1);
	ck_assert_int_eq(weft_maxprocs_default(), weft_maxprocs(0));
	ck_assert_int_le(weft_maxprocs(0), weft_ncpu());
	rtest_end();
}
END_TEST

/* Every goroutine goes on through each change, whatever it does. */
START_TEST(changes_under_load_lose_nobody)
{
	uint64_t seed = rtest_seed();
	weft_chan *c;
	int rounds = rtest_scale(300);

	rtest_begin(2);
	c = weft_chan_new(sizeof(int64_t), 4);
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(weft_go_in(inst, turning, i % 2 ? c : NULL), 0);
		ck_assert_int_eq(weft_go_in(inst, sleeping, NULL), 0);
	}
	for (int i = 0; i < rounds; i++) {
		int n = 1 + (int)(rtest_random(&seed) % 8);

		ck_assert_int_gt(weft_maxprocs(n), 0);
		if (i % 16 == 0) {
			int before = turns;
			int64_t until = weft_now() + 60 * WEFT_SEC;

			while (turns < before + 100 && weft_now() < until)
				usleep(100);
			ck_assert_int_ge(turns, before + 100);
			rtest_wait(settled, NULL, "the number of Ps is what was set");
		}
		usleep((useconds_t)(rtest_random(&seed) % 300));
	}
	stop = 1;
	rtest_wait_gone();
	weft_chan_free(c);
	rtest_end();
}
END_TEST

static void asks_from_inside(void *arg)
{
	(void)arg;
	for (int i = 1; i <= 50; i++)
		ck_assert_int_gt(weft_maxprocs(1 + i % 4), 0);
}
START_TEST(goroutines_may_change_it)
{
	rtest_begin(2);
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(weft_go_in(inst, asks_from_inside, NULL), 0);
	rtest_wait_gone();
	rtest_wait(settled, NULL, "the number of Ps is what was set last");
	rtest_end();
}
END_TEST

static _Atomic int hogs;

static void hog(void *arg)
{
	(void)arg;
	hogs++;
	while (!stop)
		;
}
static bool hogging(void *arg)
{
	return hogs == *(int *)arg;
}
static void count_turn(void *arg)
{
	(void)arg;
	turns++;
}
static bool turned(void *arg)
{
	(void)arg;
	return turns > 0;
}

/* They run on without a P, and their work goes to those who have one. */
START_TEST(a_goroutine_that_never_waits_loses_a_retired_P)
{
	rtest_begin(3);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(weft_go_in(inst, hog, NULL), 0);
	rtest_wait(hogging, &(int){ 2 }, "both hogs run");
	weft_maxprocs(1);
	rtest_wait(settled, NULL, "the hogs' Ps are taken");
	ck_assert_uint_eq(active(), 1);
	weft_maxprocs(2);
	ck_assert_int_eq(weft_go_in(inst, count_turn, NULL), 0);
	rtest_wait(turned, NULL, "others run");
	stop = 1;
	rtest_wait_gone();
	rtest_end();
}
END_TEST

/* --- Automatic --- */

static char top[] = "/tmp/weft-procs.XXXXXX", proc[64], sys[64];

static void put(const char *under, const char *name, const char *text)
{
	char path[256], fresh[300];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", under, name);
	snprintf(fresh, sizeof fresh, "%s.new", path);
	f = fopen(fresh, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
	ck_assert_int_eq(rename(fresh, path), 0);
}

static void make_roots(void)
{
	char self[80];

	ck_assert_ptr_nonnull(mkdtemp(top));
	snprintf(proc, sizeof proc, "%s/proc", top);
	snprintf(sys, sizeof sys, "%s/sys", top);
	snprintf(self, sizeof self, "%s/self", proc);
	ck_assert_int_eq(mkdir(proc, 0700) + mkdir(self, 0700) + mkdir(sys, 0700), 0);
	put(self, "cgroup", "0::/\n");
	put(self, "mountinfo", "35 26 0:30 / / rw - cgroup2 cgroup2 rw\n");
}

static void drop_roots(void)
{
	char cmd[128];

	snprintf(cmd, sizeof cmd, "rm -rf %s", top);
	ck_assert_int_eq(system(cmd), 0);
}

static bool is_number(void *arg)
{
	return weft_maxprocs(0) == *(int *)arg;
}

static const struct {
	const char *max;
	bool floor;
	int want;
} quotas[] = {
	{ "max 100000\n", false, 8 },    { "1000 100000\n", false, 2 },   { "200000 100000\n", false, 2 },
	{ "200001 100000\n", false, 3 }, { "299999 100000\n", false, 3 }, { "299999 100000\n", true, 2 },
	{ "300000 100000\n", true, 3 },  { "900000 100000\n", false, 8 }, { "50000 20000\n", false, 3 },
};
START_TEST(a_quota_limits_the_automatic_number)
{
	struct weft_host_opts opts = { .cpus = 8, .proc_root = proc, .sys_root = sys };

	make_roots();
	put(sys, "cpu.max", quotas[_i].max);
	opts.maxprocs_floor = quotas[_i].floor;
	rtest_begin_with(&opts);
	ck_assert_int_eq(weft_maxprocs(0), quotas[_i].want);
	rtest_end();
	drop_roots();
}
END_TEST

START_TEST(the_quota_is_followed_until_a_number_is_set)
{
	make_roots();
	put(sys, "cpu.max", "300000 100000\n");
	rtest_begin_with(&(struct weft_host_opts){ .cpus = 8, .proc_root = proc, .sys_root = sys });
	ck_assert_int_eq(weft_go_in(inst, sleeping, NULL), 0); /* sysmon looks while something runs */
	ck_assert_int_eq(weft_maxprocs(0), 3);
	put(sys, "cpu.max", "500000 100000\n");
	rtest_wait(is_number, &(int){ 5 }, "the quota of 5 CPUs is seen");
	put(sys, "cpu.max", "max 100000\n");
	rtest_wait(is_number, &(int){ 8 }, "the end of the quota is seen");
	ck_assert_int_eq(weft_maxprocs(4), 8);
	put(sys, "cpu.max", "300000 100000\n");
	usleep(1500000);
	ck_assert_int_eq(weft_maxprocs(0), 4);
	ck_assert_int_eq(weft_maxprocs_default(), 3);
	put(sys, "cpu.max", "600000 100000\n");
	rtest_wait(is_number, &(int){ 6 }, "the quota is followed again");
	stop = 1;
	rtest_wait_gone();
	rtest_end();
	drop_roots();
}
END_TEST

Suite *test_procs(void);
Suite *test_procs(void)
{
	Suite *s = suite_create("procs");
	TCase *t = tcase_create("procs");

	tcase_set_timeout(t, 300);
	tcase_add_test(t, the_number_can_be_asked_and_set);
	tcase_add_test(t, changes_under_load_lose_nobody);
	tcase_add_test(t, goroutines_may_change_it);
	tcase_add_test(t, a_goroutine_that_never_waits_loses_a_retired_P);
	tcase_add_loop_test(t, a_quota_limits_the_automatic_number, 0, sizeof quotas / sizeof *quotas);
	tcase_add_test(t, the_quota_is_followed_until_a_number_is_set);
	suite_add_tcase(s, t);
	return s;
}
