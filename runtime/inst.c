/* inst.c - instances: who owns goroutines; ending one calls off its waits.
 *
 * No wait registers with its context: every goroutine of an instance carries the same one, and a list
 * would be a lock shared by all workers.  Instead
 *
 *	a goroutine that parks (sched.c)		weft_inst_cancel()
 *	status = WAITING (published)			over = 1
 *	(compiler barrier)				heavy barrier
 *	over?  then win my own wait			walk all slots: WAITING for a reason that can be
 *							called off?  win its wait, make it runnable
 *
 * so one of the two sees the other; both may, and then the CAS on the wait word decides.  Contexts made below
 * the instance's are marked in between, so a goroutine looks at the one it carries only (ctx.c).
 *
 * The table only grows; number 0 is the runtime itself.  Lock: INST, for growing. */
#include <string.h>

#include "rt.h"
#include "sys.h"

#define INSTANCES_MAX 4096
_Static_assert(INSTANCES_MAX <= 1 << 15, "a descriptor's record names its instance in 15 bits");

static struct rt_lock lock = RT_LOCK_INIT(INST);
static struct weft_inst *_Atomic table[INSTANCES_MAX];
static _Atomic uint32_t n_table = 1;
static __thread weft_inst *entered; /* by a foreign thread */

/* One of that name that has ended begins anew, with its number and what was counted so far. */
static struct weft_inst *again(const char *name)
{
	struct weft_inst *inst = NULL;

	rt_lock(&lock);
	for (uint32_t i = 1; i < ld(&n_table) && !inst; i++) {
		inst = ld(&table[i]);
		if (!inst->free || strncmp(inst->name, name, sizeof inst->name - 1) != 0)
			inst = NULL;
	}
	if (inst) {
		inst->free = false;
		inst->lives++;
		st(&inst->outside, 0);
		st(&inst->preempt, WEFT_PREEMPT_DEFAULT);
		st_rel(&inst->ctx.over, 0);
	}
	rt_unlock(&lock);
	return inst;
}

weft_inst *weft_inst_new(const char *name)
{
	struct weft_inst *inst = again(name);
	uint32_t n;

	if (inst)
		return inst;
	inst = rt_map(sizeof *inst);
	if (!inst)
		return NULL;
	strncpy(inst->name, name, sizeof inst->name - 1);
	rt_lock(&lock);
	n = ld(&n_table);
	if (n == INSTANCES_MAX) {
		rt_unlock(&lock);
		rt_unmap(inst, sizeof *inst);
		return NULL;
	}
	inst->number = n;
	rt_ctx_root(inst);
	st_rel(&table[n], inst); /* pairs with rt_inst_at() */
	st_rel(&n_table, n + 1);
	rt_unlock(&lock);
	return inst;
}

void rt_inst_retire(struct weft_inst *inst)
{
	int64_t inside = 0;

	for (uint32_t i = 0; i <= WEFT_MAXPROCS_LIMIT; i++)
		inside += ld(&inst->shard[i].wakers);
	rt_lock(&lock);
	inst->free = !inside; /* a thread that is still in it would be in the next one */
	rt_unlock(&lock);
}

void weft_inst_plugin(weft_inst *inst, const char *plugin)
{
	strncpy(inst->plugin, plugin, sizeof inst->plugin - 1);
}

void weft_inst_preempt(weft_inst *inst, enum weft_preempt how)
{
	st(&inst->preempt, (uint8_t)how);
}

int weft_inst_stack(weft_inst *inst, size_t bytes)
{
	uint32_t class = rt_stack_class(bytes);

	if (class == RT_CLASSES)
		return -EINVAL;
	st(&inst->stack, (uint8_t) class);
	return 0;
}

struct weft_inst *rt_inst_at(uint32_t number)
{
	return number < ld_acq(&n_table) ? ld_acq(&table[number]) : NULL;
}

const char *weft_read_instance(uint32_t i)
{
	const struct weft_inst *inst = rt_inst_at(i);

	if (i == 0)
		return "";
	return inst ? inst->name : NULL;
}

const char *weft_read_plugin(uint32_t i)
{
	const struct weft_inst *inst = rt_inst_at(i);

	return inst ? inst->plugin : NULL;
}

/* Deaths first, then births: equal means that nobody was alive in between. */
uint64_t rt_inst_live(struct weft_inst *inst, uint64_t *births_out)
{
	uint64_t births = 0, deaths = 0;

	for (uint32_t i = 0; i <= WEFT_MAXPROCS_LIMIT; i++)
		deaths += ld_acq(&inst->shard[i].deaths);
	atomic_thread_fence(memory_order_acquire);
	for (uint32_t i = 0; i <= WEFT_MAXPROCS_LIMIT; i++)
		births += ld_acq(&inst->shard[i].births);
	*births_out = births;
	return births - deaths;
}

