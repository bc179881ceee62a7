/* prof_sample.c - the SIGPROF handler and the ring it writes to.
 *
 * The handler takes no lock, calls no libc, allocates nothing, and touches no thread-local: who it is it
 * learns from the record that the timer's signal carries, and it believes it only if the thread id is its
 * own.  So a signal that was pending when its timer went, or when the record passed to another thread, is
 * dropped.  It is installed once and stays; rt_cpu_on says whether it does anything.
 *
 * What ran is told by the stack pointer: in a goroutine's slot it is that goroutine, else the worker's
 * scheduler, else some thread.  A stack is walked only where its bounds are known; else the sample has
 * the pc alone.  Bounds of threads that nobody told us of come from a table of the process's private
 * writable mappings, read when such a thread is found; the handler asks the kernel whether the part that
 * it is going to read is still mapped.
 *
 * The ring: many producers, one consumer; a slot's seq says whose turn it is (position: a producer's,
 * position + 1: the consumer's).  Full: the new sample is lost and counted by weight. */
#include <fcntl.h>
#include <signal.h>
#include <time.h>

#include "prof.h"
#include "sys.h"

#define SLOTS 4096u           /* 4.3 MiB */
#define WALK_MAX (256 * 1024) /* bytes of a stack whose bounds are only inferred */
#define MAPS_MAX 4096

static struct rt_raw_sample *ring;
static _Atomic uint64_t head;
static uint64_t tail; /* the consumer's */
static _Atomic uint64_t n_taken, n_lost, lost_told;

/* Private writable mappings, sorted; seq is odd while they are rewritten. */
static struct {
	_Atomic uint32_t seq, n;
	struct {
		_Atomic uintptr_t lo, hi;
	} e[MAPS_MAX];
} maps;

/* --- The ring ------------------------------------------------------------------------------------- */

int rt_samples_start(void)
{
	struct rt_raw_sample *r;

	if (ring)
		return 0;
	r = rt_map(SLOTS * sizeof *r);
	if (!r)
		return -ENOMEM;
	for (uint64_t i = 0; i < SLOTS; i++)
		st(&r[i].seq, i);
	ring = r; /* before the first timer is armed */
	return 0;
}

RT_NOSAN static struct rt_raw_sample *claim(uint64_t *position)
{
	uint64_t at = ld(&head);

	for (;;) {
		struct rt_raw_sample *s = &ring[at % SLOTS];
		int64_t turn = (int64_t)(ld_acq(&s->seq) - at); /* pairs with rt_samples_done() */

		if (turn < 0)
			return NULL;
		if (turn > 0) {
			at = ld(&head);
		} else if (cas(&head, &at, at + 1)) {
			*position = at;
			return s;
		}
	}
}

RT_NOSAN static void publish(struct rt_raw_sample *s, uint64_t position)
{
	st_rel(&s->seq, position + 1); /* pairs with rt_samples_next() */
}

const struct rt_raw_sample *rt_samples_next(void)
{
	struct rt_raw_sample *s = ring ? &ring[tail % SLOTS] : NULL;

	return s && ld_acq(&s->seq) == tail + 1 ? s : NULL;
}

void rt_samples_done(void)
{
	st_rel(&ring[tail % SLOTS].seq, tail + SLOTS);
	tail++;
}

uint64_t rt_samples_lost(void)
{
	uint64_t now = ld(&n_lost);

	return now - xchg(&lost_told, now);
}

void rt_cpu_counters(struct weft_counters *out)
{
	out->samples = ld(&n_taken);
	out->samples_lost = ld(&n_lost);
}

/* --- Whose stack is it ---------------------------------------------------------------------------- */

RT_NOSAN static bool mapped(uintptr_t lo, uintptr_t hi)
{
	unsigned char resident[WALK_MAX / RT_PAGE + 2];

	lo &= ~(uintptr_t)(RT_PAGE - 1);
	return rt_syscall(SYS_mincore, (long)lo, (long)(hi - lo), (long)resident, 0, 0, 0) == 0;
}

RT_NOSAN static bool in_maps(uintptr_t sp, uintptr_t *hi)
{
	uint32_t seq = ld_acq(&maps.seq), a = 0, b = ld(&maps.n);

	while (a < b) {
		uint32_t c = (a + b) / 2;

		if (ld(&maps.e[c].hi) <= sp)
			a = c + 1;
		else
			b = c;
	}
	if (a >= MAPS_MAX || sp < ld(&maps.e[a].lo) || sp >= ld(&maps.e[a].hi))
		return false;
	*hi = ld(&maps.e[a].hi);
	if (*hi > sp + WALK_MAX)
		*hi = (sp + WALK_MAX) & ~(uintptr_t)(RT_PAGE - 1);
	atomic_thread_fence(memory_order_acquire); /* with the release fence in rt_samples_read_maps() */
	return seq % 2 == 0 && ld(&maps.seq) == seq && mapped(sp, *hi);
}

RT_NOSAN static bool stack_of(const struct rt_cpu_thread *t, const struct m *m, uintptr_t sp, uintptr_t *lo,
			      uintptr_t *hi)
{
	if (m && sp >= m->stack_lo && sp < m->stack_hi) {
		*lo = m->stack_lo;
		*hi = m->stack_hi;
		return true;
	}
	*lo = ld(&t->lo);
	*hi = ld(&t->hi);
	if (sp >= *lo && sp < *hi)
		return true;
	*lo = sp & ~(uintptr_t)(RT_PAGE - 1);
	return !m && in_maps(sp, hi);
}

/* --- The handler ---------------------------------------------------------------------------------- */

