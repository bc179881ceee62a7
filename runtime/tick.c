/* tick.c - timer objects: one-shot or periodic, sending on a channel or starting a goroutine.
 *
 * A timer is a cell (cell.c) with an alarm that stands in some P's heap (timer.c).  t->lock guards it all; when the
 * alarm fires, the number of its entry says whether it still is the one that was set: so what was stopped, reset
 * or freed does not fire any more, and a reused cell is not mistaken for the one before.
 *
 * A tick goes to a channel with room for one: when nobody took the last it is dropped, never waited for.
 * Stopping or setting anew takes out what is there, so no tick of before is received after.
 *
 * Lock order: TICK, then CHAN, then TIMERS. */
#include "chan.h"
#include "rt.h"

#define RETRY (1 * WEFT_MS) /* when no goroutine is to be had for a function */

struct weft_timer {
	struct rt_alarm alarm;
	struct rt_lock lock;
	/* under lock */
	int64_t when, period;
	weft_chan *chan; /* or fn */
	weft_fn fn;
	void *arg;
	struct weft_inst *inst; /* NULL: a foreign thread's.  When it is over nothing fires any more */
	struct rt_origin origin;
	struct rt_owned owned;
};
_Static_assert(sizeof(struct weft_timer) <= RT_CELL_SIZE, "a timer fits a cell");

/* To whoever waits, or into the channel; dropped when that is full. */
static void tick(struct m *m, weft_chan *c, int64_t now)
{
	struct waiter *w;

	rt_lock(&c->lock);
	w = c->closed ? NULL : queue_win(&c->receivers);
	if (w) {
		if (w->elem)
			copy(w->elem, &now, sizeof now);
		w->result = 1;
	} else if (!c->closed && ld(&c->count) < c->cap) {
		buf_put(c, &now);
	}
	rt_unlock(&c->lock);
	if (w)
		rt_ready(m, w->g, 0, RT_READY_QUEUE);
}

static void fire(struct m *m, struct rt_alarm *a, uint64_t number, int64_t now)
{
	struct weft_timer *t = (struct weft_timer *)a;
	int rc = 0;

	rt_lock(&t->lock);
	if (ld(&a->armed) != number || (t->inst && ld(&t->inst->ctx.over))) {
		rt_unlock(&t->lock);
		return;
	}
	st(&a->armed, 0);
	if (t->chan)
		tick(m, t->chan, now);
	else
		rc = rt_go(m, t->inst, &(struct rt_go_args){ .fn = t->fn, .arg = t->arg, .origin = &t->origin });
	if (rc == -EAGAIN || rc == -ENOMEM) {
		rt_alarm_set(m, a, now + RETRY);
	} else if (t->period) {
		t->when += t->period * (1 + (now - t->when) / t->period);
		rt_alarm_set(m, a, t->when);
	}
	rt_unlock(&t->lock);
}
_Static_assert(offsetof(struct weft_timer, alarm) == 0, "fire() takes the one for the other");

static struct weft_timer *timer_new(struct m *m)
{
	struct weft_timer *t = rt_cell_take(m, RT_CELL_TIMER);

	if (!t)
		return NULL;
	if (!t->alarm.fire) { /* fresh */
		t->alarm.fire = fire;
		rt_lock_init(&t->lock, RT_RANK_TICK);
	}
	return t;
}

/* Under t->lock. */
static void set(struct m *m, struct weft_timer *t, int64_t ns)
{
	int64_t now = rt_now();

	if (ns == WEFT_FOREVER) {
		st(&t->alarm.armed, 0);
		return;
	}
	ns = ns < 0 ? 0 : ns;
	t->when = ns >= INT64_MAX - now ? INT64_MAX - 1 : now + ns;
	rt_alarm_set(m, &t->alarm, t->when);
}

/* Under t->lock: nothing of before is to be received.  True: it would have fired, or nobody took it. */
static bool stop(struct weft_timer *t)
{
	bool armed = ld(&t->alarm.armed) != 0;

	st(&t->alarm.armed, 0);
	if (t->chan) {
		rt_lock(&t->chan->lock);
		while (ld(&t->chan->count)) {
			buf_take(t->chan, NULL);
			armed = true;
		}
		rt_unlock(&t->chan->lock);
	}
	return armed;
}

/* One of chan and fn. */
static struct weft_timer *start(struct m *m, weft_chan *chan, weft_fn fn, void *arg, int64_t ns, int64_t period,
				void *frame)
{
	struct weft_timer *t = timer_new(m);

	if (!t)
		return NULL;
	rt_lock(&t->lock);
	t->chan = chan;
	t->fn = fn;
	t->arg = arg;
	t->period = period;
	t->inst = weft_instance_self();
	t->origin.parent = m ? ld(&ld(&m->cur)->id) : 0;
	t->origin.created = m && fn ? rt_stack_here(m, frame) : 0;
	set(m, t, ns);
	rt_unlock(&t->lock);
	if (t->inst)
		rt_inst_wakers(t->inst, m ? ld(&m->p) : NULL, 1);
	rt_own(&t->owned, RT_OWNED_TIMER);
	return t;
}

weft_timer *weft_timer_new(int64_t ns, int64_t period)
{
	weft_chan *chan = period < 0 ? NULL : rt_chan_new(sizeof(int64_t), 1);
	struct weft_timer *t;
	struct m *m;

	if (!chan)
		return NULL;
	m = rt_enter(rt_self());
	t = start(m, chan, NULL, NULL, ns, period, NULL);
	if (m)
		rt_leave(m);
	if (!t)
		rt_chan_free(chan, false);
	return t;
}

weft_timer *weft_after(int64_t ns, weft_fn fn, void *arg)
{
	struct weft_timer *t;
	struct m *m;

	if (!fn || !weft_instance_self())
		return NULL;
	m = rt_enter(rt_self());
	t = start(m, NULL, fn, arg, ns, 0, __builtin_frame_address(0));
	if (m)
		rt_leave(m);
	return t;
}

weft_chan *weft_timer_chan(weft_timer *t)
{
	return t ? t->chan : NULL;
}

bool weft_timer_stop(weft_timer *t)
{
	bool armed;

	if (!t)
		return false;
	rt_lock(&t->lock);
	armed = stop(t);
	rt_unlock(&t->lock);
	return armed;
}

bool weft_timer_reset(weft_timer *t, int64_t ns)
{
	bool armed;
	struct m *m;

	if (!t)
		return false;
	m = rt_enter(rt_self());
	rt_lock(&t->lock);
	armed = stop(t);
	set(m, t, ns);
	rt_unlock(&t->lock);
	if (m)
		rt_leave(m);
	return armed;
}

/* may_wait: as rt_chan_free(). */
static void timer_free(struct weft_timer *t, bool may_wait)
{
	weft_chan *chan;
	struct m *m;

	rt_lock(&t->lock);
	(void)stop(t);
	chan = t->chan;
	t->chan = NULL;
	rt_unlock(&t->lock);
	if (chan)
		rt_chan_free(chan, may_wait);
	m = rt_enter(rt_self());
	if (t->inst)
		rt_inst_wakers(t->inst, m ? ld(&m->p) : NULL, -1);
	rt_cell_give(m, RT_CELL_TIMER, t);
	if (m)
		rt_leave(m);
}

void rt_timer_drop(struct rt_owned *o)
{
	timer_free((struct weft_timer *)((char *)o - offsetof(struct weft_timer, owned)), true);
}

void weft_timer_free(weft_timer *t)
{
	if (!t)
		return;
	rt_disown(&t->owned);
	timer_free(t, false);
}
