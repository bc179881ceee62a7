/* rt.h - the runtime's own view of itself.
 *
 *   G  a goroutine: record and stack share a slot of an arena        g.c stack.c
 *   M  an OS thread that runs goroutines while it holds a P          m.c
 *   P  the right to run: run queues, timers, caches, counters        m.c
 *
 * Gs, Ms and Ps are never freed, only reused; goroutine ids never are.  So any thread may read a
 * stale pointer and find out from the id that it is stale.
 *
 * base.h, lock.h, gmp.h (the records), ring.h (the recorder), see.h (what looks at all that) are its parts.
 *
 * Who may touch what
 *   struct p, unless a field says otherwise: the M that owns it, between rt_enter() and rt_leave()
 *   (or in its scheduler), or sysmon while it has revoked it (revoke.c).
 *   struct m, likewise: its own thread.
 *   struct g: see its groups of fields.
 *
 * Which stack code runs on: a goroutine that parks picks its successor itself and switches straight
 * to it; only when the P has nothing to run does it switch to the M's own stack, where rt_loop() looks
 * further.  Whoever arrives from a switch first calls rt_arrive(), which finishes what the one
 * who left could not do while still standing on its own stack (publish it as waiting, drop the lock,
 * put it on a queue, free it).
 *
 * The M changes over every switch.  Functions that may switch take and return it (struct m **), and
 * nobody keeps the address of a thread-local across one. */
#ifndef WEFT_RT_H
#define WEFT_RT_H

#include "arch.h"
#include "base.h"
#include "gmp.h"
#include "lock.h"
#include "ring.h"
#include "see.h"

/* --- Assembly (switch_*.S) --- */

/* Save the callee-saved registers (RT_FRAME_*) and sp in *save, take those saved at sp, and return m there. */
struct m *rt_switch(_Atomic uintptr_t *save, uintptr_t sp, struct m *m);
/* First activation: root frame (return address undefined), calls rt_g_main(m) and goes on with whom that
 * returns. */
void rt_g_entry(void);
extern const char rt_g_entry_call[]; /* the return address of that call */
struct rt_next {
	struct m *m;
	uintptr_t sp;
};
struct rt_next rt_g_main(struct m *m);

/* --- Who am I (m.c) --- */

extern __thread struct m *rt_tls_m __attribute__((tls_model("local-exec")));

/* The calling thread's M, or NULL.  Looked up anew at every call: a compiler that knew this for a
 * thread-local might keep its address over a switch to another thread.  Signal-safe. */
static inline struct m *rt_self(void)
{
	return rt_arch_self();
}

/* --- Entering and leaving the runtime (revoke.c) --- */

struct m *rt_enter_slow(struct m *m);
/* For every call from a goroutine that touches P state.  NULL: a foreign thread, use the P-less way. */
static inline struct m *rt_enter(struct m *m)
{
	if (unlikely(!m))
		return NULL;
	st(&m->in_rt, 1);
	rt_light(); /* pairs with rt_heavy() in rt_revoke() */
	if (unlikely(ld_acq(&m->own) != RT_OWNED))
		return rt_enter_slow(m);
	return m;
}
static inline void rt_leave(struct m *m)
{
	rt_light();
	st_rel(&m->in_rt, 0); /* pairs with the load in rt_revoke(): all we did to the P is visible */
}
/* Take the P from an M that is outside the runtime; the goroutine goes on DETACHED.  The P, owned by
 * the caller, or NULL.  stack: where the goroutine is, or 0.  Not on an M. */
struct p *rt_revoke(struct m *m, enum rt_lost lost, uint32_t stack);
/* RT_LOST_BLOCKED, for a call that is counted in entry (or NULL). */
struct p *rt_revoke_blocked(struct m *m, uint32_t stack, struct rt_blocked *entry);
/* Take the P that an M has lent.  The P, owned by the caller, or NULL. */
struct p *rt_retake(struct m *m);
/* Look at p's owner-only state for a moment without taking it: false when its M is in the runtime. */
bool rt_borrow(struct m *m, struct p **p);
void rt_unborrow(struct m *m);

/* --- Blocking sections (block.c) --- */

