/* test_unwind.c - the walk by tables against two oracles: libgcc's unwinder, and chains of calls that are
 * known by construction.
 *
 * The main test single-steps a thread through code as Debian ships it (step.h): at every
 * instruction, so in every prologue, epilogue and PLT stub on the way, both unwinders must name the same
 * return addresses. */
#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

#include "insn.h"
#include "rt.h"
#include "sofile.h"
#include "step.h"
#include "sys.h"
#include "unwind_table.h"

#define NOINLINE __attribute__((noinline, noipa))
#ifdef RT_TSAN
#define TSAN 1
#else
#define TSAN 0
#endif

/* On aarch64 libc's information about its resolver is not: libgcc goes round in circles there. */
#if defined(__x86_64__)
#define LAZY_IS_RIGHT true
#else
#define LAZY_IS_RIGHT false
#endif

static struct stepping {
	uintptr_t lo, hi; /* of the stack */
	uintptr_t work;   /* start of the function all work is done in */
	uint64_t root;    /* outermost frame */
	bool oracle;      /* ask libgcc, too */
	unsigned long steps, in_work, wrong;
	unsigned long found; /* not exact, but complete */
	char first[2000];    /* what was wrong first */
} step;

static volatile double sink_d;
static volatile long sink;

/* --- Oracle: libgcc --------------------------------------------------------------------------- */

struct trace {
	uint64_t pc[WEFT_STACK_MAX];
	int n;
	uint64_t from; /* frames before this pc are the handler's own */
	bool seen;
};

static _Unwind_Reason_Code trace_frame(struct _Unwind_Context *c, void *arg)
{
	struct trace *t = arg;
	uint64_t pc = _Unwind_GetIP(c);

	t->seen |= pc == t->from;
	if (t->seen && pc && t->n < WEFT_STACK_MAX)
		t->pc[t->n++] = pc;
	return _URC_NO_REASON;
}

static void complain(const char *what, uint64_t pc, const uint64_t *ours, int n, const struct trace *t)
{
	size_t at = 0;
	Dl_info i = { 0 };

	if (step.wrong++)
		return;
	(void)dladdr((void *)pc, &i);
	at += (size_t)snprintf(step.first, sizeof step.first, "%s at %#lx (%s, %s); ours:", what, (long)pc,
			       i.dli_fname ? i.dli_fname : "?", i.dli_sname ? i.dli_sname : "?");
	for (int k = 0; k < n && at < sizeof step.first - 40; k++)
		at += (size_t)snprintf(step.first + at, sizeof step.first - at, " %#lx", (long)ours[k]);
	at += (size_t)snprintf(step.first + at, sizeof step.first - at, "; libgcc:");
	for (int k = 0; t && k < t->n && at < sizeof step.first - 40; k++)
		at += (size_t)snprintf(step.first + at, sizeof step.first - at, " %#lx", (long)t->pc[k]);
}

static bool passes(const uint64_t *pc, int n, uintptr_t function)
{
	for (int i = 0; i < n; i++)
		if (weft_read_func_start(pc[i] - (i > 0)) == function)
			return true;
	return false;
}

static void look(const void *context)
{
	struct rt_regs regs = rt_regs_of(context);
	struct trace t = { .from = regs.pc };
	uint64_t pc[WEFT_STACK_MAX];
	unsigned flags = 0;
	int n;

	if (regs.sp < step.lo || regs.sp > step.hi)
		return;
	step.steps++;
	n = rt_unwind(regs, step.lo, step.hi, pc, WEFT_STACK_MAX, &flags);
	if (step.oracle && weft_read_func_start(regs.pc)) { /* aarch64 has no unwind information of PLT stubs */
		(void)_Unwind_Backtrace(trace_frame, &t);
		if (t.n != n || memcmp(t.pc, pc, sizeof *pc * (size_t)n) != 0) {
			complain("differs", regs.pc, pc, n, &t);
			return;
		}
	}
	if (flags && !STEP_BY_ONE && !weft_read_func_start(regs.pc))
		return; /* likewise: found by x30 at best */
	if (flags) {
		if (step.work && passes(pc, n, step.work) && pc[n - 1] == step.root)
			step.found++;
		else
			complain("not exact", regs.pc, pc, n, &t);
	} else if (step.work && passes(pc, n, step.work))
		step.in_work++;
}

