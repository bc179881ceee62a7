/* test_fatal.c - how the process ends: by the true signal, after saying what happened and where every
 * goroutine was, whatever state stderr is in.
 *
 * Each test forks a child that starts a runtime and breaks it; the parent reads the child's stderr and
 * its wait status. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rt.h"
#include "sys.h"

/* --- The child ---------------------------------------------------------------------------------------- */

static void recurse(void *arg);
static void waits(void *arg);
static void spins(void *arg);
static void sleeps(void *arg);

/* Names without a symbol table: the functions of this file by their start addresses.  Signal-safe. */
static const struct {
	const void *fn;
	const char *name;
} known[] = {
#define X(f) { f, #f },
	X(recurse) X(waits) X(spins) X(sleeps) X(weft_chan_recv)
#undef X
};

static size_t name_of(uintptr_t pc, char *buf, size_t cap)
{
	uintptr_t start = weft_read_func_start(pc);

	(void)cap;
	buf[0] = 0;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		if ((uintptr_t)known[i].fn != start)
			continue;
		strcpy(buf, known[i].name);
		strcat(buf, "+0x1f");
	}
	return strlen(buf);
}

static struct weft_host_opts opts = { .maxprocs = 2, .name = name_of };
static weft_inst *inst;
static weft_chan *silent;
static volatile int zero;
static volatile char *volatile nowhere;

#pragma GCC diagnostic ignored "-Winfinite-recursion"
RT_NOINLINE static int deeper(volatile char *from, int n)
{
	volatile char frame[200] = { 0 };

	frame[0] = *from;
	frame[n % 200] = 1;
	return n + deeper(frame, n + 1) + frame[3];
}

static void recurse(void *arg)
{
	volatile char frame[1] = { 0 };

	(void)arg;
	(void)deeper(frame, 0);
}

static void waits(void *arg)
{
	(void)arg;
	weft_label_push("user", "42]:\n");
	if (weft_chan_recv(silent, NULL, 8) == 1) /* not the last call: it has to be on the stack */
		weft_label_pop();
}

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

RT_NOSAN static void null_pointer(void *arg)
{
	(void)arg;
	*nowhere = 1;
}

static void aborts(void *arg)
{
	(void)arg;
	abort();
}

static void asserts(void *arg)
{
	(void)arg;
	rt_fatal("the %s is broken", "invariant");
}

static void divides(void *arg)
{
	int one = 1;

	(void)arg;
	__asm__ volatile("cltd; idivl %1" : "+a"(one) : "m"(zero) : "edx");
}

static void traps(void *arg)
{
	(void)arg;
	__asm__ volatile("int3");
}

static void executes_nonsense(void *arg)
{
	(void)arg;
	__asm__ volatile("ud2");
}

static uint64_t waiting(void)
{
	struct weft_counters *c = calloc(1, sizeof *c);
	uint64_t n;

	weft_read_counters(c);
	n = c->waiting;
	free(c);
	return n;
}

static void run_runtime(int n_waiting)
{
	if (weft_host_start(&opts) != 0)
		_exit(99);
	inst = weft_inst_new("victim");
	silent = weft_chan_new(8, 0);
	for (int i = 0; i < n_waiting; i++)
		if (weft_go_in(inst, waits, NULL) != 0)
			_exit(98);
	while (waiting() < (uint64_t)n_waiting)
		usleep(1000);
}

/* Run fn on a goroutine beside two that wait. */
static weft_fn victim;
static void break_goroutine(void)
{
	run_runtime(2);
	weft_go_in(inst, victim, NULL);
	for (;;)
		pause();
}

/* --- The parent --------------------------------------------------------------------------------------- */

static char *text; /* what the child wrote to stderr */
static size_t text_len;

static int64_t now_ms(void)
{
	return rt_now() / WEFT_MS;
}

