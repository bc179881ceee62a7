/* gotrace_state.c - the tables of goroutines, Ps and threads of a trace. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gotrace_impl.h"

bool gt_has_g_seq(const struct weft_rec *r)
{
	switch (r->event) {
	case WEFT_EV_GO_CREATE:
	case WEFT_EV_GO_START:
	case WEFT_EV_GO_DESTROY:
	case WEFT_EV_GO_YIELD:
	case WEFT_EV_GO_BLOCK:
	case WEFT_EV_GO_UNBLOCK:
	case WEFT_EV_REATTACH:
		return true;
	}
	return false;
}

/* That of the goroutine or P. */
uint32_t gt_seq(const struct weft_rec *r)
{
	return r->event == WEFT_EV_GO_CREATE ? 0 : r->seq;
}

bool gt_wants(const struct gotrace *t, uint64_t id, uint32_t instance)
{
	return (!t->opts.g || t->opts.g == id) && (!t->opts.passes || t->opts.passes(t->opts.user, instance));
}

bool gt_has_p_seq(const struct weft_rec *r)
{
	switch (r->event) {
	case WEFT_EV_PROC_START:
	case WEFT_EV_PROC_STOP:
	case WEFT_EV_SYSCALL_BEGIN:
	case WEFT_EV_SYSCALL_END:
	case WEFT_EV_PROC_STEAL:
	case WEFT_EV_HANDOFF:
		return true;
	}
	return false;
}

int gt_g_counts(const struct weft_rec *r)
{
	return r->event == WEFT_EV_GO_START || r->event == WEFT_EV_GO_UNBLOCK ||
	       (r->event == WEFT_EV_REATTACH && !(r->flags & 1));
}

int gt_p_counts(const struct weft_rec *r)
{
	if (r->event == WEFT_EV_HANDOFF)
		return 2;
	return r->event == WEFT_EV_PROC_START || r->event == WEFT_EV_SYSCALL_BEGIN || r->event == WEFT_EV_PROC_STEAL;
}

/* --- Goroutines ------------------------------------------------------------------------------------ */

static struct gt_g **bucket(const struct gotrace *t, uint64_t id)
{
	return &t->buckets[hash_u64(0, id) & (t->n_buckets - 1)];
}

struct gt_g *gt_g_find(const struct gotrace *t, uint64_t id)
{
	struct gt_g *g = t->n_buckets ? *bucket(t, id) : NULL;

	while (g && g->id != id)
		g = g->next;
	return g;
}

static int grow(struct gotrace *t)
{
	struct gt_g **old = t->buckets;
	uint32_t n = t->n_buckets;

	if (t->n_gs < n)
		return 0;
	t->n_buckets = n ? 2 * n : 256;
	t->buckets = calloc(t->n_buckets, sizeof *t->buckets);
	if (!t->buckets) {
		t->buckets = old;
		t->n_buckets = n;
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < n; i++) {
		for (struct gt_g *g = old[i], *next; g; g = next) {
			struct gt_g **to = bucket(t, g->id);

			next = g->next;
			g->next = *to;
			*to = g;
		}
	}
	free(old);
	return 0;
}

struct gt_g *gt_g_get(struct gotrace *t, uint64_t id)
{
	struct gt_g *g = gt_g_find(t, id), **to;

	if (g)
		return g;
	g = t->free;
	if (g)
		t->free = g->next;
	else
		g = arena_alloc(&t->arena, sizeof *g);
	if (!g || grow(t) < 0) {
		t->failed = 1;
		return NULL;
	}
	to = bucket(t, id);
	*g = (struct gt_g){ .id = id, .next = *to, .wanted = !t->opts.passes && (!t->opts.g || t->opts.g == id) };
	*to = g;
	t->n_gs++;
	return g;
}

void gt_g_end(struct gotrace *t, struct gt_g *g)
{
	struct gt_g **at = bucket(t, g->id);

	gt_said_forget(t, g);
	gt_samples_gone(t, g);
	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	g->next = t->free;
	t->free = g;
	t->n_gs--;
}

bool gt_each_g(struct gotrace *t, void (*fn)(struct gotrace *, struct gt_g *), int64_t budget)
{
	while (t->at.i < t->n_buckets) {
		for (struct gt_g *g = t->buckets[t->at.i]; g; g = g->next)
			fn(t, g);
		if (++t->at.i % GT_PORTION == 0 && gt_is_over(budget))
			return false;
	}
	t->at.i = 0;
	return true;
}

/* --- Ps and threads --------------------------------------------------------------------------------- */

struct gt_p *gt_p_get(struct gotrace *t, uint32_t id)
{
	if (id >= GT_P_MAX)
		return NULL;
	if (!t->p[id]) {
		t->p[id] = arena_alloc(&t->arena, sizeof *t->p[id]);
		if (!t->p[id]) {
			t->failed = 1;
			return NULL;
		}
		t->p[id]->id = id;
	}
	return t->p[id];
}

static struct gt_m *m_new(struct gotrace *t, int64_t tid)
{
	struct gt_m *m = arena_alloc(&t->arena, sizeof *m);

	if (!m || array_room(&t->m, t->n_ms, &t->cap_ms, sizeof *t->m) < 0) {
		t->failed = 1;
		return NULL;
	}
	m->tid = tid;
	t->m[t->n_ms++] = m;
	return m;
}

/* tid 0 is the foreign stream's, -1 nobody's. */
struct gt_m *gt_m_get(struct gotrace *t, int tid)
{
	struct gt_m *m;

	if (tid == 0 && t->foreign)
		return t->foreign;
	for (uint32_t i = 0; i < t->n_ms; i++)
		if (t->m[i]->tid == tid && t->m[i] != t->foreign)
			return t->m[i];
	m = m_new(t, tid ? tid : t->opts.host);
	if (tid == 0)
		t->foreign = m;
	else if (tid == -1)
		t->nobody = m;
	return m;
}

void gt_states_free(struct gotrace *t)
{
	for (uint32_t i = 0; i < t->n_ms; i++)
		buf_free(&t->m[i]->b);
	free(t->m);
	free(t->buckets);
}
