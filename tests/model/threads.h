/* threads.h - goroutines as threads of the model, for the models of what stands on parking: the scheduler is not
 * there.
 *
 * rt_park() drops its lock and blocks until rt_ready(), which checks that somebody has won the wait and that nobody is
 * readied twice.  Thread i is goroutine gs[i], on ms[i] and ps[i]. */
#ifndef WEFT_MODEL_THREADS_H
#define WEFT_MODEL_THREADS_H

#include "atomic.h"

#include "rt.h"

#include "plain_lock.h"

#define GS 4

struct rt_sched sched;
__thread struct m *rt_tls_m;
bool rt_forked;
static struct m ms[GS];
static struct g gs[GS];
static struct p ps[GS];
static _Atomic uint32_t runnable[GS];

void rt_fatal(const char *fmt, ...)
{
	mc_fail("rt_fatal: %s", fmt);
	for (;;)
		;
}
void rt_own(struct rt_owned *o, enum rt_owned_kind kind)
{
	(void)o, (void)kind;
}
void rt_disown(struct rt_owned *o)
{
	(void)o;
}
struct m *rt_enter_slow(struct m *m)
{
	return m;
}
struct g *rt_foreign_g(void)
{
	return &gs[mc_self()];
}
static int parked(void)
{
	int self = mc_self();

	mc_wait_eq(&runnable[self], 1);
	st(&runnable[self], 0);
	return gs[self].outcome;
}
#ifndef THREADS_CALLED_OFF /* else bare.h has it */
int rt_park(struct m **m, enum rt_wait reason, struct rt_lock *drop)
{
	(void)m, (void)reason;
	if (drop)
		rt_unlock(drop);
	return parked();
}
#endif
void rt_ready(struct m *m, struct g *g, int outcome, enum rt_how how)
{
	(void)m, (void)how;
	g->outcome = outcome;
	if (ld(&g->wait) & 1)
		mc_fail("goroutine %d is readied, nobody won its wait", (int)(g - gs));
	if (xchg(&runnable[g - gs], 1))
		mc_fail("goroutine %d is readied twice", (int)(g - gs));
}

static void resumed(int thread)
{
	rt_tls_m = &ms[thread];
}

/* At the begin of a case, before its threads are made. */
static void threads_begin(void)
{
	mc_resumed = resumed;
	for (int i = 0; i < GS; i++) {
		st(&ms[i].own, RT_OWNED);
		st(&ms[i].cur, &gs[i]);
		st(&ms[i].p, &ps[i]);
	}
}

#endif
