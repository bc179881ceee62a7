/* retake.c - sysmon's look at one P that runs a goroutine: is it to be taken?
 *
 *   lent        the goroutine is in a declared blocking section.  Taken after SECTION when work waits, after IDLE
 *               when none does (so that work to come finds it).  Since when it is the section itself has noted.
 *   blocked     it sits in a system call that nobody has declared: its thread's CPU clock stands still from one
 *               look to the next, and the kernel says that the thread sleeps.  A thread that waits for a CPU has a
 *               clock that stands still as well, but does not sleep, so a goroutine that only computes is
 *               never taken for one.  Handed off after BLOCKED when work waits, after IDLE when none does.
 *   too long    the same goroutine for a whole slice, while work waits and no other P could do it.  It is asked
 *               first (weft_checkpoint()); then the P is handed off and it goes on without, on a thread of its own.
 *               Where the instance says so, or one such thread for two Ps runs already, it is interrupted by signal
 *               (preempt.c); if it can't be, twice, the P is handed off after all, unless there are handoff_max such
 *               threads: more would only slow each other down.
 *
 * sysmon looks seldom where it finds nothing to do, as rarely as a call blocks; so nothing may depend on how many
 * looks one call lasts for.
 *
 * What is handed off is handed off by rt_revoke(); refusals are counted by reason, once a slice.
 *
 * Everything here is sysmon's alone; counters are read by anybody. */
#include <stdio.h>
#include <string.h>

#include "capture.h"
#include "idle.h"
#include "retake.h"

#define SECTION (20 * WEFT_US)
#define BLOCKED (200 * WEFT_US)
#define IDLE (10 * WEFT_MS)
#define ASKED (100 * WEFT_US) /* a goroutine that looks often enough has stopped by then */
#define EAGER 64
#define SLEEPER 10 /* a timer that is due cuts the slice of one that can be interrupted to a tenth */
#define SIGNALS 2  /* answered with no: the P is handed off */
#define NAMED 8    /* hogs in one log line */

int64_t rt_slice_ns = RT_SLICE;

static struct look {
	const struct m *m;
	uint64_t tick;
	bool behind;   /* work stood behind it at the last look already */
	int64_t since; /* this goroutine */
	int64_t asked; /* 0: not yet */
	int64_t sent;  /* when a signal was sent that has not been answered; 0: none */
	int tries;     /* signals answered with no */
	bool capped;   /* that it may not be handed off has been counted */
	int64_t clock; /* CPU time of its thread at the last look; -1: not read yet */
} looks[WEFT_MAXPROCS_LIMIT];

static _Atomic uint64_t taken[RT_LOST_N], refused[WEFT_REFUSED_N];
static bool named; /* the hogs, since there was last room for more */

/* --- Who is it ------------------------------------------------------------------------------------- */

/* "17 of "primes" (filter)" at out; its length. */
static size_t name_one(char *out, size_t cap, const struct g *g)
{
	unsigned long long id = ld_acq(&g->id); /* pairs with its publication in rt_go() */
	const struct weft_inst *inst = ld(&g->inst);
	char fn[128] = "";
	int n;

	if (ld(&g->name))
		snprintf(fn, sizeof fn, "%s", ld(&g->name));
	else if (sched.opts.name)
		(void)sched.opts.name((uintptr_t)rt_start_of(g), fn, sizeof fn);
	fn[strcspn(fn, "+")] = 0;
	n = snprintf(out, cap, "%llu of \"%s\" (%s)", id, inst ? inst->name : "", *fn ? fn : "?");
	return n < (int)cap ? (size_t)n : cap - 1;
}

