/* model_select.c - select (select.c) against senders, receivers, closing, other selects, a timer and one that calls
 * off.
 *
 * Every value that was sent arrives once or is still there; a select that gave up has taken and given nothing; nobody
 * waits although a partner is there, and nothing of a select stays queued. */
#include "threads.h"

#include <stdlib.h>

static char pool[2][512] __attribute__((aligned(64)));
static int pools;
#define malloc(n) ((n) <= sizeof pool[0] ? (void *)pool[pools++] : NULL)
#define free(p) ((void)(p))
#include <chan.c>
#undef malloc
#undef free
#include <select.c>

#define VALUES 8

struct weft_ctx rt_ctx_none;
static struct weft_ctx root;
static weft_chan *a, *b;
static int result[GS];
static bool sent[VALUES];            /* by value */
static uint32_t got[GS + 1][VALUES]; /* by thread and value; its last row: end() */

int rt_park_until(struct m **m, enum rt_wait reason, struct rt_lock *drop, int64_t when)
{
	(void)when;
	return rt_park(m, reason, drop);
}
int rt_park_select(struct m **m, const struct rt_held *held, int64_t when)
{
	(void)m, (void)when;
	for (uint32_t i = 0; i < held->n; i++)
		rt_unlock(held->lock[i]);
	return parked();
}
int64_t rt_now(void)
{
	return 0;
}
uint64_t rt_tsc(void)
{
	return 0;
}
bool rt_ctx_carried(const struct weft_ctx *ctx, struct g *g)
{
	return ctx == ld(&g->ctx);
}
struct rt_lock *rt_ctx_lock(struct weft_ctx *ctx)
{
	return &ctx->lock;
}
int weft_ctx_err(const weft_ctx *ctx)
{
	return rt_ctx_err(ctx);
}

static void begin(size_t cap_a, size_t cap_b)
{
	threads_begin();
	a = weft_chan_new(8, cap_a);
	b = weft_chan_new(8, cap_b);
	for (int i = 0; i < GS; i++)
		st(&gs[i].ctx, &root);
}

static void have(int row, uint64_t v)
{
	if (v == 0 || v >= VALUES)
		mc_fail("received %llu", (unsigned long long)v);
	else
		got[row][v]++;
}

/* --- Threads --------------------------------------------------------------------------------------------------- */

/* Sends value 1 on a, value 2 on b. */
static void sender(void *arg)
{
	uint64_t v = (uint64_t)(uintptr_t)arg;
	int rc = weft_chan_send(v == 1 ? a : b, &v, 8);

	result[mc_self()] = rc;
	mc_note("send %llu says %d", (unsigned long long)v, rc);
	sent[v] = rc == 0;
}

static void receiver(void *arg)
{
	uint64_t v = 99;
	int rc = weft_chan_recv(arg ? b : a, &v, 8);

	result[mc_self()] = rc;
	mc_note("receive says %d", rc);
	if (rc == 1)
		have(mc_self(), v);
}

/* n times: receives from a or b. */
static void select_recv(void *arg)
{
	int self = mc_self();

	for (intptr_t n = 0; n < (intptr_t)arg; n++) {
		uint64_t v[2] = { 99, 99 };
		bool ok = false;
		struct weft_case cases[] = {
			{ .op = WEFT_OP_RECV, .on = a, .elem = &v[0], .size = 8, .ok = &ok },
			{ .op = WEFT_OP_RECV, .on = b, .elem = &v[1], .size = 8, .ok = &ok },
		};
		int rc = result[self] = weft_select_n(cases, 2, sizeof *cases);

		mc_note("select says %d", rc);
		if (rc < 0) {
			if (v[0] != 99 || v[1] != 99)
				mc_fail("called off, and something was received");
			return;
		}
		if (v[!rc] != 99)
			mc_fail("received in two cases");
		if (ok)
			have(self, v[rc]);
		else if (v[rc] != 0)
			mc_fail("closed, and the element is not zero");
	}
}

/* Sends value (self + 4) on a or receives from it. */
static void select_both(void *arg)
{
	int self = mc_self();
	uint64_t in = 99, out = (uint64_t)self + 4;
	struct weft_case cases[] = {
		{ .op = WEFT_OP_RECV, .on = a, .elem = &in, .size = 8 },
		{ .op = WEFT_OP_SEND, .on = a, .elem = &out, .size = 8 },
		{ .op = WEFT_OP_AFTER, .ns = 10 },
	};
	int rc = result[self] = weft_select_n(cases, arg ? 3 : 2, sizeof *cases);

	mc_note("select says %d", rc);
	if (rc == 0)
		have(self, in);
	if (rc == 0 && in == out)
		mc_fail("a select met itself");
	sent[out] = rc == 1;
}

