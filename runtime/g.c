/* g.c - birth and death of goroutines.
 *
 * What a reader on any thread may rely on (A G's record is never freed):
 *
 *   seq      even: the goroutine stands still, or there is none; odd: it runs, or is being changed.
 *   writer   seq odd; release fence; fields (relaxed); seq even (release)
 *   reader   seq (acquire), even?; fields (relaxed), the whole walk of its stack, bounded by the slot;
 *            acquire fence; seq again: changed means throw away.
 *   id       written last at birth (release), first at death.  Identity (parent, fn, inst, created,
 *            name) is constant while id stays.
 *
 * A slot whose memory was given back reads as zeros: id 0, dead.  Wait numbers then start anew; they
 * start at id << 24, so that a stale timer's {id, number} cannot meet a wait of a later life.
 *
 * Dead Gs rest in their P's cache, newest last, with their stacks warm; beyond RT_FREE_MAX (RT_FREE_BIG of a
 * larger class) half of them goes back to the arenas. */
#include <pthread.h>
#include <string.h>

#include "rt.h"
#include "sanity.h"
#include "sys.h"

#define ID_BLOCK 64
#define REFILL 16

/* --- Where records come from --- */

/* P's cache is empty, or there is none for these. */
static RT_NOINLINE struct g *g_take_slow(struct p *p, uint32_t class, int *rc)
{
	struct g *g;
	uint32_t n;

	if (class == RT_CLASSES) {
		*rc = -EINVAL;
		return NULL;
	}
	if (!p)
		return rt_slots_take(&g, 1, class, rc) ? g : NULL;
	if (class) {
		n = ld(&p->free_big[class - 1].n);
		if (!n)
			return rt_slots_take(&g, 1, class, rc) ? g : NULL;
		st(&p->free_big[class - 1].n, n - 1);
		return p->free_big[class - 1].g[n - 1];
	}
	n = rt_slots_take(p->free, REFILL, 0, rc);
	if (!n)
		return NULL;
	/* lowest slot on top: it is the one most likely warm */
	for (uint32_t i = 0; i < n / 2; i++) {
		g = p->free[i];
		p->free[i] = p->free[n - 1 - i];
		p->free[n - 1 - i] = g;
	}
	st(&p->n_free, n - 1);
	return p->free[n - 1];
}

static inline struct g *g_take(struct p *p, uint32_t class, int *rc)
{
	uint32_t n = likely(p && !class) ? ld(&p->n_free) : 0;

	if (unlikely(!n))
		return g_take_slow(p, class, rc);
	st(&p->n_free, n - 1);
	return p->free[n - 1];
}

static uint64_t id_take(struct p *p, struct g *g)
{
	if (!p)
		return add(&sched.goids, ID_BLOCK) + 1;
	if (p->id_next == p->id_end) {
		rt_mark_birth(p, g);
		p->id_next = add(&sched.goids, ID_BLOCK) + 1;
		p->id_end = p->id_next + ID_BLOCK;
	}
	return p->id_next++;
}

/* --- Birth --- */

/* First frame: what rt_switch() pops, then rt_g_entry.  Returns where the argument's copy lies. */
static void *frame_init(struct g *g, size_t arg_size)
{
	uintptr_t top = (rt_stack_hi(g) - arg_size) & ~(uintptr_t)15;
	uintptr_t *frame = (uintptr_t *)top - RT_FRAME_WORDS;

	for (int i = 0; i < RT_FRAME_PC; i++)
		frame[i] = 0;
	frame[RT_FRAME_PC] = (uintptr_t)rt_g_entry;
	st(&g->sp, (uintptr_t)frame);
	return (void *)top;
}

/* Plugins built before there was a choice of stacks end their options before it. */
#define OPTS_LEAST offsetof(struct weft_go_opts, stack)

/* What it will carry: opts' own, else the caller's where that belongs to inst, else the root; NULL: -EINVAL. */
static inline struct weft_ctx *ctx_of(struct g *self, struct weft_inst *inst, const struct weft_go_opts *opts)
{
	if (unlikely(opts)) {
		if (opts->size < OPTS_LEAST || opts->size > sizeof *opts || opts->arg_size > WEFT_ARG_MAX)
			return NULL;
		if (opts->ctx)
			return !opts->ctx->inst || opts->ctx->inst == inst ? opts->ctx : NULL;
	}
	return likely(self && ld(&self->inst) == inst) ? ld(&self->ctx) : &inst->ctx;
}

static inline uint32_t class_for(const struct weft_inst *inst, const struct weft_go_opts *opts)
{
	if (unlikely(opts && opts->size > OPTS_LEAST && opts->stack))
		return rt_stack_class(opts->stack);
	return ld(&inst->stack);
}

static void count_birth(struct p *p, struct weft_inst *inst)
{
	if (likely(p))
		bump(&inst->shard[p->id].births, 1);
	else
		add(&inst->shard[WEFT_MAXPROCS_LIMIT].births, 1);
}

