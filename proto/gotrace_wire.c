/* gotrace_wire.c - the bytes of a trace: header, batches, events.
 *
 * Each thread has its events in batches of its own, in order; between threads the order of batches is free, so each is
 * written when it is full.  Times are nanoseconds.  Events get strictly increasing times over all threads: so whoever
 * merges the threads by time finds the order in which they were written. */
#include "gotrace_impl.h"

#define FULL 32768 /* and no event is near as long as what is left to GT_BATCH_MAX */

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

void gt_head(struct gotrace *t)
{
	buf_add(&t->out, GT_HEADER, 16);
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

void gt_flush(struct gotrace *t, struct gt_m *m)
{
	if (m->b.len)
		batch(t, m->tid, m->base, &m->b);
	buf_free(&m->b);
}

/* How many arguments each has, beside the time. */
static const uint8_t arity[64] = {
	[GT_EV_PROCS_CHANGE] = 2, [GT_EV_PROC_START] = 2, [GT_EV_PROC_STEAL] = 3,       [GT_EV_PROC_STATUS] = 2,
	[GT_EV_GO_CREATE] = 3,    [GT_EV_GO_START] = 2,   [GT_EV_GO_STOP] = 2,          [GT_EV_GO_BLOCK] = 2,
	[GT_EV_GO_UNBLOCK] = 3,   [GT_EV_GO_STATUS] = 3,  [GT_EV_GO_SYSCALL_BEGIN] = 2, [GT_EV_GO_STATUS_STACK] = 4,
};

void gt_event(struct gotrace *t, struct gt_m *m, unsigned id, const uint64_t *args)
{
	int64_t now = t->now++;
	size_t before;

	if (m->b.len >= FULL)
		batch(t, m->tid, m->base, &m->b);
	if (!m->b.len)
		m->base = m->last = now;
	before = m->b.len;
	byte(&m->b, id);
	gt_varint(&m->b, (uint64_t)(now - m->last));
	for (int i = 0; i < arity[id]; i++)
		gt_varint(&m->b, args[i]);
	m->last = now;
	t->n_bytes += m->b.len - before;
	t->n_events++;
}

void gt_section(struct gotrace *t)
{
	batch(t, -1, t->opts.from, &t->section);
}
