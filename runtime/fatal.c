/* fatal.c - the end of the process: what happened, all goroutines, then death by the true signal.
 *
 * Ways in: a synchronous signal (crash, overflow of a goroutine stack, abort() - also that of an
 * uncaught C++ exception) and rt_fatal(), the runtime's verdict on itself or on misuse, which ends as
 * SIGABRT.  weft_host_dump() writes the same text and goes on.
 *
 * The first thread to come here owns the end; others wait in their handler until it has happened.  If
 * the owner faults once more while it walks the broken stack, the report goes on without that stack; if
 * anywhere else, that is said and the process dies at once.  In both cases by the first signal.  A child
 * after fork() dies without a word: the text would be its parent's goroutines.
 *
 * Everything below a handler is async-signal-safe.  A thread's alternate stack is small: what is large
 * is static. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "dump.h"
#include "fatal.h"
#include "raw.h"
#include "rt.h"
#include "sys.h"

#define STDERR 2
#define PATIENCE (3 * WEFT_SEC)     /* that a crash waits for who reads stderr */
#define OTHERS_WAIT (60 * WEFT_SEC) /* that other threads wait for the owner */
#define FULL_MAX 10000              /* goroutines in full, unless opts.traceback_full */

static _Atomic int owner; /* tid */
/* the owner's: what it came for, and how far it is */
static int cause;            /* signal */
static siginfo_t cause_info; /* by_signal: both */
static struct rt_regs cause_regs;
static bool by_signal; /* else by rt_fatal(), whose message is out already */
static _Atomic bool walking;
static struct rt_dump dump;
static struct rt_dump_first first;

/* --- Who is it ------------------------------------------------------------------------------------ */

/* The goroutine that the calling thread was in at sp, or NULL. */
RT_NOSAN static const struct g *goroutine_at(uintptr_t sp)
{
	const struct m *w = rt_self(), *m = w ? w : rt_guest_self();
	const struct g *g = rt_g_of(sp);

	if (!g || !ld(&g->id))
		g = m ? ld(&m->cur) : NULL;
	return g && ld(&g->id) ? g : NULL;
}

/* Bounds within which the calling thread's stack may be read from sp up. */
RT_NOSAN static void bounds(uintptr_t sp, const struct g *g, uintptr_t *lo, uintptr_t *hi)
{
	static char name[32];
	const struct m *m = rt_self();

	*lo = *hi = 0;
	if (g && sp >= rt_slot_base(g) && sp < rt_stack_hi(g)) {
		*lo = rt_slot_base(g); /* sp itself may be in the guard */
		*hi = rt_stack_hi(g);
	} else if (m && sp >= m->stack_lo && sp < m->stack_hi) {
		*lo = m->stack_lo;
		*hi = m->stack_hi;
	} else if (rt_thread_find(rt_tid(), name, lo, hi)) {
		first.thread = name;
		if (sp < *lo || sp >= *hi)
			*lo = *hi = 0;
	}
}

/* Find out who stands at regs, and walk its stack as far as it is whole. */
RT_NOSAN static void look(struct rt_regs regs)
{
	uintptr_t lo, hi;

	first.tid = rt_tid();
	first.thread = NULL;
	first.flags = regs.exact ? WEFT_GF_EXACT : 0;
	first.pc[0] = regs.pc;
	first.depth = 1;
	first.g = goroutine_at(regs.sp);
	bounds(regs.sp, first.g, &lo, &hi);
	st(&walking, true);
	first.depth = rt_unwind(regs, lo, hi, first.pc, RT_DUMP_DEEP, &first.flags);
	st(&walking, false);
}

/* --- Words ---------------------------------------------------------------------------------------- */

struct signal_word {
	int sig;
	const char *name, *what;
};
static const struct signal_word words[] = {
	{ SIGSEGV, "SIGSEGV", "segmentation violation" },
	{ SIGBUS, "SIGBUS", "bus error" },
	{ SIGFPE, "SIGFPE", "floating-point exception" },
	{ SIGILL, "SIGILL", "illegal instruction" },
	{ SIGABRT, "SIGABRT", "abort" },
	{ SIGTRAP, "SIGTRAP", "trace trap" },
	{ SIGSYS, "SIGSYS", "bad system call" },
};