/* The caller's own stack, into walked. */
static uint64_t walked[WEFT_STACK_MAX];
static int walked_n;
static unsigned walked_flags;

static NOINLINE void walk_me(void)
{
	walked_flags = 0;
	walked_n = rt_unwind(RT_REGS_OF_CALLER(), step.lo, step.hi, walked, WEFT_STACK_MAX, &walked_flags);
}

static void start(uintptr_t work, bool oracle)
{
	static char stack[128 * 1024];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof stack };
	struct trace t = { 0 };
	pthread_attr_t attr;
	void *lo;
	size_t size;

	ck_assert_int_eq(weft_host_scan_modules(), 0);
	ck_assert_int_eq(pthread_getattr_np(pthread_self(), &attr), 0);
	ck_assert_int_eq(pthread_attr_getstack(&attr, &lo, &size), 0);
	ck_assert_int_eq(pthread_attr_destroy(&attr), 0);
	memset(&step, 0, sizeof step);
	step.lo = (uintptr_t)lo;
	step.hi = (uintptr_t)lo + size;
	step.work = work;
	step.oracle = oracle;
	walk_me();
	step.root = walked[walked_n - 1];
	(void)_Unwind_Backtrace(trace_frame, &t); /* its first call allocates */
	ck_assert_int_eq(sigaltstack(&ss, NULL), 0);
	step_start(look);
}

/* --- Workloads -------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	sink++;
	return *(const int *)a - *(const int *)b;
}

static NOINLINE long tiny(long a, long b)
{
	return a * 3 + b;
}

static NOINLINE void strings(void)
{
	static char a[5000], b[5000];
	char text[200];

	for (size_t n = 0; n < 300; n = n * 2 + 1) {
		memcpy(a, b, n);
		memmove(a + 1, a, n);
		memset(b, 'x', n + 1);
		sink += (long)strlen(b);
		sink += memcmp(a, b, n) + (strchr(b, 'y') != NULL);
	}
	(void)snprintf(text, sizeof text, "%d %s %8.3f %p", 12, "abc", 3.25, (void *)a);
	sink_d = strtod("1234.5", NULL) + atof("17.5");
	sink += strtol("-4711", NULL, 0);
}

static NOINLINE void calls(void)
{
	int v[40];
	void *p[20];
	struct timespec ts;

	for (int i = 0; i < 40; i++)
		v[i] = (i * 7919) % 101;
	qsort(v, 40, sizeof v[0], compare);
	for (int i = 0; i < 20; i++)
		p[i] = malloc((size_t)(i * i * 50 + 1));
	for (int i = 0; i < 20; i++)
		free(p[i]);
	sink_d = sin(sink_d + 1) + pow(1.0001, 77.7) + exp(0.3) + log(7.0);
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	sink += getppid() + tiny(3, 4) + rand();
	sink += (long)getenv("PATH");
}

/* Frames that can only be left through rbp: variable size, and aligned to more than the ABI does. */
static NOINLINE void odd_frames(int n)
{
	char *v = __builtin_alloca((size_t)n * 16);
	_Alignas(64) volatile char aligned[128];

	memset(v, 1, (size_t)n * 16);
	aligned[5] = v[3];
	sink += snprintf(v, (size_t)n * 16, "%d", (int)aligned[5]);
}

static NOINLINE void work(void)
{
	strings();
	calls();
	for (int i = 1; i < 5; i++)
		odd_frames(i);
	sink++; /* no tail call */
}
static NOINLINE void c3(void)
{
	work();
	sink++;
}
static NOINLINE void c2(void)
{
	c3();
	sink++;
}
static NOINLINE void c1(void)
{
	c2();
	sink++;
}

START_TEST(agrees_with_libgcc_at_every_instruction)
{
	start((uintptr_t)work, true);

	step_through(c1, &step.steps);

	ck_assert_msg(step.wrong == 0, "%lu of %lu: %s", step.wrong, step.steps, step.first);
	ck_assert_uint_gt(step.steps, STEP_LOOKS(10000));
	ck_assert_uint_gt(step.in_work + step.found, step.steps - STEP_AROUND(200)); /* all but the way in and out */
	if (STEP_BY_ONE)
		ck_assert_uint_eq(step.found, 0);
}
END_TEST

