/* arch_arm64.h - aarch64, as arch.h says. */
#ifndef WEFT_RT_ARCH_ARM64_H
#define WEFT_RT_ARCH_ARM64_H

static inline void rt_arch_pause(void)
{
	__asm__ __volatile__("yield");
}

static inline uint64_t rt_arch_counter(void)
{
	uint64_t n;

	__asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(n));
	return n;
}

static inline struct m *rt_arch_self(void)
{
	struct m *m;

	__asm__ __volatile__("mrs %0, tpidr_el0\n\t"
			     "add %0, %0, #:tprel_hi12:rt_tls_m, lsl #12\n\t"
			     "ldr %0, [%0, #:tprel_lo12_nc:rt_tls_m]"
			     : "=r"(m));
	return m;
}

/* The signature stands in the bits above an address's 48. */
static inline __attribute__((always_inline)) uintptr_t rt_arch_code(uintptr_t pc)
{
	return pc & ((UINT64_C(1) << 48) - 1);
}

enum { RT_FRAME_FP = 18, RT_FRAME_PC = 19, RT_FRAME_WORDS = 20 };

/* {caller's x29, return address} lies somewhere in a frame, mostly at its lower end. */
#define RT_SP_ABOVE_RECORD 0

/* x0 to x30, sp, pc, as <ucontext.h> has them; asserted in arch_arm64.c */
enum { RT_REG_BX = 19, RT_REG_FP = 29, RT_REG_LR = 30, RT_REG_SP = 31, RT_REG_PC = 32 };

enum { RT_DW_BX = 19, RT_DW_FP = 29, RT_DW_RA = 30, RT_DW_SP = 31, RT_DW_REGS = 32 };
#define RT_DW_LINKED 1

#define RT_EPOLL_PACKED

#endif
