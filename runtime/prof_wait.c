/* prof_wait.c - block profile (who waited, for how long) and mutex profile (whose unlock others had waited for).
 *
 * Block: the waiter itself counts, when it runs again, from its enqueueing until its waker made it runnable; both
 * instants are read for the recorder anyway.  A wait of c ns, with rate r: c >= r is counted as it is; a shorter one
 * with probability c / r, and then as r / c events of r ns together.  So both sums are right on average, and short
 * waits cost a comparison.
 *
 * Mutex: whoever unlocks counts, as the delay that all who waited had since their last charge (sema.c).  One in
 * `fraction` events is counted, as that many; those of `always` and more are counted each, as one.
 *
 * Sleeps and waits for descriptors are in the same table, told apart by the key's extra word: who reads the profile
 * asks for them or not.  Threads that are no workers are not in it.
 *
 * Rates: a base and those that requests have raised it to for as long as they last; the most detailed holds.
 * Lock: `lock`, for changing them. */
#include "prof_wait.h"

#include "sys.h"

#define RAISED_MAX 64

struct rt_wait_rates rt_wait_rates;
_Atomic bool rt_see_on;

static struct rt_lock lock = RT_LOCK_INIT(LEAF);
/* under lock */
static int64_t base[WEFT_RATE_N];
static int64_t raised[WEFT_RATE_N][RAISED_MAX]; /* 0: a free place */

/* --- Counting -------------------------------------------------------------------------------------- */

static int64_t ns_of(uint64_t since, uint64_t span)
{
	int64_t ns = rt_tsc_to_ns(since + span) - rt_tsc_to_ns(since);

	return ns > 0 ? ns : 1;
}

/* events: scaled by RT_PROF_SHIFT */
static void count(struct rt_ptab *t, struct m *m, uint64_t extra, uint64_t events, int64_t ns, void *frame)
{
	const struct g *g = ld(&m->cur);
	const struct weft_inst *inst = ld(&g->inst);
	struct rt_ptab_key key = { .stack = rt_stack_here(m, frame),
				   .instance = inst ? inst->number : 0,
				   .extra = extra };
	uint32_t e = 0;

	if (key.stack) {
		/* A goroutine on its last kilobytes is counted without labels; a guest's stack is no slot, and large.
		 */
		if ((uintptr_t)__builtin_frame_address(0) - rt_stack_lo(g) > RT_LABEL_ROOM)
			key.labels = rt_labels_keep(ld(&g->labels), key.instance);
		e = rt_ptab_at(t, key);
	}
	rt_ptab_add(t, e, 0, events);
	rt_ptab_add(t, e, 1, (uint64_t)ns);
}

static int kind_of(enum rt_wait reason)
{
	switch (reason) {
	case RT_WAIT_SLEEP:
		return WEFT_WAIT_SLEEP;
	case RT_WAIT_IO:
		return WEFT_WAIT_IO;
	case RT_WAIT_NONE:
	case RT_WAIT_CHAN_RECV_NIL:
	case RT_WAIT_CHAN_SEND_NIL:
	case RT_WAIT_SELECT_NONE:
		return -1; /* waits that nobody ends */
	default:
		return WEFT_WAIT_SYNC;
	}
}

RT_COLD void rt_waited_slow(struct m *m, struct g *g, uint64_t since, uint64_t span, enum rt_wait reason, void *frame)
{
	uint64_t rate = ld(&rt_wait_rates.block), events = UINT64_C(1) << RT_PROF_SHIFT;
	int kind = kind_of(reason);

	(void)g;
	if (kind < 0 || !rate)
		return;
	if ((int64_t)span < 1)
		span = 1; /* two clocks of one wait may disagree a little */
	if (span < rate) {
		events = (rate << RT_PROF_SHIFT) / span;
		span = rate;
	}
	count(&rt_prof_block, m, (uint64_t)kind, events, ns_of(since, span), frame);
}

void rt_contended(struct m *m, uint64_t now, uint64_t span, void *frame)
{
	uint64_t fraction = ld(&rt_wait_rates.fraction), always = ld(&rt_wait_rates.always), luck;
	struct p *p = ld(&m->p);

	if (!fraction)
		return;
	p->luck = luck = p->luck * UINT64_C(0x5851f42d4c957f2d) + 1;
	if (always && span >= always)
		fraction = 1;
	else if (((luck >> 32) * fraction) >> 32)
		return;
	count(&rt_prof_mutex, m, 0, fraction << RT_PROF_SHIFT, ns_of(now - span, span) * (int64_t)fraction, frame);
}

/* --- Rates ----------------------------------------------------------------------------------------- */

/* The more detailed of two; 0 is none at all. */
static int64_t finer(int64_t a, int64_t b)
{
	if (!a || !b)
		return a ? a : b;
	if (a == WEFT_RATE_BIASED || b == WEFT_RATE_BIASED) {
		int64_t other = a == WEFT_RATE_BIASED ? b : a;

		return other > 0 && other <= 100 ? other : WEFT_RATE_BIASED;
	}
	return a < b ? a : b;
}

static int64_t effective(int which)
{
	int64_t rate = base[which];

	for (int i = 0; i < RAISED_MAX; i++)
		rate = finer(rate, raised[which][i]);
	return rate;
}

static void apply(int which)
{
	int64_t rate = effective(which);

	if (which == WEFT_RATE_BLOCK) {
		uint64_t tsc = rt_ns_span_tsc(rate == WEFT_RATE_BIASED ? WEFT_MS : rate);

		st(&rt_wait_rates.block, rate && !tsc ? 1 : tsc);
		st(&rt_see_on, rt_rec_on || rate);
		return;
	}
	st(&rt_wait_rates.always, rate == WEFT_RATE_BIASED ? rt_ns_span_tsc(WEFT_MS) : 0);
	st(&rt_wait_rates.fraction, rate == WEFT_RATE_BIASED ? 100 : (uint64_t)rate);
}

int64_t weft_host_rate(int which, int64_t rate)
{
	int64_t old;

	if (rate > WEFT_RATE_MAX)
		rate = WEFT_RATE_MAX;
	rt_lock(&lock);
	old = base[which];
	if (rate >= WEFT_RATE_BIASED) {
		base[which] = rate;
		apply(which);
	}
	rt_unlock(&lock);
	return old;
}

int weft_host_rate_raise(int which, int64_t rate)
{
	int at = -EAGAIN;

	if (rate < 1 || rate > WEFT_RATE_MAX)
		return -EINVAL;
	rt_lock(&lock);
	for (int i = 0; i < RAISED_MAX && at < 0; i++)
		if (!raised[which][i])
			at = i;
	if (at >= 0) {
		raised[which][at] = rate;
		apply(which);
	}
	rt_unlock(&lock);
	return at;
}

void weft_host_rate_drop(int which, int raise)
{
	rt_lock(&lock);
	raised[which][raise] = 0;
	apply(which);
	rt_unlock(&lock);
}

int64_t weft_read_rate(int which)
{
	int64_t rate;

	rt_lock(&lock);
	rate = effective(which);
	rt_unlock(&lock);
	return rate;
}

void rt_wait_prof_start(void)
{
	rt_lock(&lock);
	apply(WEFT_RATE_BLOCK); /* the clock may have been unknown when they were set */
	apply(WEFT_RATE_MUTEX);
	rt_unlock(&lock);
}
