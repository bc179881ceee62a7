/* prof_wait.h - block and mutex profile: what a wait that is over asks, on the way (prof_wait.c). */
#ifndef WEFT_RT_PROF_WAIT_H
#define WEFT_RT_PROF_WAIT_H

#include "ptab.h"
#include "rt.h"

/* Read by every wait, written when a rate changes. */
struct rt_wait_rates {
	RT_CACHED _Atomic uint64_t block; /* tsc; 0: off */
	_Atomic uint64_t fraction;        /* of events at locks; 0: off */
	_Atomic uint64_t always;          /* tsc: what took so long is counted in any case */
};
extern struct rt_wait_rates rt_wait_rates;

/* The recorder or the block profile wants to know when: one look for both. */
extern _Atomic bool rt_see_on;
static inline bool rt_mutex_on(void)
{
	return ld(&rt_wait_rates.fraction) != 0;
}

void rt_waited_slow(struct m *m, struct g *g, uint64_t since, uint64_t span, enum rt_wait reason, void *frame);
/* The goroutine that runs on m has waited since then (tsc); who woke it left the end in its record. */
static inline void rt_waited(struct m *m, struct g *g, uint64_t since, enum rt_wait reason, void *frame)
{
	uint64_t rate = ld(&rt_wait_rates.block), span;
	struct p *p;

	if (!rate)
		return;
	p = ld(&m->p);
	p->luck = p->luck * UINT64_C(0x5851f42d4c957f2d) + 1;
	span = ld(&g->since_tsc) - since;
	/* A wait of c is counted with the probability c / rate, if shorter than that. */
	if (likely((int64_t)span < (int64_t)((p->luck >> 40) * rate >> 24)))
		return;
	rt_waited_slow(m, g, since, span, reason, frame);
}

/* The current goroutine has let go of a lock for which others waited, `span` (tsc) in all. */
void rt_contended(struct m *m, uint64_t now, uint64_t span, void *frame);

#endif
