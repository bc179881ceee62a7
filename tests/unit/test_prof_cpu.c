/* test_prof_cpu.c - the CPU sampler: every thread, right totals, right stacks, nothing left behind.
 *
 * Runs alone, for it compares totals of CPU time. */
#include <check.h>
#include <dirent.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "prof.h"
#include "sys.h"

/* --- Work ------------------------------------------------------------------------------------------- */

static int64_t thread_cpu(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * WEFT_SEC + ts.tv_nsec;
}

static __thread volatile uint64_t sink;

RT_NOINLINE static void spin_a(int64_t until)
{
	while (thread_cpu() < until)
		for (int i = 0; i < 20000; i++)
			sink += (uint64_t)i;
}

RT_NOINLINE static void spin_b(int64_t until)
{
	while (thread_cpu() < until)
		for (int i = 0; i < 20000; i++)
			sink ^= (uint64_t)i;
}

struct job {
	void (*spin)(int64_t until);
	int64_t cpu;
	const char *name; /* weft_host_thread(); NULL: nobody tells */
	pthread_t thread;
	_Atomic int tid;
	_Atomic int64_t used;
	_Atomic bool done;
	sem_t go_on;
	/* from samples */
	uint64_t weight, in_spin, rooted;
	char named[32];
};

static void *job_main(void *arg)
{
	struct job *j = arg;

	if (j->name)
		weft_host_thread(j->name);
	st(&j->tid, rt_tid());
	j->spin(j->cpu);
	st(&j->used, thread_cpu());
	st(&j->done, true);
	while (sem_wait(&j->go_on) < 0) /* no polling: idle is idle */
		;
	return NULL;
}

static void start(struct job *j)
{
	ck_assert_int_eq(sem_init(&j->go_on, 0, 0), 0);
	ck_assert_int_eq(pthread_create(&j->thread, NULL, job_main, j), 0);
	while (!ld(&j->tid))
		sched_yield();
}

static void finish(struct job *j)
{
	sem_post(&j->go_on);
	pthread_join(j->thread, NULL);
}

/* --- Samples ---------------------------------------------------------------------------------------- */

static struct job *jobs;
static int n_jobs;
static uint64_t n_samples, n_lost, n_weight;

static bool holds(const struct weft_sample *s, uintptr_t fn)
{
	for (int i = 0; i < s->depth; i++)
		if (weft_read_func_start(i ? s->pc[i] - 1 : s->pc[0]) == fn)
			return true;
	return false;
}

static void take(void *user, const struct weft_sample *s)
{
	(void)user;
	n_samples++;
	if (s->kind == WEFT_SAMPLE_LOST) {
		n_lost += s->weight;
		return;
	}
	n_weight += s->weight;
	for (int i = 0; i < n_jobs; i++) {
		struct job *j = &jobs[i];

		if (s->tid != ld(&j->tid))
			continue;
		ck_assert_int_eq(s->kind, WEFT_SAMPLE_THREAD);
		j->weight += s->weight;
		j->in_spin += holds(s, (uintptr_t)j->spin);
		j->rooted += holds(s, (uintptr_t)job_main) && !(s->flags & WEFT_GF_CUT);
		snprintf(j->named, sizeof j->named, "%s", s->thread);
	}
}

static void drain_until_done(void)
{
	for (int i = 0; i < n_jobs;) {
		weft_cpu_drain(take, NULL);
		usleep(20000);
		i += ld(&jobs[i].done);
	}
	weft_cpu_drain(take, NULL);
}

static int lines_of(const char *path, const char *with)
{
	char line[512];
	FILE *f = fopen(path, "re");
	int n = 0;

	while (f && fgets(line, sizeof line, f))
		n += strncmp(line, with, strlen(with)) == 0;
	if (f)
		fclose(f);
	return n;
}

static int timers(void)
{
	return lines_of("/proc/self/timers", "ID:");
}

