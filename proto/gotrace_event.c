/* gotrace_event.c - one record becomes events: may it, by the model, and what it changes there.
 *
 * Of goroutines that are not wanted the model knows the state, but nothing is written: their threads have a P and
 * nobody to run. */
#include "gotrace_impl.h"

/* --- May it ----------------------------------------------------------------------------------------- */

static bool has_p(const struct gt_m *m, enum gt_p_state state)
{
	return m->p && m->p->state == state;
}

static bool runs(const struct gt_m *m, const struct weft_rec *r)
{
	return m->g && m->g->id == r->subject && m->g->state == GT_G_RUNNING && has_p(m, GT_P_RUNNING);
}

static bool in_syscall(const struct gt_m *m, const struct weft_rec *r)
{
	return m->g && m->g->id == r->subject && m->g->state == GT_G_SYSCALL;
}

/* All that the thread wrote before it lost its P comes first. */
static bool ready_handoff(const struct gt_p *p, const struct weft_rec *r)
{
	const struct gt_m *victim = p ? p->m : NULL;

	return victim && p->state == GT_P_RUNNING && runs(victim, r) &&
	       (victim->at == victim->end || victim->at->time >= r->time);
}

static bool ready_p(struct gotrace *t, const struct gt_m *m, const struct weft_rec *r)
{
	const struct gt_p *p = r->pid < GT_P_MAX ? t->p[r->pid] : NULL;

	if (p && p->known && p->seq + (uint32_t)gt_p_counts(r) != r->seq)
		return false;
	switch (r->event) {
	case WEFT_EV_PROC_START:
		return (!p || p->state == GT_P_NONE || p->state == GT_P_IDLE) && !m->p &&
		       (!m->g || m->g->state == GT_G_SYSCALL);
	case WEFT_EV_PROC_STOP:
		return has_p(m, GT_P_RUNNING) && m->p == p && (!m->g || m->g->state == GT_G_SYSCALL);
	case WEFT_EV_SYSCALL_BEGIN:
		return runs(m, r) && m->p == p;
	case WEFT_EV_SYSCALL_END:
		return in_syscall(m, r) && has_p(m, GT_P_SYSCALL) && m->p == p;
	case WEFT_EV_PROC_STEAL:
		return p && p->state == GT_P_SYSCALL;
	default:
		return ready_handoff(p, r);
	}
}

static bool ready_g(struct gotrace *t, const struct gt_m *m, const struct weft_rec *r)
{
	const struct gt_g *g = gt_g_find(t, r->subject);

	if (r->event == WEFT_EV_GO_CREATE)
		return has_p(m, GT_P_RUNNING) && (!m->g || m->g->state == GT_G_RUNNING);
	if (!g || (g->known && g->seq + (uint32_t)gt_g_counts(r) != r->seq))
		return false;
	switch (r->event) {
	case WEFT_EV_GO_START:
		return g->state == GT_G_RUNNABLE && has_p(m, GT_P_RUNNING) && !m->g;
	case WEFT_EV_GO_UNBLOCK:
		return g->state == GT_G_WAITING;
	case WEFT_EV_REATTACH:
		return in_syscall(m, r) && (r->flags & 1 ? !m->p : has_p(m, GT_P_RUNNING));
	default:
		return runs(m, r);
	}
}

bool gt_ready(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	if (gt_has_p_seq(r))
		return ready_p(t, m, r);
	return !gt_has_g_seq(r) || ready_g(t, m, r);
}

/* --- Ps ----------------------------------------------------------------------------------------------- */

void gt_p_start(struct gotrace *t, struct gt_m *m, struct gt_p *p)
{
	if (p->state == GT_P_NONE)
		GT_EVENT(t, m, GT_EV_PROC_STATUS, p->id, GT_P_IDLE);
	GT_EVENT(t, m, GT_EV_PROC_START, p->id, ++p->wseq);
	p->state = GT_P_RUNNING;
	p->m = m;
	m->p = p;
}

static void proc_start(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	struct gt_p *p = gt_p_get(t, r->pid);

	if (p)
		gt_p_start(t, m, p);
}

static void proc_stop(struct gotrace *t, struct gt_m *m)
{
	GT_EVENT0(t, m, GT_EV_PROC_STOP);
	m->p->state = GT_P_IDLE;
	m->p->m = NULL;
	m->p = NULL;
}

static void syscall_begin(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	if (m->g->wanted)
		GT_EVENT(t, m, GT_EV_GO_SYSCALL_BEGIN, ++m->p->wseq, gt_stack_id(t, r->stack));
	m->g->state = GT_G_SYSCALL;
	m->p->state = GT_P_SYSCALL;
}

static void syscall_end(struct gotrace *t, struct gt_m *m)
{
	if (m->g->wanted)
		GT_EVENT0(t, m, GT_EV_GO_SYSCALL_END);
	m->g->state = GT_G_RUNNING;
	m->p->state = GT_P_RUNNING;
}

/* m takes p away, from a thread whose goroutine goes on without. */
static void proc_steal(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	struct gt_p *p = t->p[r->pid];
	struct gt_m *victim = p->m;

	if (r->event == WEFT_EV_HANDOFF)
		syscall_begin(t, victim, r);
	if (!victim->g || !victim->g->wanted) {
		proc_stop(t, victim);
		return;
	}
	GT_EVENT(t, m, GT_EV_PROC_STEAL, p->id, ++p->wseq, (uint64_t)victim->tid);
	p->state = GT_P_IDLE;
	p->m = NULL;
	victim->p = NULL;
}

