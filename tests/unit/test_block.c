/* test_block.c - declared blocking sections, calls that nobody declared, and the threads for all that. */
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "idle.h"
#include "retake.h"
#include "rtest.h"

static int pipe_fd[2];
static _Atomic int n_in, n_out;
static _Atomic uint64_t who;

static bool reached(void *arg)
{
	const int *want = arg;

	return atomic_load(&n_in) >= *want;
}

static void open_pipe(void)
{
	ck_assert_int_eq(pipe2(pipe_fd, O_CLOEXEC), 0);
}

/* What others see of goroutine id. */
static struct weft_goroutine seen;
static bool look_for(uint64_t id)
{
	struct weft_snapshot *s = weft_snapshot_new();
	bool found = false;

	while (weft_snapshot_next(s, &seen) > 0 && !found)
		if (seen.id == id) {
			found = true;
			break;
		}
	weft_snapshot_free(s);
	return found;
}

/* --- Sections ------------------------------------------------------------------------------------------- */

static __attribute__((noinline)) void reads_in_a_section(void *arg)
{
	char c;

	who = weft_goid();
	n_in++;
	WEFT_BLOCKING
	{
		(void)!read(pipe_fd[0], &c, 1);
	}
	n_out++;
	(void)arg;
}

static void add_one(void *arg)
{
	(*(_Atomic int *)arg)++;
}

static bool is_set(void *arg)
{
	return *(_Atomic int *)arg != 0;
}

START_TEST(a_p_lent_in_a_section_runs_others)
{
	static _Atomic int others;
	struct weft_counters c;

	open_pipe();
	rtest_begin(1);
	weft_go_in(inst, reads_in_a_section, NULL);
	rtest_wait(reached, &(int){ 1 }, "it is in its section");
	weft_go_in(inst, add_one, &others);

	rtest_wait(is_set, &others, "the other has run");
	ck_assert_int_eq(n_out, 0);
	weft_read_counters(&c);
	ck_assert_uint_eq(c.not_in_go, 1);
	ck_assert_uint_ge(c.handoffs_section, 1);
	ck_assert_int_eq(write(pipe_fd[1], "x", 1), 1);
	rtest_wait_gone();
	ck_assert_int_eq(n_out, 1);
	rtest_end();
}
END_TEST

static void nap(void *declared)
{
	if (declared)
		weft_block_enter();
	usleep(5000);
	if (declared)
		weft_block_exit();
}

static void spin_for_100_ms(void *arg)
{
	for (int64_t end = weft_now() + 100 * WEFT_MS; weft_now() < end;)
		;
	for (int i = 0; i < 50; i++)
		weft_go(nap, arg);
}

/* sysmon has come to look each 10 ms meanwhile, and sees a new one every time. */
START_TEST(calls_in_a_row_lose_their_p_although_each_is_short)
{
	struct weft_counters c = { 0 };

	rtest_begin(1);
	for (int i = 0; i < 20 && (_i ? c.handoffs_section : c.handoffs_blocked) < 5; i++) {
		rtest_run(spin_for_100_ms, _i ? inst : NULL);
		rtest_wait_gone();
		weft_read_counters(&c);
	}
	ck_assert_uint_ge(_i ? c.handoffs_section : c.handoffs_blocked, 5);
	rtest_end();
}
END_TEST

static bool is_in_section(void *arg)
{
	(void)arg;
	return look_for(who) && seen.status == WEFT_G_SYSCALL;
}

START_TEST(a_section_is_seen_with_the_stack_it_was_entered_from)
{
	bool named = false;

	open_pipe();
	rtest_begin(2);
	weft_go_in(inst, reads_in_a_section, NULL);
	rtest_wait(is_in_section, NULL, "a snapshot shows the section");

	ck_assert(!(seen.flags & (WEFT_GF_UNAVAILABLE | WEFT_GF_APPROX)));
	ck_assert_int_gt(seen.depth, 0);
	for (int i = 0; i < seen.depth; i++)
		named |= weft_read_func_start(seen.pc[i] - 1) == (uintptr_t)reads_in_a_section;
	ck_assert(named);
	ck_assert_int_eq(write(pipe_fd[1], "x", 1), 1);
	rtest_wait_gone();
	rtest_end();
}
END_TEST

static void short_sections(void *arg)
{
	int *same = arg;

	for (int i = 0; i < 1000; i++) {
		struct m *m = rt_self();
		struct p *p = ld(&m->p);

		WEFT_BLOCKING
		{
			n_in++;
		}
		*same += rt_self() == m && ld(&m->p) == p;
	}
}

START_TEST(a_short_section_keeps_its_p)
{
	struct weft_counters c;
	int same = 0;

	rtest_begin(1);
	rtest_run(short_sections, &same);
	ck_assert_int_ge(same, 900);
	weft_read_counters(&c);
	ck_assert_uint_lt(c.handoffs_section, 100);
	rtest_end();
}
END_TEST