static int entries(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static void setup(void)
{
	ck_assert_int_eq(weft_host_scan_modules(), 0);
	n_samples = n_lost = n_weight = 0;
	n_jobs = 0;
}

/* --- Tests ------------------------------------------------------------------------------------------ */

/* Weights times the period are the CPU time, thread by thread, also beyond the kernel's tick. */
static void check_totals(int hz)
{
	struct job j[2] = { { .spin = spin_a, .cpu = 600 * WEFT_MS }, { .spin = spin_b, .cpu = 300 * WEFT_MS } };

	jobs = j;
	n_jobs = 2;
	ck_assert_int_eq(weft_cpu_start(hz), 0);
	start(&j[0]);
	start(&j[1]);
	weft_cpu_drain(take, NULL); /* finds them at once */
	drain_until_done();
	weft_cpu_stop();
	for (int i = 0; i < 2; i++) {
		double seen = (double)j[i].weight * 1000 / hz, used = (double)ld(&j[i].used) / WEFT_MS;
		double slack = used * 0.12 + 2 * 1000.0 / hz + 8;

		ck_assert_msg(seen > used - slack && seen < used + slack, "%d Hz: thread %d: %.0f ms seen, %.0f used",
			      hz, i, seen, used);
		ck_assert_uint_gt(j[i].in_spin, 5);
		finish(&j[i]);
	}
	ck_assert_uint_eq(n_lost, 0);
}

START_TEST(weights_add_up_to_the_cpu_time_of_each_thread)
{
	check_totals(100);
	check_totals(1000);
}
END_TEST

/* Threads of libraries have no name given and no bounds; the stack is walked all the same. */
START_TEST(unknown_threads_are_walked_to_the_root_and_named_by_the_kernel)
{
	struct job j = { .spin = spin_a, .cpu = 300 * WEFT_MS };

	jobs = &j;
	n_jobs = 1;
	start(&j);
	pthread_setname_np(j.thread, "library");
	ck_assert_int_eq(weft_cpu_start(250), 0);
	drain_until_done();
	weft_cpu_stop();
	ck_assert_uint_gt(j.weight, 10);
	ck_assert_uint_gt(j.rooted * 10, j.in_spin * 9);
	ck_assert_str_eq(j.named, "library");
	finish(&j);
}
END_TEST

#if !defined(RT_ASAN) && !defined(RT_TSAN) /* there pthread_create() is the sanitizer's */
static uint64_t b_weight, b_rooted;

static void take_b(void *user, const struct weft_sample *s)
{
	(void)user;
	if (s->kind != WEFT_SAMPLE_THREAD || !holds(s, (uintptr_t)spin_b))
		return;
	b_weight += s->weight;
	b_rooted += holds(s, (uintptr_t)job_main) ? s->weight : 0;
}

/* Each is gone before anybody looks at the list of threads. */
START_TEST(threads_that_live_between_two_drains_are_sampled)
{
	int64_t used = 0;

	ck_assert_int_eq(weft_cpu_start(1000), 0);
	for (int i = 0; i < 20; i++) {
		struct job j = { .spin = spin_b, .cpu = 20 * WEFT_MS };

		start(&j);
		finish(&j);
		used += ld(&j.used);
	}
	weft_cpu_stop();
	weft_cpu_drain(take_b, NULL);
	ck_assert_uint_gt(b_weight * WEFT_MS, (uint64_t)used * 7 / 10);
	ck_assert_uint_lt(b_weight * WEFT_MS, (uint64_t)used * 13 / 10);
	ck_assert_uint_gt(b_rooted * 10, b_weight * 9);
}
END_TEST
#endif

START_TEST(named_threads_carry_the_name_they_gave)
{
	struct job j = { .spin = spin_a, .cpu = 200 * WEFT_MS, .name = "a thread of the embedder" };

	jobs = &j;
	n_jobs = 1;
	start(&j);
	ck_assert_int_eq(weft_cpu_start(250), 0);
	drain_until_done();
	weft_cpu_stop();
	ck_assert_uint_gt(j.rooted, 5);
	ck_assert_str_eq(j.named, "a thread of the embedder");
	finish(&j);
}
END_TEST

START_TEST(idle_threads_yield_nothing)
{
	struct job j = { .spin = spin_a, .cpu = 0 };

	jobs = &j;
	n_jobs = 1;
	start(&j);
	while (!ld(&j.done))
		sched_yield();
	ck_assert_int_eq(weft_cpu_start(1000), 0);
	spin_a(thread_cpu() + 100 * WEFT_MS);
	weft_cpu_drain(take, NULL);
	weft_cpu_stop();
	ck_assert_uint_gt(n_weight, 50);
	ck_assert_uint_le(j.weight, 1); /* it may have been on its way to its wait */
	finish(&j);
}
END_TEST

START_TEST(rates_outside_1_to_1000_are_refused)
{
	ck_assert_int_eq(weft_cpu_start(0), -EINVAL);
	ck_assert_int_eq(weft_cpu_start(1001), -EINVAL);
	ck_assert_int_eq(weft_cpu_start(-100), -EINVAL);
	weft_cpu_stop();
	weft_cpu_drain(take, NULL);
	ck_assert_uint_eq(n_samples, 0);
}
END_TEST

START_TEST(start_while_running_changes_the_rate)
{
	uint64_t slow;

	ck_assert_int_eq(weft_cpu_start(10), 0);
	spin_a(thread_cpu() + 300 * WEFT_MS);
	weft_cpu_drain(take, NULL);
	slow = n_weight;
	ck_assert_int_eq(weft_cpu_start(500), 0);
	spin_a(thread_cpu() + 300 * WEFT_MS);
	weft_cpu_stop();
	weft_cpu_drain(take, NULL);
	ck_assert_uint_le(slow, 5);
	ck_assert_uint_gt(n_weight - slow, 100);
	ck_assert_uint_lt(n_weight - slow, 220);
}
END_TEST

START_TEST(what_was_taken_before_stop_is_handed_out_after_it_and_no_more)
{
	uint64_t n;

	ck_assert_int_eq(weft_cpu_start(250), 0);
	spin_a(thread_cpu() + 100 * WEFT_MS);
	weft_cpu_stop();
	spin_b(thread_cpu() + 100 * WEFT_MS);
	weft_cpu_drain(take, NULL);
	n = n_weight;
	ck_assert_uint_gt(n, 12);
	ck_assert_uint_lt(n, 40);
	weft_cpu_drain(take, NULL);
	ck_assert_uint_eq(n_weight, n);
}
END_TEST

START_TEST(hundred_starts_and_stops_leave_no_timer_and_no_descriptor)
{
	struct job j = { .spin = spin_a, .cpu = 0 };
	int fds, maps;

	start(&j);
	ck_assert_int_eq(weft_cpu_start(100), 0);
	ck_assert_int_ge(timers(), 2);
	weft_cpu_stop();
	fds = entries("/proc/self/fd");
	maps = lines_of("/proc/self/maps", "");
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(weft_cpu_start(1 + i * 10), 0);
		weft_cpu_drain(take, NULL);
		weft_cpu_stop();
	}
	ck_assert_int_eq(timers(), 0);
	ck_assert_int_eq(entries("/proc/self/fd"), fds);
	ck_assert_int_le(lines_of("/proc/self/maps", ""), maps + 2);
	finish(&j);
}
END_TEST

