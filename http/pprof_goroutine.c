/* pprof_goroutine.c - /debug/pprof/goroutine: counted by stack and labels.  debug=2 is goroutine_dump(). */
#include "server.h"

#include "weft_read.h"

#include <errno.h>

static int prepare(struct snapshot *s)
{
	s->state = weft_snapshot_new();
	return s->state ? 0 : -ENOMEM;
}

static int next(struct snapshot *s)
{
	struct pprof_extra extra = { 0 };
	struct weft_goroutine w;
	int64_t one = 1;
	int rc = weft_snapshot_next(s->state, &w);

	if (rc > 0)
		return snapshot_add(s, w.pc, w.depth, w.flags, &w.labels, w.instance, &extra, &one) < 0 ? -ENOMEM : 1;
	weft_snapshot_free(s->state);
	s->state = NULL;
	return rc < 0 ? -ENOMEM : 0;
}

static void drop(struct snapshot *s)
{
	if (s->state)
		weft_snapshot_free(s->state);
	s->state = NULL;
}

static size_t count(void)
{
	struct weft_counters c;

	weft_read_counters(&c);
	return c.live;
}

const struct snapshot_kind goroutine_kind = {
	.name = "goroutine",
	.help = "Stacks of all goroutines that are alive, counted by stack and labels. debug=2 lists each one; "
		"seconds=N gives what came and went in that time.",
	.spec = { .sample = { { "goroutine", "count" } },
		  .n_sample = 1,
		  .period_type = { "goroutine", "count" },
		  .period = 1 },
	.form = TEXT_COUNT,
	.prepare = prepare,
	.next = next,
	.drop = drop,
	.count = count,
};

void get_goroutine(struct request *r)
{
	struct param debug = param_int(r->query, "debug");

	if (!debug.valid || debug.value < 2 || param_int(r->query, "seconds").given)
		snapshot_start(r, &goroutine_kind);
	else if (route_is_on(r, HTTP_DUMP))
		goroutine_dump(r);
}