/* Once, until there was room again. */
static void name_hogs(void)
{
	char text[700] = "";
	size_t n = 0, at = 0;

	if (named)
		return;
	named = true;
	for (uint32_t i = 0; i < ld_acq(&rt_n_ms) && n < NAMED; i++) {
		const struct m *m = ld_acq(&rt_ms[i]);

		/* tid: its thread has begun, and cur is set */
		if (!m || !ld_acq(&m->tid) || ld(&m->own) != RT_NO_P || m->lost != RT_LOST_SLICE ||
		    ld(&m->cur) == &m->g0)
			continue;
		if (n++ && at + 2 < sizeof text)
			at += (size_t)snprintf(text + at, sizeof text - at, ", ");
		at += name_one(text + at, sizeof text - at, ld(&m->cur));
	}
	rt_log(WEFT_WARN,
	       "%u goroutines run on without coming back to the scheduler, as many as runtime.handoff_max allows: "
	       "further ones are interrupted, or keep their P: %s",
	       ld(&sched.n_handed), text);
}

/* --- Taking ---------------------------------------------------------------------------------------- */

static uint32_t handoff_max(void)
{
	return sched.opts.handoff_max ? (uint32_t)sched.opts.handoff_max : 4 * ld(&sched.maxprocs) + 8;
}

/* It may go on for another slice. */
static bool refuse(struct look *l, enum weft_refusal why, int64_t now)
{
	if (why != WEFT_REFUSED_HANDOFF_MAX) /* counted already */
		bump(&refused[why], 1);
	l->since = now;
	l->asked = l->sent = 0;
	l->tries = 0;
	l->capped = false;
	return false;
}

/* No more hand-offs: for this slice a signal is all that is left. */
static void at_cap(struct look *l)
{
	if (l->capped)
		return;
	l->capped = true;
	bump(&refused[WEFT_REFUSED_HANDOFF_MAX], 1);
	name_hogs();
}

static bool wants_signal(const struct m *m)
{
	const struct weft_inst *inst;

	(void)ld_acq(&ld(&m->cur)->id); /* pairs with its publication in rt_go() */
	inst = ld(&ld(&m->cur)->inst);
	switch (inst ? (enum weft_preempt)ld(&inst->preempt) : WEFT_PREEMPT_DEFAULT) {
	case WEFT_PREEMPT_SIGNAL:
		return true;
	case WEFT_PREEMPT_HANDOFF:
		return false;
	case WEFT_PREEMPT_DEFAULT:
		break;
	}
	return sched.opts.preempt_by_signal;
}

/* Threads that run without a P take their CPU from those that have one. */
static bool crowded(void)
{
	uint32_t n = ld(&sched.n_handed);

	return n >= (ld(&sched.maxprocs) + 1) / 2 || n >= handoff_max();
}

static bool may_signal(const struct m *m)
{
	/* Who is pinned to m gains nothing by a hand-off: its thread would be the hog's. */
	return rt_preempt_able && (ld(&m->n_homes) || crowded() || wants_signal(m));
}

/* Interrupt the goroutine.  True: it is under way; false: it will not be.  Not while its thread stands still, when it
 * might be about to enter a call that a signal would end. */
static bool signalled(struct m *m, struct look *l, int64_t now, bool still)
{
	enum weft_refusal why = WEFT_REFUSED_LATE;

	if (!rt_preempt_able && !l->tries && wants_signal(m)) { /* once a slice */
		l->tries = SIGNALS;
		bump(&refused[WEFT_REFUSED_STATE], 1);
	}
	if (!may_signal(m) || l->tries >= SIGNALS)
		return false;
	if (l->sent) {
		if (!rt_preempt_answer(m, &why) && now - l->sent < RT_SLICE)
			return true;
		if (why == WEFT_REFUSED_N)
			return true; /* it is on its way into the scheduler */
		l->sent = 0;
		bump(&refused[why], 1);
		if (++l->tries == SIGNALS)
			return false;
	}
	if (!still) {
		l->sent = now;
		rt_preempt_ask(m);
	}
	return true;
}

