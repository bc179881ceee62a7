/* sched.c - who runs next: switching, parking, making runnable.
 *
 * A goroutine that stops picks its successor itself (pick(): its own P's queues only) and switches
 * straight to it.  When there is none, or when the clock says that something else is due, it switches
 * to the M's own stack, where rt_loop() looks further (find.c) or idles (idle.c).
 *
 * Order on a P: run-next, woken (first in, first out), spawned (newest first).  That order may starve,
 * so each TURN of time the oldest of the global queue, of the spawned and of the woken goes first, in
 * rotation, for a tenth of the time at most; and run-next only jumps the queue until the slice it
 * inherits is over.  Time is read once a scheduler step when the recorder needs it anyway, else once in
 * CLOCK_PICKS picks.
 *
 * A hand-over (RT_READY_NEXT) wakes nobody: the one who hands over usually stops soon, and a wake-up
 * across threads costs as much as a hundred switches.  Where that guess is wrong sysmon sees run-next
 * waiting behind the same goroutine, moves it to the global queue, and makes the P `eager`: its next
 * hand-overs do wake a worker. */
#include "idle.h"
#include "prof_wait.h"
#include "rt.h"
#include "sanity.h"

#define CLOCK_PICKS 16

struct rt_sched sched;

static void ready(struct m *m, struct g *g, int outcome, enum rt_how how, uint64_t waker, uint32_t stack);
static inline void arrive(struct m *m);
static void put_next(struct m *m, struct p *p, struct g *g);

/* --- Switching ----------------------------------------------------------------------------------- */

/* From now on `next`, which is ours now, runs here, and `self` is to be seen to by rt_arrive(). */
static RT_FLAT void dispatch(struct m *m, struct g *self, struct g *next)
{
	m->left = self;
	st(&m->cur, next);
	if (next != &m->g0) {
		struct p *p = ld(&m->p);

		if (unlikely(next->uncreated))
			rt_g_created(m, next);
		if (rt_rec_on)
			rt_record(m, RT_EV_GO_START, 0, ld(&next->id), ld(&next->id), 0, rt_trace_seq(next, 1));
		rt_seq_begin(next); /* running: the park part is void until it is published again */
		st(&next->tid, ld(&m->tid));
		st(&next->m, m);
		st(&next->status, RT_G_RUNNING);
		bump(&p->tick, 1);
	}
}

/* To `next`.  Returns on whatever M resumes the caller's goroutine. */
static RT_FLAT struct m *switch_to(struct m *m, struct g *next)
{
	struct g *self = ld(&m->cur);

	self->saved_errno = *m->errno_at;
	dispatch(m, self, next);
	sane_leave(m, self, next, false);
	m = rt_switch(&self->sp, ld(&next->sp), m);
	sane_arrive(self);
	arrive(m);
	*m->errno_at = self->saved_errno;
	return m;
}

/* Since when: of this step, or as old as sysmon's last look where nobody read the clock. */
static inline uint64_t since(const struct m *m)
{
	uint64_t coarse;

	if (rt_rec_on)
		return m->tsc;
	coarse = ld(&sched.coarse_tsc);
	return coarse > m->tsc ? coarse : m->tsc;
}

/* The goroutine stands still: everything about it that readers may look at is written; then seq. */
static inline void publish(struct m *m, struct g *g, uint32_t status)
{
	st(&g->since_tsc, since(m));
	st_rel(&g->status, status);
	st(&g->tid, 0);
	if (unlikely(ld(&g->kind) & RT_SLOT_BARE))
		rt_canary_check(g);
	rt_seq_end(g);
}

/* Waiting is published, then (light barrier) the flag is looked at; the canceller (inst.c, ctx.c) sets the
 * flag, then (heavy barrier) looks at who is waiting.  Not 0: the wait is called off, we have won it, and this
 * is its outcome.  It is named by the number it had when g left, and ctx is the one g carried then: by now
 * another may have won and g be elsewhere, and the context reused (cell.c), which the number tells. */
