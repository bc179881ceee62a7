/* switch_amd64.S - the context switch, the first activation of a goroutine, raw system calls.
 *
 * All hidden; each with unwind directives that are right at every instruction, so that gdb and our own
 * tables walk through them. */

	.section rt_text, "ax", @progbits

/*
 * struct m *rt_switch(_Atomic uintptr_t *save, uintptr_t sp, struct m *m)
 *
 * rdi, rsi, rdx in; rax = m out, in the context that is switched to.  Callee-saved registers go on the
 * stack that is left, lowest address first: r15 r14 r13 r12 rbx rbp pc (RT_FRAME_* in rt.h).  MXCSR and
 * the x87 control word are not switched.
 *
 * It leaves through an indirect jump: `ret` would always be mispredicted, since the return stack of the
 * processor belongs to the stack that was left (3.5 ns against 14 ns).
 */
	.globl	rt_switch
	.hidden	rt_switch
	.type	rt_switch, @function
	.p2align 5
rt_switch:
	.cfi_startproc
	endbr64
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r12, 0
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r13, 0
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r14, 0
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r15, 0
	movq	%rsp, (%rdi)
	movq	%rsi, %rsp
	movq	%rdx, %rax
	popq	%r15
	.cfi_adjust_cfa_offset -8
	.cfi_restore r15
	popq	%r14
	.cfi_adjust_cfa_offset -8
	.cfi_restore r14
	popq	%r13
	.cfi_adjust_cfa_offset -8
	.cfi_restore r13
	popq	%r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore r12
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbp
	popq	%rcx
	.cfi_adjust_cfa_offset -8
	.cfi_register rip, rcx
	notrack jmp *%rcx
	.cfi_endproc
	.size	rt_switch, . - rt_switch

/*
 * Where a goroutine begins: rax = m from rt_switch(), sp 16-byte aligned.  The return address is
 * undefined and rbp zero, so every unwinder ends here.
 */
	.globl	rt_g_entry
	.hidden	rt_g_entry
	.globl	rt_g_entry_call
	.hidden	rt_g_entry_call
	.type	rt_g_entry, @function
	.p2align 4
rt_g_entry:
	.cfi_startproc
	.cfi_undefined rip
	endbr64
	xorl	%ebp, %ebp
	movq	%rax, %rdi
	call	rt_g_main
rt_g_entry_call:
	ud2
	.cfi_endproc
	.size	rt_g_entry, . - rt_g_entry

/* long rt_syscall(long nr, long a, long b, long c, long d, long e, long f) */
	.globl	rt_syscall
	.hidden	rt_syscall
	.type	rt_syscall, @function
	.p2align 4
rt_syscall:
	.cfi_startproc
	endbr64
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	movq	%r8, %r10
	movq	%r9, %r8
	movq	8(%rsp), %r9
	syscall
	ret
	.cfi_endproc
	.size	rt_syscall, . - rt_syscall

	.section .note.GNU-stack, "", @progbits
