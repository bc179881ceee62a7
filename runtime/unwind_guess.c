/* unwind_guess.c - going on where the tables cannot: rbp is not known (a thread looked at in a system
 * call, of which the kernel tells pc and sp only), the code has no unwind information, or wrong one
 * (glibc's bignum routines, under strtod and printf of floating point, push without saying so).
 *
 * The return address of the lost frame is some word above sp.  A word is a candidate if it points behind
 * a call instruction and the walk by table from there ends at a root.  Frames of calls that have returned
 * pass that test too, if nothing has been written over them.  What tells them apart, best first:
 *   - a call of the function we stand in, directly, through a PLT, or of one that jumps to it: certain;
 *   - a walk that does not lead through the function we stand in: what is left of calls that this very
 *     activation made would lead there;
 *   - nearer before farther.
 * Callers flag whatever was found this way WEFT_GF_APPROX.
 *
 * Code is read through the kernel, since the object may be gone.  sig */
#include <sys/uio.h>

#include "unwind_table.h"

#include "sys.h"

enum {
	GUESS_WORDS = 2048, /* how far up is looked */
	GUESS_TRIES = 100,  /* candidates looked at: each costs a system call or two */
	GUESS_PUSHES = 6,   /* registers that a function may have pushed */
	GUESS_FRAMES = 256, /* frames a candidate's walk may take */
};

enum rank { RANK_NONE, RANK_THROUGH, RANK_LIKELY, RANK_SURE };

static RT_NOSAN bool peek(uintptr_t at, void *to, size_t n)
{
	struct iovec local = { to, n }, remote = { (void *)at, n };

	return rt_syscall(SYS_process_vm_readv, rt_pid(), (long)&local, 1, (long)&remote, 1, 0) == (long)n;
}

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

	if (!peek(at, b, sizeof b))
		return at;
	if (b[0] == 0xf3 && b[1] == 0x0f && b[2] == 0x1e && b[3] == 0xfa) /* endbr64 */
		i = 4;
	if (b[i] == 0xf2) /* bnd */
		i++;
	if (b[i] != 0xff || b[i + 1] != 0x25) /* jmp *x(%rip) */
		return at;
	return peek(at + i + 6 + (uintptr_t)(intptr_t)int32_at(b + i + 2), &target, sizeof target) ? target : at;
}

/* Does the code at `from` jump to `to`, as a function does whose rare part was split off? */
static RT_NOSAN bool jumps(uintptr_t from, uintptr_t to)
{
	uint8_t b[512];

	if (!peek(from, b, sizeof b))
		return false;
	for (unsigned i = 1; i + 4 <= sizeof b; i++) {
		bool jump = b[i - 1] == 0xe9 || (i > 1 && b[i - 2] == 0x0f && (b[i - 1] & 0xf0) == 0x80);

		if (jump && from + i + 4 + (uintptr_t)(intptr_t)int32_at(b + i) == to)
			return true;
	}
	return false;
}

/* Is there a call instruction that returns to ra, and does it call `function` (0: not known)? */
static RT_NOSAN enum rank rank_of(uintptr_t ra, uintptr_t function)
{
	uint8_t b[7];
	uintptr_t target = 0;

	if (!peek(ra - sizeof b, b, sizeof b))
		return RANK_NONE;
	if (b[2] == 0xe8) { /* call x */
		target = through_plt(ra + (uintptr_t)(intptr_t)int32_at(b + 3));
	} else if (b[1] == 0xff && b[2] == 0x15) { /* call *x(%rip) */
		if (!peek(ra + (uintptr_t)(intptr_t)int32_at(b + 3), &target, sizeof target))
			target = 0;
	}
	if (target)
		return function && (target == function || jumps(target, function)) ? RANK_SURE : RANK_LIKELY;
	/* ff /2: through a register, a base with a displacement of 0, 1 or 4 bytes, or with an index */
	for (unsigned i = 0; i < 6; i++)
		if (b[i] == 0xff && (b[i + 1] & 0x38) == 0x10)
			return RANK_LIKELY;
	return RANK_NONE;
}

/* Does the walk from there lead through `function`? */
static RT_NOSAN bool leads_through(struct rt_walk w, uintptr_t function)
{
	for (int i = 0; function && i < GUESS_FRAMES; i++) {
		if (rt_func_start(w.set, w.pc - 1) == function)
			return true;
		if (rt_walk_step(&w) != RT_STEP_CALLER)
			return false;
	}
	return false;
}

static RT_NOSAN bool ends_at_root(struct rt_walk w)
{
	for (int i = 0; i < GUESS_FRAMES; i++) {
		enum rt_step step = rt_walk_step(&w);

		if (step != RT_STEP_CALLER)
			return step == RT_STEP_ROOT;
	}
	return true; /* deep, but it fits */
}

/* A frame that pushed without saying so may have pushed the caller's rbp and changed it: if the caller
 * cannot be left with rbp as it is, try what lies between. */
static RT_NOSAN bool ends_with_pushed_fp(struct rt_walk *w, uintptr_t sp, uintptr_t at)
{
	if (ends_at_root(*w))
		return true;
	if (at - sp > GUESS_PUSHES * 8)
		return false;
	w->fp_known = true;
	for (; sp < at; sp += 8) {
		w->fp = *(const volatile uintptr_t *)sp;
		if (ends_at_root(*w))
			return true;
	}
	return false;
}

/* Stand in the caller, if its return address is the word at `at`.  row: of the lost frame, or NULL. */
static RT_NOSAN bool stand_at(struct rt_walk *w, const struct rt_row *row, uintptr_t at)
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

RT_NOSAN bool rt_walk_guess(struct rt_walk *w, bool sure)
{
	uintptr_t function = rt_func_start(w->set, w->exact ? w->pc : w->pc - 1), end = w->hi & ~(uintptr_t)7;
	const struct rt_row *row = w->row;
	enum rank least = sure ? RANK_LIKELY : RANK_NONE, best = least;
	struct rt_walk found = *w;
	int tries = 0;
	uintptr_t at = (w->sp + 7) & ~(uintptr_t)7;

	if (w->lo >= w->hi || at < w->lo)
		return false;
	if (end - at > GUESS_WORDS * 8)
		end = at + GUESS_WORDS * 8;
	for (; at < end && best < RANK_SURE && tries < GUESS_TRIES; at += 8) {
		struct rt_walk try = *w;
		enum rank rank;

		if (!stand_at(&try, row, at))
			continue;
		try.row = rt_row_at(try.set, &try.seg, try.pc - 1);
		if (!try.row || ROW_KIND(try.row) == ROW_GAP)
			continue;
		tries++;
		rank = rank_of(try.pc, function);
		if (rank <= best)
			continue;
		if (rank == RANK_SURE ? !ends_with_pushed_fp(&try, w->sp, at) : !ends_at_root(try))
			continue;
		if (rank == RANK_LIKELY && leads_through(try, function))
			rank = RANK_THROUGH;
		if (rank <= best)
			continue;
		best = rank;
		found = try;
	}
	if (best == least)
		return false;
	*w = found;
	return true;
}
