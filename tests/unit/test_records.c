/* test_records.c - what the recorder holds beside the scheduler's doings: labels, CPU samples, memory in use; and that
 * its times are right, whatever the clock. */
#include "rtest.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rt.h"

Suite *test_records(void);

static struct weft_recs *recs;

static void look(void)
{
	weft_recs_free(recs);
	recs = weft_recs_read(0);
	ck_assert_ptr_nonnull(recs);
}

/* Up to cap records of an event by goroutine id. */
static int find(enum weft_event event, uint64_t id, const struct weft_rec **out, int cap)
{
	int n = 0;

	look();
	for (size_t i = 0; i < recs->n && n < cap; i++)
		if (recs->r[i].event == event && recs->r[i].gid == id)
			out[n++] = &recs->r[i];
	return n;
}

/* --- Labels --------------------------------------------------------------------------------------- */

static _Atomic uint64_t me, child; /* also looked at while they run */

static void in_child(void *arg)
{
	(void)arg;
	child = weft_goid();
}

static void labels(void *arg)
{
	weft_wg wg = { 0 };

	(void)arg;
	me = weft_goid();
	WEFT_LABEL("user", "alice") {
		weft_wg_go(&wg, in_child, NULL);
		weft_wg_wait(&wg);
		WEFT_LABEL("stage", "two")
			weft_yield();
	}
}

static void check_labels(const struct weft_rec *r, const char *text)
{
	char got[WEFT_TRACE_TEXT];

	ck_assert_int_eq(r->flags != 0, text != NULL);
	if (text) {
		ck_assert_int_eq(weft_rec_text(recs->r, r, got, sizeof got), (int)strlen(text));
		ck_assert_str_eq(got, text);
	}
}

START_TEST(a_change_of_labels_is_a_record_and_so_are_those_that_are_inherited)
{
	const struct weft_rec *r[8], *c[4];
	struct weft_labels set;

	rtest_begin(1);
	rtest_run(labels, NULL);
	ck_assert_int_eq(find(WEFT_EV_LABELS, me, r, 8), 4);
	check_labels(r[0], "user=alice");
	check_labels(r[1], "stage=two, user=alice");
	check_labels(r[2], NULL);
	ck_assert_uint_eq(r[2]->subject, r[0]->subject);
	ck_assert_uint_eq(r[2]->stack, r[0]->stack);
	check_labels(r[3], NULL);
	ck_assert_uint_eq(r[3]->subject, 0);
	ck_assert(weft_read_labels(r[1]->subject, r[1]->stack, &set)); /* it rests */
	ck_assert_int_eq(set.n, 2);
	ck_assert_str_eq(set.l[1].value, "alice");
	ck_assert(!weft_read_labels(r[1]->subject, r[1]->stack + 1, &set));
	ck_assert(!weft_read_labels(UINT64_MAX, 1, &set));

	ck_assert_int_eq(find(WEFT_EV_LABELS, me, r, 8), 4);
	for (size_t i = 0, n = 0; i < recs->n && n < 4; i++)
		if (recs->r[i].gid == child && recs->r[i].event != WEFT_EV_GO_CREATE)
			c[n++] = &recs->r[i];
	ck_assert_int_eq(c[0]->event, WEFT_EV_GO_START);
	ck_assert_int_eq(c[1]->event, WEFT_EV_LABELS);
	check_labels(c[1], NULL);
	ck_assert_uint_eq(c[1]->subject, r[0]->subject);
	ck_assert_uint_eq(c[1]->stack, r[0]->stack);
	rtest_end();
}
END_TEST

static void long_labels(void *arg)
{
	static const char many[] = "0123456789012345678901234567890123456789012345678901234567890123456789";

	(void)arg;
	me = weft_goid();
	weft_label_push("a", many);
	weft_label_push("b", many);
}

