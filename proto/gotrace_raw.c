/* gotrace_raw.c - see gotrace_raw.h.
 *
 * The sections are gone through three times: for the modules, for who lived (which tells the converter what it has to
 * know of goroutines that did nothing), and for the records.  Whatever a section says is checked against its length:
 * the file was written by a process that had just shown that its memory is not to be trusted. */
#include "gotrace_raw.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gotrace_impl.h"
#include "symbols.h"

#define REC_WORDS 4 /* of 64 bits: see weft_raw.h */

struct reader {
	const char *at, *end;
	const struct weft_raw_section *s; /* the section that next() found, and its bytes */
	const void *p;
};
struct converter {
	const char *bytes;
	size_t n;
	const struct weft_raw_head *head;
	const struct weft_raw_stack **stack; /* by id */
	uint32_t n_stacks;
	const char **name; /* by number */
	uint32_t n_names;
	const struct weft_raw_labels **labels; /* by slot */
	uint32_t n_slots;
	int64_t lost;
};

/* --- Sections ----------------------------------------------------------------------------------------- */

/* Sections need not lie where their structs would: all are copied or hold bytes only.  Here, all are multiples of 8. */
static bool next(struct reader *r)
{
	const struct weft_raw_section *s = (const void *)r->at;

	if ((size_t)(r->end - r->at) < sizeof *s)
		return false;
	r->s = s;
	r->p = s + 1;
	r->at += sizeof *s;
	if (s->kind == WEFT_RAW_TEXT || s->bytes > (size_t)(r->end - r->at) || s->bytes % 8)
		return s->kind == WEFT_RAW_TEXT;
	r->at += s->bytes;
	return true;
}

static struct reader sections(const struct converter *c)
{
	return (struct reader){ c->bytes + 16, c->bytes + c->n, NULL, NULL };
}

const struct weft_raw_head *gotrace_raw_head(const void *bytes, size_t n)
{
	struct reader r = { (const char *)bytes + 16, (const char *)bytes + n, NULL, NULL };

	const struct weft_raw_head *h;

	if (n < 16 || memcmp(bytes, WEFT_RAW_MAGIC, 16) != 0 || !next(&r) || r.s->kind != WEFT_RAW_HEAD ||
	    r.s->bytes < sizeof(struct weft_raw_head))
		return NULL;
	h = r.p;
	return h->now > 0 && h->now < INT64_MAX / 2 && h->pid > 0 ? h : NULL;
}

/* --- Modules and stacks --------------------------------------------------------------------------------- */

static void take_module(struct weft_module *m, const struct weft_raw_module *r)
{
	*m = (struct weft_module){
		.path = strndup(r->path, sizeof r->path),
		.bias = r->bias,
		.start = r->start,
		.limit = r->limit,
		.offset = r->offset,
		.build_id_len = r->build_id_len <= WEFT_BUILD_ID_MAX ? r->build_id_len : 0,
		.plugin = r->plugin,
		.program = r->program,
		.fd = -1,
	};
	memcpy(m->build_id, r->build_id, sizeof m->build_id);
	if (!m->path)
		m->path = "";
}

static int take_modules(struct converter *c, size_t *missing)
{
	struct weft_modules *ms;
	struct reader r = sections(c);
	size_t n = 0;

	while (next(&r) && r.s->kind != WEFT_RAW_TEXT)
		n += r.s->kind == WEFT_RAW_MODULE && r.s->bytes >= sizeof(struct weft_raw_module);
	ms = calloc(1, sizeof *ms + n * sizeof ms->m[0]);
	if (!ms)
		return -ENOMEM;
	ms->generation = 1;
	r = sections(c);
	while (next(&r) && ms->n < n)
		if (r.s->kind == WEFT_RAW_MODULE && r.s->bytes >= sizeof(struct weft_raw_module))
			take_module(&ms->m[ms->n++], r.p);
	*missing = weft_read_foreign(ms, c->head->runtime, c->head->runtime_end); /* which keeps them */
	return symbols_update();
}

