/* deadlock_say.c - a deadlock in words: what the goroutines of an instance wait for, by stack, and the cycle.
 *
 * They stand still, but nothing keeps them: each is read as any parked goroutine is (gread.c), and what has gone
 * meanwhile is left out.  MEMBERS of them are looked at, GROUPS stacks are shown, the most frequent first.
 *
 * A cycle is told when each of its goroutines waits for
 *	a mutex or a once that the next one locked last (the stack it was locked on says who that is), or
 *	a wait group that the next one, started by weft_wg_go(), counts in.
 * Locks belong to no goroutine, so "locked last" is all that can be known: it is the holder, unless that one has
 * ended and another goroutine has its stack.  Who would send on a channel nobody can know. */
#include <stdio.h>
#include <string.h>

#include "deadlock.h"
#include "rt.h"
#include "sys.h"

#define MEMBERS 10000u
#define GROUPS 64u
#define SHOW 8u
#define FRAMES 8
#define CYCLE 16u

struct member {
	const struct g *g;
	uint64_t id;
	uint32_t slot;
	enum rt_wait reason;
	const void *on;  /* the mutex or once it waits for, or a place in the wait group; or NULL */
	uintptr_t stack; /* that was locked on, or 0 */
	weft_wg *wg;     /* it counts in, or NULL */
};

struct group {
	uint64_t hash;
	uint32_t count;
	enum rt_wait reason;
	uint64_t first; /* a goroutine of it */
	int depth;
	uint64_t pc[FRAMES];
};

struct report {
	const struct weft_inst *inst;
	uint32_t n, n_groups, n_rest; /* rest: in none of the groups */
	struct weft_goroutine w;
	struct group group[GROUPS];
	struct member member[MEMBERS]; /* by slot */
};

/* --- Who waits for what ------------------------------------------------------------------------- */

/* What called the runtime to wait (the reason says how), and what called that. */
static int take_frames(const struct weft_goroutine *w, uint64_t *pc)
{
	int from = 0, to = w->depth, n = 0;

	while (from + 1 < to && weft_read_is_runtime(w->pc[from] - 1))
		from++;
	while (to > from + 1 && weft_read_is_runtime(w->pc[to - 1] - 1))
		to--;
	for (; from < to && n < FRAMES; from++)
		pc[n++] = w->pc[from];
	return n;
}

static void put_in_group(struct report *r, const struct weft_goroutine *w)
{
	struct group x = { .count = 1, .reason = (enum rt_wait)w->reason, .first = w->id };

	x.depth = take_frames(w, x.pc);
	x.hash = (uint64_t)w->reason;
	for (int i = 0; i < x.depth; i++)
		x.hash = (x.hash ^ x.pc[i]) * 0x9e3779b97f4a7c15ull;
	for (uint32_t i = 0; i < r->n_groups; i++) {
		if (r->group[i].hash == x.hash) {
			r->group[i].count++;
			return;
		}
	}
	if (r->n_groups < GROUPS)
		r->group[r->n_groups++] = x;
	else
		r->n_rest++;
}

/* g->wg is its own goroutine's, which stands still. */
RT_NOSAN static weft_wg *counts_in(const struct g *g)
{
	return *(weft_wg *const volatile *)&g->wg;
}

static void take(struct report *r, const struct g *g, uint32_t slot)
{
	uint64_t labels, number;

	if (ld_acq(&g->id) == 0 || ld(&g->inst) != r->inst || !rt_g_stuck(g, &number) ||
	    rt_g_look(g, &r->w, &labels) != RT_LOOK_PARKED)
		return;
	r->member[r->n++] = (struct member){
		.g = g, .id = r->w.id, .slot = slot, .reason = (enum rt_wait)r->w.reason, .wg = counts_in(g)
	};
	put_in_group(r, &r->w);
}

static void take_all(struct report *r)
{
	for (uint32_t a = 0; a < ld_acq(&rt_n_arenas); a++) {
		const struct rt_arena *arena = ld_acq(&rt_arenas[a]);
		uint32_t opened = ld_acq(&arena->opened);

		for (uint32_t w = 0; w < opened / 64; w++) {
			for (uint64_t used = ld_acq(&arena->used[w]); used; used &= used - 1) {
				uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(used);

				if (r->n == MEMBERS)
					return;
				take(r, rt_slot_g(arena, a, i), a * RT_SLOTS_PER_ARENA + i);
			}
		}
	}
}

static struct member *find(struct report *r, const struct g *g)
{
	uint32_t lo = 0, hi = r->n;

	while (g && lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (r->member[mid].slot < g->slot)
			lo = mid + 1;
		else
			hi = mid;
	}
	return g && lo < r->n && r->member[lo].g == g ? &r->member[lo] : NULL;
}

/* Under the bucket's lock. */
static void note_wait(void *arg, const struct g *g, const _Atomic uint32_t *count)
{
	struct member *m = find(arg, g);

	if (!m)
		return;
	m->on = count;
	if (m->reason == RT_WAIT_MUTEX || m->reason == RT_WAIT_ONCE)
		m->on = rt_mutex_of(count, m->reason, &m->stack);
}

