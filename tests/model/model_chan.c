/* model_chan.c - channels (chan.c) between senders, receivers, one that closes and one that calls waits off.
 *
 * Every value that was sent arrives once or is still there; results are right; nobody waits although a
 * partner is there. */
#include "threads.h"

#include <stdlib.h>

static char pool[512] __attribute__((aligned(64)));
#define malloc(n) ((n) <= sizeof pool ? (void *)pool : NULL)
#define free(p) ((void)(p))
#include <chan.c>
#undef malloc
#undef free

static weft_chan *c;
static int sent[GS], result[GS];         /* by thread */
static uint32_t got[GS + 1][2 * GS + 1]; /* by thread and value; its last row: end() */

static void chan_new(size_t cap)
{
	threads_begin();
	c = weft_chan_new(8, cap);
}

/* Sends values 2i+1, 2i+2, ... for thread i; stops at the first that is not taken. */
static void sender(void *arg)
{
	int self = mc_self();

	for (intptr_t n = 0; n < (intptr_t)arg; n++) {
		uint64_t v = (uint64_t)(2 * self + 1 + n);

		result[self] = weft_chan_send(c, &v, 8);
		mc_note("send says %d", result[self]);
		if (result[self] < 0)
			return;
		sent[self]++;
	}
}

static void have(int row, uint64_t v)
{
	if (v == 0 || v > 2 * GS)
		mc_fail("received %llu", (unsigned long long)v);
	else
		got[row][v]++;
}

static void receiver(void *arg)
{
	int self = mc_self();

	for (intptr_t n = 0; n < (intptr_t)arg; n++) {
		uint64_t v = 99;

		result[self] = weft_chan_recv(c, &v, 8);
		mc_note("receive says %d", result[self]);
		if (result[self] == 1)
			have(self, v);
		else if (result[self] == 0 && v != 0)
			mc_fail("closed, and the element is not zero");
		if (result[self] <= 0)
			return;
	}
}

static void tryer(void *arg)
{
	uint64_t v = 99;

	(void)arg;
	if (weft_chan_try_recv(c, &v, 8) == 1)
		have(mc_self(), v);
}

static void closer(void *arg)
{
	(void)arg;
	MC_CHECK(weft_chan_close(c) == 0);
}

/* As weft_inst_cancel() does, for the goroutine whose number is given. */
static void canceller(void *arg)
{
	struct g *g = &gs[(intptr_t)arg];
	uint64_t wait = ld_acq(&g->wait);

	if (wait & 1 && rt_wait_win(g, wait >> 1)) {
		mc_note("has called it off");
		rt_ready(NULL, g, -ECANCELED, RT_READY_QUEUE);
	}
}

static void accounts(void)
{
	uint64_t v;

	if (c->senders.first || c->receivers.first)
		mc_fail("somebody still stands in a queue");
	while (weft_chan_len(c)) {
		buf_take(c, &v);
		have(GS, v);
	}
	for (int i = 0; i < GS; i++) {
		for (int n = 0; n < 2; n++) {
			uint32_t times = 0;

			for (int t = 0; t <= GS; t++)
				times += got[t][2 * i + 1 + n];
			if (times != (n < sent[i]))
				mc_fail("value %d: sent %d times, received %u times", 2 * i + 1 + n, n < sent[i],
					times);
		}
	}
}

static void rendezvous(void)
{
	chan_new(0);
	mc_thread("sender", sender, (void *)2);
	mc_thread("receiver", receiver, (void *)2);
}

static void two_and_two(void)
{
	chan_new(0);
	mc_thread("sender 1", sender, (void *)1);
	mc_thread("sender 2", sender, (void *)1);
	mc_thread("receiver 1", receiver, (void *)1);
	mc_thread("receiver 2", receiver, (void *)1);
}

static void buffered(void)
{
	chan_new(1);
	mc_thread("sender 1", sender, (void *)2);
	mc_thread("sender 2", sender, (void *)1);
	mc_thread("receiver", receiver, (void *)3);
}

static void room_is_made(void)
{
	chan_new(1);
	mc_thread("sender", sender, (void *)2);
	mc_thread("receiver", receiver, (void *)1);
}

static void closing(void)
{
	chan_new(1);
	mc_thread("sender", sender, (void *)2);
	mc_thread("receiver", receiver, (void *)3);
	mc_thread("closer", closer, NULL);
}

static void closed_over_senders(void)
{
	chan_new(0);
	mc_thread("sender 1", sender, (void *)1);
	mc_thread("sender 2", sender, (void *)1);
	mc_thread("closer", closer, NULL);
}

static void off_receiver(void)
{
	chan_new(0);
	mc_daemon("sender", sender, (void *)1);
	mc_thread("receiver", receiver, (void *)1);
	mc_thread("canceller", canceller, (void *)1);
}

static void off_sender(void)
{
	chan_new(0);
	mc_thread("sender", sender, (void *)1);
	mc_daemon("receiver", receiver, (void *)1);
	mc_thread("canceller", canceller, (void *)0);
	mc_thread("closer", closer, NULL);
}

static void off_or_try(void)
{
	chan_new(0);
	mc_daemon("sender", sender, (void *)1);
	mc_thread("canceller", canceller, (void *)0);
	mc_thread("try", tryer, NULL);
}

static void all_done(void)
{
	accounts();
}
static void refused(void)
{
	accounts();
	MC_CHECK(result[0] == -EPIPE && result[1] == -EPIPE);
}
static void sender_may_wait(void)
{
	if (result[1] == -ECANCELED && sent[0])
		mc_fail("sent to a receiver that was called off");
	if (result[1] != -ECANCELED)
		accounts();
}
static void try_end(void)
{
	for (int i = 0; i < GS; i++)
		if (got[2][2 * i + 1] && (i != 0 || result[0] < 0))
			mc_fail("a value was taken from a sender that was called off");
}

const struct mc_case mc_cases[] = {
	{ "chan: a sender, a receiver, no buffer", rendezvous, all_done, 0 },
	{ "chan: two senders, two receivers, no buffer", two_and_two, all_done, 0 },
	{ "chan: two senders, a receiver, room for one", buffered, all_done, 0 },
	{ "chan: room for one, one is received", room_is_made, all_done, 0 },
	{ "chan: it is closed meanwhile", closing, all_done, 0 },
	{ "chan: it is closed while two send", closed_over_senders, refused, 0 },
	{ "chan: the receiver is called off", off_receiver, sender_may_wait, 0 },
	{ "chan: the sender is called off, and it is closed", off_sender, all_done, 0 },
	{ "chan: the sender is called off, one tries", off_or_try, try_end, 0 },
	{ NULL, NULL, NULL, 0 },
};