static bool end_slice(struct m *m, struct look *l, int64_t now, bool still)
{
	uint32_t n = ld(&sched.n_handed);
	struct p *p;

	if (n < handoff_max() / 2)
		named = false;
	if (n >= handoff_max() && !wants_signal(m))
		at_cap(l);
	if (signalled(m, l, now, still))
		return true;
	if (n >= handoff_max()) {
		at_cap(l);
		return refuse(l, WEFT_REFUSED_HANDOFF_MAX, now);
	}
	if (!rt_m_to_be_had())
		return refuse(l, WEFT_REFUSED_THREADS, now);
	(void)add(&sched.n_handed, 1); /* before it can come back */
	p = rt_revoke(m, RT_LOST_SLICE, 0);
	if (!p) {
		(void)add(&sched.n_handed, -1);
		return refuse(l, WEFT_REFUSED_RUNTIME, now);
	}
	bump(&taken[RT_LOST_SLICE], 1);
	rt_p_pass(p);
	return true;
}

/* Its clock has stood still since the last look. */
static bool hand_off_blocked(struct m *m)
{
	static struct rt_captured c;
	uint32_t stack;
	struct rt_blocked *entry;
	struct weft_inst *inst;
	struct p *p;

	if (ld(&m->in_rt) || !rt_m_to_be_had() || !rt_capture_sleeps(m, &c))
		return false;
	stack = c.depth ? rt_stack_intern(c.pc, c.depth) : 0;
	(void)ld_acq(&ld(&m->cur)->id); /* pairs with its publication in rt_go(): the instance is whole */
	inst = ld(&ld(&m->cur)->inst);
	entry = rt_blocked_entry(inst, stack, c.syscall);
	p = rt_revoke_blocked(m, stack, entry);
	if (!p)
		return false;
	bump(&taken[RT_LOST_BLOCKED], 1);
	rt_blocked_count(entry, inst);
	rt_p_pass(p);
	return true;
}

static bool take_lent(struct m *m)
{
	struct p *p = rt_retake(m);

	if (!p)
		return false;
	bump(&taken[RT_LOST_SECTION], 1);
	rt_p_pass(p);
	return true;
}

/* --- Looking --------------------------------------------------------------------------------------- */

static bool work_waits(const struct m *m, struct p *p, int64_t now)
{
	return ld(&m->n_pinned) || ld(&p->has_next) || !rt_runq_empty(p) || ld(&sched.n_global) || ld(&p->first) <= now;
}

/* Somebody who has slept or waited until now, or is about to be woken by a timer. */
static bool woken_waits(const struct p *p, int64_t now)
{
	return ld(&p->has_next) || ld(&p->first) <= now || ld(&p->head) != ld(&p->tail);
}

/* Move p's run-next where others can take it.  False: there is none, or its M is in the runtime. */
static bool free_next(struct m *m, struct p *p)
{
	struct p *mine;
	struct g *g = NULL;

	if (!rt_borrow(m, &mine))
		return false;
	if (mine == p && p->next) {
		g = p->next;
		p->next = NULL;
		st(&p->has_next, 0);
		p->eager = EAGER;
	}
	rt_unborrow(m);
	if (!g)
		return false;
	rt_global_put(g, g, 1);
	return true;
}

/* A P idles: others can do what waits behind the goroutine, once they know and can take it. */
static bool share(struct m *m, struct p *p, struct look *l)
{
	bool was = l->behind;

	l->behind = ld(&p->has_next) || !rt_runq_empty(p);
	if (!l->behind || !was)
		return false;
	return !rt_runq_empty(p) || free_next(m, p);
}

/* Does its thread sleep, as far as its clock says? */
static bool stands_still(struct m *m, struct look *l)
{
	int64_t before = l->clock;

	l->clock = rt_thread_clock(ld(&m->tid));
	return before >= 0 && l->clock == before;
}

static bool ask(struct m *m, struct look *l, int64_t now)
{
	if (!l->asked) {
		l->asked = now;
		st(&m->give_way, 1);
	}
	return now - l->asked >= ASKED;
}

