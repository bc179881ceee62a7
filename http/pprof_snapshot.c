/* pprof_snapshot.c - the profiles that are read at an instant: debug=0 and debug=1, and the difference over seconds=.
 *
 * A reading is a chain of pool tasks, each of which asks the kind for as many samples as fit into its time.  For a
 * difference the first reading goes into the same builder with all values negated: equal samples merge, and those
 * that come to nothing are not written. */
#include "server.h"

#include "weft_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void end(struct op *o)
{
	struct snapshot *s = (struct snapshot *)o;

	if (s->kind->end)
		s->kind->end(s);
}

static void snapshot_free(struct op *o)
{
	struct snapshot *s = (struct snapshot *)o;

	end(o);
	if (s->kind->drop)
		s->kind->drop(s);
	if (s->timer)
		o->h->loop->untimer(o->h->loop->user, s->timer);
	encode_done(&s->e);
	free(s);
}

int snapshot_add(struct snapshot *s, const uint64_t *pc, int depth, unsigned flags, const struct weft_labels *labels,
		 uint32_t instance, struct pprof_extra *extra, const int64_t *values)
{
	static const uint64_t unknown[] = { PPROF_PC_SYSTEM };
	int64_t v[PPROF_VALUES];

	if (!filter_passes(&s->filter, instance))
		return 0;
	for (int i = 0; i < s->spec.n_sample; i++)
		v[i] = s->sign * values[i];
	extra->instance = instance_name(instance);
	return pprof_add_with(s->e.p, depth ? pc : unknown, depth ? depth : 1, flags, s->no_labels ? NULL : labels,
			      extra, v);
}

int snapshot_add_prof(struct snapshot *s, const struct weft_prof_sample *x, struct pprof_extra *extra,
		      const int64_t *values)
{
	static const uint64_t overflow[] = { PPROF_PC_OVERFLOW };

	return snapshot_add(s, x->overflow ? overflow : x->pc, x->overflow ? 1 : x->depth, 0, &x->labels, x->instance,
			    extra, values);
}

/* --- Readings ---------------------------------------------------------------------------------- */

void snapshot_comment(struct snapshot *s)
{
	struct buf b = { 0 };

	if (!s->kind->comment)
		return;
	s->kind->comment(s, &b);
	buf_add(&b, "", 1);
	if (b.failed)
		buf_free(&b);
	s->e.head.comment = b.b;
}

static void read_work(struct op *o)
{
	struct snapshot *s = (struct snapshot *)o;
	int64_t until = mono_now() + TASK_NS;

	o->rc = 0;
	if (!s->begun && s->kind->prepare)
		o->rc = s->kind->prepare(s);
	s->begun = true;
	if (o->rc < 0)
		return;
	do {
		o->rc = s->kind->next(s);
	} while (o->rc > 0 && mono_now() < until && !op_dead(o));
	if (o->rc == 0 && s->e.text)
		snapshot_comment(s);
}

static void second_half(void *arg);

