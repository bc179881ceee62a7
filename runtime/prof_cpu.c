/* prof_cpu.c - the CPU sampler: a timer on the CPU clock of every thread of the process.
 *
 * The clock of a thread stands still while it waits, so an idle thread costs nothing.  Timers expire on
 * the kernel's tick; what falls between is told as overrun and added to the weight, so that totals are
 * right at any rate.  The first expiry is random within a period, else threads that live shorter than
 * that would never be seen.
 *
 * Threads are found in /proc/self/task, at the start and at each drain; a worker of ours also reports
 * itself when it starts, and so does any other thread where pthread_create() is ours.  Each has a record,
 * which the timer's signal points to.  A record is given to another thread only once the samples that name
 * it have been drained: not in the round in which its thread was found dead.  Signals of a dead thread die
 * with it, and the handler looks at the thread id, so nothing worse than a lost sample can come of it.
 *
 * Lock: `lock` guards the records and timers.  It is held for the length of a scan. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "prof.h"
#include "sys.h"
#include "unwind_table.h"

#define BUCKETS 1024u

struct rt_cpu_thread *rt_cpu_threads;
_Atomic uint32_t rt_cpu_on;

static struct rt_lock lock = RT_LOCK_INIT(LEAF);
/* under lock */
static uint32_t bucket[BUCKETS]; /* index + 1 */
static uint32_t n_records;       /* ever used */
static int64_t period;
static uint64_t round_; /* drains so far */
static uint64_t seed;

/* --- Records -------------------------------------------------------------------------------------- */

static struct rt_cpu_thread *find(int tid)
{
	uint32_t i = bucket[(uint32_t)tid % BUCKETS];

	while (i && ld(&rt_cpu_threads[i - 1].tid) != tid)
		i = rt_cpu_threads[i - 1].next;
	return i ? &rt_cpu_threads[i - 1] : NULL;
}

static struct rt_cpu_thread *take(int tid)
{
	struct rt_cpu_thread *t = NULL;

	for (uint32_t i = 0; i < n_records && !t; i++) {
		struct rt_cpu_thread *c = &rt_cpu_threads[i];

		if (c->state == RT_CPU_FREE || (c->state == RT_CPU_DEAD && c->dead_at < round_))
			t = c;
	}
	if (!t) {
		if (n_records == RT_CPU_THREADS_MAX)
			return NULL; /* that many threads: the rest is not sampled */
		t = &rt_cpu_threads[n_records++];
	}
	t->state = RT_CPU_USED;
	t->armed = t->early = false;
	t->next = bucket[(uint32_t)tid % BUCKETS];
	bucket[(uint32_t)tid % BUCKETS] = (uint32_t)(t - rt_cpu_threads) + 1;
	st(&t->tid, tid);
	return t;
}

static struct m *worker(int tid)
{
	uint32_t n = ld_acq(&rt_n_ms);

	for (uint32_t i = 0; i < n; i++) {
		struct m *m = ld_acq(&rt_ms[i]);

		if (m && ld(&m->tid) == tid)
			return m;
	}
	return NULL;
}

static void read_comm(int tid, char *out, size_t cap)
{
	char path[64] = "/proc/self/task/", digits[12];
	size_t at = strlen(path), n = 0;
	long got;
	int fd;

	do
		digits[n++] = (char)('0' + tid % 10);
	while (tid /= 10);
	while (n)
		path[at++] = digits[--n];
	memcpy(path + at, "/comm", 6);
	fd = rt_sys_open(path, O_RDONLY | O_CLOEXEC);
	got = fd < 0 ? 0 : rt_sys_read(fd, out, cap - 1);
	if (fd >= 0)
		(void)rt_sys_close(fd);
	while (got > 0 && out[got - 1] == '\n')
		got--;
	out[got > 0 ? got : 0] = 0;
}

/* Fill in who it is; true: it is nobody's we know, so its stack has to be looked for. */
static bool describe(struct rt_cpu_thread *t)
{
	int tid = ld(&t->tid);
	struct m *m = worker(tid);
	uintptr_t lo = 0, hi = 0;

	st(&t->tid, 0); /* the handler keeps off meanwhile */
	if (!rt_thread_find(tid, t->name, &lo, &hi))
		read_comm(tid, t->name, sizeof t->name);
	st(&t->m, m);
	st(&t->lo, lo);
	st(&t->hi, hi);
	st_rel(&t->tid, tid); /* pairs with the acquire in on_prof() */
	return !m && !hi;
}

/* --- Timers --------------------------------------------------------------------------------------- */

static int64_t random_phase(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return 1 + (int64_t)(seed % (uint64_t)period);
}

