/* test_task.c - tasks, regions and log lines as records: each says whose it is, and where it stands. */
#include "often.h"
#include "rtest.h"

#include <stdio.h>
#include <string.h>

#include "rt.h"

Suite *test_task(void);

static struct weft_recs *recs;

/* As they were said, whichever threads the goroutine was on. */
static int by_time(const void *a, const void *b)
{
	const struct weft_rec *x = *(const struct weft_rec *const *)a, *y = *(const struct weft_rec *const *)b;

	if (x->tid == y->tid || x->time == y->time)
		return x < y ? -1 : x > y;
	return x->time < y->time ? -1 : 1;
}

/* Up to cap records of what plugins say, by goroutine id (0: all), in the order of their thread. */
static int said_by(uint64_t id, const struct weft_rec **out, int cap)
{
	int n = 0;

	weft_recs_free(recs);
	recs = weft_recs_read(0);
	ck_assert_ptr_nonnull(recs);
	for (size_t i = 0; i < recs->n && n < cap; i++) {
		const struct weft_rec *r = &recs->r[i];

		if (r->event >= WEFT_EV_TASK_PARENT && r->event <= WEFT_EV_LOG && (!id || r->gid == id))
			out[n++] = r;
	}
	if (id)
		qsort(out, (size_t)n, sizeof *out, by_time);
	return n;
}

static void check_said(const struct weft_rec *r, enum weft_event event, uint64_t task, const char *name)
{
	ck_assert_int_eq(r->event, event);
	ck_assert_uint_eq(r->subject, task);
	ck_assert_str_eq(weft_read_trace_name(r->seq), name);
	ck_assert_int_ne(r->pid, WEFT_REC_NO_P);
	ck_assert_int_gt(r->tid, 0);
}

/* Is it said by fn, which called? */
static void check_place(const struct weft_rec *r, void (*fn)(void *arg))
{
	uint64_t pc[WEFT_STACK_MAX];

	ck_assert_int_ge(weft_read_stack(r->stack, pc, WEFT_STACK_MAX), 1);
	ck_assert_uint_gt(pc[0], (uintptr_t)fn);
	ck_assert_uint_lt(pc[0], (uintptr_t)fn + 1024);
}

static uint64_t me;

static void a_job(void *arg)
{
	(void)arg;
	me = weft_goid();
	WEFT_TASK("outer")
		WEFT_REGION("part") {
			weft_trace_log("note", "%d of %s", 7, "nine");
			weft_task_end(weft_task_begin("inner"));
		}
	weft_region_begin("alone");
	weft_region_end();
	weft_region_end(); /* one too many */
}

START_TEST(task_region_and_log_stand_in_order_with_their_names_and_places)
{
	const struct weft_rec *r[16];
	char text[64];

	rtest_begin(1);
	rtest_run(a_job, NULL);
	ck_assert_int_eq(said_by(me, r, 16), 10);
	ck_assert_uint_ne(r[0]->subject, 0);
	check_said(r[0], WEFT_EV_TASK_BEGIN, r[0]->subject, "outer");
	ck_assert_int_eq(r[0]->flags, 0);
	check_said(r[1], WEFT_EV_REGION_BEGIN, r[0]->subject, "part");
	check_said(r[2], WEFT_EV_LOG, r[0]->subject, "note");
	ck_assert_int_eq(weft_rec_text(recs->r, r[2], text, sizeof text), 9);
	ck_assert_str_eq(text, "7 of nine");
	check_said(r[3], WEFT_EV_TASK_PARENT, r[0]->subject, "");
	check_said(r[4], WEFT_EV_TASK_BEGIN, r[4]->subject, "inner");
	ck_assert_int_eq(r[4]->flags, 1);
	ck_assert_uint_ne(r[4]->subject, r[0]->subject);
	check_said(r[5], WEFT_EV_TASK_END, r[4]->subject, "");
	check_said(r[6], WEFT_EV_REGION_END, r[0]->subject, "part");
	check_said(r[7], WEFT_EV_TASK_END, r[0]->subject, "");
	check_said(r[8], WEFT_EV_REGION_BEGIN, 0, "alone");
	check_said(r[9], WEFT_EV_REGION_END, 0, "alone");
	for (int i = 0; i < 10; i++)
		if (r[i]->event != WEFT_EV_TASK_PARENT)
			check_place(r[i], a_job);
	rtest_end();
}
END_TEST

