/* sanity.h - what sanitizers must be told about switches between stacks: one place.
 *
 * A signal may arrive inside any of these calls.  __tsan_create_fiber() makes the new fiber the thread's
 * current one before it has a shadow stack: an instrumented function faults on entry if it runs then, and so
 * does what the sanitizer wraps of libc.  Blocking signals would be two system calls a call; instead nothing
 * that the handlers of SIGPROF and SIGURG reach is instrumented or libc's: it is RT_NOSAN, RT_INLINE or
 * assembly.  tests/e2e/22-handlers.sh reads that from the machine code. */
#ifndef WEFT_RT_SANITY_H
#define WEFT_RT_SANITY_H

#include <signal.h>

#include "rt.h"

#ifdef RT_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef RT_TSAN
#include <sanitizer/tsan_interface.h>
#endif

/* Sanitizers count calls and returns by stack: a goroutine must end where it says so, and not return from
 * there on what is to them another stack already. */
#if defined(RT_ASAN) || defined(RT_TSAN)
#define SANE_STACKS 1
#else
#define SANE_STACKS 0
#endif

/* A goroutine is born on a slot: what an earlier one left poisoned is good again. */
static inline void sane_birth(struct g *g)
{
#ifdef RT_ASAN
	__asan_unpoison_memory_region((void *)rt_stack_lo(g), rt_stack_hi(g) - rt_stack_lo(g));
	g->fake_stack = NULL;
#endif
#ifdef RT_TSAN
	g->fiber = __tsan_create_fiber(0);
#endif
	(void)g;
}

/* The thread itself is a stack, too. */
static inline void sane_thread(struct m *m)
{
#ifdef RT_TSAN
	m->g0.fiber = __tsan_get_current_fiber();
#endif
	(void)m;
}

/* Around the start of a thread of the runtime.  ThreadSanitizer keeps a signal back until the stack that it came on
 * calls something of libc's that it wraps: one that is sent to the process would never arrive if the kernel chose such
 * a thread, whose stacks change and whose system calls are our own.  Faults and what looks at goroutines are not kept
 * back. */
static inline void sane_begin_thread(sigset_t *old)
{
#ifdef RT_TSAN
	static const int not_kept[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPROF, SIGURG };
	sigset_t kept;

	sigfillset(&kept);
	for (size_t i = 0; i < sizeof not_kept / sizeof *not_kept; i++)
		sigdelset(&kept, not_kept[i]);
	(void)pthread_sigmask(SIG_BLOCK, &kept, old);
#endif
	(void)old;
}

static inline void sane_thread_begun(const sigset_t *old)
{
#ifdef RT_TSAN
	(void)pthread_sigmask(SIG_SETMASK, old, NULL);
#endif
	(void)old;
}

/* Right before the switch from `from` to `to`; dying: from never comes back. */
static inline void sane_leave(struct m *m, struct g *from, struct g *to, bool dying)
{
#ifdef RT_ASAN
	bool back = to == &m->g0;
	uintptr_t lo = back ? m->stack_lo : rt_stack_lo(to), hi = back ? m->stack_hi : rt_stack_hi(to);

	__sanitizer_start_switch_fiber(dying ? NULL : &from->fake_stack, (void *)lo, hi - lo);
#endif
#ifdef RT_TSAN
	__tsan_switch_to_fiber(to->fiber, 0);
#endif
	(void)m, (void)from, (void)to, (void)dying;
}

/* First thing in the context that was switched to. */
static inline void sane_arrive(struct g *self)
{
#ifdef RT_ASAN
	__sanitizer_finish_switch_fiber(self->fake_stack, NULL, NULL);
#endif
	(void)self;
}

/* The goroutine has left its stack for good. */
static inline void sane_death(struct g *g)
{
#ifdef RT_TSAN
	__tsan_destroy_fiber(g->fiber);
	g->fiber = NULL;
#endif
	(void)g;
}

/* What was sent through a descriptor happened before what is received through any: the sanitizer does not
 * see our system calls. */
#ifdef RT_TSAN
extern char sane_network;
#endif
static inline void sane_sent(void)
{
#ifdef RT_TSAN
	__tsan_release(&sane_network);
#endif
}
static inline void sane_received(void)
{
#ifdef RT_TSAN
	__tsan_acquire(&sane_network);
#endif
}

#endif
