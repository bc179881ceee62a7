/* rlook.c - see rlook.h. */
#include "rlook.h"

#include <string.h>
#include <unistd.h>

#include "rt.h"

_Atomic uint32_t look_started;
_Atomic bool look_stop;
_Atomic long look_sink;
weft_chan *look_never;

void look_end(void)
{
	st(&look_stop, true);
	weft_inst_cancel(inst);
	rtest_wait_gone();
	rtest_end();
}

void look_go(weft_fn fn, void *arg)
{
	ck_assert_int_eq(weft_go_in(inst, fn, arg), 0);
}

void look_await(uint32_t n)
{
	for (int64_t until = weft_now() + PATIENCE; ld_acq(&look_started) < n;) {
		ck_assert_msg(weft_now() < until, "%u of %u started", ld(&look_started), n);
		(void)usleep(500);
	}
}

NOINLINE void wait_here(void *arg)
{
	(void)arg;
	(void)add_sc(&look_started, 1);
	(void)weft_chan_recv(look_never, NULL, 1);
	look_sink++;
}

NOINLINE void spin_here(void *arg)
{
	(void)arg;
	(void)add_sc(&look_started, 1);
	while (!ld(&look_stop))
		look_sink++;
}

bool passes(const struct weft_goroutine *g, void *function)
{
	for (int i = 0; i < g->depth; i++) {
		bool exact = i == 0 && (g->flags & WEFT_GF_EXACT);

		if (weft_read_func_start(g->pc[i] - !exact) == (uintptr_t)function)
			return true;
	}
	return false;
}

int compare_ids(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Look at everybody; keep those whose stack holds `function` or which started there. */
void look(struct seen *s, void *function)
{
	static __thread struct weft_goroutine g;
	static __thread uint64_t ids[20000];
	struct weft_snapshot *snap = weft_snapshot_new();

	ck_assert_ptr_nonnull(snap);
	memset(s, 0, sizeof *s);
	while (weft_snapshot_next(snap, &g)) {
		ck_assert_int_lt(s->all, 20000);
		ck_assert_uint_ne(g.id, 0);
		ids[s->all++] = g.id;
		if (s->n < 64 && (g.start == (uintptr_t)function || passes(&g, function)))
			s->g[s->n++] = g;
	}
	ck_assert_int_eq(weft_snapshot_next(snap, &g), 0);
	weft_snapshot_free(snap);
	qsort(ids, (size_t)s->all, sizeof *ids, compare_ids);
	for (int i = 1; i < s->all; i++)
		ck_assert_uint_ne(ids[i - 1], ids[i]);
}

bool rooted(const struct weft_goroutine *g)
{
	return g->depth && g->pc[g->depth - 1] == (uintptr_t)rt_g_entry_call;
}
