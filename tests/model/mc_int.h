/* mc_int.h - what the files of the checker share.
 *
 *   mc.c         coroutines, and what threads of a model call
 *   mc_state.c   which steps can come next, making one, saving and comparing states
 *   mc_search.c  the search, the report, main()
 *
 * State of a model: what setup() and the threads changed in .data and .bss, the live parts of all stacks,
 * and struct threads below.  Which 64-byte lines of .data and .bss that are is found out: all the others are
 * compared with their first values now and then, and a line that differs is added, and the search starts
 * over.  The checker's own variables lie in memory from mmap, behind `e`. */
#ifndef WEFT_MC_INT_H
#define WEFT_MC_INT_H

#include <setjmp.h>

#include "mc.h"

#define STACKS 16
#define STACK_BYTES (32u << 10)  /* far more than any model needs */
#define STACKS_AT 0x200000000000 /* the same addresses in every run */
#define BELOW 2048u              /* of a stack, cleared whenever its thread goes on: leftovers are no state */
#define BUFFER 16
#define LINE 64u
#define WALKS 300
#define WALK_STEPS 4000
#define QUIET_MAX 1000000 /* operations of one step that no other thread can see */
#define STATES_MAX (1u << 20)

enum kind { START, LD, RMW, FENCE, HEAVY, CHOOSE, WAIT_EQ, FUTEX_WAIT, FUTEX_WAKE, ASLEEP, DONE };

struct store {
	uintptr_t addr;
	uint64_t value;
	const char *text;
	uint64_t size;
};

struct thread {
	uintptr_t sp;
	uint32_t stack; /* it is on */
	uint8_t kind, n_buffer, timed, woken, paused;
	uint32_t choices;
	uint32_t heavy; /* threads whose older stores must still reach memory */
	uint32_t n_old; /* stores in the buffer from before the last step */
	uintptr_t owed; /* to where a store was moved since the last step of any thread; 0: none */
	uintptr_t addr;
	uint64_t value;
	const char *text;
	struct store buffer[BUFFER];
};

/* Part of the state.  Small, so that it is cheap to copy. */
struct threads {
	uint32_t n, n_stacks, last, left; /* who made the last step; preemptions that may still come */
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
#define HINTS 64

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

/* Of a state: it is an end or leads to one; owes(). */
#define GOOD 1
#define OWES 2

struct engine {
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
	bool again, failed, tracing;
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
	uint8_t *good;
	uint32_t (*edges)[2];
	size_t n_edges, cap_edges;
	uint32_t restarts;
	uint64_t n_steps;
	uint16_t *path; /* of the failure */
	uint32_t n_path;
	uint64_t rng;
	uintptr_t hint[HINTS][2];
	uint32_t n_hints;
};
extern struct engine *e;

/* mc.c */
void *mc_must(void *p);
void *mc_map(size_t bytes);
void mc_resume(uint32_t thread); /* let it make its next step */
uint64_t mc_load(const volatile void *p, unsigned size);
int mc_column(void);
void mc_trace(int thread, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *mc_bare(const char *text);

/* mc_state.c */
uint32_t mc_steps(uint16_t *out); /* all from here; the last one's thread first */
void mc_make(uint16_t step);
bool mc_nothing_can_happen(void);
void mc_ask_end(void);
bool mc_owes(void);
size_t mc_snapshot(void);
void mc_restore(size_t at);
void mc_hash_state(uint64_t out[2]);
bool mc_new_lines(void);
void mc_begin(void);

#endif
