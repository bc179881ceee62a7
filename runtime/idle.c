/* idle.c - what an M does that has found nothing to run (find.c): idle, be woken.
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
 * at once); at most half of the busy workers spin. */
#include "idle.h"
#include "netpoll.h"
#include "rt.h"

#define AGAIN (20 * WEFT_US)  /* a timer that was due when we looked is another's, who has no CPU or is at it */
#define SOON (10 * WEFT_MS)   /* sysmon does not look more often when little happens */
#define SPARE (10 * WEFT_SEC) /* an M more than there are Ps idles no longer */

int64_t rt_spare_ns = SPARE;

/* --- Waking workers ---------------------------------------------------------------------------------------------- */

bool rt_idle_m_is(const struct m *m) /* under sched.lock */
{
	const struct m *i = sched.idle_ms;

	while (i && i != m)
		i = i->idle_next;
	return i || ld(&sched.poller) == m;
}

bool rt_idle_m_remove(struct m *m) /* under sched.lock */
{
	for (struct m **at = &sched.idle_ms; *at; at = &(*at)->idle_next) {
		if (*at == m) {
			*at = m->idle_next;
			st(&sched.n_idle_ms, ld(&sched.n_idle_ms) - 1);
			return true;
		}
	}
	if (ld(&sched.poller) != m)
		return false;
	st(&sched.poller, NULL);
	st(&sched.n_idle_ms, ld(&sched.n_idle_ms) - 1);
	return true;
}

struct m *rt_idle_m_get(void) /* under sched.lock */
{
	struct m *m = sched.idle_ms;

	if (m) {
		sched.idle_ms = m->idle_next;
	} else {
		m = ld(&sched.poller);
		st(&sched.poller, NULL);
	}
	if (m)
		st(&sched.n_idle_ms, ld(&sched.n_idle_ms) - 1);
	return m;
}

void rt_idle_m_wake(struct m *m)
{
	bool polls = m->polls; /* with its note it may lie down anew */

	rt_note_wake(&m->note);
	if (polls)
		rt_net_wake();
}

void rt_idle_m_poke(void)
{
	struct m *m;

	rt_lock(&sched.lock);
	m = rt_idle_m_get();
	rt_unlock(&sched.lock);
	if (m)
		rt_idle_m_wake(m);
}

bool rt_m_to_be_had(void)
{
	return ld(&sched.n_idle_ms) || rt_m_may_start();
}

void rt_run_p(struct p *p, bool spinning)
{
	struct m *m;

	rt_lock(&sched.lock);
	m = rt_idle_m_get();
	rt_unlock(&sched.lock);
	if (m) {
		m->spinning = spinning;
		m->next_p = p;
		rt_idle_m_wake(m);
		return;
	}
	if (rt_m_new(p, spinning) == 0)
		return;
	/* No thread to be had: fewer Ms.  The P stays idle; whoever adds work tries again. */
	if (spinning)
		add_sc(&sched.n_spinning, -1);
	rt_lock(&sched.lock);
	rt_idle_p_put(p);
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

/* --- Idling ---------------------------------------------------------------------------------------------- */

void rt_p_acquire(struct m *m, struct p *p)
{
	st(&p->m, m);
	st(&m->p, p);
	if (rt_rec_on) {
		m->tsc = rt_tsc();
		rt_record(m, RT_EV_PROC_START, 0, 0, p->id, 0, ++p->trace_seq);
	}
	st_rel(&m->own, RT_OWNED); /* pairs with the CAS in rt_revoke() */
}

struct p *rt_p_release(struct m *m)
{
	struct p *p = ld(&m->p);
	uint32_t owned = RT_OWNED;

	if (rt_rec_on) {
		m->tsc = rt_tsc();
		rt_record(m, RT_EV_PROC_STOP, 0, 0, p->id, 0, p->trace_seq);
	}
	/* Whoever borrows it for a moment gives it back. */
	while (!cas(&m->own, &owned, RT_NO_P)) {
		owned = RT_OWNED;
		rt_pause();
	}
	if (rt_rec_on)
		rt_rec_release(m);
	st(&p->m, NULL);
	st(&m->p, NULL);
	return p;
}

void rt_idle_p_put(struct p *p) /* under sched.lock */
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
	for (uint32_t i = 0; i < ld_acq(&sched.n_ps); i++)
		if (!rt_runq_empty(sched.ps[i]))
			return true;
	return false;
}