START_TEST(lazy_resolver_and_plt_are_walked)
{
	char path[300];
	void *lib;
	void (*run)(void);

	sofile_build("#include <stdlib.h>\n#include <string.h>\n#include <stdio.h>\n"
		     "void run(void){char b[99];snprintf(b,99,\"%d %s\",atoi(\"7\"),getenv(\"PATH\")?\"a\":\"b\");}\n",
		     "-O2 -fno-builtin -Wl,-z,lazy", path, sizeof path);
	lib = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
	ck_assert_msg(lib != NULL, "%s", dlerror());
	run = (void (*)(void))dlsym(lib, "run");
	start((uintptr_t)run, LAZY_IS_RIGHT);

	step_through(run, &step.steps);

	sofile_remove(path);
	ck_assert_msg(step.wrong == 0, "%lu of %lu: %s", step.wrong, step.steps, step.first);
	ck_assert_uint_gt(step.in_work, STEP_LOOKS(1500)); /* three symbols were looked up */
}
END_TEST

START_TEST(code_without_frame_pointers_is_walked)
{
	char path[300];
	void *lib;
	void (*run)(void);

	sofile_build(
		"#include <stdlib.h>\n"
		"typedef float v8 __attribute__((vector_size(32)));\n"
		"static int cmp(const void *a, const void *b){return *(int*)a-*(int*)b;}\n"
		"__attribute__((noipa)) static float f3(v8 *x,int n){v8 y[4]={*x,*x,*x,*x};char *p=__builtin_alloca(n);"
		"p[0]=1;y[n&3][n&7]+=p[0];return y[0][1]+y[3][n&7];}\n"
		"__attribute__((noipa)) static int f2(int *v,int n){v8 x={1,2};qsort(v,n,sizeof *v,cmp);"
		"return v[0]+f3(&x,n);}\n"
		"void run(void){int v[]={5,3,9,1};for(volatile int i=0;i<3;i++)f2(v,4);}\n",
		"-O2 -fomit-frame-pointer " INSN_WIDE " -Wno-psabi -Wl,-z,now", path, sizeof path);
	lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	ck_assert_msg(lib != NULL, "%s", dlerror());
	run = (void (*)(void))dlsym(lib, "run");
	start((uintptr_t)run, true);

	if (insn_wide()) {
		step_through(run, &step.steps);
		ck_assert_uint_gt(step.in_work, STEP_LOOKS(300));
	}

	sofile_remove(path);
	ck_assert_msg(step.wrong == 0, "%lu of %lu: %s", step.wrong, step.steps, step.first);
}
END_TEST

static NOINLINE void bignum(void)
{
	char text[400];

	(void)snprintf(text, sizeof text, "%.30g %f", 1e300, 1e200 / 3);
	sink_d = strtod("1234.56789123456789123456789e-213", NULL);
	sink++; /* no tail call */
}

/* libc's own information about its bignum routines is wrong (libgcc crashes there). */
START_TEST(wrong_unwind_information_in_libc_is_survived)
{
	start((uintptr_t)bignum, false);

	step_through(bignum, &step.steps);

	ck_assert_uint_gt(step.steps, STEP_LOOKS(3000));
	ck_assert_msg(step.wrong == 0, "%lu of %lu: %s", step.wrong, step.steps, step.first);
	ck_assert_uint_gt(step.in_work + step.found, step.steps - STEP_AROUND(200));
	if (STEP_BY_ONE)
		ck_assert_uint_gt(step.found, 0); /* a walk by table alone does go wrong */
}
END_TEST

/* --- Signal frames on the same stack ------------------------------------------------------------------- */

static void on_usr(int sig)
{
	(void)sig;
	walk_me();
	sink++;
}