START_TEST(long_label_sets_are_cut_in_records)
{
	const struct weft_rec *r[8];
	char got[WEFT_TRACE_TEXT];

	rtest_begin(1);
	rtest_run(long_labels, NULL);
	ck_assert_int_eq(find(WEFT_EV_LABELS, me, r, 8), 2); /* it had them when it ended */
	ck_assert_int_eq(weft_rec_text(recs->r, r[0], got, sizeof got), 72);
	ck_assert_int_eq(weft_rec_text(recs->r, r[1], got, sizeof got), 126);
	ck_assert_int_eq(strncmp(got + 70, "89, b=01", 8), 0);
	rtest_end();
}
END_TEST

/* --- CPU samples ---------------------------------------------------------------------------------- */

static _Atomic bool stop_spinning;

RT_NOINLINE static void spin(void)
{
	volatile int n = 0;

	while (!ld(&stop_spinning))
		while (++n % 20000)
			;
}

static void spins(void *arg)
{
	(void)arg;
	me = weft_goid();
	spin();
}

static void *spins_outside(void *arg)
{
	spin();
	return arg;
}

static void ignore(void *user, const struct weft_sample *s)
{
	(void)user, (void)s;
}

static bool holds(uint32_t stack, uintptr_t fn)
{
	uint64_t pc[WEFT_STACK_MAX];
	int n = weft_read_stack(stack, pc, WEFT_STACK_MAX);

	for (int i = 0; i < n; i++)
		if (weft_read_func_start(pc[i] - 1) == fn)
			return true;
	return false;
}

static bool sampled(void *arg)
{
	const struct weft_rec *r[64];

	(void)arg;
	weft_cpu_drain(ignore, NULL);
	return find(WEFT_EV_CPU_SAMPLE, me, r, 64) >= 5 && find(WEFT_EV_CPU_SAMPLE, 0, r, 64) >= 5;
}

static void check_samples(int64_t from, int64_t to)
{
	int mine = 0, spinning = 0;

	for (size_t i = 0; i < recs->n; i++) {
		const struct weft_rec *r = &recs->r[i];

		ck_assert_int_eq(r->event == WEFT_EV_CPU_SAMPLE, r->tid == WEFT_REC_SAMPLES);
		if (r->event != WEFT_EV_CPU_SAMPLE)
			continue;
		ck_assert_int_gt((int)r->subject, 0);
		ck_assert_int_ge(r->time, from - WEFT_MS);
		ck_assert_int_le(r->time, to + WEFT_MS);
		ck_assert(r->pid <= 1 || r->pid == WEFT_REC_NO_P);
		mine += r->gid == me;
		spinning += r->gid == me && holds(r->stack, (uintptr_t)spin);
	}
	ck_assert_int_gt(spinning, mine / 2); /* not at its very beginning and end */
}

START_TEST(samples_of_a_running_sampler_are_records_of_their_own_thread)
{
	int64_t from = weft_now();
	struct rt_chunk *c;
	pthread_t t;
	size_t n;

	rtest_begin(2);
	stop_spinning = false;
	ck_assert_int_eq(weft_cpu_start(500), 0);
	weft_go_in(inst, spins, NULL);
	ck_assert_int_eq(pthread_create(&t, NULL, spins_outside, NULL), 0);
	rtest_wait(sampled, NULL, "both were sampled");
	st(&stop_spinning, true);
	pthread_join(t, NULL);
	rtest_wait_gone();
	weft_cpu_stop();
	weft_cpu_drain(ignore, NULL); /* of a thread and a goroutine that are gone */
	look();
	check_samples(from, weft_now());
	c = rt_rec_chunks(&n);
	for (size_t i = 0; i < n; i++)
		ck_assert(ld(&c[i].tid) != WEFT_REC_SAMPLES || !c[i].producer); /* let go */
	rtest_end();
}
END_TEST

/* --- Memory --------------------------------------------------------------------------------------- */

#ifndef RTEST_SANITIZER

#define BLOCKS 64
static _Atomic int stage;

static void uses_memory(void *arg)
{
	void *block[BLOCKS];

	(void)arg;
	for (int i = 0; i < BLOCKS; i++) {
		block[i] = malloc(256 * 1024);
		weft_yield();
	}
	while (ld(&stage) == 0)
		weft_sleep(WEFT_MS);
	for (int i = 0; i < BLOCKS; i++)
		free(block[i]);
	while (ld(&stage) == 1)
		weft_sleep(WEFT_MS);
}

