/* gotrace_infer.c - the states at the start of a trace.
 *
 * What a goroutine or a P did first tells what it was before.  What did nothing at all, from the start until after
 * somebody looked at it, was all the time what it was seen as: so those who run without a word, and those that wait,
 * are right at the edge.  Records are kept from a cut on that no effect crosses without its cause: times are not
 * enough for that, since a thread may stamp a dispatch with the time at which it began to look for work.
 *
 * Of a goroutine or P there are records with its seq, which are in order whoever wrote them; what was written where it
 * is, in order among themselves and with the former as far as those are of the same thread (`own`); and of goroutines
 * what others wrote who took their P away, which says nothing but when (`taken`). */
#include "gotrace_impl.h"

/* Of two with the seq of one goroutine or P: did a come before b? */
static bool earlier(const struct weft_rec *a, const struct weft_rec *b, int (*counts)(const struct weft_rec *))
{
	int32_t d = (int32_t)(gt_seq(a) - gt_seq(b));

	if (a->tid == b->tid)
		return a < b;
	return d ? d < 0 : counts(a) > counts(b);
}

/* The goroutine that wrote r where it is, without its seq; 0: none did. */
static uint64_t writer(const struct weft_rec *r)
{
	switch (r->event) {
	case WEFT_EV_SYSCALL_BEGIN:
	case WEFT_EV_SYSCALL_END:
		return r->subject;
	case WEFT_EV_GO_UNBLOCK:
		return r->tid ? r->gid : 0;
	}
	return r->tid > 0 && gt_is_said(r) ? r->gid : 0;
}

static bool takes(const struct weft_rec *r)
{
	return r->event == WEFT_EV_PROC_STEAL || r->event == WEFT_EV_HANDOFF;
}

/* --- The far side of the cut ---------------------------------------------------------------------------- */

/* Of the goroutine or P that r counts for: the last seq on the far side of the cut. */
static bool is_before(uint32_t seq, int counts, uint32_t last)
{
	int32_t d = (int32_t)(seq - last);

	return d < 0 || (d == 0 && counts);
}

/* Was the P of goroutine id taken on the far side, after r? */
static bool taken_after(const struct gotrace *t, uint64_t id, const struct weft_rec *r)
{
	const struct gt_g *g = id ? gt_g_find(t, id) : NULL;

	return g && g->far.taken && r->time < g->far.taken->time;
}

/* Likewise that of who wrote r, or of whom it is about. */
static bool precedes_taking(const struct gotrace *t, const struct weft_rec *r)
{
	return taken_after(t, writer(r), r) || (gt_has_g_seq(r) && taken_after(t, r->subject, r));
}

/* Likewise the P that its thread had: not every record says who wrote it. */
static bool precedes_loss(const struct gotrace *t, const struct weft_rec *r)
{
	const struct gt_p *p = r->tid > 0 && r->pid < GT_P_MAX ? t->p[r->pid] : NULL;

	return p && p->far.taken && r->time < p->far.taken->time;
}

/* Has r an effect on the far side already? */
static bool crosses(struct gotrace *t, const struct weft_rec *r)
{
	const struct gt_g *g = gt_has_g_seq(r) ? gt_g_find(t, r->subject) : NULL;
	const struct gt_p *p = gt_has_p_seq(r) && r->pid < GT_P_MAX ? t->p[r->pid] : NULL;

	if (precedes_taking(t, r) || precedes_loss(t, r) ||
	    (g && g->far.seq && is_before(gt_seq(r), gt_g_counts(r), gt_seq(g->far.seq))))
		return true;
	return p && p->far.seq && is_before(r->seq, gt_p_counts(r) != 0, p->far.seq->seq);
}

/* The last with seq; the last that it wrote after that; when its P was taken last. */
static void leave_g(struct gotrace *t, const struct weft_rec *r)
{
	uint64_t by = writer(r);
	struct gt_g *g;

	if (gt_has_g_seq(r) && (g = gt_g_get(t, r->subject))) {
		if (!g->far.seq || !earlier(r, g->far.seq, gt_g_counts)) {
			g->far.seq = r;
			g->far.own = NULL;
		}
		if (r->event == WEFT_EV_GO_CREATE)
			g->start = r->gid;
		if (r->event != WEFT_EV_GO_START && r->time > g->far_time)
			g->far_time = r->time;
	}
	if (by && (g = gt_g_get(t, by)) && (!g->far.seq || (g->far.seq->tid == r->tid && g->far.seq < r))) {
		g->far.own = r;
		g->far_time = r->time > g->far_time ? r->time : g->far_time;
	}
	if (takes(r) && (g = gt_g_get(t, r->subject)) && (!g->far.taken || r->time >= g->far.taken->time))
		g->far.taken = r;
}

