/* sigreturn_amd64.S - how a signal handler returns: the kernel's frame lies at sp, rt_sigreturn takes it.
 *
 * The instruction bytes are those that debuggers look for.  The unwind directives say where the frame
 * holds the registers of the interrupted code; the nop belongs to them, for unwinders that look up the
 * address before a return address. */

	.section rt_text, "ax", @progbits
	.globl	rt_sigreturn
	.hidden	rt_sigreturn
	.type	rt_sigreturn, @function
	.p2align 4
	.cfi_startproc
	.cfi_signal_frame
	/* DW_CFA_def_cfa_expression, DW_CFA_expression: DW_OP_breg7 + offset in the ucontext */
	.cfi_escape 0x0f, 4, 0x77, 0xa0, 0x01, 0x06	/* CFA = *(sp + 160) */
	.cfi_escape 0x10, 16, 3, 0x77, 0xa8, 0x01	/* rip */
	.cfi_escape 0x10, 6, 3, 0x77, 0xf8, 0x00	/* rbp */
	.cfi_escape 0x10, 3, 3, 0x77, 0x80, 0x01	/* rbx */
	.cfi_escape 0x10, 12, 3, 0x77, 0xc8, 0x00	/* r12 */
	.cfi_escape 0x10, 13, 3, 0x77, 0xd0, 0x00	/* r13 */
	.cfi_escape 0x10, 14, 3, 0x77, 0xd8, 0x00	/* r14 */
	.cfi_escape 0x10, 15, 3, 0x77, 0xe0, 0x00	/* r15 */
	nop
rt_sigreturn:
	movq	$15, %rax
	syscall
	.cfi_endproc
	.size	rt_sigreturn, . - rt_sigreturn

	.section .note.GNU-stack, "", @progbits
