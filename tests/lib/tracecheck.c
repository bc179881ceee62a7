/* tracecheck.c - reads an execution trace as strictly as the tools do, and replays it on a model of the scheduler.
 *
 * Written from the description of the format, not from the encoder: the two share no table.  Each thread's events are
 * in order; of all threads the one whose next event is the earliest goes on, unless that event is not possible yet.
 * When none is possible, or one never can be, the trace is broken. */
#include "tracecheck.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS 512
#define GS 65536
#define PS 1024
#define IDS 262144
#define NOBODY UINT64_MAX

enum { YES = 1, NOT_YET = 0, NEVER = -1 };
enum { RUNNABLE = 1, RUNNING, SYSCALL, WAITING };
enum { P_RUNNING = 1, P_IDLE, P_SYSCALL };

struct ev {
	int64_t time;
	uint64_t a[4];
	int id;
};
struct thread {
	uint64_t id;
	struct ev *ev;
	size_t n, cap, at;
	int p;      /* -1: none */
	uint64_t g; /* 0: none */
};
struct goroutine {
	uint64_t id, seq, m;
	int state; /* 0: there is none */
};
struct proc {
	uint64_t seq, m;
	int state;
};

static struct tracecheck *c;
static const uint8_t *at, *end;
static struct thread threads[MS];
static size_t n_threads;
static struct goroutine gs[GS];
static struct proc ps[PS];
static char *strings[IDS];
static bool stacks[IDS];
static int frequencies;

static int fail(const char *fmt, ...)
{
	va_list ap;

	if (!*c->err) {
		va_start(ap, fmt);
		vsnprintf(c->err, sizeof c->err, fmt, ap);
		va_end(ap);
	}
	return NEVER;
}

/* --- Reading ---------------------------------------------------------------------------------------- */

static uint64_t varint(const uint8_t *limit)
{
	uint64_t v = 0;

	for (int i = 0; i < 10; i++) {
		uint8_t b;

		if (at >= limit) {
			fail("a number is cut off");
			return 0;
		}
		b = *at++;
		v |= (uint64_t)(b & 0x7f) << (7 * i);
		if (!(b & 0x80))
			return v;
	}
	fail("a number of more than 10 bytes");
	return 0;
}

/* Arguments behind the time; -1: no timed event. */
static int arity(int id)
{
	static const signed char n[64] = {
		[9] = 2,  [10] = 2, [11] = 0, [12] = 3, [13] = 2, [14] = 3, [16] = 2, [17] = 0, [19] = 2,
		[20] = 2, [21] = 3, [22] = 2, [23] = 0, [24] = 0, [25] = 3, [37] = 1, [39] = 1, [48] = 4,
	};
	static const bool zero[64] = { [11] = true, [17] = true, [23] = true, [24] = true };

	return id < 64 && (n[id] || zero[id]) ? n[id] : -1;
}

static struct thread *thread(uint64_t id)
{
	for (size_t i = 0; i < n_threads; i++)
		if (threads[i].id == id)
			return &threads[i];
	if (n_threads == MS) {
		fail("more than %d threads", MS);
		return NULL;
	}
	threads[n_threads] = (struct thread){ .id = id, .p = -1 };
	return &threads[n_threads++];
}

static void read_strings(const uint8_t *limit)
{
	while (at < limit && !*c->err) {
		uint64_t id, len;

		if (*at++ != 5)
			fail("no string where one is expected");
		id = varint(limit);
		len = varint(limit);
		if (len > 1024 || len > (size_t)(limit - at))
			fail("a string of %llu bytes", (unsigned long long)len);
		else if (!id || id >= IDS || strings[id])
			fail("string id %llu is 0 or taken", (unsigned long long)id);
		else
			strings[id] = strndup((const char *)at, len);
		at += len;
		c->strings++;
	}
}

static bool is_string(uint64_t id)
{
	return !id || (id < IDS && strings[id]);
}

static bool is_stack(uint64_t id)
{
	return !id || (id < IDS && stacks[id]);
}

/* Strings of frames are looked at later: any order of batches is good. */
static uint64_t frame_strings[IDS];
static size_t n_frame_strings;

static void read_stacks(const uint8_t *limit)
{
	while (at < limit && !*c->err) {
		uint64_t id, n;

		if (*at++ != 3)
			fail("no stack where one is expected");
		id = varint(limit);
		n = varint(limit);
		if (n > 128)
			fail("a stack of %llu frames", (unsigned long long)n);
		if (!id || id >= IDS || stacks[id])
			fail("stack id %llu is 0 or taken", (unsigned long long)id);
		else
			stacks[id] = true;
		for (uint64_t i = 0; i < n && !*c->err; i++) {
			if (!varint(limit))
				fail("a frame at address 0");
			for (int k = 0; k < 2; k++) {
				uint64_t s = varint(limit);

				if (n_frame_strings < IDS)
					frame_strings[n_frame_strings++] = s;
			}
			(void)varint(limit);
		}
		c->stacks++;
	}
}

