/* test_stacktab.c - the stack table: same stack same id, readable for ever, bounded, from many threads. */
#include <check.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "insn.h"
#include "rt.h"
#include "rtest.h"
#include "sofile.h"
#include "unwind_table.h"

#define THREADS 4
#define STACKS 5000

static int make(uint64_t *pc, uint64_t which)
{
	int n = 1 + (int)(which % 20);

	for (int i = 0; i < n; i++)
		pc[i] = 0x400000 + which * 64 + (uint64_t)i;
	return n;
}

static struct weft_counters counters(void)
{
	struct weft_counters c;

	memset(&c, 0, sizeof c);
	rt_stacktab_counters(&c);
	return c;
}

START_TEST(equal_stacks_have_one_id_and_others_another)
{
	uint64_t a[] = { 1, 2, 3 }, b[] = { 1, 2, 4 };
	uint32_t id;

	ck_assert_int_eq(rt_stacktab_start(), 0);
	id = rt_stack_intern(a, 3);

	ck_assert_uint_ne(id, 0);
	ck_assert_uint_eq(rt_stack_intern(a, 3), id);
	ck_assert_uint_ne(rt_stack_intern(b, 3), id);
	ck_assert_uint_ne(rt_stack_intern(a, 2), id);
	ck_assert_uint_eq(counters().stack_table_used, 3);
}
END_TEST

START_TEST(read_gives_back_what_was_put)
{
	uint64_t pc[WEFT_STACK_MAX], got[WEFT_STACK_MAX];

	ck_assert_int_eq(rt_stacktab_start(), 0);
	for (uint64_t i = 0; i < 1000; i++) {
		int n = make(pc, i);
		uint32_t id = rt_stack_intern(pc, n);

		ck_assert_int_eq(weft_read_stack(id, got, WEFT_STACK_MAX), n);
		ck_assert_mem_eq(got, pc, (size_t)n * sizeof *pc);
		ck_assert_int_eq(weft_read_stack(id, got, 1), 1);
	}
}
END_TEST

START_TEST(nonsense_has_no_id_and_unknown_ids_no_stack)
{
	uint64_t pc[WEFT_STACK_MAX + 1] = { 1 };

	ck_assert_uint_eq(rt_stack_intern(pc, 1), 0); /* not started */
	ck_assert_int_eq(rt_stacktab_start(), 0);
	ck_assert_int_eq(rt_stacktab_start(), 0);

	ck_assert_uint_eq(rt_stack_intern(pc, 0), 0);
	ck_assert_uint_eq(rt_stack_intern(pc, -1), 0);
	ck_assert_uint_eq(rt_stack_intern(pc, WEFT_STACK_MAX + 1), 0);
	ck_assert_int_eq(weft_read_stack(0, pc, 10), 0);
	ck_assert_int_eq(weft_read_stack(77, pc, 10), 0);
	ck_assert_int_eq(weft_read_stack(UINT32_MAX, pc, 10), 0);
}
END_TEST

static void *put_all(void *arg)
{
	uint32_t *ids = arg;
	uint64_t pc[WEFT_STACK_MAX], got[WEFT_STACK_MAX];

	for (uint64_t i = 0; i < STACKS; i++) {
		int n = make(pc, i);

		ids[i] = rt_stack_intern(pc, n);
		if (weft_read_stack(ids[i], got, WEFT_STACK_MAX) != n || memcmp(got, pc, (size_t)n * sizeof *pc) != 0)
			ids[i] = 0;
	}
	return NULL;
}

START_TEST(threads_that_put_the_same_stacks_agree_on_ids)
{
	static uint32_t ids[THREADS][STACKS];
	pthread_t t[THREADS];

	ck_assert_int_eq(rt_stacktab_start(), 0);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, put_all, ids[i]), 0);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_join(t[i], NULL), 0);

	for (int k = 0; k < STACKS; k++) {
		ck_assert_uint_ne(ids[0][k], 0);
		for (int i = 1; i < THREADS; i++)
			ck_assert_uint_eq(ids[i][k], ids[0][k]);
	}
	ck_assert_uint_eq(counters().stack_table_lost, 0);
}
END_TEST

