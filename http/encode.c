/* encode.c - from a finished builder to the answer: name, encode, compress, in steps of at most 50 ms, all
 * on the lane of the symboliser. */
#include "server.h"

#include "pprof.h"

#include <errno.h>
#include <stdlib.h>

static void encode_work(struct op *o)
{
	struct encoding *e = (struct encoding *)o;

	op_names(o->h);
	if (e->text) {
		o->rc = text_profile_step(&e->out, e->p, &e->head, TASK_NS);
	} else {
		o->rc = pprof_step(e->p, e->time_ns, e->duration_ns, TASK_NS);
	}
}

static void encode_step(struct op *o)
{
	struct encoding *e = (struct encoding *)o;
	size_t len = e->out.len;
	void *data = e->out.b;

	if (o->rc > 0) {
		op_run(o, LANE_NAMES, encode_work, encode_step);
		return;
	}
	if (o->rc < 0) {
		op_fail(o, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return;
	}
	if (e->text)
		e->out = (struct buf){ 0 };
	else
		data = pprof_take(e->p, &len);
	reply_bytes(o->r, e->text ? type_text : type_binary, e->text ? NULL : e->filename, data, len);
	e->made = o->r->reply != NULL;
	op_finish(o);
}

void encode_start(struct encoding *e)
{
	op_run(&e->op, LANE_NAMES, encode_work, encode_step);
}

void encode_done(struct encoding *e)
{
	trim_later(e->op.h);
	encode_free(e);
}

void encode_free(struct encoding *e)
{
	pprof_free(e->p);
	buf_free(&e->out);
	free((char *)e->head.comment);
}
