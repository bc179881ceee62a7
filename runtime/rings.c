/* rings.c - reading what the recorder holds, while everybody goes on writing.
 *
 * What there is to be read is decided first, chunk by chunk; then each is copied, and thrown away if it was recycled
 * since.  The newest go first: who writes comes from the other end, so however slow the reader is, what it gets is
 * the last of what there was, without a hole.  rt_heavy() comes before all: what others have done by then is found, as
 * far as they had recorded it (a thread that read the clock and was stopped before it wrote is late, not out of order).
 *
 * Memory comes from the kernel, as for all that must work while every worker is stuck. */
#include <stdlib.h>
#include <string.h>

#include "rt.h"
#include "sys.h"

struct span {
	const struct rt_chunk *c;
	uint64_t generation;
	uint64_t first, last; /* the index of its first record, the stamp of its last */
	size_t at;            /* where its records go */
	uint32_t n;
	int tid;
};

static int by_thread(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	if (x->tid != y->tid)
		return x->tid < y->tid ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

static int by_place(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

static int newest_first(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return x->last > y->last ? -1 : x->last < y->last;
}

static size_t size_of(size_t cap)
{
	return sizeof(struct weft_recs) + cap * sizeof(struct weft_rec);
}

/* Chunks with something to be copied.  Not in time order of threads with the same id: those are of one thread, or of
 * one that ended before the other began. */
static size_t choose(struct span *out, const struct rt_chunk *c, size_t n_chunks, uint64_t from)
{
	size_t n = 0;

	for (size_t i = 0; i < n_chunks; i++, c++) {
		struct span s = { .c = c };

		s.generation = ld_acq(&c->generation); /* pairs with the release in renew() */
		s.n = ld_acq(&c->n);                   /* pairs with the release in rt_record() */
		s.last = s.n ? ld(&c->rec[s.n - 1].tsc) : 0;
		s.first = ld(&c->first_index);
		s.tid = ld(&c->tid);
		if (s.n && s.last >= from && s.generation % 2 == 0)
			out[n++] = s;
	}
	qsort(out, n, sizeof *out, by_thread);
	for (size_t i = 0, at = 0; i < n; at += out[i++].n)
		out[i].at = at;
	qsort(out, n, sizeof *out, newest_first);
	return n;
}

static void copy_rec(struct weft_rec *to, const struct rt_rec *r)
{
	uint64_t gid_type = ld(&r->gid_type), subject_pid = ld(&r->subject_pid), stack_seq = ld(&r->stack_seq);

	*to = (struct weft_rec){
		.time = (int64_t)ld(&r->tsc), /* converted once it is known to be whole */
		.gid = gid_type >> 16,
		.subject = subject_pid >> 16,
		.stack = (uint32_t)stack_seq,
		.seq = (uint32_t)(stack_seq >> 32),
		.pid = (uint16_t)subject_pid,
		.event = (uint8_t)(gid_type >> 8),
		.flags = (uint8_t)gid_type,
	};
}

/* False: it was recycled, and there is nothing of it. */
static bool copy_chunk(struct weft_recs *out, const struct span *s)
{
	struct weft_rec *to = out->r + s->at;

	for (uint32_t i = 0; i < s->n; i++) {
		copy_rec(&to[i], &s->c->rec[i]);
		to[i].at = s->first + i;
		to[i].tid = s->tid;
	}
	atomic_thread_fence(memory_order_acquire); /* with the release fence in renew() */
	if (ld(&s->c->generation) != s->generation)
		return false;
	for (uint32_t i = 0; i < s->n; i++)
		to[i].time = rt_tsc_to_ns((uint64_t)to[i].time);
	return true;
}

/* *lost grows by what was recycled meanwhile. */
static void copy_all(struct weft_recs *out, struct span *spans, size_t n, uint64_t *lost)
{
	for (size_t i = 0; i < n; i++) {
		struct span *s = &spans[i];
		uint64_t last;

		if (copy_chunk(out, s))
			continue;
		last = s->n == RT_CHUNK_RECS ? s->last
					     : rt_rec_lost(); /* to one that was not full there may have come more */
		*lost = last > *lost ? last : *lost;
		s->n = 0;
	}
}

/* Close the gaps where there is nothing. */
static void close_up(struct weft_recs *out, struct span *spans, size_t n)
{
	qsort(spans, n, sizeof *spans, by_place);
	for (size_t i = 0; i < n; i++) {
		if (spans[i].at != out->n)
			memmove(out->r + out->n, out->r + spans[i].at, spans[i].n * sizeof *out->r);
		out->n += spans[i].n;
	}
}

struct weft_recs *weft_recs_read(int64_t from)
{
	size_t n_chunks, n;
	const struct rt_chunk *chunks = rt_rec_chunks(&n_chunks);
	struct span *spans = rt_map((n_chunks + 1) * sizeof *spans);
	struct weft_recs *out = rt_map(size_of(n_chunks * RT_CHUNK_RECS)); /* what is not used costs nothing */
	uint64_t lost;

	if (spans && out) {
		rt_heavy();
		n = choose(spans, chunks, n_chunks, rt_ns_to_tsc(from));
		lost = rt_rec_lost(); /* what was recycled before it was chosen */
		out->cap = n_chunks * RT_CHUNK_RECS;
		copy_all(out, spans, n, &lost);
		close_up(out, spans, n);
		out->lost = rt_tsc_to_ns(lost);
	} else if (out) {
		rt_unmap(out, size_of(n_chunks * RT_CHUNK_RECS));
		out = NULL;
	}
	if (spans)
		rt_unmap(spans, (n_chunks + 1) * sizeof *spans);
	return out;
}

static void text_of(const struct weft_rec *r, char out[RT_TEXT_BYTES])
{
	memcpy(out, &r->subject, 6);
	memcpy(out + 6, &r->stack, 4);
	memcpy(out + 10, &r->seq, 4);
}

int weft_rec_text(const struct weft_rec *first, const struct weft_rec *r, char *out, size_t cap)
{
	char text[WEFT_TRACE_TEXT + RT_TEXT_BYTES] = "";
	int n = r->flags;
	size_t len;

	if (r - first < n || n > (WEFT_TRACE_TEXT + RT_TEXT_BYTES - 1) / RT_TEXT_BYTES)
		return -1;
	for (int i = 0; i < n; i++) {
		const struct weft_rec *part = r - n + i;

		if (part->event != WEFT_EV_TEXT || part->flags != i || part->tid != r->tid ||
		    part->at + (uint64_t)(n - i) != r->at)
			return -1;
		text_of(part, text + i * RT_TEXT_BYTES);
	}
	len = strlen(text);
	if (cap) {
		len = rt_text_cut(text, len, cap - 1);
		memcpy(out, text, len);
		out[len] = 0;
	}
	return (int)len;
}

void weft_recs_free(struct weft_recs *recs)
{
	if (recs)
		rt_unmap(recs, size_of(recs->cap));
}

/* Append those of r's thread; they end before `end`.  Those up to number `done` are there already. */
static const struct weft_rec *append_thread(struct weft_recs *out, const struct weft_rec *r, const struct weft_rec *end,
					    uint64_t *done)
{
	int tid = r->tid;

	for (; r < end && r->tid == tid; r++) {
		if (r->at < *done)
			continue;
		out->r[out->n++] = *r;
		*done = r->at + 1;
	}
	return r;
}

struct weft_recs *weft_recs_join(const struct weft_recs *a, const struct weft_recs *b)
{
	const struct weft_rec *x = a->r, *x_end = x + a->n, *y = b->r, *y_end = y + b->n;
	struct weft_recs *out = rt_map(size_of(a->n + b->n));

	if (!out)
		return NULL;
	out->cap = a->n + b->n;
	out->lost = a->lost;
	while (x < x_end || y < y_end) {
		int tid = y == y_end || (x < x_end && x->tid < y->tid) ? x->tid : y->tid;
		uint64_t done = 0;

		if (x < x_end && x->tid == tid)
			x = append_thread(out, x, x_end, &done);
		if (y < y_end && y->tid == tid)
			y = append_thread(out, y, y_end, &done);
	}
	return out;
}
