/* test_ptab.c - the tables of the cumulative profiles: sums are exact whoever adds, bounded, labels by their text. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "ptab.h"
#include "rt.h"
#include "rtest.h"

#define THREADS 4
#define KEYS 300
#define ROUNDS 2000

static struct rt_ptab tab = RT_PTAB(1024), tiny = RT_PTAB(8);

static uint32_t stack_of(uint64_t which)
{
	uint64_t pc[] = { 0x1000 + which, 0x2000 };

	return rt_stack_intern(pc, 2);
}

static void start(void)
{
	ck_assert_int_eq(rt_stacktab_start(), 0);
	ck_assert_int_eq(rt_labels_keep_start(), 0);
	ck_assert_int_eq(rt_ptab_start(&tab), 0);
	ck_assert_int_eq(rt_ptab_start(&tiny), 0);
}

START_TEST(a_key_keeps_its_entry_and_every_part_of_it_counts)
{
	struct rt_ptab_key key = { .stack = 1, .instance = 2, .labels = 3, .extra = 4 }, other;
	uint32_t e;

	start();
	e = rt_ptab_at(&tab, key);
	ck_assert_uint_ne(e, 0);
	ck_assert_uint_eq(rt_ptab_at(&tab, key), e);
	for (int part = 0; part < 4; part++) {
		other = key;
		other.stack += part == 0;
		other.instance += part == 1;
		other.labels += part == 2;
		other.extra += part == 3;
		ck_assert_uint_ne(rt_ptab_at(&tab, other), e);
	}
	ck_assert_uint_eq(rt_ptab_count(&tab), 5);
}
END_TEST

START_TEST(a_sample_reads_back_as_it_was_counted)
{
	struct weft_prof_sample s;
	uint32_t at = 0, e;

	start();
	(void)rt_ptab_at(&tab, (struct rt_ptab_key){ .stack = stack_of(1) }); /* no sum: not shown */
	e = rt_ptab_at(&tab, (struct rt_ptab_key){ .stack = stack_of(2), .instance = 7, .extra = 64 });
	for (unsigned i = 0; i < WEFT_PROF_VALUES; i++)
		rt_ptab_add(&tab, e, i, i + 1);
	rt_ptab_add(&tab, e, 3, (uint64_t)-10);
	ck_assert(rt_ptab_next(&tab, &at, &s));
	ck_assert(!s.overflow);
	ck_assert_int_eq(s.depth, 2);
	ck_assert_uint_eq(s.pc[0], 0x1002);
	ck_assert_uint_eq(s.instance, 7);
	ck_assert_uint_eq(s.extra, 64);
	ck_assert_int_eq(s.value[0], 1);
	ck_assert_int_eq(s.value[3], -6);
	ck_assert(!rt_ptab_next(&tab, &at, &s));
}
END_TEST

START_TEST(what_finds_the_table_full_is_counted_in_the_overflow_bucket)
{
	struct weft_prof_sample s;
	uint32_t at = 0;
	int64_t sum = 0;
	bool overflow = false;

	start();
	for (uint32_t i = 1; i <= 100; i++)
		rt_ptab_add(&tiny, rt_ptab_at(&tiny, (struct rt_ptab_key){ .stack = i }), 0, 1);
	while (rt_ptab_next(&tiny, &at, &s)) {
		sum += s.value[0];
		overflow = overflow || (s.overflow && s.depth == 0 && s.value[0] == 100 - 7);
	}
	ck_assert_int_eq(sum, 100);
	ck_assert(overflow);
	ck_assert_uint_eq(rt_ptab_count(&tiny), 7);
}
END_TEST

/* Everybody adds to the same keys, and meets the others when they are new. */
static void *adder(void *arg)
{
	uint64_t random = (uint64_t)(uintptr_t)arg;

	for (int i = 0; i < ROUNDS; i++) {
		uint32_t k = (uint32_t)(rtest_random(&random) % KEYS);
		uint32_t e = rt_ptab_at(&tab, (struct rt_ptab_key){ .stack = 1 + k, .extra = k });

		ck_assert_uint_ne(e, 0);
		rt_ptab_add(&tab, e, 0, 1);
		rt_ptab_add(&tab, e, 1, k);
	}
	return NULL;
}

