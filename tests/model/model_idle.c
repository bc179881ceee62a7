/* model_idle.c - the rule by which workers are woken and go idle (head of sched.c), with the real scheduler:
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

/* It hands over and goes on: the other must run although nobody was woken for it. */
static void readier(void *arg)
{
	struct m *m = rt_enter(rt_self());

	rt_ready(m, arg, 0, RT_READY_QUEUE);
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

/* One P, about to idle; a thread without a P adds work. */
static void one_worker(void)
{
	world_new(1);
	world_m("M0", 0);
	world_thread("foreign", foreign_put, world_g(nothing, NULL));
}

static void one_worker_spare(void)
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
	start_on(0, world_g(spawner, world_g(nothing, NULL)));
}

static void two_workers_ready(void)
{
	world_new(2);
	world_m("M0", 0);
	world_m("M1", 1);
	start_on(0, world_g(readier, world_g(nothing, NULL)));
}

const struct mc_case mc_cases[] = {
	{ "idle: a thread adds work, the only worker goes idle", one_worker, world_ended },
	{ "idle: the same, with a worker that is started", one_worker_spare, world_ended },
	{ "idle: a worker spawns, the other goes idle", two_workers, world_ended },
	{ "idle: a worker readies, the other goes idle", two_workers_ready, world_ended },
	{ NULL, NULL, NULL },
};
