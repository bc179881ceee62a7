/* pprof_misc.c - /debug/pprof/cmdline and /debug/pprof/symbol.
 *
 * symbol takes addresses from the body (POST) or from the query as it was sent (GET: a '+' separates, so
 * nothing may decode it).  A profile with unnamed locations makes pprof POST here, and fail if that fails;
 * so it always answers, and is not among the collections that may be refused. */
#include "server.h"

#include <stdlib.h>
#include <string.h>

void get_cmdline(struct request *r)
{
	const struct http_opts *o = &r->h->opts;
	struct buf b = { 0 };

	for (int i = 0; i < o->argc; i++)
		buf_add(&b, o->argv[i], strlen(o->argv[i]) + (i + 1 < o->argc)); /* NULs between */
	if (b.failed) {
		buf_free(&b);
		reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return;
	}
	reply_bytes(r, type_text, NULL, b.b, b.len);
}

struct lookup {
	struct op op; /* first */
	struct buf in, out;
};

static void lookup_free(struct op *o)
{
	struct lookup *l = (struct lookup *)o;

	buf_free(&l->in);
	buf_free(&l->out);
	free(l);
}

static void lookup_work(struct op *o)
{
	struct lookup *l = (struct lookup *)o;

	op_names(o->h);
	text_symbols(&l->out, l->in.b ? l->in.b : "", l->in.len);
}

static void lookup_step(struct op *o)
{
	struct lookup *l = (struct lookup *)o;

	if (l->out.failed) {
		op_fail(o, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return;
	}
	reply_bytes(o->r, type_text, NULL, l->out.b, l->out.len);
	l->out = (struct buf){ 0 };
	op_finish(o);
}

void symbol_begin(struct request *r)
{
	(void)op_new(r, sizeof(struct lookup), BUDGET_SYMBOL, lookup_free); /* or a reply is set */
}

bool symbol_body(struct request *r, const char *data, size_t len)
{
	struct lookup *l = (struct lookup *)r->op;

	buf_add(&l->in, data, len);
	return !l->in.failed;
}

void any_symbol(struct request *r)
{
	if (r->method == METHOD_HEAD) {
		reply_head(r, type_text, NULL);
		return;
	}
	if (!r->op) {
		symbol_begin(r);
		if (!r->op)
			return;
		if (!symbol_body(r, r->query, strlen(r->query))) {
			op_fail(r->op, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
			return;
		}
	}
	op_run(r->op, LANE_NAMES, lookup_work, lookup_step);
}