static pid_t spawn(void (*fn)(void), int err)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		if (err != 2) {
			dup2(err, 2);
			close(err);
		}
		fn();
		_exit(97);
	}
	ck_assert_int_gt(pid, 0);
	return pid;
}

static int status_within(pid_t pid, int64_t ms)
{
	int64_t limit = now_ms() + ms;
	int status = 0;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (now_ms() > limit) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			ck_abort_msg("the child did not die within %lld ms", (long long)ms);
		}
		usleep(2000);
	}
	return status;
}

/* Run fn in a child, collect its stderr to the end, return its wait status. */
static int outcome(void (*fn)(void))
{
	static const size_t cap = 64u << 20;
	int p[2], limit = 60;
	ssize_t n;
	pid_t pid;

	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	pid = spawn(fn, p[1]);
	close(p[1]);
	text = realloc(text, cap);
	text_len = 0;
	for (;;) {
		struct pollfd pfd = { .fd = p[0], .events = POLLIN };

		if (poll(&pfd, 1, limit * 1000) <= 0) {
			kill(pid, SIGKILL);
			ck_abort_msg("the child fell silent");
		}
		n = read(p[0], text + text_len, cap - 1 - text_len);
		if (n <= 0)
			break;
		text_len += (size_t)n;
	}
	text[text_len] = 0;
	close(p[0]);
	return status_within(pid, 20000);
}

static void dies_of(int sig, weft_fn fn)
{
	int status;

	victim = fn;
	status = outcome(break_goroutine);
	ck_assert_msg(WIFSIGNALED(status), "status 0x%x: %s", status, text);
	ck_assert_msg(WTERMSIG(status) == sig, "died of %d: %s", WTERMSIG(status), text);
}

static void says(const char *what)
{
	ck_assert_msg(strstr(text, what) != NULL, "no \"%s\" in:\n%.4000s", what, text);
}

static void does_not_say(const char *what)
{
	ck_assert_msg(strstr(text, what) == NULL, "\"%s\" in:\n%.4000s", what, text);
}

static int count_of(const char *what)
{
	int n = 0;

	for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
		n++;
	return n;
}

/* The goroutine that the headline names comes first among the dumped. */
static void names_goroutine_first(void)
{
	unsigned long long id = 0, first = 0;
	const char *at = strstr(text, "goroutine ");

	ck_assert_ptr_nonnull(at);
	ck_assert_int_eq(sscanf(at, "goroutine %llu of instance victim (started in ", &id), 1);
	at = strstr(text, "\ngoroutine ");
	ck_assert_ptr_nonnull(at);
	ck_assert_int_eq(sscanf(at, "\ngoroutine %llu [running, instance=victim]:", &first), 1);
	ck_assert_uint_eq(id, first);
}

static void shows_those_who_wait(void)
{
	ck_assert_int_eq(count_of(" [chan receive, instance=victim, user=42_:_]:\nweft_chan_recv(...)\n\t??:0 +0x1f\n"
				  "waits(...)\n\t??:0 +0x1f\n\n"),
			 2);
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
	ck_assert_int_eq(sscanf(strstr(text, "of its stack, "), "of its stack, %d calls deep", &depth), 1);
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
	opts.maxprocs = 4;
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
	ck_assert_msg(shown, "%s", text);
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
	ck_assert_int_eq(sscanf(strstr(text, "goroutine "), "goroutine %llu (started in ", &id), 1);
	says(") on thread ");
	says(" (a thread of ours)\n");
	ck_assert_int_eq(sscanf(strstr(text, "\ngoroutine "), "\ngoroutine %llu [running]:", &first), 1);
	ck_assert_uint_eq(id, first);
	ck_assert_int_eq(count_of("\ngoroutine "), 2); /* itself once, and the one that waits */
}
END_TEST

/* Its own stack is gone, too: only the alternate stack lets it say so. */
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

/* --- Tests: trouble while dying ----------------------------------------------------------------------------- */

