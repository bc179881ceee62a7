/* test_gotrace_chrome.c - traces in the Trace Event Format, event by event.  Those of random schedules are in
 * test_gotrace_random.c. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "rtest.h"

#include "chromecheck.h"
#include "gotrace_impl.h"
#include "symbols.h"

Suite *test_gotrace_chrome(void);

static struct gotrace *t;
static struct gt_m *m;
static struct chromecheck check;
static json_t *all;

/* Two Ps, a thread with the first. */
static void begin(bool no_stacks)
{
	ck_assert_int_ge(weft_host_scan_modules(), 0);
	ck_assert_int_eq(symbols_update(), 0);
	t = gotrace_new(&(struct gotrace_opts){ .from = 5000, .format = GOTRACE_CHROME, .no_stacks = no_stacks });
	m = gt_m_get(t, 100);
	gt_p_get(t, 1);
	gt_p_start(t, m, gt_p_get(t, 0));
}

static void at(int64_t us)
{
	t->now = 1000 * us;
}

/* A goroutine that starts in a function of that address, and runs on m; as gotrace_event.c would say it. */
static struct gt_g *go(uint64_t id, uint64_t fn)
{
	struct gt_g *g = gt_g_get(t, id);

	GT_EVENT(t, m, GT_EV_GO_CREATE, id, gt_stack_start(t, fn), 0);
	ck_assert_int_eq(gt_stack_names(t, INT64_MAX), 0);
	g->state = GT_G_RUNNABLE;
	return g;
}

static void run(struct gt_g *g)
{
	GT_EVENT(t, m, GT_EV_GO_START, g->id, ++g->wseq);
	g->state = GT_G_RUNNING;
	g->m = m;
	m->g = g;
}

static void block(const char *why)
{
	GT_EVENT(t, m, GT_EV_GO_BLOCK, gt_string(t, why), 0);
	m->g->state = GT_G_WAITING;
	m->g = NULL;
}

static void finish(void)
{
	ck_assert_int_eq(gotrace_end(t, INT64_MAX), 0);
	ck_assert_msg(chromecheck(&check, gotrace_out(t)->b, gotrace_out(t)->len), "%s", check.err);
	all = json_loadb(gotrace_out(t)->b, gotrace_out(t)->len, 0, NULL);
	gotrace_free(t);
}

/* The n-th event of that kind and name (NULL: any). */
static json_t *event(const char *ph, const char *name, int n)
{
	json_t *e;
	size_t i;

	json_array_foreach(json_object_get(all, "traceEvents"), i,
			   e) if (!strcmp(json_string_value(json_object_get(e, "ph")), ph) &&
				  (!name || !strcmp(json_string_value(json_object_get(e, "name")), name)) &&
				  n-- == 0) return e;
	ck_abort_msg("there is no such event: %s %s", ph, name ? name : "");
	return NULL;
}

static const char *text(json_t *e, const char *key)
{
	const char *s = json_string_value(json_object_get(json_object_get(e, "args"), key));

	return s ? s : "";
}

static int64_t number(json_t *e, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(e, "args"), key));
}

static int64_t ns(json_t *e, const char *key)
{
	return llround(json_number_value(json_object_get(e, key)) * 1000);
}

/* --- Slices and arrows ------------------------------------------------------------------------------ */

static void named_function(void *arg)
{
	(void)arg;
}

START_TEST(a_goroutine_runs_in_a_slice_that_has_its_functions_name_and_says_why_it_ended)
{
	json_t *e;

	begin(false);
	at(10);
	run(go(7, (uint64_t)(uintptr_t)named_function));
	m->g->label = gt_string(t, "route=\"x\"");
	at(20);
	block("chan receive");
	finish();
	e = event("X", "named_function", 0);
	ck_assert_int_eq(ns(e, "ts"), 10002); /* behind the slice that its arrow comes from */
	ck_assert_int_eq(ns(e, "ts") + ns(e, "dur"), 20000);
	ck_assert_int_eq(number(e, "goroutine"), 7);
	ck_assert_str_eq(text(e, "end"), "chan receive");
	ck_assert_str_eq(text(e, "labels"), "route=\"x\"");
	ck_assert_int_gt(json_integer_value(json_object_get(e, "sf")), 0);
	ck_assert_str_eq(text(event("M", "thread_name", 2), "name"), "P0");
	json_decref(all);
}
END_TEST

