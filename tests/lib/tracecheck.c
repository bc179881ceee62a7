/* tracecheck.c - is an execution trace one that the tools accept?  It is replayed on a model of the scheduler.
 *
 * Written from the description of the format, not from the encoder: the two share no table.  Each thread's events are
 * in order; of all threads the one whose next event is the earliest goes on, unless that event is not possible yet.
 * When none is possible, or one never can be, the trace is broken. */
#include "tracecheck_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GS 524288
#define PS 1024
#define TASKS 4096
#define REGIONS 16 /* of a goroutine, at a time */

enum { YES = 1, NOT_YET = 0, NEVER = -1 };
enum { RUNNABLE = 1, RUNNING, SYSCALL, WAITING };
enum { P_RUNNING = 1, P_IDLE, P_SYSCALL };

struct region {
	uint64_t task, name;
};
struct goroutine {
	uint64_t id, seq, m;
	int state; /* 0: there is none */
	int n_regions;
	struct region *region; /* [REGIONS] */
};
struct proc {
	uint64_t seq, m;
	int state;
};

struct tracecheck *tc;
static struct goroutine gs[GS];
static uint32_t used[GS]; /* of gs[] */
static size_t n_used;
static struct proc ps[PS];
static uint64_t tasks[TASKS]; /* begun and not ended */
static size_t n_tasks;

int tc_fail(const char *fmt, ...)
{
	va_list ap;

	if (!*tc->err) {
		va_start(ap, fmt);
		vsnprintf(tc->err, sizeof tc->err, fmt, ap);
		va_end(ap);
	}
	return NEVER;
}

bool tc_is_p(uint64_t id)
{
	return id < PS;
}

static struct goroutine *goroutine(uint64_t id)
{
	size_t i = id * UINT64_C(0x9e3779b97f4a7c15) >> 45;

	for (size_t k = 0; k < GS; k++, i = (i + 1) % GS) {
		if (gs[i].id == id)
			return &gs[i];
		if (!gs[i].id) {
			gs[i].id = id;
			used[n_used++] = (uint32_t)i;
			return &gs[i];
		}
	}
	abort();
}

static bool p_runs(const struct tc_thread *t)
{
	return t->p >= 0 && ps[t->p].state == P_RUNNING;
}

static bool runs(const struct tc_thread *t)
{
	return t->g && goroutine(t->g)->state == RUNNING && p_runs(t);
}

static void leave(struct tc_thread *t, int state)
{
	struct goroutine *g = goroutine(t->g);

	g->state = state;
	g->m = 0;
	g->n_regions = state ? g->n_regions : 0;
	t->g = 0;
}

static int proc_status(struct tc_thread *t, const uint64_t *a)
{
	struct proc *p = &ps[a[0] % PS];

	if (p->state && p->state != (int)a[1])
		return tc_fail("P %llu has status %d, not %llu", (unsigned long long)a[0], p->state,
			       (unsigned long long)a[1]);
	if (a[1] < P_RUNNING || a[1] > P_SYSCALL)
		return tc_fail("status %llu of a P", (unsigned long long)a[1]);
	p->state = (int)a[1];
	p->seq = 0;
	if (a[1] == P_IDLE)
		return YES;
	if (t->id == TC_NOBODY || (t->p >= 0 && t->p != (int)a[0]))
		return tc_fail("P %llu is said to be on a thread that has another, or on none",
			       (unsigned long long)a[0]);
	t->p = (int)a[0];
	p->m = t->id;
	return YES;
}

static int go_status(struct tc_thread *t, const uint64_t *a)
{
	struct goroutine *g = goroutine(a[0]);
	struct tc_thread *on = a[2] == SYSCALL ? tc_thread(a[1]) : t;

	if (!a[0] || a[2] < RUNNABLE || a[2] > WAITING)
		return tc_fail("status %llu of goroutine %llu", (unsigned long long)a[2], (unsigned long long)a[0]);
	if (g->state)
		return tc_fail("goroutine %llu has a status already", (unsigned long long)a[0]);
	g->state = (int)a[2];
	g->seq = 0;
	if (a[2] == RUNNABLE || a[2] == WAITING)
		return YES;
	if (!on || on->id == TC_NOBODY || on->g)
		return tc_fail("goroutine %llu is on no thread, or on one that has another", (unsigned long long)a[0]);
	if (a[2] == RUNNING && !p_runs(on))
		return tc_fail("goroutine %llu runs without a P", (unsigned long long)a[0]);
	on->g = a[0];
	g->m = on->id;
	return YES;
}