static weft_chan *to_worker, *done;
static uint64_t child, worker_id;

static void in_child(void *arg)
{
	(void)arg;
	child = weft_goid();
	weft_trace_log("", "child");
}

/* Carries the task of each job, ends it, and goes on without. */
static void works(void *arg)
{
	weft_task *t;
	int dummy = 0;

	(void)arg;
	worker_id = weft_goid();
	while (weft_chan_recv(to_worker, &t, sizeof t) > 0) {
		WEFT_IN_TASK(t)
			weft_trace_log("", "of it");
		weft_trace_log("", "of none");
		weft_task_end(t);
		weft_chan_send(done, &dummy, sizeof dummy);
	}
}

static void hands_over(void *arg)
{
	weft_wg wg = { 0 }, children = { 0 };
	weft_task *top, *t;
	int dummy;

	(void)arg;
	me = weft_goid();
	to_worker = weft_chan_new(sizeof t, 0);
	done = weft_chan_new(sizeof dummy, 0);
	weft_wg_go(&wg, works, NULL);
	top = weft_task_begin("top");
	for (int i = 0; i < 2; i++) {
		t = weft_task_begin("handed over");
		weft_chan_send(to_worker, &t, sizeof t);
		weft_chan_recv(done, &dummy, sizeof dummy);
	}
	weft_wg_go(&children, in_child, NULL);
	weft_wg_wait(&children);
	weft_task_end(top);
	weft_trace_log("", "after");
	weft_chan_close(to_worker);
	weft_wg_wait(&wg);
	weft_chan_free(to_worker);
	weft_chan_free(done);
}

START_TEST(a_task_is_inherited_handed_over_and_left_by_its_maker_for_the_one_above_once_it_is_over)
{
	const struct weft_rec *r[16];
	uint64_t top, first, second;

	rtest_begin(3);
	rtest_run(hands_over, NULL);
	ck_assert_int_eq(said_by(me, r, 16), 7);
	top = r[0]->subject;
	check_said(r[0], WEFT_EV_TASK_BEGIN, top, "top");
	check_said(r[1], WEFT_EV_TASK_PARENT, top, "");
	check_said(r[2], WEFT_EV_TASK_BEGIN, first = r[2]->subject, "handed over");
	check_said(r[3], WEFT_EV_TASK_PARENT, top, ""); /* not the first, which is over */
	check_said(r[4], WEFT_EV_TASK_BEGIN, second = r[4]->subject, "handed over");
	check_said(r[5], WEFT_EV_TASK_END, top, "");
	check_said(r[6], WEFT_EV_LOG, 0, "");
	ck_assert_int_eq(said_by(child, r, 16), 1);
	check_said(r[0], WEFT_EV_LOG, top, "");
	ck_assert_int_eq(said_by(worker_id, r, 16), 6);
	check_said(r[0], WEFT_EV_LOG, first, "");
	check_said(r[1], WEFT_EV_LOG, 0, "");
	check_said(r[2], WEFT_EV_TASK_END, first, "");
	check_said(r[3], WEFT_EV_LOG, second, "");
	rtest_end();
}
END_TEST

static void outlives(void *arg)
{
	int dummy;

	(void)arg;
	child = weft_goid();
	weft_chan_recv(done, &dummy, sizeof dummy);
	weft_trace_log("", "for it");
	WEFT_TASK("below")
		weft_trace_log("", "below");
	weft_trace_log("", "for it again");
}

static void ends_before(void *arg)
{
	weft_wg wg = { 0 };
	int dummy = 0;

	(void)arg;
	me = weft_goid();
	done = weft_chan_new(sizeof dummy, 0);
	WEFT_TASK("top")
		weft_wg_go(&wg, outlives, NULL);
	weft_chan_send(done, &dummy, sizeof dummy);
	weft_wg_wait(&wg);
	weft_trace_log("", "for none");
	weft_chan_free(done);
}