RT_NOSAN static size_t name_that_faults(uintptr_t pc, char *buf, size_t cap)
{
	(void)pc;
	(void)cap;
	buf[0] = 0;
	*nowhere = 1;
	return 0;
}

static void fault_twice(void)
{
	opts.name = name_that_faults;
	break_goroutine();
}

START_TEST(second_fault_while_dumping_ends_it_by_the_first_signal)
{
	int status;

	victim = aborts;
	status = outcome(fault_twice);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGABRT);
	says("weft: a second fault while dumping; giving up\n");
}
END_TEST

static void all_at_once(void)
{
	opts.maxprocs = 4;
	run_runtime(2);
	for (int i = 0; i < 20; i++)
		weft_go_in(inst, null_pointer, NULL);
	for (;;)
		pause();
}

START_TEST(several_faults_at_once_are_reported_once)
{
	for (int i = 0; i < 10; i++) {
		int status = outcome(all_at_once);

		ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
		ck_assert_int_eq(count_of("weft: fatal signal"), 1);
		does_not_say("second fault");
	}
}
END_TEST

/* Returns how long the child took to die, in ms. */
static int64_t dies_with_stderr(int err, weft_fn fn, int sig)
{
	int64_t before = now_ms();
	int status;

	victim = fn;
	status = status_within(spawn(break_goroutine, err), 30000);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == sig, "status 0x%x", status);
	return now_ms() - before;
}

START_TEST(full_pipe_that_nobody_reads_delays_death_but_does_not_prevent_it)
{
	static const char junk[4096];
	int p[2];

	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	fcntl(p[1], F_SETFL, O_NONBLOCK);
	while (write(p[1], junk, sizeof junk) > 0)
		;
	fcntl(p[1], F_SETFL, 0); /* the child's writes would block */
	ck_assert_int_lt(dies_with_stderr(p[1], aborts, SIGABRT), 20000);
	ck_assert_int_eq(fcntl(p[1], F_GETFL) & O_NONBLOCK, 0); /* the description is shared: left alone */
	close(p[0]);
	close(p[1]);
}
END_TEST

START_TEST(full_socket_does_not_prevent_death)
{
	static const char junk[4096];
	int p[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
	while (send(p[1], junk, sizeof junk, MSG_DONTWAIT) > 0)
		;
	ck_assert_int_lt(dies_with_stderr(p[1], aborts, SIGABRT), 20000);
	close(p[0]);
	close(p[1]);
}
END_TEST

START_TEST(closed_stderr_does_not_change_the_signal)
{
	int p[2];

	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	close(p[0]);
	(void)dies_with_stderr(p[1], null_pointer, SIGSEGV);
	(void)dies_with_stderr(p[1], asserts, SIGABRT);
	close(p[1]);
}
END_TEST

/* --- Tests: size ---------------------------------------------------------------------------------------------- */

/* ThreadSanitizer has room for 8,000 fibers: these two tests are left out there. */
#ifndef RT_TSAN
enum { CROWD = 10300 };

static void crowd(void)
{
	run_runtime(CROWD);
	weft_go_in(inst, aborts, NULL);
	for (;;)
		pause();
}

static void crowd_in_full(void)
{
	opts.traceback_full = true;
	crowd();
}

START_TEST(beyond_ten_thousand_goroutines_are_counted_by_stack)
{
	int status = outcome(crowd), in_full, more = 0, like = 0;

	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	in_full = count_of("\ngoroutine ");
	ck_assert_int_eq(in_full, 10000);
	ck_assert_int_eq(sscanf(strstr(text, " more goroutines, counted by stack:") - 3, "%d", &more), 1);
	ck_assert_int_eq(in_full + more, CROWD + 1);
	ck_assert_int_eq(
		sscanf(strstr(text, "counted by stack:\n\n"), "counted by stack:\n\n%d like goroutine ", &like), 1);
	ck_assert_int_eq(like, more);
}
END_TEST

START_TEST(traceback_full_prints_every_goroutine)
{
	int status = outcome(crowd_in_full);

	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	ck_assert_int_eq(count_of("\ngoroutine "), CROWD + 1);
	does_not_say("counted by stack");
}
END_TEST

#endif

/* --- Tests: going on, fork -------------------------------------------------------------------------------------- */

static void dump_and_go_on(void)
{
	run_runtime(3);
	weft_host_dump(2, "asked for");
	weft_host_dump(2, NULL);
	_exit(weft_host_stop(5 * WEFT_SEC) == 0 ? 7 : 8);
}

START_TEST(dump_on_request_writes_all_goroutines_and_goes_on)
{
	int status = outcome(dump_and_go_on);

	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 7);
	ck_assert_ptr_eq(strstr(text, "asked for\n\ngoroutine "), text);
	ck_assert_int_eq(count_of("goroutine "), 6);
	ck_assert_int_eq(count_of("weft_chan_recv(...)"), 6);
}
END_TEST