/* Has p timers that no idle M keeps time for? */
static bool untimed(const struct p *p)
{
	bool yes;

	rt_lock(&sched.lock);
	yes = ld(&p->first) < sched.idle_until;
	rt_unlock(&sched.lock);
	return yes;
}

/* As an M that finds nothing (the head's right column): idle, heavy barrier, one more look.  Descriptors that nobody
 * sleeps on are work as well: who finds no other idles as the poller. */
void rt_p_pass(struct p *p)
{
	bool work = !rt_runq_empty(p) || ld(&sched.n_global) || ld(&p->has_next) || untimed(p) || rt_net_unwatched();

	if (work && !ld(&sched.stopping)) { /* in the end nobody is to start anew */
		rt_run_p(p, false);
		return;
	}
	rt_lock(&sched.lock);
	rt_idle_p_put(p);
	rt_unlock(&sched.lock);
	rt_heavy();
	if (work_anywhere() && !ld(&sched.stopping))
		rt_wake_one();
}

/* Under sched.lock: m can be given a P, from the moment on in which it has none.  Were it found idle only once it
 * sleeps, whoever adds work meanwhile would start a thread more. */
static void be_found(struct m *m)
{
	m->next_p = NULL;
	m->spinning = false; /* from now on it is for the finder to say */
	m->found = true;
	m->idle_next = sched.idle_ms;
	sched.idle_ms = m;
	st(&sched.n_idle_ms, ld(&sched.n_idle_ms) + 1);
}

/* Found by nobody from now on.  False: it was, and next_p (NULL: none) is what it was given.  sched.lock is taken;
 * held on return. */
static bool be_lost(struct m *m)
{
	rt_lock(&sched.lock);
	if (!m->found)
		return true;
	m->found = false;
	if (rt_idle_m_remove(m))
		return true;
	rt_unlock(&sched.lock);
	(void)rt_note_wait(&m->note, INT64_MAX); /* the wake-up is on its way */
	rt_lock(&sched.lock);
	return false;
}

/* Take an idle P back to look (spin) for the work there is after all.  False: none idle. */
static bool retake(struct m *m)
{
	bool lost = be_lost(m);
	struct p *p = lost ? rt_idle_p_get() : m->next_p;

	if (lost && !p)
		be_found(m); /* by whoever has taken that P */
	rt_unlock(&sched.lock);
	if (!p)
		return false;
	rt_start_spinning(m);
	rt_p_acquire(m, p);
	return true;
}

/* The timekeeper got work.  If idle Ps still have timers, another idle M has to keep time: woken with no
 * P it goes round sleep_idle() once more.  Under sched.lock. */
static void next_timekeeper(void)
{
	struct m *m;

	for (struct p *p = sched.idle_ps; p; p = p->idle_next) {
		if (ld(&p->first) == INT64_MAX)
			continue;
		m = rt_idle_m_get();
		if (m)
			rt_idle_m_wake(m);
		return;
	}
}

/* Onto the idle list, or, the first to idle once there are descriptors to wait for, as the poller; the
 * earliest timer decides who keeps time: an M that sleeps with a later limit goes on.  Those of which there are more
 * than Ps try for SPARE whether anybody needs them.  Under sched.lock.  Returns how long to sleep at most. */
