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
#include "tracesim.h"

Suite *test_gotrace_random(void);

static enum gotrace_format format; /* of the windows */
static uint64_t max_bytes;
static int seen[64]; /* events in Go's format, by id; 7: CPU samples */

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
	for (int i = 0; i < 64; i++)
		seen[i] += c->count[i];
	seen[7] += c->samples;
	gotrace_free(t);
}

/* At once, or in steps as small as they get. */
static int write_all(struct gotrace *t, int64_t until)
{
	int64_t budget = sim_below(2) ? 0 : INT64_MAX;
	int rc;

	do
		rc = gotrace_write(t, until, budget);
	while (rc > 0);
	return rc;
}

/* A trace that begins at `from`; who lives is looked at while they go on. */
static struct gotrace *look_from(int64_t from)
{
	struct gotrace *t = gotrace_new(&(struct gotrace_opts){
		.from = from, .host = 999, .format = format, .max_bytes = max_bytes, .name = sim_name });

	for (int g = 1; g <= sim_gs(); g++) {
		sim_see_g(t, g);
		if (sim_below(10) == 0)
			sim_step();
	}
	sim_see_threads(t);
	for (int i = sim_below(100); i > 0; i--)
		sim_step();
	return t;
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
	for (int i = sim_below(2000); i >= 0; i--)
		sim_step();
	from = sim_now();
	for (int i = sim_below(6000); i > 0; i--)
		sim_step();
	until = sim_now();
	past = sim_readings(from - GOTRACE_FIRST, one_in);
	if (sim_below(2) && until > from)
		sim_lose(past, from + sim_below((int)(until - from)) - SIM_EARLY - GOTRACE_BEFORE);
	if (past->lost && from < past->lost + GOTRACE_BEFORE) /* as gotrace_from() has it where that leaves enough */
		from = past->lost + GOTRACE_BEFORE;
	t = look_from(from);
	rest = sim_readings(until - GOTRACE_FIRST, one_in);
	both = weft_recs_join(past, rest);
	gotrace_begin(t, both);
	ck_assert_int_eq(write_all(t, one_in ? until + 2 * WEFT_SEC : until), 0);
	if (!one_in && !max_bytes)
		ck_assert_msg(gotrace_next(t) >= until - SIM_EARLY, "SEED of the schedule %llu: it is stuck",
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
	for (int i = sim_below(6000); i >= 0; i--)
		sim_step();
	from = sim_now();
	t = look_from(from);
	recs = sim_readings(from - GOTRACE_FIRST, one_in);
	gotrace_begin(t, recs);
	for (int polls = sim_below(5); polls >= 0; polls--) {
		until = one_in ? sim_now() + 2 * WEFT_SEC : sim_now() - sim_below(1000) * SIM_STEP;
		ck_assert_int_eq(write_all(t, until), 0);
		if (!one_in && !max_bytes) /* nothing waits but for what came after that */
			ck_assert_msg(gotrace_next(t) >= until - SIM_EARLY, "SEED of the schedule %llu: it is stuck",
				      (unsigned long long)seed);
		free(recs);
		for (int i = sim_below(1000); i > 0; i--)
			sim_step();
		recs = sim_readings(gotrace_next(t) - GOTRACE_BEFORE, one_in);
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
	static const int all[] = { 7, 9, 10, 11, 12, 14, 16, 17, 19, 20, 21, 22, 23, 24, 37, 39, 40, 41, 42, 43, 44 };

	need_no_repairs(trace_random, windows(2000));
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		ck_assert_msg(seen[all[i]] > 0, "there was no event %d", all[i]);
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