/* Sections in sections, waits inside them, and sections left open at the end. */
static weft_chan *chan;
static void nested(void *arg)
{
	uint64_t rng = weft_goid() * 77 + 1;
	int64_t v;

	for (int i = 0; i < 200; i++) {
		weft_block_enter();
		if (rtest_random(&rng) % 2) {
			weft_block_enter();
			weft_block_exit();
		}
		if (rtest_random(&rng) % 4 == 0)
			weft_yield(); /* ends it early */
		if (rtest_random(&rng) % 8 == 0)
			usleep(50);
		if (rtest_random(&rng) % 4 == 0)
			(void)weft_chan_try_send(chan, &v, sizeof v), (void)weft_chan_try_recv(chan, &v, sizeof v);
		weft_block_exit();
		if (rtest_random(&rng) % 4 == 0)
			weft_yield();
	}
	weft_block_enter();
	(void)arg;
}

START_TEST(sections_nest_and_waits_end_them)
{
	rtest_begin(2);
	chan = weft_chan_new(8, 4);
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(weft_go_in(inst, nested, NULL), 0);
	rtest_wait_gone();
	weft_chan_free(chan);
	rtest_end();
}
END_TEST

static void lasting(void *arg)
{
	int64_t v = 1;

	(void)rt_section_begin(rt_enter(rt_self()), __builtin_frame_address(0), (uintptr_t)__builtin_dwarf_cfa(), true);
	while (!is_set(arg))
		usleep(100);
	rt_leave(rt_section_leave(rt_self()));
	(void)weft_chan_try_send(chan, &v, sizeof v);
}
START_TEST(a_lasting_section_gives_its_p_away_at_once)
{
	static _Atomic int other;

	rt_slice_ns = INT64_MAX;
	rtest_begin(1);
	chan = weft_chan_new(8, 4);
	weft_go_in(inst, lasting, &other);
	weft_go_in(inst, add_one, &other);
	rtest_wait_gone();
	ck_assert_uint_eq(weft_chan_len(chan), 1);
	weft_chan_free(chan);
	rtest_end();
}
END_TEST

static void syscalls(void *arg)
{
	char c;

	(void)arg;
	ck_assert_int_eq(WEFT_SYSCALL(close(-1)), -EBADF);
	ck_assert_int_eq(WEFT_SYSCALL(read(pipe_fd[0], &c, 1)), 1);
	ck_assert_int_eq(c, 'y');
}
START_TEST(a_system_call_in_a_section_says_its_error)
{
	open_pipe();
	ck_assert_int_eq(write(pipe_fd[1], "y", 1), 1);
	rtest_begin(2);
	rtest_run(syscalls, NULL);
	weft_block_enter(); /* on a thread: nothing */
	weft_block_exit();
	rtest_end();
}
END_TEST

/* The only goroutine that could keep time for another sleeps in a section. */
static void sleeps(void *arg)
{
	weft_sleep(30 * WEFT_MS);
	n_out++;
	(void)arg;
}
START_TEST(timers_of_a_p_that_was_lent_fire)
{
	open_pipe();
	rtest_begin(1);
	for (int i = 0; i < 10; i++)
		weft_go_in(inst, sleeps, NULL);
	weft_go_in(inst, reads_in_a_section, NULL);
	rtest_wait(reached, &(int){ 1 }, "it is in its section");
	for (int64_t until = weft_now() + 20 * WEFT_SEC; n_out < 10 && weft_now() < until;)
		usleep(1000);
	ck_assert_int_eq(n_out, 10);
	ck_assert_int_eq(write(pipe_fd[1], "x", 1), 1);
	rtest_wait_gone();
	rtest_end();
}
END_TEST

/* --- Calls that nobody declared ---------------------------------------------------------------------------- */

static __attribute__((noinline)) void reads_undeclared(void *arg)
{
	char c;

	n_in++;
	who = weft_goid();
	(void)!read(pipe_fd[0], &c, 1);
	n_out++;
	(void)arg;
}

START_TEST(an_undeclared_call_loses_its_p_and_is_named)
{
	static struct weft_blocked_call calls[16];
	static _Atomic int others;
	struct weft_inst_info info = { 0 };
	struct weft_counters c;
	uint64_t pc[WEFT_STACK_MAX];
	bool named = false;
	size_t n;

	open_pipe();
	rtest_begin(1);
	weft_go_in(inst, reads_undeclared, NULL);
	rtest_wait(reached, &(int){ 1 }, "it has begun");
	weft_go_in(inst, add_one, &others);
	rtest_wait(is_set, &others, "the other has run");

	weft_read_counters(&c);
	ck_assert_uint_eq(c.handoffs_blocked, 1);
	ck_assert_uint_eq(c.handoffs_slice, 0);
	ck_assert_uint_eq(c.not_in_go, 1);
	ck_assert_uint_ge(weft_read_instances(&info, 1), 1);
	ck_assert_uint_eq(info.blocked, 1);
	ck_assert(look_for(who));
	ck_assert_int_eq(seen.status, WEFT_G_DETACHED);
	ck_assert(seen.flags & WEFT_GF_BLOCKED);
	ck_assert_int_eq(seen.syscall, SYS_read);
	ck_assert_int_eq((int)seen.syscall_arg, pipe_fd[0]);

	n = weft_read_blocked(calls, 16);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(calls[0].syscall, SYS_read);
	ck_assert_uint_eq(calls[0].count, 1);
	n = (size_t)weft_read_stack(calls[0].stack, pc, WEFT_STACK_MAX);
	for (size_t i = 0; i < n; i++)
		named |= weft_read_func_start(pc[i] - 1) == (uintptr_t)reads_undeclared;
	ck_assert(named);

	ck_assert_int_eq(write(pipe_fd[1], "x", 1), 1);
	rtest_wait_gone();
	(void)weft_read_blocked(calls, 16);
	ck_assert_int_gt(calls[0].ns, 0);
	rtest_end();
}
END_TEST

