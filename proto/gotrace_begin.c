/* gotrace_begin.c - the states at the start of a trace, and the events that say them.
 *
 * What a goroutine or a P did first tells what it was before.  What did nothing at all, from the start until after
 * somebody looked at it, was all the time what it was seen as: so those who run without a word, and those that wait,
 * are right at the edge.  Records are kept from a cut on that no effect crosses without its cause: times are not
 * enough for that, since a thread may stamp a dispatch with the time at which it began to look for work. */
#include <string.h>

#include "gotrace_impl.h"

/* --- What was seen --------------------------------------------------------------------------------- */

static bool passes(const struct gotrace *t, const struct weft_goroutine *w)
{
	if (t->opts.g && t->opts.g != w->id)
		return false;
	return !t->opts.passes || t->opts.passes(t->opts.user, w->instance);
}

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
	g->instance = w->instance;
	g->wanted = passes(t, w);
	g->tid = w->tid;
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

void gotrace_thread(struct gotrace *t, const struct weft_sched_m *m)
{
	struct gt_p *p = m->p >= 0 ? gt_p_get(t, (uint32_t)m->p) : NULL;
	const struct gt_g *g = m->goid ? gt_g_find(t, m->goid) : NULL;

	if (!p)
		return;
	p->state = g && g->state == GT_G_SYSCALL ? GT_P_SYSCALL : GT_P_RUNNING;
	p->m = gt_m_get(t, m->tid);
}

/* --- The cut ------------------------------------------------------------------------------------------ */

/* Did a come before b? */
static bool earlier(const struct weft_rec *a, bool a_seq, const struct weft_rec *b, bool b_seq,
		    int (*counts)(const struct weft_rec *))
{
	int32_t d = (int32_t)(a->seq - b->seq);

	if (a->tid == b->tid)
		return a < b;
	if (!a_seq || !b_seq)
		return a->time < b->time;
	return d ? d < 0 : counts(a) > counts(b);
}

/* Of the goroutine or P that r counts for: the last seq on the far side of the cut. */
static bool is_before(uint32_t seq, int counts, uint32_t last)
{
	int32_t d = (int32_t)(seq - last);

	return d < 0 || (d == 0 && counts);
}

/* Has r an effect on the far side already? */
static bool crosses(struct gotrace *t, const struct weft_rec *r)
{
	const struct gt_g *g = gt_has_g_seq(r) ? gt_g_find(t, r->subject) : NULL;
	const struct gt_p *p = gt_has_p_seq(r) && r->pid < GT_P_MAX ? t->p[r->pid] : NULL;

	if (g && g->first_seq && is_before(r->seq, gt_g_counts(r), g->first_seq->seq))
		return true;
	return p && p->first && is_before(r->seq, gt_p_counts(r) != 0, p->first->seq);
}

static bool is_about_g(const struct weft_rec *r)
{
	return gt_has_g_seq(r) || (gt_has_p_seq(r) && r->event != WEFT_EV_PROC_START && r->event != WEFT_EV_PROC_STOP);
}

/* The last of each goroutine says what it was left in, better than who looked at it: he may have come between the
 * stamp and the deed. */
static void leave_g(struct gotrace *t, const struct weft_rec *r)
{
	struct gt_g *g = is_about_g(r) && r->time >= t->opts.from - GOTRACE_BEFORE ? gt_g_get(t, r->subject) : NULL;

	if (g && (!g->far || earlier(g->far, gt_has_g_seq(g->far), r, gt_has_g_seq(r), gt_g_counts)))
		g->far = r;
}

/* r stays on the far side. */
static void leave(struct gotrace *t, const struct weft_rec *r)
{
	struct gt_g *g = gt_has_g_seq(r) ? gt_g_get(t, r->subject) : NULL;
	struct gt_p *p = gt_has_p_seq(r) ? gt_p_get(t, r->pid) : NULL;

	if (g && (!g->first_seq || (int32_t)(r->seq - g->first_seq->seq) >= 0))
		g->first_seq = r;
	if (p && (!p->first || (int32_t)(r->seq - p->first->seq) >= 0))
		p->first = r;
	leave_g(t, r);
}

static void advance(struct gotrace *t, struct gt_m *m, const struct weft_rec *to)
{
	for (; m->at < to; m->at++) {
		leave(t, m->at);
		m->done = m->at->at + 1;
	}
}

static bool move_cut(struct gotrace *t)
{
	bool moved = false;

	for (uint32_t i = 0; i < t->n_ms; i++) {
		struct gt_m *m = t->m[i];

		for (const struct weft_rec *r = m->at; r < m->end; r++) {
			if (!crosses(t, r))
				continue;
			advance(t, m, r + 1);
			moved = true;
		}
	}
	return moved;
}

