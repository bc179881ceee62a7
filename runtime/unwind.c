/* unwind.c - walking a stack by the tables.
 *
 * Everything here is async-signal-safe: no locks, no allocation, no libc; the tables are immutable.
 * The stack may be somebody else's and may change under the walk, or be smashed, so each word is
 * read within [lo, hi) only, every step must go up, and what comes out is at worst a wrong list of
 * numbers.  That is also why nothing here is instrumented by sanitizers. */
#include "unwind_table.h"

#include "sys.h"

static RT_NOSAN bool readable(const struct rt_walk *w, uintptr_t a, size_t n)
{
	return a >= w->lo && a < w->hi && w->hi - a >= n && a % 8 == 0;
}

static RT_NOSAN bool word(const struct rt_walk *w, uintptr_t a, uintptr_t *out)
{
	if (!readable(w, a, sizeof *out))
		return false;
	*out = *(const volatile uintptr_t *)a;
	return true;
}

static RT_NOSAN bool in_register(const struct rt_walk *w, unsigned reg, uintptr_t *out)
{
	if (!w->regs || reg >= RT_DW_REGS)
		return false;
	*out = (uintptr_t)w->regs[rt_arch_reg(reg)];
	return true;
}

/* --- Looking up --------------------------------------------------------------------------------- */

static RT_NOSAN const struct rt_seg *seg_at(const struct rt_module_set *set, uintptr_t pc)
{
	size_t a = 0, b = set ? set->mods.n : 0;

	while (a < b) {
		size_t c = (a + b) / 2;

		if (pc < set->seg[c].lo)
			b = c;
		else if (pc >= set->seg[c].hi)
			a = c + 1;
		else
			return &set->seg[c];
	}
	return NULL;
}

/* Index of the row in force at off, or -1. */
static RT_NOSAN int64_t row_index(const struct rt_table *t, uint64_t off)
{
	uint64_t page = off >> ROW_PAGE_SHIFT;
	uint32_t a, b;

	if (page >= t->n_pages)
		return -1;
	a = t->index[page]; /* the first row beyond off lies in [a, b] */
	b = t->index[page + 1];
	while (a < b) {
		uint32_t c = (a + b) / 2;

		if (t->rows[c].pc <= off)
			a = c + 1;
		else
			b = c;
	}
	return (int64_t)a - 1;
}

RT_NOSAN const struct rt_row *rt_row_at(const struct rt_module_set *set, const struct rt_seg **seg, uintptr_t pc)
{
	const struct rt_seg *s = *seg;
	int64_t i;

	if (!s || pc < s->lo || pc >= s->hi)
		*seg = s = seg_at(set, pc);
	if (!s || !s->table || pc < s->base)
		return NULL;
	i = row_index(s->table, pc - s->base);
	return i < 0 ? NULL : &s->table->rows[i];
}

RT_NOSAN uintptr_t rt_func_start(const struct rt_module_set *set, uintptr_t pc)
{
	const struct rt_seg *seg = NULL;
	const struct rt_row *row = rt_row_at(set, &seg, pc);

	if (!row)
		return 0;
	while (!(row->kind & ROW_FIRST) && row > seg->table->rows)
		row--;
	return ROW_KIND(row) == ROW_GAP ? 0 : seg->base + row->pc;
}

/* --- One step --------------------------------------------------------------------------------------- */

/* sp is not known, but fp: where the caller's fp is saved in a frame, that is the frame record, and fp points to it. */
static RT_NOSAN bool cfa_of_record(const struct rt_walk *w, const struct rt_row *r, uintptr_t *cfa)
{
	*cfa = w->fp - (uintptr_t)(intptr_t)r->fp;
	return r->fp_kind == ROW_FP_AT_CFA && r->ra == ROW_RA_ABOVE_FP && w->fp_known && w->fp >= w->sp;
}

