/* deadlock.c - instances in which everybody waits for everybody.
 *
 * A goroutine is *stuck* when it waits for what only a goroutine can give (locks, channels, select and their kin) and
 * no deadline, its own or its context's, ends the wait.  An instance is in a deadlock when all its goroutines are stuck
 * and nothing outside of them can help; the runtime sees no goroutine of another instance that shares a channel with it
 * (there is no way to that but through plugin code), and takes it that there is none.
 *
 * Nobody is stopped to find out.  Two looks in a row prove it:
 *
 *	each wait has a number that its goroutine never uses again, so who is seen in the same wait by both looks
 *	did not move in between; no birth in between (births are counted) and as many seen as are alive: these
 *	were all.  So at the end of the first look all of them stood still, and no one was left to wake one.
 *
 * What could help from outside, and makes an instance no suspect: threads inside weft_enter(), timers and deadlines of
 * contexts (rt_inst_wakers()); threads that have woken or started one of its goroutines before (inst->outside).  A
 * select that names the end of the instance's own context is not stuck: that is the embedder's to bring about.
 *
 * Most looks cost nothing: each instance has a witness, the goroutine seen not stuck last.  Only when that one is
 * gone or stuck all slots are looked at, until every suspect has a new witness; and not again for a hundred times
 * as long as that took.
 *
 * Everything here belongs to the one caller of weft_host_find_deadlocks(). */
#include <string.h>

#include "deadlock.h"
#include "rt.h"
#include "sys.h"

#define INSTANCES 4096
#define REST 100

struct suspect {
	struct g *witness;
	uint64_t witness_id;
	uint64_t live, births;        /* when this look began */
	uint64_t seen, sum;           /* stuck ones, and which waits they are in */
	uint64_t was_births, was_sum; /* of the look before, if still */
	bool still;                   /* all were stuck at the look before */
	bool open;                    /* no witness yet in this look */
	uint32_t told;                /* in which of its lives; 0: none */
};

static struct suspect *suspects; /* by instance number */
static int64_t not_before;       /* the next walk */

static bool is_internal(enum rt_wait reason)
{
	switch (reason) {
	case RT_WAIT_CHAN_RECV:
	case RT_WAIT_CHAN_SEND:
	case RT_WAIT_CHAN_RECV_NIL:
	case RT_WAIT_CHAN_SEND_NIL:
	case RT_WAIT_MUTEX:
	case RT_WAIT_WAITGROUP:
	case RT_WAIT_ONCE:
	case RT_WAIT_SELECT:
	case RT_WAIT_SELECT_NONE:
	case RT_WAIT_RWMUTEX_R:
	case RT_WAIT_RWMUTEX_W:
	case RT_WAIT_COND:
	case RT_WAIT_SEMAPHORE:
		return true;
	case RT_WAIT_NONE:
	case RT_WAIT_SLEEP:
	case RT_WAIT_IO:
	case RT_WAIT_N:
		return false;
	}
	return false;
}

/* Contexts lie in cells, which are never freed; one that is another's by now makes a look wrong, not two. */
RT_NOSAN static bool has_deadline(const struct g *g)
{
	const volatile struct weft_ctx *ctx = ld(&g->ctx);

	return ctx && ctx->deadline != WEFT_FOREVER;
}

bool rt_g_stuck(const struct g *g, uint64_t *number)
{
	uint64_t wait = ld_acq(&g->wait);
	uint32_t status = ld_acq(&g->status);
	enum rt_wait reason = RT_G_REASON(status);

	*number = wait >> 1;
	if (RT_G_STATUS(status) != RT_G_WAITING || !(wait & 1) || !is_internal(reason))
		return false;
	if (ld(&g->timed) == *number || (rt_wait_cancellable(reason) && has_deadline(g)))
		return false;
	return ld_acq(&g->wait) == wait;
}