static _Atomic int forked_status = -1;

RT_NOSAN static void forks(void *arg)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		if (arg)
			*nowhere = 1;
		weft_yield();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	st(&forked_status, status);
}

static void *fork_arg;
static void run_fork(void)
{
	run_runtime(2);
	weft_go_in(inst, forks, fork_arg);
	while (ld(&forked_status) == -1)
		usleep(1000);
	_exit(WIFSIGNALED(ld(&forked_status)) ? WTERMSIG(ld(&forked_status)) : 90);
}

START_TEST(weft_calls_in_a_forked_child_are_fatal_there_alone)
{
	int status = outcome(run_fork);

	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), SIGABRT);
	says("in a child after fork()");
	does_not_say("goroutine ");
}
END_TEST

START_TEST(crash_of_a_forked_child_is_silent_and_keeps_its_signal)
{
	int status;

	fork_arg = &status;
	status = outcome(run_fork);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), SIGSEGV);
	ck_assert_str_eq(text, "");
}
END_TEST

Suite *test_fatal(void);
Suite *test_fatal(void)
{
	Suite *s = suite_create("fatal");
	TCase *t = tcase_create("dying");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, overflow_of_a_goroutine_stack_is_named_in_words);
	tcase_add_test(t, overflow_names_the_depth);
	tcase_add_test(t, null_dereference_names_goroutine_address_and_signal);
	tcase_add_test(t, abort_ends_as_sigabrt_with_all_goroutines);
	tcase_add_test(t, rt_fatal_says_its_message_and_ends_as_sigabrt);
	tcase_add_test(t, other_faults_keep_their_signal);
	tcase_add_test(t, running_and_blocked_goroutines_are_shown_with_their_stacks);
	tcase_add_test(t, fault_on_a_thread_names_the_thread);
	tcase_add_test(t, fault_in_plugin_code_on_a_thread_names_goroutine_and_thread);
	tcase_add_test(t, overflow_of_a_threads_stack_is_reported);
	tcase_add_test(t, fatal_signal_that_was_sent_kills_too);
	tcase_add_test(t, second_fault_while_dumping_ends_it_by_the_first_signal);
	tcase_add_test(t, several_faults_at_once_are_reported_once);
	tcase_add_test(t, full_pipe_that_nobody_reads_delays_death_but_does_not_prevent_it);
	tcase_add_test(t, full_socket_does_not_prevent_death);
	tcase_add_test(t, closed_stderr_does_not_change_the_signal);
#ifndef RT_TSAN
	tcase_add_test(t, beyond_ten_thousand_goroutines_are_counted_by_stack);
	tcase_add_test(t, traceback_full_prints_every_goroutine);
#endif
	tcase_add_test(t, dump_on_request_writes_all_goroutines_and_goes_on);
	tcase_add_test(t, weft_calls_in_a_forked_child_are_fatal_there_alone);
	tcase_add_test(t, crash_of_a_forked_child_is_silent_and_keeps_its_signal);
	suite_add_tcase(s, t);
	return s;
}
