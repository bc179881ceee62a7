/* timer.c - a 4-ary heap of deadlines per P.
 *
 * An entry holds {when, goroutine, its id, the number of its wait} by value and never a pointer into a
 * stack: it is stale as soon as the wait was won by somebody else, and is dropped when it surfaces.  Or it
 * holds {when, alarm, number}: of a context's deadline or a timer object (ctx.c, tick.c), whose cells are never
 * freed; stale as soon as the alarm was cleared or armed anew.  A full heap is first swept of stale entries, and
 * only grows when more than half were alive.
 *
 * p->tlock guards the heap, since any worker may fire another P's timers.  `first` (and the same on the
 * counter's scale, first_tsc) is read by anybody as a hint; the real clock decides. */
#include "rt.h"
#include "sys.h"

static bool stale(const struct rt_timer *t)
{
	if (t->goid == 0)
		return ld(&t->alarm->armed) != t->number;
	return ld(&t->g->id) != t->goid || ld(&t->g->wait) != (t->number << 1 | 1);
}

static void sift_up(struct rt_timer *h, uint32_t i)
{
	struct rt_timer t = h[i];

	while (i > 0 && h[(i - 1) / 4].when > t.when) {
		h[i] = h[(i - 1) / 4];
		i = (i - 1) / 4;
	}
	h[i] = t;
}

static void sift_down(struct rt_timer *h, uint32_t n, uint32_t i)
{
	struct rt_timer t = h[i];

	for (;;) {
		uint32_t first = i * 4 + 1, best = first;

		if (first >= n)
			break;
		for (uint32_t c = first + 1; c < first + 4 && c < n; c++)
			if (h[c].when < h[best].when)
				best = c;
		if (h[best].when >= t.when)
			break;
		h[i] = h[best];
		i = best;
	}
	h[i] = t;
}

static void set_first(struct p *p)
{
	int64_t first = p->n_timers ? p->heap[0].when : INT64_MAX;

	st(&p->timers_now, p->n_timers);
	if (ld(&p->first) == first)
		return;
	st(&p->first, first);
	st(&p->first_tsc, first == INT64_MAX ? UINT64_MAX : rt_ns_to_tsc(first));
}

/* Full: drop what is stale; grow unless that freed half.  False: no memory. */
static bool make_room(struct p *p)
{
	uint32_t n = 0;
	size_t bytes;
	void *heap;

	for (uint32_t i = 0; i < p->n_timers; i++)
		if (!stale(&p->heap[i]))
			p->heap[n++] = p->heap[i];
	bump(&p->timers_stale, p->n_timers - n);
	p->n_timers = n;
	for (uint32_t i = n / 4 + 1; i-- > 0;)
		if (i < n)
			sift_down(p->heap, n, i);
	if (n < p->cap_timers / 2)
		return true;
	bytes = (size_t)(p->cap_timers ? p->cap_timers : 64) * sizeof *p->heap;
	heap = p->cap_timers ? rt_remap(p->heap, bytes, 2 * bytes) : rt_map(2 * bytes);
	if (!heap)
		return n < p->cap_timers;
	p->heap = heap;
	p->cap_timers = (uint32_t)(2 * bytes / sizeof *p->heap);
	return true;
}

void rt_timer_add(struct p *p, const struct rt_timer *t)
{
	rt_lock(&p->tlock);
	if (unlikely(p->n_timers == p->cap_timers) && !make_room(p))
		rt_fatal("no memory for %u timers", p->n_timers + 1);
	p->heap[p->n_timers] = *t;
	sift_up(p->heap, p->n_timers++);
	bump(&p->timers_armed, 1);
	set_first(p);
	rt_unlock(&p->tlock);
}

/* The earliest that is due, off the heap.  False: none. */
static bool pop_due(struct p *p, int64_t now, struct rt_timer *out)
{
	if (!p->n_timers || p->heap[0].when > now)
		return false;
	*out = p->heap[0];
	p->heap[0] = p->heap[--p->n_timers];
	if (p->n_timers)
		sift_down(p->heap, p->n_timers, 0);
	return true;
}

