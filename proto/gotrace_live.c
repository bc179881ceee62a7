/* gotrace_live.c - reading the recorder's rings over and over, for one trace.
 *
 * First who lives is looked at, then the rings, so that whoever did nothing in between is what it was seen as.  The
 * rings are read up to LATE before now: threads that are about to write a record have done so by then, and what is
 * written while they are read, of which only some is found, is left for the next time.
 *
 * A thread may get no CPU for longer than that between its look at the clock and its record, or between that and the
 * deed.  Nobody sees a deed before its record is there, so who was seen is right, or there is a record that says
 * better (as long as it is no older than half of GOTRACE_FIRST); and a record that comes late finds its place
 * by its causes, all the others that need it wait for it.  Only one that comes a second too late is made up.
 *
 * Of a past window the rings are read at once, before they are written over, and once more after the look: both
 * together tell what everybody did from the window's beginning until after it was seen.  Whoever did nothing is what
 * it is now; whoever ended stands in the records alone.
 *
 * Steps keep to their budget, but for one reading of the rings, or one joining of two: each takes about 0.75 ms per MiB
 * of records, twice that beside others who keep all CPUs busy.  It is not cut into steps: what waits for its turn in
 * between is written over, and joining and taking are in proportion to the pool as well. */
#include "gotrace_live.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define SECOND INT64_C(1000000000)
#define LATE (SECOND / 50)
#define LATE_SAMPLES (SECOND / 2)
#define TRIES 5

struct gotrace_live {
	struct gotrace *t;
	int64_t from, end;
	enum { LOOKS, BEGINS, RUNS, ENDS, OVER } phase;
	struct weft_snapshot *snap;
	int64_t looked;         /* when that was done */
	struct weft_recs *past; /* of a window in the past: what there was to be read when it was asked for */
	int64_t asked;          /* when that was */
	struct weft_recs *recs; /* taken, not all written */
	int64_t until;          /* of the writing that is under way */
};

static int64_t clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SECOND + ts.tv_nsec;
}

/* What the pool holds of the past; again if it was written over while it was read. */
static void read_past(struct gotrace_live *l, int64_t from)
{
	for (int i = 0; i < TRIES && (!l->past || l->past->lost >= l->asked); i++) {
		weft_recs_free(l->past);
		l->asked = clock_now();
		l->past = weft_recs_read(from - GOTRACE_FIRST);
		if (!l->past)
			return;
	}
}

struct gotrace_live *gotrace_live_new(const struct gotrace_opts *opts, int64_t end)
{
	struct gotrace_live *l = calloc(1, sizeof *l);
	struct gotrace_opts with = *opts;

	if (!l)
		return NULL;
	l->asked = clock_now();
	l->end = end;
	if (with.from)
		read_past(l, with.from);
	if (l->past && l->past->lost >= end) /* nothing of that is left, but of what came after */
		l->end = l->asked;
	if (l->past)
		with.from = gotrace_from(l->past, with.from, l->asked < l->end ? l->asked : l->end);
	l->from = with.from = opts->from ? with.from : l->asked;
	l->t = gotrace_new(&with);
	l->snap = weft_snapshot_parked();
	if (l->t && l->snap && (l->past || !opts->from))
		return l;
	gotrace_live_free(l);
	return NULL;
}

void gotrace_live_free(struct gotrace_live *l)
{
	if (!l)
		return;
	weft_snapshot_free(l->snap);
	weft_recs_free(l->recs);
	weft_recs_free(l->past);
	gotrace_free(l->t);
	free(l);
}

void gotrace_live_finish(struct gotrace_live *l)
{
	if (l->phase == RUNS && gotrace_begun(l->t))
		l->phase = ENDS;
	else if (l->phase <= RUNS)
		l->end = l->from;
}

struct gotrace *gotrace_live_trace(struct gotrace_live *l)
{
	return l->t;
}

bool gotrace_live_names(const struct gotrace_live *l)
{
	return l->phase == ENDS || (l->phase == RUNS && gotrace_names(l->t));
}

bool gotrace_live_reads(const struct gotrace_live *l)
{
	return l->phase == BEGINS || (l->phase == RUNS && !l->recs);
}

