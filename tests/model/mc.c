/* mc.c - the model checker behind mc.h.
 *
 * State of a model: what setup() and the threads changed in .data and .bss, the live parts of all stacks,
 * and struct threads below.  Which 64-byte lines of .data and .bss that are is found out: all the others are
 * compared with their first values now and then, and a line that differs is added, and the search starts
 * over.  (This file keeps its own variables in memory from mmap, behind `e`.)
 *
 * The search is depth first.  A snapshot is kept of each state on the path, a 128-bit hash of each state that
 * was seen, and every edge, so that afterwards each state can be asked for a way to an end.  The thread that
 * ran last goes on first, so the interleavings that are printed have few changes of thread. */
#include "mc.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define STACKS 16
#define STACK_BYTES (32u << 10)  /* far more than any model needs */
#define STACKS_AT 0x200000000000 /* the same addresses in every run */
#define BELOW 2048u              /* of a stack, cleared whenever its thread goes on: leftovers are no state */
#define BUFFER 12
#define LINE 64u
#define WALKS 300
#define WALK_STEPS 4000
#define QUIET_MAX 1000000 /* operations of one step that no other thread can see */
#define STATES_MAX (1u << 23)

enum kind { START, LD, ST, RMW, FENCE, HEAVY, CHOOSE, WAIT_EQ, FUTEX_WAIT, FUTEX_WAKE, ASLEEP, DONE };

struct store {
	uintptr_t addr;
	uint64_t value;
	const char *text;
	uint64_t size;
};

struct thread {
	uintptr_t sp;
	uint32_t stack; /* it is on */
	uint8_t kind, n_buffer, timed, woken;
	uint32_t choices;
	uint32_t heavy; /* threads whose buffer must still be seen empty */
	uintptr_t addr;
	uint64_t value;
	const char *text;
	struct store buffer[BUFFER];
};

/* Part of the state.  Small, so that it is cheap to copy. */
struct threads {
	uint32_t n, n_stacks;
	uintptr_t live[STACKS], end[STACKS];
	struct thread t[MC_THREADS];
};

/* What becomes of a search. */
enum result { FINE, AGAIN, WRONG, TOO_BIG };

/* A step: a thread goes on (alt: which of several ways), or its oldest store moves to memory. */
#define STEP(thread, flush, alt) ((uint16_t)((alt) << 8 | (flush) << 4 | (thread)))
#define STEP_THREAD(s) ((s)&15u)
#define STEP_FLUSH(s) ((s) >> 4 & 1u)
#define STEP_ALT(s) ((s) >> 8)
#define STEPS_MAX 32

struct frame {
	size_t snapshot; /* offset in e->snapshots */
	uint32_t id;
	uint16_t step[STEPS_MAX];
	uint8_t n, next;
};

struct seen {
	uint64_t hash[2];
	uint32_t id;
};

/* How an address was used: private to a thread until a second one comes, invisible until also written. */
#define USED_MULTI 0x40
#define USED_WRITTEN 0x80

static struct engine {
	struct threads s;
	const struct mc_case *c;
	const char *names[MC_THREADS];
	bool daemons[MC_THREADS];
	void (*fn[MC_THREADS])(void *);
	void *arg[MC_THREADS];

	int cur;              /* thread that runs, or -1 */
	unsigned alt;         /* of the step it makes */
	uintptr_t controller; /* saved sp */
	uint64_t quiet;
	bool again, failed, heavy_used, tracing;
	char why[400], number[32];
	sigjmp_buf crash;

	char *data, *data_end; /* .data and .bss */
	char *base;            /* their first values */
	uint8_t *tracked;      /* per line */
	uint32_t *line, n_lines, n_all_lines;
	uint8_t *used; /* per 8 bytes of .data, .bss and stacks */
	char *stacks;

	char *snapshots;
	size_t snapshots_used, snapshots_cap;
	struct frame *frames;
	uint32_t n_frames, cap_frames;
	struct seen *seen;
	uint32_t cap_seen, n_states;
	uint32_t *parent;
	uint16_t *how; /* by which step from parent */
	uint8_t *good; /* an end, or leads to one */
	uint32_t (*edges)[2];
	size_t n_edges, cap_edges;
	uint32_t restarts;
	uint64_t n_steps;
	uint16_t *path; /* of the failure */
	uint32_t n_path, cap_path;
	uint64_t rng;
} * e;

