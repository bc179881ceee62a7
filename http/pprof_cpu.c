/* pprof_cpu.c - /debug/pprof/profile: any number of sessions over the one sampler of the process.
 *
 * The sampler runs at the highest rate that an open session asks for.  One pool task at a time (LANE_CPU),
 * every DRAIN_NS and at the end of each window, does all that touches it: set the rate, drain the samples
 * taken so far, hand each to every open session whose window it falls in.  A sample stands for weight
 * periods of the rate at which it was taken; a session counts them in periods of the rate it asked for, so
 * what others ask changes the resolution of its profile, never its totals.
 *
 * Who touches what: the list, states and cur_hz belong to the loop, which copies the sessions to be served
 * into feed[] before a task starts (each with a reference); builder, window and carry of a session in feed[]
 * belong to the task until it is back.  A session that is cancelled meanwhile leaves the list at once and
 * is freed when the task is back.
 *
 * Traces hold the sampler at the default rate: the samples that they show are drained with all others.
 *
 * One session may be no request's but that of profile_cpu.c: its window ends when that says so, and at the longest
 * that a request may ask for. */
#include "server.h"

#include "pprof.h"
#include "weft_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DRAIN_NS INT64_C(200000000)
#define DEFAULT_SECONDS 30

struct session {
	struct encoding e; /* first */
	TAILQ_ENTRY(session) open;
	bool listed;
	bool closing; /* its window is to end now */
	struct cpu *cpu;
	int hz;
	int64_t window;
	struct filter filter;
	int64_t start, end; /* 0: not yet begun; monotonic */
	int64_t carry;      /* CPU time not yet counted; below 0: counted too early */
	uint64_t random;    /* never 0 */
	uint64_t lost;
	int failed;
};
TAILQ_HEAD(session_list, session);

struct cpu {
	struct http *h;
	struct session_list open;
	int n_open;
	struct session *file; /* of profile_cpu.c, in the list; or NULL */
	int held;             /* by traces, which read the samples elsewhere */
	struct http_timer *timer;
	/* loop, but the task's while one is out */
	bool busy;
	int cur_hz, want_hz; /* 0: stopped */
	int old_hz;          /* samples from before changed_at were taken at this rate */
	int64_t changed_at;
	int64_t drained_at;
	int rc;
	struct session **feed;
	size_t n_feed, cap_feed;
};

/* --- Pool task -------------------------------------------------------------------------- */

static uint64_t random_below(struct session *s, uint64_t n)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return s->random % n;
}

/* Periods of s->hz that weight periods of hz are.  What does not come out even is carried over, so that the
 * total is right to one period; where it is rounded up is left to chance, or stacks that take turns would
 * always lose to the same one.  Exactly weight when the rates are the same. */
static int64_t count(struct session *s, uint32_t weight, int hz)
{
	int64_t period = SECOND / s->hz;
	int64_t n;

	s->carry += weight * (SECOND / hz);
	n = (s->carry + (int64_t)random_below(s, (uint64_t)period)) / period;
	s->carry -= n * period;
	return n;
}

struct frames {
	uint64_t pc[WEFT_STACK_MAX];
	int depth;
};

/* Pseudo frames stand for what has no stack, and at the root of the scheduler's own (in a stack that is
 * full already in place of its root). */
static void frames_of(const struct weft_sample *s, struct frames *f)
{
	f->depth = s->depth;
	memcpy(f->pc, s->pc, (size_t)s->depth * sizeof(*s->pc));
	switch (s->kind) {
	case WEFT_SAMPLE_LOST:
		f->pc[0] = PPROF_PC_LOST;
		f->depth = 1;
		break;
	case WEFT_SAMPLE_SCHED:
		f->depth -= f->depth == WEFT_STACK_MAX;
		f->pc[f->depth++] = PPROF_PC_SCHED;
		break;
	default:
		if (!f->depth) {
			f->pc[f->depth++] = PPROF_PC_EXTERNAL;
			f->pc[f->depth++] = PPROF_PC_SYSTEM;
		}
	}
}

