/* select.c - wait for the first of several things.
 *
 * All channels (and made contexts) that the cases name are locked, in the order of lock.h and by address, each
 * once.  If some cases are ready then, one of them is taken, each with the same probability.  Else a waiter per case
 * is queued, all naming the same wait of the goroutine, so that whoever wins it has served one case and the other
 * waiters are dead; the goroutine parks with every lock held (rt_park_select()).  It comes back with all of them
 * taken again, unlinks what is still queued, and knows by the result which waiter was served.
 *
 * A case for the end of the context that the goroutine carries, or of one above it, queues nothing: that end calls
 * the wait off, which is then the case's answer.  So a loop that selects on its own context shares no lock. */
#include "chan.h"
#include "rt.h"

#define UNSERVED INT32_MIN
#define SMALL 8u
#define MEDIUM 64u

struct select {
	const char *cases;
	size_t stride, n;
	struct waiter *waiters; /* by case */
	struct rt_held held;
	struct g *g;
	int otherwise; /* the default case, or -1 */
	int after;     /* the earliest of the after cases, or -1 */
	int64_t ns;    /* of that */
};

static inline const struct weft_case *case_at(const struct select *s, size_t i)
{
	return (const struct weft_case *)(s->cases + i * s->stride);
}
static inline weft_chan *chan_of(const struct weft_case *c)
{
	return c->op == WEFT_OP_SEND || c->op == WEFT_OP_RECV ? (weft_chan *)c->on : NULL;
}
/* Whose end has to be waited for in a queue; NULL: none, or it is over, or calls us off anyway. */
static weft_ctx *ctx_of(const struct select *s, const struct weft_case *c)
{
	weft_ctx *ctx = c->op == WEFT_OP_DONE ? (weft_ctx *)c->on : NULL;

	return ctx && ctx != &rt_ctx_none && ((s->g->marks & RT_FOREIGN) || !rt_ctx_carried(ctx, s->g)) ? ctx : NULL;
}

/* --- Checking, locking --------------------------------------------------------------------------------------- */

static int check(struct select *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct weft_case *c = case_at(s, i);
		const weft_chan *chan = chan_of(c);

		if (c->op < WEFT_OP_SEND || c->op > WEFT_OP_DEFAULT)
			return -EINVAL;
		if (chan && c->size != chan->elem_size)
			return -EINVAL;
		if (c->op == WEFT_OP_DEFAULT) {
			if (s->otherwise >= 0)
				return -EINVAL;
			s->otherwise = (int)i;
		}
		if (c->op == WEFT_OP_AFTER && c->ns != WEFT_FOREVER && (s->after < 0 || c->ns < s->ns)) {
			s->after = (int)i;
			s->ns = c->ns;
		}
	}
	return 0;
}

/* Into the list, in order of address from `from` on; once. */
static void add_lock(struct rt_held *h, uint32_t from, struct rt_lock *l)
{
	uint32_t i = h->n;

	while (i > from && h->lock[i - 1] > l)
		i--;
	if (i > from && h->lock[i - 1] == l)
		return;
	for (uint32_t k = h->n++; k > i; k--)
		h->lock[k] = h->lock[k - 1];
	h->lock[i] = l;
}

static void lock_list(struct select *s)
{
	struct rt_held *h = &s->held;
	bool ctxs = false;

	for (size_t i = 0; i < s->n; i++) {
		weft_chan *chan = chan_of(case_at(s, i));

		if (chan)
			add_lock(h, 0, &chan->lock);
		ctxs |= case_at(s, i)->op == WEFT_OP_DONE;
	}
	if (likely(!ctxs))
		return;
	/* rank CTXS, then CTX */
	for (int made = 0; made < 2; made++) {
		uint32_t from = h->n;

		for (size_t i = 0; i < s->n; i++) {
			weft_ctx *ctx = ctx_of(s, case_at(s, i));

			if (ctx && !ld(&ctx->family) == !made)
				add_lock(h, from, rt_ctx_lock(ctx));
		}
	}
}

static void lock_all(const struct rt_held *h)
{
	for (uint32_t i = 0; i < h->n; i++)
		rt_lock(h->lock[i]);
}
static void unlock_all(const struct rt_held *h)
{
	for (uint32_t i = 0; i < h->n; i++)
		rt_unlock(h->lock[i]);
}

/* --- Ready cases (all locks are held) -------------------------------------------------------------------------- */

/* Does somebody wait there whose wait is still open?  Those at the head that do not are dropped. */
static bool queue_live(struct queue *q)
{
	while (q->first && ld(&q->first->g->wait) != (q->first->number << 1 | 1))
		queue_remove(q, q->first);
	return q->first != NULL;
}

