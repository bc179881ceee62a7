/* ctx.c - contexts: what goroutines carry that can end their waits.
 *
 * An instance embeds the root; every goroutine carries it or a context made below it.  Each child of a root,
 * with all below it, is a family with one lock, in its head: it guards their flags, references, children,
 * carriers, values and who waits for their end.  Heads stand on a list of the P they were made on (shard of the
 * instance, rank CTXS, before CTX), so no lock is shared by workers that make contexts of their own.
 *
 *   over is set once, and with it that of everything below: a goroutine need look only at what it carries.
 *   Carriers: the goroutines whose current context it is.  Ending one calls off their waits as inst.c does it:
 *   flag, heavy barrier, then whoever waits is won by CAS; who parks later sees the flag (sched.c).
 *   References: the maker's handle, each carrier, each goroutine born with it (until it ends, since weft_ctx_enter()
 *   gives that one back), each child.  At none the cell is reused, so a child keeps what is above it alive.
 *
 * A deadline is an alarm in a timer heap (timer.c); one that is not earlier than an ancestor's needs none. */
#include <stdlib.h>

#include "chan.h"
#include "rt.h"

struct ctx_value {
	struct ctx_value *next;
	const void *key;
	void *value;
};

struct weft_ctx rt_ctx_none = { .over = ECANCELED };

void rt_ctx_root(struct weft_inst *inst)
{
	inst->ctx.inst = inst;
	inst->ctx.deadline = WEFT_FOREVER;
	for (int i = 0; i <= WEFT_MAXPROCS_LIMIT; i++)
		rt_lock_init(&inst->shard[i].ctx_lock, RT_RANK_CTXS);
}

struct rt_lock *rt_ctx_lock(struct weft_ctx *ctx)
{
	struct weft_ctx *family = ld(&ctx->family);

	return family ? &family->lock : &ctx->inst->shard[WEFT_MAXPROCS_LIMIT].ctx_lock;
}

bool rt_ctx_carried(const struct weft_ctx *ctx, struct g *g)
{
	for (const struct weft_ctx *c = ld(&g->ctx); c; c = c->parent)
		if (c == ctx)
			return true;
	return false;
}

/* --- Lists ------------------------------------------------------------------------------------------------ */

static void child_link(struct weft_ctx **list, struct weft_ctx *c)
{
	c->link = list;
	c->sibling = *list;
	if (c->sibling)
		c->sibling->link = &c->sibling;
	*list = c;
}

static void child_unlink(struct weft_ctx *c)
{
	*c->link = c->sibling;
	if (c->sibling)
		c->sibling->link = c->link;
}

static void carrier_link(struct weft_ctx *c, struct g *g)
{
	g->ctx_link = &c->carriers;
	g->ctx_next = c->carriers;
	if (g->ctx_next)
		g->ctx_next->ctx_link = &g->ctx_next;
	c->carriers = g;
}

static void carrier_unlink(struct g *g)
{
	*g->ctx_link = g->ctx_next;
	if (g->ctx_next)
		g->ctx_next->ctx_link = g->ctx_link;
}

/* The one after c in top and all below it, parents first. */
static struct weft_ctx *next_below(struct weft_ctx *c, const struct weft_ctx *top)
{
	if (c->children)
		return c->children;
	while (c != top && !c->sibling)
		c = c->parent;
	return c == top ? NULL : c->sibling;
}

/* --- Ending (the family's lock is held) ------------------------------------------------------------------------ */

static void wake_done(struct m *m, struct queue *done)
{
	struct waiter *w;

	while ((w = queue_win(done)) != NULL) {
		w->result = 0;
		rt_ready(m, w->g, 0, RT_READY_QUEUE);
	}
}

/* Mark top and all below.  True: goroutines other than self carry some of them. */
static bool mark(struct m *m, struct weft_ctx *top, uint32_t why, const struct g *self)
{
	bool carried = false;

	for (struct weft_ctx *c = top; c; c = next_below(c, top)) {
		if (ld(&c->over))
			continue;
		st_sc(&c->over, why);
		st(&c->alarm.armed, 0);
		wake_done(m, &c->done);
		carried |= c->carriers && (c->carriers != self || self->ctx_next);
	}
	return carried;
}