RT_NOSAN static void put_signal(struct rt_out *o, int sig)
{
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (words[i].sig != sig)
			continue;
		rt_out_str(o, words[i].name);
		rt_out_str(o, ": ");
		rt_out_str(o, words[i].what);
		return;
	}
	rt_out_str(o, "signal ");
	rt_out_u64(o, (uint64_t)sig);
}

RT_NOSAN static void put_field(struct rt_out *o, const char *name, uint64_t v)
{
	rt_out_str(o, name);
	rt_out_hex(o, v);
}

/* "goroutine 17 of instance primes (started in filter+0x0)" */
RT_NOSAN static void put_goroutine(const struct g *g)
{
	const struct weft_inst *inst = ld(&g->inst);
	struct rt_out *o = &dump.out;

	rt_out_str(o, "goroutine ");
	rt_out_u64(o, ld(&g->id));
	if (inst && inst->name[0]) {
		rt_out_str(o, " of instance ");
		rt_out_str(o, inst->name);
	}
	rt_out_str(o, " (started in ");
	if (g->name)
		rt_out_str(o, g->name);
	else
		rt_dump_name(&dump, (uintptr_t)rt_start_of(g));
	rt_out_str(o, ")");
}

RT_NOSAN static void put_where(void)
{
	struct rt_out *o = &dump.out;

	if (first.g) {
		put_goroutine(first.g);
		if (!first.thread)
			return;
		rt_out_str(o, " on "); /* a guest's */
	}
	rt_out_str(o, "thread ");
	rt_out_u64(o, (uint64_t)first.tid);
	if (first.thread) {
		rt_out_str(o, " (");
		rt_out_str(o, first.thread);
		rt_out_str(o, ")");
	}
}

RT_NOSAN static void put_overflow(const struct g *g)
{
	struct rt_out *o = &dump.out;

	rt_out_str(o, "weft: stack overflow: ");
	put_goroutine(g);
	rt_out_str(o, " has used all ");
	rt_out_u64(o, (rt_slot_size(g) - RT_PAGE) / 1024);
	rt_out_str(o, " KiB of its stack, ");
	rt_out_str(o, first.flags & WEFT_GF_CUT ? "more than " : "");
	rt_out_u64(o, (uint64_t)first.depth);
	rt_out_str(o, " calls deep\n");
	put_field(o, "stack ", rt_stack_lo(g));
	put_field(o, "-", rt_stack_hi(g));
	put_field(o, ", guard ", rt_slot_base(g));
	put_field(o, "-", rt_stack_lo(g));
	rt_out_str(o, "\n");
}

RT_NOSAN static void put_cause(void)
{
	const siginfo_t *si = &cause_info;
	struct rt_out *o = &dump.out;
	uintptr_t addr = (uintptr_t)si->si_addr;
	bool access = si->si_code > 0 && (cause == SIGSEGV || cause == SIGBUS);
	const struct g *hit = access ? rt_g_of(addr) : NULL;

	if (hit && !rt_is_guard(hit, addr))
		hit = NULL;
	rt_out_str(o, "\n");
	if (hit && hit == first.g) {
		put_overflow(hit);
	} else {
		rt_out_str(o, "weft: fatal signal in ");
		put_where();
		rt_out_str(o, "\n");
		if (hit && ld(&hit->id)) {
			rt_out_str(o, "the address lies in the stack guard of ");
			put_goroutine(hit);
			rt_out_str(o, "\n");
		}
	}
	rt_out_str(o, "[");
	put_signal(o, cause);
	if (si->si_code > 0) {
		put_field(o, ", code ", (uint64_t)si->si_code);
		put_field(o, ", address ", addr);
	} else {
		rt_out_str(o, ", sent by process ");
		rt_out_u64(o, (uint64_t)si->si_pid);
	}
	put_field(o, ", pc ", cause_regs.pc);
	put_field(o, ", sp ", cause_regs.sp);
	rt_out_str(o, "]\n\n");
}

