/* capture.c - the stack of a goroutine that runs.
 *
 * A thread that is on a CPU gets SIGURG: its handler finds the goroutine from m->cur, makes sure that the
 * interrupted sp lies in its stack, walks by table, and leaves the frames in a buffer that belongs to
 * the M for ever.  A late handler therefore never writes into freed memory, and several askers share
 * one answer: questions and answers are numbered, and an answer serves every question up to the number
 * that the handler found when it began.
 *
 * A thread that sits in a system call is not signalled: some calls give up with EINTR even under
 * SA_RESTART (nanosleep, poll, epoll_wait, select, sem_timedwait, timed recv), so that looking would
 * change what plugins do.  The kernel tells number, sp and pc in /proc/self/task/TID/syscall, and the stack is
 * walked from here.  That the thread did not run meanwhile is seen from its CPU clock, which stands
 * still.  Between the look and the signal a thread may still enter such a call: a window of
 * microseconds that is left.
 *
 * How long an answer takes.  A thread answers when it is given a CPU, which it may have to wait for: with
 * four threads that spin on two CPUs 1 in 200 had not had one after 20 ms (Linux 6.18), and while others
 * compiled on the same machine 1 in 30 not after 150 ms.  Its CPU clock tells such a thread, which answers as
 * soon as it runs, from one that runs and does not answer because it blocks the signal: for the former who
 * asks waits up to RT_ANSWER_STARVED, for the latter RT_ANSWER_WAIT.
 *
 * Guests (guest.c) are asked like workers; only where their stack lies differs.
 *
 * The buffer is a sequence lock of one writer (the handler, which nothing interrupts). */
#include <fcntl.h>
#include <signal.h>

#include "capture.h"
#include "sys.h"

#define CPU_TO_ANSWER (2 * WEFT_MS) /* a walk takes microseconds; the rest is for a handler that faults pages in */

struct rt_capture {
	_Atomic uint64_t asked;    /* number of the last question */
	_Atomic uint64_t answered; /* questions up to this one have their answer */
	_Atomic uint32_t seq;      /* odd: being written */
	struct rt_captured c;
};

static _Atomic uint64_t n_signals, n_late;

/* --- The thread that is asked ------------------------------------------------------------------ */

/* The stack of g, which m runs, is what is returned here, and sp lies in it. */
static RT_NOSAN bool stack_of(const struct m *m, const struct g *g, uintptr_t sp, uintptr_t *lo, uintptr_t *hi)
{
	bool guest = m->index == RT_MS_GUEST;

	if (!g || g == &m->g0)
		return false;
	*lo = guest ? m->stack_lo : rt_stack_lo(g);
	*hi = guest ? m->stack_hi : rt_stack_hi(g);
	return sp >= *lo && sp <= *hi;
}

/* sig */
static RT_NOSAN void on_urg(int sig, void *info, void *context)
{
	struct m *w = rt_self(), *m = w ? w : rt_guest_self();
	struct rt_capture *c = m ? ld_acq(&m->capture) : NULL; /* pairs with the CAS in buffer_of() */
	struct rt_regs regs = rt_regs_of(context);
	uintptr_t lo, hi;
	uint64_t asked;
	struct g *g;

	(void)sig, (void)info;
	if (w && ld(&w->preempt))
		rt_preempt_signal(w, context); /* regs are those of before */
	if (!c)
		return;            /* somebody's out-of-band data */
	asked = ld_acq(&c->asked); /* pairs with the add in rt_capture_ask() */
	if (asked == ld(&c->answered))
		return;
	g = ld(&m->cur);
	st_sc(&c->seq, ld(&c->seq) + 1);
	atomic_thread_fence(memory_order_release);
	c->c.g = NULL;
	c->c.depth = 0;
	/* In the middle of a switch cur and sp are two goroutines': then nobody is reported. */
	if (stack_of(m, g, regs.sp, &lo, &hi)) {
		c->c.g = g;
		c->c.id = ld(&g->id);
		c->c.tid = ld(&m->tid);
		c->c.flags = WEFT_GF_EXACT;
		c->c.depth = rt_unwind(regs, lo, hi, c->c.pc, WEFT_STACK_MAX, &c->c.flags);
	}
	st_rel(&c->seq, ld(&c->seq) + 1); /* pairs with the acquire in rt_capture_answer() */
	st_rel(&c->answered, asked);      /* likewise */
}

int rt_capture_start(void)
{
	return rt_on_signal(SIGURG, on_urg);
}

/* --- System calls --------------------------------------------------------------------------------- */

