/* signals.c - signal handlers and alternate stacks of every thread; threads with a name; fork.
 *
 * Handlers are installed once per process and stay.  All run on an alternate stack, with SA_RESTART, and
 * with everything blocked but the synchronous signals: so none interrupts another, and a fault inside
 * one is seen (fatal.c).  They are installed by the bare system call: sanitizers wrap libc's and would
 * delay them.
 *
 * A thread of the embedder that called weft_host_thread() has an entry in a list that only grows; entries
 * of ended threads are used again.  Readers need no lock: tid is 0 while an entry changes. */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "fatal.h"
#include "rt.h"
#include "sys.h"

#define ALTSTACK_BYTES (64 * 1024)

bool rt_forked;

/* --- Handlers ------------------------------------------------------------------------------------- */

/* What rt_sigaction(2) takes. */
struct kernel_sigaction {
	void (*handler)(int, void *, void *);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};
#define SA_RESTORER_ 0x04000000

void rt_sigreturn(void); /* sigreturn_*.S */

static const int synchronous[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS };

RT_NOSAN static uint64_t bit(int sig)
{
	return 1ull << (sig - 1);
}

int rt_on_signal(int sig, void (*fn)(int sig, void *info, void *context))
{
	struct kernel_sigaction sa = {
		.handler = fn,
		.flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_RESTORER_,
		.restorer = rt_sigreturn,
		.mask = ~0ull,
	};

	for (size_t i = 0; i < sizeof synchronous / sizeof *synchronous; i++) {
		sa.mask &= ~bit(synchronous[i]);
		if (sig == synchronous[i])
			sa.flags |= SA_NODEFER;
	}
	return (int)rt_syscall(SYS_rt_sigaction, sig, (long)&sa, 0, sizeof sa.mask, 0, 0);
}

RT_NOSAN void rt_signal_default(int sig)
{
	struct kernel_sigaction sa = { .flags = SA_RESTORER_, .restorer = rt_sigreturn };

	(void)rt_syscall(SYS_rt_sigaction, sig, (long)&sa, 0, sizeof sa.mask, 0, 0);
}

RT_NOSAN void rt_signal_die(int sig)
{
	uint64_t set = bit(sig);

	rt_signal_default(sig);
	(void)rt_syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&set, 0, sizeof set, 0, 0);
	(void)rt_tgkill(rt_tid(), sig);
	/* Process 1 of a container is spared by its own signals. */
	for (;;)
		(void)rt_syscall(SYS_exit_group, 128 + sig, 0, 0, 0, 0, 0);
}

RT_NOSAN struct rt_regs rt_regs_of(const void *context)
{
	const long long *regs = rt_arch_regs(context);

	return (struct rt_regs){
		.pc = (uintptr_t)regs[RT_REG_PC],
		.sp = (uintptr_t)regs[RT_REG_SP],
		.fp = (uintptr_t)regs[RT_REG_FP],
		.exact = true,
		.fp_known = true,
		.gregs = regs,
	};
}

/* --- fork ----------------------------------------------------------------------------------------- */

/* The child has one thread and a copy of everything that the others were in the middle of.  It may call
 * exec or _exit; its M, if it is one, finds out at its next rt_enter(). */
static void in_child(void)
{
	struct m *m = rt_self();

	rt_forked = true;
	rt_rec_on = false;
	rt_cpu_forked();
	if (m)
		st(&m->own, RT_NO_P);
}

/* --- Start ---------------------------------------------------------------------------------------- */

int rt_signals_start(void)
{
	static bool done; /* weft_host_start() is not called twice at once */
	int rc;

	if (done)
		return 0;
	for (size_t i = 0; i < sizeof synchronous / sizeof *synchronous; i++) {
		rc = rt_on_signal(synchronous[i], rt_fatal_signal);
		if (rc < 0)
			return rc;
	}
	rc = rt_cpu_signals();
	if (rc < 0)
		return rc;
	rc = rt_capture_start();
	if (rc < 0)
		return rc;
	rc = pthread_atfork(NULL, NULL, in_child);
	if (rc)
		return -rc;
	done = true;
	return 0;
}

/* --- Alternate stacks ----------------------------------------------------------------------------- */

/* Take stack as the calling thread's; false: it has one already (a sanitizer's, which takes it down
 * itself when the thread ends) and keeps it. */
static bool altstack(void *stack, size_t size)
{
	stack_t ss = { .ss_sp = stack, .ss_size = size }, old = { .ss_flags = SS_DISABLE };

	(void)rt_syscall(SYS_sigaltstack, 0, (long)&old, 0, 0, 0, 0);
	if (!(old.ss_flags & SS_DISABLE))
		return false;
	return rt_syscall(SYS_sigaltstack, (long)&ss, 0, 0, 0, 0, 0) == 0;
}

