/* pprof_impl.h - the builder's inside, shared by pprof.c (collects), pprof_encode.c (the message) and
 * text.c (debug=1).
 *
 * Addresses are kept as call addresses.  A stack is an array of numbers into loc; equal (stack, labels)
 * is one sample.  Everything of variable length lives in the arena. */
#ifndef WEFT_PROTO_PPROF_IMPL_H
#define WEFT_PROTO_PPROF_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include "frame.h"
#include "gz.h"
#include "mapping.h"
#include "pprof.h"
#include "store.h"

#define PPROF_LABELS_MAX (WEFT_LABELS_MAX + 3) /* the goroutine's own and ours */

struct pprof_loc {
	uint64_t call;
	uint32_t id;     /* in the message; 0: not in it yet */
	struct frames v; /* n 0: not looked up yet */
};
/* By key; text is key, NUL, value, NUL, ... in UTF-8. */
struct pprof_labels {
	uint32_t n, len;
	char text[];
};
struct pprof_sample {
	const uint32_t *loc; /* leaf first */
	const struct pprof_labels *labels;
	uint32_t depth;
	int64_t bytes; /* numeric label, 0: none */
	int64_t value[PPROF_VALUES];
};
struct pprof_function {
	uint64_t entry;             /* 0: of an inlined one */
	int64_t name, system, file; /* numbers of strings */
	int start_line;
};

/* A merge sort that can be left and resumed. */
struct pprof_sort {
	uint32_t *order, *spare;
	uint32_t n, width, at; /* runs of width are sorted; up to `at` they are merged in spare */
	bool done;
};

struct pprof_encoder;
struct pprof {
	struct pprof_spec spec; /* strings in the arena */
	struct arena arena;

	struct pprof_loc *loc;
	uint32_t n_loc, cap_loc;
	struct index loc_index;

	struct pprof_sample *sample;
	uint32_t n_sample, cap_sample;
	struct index sample_index;
	int64_t total[PPROF_VALUES];

	const struct pprof_labels **labels;
	uint32_t n_labels, cap_labels;
	struct index labels_index;
	struct buf scratch; /* labels of the sample being added */

	const char **comment;
	uint32_t n_comment, cap_comment;

	struct pprof_sort sort; /* samples by value descending */
	struct pprof_encoder *enc;
	uint32_t n_prepared; /* locations whose frames are known */
	struct {
		int stage;
		uint32_t at;
	} text;
};

/* The words for a location, looked up once: all functions that stand there, and the one that others may
 * have been inlined into. */
struct frames pprof_frames(struct pprof *p, uint32_t loc);
const struct frame *pprof_frame(struct pprof *p, uint32_t loc);
/* Find the words for all locations a little further.  1: call again; 0: they are there. */
int pprof_frames_step(struct pprof *p, int64_t until);
/* Sort the samples a little further.  1: call again; 0: p->sort.order is the order; -ENOMEM. */
int pprof_sort_step(struct pprof *p);
void pprof_encoder_free(struct pprof_encoder *e);
/* CLOCK_MONOTONIC ns. */
int64_t pprof_now(void);

#endif