static int set_timer(const struct rt_cpu_thread *t)
{
	int64_t phase = random_phase();
	struct itimerspec its = {
		.it_interval = { .tv_sec = period / WEFT_SEC, .tv_nsec = period % WEFT_SEC },
		.it_value = { .tv_sec = phase / WEFT_SEC, .tv_nsec = phase % WEFT_SEC },
	};

	return (int)rt_syscall(SYS_timer_settime, t->timer, 0, (long)&its, 0, 0, 0);
}

static void disarm(struct rt_cpu_thread *t)
{
	if (t->armed)
		(void)rt_syscall(SYS_timer_delete, t->timer, 0, 0, 0, 0, 0);
	t->armed = false;
}

static int arm(struct rt_cpu_thread *t)
{
	int tid = ld(&t->tid);
	struct sigevent ev = {
		.sigev_value.sival_ptr = t,
		.sigev_signo = SIGPROF,
		.sigev_notify = SIGEV_THREAD_ID,
	};
	int rc;

	ev._sigev_un._tid = tid;
	/* The clock of thread tid: per-thread (4), scheduler's own count (2). */
	rc = (int)rt_syscall(SYS_timer_create, ~tid * 8 | 6, (long)&ev, (long)&t->timer, 0, 0, 0);
	if (rc < 0)
		return rc;
	t->armed = true;
	rc = set_timer(t);
	if (rc < 0)
		disarm(t);
	return rc;
}

/* Its thread is gone: a timer whose thread has ended reads as disarmed. */
static bool orphaned(const struct rt_cpu_thread *t)
{
	struct itimerspec its = { 0 };

	return rt_syscall(SYS_timer_gettime, t->timer, (long)&its, 0, 0, 0, 0) < 0 ||
	       (its.it_value.tv_sec == 0 && its.it_value.tv_nsec == 0);
}

static void retire(struct rt_cpu_thread *t)
{
	uint32_t *at = &bucket[(uint32_t)ld(&t->tid) % BUCKETS], me = (uint32_t)(t - rt_cpu_threads) + 1;

	disarm(t);
	while (*at != me)
		at = &rt_cpu_threads[*at - 1].next;
	*at = t->next;
	st(&t->tid, 0);
	t->state = RT_CPU_DEAD;
	t->dead_at = round_;
}

/* --- Scanning ------------------------------------------------------------------------------------- */

