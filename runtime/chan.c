/* chan.c - channels.
 *
 * Under c->lock:
 *   senders and receivers are not both waiting, unless one select waits on both sides (select.c);
 *   count > 0 means that no receiver waits; count < cap means that no sender waits
 * (but for waiters whose wait was called off: they stand in the queue, dead, until they run and unlink
 * themselves; whoever meets one skips it).
 *
 * A waiter lies on its goroutine's stack, with a pointer to the element there.  Who serves it wins its
 * wait word, copies the element straight across, notes the result in it, and makes it runnable.  A
 * goroutine parks with the lock held; rt_arrive() drops it when the goroutine is off its stack, so
 * nobody can serve it earlier.
 *
 * Send and receive are one function each from the public call to rt_park(): returns to the same places are
 * what the processor predicts over a switch (switch_*.S).
 *
 * A served partner goes to run-next (a hand-over).  Lock order: CHAN before everything it wakes. */
#include <stdlib.h>
#include <string.h>

#include "chan.h"
#include "rt.h"

#define ELEM_MAX 65535u

/* Serve w, which is ours: unlock, make it run. */
static RT_FLAT void serve(struct m *m, weft_chan *c, struct waiter *w, int result)
{
	struct g *g = w->g;

	w->result = result;
	rt_unlock(&c->lock);
	rt_ready(m, g, 0, RT_READY_NEXT);
}

/* Wait in q until served or called off.  The lock is held, and dropped. */
static RT_FLAT int wait_in(struct m **m, weft_chan *c, struct queue *q, void *elem, enum rt_wait reason)
{
	struct waiter w;
	int rc;

	w.g = likely(*m) ? ld(&(*m)->cur) : rt_foreign_g();
	w.elem = elem;
	w.number = rt_wait_open(w.g);
	queue_put(q, &w);
	rc = rt_park(m, reason, &c->lock);
	if (likely(rc == 0))
		return w.result;
	rt_lock(&c->lock);
	if (w.queued)
		queue_remove(q, &w);
	rt_unlock(&c->lock);
	return rc;
}

/* A nil channel: nobody will ever come. */
static int wait_forever(struct m **m, enum rt_wait reason)
{
	(void)rt_wait_open(*m ? ld(&(*m)->cur) : rt_foreign_g());
	return rt_park(m, reason, NULL);
}

static RT_FLAT int chan_send(struct m **m, weft_chan *c, const void *elem, bool wait)
{
	struct waiter *w;

	if (unlikely(!c))
		return wait ? wait_forever(m, RT_WAIT_CHAN_SEND_NIL) : -EAGAIN;
	rt_lock(&c->lock);
	if (unlikely(c->closed)) {
		rt_unlock(&c->lock);
		return -EPIPE;
	}
	w = c->receivers.first ? queue_win(&c->receivers) : NULL;
	if (w) {
		if (w->elem)
			copy(w->elem, elem, c->elem_size);
		serve(*m, c, w, 1);
		return 0;
	}
	if (ld(&c->count) < c->cap) {
		buf_put(c, elem);
		rt_unlock(&c->lock);
		return 0;
	}
	if (!wait) {
		rt_unlock(&c->lock);
		return -EAGAIN;
	}
	return wait_in(m, c, &c->senders, (void *)elem, RT_WAIT_CHAN_SEND);
}

static RT_FLAT int chan_recv(struct m **m, weft_chan *c, void *elem, bool wait)
{
	struct waiter *w;
	int rc;

	if (unlikely(!c))
		return wait ? wait_forever(m, RT_WAIT_CHAN_RECV_NIL) : -EAGAIN;
	rt_lock(&c->lock);
	if (ld(&c->count)) {
		buf_take(c, elem);
		w = c->senders.first ? queue_win(&c->senders) : NULL;
		if (!w) {
			rt_unlock(&c->lock);
			return 1;
		}
		buf_put(c, w->elem); /* the room it waited for */
		serve(*m, c, w, 0);
		return 1;
	}
	w = c->senders.first ? queue_win(&c->senders) : NULL;
	if (w) {
		if (elem)
			copy(elem, w->elem, c->elem_size);
		serve(*m, c, w, 0);
		return 1;
	}
	if (c->closed || !wait) {
		rc = c->closed ? 0 : -EAGAIN;
		rt_unlock(&c->lock);
	} else {
		rc = wait_in(m, c, &c->receivers, elem, RT_WAIT_CHAN_RECV);
	}
	if (rc == 0 && elem)
		memset(elem, 0, c->elem_size);
	return rc;
}

