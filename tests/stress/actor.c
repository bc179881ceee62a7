/* actor.c - actors: started in every way there is, each accounted for exactly once.
 *
 * A slot of graph->actors is taken by an atomic count and never given back, so that at the end every slot
 * was either refused or has begun once and ended once.  Who starts one keeps graph->done above zero
 * meanwhile: an actor is counted there before it is started. */
#include "stress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

uint64_t rnd_mix(uint64_t a, uint64_t b)
{
	uint64_t x = (a ^ b * 0x9e3779b97f4a7c15ull) + 0x632be59bd9b4e019ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	x ^= x >> 31;
	return x ? x : 1;
}

void *must_alloc(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p)
		fail(NULL, "no memory for %zu bytes", size);
	return p;
}

void graph_room(struct graph *gr, unsigned max)
{
	gr->max_actors = max;
	gr->actors = must_alloc(max * sizeof *gr->actors);
}

/* --- On the actor itself --- */

static void end(struct actor *a)
{
	struct graph *gr = a->gr;
	bool by_wg = a->by_wg;

	if (a->leave)
		a->leave(a);
	if (weft_goid() != a->goid)
		fail(gr, "an actor began as goroutine %llu and ends as %llu", (unsigned long long)a->goid,
		     (unsigned long long)weft_goid());
	for (; a->n_labels; a->n_labels--)
		weft_label_pop();
	if (atomic_fetch_add(&a->ended, 1) != 0)
		fail(gr, "an actor has ended twice");
	if (!by_wg)
		weft_wg_done(&gr->done);
}

static void live(void *arg)
{
	struct actor *a = arg;

	if (atomic_fetch_add(&a->begun, 1) != 0)
		fail(a->gr, "an actor was started twice");
	if (!a->foreign && weft_instance_self() != a->gr->inst)
		fail(a->gr, "a goroutine is in the wrong instance");
	a->goid = weft_goid();
	if (!a->foreign == !a->goid)
		fail(a->gr, "goroutine id %llu", (unsigned long long)a->goid);
	a->fn(a);
	end(a);
}

static void *live_foreign(void *arg)
{
	live(arg);
	return NULL;
}

/* What weft_go_with() has to copy to the new stack, at any size. */
struct parcel {
	struct actor *a;
	size_t size;
	unsigned char fill[WEFT_ARG_MAX - sizeof(struct actor *) - sizeof(size_t)];
};

static void live_parcel(void *arg)
{
	struct parcel *p = arg;

	for (size_t i = offsetof(struct parcel, fill); i < p->size; i++)
		if (((unsigned char *)p)[i] != (unsigned char)(i + p->size))
			fail(p->a->gr, "byte %zu of a copied argument of %zu is wrong", i, p->size);
	live(p->a);
}

/* --- Starting one --- */

static int go_parcel(struct actor *a)
{
	struct parcel p;

	p.a = a;
	p.size = rnd_in(&a->rng, offsetof(struct parcel, fill),
			rnd_one_in(&a->rng, 8) ? sizeof p : offsetof(struct parcel, fill) + 64);
	for (size_t i = offsetof(struct parcel, fill); i < p.size; i++)
		((unsigned char *)&p)[i] = (unsigned char)(i + p.size);
	return weft_go_with(live_parcel, &p,
			    &(struct weft_go_opts){ .size = sizeof(struct weft_go_opts),
						    .name = rnd_one_in(&a->rng, 2) ? "parcel" : NULL,
						    .arg_size = p.size });
}

/* The caller is a goroutine of the instance, or has entered it. */
static int go_here(struct actor *a)
{
	int rc;

	switch (rnd_in(&a->rng, 0, 3)) {
	case 0:
		return weft_go(live, a);
	case 1:
		return go_parcel(a);
	case 2:
		return weft_go_in(a->gr->inst, live, a);
	default:
		a->by_wg = true;
		rc = weft_wg_go(&a->gr->done, live, a);
		if (rc == 0)
			weft_wg_done(&a->gr->done); /* it is counted there a second time */
		return rc;
	}
}

static int go_from_outside(struct actor *a)
{
	int rc;

	if (rnd_one_in(&a->rng, 2))
		return weft_go_in(a->gr->inst, live, a);
	rc = weft_enter(a->gr->inst);
	if (rc < 0)
		fail(a->gr, "weft_enter: %s", weft_strerror(rc));
	rc = go_here(a);
	weft_leave();
	return rc;
}

static int start_thread(struct actor *a)
{
	pthread_attr_t attr;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	rc = pthread_create(&a->thread, &attr, live_foreign, a);
	pthread_attr_destroy(&attr);
	if (rc != 0)
		fail(a->gr, "pthread_create: %s", weft_strerror(-rc));
	return 0;
}

struct actor *actor_start(struct graph *gr, struct actor *by, struct cast cast)
{
	unsigned i = atomic_fetch_add(&gr->n_actors, 1);
	struct actor *a = &gr->actors[i];
	int rc;

	if (i >= gr->max_actors)
		fail(gr, "more than %u actors", gr->max_actors);
	a->gr = gr;
	a->fn = cast.fn;
	a->leave = cast.leave;
	a->n = cast.n;
	a->p = cast.p;
	a->foreign = cast.foreign;
	a->parent = by && !by->foreign ? by : NULL;
	a->mortal = a->parent && by->mortal && !a->foreign; /* it inherits the context */
	a->rng = by ? rnd_mix(by->rng, rnd(&by->rng)) : rnd_mix(gr->rng, rnd(&gr->rng));
	weft_wg_add(&gr->done, 1);
	rc = a->foreign ? start_thread(a) : a->parent ? go_here(a) : go_from_outside(a);
	if (rc == 0)
		return a;
	if (!(rc == -ECANCELED && gr->doomed) && !(by && by->mortal && rc == weft_ctx_err(weft_ctx_self())))
		fail(gr, "a goroutine could not be started: %s", weft_strerror(rc));
	atomic_store(&a->refused, 1);
	if (a->leave)
		a->leave(a);
	weft_wg_done(&gr->done);
	return NULL;
}

/* --- The end of a graph --- */

void graph_wait(struct graph *gr)
{
	weft_wg_wait(&gr->done);
	for (unsigned i = 0; i < gr->n_actors; i++)
		if (gr->actors[i].foreign)
			pthread_join(gr->actors[i].thread, NULL);
}

void graph_account(struct graph *gr)
{
	for (unsigned i = 0; i < gr->n_actors; i++) {
		const struct actor *a = &gr->actors[i];

		if (a->begun != !a->refused || a->ended != !a->refused)
			fail(gr, "actor %u: begun %u times, ended %u times, refused %u times", i, a->begun, a->ended,
			     a->refused);
	}
}

bool called_off(const struct actor *a, int rc)
{
	if (rc != -ECANCELED && !(rc == -ETIMEDOUT && a->mortal))
		return false;
	if (a->foreign)
		fail(a->gr, "the wait of a thread that is no goroutine was called off");
	if (!a->gr->doomed && !a->mortal)
		fail(a->gr, "a wait was called off in an instance that lives");
	if (weft_ctx_err(weft_ctx_self()) != rc && !(a->gr->doomed && a->mortal && weft_ctx_err(weft_ctx_self())))
		fail(a->gr, "a wait was called off by %d before the context was over", rc);
	return true;
}