static inline int called_off(struct m *m, struct g *g, const struct weft_ctx *ctx)
{
	int off;

	rt_light();
	off = rt_ctx_err(ctx);
	if (likely(!off) || !rt_wait_cancellable(m->after_reason))
		return 0;
	return rt_wait_win(g, m->after_number) ? off : 0;
}

/* Read before it is published: from then on another may win the wait, and the slot be somebody else's. */
static RT_NOINLINE void arrive_timed(struct m *m, struct g *g)
{
	struct rt_timer timer = { m->after_when, { g }, ld(&g->id), m->after_number };
	const struct weft_ctx *ctx = ld(&g->ctx);
	struct rt_lock *drop = m->after_lock;
	int off;

	m->after = RT_AFTER_NOTHING;
	st(&g->timed, m->after_number);
	publish(m, g, RT_G_WAITING | (uint32_t)m->after_reason << 8);
	off = called_off(m, g, ctx);
	if (drop)
		rt_unlock(drop);
	if (unlikely(off))
		ready(m, g, off, RT_READY_QUEUE, 0, 0);
	else
		rt_timer_add(ld(&m->p), &timer);
}

static void drop_all(const struct rt_held *held)
{
	uint32_t n = held->n;
	struct rt_lock **lock = held->lock, *last = lock[n - 1];

	for (uint32_t i = 0; i + 1 < n; i++)
		rt_unlock(lock[i]);
	rt_unlock(last); /* from here on g may return, and the list with it */
}

static RT_NOINLINE void arrive_select(struct m *m, struct g *g)
{
	struct rt_timer timer = { m->after_when, { g }, ld(&g->id), m->after_number };
	const struct weft_ctx *ctx = ld(&g->ctx);
	int off;

	m->after = RT_AFTER_NOTHING;
	if (timer.when != INT64_MAX)
		st(&g->timed, m->after_number);
	publish(m, g, RT_G_WAITING | (uint32_t)m->after_reason << 8);
	off = called_off(m, g, ctx);
	drop_all(m->after_held);
	if (unlikely(off))
		ready(m, g, off, RT_READY_QUEUE, 0, 0);
	else if (timer.when != INT64_MAX)
		rt_timer_add(ld(&m->p), &timer);
}

static RT_FLAT void arrive_parked(struct m *m, struct g *g)
{
	const struct weft_ctx *ctx = ld(&g->ctx);
	struct rt_lock *drop = m->after_lock;
	int off;

	publish(m, g, RT_G_WAITING | (uint32_t)m->after_reason << 8);
	off = called_off(m, g, ctx);
	m->after = RT_AFTER_NOTHING;
	if (drop)
		rt_unlock(drop);
	if (unlikely(off))
		ready(m, g, off, RT_READY_QUEUE, 0, 0);
}

/* Finish for the one who left, now that nobody stands on its stack. */
static RT_NOINLINE void arrive_other(struct m *m)
{
	struct g *g = m->left;

	switch (m->after) {
	case RT_AFTER_NOTHING:
	case RT_AFTER_PARK:
		return;
	case RT_AFTER_TIMED:
		arrive_timed(m, g);
		return;
	case RT_AFTER_SELECT:
		arrive_select(m, g);
		return;
	case RT_AFTER_YIELD:
		m->after = RT_AFTER_NOTHING;
		publish(m, g, RT_G_RUNNABLE);
		rt_runq_put(ld(&m->p), g);
		return;
	case RT_AFTER_GLOBAL:
		m->after = RT_AFTER_NOTHING;
		publish(m, g, RT_G_RUNNABLE);
		if (unlikely(g->marks & RT_PINNED))
			rt_global_put_first(g); /* its M has nothing else to do */
		else
			rt_global_put(g, g, 1);
		rt_wake_one();
		return;
	case RT_AFTER_PREEMPT:
		m->after = RT_AFTER_NOTHING;
		publish(m, g, RT_G_RUNNABLE);
		rt_global_put(g, g, 1);
		rt_wake_one();
		return;
	case RT_AFTER_ELSEWHERE:
		m->after = RT_AFTER_NOTHING;
		publish(m, g, RT_G_RUNNABLE);
		put_next(m, ld(&m->p), g);
		rt_p_move(m);
		return;
	case RT_AFTER_EXIT:
		m->after = RT_AFTER_NOTHING;
		sane_death(g);
		rt_g_free(m, g);
		return;
	}
}

