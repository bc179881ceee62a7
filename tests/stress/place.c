/* place.c - where goroutines run: locked to a thread, in blocking sections, on a number of Ps that changes. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "shapes.h"

#define PROCS_MOST 8

struct place {
	weft_chan *meet; /* between locked ones and others */
	weft_mutex lock;
	uint64_t n; /* under lock */
	unsigned per;
	_Atomic uint64_t steps;
};

static bool place_step(struct actor *a)
{
	struct place *s = a->gr->state;
	uint64_t v = 1;
	int rc = 0;

	switch (rnd_in(&a->rng, 0, 5)) {
	case 0:
		weft_lock(&s->lock);
		nudge(a);
		s->n++;
		weft_unlock(&s->lock);
		atomic_fetch_add(&s->steps, 1);
		break;
	case 1: /* one of two that come, whichever is first, finds nobody: it goes on after a while */
	case 2: {
		struct weft_case cases[] = {
			{ .op = a->n % 2 ? WEFT_OP_SEND : WEFT_OP_RECV, .on = s->meet, .elem = &v, .size = sizeof v },
			{ .op = WEFT_OP_AFTER, .ns = rnd_in(&a->rng, 0, 300000) },
		};

		rc = weft_select_n(cases, 2, sizeof *cases);
		break;
	}
	case 3:
		WEFT_BLOCKING
		{
			nanosleep(&(struct timespec){ .tv_nsec = rnd_in(&a->rng, 1, 300000) }, NULL);
		}
		break;
	case 4:
		weft_yield();
		break;
	default:
		rc = weft_sleep(rnd_in(&a->rng, 0, 200000));
	}
	if (rc < 0 && !called_off(a, rc))
		fail(a->gr, "a wait says %d", rc);
	nudge(a);
	return rc >= 0;
}

/* One in three returns locked, and its thread ends. */
static void place_locked(struct actor *a)
{
	const struct place *s = a->gr->state;
	unsigned locks = rnd_in(&a->rng, 1, 3);
	pid_t tid;

	for (unsigned i = 0; i < locks; i++)
		weft_lock_thread();
	tid = gettid();
	for (unsigned i = 0; i < s->per; i++) {
		bool on = place_step(a);

		if (gettid() != tid)
			fail(a->gr, "a goroutine that is locked to thread %d runs on %d", tid, gettid());
		if (!on)
			break;
	}
	if (rnd_one_in(&a->rng, 3))
		return;
	for (unsigned i = 0; i < locks; i++)
		weft_unlock_thread();
	nudge(a);
}

static void place_free(struct actor *a)
{
	const struct place *s = a->gr->state;

	for (unsigned i = 0; i < s->per && place_step(a); i++)
		;
}

static void place_procs(struct actor *a)
{
	for (unsigned n = rnd_in(&a->rng, 1, 30); n > 0; n--) {
		int rc = weft_maxprocs((int)rnd_in(&a->rng, 1, PROCS_MOST));

		if (rc < 1 || weft_maxprocs(0) < 1)
			fail(a->gr, "weft_maxprocs: %d", rc);
		nudge(a);
		if (weft_sleep(rnd_in(&a->rng, 0, 500000)) < 0)
			return;
	}
}

static void place_make(struct graph *gr)
{
	struct place *s = gr->state;
	unsigned locked = rnd_in(&gr->rng, 0, 8), others = rnd_in(&gr->rng, 1, scaled(20));
	unsigned procs = rnd_one_in(&gr->rng, 2) ? rnd_in(&gr->rng, 1, 2) : 0;

	s->per = rnd_in(&gr->rng, 1, scaled(60));
	s->meet = weft_chan_new(sizeof(uint64_t), rnd_in(&gr->rng, 0, 2));
	graph_room(gr, locked + others + procs);
	for (unsigned i = 0; i < locked; i++)
		actor_start(gr, NULL, (struct cast){ .fn = place_locked, .n = i });
	for (unsigned i = 0; i < others; i++)
		actor_start(gr, NULL, (struct cast){ .fn = place_free, .n = i, .foreign = a_few(gr) });
	for (unsigned i = 0; i < procs; i++)
		actor_start(gr, NULL, (struct cast){ .fn = place_procs, .n = i, .foreign = a_few(gr) });
}

static void place_check(struct graph *gr)
{
	struct place *s = gr->state;

	weft_chan_free(s->meet);
	if (s->n != s->steps)
		fail(gr, "counted to %llu with %llu increments", (unsigned long long)s->n,
		     (unsigned long long)s->steps);
}

const struct shape place_shape = { "place", sizeof(struct place), place_make, place_check };
