/* bare.h - threads.h for models in which waits are called off and timers fire: who parks publishes that it waits and
 * then looks at the flag, as sched.c has it.
 *
 * Real are what the model includes, timer.c and inst.c.  Cells are taken last in, first out, so the next taken is the
 * one just given.  All goroutines share one P, whose heap is the only one; the clock stands where the model sets it. */
#ifndef WEFT_MODEL_BARE_H
#define WEFT_MODEL_BARE_H

#include "atomic.h"

#include "weft_host.h"
#undef WEFT_MAXPROCS_LIMIT /* an instance has a shard per P */
#define WEFT_MAXPROCS_LIMIT 1
#define THREADS_CALLED_OFF
#include "threads.h"

#define lock inst_lock
#include <inst.c>
#undef lock
#include <timer.c>

#define CELLS 3

bool rt_rec_on;
struct rt_arena *_Atomic rt_arenas[RT_ARENAS_MAX];
_Atomic uint32_t rt_n_arenas;

static struct weft_inst the_inst;
static struct rt_timer heap[8];
static int64_t now; /* set by setup() only */
static char cells[CELLS][RT_CELL_SIZE] __attribute__((aligned(64)));
static void *spare[CELLS]; /* those that are free, last in, first out */
static int n_spare, n_taken, n_given;

long rt_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	(void)nr, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
	mc_fail("a system call");
	return 0;
}
int64_t rt_now(void)
{
	return now;
}
uint64_t rt_tsc(void)
{
	return 0;
}
uint32_t rt_stack_class(size_t bytes)
{
	(void)bytes;
	return 0;
}
uint64_t rt_ns_to_tsc(int64_t ns)
{
	return (uint64_t)ns;
}
uint32_t rt_stack_here(struct m *m, void *fp)
{
	(void)m, (void)fp;
	return 0;
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
void rt_wake_slow(void)
{
}
void rt_woken_from_outside(const struct g *g)
{
	(void)g;
}
void rt_sysmon_kick(void)
{
}
void rt_yield(struct m **m)
{
	(void)m;
}
void *rt_cell_take(struct m *m, enum rt_cell_kind kind)
{
	(void)m, (void)kind;
	n_taken++;
	return n_spare ? spare[--n_spare] : NULL;
}
void rt_cell_give(struct m *m, enum rt_cell_kind kind, void *cell)
{
	(void)m, (void)kind;
	for (int i = 0; i < n_spare; i++)
		if (spare[i] == cell)
			mc_fail("a cell is given back twice");
	n_given++;
	spare[n_spare++] = cell;
}

/* As arrive_parked() and called_off() do it in sched.c. */
static int park(struct rt_lock *drop, enum rt_wait reason)
{
	int self = mc_self();
	struct g *g = &gs[self];
	uint64_t number = ld(&g->wait) >> 1;
	int off;

	st_rel(&g->status, RT_G_WAITING | (uint32_t)reason << 8);
	rt_light();
	off = rt_ctx_err(ld(&g->ctx));
	if (drop)
		rt_unlock(drop);
	if (off && rt_wait_cancellable(reason) && rt_wait_win(g, number))
		return off;
	off = parked();
	st(&g->status, RT_G_RUNNING);
	return off;
}
int rt_park(struct m **m, enum rt_wait reason, struct rt_lock *drop)
{
	(void)m;
	return park(drop, reason);
}
int rt_park_until(struct m **m, enum rt_wait reason, struct rt_lock *drop, int64_t when)
{
	(void)m, (void)when;
	return park(drop, reason);
}

static void bare_new(void)
{
	threads_begin();
	ps[0].heap = heap;
	ps[0].cap_timers = 8;
	st(&ps[0].first, INT64_MAX);
	sched.ps[0] = &ps[0];
	st(&sched.n_ps, 1);
	mc_hint(&ps[0].timers_armed, sizeof ps[0].timers_armed);
	mc_hint(&ps[0].timers_fired, sizeof ps[0].timers_fired);
	mc_hint(&ps[0].timers_now, sizeof ps[0].timers_now);
	mc_hint(&ps[0].first_tsc, sizeof ps[0].first_tsc);
	rt_ctx_root(&the_inst);
	for (int i = 0; i < CELLS; i++)
		spare[n_spare++] = cells[CELLS - 1 - i];
	for (int i = 0; i < GS; i++) {
		st(&ms[i].p, &ps[0]);
		st(&gs[i].id, (uint64_t)i + 1);
		st(&gs[i].inst, &the_inst);
		st(&gs[i].ctx, &the_inst.ctx);
		st(&gs[i].status, RT_G_RUNNING);
	}
}

/* What is due at `arg` is fired. */
static void fire_due(void *arg)
{
	(void)rt_timers_run(&ms[mc_self()], &ps[0], (int64_t)(intptr_t)arg);
}

#endif