static RT_FLAT void arrive(struct m *m)
{
	if (likely(m->after == RT_AFTER_PARK))
		arrive_parked(m, m->left);
	else
		arrive_other(m);
}

void rt_arrive(struct m *m)
{
	arrive(m);
}

/* --- Picking ------------------------------------------------------------------------------------------ */

/* Is anything due that rt_loop() must see to?  Cheap: no clock read most of the time. */
static inline bool due(struct m *m, struct p *p)
{
	if (!rt_rec_on) {
		if (likely(++p->picks < CLOCK_PICKS))
			return false;
		p->picks = 0;
		m->tsc = rt_tsc();
	}
	return m->tsc >= p->turn_at || m->tsc >= ld(&p->first_tsc);
}

/* From the own queues only; the scheduler itself (g0) when something is due; NULL: they are empty. */
static inline struct g *pick(struct m *m)
{
	struct p *p = ld(&m->p);
	struct g *g;

	if (due(m, p) || unlikely(ld(&sched.stopping)))
		return &m->g0;
	g = p->next;
	if (g) {
		p->next = NULL;
		st(&p->has_next, 0);
	} else {
		g = rt_runq_get(p);
		if (!g)
			g = rt_spawn_get(p);
	}
	if (unlikely(g && g->marks & RT_PINNED && g->pin != m)) {
		m->stray = g;
		return &m->g0;
	}
	return g;
}

/* --- The scheduler on the M's own stack --------------------------------------------------------------- */

/* Returns when the M shall end; it then has no P. */
void rt_loop(struct m *m)
{
	while (!ld(&sched.stopping) && !m->leave) {
		struct g *g = m->stray;

		if (unlikely(g))
			m->stray = NULL;
		else
			g = rt_find(m);
		if (!g) {
			rt_go_idle(m);
			continue;
		}
		if (m->spinning)
			rt_stop_spinning(m);
		if (unlikely(g->marks & RT_PINNED) && g->pin != m) {
			rt_send_home(m, g);
			continue;
		}
		m->after = RT_AFTER_NOTHING;
		m = switch_to(m, g);
	}
	if (ld(&m->p))
		rt_p_pass(rt_p_release(m));
}

/* --- What goroutines call ------------------------------------------------------------------------------------------
 */

static void put_next(struct m *m, struct p *p, struct g *g)
{
	struct g *old = p->next;

	p->next = g;
	st(&p->has_next, 1);
	bump(&p->handovers, 1);
	if (old) {
		rt_runq_put(p, old);
		rt_wake_one();
	} else if (unlikely(p->eager)) {
		p->eager--;
		rt_wake_one();
	}
	(void)m;
}

/* What readers see of it. */
static inline void show_ready(struct m *m, struct g *g, uint64_t waker, uint32_t stack)
{
	if (rt_rec_on && m)
		rt_record(m, RT_EV_GO_UNBLOCK, 0, waker, ld(&g->id), stack, rt_trace_seq(g, 1));
	else if (rt_rec_on)
		rt_record_foreign(RT_EV_GO_UNBLOCK, NULL, ld(&g->id), 0, rt_trace_seq(g, 1));
	if (likely(m)) {
		st(&g->since_tsc, since(m));
	} else {
		st(&g->since_tsc, rt_tsc());
		rt_woken_from_outside(g);
	}
	st(&g->status, RT_G_RUNNABLE);
}

/* A thread that is no M, or one that runs on an M other than m only. */
static RT_COLD void ready_odd(struct m *m, struct g *g, uint64_t waker, uint32_t stack)
{
	if (g->marks & RT_FOREIGN) {
		rt_note_wake(&g->note);
		return;
	}
	show_ready(m, g, waker, stack);
	rt_ready_home(g);
}

