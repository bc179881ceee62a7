/* chromecheck.c - see chromecheck.h. */
#include "chromecheck.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An event that takes part in a rule about several. */
struct ev {
	int64_t pid, tid, from, to;
	const char *name, *cat, *id;
	int order; /* in the file */
	char ph;
	int parent; /* of a slice: the one around it, -1: none */
};
struct list {
	struct ev *ev;
	int n, cap;
};
static struct {
	struct chromecheck *c;
	json_t *frames;
	struct list slices, arrows, spans, named;
} now;

static bool wrong(const struct ev *e, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (*now.c->err)
		return false;
	va_start(ap, fmt);
	n = vsnprintf(now.c->err, sizeof now.c->err, fmt, ap);
	va_end(ap);
	if (e && n >= 0 && (size_t)n < sizeof now.c->err)
		snprintf(now.c->err + n, sizeof now.c->err - (size_t)n, ": event %d, %c, \"%.60s\" at %lld ns",
			 e->order, e->ph, e->name, (long long)e->from);
	return false;
}

static void add(struct list *l, struct ev e)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 1024;
		l->ev = realloc(l->ev, (size_t)l->cap * sizeof *l->ev);
	}
	l->ev[l->n++] = e;
}

static int64_t ns(const json_t *v)
{
	return json_is_number(v) ? llround(json_number_value(v) * 1000) : -1;
}

/* --- One event -------------------------------------------------------------------------------------- */

static bool stack_is_there(const struct ev *e, const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	char id[32];

	if (!v)
		return true;
	now.c->stacks++;
	snprintf(id, sizeof id, "%lld", (long long)json_integer_value(v));
	return json_object_get(now.frames, id) || wrong(e, "%s %s is not in stackFrames", key, id);
}

static bool take_counter(const struct ev *e, json_t *o)
{
	const char *key;
	json_t *v;

	now.c->counters++;
	json_object_foreach(json_object_get(o, "args"), key,
			    v) if (!json_is_integer(v) ||
				   json_integer_value(v) < 0) return wrong(e, "a counter is below 0, or none");
	return true;
}

static bool take(int order, json_t *o)
{
	const char *ph = json_string_value(json_object_get(o, "ph"));
	struct ev e = { .order = order,
			.ph = ph ? *ph : '?',
			.name = json_string_value(json_object_get(o, "name")),
			.cat = json_string_value(json_object_get(o, "cat")),
			.id = json_string_value(json_object_get(o, "id")),
			.pid = json_integer_value(json_object_get(o, "pid")),
			.tid = json_integer_value(json_object_get(o, "tid")),
			.from = ns(json_object_get(o, "ts")) };

	if (!e.name || !*e.name || e.pid <= 0 || e.tid <= 0)
		return wrong(NULL, "event %d has no name, process or thread", order);
	if (e.ph == 'M') {
		if (!strcmp(e.name, "thread_name"))
			add(&now.named, e);
		return true;
	}
	if (e.from < 0 || !e.cat)
		return wrong(&e, "no time or category");
	if (strchr("stben", e.ph) && !e.id)
		return wrong(&e, "no id");
	if (!stack_is_there(&e, o, "sf") || !stack_is_there(&e, o, "esf"))
		return false;
	switch (e.ph) {
	case 'X':
		e.to = e.from + ns(json_object_get(o, "dur"));
		add(&now.slices, e);
		return e.to >= e.from || wrong(&e, "it ends before it begins");
	case 's':
	case 't':
		add(&now.arrows, e);
		return true;
	case 'b':
	case 'e':
		add(&now.spans, e);
		return true;
	case 'i':
		now.c->instants++;
		return true;
	case 'C':
		return take_counter(&e, o);
	}
	return e.ph == 'n' || wrong(&e, "no such kind");
}

/* --- Slices ------------------------------------------------------------------------------------------- */

