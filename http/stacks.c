/* stacks.c - /debug/weft/stacks: how deep goroutines' stacks got, by start function, as text or JSON.
 *
 * The goroutines that live are measured first, 20,000 a pool task; what is known of those that have ended is there
 * already (runtime/highwater.c). */
#include "symbols.h"
#include "text.h"
#include "weft_read.h"

#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOOKS_A_TASK 20000

struct stacks {
	struct op op; /* first */
	bool json, more;
	uint64_t at;
	struct weft_stack_use use[WEFT_STACK_USE_MAX];
	struct buf out;
};

static void stacks_free(struct op *o)
{
	struct stacks *s = (struct stacks *)o;

	buf_free(&s->out);
	free(s);
}

/* --- Words --- */

static int deepest_first(const void *a, const void *b)
{
	const struct weft_stack_use *x = a, *y = b;

	if (x->used != y->used)
		return x->used < y->used ? 1 : -1;
	return x->fn < y->fn ? -1 : x->fn > y->fn;
}

/* A goroutine's start is the address of its function, not that of a call in it. */
static const char *name_of(const struct weft_stack_use *u)
{
	return symbols_at(u->fn).name;
}

static void text(struct buf *b, const struct weft_counters *c, const struct weft_stack_use *u, size_t n)
{
	buf_fmt(b, "stacks: %llu in use, guarded by %s, %llu with a canary only\n",
		(unsigned long long)c->stacks_in_use, c->guard, (unsigned long long)c->unguarded);
	buf_str(b, "      used       size      looks  function\n");
	for (size_t i = 0; i < n; i++)
		buf_fmt(b, "%10llu %10llu %10llu  %s\n", (unsigned long long)u[i].used, (unsigned long long)u[i].size,
			(unsigned long long)u[i].looks, name_of(&u[i]));
}

static void json(struct buf *b, const struct weft_counters *c, const struct weft_stack_use *u, size_t n)
{
	buf_fmt(b, "{\"in_use\":%llu,\"guard\":\"%s\",\"unguarded\":%llu,\"functions\":[",
		(unsigned long long)c->stacks_in_use, c->guard, (unsigned long long)c->unguarded);
	for (size_t i = 0; i < n; i++) {
		buf_fmt(b, "%s\n{\"used\":%llu,\"size\":%llu,\"looks\":%llu,\"function\":", i ? "," : "",
			(unsigned long long)u[i].used, (unsigned long long)u[i].size, (unsigned long long)u[i].looks);
		buf_json(b, name_of(&u[i]));
		buf_str(b, "}");
	}
	buf_str(b, "]}\n");
}

/* --- Steps --- */

static void look_work(struct op *o)
{
	struct stacks *s = (struct stacks *)o;

	s->more = weft_read_stack_look(&s->at, LOOKS_A_TASK);
}

static void words_work(struct op *o)
{
	struct stacks *s = (struct stacks *)o;
	struct weft_counters c;
	size_t n = weft_read_stack_use(s->use, WEFT_STACK_USE_MAX);

	op_names(o->h);
	weft_read_counters(&c);
	qsort(s->use, n, sizeof *s->use, deepest_first);
	(s->json ? json : text)(&s->out, &c, s->use, n);
}

static void words_step(struct op *o)
{
	struct stacks *s = (struct stacks *)o;

	if (s->out.failed) {
		op_fail(o, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return;
	}
	reply_bytes(o->r, s->json ? type_json : type_text, NULL, s->out.b, s->out.len);
	s->out = (struct buf){ 0 };
	op_finish(o);
}

static void look_step(struct op *o)
{
	if (((struct stacks *)o)->more)
		op_run(o, LANE_ANY, look_work, look_step);
	else
		op_run(o, LANE_NAMES, words_work, words_step);
}

void get_stacks(struct request *r)
{
	struct stacks *s;
	bool as_json;

	if (!reply_format(r, &as_json))
		return;
	if (r->method == METHOD_HEAD) {
		reply_head(r, as_json ? type_json : type_text, NULL);
		return;
	}
	s = op_new(r, sizeof(*s), BUDGET_COLLECTION, stacks_free);
	if (!s)
		return;
	s->json = as_json;
	op_run(&s->op, LANE_ANY, look_work, look_step);
}
