/* group.c - error groups: goroutines that end together; the first error cancels the rest.
 *
 * A group has a context of its own, below the one it was made with, that its goroutines carry; a wait group that
 * counts them; a semaphore where they are limited; and the first error, won by CAS.  It is used by its maker until
 * freed, which waits for them: so they never outlive it. */
#include <stdlib.h>

#include "rt.h"

struct weft_group {
	weft_ctx *ctx;
	weft_wg wg;
	_Atomic int error;
	int limit;     /* 0: none */
	weft_sem room; /* when limited */
	struct rt_owned owned;
};

struct member {
	weft_group *group;
	int (*fn)(void *arg);
	void *arg;
};

weft_group *weft_group_new(weft_ctx *parent, int limit)
{
	weft_group *g = limit < 0 ? NULL : calloc(1, sizeof *g);

	if (!g)
		return NULL;
	g->ctx = weft_ctx_new(parent, WEFT_FOREVER);
	if (!g->ctx) {
		free(g);
		return NULL;
	}
	g->limit = limit;
	weft_sem_init(&g->room, limit);
	rt_own(&g->owned, RT_OWNED_GROUP);
	return g;
}

/* Its context is freed with all others. */
void rt_group_drop(struct rt_owned *o)
{
	free((char *)o - offsetof(struct weft_group, owned));
}

weft_ctx *weft_group_ctx(weft_group *g)
{
	return g ? g->ctx : NULL;
}

static void run_member(void *arg)
{
	const struct member *me = arg;
	weft_group *g = me->group;
	int rc = me->fn(me->arg), none = 0;

	if (rc < 0 && cas(&g->error, &none, rc))
		weft_ctx_cancel(g->ctx);
	if (g->limit)
		weft_sem_release(&g->room, 1);
}

int weft_group_go(weft_group *g, int (*fn)(void *arg), void *arg)
{
	struct member me = { g, fn, arg };
	struct weft_go_opts opts = { .size = sizeof opts, .arg_size = sizeof me, .ctx = g->ctx };
	const struct rt_origin origin = { .start = (weft_fn)(void *)fn }; /* never called as one */
	struct rt_go_args go = { .fn = run_member,
				 .arg = &me,
				 .opts = &opts,
				 .wg = &g->wg,
				 .frame = __builtin_frame_address(0),
				 .origin = &origin };
	struct m *m;
	int rc;

	if (!fn)
		return -EINVAL;
	if (g->limit) {
		rc = weft_sem_acquire(&g->room, 1);
		if (rc < 0)
			return rc;
	}
	weft_wg_add(&g->wg, 1);
	m = rt_enter(rt_self());
	rc = rt_go(m, g->ctx->inst, &go);
	if (m)
		rt_leave(m);
	if (rc < 0) {
		weft_wg_done(&g->wg);
		if (g->limit)
			weft_sem_release(&g->room, 1);
	}
	return rc;
}

int weft_group_wait(weft_group *g)
{
	weft_wg_wait(&g->wg);
	return ld_acq(&g->error);
}

int weft_group_free(weft_group *g)
{
	int rc;

	if (!g)
		return 0;
	weft_ctx_cancel(g->ctx);
	rc = weft_group_wait(g);
	rt_disown(&g->owned);
	weft_ctx_free(g->ctx);
	free(g);
	return rc;
}