static void end(struct m *m, struct weft_ctx *top, uint32_t why)
{
	if (ld(&top->over) || !mark(m, top, why, m ? ld(&m->cur) : NULL))
		return;
	rt_heavy(); /* pairs with called_off() in sched.c */
	for (struct weft_ctx *c = top; c; c = next_below(c, top))
		for (struct g *g = c->carriers; g; g = g->ctx_next)
			rt_call_off(m, g, NULL, rt_ctx_err(c));
}

void rt_ctx_end_all(struct weft_inst *inst)
{
	for (int i = 0; i <= WEFT_MAXPROCS_LIMIT; i++) {
		rt_lock(&inst->shard[i].ctx_lock);
		for (struct weft_ctx *c = inst->shard[i].families; c; c = c->sibling) {
			rt_lock(&c->lock);
			if (!ld(&c->over))
				(void)mark(NULL, c, ECANCELED, NULL); /* weft_inst_cancel() goes over all goroutines */
			rt_unlock(&c->lock);
		}
		if (i == WEFT_MAXPROCS_LIMIT)
			wake_done(NULL, &inst->ctx.done);
		rt_unlock(&inst->shard[i].ctx_lock);
	}
}

/* The deadline.  If the alarm still is the entry's, this life of the cell is the one that armed it, and the family
 * read before was its own. */
static void deadline_passed(struct m *m, struct rt_alarm *a, uint64_t number, int64_t now)
{
	struct weft_ctx *c = (struct weft_ctx *)((char *)a - offsetof(struct weft_ctx, alarm));
	struct weft_ctx *family = ld(&c->family);

	(void)now;
	rt_lock(&family->lock);
	if (ld(&a->armed) == number)
		end(m, c, ETIMEDOUT);
	rt_unlock(&family->lock);
}

/* --- References ----------------------------------------------------------------------------------------------------
 */

/* Under the family's lock: give one back; who has none left is put before `dead`. */
static struct weft_ctx *unref(struct weft_ctx *c, struct weft_ctx *dead)
{
	while (--c->refs == 0) {
		c->next = dead;
		dead = c;
		if (c == ld(&c->family))
			break;
		child_unlink(c);
		c = c->parent;
	}
	return dead;
}

/* Without the lock: nobody knows them any more but, for a family's head, the instance. */
static void bury(struct m *m, struct weft_ctx *dead)
{
	while (dead) {
		struct weft_ctx *c = dead;

		dead = c->next;
		if (c == ld(&c->family)) {
			struct rt_lock *lock = &c->inst->shard[c->shard].ctx_lock;

			rt_lock(lock);
			child_unlink(c);
			rt_unlock(lock);
		}
		while (c->values) {
			struct ctx_value *v = c->values;

			c->values = v->next;
			free(v);
		}
		if (c->timed)
			rt_inst_wakers(c->inst, m ? ld(&m->p) : NULL, -1);
		rt_cell_give(m, RT_CELL_CTX, c);
	}
}

/* Nobody carries one of them any more; what is left are handles. */
void rt_ctx_free_all(struct weft_inst *inst)
{
	for (int i = 0; i <= WEFT_MAXPROCS_LIMIT; i++) {
		struct rt_inst_shard *shard = &inst->shard[i];

		for (;;) {
			struct weft_ctx *head, *dead = NULL;

			rt_lock(&shard->ctx_lock);
			head = shard->families;
			rt_unlock(&shard->ctx_lock);
			if (!head)
				break;
			rt_lock(&head->lock);
			for (struct weft_ctx *c = head; c; c = next_below(c, head)) {
				c->next = dead;
				dead = c;
			}
			rt_unlock(&head->lock);
			bury(NULL, dead);
		}
	}
}

