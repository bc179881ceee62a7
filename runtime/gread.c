/* gread.c - one look at one goroutine from outside, without stopping it.
 *
 * seq is odd while the goroutine runs or is being switched to or from; sp and the stack below it mean
 * something only while it is even.  So: read seq, read, walk, read seq again; whatever changed in
 * between makes the walk worthless and it is thrown away.  The walk itself stays within the slot, which
 * is never unmapped, so that even a walk over a stack that runs again reads garbage but does not fault.
 *
 * The identity is constant between two values of id: id is read first and last.
 *
 * Everything here may run in a signal handler. */
#include "rt.h"

#define TRIES 4

/* The public status is the runtime's. */
_Static_assert(RT_G_DEAD == (int)WEFT_G_DEAD && RT_G_RUNNABLE == (int)WEFT_G_RUNNABLE &&
		       RT_G_RUNNING == (int)WEFT_G_RUNNING && RT_G_WAITING == (int)WEFT_G_WAITING &&
		       RT_G_DETACHED == (int)WEFT_G_DETACHED && RT_G_SYSCALL == (int)WEFT_G_SYSCALL,
	       "status values are copied as they are");

RT_NOSAN weft_fn rt_start_of(const struct g *g)
{
	return *(const volatile uint8_t *)&g->extras & RT_EXTRA_START ? *(const volatile weft_fn *)&g->start
								      : *(const volatile weft_fn *)&g->fn;
}

RT_NOSAN static void identity(const struct g *g, struct weft_goroutine *out)
{
	const struct weft_inst *inst = ld(&g->inst);

	out->parent = *(const volatile uint64_t *)&g->parent;
	out->created = *(const volatile uint32_t *)&g->created;
	out->start = (uintptr_t)rt_start_of(g);
	out->name = *(const char *const volatile *)&g->name;
	out->instance = inst ? inst->number : 0;
}

/* Walk from what rt_switch() left at sp. */
RT_NOSAN static void walk(const struct g *g, uintptr_t sp, struct weft_goroutine *out)
{
	uintptr_t lo = rt_stack_lo(g), hi = rt_stack_hi(g);
	const volatile uintptr_t *w = (const volatile uintptr_t *)sp;
	struct rt_regs regs = { .fp_known = true };

	out->depth = 0;
	if (sp < lo || sp > hi - RT_FRAME_WORDS * sizeof *w || sp % sizeof *w)
		return;
	regs.pc = w[RT_FRAME_PC];
	regs.fp = w[RT_FRAME_FP];
	regs.sp = sp + RT_FRAME_WORDS * sizeof *w;
	if (regs.pc == (uintptr_t)rt_g_entry) { /* it has not run yet */
		out->pc[0] = out->start;
		out->depth = 1;
		out->flags |= WEFT_GF_EXACT;
		return;
	}
	out->depth = rt_unwind(regs, lo, hi, out->pc, WEFT_STACK_MAX, &out->flags);
}

/* In a declared blocking section it runs or sleeps below sp; what is above stays as it was. */
RT_NOSAN static void walk_section(const struct g *g, uintptr_t sp, struct weft_goroutine *out)
{
	const struct m *m = ld_acq(&g->m);
	struct rt_regs regs = { .sp = sp, .fp_known = true };

	out->depth = 0;
	if (!m)
		return;
	regs.pc = ld(&m->block_pc);
	regs.fp = ld(&m->block_fp);
	out->depth = rt_unwind(regs, rt_stack_lo(g), rt_stack_hi(g), out->pc, WEFT_STACK_MAX, &out->flags);
}

RT_NOSAN static bool is_locked(const struct g *g)
{
	uint8_t marks = *(const volatile uint8_t *)&g->marks;

	return (marks & (RT_PINNED | RT_ASYNC)) == RT_PINNED || marks & RT_PLOCKS;
}

RT_NOSAN enum rt_look rt_g_look(const struct g *g, struct weft_goroutine *out, uint64_t *labels)
{
	for (int i = 0; i < TRIES; i++) {
		uint32_t seq = ld_acq(&g->seq); /* pairs with rt_seq_end() */
		uint64_t id = ld_acq(&g->id);   /* pairs with its publication in rt_go() */
		uint32_t status = ld_acq(&g->status);

		out->id = id;
		out->status = (enum weft_g_status)RT_G_STATUS(status);
		if (!id || out->status == WEFT_G_DEAD)
			return RT_LOOK_NONE;
		out->reason = (int)RT_G_REASON(status);
		out->since = rt_tsc_to_ns(ld(&g->since_tsc));
		out->tid = ld(&g->tid);
		out->flags = is_locked(g) ? WEFT_GF_LOCKED : 0;
		out->depth = 0;
		out->syscall = 0;
		out->syscall_arg = 0;
		out->labels.n = 0;
		*labels = ld(&g->labels);
		identity(g, out);

		if (out->status == WEFT_G_RUNNING || out->status == WEFT_G_DETACHED) {
			atomic_thread_fence(memory_order_acquire);
			if (ld(&g->id) == id)
				return RT_LOOK_RUNNING;
			continue;
		}
		if (out->status != WEFT_G_SYSCALL)
			out->tid = 0;
		if (seq % 2 == 0) {
			if (out->status == WEFT_G_SYSCALL)
				walk_section(g, ld(&g->sp), out);
			else
				walk(g, ld(&g->sp), out);
			atomic_thread_fence(memory_order_acquire); /* with the release fence of rt_seq_begin() */
			if (ld(&g->seq) == seq && ld(&g->id) == id)
				return RT_LOOK_PARKED;
		}
		rt_pause();
	}
	out->depth = 0;
	return RT_LOOK_MOVED;
}