static void forget_firsts(struct gotrace *t)
{
	for (uint32_t i = 0; i < t->n_buckets; i++)
		for (struct gt_g *g = t->buckets[i]; g; g = g->next)
			g->first = g->first_seq = NULL;
	for (uint32_t i = 0; i < GT_P_MAX; i++)
		if (t->p[i])
			t->p[i]->first = NULL;
}

static void cut(struct gotrace *t)
{
	for (uint32_t i = 0; i < t->n_ms; i++) {
		struct gt_m *m = t->m[i];
		const struct weft_rec *r = m->at;

		while (r < m->end && r->time < t->opts.from)
			r++;
		advance(t, m, r);
	}
	while (move_cut(t))
		;
	forget_firsts(t);
}

/* --- The first of each ---------------------------------------------------------------------------------- */

static void first_of_g(struct gotrace *t, uint64_t id, const struct weft_rec *r, bool waker)
{
	struct gt_g *g = id ? gt_g_get(t, id) : NULL;
	bool seq = !waker && gt_has_g_seq(r);

	if (!g)
		return;
	if (!g->first || earlier(r, seq, g->first, !g->first_is_waker && gt_has_g_seq(g->first), gt_g_counts)) {
		g->first = r;
		g->first_is_waker = waker;
	}
	if (seq && (!g->first_seq || earlier(r, true, g->first_seq, true, gt_g_counts)))
		g->first_seq = r;
}

static void first_of_p(struct gotrace *t, const struct weft_rec *r)
{
	struct gt_p *p = r->pid == WEFT_REC_NO_P ? NULL : gt_p_get(t, r->pid);

	if (p && (!p->first || earlier(r, gt_has_p_seq(r), p->first, gt_has_p_seq(p->first), gt_p_counts)))
		p->first = r;
}

/* The seq of a P before its first record that has one. */
static void seq_of_p(struct gotrace *t, const struct weft_rec *r, const struct weft_rec **least)
{
	if (!gt_has_p_seq(r) || r->pid >= GT_P_MAX || !t->p[r->pid])
		return;
	if (!least[r->pid] || earlier(r, true, least[r->pid], true, gt_p_counts)) {
		least[r->pid] = r;
		t->p[r->pid]->seq = r->seq - (uint32_t)gt_p_counts(r);
		t->p[r->pid]->known = true;
	}
}

static void look(struct gotrace *t, const struct weft_rec *r)
{
	struct gt_g *g;

	switch (r->event) {
	case WEFT_EV_GO_UNBLOCK:
		if (r->tid)
			first_of_g(t, r->gid, r, true);
		break;
	case WEFT_EV_REATTACH:
		g = gt_g_get(t, r->subject);
		if (g && (!g->back || earlier(r, true, g->back, true, gt_g_counts)))
			g->back = r;
		break;
	}
	if (is_about_g(r))
		first_of_g(t, r->subject, r, false);
	if (r->tid > 0 || gt_has_p_seq(r))
		first_of_p(t, r);
}

/* --- What they say ------------------------------------------------------------------------------------------ */

/* What r left it in. */
static enum gt_g_state state_after(const struct weft_rec *r)
{
	switch (r->event) {
	case WEFT_EV_GO_START:
	case WEFT_EV_SYSCALL_END:
		return GT_G_RUNNING;
	case WEFT_EV_REATTACH:
		return r->flags & 1 ? GT_G_RUNNABLE : GT_G_RUNNING;
	case WEFT_EV_GO_BLOCK:
		return GT_G_WAITING;
	case WEFT_EV_GO_DESTROY:
		return GT_G_NONE;
	case WEFT_EV_SYSCALL_BEGIN:
	case WEFT_EV_HANDOFF:
	case WEFT_EV_PROC_STEAL:
		return GT_G_SYSCALL;
	}
	return GT_G_RUNNABLE;
}