/* The current goroutine enters a section on behalf of the function with that frame, which lasts as long and was called
 * at sp; m is in the runtime, and out of it afterwards.  lasting: known to take long, so the P is given away at once.
 * The M it is on. */
struct m *rt_section_begin(struct m *m, struct rt_record *frame, uintptr_t sp, bool lasting);
/* And leaves it: m is out of the runtime, and in it, with a P, afterwards: perhaps another M. */
struct m *rt_section_leave(struct m *m);
/* Take the P back that was lent; false: it is gone. */
bool rt_section_end(struct m *m);

/* --- Scheduling (sched.c, find.c, idle.c, runq.c) --- */

/* Park the current goroutine (its wait word is open) and run others; `drop` (may be NULL) is unlocked
 * once it is no longer on its stack.  Returns the outcome; *m is the M it woke on.  *m NULL: a foreign
 * thread, which blocks on its own record's note. */
int rt_park(struct m **m, enum rt_wait reason, struct rt_lock *drop);
/* As rt_park(), but at monotonic instant `when` a timer wins the wait: -ETIMEDOUT. */
int rt_park_until(struct m **m, enum rt_wait reason, struct rt_lock *drop, int64_t when);
/* For select: holds several locks, all dropped once it is off its stack; it takes the last of them again before
 * it returns, since `held` lies on its stack.  when INT64_MAX: no limit. */
struct rt_held {
	uint32_t n; /* > 0 */
	struct rt_lock **lock;
};
int rt_park_select(struct m **m, const struct rt_held *held, int64_t when);
enum rt_how {
	RT_READY_NEXT,  /* hand-over: run it when I stop; wakes no other worker */
	RT_READY_QUEUE, /* first in, first out */
	RT_READY_SPAWN, /* newest first */
};
/* Make a goroutine runnable whose wait the caller has won.  m: the caller's M in the runtime, or NULL. */
void rt_ready(struct m *m, struct g *g, int outcome, enum rt_how how);
void rt_yield(struct m **m);
struct rt_next rt_exit(struct m *m); /* the last that rt_g_main() does */
struct m *rt_requeue(struct m *m);
struct m *rt_preempt(struct m *m);
struct m *rt_elsewhere(struct m *m); /* go on on another M, with the same P, if one is to be had */
void rt_arrive(struct m *m);
void rt_loop(struct m *m);
void rt_p_acquire(struct m *m, struct p *p);
struct p *rt_idle_p_get(void);        /* under sched.lock */
bool rt_idle_m_is(const struct m *m); /* under sched.lock; does it? */
bool rt_idle_m_remove(struct m *m);   /* under sched.lock */
void rt_idle_m_poke(void);            /* let an idle M look around and lie down again */
/* Start P p (the caller's) on some M; spinning: counted in n_spinning already.  No M to be had: p idles. */
void rt_run_p(struct p *p, bool spinning);
/* Pass on a P that was taken from an M: to work if there is some, else to the idle ones.  Any thread. */
void rt_p_pass(struct p *p);
/* Could another P be started now? */
bool rt_m_to_be_had(void);
void rt_wake_slow(void);
/* Work was put on a queue (line 2 of idle.c's left column): if a P idles and nobody looks for work,
 * wake one worker. */
static inline void rt_wake_one(void)
{
	rt_light();
	if (unlikely(ld(&sched.n_idle_ps) != 0) && ld(&sched.n_spinning) == 0)
		rt_wake_slow();
}
static inline bool rt_wait_cancellable(enum rt_wait reason)
{
#define X(name, dump, trace, off) | (uint32_t)(off) << RT_WAIT_##name
	return (0u RT_WAIT_REASONS(X)) >> reason & 1;
#undef X
}

void rt_runq_put(struct p *p, struct g *g);
struct g *rt_runq_get(struct p *p);
void rt_spawn_put(struct p *p, struct g *g);
struct g *rt_spawn_get(struct p *p); /* newest */
struct g *rt_spawn_get_oldest(struct p *p);
void rt_global_put(struct g *first, struct g *last, uint32_t n);
struct g *rt_global_get(struct p *p, uint32_t max);
struct g *rt_steal(struct p *p, struct p *victim);
uint32_t rt_runq_len(const struct p *p);
bool rt_runq_empty(const struct p *p);

