/* sched.c - who runs next: parking, making runnable, looking for work, idling.
 *
 * A goroutine that stops picks its successor itself (pick(): its own P's queues only) and switches
 * straight to it.  When there is none, or when the clock says that something else is due, it switches
 * to the M's own stack, where rt_loop() looks further.
 *
 * Order on a P: run-next, woken (first in, first out), spawned (newest first).  That order may starve,
 * so each TURN of time the oldest of the global queue, of the spawned and of the woken goes first, in
 * rotation; and run-next only jumps the queue until the slice it inherits is over.  Time is read once a
 * scheduler step when the recorder needs it anyway, else once in CLOCK_PICKS picks.
 *
 * Waking workers.  Two rules, to be read together; lines with the same number pair up:
 *
 *   who adds work			a worker that finds nothing
 *   1 put the goroutine on a queue	2 give its P to the idle list, n_idle_ps++ (sched.lock)
 *     (compiler barrier)		2 n_spinning-- if it span
 *   2 n_idle_ps > 0 and nobody spins?	  heavy barrier
 *     then wake one, which spins	1 look at every queue once more
 *
 * Either the one who adds sees the idle P, or the idle worker sees the goroutine.  A worker that spins
 * and finds work wakes the next before it runs it (so a burst wakes workers one after the other, not all
 * at once); at most half of the busy workers spin.
 *
 * A hand-over (RT_READY_NEXT) wakes nobody: the one who hands over usually stops soon, and a wake-up
 * across threads costs as much as a hundred switches.  Where that guess is wrong sysmon sees run-next
 * waiting behind the same goroutine, moves it to the global queue, and makes the P `eager`: its next
 * hand-overs do wake a worker. */
#include "rt.h"
#include "sanity.h"

#define SLICE (10 * WEFT_MS)
#define TURN (1 * WEFT_MS)
#define CLOCK_PICKS 16
#define STEAL_ROUNDS 4
#define SPIN_PAUSES 40

struct rt_sched sched;

static void ready(struct m *m, struct g *g, int outcome, enum rt_how how, uint64_t waker, uint32_t stack);

/* --- Switching ----------------------------------------------------------------------------------- */

/* To `next`, which is ours now.  Returns on whatever M resumes the caller's goroutine. */
static inline struct m *switch_to(struct m *m, struct g *next, bool dying)
{
	struct g *self = ld(&m->cur);

	self->saved_errno = *m->errno_at;
	m->left = self;
	st(&m->cur, next);
	if (next != &m->g0) {
		struct p *p = ld(&m->p);

		rt_seq_begin(next); /* running: the park part is void until it is published again */
		st(&next->status, RT_G_RUNNING);
		st(&next->tid, ld(&m->tid));
		st(&next->m, m);
		bump(&p->tick, 1);
		if (unlikely(next->uncreated))
			rt_g_created(m, next);
		if (rt_rec_on)
			rt_record(m, RT_EV_GO_START, 0, ld(&next->id), ld(&next->id), 0, rt_trace_seq(next, 1));
	}
	sane_leave(m, self, next, dying);
	m = rt_switch(&self->sp, ld(&next->sp), m);
	sane_arrive(self);
	rt_arrive(m);
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
	if (unlikely(g->unguarded))
		rt_canary_check(g);
	rt_seq_end(g);
}

/* Waiting is published, then (light barrier) the flag is looked at; the canceller (inst.c) sets the
 * flag, then (heavy barrier) looks at who is waiting.  True: the wait is called off, and we have won it.
 * It is named by the number it had when g left: by now another may have won and g be elsewhere. */
static inline bool called_off(struct m *m, struct g *g)
{
	rt_light();
	if (likely(!ld(&ld(&g->inst)->ctx.over)) || !rt_wait_cancellable(m->after_reason))
		return false;
	return rt_wait_win(g, m->after_number);
}

