/* test_prof_custom.c - profiles of plugins, threadcreate, and writing a profile to a descriptor. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "prof_thread.h"
#include "ptab.h"
#include "rt.h"
#include "rtest.h"

static struct weft_prof_sample sample;

static uint32_t number_of(const char *name)
{
	const char *have;
	uint32_t i = 0;

	while ((have = weft_read_custom_name(i)) != NULL && strcmp(have, name) != 0)
		i++;
	return i;
}

/* Held in a profile, by stacks whose innermost function is fn (NULL: any). */
static int64_t held(const char *name, const void *fn)
{
	int64_t n = 0;

	for (uint32_t at = 0; weft_read_custom(number_of(name), &at, &sample);)
		if (!fn || (sample.depth && weft_read_func_start(sample.pc[0] - 1) == (uintptr_t)fn))
			n += sample.value[0];
	return n;
}

static RT_NOINLINE int take(weft_profile *p, const void *key, int skip)
{
	int rc = weft_profile_add(p, key, skip);

	RT_KEEP_FRAME();
	return rc;
}
static RT_NOINLINE int take_outer(weft_profile *p, const void *key, int skip)
{
	int rc = take(p, key, skip);

	RT_KEEP_FRAME();
	return rc;
}

static void adds_and_removes(void *arg)
{
	static char key[100];
	weft_profile *p = weft_profile_new("held");

	(void)arg;
	ck_assert_ptr_nonnull(p);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(take_outer(p, &key[i], 0), 0);
	ck_assert_int_eq(take(p, &key[7], 0), -EEXIST);
	ck_assert_int_eq(take(p, NULL, 0), -EINVAL);
	ck_assert_int_eq(weft_profile_count(p), 100);
	ck_assert_int_eq(held("held", take), 100);
	for (int i = 0; i < 100; i += 2)
		weft_profile_remove(p, &key[i]);
	weft_profile_remove(p, &key[0]); /* not in any more */
	ck_assert_int_eq(weft_profile_count(p), 50);
	ck_assert_int_eq(held("held", NULL), 50);
	for (int i = 0; i < 100; i += 2)
		ck_assert_int_eq(take_outer(p, &key[i], 1), 0);
	ck_assert_int_eq(held("held", take), 50);
	ck_assert_int_eq(held("held", take_outer), 50);
	ck_assert_int_eq(sample.instance, 1);
	for (int i = 0; i < 100; i++)
		weft_profile_remove(p, &key[i]);
	ck_assert_int_eq(held("held", NULL), 0);
	ck_assert_int_eq(take(p, &key[0], 500), 0); /* more than there are: a sample without a stack */
	ck_assert_int_eq(held("held", NULL), 1);
	ck_assert_int_eq(sample.depth, 0);
	weft_profile_free(p);
	ck_assert_int_eq(held("held", NULL), 0);
}

START_TEST(things_count_where_they_were_added_until_they_are_removed)
{
	rtest_begin(1);
	rtest_run(adds_and_removes, NULL);
	rtest_end();
}
END_TEST

static int64_t of_host(void *user, const char *name)
{
	(void)user;
	return !strcmp(name, "heap") ? 42 : !strcmp(name, "profile") ? -EEXIST : -ENOENT;
}

static int writes(void *user, const char *name, int debug, int fd)
{
	char text[64];

	(void)user;
	snprintf(text, sizeof text, "%s %d", name, debug);
	return write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -EIO;
}

START_TEST(names_are_unique_and_come_free_again)
{
	struct weft_host_opts opts = { .maxprocs = 1, .profile_count = of_host };
	weft_profile *p;

	rtest_begin_with(&opts);
	p = weft_profile_new("conns");
	ck_assert_ptr_nonnull(p);
	ck_assert_ptr_null(weft_profile_new("conns"));
	ck_assert_ptr_null(weft_profile_new("heap"));
	ck_assert_ptr_null(weft_profile_new("profile"));
	ck_assert_ptr_null(weft_profile_lookup("profile"));
	ck_assert_ptr_null(weft_profile_new(""));
	ck_assert_ptr_null(weft_profile_new("a/b"));
	ck_assert_ptr_null(weft_profile_new("<script>"));
	ck_assert_ptr_eq(weft_profile_lookup("conns"), p);
	weft_profile_free(p);
	ck_assert_ptr_null(weft_profile_lookup("conns"));
	ck_assert_ptr_eq(weft_profile_new("conns"), p);
	ck_assert_ptr_null(weft_profile_lookup("nothing"));
	ck_assert_int_eq(weft_profile_count(weft_profile_lookup("heap")), 42);
	ck_assert_int_eq(weft_profile_add(weft_profile_lookup("heap"), &opts, 0), -EINVAL);
	weft_profile_free(weft_profile_lookup("heap"));
	ck_assert_int_eq(weft_profile_count(weft_profile_lookup("heap")), 42);
	weft_profile_free(p);
	rtest_end();
}
END_TEST

