/* test_unwind_guess.c - walks that the tables alone cannot make: rbp is not known, or the stack is not
 * what it should be. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rt.h"
#include "sys.h"
#include "unwind_table.h"

#define NOINLINE __attribute__((noinline, noipa))

static volatile long sink;

static bool passes(const uint64_t *pc, int n, uintptr_t function)
{
	for (int i = 0; i < n; i++)
		if (weft_read_func_start(pc[i] - (i > 0)) == function)
			return true;
	return false;
}

/* --- rbp unknown ------------------------------------------------------------------------------------------ */

static int pipe_fds[2];
static _Atomic int reader_tid;
static uintptr_t reader_lo, reader_hi;

static NOINLINE ssize_t deep_read(int depth)
{
	char b[300];
	ssize_t n;

	memset(b, depth, sizeof b);
	/* leaves stale frames below the one that will block */
	sink += snprintf(b, sizeof b, "%d %f", depth, 0.5);
	n = depth ? deep_read(depth - 1) : read(pipe_fds[0], b, sizeof b);
	sink += b[3];
	return n;
}

static NOINLINE void *reader(void *arg)
{
	pthread_attr_t attr;
	void *lo;
	size_t size;

	(void)pthread_getattr_np(pthread_self(), &attr);
	(void)pthread_attr_getstack(&attr, &lo, &size);
	(void)pthread_attr_destroy(&attr);
	reader_lo = (uintptr_t)lo;
	reader_hi = (uintptr_t)lo + size;
	st_rel(&reader_tid, rt_tid());
	sink += deep_read(3);
	return arg;
}

/* pc and sp of a thread that sits in a system call; false: it does not. */
static bool blocked_at(int tid, uintptr_t *pc, uintptr_t *sp)
{
	char name[64], line[256] = "";
	FILE *f;
	long nr;

	(void)snprintf(name, sizeof name, "/proc/self/task/%d/syscall", tid);
	f = fopen(name, "r");
	if (!f)
		return false;
	(void)!fgets(line, sizeof line, f);
	(void)fclose(f);
	return sscanf(line, "%ld %*x %*x %*x %*x %*x %*x %lx %lx", &nr, sp, pc) == 3 && nr == SYS_read;
}

START_TEST(blocked_thread_is_walked_from_pc_and_sp_alone)
{
	pthread_t t;
	uint64_t pc[WEFT_STACK_MAX];
	struct rt_regs regs = { .exact = true };
	unsigned flags = 0;
	int n, tid, deep = 0;

	ck_assert_int_eq(weft_host_scan_modules(), 0);
	ck_assert_int_eq(pipe(pipe_fds), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, reader, NULL), 0);
	while (!(tid = ld_acq(&reader_tid)) || !blocked_at(tid, &regs.pc, &regs.sp))
		(void)usleep(1000);

	n = rt_unwind(regs, reader_lo, reader_hi, pc, WEFT_STACK_MAX, &flags);

	for (int i = 1; i < n; i++)
		deep += weft_read_func_start(pc[i] - 1) == (uintptr_t)deep_read;
	ck_assert_uint_eq(flags & ~WEFT_GF_APPROX, 0);
	ck_assert_int_eq(deep, 4);
	ck_assert(passes(pc, n, (uintptr_t)reader));
	ck_assert_int_eq(write(pipe_fds[1], "x", 1), 1);
	ck_assert_int_eq(pthread_join(t, NULL), 0);
}
END_TEST

/* --- Bad stacks ---------------------------------------------------------------------------------------------- */

START_TEST(smashed_stack_ends_the_walk_and_nothing_else)
{
	static uintptr_t stack[512];
	unsigned seed = 1;
	const char *env = getenv("WEFT_SEED");

	ck_assert_int_eq(weft_host_scan_modules(), 0);
	seed = env ? (unsigned)strtoul(env, NULL, 0) : (unsigned)time(NULL);
	printf("WEFT_SEED=%u\n", seed);
	srand(seed);
	for (int round = 0; round < 5000; round++) {
		uint64_t pc[WEFT_STACK_MAX];
		unsigned flags = 0;
		uintptr_t lo = (uintptr_t)stack, hi = (uintptr_t)(stack + 512);
		struct rt_regs regs = { .exact = rand() & 1, .fp_known = rand() & 1 };
		int n;

		for (int i = 0; i < 512; i++) /* a mix of code, stack and junk */
			stack[i] = rand() % 3 == 0 ? (uintptr_t)printf + (unsigned)rand() % 100000
				   : rand() % 2    ? lo + (unsigned)rand() % (hi - lo)
						   : (uintptr_t)rand() << (rand() % 33);
		regs.pc = rand() % 4 ? (uintptr_t)printf + (unsigned)rand() % 100000 : stack[rand() % 512];
		regs.sp = rand() % 8 ? lo + (unsigned)(rand() % 500) * 8 : stack[rand() % 512];
		regs.fp = stack[rand() % 512];

		n = rt_unwind(regs, lo, hi, pc, WEFT_STACK_MAX, &flags);

		ck_assert_int_ge(n, 1);
		ck_assert_int_le(n, WEFT_STACK_MAX);
	}
}
END_TEST

Suite *test_unwind_guess(void);
Suite *test_unwind_guess(void)
{
	Suite *s = suite_create("unwind_guess");
	TCase *tc = tcase_create("unwind_guess");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, smashed_stack_ends_the_walk_and_nothing_else);
	suite_add_tcase(s, tc);
	tc = tcase_create("blocked");
	tcase_set_timeout(tc, 60);
	tcase_set_tags(tc, "kernel-sees-registers");
	tcase_add_test(tc, blocked_thread_is_walked_from_pc_and_sp_alone);
	suite_add_tcase(s, tc);
	return s;
}
