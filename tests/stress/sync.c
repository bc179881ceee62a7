/* sync.c - shapes around locks, wait groups, once and the semaphore under them.
 *
 * What a lock guards is plain memory, so that ThreadSanitizer sees whether it does.  These waits are not
 * called off by a context: in a doomed graph they end because whoever holds the lock goes on. */
#include <stdlib.h>

#include "shapes.h"

/* The words that locks and groups live by (the first of each) are zero whenever nobody uses them. */
static bool untouched(const void *lock, size_t size)
{
	const unsigned char *p = lock;

	for (size_t i = 0; i < size; i++)
		if (p[i])
			return false;
	return true;
}

/* --- Counter: mutexes, one or two at a time, some unlocked by another goroutine -------------------------- */

#define COUNTERS 5

struct counter {
	struct guarded {
		weft_mutex lock;
		uint64_t n; /* under lock */
		bool inside;
	} c[COUNTERS];
	unsigned n_counters, per;
	_Atomic uint64_t added;
};

static void counter_lock(struct actor *a, struct guarded *c)
{
	if (rnd_one_in(&a->rng, 3)) {
		for (unsigned tries = rnd_in(&a->rng, 1, 20); tries > 0; tries--) {
			if (weft_trylock(&c->lock))
				goto locked;
			nudge(a);
		}
	}
	weft_lock(&c->lock);
locked:
	if (c->inside)
		fail(a->gr, "two hold one mutex");
	c->inside = true;
}

static void counter_unlock(struct guarded *c)
{
	c->n++;
	c->inside = false;
	weft_unlock(&c->lock);
}

/* Whoever takes the lock over; also when it could not be started. */
static void counter_take_over(struct actor *a)
{
	nudge(a);
}
static void counter_let_go(struct actor *a)
{
	struct counter *s = a->gr->state;

	counter_unlock(&s->c[a->n]);
}

static void counter_add(struct actor *a)
{
	struct counter *s = a->gr->state;

	for (unsigned i = 0; i < s->per; i++) {
		unsigned one = rnd_in(&a->rng, 0, s->n_counters - 1), two = rnd_in(&a->rng, 0, s->n_counters - 1);
		bool both = one < two && rnd_one_in(&a->rng, 3); /* in order: no deadlock */

		counter_lock(a, &s->c[one]);
		if (both)
			counter_lock(a, &s->c[two]);
		if (rnd_one_in(&a->rng, 4))
			nudge(a);
		atomic_fetch_add(&s->added, 1 + both);
		if (both)
			counter_unlock(&s->c[two]);
		if (i == 0 && rnd_one_in(&a->rng, 4))
			actor_start(a->gr, a, (struct cast){ counter_take_over, counter_let_go, one, NULL, false });
		else
			counter_unlock(&s->c[one]);
		nudge(a);
	}
}

static void counter_make(struct graph *gr)
{
	struct counter *s = gr->state;
	unsigned n = rnd_in(&gr->rng, 1, scaled(60));

	s->n_counters = rnd_in(&gr->rng, 1, COUNTERS);
	s->per = rnd_in(&gr->rng, 1, scaled(rnd_one_in(&gr->rng, 5) ? 1500 : 100));
	graph_room(gr, 2 * n);
	for (unsigned i = 0; i < n; i++)
		actor_start(gr, NULL, (struct cast){ counter_add, NULL, i, NULL, a_few(gr) });
}

static void counter_check(struct graph *gr)
{
	struct counter *s = gr->state;
	uint64_t sum = 0;

	for (unsigned i = 0; i < s->n_counters; i++) {
		if (!untouched(&s->c[i].lock, sizeof s->c[i].lock._[0]))
			fail(gr, "mutex %u is not free after its last unlock", i);
		sum += s->c[i].n;
	}
	if (sum != s->added)
		fail(gr, "counted to %llu with %llu increments", (unsigned long long)sum, (unsigned long long)s->added);
}

const struct shape counter_shape = { "counter", sizeof(struct counter), counter_make, counter_check };

/* --- Phase: a wait group in memory that goes away with the wait; several waiters -------------------------- */

#define PHASE_WORKERS 12

struct phase {
	unsigned leaders, rounds;
};

/* One use of a wait group. */
struct lap {
	weft_wg wg;
	unsigned workers;
	uint64_t made[PHASE_WORKERS]; /* by worker, before it is done */
	_Atomic unsigned waiting;     /* who have not returned from their wait */
};

static void phase_work(struct actor *a)
{
	struct lap *l = a->p;

	nudge(a);
	l->made[a->n] = a->n + 1;
}

static void phase_done(struct actor *a)
{
	struct lap *l = a->p;

	weft_wg_done(&l->wg);
}

static void phase_wait(struct actor *a)
{
	struct lap *l = a->p;

	weft_wg_wait(&l->wg);
	for (unsigned i = 0; i < l->workers; i++)
		if (l->made[i] != i + 1 && !(a->gr->doomed && l->made[i] == 0))
			fail(a->gr, "a wait group's wait ended before worker %u", i);
}

/* The last to come out frees it. */
static void phase_waited(struct actor *a)
{
	struct lap *l = a->p;

	if (atomic_fetch_sub(&l->waiting, 1) != 1)
		return;
	if (!untouched(&l->wg, sizeof l->wg))
		fail(a->gr, "a wait group is not zero after its last wait");
	free(l);
}

