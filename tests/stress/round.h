/* round.h - a round: some graphs at the same time, and what pulls at the scheduler meanwhile. */
#ifndef WEFT_TESTS_ROUND_H
#define WEFT_TESTS_ROUND_H

#include "stress.h"

#define GRAPHS_MAX 6
#define SHAPES_MAX 64

struct totals {
	uint64_t epochs, rounds, actors, refused, threads, steps, revoked, cancels, snapshots, samples;
	uint64_t by_shape[SHAPES_MAX];
};
void totals_print(const struct totals *t);

struct round {
	uint64_t number, rng;
	struct graph graphs[GRAPHS_MAX];
	_Atomic unsigned n_graphs; /* made; the watchdog looks at them */
	weft_inst *living, *doomed;

	/* threads of the round: main thread, but for stop and what each counts */
	_Atomic bool stop;
	pthread_t revoker, watcher, canceller;
	bool has_revoker, has_watcher, has_canceller;
	uint64_t revoker_rng, revoked, snapshots, samples;
	unsigned revoker_pause_us, cancel_after_us;
};
struct round *round_new(uint64_t seed, uint64_t number, const char *only);
void round_make(struct round *r);
void round_wait(struct round *r); /* until all goroutines are gone */
void round_check(struct round *r);
void round_free(struct round *r, struct totals *t);

/* For struct weft_host_opts: names of functions in dumps. */
size_t round_symbol(uintptr_t pc, char *buf, size_t cap);

#endif