/* --- Waits (g.c): one wait word, won by CAS --- */

static inline uint64_t rt_wait_open(struct g *g)
{
	uint64_t n = (ld(&g->wait) >> 1) + 1;

	g->outcome = 0;
	st_rel(&g->wait, n << 1 | 1);
	return n;
}
static inline bool rt_wait_win(struct g *g, uint64_t number)
{
	uint64_t open = number << 1 | 1;

	return cas(&g->wait, &open, number << 1);
}
/* Win a wait that has only one who may, and who knows that it is open: no CAS. */
static inline void rt_wait_close(struct g *g, uint64_t number)
{
	RT_ASSERT(ld(&g->wait) == (number << 1 | 1));
	st(&g->wait, number << 1);
}
/* Start a goroutine of inst; m may be NULL (a thread without a P).  Errors as weft_go(). */
struct rt_go_args {
	weft_fn fn;
	void *arg;
	const struct weft_go_opts *opts; /* or NULL */
	weft_wg *wg;                     /* told when the goroutine returns, or NULL */
	void *frame;                     /* the public function's, for the stack of the go statement */
	bool even_if_over;               /* the embedder's own: also in a cancelled instance */
	const struct rt_origin {
		uint64_t parent;
		uint32_t created;
		weft_fn start;
	} * origin; /* by a timer: who armed it, and where; of a group: what it runs; NULL: the caller, fn */
};
int rt_go(struct m *m, struct weft_inst *inst, const struct rt_go_args *args);
void rt_g_free(struct m *m, struct g *g);
void rt_g_created(struct m *m, struct g *g); /* write the record that its starter could not */
struct g *rt_foreign_g(void);                /* the record of the calling thread, which is no M */
struct g *rt_g_of(uintptr_t addr);           /* the goroutine whose slot holds addr, or NULL.  sig */
void rt_purge(void);                         /* at stop: every goroutine left is nobody's */
static inline uint32_t rt_trace_seq(struct g *g, uint32_t more)
{
	uint32_t seq = ld(&g->trace_seq) + more;

	st(&g->trace_seq, seq);
	return seq;
}

/* --- Ms and Ps (m.c) --- */

int rt_m_new(struct p *p, bool spinning); /* a thread that starts with P p; -EAGAIN: none to be had */
bool rt_m_may_start(void);                /* would rt_m_new() try? */
void rt_ms_reap(void);                    /* give the stacks of ended threads back */

/* procs.c */
int rt_ps_start(void); /* as many as the options and the machine say */
/* m's P is beyond maxprocs: give it up, its work to the others.  NULL; or the P, if there is room after all. */
struct p *rt_p_retire(struct m *m);
void rt_procs_poll(void); /* sysmon, each second */
void rt_ms_join(void);

/* Publish sp, status, reason of a goroutine that was switched away from (A12). */
static inline void rt_seq_begin(struct g *g)
{
	st(&g->seq, ld(&g->seq) + 1);
	atomic_thread_fence(memory_order_release);
}
static inline void rt_seq_end(struct g *g)
{
	st_rel(&g->seq, ld(&g->seq) + 1);
}

/* --- Contexts (ctx.c) --- */

extern struct weft_ctx rt_ctx_none; /* what NULL stands for: over, nobody's */
void rt_ctx_root(struct weft_inst *inst);
static inline int rt_ctx_err(const struct weft_ctx *ctx)
{
	return -(int)ld(&ctx->over);
}
void rt_ctx_birth(struct g *g, struct weft_ctx *ctx); /* g, about to be born, carries a made context */
void rt_ctx_exit(struct m *m, struct g *g);
void rt_ctx_end_all(struct weft_inst *inst); /* its root is over: so is whatever was made below */
/* What guards ctx->done; of rank CTX, or CTXS for a root. */
struct rt_lock *rt_ctx_lock(struct weft_ctx *ctx);
/* Is ctx the one g carries, or above it?  Then its end calls g's waits off. */
bool rt_ctx_carried(const struct weft_ctx *ctx, struct g *g);
/* If g waits for something that can be called off: win that wait.  inst: only a goroutine of it, or NULL. */
void rt_call_off(struct m *m, struct g *g, const struct weft_inst *inst, int outcome); /* inst.c */