static bool is_stack(const struct reader *r)
{
	const struct weft_raw_stack *k = r->p;

	return r->s->kind == WEFT_RAW_STACK && r->s->bytes >= offsetof(struct weft_raw_stack, pc) &&
	       k->depth <= WEFT_STACK_MAX &&
	       r->s->bytes >= offsetof(struct weft_raw_stack, pc) + k->depth * sizeof k->pc[0] && k->id < 1u << 24;
}

static int take_stacks(struct converter *c)
{
	struct reader r = sections(c);

	while (next(&r) && r.s->kind != WEFT_RAW_TEXT)
		if (is_stack(&r) && ((const struct weft_raw_stack *)r.p)->id >= c->n_stacks)
			c->n_stacks = ((const struct weft_raw_stack *)r.p)->id + 1;
	c->stack = calloc(c->n_stacks + 1, sizeof *c->stack);
	if (!c->stack)
		return -ENOMEM;
	r = sections(c);
	while (next(&r) && r.s->kind != WEFT_RAW_TEXT)
		if (is_stack(&r))
			c->stack[((const struct weft_raw_stack *)r.p)->id] = r.p;
	return 0;
}

static int stack_of(void *user, uint32_t id, uint64_t *pc, int cap)
{
	const struct converter *c = user;
	const struct weft_raw_stack *k = id < c->n_stacks ? c->stack[id] : NULL;
	int n = k ? (int)k->depth : 0;

	n = n < cap ? n : cap;
	if (n > 0)
		memcpy(pc, k->pc, (size_t)n * sizeof *pc);
	return n;
}

/* --- What plugins called things ----------------------------------------------------------------------- */

static bool is_name(const struct reader *r)
{
	const struct weft_raw_name *name = r->p;

	return r->s->kind == WEFT_RAW_NAME && r->s->bytes >= sizeof *name && name->number < 1u << 24 &&
	       memchr(name->text, 0, sizeof name->text);
}

static bool is_labels(const struct reader *r)
{
	const struct weft_raw_labels *l = r->p;

	return r->s->kind == WEFT_RAW_LABELS && r->s->bytes >= offsetof(struct weft_raw_labels, l) &&
	       l->n <= WEFT_LABELS_MAX && r->s->bytes >= offsetof(struct weft_raw_labels, l) + l->n * sizeof l->l[0] &&
	       l->slot < 1u << 24;
}

static void count_words(struct converter *c)
{
	struct reader r = sections(c);

	while (next(&r) && r.s->kind != WEFT_RAW_TEXT) {
		const struct weft_raw_name *name = r.p;
		const struct weft_raw_labels *l = r.p;

		if (is_name(&r) && name->number >= c->n_names)
			c->n_names = name->number + 1;
		if (is_labels(&r) && l->slot >= c->n_slots)
			c->n_slots = (uint32_t)l->slot + 1;
	}
}

static int take_words(struct converter *c)
{
	struct reader r = sections(c);

	count_words(c);
	c->name = calloc(c->n_names + 1, sizeof *c->name);
	c->labels = calloc(c->n_slots + 1, sizeof *c->labels);
	if (!c->name || !c->labels)
		return -ENOMEM;
	while (next(&r) && r.s->kind != WEFT_RAW_TEXT) {
		if (is_name(&r))
			c->name[((const struct weft_raw_name *)r.p)->number] =
				((const struct weft_raw_name *)r.p)->text;
		else if (is_labels(&r))
			c->labels[((const struct weft_raw_labels *)r.p)->slot] = r.p;
	}
	return 0;
}

static const char *name_of(void *user, uint32_t number)
{
	const struct converter *c = user;

	return number < c->n_names && c->name[number] ? c->name[number] : "";
}

static bool labels_of(void *user, uint64_t slot, uint32_t generation, struct weft_labels *out)
{
	const struct converter *c = user;
	const struct weft_raw_labels *l = slot < c->n_slots ? c->labels[slot] : NULL;

	out->n = 0;
	if (!slot)
		return true;
	if (!l || l->generation != generation)
		return false;
	out->n = (int)l->n;
	for (uint32_t i = 0; i < l->n; i++) {
		snprintf(out->l[i].key, sizeof out->l[i].key, "%.*s", (int)sizeof l->l[i].key - 1, l->l[i].key);
		snprintf(out->l[i].value, sizeof out->l[i].value, "%.*s", (int)sizeof l->l[i].value - 1, l->l[i].value);
	}
	return true;
}