/* waker: whose doing it is (0: the scheduler's); stack: where. */
static inline void ready(struct m *m, struct g *g, int outcome, enum rt_how how, uint64_t waker, uint32_t stack)
{
	struct p *p = m ? ld(&m->p) : NULL;

	g->outcome = outcome;
	if (unlikely(g->marks & (RT_FOREIGN | RT_PINNED)) && (g->marks & RT_FOREIGN || !p || g->pin != m)) {
		ready_odd(m, g, waker, stack);
		return;
	}
	show_ready(m, g, waker, stack);
	if (unlikely(!p)) {
		rt_global_put(g, g, 1);
		rt_wake_one();
	} else if (how == RT_READY_NEXT) {
		put_next(m, p, g);
	} else {
		if (how == RT_READY_SPAWN)
			rt_spawn_put(p, g);
		else
			rt_runq_put(p, g);
		rt_wake_one();
	}
}

void rt_ready(struct m *m, struct g *g, int outcome, enum rt_how how)
{
	uint64_t waker = 0;
	uint32_t stack = 0;

	if (ld(&rt_see_on) && m && !(g->marks & RT_FOREIGN)) {
		struct g *cur = ld(&m->cur);

		m->tsc = rt_tsc();
		if (rt_rec_on && cur != &m->g0) {
			waker = ld(&cur->id);
			stack = rt_stack_here(m, __builtin_frame_address(0));
		}
	}
	ready(m, g, outcome, how, waker, stack);
}

static int park_foreign(struct rt_lock *drop, const struct rt_held *held, int64_t until)
{
	struct g *g = rt_foreign_g();
	uint64_t number = ld(&g->wait) >> 1;

	if (drop)
		rt_unlock(drop);
	if (held)
		drop_all(held);
	if (!rt_note_wait(&g->note, until)) {
		if (rt_wait_win(g, number))
			return -ETIMEDOUT;
		(void)rt_note_wait(&g->note, INT64_MAX); /* the winner's wake-up is on its way */
	}
	return g->outcome;
}

/* g leaves by itself: its pin for an interruption ends here, or one for a lock begins. */
static RT_COLD struct m *switch_odd(struct m *m, struct g *g, struct g *next)
{
	rt_pin_change(m, g);
	m = switch_to(m, next);
	if (g->marks & RT_PLOCKS) {
		m->plocks = g->plocks;
		g->marks &= (uint8_t)~RT_PLOCKS;
	}
	return m;
}

static RT_FLAT struct m *leave_to(struct m *m, struct g *g, struct g *next)
{
	if (unlikely((g->marks & RT_ASYNC) | m->plocks))
		return switch_odd(m, g, next);
	return switch_to(m, next);
}

static RT_FLAT struct m *park(struct m *m, enum rt_wait reason, struct rt_lock *drop, enum rt_after after)
{
	struct g *g = ld(&m->cur), *next;
	uint64_t since_tsc;

	bump(&ld(&m->p)->parks[reason], 1);
	if (ld(&rt_see_on)) {
		m->tsc = rt_tsc();
		if (rt_rec_on)
			rt_record(m, RT_EV_GO_BLOCK, reason, ld(&g->id), ld(&g->id),
				  rt_stack_here(m, __builtin_frame_address(0)), rt_trace_seq(g, 0));
	}
	since_tsc = m->tsc;
	m->after = after;
	m->after_reason = reason;
	m->after_number = ld(&g->wait) >> 1;
	m->after_lock = drop;
	next = pick(m);
	m = leave_to(m, g, next ? next : &m->g0);
	rt_waited(m, g, since_tsc, reason, __builtin_frame_address(0));
	return m;
}

