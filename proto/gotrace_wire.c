/* gotrace_wire.c - a trace in Go's format: header, batches of events, then stacks and strings.
 *
 * Each thread has its events in batches of its own, in order; between threads the order of batches is free, so each is
 * written when it is full.  Times are nanoseconds.  Events get strictly increasing times over all threads: so whoever
 * merges the threads by time finds the order in which they were written. */
#include "gotrace_impl.h"

#define HEADER "go 1.23 trace\0\0\0"
#define BATCH_MAX 65536
#define FULL 32768          /* and no event is near as long as what is left to BATCH_MAX */
#define SECTION_STACK 49152 /* a stack of GT_FRAMES_MAX frames fits into what is left */
#define SECTION_STRING (BATCH_MAX - GT_STRING_MAX - 32)

void gt_varint(struct buf *b, uint64_t v)
{
	uint8_t tmp[10];
	int n = 0;

	do {
		tmp[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		v >>= 7;
	} while (v);
	buf_add(b, tmp, (size_t)n);
}

static void byte(struct buf *b, unsigned v)
{
	uint8_t c = (uint8_t)v;

	buf_add(b, &c, 1);
}

static void head(struct gotrace *t)
{
	buf_add(&t->out, HEADER, 16);
}

static void batch(struct gotrace *t, int64_t tid, int64_t base, struct buf *payload)
{
	byte(&t->out, GT_EV_BATCH);
	gt_varint(&t->out, 1); /* the generation */
	gt_varint(&t->out, (uint64_t)tid);
	gt_varint(&t->out, (uint64_t)base);
	gt_varint(&t->out, payload->len);
	buf_add(&t->out, payload->b, payload->len);
	payload->len = 0;
	if (t->out.failed || payload->failed)
		t->failed = 1;
}

/* How many arguments each has, beside the time. */
static const uint8_t arity[64] = {
	[GT_EV_PROCS_CHANGE] = 2,      [GT_EV_PROC_START] = 2,      [GT_EV_PROC_STEAL] = 3,
	[GT_EV_PROC_STATUS] = 2,       [GT_EV_GO_CREATE] = 3,       [GT_EV_GO_START] = 2,
	[GT_EV_GO_STOP] = 2,           [GT_EV_GO_BLOCK] = 2,        [GT_EV_HEAP_ALLOC] = 1,
	[GT_EV_GO_LABEL] = 1,          [GT_EV_USER_TASK_BEGIN] = 4, [GT_EV_USER_TASK_END] = 2,
	[GT_EV_USER_REGION_BEGIN] = 3, [GT_EV_USER_REGION_END] = 3, [GT_EV_USER_LOG] = 4,
	[GT_EV_GO_UNBLOCK] = 3,        [GT_EV_GO_STATUS] = 3,       [GT_EV_GO_SYSCALL_BEGIN] = 2,
	[GT_EV_GO_STATUS_STACK] = 4,
};

static void event(struct gotrace *t, struct gt_m *m, unsigned id, const uint64_t *args)
{
	size_t before;

	if (m->b.len >= FULL)
		batch(t, m->tid, m->base, &m->b);
	if (!m->b.len)
		m->base = m->last = t->now;
	before = m->b.len;
	byte(&m->b, id);
	gt_varint(&m->b, (uint64_t)(t->now - m->last));
	for (int i = 0; i < arity[id]; i++)
		gt_varint(&m->b, args[i]);
	m->last = t->now;
	t->n_bytes += m->b.len - before;
}

void gt_section(struct gotrace *t)
{
	batch(t, -1, t->opts.from, &t->section);
}

static void section_of(struct gotrace *t, unsigned kind)
{
	if (!t->section.len)
		byte(&t->section, kind);
}

void gt_flush(struct gotrace *t, struct gt_m *m)
{
	if (m->b.len)
		batch(t, m->tid, m->base, &m->b);
	buf_free(&m->b);
}

static void sample(struct gotrace *t, const struct gt_sample *s)
{
	section_of(t, GT_EV_CPU_SAMPLES);
	byte(&t->section, GT_EV_CPU_SAMPLE);
	gt_varint(&t->section, (uint64_t)s->time);
	gt_varint(&t->section, (uint64_t)s->tid);
	gt_varint(&t->section, (uint64_t)s->p);
	gt_varint(&t->section, s->g);
	gt_varint(&t->section, s->stack);
	if (t->section.len >= SECTION_STACK)
		gt_section(t);
}

static void close(struct gotrace *t)
{
	if (t->section.len)
		gt_section(t);
	for (uint32_t i = 0; i < t->n_ms; i++)
		gt_flush(t, t->m[i]);
	byte(&t->section, GT_EV_FREQUENCY);
	gt_varint(&t->section, 1000000000);
	gt_section(t);
}

static void stack(struct gotrace *t, uint32_t id, const struct gt_frame *f, int n)
{
	section_of(t, GT_EV_STACKS);
	byte(&t->section, GT_EV_STACK);
	gt_varint(&t->section, id);
	gt_varint(&t->section, (uint64_t)n);
	for (int i = 0; i < n; i++) {
		gt_varint(&t->section, f[i].pc);
		gt_varint(&t->section, f[i].func);
		gt_varint(&t->section, f[i].file);
		gt_varint(&t->section, f[i].line);
	}
	if (t->section.len >= SECTION_STACK)
		gt_section(t);
}

static void tail(struct gotrace *t)
{
	if (t->section.len)
		gt_section(t);
	for (uint32_t i = 1; i <= t->n_strings; i++) {
		uint32_t len;
		const char *s = gt_string_at(t, i, &len);

		section_of(t, GT_EV_STRINGS);
		byte(&t->section, GT_EV_STRING);
		gt_varint(&t->section, i);
		gt_varint(&t->section, len);
		buf_add(&t->section, s, len);
		if (t->section.len >= SECTION_STRING)
			gt_section(t);
	}
	if (t->section.len)
		gt_section(t);
}

const struct gt_format gt_format_go = { false, head, event, sample, close, stack, tail, NULL };