static void apply_p(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	struct gt_p *p;

	switch (r->event) {
	case WEFT_EV_PROC_START:
		proc_start(t, m, r);
		break;
	case WEFT_EV_PROC_STOP:
		proc_stop(t, m);
		break;
	case WEFT_EV_SYSCALL_BEGIN:
		syscall_begin(t, m, r);
		break;
	case WEFT_EV_SYSCALL_END:
		syscall_end(t, m);
		break;
	default:
		proc_steal(t, m, r);
		break;
	}
	p = gt_p_get(t, r->pid);
	if (p) {
		p->seq = r->seq;
		p->known = true;
	}
}

/* --- Goroutines ------------------------------------------------------------------------------------------ */

static void go_create(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	struct gt_g *g = gt_g_get(t, r->subject);

	if (!g || g->state != GT_G_NONE)
		return; /* it was seen before whoever runs it first says that it was made */
	g->wanted = gt_wants(t, g->id, r->seq);
	g->state = GT_G_RUNNABLE;
	g->seq = 0;
	g->known = true;
	if (g->wanted)
		GT_EVENT(t, m, GT_EV_GO_CREATE, g->id, gt_stack_start(t, r->gid), gt_stack_id(t, r->stack));
	if (m->g) /* inherited */
		gt_said_labels(t, g, m->g->label);
}

static void go_start(struct gotrace *t, struct gt_m *m, struct gt_g *g)
{
	if (g->wanted)
		GT_EVENT(t, m, GT_EV_GO_START, g->id, ++g->wseq);
	g->state = GT_G_RUNNING;
	g->m = m;
	m->g = g;
}

static void go_leave(struct gt_m *m, enum gt_g_state state)
{
	m->g->state = state;
	m->g->m = NULL;
	m->g = NULL;
}

static void go_stop(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	static const char *const why[] = { "runtime.Gosched", "preempted", "unspecified" };

	if (m->g->wanted)
		GT_EVENT(t, m, GT_EV_GO_STOP, gt_string(t, why[r->flags < 3 ? r->flags : 2]), gt_stack_id(t, r->stack));
	go_leave(m, GT_G_RUNNABLE);
}

static void go_block(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	if (m->g->wanted)
		GT_EVENT(t, m, GT_EV_GO_BLOCK, gt_string(t, weft_read_trace_reason(r->flags)),
			 gt_stack_id(t, r->stack));
	go_leave(m, GT_G_WAITING);
}

static void go_destroy(struct gotrace *t, struct gt_m *m)
{
	struct gt_g *g = m->g;

	if (g->wanted)
		GT_EVENT0(t, m, GT_EV_GO_DESTROY);
	go_leave(m, GT_G_NONE);
	gt_g_end(t, g);
}

/* Older versions of the tool leave events without a stack out of profiles. */
static void go_unblock(struct gotrace *t, struct gt_m *m, const struct weft_rec *r, struct gt_g *g)
{
	if (g->wanted)
		GT_EVENT(t, m, GT_EV_GO_UNBLOCK, g->id, ++g->wseq,
			 r->stack ? gt_stack_id(t, r->stack) : gt_stack_scheduler(t));
	g->state = GT_G_RUNNABLE;
}

static void reattach(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	struct gt_g *g = m->g;

	if (g->wanted)
		GT_EVENT0(t, m, GT_EV_GO_SYSCALL_END_BLOCKED);
	go_leave(m, GT_G_RUNNABLE);
	if (!(r->flags & 1))
		go_start(t, m, g);
}

static void apply_g(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	struct gt_g *g = gt_g_find(t, r->subject);

	if (g) {
		g->seq = gt_seq(r);
		g->known = true;
	}
	switch (r->event) {
	case WEFT_EV_GO_CREATE:
		go_create(t, m, r);
		break;
	case WEFT_EV_GO_START:
		go_start(t, m, g);
		break;
	case WEFT_EV_GO_DESTROY:
		go_destroy(t, m);
		break;
	case WEFT_EV_GO_YIELD:
		go_stop(t, m, r);
		break;
	case WEFT_EV_GO_BLOCK:
		go_block(t, m, r);
		break;
	case WEFT_EV_GO_UNBLOCK:
		go_unblock(t, m, r, g);
		break;
	case WEFT_EV_REATTACH:
		reattach(t, m, r);
		break;
	}
}

/* Memory in use can be said only where there is a P, the number of Ps only where a goroutine runs. */
static void say_numbers(struct gotrace *t, struct gt_m *m)
{
	if (t->heap && has_p(m, GT_P_RUNNING)) {
		GT_EVENT(t, m, GT_EV_HEAP_ALLOC, t->heap);
		t->heap = 0;
	}
	if (!t->procs || !m->g || !m->g->wanted || m->g->state != GT_G_RUNNING || !has_p(m, GT_P_RUNNING))
		return;
	GT_EVENT(t, m, GT_EV_PROCS_CHANGE, (uint64_t)t->procs, 0);
	t->procs = 0;
}

void gt_apply(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	say_numbers(t, m);
	gt_said_flush(t, m);
	if (r->event == WEFT_EV_PROCS_CHANGE)
		t->procs = (int)r->subject;
	else if (gt_has_p_seq(r))
		apply_p(t, m, r);
	else if (gt_has_g_seq(r))
		apply_g(t, m, r);
	else
		gt_said_apply(t, m, r);
	say_numbers(t, m);
	gt_said_flush(t, m);
}
