/* task.c - what plugins say about their work in traces: tasks, regions, log lines.
 *
 * All of it is records (weft_trace.h); beside them stands only what the next record needs: which task a goroutine
 * carries, and which regions it has open.  Nothing is kept, and nothing done but a look at rt_rec_on, while nobody
 * records.
 *
 * A task is a cell (cell.c), counted by its handle until its end, by the goroutines that carry it and by its `parent`
 * for who began it.  A goroutine's `task` is one such count, and so is what weft_task_enter() gives to its caller.
 * Whoever ended it, a task that is over is left by the goroutine that began it, the next time that matters
 * (current()): for the one above, whose count the goroutine takes back.  Others, who were born with it or have entered
 * it, go on to carry it.  So no task keeps those above it when who began it has gone on: a chain of goroutines that
 * each begin a task and start the next has no more of them than goroutines.
 * Ids are {how many before it on that P, P}, so no line is written by two workers.
 *
 * Open regions stand in a cell of the goroutine's, made with its first; those deeper than REGIONS are not recorded,
 * only counted, so that ends find their beginnings.
 *
 * Who says something takes a P as for any other call, since only then its records stand where it happened.  But in a
 * declared blocking section, which that would end, the pseudo M (ring.c) writes them. */
#include <stdio.h>
#include <string.h>

#include "rt.h"

#define REGIONS 16

struct weft_task {
	_Atomic uint32_t refs;
	_Atomic uint32_t over;
	/* constant */
	uint64_t id, maker; /* maker: the goroutine that began it */
	/* maker, or who lets go of it last */
	struct weft_task *parent; /* one of its counts is ours */
	bool left;                /* the maker has gone on with the parent: it is NULL */
	struct rt_owned owned;
};

struct rt_regions {
	uint32_t n; /* open, also those that are not here */
	uint32_t name[REGIONS];
	uint64_t task[REGIONS];
};

_Static_assert(sizeof(struct weft_task) <= RT_CELL_SIZE, "a task fits a cell");
_Static_assert(sizeof(struct rt_regions) <= RT_CELL_SIZE, "so do a goroutine's regions");

/* --- Who says it ---------------------------------------------------------------------------------- */

struct self {
	struct m *m; /* its own */
	struct g *g;
	struct m *p;   /* m again, in the runtime and with a P; or NULL */
	struct m *rec; /* who writes its records */
};

/* False: a foreign thread. */
static bool enter(struct self *s)
{
	struct m *m = rt_self();
	struct g *g = m ? ld(&m->cur) : NULL;

	if (!g || g == &m->g0)
		return false;
	*s = (struct self){ .m = m, .g = g };
	if (unlikely(ld(&g->status) == RT_G_SYSCALL))
		return true;
	s->m = s->p = rt_enter(m);
	return true;
}

static void leave(struct self *s)
{
	if (likely(s->p))
		rt_leave(s->p);
}

/* Records from here to rec_end() stand together, at the present time. */
static void rec_begin(struct self *s)
{
	s->rec = s->p;
	if (likely(s->p))
		s->p->tsc = rt_tsc();
	else
		s->rec = rt_foreign_begin(NULL);
}

static void rec(const struct self *s, enum rt_event ev, unsigned flags, uint64_t task, uint32_t stack, uint32_t name)
{
	rt_record(s->rec, ev, flags, ld(&s->g->id), task, stack, name);
}

static void rec_end(const struct self *s)
{
	if (unlikely(!s->p))
		rt_foreign_end();
}

/* --- Tasks ---------------------------------------------------------------------------------------- */

static struct weft_task *ref(struct weft_task *t)
{
	if (t)
		add(&t->refs, 1);
	return t;
}

/* m: in the runtime, with a P, or NULL. */
static void unref(struct m *m, struct weft_task *t)
{
	while (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1) {
		struct weft_task *up = t->parent;

		rt_disown(&t->owned);
		rt_cell_give(m, RT_CELL_TASK, t);
		t = up;
	}
}

/* Its instance has ended: whoever still counted it is gone. */
void rt_task_drop(struct rt_owned *o)
{
	rt_cell_give(NULL, RT_CELL_TASK, (char *)o - offsetof(struct weft_task, owned));
}

/* Let g carry t, of which a count becomes its; what it carried, with its count. */
static struct weft_task *carry(struct g *g, struct weft_task *t)
{
	struct weft_task *old = g->extras & RT_EXTRA_TASK ? g->task : NULL;