static bool ready(const struct weft_case *c)
{
	weft_chan *chan = chan_of(c);

	switch (c->op) {
	case WEFT_OP_SEND:
		return chan && (chan->closed || ld(&chan->count) < chan->cap || queue_live(&chan->receivers));
	case WEFT_OP_RECV:
		return chan && (ld(&chan->count) || chan->closed || queue_live(&chan->senders));
	case WEFT_OP_DONE:
		return weft_ctx_err(c->on) != 0;
	case WEFT_OP_AFTER:
		return c->ns <= 0;
	}
	return false;
}

static uint32_t random_below(struct m *m, uint32_t n)
{
	uint64_t x;

	if (m) {
		struct p *p = ld(&m->p);

		p->chance ^= p->chance << 13;
		p->chance ^= p->chance >> 7;
		p->chance ^= p->chance << 17;
		x = p->chance * 0x9e3779b97f4a7c15ull;
	} else {
		x = rt_tsc() * 0x9e3779b97f4a7c15ull;
		x = (x ^ x >> 32) * 0x9e3779b97f4a7c15ull;
	}
	return (uint32_t)((x >> 32) * n >> 32);
}

/* One of the ready ones, each as likely as the others; -1: none. */
static int choose(struct m *m, const struct select *s)
{
	uint32_t n = 0;
	int chosen = -1;

	for (size_t i = 0; i < s->n; i++)
		if (ready(case_at(s, i)) && (++n == 1 || random_below(m, n) == 0))
			chosen = (int)i;
	return chosen;
}

/* 0, -EPIPE, or -EAGAIN.  *partner: whom it served. */
static int send_now(weft_chan *c, const void *elem, struct waiter **partner)
{
	struct waiter *w;

	if (c->closed)
		return -EPIPE;
	w = queue_win(&c->receivers);
	if (w) {
		if (w->elem)
			copy(w->elem, elem, c->elem_size);
		w->result = 1;
		*partner = w;
		return 0;
	}
	if (ld(&c->count) == c->cap)
		return -EAGAIN;
	buf_put(c, elem);
	return 0;
}

/* 1, 0 closed, or -EAGAIN. */
static int recv_now(weft_chan *c, void *elem, struct waiter **partner)
{
	bool any = ld(&c->count) != 0;
	struct waiter *w;

	if (any)
		buf_take(c, elem);
	w = queue_win(&c->senders);
	if (w) {
		if (any)
			buf_put(c, w->elem); /* the room it waited for */
		else if (elem)
			copy(elem, w->elem, c->elem_size);
		w->result = 0;
		*partner = w;
		return 1;
	}
	if (any)
		return 1;
	return c->closed ? 0 : -EAGAIN;
}

/* What the operation of case i ended with becomes select's answer. */
static int answer(const struct select *s, int i, int result)
{
	const struct weft_case *c = case_at(s, (size_t)i);

	if (c->op == WEFT_OP_RECV && result == 0 && c->elem)
		memset(c->elem, 0, c->size);
	if (c->ok)
		*c->ok = c->op == WEFT_OP_RECV ? result == 1 : result >= 0;
	else if (result < 0)
		return result; /* a send that cannot be: it must not go unseen */
	return i;
}

/* Take a ready case.  The locks are held; dropped, unless it says -EAGAIN: none is ready. */
static int take(struct m *m, struct select *s)
{
	struct waiter *partner = NULL;
	const struct weft_case *c;
	int i, result;

	do {
		i = choose(m, s);
		if (i < 0)
			return -EAGAIN;
		c = case_at(s, (size_t)i);
		result = 0;
		if (c->op == WEFT_OP_SEND)
			result = send_now(chan_of(c), c->elem, &partner);
		else if (c->op == WEFT_OP_RECV)
			result = recv_now(chan_of(c), c->elem, &partner);
	} while (result == -EAGAIN); /* its partner was called off just now */
	unlock_all(&s->held);
	if (partner)
		rt_ready(m, partner->g, 0, RT_READY_NEXT);
	return answer(s, i, result);
}

/* --- Waiting -------------------------------------------------------------------------------------------------------
 */

static struct queue *queue_of(const struct select *s, const struct weft_case *c)
{
	weft_chan *chan = chan_of(c);
	weft_ctx *ctx;

	if (chan)
		return c->op == WEFT_OP_SEND ? &chan->senders : &chan->receivers;
	ctx = ctx_of(s, c);
	return ctx ? &ctx->done : NULL;
}

