/* revoke.c - taking the P from a goroutine that runs plugin code.
 *
 * A P leaves its M only by the M giving it up, or here, while the M is outside the runtime:
 *
 *	goroutine, entering the runtime		who revokes (sysmon, tests)
 *	in_rt = 1				own: OWNED -> REVOKING by CAS
 *	(compiler barrier)			heavy barrier
 *	own == OWNED?  go on			in_rt == 0?  own = NO_P, the P is ours
 *	REVOKING: wait until it is not		else own = OWNED, try at the next tick
 *	NO_P: queue for a P
 *
 * If the revoker reads in_rt 0 after its barrier, then the goroutine's later store of 1 comes after it,
 * and so does its load of own, which sees REVOKING.  If it reads 1 the goroutine may be using the P.
 * What the goroutine did to the P before it left the runtime is visible to the revoker: rt_leave()
 * releases, the load of in_rt acquires.
 *
 * The goroutine goes on as DETACHED: it runs, and finds at its next runtime call that it has no P. */
#include "rt.h"

/* Between this and rt_unborrow() the P's owner-only state is the caller's. */
bool rt_borrow(struct m *m, struct p **p)
{
	uint32_t owned = RT_OWNED;

	if (!cas(&m->own, &owned, RT_REVOKING))
		return false;
	rt_heavy();              /* pairs with rt_light() in rt_enter() */
	if (ld_acq(&m->in_rt)) { /* pairs with the release in rt_leave() */
		st_rel(&m->own, RT_OWNED);
		return false;
	}
	*p = ld(&m->p);
	return true;
}

void rt_unborrow(struct m *m)
{
	st_rel(&m->own, RT_OWNED); /* pairs with the acquires in rt_enter() and rt_enter_slow() */
}

struct p *rt_revoke(struct m *m)
{
	struct p *p;
	struct g *g;

	if (!rt_borrow(m, &p))
		return NULL;
	g = ld(&m->cur);
	if (rt_rec_on)
		rt_record_foreign(RT_EV_HANDOFF, ld(&g->id), p->trace_seq += 2);
	st(&g->since_tsc, rt_tsc());
	st(&g->status, RT_G_DETACHED);
	st(&p->m, NULL);
	st(&m->p, NULL);
	st_rel(&m->own, RT_NO_P);
	return p;
}

/* in_rt is 1 and own was not OWNED.  Returns on an M that owns a P. */
RT_COLD struct m *rt_enter_slow(struct m *m)
{
	struct g *g = ld(&m->cur);
	struct p *p;
	uint32_t own;

	rt_check_forked();
	while ((own = ld_acq(&m->own)) == RT_REVOKING) /* pairs with rt_unborrow() */
		rt_pause();
	if (own == RT_OWNED)
		return m; /* it saw us and let go */

	rt_lock(&sched.lock);
	p = rt_idle_p_get();
	rt_unlock(&sched.lock);
	if (!p)
		return rt_requeue(m);
	rt_p_acquire(m, p);
	st(&g->status, RT_G_RUNNING);
	if (rt_rec_on) {
		m->tsc = rt_tsc();
		rt_record(m, RT_EV_REATTACH, 0, ld(&g->id), ld(&g->id), 0, rt_trace_seq(g, 1));
	}
	return m;
}
