/* runq.c - where runnable goroutines wait: per P run-next, ring and deque; and the global queue.
 *
 *   next    one goroutine that the running one has just handed something to.  Owner only: nobody
 *	    steals it; sysmon moves it away when its owner does not come back (sysmon.c).
 *   ring    woken goroutines, first in, first out.  The owner puts at `tail` (release); everybody takes
 *	    at `head` by CAS: a slot is read before the CAS, and a CAS that succeeds says that it was
 *	    not overwritten, since the owner never puts past head + RT_RUNQ.
 *   deque   spawned goroutines, newest first for the owner, oldest first for thieves: stacks and cache
 *	    lines are reused before the next is touched.  Long, since what overflows to the global
 *	    queue comes back by a lock and one CAS more each.  The deque of Chase and Lev with a fixed
 *	    size: `bottom` is the owner's, `top` is moved by CAS only.  The owner lowers bottom, fence,
 *	    reads top; a thief reads top, fence, reads bottom: the last element goes to whoever moves
 *	    top first.
 *   global  a list under sched.lock: what overflows, what comes from threads without a P.
 *
 * Order of picking: sched.c. */
#include "rt.h"

uint32_t rt_runq_len(const struct p *p)
{
	int64_t d = ld(&p->bottom) - ld(&p->top);

	return ld(&p->tail) - ld(&p->head) + (d > 0 ? (uint32_t)d : 0) + ld(&p->has_next);
}

/* Nothing a thief could take. */
bool rt_runq_empty(const struct p *p)
{
	return ld_acq(&p->head) == ld_acq(&p->tail) && ld_acq(&p->top) >= ld_acq(&p->bottom);
}

/* --- Global queue --- */

void rt_global_put(struct g *first, struct g *last, uint32_t n)
{
	last->next = NULL;
	rt_lock(&sched.lock);
	if (sched.global_tail)
		sched.global_tail->next = first;
	else
		sched.global_head = first;
	sched.global_tail = last;
	st(&sched.n_global, ld(&sched.n_global) + n);
	rt_unlock(&sched.lock);
}

/* Take our share, at most max; the first is returned, the rest goes on p's ring (p owned). */
struct g *rt_global_get(struct p *p, uint32_t max)
{
	struct g *take[RT_RUNQ / 2], *first;
	uint32_t n, got = 0;

	if (ld(&sched.n_global) == 0)
		return NULL;
	rt_lock(&sched.lock);
	n = ld(&sched.n_global) / ld(&sched.maxprocs) + 1;
	if (n > max)
		n = max;
	if (n > RT_RUNQ / 2)
		n = RT_RUNQ / 2;
	while (got < n && sched.global_head) {
		struct g *g = sched.global_head;

		if (got && g->marks & RT_ASYNC)
			break; /* one that was interrupted stays behind what the ring will get meanwhile */
		take[got++] = g;
		sched.global_head = g->next;
		if (g->marks & RT_ASYNC)
			break;
	}
	if (!sched.global_head)
		sched.global_tail = NULL;
	st(&sched.n_global, ld(&sched.n_global) - got);
	rt_unlock(&sched.lock);
	if (!got)
		return NULL;
	first = take[0];
	for (uint32_t i = 1; i < got; i++)
		rt_runq_put(p, take[i]);
	if (got > 1) /* they were on no queue for a moment: who looked then may have gone to sleep */
		rt_wake_one();
	return first;
}

/* --- Ring --- */

/* The ring is full: half of it, and g behind, to the global queue.  False: a thief made room meanwhile. */
static bool spill(struct p *p, struct g *g, uint32_t head, uint32_t tail)
{
	struct g *batch[RT_RUNQ / 2 + 1];
	uint32_t n = (tail - head) / 2;

	for (uint32_t i = 0; i < n; i++)
		batch[i] = ld(&p->ring[(head + i) % RT_RUNQ]);
	if (!cas(&p->head, &head, head + n))
		return false;
	batch[n] = g;
	for (uint32_t i = 0; i < n; i++)
		batch[i]->next = batch[i + 1];
	rt_global_put(batch[0], batch[n], n + 1);
	return true;
}