/* --- Threads --------------------------------------------------------------------------------------------------- */

static bool at_the_cap(void *arg)
{
	struct weft_counters c;

	weft_read_counters(&c);
	ck_assert_int_le(c.threads, *(int *)arg);
	return c.threads == *(int *)arg;
}

START_TEST(at_the_cap_of_threads_goroutines_queue)
{
	rtest_begin_with(&(struct weft_host_opts){ .maxprocs = 2, .max_threads = 5 });
	open_pipe();
	for (int i = 0; i < 20; i++)
		weft_go_in(inst, reads_undeclared, NULL);
	rtest_wait(reached, &(int){ 5 }, "five are in their call");
	rtest_wait(at_the_cap, &(int){ 5 }, "there are five threads");
	for (int i = 0; i < 20; i++) {
		ck_assert(n_in - n_out <= 5);
		ck_assert_int_eq(write(pipe_fd[1], "x", 1), 1);
	}
	rtest_wait_gone();
	rtest_end();
}
END_TEST

static bool few_threads(void *arg)
{
	return rtest_threads() <= *(int *)arg;
}

START_TEST(threads_that_nobody_needs_end)
{
	int before;

	rt_spare_ns = 20 * WEFT_MS;
	open_pipe();
	rtest_begin(2);
	before = rtest_threads();
	for (int i = 0; i < 20; i++)
		weft_go_in(inst, reads_undeclared, NULL);
	rtest_wait(reached, &(int){ 20 }, "all are in their call");
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(write(pipe_fd[1], "x", 1), 1);
	rtest_wait_gone();
	rtest_wait(few_threads, &(int){ before + 1 }, "the threads have ended");
	rtest_run(add_one, &n_in); /* and what is left works */
	rtest_end();
}
END_TEST

/* As a user that may have no more threads than it has. */
START_TEST(no_thread_to_be_had_is_survived)
{
#ifdef __SANITIZE_THREAD__
	struct rlimit few = { 6, 6 }; /* it has two threads of its own */
#else
	struct rlimit few = { 4, 4 }; /* this one, sysmon, two workers */
#endif
	struct weft_counters c;

	open_pipe();
	if (geteuid() == 0)
		ck_assert_int_eq(setuid(1000000 + (uid_t)getpid()), 0); /* nobody else's */
	else
		return; /* what else this user runs is not known */
	ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &few), 0);
	rtest_begin_with(&(struct weft_host_opts){ .maxprocs = 2 });
	for (int i = 0; i < 10; i++)
		weft_go_in(inst, reads_undeclared, NULL);
	rtest_wait(reached, &(int){ 2 }, "two are in their call");
	weft_read_counters(&c);
	ck_assert_int_le(c.threads, 2);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(write(pipe_fd[1], "x", 1), 1);
	rtest_wait_gone();
	rtest_end();
}
END_TEST

Suite *test_block(void);
Suite *test_block(void)
{
	Suite *s = suite_create("block");
	TCase *t = tcase_create("block");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_p_lent_in_a_section_runs_others);
	tcase_add_loop_test(t, calls_in_a_row_lose_their_p_although_each_is_short, 0, 2);
	tcase_add_test(t, a_section_is_seen_with_the_stack_it_was_entered_from);
	tcase_add_test(t, a_short_section_keeps_its_p);
	tcase_add_test(t, sections_nest_and_waits_end_them);
	tcase_add_test(t, a_lasting_section_gives_its_p_away_at_once);
	tcase_add_test(t, a_system_call_in_a_section_says_its_error);
	tcase_add_test(t, timers_of_a_p_that_was_lent_fire);
	tcase_add_test(t, at_the_cap_of_threads_goroutines_queue);
	tcase_add_test(t, threads_that_nobody_needs_end);
	tcase_add_test(t, no_thread_to_be_had_is_survived);
	suite_add_tcase(s, t);
	t = tcase_create("named");
	tcase_set_timeout(t, 120);
	tcase_set_tags(t, "kernel-sees-registers");
	tcase_add_test(t, an_undeclared_call_loses_its_p_and_is_named);
	suite_add_tcase(s, t);
	return s;
}