static void queue_all(struct select *s)
{
	uint64_t number = rt_wait_open(s->g);

	for (size_t i = 0; i < s->n; i++) {
		const struct weft_case *c = case_at(s, i);
		struct queue *q = queue_of(s, c);

		s->waiters[i].result = UNSERVED;
		s->waiters[i].queued = false;
		if (c->op == WEFT_OP_DONE && c->on && !ld(&((const weft_ctx *)c->on)->family))
			st(&s->g->timed, number); /* the end of the instance, which is not its own doing */
		if (!q)
			continue;
		s->waiters[i].g = s->g;
		s->waiters[i].number = number;
		s->waiters[i].elem = c->elem;
		queue_put(q, &s->waiters[i]);
	}
}

/* Which was served?  -1: none. */
static int unqueue_all(struct select *s)
{
	int served = -1;

	lock_all(&s->held);
	for (size_t i = 0; i < s->n; i++) {
		if (s->waiters[i].queued)
			queue_remove(queue_of(s, case_at(s, i)), &s->waiters[i]);
		if (s->waiters[i].result != UNSERVED)
			served = (int)i;
	}
	unlock_all(&s->held);
	return served;
}

/* Nobody served us: the time is over, or the context. */
static int gave_up(const struct select *s, int outcome, int64_t until)
{
	int err = s->g->marks & RT_FOREIGN ? 0 : rt_ctx_err(ld(&s->g->ctx));

	if (outcome == -ETIMEDOUT && s->after >= 0 && (!err || rt_now() >= until))
		return answer(s, s->after, 0);
	for (size_t i = 0; i < s->n; i++)
		if (case_at(s, i)->op == WEFT_OP_DONE && weft_ctx_err(case_at(s, i)->on))
			return answer(s, (int)i, 0);
	return outcome;
}

/* The locks are held, and dropped. */
static int wait(struct m **m, struct select *s)
{
	int64_t until = INT64_MAX, now;
	int outcome, i;

	if (s->after >= 0) {
		now = rt_now();
		until = s->ns > INT64_MAX - now ? INT64_MAX - 1 : now + s->ns;
	}
	queue_all(s);
	if (s->held.n)
		outcome = rt_park_select(m, &s->held, until);
	else if (until != INT64_MAX)
		outcome = rt_park_until(m, RT_WAIT_SELECT, NULL, until);
	else
		outcome = rt_park(m, s->n ? RT_WAIT_SELECT : RT_WAIT_SELECT_NONE, NULL);
	i = unqueue_all(s);
	if (outcome == 0 && i >= 0)
		return answer(s, i, s->waiters[i].result);
	return gave_up(s, outcome, until);
}

static int run(struct select *s, struct waiter *waiters, struct rt_lock **locks)
{
	struct m *m = rt_enter(rt_self());
	int rc;

	s->waiters = waiters;
	s->held.lock = locks;
	s->g = m ? ld(&m->cur) : rt_foreign_g();
	lock_list(s);
	lock_all(&s->held);
	rc = take(m, s);
	if (rc == -EAGAIN) {
		if (s->otherwise >= 0) {
			unlock_all(&s->held);
			rc = answer(s, s->otherwise, 0);
		} else {
			rc = wait(&m, s);
		}
	}
	s->waiters = NULL; /* they were the caller's */
	s->held.lock = NULL;
	if (m)
		rt_leave(m);
	return rc;
}

/* Room for waiters and locks by size, so that a small select takes little of a small stack. */
static RT_NOINLINE int run_small(struct select *s)
{
	struct waiter waiters[SMALL];
	struct rt_lock *locks[SMALL];

	return run(s, waiters, locks);
}
static RT_NOINLINE int run_medium(struct select *s)
{
	struct waiter waiters[MEDIUM];
	struct rt_lock *locks[MEDIUM];

	return run(s, waiters, locks);
}
static RT_NOINLINE int run_large(struct select *s)
{
	struct waiter waiters[WEFT_SELECT_MAX];
	struct rt_lock *locks[WEFT_SELECT_MAX];

	return run(s, waiters, locks);
}

int weft_select_n(const struct weft_case *cases, size_t n, size_t size)
{
	struct select s = { .cases = (const char *)cases, .stride = size, .n = n, .otherwise = -1, .after = -1 };
	int rc;

	if (size != sizeof *cases || (n && !cases))
		return -EINVAL;
	if (n > WEFT_SELECT_MAX)
		return -E2BIG;
	rc = check(&s);
	if (rc < 0)
		return rc;
	if (n <= SMALL)
		return run_small(&s);
	return n <= MEDIUM ? run_medium(&s) : run_large(&s);
}
