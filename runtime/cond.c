/* cond.c - conditions and semaphores: what waits there can be called off, so it has queues of its own.
 *
 * Both lie in a plugin's memory and are ready when zero; their lock's rank is the first there is, and nothing of
 * the runtime's is held when it is taken.  Waiters lie on their goroutines' stacks, in order of arrival; whoever
 * serves one wins its wait.  A waiter that was called off unlinks itself.
 *
 * cond: the waiter is queued before the mutex is unlocked, and parks after: so a signal in between finds it, not
 * parked yet, and only leaves a mark.  A signal is never lost to a waiter that was called off: that one's wait word
 * is closed, and the signal goes on to the next.
 *
 * semaphore: first come, first served; a large request at the head keeps small ones behind it waiting. */
#include "rt.h"

struct sleeper {
	struct sleeper *next, *prev;
	struct g *g;
	uint64_t number;
	int64_t n;     /* semaphore: how many it wants */
	bool queued;   /* on the list */
	bool parked;   /* cond: its wait is open */
	bool signaled; /* cond: before it parked */
};

struct list {
	struct sleeper *first, *last;
};

struct cond {
	struct rt_lock lock;
	struct list waiting;
};
_Static_assert(sizeof(struct cond) <= sizeof(weft_cond), "weft_cond holds a condition");

struct sem {
	struct rt_lock lock;
	int64_t permits;
	struct list waiting;
};
_Static_assert(sizeof(struct sem) <= sizeof(weft_sem), "weft_sem holds a semaphore");

static void list_put(struct list *l, struct sleeper *s)
{
	s->prev = l->last;
	s->next = NULL;
	*(l->last ? &l->last->next : &l->first) = s;
	l->last = s;
	s->queued = true;
}

static void list_remove(struct list *l, struct sleeper *s)
{
	*(s->prev ? &s->prev->next : &l->first) = s->next;
	*(s->next ? &s->next->prev : &l->last) = s->prev;
	s->queued = false;
}

static struct g *self_g(struct m *m)
{
	return m ? ld(&m->cur) : rt_foreign_g();
}

/* --- Condition ---------------------------------------------------------------------------------------------- */

/* Queued and unlocked: wait until signaled or called off. */
static int cond_sleep(struct cond *x, struct sleeper *s)
{
	struct m *m = rt_enter(rt_self());
	int rc = 0;

	rt_lock(&x->lock);
	if (s->signaled) {
		rt_unlock(&x->lock);
	} else {
		s->g = self_g(m);
		s->number = rt_wait_open(s->g);
		s->parked = true;
		rc = rt_park(&m, RT_WAIT_COND, &x->lock);
		if (rc < 0) {
			rt_lock(&x->lock);
			if (s->queued)
				list_remove(&x->waiting, s);
			rt_unlock(&x->lock);
		}
	}
	if (m)
		rt_leave(m);
	return rc;
}

int weft_cond_wait(weft_cond *c, weft_mutex *m)
{
	struct cond *x = (struct cond *)c;
	struct sleeper s = { 0 };
	int rc;

	rt_lock(&x->lock);
	list_put(&x->waiting, &s);
	rt_unlock(&x->lock);
	weft_unlock(m);
	rc = cond_sleep(x, &s);
	weft_lock(m);
	return rc;
}

/* Let up to n go.  Who already parked is chained for readying: by `prev`, as it is off the list. */
static void cond_wake(struct cond *x, uint64_t n)
{
	struct m *m = rt_enter(rt_self());
	struct sleeper *s, *woken = NULL, **end = &woken;

	rt_lock(&x->lock);
	while (n && (s = x->waiting.first) != NULL) {
		list_remove(&x->waiting, s);
		if (!s->parked) {
			s->signaled = true;
			n--;
		} else if (rt_wait_win(s->g, s->number)) {
			s->prev = NULL;
			*end = s;
			end = &s->prev;
			n--;
		}
	}
	rt_unlock(&x->lock);
	while (woken) {
		s = woken;
		woken = s->prev; /* before it runs: it lies on its stack */
		rt_ready(m, s->g, 0, RT_READY_QUEUE);
	}
	if (m)
		rt_leave(m);
}

void weft_cond_signal(weft_cond *c)
{
	cond_wake((struct cond *)c, 1);
	RT_KEEP_FRAME();
}

void weft_cond_broadcast(weft_cond *c)
{
	cond_wake((struct cond *)c, UINT64_MAX);
	RT_KEEP_FRAME();
}

/* --- Semaphore --------------------------------------------------------------------------------------------------- */

/* The lock is held, and dropped: serve from the head what the permits reach for. */
static void sem_serve(struct m *m, struct sem *x)
{
	struct sleeper *s, *woken = NULL, **end = &woken;

	while ((s = x->waiting.first) != NULL && s->n <= x->permits) {
		list_remove(&x->waiting, s);
		if (!rt_wait_win(s->g, s->number))
			continue;
		x->permits -= s->n;
		s->prev = NULL;
		*end = s;
		end = &s->prev;
	}
	rt_unlock(&x->lock);
	while (woken) {
		s = woken;
		woken = s->prev;
		rt_ready(m, s->g, 0, RT_READY_QUEUE);
	}
}

void weft_sem_init(weft_sem *s, int64_t permits)
{
	struct sem *x = (struct sem *)s;

	if (permits < 0)
		rt_fatal("weft_sem_init: a negative number of permits");
	*x = (struct sem){ .permits = permits };
}

static int sem_acquire(struct m **m, struct sem *x, int64_t n, bool wait)
{
	struct sleeper s = { .n = n };
	int rc;

	rt_lock(&x->lock);
	if (!x->waiting.first && x->permits >= n) {
		x->permits -= n;
		rt_unlock(&x->lock);
		return 0;
	}
	if (!wait) {
		rt_unlock(&x->lock);
		return -EAGAIN;
	}
	s.g = self_g(*m);
	s.number = rt_wait_open(s.g);
	list_put(&x->waiting, &s);
	rc = rt_park(m, RT_WAIT_SEMAPHORE, &x->lock);
	if (rc == 0)
		return 0;
	rt_lock(&x->lock);
	if (s.queued)
		list_remove(&x->waiting, &s);
	sem_serve(*m, x); /* we may have stood in others' way */
	return rc;
}

int weft_sem_acquire(weft_sem *s, int64_t n)
{
	struct m *m;
	int rc;

	if (n <= 0)
		return -EINVAL;
	m = rt_enter(rt_self());
	rc = sem_acquire(&m, (struct sem *)s, n, true);
	if (m)
		rt_leave(m);
	return rc;
}

int weft_sem_try_acquire(weft_sem *s, int64_t n)
{
	struct m *m = NULL;

	return n <= 0 ? -EINVAL : sem_acquire(&m, (struct sem *)s, n, false);
}

void weft_sem_release(weft_sem *s, int64_t n)
{
	struct sem *x = (struct sem *)s;
	struct m *m;

	if (n <= 0)
		rt_fatal("weft_sem_release: not a positive number of permits");
	m = rt_enter(rt_self());
	rt_lock(&x->lock);
	if (__builtin_add_overflow(x->permits, n, &x->permits))
		rt_fatal("weft_sem_release: more permits than can be counted");
	sem_serve(m, x);
	if (m)
		rt_leave(m);
}