START_TEST(signal_frame_on_the_same_stack_is_crossed)
{
	struct sigaction sa = { .sa_handler = on_usr };

	start(0, false);
	ck_assert_int_eq(sigaction(SIGUSR1, &sa, NULL), 0);

	ck_assert_int_eq(raise(SIGUSR1), 0);

	ck_assert_uint_eq(walked_flags, 0);
	ck_assert(passes(walked, walked_n, (uintptr_t)on_usr));
	ck_assert(passes(walked, walked_n, weft_read_func_start((uintptr_t)raise)));
	ck_assert(passes(walked, walked_n,
			 weft_read_func_start((uintptr_t)signal_frame_on_the_same_stack_is_crossed_fn)));
}
END_TEST

static void on_our_usr(int sig, void *info, void *context)
{
	(void)info, (void)context;
	on_usr(sig);
}

/* As above, but with the trampoline that the runtime gives its handlers. */
START_TEST(frame_of_a_handler_of_ours_is_crossed)
{
	stack_t none = { .ss_flags = SS_DISABLE };

	start(0, false);
	ck_assert_int_eq(sigaltstack(&none, NULL), 0);
	ck_assert_int_eq(rt_on_signal(SIGUSR1, on_our_usr), 0);

	ck_assert_int_eq(raise(SIGUSR1), 0);

	ck_assert_uint_eq(walked_flags, 0);
	ck_assert(passes(walked, walked_n, (uintptr_t)on_our_usr));
	ck_assert(passes(walked, walked_n, weft_read_func_start((uintptr_t)raise)));
	ck_assert(passes(walked, walked_n, weft_read_func_start((uintptr_t)frame_of_a_handler_of_ours_is_crossed_fn)));
}
END_TEST

/* --- Bounds ---------------------------------------------------------------------------------------- */

static NOINLINE int recurse(int n)
{
	int below = 0;

	if (n)
		below = recurse(n - 1);
	else
		walk_me();
	sink++; /* no tail call, no loop */
	return below + 1;
}

START_TEST(deep_stack_keeps_the_leaf_side_and_says_so)
{
	start(0, false);

	ck_assert_int_eq(recurse(300), 301);

	ck_assert_int_eq(walked_n, WEFT_STACK_MAX);
	ck_assert_uint_eq(walked_flags, WEFT_GF_CUT);
	ck_assert_uint_eq(weft_read_func_start(walked[WEFT_STACK_MAX - 1] - 1), (uintptr_t)recurse);
}
END_TEST

START_TEST(function_start_is_the_symbol)
{
	static const char *const names[] = { "qsort", "printf", "malloc", "read", "strtod", "fopen" };

	start(0, false);

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		uintptr_t at = (uintptr_t)dlsym(RTLD_NEXT, names[i]);

		ck_assert(at != 0);
		ck_assert_uint_eq(weft_read_func_start(at), at);
		ck_assert_uint_eq(weft_read_func_start(at + 5), at);
	}
	ck_assert_uint_eq(weft_read_func_start(5), 0);
	ck_assert_uint_eq(weft_read_func_start((uintptr_t)&step), 0);
}
END_TEST

Suite *test_unwind(void);
Suite *test_unwind(void)
{
	Suite *s = suite_create("unwind");
	TCase *exact = tcase_create("exact"), *rest = tcase_create("rest"), *kernel = tcase_create("kernel"),
	      *lazy = tcase_create("lazy");

	tcase_set_timeout(exact, 60);
	if (!TSAN) { /* it delivers signals late and with a copy of the registers */
		tcase_add_test(exact, agrees_with_libgcc_at_every_instruction);
		tcase_add_test(lazy, lazy_resolver_and_plt_are_walked);
		tcase_add_test(exact, wrong_unwind_information_in_libc_is_survived);
		tcase_add_test(exact, code_without_frame_pointers_is_walked);
	}
	tcase_add_test(rest, frame_of_a_handler_of_ours_is_crossed);
	tcase_add_test(rest, deep_stack_keeps_the_leaf_side_and_says_so);
	tcase_add_test(rest, function_start_is_the_symbol);
	suite_add_tcase(s, exact);
	suite_add_tcase(s, rest);
	tcase_set_timeout(lazy, 60);
	tcase_set_tags(lazy, "reads-code");
	suite_add_tcase(s, lazy);
	tcase_set_tags(kernel, "vdso");
	tcase_add_test(kernel, signal_frame_on_the_same_stack_is_crossed);
	suite_add_tcase(s, kernel);
	return s;
}