/* --- The cycle ---------------------------------------------------------------------------------------- */

/* Whom m waits for; NULL: that can't be told. */
static struct member *next_of(struct report *r, const struct member *m)
{
	if (m->stack)
		return find(r, rt_g_of(m->stack));
	if (m->reason != RT_WAIT_WAITGROUP || !m->on)
		return NULL;
	for (uint32_t i = 0; i < r->n; i++) {
		const char *wg = (const char *)r->member[i].wg;

		if (wg && (const char *)m->on >= wg && (const char *)m->on < wg + sizeof(weft_wg))
			return &r->member[i];
	}
	return NULL;
}

/* A cycle of at most CYCLE goroutines that begins at its lowest slot.  Its length, 0: there is none at m. */
static uint32_t cycle_at(struct report *r, struct member *m, struct member **out)
{
	uint32_t n = 0;

	for (struct member *at = m; at && n < CYCLE; at = next_of(r, at)) {
		if (at < m)
			return 0;
		if (n && at == m)
			return n;
		out[n++] = at;
	}
	return n && n < CYCLE ? 0 : n == CYCLE && next_of(r, out[n - 1]) == m ? n : 0;
}

static size_t name_of(uint64_t pc, char *out, size_t cap)
{
	size_t n = sched.opts.name ? sched.opts.name((uintptr_t)pc, out, cap) : 0;

	return n ? n : (size_t)snprintf(out, cap, "0x%llx", (unsigned long long)pc);
}

static const char *what_of(enum rt_wait reason)
{
	return reason == RT_WAIT_WAITGROUP ? "wait group" : reason == RT_WAIT_ONCE ? "once" : "mutex";
}

static void say_cycle(const struct report *r, struct member *const *cycle, uint32_t n)
{
	char text[900];
	size_t at = (size_t)snprintf(text, sizeof text, "goroutine %llu", (unsigned long long)cycle[0]->id);

	for (uint32_t i = 0; i < n && at < sizeof text; i++) {
		const struct member *next = cycle[(i + 1) % n];
		bool group = cycle[i]->reason == RT_WAIT_WAITGROUP;

		at += (size_t)snprintf(text + at, sizeof text - at, "%s waits for the %s at %p, %s goroutine %llu",
				       i ? ", which" : "", what_of(cycle[i]->reason),
				       group ? (const void *)next->wg : cycle[i]->on,
				       group ? "which waits for" : "locked by", (unsigned long long)next->id);
	}
	rt_log_for(r->inst, WEFT_WARN, "deadlock, a cycle of %u: %s", n, text);
}

static void say_cycles(struct report *r)
{
	struct member *cycle[CYCLE];
	uint32_t told = 0;

	rt_sema_each(note_wait, r);
	for (uint32_t i = 0; i < r->n && told < SHOW; i++) {
		uint32_t n = cycle_at(r, &r->member[i], cycle);

		if (n) {
			say_cycle(r, cycle, n);
			told++;
		}
	}
}

/* --- The groups --------------------------------------------------------------------------------------- */

static void say_group(const struct report *r, const struct group *x)
{
	char text[900];
	size_t at = 0;

	text[0] = 0;
	for (int i = 0; i < x->depth && at + 1 < sizeof text; i++) {
		at += (size_t)snprintf(text + at, sizeof text - at, "%s", i ? " <- " : "");
		if (at + 1 < sizeof text)
			at += name_of(x->pc[i] - 1, text + at, sizeof text - at);
	}
	rt_log_for(r->inst, WEFT_WARN, "deadlock: %u goroutine%s [%s], as %llu: %s", x->count, x->count == 1 ? "" : "s",
		   weft_read_reason((int)x->reason), (unsigned long long)x->first,
		   x->depth ? text : "no stack to be had");
}

static void say_groups(struct report *r)
{
	uint32_t rest = r->n_rest;

	for (uint32_t shown = 0; r->n_groups; shown++) {
		struct group *most = &r->group[0];

		for (uint32_t i = 1; i < r->n_groups; i++)
			if (r->group[i].count > most->count)
				most = &r->group[i];
		if (shown < SHOW)
			say_group(r, most);
		else
			rest += most->count;
		*most = r->group[--r->n_groups];
	}
	if (rest)
		rt_log_for(r->inst, WEFT_WARN, "deadlock: %u goroutines with other stacks", rest);
}

void rt_deadlock_explain(const struct weft_inst *inst, uint64_t live)
{
	struct report *r = rt_map(sizeof *r);

	rt_log_for(
		inst, WEFT_WARN,
		"deadlock: all %llu goroutine%s wait for locks, wait groups or channels, and no other goroutine of the "
		"instance is there to end that; it goes on so until the instance is stopped",
		(unsigned long long)live, live == 1 ? "" : "s");
	if (!r)
		return;
	r->inst = inst;
	take_all(r);
	say_cycles(r);
	say_groups(r);
	if (r->n == MEMBERS && live > MEMBERS)
		rt_log_for(inst, WEFT_WARN, "deadlock: only %u goroutines were looked at", MEMBERS);
	rt_unmap(r, sizeof *r);
}
