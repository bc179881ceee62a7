/* test_gotrace_random.c - traces of random schedules, cut at random places: every window is valid.
 *
 * Records as the recorder would leave them come from a simulated scheduler; what becomes of them is read back by the
 * checker of the format's rules, in both formats.  WEFT_TRACES names a folder: then each window is also left there, and
 * there are WEFT_TRACES_N of them, for Go's own reader (tests/e2e/46-trace-windows.sh). */
#include <stdio.h>
#include <string.h>

#include "often.h"
#include "rtest.h"

#include "chromecheck.h"
#include "gotrace_impl.h"
#include "tracecheck.h"

Suite *test_gotrace_random(void);

#define NP 3
#define NM 6
#define NG 4000
#define NREC 20000
#define STEP 300           /* ns: a step takes up to 200 of them */
#define EARLY (300 * STEP) /* by how much a dispatch may be stamped before its cause */

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
static enum gotrace_format format; /* of the windows */
static uint64_t max_bytes;

static int below(int n)
{
	return (int)(rtest_random(&sim.seed) % (uint64_t)n);
}

static void rec(int m, int event, int g, uint32_t seq, int p, int64_t early, uint64_t gid, int flags)
{
	int64_t time = sim.now - early > sim.m[m].last ? sim.now - early : sim.m[m].last;

	often(sim.m[m].n < NREC);
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

/* early: by how much it may be stamped before what led to it. */
static void sim_proc_start(int m, int p, int early)
{
	sim.p[p].state = 1;
	sim.p[p].m = m;
	sim.m[m].p = p;
	rec(m, WEFT_EV_PROC_START, p, ++sim.p[p].seq, p, below(early), 0, 0);
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
		sim_proc_start(m, p, 1);
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

	sim.now += (1 + below(200)) * STEP;
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
			sim_proc_start(m, p, EARLY);
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

/* What can be read: of each thread from `from` on, and some that came before; every one_in-th record is lost. */
static struct weft_recs *readings(int64_t from, int one_in)
{
	struct weft_recs *recs = calloc(1, sizeof *recs + (NM + 1) * NREC * sizeof recs->r[0]);

	for (int m = 0; m <= NM; m++) {
		int64_t first = from - below(2) * below(300) * 1000 * STEP;

		for (size_t i = 0; i < sim.m[m].n; i++)
			if (sim.m[m].r[i].time >= first && (!one_in || (m * 7 + i) % (size_t)one_in))
				recs->r[recs->n++] = sim.m[m].r[i];
	}
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

static void check_chrome(struct gotrace *t)
{
	struct chromecheck c;

	ck_assert_msg(chromecheck(&c, gotrace_out(t)->b, gotrace_out(t)->len), "%s", c.err);
	ck_assert_msg(max_bytes || c.slices > 0, "there is nothing in it");
}

static void check_and_free(struct gotrace *t, struct tracecheck *c, bool holes)
{
	static int n;
	char name[32];

	while (gotrace_end(t, INT64_MAX))
		;
	if (format == GOTRACE_CHROME) {
		check_chrome(t);
		gotrace_free(t);
		return;
	}
	snprintf(name, sizeof name, "%s.%d", holes ? "holes" : "window", n++);
	tracecheck_keep(name, gotrace_out(t)->b, gotrace_out(t)->len);
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
	sim_proc_start(1, 0, 1);
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

/* At once, or in steps as small as they get. */
static int write_all(struct gotrace *t, int64_t until)
{
	int64_t budget = below(2) ? 0 : INT64_MAX;
	int rc;

	do
		rc = gotrace_write(t, until, budget);
	while (rc > 0);
	return rc;
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
	for (int i = below(6000); i > 0; i--)
		step();
	until = sim.now;
	past = readings(from - GOTRACE_FIRST, one_in);
	if (below(2) && until > from)
		lose(past, from + below((int)(until - from)) - EARLY - GOTRACE_BEFORE);
	if (past->lost && from < past->lost + GOTRACE_BEFORE) /* as gotrace_live.c does */
		from = past->lost + GOTRACE_BEFORE;
	t = gotrace_new(&(struct gotrace_opts){ .from = from, .host = 999, .format = format, .max_bytes = max_bytes });
	for (int g = 1; g <= sim.n_g; g++) {
		see_g(t, g);
		if (below(10) == 0)
			step();
	}
	see_threads(t);
	for (int i = below(100); i > 0; i--)
		step();
	rest = readings(until - GOTRACE_FIRST, one_in);
	both = weft_recs_join(past, rest);
	gotrace_begin(t, both);
	ck_assert_int_eq(write_all(t, one_in ? until + 2 * WEFT_SEC : until), 0);
	if (!one_in && !max_bytes)
		ck_assert_msg(gotrace_next(t) >= until - EARLY, "SEED of the schedule %llu: it is stuck",
			      (unsigned long long)seed);
	free(past);
	free(rest);
	weft_recs_free(both);
	repairs = gotrace_repairs(t);
	check_and_free(t, &c, one_in != 0);
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
	for (int i = below(6000); i >= 0; i--)
		step();
	from = sim.now;
	t = gotrace_new(&(struct gotrace_opts){ .from = from, .host = 999, .format = format, .max_bytes = max_bytes });
	for (int g = 1; g <= sim.n_g; g++) { /* looked at while they go on */
		see_g(t, g);
		if (below(10) == 0)
			step();
	}
	see_threads(t);
	for (int i = below(100); i > 0; i--)
		step();
	recs = readings(from - GOTRACE_FIRST, one_in);
	gotrace_begin(t, recs);
	for (int polls = below(5); polls >= 0; polls--) {
		until = one_in ? sim.now + 2 * WEFT_SEC : sim.now - below(1000) * STEP;
		ck_assert_int_eq(write_all(t, until), 0);
		if (!one_in && !max_bytes) /* nothing waits but for what came after that */
			ck_assert_msg(gotrace_next(t) >= until - EARLY, "SEED of the schedule %llu: it is stuck",
				      (unsigned long long)seed);
		free(recs);
		for (int i = below(1000); i > 0; i--)
			step();
		recs = readings(gotrace_next(t) - GOTRACE_BEFORE, one_in);
		gotrace_take(t, recs);
	}
	free(recs);
	repairs = gotrace_repairs(t);
	check_and_free(t, &c, one_in != 0);
	return repairs;
}

static int windows(int n)
{
	const char *env = getenv("WEFT_TRACES_N");

	return env ? atoi(env) : rtest_scale(n);
}

static void need_no_repairs(uint64_t (*window)(uint64_t seed, int one_in), int n)
{
	uint64_t seed = rtest_seed();

	for (int i = 0; i < n; i++) {
		uint64_t one = rtest_random(&seed), repairs = window(one, 0);

		ck_assert_msg(repairs == 0, "SEED of the schedule %llu: %llu repairs", (unsigned long long)one,
			      (unsigned long long)repairs);
	}
}

START_TEST(any_window_of_any_schedule_is_a_valid_trace)
{
	need_no_repairs(trace_random, windows(2000));
}
END_TEST

START_TEST(any_past_window_of_any_schedule_is_a_valid_trace)
{
	need_no_repairs(flight_random, windows(1500));
}
END_TEST

START_TEST(a_trace_with_holes_is_valid_and_says_how_many)
{
	uint64_t seed = rtest_seed(), repairs = 0;
	int n = windows(500);

	for (int i = 0; i < n; i++)
		repairs += (i % 2 ? trace_random : flight_random)(rtest_random(&seed), 5 + i % 50);
	ck_assert_uint_gt(repairs, (unsigned)n / 5);
}
END_TEST

START_TEST(any_window_is_a_valid_trace_for_viewers_of_json_wherever_it_is_cut)
{
	uint64_t seed = rtest_seed();
	int n = rtest_scale(200);

	format = GOTRACE_CHROME;
	for (int i = 0; i < n; i++) {
		max_bytes = i % 3 ? 0 : 1 + rtest_random(&seed) % 100000;
		(i % 2 ? trace_random : flight_random)(rtest_random(&seed), i % 5 ? 0 : 5 + i % 50);
	}
}
END_TEST

Suite *test_gotrace_random(void)
{
	Suite *s = suite_create("gotrace_random");
	TCase *t = tcase_create("gotrace_random");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, any_window_of_any_schedule_is_a_valid_trace);
	tcase_add_test(t, any_past_window_of_any_schedule_is_a_valid_trace);
	tcase_add_test(t, a_trace_with_holes_is_valid_and_says_how_many);
	tcase_add_test(t, any_window_is_a_valid_trace_for_viewers_of_json_wherever_it_is_cut);
	suite_add_tcase(s, t);
	return s;
}
