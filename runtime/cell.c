/* cell.c - cells: small records that are never given back to the system, only reused for the same kind.
 *
 * So an entry in a timer heap may point at one that is long gone, and a reader may look at the context of a
 * goroutine that has moved on: what they find is a record of that kind, and a number in it tells whether it
 * still is the one they mean.  Whoever reuses a cell must leave such numbers and the cell's lock in place.
 *
 * Each P keeps a stock; what is too many or too few there goes in halves to and from a list that all share,
 * under a lock of rank CELL. */
#include "rt.h"
#include "sys.h"

#define CHUNK (64u * 1024)
#define HALF (RT_CELLS_MAX / 2)

static struct {
	RT_CACHED struct rt_lock lock;
	/* under lock */
	void **cells; /* free ones */
	size_t n, cap;
	char *fresh, *fresh_end; /* never used */
} shared[RT_CELL_KINDS] = {
	[RT_CELL_CTX] = { .lock = RT_LOCK_INIT(CELL) },
	[RT_CELL_TIMER] = { .lock = RT_LOCK_INIT(CELL) },
	[RT_CELL_TASK] = { .lock = RT_LOCK_INIT(CELL) },
	[RT_CELL_REGIONS] = { .lock = RT_LOCK_INIT(CELL) },
};

_Static_assert(sizeof(struct weft_ctx) <= RT_CELL_SIZE, "a context fits a cell");

/* Under the lock. */
static void *shared_take(enum rt_cell_kind kind)
{
	void *cell;

	if (shared[kind].n)
		return shared[kind].cells[--shared[kind].n];
	if (shared[kind].fresh == shared[kind].fresh_end) {
		char *chunk = rt_map(CHUNK);

		if (!chunk)
			return NULL;
		shared[kind].fresh = chunk;
		shared[kind].fresh_end = chunk + CHUNK;
	}
	cell = shared[kind].fresh;
	shared[kind].fresh += RT_CELL_SIZE;
	return cell;
}

/* Under the lock.  No memory for the list: the cell is lost, 256 bytes of a process that has none left. */
static void shared_give(enum rt_cell_kind kind, void *cell)
{
	if (shared[kind].n == shared[kind].cap) {
		size_t bytes = shared[kind].cap * sizeof(void *);
		void *cells = bytes ? rt_remap(shared[kind].cells, bytes, 2 * bytes) : rt_map(RT_PAGE);

		if (!cells)
			return;
		shared[kind].cells = cells;
		shared[kind].cap = (bytes ? 2 * bytes : RT_PAGE) / sizeof(void *);
	}
	shared[kind].cells[shared[kind].n++] = cell;
}

void *rt_cell_take(struct m *m, enum rt_cell_kind kind)
{
	struct rt_cells *own = m ? &ld(&m->p)->cells[kind] : NULL;
	void *cell;

	if (likely(own && own->n))
		return own->cell[--own->n];
	rt_lock(&shared[kind].lock);
	cell = shared_take(kind);
	while (cell && own && own->n < HALF) {
		void *more = shared_take(kind);

		if (!more)
			break;
		own->cell[own->n++] = more;
	}
	rt_unlock(&shared[kind].lock);
	return cell;
}

void rt_cell_give(struct m *m, enum rt_cell_kind kind, void *cell)
{
	struct rt_cells *own = m ? &ld(&m->p)->cells[kind] : NULL;

	if (likely(own && own->n < RT_CELLS_MAX)) {
		own->cell[own->n++] = cell;
		return;
	}
	rt_lock(&shared[kind].lock);
	shared_give(kind, cell);
	while (own && own->n > HALF)
		shared_give(kind, own->cell[--own->n]);
	rt_unlock(&shared[kind].lock);
}
