/* test_capture.c - stacks of threads that are not parked: blocked in the kernel, without a CPU, deaf to the
 * signal; and threads of the embedder that run plugin code. */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "capture.h"
#include "rlook.h"
#include "rt.h"
#include "rtest.h"
#include "sys.h"

/* --- Blocked --------------------------------------------------------------------------------------------- */

static int fds[2];
static _Atomic int slept; /* what nanosleep() said, + 1 */

static NOINLINE void read_here(void *arg)
{
	char b;

	(void)arg;
	(void)add_sc(&look_started, 1);
	look_sink += read(fds[0], &b, 1);
}

static NOINLINE void sleep_here(void *arg)
{
	struct timespec ts = { .tv_nsec = 400000000 };

	(void)arg;
	(void)add_sc(&look_started, 1);
	st_sc(&slept, nanosleep(&ts, NULL) + 1);
	look_sink++;
}

START_TEST(blocked_goroutine_is_seen_in_its_system_call)
{
	static struct seen s;
	const struct weft_goroutine *g = &s.g[0];
	int64_t until = weft_now() + PATIENCE;

	rtest_begin(2);
	ck_assert_int_eq(pipe(fds), 0);
	look_go(read_here, NULL);
	look_await(1);
	do
		look(&s, (void *)read_here);
	while (!(g->flags & WEFT_GF_BLOCKED) && weft_now() < until);

	ck_assert_int_eq(s.n, 1);
	ck_assert(g->flags & WEFT_GF_BLOCKED);
	ck_assert_int_eq(g->syscall, SYS_read);
	ck_assert_uint_eq(g->syscall_arg, (uint64_t)fds[0]);
	ck_assert(passes(g, (void *)read_here));
	ck_assert(rooted(g));
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	look_end();
}
END_TEST

START_TEST(looking_does_not_cut_sleeps_short)
{
	static struct seen s;
	int64_t until = weft_now() + PATIENCE;
	int looks = 0;

	rtest_begin(2);
	look_go(sleep_here, NULL);
	look_await(1);
	(void)usleep(20000); /* between "started" and the call a signal may hit it */
	for (; !ld_acq(&slept) && weft_now() < until; looks++)
		look(&s, (void *)sleep_here);

	ck_assert_int_gt(looks, 3);
	ck_assert_int_eq(ld(&slept), 1);
	look_end();
}
END_TEST

/* --- Guests ------------------------------------------------------------------------------------------------- */

static _Atomic uint64_t guest_goid; /* what weft_goid() said, + 1 */

static NOINLINE void guest_spins(void *arg)
{
	(void)arg;
	st(&guest_goid, weft_goid() + 1);
	(void)add_sc(&look_started, 1);
	while (!ld(&look_stop))
		look_sink++;
}

static NOINLINE void guest_sleeps(void *arg)
{
	struct timespec ts = { .tv_nsec = 400000000 };

	(void)arg;
	(void)add_sc(&look_started, 1);
	st_sc(&slept, nanosleep(&ts, NULL) + 1);
	look_sink++;
}

static NOINLINE void guest_naps(void *arg)
{
	struct timespec ts = { .tv_nsec = 1 + (long)(uintptr_t)arg % 300000 };

	(void)nanosleep(&ts, NULL);
	look_sink++;
}

static void *guest_main(void *fn)
{
	weft_host_as_goroutine((weft_fn)(uintptr_t)fn, NULL);
	return NULL;
}

static pthread_t guest(weft_fn fn)
{
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, guest_main, (void *)(uintptr_t)fn), 0);
	look_await(1);
	return t;
}

