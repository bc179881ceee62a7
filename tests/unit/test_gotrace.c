/* test_gotrace.c - traces: byte by byte, of random schedules and windows, and of a runtime at work; read back by a
 * checker of the format's rules. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rtest.h"

#include "gotrace_impl.h"
#include "gotrace_live.h"
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
	char bytes[EXAMPLE_LEN];
	struct tracecheck c = { 0 };

	for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++) {
		memcpy(bytes, example, EXAMPLE_LEN);
		bytes[EXAMPLE_LEN - breaks[i].back] = breaks[i].value;
		ck_assert_msg(!tracecheck(&c, bytes, EXAMPLE_LEN), "break %zu is not seen", i);
	}
	for (size_t len = 0; len < EXAMPLE_LEN; len++)
		if (len != 0x93) /* between two batches, but without the last it has no events */
			ck_assert_msg(!tracecheck(&c, example, len), "cut at %zu is not seen", len);
}
END_TEST

/* --- Random schedules ------------------------------------------------------------------------------- */

#define NP 3
#define NM 6
#define NG 4000
#define NREC 20000
#define EARLY 300 /* by how much a dispatch may be stamped before its cause */

struct sim {
	uint64_t seed;
	int64_t now;
	struct {
		int state, m; /* 0 idle, 1 running, 2 in a syscall */
		uint32_t seq;
	} p[NP];
	struct {
		enum gt_g_state state;
		int m;
		uint32_t seq;
	} g[NG];
	int n_g, live;
	struct {
		int p, g; /* -1; 0 */
		struct weft_rec r[NREC];
		size_t n;
		int64_t last;
	} m[NM + 1]; /* 0: foreign */
};
static struct sim sim;

static int below(int n)
{
	return (int)(rtest_random(&sim.seed) % (uint64_t)n);
}

static void rec(int m, int event, int g, uint32_t seq, int p, int64_t early, uint64_t gid, int flags)
{
	int64_t time = sim.now - early > sim.m[m].last ? sim.now - early : sim.m[m].last;

	ck_assert_uint_lt(sim.m[m].n, NREC);
	sim.m[m].r[sim.m[m].n] = (struct weft_rec){
		.time = time,
		.at = sim.m[m].n,
		.gid = gid,
		.subject = (uint64_t)g,
		.seq = seq,
		.tid = m ? 1000 + m : 0,
		.pid = p < 0 ? WEFT_REC_NO_P : (uint16_t)p,
		.event = (uint8_t)event,
		.flags = (uint8_t)flags,
	};
	sim.m[m].last = time;
	sim.m[m].n++;
}

/* A goroutine in that state, 0: none found. */
static int some_g(enum gt_g_state state)
{
	for (int i = 0, k = below(NG); i < sim.n_g; i++) {
		int g = 1 + (k + i) % sim.n_g;

		if (sim.g[g].state == state)
			return g;
	}
	return 0;
}

static int idle_p(void)
{
	for (int i = 0, k = below(NP); i < NP; i++)
		if (sim.p[(k + i) % NP].state == 0)
			return (k + i) % NP;
	return -1;
}

static void sim_proc_start(int m, int p)
{
	sim.p[p].state = 1;
	sim.p[p].m = m;
	sim.m[m].p = p;
	rec(m, WEFT_EV_PROC_START, p, ++sim.p[p].seq, p, 0, 0, 0);
}

static void lose_p(int m)
{
	sim.p[sim.m[m].p].state = 0;
	sim.m[m].p = -1;
}

static void sim_start(int m, int g)
{
	sim.g[g].state = GT_G_RUNNING;
	sim.m[m].g = g;
	rec(m, WEFT_EV_GO_START, g, ++sim.g[g].seq, sim.m[m].p, below(EARLY), (uint64_t)g, 0);
}

static void sim_unblock(int m)
{
	int g = some_g(GT_G_WAITING);

	if (!g)
		return;
	rec(m, WEFT_EV_GO_UNBLOCK, g, ++sim.g[g].seq, m ? sim.m[m].p : -1, 0, m ? (uint64_t)sim.m[m].g : 0, 0);
	sim.g[g].state = GT_G_RUNNABLE;
}

static void sim_create(int m)
{
	int g;

	if (sim.n_g + 1 == NG || sim.live > 60)
		return;
	g = ++sim.n_g;
	sim.live++;
	sim.g[g].state = GT_G_RUNNABLE;
	rec(m, WEFT_EV_GO_CREATE, g, 0, sim.m[m].p, 0, 0x4000 + (uint64_t)(g % 7), 0);
}