static void *short_life(void *arg)
{
	(void)arg;
	spin_a(thread_cpu() + WEFT_MS);
	return NULL;
}

/* Threads that end with their timer armed, a signal perhaps pending, and whose numbers come again. */
START_TEST(threads_may_die_while_they_are_sampled)
{
	ck_assert_int_eq(weft_cpu_start(1000), 0);
	for (int i = 0; i < 400; i++) {
		pthread_t t[2];

		for (int k = 0; k < 2; k++)
			ck_assert_int_eq(pthread_create(&t[k], NULL, short_life, NULL), 0);
		if (i % 2)
			weft_cpu_drain(take, NULL);
		for (int k = 0; k < 2; k++)
			pthread_join(t[k], NULL);
	}
	weft_cpu_drain(take, NULL);
	weft_cpu_drain(take, NULL);
	ck_assert_int_eq(timers(), entries("/proc/self/task") - 2);
	weft_cpu_stop();
	ck_assert_int_eq(timers(), 0);
	ck_assert_uint_gt(n_weight, 20);
}
END_TEST

/* A timer's signal as the kernel would send it, to this thread. */
static void signal_for(struct rt_cpu_thread *t, int overrun)
{
	siginfo_t si = { .si_signo = SIGPROF, .si_code = SI_TIMER };

	si.si_value.sival_ptr = t;
	si.si_overrun = overrun;
	ck_assert_int_eq(rt_syscall(SYS_rt_tgsigqueueinfo, rt_pid(), rt_tid(), SIGPROF, (long)&si, 0, 0), 0);
}

static struct rt_cpu_thread *mine(void)
{
	for (int i = 0; i < RT_CPU_THREADS_MAX; i++)
		if (ld(&rt_cpu_threads[i].tid) == rt_tid())
			return &rt_cpu_threads[i];
	ck_abort_msg("this thread has no record");
	return NULL;
}

START_TEST(what_does_not_fit_is_counted_by_weight)
{
	struct weft_counters c = { 0 };
	uint64_t kept;

	ck_assert_int_eq(weft_cpu_start(1), 0);
	for (int i = 0; i < 10000; i++)
		signal_for(mine(), 2);
	weft_cpu_stop();
	weft_cpu_drain(take, NULL);
	kept = n_weight;
	ck_assert_uint_gt(kept, 3 * 4000);
	ck_assert_uint_ge(n_lost, 30000 - kept);
	ck_assert_uint_lt(n_lost, 30010 - kept);
	rt_cpu_counters(&c);
	ck_assert_uint_eq(c.samples_lost, n_lost);
	n_lost = 0;
	weft_cpu_drain(take, NULL);
	ck_assert_uint_eq(n_lost, 0);
}
END_TEST

