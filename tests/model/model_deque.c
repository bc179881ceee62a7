/* model_deque.c - the deque of spawned goroutines (runq.c): its owner at the bottom, thieves at the top.
 * Each goroutine is got exactly once, or is still there. */
#include "atomic.h"

#include "rt.h"

#include "plain_lock.h"
#include <runq.c>

#define ITEMS 8

struct rt_sched sched; /* no P idles: nobody is woken */
static struct p p0, p1;
static struct g gs[ITEMS];
static uint32_t got[MC_THREADS + 1][ITEMS]; /* by each thread: adding them up in shared memory would be a fence */

void rt_wake_slow(void)
{
	mc_fail("there is nobody to wake");
}

static void have(struct g *g)
{
	if (g) {
		mc_note("got %d", (int)(g - gs));
		got[mc_self() + 1][g - gs]++;
	}
}

static void put(int i)
{
	rt_spawn_put(&p0, &gs[i]);
}

static void fill(int n)
{
	st(&sched.maxprocs, 2);
	st(&sched.n_ps, 2);
	for (int i = 0; i < n; i++)
		put(i);
}

/* What is left is there once. */
static void all_once(int n)
{
	struct g *g;

	while ((g = rt_spawn_get_oldest(&p0)) || (g = rt_spawn_get_oldest(&p1)) || (g = rt_runq_get(&p1)))
		have(g);
	while ((g = sched.global_head)) {
		sched.global_head = g->next;
		have(g);
	}
	for (int i = 0; i < n; i++) {
		uint32_t times = 0;

		for (int t = 0; t <= MC_THREADS; t++)
			times += got[t][i];
		if (times != 1)
			mc_fail("goroutine %d was got %u times", i, times);
	}
}

static void thief(void *arg)
{
	for (intptr_t n = (intptr_t)arg; n > 0; n--)
		have(rt_spawn_get_oldest(&p0));
}

static void batch_thief(void *arg)
{
	(void)arg;
	have(rt_steal(&p1, &p0));
}

static void owner_gets(void *arg)
{
	for (intptr_t n = (intptr_t)arg; n > 0; n--)
		have(rt_spawn_get(&p0));
}

static void owner_puts_and_gets(void *arg)
{
	(void)arg;
	put(2);
	have(rt_spawn_get(&p0));
	have(rt_spawn_get(&p0));
	put(3);
	have(rt_spawn_get(&p0));
}

/* Round the end of the ring, with slots used again. */
static void owner_wraps(void *arg)
{
	(void)arg;
	for (int i = 3; i < 7; i++) {
		put(i);
		have(rt_spawn_get(&p0));
	}
}

static void owner_overflows(void *arg)
{
	(void)arg;
	put(4);
	put(5);
	have(rt_spawn_get(&p0));
}

static void one_thief(void)
{
	fill(2);
	mc_thread("owner", owner_puts_and_gets, NULL);
	mc_thread("thief", thief, (void *)3);
}

static void two_thieves(void)
{
	fill(2);
	mc_thread("owner", owner_gets, (void *)2);
	mc_thread("thief 1", thief, (void *)2);
	mc_thread("thief 2", thief, (void *)1);
}

static void two_thieves_and_puts(void)
{
	fill(1);
	mc_thread("owner", owner_puts_and_gets, NULL);
	mc_thread("thief 1", thief, (void *)2);
	mc_thread("thief 2", thief, (void *)1);
}

static void wrap(void)
{
	fill(3);
	mc_thread("owner", owner_wraps, NULL);
	mc_thread("thief", thief, (void *)2);
}

static void overflow(void)
{
	fill(4);
	mc_thread("owner", owner_overflows, NULL);
	mc_thread("thief 1", thief, (void *)1);
	mc_thread("thief 2", thief, (void *)1);
}

static void batch(void)
{
	fill(4);
	mc_thread("owner", owner_gets, (void *)3);
	mc_thread("thief", batch_thief, NULL);
}

static void end4(void)
{
	all_once(4);
}
static void end2(void)
{
	all_once(2);
}
static void end7(void)
{
	all_once(7);
}
static void end6(void)
{
	all_once(6);
}
static void end_puts(void)
{
	got[0][1]++; /* never put */
	all_once(4);
}

const struct mc_case mc_cases[] = {
	{ "deque: the owner puts and gets, a thief", one_thief, end4, 0 },
	{ "deque: the owner gets, two thieves", two_thieves, end2, 0 },
	{ "deque: the owner puts and gets, two thieves", two_thieves_and_puts, end_puts, 0 },
	{ "deque: slots are used again, a thief", wrap, end7, 0 },
	{ "deque: the owner overflows it, two thieves", overflow, end6, 0 },
	{ "deque: the owner gets, a batch is stolen", batch, end4, 0 },
	{ NULL, NULL, NULL, 0 },
};