/* What was lost may have been anybody's, and is told everywhere. */
static bool wanted_by(const struct session *to, const struct weft_sample *s)
{
	return s->kind == WEFT_SAMPLE_LOST || filter_passes(&to->filter, s->instance);
}

static void feed_sample(void *user, const struct weft_sample *s)
{
	struct cpu *c = user;
	struct frames f;
	int hz = s->time < c->changed_at && c->old_hz ? c->old_hz : c->cur_hz;
	const char *instance = s->kind == WEFT_SAMPLE_LOST ? NULL : weft_read_instance(s->instance);
	const char *thread = s->kind == WEFT_SAMPLE_THREAD ? s->thread : NULL;

	frames_of(s, &f);
	for (size_t i = 0; hz && i < c->n_feed; i++) {
		struct session *to = c->feed[i];
		int64_t values[2];

		if (!to->start || s->time < to->start || s->time > to->end || to->failed || op_dead(&to->e.op) ||
		    !wanted_by(to, s))
			continue;
		values[0] = count(to, s->weight, hz);
		values[1] = (int64_t)s->weight * SECOND / hz;
		if (s->kind == WEFT_SAMPLE_LOST)
			to->lost += s->weight;
		to->failed = pprof_add(to->e.p, f.pc, f.depth, s->flags, to->e.op.h->opts.no_labels ? NULL : &s->labels,
				       instance && *instance ? instance : NULL, thread, values);
	}
}

static void set_rate(struct cpu *c)
{
	int64_t at = mono_now();

	c->rc = 0;
	if (c->want_hz == c->cur_hz)
		return;
	if (c->want_hz)
		c->rc = weft_cpu_start(c->want_hz);
	else
		weft_cpu_stop();
	if (c->rc < 0)
		return;
	c->old_hz = c->cur_hz ? c->cur_hz : c->old_hz;
	c->cur_hz = c->want_hz;
	c->changed_at = at;
}

static void cpu_work(void *arg)
{
	struct cpu *c = arg;

	set_rate(c);
	for (size_t i = 0; c->rc == 0 && i < c->n_feed; i++) {
		struct session *s = c->feed[i];

		if (s->start)
			continue;
		s->start = mono_now();
		s->end = s->start + s->window;
		s->e.time_ns = real_now();
	}
	c->drained_at = mono_now();
	weft_cpu_drain(feed_sample, c);
}

/* --- Loop -------------------------------------------------------------------------------------- */

static void cpu_due(void *arg);
static void cpu_done(void *arg);

static int wanted(const struct cpu *c)
{
	const struct session *s;
	int hz = c->held ? c->h->opts.cpu_hz : 0;

	TAILQ_FOREACH(s, &c->open, open)
	hz = s->hz > hz ? s->hz : hz;
	return hz;
}

static void leave(struct session *s)
{
	if (!s->listed)
		return;
	s->listed = false;
	TAILQ_REMOVE(&s->cpu->open, s, open);
	s->cpu->n_open--;
}

static int grow_feed(struct cpu *c)
{
	size_t cap = c->cap_feed ? 2 * c->cap_feed : 8;
	struct session **feed;

	if ((size_t)c->n_open <= c->cap_feed)
		return 0;
	while (cap < (size_t)c->n_open)
		cap *= 2;
	feed = realloc(c->feed, cap * sizeof(struct session *));
	if (!feed)
		return -ENOMEM;
	c->feed = feed;
	c->cap_feed = cap;
	return 0;
}

/* Start the task now; none is out. */
static int cpu_task(struct cpu *c)
{
	struct session *s;

	if (grow_feed(c) < 0)
		return -ENOMEM;
	c->want_hz = wanted(c);
	TAILQ_FOREACH(s, &c->open, open)
	{
		if (s->closing && s->start && s->end > mono_now())
			s->end = mono_now();
		c->feed[c->n_feed++] = s;
		op_ref(&s->e.op);
	}
	c->busy = true;
	http_ref(c->h);
	if (c->h->loop->offload(c->h->loop->user, LANE_CPU, cpu_work, cpu_done, c) == 0)
		return 0;
	c->busy = false;
	while (c->n_feed)
		op_unref(&c->feed[--c->n_feed]->e.op);
	http_unref(c->h);
	return -ENOMEM;
}