START_TEST(who_was_born_with_a_task_goes_on_for_it_when_it_is_over)
{
	const struct weft_rec *r[16];
	uint64_t top, below;

	rtest_begin(2);
	rtest_run(ends_before, NULL);
	ck_assert_int_eq(said_by(me, r, 16), 3);
	check_said(r[0], WEFT_EV_TASK_BEGIN, top = r[0]->subject, "top");
	check_said(r[1], WEFT_EV_TASK_END, top, "");
	check_said(r[2], WEFT_EV_LOG, 0, "");
	ck_assert_int_eq(said_by(child, r, 16), 6);
	check_said(r[0], WEFT_EV_LOG, top, "");
	check_said(r[1], WEFT_EV_TASK_PARENT, top, "");
	check_said(r[2], WEFT_EV_TASK_BEGIN, below = r[2]->subject, "below");
	check_said(r[3], WEFT_EV_LOG, below, "");
	check_said(r[4], WEFT_EV_TASK_END, below, "");
	check_said(r[5], WEFT_EV_LOG, top, "");
	rtest_end();
}
END_TEST

static void leaves_inside(void *arg)
{
	weft_task *t;

	(void)arg;
	me = weft_goid();
	WEFT_TASK("top") {
		t = weft_task_begin("own");
		WEFT_IN_TASK(t) {
			weft_task_end(t);
			weft_trace_log("", "for top");
		}
		weft_trace_log("", "for top");
	}
	weft_trace_log("", "for none");
}

START_TEST(a_task_that_is_left_inside_its_own_scope_stays_left)
{
	const struct weft_rec *r[16];
	uint64_t top, own;

	rtest_begin(1);
	rtest_run(leaves_inside, NULL);
	ck_assert_int_eq(said_by(me, r, 16), 8);
	check_said(r[0], WEFT_EV_TASK_BEGIN, top = r[0]->subject, "top");
	check_said(r[1], WEFT_EV_TASK_PARENT, top, "");
	check_said(r[2], WEFT_EV_TASK_BEGIN, own = r[2]->subject, "own");
	check_said(r[3], WEFT_EV_TASK_END, own, "");
	check_said(r[4], WEFT_EV_LOG, top, "");
	check_said(r[5], WEFT_EV_LOG, top, "");
	check_said(r[6], WEFT_EV_TASK_END, top, "");
	check_said(r[7], WEFT_EV_LOG, 0, "");
	rtest_end();
}
END_TEST

#define DEEP 20

static void goes_deep(void *arg)
{
	(void)arg;
	me = weft_goid();
	for (int i = 0; i < DEEP; i++)
		weft_region_begin("deep");
	for (int i = 0; i < DEEP; i++)
		weft_region_end();
	WEFT_REGION("flat")
		weft_yield();
}

START_TEST(regions_say_how_deep_they_are_and_those_too_deep_are_left_out_in_pairs)
{
	const struct weft_rec *r[64];
	int n, depth = 0;

	rtest_begin(1);
	rtest_run(goes_deep, NULL);
	n = said_by(me, r, 64);
	ck_assert_int_eq(n, 2 * 16 + 2);
	for (int i = 0; i < n; i++)
		if (r[i]->event == WEFT_EV_REGION_BEGIN)
			ck_assert_int_eq(r[i]->flags, depth++);
		else
			ck_assert_int_eq(r[i]->flags, --depth);
	check_said(r[n - 1], WEFT_EV_REGION_END, 0, "flat");
	rtest_end();
}
END_TEST

static void says_much(void *arg)
{
	char text[400];

	(void)arg;
	me = weft_goid();
	for (int n = 0; n < 300; n += 13) {
		memset(text, 'x', sizeof text);
		text[n] = 0;
		weft_trace_log("long", "%s", text);
	}
	for (int n = 0; n < 200; n++) /* two bytes each */
		memcpy(text + 2 * n, "\xc3\xa4", 2);
	weft_trace_log("x", "y%.398s", text);
}