START_TEST(thread_with_plugin_code_is_listed_as_a_goroutine_and_counted_as_none)
{
	static struct seen s;
	static struct weft_counters c;
	const struct weft_goroutine *g = &s.g[0];
	int64_t until = weft_now() + PATIENCE;
	uint64_t in_use;
	pthread_t t;

	rtest_begin(1);
	weft_read_counters(&c);
	in_use = c.stacks_in_use;
	t = guest(guest_spins);
	do
		look(&s, (void *)guest_spins);
	while ((g->flags & WEFT_GF_UNAVAILABLE) && weft_now() < until);
	ck_assert_int_eq(s.all, 1);
	ck_assert_int_eq(s.n, 1);
	ck_assert_int_eq(g->status, WEFT_G_DETACHED);
	ck_assert_uint_eq(g->start, (uintptr_t)guest_spins);
	ck_assert_uint_eq(g->instance, 0);
	ck_assert_uint_eq(g->parent, 0);
	ck_assert_int_gt(g->tid, 0);
	ck_assert(g->flags & WEFT_GF_EXACT);
	ck_assert(passes(g, (void *)guest_spins));
	ck_assert(passes(g, (void *)guest_main)); /* the thread's own stack */
	ck_assert_uint_eq(ld(&guest_goid), 1);    /* it is no goroutine for weft_* */
	weft_read_counters(&c);
	ck_assert_uint_eq(c.live + c.running + c.runnable + c.waiting + c.not_in_go + c.created, 0);

	st(&look_stop, true);
	ck_assert_int_eq(pthread_join(t, NULL), 0);
	look(&s, (void *)guest_spins);
	ck_assert_int_eq(s.all, 0);
	weft_read_counters(&c);
	ck_assert_uint_eq(c.stacks_in_use, in_use);
	look_end();
}
END_TEST

START_TEST(looking_at_a_thread_with_plugin_code_does_not_cut_its_sleep_short)
{
	static struct seen s;
	int64_t until = weft_now() + PATIENCE;
	int blocked = 0;
	pthread_t t;

	rtest_begin(1);
	t = guest(guest_sleeps);
	(void)usleep(20000); /* between "started" and the call a signal may hit it */
	for (; !ld_acq(&slept) && weft_now() < until;) {
		look(&s, (void *)guest_sleeps);
		blocked += s.n == 1 && (s.g[0].flags & WEFT_GF_BLOCKED) && passes(&s.g[0], (void *)guest_main);
	}
	ck_assert_int_eq(pthread_join(t, NULL), 0);
	ck_assert_int_gt(blocked, 3);
	ck_assert_int_eq(ld(&slept), 1);
	look_end();
}
END_TEST

static void *transients(void *arg)
{
	uint64_t rng = (uintptr_t)arg;

	while (!ld(&look_stop)) {
		uint64_t nap = rtest_random(&rng);

		weft_host_as_goroutine(guest_naps, (void *)(uintptr_t)nap);
	}
	return NULL;
}

/* Threads end, and with them their stacks; entries change hands. */
static void *short_lives(void *arg)
{
	uint64_t rng = (uintptr_t)arg;
	pthread_attr_t attr;

	ck_assert_int_eq(pthread_attr_init(&attr), 0);
	ck_assert_int_eq(pthread_attr_setstacksize(&attr, 64 << 20), 0); /* libc does not keep such for later */
	while (!ld(&look_stop)) {
		pthread_t t;

		ck_assert_int_eq(pthread_create(&t, &attr, guest_main, (void *)(uintptr_t)guest_naps), 0);
		ck_assert_int_eq(pthread_join(t, NULL), 0);
		if (rtest_random(&rng) % 4 == 0)
			(void)usleep(100);
	}
	(void)pthread_attr_destroy(&attr);
	return NULL;
}

START_TEST(threads_with_plugin_code_may_leave_and_end_while_others_look)
{
	static struct seen s;
	uint64_t seed = rtest_seed();
	int met = 0, rounds = rtest_scale(2000);
	pthread_t t[4];

	rtest_begin(1);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, i % 2 ? short_lives : transients,
						(void *)(uintptr_t)(rtest_random(&seed) | 1)),
				 0);
	for (int i = 0; i < rounds || met == 0; i++) {
		look(&s, (void *)guest_naps);
		ck_assert_int_le(s.all, 4);
		for (int k = 0; k < s.n; k++)
			met += s.g[k].depth > 0;
	}
	st(&look_stop, true);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_join(t[i], NULL), 0);
	look(&s, (void *)guest_naps);
	ck_assert_int_eq(s.all, 0);
	look_end();
}
END_TEST