/* --- The end -------------------------------------------------------------------------------------- */

/* A second fault of the owner, outside of the walk. */
RT_NOSAN static void give_up(void)
{
	static const char text[] = "\nweft: a second fault while dumping; giving up\n";

	rt_out_begin(&dump.out, STDERR, WEFT_SEC);
	rt_out_strn(&dump.out, text, sizeof text - 1);
	rt_out_end(&dump.out);
	rt_signal_die(cause);
}

/* Become the one who writes: true.  False: this thread is it, and has faulted while it walked.  Others do
 * not return. */
RT_NOSAN static bool take_over(int sig)
{
	int none = 0, me = rt_tid();
	struct timespec nap = { .tv_nsec = 10 * WEFT_MS };

	if (cas(&owner, &none, me)) {
		cause = sig;
		dump.limit = sched.opts.traceback_full ? UINT64_MAX : FULL_MAX;
		rt_out_begin(&dump.out, STDERR, PATIENCE);
		return true;
	}
	if (none == me && ld(&walking)) {
		st(&walking, false);
		return false;
	}
	if (none == me)
		give_up();
	for (int64_t until = rt_now() + OTHERS_WAIT; rt_now() < until;)
		(void)rt_syscall(SYS_nanosleep, (long)&nap, 0, 0, 0, 0, 0);
	rt_signal_die(sig);
}

RT_NOSAN static void report(void)
{
	if (by_signal) {
		put_cause();
	} else {
		rt_out_str(&dump.out, "\nin ");
		put_where();
		rt_out_str(&dump.out, "\n\n");
	}
	rt_dump_goroutines(&dump, &first);
	rt_out_end(&dump.out);
}

/* For who looks later: the recorder's memory, and the report once more. */
RT_NOSAN static void keep(const char *what)
{
	int fd = rt_raw_write(cause, what);

	if (fd < 0)
		return;
	for (int i = 0; i < RT_DUMP_GROUPS; i++)
		dump.group[i].hash = dump.group[i].count = 0;
	rt_out_begin(&dump.out, fd, PATIENCE);
	report();
}

RT_NOSAN static const char *signal_words(int sig)
{
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (words[i].sig == sig)
			return words[i].name;
	return "a signal";
}

RT_NOSAN void rt_fatal_signal(int sig, void *info, void *context)
{
	const siginfo_t *si = info;

	if (!rt_forked) {
		if (!take_over(sig)) {
			report();
			keep(signal_words(cause));
			rt_signal_die(cause);
		}
		by_signal = true;
		cause_info = *si;
		cause_regs = rt_regs_of(context);
		look(cause_regs);
		report();
		keep(signal_words(sig));
	}
	/* A fault happens again at the same instruction, so that a core and the kernel's log show it as it
	 * was; a signal that was sent has to be sent again. */
	if (si->si_code > 0 && (sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL))
		rt_signal_default(sig);
	else
		rt_signal_die(sig);
}

RT_NOINLINE void rt_fatal(const char *fmt, ...)
{
	struct rt_regs regs = RT_REGS_OF_CALLER();
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	(void)take_over(SIGABRT);
	rt_out_str(&dump.out, "\nweft: fatal: ");
	rt_out_str(&dump.out, text);
	if (rt_forked) {
		rt_out_str(&dump.out, " (in a child after fork(), which may only exec or _exit)\n");
		rt_out_end(&dump.out);
	} else {
		look(regs);
		report();
		keep(text);
	}
	rt_signal_die(SIGABRT);
}

/* --- Going on ------------------------------------------------------------------------------------- */

void weft_host_dump(int fd, const char *reason)
{
	struct rt_dump *d = rt_map(sizeof *d);

	if (!d)
		return;
	d->limit = sched.opts.traceback_full ? UINT64_MAX : FULL_MAX;
	rt_out_begin(&d->out, fd, PATIENCE);
	if (reason && *reason) {
		rt_out_str(&d->out, reason);
		rt_out_str(&d->out, "\n\n");
	}
	rt_dump_goroutines(d, NULL);
	rt_out_end(&d->out);
	rt_unmap(d, sizeof *d);
}