static void sim_leave(int m, int event, enum gt_g_state state)
{
	int g = sim.m[m].g;

	rec(m, event, g, sim.g[g].seq, sim.m[m].p, 0, (uint64_t)g, event == WEFT_EV_GO_BLOCK ? RT_WAIT_SLEEP : 0);
	sim.g[g].state = state;
	sim.m[m].g = 0;
	sim.live -= state == GT_G_NONE;
}

static void step_running(int m)
{
	int g = sim.m[m].g, p = sim.m[m].p;

	switch (below(12)) {
	case 0:
		sim_leave(m, WEFT_EV_GO_YIELD, GT_G_RUNNABLE);
		break;
	case 1:
		if (sim.live > 10)
			sim_leave(m, WEFT_EV_GO_DESTROY, GT_G_NONE);
		break;
	case 2:
		rec(m, WEFT_EV_SYSCALL_BEGIN, g, ++sim.p[p].seq, p, 0, (uint64_t)g, 0);
		sim.g[g].state = GT_G_SYSCALL;
		sim.p[p].state = 2;
		break;
	case 3:
		rec(0, WEFT_EV_HANDOFF, g, sim.p[p].seq += 2, p, 0, 0, 0);
		sim.g[g].state = GT_G_SYSCALL;
		lose_p(m);
		break;
	case 4:
	case 5:
		sim_create(m);
		break;
	case 6:
	case 7:
		sim_unblock(m);
		break;
	default:
		sim_leave(m, WEFT_EV_GO_BLOCK, GT_G_WAITING);
	}
}

static void step_syscall(int m)
{
	int g = sim.m[m].g, p = sim.m[m].p;

	if (p >= 0 && below(2)) {
		rec(m, WEFT_EV_SYSCALL_END, g, sim.p[p].seq, p, 0, (uint64_t)g, 0);
		sim.g[g].state = GT_G_RUNNING;
		sim.p[p].state = 1;
	} else if (p >= 0) {
		rec(0, WEFT_EV_PROC_STEAL, g, ++sim.p[p].seq, p, 0, 0, 0);
		lose_p(m);
	} else if ((p = idle_p()) >= 0) {
		sim_proc_start(m, p);
		rec(m, WEFT_EV_REATTACH, g, ++sim.g[g].seq, p, 0, (uint64_t)g, 0);
		sim.g[g].state = GT_G_RUNNING;
	} else if (below(3) == 0) {
		rec(m, WEFT_EV_REATTACH, g, sim.g[g].seq, -1, 0, (uint64_t)g, 1);
		sim.g[g].state = GT_G_RUNNABLE;
		sim.m[m].g = 0;
	}
}

static void step(void)
{
	int m = 1 + below(NM), p, g;

	sim.now += 1 + below(200);
	if (below(50) == 0)
		sim_unblock(0);
	if (sim.m[m].g && sim.g[sim.m[m].g].state == GT_G_SYSCALL) {
		if (below(4) == 0)
			step_syscall(m);
	} else if (sim.m[m].g) {
		if (below(m == 1 ? 500 : 3) == 0) /* the first often has nothing to say for the whole window */
			step_running(m);
	} else if (sim.m[m].p < 0) {
		if ((p = idle_p()) >= 0)
			sim_proc_start(m, p);
	} else if (below(5) == 0) {
		p = sim.m[m].p;
		rec(m, WEFT_EV_PROC_STOP, p, sim.p[p].seq, p, 0, 0, 0);
		lose_p(m);
	} else if ((g = some_g(GT_G_RUNNABLE))) {
		sim_start(m, g);
	} else {
		sim_unblock(m);
		sim_create(m);
	}
}

/* What can be read: of each thread from some place before `from` on; every one_in-th record is lost. */
static struct weft_recs *readings(int64_t from, int one_in)
{
	struct weft_recs *recs = calloc(1, sizeof *recs + (NM + 1) * NREC * sizeof recs->r[0]);

	for (int m = 0; m <= NM; m++)
		for (size_t i = 0; i < sim.m[m].n; i++)
			if (sim.m[m].r[i].time >= from - 2000 && (!one_in || (m * 7 + i) % (size_t)one_in))
				recs->r[recs->n++] = sim.m[m].r[i];
	return recs;
}

