/* test_gotrace_samples.c - CPU samples in a trace of some goroutines only: they come late, when whoever they are of may
 * have ended. */
#include <stdlib.h>

#include "rtest.h"

#include "gotrace.h"
#include "tracecheck.h"

Suite *test_gotrace_samples(void);

enum { START = 1000000000, THREAD = 7, OURS = 1, THEIRS = 2 };

/* Goroutine 1 of instance OURS starts 11, goroutine 2 of THEIRS starts 12; those run and end; then come samples. */
static const struct weft_rec events[] = {
	{ .event = WEFT_EV_PROC_START, .seq = 1 },
	{ .event = WEFT_EV_GO_START, .subject = 1, .seq = 1 },
	{ .event = WEFT_EV_GO_CREATE, .subject = 11, .gid = 0x1000, .seq = OURS },
	{ .event = WEFT_EV_GO_BLOCK, .subject = 1, .seq = 1 },
	{ .event = WEFT_EV_GO_START, .subject = 2, .seq = 1 },
	{ .event = WEFT_EV_GO_CREATE, .subject = 12, .gid = 0x1000, .seq = THEIRS },
	{ .event = WEFT_EV_GO_BLOCK, .subject = 2, .seq = 1 },
	{ .event = WEFT_EV_GO_START, .subject = 11, .seq = 1 },
	{ .event = WEFT_EV_GO_DESTROY, .subject = 11, .seq = 1, .stack = OURS },
	{ .event = WEFT_EV_GO_START, .subject = 12, .seq = 1 },
	{ .event = WEFT_EV_GO_DESTROY, .subject = 12, .seq = 1, .stack = THEIRS },
	{ .event = WEFT_EV_PROC_STOP, .seq = 1 },
};
enum { EVENTS = sizeof events / sizeof *events, TAKEN_AT = START + 1000 * (EVENTS - 3) + 500 };

static const uint64_t sampled[] = { 11, 11, 12, 1, 2, 0 };
enum { SAMPLES = sizeof sampled / sizeof *sampled };

static struct weft_recs *recs_new(bool with_samples)
{
	struct weft_recs *recs = calloc(1, sizeof *recs + (SAMPLES + EVENTS) * sizeof recs->r[0]);

	for (size_t i = 0; with_samples && i < SAMPLES; i++)
		recs->r[recs->n++] = (struct weft_rec){ .event = WEFT_EV_CPU_SAMPLE,
							.tid = WEFT_REC_SAMPLES,
							.at = i,
							.time = TAKEN_AT,
							.gid = sampled[i],
							.subject = THREAD };
	for (size_t i = 0; i < EVENTS; i++) {
		struct weft_rec *r = &recs->r[recs->n++];

		*r = events[i];
		r->tid = THREAD;
		r->at = i;
		r->time = START + 1000 * (int64_t)(i + 1);
	}
	return recs;
}

static bool is_ours(void *user, uint32_t instance)
{
	(void)user;
	return instance == OURS;
}

/* How many samples there are, taken with the events or when these are all written. */
static int samples(const struct gotrace_opts *opts, bool late)
{
	struct weft_recs *none = calloc(1, sizeof *none), *first = recs_new(!late), *then = recs_new(true);
	struct gotrace *t = gotrace_new(opts);
	struct tracecheck c = { 0 };

	for (uint64_t id = 1; id <= 2; id++)
		gotrace_goroutine(t,
				  &(struct weft_goroutine){
					  .id = id, .instance = (uint32_t)id, .status = WEFT_G_RUNNABLE, .since = 1 });
	gotrace_proc(t, 0);
	gotrace_begin(t, none);
	gotrace_take(t, first);
	ck_assert_int_eq(gotrace_write(t, START + 1000000, INT64_MAX), 0);
	gotrace_take(t, then);
	ck_assert_int_eq(gotrace_write(t, START + 1000000, INT64_MAX), 0);
	ck_assert_uint_eq(gotrace_repairs(t), 0);
	ck_assert(gotrace_samples(t));
	ck_assert_int_eq(gotrace_end(t, INT64_MAX), 0);
	ck_assert_msg(tracecheck(&c, gotrace_out(t)->b, gotrace_out(t)->len), "%s", c.err);
	gotrace_free(t);
	free(none);
	free(first);
	free(then);
	return c.samples;
}

START_TEST(samples_of_goroutines_that_have_ended_are_there)
{
	struct gotrace_opts all = { .from = START, .host = 1 };
	struct gotrace_opts ours = { .from = START, .host = 1, .passes = is_ours };
	struct gotrace_opts one = { .from = START, .host = 1, .g = 11 };

	for (int late = 0; late <= 1; late++) {
		ck_assert_int_eq(samples(&all, late), SAMPLES);
		ck_assert_int_eq(samples(&ours, late), 3);
		ck_assert_int_eq(samples(&one, late), 2);
	}
}
END_TEST

Suite *test_gotrace_samples(void)
{
	Suite *s = suite_create("gotrace_samples");
	TCase *t = tcase_create("samples");

	tcase_add_test(t, samples_of_goroutines_that_have_ended_are_there);
	suite_add_tcase(s, t);
	return s;
}
