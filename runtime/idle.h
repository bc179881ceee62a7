/* idle.h - between sched.c and idle.c. */
#ifndef WEFT_RT_IDLE_H
#define WEFT_RT_IDLE_H

#include "rt.h"

/* What to run next, from wherever it is; NULL: look again (or the runtime stops). */
struct g *rt_find(struct m *m);
/* Found something while spinning: let the next one look. */
void rt_stop_spinning(struct m *m);
/* Nothing to run: give the P up, make sure that nothing was missed, sleep until there is a P. */
void rt_go_idle(struct m *m);
/* m gives its P up; the caller passes it on. */
struct p *rt_p_release(struct m *m);
void rt_idle_p_put(struct p *p); /* under sched.lock */
struct m *rt_idle_m_get(void);   /* likewise: an idle M, the poller only if there is no other; or NULL */
/* Wake m, which rt_idle_m_get() gave: with m->next_p, or to look around and lie down again. */
void rt_idle_m_wake(struct m *m);

#endif