/* The latest is on that side of that many bytes. */
static bool in_use_is(uint64_t bytes, bool above)
{
	const struct weft_rec *r[256], *last = NULL;
	int n = find(WEFT_EV_HEAP, 0, r, 256);

	for (int i = 0; i < n; i++) {
		ck_assert_int_ne(r[i]->pid, WEFT_REC_NO_P);
		if (!last || r[i]->time > last->time)
			last = r[i];
	}
	return last && (last->subject > bytes) == above;
}

static bool much(void *arg)
{
	return in_use_is(*(uint64_t *)arg + 12 * 1024 * 1024, true);
}

static bool little(void *arg)
{
	return in_use_is(*(uint64_t *)arg + 4 * 1024 * 1024, false);
}

START_TEST(memory_in_use_is_recorded_as_it_grows_and_shrinks)
{
	struct weft_host_opts opts = { .maxprocs = 1, .recorder_bytes = 1 << 20, .heap_rate = 16 * 1024 };
	uint64_t before;

	rtest_begin_with(&opts);
	before = weft_read_heap_bytes();
	weft_go_in(inst, uses_memory, NULL);
	rtest_wait(much, &before, "16 MiB more are in use");
	st(&stage, 1);
	rtest_wait(little, &before, "they are free again");
	st(&stage, 2);
	rtest_wait_gone();
	rtest_end();
}
END_TEST

#endif

/* --- Time ----------------------------------------------------------------------------------------- */

static int64_t slept_from, slept_to;

static void sleeps(void *arg)
{
	(void)arg;
	me = weft_goid();
	slept_from = weft_now();
	weft_sleep(10 * WEFT_MS);
	slept_to = weft_now();
	weft_trace_log("", "awake");
}

START_TEST(times_are_right_with_the_processors_counter_and_without)
{
	const struct weft_rec *block[4], *wake[4] = { NULL }, *said[4];

	rt_distrust_tsc = _i == 0;
	rtest_begin(2);
	ck_assert(_i || !rt_have_tsc);
	for (int i = 0; i < 20; i++) {
		rtest_run(sleeps, NULL);
		ck_assert_int_eq(find(WEFT_EV_LOG, me, said, 4), 1);
		ck_assert_int_eq(find(WEFT_EV_GO_BLOCK, me, block, 4), 1);
		for (size_t k = 0; k < recs->n; k++)
			if (recs->r[k].event == WEFT_EV_GO_UNBLOCK && recs->r[k].subject == me)
				wake[0] = &recs->r[k];
		ck_assert_ptr_nonnull(wake[0]);
		ck_assert_int_ge(block[0]->time, slept_from - 10 * WEFT_US);
		ck_assert_int_ge(wake[0]->time, block[0]->time + 9 * WEFT_MS);
		ck_assert_int_le(wake[0]->time, slept_to + 10 * WEFT_US);
		for (size_t k = 0; k < recs->n; k++)
			if (recs->r[k].event == WEFT_EV_LOG && recs->r[k].gid == me)
				ck_assert_int_ge(recs->r[k].time, slept_to - 10 * WEFT_US);
		ck_assert_uint_eq(weft_recs_read(weft_now() + WEFT_SEC)->n, 0);
	}
	rtest_end();
}
END_TEST

Suite *test_records(void)
{
	Suite *s = suite_create("records");
	TCase *t = tcase_create("records");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_change_of_labels_is_a_record_and_so_are_those_that_are_inherited);
	tcase_add_test(t, long_label_sets_are_cut_in_records);
	tcase_add_test(t, samples_of_a_running_sampler_are_records_of_their_own_thread);
#ifndef RTEST_SANITIZER
	tcase_add_test(t, memory_in_use_is_recorded_as_it_grows_and_shrinks);
#endif
	tcase_add_loop_test(t, times_are_right_with_the_processors_counter_and_without, 0, 2);
	suite_add_tcase(s, t);
	return s;
}