/* Finish for the one who left, now that nobody stands on its stack. */
void rt_arrive(struct m *m)
{
	struct g *g = m->left;
	struct rt_lock *drop = m->after_lock;
	uint64_t id;
	bool off;

	switch (m->after) {
	case RT_AFTER_NOTHING:
		return;
	case RT_AFTER_PARK:
		publish(m, g, RT_G_WAITING | (uint32_t)m->after_reason << 8);
		off = called_off(m, g);
		m->after = RT_AFTER_NOTHING;
		if (drop)
			rt_unlock(drop);
		if (unlikely(off))
			ready(m, g, -ECANCELED, RT_READY_QUEUE, 0, 0);
		return;
	case RT_AFTER_SLEEP:
		m->after = RT_AFTER_NOTHING;
		id = ld(&g->id);
		publish(m, g, RT_G_WAITING | RT_WAIT_SLEEP << 8);
		if (unlikely(called_off(m, g)))
			ready(m, g, -ECANCELED, RT_READY_QUEUE, 0, 0);
		else
			rt_timer_add(ld(&m->p), &(struct rt_timer){ m->after_when, g, id, m->after_number });
		return;
	case RT_AFTER_YIELD:
		m->after = RT_AFTER_NOTHING;
		publish(m, g, RT_G_RUNNABLE);
		rt_runq_put(ld(&m->p), g);
		return;
	case RT_AFTER_GLOBAL:
		m->after = RT_AFTER_NOTHING;
		publish(m, g, RT_G_RUNNABLE);
		rt_global_put(g, g, 1);
		rt_wake_one();
		return;
	case RT_AFTER_EXIT:
		m->after = RT_AFTER_NOTHING;
		sane_death(g);
		rt_g_free(m, g);
		return;
	}
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
		return g;
	}
	g = rt_runq_get(p);
	return g ? g : rt_spawn_get(p);
}

/* The TURN is over: whose oldest goes first?  NULL: nobody's. */
static struct g *fair_turn(struct p *p)
{
	struct g *g = NULL;

	if (p->next && rt_tsc() >= p->slice_end) {
		rt_runq_put(p, p->next);
		p->next = NULL;
		st(&p->has_next, 0);
	}
	for (int i = 0; i < 3 && !g; i++) {
		switch (p->turn++ % 3) {
		case 0:
			g = rt_global_get(p, 1);
			break;
		case 1:
			g = rt_spawn_get_oldest(p);
			break;
		case 2:
			g = p->next ? NULL : rt_runq_get(p);
			break;
		}
	}
	return g;
}

static uint64_t next_random(struct p *p)
{
	p->rng ^= p->rng << 13;
	p->rng ^= p->rng >> 7;
	p->rng ^= p->rng << 17;
	return p->rng;
}

/* A look around the other Ps, in random order. */
static struct g *steal_round(struct m *m, struct p *p, int64_t now)
{
	uint32_t n = sched.maxprocs, at = (uint32_t)(next_random(p) % n);

	for (uint32_t i = 0; i < n; i++) {
		struct p *victim = sched.ps[(at + i) % n];
		struct g *g;

		if (victim == p)
			continue;
		if (ld(&victim->first) <= now && rt_timers_run(m, victim, now)) {
			g = rt_runq_get(p);
			if (g)
				return g;
		}
		if (rt_runq_empty(victim))
			continue;
		g = rt_steal(p, victim);
		if (g) {
			bump(&p->steals, 1);
			return g;
		}
	}
	return NULL;
}

static struct g *spin(struct m *m, struct p *p)
{
	if (!m->spinning && 2 * ld(&sched.n_spinning) >= (int32_t)(sched.maxprocs - ld(&sched.n_idle_ps)))
		return NULL;
	if (!m->spinning) {
		m->spinning = true;
		add(&sched.n_spinning, 1);
	}
	for (int round = 0; round < STEAL_ROUNDS; round++) {
		struct g *g = steal_round(m, p, rt_now());

		if (!g)
			g = rt_global_get(p, RT_RUNQ);
		if (g || ld(&sched.stopping))
			return g;
		for (int i = 0; i < SPIN_PAUSES; i++)
			rt_pause();
	}
	return NULL;
}

/* --- Idling ---------------------------------------------------------------------------------------------- */

void rt_p_acquire(struct m *m, struct p *p)
{
	st(&p->m, m);
	st(&m->p, p);
	st_rel(&m->own, RT_OWNED); /* pairs with the CAS in rt_revoke() */
	if (rt_rec_on) {
		m->tsc = rt_tsc();
		rt_record(m, RT_EV_PROC_START, 0, 0, p->id, 0, ++p->trace_seq);
	}
}

