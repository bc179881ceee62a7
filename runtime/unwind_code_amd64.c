/* unwind_code_amd64.c - what unwind_guess.c has to know of x86-64: how a call looks, and what lies beside a return
 * address. */
#include "unwind_code.h"

static RT_NOSAN int32_t int32_at(const uint8_t *b)
{
	return (int32_t)((uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24);
}

/* What a call to `at` really calls: looks through one PLT stub. */
static RT_NOSAN uintptr_t through_plt(uintptr_t at)
{
	uint8_t b[16];
	unsigned i = 0;
	uintptr_t target;

	if (!rt_code_peek(at, b, sizeof b))
		return at;
	if (b[0] == 0xf3 && b[1] == 0x0f && b[2] == 0x1e && b[3] == 0xfa) /* endbr64 */
		i = 4;
	if (b[i] == 0xf2) /* bnd */
		i++;
	if (b[i] != 0xff || b[i + 1] != 0x25) /* jmp *x(%rip) */
		return at;
	return rt_code_peek(at + i + 6 + (uintptr_t)(intptr_t)int32_at(b + i + 2), &target, sizeof target) ? target
													   : at;
}

/* Does the code at `from` jump to `to`, as a function does whose rare part was split off? */
static RT_NOSAN bool jumps(uintptr_t from, uintptr_t to)
{
	uint8_t b[512];

	if (!rt_code_peek(from, b, sizeof b))
		return false;
	for (unsigned i = 1; i + 4 <= sizeof b; i++) {
		bool jump = b[i - 1] == 0xe9 || (i > 1 && b[i - 2] == 0x0f && (b[i - 1] & 0xf0) == 0x80);

		if (jump && from + i + 4 + (uintptr_t)(intptr_t)int32_at(b + i) == to)
			return true;
	}
	return false;
}

/* Is there a call instruction that returns to ra, and does it call `function` (0: not known)? */
RT_NOSAN enum rt_guess rt_code_rank(uintptr_t ra, uintptr_t function)
{
	uint8_t b[7];
	uintptr_t target = 0;

	if (!rt_code_peek(ra - sizeof b, b, sizeof b))
		return RT_GUESS_NONE;
	if (b[2] == 0xe8) { /* call x */
		target = through_plt(ra + (uintptr_t)(intptr_t)int32_at(b + 3));
	} else if (b[1] == 0xff && b[2] == 0x15) { /* call *x(%rip) */
		if (!rt_code_peek(ra + (uintptr_t)(intptr_t)int32_at(b + 3), &target, sizeof target))
			target = 0;
	}
	if (target)
		return function && (target == function || jumps(target, function)) ? RT_GUESS_SURE : RT_GUESS_LIKELY;
	/* ff /2: through a register, a base with a displacement of 0, 1 or 4 bytes, or with an index */
	for (unsigned i = 0; i < 6; i++)
		if (b[i] == 0xff && (b[i + 1] & 0x38) == 0x10)
			return RT_GUESS_LIKELY;
	return RT_GUESS_NONE;
}

/* Stand in the caller, if its return address is the word at `at`.  row: of the lost frame, or NULL. */
RT_NOSAN bool rt_code_stand(struct rt_walk *w, const struct rt_row *row, uintptr_t at)
{
	uintptr_t cfa = at + 8, saved = cfa + (row ? (uintptr_t)(intptr_t)row->fp : 0);

	w->pc = *(const volatile uintptr_t *)at;
	w->exact = false;
	w->regs = NULL;
	w->bx_known = false;
	if (row && ROW_KIND(row) == ROW_FP && row->fp_kind == ROW_FP_AT_CFA) {
		if (cfa % 16 || saved % 8 || saved < w->lo || saved >= at)
			return false;
		w->fp = *(const volatile uintptr_t *)saved;
		w->fp_known = true;
	} else if (row && ROW_KIND(row) == ROW_FP) {
		return false; /* before the prologue has saved rbp, or after the epilogue: nothing to hold on to */
	}
	w->sp = cfa;
	return w->pc != 0;
}

RT_NOSAN bool rt_code_link(struct rt_walk *w)
{
	(void)w;
	return false;
}
