/* model_ctx.c - contexts (ctx.c): ending against waiting, deadlines, births, making, freeing and reuse of the cell.
 *
 * Whoever waits under a context that ends is called off, and says why it ended; nothing ends a context of a later
 * life; a cell is given back once, when the last reference is gone. */
#include "bare.h"

#include <ctx.c>

#define DEADLINE 5

int rt_go(struct m *m, struct weft_inst *inst, const struct rt_go_args *args)
{
	(void)m, (void)inst, (void)args;
	return -ENOMEM;
}

static weft_ctx *c;
static int result[GS];

static void wait_once(void)
{
	int self = mc_self();

	(void)rt_wait_open(&gs[self]);
	result[self] = park(NULL, RT_WAIT_CHAN_RECV);
	mc_note("its wait ends with %d", result[self]);
	MC_CHECK(result[self] == weft_ctx_err(weft_ctx_self()));
}

/* --- Threads ---------------------------------------------------------------------------------------------------- */

static void waiter(void *arg)
{
	(void)arg;
	wait_once();
}

static void enters_and_waits(void *arg)
{
	weft_ctx *old = weft_ctx_enter(c);

	(void)arg;
	wait_once();
	(void)weft_ctx_enter(old);
}

/* arg: an instance's root, or c */
static void waits_below(void *arg)
{
	weft_ctx *mine = weft_ctx_new(arg ? &the_inst.ctx : c, WEFT_FOREVER), *old = weft_ctx_enter(mine);

	wait_once();
	(void)weft_ctx_enter(old);
	weft_ctx_free(mine);
}

static void canceller(void *arg)
{
	(void)arg;
	weft_ctx_cancel(c);
	MC_CHECK(weft_ctx_err(c) != 0);
}

static void freer(void *arg)
{
	(void)arg;
	weft_ctx_free(c);
}

/* weft_inst_cancel(), which would look for goroutines in arenas */
static void instance_ends(void *arg)
{
	(void)arg;
	st_sc(&the_inst.ctx.over, ECANCELED);
	rt_ctx_end_all(&the_inst);
	rt_heavy();
	rt_call_off(NULL, &gs[0], &the_inst, -ECANCELED);
}

/* Its cell's next life has no deadline, or a later one. */
static void free_and_reuse(void *arg)
{
	weft_ctx_free(c);
	c = weft_ctx_new(&the_inst.ctx, arg ? DEADLINE + 1 : WEFT_FOREVER);
}

static void exits(void *arg)
{
	(void)arg;
	rt_ctx_exit(&ms[mc_self()], &gs[mc_self()]);
}

/* --- Cases ------------------------------------------------------------------------------------------------------ */

static void begin(int64_t deadline)
{
	bare_new();
	c = weft_ctx_new(&the_inst.ctx, deadline);
}

/* Goroutine 0 carries c from the start. */
static void carried(int64_t deadline)
{
	begin(deadline);
	rt_ctx_birth(&gs[0], c);
	st(&gs[0].ctx, c);
}

static void wait_and_cancel(void)
{
	carried(WEFT_FOREVER);
	mc_thread("waiter", waiter, NULL);
	mc_thread("canceller", canceller, NULL);
}
static void wait_deadline_cancel(void)
{
	carried(DEADLINE);
	mc_thread("waiter", waiter, NULL);
	mc_thread("timer", fire_due, (void *)DEADLINE);
	mc_thread("canceller", canceller, NULL);
}
static void enter_and_cancel(void)
{
	begin(WEFT_FOREVER);
	mc_thread("waiter", enters_and_waits, NULL);
	mc_thread("canceller", canceller, NULL);
}
static void below_and_cancel(void)
{
	begin(WEFT_FOREVER);
	mc_thread("waiter", waits_below, NULL);
	mc_thread("canceller", canceller, NULL);
}
static void below_and_deadline(void)
{
	begin(DEADLINE);
	mc_thread("waiter", waits_below, NULL);
	mc_thread("timer", fire_due, (void *)DEADLINE);
}
static void family_and_instance(void)
{
	begin(WEFT_FOREVER);
	mc_thread("waiter", waits_below, (void *)1);
	mc_thread("instance", instance_ends, NULL);
}
static void reuse_and_timer(void)
{
	begin(DEADLINE);
	mc_thread("owner", free_and_reuse, NULL);
	mc_thread("timer", fire_due, (void *)DEADLINE);
}
static void reuse_with_deadline(void)
{
	begin(DEADLINE);
	mc_thread("owner", free_and_reuse, (void *)1);
	mc_thread("timer", fire_due, (void *)DEADLINE);
}
static void exit_free_deadline(void)
{
	carried(DEADLINE);
	mc_thread("goroutine", exits, NULL);
	mc_thread("owner", freer, NULL);
	mc_thread("timer", fire_due, (void *)DEADLINE);
}

static void called_off(void)
{
	MC_CHECK(result[0] < 0);
	MC_CHECK(gs[0].outcome == 0 || gs[0].outcome == result[0]);
}
static void called_off_and_there(void)
{
	called_off();
	MC_CHECK(n_given == 0); /* its maker still has the handle */
}
static void not_over(void)
{
	MC_CHECK(weft_ctx_err(c) == 0);
	MC_CHECK(n_taken == 2 && n_given == 1);
}
static void all_given(void)
{
	MC_CHECK(n_given == 1);
	MC_CHECK(!the_inst.shard[0].families && !the_inst.shard[1].families);
}

const struct mc_case mc_cases[] = {
	{ "ctx: a wait, and the end of what it carries", wait_and_cancel, called_off, 0 },
	{ "ctx: a wait, a deadline and a cancel", wait_deadline_cancel, called_off, 0 },
	{ "ctx: entered while it ends", enter_and_cancel, called_off_and_there, 0 },
	{ "ctx: one is made below one that ends", below_and_cancel, called_off, 0 },
	{ "ctx: one is made below one whose deadline passes", below_and_deadline, called_off, 0 },
	{ "ctx: a family is made while the instance ends", family_and_instance, called_off, 0 },
	{ "ctx: freed and made anew while its deadline passes", reuse_and_timer, not_over, 0 },
	{ "ctx: likewise, with a later deadline", reuse_with_deadline, not_over, 0 },
	{ "ctx: the carrier ends, the handle is freed, the deadline passes", exit_free_deadline, all_given, 0 },
	{ NULL, NULL, NULL, 0 },
};