/* r stays on the far side. */
static void leave(struct gotrace *t, const struct weft_rec *r)
{
	struct gt_p *p = gt_has_p_seq(r) ? gt_p_get(t, r->pid) : NULL;

	leave_g(t, r);
	if (p && (!p->far.seq || !earlier(r, p->far.seq, gt_p_counts)))
		p->far.seq = r;
	if (p && takes(r) && (!p->far.taken || r->time >= p->far.taken->time))
		p->far.taken = r;
}

static void advance(struct gotrace *t, struct gt_m *m, const struct weft_rec *to)
{
	for (; m->at < to; m->at++) {
		leave(t, m->at);
		m->done = m->at->at + 1;
	}
}

/* Of goroutines that are gone, their records say whose they were. */
static void know_instance(struct gotrace *t, const struct weft_rec *r)
{
	bool born = r->event == WEFT_EV_GO_CREATE;
	struct gt_g *g = born || r->event == WEFT_EV_GO_DESTROY ? gt_g_get(t, r->subject) : NULL;

	if (g)
		g->wanted = gt_wants(t, g->id, born ? r->seq : r->stack);
}

static void cut_by_time(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	if (t->opts.passes)
		know_instance(t, r);
	if (r == m->at && r->time < t->opts.from)
		advance(t, m, r + 1);
}

static void cut_by_effect(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	if (!crosses(t, r))
		return;
	advance(t, m, r + 1);
	t->at.moved = true;
}

/* All threads' records that are taken, from where the last call stopped; false: call again, it is time. */
static bool each_rec(struct gotrace *t, void (*fn)(struct gotrace *, struct gt_m *, const struct weft_rec *),
		     int64_t budget)
{
	unsigned n = 0;

	for (; t->at.i < t->n_ms; t->at.i++, t->at.r = NULL) {
		struct gt_m *m = t->m[t->at.i];

		for (const struct weft_rec *r = t->at.r ? t->at.r : m->at; r < m->end; r++) {
			fn(t, m, r);
			if (++n % GT_PORTION == 0 && gt_is_over(budget)) {
				t->at.r = r + 1;
				return false;
			}
		}
	}
	t->at.i = 0;
	return true;
}

bool gt_cut(struct gotrace *t, int64_t budget)
{
	if (!t->at.cut) {
		if (!each_rec(t, cut_by_time, budget))
			return false;
		t->at.cut = true;
	}
	do {
		if (t->at.i == 0 && !t->at.r)
			t->at.moved = false;
		if (!each_rec(t, cut_by_effect, budget))
			return false;
	} while (t->at.moved);
	return true;
}

/* --- The near side ----------------------------------------------------------------------------------------- */

/* Threads are looked through one after the other: what a goroutine wrote before anything with its seq on that thread
 * it wrote where it was from the start. */
static void look_g(struct gotrace *t, const struct weft_rec *r)
{
	uint64_t by = writer(r);
	struct gt_g *g;

	if (by && (g = gt_g_get(t, by)) && !g->near.own && !(g->last && g->last->tid == r->tid))
		g->near.own = r;
	if (gt_has_g_seq(r) && (g = gt_g_get(t, r->subject))) {
		if (!g->near.seq || earlier(r, g->near.seq, gt_g_counts))
			g->near.seq = r;
		if (r->event == WEFT_EV_REATTACH && (!g->back || earlier(r, g->back, gt_g_counts)))
			g->back = r;
		g->last = r;
	}
	if (takes(r) && (g = gt_g_get(t, r->subject)) && (!g->near.taken || r->time < g->near.taken->time))
		g->near.taken = r;
}