int rt_go(struct m *m, struct weft_inst *inst, const struct rt_go_args *a)
{
	weft_fn fn = a->fn;
	void *arg = a->arg;
	const struct weft_go_opts *opts = a->opts;
	struct p *p = m ? ld(&m->p) : NULL;
	struct g *self = m ? ld(&m->cur) : NULL, *g;
	size_t arg_size = opts ? opts->arg_size : 0;
	struct weft_ctx *ctx;
	weft_fn start = fn; /* what a trace says */
	uint64_t id;
	void *copy;
	int rc = -ENOMEM;

	if (unlikely(!inst))
		return -EPERM;
	ctx = ctx_of(self, inst, opts);
	if (unlikely(!ctx || !fn))
		return -EINVAL;
	if (unlikely(ld(&ctx->over)) && !a->even_if_over)
		return rt_ctx_err(ctx);
	if (!p)
		rt_check_forked();
	g = g_take(p, class_for(inst, opts), &rc);
	if (unlikely(!g))
		return rc;
	id = id_take(p, g);

	rt_seq_begin(g);
	sane_birth(g);
	copy = frame_init(g, arg_size);
	if (arg_size)
		arg = memcpy(copy, arg, arg_size);
	if (unlikely(ld(&g->wait) == 0))
		st(&g->wait, id << 25);
	st(&g->parent, self ? ld(&self->id) : 0);
	st(&g->fn, fn);
	g->arg = arg;
	g->wg = a->wg;
	st(&g->name, opts ? opts->name : NULL);
	st(&g->inst, inst);
	st(&g->ctx, ctx);
	g->uncreated = 0;
	g->extras = 0;
	g->marks = 0;
	g->saved_errno = 0;
	if (unlikely(ld(&ctx->family)))
		rt_ctx_birth(g, ctx);
	st(&g->trace_seq, 0);
	if (self) {
		uint64_t labels = ld(&self->labels);

		if (unlikely(self->extras & RT_EXTRA_TASK) && ld(&self->inst) == inst)
			rt_task_birth(g, self->task);

		st(&g->labels, likely(!labels) ? 0 : rt_labels_ref(labels));
		m->tsc = rt_rec_on ? rt_tsc() : m->tsc;
		st(&g->since_tsc, m->tsc);
		st(&g->created, rt_stack_here(m, a->frame));
	} else {
		st(&g->labels, 0);
		st(&g->since_tsc, rt_tsc());
		st(&g->created, 0);
		g->uncreated = rt_rec_on;
	}
	if (unlikely(a->origin)) {
		if (a->origin->start) {
			start = a->origin->start;
			st(&g->start, start);
			g->extras |= RT_EXTRA_START;
		} else {
			st(&g->parent, a->origin->parent);
			st(&g->created, a->origin->created);
		}
	}
	st(&g->status, RT_G_RUNNABLE);
	st_rel(&g->id, id); /* pairs with readers' acquire: identity is complete */
	rt_seq_end(g);

	count_birth(p, inst);
	if (likely(p)) {
		if (rt_rec_on)
			rt_record(m, RT_EV_GO_CREATE, 0, (uintptr_t)start, id, ld(&g->created), inst->number);
		rt_spawn_put(p, g);
	} else {
		rt_global_put(g, g, 1);
	}
	rt_wake_one();
	return 0;
}

/* Started by a thread without a P, which has no ring of its own: the one who first runs it says so. */
RT_COLD void rt_g_created(struct m *m, struct g *g)
{
	g->uncreated = 0;
	if (rt_rec_on)
		rt_record(m, RT_EV_GO_CREATE, 1, (uintptr_t)rt_start_of(g), ld(&g->id), 0, ld(&g->inst)->number);
}

/* --- Life and death --- */

static RT_COLD void extras_end(struct g *g)
{
	struct m *m;

	if (g->extras & RT_EXTRA_LOCALS)
		rt_locals_end(g);
	if (g->extras & (RT_EXTRA_CTX | RT_EXTRA_TASK | RT_EXTRA_REGIONS)) {
		m = rt_enter(rt_self());
		rt_ctx_exit(m, g);
		rt_task_exit(m, g);
		rt_leave(m);
	}
}

/* First C frame of every goroutine; nothing above it but rt_g_entry. */
struct rt_next rt_g_main(struct m *m)
{
	struct g *g = ld(&m->cur);

	sane_arrive(g);
	rt_arrive(m);
	*m->errno_at = 0;
	if (unlikely(ld(&g->labels)))
		rt_labels_begin(m, g);
	rt_leave(m);
	ld (&g->fn)(g->arg);
	if (unlikely(g->extras))
		extras_end(g);
	if (g->wg)
		weft_wg_done(g->wg);
	m = rt_enter(rt_self());
	if (unlikely(ld(&g->labels)))
		rt_labels_exit(g);
	return rt_exit(m);
}