/* Run the task if something asks for it, else arm the timer for when something will. */
static void cpu_next(struct cpu *c)
{
	const struct http_loop *loop = c->h->loop;
	struct session *s;
	int64_t now = mono_now(), due;
	bool news;

	if (c->busy)
		return; /* cpu_done() comes here again */
	news = wanted(c) != c->cur_hz;
	due = c->drained_at + DRAIN_NS;
	TAILQ_FOREACH(s, &c->open, open)
	{
		news |= !s->start || (s->closing && s->end > now);
		if (s->start && s->end < due)
			due = s->end;
	}
	if (TAILQ_EMPTY(&c->open) && !c->held && !news)
		return;
	/* A rate that was refused is not asked for again at once. */
	if (((news && c->rc == 0) || now > due) && cpu_task(c) == 0)
		return;
	/* Past the end, not at it: a drain at the very end might miss the last sample. */
	loop->arm(loop->user, c->timer, due + 1000000 > now ? due + 1000000 - now : DRAIN_NS / 10);
}

static void cpu_due(void *arg)
{
	cpu_next(arg);
}

static void comment(struct session *s)
{
	const struct http_opts *o = &s->e.op.h->opts;
	char text[256];

	snprintf(text, sizeof(text), "weftd %.100s", o->version);
	pprof_comment(s->e.p, text);
	snprintf(text, sizeof(text), "cpu samples at %d Hz of each thread's CPU time, %llu lost", s->hz,
		 (unsigned long long)s->lost);
	pprof_comment(s->e.p, text);
}

/* The session of profile_cpu.c is over: hand on what it has. */
static void file_over(struct session *s, int rc)
{
	leave(s);
	s->cpu->file = NULL;
	if (rc == 0) {
		cpu_file_over(0, s->e.p, s->e.time_ns, s->e.duration_ns);
		s->e.p = NULL;
	} else {
		cpu_file_over(rc, NULL, 0, 0); /* s may be the task's still */
	}
	op_unref(&s->e.op);
}

static void fail(struct session *s, int rc, unsigned status, const char *text)
{
	if (s == s->cpu->file)
		file_over(s, rc);
	else
		op_fail(&s->e.op, status, text);
}