void (*mc_resumed)(int thread);

extern char __data_start[], _end[];

static void *must(void *p)
{
	if (!p || p == MAP_FAILED) {
		fprintf(stderr, "no memory\n");
		exit(2);
	}
	return p;
}

static void *map(size_t bytes)
{
	return must(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
}

/* --- Coroutines -------------------------------------------------------------------------------------- */

void mc_switch(uintptr_t *save, uintptr_t sp);
__asm__(".text\n"
	".globl mc_switch\n"
	".type mc_switch, @function\n"
	"mc_switch:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size mc_switch, . - mc_switch\n");

static uint32_t stack_of(uintptr_t sp)
{
	return (uint32_t)((sp - (uintptr_t)e->stacks) / STACK_BYTES);
}

/* The thread stops here until the controller lets it make its next step. */
static void yield(void)
{
	struct thread *t = &e->s.t[e->cur];

	mc_switch(&t->sp, e->controller);
}

static void thread_main(void)
{
	int self = e->cur;

	e->fn[self](e->arg[self]);
	e->s.t[e->cur].kind = DONE;
	for (;;)
		yield();
}

static void resume(uint32_t thread)
{
	struct thread *t = &e->s.t[thread];

	for (uint32_t i = 0; i < e->s.n_stacks; i++)
		memset((void *)(e->s.live[i] - BELOW), 0, BELOW);
	e->cur = (int)thread;
	e->quiet = 0;
	if (mc_resumed)
		mc_resumed(e->cur);
	mc_switch(&e->controller, t->sp);
	e->cur = -1;
	e->s.live[t->stack] = t->sp;
}

static uint32_t stack_new(size_t bytes, uintptr_t *top)
{
	uint32_t i = e->s.n_stacks++;
	uintptr_t end = (uintptr_t)e->stacks + (uintptr_t)(i + 1) * STACK_BYTES;

	if (i == STACKS) {
		fprintf(stderr, "more than %d stacks\n", STACKS);
		exit(2);
	}
	e->s.end[i] = end;
	*top = (end - bytes) & ~(uintptr_t)63;
	e->s.live[i] = *top;
	return i;
}

static void thread_new(const char *name, void (*fn)(void *), void *arg, bool daemon)
{
	uint32_t i = e->s.n++;
	struct thread *t = &e->s.t[i];
	uintptr_t top;
	uintptr_t *frame;

	if (i == MC_THREADS) {
		fprintf(stderr, "more than %d threads\n", MC_THREADS);
		exit(2);
	}
	t->stack = stack_new(64, &top);
	frame = (uintptr_t *)(top - 64);
	frame[6] = (uintptr_t)thread_main;
	t->sp = (uintptr_t)frame;
	e->s.live[t->stack] = t->sp;
	t->kind = START;
	t->text = "";
	e->names[i] = name;
	e->fn[i] = fn;
	e->arg[i] = arg;
	e->daemons[i] = daemon;
}

void mc_thread(const char *name, void (*fn)(void *), void *arg)
{
	thread_new(name, fn, arg, false);
}

void mc_daemon(const char *name, void (*fn)(void *), void *arg)
{
	thread_new(name, fn, arg, true);
}

void *mc_stack(size_t bytes)
{
	uintptr_t top;

	(void)stack_new(bytes, &top);
	return (void *)top;
}

void mc_stack_switch(uintptr_t live, uintptr_t sp)
{
	struct thread *t = &e->s.t[e->cur];

	e->s.live[t->stack] = live;
	t->stack = stack_of(sp);
}

void mc_stack_reset(void *record)
{
	e->s.live[stack_of((uintptr_t)record)] = (uintptr_t)record;
}

void mc_stack_live(void *sp)
{
	e->s.live[stack_of((uintptr_t)sp)] = (uintptr_t)sp;
}

int mc_self(void)
{
	return e->cur;
}

/* --- What threads do ------------------------------------------------------------------------------------ */

void mc_fail(const char *fmt, ...)
{
	va_list ap;

	if (!e->failed) {
		va_start(ap, fmt);
		vsnprintf(e->why, sizeof e->why, fmt, ap);
		va_end(ap);
		e->failed = true;
	}
	while (e->cur >= 0)
		yield();
}

/* The search has learnt something that makes it begin again. */
static void learnt(void)
{
	e->again = true;
	while (e->cur >= 0)
		yield();
}

static uint8_t *used_of(uintptr_t a)
{
	uintptr_t data = (uintptr_t)e->data, stacks = (uintptr_t)e->stacks;

	if (a >= data && a < (uintptr_t)e->data_end)
		return &e->used[(a - data) / 8];
	if (a >= stacks && a < stacks + STACKS * STACK_BYTES)
		return &e->used[(size_t)e->n_all_lines * (LINE / 8) + (a - stacks) / 8];
	mc_fail("an atomic operation on memory that is no state: %p", (void *)a);
	return NULL;
}

/* Is this use of p visible to other threads? */
static bool visible(const volatile void *p, bool write)
{
	uint8_t *u = used_of((uintptr_t)p), was = *u, now = was;
	uint8_t me = (uint8_t)(e->cur + 1);

	if ((was & 15) == 0)
		now |= me;
	else if ((was & 15) != me)
		now |= USED_MULTI;
	if (write)
		now |= USED_WRITTEN;
	*u = now;
	if ((now & (USED_MULTI | USED_WRITTEN)) == (USED_MULTI | USED_WRITTEN)) {
		if ((was & (USED_MULTI | USED_WRITTEN)) != (USED_MULTI | USED_WRITTEN))
			learnt();
		return true;
	}
	if (++e->quiet > QUIET_MAX)
		mc_fail("%s goes round without end", e->names[e->cur]);
	return false;
}

static struct thread *wait_for(enum kind kind, const volatile void *p, const char *text)
{
	struct thread *t = &e->s.t[e->cur];

	t->kind = kind;
	t->addr = (uintptr_t)p;
	t->text = text;
	yield();
	return &e->s.t[e->cur];
}

static uint64_t load(const volatile void *p, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, (const void *)p, size);
	return v;
}

