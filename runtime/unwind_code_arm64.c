/* unwind_code_arm64.c - what unwind_guess.c has to know of aarch64: how a call looks, and what a frame record is.
 *
 * Functions that call others keep a record {caller's x29, x30}, to which x29 points, somewhere in their frame; so what
 * is searched for on a stack is such a pair. */
#include "unwind_code.h"

enum { INSN = 4, JUMPS = 128 }; /* instructions of a function that are looked through for jumps */

/* The low `bits` of v, of which the highest is the sign, times unit. */
static RT_NOSAN uintptr_t displacement(uint32_t v, unsigned bits, int unit)
{
	return (uintptr_t)(((int64_t)((uint64_t)v << (64 - bits)) >> (64 - bits)) * unit);
}

/* What a call to `at` really calls: looks through one PLT stub (adrp x16; ldr x17, [x16, n]; ...; br x17). */
static RT_NOSAN uintptr_t through_plt(uintptr_t at)
{
	uint32_t b[3], *p = b;
	uintptr_t page, target;

	if (!rt_code_peek(at, b, sizeof b))
		return at;
	page = at & ~(uintptr_t)0xfff;
	if (b[0] == 0xd503245f) { /* bti c; it may lie at the end of a page */
		p = b + 1;
		page = (at + INSN) & ~(uintptr_t)0xfff;
	}
	if ((p[0] & 0x9f00001f) != 0x90000010 || (p[1] & 0xffc003ff) != 0xf9400211)
		return at;
	page += displacement((p[0] >> 5 & 0x7ffff) << 2 | (p[0] >> 29 & 3), 21, 0x1000);
	return rt_code_peek(page + (p[1] >> 10 & 0xfff) * 8, &target, sizeof target) ? target : at;
}

/* Where the branch i at `at` leads; 0: it is none, or a call. */
static RT_NOSAN uintptr_t branch(uint32_t i, uintptr_t at)
{
	if ((i & 0xfc000000) == 0x14000000) /* b */
		return at + displacement(i & 0x3ffffff, 26, INSN);
	if ((i & 0xff000010) == 0x54000000 || (i & 0x7e000000) == 0x34000000) /* b.cond, cbz, cbnz */
		return at + displacement(i >> 5 & 0x7ffff, 19, INSN);
	if ((i & 0x7e000000) == 0x36000000) /* tbz, tbnz */
		return at + displacement(i >> 5 & 0x3fff, 14, INSN);
	return 0;
}

/* Does the code at `from` jump to `to`, as a function does whose rare part was split off? */
static RT_NOSAN bool jumps(uintptr_t from, uintptr_t to)
{
	uint32_t b[JUMPS];

	if (!rt_code_peek(from, b, sizeof b))
		return false;
	for (unsigned i = 0; i < JUMPS; i++)
		if (branch(b[i], from + i * INSN) == to)
			return true;
	return false;
}

RT_NOSAN enum rt_guess rt_code_rank(uintptr_t ra, uintptr_t function)
{
	uintptr_t target;
	uint32_t i;

	if (ra % INSN || !rt_code_peek(ra - INSN, &i, sizeof i))
		return RT_GUESS_NONE;
	if ((i & 0xfffffc1f) == 0xd63f0000 || (i & 0xfefff800) == 0xd63f0800) /* blr, blraa and its kin */
		return RT_GUESS_LIKELY;
	if ((i & 0xfc000000) != 0x94000000) /* bl */
		return RT_GUESS_NONE;
	target = through_plt(ra - INSN + displacement(i & 0x3ffffff, 26, INSN));
	return function && (target == function || jumps(target, function)) ? RT_GUESS_SURE : RT_GUESS_LIKELY;
}

/* The record of the lost frame says nothing of where it ends: sp is at least behind it. */
RT_NOSAN bool rt_code_stand(struct rt_walk *w, const struct rt_row *row, uintptr_t at)
{
	const volatile uintptr_t *record = (const volatile uintptr_t *)at - 1;

	(void)row;
	if ((uintptr_t)record < w->sp || (record[0] != 0 && (record[0] <= at || record[0] >= w->hi)))
		return false;
	w->pc = rt_arch_code(record[1]);
	w->fp = record[0];
	w->sp = at + 8;
	w->sp_least = w->fp_known = true;
	w->exact = w->bx_known = false;
	w->regs = NULL;
	return w->pc != 0;
}

RT_NOSAN bool rt_code_link(struct rt_walk *w)
{
	if (!w->exact || !w->regs || (w->row && ROW_KIND(w->row) != ROW_GAP))
		return false;
	w->pc = rt_arch_code((uintptr_t)w->regs[RT_REG_LR]);
	w->exact = false;
	w->regs = NULL;
	w->row = rt_row_at(w->set, &w->seg, w->pc - 1);
	return w->row && ROW_KIND(w->row) != ROW_GAP;
}
