/* sched.c - /debug/weft/sched: the scheduler's Ps, Ms and Gs, in the lines of Go's schedtrace or as JSON.
 *
 * The first SCHED_GS_MAX goroutines are listed, all are counted; a pool task, since counting a million takes
 * milliseconds. */
#include "schedstate.h"

#include "server.h"

#include <stdlib.h>

struct look {
	struct op op; /* first */
	bool json;
	struct buf out;
};

static void look_free(struct op *o)
{
	struct look *l = (struct look *)o;

	buf_free(&l->out);
	free(l);
}

static void look_work(struct op *o)
{
	struct look *l = (struct look *)o;
	struct sched_state st;

	o->rc = sched_state_read(&st, true);
	if (o->rc < 0)
		return;
	if (l->json)
		sched_json(&l->out, &st);
	else
		sched_text(&l->out, &st, true);
	sched_state_free(&st);
}

static void look_step(struct op *o)
{
	struct look *l = (struct look *)o;

	if (o->rc < 0 || l->out.failed) {
		op_fail(o, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return;
	}
	reply_bytes(o->r, l->json ? type_json : type_text, NULL, l->out.b, l->out.len);
	l->out = (struct buf){ 0 };
	op_finish(o);
}

void get_sched(struct request *r)
{
	struct look *l;
	bool json;

	if (!reply_format(r, &json))
		return;
	if (r->method == METHOD_HEAD) {
		reply_head(r, json ? type_json : type_text, NULL);
		return;
	}
	l = op_new(r, sizeof(*l), BUDGET_COLLECTION, look_free);
	if (!l)
		return;
	l->json = json;
	op_run(&l->op, LANE_ANY, look_work, look_step);
}
