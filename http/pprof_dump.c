/* pprof_dump.c - /debug/pprof/goroutine?debug=2: every goroutine in full, however many there are.
 *
 * Two buffers: `front` belongs to the loop and is what the client is given, `back` to the pool task while one
 * is out.  A task fills back to CHUNK bytes and ends; when front is used up they change places and the next
 * task starts.  So at most two chunks are in memory, a slow client holds no pool thread, and a fast one finds
 * the next chunk in the making.  While front is empty the connection is suspended.
 * The answer begins when the first chunk is there; what fails later breaks the stream off, so that a client
 * never takes a part for the whole. */
#include "server.h"

#include "weft_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 262144

struct dump {
	struct op op; /* first */
	/* pool, while a task is out; else loop */
	struct weft_snapshot *snap;
	struct buf back;
	uint64_t written, max_bytes; /* max_bytes 0: no limit */
	bool last;                   /* back holds the end */
	bool waits;                  /* next has been read, but not been written yet: words are missing */
	struct weft_goroutine next;
	/* loop */
	struct buf front;
	size_t taken; /* of front */
	bool out;     /* a task is */
	bool ended;   /* front holds the end */
};

static void dump_free(struct op *o)
{
	struct dump *d = (struct dump *)o;

	trim_later(o->h);
	if (d->snap)
		weft_snapshot_free(d->snap);
	buf_free(&d->back);
	buf_free(&d->front);
	free(d);
}

static void fill_work(struct op *o)
{
	struct dump *d = (struct dump *)o;
	int64_t now = mono_now(), until = now + TASK_NS;

	o->rc = -ENOMEM;
	if (!d->snap)
		d->snap = weft_snapshot_new();
	if (!d->snap)
		return;
	while (d->back.len < CHUNK && mono_now() < until && !op_dead(o)) {
		size_t before = d->back.len;

		if (d->max_bytes && d->written >= d->max_bytes) {
			buf_fmt(&d->back, "...cut at max_bytes=%llu; more goroutines follow...\n",
				(unsigned long long)d->max_bytes);
			d->last = true;
			break;
		}
		if (!d->waits && !weft_snapshot_next(d->snap, &d->next)) {
			d->last = true;
			break;
		}
		d->waits = text_goroutine_prepare(&d->next, until) > 0;
		if (d->waits)
			break;
		text_goroutine(&d->back, &d->next, now);
		d->written += d->back.len - before;
	}
	o->rc = d->back.failed ? -ENOMEM : 0;
}

static ssize_t dump_read(void *cls, uint64_t pos, char *buf, size_t max);
static void fill_step(struct op *o);

static void fill(struct dump *d)
{
	d->out = true;
	op_run(&d->op, LANE_ANY, fill_work, fill_step);
}

/* Give the full back buffer to the client, start filling the other one. */
static void turn(struct dump *d)
{
	struct buf empty = d->front;

	d->front = d->back;
	d->taken = 0;
	empty.len = 0;
	d->back = empty;
	d->ended = d->last;
	if (!d->ended)
		fill(d);
}

static void fill_step(struct op *o)
{
	struct dump *d = (struct dump *)o;
	struct request *r = o->r;

	d->out = false;
	if (o->rc < 0) {
		op_fail(o, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return;
	}
	/* Little was found in the time of a task, as behind running goroutines: go on at once. */
	if (!d->back.len && !d->last) {
		fill(d);
		return;
	}
	if (d->taken < d->front.len)
		return; /* the reader turns when it gets there */
	turn(d);
	if (r->state == REQ_WAIT) {
		r->state = REQ_READY;
		reply_stream(r, type_text, dump_read, o);
	}
	request_wake(r);
}

/* The content reader: loop thread, inside MHD_run(). */
static ssize_t dump_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct dump *d = cls;
	size_t n;

	(void)pos;
	if (op_dead(&d->op))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (d->taken == d->front.len && !d->ended && !d->out)
		turn(d);
	if (op_dead(&d->op))
		return MHD_CONTENT_READER_END_WITH_ERROR; /* no memory for the next task */
	n = d->front.len - d->taken;
	if (n) {
		n = n < max ? n : max;
		memcpy(buf, d->front.b + d->taken, n);
		d->taken += n;
		return (ssize_t)n;
	}
	if (d->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	return request_suspend(d->op.r) < 0 ? MHD_CONTENT_READER_END_WITH_ERROR : 0;
}

static void names_work(struct op *o)
{
	op_names(o->h);
}

static void names_step(struct op *o)
{
	fill((struct dump *)o);
}

void goroutine_dump(struct request *r)
{
	struct param max = param_int(r->query, "max_bytes");
	struct dump *d;

	if (max.given && (!max.valid || max.value <= 0)) {
		reply_error(r, MHD_HTTP_BAD_REQUEST, "max_bytes must be a positive whole number");
		return;
	}
	if (r->method == METHOD_HEAD) {
		reply_head(r, type_text, NULL);
		return;
	}
	d = op_new(r, sizeof(*d), BUDGET_COLLECTION, dump_free);
	if (!d)
		return;
	d->max_bytes = (uint64_t)max.value;
	op_run(&d->op, LANE_NAMES, names_work, names_step);
}