	g->task = t;
	g->extras |= RT_EXTRA_TASK;
	return old;
}

/* Is t for goroutine id to leave, once it is over? */
static bool is_own(const struct weft_task *t, uint64_t id)
{
	return t && t->maker == id && !t->left;
}

/* By its maker, m, who carries it: what he carries now. */
static struct weft_task *go_up(struct m *m, struct weft_task *t)
{
	struct weft_task *up = t->parent;

	t->parent = NULL;
	t->left = true;
	unref(m, t);
	return up;
}

/* What it carries: of what it began itself, what is not over. */
static struct weft_task *current(const struct self *s)
{
	struct g *g = s->g;
	uint64_t id = ld(&g->id);

	if (!(g->extras & RT_EXTRA_TASK))
		return NULL;
	while (is_own(g->task, id) && ld_acq(&g->task->over)) /* pairs with the exchange in task_end() */
		g->task = go_up(s->p, g->task);
	return g->task;
}

static uint64_t current_id(const struct self *s)
{
	const struct weft_task *t = current(s);

	return t ? t->id : 0;
}

static uint64_t id_new(const struct self *s)
{
	static _Atomic uint64_t others; /* begun without a P */
	struct p *p = s->p ? ld(&s->p->p) : NULL;
	uint64_t n = p ? ++p->tasks : add(&others, 1) + 1;

	_Static_assert(WEFT_MAXPROCS_LIMIT < 1 << 9, "a P's number has 9 bits, that of its task 39");
	return n << 9 | (p ? p->id : WEFT_MAXPROCS_LIMIT);
}

static struct weft_task *task_begin(const char *type, const void *frame)
{
	struct weft_task *t = NULL, *parent;
	uint32_t name, stack;
	struct self s;

	if (!enter(&s))
		return NULL;
	t = rt_cell_take(s.p, RT_CELL_TASK);
	if (!t)
		goto out;
	parent = current(&s);
	st(&t->refs, 2); /* the handle's and s.g's */
	t->id = id_new(&s);
	t->maker = ld(&s.g->id);
	t->parent = parent;
	t->left = false;
	rt_own(&t->owned, RT_OWNED_TASK);
	st_rel(&t->over, 0);
	(void)carry(s.g, t); /* the count of the old one is t's now */
	name = rt_name(type);
	stack = rt_stack_here(s.m, (void *)frame);
	rec_begin(&s);
	if (parent)
		rec(&s, RT_EV_TASK_PARENT, 0, parent->id, 0, 0);
	rec(&s, RT_EV_TASK_BEGIN, parent != NULL, t->id, stack, name);
	rec_end(&s);
out:
	leave(&s);
	return t;
}

static void task_end(struct weft_task *t, const void *frame)
{
	struct self s;
	uint32_t stack;

	if (xchg(&t->over, 1))
		return;
	if (!enter(&s)) {
		if (rt_rec_on)
			rt_record_foreign(RT_EV_TASK_END, NULL, t->id, 0, 0);
		unref(NULL, t);
		return;
	}
	if (rt_rec_on) {
		stack = rt_stack_here(s.m, (void *)frame);
		rec_begin(&s);
		rec(&s, RT_EV_TASK_END, 0, t->id, stack, 0);
		rec_end(&s);
	}
	(void)current(&s);
	unref(s.p, t);
	leave(&s);
}

bool weft_trace_on(void)
{
	return rt_rec_on;
}

weft_task *weft_task_begin(const char *type)
{
	weft_task *t = unlikely(rt_rec_on) ? task_begin(type, __builtin_frame_address(0)) : NULL;

	RT_KEEP_FRAME();
	return t;
}

void weft_task_end(weft_task *t)
{
	if (unlikely(t))
		task_end(t, __builtin_frame_address(0));
	RT_KEEP_FRAME();
}

weft_task *weft_task_enter(weft_task *t)
{
	struct weft_task *old;
	struct self s;

	if (likely(!rt_rec_on) || !enter(&s))
		return NULL;
	if (t && t->owned.inst != ld(&s.g->inst))
		t = NULL;
	old = carry(s.g, ref(t));
	leave(&s);
	return old;
}

void weft_task_leave(weft_task *old)
{
	struct self s;

	if (likely(!rt_rec_on) || !enter(&s))
		return;
	if (old && old->maker == ld(&s.g->id) && old->left)
		unref(s.p, old); /* it has gone on meanwhile with the one above */
	else
		unref(s.p, carry(s.g, old));
	leave(&s);
}

