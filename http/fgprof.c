/* fgprof.c - /debug/fgprof?seconds=N: where goroutines spend their time, on and off the CPU, by stack.
 *
 * HZ times a second a look is taken at some goroutines, about SOME of them, each chosen with the same probability
 * 1 / n; one that is found stands for n, and for the time since the look before.  So the sum over all stacks is
 * goroutines x time whatever their number, and the cost of a look is bounded.  A label says whether the goroutine
 * ran.  format=folded gives lines for flame graph tools.
 *
 * The timer and the state between looks are the loop thread's; a look is one pool task. */
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HZ 49
#define SOME 128
#define DEFAULT_SECONDS 30

struct fgprof {
	struct encoding e; /* first */
	struct http_timer *timer;
	struct filter filter;
	int64_t end, last; /* monotonic */
	uint64_t random;   /* of the looks; never 0 */
	uint64_t looks, seen;
};

static void fgprof_free(struct op *o)
{
	struct fgprof *f = (struct fgprof *)o;

	if (f->timer)
		o->h->loop->untimer(o->h->loop->user, f->timer);
	encode_done(&f->e);
	free(f);
}

static int add(struct fgprof *f, const struct weft_goroutine *w, uint32_t n, int64_t ns)
{
	static const uint64_t unknown = PPROF_PC_SYSTEM;
	bool on = w->status == WEFT_G_RUNNING || (w->status == WEFT_G_DETACHED && !(w->flags & WEFT_GF_BLOCKED));
	struct pprof_extra extra = { .instance = instance_name(w->instance),
				     .key = "state",
				     .value = on                             ? "on-cpu"
					      : w->status == WEFT_G_RUNNABLE ? "runnable"
									     : "off-cpu" };
	int64_t v[2] = { n, (int64_t)n * ns };

	return pprof_add_with(f->e.p, w->depth ? w->pc : &unknown, w->depth ? w->depth : 1, w->flags,
			      f->e.op.h->opts.no_labels ? NULL : &w->labels, &extra, v);
}

static void look_work(struct op *o)
{
	struct fgprof *f = (struct fgprof *)o;
	int64_t now = mono_now(), ns = now - f->last;
	struct weft_counters c;
	struct weft_goroutine w;
	struct weft_snapshot *snap;
	uint32_t n;

	weft_read_counters(&c);
	n = c.live > SOME ? (uint32_t)((c.live + SOME - 1) / SOME) : 1;
	f->last = now;
	f->random = f->random * UINT64_C(0x5851f42d4c957f2d) + 1;
	snap = weft_snapshot_some(n, f->random);
	o->rc = snap ? 1 : -ENOMEM;
	while (o->rc > 0 && !op_dead(o) && (o->rc = weft_snapshot_next(snap, &w)) > 0) {
		f->seen++;
		if (filter_passes(&f->filter, w.instance) && add(f, &w, n, ns) < 0)
			o->rc = -ENOMEM;
	}
	weft_snapshot_free(snap);
	f->looks++;
}

static void tick(void *arg);

static void look_done(struct op *o)
{
	struct fgprof *f = (struct fgprof *)o;
	const struct http_loop *loop = o->h->loop;
	int64_t next = f->last + SECOND / HZ, now = mono_now();

	next = next < f->end ? next : f->end;

	if (o->rc < 0)
		op_fail(o, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
	else if (f->last >= f->end)
		encode_start(&f->e);
	else
		loop->arm(loop->user, f->timer, next > now ? next - now : 0);
}

static void tick(void *arg)
{
	struct fgprof *f = arg;

	op_run(&f->e.op, LANE_ANY, look_work, look_done);
}

static const struct pprof_spec spec = {
	.sample = { { "samples", "count" }, { "time", "nanoseconds" } },
	.n_sample = 2,
	.period_type = { "wallclock", "nanoseconds" },
	.period = SECOND / HZ,
	.sort = 1,
};

static void start(struct request *r, int64_t seconds, bool folded, const struct filter *filter)
{
	const struct http_loop *loop = r->h->loop;
	struct fgprof *f = op_new(r, sizeof(*f), BUDGET_COLLECTION, fgprof_free);
	struct pprof_spec s = spec;

	if (!f)
		return;
	s.bare = filter->bare;
	f->filter = *filter;
	f->e.p = pprof_new(&s);
	f->e.text = folded;
	f->e.head = (struct text_head){ .form = TEXT_FOLDED };
	f->e.time_ns = real_now();
	f->e.duration_ns = seconds * SECOND;
	strcpy(f->e.filename, "fgprof");
	f->last = mono_now();
	f->end = f->last + seconds * SECOND;
	f->random = (uint64_t)f->last | 1;
	f->timer = loop->timer(loop->user, tick, f);
	if (!f->e.p || !f->timer)
		op_fail(&f->e.op, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
	else
		loop->arm(loop->user, f->timer, SECOND / HZ);
}

void get_fgprof(struct request *r)
{
	struct param seconds = param_int(r->query, "seconds");
	struct filter filter;
	char format[16];
	bool folded = false;

	if (!seconds.given)
		seconds.value = DEFAULT_SECONDS;
	else if (!seconds.valid || seconds.value <= 0) {
		reply_error(r, MHD_HTTP_BAD_REQUEST, "seconds must be a positive whole number");
		return;
	}
	if (param_get(r->query, "format", format, sizeof(format)) && *format) {
		folded = !strcmp(format, "folded");
		if (!folded && strcmp(format, "pprof") != 0) {
			reply_error(r, MHD_HTTP_BAD_REQUEST, "format must be pprof or folded");
			return;
		}
	}
	if (!seconds_ok(r, (double)seconds.value) || !filter_parse(r, &filter))
		return;
	if (r->method == METHOD_HEAD)
		reply_head(r, folded ? type_text : type_binary, folded ? NULL : "fgprof");
	else
		start(r, seconds.value, folded, &filter);
}