START_TEST(full_table_counts_the_loss_and_keeps_what_it_has)
{
	uint64_t pc[WEFT_STACK_MAX], got[WEFT_STACK_MAX], size;
	uint32_t first, id = 1;
	int n = make(pc, 3);

	ck_assert_int_eq(rt_stacktab_start(), 0);
	size = counters().stack_table_size;
	first = rt_stack_intern(pc, n);
	for (uint64_t i = 10; i < size + 1000; i++) {
		uint64_t one = i;

		id = rt_stack_intern(&one, 1);
	}

	ck_assert_uint_eq(id, 0);
	ck_assert_uint_eq(counters().stack_table_used, size);
	ck_assert_uint_eq(counters().stack_table_lost, size + 1000 - 10 - (size - 1));
	ck_assert_uint_eq(rt_stack_intern(pc, n), first);
	ck_assert_int_eq(weft_read_stack(first, got, WEFT_STACK_MAX), n);
	ck_assert_mem_eq(got, pc, (size_t)n * sizeof *pc);
}
END_TEST

START_TEST(frames_run_out_before_ids_do)
{
	uint64_t pc[WEFT_STACK_MAX] = { 0 }, got[WEFT_STACK_MAX];
	uint32_t id = 1, last = 0, n = 0;

	ck_assert_int_eq(rt_stacktab_start(), 0);
	while (id) {
		pc[5] = ++n;
		last = id;
		id = rt_stack_intern(pc, WEFT_STACK_MAX);
	}

	ck_assert_uint_eq(n - 1, 64u << 20 >> 10); /* a kilobyte each of 64 MiB */
	ck_assert_int_eq(weft_read_stack(last, got, WEFT_STACK_MAX), WEFT_STACK_MAX);
	ck_assert_uint_eq(got[5], n - 1);
}
END_TEST

/* --- rt_stack_here() --------------------------------------------------------------------------- */

#define NOINLINE __attribute__((noinline, noipa))

static volatile int sink;
static uint32_t seen[3];
static uint64_t walked[WEFT_STACK_MAX];
static int n_walked;

/* The caller's stack: its id, and by table. */
static NOINLINE void leaf(void *out)
{
	const struct rt_record *fp = __builtin_frame_address(0);
	struct m *m = rt_self();
	unsigned flags = 0;

	*(uint32_t *)out = rt_stack_here(m, (void *)fp);
	n_walked =
		rt_unwind(RT_REGS_OF_CALLER(), (uintptr_t)fp, rt_stack_hi(ld(&m->cur)), walked, WEFT_STACK_MAX, &flags);
	sink += (int)flags;
}

static NOINLINE void by_frame_pointers(void *arg)
{
	(void)arg;
	for (volatile int i = 0; i < 2; i++) {
		leaf(&seen[i]);
		sink++;
	}
	leaf(&seen[2]);
	sink++;
}

static NOINLINE void check_stack(uint32_t id, void *outer)
{
	uint64_t pc[WEFT_STACK_MAX];
	int n = weft_read_stack(id, pc, WEFT_STACK_MAX);
	bool found = false;

	ck_assert_int_eq(n, n_walked);
	ck_assert_mem_eq(pc, walked, (size_t)n * sizeof *pc);
	ck_assert_uint_eq(pc[n - 1], (uintptr_t)rt_g_entry_call);
	for (int i = 0; i < n; i++)
		found |= weft_read_func_start(pc[i] - 1) == (uintptr_t)outer;
	ck_assert(found);
}

START_TEST(goroutine_stack_by_frame_pointers_is_the_one_by_table)
{
	rtest_begin(1);
	rtest_run(by_frame_pointers, NULL);

	check_stack(seen[2], (void *)by_frame_pointers);
	ck_assert_uint_eq(seen[1], seen[0]); /* the same call */
	ck_assert_uint_ne(seen[2], seen[0]);
	rtest_end();
}
END_TEST