static void read_events(struct thread *t, int64_t time, const uint8_t *limit)
{
	while (at < limit && !*c->err) {
		struct ev e = { .id = *at++ };
		int n = arity(e.id);

		if (n < 0) {
			fail("event %d is none that may be here", e.id);
			return;
		}
		time += (int64_t)varint(limit);
		e.time = time;
		for (int i = 0; i < n; i++)
			e.a[i] = varint(limit);
		if (t->n == t->cap) {
			t->cap = t->cap ? 2 * t->cap : 256;
			t->ev = realloc(t->ev, t->cap * sizeof *t->ev);
		}
		t->ev[t->n++] = e;
	}
}

static void read_batch(void)
{
	uint64_t generation, m, time, size;
	const uint8_t *limit;
	struct thread *t;

	if (*at++ != 1) {
		fail("no batch where one is expected");
		return;
	}
	generation = varint(end);
	m = varint(end);
	time = varint(end);
	size = varint(end);
	if (generation != 1)
		fail("generation %llu", (unsigned long long)generation);
	if (size > 65536 || size > (size_t)(end - at))
		fail("a batch of %llu bytes", (unsigned long long)size);
	if (*c->err || !size)
		return;
	c->batches++;
	limit = at + size;
	switch (*at) {
	case 4:
		at++;
		read_strings(limit);
		break;
	case 2:
		at++;
		read_stacks(limit);
		break;
	case 8:
		at++;
		if (varint(limit) != 1000000000 || at != limit)
			fail("a frequency that is not one of nanoseconds");
		frequencies++;
		break;
	default:
		t = thread(m);
		if (t)
			read_events(t, (int64_t)time, limit);
	}
}

/* --- Replaying ----------------------------------------------------------------------------------------- */

static struct goroutine *goroutine(uint64_t id)
{
	size_t i = id * UINT64_C(0x9e3779b97f4a7c15) >> 48;

	for (size_t k = 0; k < GS; k++, i = (i + 1) % GS) {
		if (gs[i].id == id)
			return &gs[i];
		if (!gs[i].id) {
			gs[i].id = id;
			return &gs[i];
		}
	}
	abort();
}

static bool p_runs(const struct thread *t)
{
	return t->p >= 0 && ps[t->p].state == P_RUNNING;
}

static bool runs(const struct thread *t)
{
	return t->g && goroutine(t->g)->state == RUNNING && p_runs(t);
}

static void leave(struct thread *t, int state)
{
	goroutine(t->g)->state = state;
	goroutine(t->g)->m = 0;
	t->g = 0;
}

static int proc_status(struct thread *t, const uint64_t *a)
{
	struct proc *p = &ps[a[0] % PS];

	if (p->state && p->state != (int)a[1])
		return fail("P %llu has status %d, not %llu", (unsigned long long)a[0], p->state,
			    (unsigned long long)a[1]);
	if (a[1] < P_RUNNING || a[1] > P_SYSCALL)
		return fail("status %llu of a P", (unsigned long long)a[1]);
	p->state = (int)a[1];
	p->seq = 0;
	if (a[1] == P_IDLE)
		return YES;
	if (t->id == NOBODY || (t->p >= 0 && t->p != (int)a[0]))
		return fail("P %llu is said to be on a thread that has another, or on none", (unsigned long long)a[0]);
	t->p = (int)a[0];
	p->m = t->id;
	return YES;
}

static int go_status(struct thread *t, const uint64_t *a)
{
	struct goroutine *g = goroutine(a[0]);
	struct thread *on = a[2] == SYSCALL ? thread(a[1]) : t;

	if (!a[0] || a[2] < RUNNABLE || a[2] > WAITING)
		return fail("status %llu of goroutine %llu", (unsigned long long)a[2], (unsigned long long)a[0]);
	if (g->state)
		return fail("goroutine %llu has a status already", (unsigned long long)a[0]);
	g->state = (int)a[2];
	g->seq = 0;
	if (a[2] == RUNNABLE || a[2] == WAITING)
		return YES;
	if (!on || on->id == NOBODY || on->g)
		return fail("goroutine %llu is on no thread, or on one that has another", (unsigned long long)a[0]);
	if (a[2] == RUNNING && !p_runs(on))
		return fail("goroutine %llu runs without a P", (unsigned long long)a[0]);
	on->g = a[0];
	g->m = on->id;
	return YES;
}

static int proc_event(struct thread *t, const struct ev *e)
{
	const uint64_t *a = e->a;
	struct proc *p = &ps[e->id == 11 ? (size_t)(t->p < 0 ? 0 : t->p) : a[0] % PS];
	struct thread *victim;

	if (t->id == NOBODY)
		return fail("event %d is nobody's", e->id);
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
			return fail("ProcStop of a thread without a P, or that runs a goroutine");
		p->state = P_IDLE;
		t->p = -1;
		return YES;
	default: /* 12 */
		if (p->state != P_SYSCALL || a[1] != p->seq + 1)
			return NOT_YET;
		if (p->m != a[2])
			return fail("P %llu is stolen from a thread that does not have it", (unsigned long long)a[0]);
		victim = thread(a[2]);
		p->state = P_IDLE;
		p->seq++;
		victim->p = -1;
		return YES;
	}
}

