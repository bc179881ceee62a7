/* model_idle.c - the rule by which workers are woken and go idle (head of idle.c), with the real scheduler:
 * in no end does a goroutine stand in a queue while every worker sleeps. */
#include "world.h"

static void nothing(void *arg)
{
	(void)arg;
}

/* What rt_go() does at its end, by a goroutine. */
static void spawner(void *arg)
{
	struct m *m = rt_enter(rt_self());

	rt_spawn_put(ld(&m->p), arg);
	rt_wake_one();
	rt_leave(m);
}

static void foreign_put(void *arg)
{
	rt_global_put(arg, arg, 1);
	rt_wake_one();
}

static void start_on(int p, struct g *g)
{
	rt_spawn_put(&ps[p], g);
}

/* One P, about to idle; a thread without a P adds work.  The second worker is not there yet: rt_m_new() makes
 * it when the first has given up its P and does not sleep yet. */
static void one_p(void)
{
	world_new(1);
	world_m("M0", 0);
	world_m("M1", -1);
	world_thread("foreign", foreign_put, world_g(nothing, NULL));
}

/* M0 spawns while M1 goes idle. */
static void two_workers(void)
{
	world_new(2);
	world_m("M0", 0);
	world_m("M1", 1);
	world_m("M2", -1);
	start_on(0, world_g(spawner, world_g(nothing, NULL)));
}

static _Atomic uint32_t second_ran;

static void waits_for_second(void *arg)
{
	(void)arg;
	mc_wait_eq(&second_ran, 1);
}

static void second(void *arg)
{
	(void)arg;
	st_sc(&second_ran, 1);
}

static void foreign_puts_two(void *arg)
{
	foreign_put(arg);
	foreign_put(gs[1]);
}

/* It makes another runnable and does not come back before that one has run. */
static void readies_and_waits(void *arg)
{
	struct m *m = rt_enter(rt_self());

	rt_ready(m, arg, 0, RT_READY_QUEUE);
	rt_leave(m);
	mc_wait_eq(&second_ran, 1);
}

static void ready_and_wait(void)
{
	world_new(2);
	world_m("M0", 0);
	world_m("M1", 1);
	world_m("M2", -1);
	start_on(0, world_g(readies_and_waits, world_g(second, NULL)));
}

/* The first does not come back before the second has run: so there has to be another worker. */
static void two_needed(void)
{
	struct g *first = world_g(waits_for_second, NULL);

	(void)world_g(second, NULL);
	world_new(2);
	world_m("M0", 0);
	world_m("M1", -1);
	world_m("M2", -1);
	world_thread("foreign", foreign_puts_two, first);
}

/* It lends its P, and does not come back before the other has run. */
static void lends(void *arg)
{
	(void)arg;
	weft_block_enter();
	mc_wait_eq(&second_ran, 1);
	weft_block_exit();
}

static void passes_on(void *arg)
{
	struct m *m = arg;

	mc_wait_eq(&m->own, RT_LENT);
	rt_p_pass(rt_retake(m));
}

static void retaken(void)
{
	struct m *m;

	world_new(1);
	m = world_m("M0", 0);
	world_m("M1", -1);
	start_on(0, world_g(lends, NULL));
	world_thread("sysmon", passes_on, m);
	world_thread("foreign", foreign_put, world_g(second, NULL));
}

#ifndef WORLD_POLLER
const struct mc_case mc_cases[] = {
	{ "idle: a thread adds work, the only P goes idle", one_p, world_ended, 0 },
	{ "idle: a worker spawns, the other goes idle", two_workers, world_ended, 2 },
	{ "idle: two goroutines that need two workers", two_needed, world_ended, 2 },
	{ "idle: one is made runnable, the other goes idle", ready_and_wait, world_ended, 2 },
	{ "idle: a lent P is taken, a thread adds work", retaken, world_ended, 2 },
	{ NULL, NULL, NULL, 0 },
};
#endif