static bool look_running(struct m *m, struct p *p, struct look *l, int64_t now, int64_t *next)
{
	bool waits = work_waits(m, p, now), still = stands_still(m, l);
	int64_t ran = now - l->since;

	if (waits && !ran)
		*next = now + BLOCKED; /* however rare looks are: is it a call that blocks? */
	if (still && ran >= (waits ? BLOCKED : IDLE) && hand_off_blocked(m))
		return true;
	if (!waits)
		return false;
	if (ld(&sched.n_idle_ps) && !ld(&m->n_pinned))
		return share(m, p, l);
	if (ran < (woken_waits(p, now) && may_signal(m) ? rt_slice_ns / SLEEPER : rt_slice_ns))
		return false;
	return ask(m, l, now) ? end_slice(m, l, now, still) : true;
}

/* Since when m is in its section; 0: it is no longer, or in another. */
static int64_t section_began(const struct m *m)
{
	uint32_t section = ld_acq(&m->sections);
	uint64_t began = ld_acq(&ld(&m->cur)->since_tsc);

	return ld(&m->own) == RT_LENT && ld(&m->sections) == section ? rt_tsc_to_ns(began) : 0;
}

/* One look is enough, however rare they are: waiting for a second look at the same section, as those in a row are
 * shorter than sysmon's pause, would never be over. */
static bool look_lent(struct m *m, struct p *p, int64_t now)
{
	int64_t began = section_began(m);

	return began && now - began >= (work_waits(m, p, now) ? SECTION : IDLE) && take_lent(m);
}

bool rt_look_at_p(struct p *p, int64_t now, int64_t *next)
{
	struct m *m = ld(&p->m);
	struct look *l = &looks[p->id];
	uint64_t tick = ld(&p->tick);

	if (!m || ld(&p->idle) || ld(&m->cur) == &m->g0) {
		l->m = NULL;
		return false;
	}
	if (l->m != m || l->tick != tick)
		*l = (struct look){ .m = m, .tick = tick, .since = now, .clock = -1 };
	if (ld(&m->own) == RT_LENT)
		return look_lent(m, p, now);
	return look_running(m, p, l, now, next);
}

/* --- For others ------------------------------------------------------------------------------------ */

static RT_COLD struct m *checkpoint_slow(struct m *m)
{
	if (ld(&m->own) == RT_LENT)
		return m; /* others have its P already, if they need it */
	m = rt_enter(m);
	if (ld(&m->give_way)) {
		st(&m->give_way, 0);
		rt_yield(&m);
	}
	rt_leave(m);
	return m;
}

int weft_checkpoint(void)
{
	struct m *m = rt_self();

	if (!m)
		return 0;
	if (unlikely(ld(&m->own) != RT_OWNED || ld(&m->give_way)))
		m = checkpoint_slow(m);
	return weft_ctx_err(&ld(&ld(&m->cur)->inst)->ctx);
}

void rt_retake_start(void)
{
	rt_preempt_start();
	st(&sched.n_handed, 0);
	memset(looks, 0, sizeof looks);
	named = false;
}

void rt_retake_counters(struct weft_counters *out)
{
	out->handoffs_slice = ld(&taken[RT_LOST_SLICE]);
	out->handoffs_blocked = ld(&taken[RT_LOST_BLOCKED]);
	out->handoffs_section = ld(&taken[RT_LOST_SECTION]);
	out->handed_off = ld(&sched.n_handed);
	out->handoff_max = handoff_max();
	for (int i = 0; i < WEFT_REFUSED_N; i++)
		out->preempt_refused[i] = ld(&refused[i]);
}

const char *weft_read_refusal(int i)
{
	static const char *const names[WEFT_REFUSED_N] = {
		[WEFT_REFUSED_HANDOFF_MAX] = "handoff_max",
		[WEFT_REFUSED_THREADS] = "threads",
		[WEFT_REFUSED_RUNTIME] = "runtime",
		[WEFT_REFUSED_LIBRARY] = "library",
		[WEFT_REFUSED_LOCKS] = "locks",
		[WEFT_REFUSED_WALK] = "walk",
		[WEFT_REFUSED_STACK] = "stack",
		[WEFT_REFUSED_STATE] = "state",
		[WEFT_REFUSED_LATE] = "late",
	};

	return i >= 0 && i < WEFT_REFUSED_N ? names[i] : "unknown";
}
