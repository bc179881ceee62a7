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
 * Calls and returns stay paired, since a processor predicts a return by the calls it saw last, whatever
 * the stack: a goroutine that stopped in the same functions as the one before it returns from all of them as
 * predicted.  So who stopped is resumed by `ret`, a new goroutine is entered by a jump, and one that ends
 * leaves from rt_g_entry, to which all its calls have returned.  (A jump here instead of the `ret` would make
 * each return of the callers a wrong guess: a yield takes twice as long.)
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
.Lresume:
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
	leaq	rt_g_entry(%rip), %rcx
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbp
	cmpq	%rcx, (%rsp)
	je	.Lfirst
	ret
	.cfi_endproc
	.size	rt_switch, . - rt_switch

/*
 * Where a goroutine begins and ends: rax = m, sp is 16-byte aligned above its own address, which the
 * first switch to it found as the pc.  The return address is undefined and rbp zero, so every unwinder
 * ends here.  rt_g_main() returns who runs next: rax = m, rdx = its sp.
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
.Lfirst:
	addq	$8, %rsp
	xorl	%ebp, %ebp
	movq	%rax, %rdi
	call	rt_g_main
rt_g_entry_call:
	movq	%rdx, %rsp
	.cfi_restore rip
	.cfi_def_cfa rsp, 56
	.cfi_offset rbp, -16
	.cfi_offset rbx, -24
	.cfi_offset r12, -32
	.cfi_offset r13, -40
	.cfi_offset r14, -48
	.cfi_offset r15, -56
	jmp	.Lresume
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