static void (*without)(void (*fn)(void *), void *arg);

static NOINLINE void by_table(void *arg)
{
	(void)arg;
	without(leaf, &seen[0]);
	sink++;
}

#define TURNS 40

static RT_NOINLINE uint32_t stack_at_depth(int n)
{
	uint32_t id = n ? stack_at_depth(n - 1) : rt_stack_here(rt_self(), __builtin_frame_address(0));

	RT_KEEP_FRAME();
	return id;
}

static void takes_turns(void *arg)
{
	struct m *m = rt_self(); /* on its only thread */
	uint32_t id[TURNS];
	unsigned cached = 0;

	(void)arg;
	for (int i = 0; i < 2 * TURNS; i++) {
		uint32_t now = stack_at_depth(i % TURNS);

		ck_assert(i < TURNS || now == id[i % TURNS]);
		id[i % TURNS] = now;
	}
	for (unsigned k = 0; k < RT_STACK_CACHE; k++)
		for (int i = 0; i < TURNS; i++)
			cached += m->stack_cache[k] % (1u << 17) == id[i];
	ck_assert_uint_ge(cached, TURNS - 4);
}

START_TEST(stacks_that_take_turns_stay_in_the_threads_cache)
{
	rtest_begin(1);
	rtest_run(takes_turns, NULL);
	rtest_end();
}
END_TEST

START_TEST(walk_that_misses_the_trampoline_goes_by_table)
{
	char path[300];
	void *lib;

	sofile_build("void f(void (*fn)(void *), void *arg)\n"
		     "{ __asm__ volatile(\"" INSN_LOSE_FP "\" ::: \"" INSN_FP
		     "\"); fn(arg); __asm__ volatile(\"\"); }\n",
		     "-O2 -fomit-frame-pointer", path, sizeof path);
	lib = dlopen(path, RTLD_NOW);
	ck_assert_ptr_nonnull(lib);
	without = (void (*)(void (*)(void *), void *))dlsym(lib, "f");
	rtest_begin(1);
	rtest_run(by_table, NULL);

	ck_assert_uint_eq(weft_read_func_start(walked[0] - 1), (uintptr_t)without);
	check_stack(seen[0], (void *)by_table);
	sofile_remove(path);
	rtest_end();
}
END_TEST

START_TEST(outside_a_goroutine_there_is_no_stack)
{
	static struct m me;

	ck_assert_int_eq(rt_stacktab_start(), 0);
	st(&me.cur, &me.g0);

	ck_assert_uint_eq(rt_stack_here(&me, __builtin_frame_address(0)), 0);
	ck_assert_uint_eq(rt_stack_here(NULL, __builtin_frame_address(0)), 0);
}
END_TEST

Suite *test_stacktab(void);
Suite *test_stacktab(void)
{
	Suite *s = suite_create("stacktab");
	TCase *tc = tcase_create("stacktab");

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, equal_stacks_have_one_id_and_others_another);
	tcase_add_test(tc, read_gives_back_what_was_put);
	tcase_add_test(tc, nonsense_has_no_id_and_unknown_ids_no_stack);
	tcase_add_test(tc, threads_that_put_the_same_stacks_agree_on_ids);
	tcase_add_test(tc, full_table_counts_the_loss_and_keeps_what_it_has);
	tcase_add_test(tc, frames_run_out_before_ids_do);
	tcase_add_test(tc, goroutine_stack_by_frame_pointers_is_the_one_by_table);
	tcase_add_test(tc, stacks_that_take_turns_stay_in_the_threads_cache);
	tcase_add_test(tc, walk_that_misses_the_trampoline_goes_by_table);
	tcase_add_test(tc, outside_a_goroutine_there_is_no_stack);
	suite_add_tcase(s, tc);
	return s;
}