static void writes_heap(void *arg)
{
	int *pipes = arg;

	ck_assert_int_eq(weft_profile_write(weft_profile_lookup("heap"), pipes[1], 1), 0);
	ck_assert_int_eq(weft_profile_write(NULL, pipes[1], 1), -EINVAL);
	ck_assert_int_eq(weft_profile_write(weft_profile_lookup("heap"), 9999, 1), -EBADF);
}

/* fn, with a pipe, on a goroutine of a runtime with these options: what it leaves in the pipe, which stays open. */
static void run_with_pipe(const struct weft_host_opts *opts, weft_fn fn, const char *expect)
{
	int pipes[2];
	char text[64] = "";

	rtest_begin_with(opts);
	ck_assert_int_eq(pipe(pipes), 0);
	rtest_run(fn, pipes);
	ck_assert_int_eq(write(pipes[1], ".", 1), 1);
	ck_assert_int_gt(read(pipes[0], text, sizeof text - 1), 0);
	ck_assert_str_eq(text, expect);
	close(pipes[0]);
	close(pipes[1]);
	rtest_end();
}

START_TEST(a_profile_is_written_while_its_goroutine_waits_and_the_descriptor_stays)
{
	struct weft_host_opts opts = { .maxprocs = 1, .profile_count = of_host, .profile_write = writes };

	run_with_pipe(&opts, writes_heap, "heap 1.");
}
END_TEST

static int cpu_starts(void *user, int hz, uint32_t instance)
{
	(void)instance;
	(void)user;
	return hz == 100 ? -EBUSY : 0;
}

static int cpu_stops(void *user, int fd)
{
	(void)user;
	return fd < 0 ? -EINVAL : write(fd, "cpu", 3) == 3 ? 0 : -EIO;
}

static void starts_and_stops(void *arg)
{
	int *pipes = arg;

	ck_assert_int_eq(weft_profile_cpu_start(0), 0);
	ck_assert_int_eq(weft_profile_cpu_start(100), -EBUSY);
	ck_assert_int_eq(weft_profile_cpu_start(1001), -EINVAL);
	ck_assert_int_eq(weft_profile_cpu_start(-1), -EINVAL);
	ck_assert_int_eq(weft_profile_cpu_stop(9999), -EBADF);
	ck_assert_int_eq(weft_profile_cpu_stop(-1), -EINVAL);
	ck_assert_int_eq(weft_profile_cpu_stop(pipes[1]), 0);
}

START_TEST(a_cpu_profile_is_the_hosts_and_its_results_the_callers)
{
	struct weft_host_opts opts = { .maxprocs = 1, .cpu_start = cpu_starts, .cpu_stop = cpu_stops };

	run_with_pipe(&opts, starts_and_stops, "cpu.");
}
END_TEST

static void asks_in_vain(void *arg)
{
	(void)arg;
	ck_assert_int_eq(weft_profile_cpu_start(0), -ENOSYS);
	ck_assert_int_eq(weft_profile_cpu_stop(1), -ENOSYS);
}

static uint32_t cpu_ended, trace_ended;

static void cpu_ends(void *user, uint32_t instance)
{
	(void)user;
	cpu_ended = instance;
}

static int trace_starts(void *user, const char *path, uint32_t instance)
{
	(void)user;
	ck_assert_str_eq(path, "a path");
	ck_assert_uint_eq(instance, 2);
	return 0;
}

static void trace_ends(void *user, uint32_t instance)
{
	(void)user;
	trace_ended = instance;
}

static void forgets(void *arg)
{
	weft_profile **p = arg;

	*p = weft_profile_new("forgotten");
	ck_assert_ptr_nonnull(*p);
	ck_assert_int_eq(weft_profile_add(*p, p, 0), 0);
	ck_assert_int_eq(weft_profile_cpu_start(0), 0);
	ck_assert_int_eq(weft_trace_start("a path"), 0);
}

static bool is_over(void *arg)
{
	return weft_inst_live(arg) == 0;
}

/* A host that is told of CPU profiles and traces. */
static const struct weft_host_opts told = { .maxprocs = 1,
					    .cpu_start = cpu_starts,
					    .cpu_stop = cpu_stops,
					    .cpu_end = cpu_ends,
					    .trace_start = trace_starts,
					    .trace_end = trace_ends };

START_TEST(what_an_instance_forgets_ends_with_it)
{
	weft_profile *p = NULL, *kept;
	weft_inst *in;

	rtest_begin_with(&told);
	kept = weft_profile_new("kept");
	in = weft_inst_new("forgetful");
	ck_assert_int_eq(weft_go_in(in, forgets, &p), 0);
	rtest_wait(is_over, in, "it has forgotten");
	ck_assert_ptr_eq(weft_profile_lookup("forgotten"), p);
	weft_inst_cancel(in);
	ck_assert_uint_eq(cpu_ended, 0);
	ck_assert_uint_eq(trace_ended, 0);
	ck_assert_int_eq(weft_inst_free(in), 0);
	ck_assert_uint_eq(cpu_ended, 2);
	ck_assert_uint_eq(trace_ended, 2);
	ck_assert_ptr_null(weft_profile_lookup("forgotten"));
	ck_assert_int_eq(held("forgotten", NULL), 0);
	ck_assert_ptr_eq(weft_profile_lookup("kept"), kept);
	weft_profile_free(kept);
	rtest_end();
}
END_TEST