/* --- Who lived ----------------------------------------------------------------------------------------- */

static void take_goroutine(struct converter *c, struct gotrace *t, const struct reader *r)
{
	const struct weft_raw_goroutine *g = r->p;
	struct weft_goroutine w = { 0 };

	if (r->s->bytes < offsetof(struct weft_raw_goroutine, pc) || !g->id || g->status > WEFT_G_SYSCALL ||
	    g->depth < 0 || g->depth > WEFT_STACK_MAX ||
	    r->s->bytes < offsetof(struct weft_raw_goroutine, pc) + (size_t)g->depth * sizeof g->pc[0])
		return;
	w.id = g->id;
	w.start = g->start;
	w.since = g->since;
	w.instance = g->instance;
	w.status = (enum weft_g_status)g->status;
	w.flags = g->flags;
	w.tid = g->tid;
	w.depth = g->depth;
	memcpy(w.pc, g->pc, (size_t)g->depth * sizeof g->pc[0]);
	(void)labels_of(c, g->label_slot, g->label_generation, &w.labels);
	gotrace_goroutine(t, &w);
}

static void take_living(struct converter *c, struct gotrace *t)
{
	struct reader r = sections(c);

	while (next(&r) && r.s->kind != WEFT_RAW_TEXT)
		if (r.s->kind == WEFT_RAW_GOROUTINE)
			take_goroutine(c, t, &r);
	for (int i = 0; i < c->head->n_ps && i < 256; i++)
		if (c->head->p_status[i] != WEFT_P_RETIRED)
			gotrace_proc(t, i);
	gotrace_procs(t, c->head->maxprocs);
	r = sections(c);
	while (next(&r) && r.s->kind != WEFT_RAW_TEXT) {
		const struct weft_sched_m *ms = r.p;

		for (size_t i = 0; r.s->kind == WEFT_RAW_THREADS && i < r.s->bytes / sizeof *ms; i++)
			if (ms[i].tid > 0)
				gotrace_thread(t, &ms[i]);
	}
}

/* --- Records ------------------------------------------------------------------------------------------- */

/* Whatever the numbers are. */
static int64_t time_of(const struct weft_raw_head *h, uint64_t tsc)
{
	uint64_t ns = (uint64_t)h->ns;

	if (tsc >= h->tsc)
		return (int64_t)(ns + (uint64_t)((unsigned __int128)(tsc - h->tsc) * h->mult >> 32));
	return (int64_t)(ns - (uint64_t)((unsigned __int128)(h->tsc - tsc) * h->mult >> 32));
}

static bool is_chunk(const struct reader *r)
{
	const struct weft_raw_chunk *k = r->p;

	return r->s->kind == WEFT_RAW_CHUNK && r->s->bytes >= sizeof *k && k->n <= 1024 &&
	       (k->tid >= 0 || k->tid == WEFT_REC_SAMPLES) &&
	       r->s->bytes >= sizeof *k + k->n * REC_WORDS * sizeof(uint64_t);
}

static int by_thread(const void *a, const void *b)
{
	const struct weft_raw_chunk *x = *(const struct weft_raw_chunk *const *)a;
	const struct weft_raw_chunk *y = *(const struct weft_raw_chunk *const *)b;

	if (x->tid != y->tid)
		return x->tid < y->tid ? -1 : 1;
	return x->first_index < y->first_index ? -1 : x->first_index > y->first_index;
}

/* It is about a goroutine or a task, whose ids begin at 1. */
static bool has_subject(const struct weft_rec *r)
{
	switch (r->event) {
	case WEFT_EV_TASK_BEGIN:
	case WEFT_EV_TASK_END:
	case WEFT_EV_SYSCALL_BEGIN:
	case WEFT_EV_SYSCALL_END:
	case WEFT_EV_PROC_STEAL:
	case WEFT_EV_HANDOFF:
		return true;
	}
	return gt_has_g_seq(r);
}

