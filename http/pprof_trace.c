/* pprof_trace.c - /debug/pprof/trace?seconds=F: what the scheduler does from now on, for `go tool trace`, or with
 * format=chrome for Perfetto; and /debug/flight?seconds=F: what it did until now.
 *
 * Tasks on the pool write what the recorder holds, each GOTRACE_LIVE_POLL, and what is written goes to the client
 * meanwhile; any number of clients may do so at once.  A trace ends in time, or when it is as long as max_bytes allows,
 * or when its client leaves PENDING_MAX of it lying: what was written up to then is a whole file in any case.  The past
 * waits: of that no more is written while PENDING_ENOUGH is lying.
 *
 * A task that reads the rings may take longer than 50 ms where runtime.recorder.memory is more than 32 MiB.  Such tasks
 * have a lane (LANE_RINGS), so at most one thread of the pool, and the one that looks up names, is kept from others.
 *
 * `front` belongs to the loop and is what the client is given; the trace with its output to the task while one is out,
 * else to the loop. */
#include "server.h"

#include "gotrace_live.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PENDING_MAX (64u << 20)
#define PENDING_ENOUGH (4u << 20)
#define FLIGHT_SECONDS 10

struct file {
	const char *type, *name;
};
struct trace {
	struct op op; /* first */
	struct http_timer *timer;
	struct filter filter;
	/* constant */
	struct gotrace_opts opts; /* from: of the past */
	int64_t end;
	struct file file;
	/* pool, while a task is out; else loop */
	struct gotrace_live *live; /* made by the first task: that reads all that the recorder holds */
	/* loop */
	struct buf front;
	size_t taken; /* of front */
	bool out;     /* a task is */
	bool ended;   /* nothing more is written */
	bool samples; /* it holds the CPU sampler */
};

static void let_go_sampler(struct op *o)
{
	struct trace *x = (struct trace *)o;

	if (!x->samples)
		return;
	x->samples = false;
	cpu_hold(o->h->cpu, -1);
}

static void trace_free(struct op *o)
{
	struct trace *x = (struct trace *)o;
	uint64_t repairs = x->live ? gotrace_repairs(gotrace_live_trace(x->live)) : 0;

	trim_later(o->h);
	if (x->timer)
		o->h->loop->untimer(o->h->loop->user, x->timer);
	if (repairs)
		http_log(o->h, WEFT_DEBUG, "http: trace: records were lost; made up for %llu times",
			 (unsigned long long)repairs);
	gotrace_live_free(x->live);
	buf_free(&x->front);
	free(x);
}

static bool passes(void *user, uint32_t instance)
{
	return filter_passes(user, instance);
}

static size_t pending(const struct trace *x)
{
	return gotrace_out(gotrace_live_trace(x->live))->len;
}

/* Pool. */
static void trace_work(struct op *o)
{
	struct trace *x = (struct trace *)o;

	if (!x->live) { /* that reads all that the recorder holds, if it is about the past: enough for a task */
		x->live = gotrace_live_new(&x->opts, x->end);
		o->rc = x->live ? GOTRACE_LIVE_MORE : -ENOMEM;
		return;
	}
	if (gotrace_live_names(x->live))
		op_names(o->h);
	o->rc = gotrace_live_step(x->live, mono_now() + TASK_NS);
	if (pending(x) >= PENDING_MAX)
		gotrace_live_finish(x->live);
}

static void trace_step(struct op *o);

static void go_on(struct trace *x)
{
	int lane = LANE_ANY;

	if (x->live && gotrace_live_names(x->live))
		lane = LANE_NAMES;
	else if (x->live ? gotrace_live_reads(x->live) : x->opts.from != 0)
		lane = LANE_RINGS;
	x->out = true;
	op_run(&x->op, lane, trace_work, trace_step);
}

/* At once, or when the client may have taken more. */
static void go_on_when(struct trace *x, bool now)
{
	const struct http_loop *loop = x->op.h->loop;

	if (now && !(x->opts.from && pending(x) >= PENDING_ENOUGH))
		go_on(x);
	else
		loop->arm(loop->user, x->timer, GOTRACE_LIVE_POLL);
}

static void tick(void *arg)
{
	go_on_when(arg, true);
}

/* Give the client what was written, once it has taken what there was. */
static void turn(struct trace *x)
{
	struct buf *written = gotrace_out(gotrace_live_trace(x->live)), empty = x->front;

	if (x->taken < x->front.len || !written->len)
		return;
	x->front = *written;
	x->taken = 0;
	empty.len = 0;
	*written = empty;
}

static ssize_t trace_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct trace *x = cls;
	size_t n;

	(void)pos;
	if (op_dead(&x->op))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (!x->out)
		turn(x);
	n = x->front.len - x->taken;
	if (n) {
		n = n < max ? n : max;
		memcpy(buf, x->front.b + x->taken, n);
		x->taken += n;
		return (ssize_t)n;
	}
	if (x->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	return request_suspend(x->op.r) < 0 ? MHD_CONTENT_READER_END_WITH_ERROR : 0;
}

