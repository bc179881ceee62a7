/* shapes.h - the shapes of flow.c, talk.c, sync.c, life.c, wait.c, over.c, wire.c and place.c; what they share. */
#ifndef WEFT_TESTS_SHAPES_H
#define WEFT_TESTS_SHAPES_H

#include "stress.h"

extern const struct shape mesh_shape, pipe_shape, ring_shape;                   /* flow.c */
extern const struct shape ask_shape, gate_shape, nil_shape;                     /* talk.c */
extern const struct shape counter_shape, phase_shape, once_shape, sema_shape;   /* sync.c */
extern const struct shape tree_shape, sleep_shape, burst_shape;                 /* life.c */
extern const struct shape choose_shape, shelf_shape, store_shape, permit_shape; /* wait.c */
extern const struct shape limit_shape, team_shape, timer_shape, local_shape;    /* over.c */
extern const struct shape wire_shape;                                           /* wire.c */
extern const struct shape place_shape;                                          /* place.c */

/* n, or less where a sanitizer makes everything slow. */
static inline unsigned scaled(unsigned n)
{
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
	return n / 5 + 3;
#else
	return n;
#endif
}

/* Shall the next actor be a foreign thread?  They are dear, so there are few. */
static inline bool a_few(struct graph *gr)
{
	return rnd_one_in(&gr->rng, 24);
}

#endif
