/* pin.c - goroutines that run on one thread only.
 *
 * A pinned goroutine (RT_PINNED) that is made runnable goes home, to the M it is pinned to:
 *
 *	home idles		it gets an idle P and the goroutine, and runs at once; when no P idles, the goroutine
 *				goes to the head of the global queue, and who takes it there gives home its P
 *	home runs others	the goroutine joins home's own queue of those locked to it, whose turn is every
 *				second time that home looks (find.c)
 *	home has no P		likewise; before home idles it puts them back, at the head of the global queue
 *
 * One that yields, or lost its P, stands in the same queues as all others, and is sent home by who takes it.  One that
 * was interrupted (RT_ASYNC) has a queue of its own there: it has had its slice, and comes where the global queue does.
 *
 * So an M whose pinned goroutine waits goes on to run others.  One of those that blocks the thread would keep the
 * pinned one waiting: before it enters a declared section it goes to another thread (rt_elsewhere()).  Whoever blocks
 * undeclared, or computes and cannot be interrupted, does keep it waiting.  An M ends with the last goroutine that is
 * pinned to it, when that returns without unlocking.
 *
 * home's queue and the way it idles are under sched.lock, so none is left behind by one that goes to sleep. */
#include "idle.h"
#include "rt.h"

/* --- Queues ------------------------------------------------------------------------------------------ */

/* Append to one of home's queues; under sched.lock. */
static void put(struct m *home, struct g *g)
{
	struct rt_pinned *q = &home->pinned[(g->marks & RT_ASYNC) != 0];

	g->next = NULL;
	if (q->tail)
		q->tail->next = g;
	else
		q->head = g;
	q->tail = g;
	st(&home->n_pinned, ld(&home->n_pinned) + 1);
}

void rt_send_home(struct m *m, struct g *g)
{
	struct m *home = g->pin;

	rt_lock(&sched.lock);
	if (!rt_idle_m_remove(home)) {
		put(home, g);
		rt_unlock(&sched.lock);
		return;
	}
	home->next_p = rt_p_release(m);
	home->stray = g;
	rt_unlock(&sched.lock);
	rt_idle_m_wake(home);
}

void rt_ready_home(struct g *g)
{
	struct m *home = g->pin;

	rt_lock(&sched.lock);
	if (!rt_idle_m_is(home)) {
		put(home, g);
		rt_unlock(&sched.lock);
		return;
	}
	if (!sched.idle_ps) {
		rt_unlock(&sched.lock);
		rt_global_put_first(g);
		rt_wake_one(); /* one may idle by now */
		return;
	}
	(void)rt_idle_m_remove(home);
	home->next_p = rt_idle_p_get();
	home->stray = g;
	rt_unlock(&sched.lock);
	rt_idle_m_wake(home);
}

void rt_p_move(struct m *m)
{
	struct p *p = rt_p_release(m);
	struct m *other;

	rt_lock(&sched.lock);
	for (other = sched.idle_ms; other && ld(&other->n_homes); other = other->idle_next)
		;
	if (other)
		(void)rt_idle_m_remove(other);
	rt_unlock(&sched.lock);
	if (other) {
		other->next_p = p;
		rt_idle_m_wake(other);
	} else if (rt_m_new(p, false) < 0) {
		rt_p_acquire(m, p); /* then it stays here */
	}
}

struct g *rt_pinned_get(struct m *m, bool interrupted)
{
	struct rt_pinned *q = &m->pinned[interrupted];
	struct g *g;

	rt_lock(&sched.lock);
	g = q->head;
	if (g) {
		q->head = g->next;
		if (!g->next)
			q->tail = NULL;
		st(&m->n_pinned, ld(&m->n_pinned) - 1);
	}
	rt_unlock(&sched.lock);
	return g;
}

/* To the head of the global queue; under sched.lock. */
static void give_back(struct rt_pinned *q)
{
	if (!q->head)
		return;
	q->tail->next = sched.global_head;
	if (!sched.global_head)
		sched.global_tail = q->tail;
	sched.global_head = q->head;
	*q = (struct rt_pinned){ 0 };
}

uint32_t rt_pinned_give_back(struct m *m)
{
	uint32_t n = ld(&m->n_pinned);

	if (!n)
		return 0;
	give_back(&m->pinned[true]);
	give_back(&m->pinned[false]);
	st(&sched.n_global, ld(&sched.n_global) + n);
	st(&m->n_pinned, 0);
	return n;
}

void rt_global_put_first(struct g *g)
{
	rt_lock(&sched.lock);
	g->next = sched.global_head;
	if (!sched.global_head)
		sched.global_tail = g;
	sched.global_head = g;
	st(&sched.n_global, ld(&sched.n_global) + 1);
	rt_unlock(&sched.lock);
}

/* --- Pinning ------------------------------------------------------------------------------------------ */

/* The goroutine runs on m until it calls something that may switch: nothing here does. */
void weft_lock_thread(void)
{
	struct m *m = rt_self();
	struct g *g;

	if (!m)
		return;
	g = ld(&m->cur);
	if ((g->marks & (RT_PINNED | RT_ASYNC)) == RT_PINNED) {
		if (++g->pins == 0)
			rt_fatal("weft_lock_thread: called 65,536 times without weft_unlock_thread");
		return;
	}
	g->pins = 1;
	rt_pin_async(m, g);
	g->marks &= (uint8_t)~RT_ASYNC;
}

void weft_unlock_thread(void)
{
	struct m *m = rt_self();
	struct g *g;

	if (!m)
		return;
	g = ld(&m->cur);
	if ((g->marks & (RT_PINNED | RT_ASYNC)) != RT_PINNED)
		rt_fatal("weft_unlock_thread: the goroutine is not locked to its thread");
	if (--g->pins)
		return;
	g->marks &= (uint8_t)~RT_PINNED;
	bump(&m->n_homes, -1u);
}

void rt_pin_async(struct m *m, struct g *g)
{
	if (g->marks & RT_PINNED)
		return;
	g->marks |= RT_PINNED | RT_ASYNC;
	g->pin = m;
	bump(&m->n_homes, 1);
}

void rt_pin_change(struct m *m, struct g *g)
{
	if (m->plocks) {
		rt_pin_async(m, g);
		g->marks |= RT_PLOCKS;
		g->plocks = m->plocks;
		m->plocks = 0;
		if (ld(&m->p))
			bump(&ld(&m->p)->parked_locked, 1);
	} else {
		g->marks &= (uint8_t) ~(RT_PINNED | RT_ASYNC);
		bump(&m->n_homes, -1u);
	}
}

bool rt_marks_exit(struct m *m, struct g *g)
{
	uint8_t pinned = g->marks & (RT_PINNED | RT_ASYNC);

	g->marks = 0;
	if (!pinned)
		return false;
	bump(&m->n_homes, -1u);
	m->leave = pinned == RT_PINNED && ld(&m->n_homes) == 0; /* the other kind returns with a lock held: let it */
	return m->leave;
}
