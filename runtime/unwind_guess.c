/* unwind_guess.c - going on where the tables cannot: fp is not known (a thread looked at in a system
 * call, of which the kernel tells pc and sp only), the code has no unwind information, or wrong one
 * (glibc's bignum routines, under strtod and printf of floating point, push without saying so).
 *
 * Where a return address may still be in a register, that is looked at first.  Else
 * the return address of the lost frame is some word above sp.  A word is a candidate if it points behind
 * a call instruction and the walk by table from there ends at a root.  Frames of calls that have returned
 * pass that test too, if nothing has been written over them.  What tells them apart, best first:
 *   - a call of the function we stand in, directly, through a PLT, or of one that jumps to it: certain;
 *   - a walk that does not lead through the function we stand in: what is left of calls that this very
 *     activation made would lead there;
 *   - nearer before farther.
 * Callers flag whatever was found this way WEFT_GF_APPROX.
 *
 * How calls and frames look is the processor's (unwind_code_*.c).  Code is read through the kernel, since the object
 * may be gone.  sig */
#include <sys/uio.h>

#include "unwind_code.h"

#include "sys.h"

enum {
	GUESS_WORDS = 2048, /* how far up is looked */
	GUESS_TRIES = 100,  /* candidates looked at: each costs a system call or two */
	GUESS_PUSHES = 6,   /* registers that a function may have pushed */
	GUESS_FRAMES = 256, /* frames a candidate's walk may take */
};

RT_NOSAN bool rt_code_peek(uintptr_t at, void *to, size_t n)
{
	struct iovec local = { to, n }, remote = { (void *)at, n };

	return rt_syscall(SYS_process_vm_readv, rt_pid(), (long)&local, 1, (long)&remote, 1, 0) == (long)n;
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

/* A frame that pushed without saying so may have pushed the caller's fp and changed it: if the caller
 * cannot be left with fp as it is, try what lies between. */
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

RT_NOSAN bool rt_walk_guess(struct rt_walk *w, bool sure)
{
	uintptr_t function = rt_func_start(w->set, w->exact ? w->pc : w->pc - 1), end = w->hi & ~(uintptr_t)7;
	const struct rt_row *row = w->row;
	enum rt_guess least = sure ? RT_GUESS_LIKELY : RT_GUESS_NONE, best = least;
	struct rt_walk found = *w;
	int tries = 0;
	uintptr_t at = (w->sp + 7) & ~(uintptr_t)7;

	if (w->lo >= w->hi || at < w->lo)
		return false;
	if (!sure && rt_code_link(&found) && ends_at_root(found)) {
		*w = found;
		return true;
	}
	if (end - at > GUESS_WORDS * 8)
		end = at + GUESS_WORDS * 8;
	for (; at < end && best < RT_GUESS_SURE && tries < GUESS_TRIES; at += 8) {
		struct rt_walk try = *w;
		enum rt_guess rank;

		if (!rt_code_stand(&try, row, at))
			continue;
		try.row = rt_row_at(try.set, &try.seg, try.pc - 1);
		if (!try.row || ROW_KIND(try.row) == ROW_GAP)
			continue;
		tries++;
		rank = rt_code_rank(try.pc, function);
		if (rank <= best)
			continue;
		if (rank == RT_GUESS_SURE ? !ends_with_pushed_fp(&try, w->sp, at) : !ends_at_root(try))
			continue;
		if (rank == RT_GUESS_LIKELY && leads_through(try, function))
			rank = RT_GUESS_THROUGH;
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
