/* mc_search.c - the search, the report, main().
 *
 * Depth first.  A snapshot is kept of each state on the path, a 128-bit hash of each state that was seen, and
 * every edge, so that afterwards each state can be asked for a way to an end.  The thread that ran last goes
 * on first, so the interleavings that are printed have few changes of thread. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "mc_int.h"

extern char __data_start[], _end[];

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
	e->seen = mc_must(calloc(e->cap_seen, sizeof *e->seen));
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
		e->edges = mc_must(realloc(e->edges, e->cap_edges * sizeof *e->edges));
	}
	e->edges[e->n_edges][0] = from;
	e->edges[e->n_edges++][1] = to;
}

/* --- The search ------------------------------------------------------------------------------------------- */

static void push(uint32_t id)
{
	struct frame *f;

	if (e->n_frames == e->cap_frames) {
		e->cap_frames = e->cap_frames ? e->cap_frames * 2 : 4096;
		e->frames = mc_must(realloc(e->frames, e->cap_frames * sizeof *e->frames));
	}
	f = &e->frames[e->n_frames++];
	f->id = id;
	f->next = 0;
	f->n = (uint8_t)mc_steps(f->step);
	f->snapshot = mc_snapshot();
}

/* The steps from the beginning to state id, and one more. */
static void path_to(uint32_t id, int more)
{
	uint32_t n = 0;

	for (uint32_t i = id; i; i = e->parent[i])
		n++;
	e->n_path = n + (more >= 0);
	e->path = mc_must(realloc(e->path, (e->n_path + 1) * sizeof *e->path));
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
			if (!(e->good[e->edges[i][0]] & GOOD) && e->good[e->edges[i][1]] & GOOD) {
				e->good[e->edges[i][0]] |= GOOD;
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

	mc_hash_state(hash);
	id = state_id(hash, fresh);
	if (*fresh) {
		e->parent[id] = from;
		e->how[id] = step;
		e->good[id] = mc_owes() ? OWES : 0;
	}
	if (id)
		edge(from, id);
	return id;
}

/* A line that had its first value again at each look was no state, and was not put back with one: such a failure
 * may come from a mixture of two paths.  Played from the beginning, do more lines change?  Then search again. */
static bool more_lines_on_path(void)
{
	char why[sizeof e->why];

	memcpy(why, e->why, sizeof why);
	mc_begin();
	for (uint32_t i = 0; i < e->n_path && !e->failed; i++) {
		mc_make(e->path[i]);
		if (mc_new_lines())
			return true;
	}
	memcpy(e->why, why, sizeof why);
	return false;
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
	mc_restore(f->snapshot);
	mc_make(step);
	if (e->again || ((e->failed || (e->n_steps & 63) == 0) && mc_new_lines()))
		return AGAIN;
	if (!e->failed) {
		id = enter_state(from, step, &fresh);
		if (!fresh)
			return FINE;
		push(id);
		if (e->frames[e->n_frames - 1].n || !mc_nothing_can_happen())
			return e->n_states < STATES_MAX - 2 ? FINE : TOO_BIG;
		mc_ask_end();
		if (mc_new_lines()) /* what end() changes has to be put back */
			return AGAIN;
		e->good[id] |= GOOD;
	}
	if (!e->failed)
		return FINE;
	path_to(from, step);
	return more_lines_on_path() ? AGAIN : WRONG;
}

static enum result search(void)
{
	enum result r = FINE;
	bool fresh;

	mc_begin();
	if (mc_new_lines())
		return AGAIN;
	free(e->seen);
	e->cap_seen = 1 << 14;
	e->seen = mc_must(calloc(e->cap_seen, sizeof *e->seen));
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
	push(enter_state(0, 0, &fresh));
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
		mc_begin();
		(void)mc_new_lines();
		for (uint32_t i = 0; i < WALK_STEPS && !e->again && !e->failed; i++) {
			n = mc_steps(step);
			if (n == 0) {
				if (mc_nothing_can_happen())
					mc_ask_end();
				break;
			}
			e->rng = e->rng * 6364136223846793005u + 1442695040888963407u;
			mc_make(step[(e->rng >> 33) % n]);
			(void)mc_new_lines();
		}
		(void)mc_new_lines();
	}
}

static void show(void)
{
	mc_begin();
	if (sigsetjmp(e->crash, 1)) {
		printf("  => it crashes\n");
		e->tracing = false;
		e->cur = -1;
		return;
	}
	e->tracing = true;
	printf("  |");
	for (uint32_t i = 0; i < e->s.n; i++)
		printf(" %-*.*s|", mc_column(), mc_column(), e->names[i]);
	putchar('\n');
	for (uint32_t i = 0; i < e->n_path; i++)
		mc_make(e->path[i]);
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
	char bound[40] = "";
	enum result r;

	e->c = c;
	e->n_lines = 0;
	e->restarts = 0;
	e->rng = 1;
	memset(e->tracked, 0, e->n_all_lines);
	memset(e->used, 0, (size_t)e->n_all_lines * (LINE / 8) + STACKS * STACK_BYTES / 8);
	walks();
	do
		r = search();
	while (r == AGAIN && ++e->restarts < 10000);
	if (c->preemptions)
		snprintf(bound, sizeof bound, "  at most %d preemptions", c->preemptions);
	printf("%-5s %-52s %8u states %9llu steps %5.1f s%s\n",
	       r == TOO_BIG ? "BIG"
	       : r == FINE  ? (planted ? "none" : "ok")
			    : (planted ? "found" : "FAIL"),
	       c->name, e->n_states, (unsigned long long)e->n_steps, now() - t0, bound);
	if (r == TOO_BIG) {
		path_to(e->frames[e->n_frames - 1].id, -1);
		snprintf(e->why, sizeof e->why, "%u steps deep", e->n_path);
	}
	if (r == WRONG || r == TOO_BIG)
		show();
	fflush(stdout);
	return r == FINE;
}

static void start(void)
{
	stack_t ss = { .ss_sp = mc_map(64 << 10), .ss_size = 64 << 10 };
	struct sigaction sa = { .sa_handler = on_crash, .sa_flags = SA_ONSTACK | SA_NODEFER };

	e = mc_map(sizeof *e);
	setvbuf(stdout, mc_map(1 << 16), _IOFBF, 1 << 16);
	e->data = (char *)((uintptr_t)__data_start & ~(uintptr_t)(LINE - 1));
	e->n_all_lines = (uint32_t)(((uintptr_t)_end - (uintptr_t)e->data + LINE - 1) / LINE);
	e->data_end = e->data + (size_t)e->n_all_lines * LINE;
	e->base = mc_map((size_t)e->n_all_lines * LINE);
	e->tracked = mc_map(e->n_all_lines);
	e->line = mc_map(e->n_all_lines * sizeof *e->line);
	e->stacks = mc_must(mmap((void *)STACKS_AT, STACKS * STACK_BYTES, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	e->used = mc_map((size_t)e->n_all_lines * (LINE / 8) + STACKS * STACK_BYTES / 8);
	e->snapshots_cap = (size_t)4 << 30;
	e->snapshots = mc_map(e->snapshots_cap);
	e->parent = mc_map((size_t)STATES_MAX * sizeof *e->parent);
	e->how = mc_map((size_t)STATES_MAX * sizeof *e->how);
	e->good = mc_map(STATES_MAX);
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
