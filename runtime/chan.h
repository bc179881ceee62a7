/* chan.h - a channel's inside, for chan.c and for select.c and tick.c, which work on channels whose lock they hold. */
#ifndef WEFT_RT_CHAN_H
#define WEFT_RT_CHAN_H

#include <string.h>

#include "rt.h"

struct waiter {
	struct waiter *next, *prev;
	struct g *g;
	uint64_t number; /* of the wait */
	void *elem;      /* NULL: a receiver that drops it */
	int result;      /* of the operation, by who served it */
	bool queued;
};

struct weft_chan {
	struct rt_lock lock;
	uint32_t elem_size;
	bool closed;
	/* under lock */
	struct queue senders, receivers;
	_Atomic size_t count; /* weft_chan_len() reads it without the lock */
	size_t cap, head;     /* head: the oldest element */
	struct rt_owned owned;
	char buf[] __attribute__((aligned(16)));
};

/* weft_chan_new() and weft_chan_free() for a channel that is a part of something else. */
weft_chan *rt_chan_new(size_t elem_size, size_t cap);
void rt_chan_free(weft_chan *c, bool may_wait); /* whether somebody waits, or that is fatal */

static inline void queue_put(struct queue *q, struct waiter *w)
{
	w->next = NULL;
	w->prev = q->last;
	if (q->last)
		q->last->next = w;
	else
		q->first = w;
	q->last = w;
	w->queued = true;
}

static inline void queue_remove(struct queue *q, struct waiter *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		q->first = w->next;
	if (w->next)
		w->next->prev = w->prev;
	else
		q->last = w->prev;
	w->queued = false;
}

/* The longest waiting whose wait we win; off the queue. */
static RT_FLAT struct waiter *queue_win(struct queue *q)
{
	struct waiter *w;

	while ((w = q->first) != NULL) {
		q->first = w->next;
		if (w->next)
			w->next->prev = NULL;
		else
			q->last = NULL;
		w->queued = false;
		if (likely(rt_wait_win(w->g, w->number)))
			return w;
	}
	return NULL;
}

static inline void copy(void *to, const void *from, uint32_t size)
{
	if (size == 8)
		memcpy(to, from, 8);
	else
		memcpy(to, from, size);
}

static inline char *slot(weft_chan *c, size_t i)
{
	i += c->head;
	if (i >= c->cap)
		i -= c->cap;
	return c->buf + i * c->elem_size;
}

static inline void buf_put(weft_chan *c, const void *elem)
{
	size_t n = ld(&c->count);

	copy(slot(c, n), elem, c->elem_size);
	st(&c->count, n + 1);
}

static inline void buf_take(weft_chan *c, void *elem)
{
	if (elem)
		copy(elem, slot(c, 0), c->elem_size);
	if (++c->head == c->cap)
		c->head = 0;
	st(&c->count, ld(&c->count) - 1);
}

#endif
