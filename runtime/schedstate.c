/* schedstate.c - what Go's schedtrace shows: the scheduler's state at a glance, per P, per M and per G.
 *
 * Everything is read as it stands, without a lock: P and M are never freed, and what belongs to somebody else
 * (rt.h) is a hint.  What is no atomic is read by functions that no sanitizer looks into. */
#include <string.h>

#include "rt.h"

RT_NOSAN static int index_of(const struct m *m)
{
	return m ? (int)*(const volatile uint32_t *)&m->index : -1;
}

RT_NOSAN static bool is_spinning(const struct m *m)
{
	return *(const volatile bool *)&m->spinning;
}

/* A thread on no goroutine and without a P has found nothing to do. */
static bool is_blocked(const struct m *m)
{
	return ld(&m->own) == RT_NO_P && ld(&m->cur) == &m->g0;
}

static void read_p(struct weft_sched_p *out, const struct p *p)
{
	const struct m *m = ld(&p->m);

	out->status = ld(&p->idle) ? WEFT_P_IDLE : m ? WEFT_P_RUNNING : WEFT_P_RETIRED;
	if (out->status == WEFT_P_RETIRED && p->id < ld(&sched.maxprocs))
		out->status = WEFT_P_IDLE; /* between two Ms */
	out->m = index_of(m);
	out->tick = ld(&p->tick);
	out->runq = rt_runq_len(p);
	out->gfree = ld(&p->n_free);
	out->timers = ld(&p->timers_now);
}

void weft_read_sched(struct weft_sched *out)
{
	uint32_t n_ms = ld_acq(&rt_n_ms), n_ps = ld_acq(&sched.n_ps);
	uint64_t queued;

	memset(out, 0, sizeof *out);
	out->uptime = rt_now() - sched.started;
	out->maxprocs = (int)ld(&sched.maxprocs);
	out->idle_procs = (int)ld(&sched.n_idle_ps);
	out->threads = (int)ld(&sched.n_ms);
	out->spinning = ld(&sched.n_spinning);
	out->runq = queued = ld(&sched.n_global);
	for (uint32_t i = 0; i < n_ps; i++) {
		read_p(&out->p[out->n], sched.ps[i]);
		queued += out->p[out->n++].runq;
	}
	for (uint32_t i = 0; i < n_ms; i++) {
		const struct m *m = ld_acq(&rt_ms[i]);

		out->idle_threads += m && ld(&m->tid) && is_blocked(m);
	}
	out->need_spinning = queued && out->idle_procs && !out->spinning;
}

size_t weft_read_sched_ms(struct weft_sched_m *out, size_t cap)
{
	uint32_t n_ms = ld_acq(&rt_n_ms);
	size_t n = 0;

	for (uint32_t i = 0; i < n_ms; i++) {
		const struct m *m = ld_acq(&rt_ms[i]);
		int tid = m ? ld(&m->tid) : 0;
		const struct g *g;
		const struct p *p;

		if (!tid || n++ >= cap)
			continue;
		g = ld(&m->cur);
		p = ld_acq(&m->own) != RT_NO_P ? ld(&m->p) : NULL; /* from its record on */
		out[n - 1] = (struct weft_sched_m){
			.id = (int)m->index,
			.tid = tid,
			.p = p ? (int)p->id : -1,
			.goid = g && g != &m->g0 ? ld(&g->id) : 0,
			.spinning = is_spinning(m),
			.blocked = is_blocked(m),
		};
	}
	return n;
}

/* False: there is none. */
static bool read_g(struct weft_sched_g *out, const struct g *g)
{
	uint64_t id = ld_acq(&g->id);         /* pairs with its publication in rt_go() */
	uint32_t status = ld_acq(&g->status); /* pairs with the release where the goroutine parks */
	const struct weft_inst *inst;

	if (!id || RT_G_STATUS(status) == RT_G_DEAD)
		return false;
	out->id = id;
	out->status = (enum weft_g_status)RT_G_STATUS(status);
	out->reason = (int)RT_G_REASON(status);
	out->since = rt_tsc_to_ns(ld(&g->since_tsc)); /* no older than the status, which was read first */
	inst = ld(&g->inst);
	out->instance = inst ? inst->number : 0;
	/* m of the record is the one it ran on last. */
	out->m = out->status == WEFT_G_WAITING || out->status == WEFT_G_RUNNABLE ? -1 : index_of(ld(&g->m));
	return true;
}

size_t weft_read_sched_gs(struct weft_sched_g *out, size_t cap)
{
	size_t n = 0;

	for (uint32_t a = 0; a < ld_acq(&rt_n_arenas); a++) {
		const struct rt_arena *arena = ld_acq(&rt_arenas[a]);
		uint32_t opened = ld_acq(&arena->opened);

		for (uint32_t w = 0; w < opened / 64; w++) {
			for (uint64_t used = ld_acq(&arena->used[w]); used; used &= used - 1) {
				const struct g *g = rt_slot_g(arena, a, w * 64 + (uint32_t)__builtin_ctzll(used));
				struct weft_sched_g one;

				if (!read_g(&one, g))
					continue;
				if (n < cap)
					out[n] = one;
				n++;
			}
		}
	}
	return n;
}