static int proc_event(struct tc_thread *t, const struct tc_ev *e)
{
	const uint64_t *a = e->a;
	struct proc *p = &ps[e->id == 11 ? (size_t)(t->p < 0 ? 0 : t->p) : a[0] % PS];
	struct tc_thread *victim;

	if (t->id == TC_NOBODY)
		return tc_fail("event %d is nobody's", e->id);
	switch (e->id) {
	case 10:
		if (t->p >= 0 || p->state != P_IDLE || a[1] != p->seq + 1)
			return NOT_YET;
		p->state = P_RUNNING;
		p->seq++;
		p->m = t->id;
		t->p = (int)a[0];
		return YES;
	case 11:
		if (t->p < 0 || (p->state != P_RUNNING && p->state != P_SYSCALL) || (t->g && runs(t)))
			return tc_fail("ProcStop of a thread without a P, or that runs a goroutine");
		p->state = P_IDLE;
		t->p = -1;
		return YES;
	default: /* 12 */
		if (p->state != P_SYSCALL || a[1] != p->seq + 1)
			return NOT_YET;
		if (p->m != a[2])
			return tc_fail("P %llu is stolen from a thread that does not have it",
				       (unsigned long long)a[0]);
		victim = tc_thread(a[2]);
		p->state = P_IDLE;
		p->seq++;
		victim->p = -1;
		return YES;
	}
}

static int syscall_event(struct tc_thread *t, const struct tc_ev *e)
{
	struct goroutine *g = t->g ? goroutine(t->g) : NULL;

	switch (e->id) {
	case 22:
		if (!runs(t))
			return tc_fail("GoSyscallBegin of a thread that runs nobody");
		if (e->a[0] != ps[t->p].seq + 1)
			return tc_fail("GoSyscallBegin with seq %llu", (unsigned long long)e->a[0]);
		ps[t->p].seq++;
		ps[t->p].state = P_SYSCALL;
		g->state = SYSCALL;
		return YES;
	case 23:
		if (!g || g->state != SYSCALL || t->p < 0 || ps[t->p].state != P_SYSCALL)
			return tc_fail("GoSyscallEnd without its P");
		ps[t->p].state = P_RUNNING;
		g->state = RUNNING;
		return YES;
	default: /* 24 */
		if (!g || g->state != SYSCALL)
			return tc_fail("GoSyscallEndBlocked of nobody");
		if (t->p >= 0 && ps[t->p].state == P_SYSCALL)
			return NOT_YET;
		leave(t, RUNNABLE);
		return YES;
	}
}

static int go_event(struct tc_thread *t, const struct tc_ev *e)
{
	const uint64_t *a = e->a;
	struct goroutine *g = e->id == 14 || e->id == 16 || e->id == 21 ? goroutine(a[0]) : NULL;

	switch (e->id) {
	case 14:
		if (!p_runs(t) || (t->g && !runs(t)))
			return tc_fail("GoCreate without a P, or by a goroutine that does not run");
		if (g->state)
			return tc_fail("goroutine %llu exists", (unsigned long long)a[0]);
		g->state = RUNNABLE;
		g->seq = 0;
		return YES;
	case 16:
		if (!p_runs(t) || t->g)
			return tc_fail("GoStart of %llu without a P, or while another runs", (unsigned long long)a[0]);
		if (g->state != RUNNABLE || a[1] != g->seq + 1)
			return NOT_YET;
		g->seq++;
		g->state = RUNNING;
		g->m = t->id;
		t->g = a[0];
		return YES;
	case 21:
		if (g->state != WAITING || a[1] != g->seq + 1)
			return NOT_YET;
		g->seq++;
		g->state = RUNNABLE;
		return YES;
	}
	if (!runs(t))
		return tc_fail("event %d of a thread that runs nobody", e->id);
	if (e->id == 17)
		leave(t, 0);
	else if (e->id != 9)
		leave(t, e->id == 20 ? WAITING : RUNNABLE);
	return YES;
}

/* --- Tasks, regions, logs ---------------------------------------------------------------------------------- */

static int task_begin(uint64_t task)
{
	for (size_t i = 0; i < n_tasks; i++)
		if (tasks[i] == task)
			return tc_fail("task %llu is begun twice", (unsigned long long)task);
	if (!task || n_tasks == TASKS)
		return tc_fail("task %llu of %zu", (unsigned long long)task, n_tasks);
	tasks[n_tasks++] = task;
	return YES;
}

static int task_end(uint64_t task)
{
	for (size_t i = 0; i < n_tasks; i++) {
		if (tasks[i] == task) {
			tasks[i] = tasks[--n_tasks];
			break;
		}
	}
	return YES; /* it may have begun before the trace */
}

static int region_begin(struct goroutine *g, uint64_t task, uint64_t name)
{
	if (!g->region)
		g->region = calloc(REGIONS, sizeof *g->region);
	if (g->n_regions == REGIONS)
		return tc_fail("goroutine %llu has too many regions", (unsigned long long)g->id);
	g->region[g->n_regions++] = (struct region){ task, name };
	return YES;
}

static int region_end(struct goroutine *g, uint64_t task, uint64_t name)
{
	const struct region *r = g->n_regions ? &g->region[g->n_regions - 1] : NULL;

	if (!r)
		return YES; /* likewise */
	if (r->task != task || r->name != name)
		return tc_fail("misuse of region in goroutine %llu: \"%s\" ends where \"%s\" is open",
			       (unsigned long long)g->id, tracecheck_string(name), tracecheck_string(r->name));
	g->n_regions--;
	return YES;
}