START_TEST(an_arrow_leads_from_the_slice_of_who_woke_it)
{
	struct gt_g *a, *b;

	begin(false);
	at(10);
	a = go(1, 0x1000);
	b = go(2, 0x2000);
	run(a);
	at(20);
	GT_EVENT(t, m, GT_EV_GO_UNBLOCK, b->id, ++b->wseq, 0);
	at(30);
	block("sleep");
	run(b);
	finish();
	ck_assert_int_eq(check.arrows, 2);
	ck_assert_int_eq(ns(event("s", NULL, 1), "ts"), 20000);
	ck_assert_int_eq(check.slices, 3); /* one of them for the first arrow, which comes from nobody */
	json_decref(all);
}
END_TEST

START_TEST(a_wake_up_of_whom_nothing_more_is_seen_is_no_arrow)
{
	begin(false);
	at(10);
	(void)go(1, 0x1000);
	finish();
	ck_assert_int_eq(check.arrows + check.slices, 0);
	json_decref(all);
}
END_TEST

START_TEST(who_loses_its_p_in_a_system_call_goes_on_on_its_threads_track)
{
	struct gt_m *thief;
	json_t *e;

	begin(false);
	at(10);
	run(go(1, 0x1000));
	GT_EVENT(t, m, GT_EV_GO_SYSCALL_BEGIN, ++m->p->wseq, 0);
	m->g->state = GT_G_SYSCALL;
	m->p->state = GT_P_SYSCALL;
	at(20);
	thief = gt_m_get(t, 200);
	GT_EVENT(t, thief, GT_EV_PROC_STEAL, 0, ++m->p->wseq, (uint64_t)m->tid);
	m->p = NULL;
	at(50);
	GT_EVENT0(t, m, GT_EV_GO_SYSCALL_END_BLOCKED);
	m->g = NULL;
	finish();
	e = event("X", "system call", 0);
	ck_assert_int_eq(json_integer_value(json_object_get(e, "pid")), 1);
	ck_assert_int_eq(ns(e, "ts") + ns(e, "dur"), 19999); /* within what the goroutine ran */
	e = event("X", "0x1000", 1);
	ck_assert_int_eq(json_integer_value(json_object_get(e, "tid")), 100);
	ck_assert_int_eq(ns(e, "dur"), 30000);
	ck_assert_str_eq(text(event("M", "thread_name", 3), "name"), "thread 100");
	json_decref(all);
}
END_TEST

START_TEST(what_goes_on_ends_with_the_trace)
{
	begin(false);
	at(10);
	run(go(1, 0x1000));
	GT_EVENT(t, m, GT_EV_USER_TASK_BEGIN, 5, 0, gt_string(t, "task"), 0);
	t->next = 90000; /* until then there are records, though not of this one */
	finish();
	ck_assert_int_eq(ns(event("X", "0x1000", 0), "ts") + ns(event("X", "0x1000", 0), "dur"), 90000);
	ck_assert_int_eq(ns(event("e", "task", 0), "ts"), 90000);
	ck_assert_int_eq(number(event("e", "task", 0), "open"), 1);
	json_decref(all);
}
END_TEST

static int one_stack(void *user, uint32_t id, uint64_t *pc, int cap)
{
	(void)user;
	ck_assert_int_gt(cap, 0);
	*pc = (uint64_t)(uintptr_t)named_function;
	return id == 1;
}

/* What its end names is its instance, and no stack. */
START_TEST(who_is_only_seen_to_end_has_no_others_name)
{
	struct {
		struct weft_recs recs;
		struct weft_rec r[1];
	} ends = { { .n = 1, .cap = 1 },
		   { { .time = 6000, .tid = 100, .event = WEFT_EV_GO_DESTROY, .subject = 7, .seq = 3, .stack = 1 } } };

	ck_assert_int_eq(symbols_update(), 0);
	t = gotrace_new(&(struct gotrace_opts){ .from = 5000, .format = GOTRACE_CHROME, .stack = one_stack });
	gotrace_proc(t, 0);
	gotrace_begin(t, &ends.recs);
	while (gotrace_write(t, 9000, INT64_MAX) > 0)
		;
	finish();
	ck_assert_int_eq(number(event("X", "goroutine", 0), "goroutine"), 7);
	json_decref(all);
}
END_TEST

START_TEST(without_stacks_there_are_names_only)
{
	begin(true);
	at(10);
	run(go(1, (uint64_t)(uintptr_t)named_function));
	at(20);
	block("sync");
	finish();
	(void)event("X", "named_function", 0);
	ck_assert_int_eq(check.stacks + check.frames, 0);
	json_decref(all);
}
END_TEST