void rt_woken_from_outside(const struct g *g)
{
	if (is_internal(RT_G_REASON(ld(&g->status))))
		st(&ld(&g->inst)->outside, 1);
}

static uint64_t mix(uint64_t id, uint64_t number)
{
	uint64_t x = id * 0x9e3779b97f4a7c15ull ^ number;

	x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9ull;
	return x ^ x >> 29;
}

static bool may_be_helped(struct weft_inst *inst)
{
	int64_t wakers = 0;

	for (uint32_t i = 0; i <= WEFT_MAXPROCS_LIMIT; i++)
		wakers += ld(&inst->shard[i].wakers);
	return wakers > 0 || ld(&inst->outside);
}

static bool witness_holds(const struct suspect *s, const struct weft_inst *inst)
{
	uint64_t number;

	return s->witness && ld_acq(&s->witness->id) == s->witness_id && ld(&s->witness->inst) == inst &&
	       !rt_g_stuck(s->witness, &number);
}

/* Does inst need a walk? */
static bool open_suspect(struct weft_inst *inst, struct suspect *s)
{
	s->open = s->told != inst->lives + 1 && !ld(&inst->ctx.over) && !witness_holds(s, inst) && !may_be_helped(inst);
	if (s->open) {
		s->live = rt_inst_live(inst, &s->births);
		s->seen = s->sum = 0;
		s->open = s->live > 0;
	}
	if (!s->open)
		s->still = false;
	return s->open;
}

/* True: g is the witness that its instance is well. */
static bool look_at(struct g *g)
{
	uint64_t id = ld_acq(&g->id), number;
	const struct weft_inst *inst = ld(&g->inst);
	struct suspect *s;

	if (!id || !inst || inst->number >= INSTANCES)
		return false;
	s = &suspects[inst->number];
	if (!s->open)
		return false;
	if (rt_g_stuck(g, &number)) {
		s->seen++;
		s->sum += mix(id, number);
		return false;
	}
	s->witness = g;
	s->witness_id = id;
	s->open = s->still = false;
	return true;
}

static void walk(uint32_t n_open)
{
	for (uint32_t a = 0; a < ld_acq(&rt_n_arenas); a++) {
		const struct rt_arena *arena = ld_acq(&rt_arenas[a]);
		uint32_t opened = ld_acq(&arena->opened);

		for (uint32_t w = 0; w < opened / 64; w++)
			for (uint64_t used = ld_acq(&arena->used[w]); used; used &= used - 1)
				if (look_at(rt_slot_g(arena, a, w * 64 + (uint32_t)__builtin_ctzll(used))) &&
				    --n_open == 0)
					return;
	}
}

/* After the walk: the same as at the look before? */
static bool conclude(struct suspect *s)
{
	bool all = s->seen == s->live;
	bool same = all && s->still && s->was_births == s->births && s->was_sum == s->sum;

	s->still = all;
	s->was_births = s->births;
	s->was_sum = s->sum;
	return same;
}

int weft_host_find_deadlocks(void)
{
	int64_t began = rt_now();
	uint32_t n_open = 0;
	struct weft_inst *inst;
	int found = 0;

	if (!sched.running || began < not_before)
		return 0;
	if (!suspects)
		suspects = rt_map(INSTANCES * sizeof *suspects);
	if (!suspects)
		return 0;
	for (uint32_t i = 1; i < INSTANCES && (inst = rt_inst_at(i)); i++)
		n_open += open_suspect(inst, &suspects[i]);
	if (!n_open)
		return 0;
	walk(n_open);
	not_before = rt_now() + REST * (rt_now() - began);
	for (uint32_t i = 1; i < INSTANCES && (inst = rt_inst_at(i)); i++) {
		if (!suspects[i].open || !conclude(&suspects[i]) || ld(&inst->ctx.over) || may_be_helped(inst))
			continue;
		suspects[i].told = inst->lives + 1;
		rt_deadlock_explain(inst, suspects[i].live);
		found++;
	}
	return found;
}
