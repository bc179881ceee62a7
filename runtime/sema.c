/* sema.c - waiting by address: the sleep under mutex, wait group and once.
 *
 * A primitive is a word or two in the user's memory; who must wait for it stands in one of the buckets
 * here, hashed by address: a list of the first of each address, behind which the others of that address stand in
 * order of arrival.  Counts change under the bucket's lock only, so a give cannot slip between a taker's look and
 * its sleep.  A waiter lies on its goroutine's stack and is unlinked by who wakes it.  These waits are not called off
 * by a context: the word would be used after its owner returned.
 *
 * Mutex profile (prof_wait.c): who gives is charged for the first waiter's delay, and for that of the others behind it
 * as if it grew evenly from the last to the first; then the clocks of first and last start anew, so that the next to
 * give is not charged for the same time.  (Go charges by the same rule.) */
#include "prof_wait.h"
#include "rt.h"

#define BUCKETS 256u

struct waiter {
	const void *addr;
	struct g *g;
	uint64_t number;
	struct waiter *behind; /* of the same address */
	uint64_t since;        /* tsc: not yet charged; 0: not to be */
	/* of the first of an address */
	struct waiter *next; /* the first of another */
	struct waiter *last;
	uint32_t n_behind;
};

static struct bucket {
	RT_CACHED struct rt_lock lock;
	struct waiter *head;
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

/* The link to the first who waits for addr; where it would be if there is none. */
static struct waiter **first_of(struct bucket *b, const void *addr)
{
	struct waiter **at = &b->head;

	while (*at && (*at)->addr != addr)
		at = &(*at)->next;
	return at;
}

static void put(struct bucket *b, struct waiter *w, bool lifo)
{
	struct waiter **at = first_of(b, w->addr), *first = *at;

	if (!first || lifo) {
		w->behind = first;
		w->next = first ? first->next : NULL;
		w->last = first ? first->last : w;
		w->n_behind = first ? first->n_behind + 1 : 0;
		*at = w;
	} else {
		first->last->behind = w;
		first->last = w;
		first->n_behind++;
	}
}

static bool is_lock(enum rt_wait reason)
{
	return reason == RT_WAIT_MUTEX || reason == RT_WAIT_ONCE || reason == RT_WAIT_RWMUTEX_R ||
	       reason == RT_WAIT_RWMUTEX_W;
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
	if (rt_mutex_on() && is_lock(reason))
		w.since = rt_tsc();
	put(b, &w, lifo);
	(void)rt_park(m, reason, &b->lock);
}

static struct waiter *unlink_first(struct bucket *b, const void *addr)
{
	struct waiter **at = first_of(b, addr), *w = *at, *first;

	if (!w)
		return NULL;
	first = w->behind;
	if (!first) {
		*at = w->next;
		return w;
	}
	first->next = w->next;
	first->last = w->last;
	first->n_behind = w->n_behind - 1;
	*at = first;
	return w;
}

/* What the giver is charged for letting w, which is unlinked, wait until now; tsc. */
static uint64_t charge(struct waiter *w, uint64_t now)
{
	uint64_t longest = now - w->since, delay = longest;

	if (w->behind) {
		struct waiter *last = w->last;

		if (last->since)
			delay += (longest + now - last->since) / 2 * w->n_behind;
		last->since = w->behind->since = now;
	}
	return (int64_t)delay > 0 ? delay : 1;
}

void rt_sema_release(struct m *m, _Atomic uint32_t *count, enum rt_how how)
{
	struct bucket *b = bucket_of(count);
	struct waiter *w;
	struct g *g = NULL;
	uint64_t now = 0, delay = 0;

	rt_lock(&b->lock);
	w = unlink_first(b, count);
	if (w) {
		g = w->g;
		if (w->since) {
			now = rt_tsc();
			delay = charge(w, now);
		}
		rt_wait_close(g, w->number); /* nobody else may win it: these waits are not called off */
	} else {
		st(count, ld(count) + 1);
	}
	rt_unlock(&b->lock);
	if (g)
		rt_ready(m, g, 0, how);
	if (delay && m)
		rt_contended(m, now, delay, __builtin_frame_address(0));
	RT_KEEP_RECORD();
}

void rt_sema_each(void (*fn)(void *arg, const struct g *g, const _Atomic uint32_t *count), void *arg)
{
	for (uint32_t i = 0; i < BUCKETS; i++) {
		rt_lock(&buckets[i].lock);
		for (const struct waiter *first = buckets[i].head; first; first = first->next)
			for (const struct waiter *w = first; w; w = w->behind)
				fn(arg, w->g, w->addr);
		rt_unlock(&buckets[i].lock);
	}
}