static void take_chunk(const struct weft_raw_head *h, struct weft_recs *out, const struct weft_raw_chunk *k)
{
	const uint64_t *w = (const uint64_t *)(k + 1);

	for (uint32_t i = 0; i < k->n; i++, w += REC_WORDS) {
		struct weft_rec *r = &out->r[out->n];

		*r = (struct weft_rec){
			.time = time_of(h, w[0]),
			.at = k->first_index + i,
			.gid = w[1] >> 16,
			.event = (uint8_t)(w[1] >> 8),
			.flags = (uint8_t)w[1],
			.subject = w[2] >> 16,
			.pid = (uint16_t)w[2],
			.stack = (uint32_t)w[3],
			.seq = (uint32_t)(w[3] >> 32),
			.tid = k->tid,
		};
		out->n += r->subject || !has_subject(r);
	}
}

static struct weft_recs *take_records(struct converter *c)
{
	const struct weft_raw_chunk **chunk;
	struct weft_recs *recs = NULL;
	struct reader r = sections(c);
	size_t n = 0, cap = 0;

	while (next(&r) && r.s->kind != WEFT_RAW_TEXT)
		n += is_chunk(&r);
	chunk = calloc(n + 1, sizeof *chunk);
	if (!chunk)
		return NULL;
	n = 0;
	r = sections(c);
	while (next(&r) && r.s->kind != WEFT_RAW_TEXT) {
		if (is_chunk(&r)) {
			chunk[n++] = r.p;
			cap += chunk[n - 1]->n;
		} else if (r.s->kind == WEFT_RAW_END && r.s->bytes >= sizeof c->lost) {
			memcpy(&c->lost, r.p, sizeof c->lost);
		}
	}
	qsort(chunk, n, sizeof *chunk, by_thread);
	recs = calloc(1, sizeof *recs + cap * sizeof recs->r[0]);
	for (size_t i = 0; recs && i < n; i++)
		take_chunk(c->head, recs, chunk[i]);
	if (c->lost < 0 || c->lost > c->head->now)
		c->lost = 0;
	if (recs)
		recs->lost = c->lost;
	free(chunk);
	return recs;
}

/* --- The whole ------------------------------------------------------------------------------------------ */

static int convert(struct converter *c, enum gotrace_format format, struct gotrace_raw *out)
{
	struct gotrace_opts opts = { .format = format,
				     .host = c->head->pid,
				     .stack = stack_of,
				     .name = name_of,
				     .labels = labels_of,
				     .user = c };
	struct weft_recs *recs = take_records(c);
	struct gotrace *t;
	int rc = -ENOMEM;

	if (recs)
		opts.from = recs->lost = gotrace_from(recs, 1, c->head->now);
	t = recs ? gotrace_new(&opts) : NULL;
	if (t) {
		take_living(c, t);
		gotrace_begin(t, recs);
		while ((rc = gotrace_write(t, c->head->now, INT64_MAX)) > 0)
			; /* names */
		if (rc == 0 && !gotrace_events(t))
			rc = -ENODATA;
		if (rc == 0)
			rc = gotrace_end(t, INT64_MAX);
		out->trace = *gotrace_out(t);
		*gotrace_out(t) = (struct buf){ 0 };
	}
	gotrace_free(t);
	free(recs);
	return rc;
}

int gotrace_raw(const void *bytes, size_t n, enum gotrace_format format, struct gotrace_raw *out)
{
	struct converter c = { .bytes = bytes, .n = n, .head = gotrace_raw_head(bytes, n) };
	struct reader r;
	int rc;

	*out = (struct gotrace_raw){ 0 };
	if (!c.head)
		return -EINVAL;
	c.lost = c.head->lost;
	rc = take_modules(&c, &out->missing);
	if (rc == 0)
		rc = take_stacks(&c);
	if (rc == 0)
		rc = take_words(&c);
	if (rc == 0)
		rc = convert(&c, format, out);
	free(c.stack);
	free(c.name);
	free(c.labels);
	r = sections(&c);
	while (!out->whole && next(&r))
		out->whole = r.s->kind == WEFT_RAW_TEXT;
	if (out->whole) {
		out->text = r.p;
		out->text_len = (size_t)(r.end - out->text);
	}
	return rc;
}