/* --- What plugins say ---------------------------------------------------------------------------------- */

START_TEST(tasks_and_regions_that_began_before_begin_with_the_trace)
{
	begin(false);
	at(10);
	run(go(1, 0x1000));
	GT_EVENT(t, m, GT_EV_USER_REGION_END, 0, gt_string(t, "inner"), 0);
	GT_EVENT(t, m, GT_EV_USER_REGION_END, 0, gt_string(t, "outer"), 0);
	GT_EVENT(t, m, GT_EV_USER_TASK_END, 5, 0);
	finish();
	ck_assert_int_eq(check.spans, 3);
	ck_assert_int_eq(ns(event("b", "inner", 0), "ts"), 5000);
	ck_assert_int_eq(ns(event("b", "outer", 0), "ts"), 4999);
	ck_assert_int_eq(number(event("b", "a task that began before", 0), "open"), 1);
	json_decref(all);
}
END_TEST

/* A plugin may call things as it likes. */
START_TEST(any_name_becomes_valid_json)
{
	static const char name[] = "\"\\\n\t\x01\x7f<\xc3\xa4>\xe2\x82\xac\xf0\x9f\x98\x80\xff\xc3\x28\xed\xa0\x80";
	static const char want[] = "\"\\\n\t\x01\x7f<\xc3\xa4>\xe2\x82\xac\xf0\x9f\x98\x80?\?(??\?";
	struct gt_said region = { 0 };
	char every[256];

	for (int i = 1; i < 256; i++)
		every[i - 1] = (char)i;
	every[255] = '\0';
	begin(false);
	at(10);
	run(go(1, 0x1000));
	m->g->label = gt_string(t, name);
	GT_EVENT(t, m, GT_EV_USER_TASK_BEGIN, 9, 8, gt_string(t, name), 0);
	GT_EVENT(t, m, GT_EV_USER_REGION_BEGIN, 9, gt_string(t, name), 0);
	m->g->regions = &region;
	GT_EVENT(t, m, GT_EV_USER_LOG, 9, gt_string(t, name), gt_string(t, every), 0);
	GT_EVENT(t, m, GT_EV_USER_LOG, 0, 0, gt_string(t, name), 0);
	GT_EVENT(t, m, GT_EV_USER_REGION_END, 9, gt_string(t, name), 0);
	m->g->regions = NULL;
	GT_EVENT(t, m, GT_EV_USER_TASK_END, 9, 0);
	block(name);
	finish();
	(void)event("b", want, 1);
	(void)event("i", want, 0);
	ck_assert_str_eq(text(event("i", NULL, 0), "category"), want);
	ck_assert_str_eq(text(event("X", "0x1000", 0), "labels"), want);
	ck_assert_str_eq(text(event("X", "0x1000", 0), "end"), want);
	ck_assert_int_eq(number(event("b", want, 0), "parent"), 8);
	(void)event("n", NULL, 0); /* of what is said in a task, also with the task */
	json_decref(all);
}
END_TEST

/* --- Counters -------------------------------------------------------------------------------------------- */

/* How many values there are up to then; *last: the last of them. */
static int told_up_to(int64_t time, const char *counter, const char *series, int64_t *last)
{
	int64_t latest = -1;
	json_t *e;
	size_t i;
	int n = 0;

	json_array_foreach(json_object_get(all, "traceEvents"), i, e)
	{
		if (strcmp(json_string_value(json_object_get(e, "name")), counter) != 0 || ns(e, "ts") > time)
			continue;
		n++;
		if (ns(e, "ts") >= latest)
			*last = number(e, series);
		latest = ns(e, "ts") >= latest ? ns(e, "ts") : latest;
	}
	return n;
}

START_TEST(a_counter_is_right_whenever_it_stands_still)
{
	struct gt_g *g;
	int64_t running = -1;

	begin(false);
	at(1000);
	g = go(1, 0x1000);
	for (int i = 0; i < 1000; i++) { /* much happens in little time */
		at(2000 + i);
		run(g);
		block("sync");
		GT_EVENT(t, m, GT_EV_GO_UNBLOCK, g->id, ++g->wseq, 0);
	}
	run(g);
	at(4000);
	block("sync");
	at(5000);
	GT_EVENT(t, m, GT_EV_HEAP_ALLOC, 12345);
	finish();
	ck_assert_int_lt(told_up_to(3500000, "goroutines", "running", &running), 40);
	ck_assert_int_eq(running, 1);
	(void)told_up_to(4500000, "goroutines", "running", &running);
	ck_assert_int_eq(running, 0);
	ck_assert_int_eq(number(event("C", "heap", 0), "bytes"), 12345);
	json_decref(all);
}
END_TEST