static int column(void)
{
	return (int)(114 / e->s.n) - 2;
}

static void trace(int thread, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void trace(int thread, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	printf("  |");
	for (uint32_t i = 0; i < e->s.n; i++)
		printf(" %-*.*s|", column(), column(), (int)i == thread ? text : "");
	putchar('\n');
}

static const char *bare(const char *text)
{
	return text[0] == '&' ? text + 1 : text;
}

/* Values are small numbers or addresses, of which the end tells. */
static const char *shown(uint64_t v)
{
	char *text = e->number;

	if (v > UINT64_MAX - 100000)
		snprintf(text, sizeof e->number, "-%llu", (unsigned long long)-v);
	else if (v < 100000)
		snprintf(text, sizeof e->number, "%llu", (unsigned long long)v);
	else
		snprintf(text, sizeof e->number, "@%llx", (unsigned long long)(v & 0xfffff));
	return text;
}

uint64_t mc_ld(const volatile void *p, unsigned size, const char *text)
{
	struct thread *t;
	uint64_t v;

	if (e->cur < 0)
		return load(p, size);
	if (!visible(p, false)) {
		v = load(p, size);
		return v;
	}
	t = wait_for(LD, p, text);
	v = load(p, size);
	for (int i = t->n_buffer; i-- > 0;) {
		if (t->buffer[i].addr == (uintptr_t)p) {
			v = t->buffer[i].value;
			break;
		}
	}
	if (e->tracing)
		trace(e->cur, "%s is %s", bare(text), shown(v));
	return v;
}

void mc_st(volatile void *p, unsigned size, uint64_t v, const char *text)
{
	struct thread *t;

	if (size < 8)
		v &= (UINT64_C(1) << size * 8) - 1;
	if (e->cur < 0 || !visible(p, true)) {
		memcpy((void *)p, &v, size);
		return;
	}
	t = &e->s.t[e->cur];
	if (e->heavy_used || t->n_buffer == BUFFER)
		t = wait_for(ST, p, text);
	t->buffer[t->n_buffer++] = (struct store){ (uintptr_t)p, v, text, size };
	if (e->tracing)
		trace(e->cur, "%s = %s, buffered", bare(text), shown(v));
}

void mc_rmw(volatile void *p, unsigned size, const char *text)
{
	(void)size;
	if (e->cur < 0)
		return;
	if (visible(p, true))
		(void)wait_for(RMW, p, text);
	else
		mc_fence();
}

void mc_rmw_done(const volatile void *p, unsigned size, bool written)
{
	if (e->cur >= 0 && e->tracing)
		trace(e->cur, "%s %s %s", bare(e->s.t[e->cur].text), written ? ":=" : "CAS fails, is",
		      shown(load(p, size)));
}

void mc_fence(void)
{
	if (e->cur >= 0 && e->s.t[e->cur].n_buffer) {
		(void)wait_for(FENCE, NULL, "fence");
		if (e->tracing)
			trace(e->cur, "fence");
	}
}

void mc_heavy(void)
{
	struct thread *t;
	uint32_t mask = 0;

	if (e->cur < 0)
		return;
	if (!e->heavy_used) {
		e->heavy_used = true;
		learnt();
	}
	mc_fence();
	t = &e->s.t[e->cur];
	for (uint32_t i = 0; i < e->s.n; i++)
		if ((int)i != e->cur && e->s.t[i].n_buffer)
			mask |= 1u << i;
	t->heavy = mask;
	if (mask)
		(void)wait_for(HEAVY, NULL, "heavy barrier");
	if (e->tracing)
		trace(e->cur, "heavy barrier");
}

unsigned mc_choose(unsigned n)
{
	if (e->cur < 0)
		return 0;
	e->s.t[e->cur].choices = n;
	wait_for(CHOOSE, NULL, "choose")->choices = 0;
	if (e->tracing)
		trace(e->cur, "chooses %u", e->alt);
	return e->alt;
}

void mc_wait_eq(_Atomic uint32_t *word, uint32_t v)
{
	if (!visible(word, false) && load(word, 4) == v)
		return;
	e->s.t[e->cur].value = v;
	wait_for(WAIT_EQ, word, "wait")->value = 0;
	if (e->tracing)
		trace(e->cur, "has seen the word become %u", v);
}

long mc_futex(long op, _Atomic uint32_t *word, uint32_t arg, bool timed)
{
	struct thread *t;
	bool woken;

	(void)visible(word, false);
	if (op == 1) {
		uint32_t nth;

		(void)wait_for(FUTEX_WAKE, word, "futex wake");
		nth = e->alt;
		for (uint32_t i = 0; i < e->s.n; i++) {
			t = &e->s.t[i];
			if (t->kind != ASLEEP || t->woken || t->addr != (uintptr_t)word || nth-- > 0)
				continue;
			t->woken = 1;
			if (e->tracing)
				trace(e->cur, "futex wake: %s", e->names[i]);
			return 1;
		}
		if (e->tracing)
			trace(e->cur, "futex wake: nobody");
		return 0;
	}
	(void)wait_for(FUTEX_WAIT, word, "futex wait");
	if (load(word, 4) != arg) {
		if (e->tracing)
			trace(e->cur, "futex wait: has changed");
		return -11;
	}
	if (e->tracing)
		trace(e->cur, "futex wait: sleeps");
	t = &e->s.t[e->cur];
	t->woken = 0;
	t->timed = timed;
	t = wait_for(ASLEEP, word, "asleep");
	woken = t->woken;
	t->woken = t->timed = 0;
	if (e->tracing)
		trace(e->cur, woken ? "woken" : "time is up");
	return woken ? 0 : -110;
}

void mc_note(const char *fmt, ...)
{
	char text[100];
	va_list ap;

	if (!e->tracing || e->cur < 0)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	trace(e->cur, "* %s", text);
}

/* --- Steps --------------------------------------------------------------------------------------------- */

static uint32_t sleepers(uintptr_t addr)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < e->s.n; i++)
		n += e->s.t[i].kind == ASLEEP && !e->s.t[i].woken && e->s.t[i].addr == addr;
	return n;
}

