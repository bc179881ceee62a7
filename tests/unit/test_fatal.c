/* test_fatal.c - how the process ends when a goroutine or a thread breaks it: by the true signal, after saying what
 * happened and where every goroutine was. */
#include "dying.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "insn.h"
#include "rt.h"

/* --- Victims ------------------------------------------------------------------------------------------ */

static volatile int zero;

static _Atomic int n_spinning;

RT_NOSAN static void spins(void *arg)
{
	(void)arg;
	add(&n_spinning, 1);
	for (;;)
		zero = 0;
}

/* Not by weft: it keeps its thread. */
static void sleeps(void *arg)
{
	(void)arg;
	add(&n_spinning, 1);
	for (;;)
		pause();
}

static void divides(void *arg)
{
	(void)arg;
#if defined(__x86_64__)
	int one = 1;

	__asm__ volatile("cltd; idivl %1" : "+a"(one) : "m"(zero) : "edx");
#else /* a division by 0 is no fault */
	raise(SIGFPE);
#endif
}

static void traps(void *arg)
{
	(void)arg;
	__asm__ volatile(INSN_BREAKPOINT);
}

static void executes_nonsense(void *arg)
{
	(void)arg;
	__asm__ volatile(INSN_ILLEGAL);
}

static const struct dying_name names[] = {
#define X(f) { f, #f },
	X(recurse) X(spins) X(sleeps)
#undef X
		{ NULL, NULL }
};

static void name_victims(void)
{
	dying_names = names;
}

/* --- Tests: goroutines ---------------------------------------------------------------------------------- */

START_TEST(overflow_of_a_goroutine_stack_is_named_in_words)
{
	char size[64];

	dies_of(SIGSEGV, recurse);
	snprintf(size, sizeof size, "has used all %u KiB of its stack, ", (RT_SLOT - RT_PAGE) / 1024);
	says(size);
	says("weft: stack overflow: goroutine ");
	says("(started in recurse+0x1f) has used all ");
	says(" calls deep\n");
	says(", guard 0x");
	says("[SIGSEGV: segmentation violation, code ");
	says(" frames elided...\n");
	says("recurse(...)\n");
	names_goroutine_first();
	shows_those_who_wait();
}
END_TEST

START_TEST(overflow_names_the_depth)
{
	int depth = 0;

	dies_of(SIGSEGV, recurse);
	ck_assert_int_eq(sscanf(strstr(dying_text, "of its stack, "), "of its stack, %d calls deep", &depth), 1);
	ck_assert_int_gt(depth, (int)(RT_SLOT / 600));
	ck_assert_int_lt(depth, (int)(RT_SLOT / 200));
}
END_TEST

START_TEST(null_dereference_names_goroutine_address_and_signal)
{
	dies_of(SIGSEGV, null_pointer);
	says("weft: fatal signal in goroutine ");
	says("[SIGSEGV: segmentation violation, code 0x1, address 0x0, pc 0x");
	does_not_say("overflow");
	names_goroutine_first();
	shows_those_who_wait();
}
END_TEST

START_TEST(abort_ends_as_sigabrt_with_all_goroutines)
{
	dies_of(SIGABRT, aborts);
	says("[SIGABRT: abort, sent by process ");
	names_goroutine_first();
	shows_those_who_wait();
}
END_TEST

START_TEST(rt_fatal_says_its_message_and_ends_as_sigabrt)
{
	dies_of(SIGABRT, asserts);
	says("weft: fatal: the invariant is broken\nin goroutine ");
	names_goroutine_first();
	shows_those_who_wait();
}
END_TEST

START_TEST(other_faults_keep_their_signal)
{
	dies_of(SIGFPE, divides);
	says("[SIGFPE: floating-point exception");
	dies_of(SIGTRAP, traps);
	says("[SIGTRAP: trace trap");
	dies_of(SIGILL, executes_nonsense);
	says("[SIGILL: illegal instruction");
}
END_TEST

static void break_beside_running(void)
{
	dying_opts.maxprocs = 4;
	run_runtime(2);
	weft_go_in(inst, spins, NULL);
	weft_go_in(inst, sleeps, NULL);
	while (ld(&n_spinning) < 2)
		usleep(1000);
	weft_go_in(inst, aborts, NULL);
	for (;;)
		pause();
}

START_TEST(running_and_blocked_goroutines_are_shown_with_their_stacks)
{
	int shown = 0;

	/* One that gets no CPU for 20 ms has no stack to show: not every time on a busy machine. */
	for (int i = 0; i < 10 && !shown; i++) {
		int status = outcome(break_beside_running);

		ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
		names_goroutine_first();
		shows_those_who_wait();
		ck_assert_int_eq(
			count_of(" [running, instance=victim]:\n") + count_of(" [syscall, instance=victim]:\n"), 3);
		shown = count_of(" [running, instance=victim]:\nspins(...)\n") == 1 &&
			count_of(" [syscall, instance=victim]:\n") == 1 && count_of("\nsleeps(...)\n") == 1;
	}
	ck_assert_msg(shown, "%s", dying_text);
}
END_TEST