static int compare(int64_t a, int64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_track(const struct ev *x, const struct ev *y)
{
	return x->pid != y->pid ? compare(x->pid, y->pid) : compare(x->tid, y->tid);
}

static int by_place(const void *a, const void *b)
{
	const struct ev *x = a, *y = b;
	int d = by_track(x, y);

	d = d ? d : compare(x->from, y->from);
	return d ? d : compare(y->to, x->to);
}

static bool is_named(const struct ev *e)
{
	for (int i = 0; i < now.named.n; i++)
		if (by_track(&now.named.ev[i], e) == 0)
			return true;
	return wrong(e, "its track has no name");
}

static bool slices_nest(void)
{
	struct ev *s = now.slices.ev;
	int around = -1;

	if (now.slices.n)
		qsort(s, (size_t)now.slices.n, sizeof *s, by_place);
	for (int i = 0; i < now.slices.n; i++) {
		if (i == 0 || by_track(&s[i], &s[i - 1]) != 0) {
			around = -1;
			if (!is_named(&s[i]))
				return false;
		}
		while (around >= 0 && s[around].to < s[i].from)
			around = s[around].parent;
		if (around >= 0 && (s[i].from <= s[around].from || s[i].to >= s[around].to))
			return wrong(&s[i], "it lies neither beside nor in the slice of event %d", s[around].order);
		s[i].parent = around;
		around = i;
	}
	return true;
}

/* The innermost slice around an end of an arrow. */
static const struct ev *slice_of(const struct ev *e)
{
	struct ev key = *e;
	int lo = 0, hi = now.slices.n;

	key.to = -1; /* behind all that begin there */
	while (lo < hi) {
		int mid = (lo + hi) / 2;

		if (by_place(&now.slices.ev[mid], &key) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (int i = lo - 1; i >= 0; i = now.slices.ev[i].parent) {
		const struct ev *s = &now.slices.ev[i];

		if (by_track(s, e) != 0)
			break;
		if (s->from <= e->from && e->from <= s->to)
			return s;
	}
	return NULL;
}

/* --- Arrows, spans -------------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
	const struct ev *x = a, *y = b;
	int d = strcmp(x->cat, y->cat);

	d = d ? d : strcmp(x->id, y->id);
	d = d ? d : compare(x->from, y->from);
	return d ? d : compare(x->order, y->order);
}

static bool arrows_have_ends(void)
{
	struct ev *e = now.arrows.ev;

	if (now.arrows.n)
		qsort(e, (size_t)now.arrows.n, sizeof *e, by_id);
	for (int i = 0; i < now.arrows.n; i += 2) {
		const struct ev *to;

		if (i + 1 == now.arrows.n || strcmp(e[i].id, e[i + 1].id) || e[i].ph != 's' || e[i + 1].ph != 't')
			return wrong(&e[i], "half of an arrow");
		if (!slice_of(&e[i]))
			return wrong(&e[i], "an arrow comes from no slice");
		to = slice_of(&e[i + 1]);
		if (!to || to->from != e[i + 1].from)
			return wrong(&e[i + 1], "an arrow leads to no slice's beginning");
	}
	return true;
}

/* Spans of one id, a stack of those that are open: each `e` closes the innermost. */
static bool spans_nest(void)
{
	struct ev *e = now.spans.ev;
	int open = -1;

	if (now.spans.n)
		qsort(e, (size_t)now.spans.n, sizeof *e, by_id);
	for (int i = 0; i < now.spans.n; i++) {
		if (open >= 0 && (strcmp(e[i].cat, e[open].cat) || strcmp(e[i].id, e[open].id)))
			return wrong(&e[open], "it never ends");
		if (e[i].ph == 'b') {
			e[i].parent = open;
			open = i;
			continue;
		}
		if (open < 0 || strcmp(e[open].name, e[i].name))
			return wrong(&e[i], "what ends is not what began last");
		open = e[open].parent;
	}
	return open < 0 || wrong(&e[open], "it never ends");
}

/* --- The file --------------------------------------------------------------------------------------------- */

static bool frames_are_whole(void)
{
	const char *key;
	json_t *f;

	json_object_foreach(now.frames, key, f)
	{
		const char *parent = json_string_value(json_object_get(f, "parent"));

		if (!json_is_string(json_object_get(f, "name")) || (parent && !json_object_get(now.frames, parent)))
			return wrong(NULL, "frame %s has no name, or a caller that is not there", key);
	}
	return true;
}

static bool check(json_t *all)
{
	json_t *events = json_object_get(all, "traceEvents"), *e;
	size_t i;

	now.frames = json_object_get(all, "stackFrames");
	if (!json_is_array(events) || !json_is_object(now.frames))
		return wrong(NULL, "no traceEvents or stackFrames");
	json_array_foreach(events, i, e) if (!take((int)i, e)) return false;
	now.c->slices = now.slices.n;
	now.c->arrows = now.arrows.n / 2;
	now.c->spans = now.spans.n / 2;
	now.c->frames = (int)json_object_size(now.frames);
	return frames_are_whole() && slices_nest() && arrows_have_ends() && spans_nest();
}

bool chromecheck(struct chromecheck *c, const char *bytes, size_t len)
{
	json_error_t error;
	json_t *all = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &error);
	bool good;

	memset(&now, 0, sizeof now);
	memset(c, 0, sizeof *c);
	now.c = c;
	good = all ? check(all) : wrong(NULL, "no JSON: line %d: %s", error.line, error.text);
	json_decref(all);
	free(now.slices.ev);
	free(now.arrows.ev);
	free(now.spans.ev);
	free(now.named.ev);
	return good;
}
