/* snapshot.c - one look at all goroutines, stopping nobody.
 *
 * Why each is reported exactly once: a goroutine keeps its slot for life, and the slots that were open
 * when the snapshot began are visited once each, in order.  What stands still is reported on the spot
 * (gread.c).  What runs, or would not stand still, is put aside under its id and settled at the end, within
 * RT_ANSWER_WAIT in all, or RT_ANSWER_STARVED while a thread that was asked waits for a CPU: by turns it is
 * looked at again, in case it has parked, and the threads that run any of those left are asked all at
 * once (capture.c); the answer counts for the id that it names.  A goroutine that ended meanwhile is dropped, and
 * whoever has its slot now began too late to count.
 *
 * No locks, and no memory but from the kernel: it has to work while every worker is stuck, also inside
 * malloc. */
#include <string.h>

#include "capture.h"
#include "sys.h"

#define ROUND (4 * WEFT_MS) /* how long one round waits for answers before it looks around again */
#define SPIN (30 * WEFT_US)

struct aside {
	struct g *g;
	uint32_t slot; /* not g->slot: the page may have been given back */
	uint64_t id, labels;
	enum { OPEN, SETTLED, GONE } state;
	struct weft_goroutine w; /* w.id may be a later goroutine's while OPEN */
};

struct weft_snapshot {
	/* the walk */
	uint32_t arena, slot;
	uint32_t one_in; /* slots that are looked at, by chance */
	bool ask_nobody; /* those that run are reported without a stack */
	uint64_t seed;
	uint32_t n_arenas;
	uint32_t opened[RT_ARENAS_MAX]; /* when the snapshot began */
	/* put aside, by ascending slot */
	struct aside *aside;
	uint32_t n_aside, cap_aside, at;
	uint32_t n_open;
	bool settled;
	/* while settling */
	struct rt_question *asks; /* sent and not answered yet */
	uint32_t n_asks, cap_asks;
	struct rt_captured answer;
};

struct weft_snapshot *weft_snapshot_new(void)
{
	return weft_snapshot_some(1, 0);
}

struct weft_snapshot *weft_snapshot_some(uint32_t one_in, uint64_t seed)
{
	struct weft_snapshot *s = rt_map(sizeof *s);

	if (!s)
		return NULL;
	s->one_in = one_in;
	s->seed = seed;
	s->n_arenas = ld_acq(&rt_n_arenas); /* pairs with the release where arenas are added (stack.c) */
	for (uint32_t i = 0; i < s->n_arenas; i++)
		s->opened[i] = ld_acq(&ld_acq(&rt_arenas[i])->opened); /* likewise */
	return s;
}

struct weft_snapshot *weft_snapshot_parked(void)
{
	struct weft_snapshot *s = weft_snapshot_some(1, 0);

	if (s)
		s->ask_nobody = true;
	return s;
}

void weft_snapshot_free(struct weft_snapshot *s)
{
	if (!s)
		return;
	if (s->cap_aside)
		rt_unmap(s->aside, s->cap_aside * sizeof *s->aside);
	if (s->cap_asks)
		rt_unmap(s->asks, s->cap_asks * sizeof *s->asks);
	rt_unmap(s, sizeof *s);
}

/* --- The walk ---------------------------------------------------------------------------------- */

/* Make room for one more.  False: no memory. */
static bool grow(void **array, uint32_t *cap, uint32_t n, size_t size)
{
	uint32_t more = *cap ? 2 * *cap : 64;
	void *p;

	if (n < *cap)
		return true;
	p = *cap ? rt_remap(*array, *cap * size, more * size) : rt_map(more * size);
	if (!p)
		return false;
	*array = p;
	*cap = more;
	return true;
}

/* All but the frames and labels that are not there; a goroutine is mostly unused space. */
static void copy_goroutine(struct weft_goroutine *to, const struct weft_goroutine *from)
{
	memcpy(to, from, offsetof(struct weft_goroutine, pc));
	memcpy(to->pc, from->pc, (size_t)from->depth * sizeof from->pc[0]);
	to->labels.n = 0;
}

/* The set may be gone by the time it is read, when the goroutine has gone on to another. */
static void fill_labels(const struct g *g, uint64_t set, struct weft_goroutine *out)
{
	for (int i = 0; i < 4 && set; i++) {
		if (rt_labels_copy(set, &out->labels))
			return;
		set = ld(&g->labels);
		if (ld_acq(&g->id) != out->id) /* pairs with its publication in rt_go() */
			break;
	}
	out->labels.n = 0;
}

static void unavailable(struct weft_goroutine *w)
{
	if (w->status != WEFT_G_DETACHED) {
		w->status = WEFT_G_RUNNING;
		w->reason = 0;
	}
	w->flags = WEFT_GF_UNAVAILABLE;
	w->depth = 0;
}