static void trace_step(struct op *o)
{
	struct trace *x = (struct trace *)o;
	struct request *r = o->r;

	x->out = false;
	if (o->rc < 0) {
		op_fail(o, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return;
	}
	x->ended = o->rc == GOTRACE_LIVE_OVER;
	if (x->ended)
		let_go_sampler(o);
	turn(x);
	if (r->state == REQ_WAIT) {
		r->state = REQ_READY;
		reply_stream(r, x->file.type, trace_read, o);
		reply_file(r, x->file.name);
	}
	request_wake(r);
	if (!x->ended)
		go_on_when(x, o->rc == GOTRACE_LIVE_MORE);
}

/* What both are asked for. */
struct asked {
	struct gotrace_opts opts;
	struct filter filter;
	bool cpu;
};

static void start(struct request *r, const struct asked *asked, int64_t end, struct file file)
{
	const struct http_loop *loop = r->h->loop;
	struct trace *x = op_new(r, sizeof(*x), BUDGET_COLLECTION, trace_free);

	if (!x)
		return;
	x->file = file;
	x->filter = asked->filter;
	x->opts = asked->opts;
	x->opts.host = getpid();
	if (*x->filter.instance || *x->filter.plugin) {
		x->opts.passes = passes;
		x->opts.user = &x->filter;
	}
	x->end = end;
	x->timer = loop->timer(loop->user, tick, x);
	if (!x->timer) {
		op_fail(&x->op, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return;
	}
	x->op.cancelled = let_go_sampler;
	x->samples = asked->cpu;
	if (x->samples)
		cpu_hold(r->h->cpu, 1);
	go_on(x);
}

/* files: by format. */
static void answer(struct request *r, const struct asked *asked, int64_t end, const struct file *files)
{
	struct file file = files[asked->opts.format];

	if (r->method == METHOD_HEAD)
		reply_head(r, file.type, file.name);
	else
		start(r, asked, end, file);
}

/* A parameter that is a positive whole number, 0 if it is not given; false: a reply is set. */
static bool positive(struct request *r, const char *key, uint64_t *value)
{
	struct param p = param_int(r->query, key);

	*value = p.given ? (uint64_t)p.value : 0;
	if (!p.given || (p.valid && p.value > 0))
		return true;
	reply_error(r, MHD_HTTP_BAD_REQUEST, "%s must be a positive whole number", key);
	return false;
}

/* A parameter that is 0 or 1, left alone if it is not given; false: a reply is set. */
static bool flag(struct request *r, const char *key, bool *value)
{
	struct param p = param_int(r->query, key);

	if (p.given && (!p.valid || p.value < 0 || p.value > 1)) {
		reply_error(r, MHD_HTTP_BAD_REQUEST, "%s must be 0 or 1", key);
		return false;
	}
	if (p.given)
		*value = p.value;
	return true;
}

/* False: a reply is set. */
static bool format_of(struct request *r, enum gotrace_format *format)
{
	char text[TARGET_MAX];

	if (!param_word(r, "format", text, sizeof(text)))
		return false;
	if (!strcmp(text, "chrome"))
		*format = GOTRACE_CHROME;
	else if (*text && strcmp(text, "go") != 0) {
		reply_error(
			r, MHD_HTTP_BAD_REQUEST,
			"format must be \"go\", for go tool trace, or \"chrome\", for Perfetto and chrome://tracing");
		return false;
	}
	return true;
}

static bool parse(struct request *r, struct asked *asked)
{
	bool stacks = true;

	*asked = (struct asked){ .opts.format = GOTRACE_GO };
	if (!format_of(r, &asked->opts.format))
		return false;
	if (!flag(r, "stacks", &stacks))
		return false;
	asked->opts.no_stacks = !stacks;
	return positive(r, "g", &asked->opts.g) && positive(r, "max_bytes", &asked->opts.max_bytes) &&
	       filter_parse(r, &asked->filter);
}

/* seconds= as a number; false: it is none that is greater than 0, or there is none. */
static bool seconds_of(const char *query, double *s)
{
	char text[32], *end = text;

	if (!param_get(query, "seconds", text, sizeof(text)) || !*text)
		return false;
	*s = strtod(text, &end);
	return !*end && isfinite(*s) && *s > 0;
}

/* False: a reply is set. */
static bool recorder_is_on(struct request *r)
{
	struct weft_counters c;

	weft_read_counters(&c);
	if (c.recorder_bytes > 0)
		return true;
	reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the recorder is off: runtime.recorder.memory is 0");
	return false;
}

/* As Go has it: what is no positive number is 1. */
void get_trace(struct request *r)
{
	double seconds;
	struct asked asked;

	if (!seconds_of(r->query, &seconds))
		seconds = 1;
	if (!seconds_ok(r, seconds) || !parse(r, &asked) || !flag(r, "cpu", &asked.cpu) || !recorder_is_on(r))
		return;
	answer(r, &asked, mono_now() + (int64_t)(seconds * SECOND),
	       (const struct file[]){ { type_binary, "trace" }, { type_json, "trace.json" } });
}

void get_flight(struct request *r)
{
	int64_t now = mono_now();
	double seconds = FLIGHT_SECONDS;
	struct asked asked;
	char text[32];

	if (!param_word(r, "seconds", text, sizeof(text)))
		return;
	if (*text && !seconds_of(r->query, &seconds)) {
		reply_error(r, MHD_HTTP_BAD_REQUEST, "seconds must be a number greater than 0");
		return;
	}
	if (!parse(r, &asked) || !recorder_is_on(r))
		return;
	asked.opts.from = seconds * SECOND < (double)now ? now - (int64_t)(seconds * SECOND) : 1;
	answer(r, &asked, now, (const struct file[]){ { type_binary, "flight.trace" }, { type_json, "flight.json" } });
}
