/* model_park.c - parking against waking and calling off, with the real scheduler: rt_park(), rt_arrive() and
 * called_off() in sched.c, weft_inst_cancel() in inst.c, timers in timer.c.
 *
 * Whoever wins a wait makes the goroutine runnable, once; a goroutine whose instance was ended does not stay
 * in a wait that can be called off; nobody runs on a stack that another still stands on. */
#include "world.h"

static int outcome[WORLD_GS], rounds[WORLD_GS];
static struct rt_lock guard; /* of the list that a waker finds the waiter on */
static struct g *waiting;
static uint64_t waiting_number;
static bool gave_up;

static int index_of(const struct m *m)
{
	for (int i = 0; i < n_gs; i++)
		if (gs[i] == ld(&m->cur))
			return i;
	return 0;
}

/* Waits for ever, as on a nil channel. */
static void waits(void *arg)
{
	struct m *m = rt_enter(rt_self());

	(void)arg;
	(void)rt_wait_open(ld(&m->cur));
	outcome[index_of(m)] = rt_park(&m, RT_WAIT_CHAN_RECV_NIL, NULL);
	rounds[index_of(m)]++;
	rt_leave(m);
}

/* Waits on a list under a lock, as in a channel. */
static void waits_listed(void *arg)
{
	struct m *m = rt_enter(rt_self());
	struct g *g = ld(&m->cur);
	int rc;

	(void)arg;
	rt_lock(&guard);
	waiting_number = rt_wait_open(g);
	waiting = g;
	rc = rt_park(&m, RT_WAIT_CHAN_RECV, &guard);
	if (rc < 0) {
		rt_lock(&guard);
		waiting = NULL;
		rt_unlock(&guard);
	}
	outcome[index_of(m)] = rc;
	rounds[index_of(m)]++;
	rt_leave(m);
}

/* Waits as select does, on two lists under a lock each; the waker comes by the first. */
static struct rt_lock second;
static struct rt_held held; /* stands for what lies on its stack: gone when it returns */
static struct rt_lock *locks[2];
static void waits_on_two(void *arg)
{
	struct m *m = rt_enter(rt_self());
	int rc;

	(void)arg;
	locks[0] = &guard;
	locks[1] = &second;
	held = (struct rt_held){ 2, locks };
	rt_lock(&guard);
	rt_lock(&second);
	waiting_number = rt_wait_open(ld(&m->cur));
	waiting = ld(&m->cur);
	rc = rt_park_select(&m, &held, INT64_MAX);
	rt_lock(&guard);
	rt_lock(&second);
	waiting = NULL;
	rt_unlock(&guard);
	rt_unlock(&second);
	held = (struct rt_held){ 9, NULL };
	locks[0] = locks[1] = NULL;
	outcome[index_of(m)] = rc;
	rounds[index_of(m)]++;
	rt_leave(m);
}

static void sleeps(void *arg)
{
	struct m *m = rt_enter(rt_self());
	int rc;

	(void)arg;
	(void)rt_wait_open(ld(&m->cur));
	rc = rt_park_until(&m, RT_WAIT_SLEEP, NULL, 10);
	outcome[index_of(m)] = rc == -ETIMEDOUT ? 0 : rc;
	rounds[index_of(m)]++;
	rt_leave(m);
}

static bool wake(struct m *m, enum rt_how how)
{
	struct g *g;
	bool won = false;

	rt_lock(&guard);
	g = waiting;
	if (g) {
		won = rt_wait_win(g, waiting_number);
		waiting = NULL;
	}
	rt_unlock(&guard);
	if (won)
		rt_ready(m, g, 0, how);
	return won;
}

static void foreign_waker(void *arg)
{
	(void)arg;
	gave_up = !wake(NULL, RT_READY_QUEUE);
}

static void goroutine_wakes(void *arg)
{
	struct m *m = rt_enter(rt_self());

	(void)arg;
	gave_up = !wake(m, RT_READY_NEXT);
	rt_leave(m);
}

static void canceller(void *arg)
{
	(void)arg;
	weft_inst_cancel(&world_inst);
}

static void clock_goes(void *arg)
{
	(void)arg;
	st_sc(&world_clock, 10);
}

static void start_on(int p, struct g *g)
{
	rt_spawn_put(&ps[p], g);
}

static void cancel_one(void)
{
	world_new(1);
	world_m("M0", 0);
	world_m("M1", -1);
	world_thread("cancel", canceller, NULL);
	start_on(0, world_g(waits, NULL));
}

static void cancel_or_wake(void)
{
	world_new(1);
	world_m("M0", 0);
	world_m("M1", -1);
	world_thread("cancel", canceller, NULL);
	world_thread("waker", foreign_waker, NULL);
	start_on(0, world_g(waits_listed, NULL));
}

static void cancel_two(void)
{
	world_new(1);
	world_m("M0", 0);
	world_m("M1", -1);
	world_thread("cancel", canceller, NULL);
	start_on(0, world_g(waits_on_two, NULL));
}

static void wake_two_beside(void)
{
	world_new(2);
	world_m("M0", 0);
	world_m("M1", 1);
	world_m("M2", -1);
	world_thread("waker", foreign_waker, NULL);
	start_on(0, world_g(waits_on_two, NULL));
}

/* The other worker may get hold of it as soon as it is woken. */
static void wake_beside(void)
{
	world_new(2);
	world_m("M0", 0);
	world_m("M1", 1);
	world_m("M2", -1);
	world_thread("waker", foreign_waker, NULL);
	start_on(0, world_g(waits_listed, NULL));
}

static void cancel_or_hand_over(void)
{
	struct g *waiter;

	world_new(1);
	world_m("M0", 0);
	world_m("M1", -1);
	world_thread("cancel", canceller, NULL);
	waiter = world_g(waits_listed, NULL);
	start_on(0, world_g(goroutine_wakes, NULL));
	start_on(0, waiter); /* the newest runs first */
}

static void cancel_or_time(void)
{
	world_new(1);
	world_m("M0", 0);
	world_m("M1", -1);
	world_thread("cancel", canceller, NULL);
	world_thread("clock", clock_goes, NULL);
	start_on(0, world_g(sleeps, NULL));
}

static void end(void)
{
	world_ended();
	if (rounds[0] != 1)
		mc_fail("it came back from its wait %d times", rounds[0]);
	if (ld(&gs[0]->status) != RT_G_DEAD)
		mc_fail("it has ended, and its status is %u", ld(&gs[0]->status));
}
static void end_cancelled(void)
{
	end();
	MC_CHECK(outcome[0] == -ECANCELED);
}
static void end_woken(void)
{
	if (!gave_up)
		end();
}
static void end_either(void)
{
	end();
	MC_CHECK(outcome[0] == 0 || outcome[0] == -ECANCELED);
	MC_CHECK((outcome[0] == 0) == !gave_up);
}

const struct mc_case mc_cases[] = {
	{ "park: called off while it parks", cancel_one, end_cancelled, 0 },
	{ "park: woken while it parks, beside a second worker", wake_beside, end_woken, 2 },
	{ "park: called off or woken while it parks", cancel_or_wake, end_either, 3 },
	{ "park: called off or handed over to", cancel_or_hand_over, end_either, 3 },
	{ "park: called off while it parks with two locks", cancel_two, end_cancelled, 3 },
	{ "park: with two locks, woken beside a second worker", wake_two_beside, end_woken, 2 },
	{ "park: called off or its time is up", cancel_or_time, end, 3 },
	{ NULL, NULL, NULL, 0 },
};
