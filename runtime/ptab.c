/* ptab.c - tables of sums behind the cumulative profiles.
 *
 * Append-only and lock-free, as the stack table: a key that is in keeps its entry for ever.
 *
 *   slots    open addressing, linear; {hash:32, entry:32}, 0 free, set once by CAS
 *   entries  key and sums; a key is constant once `ready` is set, sums are atomic adds
 *
 * Nobody takes a lock, allocates or makes a system call here, and no line of memory is written by every event: what
 * is shared is the entry of one stack, which is touched by sampled events alone.  So it may be called inside malloc().
 *
 * Bounded: the event that finds the table full is counted in entry 0.  Two threads that put the same new key at once
 * may both take an entry; the one whose CAS comes second uses the other's, its own stays zero and is not shown. */
#include "ptab.h"

#include "rt.h"
#include "sys.h"

int rt_ptab_start(struct rt_ptab *t)
{
	struct rt_ptab_entry *e;

	if (ld(&t->entries))
		return 0;
	t->slots = rt_map(2 * (size_t)t->cap * sizeof *t->slots);
	e = rt_map((size_t)t->cap * sizeof *e);
	if (!t->slots || !e) {
		if (t->slots)
			rt_unmap(t->slots, 2 * (size_t)t->cap * sizeof *t->slots);
		if (e)
			rt_unmap(e, (size_t)t->cap * sizeof *e);
		return -ENOMEM;
	}
	st(&e[0].ready, 1);
	st(&t->n, 1);
	st_rel(&t->entries, e); /* pairs with the acquires of those who look */
	return 0;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 29;
}

static bool is(const struct rt_ptab_entry *e, const struct rt_ptab_key *k)
{
	return e->stack == k->stack && e->instance == k->instance && e->labels == k->labels && e->extra == k->extra;
}

/* A fresh entry for the key, or 0. */
static uint32_t entry_new(struct rt_ptab *t, struct rt_ptab_entry *e, const struct rt_ptab_key *k)
{
	uint32_t i = ld(&t->n);

	do {
		if (i >= t->cap)
			return 0;
	} while (!cas(&t->n, &i, i + 1));
	e[i].extra = k->extra;
	e[i].stack = k->stack;
	e[i].instance = k->instance;
	e[i].labels = k->labels;
	st_rel(&e[i].ready, 1); /* pairs with the acquire in rt_ptab_next() */
	return i;
}

uint32_t rt_ptab_at(struct rt_ptab *t, struct rt_ptab_key key)
{
	struct rt_ptab_entry *e = ld_acq(&t->entries); /* pairs with the release in rt_ptab_start() */
	uint64_t hash = mix(mix(mix(key.extra, key.stack), key.instance), key.labels);
	uint32_t tag = (uint32_t)(hash >> 32), mine = 0, size = 2 * t->cap;

	if (unlikely(!e))
		return 0;
	for (uint32_t i = (uint32_t)hash % size, tries = 0; tries < size; i = (i + 1) % size, tries++) {
		uint64_t v = ld_acq(&t->slots[i]); /* pairs with the CAS below */

		if (!v) {
			if (!mine && !(mine = entry_new(t, e, &key)))
				return 0;
			if (cas(&t->slots[i], &v, (uint64_t)tag << 32 | mine))
				return mine;
		}
		if (v >> 32 == tag && is(&e[(uint32_t)v], &key))
			return (uint32_t)v;
	}
	return 0;
}

/* --- Reading ----------------------------------------------------------------------------------- */

/* The sums, latest first; false: all zero. */
static bool sums(struct rt_ptab_entry *e, struct weft_prof_sample *out)
{
	uint64_t any = 0;

	for (int i = WEFT_PROF_VALUES; i--;) {
		out->value[i] = (int64_t)ld_acq(&e->v[i]); /* pairs with the release in rt_ptab_add() */
		any |= (uint64_t)out->value[i];
	}
	return any != 0;
}

bool rt_ptab_next(struct rt_ptab *t, uint32_t *at, struct weft_prof_sample *out)
{
	struct rt_ptab_entry *e = ld_acq(&t->entries); /* pairs with the release in rt_ptab_start() */
	uint32_t n = e ? ld(&t->n) : 0;

	for (; *at < n; ++*at) {
		struct rt_ptab_entry *x = &e[*at];

		if (!ld_acq(&x->ready) || !sums(x, out)) /* pairs with the release in entry_new() */
			continue;
		out->overflow = *at == 0;
		out->instance = x->instance;
		out->extra = x->extra;
		out->reason = NULL;
		out->depth = weft_read_stack(x->stack, out->pc, WEFT_STACK_MAX);
		rt_labels_kept(x->labels, &out->labels);
		++*at;
		return true;
	}
	return false;
}

uint32_t rt_ptab_count(const struct rt_ptab *t)
{
	uint32_t n = ld(&t->n);

	return n ? n - 1 : 0;
}
