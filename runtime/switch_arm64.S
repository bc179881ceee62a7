/* switch_arm64.S - the context switch, the first activation of a goroutine, raw system calls.
 *
 * All hidden; each with unwind directives that are right at every instruction, so that gdb and our own
 * tables walk through them.  x18 is left alone: the platform's, on some. */

	.section rt_text, "ax", @progbits

#define FRAME 160 /* RT_FRAME_WORDS * 8 */

	.macro saved at, a, b
	.cfi_rel_offset \a, \at
	.cfi_rel_offset \b, \at + 8
	.endm

	.macro save at, a, b
	stp	\a, \b, [sp, \at]
	saved	\at, \a, \b
	.endm

	.macro load at, a, b
	ldp	\a, \b, [sp, \at]
	.cfi_restore \a
	.cfi_restore \b
	.endm

/*
 * struct m *rt_switch(_Atomic uintptr_t *save, uintptr_t sp, struct m *m)
 *
 * x0, x1, x2 in; x0 = m out, in the context that is switched to.  Callee-saved registers go on the stack that is
 * left, lowest address first: d8 to d15, x19 to x28, x29, pc (RT_FRAME_* in arch_arm64.h).  FPCR is not switched.
 *
 * Calls and returns stay paired, as in switch_amd64.S: who stopped is resumed by `ret`, a new goroutine is entered by
 * a branch, and one that ends leaves from rt_g_entry, to which all its calls have returned.
 */
	.globl	rt_switch
	.hidden	rt_switch
	.type	rt_switch, @function
	.p2align 5
rt_switch:
	.cfi_startproc
	hint	#34 /* bti c */
	sub	sp, sp, FRAME
	.cfi_def_cfa_offset FRAME
	save	0, d8, d9
	save	16, d10, d11
	save	32, d12, d13
	save	48, d14, d15
	save	64, x19, x20
	save	80, x21, x22
	save	96, x23, x24
	save	112, x25, x26
	save	128, x27, x28
	save	144, x29, x30
	mov	x9, sp
	str	x9, [x0]
	mov	sp, x1
	mov	x0, x2
.Lresume:
	load	0, d8, d9
	load	16, d10, d11
	load	32, d12, d13
	load	48, d14, d15
	load	64, x19, x20
	load	80, x21, x22
	load	96, x23, x24
	load	112, x25, x26
	load	128, x27, x28
	adr	x9, rt_g_entry
	load	144, x29, x30
	add	sp, sp, FRAME
	.cfi_def_cfa_offset 0
	cmp	x30, x9
	b.eq	.Lfirst
	ret
	.cfi_endproc
	.size	rt_switch, . - rt_switch

/*
 * Where a goroutine begins and ends: x0 = m, sp is 16-byte aligned.  The return address is undefined and x29 zero,
 * so every unwinder ends here.  rt_g_main() returns who runs next: x0 = m, x1 = its sp.
 */
	.globl	rt_g_entry
	.hidden	rt_g_entry
	.globl	rt_g_entry_call
	.hidden	rt_g_entry_call
	.type	rt_g_entry, @function
	.p2align 4
rt_g_entry:
	.cfi_startproc
	.cfi_undefined x30
	hint	#34
.Lfirst:
	mov	x29, xzr
	bl	rt_g_main
rt_g_entry_call:
	mov	sp, x1
	.cfi_def_cfa sp, FRAME
	saved	0, d8, d9
	saved	16, d10, d11
	saved	32, d12, d13
	saved	48, d14, d15
	saved	64, x19, x20
	saved	80, x21, x22
	saved	96, x23, x24
	saved	112, x25, x26
	saved	128, x27, x28
	saved	144, x29, x30
	b	.Lresume
	.cfi_endproc
	.size	rt_g_entry, . - rt_g_entry

/*
 * long rt_syscall(long nr, long a, long b, long c, long d, long e, long f)
 *
 * With a frame, unlike most leaf functions: of a thread that sits in the call the kernel tells pc and sp, but not
 * x30 (capture.c).
 */
	.globl	rt_syscall
	.hidden	rt_syscall
	.type	rt_syscall, @function
	.p2align 4
rt_syscall:
	.cfi_startproc
	hint	#34
	stp	x29, x30, [sp, #-16]!
	.cfi_def_cfa_offset 16
	.cfi_offset x29, -16
	.cfi_offset x30, -8
	mov	x29, sp
	mov	x8, x0
	mov	x0, x1
	mov	x1, x2
	mov	x2, x3
	mov	x3, x4
	mov	x4, x5
	mov	x5, x6
	svc	#0
	ldp	x29, x30, [sp], #16
	.cfi_def_cfa_offset 0
	.cfi_restore x29
	.cfi_restore x30
	ret
	.cfi_endproc
	.size	rt_syscall, . - rt_syscall

	.section .note.GNU-stack, "", @progbits