/* In how many ways may thread i go on?  0: it must wait. */
static uint32_t ways(uint32_t i)
{
	const struct thread *t = &e->s.t[i];
	uint32_t n;

	switch ((enum kind)t->kind) {
	case START:
	case LD:
		return 1;
	case ST:
		return t->n_buffer < BUFFER;
	case RMW:
	case FENCE:
	case FUTEX_WAIT:
		return t->n_buffer == 0;
	case HEAVY:
		return t->heavy == 0;
	case CHOOSE:
		return t->choices;
	case WAIT_EQ:
		return t->n_buffer == 0 && load((void *)t->addr, 4) == t->value;
	case FUTEX_WAKE:
		n = sleepers(t->addr);
		return t->n_buffer ? 0 : n ? n : 1;
	case ASLEEP:
		return t->woken || t->timed;
	case DONE:
		return 0;
	}
	return 0;
}

/* All steps from here; `last`'s thread first. */
static uint32_t steps(uint16_t *out, uint32_t last)
{
	uint32_t n = 0;

	for (uint32_t k = 0; k < e->s.n; k++) {
		uint32_t i = (last + k) % e->s.n, w = ways(i);

		for (uint32_t a = 0; a < w && n < STEPS_MAX; a++)
			out[n++] = STEP(i, 0, a);
	}
	for (uint32_t k = 0; k < e->s.n; k++) {
		uint32_t i = (last + k) % e->s.n;

		if (e->s.t[i].n_buffer && n < STEPS_MAX)
			out[n++] = STEP(i, 1, 0);
	}
	return n;
}