START_TEST(text_comes_back_up_to_its_limit_and_is_cut_between_characters)
{
	const struct weft_rec *r[64];
	char text[WEFT_TRACE_TEXT + 1];
	int n;

	rtest_begin(1);
	rtest_run(says_much, NULL);
	n = said_by(me, r, 64);
	ck_assert_int_eq(n, 24 + 1);
	for (int i = 0; i < 24; i++) {
		int want = 13 * i < WEFT_TRACE_TEXT ? 13 * i : WEFT_TRACE_TEXT;

		ck_assert_int_eq(weft_rec_text(recs->r, r[i], text, sizeof text), want);
		ck_assert_uint_eq(strspn(text, "x"), (size_t)want);
		ck_assert_uint_eq(strlen(text), (size_t)want);
	}
	ck_assert_int_eq(weft_rec_text(recs->r, r[24], text, sizeof text), 255);
	ck_assert_int_eq(weft_rec_text(recs->r, r[24], text, 7), 5);
	ck_assert_str_eq(text, "y\xc3\xa4\xc3\xa4");
	ck_assert_int_eq(weft_rec_text(r[24], r[24], text, sizeof text), -1); /* its parts were cut off */
	rtest_end();
}
END_TEST

static void says_in_a_section(void *arg)
{
	(void)arg;
	me = weft_goid();
	WEFT_BLOCKING
	{
		WEFT_TASK("slow")
			WEFT_REGION("inside")
				weft_trace_log("c", "in a section");
		ck_assert_uint_eq(ld(&rt_self()->own) == RT_OWNED, false);
	}
}

START_TEST(in_a_blocking_section_it_is_said_without_ending_it)
{
	const struct weft_rec *r[16];
	char text[64];

	rtest_begin(1);
	rtest_run(says_in_a_section, NULL);
	ck_assert_int_eq(said_by(me, r, 16), 5);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(r[i]->tid, 0);
	ck_assert_int_eq(r[2]->event, WEFT_EV_LOG);
	ck_assert_int_eq(weft_rec_text(recs->r, r[2], text, sizeof text), 12);
	ck_assert_str_eq(text, "in a section");
	rtest_end();
}
END_TEST

static void many_names(void *arg)
{
	char name[80];

	(void)arg;
	me = weft_goid();
	weft_trace_log("the first", "x");
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof name, "name %d", i);
		weft_region_begin(name);
		weft_region_end();
	}
	weft_trace_log("the last", "x");
	weft_trace_log("the first", "x");
}

START_TEST(when_the_table_of_names_is_full_new_ones_are_other_and_old_ones_stay)
{
	static const struct weft_rec *r[16384];
	int n;

	rtest_begin(1);
	rtest_run(many_names, NULL);
	n = said_by(me, r, 16384);
	ck_assert_int_eq(n, 10003);
	check_said(r[0], WEFT_EV_LOG, 0, "the first");
	check_said(r[1], WEFT_EV_REGION_BEGIN, 0, "name 0");
	check_said(r[n - 3], WEFT_EV_REGION_END, 0, "(other)");
	check_said(r[n - 2], WEFT_EV_LOG, 0, "(other)");
	check_said(r[n - 1], WEFT_EV_LOG, 0, "the first");
	ck_assert_str_eq(weft_read_trace_name(UINT32_MAX), "");
	rtest_end();
}
END_TEST

static void says_while_off(void *arg)
{
	(void)arg;
	ck_assert(!weft_trace_on());
	ck_assert_ptr_null(weft_task_begin("nothing"));
	WEFT_TASK("nothing")
		WEFT_REGION("nothing")
			weft_trace_log("nothing", "at all");
	weft_task_leave(weft_task_enter(NULL));
	ck_assert_uint_eq(ld(&rt_self()->cur)->extras, 0);
}

START_TEST(nothing_is_kept_while_the_recorder_is_off)
{
	struct weft_host_opts opts = { .maxprocs = 1 };

	rtest_begin_with(&opts);
	rtest_run(says_while_off, NULL);
	ck_assert_uint_eq(weft_recs_read(0)->n, 0);
	rtest_end();
}
END_TEST

START_TEST(a_foreign_thread_says_nothing_but_the_end_of_a_task)
{
	const struct weft_rec *r[4];

	rtest_begin(1);
	ck_assert(weft_trace_on());
	ck_assert_ptr_null(weft_task_begin("nothing"));
	weft_region_begin("nothing");
	weft_region_end();
	weft_trace_log("nothing", "at all");
	ck_assert_int_eq(said_by(0, r, 4), 0);
	rtest_end();
}
END_TEST

