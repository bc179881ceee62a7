/* op.c - work in steps that a suspended request waits for.
 *
 * Life: op_new (request and op know each other, one reference) -> op_run, any number of times, one task out
 * at a time -> op_finish or op_fail (the request is answered) or op_cancel (nobody waits any more).  Each of
 * these three parts request and op.  The last reference frees: at once, or when the task that is out is back,
 * which takes it one step of at most 50 ms (with large rings longer, see pprof_trace.c).  The place in the budget
 * goes with the op. */
#include "server.h"

#include "symbols.h"
#include "weft_read.h"

#include <errno.h>
#include <stdlib.h>

static void init(struct op *o, struct http *h, enum budget budget, void (*free_op)(struct op *o))
{
	o->h = h;
	o->refs = 1;
	o->budget = budget;
	o->free = free_op;
	http_ref(h);
	h->ops++;
}

void *op_alone(struct http *h, size_t size, void (*free_op)(struct op *o))
{
	struct op *o = calloc(1, size);

	if (o)
		init(o, h, BUDGET_NONE, free_op);
	return o;
}

void *op_new(struct request *r, size_t size, enum budget budget, void (*free_op)(struct op *o))
{
	struct op *o;
	char peer[80];

	if (budget != BUDGET_NONE && !budget_take(r, budget))
		return NULL;
	o = calloc(1, size);
	if (!o) {
		budget_give(r->h, budget);
		reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return NULL;
	}
	init(o, r->h, budget, free_op);
	http_log(r->h, WEFT_DEBUG, "http: %.200s for %s", r->target, request_peer(r, peer, sizeof(peer)));
	o->r = r;
	r->op = o;
	return o;
}

void op_ref(struct op *o)
{
	o->refs++;
}

void op_unref(struct op *o)
{
	struct http *h = o->h;

	if (--o->refs)
		return;
	budget_give(h, o->budget);
	o->free(o);
	h->ops--;
	http_stop_check(h);
	http_unref(h);
}

bool op_dead(struct op *o)
{
	return atomic_load_explicit(&o->dead, memory_order_relaxed); /* a hint: op_done looks again on the loop */
}

static void task_work(void *arg)
{
	struct op *o = arg;

	if (!op_dead(o))
		o->work(o);
}

static void task_done(void *arg)
{
	struct op *o = arg;

	if (!op_dead(o))
		o->done(o);
	op_unref(o);
}

void op_run(struct op *o, int lane, void (*work)(struct op *o), void (*done)(struct op *o))
{
	o->work = work;
	o->done = done;
	op_ref(o);
	if (o->h->loop->offload(o->h->loop->user, lane, task_work, task_done, o) < 0) {
		op_fail(o, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		op_unref(o);
	}
}

/* Forget each other; the request's reference goes to the caller. */
static struct request *part(struct op *o)
{
	struct request *r = o->r;

	atomic_store_explicit(&o->dead, true, memory_order_relaxed);
	o->r = NULL;
	r->op = NULL;
	return r;
}

void op_finish(struct op *o)
{
	struct request *r;

	if (!o->r)
		return;
	r = part(o);
	r->state = REQ_READY;
	request_wake(r);
	op_unref(o);
}

void op_fail(struct op *o, unsigned status, const char *text)
{
	if (!o->r)
		return;
	/* A stream that has begun can only be broken off, which its reader does when it sees `dead`. */
	if (o->r->state == REQ_WAIT || o->r->state == REQ_BODY)
		reply_error(o->r, status, "%s", text);
	if (o->cancelled)
		o->cancelled(o);
	op_finish(o);
}

void op_cancel(struct op *o)
{
	if (!o->r)
		return;
	part(o);
	if (o->cancelled)
		o->cancelled(o);
	op_unref(o);
}

void op_names(struct http *h)
{
	const struct weft_modules *ms = weft_read_modules();

	/* Stored only when all went well, so that the next one tries again. */
	if (ms && ms->generation != atomic_load(&h->names) && symbols_update() == 0)
		atomic_store(&h->names, ms->generation);
}