static void phase_lead(struct actor *a)
{
	struct phase *s = a->gr->state;

	for (unsigned r = 0; r < s->rounds; r++) {
		struct lap *l = must_alloc(sizeof *l);
		unsigned more = rnd_one_in(&a->rng, 3) ? rnd_in(&a->rng, 1, 3) : 0;

		l->workers = rnd_in(&a->rng, 1, PHASE_WORKERS);
		l->waiting = more + 1;
		weft_wg_add(&l->wg, (int)l->workers);
		for (unsigned i = 0; i < more; i++)
			actor_start(a->gr, a, (struct cast){ phase_wait, phase_waited, 0, l, false });
		for (unsigned i = 0; i < l->workers; i++)
			actor_start(a->gr, a, (struct cast){ phase_work, phase_done, i, l, false });
		nudge(a);
		a->p = l;
		phase_wait(a);
		phase_waited(a);
	}
}

static void phase_make(struct graph *gr)
{
	struct phase *s = gr->state;

	s->leaders = rnd_in(&gr->rng, 1, scaled(12));
	s->rounds = rnd_in(&gr->rng, 1, scaled(20));
	graph_room(gr, s->leaders * (1 + s->rounds * (PHASE_WORKERS + 3)));
	for (unsigned i = 0; i < s->leaders; i++)
		actor_start(gr, NULL, (struct cast){ phase_lead, NULL, i, NULL, a_few(gr) });
}

static void phase_check(struct graph *gr)
{
	(void)gr; /* the waiters have checked, and every worker is accounted for */
}

const struct shape phase_shape = { "phase", sizeof(struct phase), phase_make, phase_check };

/* --- Once -------------------------------------------------------------------------------------------------- */

#define ONCES 8

struct once {
	weft_once once[ONCES];
	unsigned calls[ONCES], per;
};

struct once_call {
	struct actor *a;
	unsigned i;
};

static void once_first(void *arg)
{
	struct once_call *call = arg;
	struct once *s = call->a->gr->state;

	nudge(call->a);
	s->calls[call->i]++;
	nudge(call->a);
}

static void once_do(struct actor *a)
{
	struct once *s = a->gr->state;

	for (unsigned n = 0; n < s->per; n++) {
		struct once_call call = { a, rnd_in(&a->rng, 0, ONCES - 1) };

		weft_once_do(&s->once[call.i], once_first, &call);
		if (s->calls[call.i] != 1)
			fail(a->gr, "after weft_once_do() there were %u calls", s->calls[call.i]);
		nudge(a);
	}
}

static void once_make(struct graph *gr)
{
	struct once *s = gr->state;
	unsigned n = rnd_in(&gr->rng, 1, scaled(80));

	s->per = rnd_in(&gr->rng, 1, 20);
	graph_room(gr, n);
	for (unsigned i = 0; i < n; i++)
		actor_start(gr, NULL, (struct cast){ once_do, NULL, i, NULL, a_few(gr) });
}

static void once_check(struct graph *gr)
{
	struct once *s = gr->state;

	for (unsigned i = 0; i < ONCES; i++)
		if (s->calls[i] > 1)
			fail(gr, "a once was called %u times", s->calls[i]);
}

const struct shape once_shape = { "once", sizeof(struct once), once_make, once_check };

/* --- Sema: at most so many inside; all permits are back in the end ------------------------------------------ */

#define SEMAS 3

struct sema {
	struct inside_sema sema[SEMAS];
	unsigned permits[SEMAS], per;
	_Atomic unsigned inside[SEMAS];
};

static void sema_use(struct actor *a)
{
	struct sema *s = a->gr->state;

	for (unsigned n = 0; n < s->per; n++) {
		unsigned i = rnd_in(&a->rng, 0, SEMAS - 1);

		inside_sema_acquire(&s->sema[i], rnd_one_in(&a->rng, 4));
		if (atomic_fetch_add(&s->inside[i], 1) >= s->permits[i])
			fail(a->gr, "more than %u have got a permit", s->permits[i]);
		nudge(a);
		atomic_fetch_sub(&s->inside[i], 1);
		inside_sema_release(&s->sema[i], rnd_one_in(&a->rng, 3));
		nudge(a);
	}
}

static void sema_make(struct graph *gr)
{
	struct sema *s = gr->state;
	unsigned n = rnd_in(&gr->rng, 1, scaled(50));

	s->per = rnd_in(&gr->rng, 1, scaled(80));
	for (unsigned i = 0; i < SEMAS; i++)
		s->sema[i].count = s->permits[i] = rnd_in(&gr->rng, 1, 5);
	graph_room(gr, n);
	for (unsigned i = 0; i < n; i++)
		actor_start(gr, NULL, (struct cast){ sema_use, NULL, i, NULL, a_few(gr) });
}

static void sema_check(struct graph *gr)
{
	struct sema *s = gr->state;

	for (unsigned i = 0; i < SEMAS; i++)
		if (s->sema[i].count != s->permits[i])
			fail(gr, "%u of %u permits are back", s->sema[i].count, s->permits[i]);
}

const struct shape sema_shape = { "sema", sizeof(struct sema), sema_make, sema_check };
