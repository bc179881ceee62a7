/* test_label.c - label sets: push and pop, inheritance, limits, names that outlive their holders for a
 * while, and readers that run beside all of it.
 *
 * No scheduler: a thread becomes "goroutine" `id` by standing in for an M that runs it. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rt.h"
#include "sys.h"

struct fake {
	struct m m;
	struct g g;
};

RT_NOINLINE static void switch_to(struct fake *f)
{
	rt_tls_m = &f->m;
}

static void be(struct fake *f, uint64_t id)
{
	memset(f, 0, sizeof *f);
	st(&f->g.id, id);
	st(&f->m.cur, &f->g);
	switch_to(f);
}

/* As weft_go() does it. */
static void start_child(struct fake *child, uint64_t id, const struct fake *parent)
{
	be(child, id);
	st(&child->g.labels, rt_labels_ref(ld(&parent->g.labels)));
}

/* "k=v k2=v2", or "gone". */
static const char *text_of(uint64_t set)
{
	static char text[WEFT_LABELS_MAX * 200];
	static struct weft_labels l;
	char *at = text;

	if (!rt_labels_copy(set, &l))
		return "gone";
	*at = 0;
	for (int i = 0; i < l.n; i++)
		at += sprintf(at, "%s%s=%s", i ? " " : "", l.l[i].key, l.l[i].value);
	return text;
}

static const char *now_of(const struct fake *f)
{
	return text_of(ld(&f->g.labels));
}

static struct weft_counters counters(void)
{
	static struct weft_counters c;

	rt_label_counters(&c);
	return c;
}

START_TEST(pushed_labels_are_sorted_by_key_and_popped_in_reverse)
{
	struct fake f;

	be(&f, 1);
	weft_label_push("user", "42");
	weft_label_push("op", "read");
	ck_assert_str_eq(now_of(&f), "op=read user=42");

	weft_label_pop();
	ck_assert_str_eq(now_of(&f), "user=42");
	weft_label_pop();
	ck_assert_uint_eq(ld(&f.g.labels), 0);
	weft_label_pop();
	ck_assert_uint_eq(ld(&f.g.labels), 0);
	ck_assert_uint_eq(counters().label_sets, 0);
}
END_TEST

START_TEST(later_label_of_same_key_hides_the_earlier_until_popped)
{
	struct fake f;

	be(&f, 1);
	weft_label_push("k", "old");
	weft_label_push("k", "new");
	ck_assert_str_eq(now_of(&f), "k=new");
	weft_label_pop();
	ck_assert_str_eq(now_of(&f), "k=old");
}
END_TEST

START_TEST(child_inherits_and_cannot_pop_what_it_inherited)
{
	struct fake parent, child;

	be(&parent, 1);
	weft_label_push("user", "42");
	start_child(&child, 2, &parent);
	switch_to(&parent);
	weft_label_pop();
	ck_assert_uint_eq(ld(&parent.g.labels), 0);

	switch_to(&child);
	weft_label_pop();
	ck_assert_str_eq(now_of(&child), "user=42");
	weft_label_push("op", "x");
	ck_assert_str_eq(now_of(&child), "op=x user=42");
	rt_labels_exit(&child.g);
	ck_assert_uint_eq(ld(&child.g.labels), 0);
	ck_assert_uint_eq(counters().label_sets, 0);
}
END_TEST

START_TEST(exit_lets_go_of_everything_that_was_pushed)
{
	struct fake f;

	be(&f, 1);
	for (int i = 0; i < 5; i++)
		weft_label_push("k", "v");
	ck_assert_uint_eq(counters().label_sets, 5);
	rt_labels_exit(&f.g);
	ck_assert_uint_eq(counters().label_sets, 0);
	ck_assert_uint_eq(f.g.labels_over, 0);
}
END_TEST