uint32_t rt_timers_run(struct m *m, struct p *p, int64_t now)
{
	struct rt_timer t;
	uint32_t fired = 0;
	bool any;

	if (!rt_trylock(&p->tlock))
		return 0; /* somebody is at it */
	for (;;) {
		any = pop_due(p, now, &t);
		if (!any)
			break;
		if (t.goid == 0) {
			/* It takes locks that stand above ours, and may arm itself anew. */
			rt_unlock(&p->tlock);
			fired++;
			t.alarm->fire(m, t.alarm, t.number, now);
			rt_lock(&p->tlock);
			continue;
		}
		if (ld(&t.g->id) != t.goid || !rt_wait_win(t.g, t.number))
			continue;
		fired++;
		rt_ready(m, t.g, -ETIMEDOUT, RT_READY_QUEUE);
	}
	bump(&p->timers_fired, fired);
	set_first(p);
	rt_unlock(&p->tlock);
	return fired;
}

void rt_alarm_set(struct m *m, struct rt_alarm *a, int64_t when)
{
	struct p *p = m ? ld(&m->p) : sched.ps[0];

	if (!p)
		rt_fatal("a timer is set before the runtime was started");
	st(&a->armed, ++a->last);
	rt_timer_add(p, &(struct rt_timer){ .when = when, .alarm = a, .number = a->last });
	if (!m)
		rt_wake_one(); /* whoever keeps time for idle Ps has to look again */
}

int64_t rt_timers_first(void)
{
	int64_t first = INT64_MAX;

	for (uint32_t i = 0; i < ld_acq(&sched.n_ps); i++) {
		int64_t f = ld(&sched.ps[i]->first);

		if (f < first)
			first = f;
	}
	return first;
}

void rt_timers_move(struct p *from, struct p *to)
{
	for (;;) {
		struct rt_timer t;
		bool any;

		rt_lock(&from->tlock);
		any = from->n_timers != 0;
		if (any) {
			t = from->heap[--from->n_timers];
			set_first(from);
		}
		rt_unlock(&from->tlock);
		if (!any)
			return;
		if (!stale(&t))
			rt_timer_add(to, &t);
	}
}

void rt_timers_retune(void)
{
	for (uint32_t i = 0; i < ld_acq(&sched.n_ps); i++) {
		struct p *p = sched.ps[i];

		rt_lock(&p->tlock);
		if (p->n_timers)
			st(&p->first_tsc, rt_ns_to_tsc(p->heap[0].when));
		rt_unlock(&p->tlock);
	}
}

int64_t weft_now(void)
{
	return rt_now();
}

int weft_sleep(int64_t ns)
{
	struct m *m = rt_enter(rt_self());
	int64_t now;
	int rc;

	if (unlikely(!m)) {
		struct timespec ts = { .tv_sec = ns / WEFT_SEC, .tv_nsec = ns % WEFT_SEC };

		return ns <= 0 ? 0 : (int)rt_syscall(SYS_nanosleep, (long)&ts, 0, 0, 0, 0, 0);
	}
	if (ns <= 0) {
		rt_yield(&m);
		rc = rt_ctx_err(ld(&ld(&m->cur)->ctx));
	} else {
		int64_t until;

		now = rt_now();
		until = ns > INT64_MAX - now ? INT64_MAX - 1 : now + ns;
		(void)rt_wait_open(ld(&m->cur));
		rc = rt_park_until(&m, RT_WAIT_SLEEP, NULL, until);
		/* Our timer, or the context's deadline? */
		if (rc == -ETIMEDOUT && (likely(!rt_ctx_err(ld(&ld(&m->cur)->ctx))) || rt_now() >= until))
			rc = 0;
	}
	rt_leave(m);
	return rc;
}

void weft_yield(void)
{
	struct m *m = rt_enter(rt_self());

	if (unlikely(!m)) {
		(void)rt_syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
		return;
	}
	rt_yield(&m);
	rt_leave(m);
}
