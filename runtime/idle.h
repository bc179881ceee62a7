/* idle.h - between sched.c, find.c and idle.c: looking for work, idling. */
#ifndef WEFT_RT_IDLE_H
#define WEFT_RT_IDLE_H

#include "rt.h"

#define RT_SLICE (10 * WEFT_MS)

/* find.c: what to run next, from wherever it is; NULL: look again (or the runtime stops). */
struct g *rt_find(struct m *m);
void rt_start_spinning(struct m *m); /* it looks at other Ps, and counts as doing so */
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
extern int64_t rt_spare_ns; /* how long an M idles that nobody needs; tests shorten it */

/* pin.c: m, with a P, has picked g, which is pinned to another M.  m may have lost its P to that one. */
void rt_send_home(struct m *m, struct g *g);
/* g, pinned, was just made runnable: on its home, at once if that and a P idle. */
void rt_ready_home(struct g *g);
/* Give m's P to an M that nobody is pinned to, if one is to be had. */
void rt_p_move(struct m *m);
struct g *rt_pinned_get(struct m *m, bool interrupted); /* the next of m's own queue of these, or NULL */
uint32_t rt_pinned_give_back(struct m *m);              /* under sched.lock: to the global queue; how many */
void rt_global_put_first(struct g *g);                  /* ahead of all others */
void rt_pin_async(struct m *m, struct g *g);            /* g, which m runs, was interrupted */
void rt_pin_change(struct m *m, struct g *g);           /* it is about to wait or yield */
bool rt_marks_exit(struct m *m, struct g *g);           /* g returns; true: so does m, which runs nobody more */

#endif
