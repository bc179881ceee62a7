/* arch_amd64.h - x86-64, as arch.h says. */
#ifndef WEFT_RT_ARCH_AMD64_H
#define WEFT_RT_ARCH_AMD64_H

static inline void rt_arch_pause(void)
{
	__builtin_ia32_pause();
}

static inline uint64_t rt_arch_counter(void)
{
	return __builtin_ia32_rdtsc();
}

static inline struct m *rt_arch_self(void)
{
	struct m *m;

	__asm__ __volatile__("movq %%fs:rt_tls_m@tpoff, %0" : "=r"(m));
	return m;
}

static inline __attribute__((always_inline)) uintptr_t rt_arch_code(uintptr_t pc)
{
	return pc;
}

enum { RT_FRAME_FP = 5, RT_FRAME_PC = 6, RT_FRAME_WORDS = 7 };

/* {caller's rbp, return address} is the end of a frame. */
#define RT_SP_ABOVE_RECORD 1

/* As <ucontext.h> has them; asserted in arch_amd64.c */
enum { RT_REG_FP = 10, RT_REG_BX = 11, RT_REG_SP = 15, RT_REG_PC = 16 };

enum { RT_DW_BX = 3, RT_DW_FP = 6, RT_DW_SP = 7, RT_DW_RA = 16, RT_DW_REGS = 16 };
#define RT_DW_LINKED 0

#define RT_EPOLL_PACKED __attribute__((packed))

#endif