static void flush(uint32_t i)
{
	struct thread *t = &e->s.t[i];

	memcpy((void *)t->buffer[0].addr, &t->buffer[0].value, t->buffer[0].size);
	if (e->tracing)
		trace((int)i, "   -> memory: %s", bare(t->buffer[0].text));
	t->n_buffer--;
	memmove(t->buffer, t->buffer + 1, t->n_buffer * sizeof t->buffer[0]);
	memset(&t->buffer[t->n_buffer], 0, sizeof t->buffer[0]);
	if (t->n_buffer == 0)
		for (uint32_t k = 0; k < e->s.n; k++)
			e->s.t[k].heavy &= ~(1u << i);
}

static void make(uint16_t step)
{
	e->n_steps++;
	if (STEP_FLUSH(step)) {
		flush(STEP_THREAD(step));
	} else {
		e->alt = STEP_ALT(step);
		resume(STEP_THREAD(step));
	}
}

/* Nothing can happen any more: is that an end? */
static void ask_end(void)
{
	for (uint32_t i = 0; i < e->s.n && !e->failed; i++)
		if (e->s.t[i].kind != DONE && !e->daemons[i])
			mc_fail("%s waits for ever (%s)", e->names[i], e->s.t[i].text);
	if (!e->failed && e->c->end)
		e->c->end();
}

/* --- State ---------------------------------------------------------------------------------------------- */

static size_t threads_bytes(void)
{
	return offsetof(struct threads, t) + e->s.n * sizeof e->s.t[0];
}

static void need(size_t bytes)
{
	if (e->snapshots_used + bytes <= e->snapshots_cap)
		return;
	fprintf(stderr, "snapshots take more than %zu bytes\n", e->snapshots_cap);
	exit(2);
}

static size_t snapshot(void)
{
	size_t at = e->snapshots_used, bytes = threads_bytes();

	need(bytes + e->n_lines * LINE + STACKS * STACK_BYTES);
	memcpy(e->snapshots + e->snapshots_used, &e->s, bytes);
	e->snapshots_used += bytes;
	for (uint32_t i = 0; i < e->n_lines; i++) {
		memcpy(e->snapshots + e->snapshots_used, e->data + (size_t)e->line[i] * LINE, LINE);
		e->snapshots_used += LINE;
	}
	for (uint32_t i = 0; i < e->s.n_stacks; i++) {
		bytes = e->s.end[i] - e->s.live[i];
		memcpy(e->snapshots + e->snapshots_used, (void *)e->s.live[i], bytes);
		e->snapshots_used += bytes;
	}
	e->snapshots_used = (e->snapshots_used + 15) & ~(size_t)15;
	return at;
}