static void look_p(struct gotrace *t, const struct weft_rec *r)
{
	struct gt_p *p = r->pid == WEFT_REC_NO_P ? NULL : gt_p_get(t, r->pid);

	if (!p)
		return;
	if (gt_has_p_seq(r)) {
		if (!p->near.seq || earlier(r, p->near.seq, gt_p_counts))
			p->near.seq = r;
		p->last = r;
	} else if (r->tid > 0 && !p->near.own && !(p->last && p->last->tid == r->tid)) {
		p->near.own = r;
	}
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

/* Is what came after r there to be read, too?  That may be stamped earlier. */
static bool is_recent(const struct gotrace *t, const struct weft_rec *r)
{
	return r && r->time >= t->opts.from - GOTRACE_FIRST / 2 && r->time > t->lost;
}

/* The last of each goroutine says what it was left in, better than who looked at it: he may have come between the
 * stamp and the deed. */
static void infer_far_g(struct gotrace *t, struct gt_g *g)
{
	const struct weft_rec *r = g->far.own ? g->far.own : g->far.seq;

	if (g->far.taken && g->far.taken->time > g->far_time)
		r = g->far.taken;
	if (!is_recent(t, r))
		return;
	g->state = r == g->far.own && !gt_has_p_seq(r) ? GT_G_RUNNING : state_after(r);
	g->tid = r->tid ? r->tid : g->tid;
	if (g->wanted && r->event == WEFT_EV_GO_BLOCK && r->stack)
		g->stack = (uint32_t)gt_stack_named(t, r->stack, g->start);
}

static bool taken_first(const struct gt_g *g)
{
	const struct weft_rec *r = g->near.seq;

	return g->near.taken && (!r || (r->event == WEFT_EV_REATTACH && r->time > g->near.taken->time));
}

static void infer_near_g(struct gt_g *g)
{
	const struct weft_rec *r = g->near.own ? g->near.own : g->near.seq;

	if (!g->near.own && taken_first(g)) {
		g->state = g->near.taken->event == WEFT_EV_HANDOFF ? GT_G_RUNNING : GT_G_SYSCALL;
		g->tid = g->back ? g->back->tid : g->tid; /* it never left that thread */
		return;
	}
	if (!r)
		return;
	g->tid = r->tid;
	g->state = GT_G_RUNNING;
	if (r->event == WEFT_EV_GO_CREATE)
		g->state = GT_G_NONE;
	else if (r->event == WEFT_EV_GO_START)
		g->state = GT_G_RUNNABLE;
	else if (r->event == WEFT_EV_GO_UNBLOCK && r != g->near.own)
		g->state = GT_G_WAITING;
	else if (r->event == WEFT_EV_REATTACH || r->event == WEFT_EV_SYSCALL_END)
		g->state = GT_G_SYSCALL;
}

static void infer_g(struct gotrace *t, struct gt_g *g)
{
	infer_far_g(t, g);
	infer_near_g(g);
	if (g->wanted && !g->stack) /* it was over before anybody looked */
		g->stack = (uint32_t)gt_stack_start(t, g->start);
	if (g->near.seq) {
		g->seq = gt_seq(g->near.seq) - (uint32_t)gt_g_counts(g->near.seq);
		g->known = true;
	}
	g->near = g->far = (struct gt_edge){ 0 };
	g->last = g->back = NULL;
	g->far_time = 0;
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

static void infer_far_p(struct gotrace *t, struct gt_p *p)
{
	const struct weft_rec *r = p->far.seq;

	if (!is_recent(t, r))
		return;
	p->state = GT_P_RUNNING;
	if (r->event == WEFT_EV_SYSCALL_BEGIN)
		p->state = GT_P_SYSCALL;
	else if (r->event == WEFT_EV_PROC_STOP || takes(r))
		p->state = GT_P_IDLE;
	p->m = r->tid ? gt_m_get(t, r->tid) : NULL;
}

static void infer_near_p(struct gotrace *t, struct gt_p *p)
{
	const struct weft_rec *r = p->near.own ? p->near.own : p->near.seq;
	const struct gt_g *g;

	if (!r)
		return;
	p->m = r->tid ? gt_m_get(t, r->tid) : NULL;
	p->state = GT_P_RUNNING;
	if (r->event == WEFT_EV_PROC_START) {
		p->state = GT_P_IDLE;
	} else if (r->event == WEFT_EV_SYSCALL_END) {
		p->state = GT_P_SYSCALL;
	} else if (takes(r)) {
		g = gt_g_find(t, r->subject);
		p->m = g ? g->m : NULL;
		p->state = r->event == WEFT_EV_HANDOFF ? GT_P_RUNNING : GT_P_SYSCALL;
	}
}

static void infer_p(struct gotrace *t, struct gt_p *p)
{
	infer_far_p(t, p);
	infer_near_p(t, p);
	if (p->near.seq) {
		p->seq = p->near.seq->seq - (uint32_t)gt_p_counts(p->near.seq);
		p->known = true;
	}
	p->near = p->far = (struct gt_edge){ 0 };
	p->last = NULL;
	if (p->state == GT_P_IDLE || !p->m || p->m->p) {
		p->state = p->state == GT_P_NONE ? GT_P_NONE : GT_P_IDLE;
		p->m = NULL;
	} else {
		p->m->p = p;
	}
}

static void look(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	(void)m;
	look_g(t, r);
	look_p(t, r);
}

bool gt_infer_look(struct gotrace *t, int64_t budget)
{
	return each_rec(t, look, budget);
}

bool gt_infer_gs(struct gotrace *t, int64_t budget)
{
	return gt_each_g(t, infer_g, budget);
}

void gt_infer_rest(struct gotrace *t)
{
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
