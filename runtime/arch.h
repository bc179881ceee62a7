/* arch.h - what differs between processors: one arch_*.h each, and beside it files named *_amd64.* and *_arm64.*, of
 * which the Makefile takes those of the compiler's target.  No other file asks which processor it is built for.
 *
 * An arch_*.h gives
 *   rt_arch_pause()         in a loop that waits for another thread
 *   rt_arch_counter()       a cheap counter, for who may use it: rt_arch_counter_trusted()
 *   rt_arch_self()          the thread-local rt_tls_m, looked up at every call
 *   rt_arch_code()          a return address as it was before it was signed
 *   RT_FRAME_*              what rt_switch() leaves on a stack (switch_*.S), in words
 *   RT_SP_ABOVE_RECORD      is the caller's sp right above a frame record?
 *   RT_REG_*                where a register stands in rt_arch_regs()
 *   RT_DW_*                 numbers of registers in unwind tables; RT_DW_REGS of them may be named; RT_DW_BX is the one
 *                           that is followed besides sp and fp; RT_DW_LINKED: a function begins with its return address
 *                           in register RT_DW_RA
 *   RT_EPOLL_PACKED         how the kernel lays out struct epoll_event
 * and the rest, as declared below, stands in arch_*.c; how calls look in machine code, in unwind_code_*.c. */
#ifndef WEFT_RT_ARCH_H
#define WEFT_RT_ARCH_H

#include <stdbool.h>
#include <stdint.h>

struct m;

#if defined(__x86_64__)
#include "arch_amd64.h"
#elif defined(__aarch64__)
#include "arch_arm64.h"
#else
#error "weft runs on Linux on x86-64 and on aarch64"
#endif

/* Does rt_arch_counter() run evenly, and alike on all processors?  clocksource: the kernel's. */
bool rt_arch_counter_trusted(const char *clocksource);

/* The registers in a ucontext_t.  sig */
const long long *rt_arch_regs(const void *context);
/* The ucontext_t in a handler's frame, when sp is what the trampoline behind the handler finds.  sig */
uintptr_t rt_arch_context(uintptr_t sp);
/* How much of a ucontext_t has to be readable for rt_arch_regs(). */
extern const uint32_t rt_arch_context_bytes;
/* Where register dw < RT_DW_REGS stands in rt_arch_regs().  sig */
unsigned rt_arch_reg(unsigned dw);

/* preempt.c: can running code be interrupted by a call of rt_async_preempt()? */
bool rt_arch_can_inject(void);
/* Is there state in use that rt_async_preempt() does not save?  sig */
bool rt_arch_more_state(const void *context);
/* Make it look as if the interrupted code had called rt_async_preempt().  sig */
void rt_arch_inject(void *context);

#endif
