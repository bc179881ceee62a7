/* mc.c - coroutines, and what threads of a model call. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "mc_int.h"

struct engine *e;
void (*mc_resumed)(int thread);

void *mc_must(void *p)
{
	if (!p || p == MAP_FAILED) {
		fprintf(stderr, "no memory\n");
		exit(2);
	}
	return p;
}

void *mc_map(size_t bytes)
{
	return mc_must(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
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

void mc_resume(uint32_t thread)
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
	for (uint32_t i = 0; i < e->s.n; i++)
		if ((int)i != e->cur && e->s.t[i].stack == t->stack)
			mc_fail("%s still stands on the stack that %s switches to", e->names[i], e->names[e->cur]);
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

/* Values that nobody decides anything by. */
void mc_hint(const volatile void *p, size_t bytes)
{
	e->hint[e->n_hints][0] = (uintptr_t)p;
	e->hint[e->n_hints++][1] = (uintptr_t)p + bytes;
	if (e->n_hints == HINTS)
		mc_fail("more than %d hints", HINTS);
}

static bool is_hint(const volatile void *p)
{
	for (uint32_t i = 0; i < e->n_hints; i++)
		if ((uintptr_t)p >= e->hint[i][0] && (uintptr_t)p < e->hint[i][1])
			return true;
	return false;
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
		if (is_hint(p)) {
			*u = was;
			return false;
		}
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

uint64_t mc_load(const volatile void *p, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, (const void *)p, size);
	return v;
}

int mc_column(void)
{
	return (int)(114 / e->s.n) - 2;
}

void mc_trace(int thread, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	printf("  |");
	for (uint32_t i = 0; i < e->s.n; i++)
		printf(" %-*.*s|", mc_column(), mc_column(), (int)i == thread ? text : "");
	putchar('\n');
}

const char *mc_bare(const char *text)
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
		return mc_load(p, size);
	if (!visible(p, false)) {
		v = mc_load(p, size);
		return v;
	}
	t = wait_for(LD, p, text);
	v = mc_load(p, size);
	for (int i = t->n_buffer; i-- > 0;) {
		if (t->buffer[i].addr == (uintptr_t)p) {
			v = t->buffer[i].value;
			break;
		}
	}
	if (e->tracing)
		mc_trace(e->cur, "%s is %s", mc_bare(text), shown(v));
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
	if (t->n_buffer == BUFFER)
		mc_fail("more than %d stores in a row", BUFFER);
	t->buffer[t->n_buffer++] = (struct store){ (uintptr_t)p, v, text, size };
	if (e->tracing)
		mc_trace(e->cur, "%s = %s, buffered", mc_bare(text), shown(v));
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
		mc_trace(e->cur, "%s %s %s", mc_bare(e->s.t[e->cur].text), written ? ":=" : "CAS fails, is",
			 shown(mc_load(p, size)));
}

void mc_fence(void)
{
	if (e->cur >= 0 && e->s.t[e->cur].n_buffer) {
		(void)wait_for(FENCE, NULL, "fence");
		if (e->tracing)
			mc_trace(e->cur, "fence");
	}
}

void mc_heavy(void)
{
	struct thread *t;
	uint32_t mask = 0;

	if (e->cur < 0)
		return;
	mc_fence();
	t = &e->s.t[e->cur];
	for (uint32_t i = 0; i < e->s.n; i++)
		if ((int)i != e->cur && e->s.t[i].n_old)
			mask |= 1u << i;
	t->heavy = mask;
	if (mask)
		(void)wait_for(HEAVY, NULL, "heavy barrier");
	if (e->tracing)
		mc_trace(e->cur, "heavy barrier");
}

void mc_pause(void)
{
	if (e->cur >= 0)
		e->s.t[e->cur].paused = e->c->preemptions != 0;
}

unsigned mc_choose(unsigned n)
{
	if (e->cur < 0)
		return 0;
	e->s.t[e->cur].choices = n;
	wait_for(CHOOSE, NULL, "choose")->choices = 0;
	if (e->tracing)
		mc_trace(e->cur, "chooses %u", e->alt);
	return e->alt;
}

void mc_wait_eq(_Atomic uint32_t *word, uint32_t v)
{
	if (!visible(word, false) && mc_load(word, 4) == v)
		return;
	e->s.t[e->cur].value = v;
	wait_for(WAIT_EQ, word, "wait")->value = 0;
	if (e->tracing)
		mc_trace(e->cur, "has seen the word become %u", v);
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
				mc_trace(e->cur, "futex wake: %s", e->names[i]);
			return 1;
		}
		if (e->tracing)
			mc_trace(e->cur, "futex wake: nobody");
		return 0;
	}
	(void)wait_for(FUTEX_WAIT, word, "futex wait");
	if (mc_load(word, 4) != arg) {
		if (e->tracing)
			mc_trace(e->cur, "futex wait: has changed");
		return -11;
	}
	if (e->tracing)
		mc_trace(e->cur, "futex wait: sleeps");
	t = &e->s.t[e->cur];
	t->woken = 0;
	t->timed = timed;
	t = wait_for(ASLEEP, word, "asleep");
	woken = t->woken;
	t->woken = t->timed = 0;
	if (e->tracing)
		mc_trace(e->cur, woken ? "woken" : "time is up");
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
	mc_trace(e->cur, "* %s", text);
}
