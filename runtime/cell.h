/* cell.h - small records that stale pointers may be followed to (cell.c). */
#ifndef WEFT_RT_CELL_H
#define WEFT_RT_CELL_H

#include "base.h"

enum rt_cell_kind {
	RT_CELL_CTX,
	RT_CELL_TIMER,
	RT_CELL_TASK,
	RT_CELL_REGIONS,
	RT_CELL_KINDS,
};
#define RT_CELL_SIZE 256u
#define RT_CELLS_MAX 32u

/* A P's own stock: no lock. */
struct rt_cells {
	uint32_t n;
	void *cell[RT_CELLS_MAX];
};

/* m: the caller's M in the runtime, or NULL.  NULL: no memory.  A cell comes as its last user left it, at first
 * zeroed. */
void *rt_cell_take(struct m *m, enum rt_cell_kind kind);
void rt_cell_give(struct m *m, enum rt_cell_kind kind, void *cell);

#endif