static RT_NOSAN bool find_cfa(const struct rt_walk *w, const struct rt_row *r, uintptr_t *cfa)
{
	uintptr_t off = (uintptr_t)(intptr_t)r->cfa;

	switch (ROW_KIND(r)) {
	case ROW_SP:
		if (w->sp_least)
			return cfa_of_record(w, r, cfa);
		*cfa = w->sp + off;
		return true;
	case ROW_FP:
		*cfa = w->fp + off;
		return w->fp_known;
	case ROW_BX:
		*cfa = w->bx + off;
		return w->bx_known;
	case ROW_REG:
		if (!in_register(w, r->ra, cfa))
			return false;
		*cfa += off;
		return true;
	case ROW_PLT:
		*cfa = w->sp + 8 + ((w->pc & 15) >= off ? 8 : 0);
		return true;
	case ROW_SP_DEREF:
		if (w->sp_least || !word(w, w->sp + off, cfa))
			return false;
		*cfa += r->ra;
		return true;
	case ROW_FP_DEREF:
		if (!w->fp_known || !word(w, w->fp + off, cfa))
			return false;
		*cfa += r->ra;
		return true;
	default:
		return false;
	}
}

static RT_NOSAN bool find_return(const struct rt_walk *w, const struct rt_row *r, uintptr_t cfa, uintptr_t *pc)
{
	enum row_kind kind = ROW_KIND(r);

	if (kind == ROW_REG || kind == ROW_SP_DEREF || kind == ROW_FP_DEREF || kind == ROW_PLT)
		return cfa > w->sp && word(w, cfa - 8, pc);
	if (r->ra == ROW_RA_ABOVE_FP)
		return cfa > w->sp && word(w, cfa + (uintptr_t)(intptr_t)r->fp + 8, pc);
	if (r->ra == (ROW_RA_REG | RT_DW_RA) && !w->exact)
		return false; /* the call has changed it */
	if (r->ra & ROW_RA_REG)
		return cfa >= w->sp && in_register(w, r->ra & ~ROW_RA_REG, pc);
	return cfa > w->sp && word(w, cfa - 8 * (uintptr_t)r->ra, pc);
}

/* The caller's fp and bx. */
static RT_NOSAN bool restore(struct rt_walk *w, const struct rt_row *r, uintptr_t cfa)
{
	uintptr_t fp = w->fp;

	switch ((enum row_fp)r->fp_kind) {
	case ROW_FP_SAME:
		break;
	case ROW_FP_AT_CFA:
		if (!word(w, cfa + (uintptr_t)(intptr_t)r->fp, &fp))
			return false;
		w->fp_known = true;
		break;
	case ROW_FP_AT_FP:
		if (!w->fp_known || !word(w, w->fp + (uintptr_t)(intptr_t)r->fp, &fp))
			return false;
		break;
	default:
		w->fp_known = false;
	}
	w->fp = fp;
	if (r->bx == ROW_BX_UNKNOWN)
		w->bx_known = false;
	else if (r->bx != ROW_BX_SAME)
		w->bx_known = word(w, cfa - 8 * (uintptr_t)r->bx, &w->bx);
	return true;
}

static RT_NOSAN enum rt_step arrive(struct rt_walk *w)
{
	w->row = rt_row_at(w->set, &w->seg, w->exact ? w->pc : w->pc - 1);
	return w->row && ROW_KIND(w->row) != ROW_GAP ? RT_STEP_CALLER : RT_STEP_ODD;
}

/* sp stands on the ucontext that the kernel pushed. */
static RT_NOSAN enum rt_step leave_signal(struct rt_walk *w)
{
	uintptr_t context = rt_arch_context(w->sp), sp;
	const volatile long long *regs = rt_arch_regs((const void *)context);

	if (!readable(w, context, rt_arch_context_bytes))
		return RT_STEP_LOST;
	sp = (uintptr_t)regs[RT_REG_SP];
	if (sp <= w->sp || sp > w->hi)
		return RT_STEP_LOST;
	w->pc = (uintptr_t)regs[RT_REG_PC];
	w->sp = sp;
	w->fp = (uintptr_t)regs[RT_REG_FP];
	w->bx = (uintptr_t)regs[RT_REG_BX];
	w->regs = (const long long *)regs;
	w->exact = w->fp_known = w->bx_known = true;
	return arrive(w);
}

