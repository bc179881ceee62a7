/* model_poller.c - the worlds of model_idle.c in which an idle M sleeps in the kernel's poll: whoever is meant by a
 * wake-up hears it. */
#define WORLD_POLLER
#include "model_idle.c"

static void poke(void *arg)
{
	(void)arg;
	rt_idle_m_poke();
}

/* A worker that shall only look around may go as the other wants to lie down in its place. */
static void poked(void)
{
	world_new(2);
	world_m("M0", 0);
	world_m("M1", 1);
	world_m("M2", -1);
	start_on(0, world_g(spawner, world_g(nothing, NULL)));
	world_thread("foreign", poke, NULL);
}

/* No thread more is to be had, so the one that idles has to be found, from the moment on in which it has no P. */
static void alone(void)
{
	world_new(1);
	world_m("M0", 0);
	world_thread("foreign", foreign_put, world_g(nothing, NULL));
}

const struct mc_case mc_cases[] = {
	{ "poller: a thread adds work, the only P goes idle", one_p, world_ended, 0 },
	{ "poller: a worker spawns, the other goes idle", two_workers, world_ended, 2 },
	{ "poller: two goroutines that need two workers", two_needed, world_ended, 2 },
	{ "poller: a worker spawns, another is sent to look around", poked, world_ended, 2 },
	{ "poller: a thread adds work, there is one worker", alone, world_ended, 0 },
	{ NULL, NULL, NULL, 0 },
};