/* m gives up its P; the caller passes it on. */
static struct p *release_p(struct m *m)
{
	struct p *p = ld(&m->p);
	uint32_t owned = RT_OWNED;

	/* Whoever borrows it for a moment gives it back. */
	while (!cas(&m->own, &owned, RT_NO_P)) {
		owned = RT_OWNED;
		rt_pause();
	}
	if (rt_rec_on) {
		m->tsc = rt_tsc();
		rt_record(m, RT_EV_PROC_STOP, 0, 0, p->id, 0, p->trace_seq);
		rt_rec_release(m);
	}
	st(&p->m, NULL);
	st(&m->p, NULL);
	return p;
}

static void idle_put(struct p *p) /* under sched.lock */
{
	p->idle_next = sched.idle_ps;
	sched.idle_ps = p;
	st(&p->idle, 1);
	st(&sched.n_idle_ps, ld(&sched.n_idle_ps) + 1);
}

struct p *rt_idle_p_get(void) /* under sched.lock */
{
	struct p *p = sched.idle_ps;

	if (p) {
		sched.idle_ps = p->idle_next;
		st(&p->idle, 0);
		st(&sched.n_idle_ps, ld(&sched.n_idle_ps) - 1);
		if (unlikely(sched.sysmon_asleep))
			rt_sysmon_kick();
	}
	return p;
}

/* Line 1 of the head's right column, after the heavy barrier. */
static bool work_anywhere(void)
{
	if (ld(&sched.n_global))
		return true;
	for (uint32_t i = 0; i < sched.maxprocs; i++)
		if (!rt_runq_empty(sched.ps[i]))
			return true;
	return false;
}

/* Take an idle P back to look (spin) for the work there is after all.  False: none idle. */
static bool retake(struct m *m)
{
	struct p *p;

	rt_lock(&sched.lock);
	p = rt_idle_p_get();
	rt_unlock(&sched.lock);
	if (!p)
		return false;
	m->spinning = true;
	add(&sched.n_spinning, 1);
	rt_p_acquire(m, p);
	return true;
}

/* The timekeeper got work.  If idle Ps still have timers, another idle M has to keep time: woken with no
 * P it goes round sleep_idle() once more.  Under sched.lock. */
static void next_timekeeper(void)
{
	for (struct p *p = sched.idle_ps; p && sched.idle_ms; p = p->idle_next) {
		if (ld(&p->first) != INT64_MAX) {
			struct m *m = sched.idle_ms;

			sched.idle_ms = m->idle_next;
			rt_note_wake(&m->note);
			return;
		}
	}
}

/* Sleep until given a P (m->next_p), or, as the timekeeper, until a timer is due and a P idle. */
static void sleep_idle(struct m *m)
{
	for (;;) {
		int64_t until = rt_timers_first();
		bool woken;
		struct p *p;

		rt_lock(&sched.lock);
		if (sched.stopping) {
			rt_unlock(&sched.lock);
			return;
		}
		/* The earliest timer decides who keeps time; an M that sleeps with a later limit goes on. */
		if (until < sched.idle_until && sched.idle_ps) {
			sched.timekeeper = m;
			sched.idle_until = until;
		} else {
			until = INT64_MAX;
		}
		m->next_p = NULL;
		m->idle_next = sched.idle_ms;
		sched.idle_ms = m;
		rt_unlock(&sched.lock);

		woken = rt_note_wait(&m->note, until);

		rt_lock(&sched.lock);
		if (sched.timekeeper == m) {
			sched.timekeeper = NULL;
			sched.idle_until = INT64_MAX;
			if (woken)
				next_timekeeper();
		}
		if (!woken && rt_idle_m_remove(m)) {
			p = rt_idle_p_get();
			rt_unlock(&sched.lock);
			if (!p)
				continue; /* all Ps run: they see to timers themselves */
			rt_p_acquire(m, p);
			return;
		}
		rt_unlock(&sched.lock);
		if (!woken) /* taken off the list just now: the wake-up is on its way */
			(void)rt_note_wait(&m->note, INT64_MAX);
		p = m->next_p;
		if (p) {
			rt_p_acquire(m, p);
			return;
		}
		if (ld(&sched.stopping))
			return;
	}
}