static void altstack_off(void)
{
	stack_t ss = { .ss_flags = SS_DISABLE };

	(void)rt_syscall(SYS_sigaltstack, (long)&ss, 0, 0, 0, 0, 0);
}

void rt_signals_thread(struct m *m, void *stack, size_t size)
{
	(void)m;
	(void)altstack(stack, size);
}

/* --- Threads of the embedder ---------------------------------------------------------------------- */

struct thread {
	struct thread *next; /* constant once it is in the list */
	_Atomic int tid;     /* 0: nobody's */
	/* constant while tid is not 0 */
	char name[32];
	uintptr_t lo, hi;
	char *mapping; /* guard page and alternate stack */
	size_t mapped;
};
static struct thread *_Atomic threads;
static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER; /* who takes and gives entries */
static pthread_key_t threads_key;
static pthread_once_t threads_once = PTHREAD_ONCE_INIT;

static void thread_end(void *arg)
{
	struct thread *t = arg;

	if (t->mapping) {
		altstack_off();
		rt_unmap(t->mapping, t->mapped);
		t->mapping = NULL;
	}
	st_rel(&t->tid, 0); /* pairs with the acquire in thread_take() */
}

static void threads_init(void)
{
	(void)pthread_key_create(&threads_key, thread_end); /* fails only when all keys are taken: no end then */
}

static struct thread *thread_take(void)
{
	struct thread *t = ld(&threads);

	while (t && (ld_acq(&t->tid) != 0 || t->mapping))
		t = t->next;
	if (t)
		return t;
	t = rt_map(sizeof *t);
	if (!t)
		return NULL;
	t->next = ld(&threads);
	st_rel(&threads, t); /* pairs with the acquire in rt_thread_find() */
	return t;
}

static void set_bounds(struct thread *t)
{
	pthread_attr_t attr;
	void *lo;
	size_t size;

	if (pthread_getattr_np(pthread_self(), &attr))
		return;
	if (pthread_attr_getstack(&attr, &lo, &size) == 0) {
		t->lo = (uintptr_t)lo;
		t->hi = (uintptr_t)lo + size;
	}
	(void)pthread_attr_destroy(&attr);
}

static void set_altstack(struct thread *t)
{
	size_t size = ALTSTACK_BYTES + getauxval(AT_MINSIGSTKSZ); /* its frame alone is 12 KiB with AMX */

	size = (size + RT_PAGE - 1) & ~(size_t)(RT_PAGE - 1);
	t->mapped = RT_PAGE + size;
	t->mapping = rt_map(t->mapped);
	if (!t->mapping)
		return; /* handlers run on the thread's own stack then */
	(void)rt_syscall(SYS_mprotect, (long)t->mapping, RT_PAGE, PROT_NONE, 0, 0, 0);
	if (!altstack(t->mapping + RT_PAGE, size)) {
		rt_unmap(t->mapping, t->mapped);
		t->mapping = NULL;
	}
}

static void set_name(struct thread *t, const char *name)
{
	size_t n = strnlen(name, sizeof t->name - 1);

	memcpy(t->name, name, n);
	t->name[n] = 0;
}

void weft_host_thread(const char *name)
{
	struct thread *t;

	(void)pthread_once(&threads_once, threads_init);
	t = pthread_getspecific(threads_key);
	(void)pthread_mutex_lock(&threads_lock);
	if (t) { /* a second call gives another name */
		st(&t->tid, 0);
		set_name(t, name);
		st_rel(&t->tid, rt_tid());
	} else if ((t = thread_take())) {
		t->lo = t->hi = 0;
		set_name(t, name);
		set_bounds(t);
		set_altstack(t);
		st_rel(&t->tid, rt_tid()); /* pairs with the acquire in rt_thread_find() */
		(void)pthread_setspecific(threads_key, t);
	}
	(void)pthread_mutex_unlock(&threads_lock);
}

RT_NOSAN bool rt_thread_find(int tid, char name[32], uintptr_t *lo, uintptr_t *hi)
{
	for (const struct thread *t = ld_acq(&threads); t; t = t->next) {
		if (ld_acq(&t->tid) != tid)
			continue;
		for (size_t i = 0; i < sizeof t->name; i++)
			name[i] = *(const volatile char *)&t->name[i];
		*lo = t->lo;
		*hi = t->hi;
		return ld(&t->tid) == tid;
	}
	return false;
}