/* What the checker lets pass proves nothing: so it refuses these. */
START_TEST(the_checker_refuses_broken_traces)
{
#define FILE_OF(events, frames) "{\"traceEvents\":[" NAMED events "],\"stackFrames\":{" frames "}}"
#define NAMED "{\"ph\":\"M\",\"pid\":1,\"tid\":1,\"name\":\"thread_name\"}"
#define EV(ph, more) ",{\"ph\":\"" ph "\",\"pid\":1,\"tid\":1,\"cat\":\"c\",\"name\":\"n\"," more "}"
	static const struct {
		const char *file, *err;
	} broken[] = {
		{ FILE_OF(EV("X", "\"ts\":1,\"dur\":2") EV("X", "\"ts\":2,\"dur\":2"), ""), "neither beside nor in" },
		{ FILE_OF(EV("X", "\"ts\":1,\"dur\":2") EV("X", "\"ts\":2,\"dur\":1"), ""), "neither beside nor in" },
		{ FILE_OF(EV("X", "\"ts\":1,\"dur\":2") EV("X", "\"ts\":3,\"dur\":1"), ""), "neither beside nor in" },
		{ FILE_OF(EV("X", "\"ts\":1,\"dur\":2,\"sf\":3"), "\"2\":{\"name\":\"f\"}"), "not in stackFrames" },
		{ FILE_OF("", "\"2\":{\"name\":\"f\",\"parent\":\"f1\"}"), "caller that is not there" },
		{ FILE_OF(EV("s", "\"ts\":1,\"id\":\"1\""), ""), "half of an arrow" },
		{ FILE_OF(EV("s", "\"ts\":1,\"id\":\"1\"") EV("t", "\"ts\":2,\"id\":\"1\""), ""), "from no slice" },
		{ FILE_OF(EV("X", "\"ts\":1,\"dur\":5") EV("s", "\"ts\":1,\"id\":\"1\"")
				  EV("t", "\"ts\":2,\"id\":\"1\""),
			  ""),
		  "no slice's beginning" },
		{ FILE_OF(EV("b", "\"ts\":1,\"id\":\"1\""), ""), "never ends" },
		{ FILE_OF(EV("e", "\"ts\":1,\"id\":\"1\""), ""), "not what began last" },
		{ FILE_OF(EV("C", "\"ts\":1,\"args\":{\"a\":-1}"), ""), "below 0" },
		{ FILE_OF(EV("X", "\"ts\":1,\"dur\":2") EV("X", "\"ts\":4,\"dur\":2"), "") "}", "no JSON" },
	};

	for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
		ck_assert_msg(!chromecheck(&check, broken[i].file, strlen(broken[i].file)), "%zu is not seen", i);
		ck_assert_msg(strstr(check.err, broken[i].err), "%zu: %s", i, check.err);
	}
}
END_TEST

Suite *test_gotrace_chrome(void)
{
	Suite *s = suite_create("gotrace_chrome");
	TCase *c = tcase_create("gotrace_chrome");

	tcase_add_test(c, a_goroutine_runs_in_a_slice_that_has_its_functions_name_and_says_why_it_ended);
	tcase_add_test(c, an_arrow_leads_from_the_slice_of_who_woke_it);
	tcase_add_test(c, a_wake_up_of_whom_nothing_more_is_seen_is_no_arrow);
	tcase_add_test(c, who_loses_its_p_in_a_system_call_goes_on_on_its_threads_track);
	tcase_add_test(c, what_goes_on_ends_with_the_trace);
	tcase_add_test(c, who_is_only_seen_to_end_has_no_others_name);
	tcase_add_test(c, without_stacks_there_are_names_only);
	tcase_add_test(c, tasks_and_regions_that_began_before_begin_with_the_trace);
	tcase_add_test(c, any_name_becomes_valid_json);
	tcase_add_test(c, a_counter_is_right_whenever_it_stands_still);
	tcase_add_test(c, the_checker_refuses_broken_traces);
	suite_add_tcase(s, c);
	return s;
}