/* --- What an instance has made (owned.c) --- */

/* o is a part of what the caller's instance has just made. */
void rt_own(struct rt_owned *o, enum rt_owned_kind kind);
void rt_disown(struct rt_owned *o); /* it is about to be freed */
/* The instance has ended: free what o is a part of, which is on no list any more. */
void rt_chan_drop(struct rt_owned *o);
void rt_timer_drop(struct rt_owned *o);
void rt_group_drop(struct rt_owned *o);
void rt_task_drop(struct rt_owned *o);
/* Everything that instance `number` made and did not free. */
void rt_fds_free(uint32_t number);
void rt_locals_free(uint32_t number);
void rt_profiles_free(uint32_t number);
/* trace_host.c: the trace that it began, likewise. */
void rt_traces_end(uint32_t number);
void rt_ctx_free_all(struct weft_inst *inst);

/* --- Goroutine-local values (local.c) --- */

void rt_locals_end(struct g *g);  /* runs destructors: not in the runtime */
void rt_locals_drop(struct g *g); /* does not */

/* --- Tasks and regions (task.c) --- */

void rt_task_birth(struct g *g, struct weft_task *t); /* g, about to be born, carries t; NULL: none */
void rt_task_exit(struct m *m, struct g *g);

/* --- Timers (timer.c) --- */

/* Arm a, under its owner's lock; m may be NULL.  An earlier entry becomes stale. */
void rt_alarm_set(struct m *m, struct rt_alarm *a, int64_t when);

void rt_timer_add(struct p *p, const struct rt_timer *t); /* p owned by the caller */
/* Fire what is due on p (any P); how many.  m: the caller's, with a P. */
uint32_t rt_timers_run(struct m *m, struct p *p, int64_t now);
int64_t rt_timers_first(void);                     /* over all Ps; INT64_MAX: none */
void rt_timers_move(struct p *from, struct p *to); /* nobody runs on from */
void rt_timers_retune(void);                       /* the clock was calibrated anew */

/* --- Clock (clock.c) --- */

extern bool rt_have_tsc;
extern bool rt_distrust_tsc;        /* tests: as if the kernel did, before the first start */
int64_t rt_now(void);               /* CLOCK_MONOTONIC */
uint64_t rt_tsc(void);              /* cheap counter: tsc, or rt_now() where that is not invariant */
int64_t rt_tsc_to_ns(uint64_t tsc); /* CLOCK_MONOTONIC of a recent rt_tsc() */
uint64_t rt_ns_to_tsc(int64_t ns);
uint64_t rt_ns_span_tsc(int64_t ns);
void rt_clock_start(void);
void rt_clock_tune(void);                                        /* sysmon, each second */
void rt_clock_scale(uint64_t *tsc, int64_t *ns, uint64_t *mult); /* rt_tsc_to_ns() for others; sig */

/* --- Sema (sema.c): waiting by address, under every blocking primitive --- */

/* Take one from *count, waiting while it is 0; lifo: at the head of the queue. */
void rt_sema_acquire(struct m **m, _Atomic uint32_t *count, enum rt_wait reason, bool lifo);
/* Give one: to the longest waiting, or to *count. */
void rt_sema_release(struct m *m, _Atomic uint32_t *count, enum rt_how how);
/* fn for everybody who waits now, under the lock of its bucket: so *count is still there. */
void rt_sema_each(void (*fn)(void *arg, const struct g *g, const _Atomic uint32_t *count), void *arg);
/* mutex.c: the weft_mutex or weft_once around sema, which somebody waits on, and the stack it was last locked on. */
const void *rt_mutex_of(const _Atomic uint32_t *sema, enum rt_wait reason, uintptr_t *locked_on);

/* --- Deadlocks (deadlock.c) --- */

/* A thread that is no worker has won g's wait. */
void rt_woken_from_outside(const struct g *g);

/* --- sysmon.c, retake.c, blocked.c --- */

void rt_blocked_time(struct rt_blocked *e, int64_t ns); /* that a call took; e may be NULL */
void rt_retake_counters(struct weft_counters *out);
int rt_sysmon_start(void);
void rt_sysmon_stop(void);
void rt_sysmon_kick(void); /* it may be in its long sleep */

#endif
