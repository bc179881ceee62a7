/* model_ring.c - the ring of woken goroutines (runq.c): the owner puts at the tail and takes at the head, a
 * thief moves half of it behind its own; a full one spills to the global queue.
 * Each goroutine is got exactly once, or is still there; nobody's order is turned round. */
#include "atomic.h"

#include "rt.h"

#include "plain_lock.h"
#include <runq.c>

#define ITEMS 8

struct rt_sched sched; /* no P idles: nobody is woken */
static struct p ps[3];
static struct g gs[ITEMS];
static uint32_t got[MC_THREADS + 1][ITEMS]; /* by each thread: adding them up in shared memory would be a fence */
static int n_put;

void rt_wake_slow(void)
{
	mc_fail("there is nobody to wake");
}

static void have(struct g *g)
{
	if (!g)
		return;
	mc_note("got %d", (int)(g - gs));
	got[mc_self() + 1][g - gs]++;
}

static void put(int i)
{
	rt_runq_put(&ps[0], &gs[i]);
}

static void fill(uint32_t head, int n)
{
	st(&sched.maxprocs, 2);
	st(&sched.n_ps, 2);
	st(&ps[0].head, head);
	st(&ps[0].tail, head);
	for (int i = 0; i < n; i++)
		put(i);
}

static void all_once(void)
{
	struct g *g;

	for (int i = 0; i < 3; i++) {
		uint32_t n = rt_runq_len(&ps[i]);

		if (n > RT_RUNQ)
			mc_fail("P %d has %u goroutines in a ring of %d", i, n, RT_RUNQ);
		while (n-- && (g = rt_runq_get(&ps[i])))
			have(g);
	}
	if (!sched.global_head != !ld(&sched.n_global))
		mc_fail("n_global is %u", ld(&sched.n_global));
	while ((g = sched.global_head)) {
		sched.global_head = g->next;
		have(g);
	}
	for (int i = 0; i < n_put; i++) {
		uint32_t times = 0;

		for (int t = 0; t <= MC_THREADS; t++)
			times += got[t][i];
		if (times != 1)
			mc_fail("goroutine %d was got %u times", i, times);
	}
}

static void owner_gets(void *arg)
{
	struct g *last = NULL;

	for (intptr_t n = (intptr_t)arg; n > 0; n--) {
		struct g *g = rt_runq_get(&ps[0]);

		if (g && last && g < last)
			mc_fail("the owner got %d before %d", (int)(last - gs), (int)(g - gs));
		last = g ? g : last;
		have(g);
	}
}

static void owner_puts_and_gets(void *arg)
{
	for (int i = (int)(intptr_t)arg; i < n_put; i++)
		put(i);
	owner_gets((void *)2);
}

static void owner_in_turn(void *arg)
{
	(void)arg;
	for (int i = 3; i < n_put; i++) {
		have(rt_runq_get(&ps[0]));
		put(i);
	}
}

static void thief(void *arg)
{
	struct p *p = arg;

	have(rt_steal(p, &ps[0]));
	have(rt_runq_get(p));
	have(rt_steal(p, &ps[0]));
}

static void global_taker(void *arg)
{
	have(rt_global_get(arg, 4));
	have(rt_runq_get(arg));
}

static void one_thief(void)
{
	n_put = 4;
	fill(UINT32_MAX - 1, 2);
	mc_thread("owner", owner_puts_and_gets, (void *)2);
	mc_thread("thief", thief, &ps[1]);
}

static void two_thieves(void)
{
	n_put = 3;
	fill(0, 3);
	mc_thread("owner", owner_gets, (void *)2);
	mc_thread("thief 1", thief, &ps[1]);
	mc_thread("thief 2", thief, &ps[2]);
}

static void again(void)
{
	n_put = 7;
	fill(0, 3);
	mc_thread("owner", owner_in_turn, NULL);
	mc_thread("thief", thief, &ps[1]);
}

static void spills(void)
{
	n_put = 6;
	fill(0, 4);
	mc_thread("owner", owner_puts_and_gets, (void *)4);
	mc_thread("thief", thief, &ps[1]);
	mc_thread("global", global_taker, &ps[2]);
}

const struct mc_case mc_cases[] = {
	{ "ring: the owner puts and gets, a thief, 32 bits wrap", one_thief, all_once, 0 },
	{ "ring: the owner gets, two thieves", two_thieves, all_once, 0 },
	{ "ring: slots are used again, a thief", again, all_once, 0 },
	{ "ring: it spills, a thief, a taker of the global", spills, all_once, 0 },
	{ NULL, NULL, NULL, 0 },
};