static void restore(size_t at)
{
	const char *p = e->snapshots + at;

	memcpy(&e->s, p, offsetof(struct threads, t));
	memcpy(&e->s, p, threads_bytes());
	p += threads_bytes();
	for (uint32_t i = 0; i < e->n_lines; i++, p += LINE)
		memcpy(e->data + (size_t)e->line[i] * LINE, p, LINE);
	for (uint32_t i = 0; i < e->s.n_stacks; i++) {
		memcpy((void *)e->s.live[i], p, e->s.end[i] - e->s.live[i]);
		p += e->s.end[i] - e->s.live[i];
	}
}

static inline uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)(a ^ 0x9e3779b97f4a7c15) * (b ^ 0xd1b54a32d192ed03);

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static void hash_more(uint64_t h[4], const void *p, size_t bytes)
{
	uint64_t w[8];

	while (bytes) {
		size_t n = bytes < sizeof w ? bytes : sizeof w;

		if (n < sizeof w)
			memset(w, 0, sizeof w);
		memcpy(w, p, n);
		for (int i = 0; i < 4; i++)
			h[i] = mix(h[i] + w[2 * i], w[2 * i + 1] + (uint64_t)i) + 0x2545f4914f6cdd1d;
		p = (const char *)p + n;
		bytes -= n;
	}
}

static void hash_state(uint64_t out[2])
{
	uint64_t h[4] = { 1, 2, 3, 4 };

	hash_more(h, &e->s, threads_bytes());
	for (uint32_t i = 0; i < e->n_lines; i++)
		hash_more(h, e->data + (size_t)e->line[i] * LINE, LINE);
	for (uint32_t i = 0; i < e->s.n_stacks; i++)
		hash_more(h, (void *)e->s.live[i], e->s.end[i] - e->s.live[i]);
	out[0] = mix(mix(h[0], h[1]), mix(h[2], h[3]));
	out[1] = mix(mix(h[3] + 7, h[0] + 11), mix(h[1] + 13, h[2] + 17));
}

/* Lines that differ from their first values and are not state yet become state. */
static bool new_lines(void)
{
	bool any = false;

	for (uint32_t i = 0; i < e->n_all_lines; i++) {
		if (e->tracked[i] || memcmp(e->data + (size_t)i * LINE, e->base + (size_t)i * LINE, LINE) == 0)
			continue;
		e->tracked[i] = 1;
		e->line[e->n_lines++] = i;
		any = true;
	}
	return any;
}

static void begin(void)
{
	memcpy(e->data, e->base, (size_t)e->n_all_lines * LINE);
	memset(e->stacks, 0, STACKS * STACK_BYTES);
	memset(&e->s, 0, sizeof e->s);
	e->failed = e->again = false;
	e->cur = -1;
	e->snapshots_used = 0;
	e->c->setup();
}

static struct seen *seen_at(const uint64_t hash[2])
{
	uint32_t i = (uint32_t)(hash[0] & (e->cap_seen - 1));

	while (e->seen[i].id && (e->seen[i].hash[0] != hash[0] || e->seen[i].hash[1] != hash[1]))
		i = (i + 1) & (e->cap_seen - 1);
	return &e->seen[i];
}

static void seen_grow(void)
{
	struct seen *old = e->seen;
	uint32_t n = e->cap_seen;

	e->cap_seen = n * 2;
	e->seen = must(calloc(e->cap_seen, sizeof *e->seen));
	for (uint32_t i = 0; i < n; i++)
		if (old[i].id)
			*seen_at(old[i].hash) = old[i];
	free(old);
}

/* The id of the state; *fresh: it is new. */
static uint32_t state_id(const uint64_t hash[2], bool *fresh)
{
	struct seen *at;

	if (e->n_states * 2 >= e->cap_seen)
		seen_grow();
	at = seen_at(hash);
	*fresh = !at->id;
	if (at->id)
		return at->id - 1;
	*at = (struct seen){ { hash[0], hash[1] }, e->n_states + 1 };
	return e->n_states++;
}

static void edge(uint32_t from, uint32_t to)
{
	if (e->n_edges == e->cap_edges) {
		e->cap_edges = e->cap_edges ? e->cap_edges * 2 : 1 << 16;
		e->edges = must(realloc(e->edges, e->cap_edges * sizeof *e->edges));
	}
	e->edges[e->n_edges][0] = from;
	e->edges[e->n_edges++][1] = to;
}

/* --- The search ------------------------------------------------------------------------------------------- */

