/* mc_state.c - which steps can come next, making one, saving and comparing states. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mc_int.h"

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
	case RMW:
	case FENCE:
	case FUTEX_WAIT:
		return t->n_buffer == 0;
	case HEAVY:
		return t->heavy == 0;
	case CHOOSE:
		return t->choices;
	case WAIT_EQ:
		return t->n_buffer == 0 && mc_load((void *)t->addr, 4) == t->value;
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

/* May thread i make its step now?  Moving a store to memory changes nothing for a step that does not look
 * there, so it can as well come later: it is only done right before a step that it matters to. */
static bool pays(uint32_t i)
{
	const struct thread *t = &e->s.t[i];

	for (uint32_t k = 0; k < e->s.n; k++) {
		if (!e->s.t[k].owed)
			continue;
		if (t->kind == HEAVY)
			continue;
		if (k == i ? t->kind == START || t->kind == LD || t->kind == CHOOSE || t->kind == ASLEEP
			   : t->addr != e->s.t[k].owed)
			return false;
	}
	return true;
}

/* Does any step that could come next look at what thread i has in its buffer? */
static bool worth_moving(uint32_t i)
{
	const struct thread *t = &e->s.t[i];

	bool others_can = false;

	if (t->kind != LD && t->kind != START && t->kind != CHOOSE && t->kind != DONE)
		return true;
	for (uint32_t k = 0; k < e->s.n; k++) {
		const struct thread *u = &e->s.t[k];

		if (k == i)
			continue;
		others_can |= ways(k) != 0 || (u->n_buffer && u->kind != DONE);
		if (u->kind == HEAVY && u->heavy >> i & 1)
			return true;
		for (uint32_t j = 0; j < t->n_buffer; j++) {
			if (u->addr == t->buffer[j].addr)
				return true;
			for (uint32_t l = 0; l < u->n_buffer; l++)
				if (u->buffer[l].addr == t->buffer[j].addr)
					return true;
		}
	}
	return t->kind == DONE && !others_can;
}

/* Must thread i wait for another one?  (For its own stores it need not.) */
static bool blocked(uint32_t i)
{
	const struct thread *t = &e->s.t[i];

	return t->kind == DONE || t->kind == HEAVY || (t->kind == ASLEEP && !t->woken) ||
	       (t->kind == WAIT_EQ && mc_load((void *)t->addr, 4) != t->value);
}

/* May thread i go on, as far as the bound on preemptions says? */
static bool may_come(uint32_t i)
{
	const struct thread *last = &e->s.t[e->s.last];

	return !e->c->preemptions || e->s.left || i == e->s.last || last->paused || blocked(e->s.last);
}

/* All steps from here; the last one's thread first. */
uint32_t mc_steps(uint16_t *out)
{
	uint32_t n = 0, last = e->s.last;

	for (uint32_t k = 0; k < e->s.n; k++) {
		uint32_t i = (last + k) % e->s.n, w = pays(i) && may_come(i) ? ways(i) : 0;

		for (uint32_t a = 0; a < w && n < STEPS_MAX; a++)
			out[n++] = STEP(i, 0, a);
	}
	for (uint32_t k = 0; k < e->s.n; k++) {
		uint32_t i = (last + k) % e->s.n;

		if (e->s.t[i].n_buffer && worth_moving(i) && n < STEPS_MAX)
			out[n++] = STEP(i, 1, 0);
	}
	return n;
}

static void flush(uint32_t i)
{
	struct thread *t = &e->s.t[i];
	uintptr_t at = t->buffer[0].addr;

	memcpy((void *)at, &t->buffer[0].value, t->buffer[0].size);
	if (e->tracing)
		mc_trace((int)i, "   -> memory: %s", mc_bare(t->buffer[0].text));
	t->n_buffer--;
	memmove(t->buffer, t->buffer + 1, t->n_buffer * sizeof t->buffer[0]);
	memset(&t->buffer[t->n_buffer], 0, sizeof t->buffer[0]);
	t->n_old -= t->n_old != 0;
	t->owed = at;
	for (uint32_t k = 0; k < e->s.n; k++)
		if (k != i && e->s.t[k].owed == at)
			e->s.t[k].owed = 0; /* which of the two comes last matters */
	if (t->n_old == 0)
		for (uint32_t k = 0; k < e->s.n; k++)
			e->s.t[k].heavy &= ~(1u << i);
}

static void count_preemption(uint32_t next)
{
	const struct thread *last = &e->s.t[e->s.last];

	if (!e->c->preemptions)
		return;
	if (next != e->s.last && !last->paused && !blocked(e->s.last))
		e->s.left--;
	e->s.last = next;
	e->s.t[next].paused = 0;
}

void mc_make(uint16_t step)
{
	e->n_steps++;
	if (STEP_FLUSH(step)) {
		flush(STEP_THREAD(step));
	} else {
		for (uint32_t i = 0; i < e->s.n; i++)
			e->s.t[i].owed = 0;
		count_preemption(STEP_THREAD(step));
		e->s.t[STEP_THREAD(step)].n_old = e->s.t[STEP_THREAD(step)].n_buffer;
		e->alt = STEP_ALT(step);
		mc_resume(STEP_THREAD(step));
	}
}

/* Nothing can happen any more: is that an end? */
void mc_ask_end(void)
{
	for (uint32_t i = 0; i < e->s.n && !e->failed; i++)
		if (e->s.t[i].kind != DONE && !e->daemons[i])
			mc_fail("%s waits for ever (%s)", e->names[i], e->s.t[i].text);
	if (!e->failed && e->c->end)
		e->c->end();
}

/* A store was just moved, and the step that it is for has not come: part of a step rather than a state. */
bool mc_owes(void)
{
	for (uint32_t i = 0; i < e->s.n; i++)
		if (e->s.t[i].owed)
			return true;
	return false;
}

bool mc_nothing_can_happen(void)
{
	for (uint32_t i = 0; i < e->s.n; i++)
		if (e->s.t[i].n_buffer || ways(i))
			return false;
	return true;
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

size_t mc_snapshot(void)
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

void mc_restore(size_t at)
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

void mc_hash_state(uint64_t out[2])
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
bool mc_new_lines(void)
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

void mc_begin(void)
{
	memcpy(e->data, e->base, (size_t)e->n_all_lines * LINE);
	memset(e->stacks, 0, STACKS * STACK_BYTES);
	memset(&e->s, 0, sizeof e->s);
	e->failed = e->again = false;
	e->cur = -1;
	e->snapshots_used = 0;
	e->n_hints = 0;
	e->s.left = (uint32_t)e->c->preemptions;
	e->c->setup();
}