int rt_park(struct m **mp, enum rt_wait reason, struct rt_lock *drop)
{
	struct m *m = *mp;
	struct g *g;

	if (unlikely(!m))
		return park_foreign(drop, NULL, INT64_MAX);
	g = ld(&m->cur);
	*mp = park(m, reason, drop, RT_AFTER_PARK);
	return g->outcome;
}

int rt_park_until(struct m **mp, enum rt_wait reason, struct rt_lock *drop, int64_t when)
{
	struct m *m = *mp;
	struct g *g;

	if (unlikely(!m))
		return park_foreign(drop, NULL, when);
	g = ld(&m->cur);
	m->after_when = when;
	*mp = park(m, reason, drop, RT_AFTER_TIMED);
	return g->outcome;
}

int rt_park_select(struct m **mp, const struct rt_held *held, int64_t when)
{
	struct m *m = *mp;
	struct g *g;

	if (unlikely(!m))
		return park_foreign(NULL, held, when);
	g = ld(&m->cur);
	m->after_when = when;
	m->after_held = held;
	*mp = park(m, RT_WAIT_SELECT, NULL, RT_AFTER_SELECT);
	return g->outcome;
}

void rt_yield(struct m **mp)
{
	struct m *m = *mp;
	struct g *g = ld(&m->cur), *next;

	if (rt_rec_on)
		m->tsc = rt_tsc();
	next = pick(m);
	if (!next && ld(&sched.n_global) == 0)
		return; /* nobody else wants to run here */
	if (rt_rec_on)
		rt_record(m, RT_EV_GO_YIELD, 0, ld(&g->id), ld(&g->id), rt_stack_here(m, __builtin_frame_address(0)),
			  rt_trace_seq(g, 0));
	m->after = RT_AFTER_YIELD;
	*mp = leave_to(m, g, next ? next : &m->g0);
}

/* It was interrupted, and goes on where it was. */
struct m *rt_preempt(struct m *m)
{
	struct g *g = ld(&m->cur), *next;

	if (rt_rec_on) {
		m->tsc = rt_tsc();
		rt_record(m, RT_EV_GO_YIELD, 1, ld(&g->id), ld(&g->id), rt_stack_here(m, __builtin_frame_address(0)),
			  rt_trace_seq(g, 0));
	}
	next = pick(m);
	m->after = RT_AFTER_PREEMPT;
	return switch_to(m, next ? next : &m->g0);
}

/* The goroutine lost its P while it was outside and there is none to be had at once (revoke.c). */
struct m *rt_requeue(struct m *m)
{
	struct g *g = ld(&m->cur);

	m->after = RT_AFTER_GLOBAL;
	return m->plocks ? switch_odd(m, g, &m->g0) : switch_to(m, &m->g0);
}

struct m *rt_elsewhere(struct m *m)
{
	struct g *g = ld(&m->cur);

	if (rt_rec_on) {
		m->tsc = rt_tsc();
		rt_record(m, RT_EV_GO_YIELD, 2, ld(&g->id), ld(&g->id), rt_stack_here(m, __builtin_frame_address(0)),
			  rt_trace_seq(g, 0));
	}
	m->after = RT_AFTER_ELSEWHERE;
	return switch_to(m, &m->g0);
}

/* For rt_g_entry, which switches when all calls of the goroutine have returned. */
struct rt_next rt_exit(struct m *m)
{
	struct g *g = ld(&m->cur), *next;

	if (rt_rec_on) {
		m->tsc = rt_tsc();
		rt_record(m, RT_EV_GO_DESTROY, 0, ld(&g->id), ld(&g->id), ld(&g->inst)->number, rt_trace_seq(g, 0));
	}
	m->plocks = 0; /* one that it returns with is nobody's */
	next = unlikely(g->marks) && rt_marks_exit(m, g) ? NULL : pick(m);
	if (!next)
		next = &m->g0;
	m->after = RT_AFTER_EXIT;
	dispatch(m, g, next);
	sane_leave(m, g, next, true);
	if (SANE_STACKS)
		(void)rt_switch(&g->sp, ld(&next->sp), m);
	return (struct rt_next){ m, ld(&next->sp) };
}
