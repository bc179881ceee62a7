/* switch.S - the barest switch between two stacks: what any scheduler pays at least.
 *
 *	void floor_switch_jmp(void **save, void *to);
 *	void floor_switch_ret(void **save, void *to);
 *
 * Pushes the callee-saved registers, stores the stack pointer in *save, takes `to`, pops, and leaves
 * by an indirect jump, or by a return, which the processor's return predictor never expects. */

	.text
	.macro	SWITCH name
	.globl	\name
	.hidden	\name
	.type	\name, @function
	.p2align 4
\name:
	endbr64
	push	%rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, (%rdi)
	mov	%rsi, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	.endm

	SWITCH	floor_switch_jmp
	pop	%rcx
	jmp	*%rcx
	.size	floor_switch_jmp, . - floor_switch_jmp

	SWITCH	floor_switch_ret
	ret
	.size	floor_switch_ret, . - floor_switch_ret

	.section .note.GNU-stack, "", @progbits
