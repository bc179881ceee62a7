/* ptab.h - the cumulative profiles: tables of {stack, instance, labels, extra} -> up to four sums (ptab.c). */
#ifndef WEFT_RT_PTAB_H
#define WEFT_RT_PTAB_H

#include "base.h"

#include "weft_read.h"

/* What an event is counted under.  stack 0: none is known (its place is kept by instance and labels all the same). */
struct rt_ptab_key {
	uint32_t stack;    /* rt_stack_here(), rt_stack_intern() */
	uint32_t instance; /* its number; 0: the runtime itself */
	uint32_t labels;   /* rt_labels_keep(); 0: none */
	uint64_t extra;    /* whatever else tells events apart: a size, a reason */
};

struct rt_ptab_entry {
	/* constant once ready is set */
	uint64_t extra;
	uint32_t stack, instance, labels;
	_Atomic uint32_t ready;
	_Atomic uint64_t v[WEFT_PROF_VALUES];
};

struct rt_ptab {
	uint32_t cap; /* entries, a power of two; constant */
	_Atomic(struct rt_ptab_entry *) entries;
	_Atomic uint64_t *slots;
	RT_CACHED _Atomic uint32_t n; /* entries given out; entry 0 is the overflow bucket */
};
/* A table starts without memory and is empty until rt_ptab_start(), which maps what it may need at most:
 * pages that are never touched cost nothing. */
#define RT_PTAB(entries_)                                                                                              \
	{                                                                                                              \
		.cap = (entries_)                                                                                      \
	}
int rt_ptab_start(struct rt_ptab *t); /* once; 0 or -ENOMEM */

/* The entry for a key; 0, the overflow bucket, when the table is full or not started.  It stays valid for ever, so
 * that the other half of a pair of events (a free) can be counted without a look-up. */
uint32_t rt_ptab_at(struct rt_ptab *t, struct rt_ptab_key key);
/* Add to value i of an entry.  Who adds to several goes from the first to the last, readers look from the last to
 * the first: so a reader never sees the later of two without the earlier. */
static inline void rt_ptab_add(struct rt_ptab *t, uint32_t entry, unsigned i, uint64_t v)
{
	struct rt_ptab_entry *e = ld_acq(&t->entries); /* pairs with the release in rt_ptab_start() */

	if (likely(e))
		(void)atomic_fetch_add_explicit(&e[entry].v[i], v, memory_order_release);
}

/* Fill *out with the next entry from *at on that is not all zero, and move *at behind it; false: none left.  Starts
 * with *at 0.  Labels and stack are resolved. */
bool rt_ptab_next(struct rt_ptab *t, uint32_t *at, struct weft_prof_sample *out);
uint32_t rt_ptab_count(const struct rt_ptab *t); /* keys ever seen */

/* A label set that the caller's goroutine carries (or whose name has not yet come to rest) is copied to where it
 * stays for good.  The number of its copy; 0: no labels, or no more room for this instance (counted). */
uint32_t rt_labels_keep(uint64_t name, uint32_t instance);
void rt_labels_kept(uint32_t kept, struct weft_labels *out);
int rt_labels_keep_start(void);
void rt_labels_keep_counters(struct weft_counters *out);
#define RT_KEPT_PER_INSTANCE 1000
#define RT_LABEL_ROOM (12 * 1024) /* of stack, which copying them needs */

/* --- The profiles (prof_store.c) --- */

int rt_prof_start(void);
void rt_wait_prof_start(void);                      /* prof_wait.c */
extern struct rt_ptab rt_prof_threads;              /* values: threads; extra: enum rt_thread_reason */
extern struct rt_ptab rt_prof_block, rt_prof_mutex; /* values: events << RT_PROF_SHIFT, ns */
#define RT_PROF_SHIFT 16                            /* an event may stand for a fraction more than one */

#endif