/* --- Public --- */

weft_chan *rt_chan_new(size_t elem_size, size_t cap)
{
	weft_chan *c;
	size_t bytes;

	if (elem_size > ELEM_MAX || __builtin_mul_overflow(elem_size, cap, &bytes) || bytes > SIZE_MAX / 2)
		return NULL;
	c = malloc(sizeof *c + bytes);
	if (!c)
		return NULL;
	memset(c, 0, sizeof *c);
	rt_lock_init(&c->lock, RT_RANK_CHAN);
	c->elem_size = (uint32_t)elem_size;
	c->cap = cap;
	return c;
}

weft_chan *weft_chan_new(size_t elem_size, size_t cap)
{
	weft_chan *c = rt_chan_new(elem_size, cap);

	if (c)
		rt_own(&c->owned, RT_OWNED_CHAN);
	return c;
}

/* may_wait: that somebody waits is no fatal mistake; it is closed then, and its memory left to them. */
void rt_chan_free(weft_chan *c, bool may_wait)
{
	bool waits;

	rt_lock(&c->lock); /* whoever served the last waiter may still be inside */
	waits = c->senders.first || c->receivers.first;
	rt_unlock(&c->lock);
	if (!waits)
		free(c);
	else if (may_wait)
		(void)weft_chan_close(c);
	else
		rt_fatal("weft_chan_free: goroutines still wait on the channel");
}

void rt_chan_drop(struct rt_owned *o)
{
	rt_chan_free((weft_chan *)((char *)o - offsetof(weft_chan, owned)), true);
}

void weft_chan_free(weft_chan *c)
{
	if (!c)
		return;
	rt_disown(&c->owned);
	rt_chan_free(c, false);
}

int weft_chan_send(weft_chan *c, const void *elem, size_t size)
{
	struct m *m = rt_enter(rt_self());
	int rc = unlikely(c && size != c->elem_size) ? -EINVAL : chan_send(&m, c, elem, true);

	if (likely(m))
		rt_leave(m);
	return rc;
}

int weft_chan_recv(weft_chan *c, void *elem, size_t size)
{
	struct m *m = rt_enter(rt_self());
	int rc = unlikely(c && size != c->elem_size) ? -EINVAL : chan_recv(&m, c, elem, true);

	if (likely(m))
		rt_leave(m);
	return rc;
}

int weft_chan_try_send(weft_chan *c, const void *elem, size_t size)
{
	struct m *m = rt_enter(rt_self());
	int rc = unlikely(c && size != c->elem_size) ? -EINVAL : chan_send(&m, c, elem, false);

	if (likely(m))
		rt_leave(m);
	return rc;
}

int weft_chan_try_recv(weft_chan *c, void *elem, size_t size)
{
	struct m *m = rt_enter(rt_self());
	int rc = unlikely(c && size != c->elem_size) ? -EINVAL : chan_recv(&m, c, elem, false);

	if (likely(m))
		rt_leave(m);
	return rc;
}

int weft_chan_close(weft_chan *c)
{
	struct m *m;
	struct waiter *w, *woken = NULL;

	if (!c)
		return -EINVAL;
	m = rt_enter(rt_self());
	rt_lock(&c->lock);
	if (c->closed) {
		rt_unlock(&c->lock);
		if (m)
			rt_leave(m);
		return -EALREADY;
	}
	c->closed = true;
	while ((w = queue_win(&c->receivers)) != NULL) {
		w->result = 0;
		w->next = woken;
		woken = w;
	}
	while ((w = queue_win(&c->senders)) != NULL) {
		w->result = -EPIPE;
		w->next = woken;
		woken = w;
	}
	rt_unlock(&c->lock);
	while (woken) {
		struct g *g = woken->g;

		woken = woken->next; /* before it runs: it lies on g's stack */
		rt_ready(m, g, 0, RT_READY_QUEUE);
	}
	if (m)
		rt_leave(m);
	return 0;
}

size_t weft_chan_len(const weft_chan *c)
{
	return c ? ld(&c->count) : 0;
}

size_t weft_chan_cap(const weft_chan *c)
{
	return c ? c->cap : 0;
}
