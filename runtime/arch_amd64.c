/* arch_amd64.c - x86-64: its counter, the registers of interrupted code, and what it takes to interrupt it by a call
 * (preempt.c, preempt_amd64.S). */
#include <cpuid.h>
#include <string.h>
#include <ucontext.h>

#include "arch.h"
#include "base.h"

#define RED_ZONE 128
#define XFEATURE_AMX (3u << 17)
#define XSTATE_MAGIC 0x46505853u

_Static_assert((int)RT_REG_PC == REG_RIP && (int)RT_REG_SP == REG_RSP && (int)RT_REG_FP == REG_RBP &&
		       (int)RT_REG_BX == REG_RBX,
	       "the kernel's order");

const uint32_t rt_arch_context_bytes = offsetof(ucontext_t, uc_mcontext) + sizeof(mcontext_t);

void rt_async_preempt(void); /* preempt_amd64.S */

/* The kernel's own verdict covers unstable, unsynchronised and emulated counters. */
bool rt_arch_counter_trusted(const char *clocksource)
{
	unsigned a, b, c, d;

	return !strncmp(clocksource, "tsc", 3) && __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & 1u << 8);
}

RT_NOSAN const long long *rt_arch_regs(const void *context)
{
	return ((const ucontext_t *)context)->uc_mcontext.gregs;
}

RT_NOSAN uintptr_t rt_arch_context(uintptr_t sp)
{
	return sp;
}

RT_NOSAN unsigned rt_arch_reg(unsigned dw)
{
	static const uint8_t greg_of[] = { REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP,
					   REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

	return greg_of[dw];
}

/* --- Interrupting --- */

bool rt_arch_can_inject(void)
{
	unsigned a, b, c, d, lo, hi;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return false;
	__asm__ __volatile__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	if ((lo & 7) != 7 || !__get_cpuid_count(0xd, 1, &a, &b, &c, &d))
		return false;
	return a & 2; /* XSAVEC */
}

/* What the kernel saved of the extended state has tiles in it. */
RT_NOSAN bool rt_arch_more_state(const void *context)
{
	const char *fp = (const char *)((const ucontext_t *)context)->uc_mcontext.fpregs;

	if (!fp || *(const uint32_t *)(fp + 464) != XSTATE_MAGIC)
		return false;
	return *(const uint64_t *)(fp + 512) & XFEATURE_AMX;
}

/* The red zone is left alone, the return address goes below it. */
RT_NOSAN void rt_arch_inject(void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	uintptr_t *sp = (uintptr_t *)((uintptr_t)regs[REG_RSP] - RED_ZONE) - 1;

	*sp = (uintptr_t)regs[REG_RIP];
	regs[REG_RSP] = (greg_t)sp;
	regs[REG_RIP] = (greg_t)rt_async_preempt;
}
