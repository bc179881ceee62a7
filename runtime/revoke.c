/* revoke.c - taking the P from a goroutine that runs plugin code.
 *
 * A P leaves its M only by the M giving it up, or here, in one of two ways.
 *
 * The M is outside the runtime:
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
 * Or the goroutine has lent it, on entering a declared blocking section (block.c): own is LENT, and whoever changes
 * that by CAS has the P: the goroutine to OWNED when it comes back, the retaker to REVOKING and then NO_P.
 *
 * The goroutine goes on as DETACHED (or SYSCALL, in a section): it runs, and finds at its next runtime call that
 * it has no P. */
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

/* own is REVOKING. */
static void take(struct m *m, struct p *p, enum rt_lost lost)
{
	rt_rec_release(m);
	m->lost = lost;
	st(&p->m, NULL);
	st(&m->p, NULL);
	st_rel(&m->own, RT_NO_P); /* pairs with the acquire in rt_enter_slow() */
}

static struct p *take_p(struct m *m, enum rt_lost lost, uint32_t stack, struct rt_blocked *blocked)
{
	struct p *p;
	struct g *g;

	if (!rt_borrow(m, &p))
		return NULL;
	g = ld(&m->cur);
	if (rt_rec_on)
		rt_record_foreign(RT_EV_HANDOFF, p, ld(&g->id), stack, p->trace_seq += 2);
	st(&g->since_tsc, rt_tsc());
	st(&g->status, RT_G_DETACHED);
	m->blocked = blocked;
	take(m, p, lost);
	return p;
}

struct p *rt_revoke(struct m *m, enum rt_lost lost, uint32_t stack)
{
	return take_p(m, lost, stack, NULL);
}

struct p *rt_revoke_blocked(struct m *m, uint32_t stack, struct rt_blocked *entry)
{
	return take_p(m, RT_LOST_BLOCKED, stack, entry);
}

struct p *rt_retake(struct m *m)
{
	uint32_t lent = RT_LENT;
	struct p *p;

	if (!cas(&m->own, &lent, RT_REVOKING)) /* pairs with the CAS in rt_section_begin() */
		return NULL;
	p = ld(&m->p);
	if (rt_rec_on)
		rt_record_foreign(RT_EV_PROC_STEAL, p, ld(&ld(&m->cur)->id), 0, ++p->trace_seq);
	take(m, p, RT_LOST_SECTION);
	return p;
}

/* The goroutine comes back to the runtime; it has a P again, or is about to queue for one. */
static void runs_again(struct g *g)
{
	if (ld(&g->status) == RT_G_SYSCALL)
		rt_seq_begin(g); /* it stands still no longer */
	st(&g->status, RT_G_RUNNING);
}

/* in_rt is 1 and own was not OWNED.  Returns on an M that owns a P. */
RT_COLD struct m *rt_enter_slow(struct m *m)
{
	struct g *g = ld(&m->cur);
	struct p *p;
	uint32_t own;

	rt_check_forked();
	while ((own = ld_acq(&m->own)) == RT_REVOKING) /* pairs with rt_unborrow() and take() */
		rt_pause();
	if (own == RT_OWNED)
		return m; /* it saw us and let go */
	if (own == RT_LENT) {
		if (rt_section_end(m))
			return m;
		while (ld_acq(&m->own) == RT_REVOKING) /* pairs with take() */
			rt_pause();
	}
	if (m->lost == RT_LOST_SLICE)
		(void)add(&sched.n_handed, -1);
	else if (m->lost == RT_LOST_BLOCKED)
		rt_blocked_time(m->blocked, rt_now() - rt_tsc_to_ns(ld(&g->since_tsc)));

	rt_lock(&sched.lock);
	p = rt_idle_p_get();
	rt_unlock(&sched.lock);
	if (p)
		rt_p_acquire(m, p);
	if (rt_rec_on) {
		m->tsc = rt_tsc();
		rt_record(m, RT_EV_REATTACH, !p, ld(&g->id), ld(&g->id), 0, rt_trace_seq(g, p ? 1 : 0));
	}
	runs_again(g);
	return p ? m : rt_requeue(m);
}
