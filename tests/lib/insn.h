/* insn.h - what tests say in machine code. */
#ifndef WEFT_TESTS_INSN_H
#define WEFT_TESTS_INSN_H

#if defined(__x86_64__)
#define INSN_BREAKPOINT "int3"
#define INSN_ILLEGAL "ud2"
#define INSN_LOSE_FP "mov $0x1234, %%ebp"
#define INSN_FP "rbp"
#define INSN_NO_UNWIND "-Wl,--no-ld-generated-unwind-info" /* for the linker: none of PLT stubs either */
#define INSN_WIDE "-mavx" /* for the compiler: vectors that need more alignment than the stack has */
#elif defined(__aarch64__)
#define INSN_BREAKPOINT "brk #0"
#define INSN_ILLEGAL "udf #0"
#define INSN_LOSE_FP "mov x29, #0x1234"
#define INSN_FP "x29"
#define INSN_NO_UNWIND ""
#define INSN_WIDE ""
#endif

/* May code that needs INSN_WIDE run? */
static inline int insn_wide(void)
{
#if defined(__x86_64__)
	return __builtin_cpu_supports("avx");
#else
	return 1;
#endif
}

#endif