/* Nothing to run: give the P up, make sure that nothing was missed, sleep. */
static void go_idle(struct m *m)
{
	bool span = m->spinning;

	if (ld(&m->p)) {
		struct p *p;

		rt_lock(&sched.lock);
		if (ld(&sched.n_global) || ld(&sched.stopping)) {
			rt_unlock(&sched.lock);
			return;
		}
		p = release_p(m);
		idle_put(p);
		rt_unlock(&sched.lock);
	}
	if (span) {
		m->spinning = false;
		add_sc(&sched.n_spinning, -1);
	}
	rt_heavy();
	if (work_anywhere() && retake(m))
		return;
	sleep_idle(m);
}

/* --- Looking for work --------------------------------------------------------------------------------------- */

/* Have found something while spinning: let the next one look. */
static void stop_spinning(struct m *m)
{
	m->spinning = false;
	if (add_sc(&sched.n_spinning, -1) == 1)
		rt_wake_one();
}

/* NULL: again (or the runtime stops). */
static struct g *find(struct m *m)
{
	struct p *p = ld(&m->p);
	int64_t now;
	struct g *g = NULL;

	if (!p)
		return NULL;
	m->tsc = rt_tsc();
	now = rt_now();
	if (ld(&p->first) <= now)
		(void)rt_timers_run(m, p, now);
	if (m->tsc >= p->turn_at) {
		p->turn_at = m->tsc + rt_ns_span_tsc(TURN);
		g = fair_turn(p);
	}
	if (!g && p->next) {
		g = p->next;
		p->next = NULL;
		st(&p->has_next, 0);
		return g; /* inherits the slice */
	}
	if (!g)
		g = rt_runq_get(p);
	if (!g)
		g = rt_spawn_get(p);
	if (!g)
		g = rt_global_get(p, RT_RUNQ);
	if (!g)
		g = spin(m, p);
	p->slice_end = m->tsc + rt_ns_span_tsc(SLICE);
	return g;
}

/* The scheduler on the M's own stack.  Returns when the M shall end; it then has no P. */
void rt_loop(struct m *m)
{
	while (!ld(&sched.stopping)) {
		struct g *g = find(m);

		if (!g) {
			go_idle(m);
			continue;
		}
		if (m->spinning)
			stop_spinning(m);
		m->after = RT_AFTER_NOTHING;
		m = switch_to(m, g, false);
	}
	if (ld(&m->p)) {
		rt_lock(&sched.lock);
		idle_put(release_p(m));
		rt_unlock(&sched.lock);
	}
}

/* --- Waking workers ---------------------------------------------------------------------------------------------- */

bool rt_idle_m_remove(struct m *m) /* under sched.lock */
{
	for (struct m **at = &sched.idle_ms; *at; at = &(*at)->idle_next) {
		if (*at == m) {
			*at = m->idle_next;
			return true;
		}
	}
	return false;
}

void rt_run_p(struct p *p, bool spinning)
{
	struct m *m;

	rt_lock(&sched.lock);
	m = sched.idle_ms;
	if (m)
		sched.idle_ms = m->idle_next;
	rt_unlock(&sched.lock);
	if (m) {
		m->spinning = spinning;
		m->next_p = p;
		rt_note_wake(&m->note);
		return;
	}
	if (rt_m_new(p, spinning) == 0)
		return;
	/* No thread to be had: fewer Ms.  The P stays idle; whoever adds work tries again. */
	if (spinning)
		add_sc(&sched.n_spinning, -1);
	rt_lock(&sched.lock);
	idle_put(p);
	rt_unlock(&sched.lock);
}

RT_NOINLINE void rt_wake_slow(void)
{
	int32_t none = 0;
	struct p *p;

	if (!cas(&sched.n_spinning, &none, 1))
		return;
	rt_lock(&sched.lock);
	p = rt_idle_p_get();
	rt_unlock(&sched.lock);
	if (p)
		rt_run_p(p, true);
	else
		add_sc(&sched.n_spinning, -1);
}

/* --- What goroutines call ------------------------------------------------------------------------------------------
 */