/* Each goroutine starts the next and ends: nothing of the earlier ones may pile up. */
START_TEST(chain_of_generations_keeps_one_set_alive)
{
	struct fake a, b;

	be(&a, 1);
	weft_label_push("stage", "0");
	for (uint64_t i = 2; i < 1000; i++) {
		char value[24];

		start_child(&b, i, &a);
		sprintf(value, "%llu", (unsigned long long)i);
		weft_label_push("stage", value);
		rt_labels_exit(&a.g);
		memcpy(&a, &b, sizeof a);
		st(&a.m.cur, &a.g);
		ck_assert_uint_le(counters().label_sets, 2);
	}
	ck_assert_str_eq(now_of(&a), "stage=999");
}
END_TEST

START_TEST(seventeenth_key_is_dropped_counted_and_its_pop_pops_nothing)
{
	uint64_t dropped = counters().labels_dropped, full;
	struct fake f;
	char key[16];

	be(&f, 1);
	for (int i = 0; i < WEFT_LABELS_MAX; i++) {
		sprintf(key, "k%02d", i);
		weft_label_push(key, "v");
	}
	full = ld(&f.g.labels);
	weft_label_push("one-too-many", "v");
	ck_assert_uint_eq(ld(&f.g.labels), full);
	ck_assert_uint_eq(counters().labels_dropped, dropped + 1);

	weft_label_push("k03", "other"); /* the same key needs no place */
	ck_assert_uint_ne(ld(&f.g.labels), full);
	weft_label_pop();
	ck_assert_uint_eq(ld(&f.g.labels), full);
	weft_label_pop(); /* of one-too-many */
	ck_assert_uint_eq(ld(&f.g.labels), full);
	weft_label_pop();
	ck_assert_uint_ne(ld(&f.g.labels), full);
}
END_TEST

START_TEST(dropped_push_on_inherited_labels_is_popped_alone)
{
	struct fake parent, child;

	be(&parent, 1);
	weft_label_push("k", "v");
	start_child(&child, 2, &parent);
	weft_label_push("", "no key");
	weft_label_push("own", "1");
	weft_label_push(NULL, "no key");
	ck_assert_str_eq(now_of(&child), "k=v own=1");
	weft_label_pop();
	ck_assert_str_eq(now_of(&child), "k=v own=1");
	weft_label_pop();
	ck_assert_str_eq(now_of(&child), "k=v");
	weft_label_pop();
	ck_assert_uint_eq(child.g.labels_over, 0);
}
END_TEST

START_TEST(long_text_is_cut_between_characters)
{
	struct weft_labels l;
	char key[100], value[200];
	struct fake f;

	memset(key, 'k', sizeof key);
	key[99] = 0;
	memset(value, 'v', sizeof value);
	memcpy(value + 126, "\xe2\x82\xac", 3); /* a euro sign across the limit of 127 bytes */
	value[199] = 0;
	be(&f, 1);
	weft_label_push(key, value);
	ck_assert(rt_labels_copy(ld(&f.g.labels), &l));
	ck_assert_uint_eq(strlen(l.l[0].key), 63);
	ck_assert_uint_eq(strlen(l.l[0].value), 126);
}
END_TEST

START_TEST(foreign_threads_and_the_scheduler_have_no_labels)
{
	struct fake f;

	rt_tls_m = NULL;
	weft_label_push("k", "v");
	weft_label_pop();
	be(&f, 1);
	st(&f.m.cur, &f.m.g0);
	weft_label_push("k", "v");
	ck_assert_uint_eq(ld(&f.m.g0.labels), 0);
	ck_assert_uint_eq(counters().label_sets, 0);
}
END_TEST

START_TEST(name_stays_good_while_its_slot_rests)
{
	struct fake f;
	uint64_t name;

	rt_labels_rest_ns = 3600 * WEFT_SEC;
	be(&f, 1);
	weft_label_push("k", "first");
	name = ld(&f.g.labels);
	weft_label_pop();
	for (int i = 0; i < 100; i++) {
		weft_label_push("k", "other");
		ck_assert_uint_ne(ld(&f.g.labels), name);
		weft_label_pop();
	}
	ck_assert_str_eq(text_of(name), "k=first");
}
END_TEST