static void see_g(struct gotrace *t, int g)
{
	static const enum weft_g_status status[] = { WEFT_G_DEAD, WEFT_G_RUNNABLE, WEFT_G_RUNNING, WEFT_G_SYSCALL,
						     WEFT_G_WAITING };
	struct weft_goroutine w = { .id = (uint64_t)g, .status = status[sim.g[g].state], .start = 0x4000 };

	if (w.status == WEFT_G_DEAD)
		return;
	for (int m = 1; m <= NM; m++)
		if (sim.m[m].g == g)
			w.tid = 1000 + m;
	gotrace_goroutine(t, &w);
}

static void see_threads(struct gotrace *t)
{
	for (int p = 0; p < NP; p++)
		gotrace_proc(t, p);
	gotrace_procs(t, NP);
	for (int m = 1; m <= NM; m++) {
		struct weft_sched_m w = { .tid = 1000 + m, .p = sim.m[m].p, .goid = (uint64_t)sim.m[m].g };

		gotrace_thread(t, &w);
	}
}

static void check_and_free(struct gotrace *t, struct tracecheck *c)
{
	while (gotrace_end(t, INT64_MAX))
		;
	ck_assert_msg(tracecheck(c, gotrace_out(t)->b, gotrace_out(t)->len), "%s", c->err);
	gotrace_free(t);
}

static void sim_start_at(uint64_t seed)
{
	memset(&sim, 0, sizeof sim);
	sim.seed = seed;
	sim.now = 1000000;
	for (int m = 0; m <= NM; m++)
		sim.m[m].p = -1;
	sim_proc_start(1, 0);
	for (int i = 0; i < 10; i++)
		sim_create(1);
}

/* Of what was written up to `lost` threads have lost the older part. */
static void lose(struct weft_recs *recs, int64_t lost)
{
	size_t n = 0;
	int tid = -1, skip = 0;

	for (size_t i = 0; i < recs->n; i++) {
		if (recs->r[i].tid != tid)
			skip = below(100);
		tid = recs->r[i].tid;
		if (skip > 0 && recs->r[i].time <= lost)
			skip--;
		else
			recs->r[n++] = recs->r[i];
	}
	recs->n = n;
	recs->lost = lost + EARLY; /* effects may be stamped before their causes */
}

/* A window that is over: the records are read, then who lives is looked at, then what came meanwhile is read. */
static uint64_t flight_random(uint64_t seed, int one_in)
{
	struct tracecheck c = { 0 };
	struct weft_recs *past, *rest, *both;
	struct gotrace *t;
	int64_t from, until;
	uint64_t repairs;

	sim_start_at(seed);
	for (int i = below(2000); i >= 0; i--)
		step();
	from = sim.now;
	for (int i = below(3000); i > 0; i--)
		step();
	until = sim.now;
	past = readings(from, one_in);
	if (below(2))
		lose(past, from + below(2000));
	t = gotrace_new(&(struct gotrace_opts){ .from = from, .host = 999 });
	for (int g = 1; g <= sim.n_g; g++) {
		see_g(t, g);
		if (below(10) == 0)
			step();
	}
	see_threads(t);
	for (int i = below(100); i > 0; i--)
		step();
	rest = readings(until, one_in);
	both = weft_recs_join(past, rest);
	gotrace_begin(t, both);
	ck_assert_int_eq(gotrace_write(t, one_in ? until + 2 * WEFT_SEC : until, INT64_MAX), 0);
	if (!one_in)
		ck_assert_int_ge(gotrace_next(t), until - EARLY);
	free(past);
	free(rest);
	weft_recs_free(both);
	repairs = gotrace_repairs(t);
	check_and_free(t, &c);
	return repairs;
}