void rt_runq_put(struct p *p, struct g *g)
{
	for (;;) {
		uint32_t head = ld_acq(&p->head); /* pairs with the CAS of whoever took */
		uint32_t tail = ld(&p->tail);

		if (likely(tail - head < RT_RUNQ)) {
			st(&p->ring[tail % RT_RUNQ], g);
			st_rel(&p->tail, tail + 1); /* pairs with the acquire of takers */
			return;
		}
		if (spill(p, g, head, tail))
			return;
	}
}

struct g *rt_runq_get(struct p *p)
{
	uint32_t head = ld_acq(&p->head);

	while (head != ld(&p->tail)) {
		struct g *g = ld(&p->ring[head % RT_RUNQ]);

		if (likely(cas(&p->head, &head, head + 1)))
			return g;
	}
	return NULL;
}

/* Move half of victim's ring behind our own (empty) one; the last moved is returned to run now. */
static struct g *steal_ring(struct p *p, struct p *victim)
{
	uint32_t tail = ld(&p->tail);

	for (;;) {
		uint32_t h = ld_acq(&victim->head), t = ld_acq(&victim->tail);
		uint32_t n = t - h;

		n -= n / 2;
		if (n == 0)
			return NULL;
		if (n > RT_RUNQ / 2)
			continue; /* h and t do not belong together */
		for (uint32_t i = 0; i < n; i++)
			st(&p->ring[(tail + i) % RT_RUNQ], ld(&victim->ring[(h + i) % RT_RUNQ]));
		if (!cas(&victim->head, &h, h + n))
			continue;
		n--;
		if (n)
			st_rel(&p->tail, tail + n);
		return ld(&p->ring[(tail + n) % RT_RUNQ]);
	}
}

/* --- Deque --- */

struct g *rt_spawn_get_oldest(struct p *p)
{
	int64_t t = ld_acq(&p->top);
	struct g *g;

	for (;;) {
		atomic_thread_fence(memory_order_seq_cst); /* pairs with the fence in rt_spawn_get() */
		if (t >= ld_acq(&p->bottom))
			return NULL;
		g = ld(&p->deque[t % RT_DEQUE]);
		if (cas(&p->top, &t, t + 1))
			return g;
	}
}

struct g *rt_spawn_get(struct p *p)
{
	int64_t b = ld(&p->bottom) - 1, t;
	struct g *g;

	if (b < ld(&p->top)) /* empty, and only we could fill it */
		return NULL;
	st(&p->bottom, b);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with the fence in rt_spawn_get_oldest() */
	t = ld(&p->top);
	if (t > b) {
		st(&p->bottom, b + 1);
		return NULL;
	}
	g = ld(&p->deque[b % RT_DEQUE]);
	if (t == b) { /* the last one: thieves may want it as well */
		if (!cas(&p->top, &t, t + 1))
			g = NULL;
		st(&p->bottom, b + 1);
	}
	return g;
}

void rt_spawn_put(struct p *p, struct g *g)
{
	int64_t b = ld(&p->bottom);

	if (unlikely(b - ld_acq(&p->top) >= RT_DEQUE)) {
		struct g *first = NULL, *last = NULL;
		uint32_t n = 0;

		/* The oldest half goes to the global queue. */
		while (n < RT_DEQUE / 2) {
			struct g *old = rt_spawn_get_oldest(p);

			if (!old)
				break;
			if (last)
				last->next = old;
			else
				first = old;
			last = old;
			n++;
		}
		if (n)
			rt_global_put(first, last, n);
	}
	st(&p->deque[b % RT_DEQUE], g);
	st_rel(&p->bottom, b + 1); /* pairs with the acquire in rt_spawn_get_oldest() */
}

/* --- Both --- */

/* Some of victim's goroutines; one is returned to run now, the others are on p's queues, which were
 * empty.  p is the caller's; victim may run on. */
struct g *rt_steal(struct p *p, struct p *victim)
{
	struct g *g = steal_ring(p, victim);
	int64_t n;

	if (g)
		return g;
	n = (ld_acq(&victim->bottom) - ld_acq(&victim->top)) / 2;
	if (n > RT_RUNQ / 2)
		n = RT_RUNQ / 2;
	g = rt_spawn_get_oldest(victim);
	for (; g && n > 1; n--) {
		struct g *more = rt_spawn_get_oldest(victim);

		if (!more)
			break;
		rt_spawn_put(p, more);
	}
	return g;
}
