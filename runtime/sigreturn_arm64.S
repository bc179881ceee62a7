/* sigreturn_arm64.S - how a signal handler returns: the kernel's frame lies at sp, rt_sigreturn takes it.
 *
 * The instructions are those that debuggers look for.  The unwind directives say where the frame, a siginfo_t of 128
 * bytes and a ucontext_t with the registers from its byte 184 on, holds the interrupted code's: they are named, as is
 * its pc, as registers of the caller.  The nop belongs to them, for unwinders that look up the address before a return
 * address. */

	.section rt_text, "ax", @progbits
	.globl	rt_sigreturn
	.hidden	rt_sigreturn
	.type	rt_sigreturn, @function
	.p2align 4
	.cfi_startproc
	.cfi_signal_frame
	/* DW_CFA_def_cfa_expression, DW_CFA_expression: DW_OP_breg31 + offset from sp */
	.cfi_escape 0x0f, 4, 0x8f, 0xb0, 0x04, 0x06	/* CFA = *(sp + 560), the interrupted sp */
	.cfi_escape 0x10, 29, 3, 0x8f, 0xa0, 0x04	/* x29: sp + 544 */
	.cfi_escape 0x10, 30, 3, 0x8f, 0xb8, 0x04	/* return address: pc at sp + 568 */
	nop
rt_sigreturn:
	mov	x8, #139
	svc	#0
	.cfi_endproc
	.size	rt_sigreturn, . - rt_sigreturn

	.section .note.GNU-stack, "", @progbits
