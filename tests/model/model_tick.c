/* model_tick.c - timer objects (tick.c) over the heap (timer.c): stopping, setting anew and freeing against firing.
 *
 * What was stopped does not tick any more, what was set anew ticks once and not early, a function is called if and
 * only if the stop came too late, and nothing fires a timer of a later life. */
#include "bare.h"

#include <stdlib.h>

static char pool[3][512] __attribute__((aligned(64)));
static int pools;
#define malloc(n) ((n) <= sizeof pool[0] ? (void *)pool[pools++] : NULL)
#define free(p) ((void)(p))
#include <chan.c>
#undef malloc
#undef free
#include <tick.c>

#define EARLY 5
#define LATE 10

static weft_timer *t, *u;
static bool stopped;
static uint32_t calls, ticks;

int rt_go(struct m *m, struct weft_inst *inst, const struct rt_go_args *args)
{
	(void)m, (void)inst, (void)args;
	calls++;
	return 0;
}
void rt_ctx_end_all(struct weft_inst *inst)
{
	(void)inst;
}
void rt_ctx_root(struct weft_inst *inst)
{
	(void)inst;
}

static void counted(void *arg)
{
	(void)arg; /* rt_go() counts */
}

static int take(weft_timer *timer)
{
	int64_t tick = -1;
	int rc = weft_chan_try_recv(weft_timer_chan(timer), &tick, sizeof tick);

	mc_note("takes %d, %d", rc, (int)tick);
	return rc == 1 ? (int)tick : rc;
}

/* --- Threads ---------------------------------------------------------------------------------------------------- */

static void stopper(void *arg)
{
	(void)arg;
	stopped = weft_timer_stop(t);
	mc_note("stopped: %d", stopped);
	if (weft_timer_chan(t) && take(t) != -EAGAIN)
		mc_fail("a tick of before the stop is received after it");
}

static void resetter(void *arg)
{
	(void)arg;
	(void)weft_timer_reset(t, LATE);
	if (take(t) != -EAGAIN)
		mc_fail("a tick of before the reset is received after it");
}

/* Its cell's next life is later. */
static void free_and_reuse(void *arg)
{
	(void)arg;
	weft_timer_free(t);
	u = weft_timer_new(LATE, 0);
	if (take(u) != -EAGAIN)
		mc_fail("a timer has ticked for the one before it");
}

static void receiver(void *arg)
{
	int64_t tick = 0;

	(void)arg;
	MC_CHECK(weft_chan_recv(weft_timer_chan(t), &tick, sizeof tick) == 1);
	MC_CHECK(tick >= EARLY);
	ticks++;
}

/* --- Cases ------------------------------------------------------------------------------------------------------ */

static void begin(int64_t period)
{
	bare_new();
	t = weft_timer_new(EARLY, period);
}

static void stop_and_fire(void)
{
	begin(0);
	mc_thread("owner", stopper, NULL);
	mc_thread("worker", fire_due, (void *)EARLY);
}
static void stop_and_call(void)
{
	bare_new();
	t = start(&ms[0], NULL, counted, NULL, EARLY, 0, NULL);
	mc_thread("owner", stopper, NULL);
	mc_thread("worker", fire_due, (void *)EARLY);
}
static void reset_and_fire(void)
{
	begin(0);
	mc_thread("owner", resetter, NULL);
	mc_thread("worker", fire_due, (void *)EARLY);
}
static void reset_and_stop(void)
{
	begin(0);
	mc_thread("owner", resetter, NULL);
	mc_thread("other", stopper, NULL);
	mc_thread("worker", fire_due, (void *)EARLY);
}
static void reuse_and_fire(void)
{
	begin(0);
	mc_thread("owner", free_and_reuse, NULL);
	mc_thread("worker", fire_due, (void *)EARLY);
}
static void two_workers(void)
{
	begin(LATE - EARLY);
	mc_thread("worker", fire_due, (void *)EARLY);
	mc_thread("other worker", fire_due, (void *)EARLY);
	mc_thread("receiver", receiver, NULL);
}

/* Whatever is still set fires once more, late. */
static int late(weft_timer *timer)
{
	(void)rt_timers_run(&ms[0], &ps[0], LATE);
	return take(timer);
}
static void silent(void)
{
	MC_CHECK(late(t) == -EAGAIN);
}
static void called_unless_stopped(void)
{
	(void)rt_timers_run(&ms[0], &ps[0], LATE);
	MC_CHECK(calls == !stopped);
}
static void once_late(void)
{
	MC_CHECK(late(t) == LATE);
	MC_CHECK(late(t) == -EAGAIN);
}
static void once_late_reused(void)
{
	MC_CHECK(late(u) == LATE);
	MC_CHECK(n_taken == 2 && n_given == 1);
}
static void one_tick(void)
{
	MC_CHECK(ticks == 1);
	MC_CHECK(late(t) == LATE);
}

const struct mc_case mc_cases[] = {
	{ "tick: stopped while it fires", stop_and_fire, silent, 0 },
	{ "tick: a function's is stopped while it fires", stop_and_call, called_unless_stopped, 0 },
	{ "tick: set anew while it fires", reset_and_fire, once_late, 0 },
	{ "tick: set anew and stopped while it fires", reset_and_stop, NULL, 0 },
	{ "tick: freed and made anew while it fires", reuse_and_fire, once_late_reused, 0 },
	{ "tick: a ticker, two workers, one who waits for it", two_workers, one_tick, 0 },
	{ NULL, NULL, NULL, 0 },
};
