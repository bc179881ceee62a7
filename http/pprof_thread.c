/* pprof_thread.c - /debug/pprof/threadcreate: which stacks have started threads, with a label that says why. */
#include "server.h"

#include <errno.h>
#include <stdlib.h>

static int prepare(struct snapshot *s)
{
	if (!s->state)
		s->state = malloc(sizeof(struct weft_prof_sample));
	return s->state ? 0 : -ENOMEM;
}

static int next(struct snapshot *s)
{
	struct weft_prof_sample *x = s->state;
	struct pprof_extra extra = { .key = "reason" };

	if (!weft_read_prof(WEFT_PROF_THREADS, &s->at, x))
		return 0;
	extra.value = x->reason;
	return snapshot_add_prof(s, x, &extra, x->value) < 0 ? -ENOMEM : 1;
}

static void drop(struct snapshot *s)
{
	free(s->state);
}

static size_t count(void)
{
	struct weft_prof_sample x;
	size_t n = 0;

	for (uint32_t at = 0; weft_read_prof(WEFT_PROF_THREADS, &at, &x);)
		n += (size_t)x.value[0];
	return n;
}

const struct snapshot_kind threadcreate_kind = {
	.name = "threadcreate",
	.help = "Stacks that have started threads, since the start; the label reason says what for.",
	.spec = { .sample = { { "threadcreate", "count" } },
		  .n_sample = 1,
		  .period_type = { "threadcreate", "count" },
		  .period = 1 },
	.form = TEXT_COUNT,
	.prepare = prepare,
	.next = next,
	.drop = drop,
	.count = count,
};