static weft_task *left;
static void leaves_a_task(void *arg)
{
	(void)arg;
	left = weft_task_begin("left");
	(void)weft_task_begin("forgotten");
}

START_TEST(what_a_goroutine_leaves_open_is_ended_from_elsewhere_or_freed_with_the_instance)
{
	const struct weft_rec *r[8];

	rtest_begin(1);
	rtest_run(leaves_a_task, NULL);
	rtest_wait_gone();
	weft_task_end(left); /* by a thread that is no goroutine */
	ck_assert_int_eq(said_by(0, r, 8), 4);
	ck_assert_int_eq(r[0]->event, WEFT_EV_TASK_END);
	ck_assert_int_eq(r[0]->tid, 0);
	ck_assert_uint_eq(r[0]->gid, 0);
	ck_assert_uint_eq(r[0]->subject, r[1]->subject);
	weft_inst_cancel(inst);
	ck_assert_int_eq(weft_inst_free(inst), 0);
	rtest_end();
}
END_TEST

static _Atomic uint64_t n_jobs;
static void many_jobs(void *arg)
{
	(void)arg;
	for (int i = 0; i < rtest_scale(2000); i++)
		WEFT_TASK("many") {
			WEFT_REGION("many")
				weft_trace_log("many", "job %d with text of more than one record", i);
			if (i % 16 == 0)
				weft_yield();
			add(&n_jobs, 1);
		}
}

/* What is there is whole: a log line has its text unless that was written over, regions lie in one another. */
START_TEST(while_the_rings_wrap_what_is_read_is_whole)
{
	struct weft_host_opts opts = { .maxprocs = 2, .recorder_bytes = 16 * sizeof(struct rt_chunk) };
	static const struct weft_rec *r[16 * RT_CHUNK_RECS];
	char text[64];

	rtest_begin_with(&opts);
	for (int i = 0; i < 4; i++)
		weft_go_in(inst, many_jobs, NULL);
	for (int round = 0; round < 100; round++) {
		int n = said_by(0, r, 16 * RT_CHUNK_RECS), texts = 0, logs = 0;

		for (int i = 0; i < n; i++) {
			often_eq(strcmp(weft_read_trace_name(r[i]->seq), r[i]->event == WEFT_EV_TASK_END ? "" : "many"),
				 0);
			if (r[i]->event != WEFT_EV_LOG)
				continue;
			logs++;
			often_eq(r[i]->flags, 3);
			if (weft_rec_text(recs->r, r[i], text, sizeof text) < 0)
				continue;
			texts++;
			often_eq(strncmp(text, "job ", 4), 0);
			often(strstr(text, " with text of more than one record") != NULL);
		}
		ck_assert_int_ge(texts, logs - 16);
	}
	rtest_wait_gone();
	ck_assert_uint_eq(n_jobs, 4 * (uint64_t)rtest_scale(2000));
	rtest_end();
}
END_TEST

Suite *test_task(void)
{
	Suite *s = suite_create("task");
	TCase *t = tcase_create("task");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, task_region_and_log_stand_in_order_with_their_names_and_places);
	tcase_add_test(t, a_task_is_inherited_handed_over_and_left_by_its_maker_for_the_one_above_once_it_is_over);
	tcase_add_test(t, who_was_born_with_a_task_goes_on_for_it_when_it_is_over);
	tcase_add_test(t, a_task_that_is_left_inside_its_own_scope_stays_left);
	tcase_add_test(t, regions_say_how_deep_they_are_and_those_too_deep_are_left_out_in_pairs);
	tcase_add_test(t, text_comes_back_up_to_its_limit_and_is_cut_between_characters);
	tcase_add_test(t, in_a_blocking_section_it_is_said_without_ending_it);
	tcase_add_test(t, when_the_table_of_names_is_full_new_ones_are_other_and_old_ones_stay);
	tcase_add_test(t, nothing_is_kept_while_the_recorder_is_off);
	tcase_add_test(t, a_foreign_thread_says_nothing_but_the_end_of_a_task);
	tcase_add_test(t, what_a_goroutine_leaves_open_is_ended_from_elsewhere_or_freed_with_the_instance);
	tcase_add_test(t, while_the_rings_wrap_what_is_read_is_whole);
	suite_add_tcase(s, t);
	return s;
}
