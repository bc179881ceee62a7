/* gotrace_begin.c - the start of a trace: what was seen, and the events that say what everybody was at. */
#include <stdlib.h>

#include "gotrace_impl.h"

#define SAMPLE 1000

/* --- When it begins -------------------------------------------------------------------------------- */

static int by_time(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

/* A quarter of those records between lost and end came before that, about. */
static int64_t first_quarter(const struct weft_recs *recs, int64_t end)
{
	int64_t sample[SAMPLE + 1];
	size_t n = 0, step = recs->n / SAMPLE + 1;

	for (size_t i = 0; i < recs->n; i += step)
		if (recs->r[i].time > recs->lost && recs->r[i].time <= end)
			sample[n++] = recs->r[i].time;
	qsort(sample, n, sizeof *sample, by_time);
	return n ? sample[n / 4] : recs->lost;
}

int64_t gotrace_from(const struct weft_recs *recs, int64_t from, int64_t end)
{
	int64_t first = recs->lost + GOTRACE_BEFORE;

	if (from < first) {
		int64_t quarter = first_quarter(recs, end);

		first = quarter < first ? quarter : first;
	}
	return from > first ? from : first;
}

/* --- What was seen --------------------------------------------------------------------------------- */

void gotrace_goroutine(struct gotrace *t, const struct weft_goroutine *w)
{
	static const enum gt_g_state states[] = {
		[WEFT_G_DEAD] = GT_G_NONE,       [WEFT_G_RUNNABLE] = GT_G_RUNNABLE, [WEFT_G_RUNNING] = GT_G_RUNNING,
		[WEFT_G_WAITING] = GT_G_WAITING, [WEFT_G_DETACHED] = GT_G_SYSCALL,  [WEFT_G_SYSCALL] = GT_G_SYSCALL,
	};
	struct gt_g *g = gt_g_get(t, w->id);

	if (!g)
		return;
	g->state = states[w->status];
	g->wanted = gt_wants(t, w->id, w->instance);
	g->tid = w->tid;
	g->start = w->start;
	if (w->labels.n)
		gt_said_labels(t, g, gt_labels(t, &w->labels));
	if (g->wanted) /* where it stood at the start is known if it has stood there ever since */
		g->stack = (uint32_t)(w->since <= t->opts.from ? gt_stack_pcs(t, w) : gt_stack_start(t, w->start));
}

void gotrace_proc(struct gotrace *t, int id)
{
	struct gt_p *p = gt_p_get(t, (uint32_t)id);

	if (p)
		p->state = GT_P_IDLE;
}

void gotrace_procs(struct gotrace *t, int n)
{
	t->procs = n;
}

void gotrace_heap(struct gotrace *t, uint64_t bytes)
{
	t->heap = bytes;
}

void gotrace_thread(struct gotrace *t, const struct weft_sched_m *m)
{
	struct gt_p *p = m->p >= 0 ? gt_p_get(t, (uint32_t)m->p) : NULL;
	const struct gt_g *g = m->goid ? gt_g_find(t, m->goid) : NULL;

	if (!p)
		return;
	p->state = g && g->state == GT_G_SYSCALL ? GT_P_SYSCALL : GT_P_RUNNING;
	p->m = gt_m_get(t, m->tid);
}

/* --- Saying it ------------------------------------------------------------------------------------------------ */

static void say_standing(struct gotrace *t, struct gt_g *g)
{
	if (g->wanted && (g->state == GT_G_RUNNABLE || g->state == GT_G_WAITING))
		GT_EVENT(t, t->nobody, GT_EV_GO_STATUS_STACK, g->id, (uint64_t)-1, g->state, g->stack);
}

static void say_thread(struct gotrace *t, struct gt_m *m)
{
	bool wanted = m->g && m->g->wanted;

	if (m->p)
		GT_EVENT(t, m, GT_EV_PROC_STATUS, m->p->id, wanted ? m->p->state : GT_P_RUNNING);
	if (wanted)
		GT_EVENT(t, m, GT_EV_GO_STATUS_STACK, m->g->id, (uint64_t)m->tid, m->g->state, m->g->stack);
}

void gotrace_begin(struct gotrace *t, const struct weft_recs *recs)
{
	(void)gt_m_get(t, -1);
	gotrace_take(t, recs);
	t->lost = recs->lost;
	if (recs->lost > t->opts.from)
		t->opts.from = recs->lost;
}

static void say_ps(struct gotrace *t)
{
	gt_infer_rest(t);
	t->now = t->opts.from;
	for (uint32_t i = 0; i < GT_P_MAX; i++)
		if (t->p[i] && t->p[i]->state == GT_P_IDLE)
			GT_EVENT(t, t->nobody, GT_EV_PROC_STATUS, i, GT_P_IDLE);
}

static void say_threads(struct gotrace *t)
{
	for (uint32_t i = 0; i < t->n_ms; i++)
		if (t->m[i]->p || t->m[i]->g)
			say_thread(t, t->m[i]);
}

int gt_begin(struct gotrace *t, int64_t budget)
{
	enum { CUTS, LOOKS, INFERS, SAYS };

	if (t->failed)
		return 1;
	if (t->at.phase == CUTS && gt_cut(t, budget))
		t->at.phase = LOOKS;
	if (t->at.phase == LOOKS && gt_infer_look(t, budget))
		t->at.phase = INFERS;
	if (t->at.phase == INFERS && gt_infer_gs(t, budget)) {
		say_ps(t);
		t->at.phase = SAYS;
	}
	if (t->at.phase != SAYS || !gt_each_g(t, say_standing, budget))
		return 1;
	say_threads(t);
	t->begun = true;
	return t->failed;
}
