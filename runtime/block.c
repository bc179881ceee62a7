/* block.c - declared blocking sections: the goroutine says that its thread may sleep now, and lends its P.
 *
 * Between weft_block_enter() and weft_block_exit() own is LENT: the P stays with the M until somebody has work for it
 * (sysmon, after SECTION_LENT there).  So a short section costs two compare-and-swaps and no system call; one that
 * is known to last gives its P away at once (rt_section_begin() with lasting).
 *
 *	goroutine				who retakes (revoke.c)
 *	everything it did to the P
 *	own: OWNED -> LENT by CAS		own: LENT -> REVOKING by CAS
 *	... the section ...			the P is ours; own = NO_P
 *	own: LENT -> OWNED by CAS
 *	  failed: as after a revocation
 *
 * The first CAS may have to wait for one who looks at the P for a moment (rt_borrow()).
 *
 * For readers the goroutine stands still meanwhile: status SYSCALL, an even seq, and sp, pc, fp of the place that
 * called weft_block_enter(), above which the stack does not change (gread.c).  The frame of that caller has to
 * last as long as the section.
 *
 * Sections may lie in one another: the outermost counts.  A call in a section that enters the runtime takes the P
 * back and so ends it early; what follows is seen as any other code. */
#include "idle.h"
#include "rt.h"

/* Where a section's caller goes on. */
static void publish_section(struct m *m, struct g *g, struct rt_regs regs)
{
	st(&m->block_pc, regs.pc);
	st(&m->block_fp, regs.fp);
	st(&g->sp, regs.sp);
	st(&g->since_tsc, rt_rec_on ? m->tsc : rt_tsc());
	st_rel(&g->status, RT_G_SYSCALL);
	rt_seq_end(g);
}

static void lend(struct m *m)
{
	uint32_t owned = RT_OWNED;

	while (!cas(&m->own, &owned, RT_LENT)) { /* pairs with the CAS in rt_retake() */
		owned = RT_OWNED;
		rt_pause();
	}
}

/* Only a lasting section is passed on here: otherwise the P lies there for whoever needs it. */
struct m *rt_section_begin(struct m *m, struct rt_record *frame, uintptr_t sp, bool lasting)
{
	struct g *g = ld(&m->cur);
	struct p *p;

	if (unlikely(g->marks & RT_ASYNC) && !m->plocks)
		rt_pin_change(m, g); /* it calls us: it may go elsewhere again */
	if (unlikely(ld(&m->n_homes)) && !(g->marks & RT_PINNED) && !m->plocks)
		m = rt_elsewhere(m); /* whose home this is shall not wait for it */
	p = ld(&m->p);
	if (rt_rec_on) {
		m->tsc = rt_tsc();
		rt_record(m, RT_EV_SYSCALL_BEGIN, 0, ld(&g->id), ld(&g->id), rt_stack_here(m, frame), ++p->trace_seq);
	}
	publish_section(m, g, rt_regs_at_call(frame, sp));
	bump(&m->sections, 1);
	lend(m);
	st_rel(&m->in_rt, 0);
	if (lasting && (p = rt_retake(m)))
		rt_p_pass(p);
	return m;
}

/* Take the P back that was lent.  False: somebody else has it; rt_enter_slow() sees to the rest. */
bool rt_section_end(struct m *m)
{
	uint32_t lent = RT_LENT;
	struct g *g = ld(&m->cur);

	if (unlikely(!cas(&m->own, &lent, RT_OWNED))) /* pairs with the CAS in rt_retake() */
		return false;
	if (rt_rec_on) {
		m->tsc = rt_tsc();
		rt_record(m, RT_EV_SYSCALL_END, 0, ld(&g->id), ld(&g->id), 0, ld(&m->p)->trace_seq);
	}
	rt_seq_begin(g);
	st(&g->status, RT_G_RUNNING);
	return true;
}

struct m *rt_section_leave(struct m *m)
{
	st(&m->in_rt, 1);
	return likely(rt_section_end(m)) ? m : rt_enter_slow(m);
}

RT_NOINLINE void weft_block_enter(void)
{
	struct m *m = rt_self();
	struct g *g;

	if (!m)
		return;
	g = ld(&m->cur);
	if (!(g->marks & RT_SECTIONS)) {
		g->marks |= RT_SECTIONS;
		g->sections = 0;
	}
	if (!g->sections++)
		(void)rt_section_begin(rt_enter(m), __builtin_frame_address(0), (uintptr_t)__builtin_dwarf_cfa(),
				       false);
	RT_KEEP_RECORD();
}

void weft_block_exit(void)
{
	struct m *m = rt_self();
	struct g *g;

	if (!m)
		return;
	g = ld(&m->cur);
	if (!(g->marks & RT_SECTIONS) || !g->sections)
		rt_fatal("weft_block_exit: the goroutine is in no blocking section");
	if (--g->sections || ld(&g->status) != RT_G_SYSCALL)
		return; /* still in an outer one, or a call of ours has ended it */
	rt_leave(rt_section_leave(m));
}
