/* sema.c - waiting by address: the sleep under mutex, wait group and once.
 *
 * A primitive is a word or two in the user's memory; who must wait for it stands in one of the buckets
 * here, hashed by address, in order of arrival.  Counts change under the bucket's lock only, so a give
 * cannot slip between a taker's look and its sleep.  A waiter lies on its goroutine's stack and is
 * unlinked by who wakes it.  These waits are not called off by a context: the word would be used after
 * its owner returned. */
#include "rt.h"

#define BUCKETS 256u

struct waiter {
	struct waiter *next;
	const void *addr;
	struct g *g;
	uint64_t number;
};

static struct bucket {
	RT_CACHED struct rt_lock lock;
	struct waiter *head, *tail;
} buckets[BUCKETS];

__attribute__((constructor)) static void init(void)
{
	for (uint32_t i = 0; i < BUCKETS; i++)
		rt_lock_init(&buckets[i].lock, RT_RANK_SEMA);
}

static struct bucket *bucket_of(const void *addr)
{
	return &buckets[((uintptr_t)addr >> 3) * 0x9e3779b97f4a7c15ull >> 56 & (BUCKETS - 1)];
}

void rt_sema_acquire(struct m **m, _Atomic uint32_t *count, enum rt_wait reason, bool lifo)
{
	struct bucket *b = bucket_of(count);
	struct waiter w = { .addr = count, .g = *m ? ld(&(*m)->cur) : rt_foreign_g() };

	rt_lock(&b->lock);
	if (ld(count)) {
		st(count, ld(count) - 1);
		rt_unlock(&b->lock);
		return;
	}
	w.number = rt_wait_open(w.g);
	if (!b->head) {
		b->head = b->tail = &w;
	} else if (lifo) {
		w.next = b->head;
		b->head = &w;
	} else {
		b->tail->next = &w;
		b->tail = &w;
	}
	(void)rt_park(m, reason, &b->lock);
}

static struct waiter *unlink_first(struct bucket *b, const void *addr)
{
	struct waiter *prev = NULL, *w = b->head;

	while (w && w->addr != addr) {
		prev = w;
		w = w->next;
	}
	if (!w)
		return NULL;
	if (prev)
		prev->next = w->next;
	else
		b->head = w->next;
	if (b->tail == w)
		b->tail = prev;
	return w;
}

void rt_sema_release(struct m *m, _Atomic uint32_t *count, enum rt_how how)
{
	struct bucket *b = bucket_of(count);
	struct waiter *w;
	struct g *g = NULL;

	rt_lock(&b->lock);
	w = unlink_first(b, count);
	if (w) {
		g = w->g;
		rt_wait_close(g, w->number); /* nobody else may win it: these waits are not called off */
	} else {
		st(count, ld(count) + 1);
	}
	rt_unlock(&b->lock);
	if (g)
		rt_ready(m, g, 0, how);
}

void rt_sema_each(void (*fn)(void *arg, const struct g *g, const _Atomic uint32_t *count), void *arg)
{
	for (uint32_t i = 0; i < BUCKETS; i++) {
		rt_lock(&buckets[i].lock);
		for (const struct waiter *w = buckets[i].head; w; w = w->next)
			fn(arg, w->g, w->addr);
		rt_unlock(&buckets[i].lock);
	}
}