RT_NOSAN enum rt_step rt_walk_step(struct rt_walk *w)
{
	const struct rt_row *r = w->row;
	bool leaf = w->exact && r && r->ra == (ROW_RA_REG | RT_DW_RA);
	uintptr_t cfa, pc;

	if (!r)
		return RT_STEP_LOST;
	if (ROW_KIND(r) == ROW_END)
		return RT_STEP_ROOT;
	if (ROW_KIND(r) == ROW_SIGNAL)
		return leave_signal(w);
	if (!find_cfa(w, r, &cfa) || cfa > w->hi || !find_return(w, r, cfa, &pc) || !restore(w, r, cfa))
		return RT_STEP_LOST;
	if (!pc)
		return RT_STEP_ROOT;
	w->pc = rt_arch_code(pc);
	w->sp = cfa;
	w->sp_least = false;
	w->exact = r->kind & ROW_EXACT;
	/* Who calls code without a frame may keep its own return address in a register that this leaves alone. */
	if (!RT_DW_LINKED || !leaf)
		w->regs = NULL;
	return arrive(w);
}

/* --- The whole walk ------------------------------------------------------------------------------------ */

static RT_NOSAN struct rt_walk walk_from(struct rt_regs regs, uintptr_t lo, uintptr_t hi)
{
	struct rt_walk w = {
		.pc = regs.pc,
		.sp = regs.sp,
		.fp = regs.fp,
		.regs = regs.gregs,
		.set = ld_acq(&rt_modules), /* pairs with the release in publish() */
		.exact = regs.exact,
		.fp_known = regs.fp_known,
		/* An epilogue has popped fp and finds it below sp; the red zone is as long. */
		.lo = lo + 128 < regs.sp ? (regs.sp - 128) & ~(uintptr_t)7 : lo,
		.hi = hi,
	};

	if (regs.gregs) {
		w.bx = (uintptr_t)regs.gregs[RT_REG_BX];
		w.bx_known = true;
	}
	if (regs.sp < lo || regs.sp > hi)
		w.lo = w.hi; /* somebody else's stack: the pc is all there is to say */
	(void)arrive(&w);
	return w;
}

RT_NOSAN bool rt_unwind_to(struct rt_regs *regs, uintptr_t lo, uintptr_t hi, const struct rt_record *frame)
{
	struct rt_walk w = walk_from(*regs, lo, hi);

	while (w.sp <= (uintptr_t)frame)
		if (rt_walk_step(&w) != RT_STEP_CALLER)
			return false;
	*regs = (struct rt_regs){ .pc = w.pc, .sp = w.sp, .fp = w.fp, .fp_known = w.fp_known };
	return true;
}

RT_NOSAN int rt_unwind(struct rt_regs regs, uintptr_t lo, uintptr_t hi, uint64_t *pc, int max, unsigned *flags)
{
	struct rt_walk w = walk_from(regs, lo, hi);
	int n = 0, guesses = 0;

	while (n < max) {
		struct rt_walk before = w;
		enum rt_step step;

		pc[n++] = w.pc;
		step = rt_walk_step(&w);
		if (step == RT_STEP_ROOT)
			return n;
		if (step == RT_STEP_CALLER)
			continue;
		*flags |= WEFT_GF_APPROX;
		if (++guesses > 4)
			return n;
		if (step == RT_STEP_LOST) {
			if (!rt_walk_guess(&w, false))
				return n;
		} else if (rt_walk_guess(&before, true)) {
			w = before;
		}
	}
	*flags |= WEFT_GF_CUT;
	return n;
}

uint64_t weft_read_func_start(uint64_t pc)
{
	return rt_func_start(ld_acq(&rt_modules), pc); /* pairs with the release in publish() */
}