static inline void dead(struct p *p, struct g *g)
{
	_Atomic uint64_t *deaths = &ld(&g->inst)->shard[p->id].deaths;

	rt_seq_end(g); /* odd since it was dispatched */
	/* pairs with rt_inst_live(): all that the goroutine did is visible to who sees it gone */
	st_rel(deaths, ld(deaths) + 1);
}

/* Its slot is an unusual one.  True: it was of a larger class, and is buried. */
static RT_COLD bool dead_oddly(struct p *p, struct g *g)
{
	struct rt_free_big *big;
	uint32_t class = rt_slot_class(g), n;

	if (ld(&g->kind) & RT_SLOT_BARE)
		rt_canary_check(g);
	if (ld(&g->kind) & RT_SLOT_FRESH)
		rt_mark_death(p, g);
	if (!class)
		return false;
	dead(p, g);
	big = &p->free_big[class - 1];
	n = ld(&big->n);
	if (n == RT_FREE_BIG) {
		rt_slots_give(big->g, RT_FREE_BIG / 2);
		memmove(big->g, big->g + RT_FREE_BIG / 2, RT_FREE_BIG / 2 * sizeof *big->g);
		n -= RT_FREE_BIG / 2;
	}
	big->g[n] = g;
	st_rel(&big->n, n + 1);
	return true;
}

void rt_g_free(struct m *m, struct g *g)
{
	struct p *p = ld(&m->p);
	uint32_t n;

	st(&g->id, 0);
	st(&g->status, RT_G_DEAD);
	st(&g->tid, 0);
	if (unlikely(ld(&g->kind)) && dead_oddly(p, g))
		return;
	dead(p, g);
	n = ld(&p->n_free);
	if (unlikely(n == RT_FREE_MAX)) {
		/* the oldest half: the newest are warm */
		rt_slots_give(p->free, RT_FREE_MAX / 2);
		memmove(p->free, p->free + RT_FREE_MAX / 2, RT_FREE_MAX / 2 * sizeof *p->free);
		n -= RT_FREE_MAX / 2;
	}
	p->free[n] = g;
	st_rel(&p->n_free, n + 1);
}

/* --- Threads that are no Ms --- */

static __thread struct g *foreign;
static struct rt_lock foreign_lock = RT_LOCK_INIT(LEAF);
static struct g *foreign_free; /* under the lock: of threads that have ended, by next */
static pthread_key_t foreign_key;
static pthread_once_t foreign_once = PTHREAD_ONCE_INIT;

static void foreign_end(void *g)
{
	rt_locals_end(g);
	rt_lock(&foreign_lock);
	((struct g *)g)->next = foreign_free;
	foreign_free = g;
	rt_unlock(&foreign_lock);
	foreign = NULL;
}

static void foreign_init(void)
{
	if (pthread_key_create(&foreign_key, foreign_end) != 0)
		rt_fatal("no thread-specific key to be had for foreign threads");
}

/* Where such a thread waits.  A record is kept for ever, since a late wake-up may still look at it, but
 * the next thread takes over that of one that has ended; its wait numbers go on. */
struct g *rt_foreign_g(void)
{
	struct g *g = foreign;

	if (g)
		return g;
	rt_check_forked();
	pthread_once(&foreign_once, foreign_init);
	rt_lock(&foreign_lock);
	g = foreign_free;
	if (g)
		foreign_free = g->next;
	rt_unlock(&foreign_lock);
	if (!g)
		g = rt_map(sizeof *g);
	if (!g)
		rt_fatal("no memory for a foreign thread's wait");
	g->marks = RT_FOREIGN;
	pthread_setspecific(foreign_key, g);
	foreign = g;
	return g;
}

/* --- The end of the runtime --- */

/* Every M has ended: the goroutines that are left stay where they are, as nobody. */
void rt_purge(void)
{
	for (uint32_t a = 0; a < ld(&rt_n_arenas); a++) {
		struct rt_arena *arena = rt_arenas[a];

		for (uint32_t i = 0; i < ld(&arena->opened); i++) {
			struct g *g;

			if (!(ld(&arena->used[i / 64]) >> (i % 64) & 1))
				continue;
			g = rt_slot_g(arena, a, i);
			if (ld(&g->id) && !ld(&g->inst))
				continue; /* a guest's (guest.c), who may go on */
			if (ld(&g->id)) {
				if (ld(&g->labels))
					rt_labels_exit(g);
				rt_locals_drop(g);
				rt_ctx_exit(NULL, g);
				rt_task_exit(NULL, g);
				sane_death(g);
				add(&ld(&g->inst)->shard[WEFT_MAXPROCS_LIMIT].deaths, 1);
				st(&g->id, 0);
				st(&g->status, RT_G_DEAD);
				st(&g->seq, (ld(&g->seq) + 1) & ~1u);
			}
			rt_slots_give(&g, 1);
		}
	}
}