static int syscall_event(struct thread *t, const struct ev *e)
{
	struct goroutine *g = t->g ? goroutine(t->g) : NULL;

	switch (e->id) {
	case 22:
		if (!runs(t))
			return fail("GoSyscallBegin of a thread that runs nobody");
		if (e->a[0] != ps[t->p].seq + 1)
			return fail("GoSyscallBegin with seq %llu", (unsigned long long)e->a[0]);
		ps[t->p].seq++;
		ps[t->p].state = P_SYSCALL;
		g->state = SYSCALL;
		return YES;
	case 23:
		if (!g || g->state != SYSCALL || t->p < 0 || ps[t->p].state != P_SYSCALL)
			return fail("GoSyscallEnd without its P");
		ps[t->p].state = P_RUNNING;
		g->state = RUNNING;
		return YES;
	default: /* 24 */
		if (!g || g->state != SYSCALL)
			return fail("GoSyscallEndBlocked of nobody");
		if (t->p >= 0 && ps[t->p].state == P_SYSCALL)
			return NOT_YET;
		leave(t, RUNNABLE);
		return YES;
	}
}

static int go_event(struct thread *t, const struct ev *e)
{
	const uint64_t *a = e->a;
	struct goroutine *g = e->id == 14 || e->id == 16 || e->id == 21 ? goroutine(a[0]) : NULL;

	switch (e->id) {
	case 14:
		if (!p_runs(t))
			return fail("GoCreate without a P");
		if (g->state)
			return fail("goroutine %llu exists", (unsigned long long)a[0]);
		g->state = RUNNABLE;
		g->seq = 0;
		return YES;
	case 16:
		if (!p_runs(t) || t->g)
			return fail("GoStart of %llu without a P, or while another runs", (unsigned long long)a[0]);
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
		return fail("event %d of a thread that runs nobody", e->id);
	if (e->id == 17)
		leave(t, 0);
	else if (e->id != 9)
		leave(t, e->id == 20 ? WAITING : RUNNABLE);
	return YES;
}

static bool words_there(const struct ev *e)
{
	const uint64_t *a = e->a;

	switch (e->id) {
	case 14:
		return is_stack(a[1]) && is_stack(a[2]);
	case 19:
	case 20:
		return is_string(a[0]) && is_stack(a[1]);
	case 21:
		return is_stack(a[2]);
	case 9:
	case 22:
		return is_stack(a[1]);
	case 48:
		return is_stack(a[3]);
	}
	return true;
}

static int advance(struct thread *t, const struct ev *e)
{
	if (!words_there(e))
		return fail("event %d names a string or stack that is not there", e->id);
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
	case 37:
	case 39:
		return YES;
	}
	return go_event(t, e);
}

/* The thread with the earliest event later than (time, index); NULL: there is none. */
static struct thread *next_thread(const struct thread *after)
{
	struct thread *best = NULL;

	for (size_t i = 0; i < n_threads; i++) {
		struct thread *t = &threads[i];
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
	struct thread *t;

	while ((t = next_thread(NULL)) && !*c->err) {
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
			fail("failed to advance: event %d of thread %lld, %llu", t->ev[t->at].id, (long long)t->id,
			     (unsigned long long)t->ev[t->at].a[0]);
			return;
		}
		if (rc < 0)
			return;
		c->events++;
		c->count[t->ev[t->at].id]++;
		if (c->event)
			c->event(c->user, t->ev[t->at].time, t->id, g, t->ev[t->at].id, t->ev[t->at].a);
		t->at++;
	}
}

static void reset(void)
{
	for (size_t i = 0; i < n_threads; i++)
		free(threads[i].ev);
	for (size_t i = 0; i < IDS; i++) {
		free(strings[i]);
		strings[i] = NULL;
		stacks[i] = false;
	}
	n_threads = n_frame_strings = 0;
	frequencies = 0;
	memset(gs, 0, sizeof gs);
	memset(ps, 0, sizeof ps);
}

const char *tracecheck_string(uint64_t id)
{
	return id && id < IDS && strings[id] ? strings[id] : "";
}

bool tracecheck(struct tracecheck *check, const void *bytes, size_t len)
{
	reset();
	c = check;
	*c->err = 0;
	c->events = c->batches = c->strings = c->stacks = 0;
	memset(c->count, 0, sizeof c->count);
	at = bytes;
	end = at + len;
	if (len < 16 || memcmp(at, "go 1.23 trace\0\0\0", 16) != 0) {
		fail("no header");
		return false;
	}
	at += 16;
	while (at < end && !*c->err)
		read_batch();
	if (frequencies != 1)
		fail("%d frequencies", frequencies);
	for (size_t i = 0; i < n_frame_strings; i++)
		if (!is_string(frame_strings[i]))
			fail("a frame names a string that is not there");
	if (!*c->err)
		replay();
	if (!c->events)
		fail("no events");
	return !*c->err;
}