static void push(uint32_t id, uint32_t last)
{
	struct frame *f;

	if (e->n_frames == e->cap_frames) {
		e->cap_frames = e->cap_frames ? e->cap_frames * 2 : 4096;
		e->frames = must(realloc(e->frames, e->cap_frames * sizeof *e->frames));
	}
	f = &e->frames[e->n_frames++];
	f->id = id;
	f->next = 0;
	f->n = (uint8_t)steps(f->step, last);
	f->snapshot = snapshot();
}

/* The steps from the beginning to state id, and one more. */
static void path_to(uint32_t id, int more)
{
	uint32_t n = 0;

	for (uint32_t i = id; i; i = e->parent[i])
		n++;
	e->n_path = n + (more >= 0);
	e->path = must(realloc(e->path, (e->n_path + 1) * sizeof *e->path));
	if (more >= 0)
		e->path[n] = (uint16_t)more;
	for (uint32_t i = id; i; i = e->parent[i])
		e->path[--n] = e->how[i];
}

/* Which states lead to an end?  False: one does not. */
static bool all_lead_to_an_end(void)
{
	bool more = true;

	/* Edges mostly lie in the order of the search, so few rounds from the back suffice. */
	while (more) {
		more = false;
		for (size_t i = e->n_edges; i-- > 0;) {
			if (!e->good[e->edges[i][0]] && e->good[e->edges[i][1]]) {
				e->good[e->edges[i][0]] = 1;
				more = true;
			}
		}
	}
	for (uint32_t i = 0; i < e->n_states; i++) {
		if (e->good[i])
			continue;
		snprintf(e->why, sizeof e->why, "from here on no end can be reached: threads go round");
		path_to(i, -1);
		return false;
	}
	return true;
}

static uint32_t enter_state(uint32_t from, uint16_t step, bool *fresh)
{
	uint64_t hash[2];
	uint32_t id;

	hash_state(hash);
	id = state_id(hash, fresh);
	if (*fresh) {
		e->parent[id] = from;
		e->how[id] = step;
		e->good[id] = 0;
	}
	if (id)
		edge(from, id);
	return id;
}

static enum result search_step(void)
{
	struct frame *f = &e->frames[e->n_frames - 1];
	uint32_t id, from = f->id;
	uint16_t step;
	bool fresh;

	if (f->next == f->n) {
		e->snapshots_used = f->snapshot;
		e->n_frames--;
		return FINE;
	}
	step = f->step[f->next++];
	restore(f->snapshot);
	make(step);
	if (e->again || ((e->failed || (e->n_steps & 63) == 0) && new_lines()))
		return AGAIN;
	if (!e->failed) {
		id = enter_state(from, step, &fresh);
		if (!fresh)
			return FINE;
		push(id, STEP_THREAD(step));
		if (e->frames[e->n_frames - 1].n)
			return e->n_states < STATES_MAX - 2 ? FINE : TOO_BIG;
		ask_end();
		if (new_lines()) /* what end() changes has to be put back */
			return AGAIN;
		e->good[id] = 1;
	}
	if (!e->failed)
		return FINE;
	path_to(from, step);
	return WRONG;
}

static enum result search(void)
{
	enum result r = FINE;
	bool fresh;

	begin();
	if (new_lines())
		return AGAIN;
	free(e->seen);
	e->cap_seen = 1 << 14;
	e->seen = must(calloc(e->cap_seen, sizeof *e->seen));
	e->n_states = 0;
	e->n_edges = 0;
	e->n_frames = 0;
	e->n_steps = 0;
	if (sigsetjmp(e->crash, 1)) {
		const struct frame *f = &e->frames[e->n_frames - 1];

		e->cur = -1;
		snprintf(e->why, sizeof e->why, "it crashes");
		path_to(f->id, f->step[f->next - 1]);
		return WRONG;
	}
	push(enter_state(0, 0, &fresh), 0);
	while (r == FINE && e->n_frames)
		r = search_step();
	if (r == FINE && !all_lead_to_an_end())
		r = WRONG;
	return r;
}