/* From the address alone. */
static uint32_t slot_of(const struct g *g)
{
	uint32_t n = ld_acq(&rt_n_arenas); /* as in weft_snapshot_new() */

	for (uint32_t i = 0; i < n; i++) {
		const struct rt_arena *a = ld_acq(&rt_arenas[i]);
		uintptr_t off = (uintptr_t)g - (uintptr_t)a->base;

		if (off >> RT_SPAN_SHIFT == 0)
			return i * RT_SLOTS_PER_ARENA + (uint32_t)(off >> a->shift);
	}
	return n * RT_SLOTS_PER_ARENA;
}

/* False: no memory to put it aside. */
static bool put_aside(struct weft_snapshot *s, struct g *g, const struct weft_goroutine *w, uint64_t labels)
{
	struct aside *a;

	if (!grow((void **)&s->aside, &s->cap_aside, s->n_aside, sizeof *a))
		return false;
	a = &s->aside[s->n_aside++];
	a->g = g;
	a->slot = slot_of(g);
	a->id = w->id;
	a->labels = labels;
	a->state = OPEN;
	copy_goroutine(&a->w, w);
	s->n_open++;
	return true;
}

static bool chosen(const struct weft_snapshot *s, uint32_t slot)
{
	uint64_t h = (s->seed ^ slot) * UINT64_C(0x9e3779b97f4a7c15);

	if (likely(s->one_in == 1))
		return true;
	h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return (h >> 32) * s->one_in >> 32 == 0;
}

/* The next slot in use; NULL: that was the last. */
static struct g *next_slot(struct weft_snapshot *s)
{
	for (; s->arena < s->n_arenas; s->arena++, s->slot = 0) {
		const struct rt_arena *a = ld_acq(&rt_arenas[s->arena]); /* pairs with its publication (stack.c) */

		while (s->slot < s->opened[s->arena]) {
			uint32_t i = s->slot;
			uint64_t used = ld_acq(&a->used[i / 64]) >> i % 64; /* set before a goroutine begins there */

			if (!used) {
				s->slot = (i | 63) + 1;
				continue;
			}
			i += (uint32_t)__builtin_ctzll(used);
			s->slot = i + 1;
			if (i < s->opened[s->arena] && chosen(s, s->arena * RT_SLOTS_PER_ARENA + i))
				return rt_slot_g(a, s->arena, i);
		}
	}
	return NULL;
}

/* --- Settling ------------------------------------------------------------------------------------- */

static void settle(struct weft_snapshot *s, struct aside *a, enum rt_look look)
{
	a->state = look == RT_LOOK_NONE ? GONE : SETTLED;
	s->n_open--;
}

/* Those that have parked since, or ended. */
static void look_again(struct weft_snapshot *s)
{
	for (uint32_t i = 0; i < s->n_aside; i++) {
		struct aside *a = &s->aside[i];
		enum rt_look look;

		if (a->state != OPEN)
			continue;
		look = rt_g_look(a->g, &a->w, &a->labels);
		if (look == RT_LOOK_NONE || a->w.id != a->id)
			settle(s, a, RT_LOOK_NONE);
		else if (look == RT_LOOK_PARKED)
			settle(s, a, look);
	}
}

/* The entry of g, OPEN, or NULL. */
static struct aside *find(const struct weft_snapshot *s, const struct g *g)
{
	uint32_t a = 0, b = s->n_aside, slot = slot_of(g);

	while (a < b) {
		uint32_t c = (a + b) / 2;

		if (s->aside[c].slot < slot)
			a = c + 1;
		else
			b = c;
	}
	return a < s->n_aside && s->aside[a].g == g && s->aside[a].state == OPEN ? &s->aside[a] : NULL;
}

/* Use s->answer, if it is about one of those put aside. */
static void take_answer(struct weft_snapshot *s)
{
	const struct rt_captured *c = &s->answer;
	struct aside *a = c->g ? find(s, c->g) : NULL;

	if (!a || a->id != c->id || !c->depth)
		return;
	if (a->w.status != WEFT_G_DETACHED) {
		a->w.status = WEFT_G_RUNNING; /* it was, also if the word says that it is about to park */
		a->w.reason = 0;
	}
	a->w.tid = c->tid;
	a->w.flags = c->flags | (a->w.flags & WEFT_GF_LOCKED);
	a->w.syscall = c->syscall;
	a->w.syscall_arg = c->syscall_arg;
	a->w.depth = c->depth;
	memcpy(a->w.pc, c->pc, (size_t)c->depth * sizeof c->pc[0]);
	settle(s, a, RT_LOOK_RUNNING);
}

static bool asked(const struct weft_snapshot *s, const struct m *m)
{
	for (uint32_t i = 0; i < s->n_asks; i++)
		if (s->asks[i].m == m)
			return true;
	return false;
}

