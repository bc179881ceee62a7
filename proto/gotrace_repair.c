/* gotrace_repair.c - records that don't fit what the model knows: others were lost.
 *
 * The model is led by events that are made up to where the record fits, by the shortest way: whoever is in the way
 * stops, whoever is needed is made, woken, started.  Times and stacks of such events mean nothing. */
#include "gotrace_impl.h"

static void stop_p(struct gotrace *t, struct gt_m *m);

/* Whoever m runs, or has in a system call, becomes runnable. */
static void stop_g(struct gotrace *t, struct gt_m *m)
{
	struct gt_g *g = m->g;

	if (!g)
		return;
	if (g->state == GT_G_SYSCALL && m->p && m->p->state == GT_P_SYSCALL) {
		if (g->wanted)
			GT_EVENT0(t, m, GT_EV_GO_SYSCALL_END);
		m->p->state = GT_P_RUNNING;
		g->state = GT_G_RUNNING;
	}
	if (g->wanted && g->state == GT_G_SYSCALL)
		GT_EVENT0(t, m, GT_EV_GO_SYSCALL_END_BLOCKED);
	else if (g->wanted)
		GT_EVENT(t, m, GT_EV_GO_STOP, gt_string(t, "unspecified"), 0);
	g->state = GT_G_RUNNABLE;
	g->m = NULL;
	m->g = NULL;
}

static void stop_p(struct gotrace *t, struct gt_m *m)
{
	if (!m->p)
		return;
	stop_g(t, m);
	GT_EVENT0(t, m, GT_EV_PROC_STOP);
	m->p->state = GT_P_IDLE;
	m->p->m = NULL;
	m->p = NULL;
}

static void need_p(struct gotrace *t, struct gt_m *m, uint32_t id)
{
	struct gt_p *p = gt_p_get(t, id);

	if (!p || (m->p == p && p->state == GT_P_RUNNING))
		return;
	stop_p(t, m);
	stop_g(t, m);
	if (p->m)
		stop_p(t, p->m);
	gt_p_start(t, m, p);
}

/* m has a P, unless the goroutine is known. */
static void need_runnable(struct gotrace *t, struct gt_m *m, struct gt_g *g)
{
	if (g->m)
		stop_g(t, g->m);
	if (g->state == GT_G_WAITING && g->wanted)
		GT_EVENT(t, m, GT_EV_GO_UNBLOCK, g->id, ++g->wseq, gt_stack_scheduler(t));
	else if (g->state == GT_G_NONE && g->wanted)
		GT_EVENT(t, m, GT_EV_GO_CREATE, g->id, 0, 0);
	g->state = GT_G_RUNNABLE;
}

static void need_running(struct gotrace *t, struct gt_m *m, struct gt_g *g)
{
	if (m->g == g && g->state == GT_G_RUNNING)
		return;
	stop_g(t, m);
	need_runnable(t, m, g);
	if (g->wanted)
		GT_EVENT(t, m, GT_EV_GO_START, g->id, ++g->wseq);
	g->state = GT_G_RUNNING;
	g->m = m;
	m->g = g;
}

/* True: it is to be applied now. */
static bool fit_p(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	struct gt_p *p = gt_p_get(t, r->pid);
	struct gt_g *g;

	if (!p)
		return false;
	switch (r->event) {
	case WEFT_EV_PROC_START:
		stop_p(t, m);
		if (m->g && m->g->state != GT_G_SYSCALL)
			stop_g(t, m);
		if (p->m)
			stop_p(t, p->m);
		return true;
	case WEFT_EV_PROC_STOP:
		need_p(t, m, r->pid);
		stop_g(t, m);
		return true;
	case WEFT_EV_PROC_STEAL:
	case WEFT_EV_HANDOFF:
		if (p->m)
			stop_p(t, p->m);
		p->seq = r->seq;
		p->known = true;
		return false;
	}
	g = gt_g_get(t, r->subject);
	if (!g)
		return false;
	need_p(t, m, r->pid);
	need_running(t, m, g);
	p->seq = r->seq;
	p->known = true;
	return r->event == WEFT_EV_SYSCALL_BEGIN;
}

static bool fit_g(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	struct gt_g *g;

	if (r->pid != WEFT_REC_NO_P)
		need_p(t, m, r->pid);
	if (r->event == WEFT_EV_GO_CREATE) {
		if (m->g && m->g->state != GT_G_RUNNING)
			stop_g(t, m);
		return m->p != NULL;
	}
	if (!m->p && !gt_g_find(t, r->subject))
		return false; /* it will be made by who runs it */
	g = gt_g_get(t, r->subject);
	if (!g)
		return false;
	g->seq = r->seq;
	g->known = true;
	switch (r->event) {
	case WEFT_EV_GO_START:
		stop_g(t, m);
		need_runnable(t, m, g);
		return true;
	case WEFT_EV_GO_UNBLOCK:
		need_runnable(t, m, g);
		return false;
	case WEFT_EV_REATTACH:
		if (m->p)
			need_running(t, m, g);
		else
			need_runnable(t, m, g);
		return false;
	}
	need_running(t, m, g);
	return true;
}

void gt_force(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	t->n_repairs++;
	if (gt_has_p_seq(r) ? fit_p(t, m, r) : fit_g(t, m, r))
		gt_apply(t, m, r);
}