void rt_task_birth(struct g *g, struct weft_task *t)
{
	while (is_own(t, ld(&g->parent)) && ld_acq(&t->over)) /* as in current() */
		t = t->parent;
	if (t)
		(void)carry(g, ref(t));
}

void rt_task_exit(struct m *m, struct g *g)
{
	if (g->extras & RT_EXTRA_REGIONS)
		rt_cell_give(m, RT_CELL_REGIONS, g->regions);
	if (g->extras & RT_EXTRA_TASK) {
		while (is_own(g->task, ld(&g->id)))
			g->task = go_up(m, g->task);
		unref(m, g->task);
	}
	g->extras &= (uint8_t) ~(RT_EXTRA_TASK | RT_EXTRA_REGIONS);
}

/* --- Regions -------------------------------------------------------------------------------------- */

/* NULL: no memory. */
static struct rt_regions *regions_of(const struct self *s)
{
	struct g *g = s->g;

	if (likely(g->extras & RT_EXTRA_REGIONS))
		return g->regions;
	g->regions = rt_cell_take(s->p, RT_CELL_REGIONS);
	if (!g->regions)
		return NULL;
	g->regions->n = 0;
	g->extras |= RT_EXTRA_REGIONS;
	return g->regions;
}

static void region_record(struct self *s, enum rt_event ev, uint32_t depth, const void *frame)
{
	const struct rt_regions *r = s->g->regions;
	uint32_t stack = rt_stack_here(s->m, (void *)frame);

	rec_begin(s);
	rec(s, ev, depth, r->task[depth], stack, r->name[depth]);
	rec_end(s);
}

static void region_begin(const char *type, const void *frame)
{
	struct rt_regions *r;
	struct self s;
	uint32_t at;

	if (!enter(&s))
		return;
	r = regions_of(&s);
	if (r && (at = r->n++) < REGIONS) {
		r->name[at] = rt_name(type);
		r->task[at] = current_id(&s);
		region_record(&s, RT_EV_REGION_BEGIN, at, frame);
	}
	leave(&s);
}

static void region_end(const void *frame)
{
	struct rt_regions *r;
	struct self s;

	if (!enter(&s))
		return;
	r = s.g->extras & RT_EXTRA_REGIONS ? s.g->regions : NULL;
	if (r && r->n && --r->n < REGIONS)
		region_record(&s, RT_EV_REGION_END, r->n, frame);
	leave(&s);
}

void weft_region_begin(const char *type)
{
	if (unlikely(rt_rec_on))
		region_begin(type, __builtin_frame_address(0));
	RT_KEEP_FRAME();
}

void weft_region_end(void)
{
	if (unlikely(rt_rec_on))
		region_end(__builtin_frame_address(0));
	RT_KEEP_FRAME();
}

/* --- Log lines ------------------------------------------------------------------------------------ */

static void trace_log(const char *category, const char *text, size_t len, const void *frame)
{
	uint32_t name, stack;
	struct self s;
	uint64_t task;

	if (!enter(&s))
		return;
	name = rt_name(category);
	stack = rt_stack_here(s.m, (void *)frame);
	task = current_id(&s);
	rec_begin(&s);
	rec(&s, RT_EV_LOG, rt_record_text(s.rec, ld(&s.g->id), text, len), task, stack, name);
	rec_end(&s);
	leave(&s);
}

void weft_trace_log(const char *category, const char *fmt, ...)
{
	char text[WEFT_TRACE_TEXT + RT_TEXT_BYTES];
	int *at, saved, n;
	va_list ap;

	if (likely(!rt_rec_on))
		return;
	at = __errno_location(); /* nothing parks before it is put back */
	saved = *at;
	va_start(ap, fmt);
	n = vsnprintf(text, WEFT_TRACE_TEXT + 2, fmt, ap); /* one more: so that it is known where to cut */
	va_end(ap);
	*at = saved;
	if (n < 0)
		n = snprintf(text, sizeof text, "(text that cannot be formatted: \"%.100s\")", fmt);
	n = (int)rt_text_cut(text, (size_t)n, WEFT_TRACE_TEXT);
	memset(text + n, 0, sizeof text - (size_t)n);
	trace_log(category, text, (size_t)n, __builtin_frame_address(0));
	RT_KEEP_FRAME();
}