START_TEST(signals_of_other_threads_records_are_dropped)
{
	struct rt_cpu_thread wild, *other;

	ck_assert_int_eq(weft_cpu_start(1), 0);
	other = mine() == rt_cpu_threads ? rt_cpu_threads + 1 : rt_cpu_threads;
	signal_for(other, 0);
	signal_for(&wild, 0);
	signal_for(NULL, 0);
	signal_for(rt_cpu_threads + RT_CPU_THREADS_MAX, 0);
	raise(SIGPROF);
	weft_cpu_stop();
	signal_for(rt_cpu_threads, 0);
	weft_cpu_drain(take, NULL);
	ck_assert_uint_eq(n_samples, 0);
}
END_TEST

/* --- With the scheduler ------------------------------------------------------------------------------- */

static _Atomic bool labelled_done;
static _Atomic uint64_t labelled_id;
static uint64_t labelled_weight, labelled_bad, labelled_rooted;

static void labelled(void *arg)
{
	(void)arg;
	st(&labelled_id, weft_goid());
	weft_label_push("job", "spin");
	spin_b(thread_cpu() + 300 * WEFT_MS);
	st(&labelled_done, true);
}

static void take_labelled(void *user, const struct weft_sample *s)
{
	const char *inst = s->kind == WEFT_SAMPLE_G ? weft_read_instance(s->instance) : NULL;

	(void)user;
	if (s->kind != WEFT_SAMPLE_G || s->goid != ld(&labelled_id) || !holds(s, (uintptr_t)spin_b))
		return;
	labelled_weight += s->weight;
	labelled_rooted +=
		holds(s, (uintptr_t)labelled) && !(s->flags & (WEFT_GF_APPROX | WEFT_GF_CUT)) ? s->weight : 0;
	labelled_bad += s->labels.n != 1 || strcmp(s->labels.l[0].key, "job") || strcmp(s->labels.l[0].value, "spin") ||
			!inst || strcmp(inst, "worker") || s->thread;
}

START_TEST(goroutines_are_sampled_with_id_instance_labels_and_whole_stack)
{
	struct weft_host_opts opts = { .maxprocs = 1 };

	ck_assert_int_eq(weft_host_start(&opts), 0);
	ck_assert_int_eq(weft_cpu_start(250), 0);
	ck_assert_int_eq(weft_go_in(weft_inst_new("worker"), labelled, NULL), 0);
	while (!ld(&labelled_done)) {
		weft_cpu_drain(take_labelled, NULL);
		usleep(20000);
	}
	weft_cpu_stop();
	weft_cpu_drain(take_labelled, NULL);
	ck_assert_uint_gt(labelled_weight, 40);
	ck_assert_uint_eq(labelled_bad, 0);
	ck_assert_uint_gt(labelled_rooted * 20, labelled_weight * 19);
	ck_assert_int_eq(weft_host_stop(5 * WEFT_SEC), 0);
}
END_TEST

Suite *test_prof_cpu(void);
Suite *test_prof_cpu(void)
{
	Suite *s = suite_create("prof_cpu");
	TCase *t = tcase_create("sampler");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, rates_outside_1_to_1000_are_refused);
	tcase_add_test(t, hundred_starts_and_stops_leave_no_timer_and_no_descriptor);
	tcase_add_test(t, weights_add_up_to_the_cpu_time_of_each_thread);
	tcase_add_test(t, unknown_threads_are_walked_to_the_root_and_named_by_the_kernel);
#if !defined(RT_ASAN) && !defined(RT_TSAN)
	tcase_add_test(t, threads_that_live_between_two_drains_are_sampled);
#endif
	tcase_add_test(t, named_threads_carry_the_name_they_gave);
	tcase_add_test(t, idle_threads_yield_nothing);
	tcase_add_test(t, start_while_running_changes_the_rate);
	tcase_add_test(t, what_was_taken_before_stop_is_handed_out_after_it_and_no_more);
	tcase_add_test(t, threads_may_die_while_they_are_sampled);
	tcase_add_test(t, what_does_not_fit_is_counted_by_weight);
	tcase_add_test(t, signals_of_other_threads_records_are_dropped);
	tcase_add_test(t, goroutines_are_sampled_with_id_instance_labels_and_whole_stack);
	suite_add_tcase(s, t);
	return s;
}