static void infer_g(struct gotrace *t, struct gt_g *g)
{
	const struct weft_rec *r = g->first;

	if (g->far) {
		g->state = state_after(g->far);
		g->tid = g->far->tid ? g->far->tid : g->tid;
		if (g->wanted && g->far->event == WEFT_EV_GO_BLOCK && g->far->stack)
			g->stack = (uint32_t)gt_stack_id(t, g->far->stack);
	}
	if (g->back && r && (r->event == WEFT_EV_HANDOFF || r->event == WEFT_EV_PROC_STEAL))
		g->tid = g->back->tid; /* it never left that thread */

	if (g->first_seq) {
		g->seq = g->first_seq->seq - (uint32_t)gt_g_counts(g->first_seq);
		g->known = true;
	}
	if (r) {
		g->state = GT_G_RUNNING;
		if (r->event == WEFT_EV_GO_CREATE)
			g->state = GT_G_NONE;
		else if (r->event == WEFT_EV_GO_START)
			g->state = GT_G_RUNNABLE;
		else if (r->event == WEFT_EV_GO_UNBLOCK && !g->first_is_waker)
			g->state = GT_G_WAITING;
		else if (r->event == WEFT_EV_REATTACH || r->event == WEFT_EV_SYSCALL_END ||
			 r->event == WEFT_EV_PROC_STEAL)
			g->state = GT_G_SYSCALL;
		if (r->event != WEFT_EV_HANDOFF && r->event != WEFT_EV_PROC_STEAL)
			g->tid = r->tid;
	}
	g->first = g->first_seq = g->far = g->back = NULL;
	if (g->state != GT_G_RUNNING && g->state != GT_G_SYSCALL)
		return;
	g->m = gt_m_get(t, g->tid ? g->tid : -1);
	if (!g->m || g->m == t->nobody || g->m->g) {
		g->state = GT_G_RUNNABLE; /* somebody else is there: a look that did not fit */
		g->m = NULL;
	} else {
		g->m->g = g;
	}
}

static void infer_p(struct gotrace *t, struct gt_p *p)
{
	const struct weft_rec *r = p->first;
	struct gt_g *g;

	if (r) {
		p->m = r->tid ? gt_m_get(t, r->tid) : NULL;
		p->state = GT_P_RUNNING;
		if (r->event == WEFT_EV_PROC_START) {
			p->state = GT_P_IDLE;
		} else if (r->event == WEFT_EV_SYSCALL_END) {
			p->state = GT_P_SYSCALL;
		} else if (r->event == WEFT_EV_PROC_STEAL || r->event == WEFT_EV_HANDOFF) {
			g = gt_g_find(t, r->subject);
			p->m = g ? g->m : NULL;
			p->state = r->event == WEFT_EV_HANDOFF ? GT_P_RUNNING : GT_P_SYSCALL;
		}
	}
	p->first = NULL;
	if (p->state == GT_P_IDLE || !p->m || p->m->p) {
		p->state = p->state == GT_P_NONE ? GT_P_NONE : GT_P_IDLE;
		p->m = NULL;
	} else {
		p->m->p = p;
	}
}

static void infer(struct gotrace *t)
{
	const struct weft_rec *least[GT_P_MAX] = { NULL };

	for (uint32_t i = 0; i < t->n_ms; i++) {
		for (const struct weft_rec *r = t->m[i]->at; r < t->m[i]->end; r++) {
			look(t, r);
			seq_of_p(t, r, least);
		}
	}
	for (uint32_t i = 0; i < t->n_buckets; i++)
		for (struct gt_g *g = t->buckets[i]; g; g = g->next)
			infer_g(t, g);
	for (uint32_t i = 0; i < GT_P_MAX; i++)
		if (t->p[i])
			infer_p(t, t->p[i]);
	/* Who runs has a P. */
	for (uint32_t i = 0; i < t->n_ms; i++) {
		struct gt_m *m = t->m[i];

		if (m->g && m->g->state == GT_G_RUNNING && (!m->p || m->p->state != GT_P_RUNNING)) {
			m->g->state = GT_G_SYSCALL;
			t->n_repairs++;
		}
	}
}

/* --- Saying it ------------------------------------------------------------------------------------------------ */

static void say_standing(struct gotrace *t, struct gt_m *m)
{
	for (uint32_t i = 0; i < GT_P_MAX; i++)
		if (t->p[i] && t->p[i]->state == GT_P_IDLE)
			GT_EVENT(t, m, GT_EV_PROC_STATUS, i, GT_P_IDLE);
	for (uint32_t i = 0; i < t->n_buckets; i++) {
		for (struct gt_g *g = t->buckets[i]; g; g = g->next) {
			if (!g->wanted || (g->state != GT_G_RUNNABLE && g->state != GT_G_WAITING))
				continue;
			GT_EVENT(t, m, GT_EV_GO_STATUS_STACK, g->id, (uint64_t)-1, g->state, g->stack);
		}
	}
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
	struct gt_m *nobody = gt_m_get(t, -1);

	gotrace_take(t, recs);
	if (!nobody || t->failed)
		return;
	if (recs->lost > t->opts.from)
		t->opts.from = recs->lost;
	cut(t);
	infer(t);
	t->now = t->opts.from;
	say_standing(t, nobody);
	for (uint32_t i = 0; i < t->n_ms; i++)
		if (t->m[i]->p || t->m[i]->g)
			say_thread(t, t->m[i]);
	gt_flush(t, nobody);
	t->begun = true;
}