static void read_step(struct op *o)
{
	struct snapshot *s = (struct snapshot *)o;
	const struct http_loop *loop = o->h->loop;

	if (o->rc > 0) {
		op_run(o, LANE_ANY, read_work, read_step);
	} else if (o->rc < 0) {
		op_fail(o, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
	} else if (s->sign > 0) {
		end(o);
		s->e.time_ns = real_now();
		s->e.duration_ns = s->first_at ? mono_now() - s->first_at : 0;
		encode_start(&s->e);
	} else {
		s->first_at = mono_now();
		s->timer = loop->timer(loop->user, second_half, s);
		if (!s->timer)
			op_fail(o, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		else
			loop->arm(loop->user, s->timer, s->seconds * SECOND);
	}
}

static void second_half(void *arg)
{
	struct snapshot *s = arg;

	s->sign = 1;
	s->at = 0;
	s->begun = false;
	op_run(&s->e.op, LANE_ANY, read_work, read_step);
}

/* --- Requests ---------------------------------------------------------------------------------- */

bool seconds_ok(struct request *r, double seconds)
{
	if (seconds <= (double)r->h->opts.max_profile_seconds)
		return true;
	reply_error(r, MHD_HTTP_BAD_REQUEST, "seconds=%.15g is too long; at most %lld are allowed", seconds,
		    (long long)r->h->opts.max_profile_seconds);
	return false;
}

/* debug and seconds, as Go reads them; false: a reply is set. */
static bool form(struct request *r, const struct snapshot_kind *kind, bool *text, int64_t *seconds)
{
	struct param debug = param_int(r->query, "debug");
	struct param p = param_int(r->query, "seconds");

	*text = debug.valid && debug.value;
	*seconds = p.given ? p.value : 0;
	if (p.given && (!p.valid || p.value <= 0))
		reply_error(r, MHD_HTTP_BAD_REQUEST, "seconds must be a positive whole number");
	else if (p.given && kind->no_difference)
		reply_error(r, MHD_HTTP_BAD_REQUEST, "seconds is not supported for this profile");
	else if (p.given && *text)
		reply_error(r, MHD_HTTP_BAD_REQUEST, "seconds goes with debug=0 only");
	else
		return !p.given || seconds_ok(r, (double)p.value);
	return false;
}

void snapshot_init(struct snapshot *s, const struct snapshot_kind *kind)
{
	s->kind = kind;
	s->spec = kind->spec;
	s->e.head = (struct text_head){ .form = kind->form, .name = kind->text_name ? kind->text_name : kind->name };
}

static struct snapshot *snapshot_new(struct request *r, const struct snapshot_kind *kind)
{
	struct snapshot *s = op_new(r, sizeof(*s), BUDGET_COLLECTION, snapshot_free);

	if (!s)
		return NULL;
	snapshot_init(s, kind);
	s->e.op.cancelled = end;
	s->no_labels = r->h->opts.no_labels;
	return s;
}

void snapshot_start(struct request *r, const struct snapshot_kind *kind)
{
	struct filter filter;
	struct snapshot *s;
	int64_t seconds;
	bool text;
	char name[sizeof(s->e.filename)];

	if (!form(r, kind, &text, &seconds) || !filter_parse(r, &filter))
		return;
	snprintf(name, sizeof(name), "%s%s", kind->name, seconds ? "-delta" : "");
	if (r->method == METHOD_HEAD) {
		reply_head(r, text ? type_text : type_binary, text ? NULL : name);
		return;
	}
	s = snapshot_new(r, kind);
	if (!s)
		return;
	strcpy(s->e.filename, name);
	s->e.text = text;
	s->filter = filter;
	s->seconds = seconds;
	s->sign = seconds ? -1 : 1;
	s->spec.bare = filter.bare;
	if (kind->begin && !kind->begin(s, r)) {
		op_finish(&s->e.op);
		return;
	}
	s->e.p = pprof_new(&s->spec);
	if (!s->e.p)
		op_fail(&s->e.op, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
	else
		op_run(&s->e.op, LANE_ANY, read_work, read_step);
}

/* By name. */
static const struct snapshot_kind *const kinds[] = {
	&allocs_kind,      &block_kind,     &blocking_kind, &delta_block_kind, &delta_heap_kind,
	&delta_mutex_kind, &goroutine_kind, &heap_kind,     &mutex_kind,       &threadcreate_kind,
};

const struct snapshot_kind *snapshot_kind_at(size_t i)
{
	return i < sizeof(kinds) / sizeof(kinds[0]) ? kinds[i] : NULL;
}

const struct snapshot_kind *snapshot_kind_of(const char *name)
{
	const struct snapshot_kind *k;

	for (size_t i = 0; (k = snapshot_kind_at(i)) != NULL; i++)
		if (!strcmp(k->name, name))
			return k;
	return custom_kind(name);
}

void get_snapshot(struct request *r)
{
	const struct snapshot_kind *k = snapshot_kind_of(strrchr(r->path, '/') + 1);

	if (k)
		snapshot_start(r, k);
	else
		reply_error(r, MHD_HTTP_NOT_FOUND, "Unknown profile"); /* it went away a moment ago */
}