uint64_t weft_inst_live(weft_inst *inst)
{
	uint64_t births;

	return rt_inst_live(inst, &births);
}

size_t weft_read_instances(struct weft_inst_info *out, size_t cap)
{
	size_t n = ld_acq(&n_table) - 1;

	for (size_t i = 0; i < n && i < cap; i++) {
		struct weft_inst *inst = rt_inst_at((uint32_t)i + 1);

		out[i] = (struct weft_inst_info){ .name = inst->name,
						  .cancelled = ld(&inst->ctx.over),
						  .blocked = ld(&inst->blocked) };
		out[i].live = rt_inst_live(inst, &out[i].created);
	}
	return n;
}

/* --- Ending an instance --- */

/* g may be anybody's by now: the wait word read first names what was looked at. */
void rt_call_off(struct m *m, struct g *g, const struct weft_inst *inst, int outcome)
{
	uint64_t wait = ld_acq(&g->wait);
	uint32_t status = ld_acq(&g->status);

	if (!(wait & 1) || RT_G_STATUS(status) != RT_G_WAITING || !rt_wait_cancellable(RT_G_REASON(status)))
		return;
	if (inst && (ld_acq(&g->id) == 0 || ld(&g->inst) != inst))
		return;
	if (rt_wait_win(g, wait >> 1))
		rt_ready(m, g, outcome, RT_READY_QUEUE);
}

void weft_inst_cancel(weft_inst *inst)
{
	st_sc(&inst->ctx.over, ECANCELED);
	rt_ctx_end_all(inst);
	rt_heavy(); /* pairs with called_off() in sched.c */
	for (uint32_t a = 0; a < ld_acq(&rt_n_arenas); a++) {
		struct rt_arena *arena = ld_acq(&rt_arenas[a]);
		uint32_t opened = ld_acq(&arena->opened);

		for (uint32_t w = 0; w < opened / 64; w++) {
			for (uint64_t used = ld(&arena->used[w]); used; used &= used - 1)
				rt_call_off(NULL, rt_slot_g(arena, a, w * 64 + (uint32_t)__builtin_ctzll(used)), inst,
					    -ECANCELED);
		}
	}
}

bool weft_inst_cancelled(const weft_inst *inst)
{
	return ld(&inst->ctx.over);
}

/* --- Who am I, starting goroutines --- */

weft_inst *weft_instance_self(void)
{
	struct m *m = rt_self();

	return m ? ld(&ld(&m->cur)->inst) : entered;
}

const char *weft_instance_name(void)
{
	const weft_inst *inst = weft_instance_self();

	return inst ? inst->name : "";
}

int weft_enter(weft_inst *inst)
{
	if (!inst || rt_self())
		return -EINVAL;
	if (entered)
		return -EBUSY;
	entered = inst;
	rt_inst_wakers(inst, NULL, 1);
	return 0;
}

void weft_leave(void)
{
	if (entered)
		rt_inst_wakers(entered, NULL, -1);
	entered = NULL;
}

uint64_t weft_goid(void)
{
	struct m *m = rt_self();

	return m ? ld(&ld(&m->cur)->id) : 0;
}

static int start_in(weft_inst *inst, const struct rt_go_args *args)
{
	struct m *m = rt_enter(rt_self());
	int rc = rt_go(m, inst, args);

	if (m)
		rt_leave(m);
	return rc;
}

int weft_go(weft_fn fn, void *arg)
{
	return start_in(weft_instance_self(),
			&(struct rt_go_args){ .fn = fn, .arg = arg, .frame = __builtin_frame_address(0) });
}

int weft_go_with(weft_fn fn, void *arg, const struct weft_go_opts *opts)
{
	return start_in(
		weft_instance_self(),
		&(struct rt_go_args){ .fn = fn, .arg = arg, .opts = opts, .frame = __builtin_frame_address(0) });
}

int weft_go_in(weft_inst *inst, weft_fn fn, void *arg)
{
	if (!inst)
		return -EPERM;
	if (!rt_self())
		st(&inst->outside, 1);
	return start_in(inst, &(struct rt_go_args){ .fn = fn, .arg = arg, .frame = __builtin_frame_address(0) });
}

int weft_inst_call(weft_inst *inst, weft_fn fn, void *arg, weft_fn callback)
{
	const struct rt_origin origin = { .start = callback };

	return rt_go(NULL, inst,
		     &(struct rt_go_args){
			     .fn = fn, .arg = arg, .even_if_over = true, .origin = callback ? &origin : NULL });
}

RT_NOINLINE int *weft_errno_location(void)
{
	__asm__ __volatile__("" ::: "memory"); /* looked up at every call: the goroutine moves */
	return __errno_location();
}