/* What became of s in the task that is back. */
static void settle(struct cpu *c, struct session *s)
{
	if (!s->listed)
		return;
	if (s->failed < 0) {
		fail(s, s->failed, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
	} else if (!s->start) {
		fail(s, c->rc, MHD_HTTP_INTERNAL_SERVER_ERROR, "the CPU sampler could not be started");
	} else if (c->drained_at > s->end) {
		s->e.duration_ns = s->end - s->start;
		comment(s);
		if (s == c->file) {
			file_over(s, 0);
			return;
		}
		leave(s);
		encode_start(&s->e);
	} else if (s == c->file) {
		cpu_file_began();
	}
}

static void cpu_done(void *arg)
{
	struct cpu *c = arg;
	struct http *h = c->h;

	if (c->rc < 0)
		http_log(h, WEFT_WARN, "http: the CPU sampler does not start at %d Hz: %s", c->want_hz,
			 strerror(-c->rc));
	while (c->n_feed) {
		struct session *s = c->feed[--c->n_feed];

		settle(c, s);
		op_unref(&s->e.op);
	}
	c->busy = false; /* only now: settling may end sessions, which must not start a task over feed[] */
	cpu_next(c);
	http_stop_check(h);
	http_unref(h);
}

/* --- Sessions ------------------------------------------------------------------------------------ */

static void session_cancelled(struct op *o)
{
	struct session *s = (struct session *)o;

	leave(s);
	cpu_next(s->cpu); /* the last one stops the sampler */
}

static void session_free(struct op *o)
{
	struct session *s = (struct session *)o;

	encode_done(&s->e);
	free(s);
}

/* List s, which is new: 0 or -ENOMEM. */
static int session_open(struct session *s, int64_t seconds, int hz, const struct filter *filter)
{
	struct pprof_spec spec = {
		.sample = { { "samples", "count" }, { "cpu", "nanoseconds" } },
		.n_sample = 2,
		.period_type = { "cpu", "nanoseconds" },
		.period = SECOND / hz,
		.bare = filter->bare,
	};

	s->e.p = pprof_new(&spec);
	strcpy(s->e.filename, "profile");
	s->cpu = s->e.op.h->cpu;
	s->hz = hz;
	s->window = seconds * SECOND;
	s->filter = *filter;
	s->random = (uint64_t)mono_now() | 1;
	s->listed = true;
	TAILQ_INSERT_TAIL(&s->cpu->open, s, open);
	s->cpu->n_open++;
	return s->e.p ? 0 : -ENOMEM;
}

static void open_session(struct request *r, int64_t seconds, int hz, const struct filter *filter)
{
	struct session *s = op_new(r, sizeof(*s), BUDGET_COLLECTION, session_free);

	if (!s)
		return;
	s->e.op.cancelled = session_cancelled;
	if (session_open(s, seconds, hz, filter) < 0)
		op_fail(&s->e.op, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
	else
		cpu_next(s->cpu);
}

void cpu_hold(struct cpu *c, int by)
{
	c->held += by;
	cpu_next(c);
}

int cpu_file_open(struct cpu *c, int hz)
{
	struct session *s = op_alone(c->h, sizeof(*s), session_free);

	if (!s)
		return -ENOMEM;
	if (session_open(s, c->h->opts.max_profile_seconds, hz, &(struct filter){ 0 }) < 0) {
		leave(s);
		op_unref(&s->e.op);
		return -ENOMEM;
	}
	c->file = s;
	cpu_next(c);
	return 0;
}

void cpu_file_close(struct cpu *c)
{
	if (!c->file)
		return;
	c->file->closing = true;
	cpu_next(c);
}

void cpu_file_drop(struct cpu *c)
{
	if (!c->file)
		return;
	atomic_store_explicit(&c->file->e.op.dead, true, memory_order_relaxed);
	file_over(c->file, -ESHUTDOWN);
	cpu_next(c);
}

void get_profile(struct request *r)
{
	struct param seconds = param_int(r->query, "seconds");
	struct param hz = param_int(r->query, "hz");
	struct filter filter;

	/* As Go does it: what is no positive number is 30. */
	if (!seconds.valid || seconds.value <= 0)
		seconds.value = DEFAULT_SECONDS;
	if (!hz.given)
		hz = (struct param){ .given = true, .valid = true, .value = r->h->opts.cpu_hz };
	if (!hz.valid || hz.value < 1 || hz.value > 1000) {
		reply_error(r, MHD_HTTP_BAD_REQUEST, "hz must be a whole number from 1 to 1000");
		return;
	}
	if (!seconds_ok(r, (double)seconds.value) || !filter_parse(r, &filter))
		return;
	if (r->method == METHOD_HEAD) {
		reply_head(r, type_binary, "profile");
		return;
	}
	open_session(r, seconds.value, (int)hz.value, &filter);
}

struct cpu *cpu_new(struct http *h)
{
	struct cpu *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->h = h;
	TAILQ_INIT(&c->open);
	c->timer = h->loop->timer(h->loop->user, cpu_due, c);
	if (!c->timer) {
		free(c);
		return NULL;
	}
	return c;
}

void cpu_free(struct cpu *c)
{
	if (!c)
		return;
	c->h->loop->untimer(c->h->loop->user, c->timer);
	free(c->feed);
	free(c);
}

bool cpu_idle(const struct cpu *c)
{
	return !c->busy && !c->cur_hz;
}

int cpu_sessions(const struct cpu *c)
{
	return c->n_open;
}
