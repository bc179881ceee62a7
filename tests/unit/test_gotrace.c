/* test_gotrace.c - traces: byte by byte, and of a runtime at work; read back by a checker of the format's rules. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rtest.h"

#include "gotrace_impl.h"
#include "gotrace_live.h"
#include "rt.h"
#include "tracecheck.h"

Suite *test_gotrace(void);

/* Two goroutines: one starts the other and waits for the network. */
static const char example[] = "go 1.23 trace\0\0\0"
			      "\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x3a"
			      "\x04\x05\x01\x09"
			      "echo_conn"
			      "\x05\x02\x09"
			      "/w/echo.c"
			      "\x05\x03\x07"
			      "network"
			      "\x05\x04\x09"
			      "weft_read"
			      "\x05\x05\x08"
			      "/w/net.c"
			      "\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x16"
			      "\x02\x03\x01\x01\x80\x20\x01\x02\x0a"
			      "\x03\x02\x02\x80\x40\x04\x05\x21\x80\x20\x01\x02\x0a"
			      "\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x06"
			      "\x08\x80\x94\xeb\xdc\x03"
			      "\x01\x01\x64\xe8\x07\x1f"
			      "\x0d\x00\x00\x01"
			      "\x19\x01\x01\x64\x02"
			      "\x09\x01\x01\x00"
			      "\x0e\x01\x02\x01\x00"
			      "\x14\x88\x27\x03\x02"
			      "\x10\xc8\x01\x02\x01"
			      "\x11\xe8\x07";
#define EXAMPLE_LEN (sizeof example - 1)

static void put_strings(struct gotrace *t)
{
	static const char *const s[] = { "echo_conn", "/w/echo.c", "network", "weft_read", "/w/net.c" };

	gt_varint(&t->section, GT_EV_STRINGS);
	for (uint64_t i = 0; i < 5; i++) {
		gt_varint(&t->section, GT_EV_STRING);
		gt_varint(&t->section, i + 1);
		gt_varint(&t->section, strlen(s[i]));
		buf_str(&t->section, s[i]);
	}
	gt_section(t);
}

static void put_numbers(struct gotrace *t, const uint64_t *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		gt_varint(&t->section, v[i]);
	gt_section(t);
}

START_TEST(the_smallest_useful_file_is_written_byte_by_byte)
{
	static const uint64_t stacks[] = { 2, 3, 1, 1, 0x1000, 1, 2, 10, 3, 2, 2, 0x2000, 4, 5, 33, 0x1000, 1, 2, 10 };
	static const uint64_t frequency[] = { GT_EV_FREQUENCY, 1000000000 };
	struct gotrace *t = gotrace_new(&(struct gotrace_opts){ .from = 1 });
	struct tracecheck c = { 0 };
	struct gt_m *m;

	put_strings(t);
	put_numbers(t, stacks, sizeof stacks / sizeof *stacks);
	put_numbers(t, frequency, 2);
	m = gt_m_get(t, 100);
	t->now = 1000;
	GT_EVENT(t, m, GT_EV_PROC_STATUS, 0, 1);
	GT_EVENT(t, m, GT_EV_GO_STATUS, 1, 100, 2);
	GT_EVENT(t, m, GT_EV_PROCS_CHANGE, 1, 0);
	GT_EVENT(t, m, GT_EV_GO_CREATE, 2, 1, 0);
	t->now += 4999;
	GT_EVENT(t, m, GT_EV_GO_BLOCK, 3, 2);
	t->now += 199;
	GT_EVENT(t, m, GT_EV_GO_START, 2, 1);
	t->now += 999;
	GT_EVENT0(t, m, GT_EV_GO_DESTROY);
	gt_flush(t, m);
	ck_assert_uint_eq(gotrace_out(t)->len, EXAMPLE_LEN);
	ck_assert_mem_eq(gotrace_out(t)->b, example, EXAMPLE_LEN);
	ck_assert_msg(tracecheck(&c, example, EXAMPLE_LEN), "%s", c.err);
	tracecheck_keep("example", example, EXAMPLE_LEN);
	gotrace_free(t);
}
END_TEST

/* What the tool refuses the checker refuses: otherwise it would prove nothing. */
START_TEST(the_checker_refuses_broken_traces)
{
	static const struct {
		size_t back; /* from the end */
		char value;
		const char *err;
	} breaks[] = {
		{ 4, 2, "failed to advance" },         /* GoStart with a wrong seq */
		{ 5, 3, "failed to advance" },         /* of somebody unknown */
		{ 8, 3, "not there" },                 /* a stack that is not there */
		{ 3, 20, "that may be" },              /* arguments where there are none */
		{ EXAMPLE_LEN - 26, 2, "generation" }, /* generations mixed */
	};
	char bytes[EXAMPLE_LEN], name[32];
	struct tracecheck c = { 0 };

	for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++) {
		memcpy(bytes, example, EXAMPLE_LEN);
		bytes[EXAMPLE_LEN - breaks[i].back] = breaks[i].value;
		ck_assert_msg(!tracecheck(&c, bytes, EXAMPLE_LEN), "break %zu is not seen", i);
		snprintf(name, sizeof name, "broken.%zu", i);
		tracecheck_keep(name, bytes, EXAMPLE_LEN);
	}
	for (size_t len = 0; len < EXAMPLE_LEN; len++)
		if (len != 0x93) /* between two batches, but without the last it has no events */
			ck_assert_msg(!tracecheck(&c, example, len), "cut at %zu is not seen", len);
}
END_TEST