void rt_ctx_birth(struct g *g, struct weft_ctx *ctx)
{
	struct weft_ctx *family = ld(&ctx->family);

	g->extras |= RT_EXTRA_CTX;
	g->born = ctx;
	rt_lock(&family->lock);
	ctx->refs += 2; /* as born and as current */
	carrier_link(ctx, g);
	rt_unlock(&family->lock);
}

static void join(struct g *g, struct weft_ctx *c)
{
	struct weft_ctx *family = ld(&c->family);

	st(&g->ctx, c);
	if (!family)
		return;
	g->extras |= RT_EXTRA_CTX;
	rt_lock(&family->lock);
	c->refs++;
	carrier_link(c, g);
	rt_unlock(&family->lock);
}

static void leave(struct m *m, struct g *g, struct weft_ctx *c)
{
	struct weft_ctx *family = ld(&c->family), *dead;

	if (!family)
		return;
	rt_lock(&family->lock);
	carrier_unlink(g);
	dead = unref(c, NULL);
	rt_unlock(&family->lock);
	bury(m, dead);
}

void rt_ctx_exit(struct m *m, struct g *g)
{
	struct weft_ctx *c = ld(&g->ctx), *born = g->born, *family, *dead;

	if (!(g->extras & RT_EXTRA_CTX))
		return;
	st(&g->ctx, &ld(&g->inst)->ctx);
	leave(m, g, c);
	g->born = NULL;
	g->extras &= (uint8_t)~RT_EXTRA_CTX;
	if (!born)
		return;
	family = ld(&born->family);
	rt_lock(&family->lock);
	dead = unref(born, NULL);
	rt_unlock(&family->lock);
	bury(m, dead);
}

/* --- Making ---------------------------------------------------------------------------------------------------------
 */

static struct weft_ctx *cell_take(struct m *m)
{
	struct weft_ctx *c = rt_cell_take(m, RT_CELL_CTX);

	if (!c || c->alarm.fire)
		return c;
	/* Fresh.  Later lives leave lock and alarm alone: somebody may still be looking. */
	c->alarm.fire = deadline_passed;
	rt_lock_init(&c->lock, RT_RANK_CTX);
	return c;
}

static void arm(struct m *m, struct weft_ctx *c)
{
	if (c->deadline == c->parent->deadline || ld(&c->over))
		return;
	if (c->deadline <= rt_now()) {
		st_sc(&c->over, ETIMEDOUT);
		return;
	}
	c->timed = true;
	rt_inst_wakers(c->inst, m ? ld(&m->p) : NULL, 1);
	rt_alarm_set(m, &c->alarm, c->deadline);
}

static struct weft_ctx *make(struct m *m, struct weft_ctx *parent, int64_t deadline)
{
	struct weft_ctx *c = cell_take(m), *family = ld(&parent->family);
	struct rt_inst_shard *shard;

	if (!c)
		return NULL;
	c->refs = 1;
	c->inst = parent->inst;
	c->parent = parent;
	c->deadline = deadline < parent->deadline ? deadline : parent->deadline;
	c->children = NULL;
	c->carriers = NULL;
	c->done = (struct queue){ 0 };
	c->values = NULL;
	c->timed = false;
	if (!family) {
		c->shard = m ? ld(&m->p)->id : WEFT_MAXPROCS_LIMIT;
		shard = &c->inst->shard[c->shard];
		st(&c->family, c);
		rt_lock(&shard->ctx_lock);
		st(&c->over, ld(&parent->over)); /* set before rt_ctx_end_all() took this lock, or it will find us */
		child_link(&shard->families, c);
		rt_unlock(&shard->ctx_lock);
		rt_lock(&c->lock);
	} else {
		st(&c->family, family);
		rt_lock(&family->lock);
		st(&c->over, ld(&parent->over));
		child_link(&parent->children, c);
		parent->refs++;
	}
	arm(m, c);
	rt_unlock(rt_ctx_lock(c));
	return c;
}

/* --- Public
 * ----------------------------------------------------------------------------------------------------------- */

weft_ctx *weft_ctx_self(void)
{
	struct m *m = rt_self();

	return m ? ld(&ld(&m->cur)->ctx) : NULL;
}