START_TEST(a_cpu_profile_or_a_trace_that_begins_after_its_instance_has_ended_ends_at_once)
{
	weft_inst *in;

	rtest_begin_with(&told);
	in = weft_inst_new("late");
	ck_assert_int_eq(weft_enter(in), 0);
	ck_assert_int_eq(weft_profile_cpu_start(0), 0);
	ck_assert_uint_eq(cpu_ended, 0);
	weft_inst_cancel(in);
	ck_assert_int_eq(weft_profile_cpu_start(0), 0);
	ck_assert_uint_eq(cpu_ended, 2);
	ck_assert_int_eq(weft_trace_start("a path"), 0);
	ck_assert_uint_eq(trace_ended, 2);
	weft_leave();
	rtest_end();
}
END_TEST

START_TEST(a_host_that_takes_no_cpu_profiles_says_so)
{
	rtest_begin(1);
	rtest_run(asks_in_vain, NULL);
	rtest_end();
}
END_TEST

/* --- Many at once ---------------------------------------------------------------------------------------- */

#define EACH 2000

static weft_profile *shared;

static void churns(void *arg)
{
	char *keys = arg;

	for (int i = 0; i < EACH; i++) {
		ck_assert_int_eq(weft_profile_add(shared, keys + i % 64, 0), 0);
		if (i % 64 == 63)
			for (int k = 0; k < 64; k++)
				weft_profile_remove(shared, keys + k);
		if (i % 100 == 0)
			weft_yield();
	}
}

START_TEST(many_goroutines_add_and_remove_while_others_read)
{
	static char keys[4][64];

	rtest_begin(2);
	shared = weft_profile_new("shared");
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(weft_go_in(inst, churns, keys[i]), 0);
	for (int i = 0; i < 200; i++) {
		int64_t n = held("shared", NULL);

		ck_assert_int_ge(n, -256); /* sums of several entries, read one after the other */
		ck_assert_int_le(n, 512);
	}
	rtest_wait_gone();
	ck_assert_int_eq(held("shared", NULL), 4 * (EACH % 64));
	ck_assert_int_eq(weft_profile_count(shared), 4 * (EACH % 64));
	weft_profile_free(shared);
	rtest_end();
}
END_TEST

/* --- threadcreate ------------------------------------------------------------------------------------------- */

static void *ends(void *arg)
{
	return arg;
}

static RT_NOINLINE void starts_one(void *arg)
{
	pthread_t t;

	(void)arg;
	ck_assert_int_eq(rt_thread_start(&t, NULL, ends, NULL, RT_THREAD_HELPER), 0);
	pthread_join(t, NULL);
	RT_KEEP_FRAME();
}

static int64_t started(const char *reason, const void *fn)
{
	int64_t n = 0;

	for (uint32_t at = 0; weft_read_prof(WEFT_PROF_THREADS, &at, &sample);) {
		bool in = !fn;

		for (int i = 0; i < sample.depth; i++)
			in = in || weft_read_func_start(sample.pc[i] - 1) == (uintptr_t)fn;
		n += in && !strcmp(sample.reason, reason) ? sample.value[0] : 0;
	}
	return n;
}

START_TEST(threads_are_counted_with_their_creators_stack_and_a_reason)
{
	rtest_begin(2);
	ck_assert_int_eq(started("sysmon", NULL), 1);
	ck_assert_int_ge(started("worker", NULL), 2);
	ck_assert_int_ge(started("worker", weft_host_start), 1);
	rtest_run(starts_one, NULL);
	ck_assert_int_eq(started("helper", starts_one), 1);
	starts_one(NULL); /* on a thread that is no worker */
	ck_assert_int_eq(started("helper", starts_one), 2);
	ck_assert_int_eq(started("plugin", NULL), 0);
	rtest_end();
}
END_TEST

Suite *test_prof_custom(void);
Suite *test_prof_custom(void)
{
	Suite *s = suite_create("prof_custom");
	TCase *tc = tcase_create("prof_custom");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, things_count_where_they_were_added_until_they_are_removed);
	tcase_add_test(tc, names_are_unique_and_come_free_again);
	tcase_add_test(tc, a_profile_is_written_while_its_goroutine_waits_and_the_descriptor_stays);
	tcase_add_test(tc, a_cpu_profile_is_the_hosts_and_its_results_the_callers);
	tcase_add_test(tc, what_an_instance_forgets_ends_with_it);
	tcase_add_test(tc, a_cpu_profile_or_a_trace_that_begins_after_its_instance_has_ended_ends_at_once);
	tcase_add_test(tc, a_host_that_takes_no_cpu_profiles_says_so);
	tcase_add_test(tc, many_goroutines_add_and_remove_while_others_read);
	tcase_add_test(tc, threads_are_counted_with_their_creators_stack_and_a_reason);
	suite_add_tcase(s, tc);
	return s;
}
