/* gotrace.c - the course of a trace: taking records, merging the threads' into one order, ending.
 *
 * Of all threads the one whose next record is the earliest goes on, unless the model says that its cause is still to
 * come: then the next earliest.  So what is written is closed under causes at any time, and a trace can be cut
 * anywhere.  When nobody can go on, and not because the causes are just about to arrive (GRACE; at once when the pool
 * is known to have been written over), records are missing, and the earliest is made to fit. */
#include <errno.h>
#include <stdlib.h>

#include "gotrace_impl.h"

#include <time.h>

#define GRACE INT64_C(1000000000)

struct gotrace *gotrace_new(const struct gotrace_opts *opts)
{
	struct gotrace *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	t->opts = *opts;
	t->now = opts->from;
	t->format = opts->format == GOTRACE_CHROME ? &gt_format_chrome : &gt_format_go;
	t->format->head(t);
	return t;
}

void gotrace_free(struct gotrace *t)
{
	if (!t)
		return;
	if (t->format->free)
		t->format->free(t);
	gt_states_free(t);
	gt_tables_free(t);
	arena_free(&t->arena);
	free(t->sample);
	free(t->gone);
	buf_free(&t->section);
	buf_free(&t->out);
	free(t);
}

struct buf *gotrace_out(struct gotrace *t)
{
	return &t->out;
}

uint64_t gotrace_repairs(const struct gotrace *t)
{
	return t->n_repairs;
}

uint64_t gotrace_events(const struct gotrace *t)
{
	return t->n_events;
}

bool gotrace_samples(const struct gotrace *t)
{
	return t->sampled;
}

bool gotrace_full(const struct gotrace *t)
{
	return t->opts.max_bytes && t->n_bytes >= t->opts.max_bytes;
}

bool gotrace_begun(const struct gotrace *t)
{
	return t->begun;
}

void gotrace_forget_after(struct weft_recs *recs, int64_t time)
{
	size_t n = 0;

	for (size_t i = 0; i < recs->n; i++)
		if (recs->r[i].time <= time)
			recs->r[n++] = recs->r[i];
	recs->n = n;
}

void gotrace_take(struct gotrace *t, const struct weft_recs *recs)
{
	const struct weft_rec *r = recs->r, *end = r + recs->n;

	gt_samples_settle(t, t->next);
	t->first = r;
	t->hole = t->begun && recs->lost > t->next;
	while (r < end) {
		const struct weft_rec *first = r;
		struct gt_m *m;

		while (r < end && r->tid == first->tid)
			r++;
		if (first->tid == WEFT_REC_SAMPLES) {
			gt_samples_take(t, first, r);
			continue;
		}
		m = gt_m_get(t, first->tid);
		if (!m)
			return;
		/* Of who had written nothing lately when it began, that is what came before. */
		while (first < r &&
		       (first->at < m->done || (t->begun && !m->done && first->time < t->opts.from - GOTRACE_FIRST)))
			first++;
		m->at = first;
		m->end = r;
	}
}

void gt_event(struct gotrace *t, struct gt_m *m, unsigned id, const uint64_t *args)
{
	t->format->event(t, m, id, args);
	t->now++;
	t->n_events++;
}

/* --- Merging --------------------------------------------------------------------------------------- */

static bool has_next(const struct gt_m *m, int64_t until)
{
	return m->at < m->end && m->at->time <= until;
}

/* The thread with the earliest record; that is ready, if so asked.  NULL: there is none. */
static struct gt_m *earliest(struct gotrace *t, int64_t until, bool ready)
{
	struct gt_m *best = NULL;

	for (uint32_t i = 0; i < t->n_ms; i++) {
		struct gt_m *m = t->m[i];

		if (has_next(m, until) && (!best || m->at->time < best->at->time) && (!ready || gt_ready(t, m, m->at)))
			best = m;
	}
	return best;
}

bool gotrace_names(const struct gotrace *t)
{
	return t->format->names && t->n_named < t->n_stacks;
}

/* A goroutine of which nothing is known has the root of the first stack that it stands on. */
static void name_by(struct gotrace *t, const struct gt_m *m, const struct weft_rec *r)
{
	if (t->format->names && m->g && m->g->wanted && !m->g->name && r->stack && r->event != WEFT_EV_GO_DESTROY &&
	    (gt_has_g_seq(r) || r->event == WEFT_EV_SYSCALL_BEGIN))
		m->g->name = (uint32_t)gt_stack_of_name(t, r->stack);
}

/* How the next record fared: it is written; nothing is left, or it has to wait for its causes; names come first. */
enum fate { WRITTEN, NOTHING, NAMES };

static enum fate write_one(struct gotrace *t, int64_t until)
{
	struct gt_m *m = earliest(t, until, false);
	const struct weft_rec *r;
	bool ready = true;

	if (!m)
		return NOTHING;
	if (!gt_ready(t, m, m->at)) {
		struct gt_m *other = earliest(t, until, true);

		ready = other != NULL;
		if (!ready && !t->hole && until - m->at->time < GRACE)
			return NOTHING;
		m = ready ? other : m;
	}
	name_by(t, m, m->at);
	if (gotrace_names(t))
		return NAMES;
	r = m->at++;
	m->done = r->at + 1;
	if (r->time > t->now)
		t->now = r->time;
	if (ready)
		gt_apply(t, m, r);
	else
		gt_force(t, m, r);
	return WRITTEN;
}

bool gt_is_over(int64_t budget)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec >= budget;
}

/* What is left has to be read again. */
static void put_back(struct gotrace *t, int64_t until)
{
	t->next = until;
	for (uint32_t i = 0; i < t->n_ms; i++) {
		struct gt_m *m = t->m[i];

		if (m->at < m->end && m->at->time < t->next)
			t->next = m->at->time;
		m->at = m->end = NULL;
	}
}

int64_t gotrace_next(const struct gotrace *t)
{
	return t->next;
}

int gotrace_write(struct gotrace *t, int64_t until, int64_t budget)
{
	bool names = gotrace_names(t);

	if (!t->begun && gt_begin(t, budget))
		return t->failed ? -ENOMEM : 1;
	do {
		for (int i = 0; i < GT_PORTION; i++) {
			enum fate fate = gotrace_full(t) ? NOTHING : write_one(t, until);

			if (t->failed)
				return -ENOMEM;
			if (fate == NOTHING) {
				put_back(t, until);
				return 0;
			}
			if (fate == NAMES && (!names || gt_stack_names(t, budget) > 0))
				return 1;
		}
	} while (!gt_is_over(budget));
	return 1;
}

int gotrace_end(struct gotrace *t, int64_t budget)
{
	int rc;

	if (!t->closed) {
		gt_samples_settle(t, t->next);
		for (uint32_t i = 0; i < t->n_settled; i++)
			t->format->sample(t, &t->sample[i]);
		t->format->close(t);
	}
	t->closed = true;
	rc = t->failed ? -ENOMEM : gt_stacks(t, budget);
	if (rc)
		return rc;
	t->format->tail(t);
	return t->failed || t->section.failed || t->out.failed ? -ENOMEM : 0;
}
