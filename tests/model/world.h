/* world.h - the real scheduler with a few Ms, Ps and goroutines, for the models that include it.
 *
 * Real are sched.c, find.c, idle.c, runq.c, revoke.c, block.c, timer.c, inst.c, rt_switch() and what rt.h has inline;
 * rt_note from lock.c as well.  Stood in for: locks (plain_lock.h), clock, recorder (off), arenas, birth and death of
 * goroutines.  Every M is a thread of the model; a goroutine is code on a stack of its own that moves from
 * one to the other.
 *
 * There must be an M more than could be on its way to sleep at once: rt_m_new() fails when none is left, and
 * then work waits for sysmon, which is not here. */
#ifndef WEFT_MODEL_WORLD_H
#define WEFT_MODEL_WORLD_H

#include "atomic.h"

#include "rt.h"

#define rt_lock_slow real_lock_slow
#define rt_lock_wake real_lock_wake
#define rt_lock_sleepers real_lock_sleepers
#include <lock.c>
#undef rt_lock_slow
#undef rt_lock_wake
#undef rt_lock_sleepers

#include "plain_lock.h"
#define lock inst_lock
#include <inst.c>
#undef lock
#include <find.c>
#include <idle.c>
#include <runq.c>
#include <sched.c>
#include <timer.c>
#ifdef WORLD_REQUEUE
#define rt_requeue WORLD_REQUEUE
#endif
#include <revoke.c>
#undef rt_requeue
#include <block.c>
#define put pinned_put
#include <pin.c>
#undef put

#define WORLD_MS 3
#define WORLD_PS 2
#define WORLD_GS 4

static struct m ms[WORLD_MS];
static struct p ps[WORLD_PS];
static struct g *gs[WORLD_GS];
static struct weft_inst world_inst;
static struct rt_arena arenas[WORLD_GS];
static struct rt_timer heaps[WORLD_PS][4];
static int n_ms, n_gs, errnos[WORLD_MS], n_threads;
static struct m *m_of[MC_THREADS];
static _Atomic uint32_t m_started[WORLD_MS];
static _Atomic int64_t world_clock;
static bool g_done[WORLD_GS];

__thread struct m *rt_tls_m;
bool rt_rec_on, rt_forked;
struct rt_arena *_Atomic rt_arenas[RT_ARENAS_MAX];
_Atomic uint32_t rt_n_arenas;

/* --- Stand-ins --- */

long rt_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	(void)nr, (void)e, (void)f;
	return mc_futex(b & 127, (_Atomic uint32_t *)a, (uint32_t)c, d != 0);
}
struct m *real_switch(_Atomic uintptr_t *save, uintptr_t sp, struct m *m);
RT_NOINLINE struct m *rt_switch(_Atomic uintptr_t *save, uintptr_t sp, struct m *m)
{
	mc_stack_switch((uintptr_t)__builtin_frame_address(0) - 128, sp);
	return real_switch(save, sp, m);
}
struct rt_wait_rates rt_wait_rates; /* zero: the profiles of waits are off */
_Atomic bool rt_see_on;
void rt_waited_slow(struct m *m, struct g *g, uint64_t since, uint64_t span, enum rt_wait reason, void *frame)
{
	(void)m, (void)g, (void)since, (void)span, (void)reason, (void)frame;
	mc_fail("a wait is counted in a profile that is off");
}
uint32_t rt_stack_class(size_t bytes)
{
	(void)bytes;
	return 0;
}
int64_t rt_now(void)
{
	return ld(&world_clock);
}
uint64_t rt_tsc(void)
{
	return 0;
}
uint64_t rt_ns_span_tsc(int64_t ns)
{
	return (uint64_t)ns;
}
uint64_t rt_ns_to_tsc(int64_t ns)
{
	(void)ns;
	return UINT64_MAX;
}
void rt_sysmon_kick(void)
{
}
void rt_woken_from_outside(const struct g *g)
{
	(void)g;
}
void rt_canary_check(struct g *g)
{
	(void)g;
}
void rt_g_created(struct m *m, struct g *g)
{
	(void)m, (void)g;
}
uint32_t rt_stack_here(struct m *m, void *fp)
{
	(void)m, (void)fp;
	return 0;
}
bool rt_rec_more(struct m *m)
{
	(void)m;
	return false;
}
void rt_heap_tell(struct m *m)
{
	(void)m;
}
void rt_rec_release(struct m *m)
{
	(void)m;
}
void rt_record_foreign(enum rt_event ev, struct p *p, uint64_t subject, uint32_t stack, uint32_t seq)
{
	(void)ev, (void)p, (void)subject, (void)stack, (void)seq;
}
void *rt_map(size_t bytes)
{
	(void)bytes;
	return NULL;
}
void *rt_remap(void *old, size_t old_bytes, size_t bytes)
{
	(void)old, (void)old_bytes, (void)bytes;
	return NULL;
}
void rt_unmap(void *p, size_t bytes)
{
	(void)p, (void)bytes;
}
int rt_go(struct m *m, struct weft_inst *inst, const struct rt_go_args *args)
{
	(void)m, (void)inst, (void)args;
	return -ENOMEM;
}
/* No contexts but the instance's own. */
void rt_ctx_end_all(struct weft_inst *inst)
{
	(void)inst;
}
void rt_ctx_root(struct weft_inst *inst)
{
	(void)inst;
}
bool rt_m_may_start(void)
{
	return true;
}
void rt_blocked_time(struct rt_blocked *e, int64_t ns)
{
	(void)e, (void)ns;
}
int64_t rt_tsc_to_ns(uint64_t tsc)
{
	return (int64_t)tsc;
}
struct g *rt_foreign_g(void)
{
	mc_fail("a foreign thread waits");
	return NULL;
}
void rt_fatal(const char *fmt, ...)
{
	mc_fail("rt_fatal: %s", fmt);
	for (;;)
		;
}
void rt_g_free(struct m *m, struct g *g)
{
	(void)m;
	st(&g->id, 0);
	st(&g->status, RT_G_DEAD);
	rt_seq_end(g);
	mc_stack_reset(g);
}
struct rt_net rt_net;
#ifdef WORLD_POLLER
/* There are descriptors, on which nothing ever happens: the first to idle is the poller.  Its eventfd is a word that
 * stays set until somebody in there has heard it. */
