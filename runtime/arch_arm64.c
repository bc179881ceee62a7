/* arch_arm64.c - aarch64: its counter and the registers of interrupted code.
 *
 * Code cannot be interrupted by a call here: it may be using every register, and none is left to go back through, as no
 * instruction takes a pc from memory without one.  A hog that may be interrupted is handed off like any other. */
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "arch.h"
#include "base.h"

_Static_assert(offsetof(mcontext_t, sp) == offsetof(mcontext_t, regs) + RT_REG_SP * 8 &&
		       offsetof(mcontext_t, pc) == offsetof(mcontext_t, regs) + RT_REG_PC * 8,
	       "one array");

const uint32_t rt_arch_context_bytes = offsetof(ucontext_t, uc_mcontext.pstate);

/* The architected counter is one for all processors and does not stop, unless the kernel found reason to use another.
 */
bool rt_arch_counter_trusted(const char *clocksource)
{
	return !strncmp(clocksource, "arch_sys_counter", 16);
}

RT_NOSAN const long long *rt_arch_regs(const void *context)
{
	return (const long long *)((const ucontext_t *)context)->uc_mcontext.regs;
}

/* The frame begins with a siginfo_t. */
RT_NOSAN uintptr_t rt_arch_context(uintptr_t sp)
{
	return sp + sizeof(siginfo_t);
}

RT_NOSAN unsigned rt_arch_reg(unsigned dw)
{
	return dw;
}

bool rt_arch_can_inject(void)
{
	return false;
}

RT_NOSAN bool rt_arch_more_state(const void *context)
{
	(void)context;
	return true;
}

RT_NOSAN void rt_arch_inject(void *context)
{
	(void)context;
}
