/* find.c - what an M runs next: its P's own queues, the oldest's turn, the global queue, descriptors, other Ps.
 *
 * Order, for an M with a P: own timers that are due; goroutines locked to this M every second time; each TURN the
 * oldest of some queue, who get a tenth of the time at most; then run-next, the P's own queues, the global queue, what
 * descriptors have, and other Ps.  Only the last spins, that is, it counts in n_spinning: idle.c's head has the rule
 * that this is part of.  Nothing here waits or takes sched.lock but through what it calls. */
#include "heap.h"
#include "idle.h"
#include "netpoll.h"
#include "rt.h"

#define TURN (1 * WEFT_MS)
#define FAIR_REST 9 /* after a turn of the oldest that took t, others run for that many t */
#define STEAL_ROUNDS 4
#define SPIN_PAUSES 40

/* --- Turns ------------------------------------------------------------------------------------------------------- */

/* The TURN is over: may the oldest go first?  Those who come so get a tenth of the time at most: who has just come
 * so, and ran until now, may have run for a slice. */
static bool fair_due(struct m *m, struct p *p)
{
	if (p->fair_tick == ld(&p->tick)) { /* nobody else has run since */
		uint64_t slice = rt_ns_span_tsc(RT_SLICE), ran = m->tsc - p->fair_from;

		p->fair_tick = 0;
		p->fair_at = m->tsc + FAIR_REST * (ran < slice ? ran : slice);
	}
	return m->tsc >= p->fair_at;
}

/* Whose oldest?  NULL: nobody's. */
static struct g *fair_turn(struct m *m, struct p *p)
{
	struct g *g = NULL;

	for (int i = 0; i < 4 && !g; i++) {
		switch (p->turn++ % 4) {
		case 0:
			g = rt_global_get(p, 1);
			break;
		case 1:
			g = rt_spawn_get_oldest(p);
			break;
		case 2:
			g = p->next ? NULL : rt_runq_get(p);
			break;
		case 3:
			g = ld(&m->n_pinned) ? rt_pinned_get(m, true) : NULL;
			break;
		}
	}
	if (g) {
		p->fair_from = m->tsc;
		p->fair_tick = ld(&p->tick) + 1; /* once it is dispatched */
	}
	return g;
}

/* Run-next jumps the queue no longer than its slice. */
static void next_to_queue(struct p *p)
{
	if (!p->next || rt_tsc() < p->slice_end)
		return;
	rt_runq_put(p, p->next);
	p->next = NULL;
	st(&p->has_next, 0);
}

/* --- Spinning ---------------------------------------------------------------------------------------------------- */

void rt_start_spinning(struct m *m)
{
	if (m->spinning)
		return;
	m->spinning = true;
	add(&sched.n_spinning, 1);
}

void rt_stop_spinning(struct m *m)
{
	m->spinning = false;
	if (add_sc(&sched.n_spinning, -1) == 1)
		rt_wake_one();
}

static uint64_t next_random(struct p *p)
{
	p->rng ^= p->rng << 13;
	p->rng ^= p->rng >> 7;
	p->rng ^= p->rng << 17;
	return p->rng;
}

/* A look around the other Ps, in random order. */
static struct g *steal_round(struct m *m, struct p *p, int64_t now)
{
	uint32_t n = ld_acq(&sched.n_ps), at = (uint32_t)(next_random(p) % n);

	for (uint32_t i = 0; i < n; i++) {
		struct p *victim = sched.ps[(at + i) % n];
		struct g *g;

		if (victim == p)
			continue;
		if (ld(&victim->first) <= now && rt_timers_run(m, victim, now)) {
			g = rt_runq_get(p);
			if (!g)
				g = rt_spawn_get(p); /* a timer's function */
			if (g)
				return g;
		}
		if (rt_runq_empty(victim))
			continue;
		g = rt_steal(p, victim);
		if (g) {
			bump(&p->steals, 1);
			return g;
		}
	}
	return NULL;
}

/* now: when p's own timers were looked at. */
static struct g *spin(struct m *m, struct p *p, int64_t now)
{
	if (!m->spinning && 2 * ld(&sched.n_spinning) >= (int32_t)(ld(&sched.n_active) - ld(&sched.n_idle_ps)))
		return NULL;
	rt_start_spinning(m);
	m->looked = now;
	for (int round = 0; round < STEAL_ROUNDS; round++) {
		struct g *g = steal_round(m, p, rt_now());

		if (!g)
			g = rt_global_get(p, RT_RUNQ);
		if (g || ld(&sched.stopping))
			return g;
		for (int i = 0; i < SPIN_PAUSES; i++)
			rt_pause();
	}
	return NULL;
}

/* Is anybody who waits for a descriptor runnable now?  Nobody else is woken for the first of them. */
static struct g *ask_net(struct m *m, struct p *p)
{
	struct g *g;

	if (!rt_net_unwatched() || !rt_net_poll(m, RT_READY_NEXT))
		return NULL;
	g = p->next;
	if (!g)
		return rt_runq_get(p);
	p->next = NULL;
	st(&p->has_next, 0);
	return g;
}

/* --- All of it --------------------------------------------------------------------------------------------------- */

struct g *rt_find(struct m *m)
{
	struct p *p = ld(&m->p);
	int64_t now;
	struct g *g = NULL;

	if (p && unlikely(p->id >= ld(&sched.maxprocs)))
		p = rt_p_retire(m);
	if (!p)
		return NULL;
	m->tsc = rt_tsc();
	now = rt_now();
	if (ld(&p->first) <= now)
		(void)rt_timers_run(m, p, now);
	if (unlikely(ld(&m->n_pinned)) && (m->pinned_turn = !m->pinned_turn) && (g = rt_pinned_get(m, false))) {
		p->slice_end = m->tsc + rt_ns_span_tsc(RT_SLICE);
		return g;
	}
	if (m->tsc >= p->turn_at) {
		p->turn_at = m->tsc + rt_ns_span_tsc(TURN);
		if (rt_net_stale(now, TURN))
			(void)rt_net_poll(m, RT_READY_QUEUE);
		rt_heap_tell(m);
		next_to_queue(p);
		if (fair_due(m, p))
			g = fair_turn(m, p);
	}
	if (!g && p->next) {
		g = p->next;
		p->next = NULL;
		st(&p->has_next, 0);
		return g; /* inherits the slice */
	}
	if (!g)
		g = rt_runq_get(p);
	if (!g)
		g = rt_spawn_get(p);
	if (!g && unlikely(ld(&m->n_pinned)))
		g = rt_pinned_get(m, true);
	if (!g)
		g = rt_global_get(p, RT_RUNQ);
	if (!g)
		g = ask_net(m, p);
	if (!g)
		g = spin(m, p, now);
	p->slice_end = m->tsc + rt_ns_span_tsc(RT_SLICE);
	return g;
}
