/* preempt_amd64.S - the call that a signal handler injects into a goroutine (preempt.c). */

	.section rt_text, "ax", @progbits

/*
 * Entered as if the interrupted instruction had called it: the word at rsp is where the goroutine goes on, the 128
 * bytes above that are its red zone.  Saves what any code may be using, calls rt_preempted(), which may come back
 * much later but on the same thread, and goes on as if nothing had happened.
 *
 * XSAVEC area: legacy region, header, and AVX and AVX-512 state (components 1, 2, 5, 6, 7 of mask 0xe7) in 2,560
 * bytes.  The header has to be zero but for what XSAVEC writes.  C code gets default control words and an empty
 * x87 stack.
 */
#define XMASK 0xe7
#define XSIZE 2560

	.globl	rt_async_preempt
	.hidden	rt_async_preempt
	.type	rt_async_preempt, @function
	.p2align 4
rt_async_preempt:
	.cfi_startproc
	.cfi_signal_frame
	.cfi_def_cfa rsp, 136
	.cfi_offset rip, -136
	pushfq
	.cfi_adjust_cfa_offset 8
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_offset rbp, -152
	movq	%rsp, %rbp
	.cfi_def_cfa_register rbp
	pushq	%rbx
	.cfi_offset rbx, -160
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%r12
	.cfi_offset r12, -240
	pushq	%r13
	.cfi_offset r13, -248
	pushq	%r14
	.cfi_offset r14, -256
	pushq	%r15
	.cfi_offset r15, -264
	cld
	subq	$XSIZE, %rsp
	andq	$-64, %rsp
	leaq	512(%rsp), %rdi
	xorl	%eax, %eax
	movl	$8, %ecx
	rep stosq
	movl	$XMASK, %eax
	xorl	%edx, %edx
	xsavec	(%rsp)
	fninit
	pushq	$0x1f80
	ldmxcsr	(%rsp)
	addq	$8, %rsp
	vzeroupper
	call	rt_preempted
	movl	$XMASK, %eax
	xorl	%edx, %edx
	xrstor	(%rsp)
	leaq	-112(%rbp), %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rax
	popq	%rbx
	popq	%rbp
	.cfi_def_cfa rsp, 144
	.cfi_restore rbp
	popfq
	.cfi_adjust_cfa_offset -8
	ret	$128
	.cfi_endproc
	.size	rt_async_preempt, . - rt_async_preempt

	.section .note.GNU-stack, "", @progbits