START_TEST(name_is_gone_once_its_slot_is_used_again)
{
	struct fake f;
	uint64_t name, again;

	rt_labels_rest_ns = 0;
	be(&f, 1);
	weft_label_push("k", "first");
	name = ld(&f.g.labels);
	weft_label_pop();
	weft_label_push("k", "second");
	again = ld(&f.g.labels);
	ck_assert_uint_eq(again % (1u << 18), name % (1u << 18)); /* the same slot */
	ck_assert_uint_ne(again, name);
	ck_assert_uint_eq(again >> 48, 0); /* fits a recorder subject */
	ck_assert_str_eq(text_of(name), "gone");
	ck_assert_str_eq(text_of(again), "k=second");
}
END_TEST

START_TEST(unknown_names_are_gone_and_none_is_empty)
{
	ck_assert_str_eq(text_of(0), "");
	ck_assert_str_eq(text_of(UINT64_C(7) << 18 | 5), "gone");
	ck_assert_str_eq(text_of(UINT64_MAX), "gone");
}
END_TEST

/* 400,000 goroutines with a label of their own: what does not fit is dropped, and there is room again once
 * they end. */
START_TEST(full_slab_drops_and_recovers)
{
	enum { N = 400000 };
	struct g *gs = rt_map(N * sizeof *gs);
	uint64_t live;
	struct fake f;

	rt_labels_rest_ns = 0;
	be(&f, 1);
	for (uint64_t i = 0; i < N; i++) {
		st(&gs[i].id, i + 1);
		st(&f.m.cur, &gs[i]);
		weft_label_push("k", "v");
	}
	live = counters().label_sets;
	ck_assert_uint_gt(live, 200000);
	ck_assert_uint_eq(counters().labels_dropped, N - live);
	for (uint64_t i = 0; i < N; i++)
		rt_labels_exit(&gs[i]);
	ck_assert_uint_eq(counters().label_sets, 0);
	for (uint64_t i = 0; i < 1000; i++) {
		st(&f.m.cur, &gs[i]);
		weft_label_push("k", "v");
		ck_assert_str_eq(text_of(ld(&gs[i].labels)), "k=v");
	}
}
END_TEST

START_TEST(dropped_pushes_take_no_room_for_ever)
{
	struct fake f;
	char key[16];

	be(&f, 1);
	for (int i = 0; i < WEFT_LABELS_MAX; i++) {
		snprintf(key, sizeof key, "k%02d", i);
		weft_label_push(key, "v");
	}
	for (int i = 0; i < 300000; i++) {
		weft_label_push("one-too-many", "v");
		weft_label_pop();
	}
	weft_label_push("k00", "w");
	ck_assert_ptr_nonnull(strstr(now_of(&f), "k00=w "));
}
END_TEST

/* --- Concurrency ------------------------------------------------------------------------------------ */

enum { WRITERS = 3, ROUNDS = 60000 };

static _Atomic uint64_t shown[WRITERS]; /* names for the readers */
static _Atomic bool stop;
static _Atomic uint64_t n_copied, n_gone;

/* All labels of a set carry one number, so that a torn copy shows. */
static void *writer(void *arg)
{
	uint64_t me = (uintptr_t)arg, n = me * 1000000;
	struct fake f;

	be(&f, me + 1);
	for (int i = 0; i < ROUNDS; i++, n++) {
		char value[24];

		sprintf(value, "%llu", (unsigned long long)n);
		weft_label_push("a", value);
		weft_label_push("b", value);
		weft_label_push("c", value);
		st(&shown[me], ld(&f.g.labels));
		rt_labels_exit(&f.g);
	}
	return NULL;
}

