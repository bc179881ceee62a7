/* preempt.c - ending a slice by signal: a call to the scheduler is injected into the goroutine.
 *
 * sysmon sets m->preempt and sends SIGURG.  The handler looks whether the code that it interrupted may be left there
 * (gate()), and if so makes it look as if it had called rt_async_preempt() (preempt_*.S), which parks it at the end of
 * the global queue.  Nothing is switched inside the handler.  Who says no says why in m->preempt_no.
 *
 * Code may be left when the goroutine is outside the runtime with a P of its own, stands in the text of a plugin, was
 * called by plugins and the runtime alone all the way from its entry (so no library is in the middle of anything:
 * qsort(), pthread_once()), holds no lock of pthread's (plock.c), has stack left and no AMX state.  The walk has to be
 * exact: a guess is a no.
 *
 * A goroutine that was interrupted may hold the address of a thread-local in a register, so it stays on its thread
 * until it next waits or yields by itself (RT_ASYNC, pin.c).
 *
 * Sanitizers deliver signals late, with a copy of the context: there nothing is ever interrupted, nor on processors
 * where rt_arch_can_inject() says no. */
#include <signal.h>

#include "idle.h"
#include "retake.h"
#include "sys.h"
#include "unwind_table.h"

#define STACK_NEEDED 8192 /* 2.8 KiB of registers, then the scheduler */

bool rt_preempt_able;
bool rt_preempt_program;

void rt_preempted(void);

/* --- In the handler -------------------------------------------------------------------------------- */

/* sig: may a goroutine be left with a frame at pc?  leaf: it stands there. */
RT_NOSAN static bool text_allows(const struct weft_modules *ms, uint64_t pc, bool leaf)
{
	const struct weft_module *mod = weft_module_at(ms, leaf ? pc : pc - 1);

	if (!mod)
		return false;
	if (mod->program)
		return !leaf || (rt_preempt_program && !weft_read_is_runtime(pc));
	return mod->plugin;
}

/* sig */
RT_NOSAN static enum weft_refusal gate(struct m *m, const void *context, struct rt_regs regs)
{
	const struct weft_modules *ms = &ld_acq(&rt_modules)->mods; /* pairs with the release in publish() */
	struct g *g = ld(&m->cur);
	uint64_t pc[WEFT_STACK_MAX];
	unsigned flags = 0;
	int n;

	if (g == &m->g0 || ld(&m->in_rt) || ld(&m->own) != RT_OWNED)
		return WEFT_REFUSED_RUNTIME;
	if (regs.sp > rt_stack_hi(g) || regs.sp < rt_stack_lo(g) + STACK_NEEDED)
		return WEFT_REFUSED_STACK;
	if (!text_allows(ms, regs.pc, true))
		return WEFT_REFUSED_LIBRARY;
	if (m->plocks)
		return WEFT_REFUSED_LOCKS;
	if (rt_arch_more_state(context))
		return WEFT_REFUSED_STATE;
	n = rt_unwind(regs, rt_stack_lo(g), rt_stack_hi(g), pc, WEFT_STACK_MAX, &flags);
	if (flags & (WEFT_GF_APPROX | WEFT_GF_CUT))
		return WEFT_REFUSED_WALK;
	for (int i = 1; i < n; i++)
		if (!text_allows(ms, pc[i], false))
			return WEFT_REFUSED_LIBRARY;
	return WEFT_REFUSED_N;
}

RT_NOSAN void rt_preempt_signal(struct m *m, void *context)
{
	enum weft_refusal no = gate(m, context, rt_regs_of(context));

	st(&m->preempt_no, no);
	st_rel(&m->preempt, 0); /* pairs with the acquire in rt_preempt_answer() */
	if (no == WEFT_REFUSED_N)
		rt_arch_inject(context);
}

/* --- On the goroutine ------------------------------------------------------------------------------- */

/* Called by rt_async_preempt(), in the middle of whatever the plugin was doing. */
void rt_preempted(void)
{
	struct m *m = rt_self();

	rt_pin_async(m, ld(&m->cur)); /* before rt_enter(), which may switch */
	m = rt_enter(m);
	bump(&ld(&m->p)->preempted, 1);
	rt_leave(rt_preempt(m));
}

/* --- sysmon ------------------------------------------------------------------------------------------- */

void rt_preempt_ask(struct m *m)
{
	st_rel(&m->preempt, 1);
	(void)rt_tgkill(ld(&m->tid), SIGURG);
}

bool rt_preempt_answer(const struct m *m, enum weft_refusal *why)
{
	if (ld_acq(&m->preempt)) /* pairs with the release in rt_preempt_signal() */
		return false;
	*why = (enum weft_refusal)ld(&m->preempt_no);
	return true;
}

void rt_preempt_start(void)
{
#if !defined(RT_ASAN) && !defined(RT_TSAN)
	rt_preempt_able = rt_arch_can_inject();
#endif
}
