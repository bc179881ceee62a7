/* stress.h - random goroutine graphs on a random schedule: what the parts of the stress program share.
 *
 * An epoch is one start and stop of the runtime with a random number of Ps.  It has rounds; a round runs a
 * few graphs at the same time, in one instance that lives on and one that is doomed: cancelled while its
 * graphs run.  A graph is an instance of a shape (shapes.c lists them): its actors are goroutines and
 * foreign threads, its state says what must hold when all of them have ended.
 *
 *	stress.c   command line, epochs, the watchdog, failing
 *	round.c    a round: its graphs, its threads that revoke Ps, take snapshots, cancel
 *	actor.c    starting actors in every way there is, accounting for each
 *	nudge.c    what an actor does between two steps: yields, sleeps, spins, labels, deep stacks, sections, pins
 *	inside.c   what knows the runtime's inside: revocations, semaphores, labels
 *	line.c     a channel whose tokens are accounted for one by one
 *	flow.c talk.c sync.c life.c wait.c over.c wire.c place.c   the shapes
 *
 * Everything random comes from (seed, round) and, per actor, from its place in the graph: the same seed
 * gives the same graphs; only the schedule differs. */
#ifndef WEFT_TESTS_STRESS_H
#define WEFT_TESTS_STRESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft.h>

struct actor;
struct graph;

/* --- Random numbers (actor.c) --- */

uint64_t rnd(uint64_t *state);
uint64_t rnd_mix(uint64_t a, uint64_t b); /* a state: never 0 */
/* lo ... hi, both included */
static inline unsigned rnd_in(uint64_t *state, unsigned lo, unsigned hi)
{
	return lo + (unsigned)((rnd(state) >> 16) % ((uint64_t)hi - lo + 1));
}
static inline bool rnd_one_in(uint64_t *state, unsigned n)
{
	return rnd_in(state, 1, n) == 1;
}

/* --- Shapes --- */

struct shape {
	const char *name;
	size_t state_size; /* of graph->state, zeroed */
	/* On the main thread: fill the state, say how many actors there can be, start the first. */
	void (*make)(struct graph *gr);
	/* On the main thread when all actors have ended: what must hold.  Frees what make() took. */
	void (*check)(struct graph *gr);
};
extern const struct shape *const shapes[]; /* ended by NULL */

/* How much is done between two steps, 0: nothing ... 256: always. */
struct mood {
	const char *name;
	unsigned nudge;
};

struct graph {
	const struct shape *shape;
	unsigned number; /* in its round */
	struct mood mood;
	weft_inst *inst;
	bool doomed;
	uint64_t rng; /* main thread only */
	void *state;
	weft_wg done; /* an actor each, and the main thread while it makes the graph */
	struct actor *actors;
	unsigned max_actors;
	_Atomic unsigned n_actors;
};

/* --- Actors (actor.c) --- */

struct actor {
	struct graph *gr;
	void (*fn)(struct actor *a);
	/* Give up what the actor holds in the graph: after fn(), or by its starter when it could not be
	 * started because the instance is over.  May be NULL. */
	void (*leave)(struct actor *a);
	struct actor *parent; /* NULL: started by the main thread or a foreign thread */
	uint64_t rng;
	unsigned n; /* n, p, result: between the shape and its actors */
	void *p;
	uint64_t result;

	bool foreign;
	bool by_wg;        /* weft_wg_go() says when it is done */
	bool mortal;       /* it carries a context of the shape's, which may end at any time */
	unsigned n_labels; /* pushed by itself */
	uint64_t goid;
	pthread_t thread;
	_Atomic unsigned begun, ended, refused;
	_Atomic uint64_t steps; /* by itself; the watchdog adds them up */
};

/* How many actors there can be; before the first is started. */
void graph_room(struct graph *gr, unsigned max);
void *must_alloc(size_t size); /* zeroed */

struct cast {
	void (*fn)(struct actor *a);
	void (*leave)(struct actor *a);
	unsigned n;
	void *p;
	bool foreign; /* a thread that is no goroutine */
};
/* Start an actor; by: the actor that does it, or NULL on the main thread.  When the graph's instance, or the
 * context of a mortal starter, is over it may be refused: then leave() is called, and the result is NULL. */
struct actor *actor_start(struct graph *gr, struct actor *by, struct cast cast);
/* All actors have ended, every one exactly once; foreign threads are joined. */
void graph_wait(struct graph *gr);
void graph_account(struct graph *gr);

/* rc of a wait that may be called off: true when a is to give up; fails unless that is in order. */
bool called_off(const struct actor *a, int rc);

/* --- Between two steps (nudge.c) --- */

void nudge(struct actor *a);

/* --- The inside (inside.c) --- */

/* Take the P of a random M and let another go on with it; true: there was one to take. */
bool inside_revoke(uint64_t *rng);
/* A look at all goroutines: none is there twice. */
void inside_snapshot(void);
/* Sample the CPU meanwhile; false: not in this variant. */
bool inside_sampler(bool on);
uint64_t inside_samples(void); /* taken since the last call */
/* Counting semaphores as the runtime has them under its locks. */
struct inside_sema {
	_Atomic uint32_t count;
};
void inside_sema_acquire(struct inside_sema *s, bool lifo);
void inside_sema_release(struct inside_sema *s, bool next); /* next: a hand-over */
/* Labels of the calling goroutine; false: it has none. */
bool inside_label(const char *key, char value[128]);
/* Nothing of the runtime is left over once all goroutines are gone: no waiter, no one on a queue. */
void inside_check_quiet(void);

/* --- Failing (stress.c) --- */

/* Says what is wrong, the seed and the round, and ends in abort(), at which the runtime prints all
 * goroutines.  From any thread. */
void fail(const struct graph *gr, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));

#endif