static void ask(struct weft_snapshot *s, struct m *m)
{
	const struct g *g = ld(&m->cur);

	if (!g || g == &m->g0 || !find(s, g) || asked(s, m) ||
	    !grow((void **)&s->asks, &s->cap_asks, s->n_asks, sizeof *s->asks))
		return;
	switch (rt_capture_ask(m, &s->asks[s->n_asks], &s->answer)) {
	case RT_ASK_SENT:
		s->n_asks++;
		break;
	case RT_ASK_ANSWERED:
		take_answer(s);
		break;
	case RT_ASK_NOTHING:
		break;
	}
}

/* Ask every thread that runs one of those left. */
static void ask_all(struct weft_snapshot *s)
{
	uint32_t n = ld_acq(&rt_n_ms);
	struct m *m;

	for (uint32_t i = 0; i < n && i < RT_MS_MAX; i++)
		if ((m = ld_acq(&rt_ms[i]))) /* pairs with the release in record() (m.c) */
			ask(s, m);
	for (uint32_t i = 0; (m = rt_guest_at(i)); i++)
		ask(s, m);
}

static void collect(struct weft_snapshot *s)
{
	for (uint32_t i = 0; i < s->n_asks;) {
		if (rt_capture_answer(&s->asks[i], &s->answer)) {
			take_answer(s);
			s->asks[i] = s->asks[--s->n_asks];
		} else {
			i++;
		}
	}
}

static void nap(void)
{
	struct timespec ts = { .tv_nsec = 100 * WEFT_US };

	(void)rt_syscall(SYS_nanosleep, (long)&ts, 0, 0, 0, 0, 0);
}

/* Until all have answered, or the instant `until`. */
static void await_answers(struct weft_snapshot *s, int64_t until)
{
	int64_t began = rt_now(), now;

	for (;;) {
		collect(s);
		if (!s->n_asks || !s->n_open)
			return;
		now = rt_now();
		if (now >= until)
			return;
		if (now - began < SPIN)
			rt_pause();
		else
			nap();
	}
}

/* Does one of those left wait for a thread that has had no CPU to answer on? */
static bool starved(const struct weft_snapshot *s)
{
	for (uint32_t i = 0; i < s->n_asks; i++) {
		const struct g *g = ld(&s->asks[i].m->cur);

		if (g && find(s, g) && rt_capture_starved(&s->asks[i]))
			return true;
	}
	return false;
}

static void settle_all(struct weft_snapshot *s)
{
	int64_t began = rt_now(), now;

	for (;;) {
		look_again(s);
		if (s->n_open)
			ask_all(s);
		now = rt_now();
		if (!s->n_open || now >= began + RT_ANSWER_STARVED || (now >= began + RT_ANSWER_WAIT && !starved(s)))
			break;
		if (s->n_asks)
			await_answers(s, now + ROUND);
		else
			nap(); /* all in between: about to be switched to, about to park */
	}
	if (s->n_open)
		rt_capture_late(s->n_asks);
}

/* The next of those put aside. */
static int next_aside(struct weft_snapshot *s, struct weft_goroutine *out)
{
	while (s->at < s->n_aside) {
		struct aside *a = &s->aside[s->at++];

		if (a->state == GONE)
			continue;
		a->w.id = a->id;
		copy_goroutine(out, &a->w);
		if (a->state == OPEN)
			unavailable(out);
		fill_labels(a->g, a->labels, out);
		return 1;
	}
	return 0;
}

int weft_snapshot_next(struct weft_snapshot *s, struct weft_goroutine *out)
{
	struct g *g;

	while ((g = next_slot(s))) {
		uint64_t labels;

		switch (rt_g_look(g, out, &labels)) {
		case RT_LOOK_NONE:
			continue;
		case RT_LOOK_PARKED:
			fill_labels(g, labels, out);
			return 1;
		case RT_LOOK_RUNNING:
		case RT_LOOK_MOVED:
			if (!s->ask_nobody && put_aside(s, g, out, labels))
				continue;
			if (!s->ask_nobody)
				unavailable(out);
			fill_labels(g, labels, out);
			return 1;
		}
	}
	if (!s->settled) {
		settle_all(s);
		s->settled = true;
	}
	return next_aside(s, out);
}

/* What a wait is called in dumps and in traces. */
static const struct reason_names {
	const char *dump, *trace;
} reasons[RT_WAIT_N] = {
#define X(name, dump, trace, off) { dump, trace },
	RT_WAIT_REASONS(X)
#undef X
};

static const struct reason_names *reason_names(int reason)
{
	return &reasons[reason >= 0 && reason < RT_WAIT_N ? reason : RT_WAIT_NONE];
}

const char *weft_read_reason(int reason)
{
	return reason_names(reason)->dump;
}

const char *weft_read_trace_reason(int reason)
{
	return reason_names(reason)->trace;
}