START_TEST(runtime_may_stop_and_start_while_a_thread_runs_plugin_code)
{
	static struct seen s;
	pthread_t t;

	rtest_begin(1);
	t = guest(guest_sleeps);
	rtest_end();
	rtest_begin(1);
	look(&s, (void *)guest_sleeps);
	ck_assert_int_le(s.n, 1);
	ck_assert_int_eq(pthread_join(t, NULL), 0);
	look(&s, (void *)guest_sleeps);
	ck_assert_int_eq(s.n, 0);
	look_end();
}
END_TEST

/* --- Without a CPU ---------------------------------------------------------------------------------------- */

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	ck_assert_int_eq(sched_setaffinity(0, sizeof set, &set), 0);
}

static void *hog(void *arg)
{
	pin((int)(intptr_t)arg);
	while (!ld(&look_stop))
		rt_pause();
	return NULL;
}

static NOINLINE void humble(void *arg)
{
	pin((int)(intptr_t)arg);
	ck_assert_int_eq(setpriority(PRIO_PROCESS, (id_t)rt_tid(), 10), 0);
	spin_here(NULL);
}

START_TEST(thread_that_waits_for_a_cpu_is_waited_for)
{
	static struct seen s;
	int64_t until = weft_now() + PATIENCE;
	cpu_set_t mine;
	pthread_t t[3];
	int cpu = 0;
	bool late = false;

	rtest_begin(1);
	ck_assert_int_eq(sched_getaffinity(0, sizeof mine, &mine), 0);
	while (!CPU_ISSET(cpu, &mine))
		cpu++;
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, hog, (void *)(intptr_t)cpu), 0);
	look_go(humble, (void *)(intptr_t)cpu);
	look_await(1);
	while (!late) {
		int64_t began = weft_now();

		ck_assert_msg(began < until, "it never answered late");
		look(&s, (void *)humble);
		ck_assert_int_eq(s.n, 1);
		late = weft_now() - began > RT_ANSWER_WAIT + 10 * WEFT_MS && s.g[0].depth > 0;
	}
	ck_assert(passes(&s.g[0], (void *)spin_here));
	st(&look_stop, true);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_join(t[i], NULL), 0);
	look_end();
}
END_TEST

static NOINLINE void deaf(void *arg)
{
	sigset_t urg;

	(void)arg;
	sigemptyset(&urg);
	sigaddset(&urg, SIGURG);
	(void)pthread_sigmask(SIG_BLOCK, &urg, NULL);
	spin_here(NULL);
	(void)pthread_sigmask(SIG_UNBLOCK, &urg, NULL);
}

START_TEST(thread_that_blocks_the_signal_is_shown_without_its_stack)
{
	static struct seen s;

	rtest_begin(2);
	look_never = weft_chan_new(1, 0);
	look_go(deaf, NULL);
	look_go(wait_here, NULL);
	look_await(2);
	for (int i = 0; i < 3; i++) {
		int64_t began = weft_now();

		look(&s, (void *)deaf);
		ck_assert_int_lt(weft_now() - began, 10 * WEFT_SEC);
		ck_assert_int_eq(s.all, 2);
		ck_assert_int_eq(s.n, 1);
		ck_assert_uint_eq(s.g[0].flags, WEFT_GF_UNAVAILABLE);
		ck_assert_int_eq(s.g[0].depth, 0);
	}
	look_end();
}
END_TEST

Suite *test_capture(void);
Suite *test_capture(void)
{
	Suite *s = suite_create("capture");
	TCase *t = tcase_create("capture");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, looking_does_not_cut_sleeps_short);
	tcase_add_test(t, threads_with_plugin_code_may_leave_and_end_while_others_look);
	tcase_add_test(t, runtime_may_stop_and_start_while_a_thread_runs_plugin_code);
	tcase_add_test(t, thread_that_blocks_the_signal_is_shown_without_its_stack);
	tcase_add_test(t, thread_with_plugin_code_is_listed_as_a_goroutine_and_counted_as_none);
	tcase_add_test(t, thread_that_waits_for_a_cpu_is_waited_for);
	suite_add_tcase(s, t);
	t = tcase_create("blocked");
	tcase_set_timeout(t, 60);
	tcase_set_tags(t, "kernel-sees-registers");
	tcase_add_test(t, blocked_goroutine_is_seen_in_its_system_call);
	tcase_add_test(t, looking_at_a_thread_with_plugin_code_does_not_cut_its_sleep_short);
	suite_add_tcase(s, t);
	return s;
}