static uint64_t trace_random(uint64_t seed, int one_in)
{
	struct tracecheck c = { 0 };
	struct weft_recs *recs;
	struct gotrace *t;
	int64_t from, until;
	uint64_t repairs;

	sim_start_at(seed);
	for (int i = below(3000); i >= 0; i--)
		step();
	from = sim.now;
	t = gotrace_new(&(struct gotrace_opts){ .from = from, .host = 999 });
	for (int g = 1; g <= sim.n_g; g++) { /* looked at while they go on */
		see_g(t, g);
		if (below(10) == 0)
			step();
	}
	see_threads(t);
	for (int i = below(100); i > 0; i--)
		step();
	recs = readings(from, one_in);
	gotrace_begin(t, recs);
	for (int polls = below(5); polls >= 0; polls--) {
		until = one_in ? sim.now + 2 * WEFT_SEC : sim.now - below(1000);
		ck_assert_int_eq(gotrace_write(t, until, INT64_MAX), 0);
		if (!one_in) /* nothing waits but for what came after that */
			ck_assert_int_ge(gotrace_next(t), until - EARLY);
		free(recs);
		for (int i = below(1000); i > 0; i--)
			step();
		recs = readings(gotrace_next(t) < sim.now ? gotrace_next(t) : from, one_in);
		gotrace_take(t, recs);
	}
	free(recs);
	repairs = gotrace_repairs(t);
	check_and_free(t, &c);
	return repairs;
}

START_TEST(any_window_of_any_schedule_is_a_valid_trace)
{
	uint64_t seed = rtest_seed();

	for (int i = 0; i < rtest_scale(2000); i++) {
		uint64_t one = rtest_random(&seed), repairs = trace_random(one, 0);

		ck_assert_msg(repairs == 0, "SEED of the schedule %llu: %llu repairs", (unsigned long long)one,
			      (unsigned long long)repairs);
	}
}
END_TEST

START_TEST(any_past_window_of_any_schedule_is_a_valid_trace)
{
	uint64_t seed = rtest_seed();

	for (int i = 0; i < rtest_scale(1500); i++) {
		uint64_t one = rtest_random(&seed), repairs = flight_random(one, 0);

		ck_assert_msg(repairs == 0, "SEED of the schedule %llu: %llu repairs", (unsigned long long)one,
			      (unsigned long long)repairs);
	}
}
END_TEST

START_TEST(a_trace_with_holes_is_valid_and_says_how_many)
{
	uint64_t seed = rtest_seed(), repairs = 0;

	for (int i = 0; i < rtest_scale(500); i++)
		repairs += (i % 2 ? trace_random : flight_random)(rtest_random(&seed), 5 + i % 50);
	ck_assert_uint_gt(repairs, 100);
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

/* Of the next ns; below 0: of the last. */
static int trace_live(struct tracecheck *c, int64_t ns)
{
	int64_t now = weft_now();
	struct gotrace_opts opts = { .host = 1, .from = ns < 0 ? now + ns : 0 };
	struct gotrace_live *l = gotrace_live_new(&opts, ns < 0 ? now : now + ns);
	int rc;
	uint64_t repairs;

	while ((rc = gotrace_live_step(l, weft_now() + 10 * WEFT_MS)) > 0)
		if (rc == GOTRACE_LIVE_WAIT)
			usleep(20000);
	ck_assert_int_eq(rc, GOTRACE_LIVE_OVER);
	ck_assert_msg(tracecheck(c, gotrace_out(gotrace_live_trace(l))->b, gotrace_out(gotrace_live_trace(l))->len),
		      "%s", c->err);
	repairs = gotrace_repairs(gotrace_live_trace(l));
	gotrace_live_free(l);
	return (int)repairs;
}

START_TEST(traces_of_a_busy_runtime_are_valid_and_nothing_is_made_up)
{
	struct weft_host_opts opts = { .maxprocs = 3, .recorder_bytes = 16 << 20 };
	struct tracecheck c = { 0 };
	int repairs = 0;

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
		repairs += trace_live(&c, (i % 3) * 30 * WEFT_MS);
		repairs += trace_live(&c, -(1 + i) * 40 * WEFT_MS);
		(void)weft_maxprocs(1 + i % 4);
	}
	ck_assert_int_eq(repairs, 0);
	stop = true;
	rtest_wait_gone();
	weft_chan_free(ping);
	weft_chan_free(pong);
	rtest_end();
}
END_TEST

Suite *test_gotrace(void)
{
	Suite *s = suite_create("gotrace");
	TCase *t = tcase_create("gotrace");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, the_smallest_useful_file_is_written_byte_by_byte);
	tcase_add_test(t, the_checker_refuses_broken_traces);
	tcase_add_test(t, any_window_of_any_schedule_is_a_valid_trace);
	tcase_add_test(t, any_past_window_of_any_schedule_is_a_valid_trace);
	tcase_add_test(t, a_trace_with_holes_is_valid_and_says_how_many);
	tcase_add_test(t, traces_of_a_busy_runtime_are_valid_and_nothing_is_made_up);
	suite_add_tcase(s, t);
	return s;
}