weft_ctx *weft_ctx_new(weft_ctx *parent, int64_t deadline)
{
	struct m *m = rt_enter(rt_self());
	struct weft_ctx *c = NULL;

	if (!parent && m)
		parent = ld(&ld(&m->cur)->ctx);
	else if (!parent && weft_instance_self())
		parent = &weft_instance_self()->ctx;
	if (parent && parent != &rt_ctx_none)
		c = make(m, parent, deadline);
	if (m)
		rt_leave(m);
	return c;
}

static struct weft_ctx *made(struct weft_ctx *c, const char *who)
{
	if (c && c != &rt_ctx_none && !ld(&c->family))
		rt_fatal("%s: the context of an instance ends with the instance, not otherwise", who);
	return c == &rt_ctx_none ? NULL : c;
}

void weft_ctx_cancel(weft_ctx *ctx)
{
	struct m *m;

	if (!made(ctx, "weft_ctx_cancel"))
		return;
	m = rt_enter(rt_self());
	rt_lock(rt_ctx_lock(ctx));
	end(m, ctx, ECANCELED);
	rt_unlock(rt_ctx_lock(ctx));
	if (m)
		rt_leave(m);
}

void weft_ctx_free(weft_ctx *ctx)
{
	struct weft_ctx *dead;
	struct rt_lock *lock;
	struct m *m;

	if (!made(ctx, "weft_ctx_free"))
		return;
	m = rt_enter(rt_self());
	lock = rt_ctx_lock(ctx);
	rt_lock(lock);
	end(m, ctx, ECANCELED);
	dead = unref(ctx, NULL);
	rt_unlock(lock);
	bury(m, dead);
	if (m)
		rt_leave(m);
}

int weft_ctx_err(const weft_ctx *ctx)
{
	return ctx ? rt_ctx_err(ctx) : -ECANCELED;
}

int64_t weft_ctx_deadline(const weft_ctx *ctx)
{
	return ctx ? ctx->deadline : 0;
}

weft_ctx *weft_ctx_enter(weft_ctx *ctx)
{
	struct m *m = rt_enter(rt_self());
	struct weft_ctx *old;
	struct g *g;

	if (!m)
		return NULL;
	g = ld(&m->cur);
	old = ld(&g->ctx);
	if (!ctx)
		ctx = &rt_ctx_none;
	if (ctx->inst != ld(&g->inst) && ctx != &rt_ctx_none)
		rt_fatal("weft_ctx_enter: the context belongs to another instance");
	if (ctx != old) {
		leave(m, g, old); /* first: g is on one list at a time */
		join(g, ctx);
	}
	rt_leave(m);
	return old;
}

int weft_ctx_set(weft_ctx *ctx, const void *key, void *value)
{
	struct ctx_value *v, *fresh;
	struct rt_lock *lock;

	if (!ctx || !key || !ld(&ctx->family))
		return -EINVAL;
	fresh = malloc(sizeof *fresh);
	if (!fresh)
		return -ENOMEM;
	*fresh = (struct ctx_value){ .key = key, .value = value };
	lock = rt_ctx_lock(ctx);
	rt_lock(lock);
	for (v = ctx->values; v && v->key != key; v = v->next)
		;
	if (v) {
		v->value = value;
	} else {
		fresh->next = ctx->values;
		ctx->values = fresh;
		fresh = NULL;
	}
	rt_unlock(lock);
	free(fresh);
	return 0;
}

void *weft_ctx_get(const weft_ctx *ctx, const void *key)
{
	struct rt_lock *lock;
	void *value = NULL;
	struct ctx_value *v = NULL;

	if (!ctx || !ld(&ctx->family))
		return NULL;
	lock = rt_ctx_lock((struct weft_ctx *)ctx);
	rt_lock(lock);
	for (; ctx && !v; ctx = ctx->parent) /* the root has none */
		for (v = ctx->values; v && v->key != key; v = v->next)
			;
	if (v)
		value = v->value;
	rt_unlock(lock);
	return value;
}