/* --- Tests: threads --------------------------------------------------------------------------------------- */

static void *broken_thread(void *arg)
{
	weft_host_thread("a thread of ours");
	null_pointer(arg);
	return NULL;
}

static void break_thread(void)
{
	pthread_t t;

	run_runtime(1);
	pthread_create(&t, NULL, broken_thread, NULL);
	for (;;)
		pause();
}

START_TEST(fault_on_a_thread_names_the_thread)
{
	int status = outcome(break_thread);

	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	says("weft: fatal signal in thread ");
	says(" (a thread of ours)\n");
	says("goroutine 0 [running, thread ");
	says(" a thread of ours]:\n");
}
END_TEST

static void *broken_guest(void *arg)
{
	weft_host_thread("a thread of ours");
	weft_host_as_goroutine(null_pointer, arg);
	return NULL;
}

static void break_guest(void)
{
	pthread_t t;

	run_runtime(1);
	pthread_create(&t, NULL, broken_guest, NULL);
	for (;;)
		pause();
}

START_TEST(fault_in_plugin_code_on_a_thread_names_goroutine_and_thread)
{
	int status = outcome(break_guest);
	unsigned long long id = 0, first = 0;

	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	ck_assert_int_eq(sscanf(strstr(dying_text, "goroutine "), "goroutine %llu (started in ", &id), 1);
	says(") on thread ");
	says(" (a thread of ours)\n");
	ck_assert_int_eq(sscanf(strstr(dying_text, "\ngoroutine "), "\ngoroutine %llu [running]:", &first), 1);
	ck_assert_uint_eq(id, first);
	ck_assert_int_eq(count_of("\ngoroutine "), 2); /* itself once, and the one that waits */
}
END_TEST

/* Its own stack is gone, too: only the alternate stack lets it say so. */
#pragma GCC diagnostic ignored "-Winfinite-recursion"
static int thread_deeper(int n)
{
	volatile char frame[4096];

	frame[n % 4096] = (char)n;
	return thread_deeper(n + 1) + frame[n % 4096];
}

static void *overflowing_thread(void *arg)
{
	weft_host_thread("deep thread");
	return (void *)(uintptr_t)((unsigned)thread_deeper(arg != NULL) & 1);
}

static void overflow_thread(void)
{
	pthread_t t;

	run_runtime(1);
	pthread_create(&t, NULL, overflowing_thread, NULL);
	for (;;)
		pause();
}

START_TEST(overflow_of_a_threads_stack_is_reported)
{
	int status = outcome(overflow_thread);

	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	says(" (deep thread)\n[SIGSEGV");
}
END_TEST

static void killed_from_outside(void)
{
	run_runtime(1);
	kill(getpid(), SIGSEGV);
	for (;;)
		pause();
}

START_TEST(fatal_signal_that_was_sent_kills_too)
{
	int status = outcome(killed_from_outside);

	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	says("sent by process ");
}
END_TEST

Suite *test_fatal(void);
Suite *test_fatal(void)
{
	Suite *s = suite_create("fatal");
	TCase *t = tcase_create("dying");

	tcase_add_checked_fixture(t, name_victims, NULL);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, overflow_of_a_goroutine_stack_is_named_in_words);
	tcase_add_test(t, overflow_names_the_depth);
	tcase_add_test(t, null_dereference_names_goroutine_address_and_signal);
	tcase_add_test(t, abort_ends_as_sigabrt_with_all_goroutines);
	tcase_add_test(t, rt_fatal_says_its_message_and_ends_as_sigabrt);
	tcase_add_test(t, other_faults_keep_their_signal);
	tcase_add_test(t, fault_on_a_thread_names_the_thread);
	tcase_add_test(t, fault_in_plugin_code_on_a_thread_names_goroutine_and_thread);
	tcase_add_test(t, overflow_of_a_threads_stack_is_reported);
	tcase_add_test(t, fatal_signal_that_was_sent_kills_too);
	suite_add_tcase(s, t);
	t = tcase_create("blocked");
	tcase_add_checked_fixture(t, name_victims, NULL);
	tcase_set_timeout(t, 120);
	tcase_set_tags(t, "kernel-sees-registers");
	tcase_add_test(t, running_and_blocked_goroutines_are_shown_with_their_stacks);
	suite_add_tcase(s, t);
	return s;
}