static int look_at_threads(struct gotrace *t)
{
	size_t cap = weft_read_sched_ms(NULL, 0) + 64, n;
	struct weft_sched_m *ms = calloc(cap, sizeof *ms);
	struct weft_sched s;

	if (!ms)
		return -ENOMEM;
	weft_read_sched(&s);
	for (int i = 0; i < s.n; i++)
		if (s.p[i].status != WEFT_P_RETIRED)
			gotrace_proc(t, i);
	gotrace_procs(t, s.maxprocs);
	n = weft_read_sched_ms(ms, cap);
	for (size_t i = 0; i < n && i < cap; i++)
		gotrace_thread(t, &ms[i]);
	free(ms);
	return 0;
}

/* To what was just read, what was there when it was asked for. */
static int join_past(struct gotrace_live *l)
{
	struct weft_recs *both = weft_recs_join(l->past, l->recs);

	weft_recs_free(l->past);
	weft_recs_free(l->recs);
	l->past = NULL;
	l->recs = both;
	return both ? 0 : -ENOMEM;
}

static int64_t until_now(const struct gotrace_live *l)
{
	int64_t until = clock_now() - LATE;

	return until < l->end ? until : l->end;
}

static int look(struct gotrace_live *l, int64_t budget)
{
	struct weft_goroutine w;

	while (weft_snapshot_next(l->snap, &w)) {
		gotrace_goroutine(l->t, &w);
		if (clock_now() >= budget)
			return GOTRACE_LIVE_MORE;
	}
	weft_snapshot_free(l->snap);
	l->snap = NULL;
	if (look_at_threads(l->t) < 0)
		return -ENOMEM;
	if (!l->past) /* else it is what was in use at the end */
		gotrace_heap(l->t, weft_read_heap_bytes());
	l->looked = clock_now();
	l->phase = BEGINS;
	return GOTRACE_LIVE_WAIT;
}

/* All records from before the window until after the look: read in one step, taken in the next. */
static int begin(struct gotrace_live *l)
{
	if (!l->recs) {
		l->until = clock_now() - LATE;
		if (l->until < l->looked)
			return GOTRACE_LIVE_WAIT;
		l->recs = weft_recs_read((l->past ? l->asked : l->from) - GOTRACE_FIRST);
		return l->recs ? GOTRACE_LIVE_MORE : -ENOMEM;
	}
	if (l->past && join_past(l) < 0)
		return -ENOMEM;
	gotrace_forget_after(l->recs, l->until);
	gotrace_begin(l->t, l->recs);
	l->until = l->until < l->end ? l->until : l->end;
	l->phase = RUNS;
	return GOTRACE_LIVE_MORE;
}

static int run(struct gotrace_live *l, int64_t budget)
{
	int rc;

	if (!l->recs) {
		l->recs = weft_recs_read(gotrace_next(l->t) - GOTRACE_BEFORE);
		if (!l->recs)
			return -ENOMEM;
		gotrace_take(l->t, l->recs);
		l->until = until_now(l);
	}
	rc = gotrace_write(l->t, l->until, budget);
	if (rc)
		return rc < 0 ? rc : GOTRACE_LIVE_MORE;
	weft_recs_free(l->recs);
	l->recs = NULL;
	if (!gotrace_full(l->t) &&
	    (l->until < l->end || (gotrace_samples(l->t) && clock_now() < l->end + LATE_SAMPLES)))
		return GOTRACE_LIVE_WAIT;
	l->phase = ENDS;
	return GOTRACE_LIVE_MORE;
}

int gotrace_live_step(struct gotrace_live *l, int64_t budget)
{
	int rc;

	switch (l->phase) {
	case LOOKS:
		return look(l, budget);
	case BEGINS:
		return begin(l);
	case RUNS:
		return run(l, budget);
	case ENDS:
		rc = gotrace_end(l->t, budget);
		if (rc)
			return rc < 0 ? rc : GOTRACE_LIVE_MORE;
		l->phase = OVER;
		break;
	case OVER:
		break;
	}
	return GOTRACE_LIVE_OVER;
}
