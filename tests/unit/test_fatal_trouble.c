/* test_fatal_trouble.c - the end of the process under difficulties: whatever state stderr is in, with very many
 * goroutines, in a forked child, and dumps after which it goes on. */
#include "dying.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rt.h"

/* --- Tests: trouble while dying ----------------------------------------------------------------------------- */

RT_NOSAN static size_t name_that_faults(uintptr_t pc, char *buf, size_t cap)
{
	(void)pc;
	(void)cap;
	buf[0] = 0;
	*dying_nowhere = 1;
	return 0;
}

static void fault_twice(void)
{
	dying_opts.name = name_that_faults;
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
	dying_opts.maxprocs = 4;
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
	dying_opts.traceback_full = true;
	crowd();
}

START_TEST(beyond_ten_thousand_goroutines_are_counted_by_stack)
{
	int status = outcome(crowd), in_full, more = 0, like = 0;

	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	in_full = count_of("\ngoroutine ");
	ck_assert_int_eq(in_full, 10000);
	ck_assert_int_eq(sscanf(strstr(dying_text, " more goroutines, counted by stack:") - 3, "%d", &more), 1);
	ck_assert_int_eq(in_full + more, CROWD + 1);
	ck_assert_int_eq(
		sscanf(strstr(dying_text, "counted by stack:\n\n"), "counted by stack:\n\n%d like goroutine ", &like),
		1);
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
	ck_assert_ptr_eq(strstr(dying_text, "asked for\n\ngoroutine "), dying_text);
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
			*dying_nowhere = 1;
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
	ck_assert_str_eq(dying_text, "");
}
END_TEST

Suite *test_fatal_trouble(void);
Suite *test_fatal_trouble(void)
{
	Suite *s = suite_create("fatal trouble");
	TCase *t = tcase_create("dying");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, second_fault_while_dumping_ends_it_by_the_first_signal);
	tcase_add_test(t, several_faults_at_once_are_reported_once);
	tcase_add_test(t, closed_stderr_does_not_change_the_signal);
#ifndef RT_TSAN
	tcase_add_test(t, beyond_ten_thousand_goroutines_are_counted_by_stack);
	tcase_add_test(t, traceback_full_prints_every_goroutine);
#endif
	tcase_add_test(t, dump_on_request_writes_all_goroutines_and_goes_on);
	tcase_add_test(t, weft_calls_in_a_forked_child_are_fatal_there_alone);
	suite_add_tcase(s, t);
	t = tcase_create("stderr");
	tcase_set_timeout(t, 120);
	tcase_set_tags(t, "stderr-of-its-own");
	tcase_add_test(t, full_pipe_that_nobody_reads_delays_death_but_does_not_prevent_it);
	tcase_add_test(t, full_socket_does_not_prevent_death);
	tcase_add_test(t, crash_of_a_forked_child_is_silent_and_keeps_its_signal);
	suite_add_tcase(s, t);
	return s;
}