/* Random walks find nearly all that makes a search begin again. */
static void walks(void)
{
	for (uint32_t w = 0; w < WALKS; w++) {
		uint16_t step[STEPS_MAX];
		uint32_t n;

		if (sigsetjmp(e->crash, 1))
			continue;
		begin();
		(void)new_lines();
		for (uint32_t i = 0; i < WALK_STEPS && !e->again && !e->failed; i++) {
			n = steps(step, 0);
			if (n == 0) {
				ask_end();
				break;
			}
			e->rng = e->rng * 6364136223846793005u + 1442695040888963407u;
			make(step[(e->rng >> 33) % n]);
			(void)new_lines();
		}
		(void)new_lines();
	}
}

static void show(void)
{
	begin();
	if (sigsetjmp(e->crash, 1)) {
		printf("  => it crashes\n");
		e->tracing = false;
		e->cur = -1;
		return;
	}
	e->tracing = true;
	printf("  |");
	for (uint32_t i = 0; i < e->s.n; i++)
		printf(" %-*.*s|", column(), column(), e->names[i]);
	putchar('\n');
	for (uint32_t i = 0; i < e->n_path; i++)
		make(e->path[i]);
	e->tracing = false;
	printf("  => %s\n", e->why);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void on_crash(int sig)
{
	(void)sig;
	siglongjmp(e->crash, 1);
}

/* True: as it should be. */
static bool run_case(const struct mc_case *c, bool planted)
{
	double t0 = now();
	enum result r;

	e->c = c;
	e->heavy_used = false;
	e->n_lines = 0;
	e->restarts = 0;
	e->rng = 1;
	memset(e->tracked, 0, e->n_all_lines);
	memset(e->used, 0, (size_t)e->n_all_lines * (LINE / 8) + STACKS * STACK_BYTES / 8);
	walks();
	do
		r = search();
	while (r == AGAIN && ++e->restarts < 10000);
	printf("%-4s  %-52s %8u states %9llu steps %5.1f s\n",
	       r == TOO_BIG ? "BIG"
	       : r == FINE  ? (planted ? "none" : "ok")
			    : (planted ? "found" : "FAIL"),
	       c->name, e->n_states, (unsigned long long)e->n_steps, now() - t0);
	if (r == WRONG)
		show();
	fflush(stdout);
	return r == FINE;
}

static void start(void)
{
	stack_t ss = { .ss_sp = map(64 << 10), .ss_size = 64 << 10 };
	struct sigaction sa = { .sa_handler = on_crash, .sa_flags = SA_ONSTACK | SA_NODEFER };

	e = map(sizeof *e);
	setvbuf(stdout, map(1 << 16), _IOFBF, 1 << 16);
	e->data = (char *)((uintptr_t)__data_start & ~(uintptr_t)(LINE - 1));
	e->n_all_lines = (uint32_t)(((uintptr_t)_end - (uintptr_t)e->data + LINE - 1) / LINE);
	e->data_end = e->data + (size_t)e->n_all_lines * LINE;
	e->base = map((size_t)e->n_all_lines * LINE);
	e->tracked = map(e->n_all_lines);
	e->line = map(e->n_all_lines * sizeof *e->line);
	e->stacks = must(mmap((void *)STACKS_AT, STACKS * STACK_BYTES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	e->used = map((size_t)e->n_all_lines * (LINE / 8) + STACKS * STACK_BYTES / 8);
	e->snapshots_cap = (size_t)4 << 30;
	e->snapshots = map(e->snapshots_cap);
	e->parent = map((size_t)STATES_MAX * sizeof *e->parent);
	e->how = map((size_t)STATES_MAX * sizeof *e->how);
	e->good = map(STATES_MAX);
	sigaltstack(&ss, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
	sigaction(SIGFPE, &sa, NULL);
	memcpy(e->base, e->data, (size_t)e->n_all_lines * LINE);
}

/* All cases, or those given; -p: something is planted in the code, and the search is over once it is found. */
int main(int argc, char **argv)
{
	bool planted = argc > 1 && strcmp(argv[1], "-p") == 0, found = false;

	start();
	for (const struct mc_case *c = mc_cases; c->name; c++) {
		bool wanted = argc == 1 + planted;

		for (int i = 1 + planted; i < argc; i++)
			wanted |= strcmp(argv[i], c->name) == 0;
		if (wanted && !run_case(c, planted)) {
			found = true;
			if (planted)
				break;
		}
	}
	return found != planted;
}