/* --- A runtime at work ---------------------------------------------------------------------------------- */

static _Atomic bool stop;
static weft_mutex mutex;
static weft_chan *ping, *pong;

static void player(void *arg)
{
	int v;

	(void)arg;
	while (weft_chan_recv(ping, &v, sizeof v) == 1)
		(void)weft_chan_send(pong, &v, sizeof v);
}

static void server(void *arg)
{
	int v = 1;

	(void)arg;
	for (int i = 0; !stop; i++) {
		(void)weft_chan_send(ping, &v, sizeof v);
		(void)weft_chan_recv(pong, &v, sizeof v);
		if (i % 64 == 0)
			weft_sleep(WEFT_MS); /* a pool of 16 MiB is to last */
	}
	weft_chan_close(ping);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void spawner(void *arg)
{
	(void)arg;
	while (!stop) {
		weft_go(nothing, NULL);
		weft_lock(&mutex);
		weft_sleep(50 * WEFT_US);
		weft_unlock(&mutex);
		weft_yield();
	}
}

static void blocker(void *arg)
{
	(void)arg;
	while (!stop) {
		weft_block_enter();
		usleep(300);
		weft_block_exit();
		usleep(1000); /* undeclared: handed off */
	}
}

static void hog_alone(void *arg)
{
	(void)arg;
	while (!stop)
		;
}

static struct gotrace_live *trace_until(struct tracecheck *c, const struct gotrace_opts *opts, int64_t end)
{
	struct gotrace_live *l = gotrace_live_new(opts, end);
	int rc;

	while ((rc = gotrace_live_step(l, weft_now() + 10 * WEFT_MS)) > 0)
		if (rc == GOTRACE_LIVE_WAIT)
			usleep(20000);
	ck_assert_int_eq(rc, GOTRACE_LIVE_OVER);
	ck_assert_msg(tracecheck(c, gotrace_out(gotrace_live_trace(l))->b, gotrace_out(gotrace_live_trace(l))->len),
		      "%s", c->err);
	return l;
}

static bool named;          /* has_ended_since(), in the last one */
static int repaired, early; /* windows with something made up; that end before their end */

/* Of the next ns; below 0: of the last. */
static void trace_live(struct tracecheck *c, int64_t ns)
{
	int64_t now = weft_now(), end = ns < 0 ? now : now + ns;
	struct gotrace_opts opts = { .host = 1, .from = ns < 0 ? now + ns : 0 };
	struct gotrace_live *l = trace_until(c, &opts, end);

	repaired += gotrace_repairs(gotrace_live_trace(l)) > 0;
	early += gotrace_next(gotrace_live_trace(l)) < end;
	named = memmem(gotrace_out(gotrace_live_trace(l))->b, gotrace_out(gotrace_live_trace(l))->len,
		       "has_ended_since", 15);
	gotrace_live_free(l);
}

/* Twelve windows; one time in `stops` a thread stops around a record. */
static void trace_busy(uint32_t stops)
{
	struct weft_host_opts opts = { .maxprocs = 3, .recorder_bytes = 16 << 20 };
	struct tracecheck c = { 0 };

#ifdef RTEST_SANITIZER
	st(&rt_rec_stops, stops);
#else
	(void)stops;
#endif
	rtest_begin_with(&opts);
	stop = false;
	ping = weft_chan_new(sizeof(int), 0);
	pong = weft_chan_new(sizeof(int), 0);
	weft_go_in(inst, player, NULL);
	weft_go_in(inst, server, NULL);
	weft_go_in(inst, hog_alone, NULL);
	for (int i = 0; i < 3; i++) {
		weft_go_in(inst, spawner, NULL);
		weft_go_in(inst, blocker, NULL);
	}
	for (int i = 0; i < 6; i++) {
		trace_live(&c, (i % 3) * 30 * WEFT_MS);
		trace_live(&c, -(1 + i) * 40 * WEFT_MS);
		(void)weft_maxprocs(1 + i % 4);
	}
	stop = true;
	rtest_wait_gone();
	weft_chan_free(ping);
	weft_chan_free(pong);
	rtest_end();
	ck_assert_int_eq(repaired, 0);
	ck_assert_int_le(early, 3); /* a record that comes too late for the end leaves out what needs it */
}

/* With the processor's counter, and where that is not to be trusted. */
START_TEST(traces_of_a_busy_runtime_are_valid_and_nothing_is_made_up)
{
	rt_distrust_tsc = _i == 1;
	trace_busy(0);
	ck_assert(_i == 0 || !rt_have_tsc);
}
END_TEST

#ifdef RTEST_SANITIZER
START_TEST(threads_that_stop_between_clock_record_and_deed_spoil_nothing)
{
	trace_busy(100);
}
END_TEST
#endif

__attribute__((noinline)) static void has_ended_since(void *arg)
{
	(void)arg;
	weft_sleep(100 * WEFT_MS); /* nothing is lost for that long */
}

START_TEST(goroutines_that_have_ended_are_in_the_past_with_their_names)
{
	struct tracecheck c = { 0 };
	int64_t began = weft_now();

	rtest_begin(3);
	for (int i = 0; i < 100; i++)
		weft_go_in(inst, has_ended_since, NULL);
	rtest_wait_gone();
	trace_live(&c, began - weft_now());
	rtest_end();
	ck_assert_int_eq(repaired, 0);
	ck_assert_int_ge(c.count[17], 100); /* GoDestroy */
	ck_assert(named);
}
END_TEST

static void yielder(void *arg)
{
	(void)arg;
	while (!stop)
		weft_yield();
}

/* The pool lasts for some 10 ms, in which its reader may get no CPU: that is why there are more tries than one. */
START_TEST(of_what_is_written_over_in_no_time_the_last_is_there)
{
	struct weft_host_opts opts = { .maxprocs = 2, .recorder_bytes = 8 << 20 };
	struct tracecheck c = { 0 };

	rtest_begin_with(&opts);
	stop = false;
	for (int i = 0; i < 4; i++)
		weft_go_in(inst, yielder, NULL);
	for (int i = 0; i < 50 && c.events < 1000; i++)
		trace_live(&c, -WEFT_SEC);
	ck_assert_int_ge(c.events, 1000);
	stop = true;
	rtest_wait_gone();
	rtest_end();
}
END_TEST

static _Atomic int64_t woken;
static void ended_of_first(void *arg)
{
	(void)arg;
	weft_sleep(200 * WEFT_MS);
	woken = weft_now();
	weft_sleep(WEFT_MS); /* of who says nothing more there is no name */
	woken += 0;          /* so that this is no tail call */
}

static void born_of_first(void *arg)
{
	(void)arg;
	weft_sleep(WEFT_MS);
}

static _Atomic int n_second;
static void ended_of_second(void *arg)
{
	(void)arg;
	for (; n_second < 250; n_second++)
		weft_sleep(WEFT_MS);
}

static void starts_first(void *arg)
{
	weft_sleep(201 * WEFT_MS);
	ck_assert_int_eq(weft_go_in(arg, born_of_first, NULL), 0);
}

static bool is_first(void *user, uint32_t instance)
{
	return !strcmp(weft_read_instance(instance), user);
}

static bool all_over(void *second)
{
	return weft_inst_live(inst) == 0 && weft_inst_live(second) == 0;
}

START_TEST(a_past_window_of_an_instance_has_all_of_it_that_ended_and_nobody_else)
{
	char first[] = "test";
	struct gotrace_opts opts = { .host = 1, .passes = is_first, .user = first };
	struct tracecheck c = { 0 };
	struct gotrace_live *l;
	const struct buf *b;
	weft_inst *second;

	rtest_begin(2);
	second = weft_inst_new("second");
	weft_go_in(inst, ended_of_first, NULL);
	weft_go_in(second, starts_first, inst);
	weft_go_in(second, ended_of_second, NULL);
	rtest_wait(all_over, second, "both have ended");
	opts.from = woken - 20 * WEFT_MS;
	l = trace_until(&c, &opts, weft_now());
	b = gotrace_out(gotrace_live_trace(l));
	ck_assert_ptr_nonnull(memmem(b->b, b->len, "ended_of_first", 14));
	ck_assert_ptr_nonnull(memmem(b->b, b->len, "born_of_first", 13));
	ck_assert_ptr_null(memmem(b->b, b->len, "ended_of_second", 15));
	gotrace_live_free(l);
	rtest_end();
}
END_TEST

Suite *test_gotrace(void)
{
	Suite *s = suite_create("gotrace");
	TCase *bytes = tcase_create("bytes"), *live = tcase_create("live");

	tcase_add_test(bytes, the_smallest_useful_file_is_written_byte_by_byte);
	tcase_add_test(bytes, the_checker_refuses_broken_traces);
	suite_add_tcase(s, bytes);
	tcase_set_timeout(live, 120);
#ifdef RTEST_SANITIZER
	tcase_add_test(live, threads_that_stop_between_clock_record_and_deed_spoil_nothing);
#endif
	tcase_add_loop_test(live, traces_of_a_busy_runtime_are_valid_and_nothing_is_made_up, 0, 2);
	tcase_add_test(live, goroutines_that_have_ended_are_in_the_past_with_their_names);
	tcase_add_test(live, of_what_is_written_over_in_no_time_the_last_is_there);
	tcase_add_test(live, a_past_window_of_an_instance_has_all_of_it_that_ended_and_nobody_else);
	suite_add_tcase(s, live);
	return s;
}
