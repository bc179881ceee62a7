/* prof_store.c - the cumulative profiles there are, and how they are read.
 *
 * Each is a table of ptab.h that its own file writes: prof_wait.c (block, mutex), heap.c, prof_thread.c. */
#include <string.h>

#include "heap.h"
#include "prof_thread.h"

#define STACKS (1u << 16) /* a profile: 4 MiB when it is full */

struct rt_ptab rt_prof_threads = RT_PTAB(1u << 12);
struct rt_ptab rt_prof_block = RT_PTAB(STACKS), rt_prof_mutex = RT_PTAB(STACKS);

static struct rt_ptab *const tables[WEFT_PROF_N] = {
	[WEFT_PROF_BLOCK] = &rt_prof_block,
	[WEFT_PROF_MUTEX] = &rt_prof_mutex,
	[WEFT_PROF_HEAP] = &rt_heap_tab,
	[WEFT_PROF_THREADS] = &rt_prof_threads,
};

int rt_prof_start(void)
{
	int rc = rt_labels_keep_start();

	for (int i = 0; rc == 0 && i < WEFT_PROF_N; i++)
		rc = rt_ptab_start(tables[i]);
	return rc;
}

/* Events back to whole ones, rounded down, but never to none. */
static void whole_events(int64_t *v)
{
	*v = *v >> RT_PROF_SHIFT ? *v >> RT_PROF_SHIFT : *v > 0;
}

/* What lies between the public function and where it was counted says nothing: the leaf becomes that function. */
static void trim(struct weft_prof_sample *s)
{
	int skip = 0;

	while (skip + 1 < s->depth && weft_read_is_runtime(s->pc[skip + 1] - 1))
		skip++;
	s->depth -= skip;
	memmove(s->pc, s->pc + skip, (size_t)s->depth * sizeof *s->pc);
}

bool weft_read_prof(enum weft_prof which, uint32_t *at, struct weft_prof_sample *out)
{
	if (!rt_ptab_next(tables[which], at, out))
		return false;
	if (which == WEFT_PROF_BLOCK || which == WEFT_PROF_MUTEX) {
		whole_events(&out->value[0]);
		trim(out);
	} else if (which == WEFT_PROF_HEAP && out->depth && weft_read_is_runtime(out->pc[0] - 1)) {
		trim(out);
	} else if (which == WEFT_PROF_THREADS) {
		out->reason = rt_thread_reason(out->extra);
	}
	return true;
}

size_t weft_read_prof_count(enum weft_prof which)
{
	return rt_ptab_count(tables[which]);
}