static int64_t lie_down(struct m *m, int64_t timer)
{
	bool spare = ld(&sched.n_idle_ms) >= ld(&sched.maxprocs) && rt_spare_ns != INT64_MAX;

	m->next_p = NULL;
	m->polls = sched.idle_ps && ld(&rt_net.used) && !sched.poller_in;
	if (m->polls) {
		sched.poller_in = true;
		st(&sched.poller, m);
	} else {
		m->idle_next = sched.idle_ms;
		sched.idle_ms = m;
	}
	st(&sched.n_idle_ms, ld(&sched.n_idle_ms) + 1);
	if (timer >= sched.idle_until || !sched.idle_ps)
		return spare && !m->polls ? rt_now() + rt_spare_ns : INT64_MAX;
	sched.timekeeper = m;
	sched.idle_until = timer;
	return timer;
}

/* m was not woken, and is off the idle list now: a P for the one who kept time or polled; who did neither has slept
 * for SPARE, and may be one too many.  Under sched.lock. */
static struct p *overslept(struct m *m, bool kept_time)
{
	if (kept_time || m->polls)
		return rt_idle_p_get();
	m->leave = ld(&sched.n_idle_ms) >= ld(&sched.maxprocs) && !ld(&m->n_homes);
	return NULL;
}

/* Sleep until given a P (m->next_p), or, as the timekeeper, until a timer is due and a P idle, or, as the
 * poller, until there is something to do and a P idle (without one it is given to those that run); or until m shall
 * end. */
static void sleep_idle(struct m *m)
{
	struct rt_net_batch found;

	for (;;) {
		int64_t until = rt_timers_first();
		bool woken, kept_time, gave;
		struct p *p;

		if (!be_lost(m) && m->next_p) {
			rt_unlock(&sched.lock);
			rt_p_acquire(m, m->next_p);
			return;
		}
		if (sched.stopping) {
			rt_unlock(&sched.lock);
			return;
		}
		until = lie_down(m, until <= m->looked ? rt_now() + AGAIN : until);
		gave = rt_pinned_give_back(m);
		rt_unlock(&sched.lock);
		if (unlikely(gave))
			rt_wake_one();

		found.n = 0;
		woken = m->polls ? rt_net_sleep(&m->note, until, &found) : rt_note_wait(&m->note, until);

		rt_lock(&sched.lock);
		if (m->polls)
			sched.poller_in = false;
		kept_time = sched.timekeeper == m;
		if (kept_time) {
			sched.timekeeper = NULL;
			sched.idle_until = INT64_MAX;
			if (woken || (found.n && until < rt_now() + SOON))
				next_timekeeper();
		}
		p = NULL;
		if (!woken && rt_idle_m_remove(m)) {
			p = overslept(m, kept_time);
			rt_unlock(&sched.lock);
		} else {
			rt_unlock(&sched.lock);
			if (!woken) /* taken off the list just now: the wake-up is on its way */
				(void)rt_note_wait(&m->note, INT64_MAX);
			p = m->next_p;
		}
		if (p)
			rt_p_acquire(m, p);
		/* Whosever the timer is: its P may wait for a thread that has no CPU yet. */
		if (p && !woken && kept_time)
			rt_start_spinning(m);
		if (found.n)
			(void)rt_net_deliver(p ? m : NULL, &found, RT_READY_NEXT);
		if (p || m->leave || ld(&sched.stopping))
			return; /* without a P: all of them run, and see to timers themselves */
	}
}

void rt_go_idle(struct m *m)
{
	bool span = m->spinning;

	if (ld(&m->p)) {
		struct p *p;

		rt_lock(&sched.lock);
		/* More work, or a P that has to retire, not to idle: the loop sees to it. */
		if (ld(&sched.n_global) || ld(&sched.stopping) || ld(&m->n_pinned) ||
		    ld(&m->p)->id >= ld(&sched.maxprocs)) {
			rt_unlock(&sched.lock);
			return;
		}
		p = rt_p_release(m);
		rt_idle_p_put(p);
		be_found(m);
		rt_unlock(&sched.lock);
	} else {
		m->spinning = false;
		rt_rec_release(m); /* its P was taken: rt_p_release() did not do it */
	}
	if (span)
		add_sc(&sched.n_spinning, -1);
	rt_heavy();
	if (work_anywhere() && retake(m))
		return;
	sleep_idle(m);
}
