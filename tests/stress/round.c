/* round.c - see round.h.
 *
 * Instances can't be used again once they are cancelled, and there may be only so many in a process: when
 * DOOMED_MAX have been used up the later rounds have none. */
#include "round.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "symbols.h"

#include <weft_host.h>

#define DOOMED_MAX 3900

static const struct mood moods[] = {
	{ "bare", 0 }, { "quiet", 8 }, { "even", 64 }, { "busy", 160 }, { "frantic", 256 },
};

size_t round_symbol(uintptr_t pc, char *buf, size_t cap)
{
	return symbols_name(pc, buf, cap);
}

static void pause_us(unsigned us)
{
	nanosleep(&(struct timespec){ .tv_nsec = (long)us * 1000 }, NULL);
}

/* --- Threads of a round ------------------------------------------------------------------------------------- */

static void *revoke(void *arg)
{
	struct round *r = arg;

	while (!atomic_load(&r->stop)) {
		r->revoked += inside_revoke(&r->revoker_rng);
		if (r->revoker_pause_us)
			pause_us(rnd_in(&r->revoker_rng, 0, r->revoker_pause_us));
	}
	return NULL;
}

static void *watch(void *arg)
{
	struct round *r = arg;
	bool samples = r->number % 2 && inside_sampler(true);

	while (!atomic_load(&r->stop)) {
		inside_snapshot();
		r->snapshots++;
		r->samples += samples ? inside_samples() : 0;
		pause_us(500);
	}
	if (samples) {
		(void)inside_sampler(false);
		r->samples += inside_samples();
	}
	return NULL;
}

static void *cancel(void *arg)
{
	struct round *r = arg;

	if (r->cancel_after_us)
		pause_us(r->cancel_after_us);
	weft_inst_cancel(r->doomed);
	return NULL;
}

static void start(pthread_t *t, bool *has, void *(*fn)(void *), struct round *r)
{
	if (pthread_create(t, NULL, fn, r) != 0)
		fail(NULL, "a thread of the round could not be started");
	*has = true;
}

static void stop(pthread_t t, bool has)
{
	if (has)
		pthread_join(t, NULL);
}

/* --- Making ---------------------------------------------------------------------------------------------------- */

static weft_inst *living(void)
{
	static weft_inst *inst;

	if (!inst && !(inst = weft_inst_new("living")))
		fail(NULL, "no instance");
	return inst;
}

static weft_inst *doomed(void)
{
	static unsigned used;
	weft_inst *inst;

	if (used == DOOMED_MAX)
		return NULL;
	used++;
	inst = weft_inst_new("doomed");
	if (!inst)
		fail(NULL, "no %u-th instance", used);
	return inst;
}

static const struct shape *pick_shape(uint64_t *rng, const char *only)
{
	unsigned n = 0;

	while (shapes[n]) {
		if (only && strcmp(shapes[n]->name, only) == 0)
			return shapes[n];
		n++;
	}
	return shapes[rnd_in(rng, 0, n - 1)];
}

struct round *round_new(uint64_t seed, uint64_t number, const char *only)
{
	struct round *r = must_alloc(sizeof *r);
	unsigned n;

	r->number = number;
	r->rng = rnd_mix(seed, number);
	r->living = living();
	n = rnd_in(&r->rng, 1, GRAPHS_MAX);
	if (rnd_one_in(&r->rng, 3))
		r->doomed = doomed();
	for (unsigned i = 0; i < n; i++) {
		struct graph *gr = &r->graphs[i];

		gr->number = i;
		gr->shape = pick_shape(&r->rng, only);
		gr->rng = rnd_mix(rnd(&r->rng), i);
		gr->mood = moods[rnd_in(&r->rng, 0, sizeof moods / sizeof *moods - 1)];
		gr->doomed = rnd_one_in(&r->rng, 2) && r->doomed;
		gr->inst = gr->doomed ? r->doomed : r->living;
		gr->state = must_alloc(gr->shape->state_size);
	}
	return r;
}

void round_make(struct round *r)
{
	unsigned n = 0;

	(void)symbols_update(); /* for the dump of a failure: without it there are addresses */
	if (rnd_one_in(&r->rng, 2)) {
		r->revoker_rng = rnd_mix(r->rng, 2);
		r->revoker_pause_us = rnd_one_in(&r->rng, 3) ? rnd_in(&r->rng, 0, 20) : rnd_in(&r->rng, 20, 1000);
		start(&r->revoker, &r->has_revoker, revoke, r);
	}
	if (rnd_one_in(&r->rng, 4))
		start(&r->watcher, &r->has_watcher, watch, r);
	if (r->doomed) {
		r->cancel_after_us = rnd_one_in(&r->rng, 3) ? rnd_in(&r->rng, 0, 100) : rnd_in(&r->rng, 0, 20000);
		start(&r->canceller, &r->has_canceller, cancel, r);
	}
	while (n < GRAPHS_MAX && r->graphs[n].shape) {
		struct graph *gr = &r->graphs[n++];

		weft_wg_add(&gr->done, 1);
		gr->shape->make(gr);
		atomic_store(&r->n_graphs, n);
		weft_wg_done(&gr->done);
	}
}

/* --- The end ----------------------------------------------------------------------------------------------------- */

static void wait_gone(weft_inst *inst)
{
	while (inst && weft_inst_live(inst))
		pause_us(50); /* the watchdog sees to it when that takes too long */
}

void round_wait(struct round *r)
{
	for (unsigned i = 0; i < r->n_graphs; i++)
		graph_wait(&r->graphs[i]);
	wait_gone(r->living);
	wait_gone(r->doomed);
	atomic_store(&r->stop, true);
	stop(r->revoker, r->has_revoker);
	stop(r->watcher, r->has_watcher);
	stop(r->canceller, r->has_canceller);
}

void round_check(struct round *r)
{
	inside_check_quiet();
	for (unsigned i = 0; i < r->n_graphs; i++) {
		graph_account(&r->graphs[i]);
		r->graphs[i].shape->check(&r->graphs[i]);
	}
}

void round_free(struct round *r, struct totals *t)
{
	t->rounds++;
	t->revoked += r->revoked;
	t->snapshots += r->snapshots;
	t->samples += r->samples;
	t->cancels += r->has_canceller;
	for (unsigned i = 0; i < r->n_graphs; i++) {
		struct graph *gr = &r->graphs[i];

		for (unsigned k = 0; k < gr->n_actors; k++) {
			t->steps += gr->actors[k].steps;
			t->refused += gr->actors[k].refused;
			t->threads += gr->actors[k].foreign;
		}
		t->actors += gr->n_actors;
		for (unsigned k = 0; shapes[k]; k++)
			t->by_shape[k] += shapes[k] == gr->shape;
		free(gr->actors);
		free(gr->state);
	}
	free(r);
}

void totals_print(const struct totals *t)
{
	dprintf(1,
		"%llu epochs, %llu rounds, %llu actors (%llu threads, %llu refused), %llu steps, "
		"%llu revocations, %llu cancelled instances, %llu snapshots, %llu samples\n",
		(unsigned long long)t->epochs, (unsigned long long)t->rounds, (unsigned long long)t->actors,
		(unsigned long long)t->threads, (unsigned long long)t->refused, (unsigned long long)t->steps,
		(unsigned long long)t->revoked, (unsigned long long)t->cancels, (unsigned long long)t->snapshots,
		(unsigned long long)t->samples);
	for (unsigned i = 0; shapes[i]; i++)
		dprintf(1, "%s%s %llu", i ? ", " : "", shapes[i]->name, (unsigned long long)t->by_shape[i]);
	dprintf(1, "\n");
}
