/* model_litmus.c - is the checker itself right?  The classic small programs of the x86-TSO memory model, each
 * with what may and what may not be seen, and the two ways to be stuck. */
#include "atomic.h"

static _Atomic uint32_t x, y, turn;
static uint32_t a, b;

static void x_then_y(void *arg)
{
	(void)arg;
	st(&x, 1);
	a = ld(&y);
}
static void y_then_x(void *arg)
{
	(void)arg;
	st(&y, 1);
	b = ld(&x);
}
static void x_fence_y(void *arg)
{
	(void)arg;
	st(&x, 1);
	atomic_thread_fence(memory_order_seq_cst);
	a = ld(&y);
}
static void y_fence_x(void *arg)
{
	(void)arg;
	st(&y, 1);
	atomic_thread_fence(memory_order_seq_cst);
	b = ld(&x);
}
static void x_light_y(void *arg)
{
	(void)arg;
	st(&x, 1);
	rt_light();
	a = ld(&y);
}
static void y_heavy_x(void *arg)
{
	(void)arg;
	st(&y, 1);
	rt_heavy();
	b = ld(&x);
}
static void x_locked_y(void *arg)
{
	(void)arg;
	st_sc(&x, 1);
	a = ld(&y);
}
static void y_locked_x(void *arg)
{
	(void)arg;
	st_sc(&y, 1);
	b = ld(&x);
}
static void both_old(void)
{
	if (a == 0 && b == 0)
		mc_fail("each thread has read before the other's store");
}

static void writes_in_order(void *arg)
{
	(void)arg;
	st(&x, 1);
	st(&y, 1);
}
static void reads_in_order(void *arg)
{
	(void)arg;
	a = ld(&y);
	b = ld(&x);
	if (a == 1 && b == 0)
		mc_fail("stores were seen out of order");
}
static void reads_own(void *arg)
{
	(void)arg;
	st(&x, 7);
	if (ld(&x) == 0)
		mc_fail("a thread does not see its own store");
	a = ld(&y);
}

static void counts_badly(void *arg)
{
	(void)arg;
	st(&x, ld(&x) + 1);
}
static void counts(void *arg)
{
	(void)arg;
	add(&x, 1);
}
static void two_counted(void)
{
	MC_CHECK(ld(&x) == 2);
}

static void waits_for_turn(void *arg)
{
	(void)arg;
	while (!ld(&turn))
		rt_pause();
}
static void gives_turn(void *arg)
{
	(void)arg;
	st(&turn, 1);
}
static void gives_no_turn(void *arg)
{
	(void)arg;
	(void)ld(&turn);
	st(&turn, 0);
}
static void waits_blocked(void *arg)
{
	(void)arg;
	mc_wait_eq(&turn, 1);
}

#define PAIR(name, one, other)                                                                                         \
	static void name(void)                                                                                         \
	{                                                                                                              \
		mc_thread("1", one, NULL);                                                                             \
		mc_thread("2", other, NULL);                                                                           \
	}
PAIR(sb, x_then_y, y_then_x)
PAIR(sb_fences, x_fence_y, y_fence_x)
PAIR(sb_one_fence, x_fence_y, y_then_x)
PAIR(sb_locked, x_locked_y, y_locked_x)
PAIR(sb_light_heavy, x_light_y, y_heavy_x)
PAIR(sb_light_light, x_light_y, y_then_x)
PAIR(mp, writes_in_order, reads_in_order)
PAIR(own, reads_own, y_then_x)
PAIR(lost_count, counts_badly, counts_badly)
PAIR(count, counts, counts)
PAIR(turn_comes, waits_for_turn, gives_turn)
PAIR(turn_never, waits_for_turn, gives_no_turn)
PAIR(turn_blocked, waits_blocked, gives_no_turn)

const struct mc_case mc_cases[] = {
	{ "store buffering", sb, both_old, 0 },
	{ "store buffering, one fence", sb_one_fence, both_old, 0 },
	{ "store buffering, light barriers", sb_light_light, both_old, 0 },
	{ "store buffering, two fences", sb_fences, both_old, 0 },
	{ "store buffering, locked stores", sb_locked, both_old, 0 },
	{ "store buffering, light and heavy", sb_light_heavy, both_old, 0 },
	{ "message passing", mp, NULL, 0 },
	{ "own stores", own, NULL, 0 },
	{ "a lost count", lost_count, two_counted, 0 },
	{ "counts", count, two_counted, 0 },
	{ "spinning that ends", turn_comes, NULL, 0 },
	{ "spinning that cannot end", turn_never, NULL, 0 },
	{ "blocked for ever", turn_blocked, NULL, 0 },
	{ NULL, NULL, NULL, 0 },
};