static void put_next(struct m *m, struct p *p, struct g *g)
{
	struct g *old = p->next;

	p->next = g;
	st(&p->has_next, 1);
	bump(&p->handoffs, 1);
	if (old) {
		rt_runq_put(p, old);
		rt_wake_one();
	} else if (unlikely(p->eager)) {
		p->eager--;
		rt_wake_one();
	}
	(void)m;
}

/* waker: whose doing it is (0: the scheduler's); stack: where. */
static void ready(struct m *m, struct g *g, int outcome, enum rt_how how, uint64_t waker, uint32_t stack)
{
	struct p *p = m ? ld(&m->p) : NULL;

	g->outcome = outcome;
	if (unlikely(g->foreign)) {
		rt_note_wake(&g->note);
		return;
	}
	if (rt_rec_on && m)
		rt_record(m, RT_EV_GO_UNBLOCK, 0, waker, ld(&g->id), stack, rt_trace_seq(g, 1));
	else if (rt_rec_on)
		rt_record_foreign(RT_EV_GO_UNBLOCK, ld(&g->id), rt_trace_seq(g, 1));
	st(&g->since_tsc, m ? since(m) : rt_tsc());
	st(&g->status, RT_G_RUNNABLE);
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

	if (rt_rec_on && m && !g->foreign) {
		struct g *cur = ld(&m->cur);

		m->tsc = rt_tsc();
		if (cur != &m->g0) {
			waker = ld(&cur->id);
			stack = rt_stack_here(m, __builtin_frame_address(0));
		}
	}
	ready(m, g, outcome, how, waker, stack);
}

static int park_foreign(struct rt_lock *drop)
{
	struct g *g = rt_foreign_g();

	if (drop)
		rt_unlock(drop);
	(void)rt_note_wait(&g->note, INT64_MAX);
	return g->outcome;
}

int rt_park(struct m **mp, enum rt_wait reason, struct rt_lock *drop)
{
	struct m *m = *mp;
	struct p *p;
	struct g *g, *next;

	if (unlikely(!m))
		return park_foreign(drop);
	p = ld(&m->p);
	g = ld(&m->cur);
	bump(&p->parks[reason], 1);
	if (rt_rec_on) {
		m->tsc = rt_tsc();
		rt_record(m, RT_EV_GO_BLOCK, reason, ld(&g->id), ld(&g->id),
			  rt_stack_here(m, __builtin_frame_address(0)), rt_trace_seq(g, 0));
	}
	m->after = RT_AFTER_PARK;
	m->after_reason = reason;
	m->after_number = ld(&g->wait) >> 1;
	m->after_lock = drop;
	next = pick(m);
	*mp = switch_to(m, next ? next : &m->g0, false);
	return g->outcome;
}

int rt_park_until(struct m **mp, int64_t when)
{
	struct m *m = *mp;
	struct p *p = ld(&m->p);
	struct g *g = ld(&m->cur), *next;

	bump(&p->parks[RT_WAIT_SLEEP], 1);
	if (rt_rec_on) {
		m->tsc = rt_tsc();
		rt_record(m, RT_EV_GO_BLOCK, RT_WAIT_SLEEP, ld(&g->id), ld(&g->id),
			  rt_stack_here(m, __builtin_frame_address(0)), rt_trace_seq(g, 0));
	}
	m->after = RT_AFTER_SLEEP;
	m->after_reason = RT_WAIT_SLEEP;
	m->after_number = rt_wait_open(g);
	m->after_when = when;
	next = pick(m);
	*mp = switch_to(m, next ? next : &m->g0, false);
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
	*mp = switch_to(m, next ? next : &m->g0, false);
}

/* The goroutine lost its P while it was outside and there is none to be had at once (revoke.c). */
struct m *rt_requeue(struct m *m)
{
	m->after = RT_AFTER_GLOBAL;
	return switch_to(m, &m->g0, false);
}

void rt_exit(struct m *m)
{
	struct g *g = ld(&m->cur), *next;

	if (rt_rec_on) {
		m->tsc = rt_tsc();
		rt_record(m, RT_EV_GO_DESTROY, 0, ld(&g->id), ld(&g->id), 0, rt_trace_seq(g, 0));
	}
	next = pick(m);
	m->after = RT_AFTER_EXIT;
	(void)switch_to(m, next ? next : &m->g0, true);
	__builtin_unreachable();
}