struct dirent64_head {
	uint64_t ino, off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

/* A record for every thread of the process; false: the list could not be read. */
static bool list_threads(void)
{
	static _Alignas(8) char buf[8192];
	int fd = rt_sys_open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long n = fd;

	if (fd < 0)
		return false;
	while ((n = rt_syscall(SYS_getdents64, fd, (long)buf, sizeof buf, 0, 0, 0)) > 0) {
		for (long at = 0; at < n;) {
			const struct dirent64_head *d = (const void *)(buf + at);
			struct rt_cpu_thread *t;
			int tid = 0;

			at += d->reclen;
			for (const char *s = d->name; *s >= '0' && *s <= '9'; s++)
				tid = tid * 10 + (*s - '0');
			t = tid ? find(tid) : NULL;
			if (tid && !t)
				t = take(tid);
			if (t)
				t->seen = true;
		}
	}
	(void)rt_sys_close(fd);
	return n == 0;
}

/* Find threads that came and went; arm those that have no timer.  How many have one; < 0: none, and why. */
static int scan(void)
{
	bool complete, strangers = false;
	int armed = 0, rc = -EAGAIN;

	for (uint32_t i = 0; i < n_records; i++)
		rt_cpu_threads[i].seen = false;
	complete = list_threads();
	for (uint32_t i = 0; i < n_records; i++) {
		struct rt_cpu_thread *t = &rt_cpu_threads[i];

		if (t->state != RT_CPU_USED)
			continue;
		if (t->armed && orphaned(t))
			disarm(t); /* its number belongs to another thread by now */
		if (!t->seen && (complete || !t->armed))
			retire(t);
		else if (!t->armed)
			strangers |= describe(t);
		else if (t->early)
			read_comm(ld(&t->tid), t->name, sizeof t->name);
		t->early = false;
	}
	if (strangers)
		rt_samples_read_maps();
	for (uint32_t i = 0; i < n_records; i++) {
		struct rt_cpu_thread *t = &rt_cpu_threads[i];
		int e = t->state == RT_CPU_USED && !t->armed ? arm(t) : 0;

		if (e < 0)
			rc = e == -EAGAIN || e == -ENOMEM ? -EAGAIN : rc;
		armed += t->armed;
	}
	return armed ? armed : rc;
}

/* lo, hi: its stack, where describe() does not know it. */
static void start(int tid, uintptr_t lo, uintptr_t hi)
{
	struct rt_cpu_thread *t = find(tid);

	if (!t)
		t = take(tid);
	if (!t)
		return;
	if (describe(t) && hi) {
		st(&t->lo, lo);
		st(&t->hi, hi);
		t->early = true;
	}
	if (!t->armed)
		(void)arm(t); /* the next scan tries again */
}

bool rt_cpu_sampling(void)
{
	return ld(&rt_cpu_on);
}

void rt_cpu_stranger_start(int tid, uintptr_t lo, uintptr_t hi)
{
	if (likely(!ld(&rt_cpu_on)))
		return;
	rt_lock(&lock);
	if (ld(&rt_cpu_on))
		start(tid, lo, hi);
	rt_unlock(&lock);
}

void rt_cpu_thread_start(int tid)
{
	rt_cpu_stranger_start(tid, 0, 0);
}

void rt_cpu_forked(void)
{
	st(&rt_cpu_on, 0); /* timers are not inherited */
}

/* --- Public --------------------------------------------------------------------------------------- */

static int prepare(void)
{
	int rc;

	if (!rt_cpu_threads)
		rt_cpu_threads = rt_map(RT_CPU_THREADS_MAX * sizeof *rt_cpu_threads);
	if (!rt_cpu_threads)
		return -ENOMEM;
	if (!seed)
		seed = (uint64_t)rt_now() | 1;
	rc = rt_samples_start();
	return rc < 0 ? rc : rt_cpu_signals();
}

int weft_cpu_start(int hz)
{
	int rc;

	if (hz < 1 || hz > 1000)
		return -EINVAL;
	rt_lock(&lock);
	rc = prepare();
	if (rc < 0)
		goto out;
	period = WEFT_SEC / hz;
	for (uint32_t i = 0; i < n_records; i++) /* another rate for those that run */
		if (rt_cpu_threads[i].armed && set_timer(&rt_cpu_threads[i]) < 0)
			disarm(&rt_cpu_threads[i]);
	st(&rt_cpu_on, 1);
	rc = scan();
	if (rc < 0)
		st(&rt_cpu_on, 0);
out:
	rt_unlock(&lock);
	return rc < 0 ? -EAGAIN : 0;
}

void weft_cpu_stop(void)
{
	rt_lock(&lock);
	st(&rt_cpu_on, 0);
	for (uint32_t i = 0; i < n_records; i++)
		disarm(&rt_cpu_threads[i]);
	rt_unlock(&lock);
}

static void hand_out(const struct rt_raw_sample *r, void (*fn)(void *user, const struct weft_sample *s), void *user)
{
	struct weft_sample s = {
		.time = r->time,
		.kind = (enum weft_sample_kind)r->kind,
		.weight = r->weight,
		.goid = r->goid,
		.instance = r->instance,
		.tid = r->tid,
		.thread = r->kind == WEFT_SAMPLE_G ? NULL : rt_cpu_threads[r->thread].name,
		.flags = r->flags,
		.depth = r->depth,
	};

	memcpy(s.pc, r->pc, r->depth * sizeof *s.pc);
	(void)rt_labels_copy(r->labels, &s.labels);
	fn(user, &s);
}

/* For the recorder, whose table of stacks is for the life of the process: not where in the innermost function it was,
 * which would be another stack each time. */
static void record(const struct rt_raw_sample *r)
{
	uint64_t pc[WEFT_STACK_MAX];
	uintptr_t fn = rt_func_start(ld_acq(&rt_modules), r->pc[0]); /* with the release of who publishes the set */

	memcpy(pc, r->pc, r->depth * sizeof *pc);
	pc[0] = (fn ? fn : r->pc[0] & ~UINT64_C(0xff)) + 1; /* as a return address, like the others */
	rt_record_sample(r->time, r->goid, r->tid, r->pid, rt_stack_intern(pc, r->depth));
}

void weft_cpu_drain(void (*fn)(void *user, const struct weft_sample *s), void *user)
{
	const struct rt_raw_sample *r;
	struct weft_sample lost = { .kind = WEFT_SAMPLE_LOST, .time = rt_now() };

	/* A bound, in case samples come faster than fn takes them. */
	for (uint32_t n = 0; n < 1u << 16 && (r = rt_samples_next()); n++) {
		hand_out(r, fn, user);
		if (rt_rec_on)
			record(r);
		rt_samples_done();
	}
	rt_record_samples_end();
	lost.weight = (uint32_t)rt_samples_lost();
	if (lost.weight)
		fn(user, &lost);
	rt_lock(&lock);
	round_++;
	if (ld(&rt_cpu_on))
		(void)scan();
	rt_unlock(&lock);
}