static int user_event(struct tc_thread *t, const struct tc_ev *e)
{
	const uint64_t *a = e->a;

	if (e->id == 37 || e->id == 38)
		return t->p >= 0 ? YES : tc_fail("event %d of a thread without a P", e->id);
	if (!runs(t))
		return tc_fail("event %d of a thread that runs nobody", e->id);
	switch (e->id) {
	case 40:
		return task_begin(a[0]);
	case 41:
		return task_end(a[0]);
	case 42:
		return region_begin(goroutine(t->g), a[0], a[1]);
	case 43:
		return region_end(goroutine(t->g), a[0], a[1]);
	}
	return YES;
}

static bool words_there(const struct tc_ev *e)
{
	const uint64_t *a = e->a;

	switch (e->id) {
	case 14:
		return tc_is_stack(a[1]) && tc_is_stack(a[2]);
	case 19:
	case 20:
		return tc_is_string(a[0]) && tc_is_stack(a[1]);
	case 21:
		return tc_is_stack(a[2]);
	case 9:
	case 22:
		return tc_is_stack(a[1]);
	case 39:
		return tc_is_string(a[0]);
	case 40:
		return tc_is_string(a[2]) && tc_is_stack(a[3]);
	case 41:
		return tc_is_stack(a[1]);
	case 42:
	case 43:
		return tc_is_string(a[1]) && tc_is_stack(a[2]);
	case 44:
		return tc_is_string(a[1]) && tc_is_string(a[2]) && tc_is_stack(a[3]);
	case 48:
		return tc_is_stack(a[3]);
	}
	return true;
}

static int advance(struct tc_thread *t, const struct tc_ev *e)
{
	if (!words_there(e))
		return tc_fail("event %d names a string or stack that is not there", e->id);
	switch (e->id) {
	case 13:
		return proc_status(t, e->a);
	case 25:
	case 48:
		return go_status(t, e->a);
	case 10:
	case 11:
	case 12:
		return proc_event(t, e);
	case 22:
	case 23:
	case 24:
		return syscall_event(t, e);
	}
	return e->id >= 37 && e->id <= 44 ? user_event(t, e) : go_event(t, e);
}

/* The thread with the earliest event later than (time, index); NULL: there is none. */
static struct tc_thread *next_thread(const struct tc_thread *after)
{
	struct tc_thread *best = NULL;

	for (size_t i = 0; i < tc_n_threads; i++) {
		struct tc_thread *t = &tc_threads[i];
		int64_t time;

		if (t->at == t->n)
			continue;
		time = t->ev[t->at].time;
		if (after && (time < after->ev[after->at].time || (time == after->ev[after->at].time && t <= after)))
			continue;
		if (!best || time < best->ev[best->at].time)
			best = t;
	}
	return best;
}

static void replay(void)
{
	struct tc_thread *t;

	while ((t = next_thread(NULL)) && !*tc->err) {
		int rc = NOT_YET;
		uint64_t g = 0;

		for (; t; t = next_thread(t)) {
			g = t->g;
			rc = advance(t, &t->ev[t->at]);
			if (rc)
				break;
		}
		if (!t) {
			t = next_thread(NULL);
			tc_fail("failed to advance: event %d of thread %lld, %llu", t->ev[t->at].id, (long long)t->id,
				(unsigned long long)t->ev[t->at].a[0]);
			return;
		}
		if (rc < 0)
			return;
		tc->events++;
		tc->count[t->ev[t->at].id]++;
		if (tc->event)
			tc->event(tc->user, t->ev[t->at].time, t->id, g, t->ev[t->at].id, t->ev[t->at].a);
		t->at++;
	}
}

static void reset(void)
{
	tc_forget();
	for (size_t i = 0; i < n_used; i++) {
		free(gs[used[i]].region);
		gs[used[i]] = (struct goroutine){ 0 };
	}
	n_used = n_tasks = 0;
	memset(ps, 0, sizeof ps);
}

bool tracecheck(struct tracecheck *check, const void *bytes, size_t len)
{
	reset();
	tc = check;
	*tc->err = 0;
	tc->events = tc->batches = tc->strings = tc->stacks = tc->samples = 0;
	memset(tc->count, 0, sizeof tc->count);
	if (tc_read(bytes, len))
		replay();
	if (!tc->events)
		tc_fail("no events");
	return !*tc->err;
}

void tracecheck_keep(const char *name, const void *bytes, size_t len)
{
	const char *folder = getenv("WEFT_TRACES");
	char path[4096];
	FILE *f;

	if (!folder)
		return;
	snprintf(path, sizeof path, "%s/%s", folder, name);
	f = fopen(path, "wb");
	if (!f || fwrite(bytes, 1, len, f) != len || fclose(f) != 0)
		abort();
}