static _Atomic uint32_t world_eventfd;
uint32_t rt_net_poll(struct m *m, enum rt_how how)
{
	(void)m, (void)how;
	return 0;
}
bool rt_net_sleep(struct rt_note *note, int64_t until, struct rt_net_batch *b)
{
	(void)until, (void)b;
	while (!xchg(&note->word, 0)) {
		mc_wait_eq(&world_eventfd, 1);
		st_sc(&world_eventfd, 0);
	}
	return true;
}
void rt_net_wake(void)
{
	st_sc(&world_eventfd, 1);
}
#else
/* No descriptors: nobody is ever the poller. */
uint32_t rt_net_poll(struct m *m, enum rt_how how)
{
	(void)m, (void)how;
	mc_fail("somebody asks about descriptors");
	return 0;
}
bool rt_net_sleep(struct rt_note *note, int64_t until, struct rt_net_batch *b)
{
	(void)note, (void)until, (void)b;
	return rt_net_poll(NULL, RT_READY_QUEUE) != 0;
}
void rt_net_wake(void)
{
	mc_fail("there is no poller to wake");
}
#endif
uint32_t rt_net_deliver(struct m *m, struct rt_net_batch *b, enum rt_how how)
{
	(void)b;
	return rt_net_poll(m, how);
}
/* Threads there are: those of the world that have not been started yet. */
int rt_m_new(struct p *p, bool spinning)
{
	for (int i = 0; i < n_ms; i++) {
		uint32_t no = 0;

		if (!cas(&m_started[i], &no, 1))
			continue;
		ms[i].next_p = p;
		ms[i].spinning = spinning;
		st(&m_started[i], 2);
		return 0;
	}
	return -EAGAIN;
}

/* --- Making a world --- */

struct rt_next rt_g_main(struct m *m)
{
	struct g *g = ld(&m->cur);
	struct rt_next next;

	rt_arrive(m);
	rt_leave(m);
	ld (&g->fn)(g->arg);
	m = rt_enter(rt_self());
	for (int i = 0; i < n_gs; i++) {
		if (gs[i] == g) {
			mc_note("goroutine %d ends", i);
			g_done[i] = true;
		}
	}
	next = rt_exit(m);
	mc_stack_switch((uintptr_t)__builtin_frame_address(0) - 128, next.sp);
	return next;
}

static void m_main(void *arg)
{
	struct m *m = arg;

	mc_wait_eq(&m_started[m->index], 2);
	rt_p_acquire(m, m->next_p);
	rt_loop(m);
}