static void closer(void *arg)
{
	MC_CHECK(weft_chan_close(arg ? b : a) == 0);
}

/* As a timer does when it is due, or weft_inst_cancel(), for goroutine 0. */
static void winner(int outcome)
{
	struct g *g = &gs[0];
	uint64_t wait = ld_acq(&g->wait);

	if (wait & 1 && rt_wait_win(g, wait >> 1)) {
		mc_note("has won its wait: %d", outcome);
		rt_ready(NULL, g, outcome, RT_READY_QUEUE);
	}
}
static void timer(void *arg)
{
	(void)arg;
	winner(-ETIMEDOUT);
}
static void canceller(void *arg)
{
	(void)arg;
	winner(-ECANCELED);
}

/* --- Cases ----------------------------------------------------------------------------------------------------- */

static void take_rest(weft_chan *c)
{
	uint64_t v;

	if (c->senders.first || c->receivers.first)
		mc_fail("somebody still stands in a queue");
	while (weft_chan_len(c)) {
		buf_take(c, &v);
		have(GS, v);
	}
}

static void accounts(void)
{
	take_rest(a);
	take_rest(b);
	for (int v = 1; v < VALUES; v++) {
		uint32_t times = 0;

		for (int t = 0; t <= GS; t++)
			times += got[t][v];
		if (times != sent[v])
			mc_fail("value %d: sent %d times, received %u times", v, sent[v], times);
	}
}

/* As long as somebody may be left waiting for what never comes. */
static void nothing_twice(void)
{
	for (int v = 1; v < VALUES; v++) {
		uint32_t times = 0;

		for (int t = 0; t <= GS; t++)
			times += got[t][v];
		if (times > 1 || times < sent[v])
			mc_fail("value %d: sent %d times, received %u times", v, sent[v], times);
	}
}

static void two_senders(void)
{
	begin(0, 0);
	mc_thread("select", select_recv, (void *)2);
	mc_thread("sender a", sender, (void *)1);
	mc_thread("sender b", sender, (void *)2);
}
static void one_of_two(void)
{
	begin(0, 0);
	mc_thread("select", select_recv, (void *)1);
	mc_daemon("sender a", sender, (void *)1);
	mc_daemon("sender b", sender, (void *)2);
}
static void buffered(void)
{
	begin(1, 1);
	mc_thread("select", select_recv, (void *)1);
	mc_thread("sender a", sender, (void *)1);
	mc_thread("sender b", sender, (void *)2);
}
static void shared(void)
{
	begin(0, 0);
	mc_thread("select", select_recv, (void *)1);
	mc_daemon("receiver a", receiver, NULL);
	mc_thread("sender a", sender, (void *)1);
	mc_daemon("sender b", sender, (void *)2);
}
static void closing(void)
{
	begin(0, 1);
	mc_thread("select", select_recv, (void *)2);
	mc_thread("closer a", closer, NULL);
	mc_thread("sender b", sender, (void *)2);
}
static void meeting(void)
{
	begin(0, 0);
	mc_thread("select", select_both, NULL);
	mc_thread("other select", select_both, NULL);
}
static void meeting_or_late(void)
{
	begin(0, 0);
	mc_thread("select", select_both, (void *)1);
	mc_daemon("other select", select_both, NULL);
	mc_thread("timer", timer, NULL);
	mc_daemon("timer again", timer, NULL);
}
static void called_off(void)
{
	begin(0, 0);
	mc_thread("select", select_recv, (void *)1);
	mc_thread("canceller", canceller, NULL);
	mc_daemon("sender a", sender, (void *)1);
}
static void called_off_or_closed(void)
{
	begin(0, 0);
	mc_thread("select", select_recv, (void *)1);
	mc_thread("canceller", canceller, NULL);
	mc_thread("closer a", closer, NULL);
	mc_daemon("sender b", sender, (void *)2);
}

static void met(void)
{
	accounts();
	MC_CHECK(result[0] != result[1]);
}

const struct mc_case mc_cases[] = {
	{ "select: twice over two channels, a sender on each", two_senders, accounts, 0 },
	{ "select: once over two channels, a sender on each", one_of_two, nothing_twice, 0 },
	{ "select: two channels with room", buffered, accounts, 0 },
	{ "select: a receiver wants the same", shared, nothing_twice, 0 },
	{ "select: one channel is closed", closing, accounts, 0 },
	{ "select: two that send and receive on one channel", meeting, met, 0 },
	{ "select: likewise, and its time is over", meeting_or_late, nothing_twice, 0 },
	{ "select: it is called off", called_off, nothing_twice, 0 },
	{ "select: it is called off, one channel is closed", called_off_or_closed, nothing_twice, 0 },
	{ NULL, NULL, NULL, 0 },
};
