/* pprof_goroutine.c - /debug/pprof/goroutine: debug=0 and debug=1 (counted by stack and labels), and the
 * difference over seconds=.  debug=2 is goroutine_dump().
 *
 * A collection is a chain of pool tasks, each of which asks the snapshot for as many goroutines as fit into
 * its time.  For a difference the first snapshot goes into the same builder with -1 each: equal samples
 * merge, and those that come to nothing are not written. */
#include "server.h"

#include "pprof.h"
#include "weft_read.h"

#include <errno.h>
#include <stdlib.h>

struct goroutines {
	struct encoding e; /* first */
	struct weft_snapshot *snap;
	int64_t count; /* of each goroutine: 1, or -1 in the first half of a difference */
	int64_t seconds;
	int64_t first_at;
	struct http_timer *timer;
};

static void goroutines_free(struct op *o)
{
	struct goroutines *g = (struct goroutines *)o;

	if (g->snap)
		weft_snapshot_free(g->snap);
	if (g->timer)
		o->h->loop->untimer(o->h->loop->user, g->timer);
	encode_done(&g->e);
	free(g);
}

static const char *instance_name(uint32_t i)
{
	const char *name = weft_read_instance(i);

	return name && *name ? name : NULL;
}

static int add(struct goroutines *g, const struct weft_goroutine *w)
{
	static const uint64_t unknown[] = { PPROF_PC_SYSTEM };
	bool none = w->depth == 0;

	return pprof_add(g->e.p, none ? unknown : w->pc, none ? 1 : w->depth, w->flags,
			 g->e.op.h->opts.no_labels ? NULL : &w->labels, instance_name(w->instance), NULL, &g->count);
}

static void collect_work(struct op *o)
{
	struct goroutines *g = (struct goroutines *)o;
	int64_t until = mono_now() + TASK_NS;
	struct weft_goroutine w;

	o->rc = -ENOMEM;
	if (!g->snap)
		g->snap = weft_snapshot_new();
	if (!g->snap)
		return;
	for (;;) {
		o->rc = weft_snapshot_next(g->snap, &w);
		if (o->rc <= 0)
			return;
		if (add(g, &w) < 0) {
			o->rc = -ENOMEM;
			return;
		}
		if (mono_now() >= until || op_dead(o))
			return;
	}
}

static void second_half(void *arg);

static void collect_step(struct op *o)
{
	struct goroutines *g = (struct goroutines *)o;
	const struct http_loop *loop = o->h->loop;

	if (o->rc > 0) {
		op_run(o, LANE_ANY, collect_work, collect_step);
		return;
	}
	weft_snapshot_free(g->snap);
	g->snap = NULL;
	if (o->rc < 0) {
		op_fail(o, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
	} else if (g->count > 0) {
		g->e.time_ns = real_now();
		g->e.duration_ns = g->first_at ? mono_now() - g->first_at : 0;
		encode_start(&g->e);
	} else {
		g->first_at = mono_now();
		g->timer = loop->timer(loop->user, second_half, g);
		if (!g->timer)
			op_fail(o, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		else
			loop->arm(loop->user, g->timer, g->seconds * SECOND);
	}
}

static void second_half(void *arg)
{
	struct goroutines *g = arg;

	g->count = 1;
	op_run(&g->e.op, LANE_ANY, collect_work, collect_step);
}

bool seconds_ok(struct request *r, int64_t seconds)
{
	if (seconds <= r->h->opts.max_profile_seconds)
		return true;
	reply_error(r, MHD_HTTP_BAD_REQUEST, "seconds=%lld is too long; at most %lld are allowed", (long long)seconds,
		    (long long)r->h->opts.max_profile_seconds);
	return false;
}

static void collect(struct request *r, bool text, int64_t seconds)
{
	static const struct pprof_spec spec = {
		.sample = { { "goroutine", "count" } },
		.n_sample = 1,
		.period_type = { "goroutine", "count" },
		.period = 1,
	};
	struct goroutines *g = op_new(r, sizeof(*g), BUDGET_COLLECTION, goroutines_free);

	if (!g)
		return;
	g->e.p = pprof_new(&spec);
	g->e.text = text ? "goroutine" : NULL;
	g->e.filename = seconds ? "goroutine-delta" : "goroutine";
	g->seconds = seconds;
	g->count = seconds ? -1 : 1;
	if (!g->e.p)
		op_fail(&g->e.op, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
	else
		op_run(&g->e.op, LANE_ANY, collect_work, collect_step);
}

void get_goroutine(struct request *r)
{
	struct param debug = param_int(r->query, "debug");
	struct param seconds = param_int(r->query, "seconds");
	int64_t form = debug.valid ? debug.value : 0;

	if (seconds.given && (!seconds.valid || seconds.value <= 0))
		reply_error(r, MHD_HTTP_BAD_REQUEST, "seconds must be a positive whole number");
	else if (seconds.given && form)
		reply_error(r, MHD_HTTP_BAD_REQUEST, "seconds goes with debug=0 only");
	else if (seconds.given && !seconds_ok(r, seconds.value))
		return;
	else if (form >= 2 && !route_is_on(r, HTTP_DUMP))
		return;
	else if (form >= 2)
		goroutine_dump(r);
	else if (r->method == METHOD_HEAD)
		reply_head(r, form ? type_text : type_binary,
			   form            ? NULL
			   : seconds.given ? "goroutine-delta"
					   : "goroutine");
	else
		collect(r, form, seconds.value);
}