/* The number of Ps does not change here. */
struct p *rt_p_retire(struct m *m)
{
	return ld(&m->p);
}

static void resumed(int thread)
{
	rt_tls_m = m_of[thread];
}

static void world_new(uint32_t n_ps)
{
	mc_resumed = resumed;
	rt_lock_init(&sched.lock, RT_RANK_SCHED);
	sched.idle_until = INT64_MAX;
#ifdef WORLD_POLLER
	st(&rt_net.used, 1);
#endif
	st(&sched.maxprocs, n_ps);
	st(&sched.n_ps, n_ps);
	st(&sched.n_active, n_ps);
	rt_spare_ns = INT64_MAX;
	for (uint32_t i = n_ps; i-- > 0;) {
		struct p *p = sched.ps[i] = &ps[i];

		p->id = i;
		p->rng = 0; /* stays 0: a number that changes all the time would make every state new */
		p->turn_at = UINT64_MAX;
		p->heap = heaps[i];
		p->cap_timers = 4;
		mc_hint(&p->m, sizeof p->m);
		mc_hint(&p->idle, sizeof p->idle);
		mc_hint(&p->tick, sizeof p->tick);
		mc_hint(&p->created, (size_t)((char *)(p + 1) - (char *)&p->created));
		st(&p->first, INT64_MAX);
		st(&p->first_tsc, UINT64_MAX);
		rt_idle_p_put(p);
	}
}

/* An M; started: it has P number p from the start. */
static struct m *world_m(const char *name, int p)
{
	struct m *m = &ms[n_ms];

	m->index = (uint32_t)n_ms;
	st(&m->tid, 100 + n_ms);
	m->errno_at = &errnos[n_ms];
	st(&m->cur, &m->g0);
	st(&m->in_rt, 1);
	if (p >= 0) {
		struct p **at = &sched.idle_ps;

		while (*at != &ps[p])
			at = &(*at)->idle_next;
		*at = ps[p].idle_next;
		st(&ps[p].idle, 0);
		st(&sched.n_idle_ps, ld(&sched.n_idle_ps) - 1);
		m->next_p = &ps[p];
		st(&m_started[n_ms], 2);
	}
	n_ms++;
	m_of[n_threads++] = m;
	mc_daemon(name, m_main, m);
	return m;
}

/* A thread that is no M. */
static void world_thread(const char *name, void (*fn)(void *), void *arg)
{
	n_threads++;
	mc_thread(name, fn, arg);
}

static struct g *world_g(void (*fn)(void *), void *arg)
{
	struct g *g = mc_stack(RT_G_SIZE);
	struct rt_arena *a = &arenas[n_gs];
	uintptr_t *frame = (uintptr_t *)g - RT_FRAME_WORDS;

	frame[RT_FRAME_PC] = (uintptr_t)rt_g_entry;
	st(&g->sp, (uintptr_t)frame);
	mc_stack_live(frame);
	st(&g->fn, fn);
	g->arg = arg;
	st(&g->id, (uint64_t)n_gs + 1);
	st(&g->wait, (uint64_t)(n_gs + 1) << 25);
	st(&g->inst, &world_inst);
	st(&g->ctx, &world_inst.ctx);
	st(&g->status, RT_G_RUNNABLE);
	mc_hint(&g->seq, sizeof g->seq);
	mc_hint(&g->since_tsc, sizeof g->since_tsc);
	mc_hint(&g->tid, sizeof g->tid);
	mc_hint(&g->m, sizeof g->m);
	/* An arena of its own, in which it is the first. */
	a->base = (char *)g + RT_G_SIZE - RT_SLOT;
	a->shift = RT_SLOT_SHIFT;
	st(&a->opened, 64);
	st(&a->used[0], 1);
	st(&rt_arenas[n_gs], a);
	gs[n_gs++] = g;
	st(&rt_n_arenas, (uint32_t)n_gs);
	return g;
}

static void world_ended(void)
{
	for (int i = 0; i < n_gs; i++)
		if (!g_done[i])
			mc_fail("goroutine %d has not ended (status %u)", i, RT_G_STATUS(ld(&gs[i]->status)));
	if (ld(&sched.n_spinning))
		mc_fail("n_spinning is %d", ld(&sched.n_spinning));
	if (ld(&sched.n_idle_ps) != sched.maxprocs)
		mc_fail("%u Ps are idle", ld(&sched.n_idle_ps));
}

#endif