RT_NOSAN static int64_t now(void)
{
	struct timespec ts;

	(void)rt_syscall(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&ts, 0, 0, 0, 0);
	return ts.tv_sec * WEFT_SEC + ts.tv_nsec;
}

RT_NOSAN static void fill(struct rt_raw_sample *s, const struct rt_cpu_thread *t, struct rt_regs regs)
{
	const struct m *m = ld(&t->m);
	const struct g *g = rt_g_of(regs.sp);
	const struct weft_inst *inst = g ? ld(&g->inst) : NULL;
	const struct p *p;
	uintptr_t lo = 0, hi = 0;

	if (m && ld(&m->tid) != s->tid)
		m = NULL;
	p = m ? ld(&m->p) : NULL;
	s->pid = p ? (uint16_t)p->id : WEFT_REC_NO_P;
	s->kind = m ? WEFT_SAMPLE_SCHED : WEFT_SAMPLE_THREAD;
	s->goid = g ? ld(&g->id) : 0;
	s->labels = 0;
	s->instance = 0;
	if (s->goid) {
		s->kind = WEFT_SAMPLE_G;
		s->labels = ld(&g->labels);
		s->instance = inst ? inst->number : 0;
	}
	s->flags = WEFT_GF_EXACT;
	s->depth = 1;
	s->pc[0] = regs.pc;
	if (g) {
		lo = rt_stack_lo(g);
		hi = rt_stack_hi(g);
	} else if (!stack_of(t, m, regs.sp, &lo, &hi)) {
		s->flags |= WEFT_GF_APPROX;
		return;
	}
	s->depth = (uint16_t)rt_unwind(regs, lo, hi, s->pc, WEFT_STACK_MAX, &s->flags);
}

/* sig */
RT_NOSAN static void on_prof(int sig, void *info, void *context)
{
	const siginfo_t *si = info;
	const struct rt_cpu_thread *t = si->si_value.sival_ptr, *all = rt_cpu_threads;
	struct rt_raw_sample *s;
	uint64_t position;
	uint32_t weight;
	int tid;

	(void)sig;
	if (si->si_code != SI_TIMER || !ld(&rt_cpu_on) || t < all || t >= all + RT_CPU_THREADS_MAX)
		return;
	tid = rt_tid();
	if (ld_acq(&t->tid) != tid) /* pairs with the release in describe(), prof_cpu.c */
		return;
	weight = 1 + (uint32_t)(si->si_overrun > 0 ? si->si_overrun : 0);
	s = claim(&position);
	if (!s) {
		(void)add(&n_lost, weight);
		return;
	}
	s->time = now();
	s->weight = weight;
	s->tid = tid;
	s->thread = (uint32_t)(t - all);
	fill(s, t, rt_regs_of(context));
	publish(s, position);
	(void)add(&n_taken, 1);
}

int rt_cpu_signals(void)
{
	return rt_on_signal(SIGPROF, on_prof);
}

/* --- Reading /proc/self/maps ---------------------------------------------------------------------- */

/* A hexadecimal number; the character behind it. */
static const char *hex(const char *s, uintptr_t *out)
{
	*out = 0;
	for (;; s++) {
		if (*s >= '0' && *s <= '9')
			*out = *out * 16 + (uintptr_t)(*s - '0');
		else if (*s >= 'a' && *s <= 'f')
			*out = *out * 16 + (uintptr_t)(*s - 'a' + 10);
		else
			return s;
	}
}

/* "lo-hi rw-p offset dev inode   path": private, writable, no file, neither heap nor goroutines. */
static bool parse(const char *line, uintptr_t *lo, uintptr_t *hi)
{
	const char *s = hex(line, lo);
	uintptr_t inode;

	if (*s != '-')
		return false;
	s = hex(s + 1, hi);
	if (s[0] != ' ' || s[1] != 'r' || s[2] != 'w' || s[4] != 'p')
		return false;
	s += 5;
	for (int field = 0; field < 3; field++) { /* offset, device, inode */
		while (*s == ' ')
			s++;
		if (field == 2)
			break;
		while (*s && *s != ' ')
			s++;
	}
	s = hex(s, &inode);
	while (*s == ' ')
		s++;
	if (inode || (*s == '[' && s[1] != 's')) /* [stack] is welcome */
		return false;
	return !rt_g_of(*lo);
}

static uint32_t take_lines(char *buf, size_t *have, uint32_t n)
{
	char *line = buf, *end;

	buf[*have] = 0;
	for (; (end = __builtin_strchr(line, '\n')); line = end + 1) {
		uintptr_t lo, hi;

		*end = 0;
		if (n == MAPS_MAX || !parse(line, &lo, &hi))
			continue;
		st(&maps.e[n].lo, lo);
		st(&maps.e[n].hi, hi);
		n++;
	}
	*have -= (size_t)(line - buf);
	__builtin_memmove(buf, line, *have);
	return n;
}

void rt_samples_read_maps(void)
{
	static char buf[8192];
	int fd = rt_sys_open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	uint32_t n = 0;
	long got;

	if (fd < 0)
		return; /* without /proc: leaves only */
	st(&maps.seq, ld(&maps.seq) + 1);
	atomic_thread_fence(memory_order_release);
	st(&maps.n, 0);
	while ((got = rt_sys_read(fd, buf + have, sizeof buf - 1 - have)) > 0) {
		have += (size_t)got;
		n = take_lines(buf, &have, n);
		if (have == sizeof buf - 1)
			have = 0; /* a path longer than that is none of ours */
	}
	st(&maps.n, n);
	st_rel(&maps.seq, ld(&maps.seq) + 1);
	(void)rt_sys_close(fd);
}