static void *reader(void *arg)
{
	struct weft_labels l;

	(void)arg;
	while (!ld(&stop)) {
		for (int w = 0; w < WRITERS; w++) {
			uint64_t name = ld(&shown[w]);

			if (!name)
				continue;
			if (!rt_labels_copy(name, &l)) {
				add(&n_gone, 1);
				continue;
			}
			if (l.n != 3 || strcmp(l.l[0].value, l.l[1].value) || strcmp(l.l[1].value, l.l[2].value) ||
			    strtoull(l.l[0].value, NULL, 10) / 1000000 != (uint64_t)w)
				ck_abort_msg("torn: n %d: %s %s %s", l.n, l.l[0].value, l.l[1].value, l.l[2].value);
			add(&n_copied, 1);
		}
	}
	return NULL;
}

START_TEST(readers_see_whole_sets_or_none_while_slots_are_reused)
{
	pthread_t w[WRITERS], r;

	rt_labels_rest_ns = 0;
	pthread_create(&r, NULL, reader, NULL);
	for (uintptr_t i = 0; i < WRITERS; i++)
		pthread_create(&w[i], NULL, writer, (void *)i);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(w[i], NULL);
	for (uint64_t before = ld(&n_copied) + ld(&n_gone); ld(&n_copied) + ld(&n_gone) < before + 100;)
		sched_yield();
	st(&stop, true);
	pthread_join(r, NULL);
	ck_assert_uint_eq(counters().label_sets, 0);
	ck_assert_uint_gt(ld(&n_copied) + ld(&n_gone), 0);
}
END_TEST

/* Several goroutines hold and drop one set at once. */
static uint64_t shared;

static void *holder(void *arg)
{
	(void)arg;
	for (int i = 0; i < 100000; i++)
		rt_labels_unref(rt_labels_ref(shared));
	return NULL;
}

START_TEST(shared_set_ends_with_its_last_holder)
{
	pthread_t t[4];
	struct fake f;

	be(&f, 1);
	weft_label_push("k", "v");
	shared = ld(&f.g.labels);
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, holder, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	ck_assert_uint_eq(counters().label_sets, 1);
	weft_label_pop();
	ck_assert_uint_eq(counters().label_sets, 0);
}
END_TEST

Suite *test_label(void);
Suite *test_label(void)
{
	Suite *s = suite_create("label");
	TCase *t = tcase_create("one thread"), *c = tcase_create("many threads");

	tcase_add_test(t, pushed_labels_are_sorted_by_key_and_popped_in_reverse);
	tcase_add_test(t, later_label_of_same_key_hides_the_earlier_until_popped);
	tcase_add_test(t, child_inherits_and_cannot_pop_what_it_inherited);
	tcase_add_test(t, exit_lets_go_of_everything_that_was_pushed);
	tcase_add_test(t, chain_of_generations_keeps_one_set_alive);
	tcase_add_test(t, seventeenth_key_is_dropped_counted_and_its_pop_pops_nothing);
	tcase_add_test(t, dropped_push_on_inherited_labels_is_popped_alone);
	tcase_add_test(t, long_text_is_cut_between_characters);
	tcase_add_test(t, foreign_threads_and_the_scheduler_have_no_labels);
	tcase_add_test(t, name_stays_good_while_its_slot_rests);
	tcase_add_test(t, name_is_gone_once_its_slot_is_used_again);
	tcase_add_test(t, unknown_names_are_gone_and_none_is_empty);
	tcase_add_test(t, dropped_pushes_take_no_room_for_ever);
	tcase_add_test(t, full_slab_drops_and_recovers);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	tcase_add_test(c, readers_see_whole_sets_or_none_while_slots_are_reused);
	tcase_add_test(c, shared_set_ends_with_its_last_holder);
	tcase_set_timeout(c, 120);
	suite_add_tcase(s, c);
	return s;
}