/* CPU time of one thread of ours; it stands still while the thread does not run.  -1: gone. */
static int64_t cpu_clock(int tid)
{
	struct timespec ts;
	long clock = (long)((~(unsigned)tid << 3) | 6); /* CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED */

	if (rt_syscall(SYS_clock_gettime, (int)clock, (long)&ts, 0, 0, 0, 0) < 0)
		return -1;
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static char *put(char *p, const char *s)
{
	while (*s)
		*p++ = *s++;
	return p;
}

static char *put_number(char *p, unsigned n)
{
	char d[12];
	int k = 0;

	do
		d[k++] = (char)('0' + n % 10);
	while (n /= 10);
	while (k)
		*p++ = d[--k];
	return p;
}

/* The line of the file, or nothing.  Bytes. */
static long read_syscall_line(int tid, char *line, size_t cap)
{
	char name[64], *p = put_number(put(name, "/proc/self/task/"), (unsigned)tid);
	int fd;
	long n;

	*put(p, "/syscall") = '\0';
	fd = rt_sys_open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fd;
	n = rt_sys_read(fd, line, cap - 1);
	(void)rt_sys_close(fd);
	line[n > 0 ? n : 0] = '\0';
	return n;
}

/* A number in hexadecimal or, without 0x, in decimal; may have a sign. */
static bool take_number(const char **s, int64_t *out)
{
	const char *p = *s;
	uint64_t v = 0;
	bool negative = *p == '-';
	unsigned base = 10, n = 0;

	p += negative;
	if (p[0] == '0' && p[1] == 'x') {
		base = 16;
		p += 2;
	}
	for (;; p++, n++) {
		unsigned d = *p >= '0' && *p <= '9'   ? (unsigned)(*p - '0')
			     : *p >= 'a' && *p <= 'f' ? (unsigned)(*p - 'a' + 10)
						      : 99;

		if (d >= base)
			break;
		v = v * base + d;
	}
	while (*p == ' ')
		p++;
	*s = p;
	*out = negative ? -(int64_t)v : (int64_t)v;
	return n > 0;
}

struct blocked {
	int64_t nr, arg, sp, pc;
};
enum where { ON_CPU, BLOCKED, UNKNOWN };

/* "0 0x3 0x7ffc... 0x... x6 0xSP 0xPC", "-1 0xSP 0xPC" (blocked, but in no call), or "running" */
static enum where where_is(int tid, struct blocked *b)
{
	char line[256];
	const char *s = line;
	int64_t v[9];
	int n = 0;

	if (read_syscall_line(tid, line, sizeof line) <= 0)
		return UNKNOWN;
	if (*s == 'r')
		return ON_CPU;
	while (n < 9 && take_number(&s, &v[n]))
		n++;
	if (n == 9)
		*b = (struct blocked){ .nr = v[0], .arg = v[1], .sp = v[7], .pc = v[8] };
	else if (n == 3 && v[0] == -1)
		*b = (struct blocked){ .nr = -1, .sp = v[1], .pc = v[2] };
	else
		return UNKNOWN;
	return BLOCKED;
}

static RT_NOSAN bool walk_blocked(struct m *m, int tid, const struct blocked *b, struct rt_captured *out)
{
	struct g *g = ld(&m->cur);
	struct rt_regs regs = { .pc = (uintptr_t)b->pc, .sp = (uintptr_t)b->sp, .exact = true };
	uintptr_t lo, hi;

	if (!stack_of(m, g, regs.sp, &lo, &hi))
		return false;
	out->g = g;
	out->id = ld_acq(&g->id); /* pairs with its publication in rt_go() */
	out->tid = tid;
	out->flags = WEFT_GF_EXACT | (b->nr >= 0 ? WEFT_GF_BLOCKED : 0);
	out->syscall = (int)b->nr;
	out->syscall_arg = (uint64_t)b->arg;
	out->depth = rt_unwind(regs, lo, hi, out->pc, WEFT_STACK_MAX, &out->flags);
	return true;
}

/* --- Asking ------------------------------------------------------------------------------------------ */

static struct rt_capture *buffer_of(struct m *m)
{
	struct rt_capture *c = ld_acq(&m->capture), *fresh; /* pairs with the CAS below */

	if (c)
		return c;
	fresh = rt_map(sizeof *fresh);
	if (!fresh)
		return NULL;
	if (cas(&m->capture, &c, fresh))
		return fresh;
	rt_unmap(fresh, sizeof *fresh);
	return c;
}

/* The kernel does not say where it is (a process that changed its user may not look at itself): it runs if
 * its clock does. */
static bool seems_to_run(int tid, int64_t clock)
{
	struct timespec nap = { .tv_nsec = 1000000 };

	(void)rt_syscall(SYS_nanosleep, (long)&nap, 0, 0, 0, 0, 0);
	return cpu_clock(tid) > clock;
}

/* Of one that sat at b when its clock stood at `clock`.  That this still stands there is the proof that it was
 * one instant: the walk, m->cur and b belong together. */
static bool capture_blocked(struct m *m, int tid, const struct blocked *b, int64_t clock, struct rt_captured *out)
{
	bool guest = m->index == RT_MS_GUEST, ok;

	if (clock < 0 || (guest && !rt_guest_hold(m, tid)))
		return false;
	ok = walk_blocked(m, tid, b, out) && cpu_clock(tid) == clock;
	if (guest)
		rt_guest_drop(m);
	return ok;
}

enum rt_ask rt_capture_ask(struct m *m, struct rt_question *q, struct rt_captured *out)
{
	int tid = ld_acq(&m->tid); /* pairs with the release in thread_main() */
	struct rt_capture *c = buffer_of(m);
	struct blocked b = { 0 };

	if (!tid || !c)
		return RT_ASK_NOTHING;
	*q = (struct rt_question){ .m = m, .tid = tid, .clock = cpu_clock(tid) };
	switch (where_is(tid, &b)) {
	case BLOCKED:
		return capture_blocked(m, tid, &b, q->clock, out) ? RT_ASK_ANSWERED : RT_ASK_NOTHING;
	case UNKNOWN:
		if (!seems_to_run(tid, q->clock))
			return RT_ASK_NOTHING;
		break;
	case ON_CPU:
		break;
	}
	q->number = add_sc(&c->asked, 1) + 1;
	(void)add(&n_signals, 1);
	return rt_tgkill(tid, SIGURG) == 0 ? RT_ASK_SENT : RT_ASK_NOTHING;
}

bool rt_capture_starved(const struct rt_question *q)
{
	int64_t now = cpu_clock(q->tid);

	return q->clock >= 0 && now >= 0 && now - q->clock < CPU_TO_ANSWER;
}

static RT_NOSAN void copy(const struct rt_captured *from, struct rt_captured *to)
{
	const volatile struct rt_captured *f = from;
	int depth = f->depth;

	to->g = f->g;
	to->id = f->id;
	to->tid = f->tid;
	to->flags = f->flags;
	to->syscall = 0;
	to->syscall_arg = 0;
	to->depth = depth < 0 || depth > WEFT_STACK_MAX ? 0 : depth;
	for (int i = 0; i < to->depth; i++)
		to->pc[i] = f->pc[i];
}

bool rt_capture_answer(const struct rt_question *q, struct rt_captured *out)
{
	const struct rt_capture *c = ld_acq(&q->m->capture);
	uint32_t seq;

	if (!c || ld_acq(&c->answered) < q->number) /* pairs with the release in on_urg() */
		return false;
	seq = ld_acq(&c->seq); /* likewise */
	if (seq % 2)
		return false; /* a later question is being answered: that answer will do */
	copy(&c->c, out);
	atomic_thread_fence(memory_order_acquire);
	return ld_sc(&c->seq) == seq;
}

void rt_capture_late(uint64_t n)
{
	(void)add(&n_late, n);
}

void rt_capture_counters(struct weft_counters *out)
{
	out->capture_signals = ld(&n_signals);
	out->capture_late = ld(&n_late);
}

/* --- For sysmon -------------------------------------------------------------------------------------- */

int64_t rt_thread_clock(int tid)
{
	return cpu_clock(tid);
}

/* The state letter in /proc/self/task/TID/stat, which even a process that changed its user may read; 0: unknown. */
static char state_of(int tid)
{
	char name[64], line[128], *p = put_number(put(name, "/proc/self/task/"), (unsigned)tid), state = 0;
	int fd;
	long n;

	*put(p, "/stat") = '\0';
	fd = rt_sys_open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = rt_sys_read(fd, line, sizeof line - 1);
	(void)rt_sys_close(fd);
	for (long i = 0; i + 2 < n; i++)
		if (line[i] == ')')
			state = line[i + 2]; /* behind the last: the name may have one */
	return state;
}

bool rt_capture_sleeps(struct m *m, struct rt_captured *out)
{
	int tid = ld_acq(&m->tid); /* pairs with the release in thread_main() */
	struct blocked b = { 0 };
	char state;

	out->depth = 0;
	out->syscall = -1;
	switch (where_is(tid, &b)) {
	case BLOCKED:
		if (!walk_blocked(m, tid, &b, out))
			out->depth = 0;
		out->syscall = (int)b.nr;
		return true;
	case ON_CPU:
		return false;
	case UNKNOWN:
		break;
	}
	state = state_of(tid);
	return state == 'S' || state == 'D';
}