START_TEST(sums_of_many_threads_are_exact_and_readers_see_causes_first)
{
	pthread_t t[THREADS];
	struct weft_prof_sample s;
	uint64_t seed = rtest_seed();
	uint64_t seen[KEYS] = { 0 };
	int64_t sum = 0;

	start();
	for (uint64_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, adder, (void *)(uintptr_t)(seed + i)), 0);
	for (int look = 0; look < 20; look++)
		for (uint32_t at = 0; rt_ptab_next(&tab, &at, &s);)
			ck_assert_int_ge(s.value[0] * (int64_t)s.extra, s.value[1]);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (uint32_t at = 0; rt_ptab_next(&tab, &at, &s);) {
		ck_assert_uint_eq(seen[s.extra]++, 0);
		ck_assert_int_eq(s.value[1], s.value[0] * (int64_t)s.extra);
		sum += s.value[0];
	}
	ck_assert_int_eq(sum, THREADS * ROUNDS);
}
END_TEST

static void keeps_by_text(void *arg)
{
	uint32_t *kept = arg;
	struct m *m = rt_self();

	for (int i = 0; i < 3; i++) {
		weft_label_push("handler", i == 1 ? "b" : "a");
		kept[i] = rt_labels_keep(ld(&ld(&m->cur)->labels), 1);
		ck_assert_uint_eq(rt_labels_keep(ld(&ld(&m->cur)->labels), 1), kept[i]);
		weft_label_pop();
	}
	weft_label_push("handler", "a");
	kept[3] = rt_labels_keep(ld(&ld(&m->cur)->labels), 2);
	weft_label_pop();
}

START_TEST(label_sets_are_kept_by_text_and_instance)
{
	uint32_t kept[4];
	struct weft_labels l;

	start();
	rtest_begin(1);
	rtest_run(keeps_by_text, kept);
	rtest_end();
	ck_assert_uint_ne(kept[0], 0);
	ck_assert_uint_eq(kept[2], kept[0]);
	ck_assert_uint_ne(kept[1], kept[0]);
	ck_assert_uint_ne(kept[3], kept[0]);
	rt_labels_kept(kept[1], &l);
	ck_assert_int_eq(l.n, 1);
	ck_assert_str_eq(l.l[0].key, "handler");
	ck_assert_str_eq(l.l[0].value, "b");
}
END_TEST

static void keeps_many(void *arg)
{
	int *without = arg;
	struct m *m = rt_self();
	char text[32];

	for (int i = 0; i < RT_KEPT_PER_INSTANCE + 50; i++) {
		snprintf(text, sizeof text, "%d", i);
		weft_label_push("request", text);
		*without += rt_labels_keep(ld(&ld(&m->cur)->labels), 3) == 0;
		weft_label_pop();
	}
	weft_label_push("request", "of another");
	ck_assert_uint_ne(rt_labels_keep(ld(&ld(&m->cur)->labels), 4), 0);
	weft_label_pop();
}

START_TEST(an_instance_keeps_a_thousand_sets_and_takes_nobody_elses_room)
{
	struct weft_counters c;
	int without = 0;

	start();
	rtest_begin(1);
	rtest_run(keeps_many, &without);
	weft_read_counters(&c);
	rtest_end();
	ck_assert_int_eq(without, 50);
	ck_assert_uint_eq(c.profile_labels_dropped, 50);
	ck_assert_uint_eq(c.labels_kept, RT_KEPT_PER_INSTANCE + 1);
}
END_TEST

Suite *test_ptab(void);
Suite *test_ptab(void)
{
	Suite *s = suite_create("ptab");
	TCase *tc = tcase_create("ptab");

	tcase_add_test(tc, a_key_keeps_its_entry_and_every_part_of_it_counts);
	tcase_add_test(tc, a_sample_reads_back_as_it_was_counted);
	tcase_add_test(tc, what_finds_the_table_full_is_counted_in_the_overflow_bucket);
	tcase_add_test(tc, sums_of_many_threads_are_exact_and_readers_see_causes_first);
	tcase_add_test(tc, label_sets_are_kept_by_text_and_instance);
	tcase_add_test(tc, an_instance_keeps_a_thousand_sets_and_takes_nobody_elses_room);
	suite_add_tcase(s, tc);
	return s;
}
