/* rt.h - the runtime's own view of itself.
 *
 *   G  a goroutine: record and stack share a slot of an arena        g.c stack.c
 *   M  an OS thread that runs goroutines while it holds a P          m.c
 *   P  the right to run: run queues, timers, caches, counters        p.c
 *
 * Gs, Ms and Ps are never freed, only reused; goroutine ids never are.  So any thread may read a
 * stale pointer and find out from the id that it is stale.
 *
 * Who may touch what
 *   struct p, unless a field says otherwise: the M that owns it, between rt_enter() and rt_leave()
 *   (or in its scheduler), or sysmon while it has revoked it (revoke.c).
 *   struct m, likewise: its own thread.
 *   struct g: see its groups of fields.
 *
 * Which stack code runs on: a goroutine that parks picks its successor itself and switches straight
 * to it; only when the P has nothing to run does it switch to the M's own stack, where sched_loop()
 * looks further.  Whoever arrives from a switch first calls rt_arrive(), which finishes what the one
 * who left could not do while still standing on its own stack (publish it as waiting, drop the lock,
 * put it on a queue, free it).
 *
 * The M changes over every switch.  Functions that may switch take and return it (struct m **), and
 * nobody keeps the address of a thread-local across one. */
#ifndef WEFT_RT_H
#define WEFT_RT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "atomic.h"
#include "park.h"
#include "rec.h"
#include <weft.h>

#include "weft_host.h"
#include "weft_read.h"

#undef errno /* the runtime does not use it; results are -Exxx from sys.h */

struct g;
struct m;
struct p;

#define RT_PAGE 4096
#define RT_LINE 64
#define RT_SPAN_SHIFT 30 /* arenas are 1 GiB, aligned */
#ifdef RT_TSAN
#define RT_SLOT_SHIFT 18
#elif defined(RT_ASAN)
#define RT_SLOT_SHIFT 18
#else
#define RT_SLOT_SHIFT 16
#endif
#define RT_SLOT (1u << RT_SLOT_SHIFT)
#define RT_SLOTS_PER_ARENA (1u << (RT_SPAN_SHIFT - RT_SLOT_SHIFT))
#define RT_ARENAS_MAX 1024
#define RT_RUNQ 256
#define RT_MS_MAX 10000
#define RT_FREE_MAX 64
#define RT_STACK_CACHE 64

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define RT_CACHED __attribute__((aligned(RT_LINE)))
#define RT_NOINLINE __attribute__((noinline))
#define RT_COLD __attribute__((noinline, cold))
#define RT_NOSAN __attribute__((no_sanitize("address", "thread", "undefined")))

#if RT_CHECKS
#define RT_ASSERT(c) ((c) ? (void)0 : rt_fatal("assertion failed: " #c " (%s:%d)", __FILE__, __LINE__))
#else
#define RT_ASSERT(c) ((void)0)
#endif

/* --- locks (lock.c): block the M, never park a G --- */

/* Lock order: a thread may take a lock only if every lock it holds stands above it here.  Two of one
 * rank are taken in address order.  Checked where RT_CHECKS. */
#define RT_LOCK_RANKS(X)                                                                                               \
	X(INST, "the table of instances")                                                                              \
	X(CHAN, "one channel")                                                                                         \
	X(SEMA, "one bucket of the wait table")                                                                        \
	X(TIMERS, "one P's timer heap")                                                                                \
	X(SCHED, "global run queue, idle Ps and Ms")                                                                   \
	X(ARENA, "free bitmaps of the stack arenas")                                                                   \
	X(LABEL, "the slab of label sets")                                                                             \
	X(CHUNK, "the recorder's chunk pool")                                                                          \
	X(LEAF, "nothing is taken under it")

enum rt_rank {
#define X(name, what) RT_RANK_##name,
	RT_LOCK_RANKS(X)
#undef X
		RT_RANK_N
};

struct rt_lock {
	_Atomic uint32_t word; /* 0 free, 1 held */
#if RT_CHECKS
	enum rt_rank rank; /* by rt_lock_init(), or zero-initialised statics set it */
#endif
};
#if RT_CHECKS
#define RT_LOCK_INIT(r)                                                                                                \
	{                                                                                                              \
		.rank = RT_RANK_##r                                                                                    \
	}
#else
#define RT_LOCK_INIT(r)                                                                                                \
	{                                                                                                              \
		0                                                                                                      \
	}
#endif
void rt_lock_slow(struct rt_lock *l);
void rt_lock_wake(struct rt_lock *l);
#if RT_CHECKS
void rt_rank_take(struct rt_lock *l);
void rt_rank_drop(struct rt_lock *l);
#else
#define rt_rank_take(l) ((void)0)
#define rt_rank_drop(l) ((void)0)
#endif

static inline void rt_lock_init(struct rt_lock *l, enum rt_rank rank)
{
	*l = (struct rt_lock){ 0 };
#if RT_CHECKS
	l->rank = rank;
#else
	(void)rank;
#endif
}
static inline void rt_lock(struct rt_lock *l)
{
	uint32_t free = 0;

	rt_rank_take(l);
	if (unlikely(!atomic_compare_exchange_strong_explicit(&l->word, &free, 1, memory_order_acquire,
							      memory_order_relaxed)))
		rt_lock_slow(l);
}
static inline bool rt_trylock(struct rt_lock *l)
{
	uint32_t free = 0;

	if (!atomic_compare_exchange_strong_explicit(&l->word, &free, 1, memory_order_acquire, memory_order_relaxed))
		return false;
	rt_rank_take(l);
	return true;
}
/* How many threads sleep on a lock, by its address: not in the lock, whose memory may be gone as soon as
 * the next owner had it. */
extern _Atomic uint32_t rt_lock_sleepers[256];
static inline _Atomic uint32_t *rt_sleepers_of(const struct rt_lock *l)
{
	return &rt_lock_sleepers[((uintptr_t)l * 0x9e3779b97f4a7c15ull) >> 56];
}
/* The sleeper's heavy barrier in rt_lock_slow() pairs with the light one here: either we see it, or
 * it sees the lock free.  After the store the lock is only an address. */
static inline void rt_unlock(struct rt_lock *l)
{
	rt_rank_drop(l);
	st_rel(&l->word, 0);
	rt_light();
	if (unlikely(ld(rt_sleepers_of(l))))
		rt_lock_wake(l);
}

/* One thread waits, others wake it; a wake-up before the wait is kept. */
struct rt_note {
	_Atomic uint32_t word;
};
void rt_note_wake(struct rt_note *n);
/* Until woken or until monotonic instant `until` (INT64_MAX: for ever).  True: woken. */
bool rt_note_wait(struct rt_note *n, int64_t until);

/* --- G --- */

/* Status and, above it, the wait reason: one word, g->status. */
#define RT_G_DEAD 0u     /* no goroutine (a wiped slot reads so) */
#define RT_G_RUNNABLE 1u /* on a queue, or about to be */
#define RT_G_RUNNING 2u
#define RT_G_WAITING 3u
#define RT_G_DETACHED 4u /* running plugin code; its P was taken */
#define RT_G_STATUS(word) ((word)&0xffu)
#define RT_G_REASON(word) ((word) >> 8)

struct g {
	/* Park part: valid for readers while seq is even (protocol: g.c).  The M that switches away
	 * from the goroutine writes it. */
	_Atomic uintptr_t sp;
	_Atomic uint32_t seq;
	_Atomic uint32_t status;
	_Atomic uint64_t since_tsc; /* when the status began, rt_tsc() scale; coarse */

	/* The wait word: {number, open:1}.  The goroutine opens it before it parks; who changes open
	 * to closed by CAS has won the wait, may write the outcome, and must make it runnable. */
	_Atomic uint64_t wait;
	int outcome;     /* of the wait, by the winner: 0, or -ECANCELED */
	int saved_errno; /* goroutine-local errno while not running */
	struct g *next;  /* link of whatever list it is on */
	void *elem_done; /* channel hand-over: what the winner left, see chan.c */

	/* Identity: written before id is published (release), constant for that life. */
	_Atomic uint64_t id; /* 0: nobody */
	_Atomic uint64_t parent;
	_Atomic(weft_fn) fn;
	void *arg;
	weft_wg *wg;              /* weft_wg_go(): to be told at the end, or NULL */
	const char *_Atomic name; /* from weft_go_opts, or NULL */
	struct weft_inst *_Atomic inst;
	_Atomic uint32_t created; /* stack of the go statement */
	uint32_t slot;            /* arena * RT_SLOTS_PER_ARENA + index; constant */

	/* Own goroutine; labels is also read by samplers on the same thread and by snapshots */
	_Atomic uint64_t labels;    /* label set {slot, generation}; 0: none (label.c) */
	_Atomic uint32_t trace_seq; /* of its recorder records */
	_Atomic int tid;            /* thread it runs on, while RUNNING or DETACHED */
	struct m *_Atomic m;        /* likewise */
	uint8_t unguarded;          /* only a canary below its stack */
	uint8_t uncreated;          /* its GO_CREATE record is still to be written, by who starts it */
	uint8_t foreign;            /* a thread that is no M: woken through `note` */
	struct rt_note note;
	struct label_frame *label_stack; /* label.c */
	void *fiber;                     /* sanitizers' idea of this stack */
	void *fake_stack;
};

/* Slots.  G lies at the top of its slot, the stack right below it; both are shifted down by a colour
 * so that the hot lines of neighbours do not meet in one cache set. */
#define RT_COLOURS 8u
#define RT_COLOUR_STEP 128u
#define RT_G_SIZE 256u
_Static_assert(sizeof(struct g) <= RT_G_SIZE, "G shares its first page with the stack");
static inline uint32_t rt_colour(uint32_t slot)
{
	return (slot % RT_COLOURS) * RT_COLOUR_STEP;
}
static inline uintptr_t rt_slot_base(const struct g *g)
{
	return (uintptr_t)g & ~(uintptr_t)(RT_SLOT - 1);
}
static inline uintptr_t rt_stack_lo(const struct g *g) /* above the guard */
{
	return rt_slot_base(g) + RT_PAGE;
}
static inline uintptr_t rt_stack_hi(const struct g *g)
{
	return (uintptr_t)g;
}

/* --- M --- */

enum rt_own {
	RT_NO_P,
	RT_OWNED,
	RT_REVOKING, /* sysmon looks whether it may */
};

/* What rt_arrive() does with the goroutine that was left. */
enum rt_after {
	RT_AFTER_NOTHING, /* it was the scheduler */
	RT_AFTER_PARK,    /* waiting; drop the lock */
	RT_AFTER_SLEEP,   /* waiting; arm a timer */
	RT_AFTER_YIELD,   /* to the tail of the run queue */
	RT_AFTER_GLOBAL,  /* to the global queue (it lost its P, or its slice is over) */
	RT_AFTER_EXIT,    /* dead */
};

struct rt_chunk;

struct m {
	/* Ownership of the P (revoke.c): own is changed by its thread and, by CAS, by whoever
	 * revokes; in_rt is written by its own thread only. */
	_Atomic uint32_t own;   /* enum rt_own */
	_Atomic uint32_t in_rt; /* between rt_enter() and rt_leave(), or scheduling */

	/* Own thread; others read p, cur and tid as hints */
	struct p *_Atomic p;
	struct g *_Atomic cur; /* running here, or &g0 */
	_Atomic int tid;       /* 0: no thread */
	int *errno_at;         /* this thread's errno */
	uint64_t tsc;          /* at the last record or check: at most one clock read a step */

	/* From the one who switches away to rt_arrive() */
	struct g *left;
	enum rt_after after;
	enum rt_wait after_reason;
	struct rt_lock *after_lock;
	int64_t after_when;
	uint64_t after_number; /* of the wait word */

	/* Recorder: the chunk being filled (ring.c), a cache in front of the stack table */
	struct rt_rec *rec_at, *rec_end;
	struct rt_chunk *chunk;
	uint64_t rec_index; /* of the next chunk's first record */
	uint64_t stack_hash[RT_STACK_CACHE];
	uint32_t stack_id[RT_STACK_CACHE];

	/* sched.lock, or handed over through note */
	struct m *idle_next;
	struct rt_note note;
	struct p *next_p; /* from whoever wakes it */
	bool spinning;

	uint32_t index;               /* in rt_ms; constant */
	uintptr_t stack_lo, stack_hi; /* of the thread */
	void *altstack;
	_Atomic(struct rt_capture *) capture; /* a look at this thread is asked for (capture.c) */

	struct g g0; /* the scheduler's own record: id 0 */
};

/* --- P --- */

struct rt_timer {
	int64_t when;
	struct g *g;
	uint64_t goid, number; /* stale unless both still are g's */
};

/* Counters of one P: written by its owner (bump), read by anybody. */
#define RT_P_COUNTERS(X)                                                                                               \
	X(created)                                                                                                     \
	X(ended) X(switches) X(steals) X(handoffs) X(spurious) X(wakes) X(timers_fired) X(timers_armed) X(timers_stale)

struct p {
	uint32_t id;
	_Atomic uint32_t idle; /* on the idle list; sched.lock */
	struct m *_Atomic m;
	struct p *idle_next; /* sched.lock */

	/* Owner (or revoker) only */
	struct g *next;              /* run-next: woken by a hand-over, inherits the slice */
	uint32_t picks;              /* since the last look at the clock */
	uint32_t turn;               /* which queue's oldest goes next */
	uint64_t slice_end, turn_at; /* tsc */
	uint32_t trace_seq;          /* of its recorder records */
	uint64_t id_next, id_end;    /* goroutine ids to give out */
	uint64_t rng;
	uint32_t eager;              /* hand-overs that shall wake a second worker all the same */
	_Atomic uint32_t n_free;     /* others read it when they count */
	struct g *free[RT_FREE_MAX]; /* dead Gs with warm stacks, newest last */

	/* Owner writes, sysmon reads: has anything happened since? */
	_Atomic uint64_t tick;     /* switches */
	_Atomic uint32_t has_next; /* next is set */

	/* Woken goroutines: first in, first out.  Owner puts at tail; everybody takes at head by CAS */
	RT_CACHED _Atomic uint32_t head;
	RT_CACHED _Atomic uint32_t tail;
	struct g *_Atomic ring[RT_RUNQ];

	/* Spawned goroutines: owner pushes and pops at bottom (newest), thieves take at top (oldest) */
	RT_CACHED _Atomic int64_t top;
	RT_CACHED _Atomic int64_t bottom;
	struct g *_Atomic deque[RT_RUNQ];

	/* Timers; under tlock, but first is read by anybody */
	RT_CACHED struct rt_lock tlock;
	struct rt_timer *heap;
	uint32_t n_timers, cap_timers;
	_Atomic uint32_t timers_now; /* n_timers, for metrics */
	_Atomic int64_t first;       /* earliest when, INT64_MAX: none */
	_Atomic uint64_t first_tsc;  /* the same on the tsc scale, a little early */

#define X(name) _Atomic uint64_t name;
	RT_CACHED RT_P_COUNTERS(X)
#undef X
		_Atomic uint64_t parks[RT_WAIT_N];
};

/* --- The scheduler's globals (sched.c) --- */

struct rt_sched {
	RT_CACHED struct rt_lock lock;
	/* under lock */
	struct g *global_head, *global_tail;
	struct m *idle_ms;
	struct p *idle_ps;
	int64_t idle_until; /* when the timekeeper (an idle M that sleeps with a limit) wakes; INT64_MAX: none */
	struct m *timekeeper;
	bool sysmon_asleep; /* in its long sleep: kick it when a P starts */

	/* hints for the fast paths; changed under lock or by atomic operations */
	RT_CACHED _Atomic uint32_t n_global;
	_Atomic uint32_t n_idle_ps;
	_Atomic int32_t n_spinning;
	_Atomic uint32_t stopping;   /* weft_host_stop(): every M leaves */
	_Atomic uint32_t n_ms;       /* threads alive */
	_Atomic uint64_t goids;      /* last id block given out */
	_Atomic uint64_t coarse_tsc; /* sysmon's last look at the clock */

	/* constant after start */
	RT_CACHED uint32_t maxprocs;
	bool running;
	struct weft_host_opts opts;
	int64_t started_real;
	struct p *ps[WEFT_MAXPROCS_LIMIT];
};
extern struct rt_sched sched;
extern struct m *_Atomic rt_ms[RT_MS_MAX]; /* never freed; index < rt_n_ms */
extern _Atomic uint32_t rt_n_ms;

/* --- Instances (inst.c) --- */

struct weft_ctx {
	_Atomic uint32_t over;
};
struct weft_inst {
	struct weft_ctx ctx; /* first: a weft_ctx * is its instance's */
	uint32_t number;
	char name[64];
	/* Per P: births and deaths of goroutines, each a counter of one writer.  Reading all deaths
	 * before all births makes "equal" mean none was alive at that instant. */
	struct rt_inst_shard {
		RT_CACHED _Atomic uint64_t births, deaths;
	} shard[WEFT_MAXPROCS_LIMIT + 1]; /* the last: by threads without a P, under an atomic add */
};
struct weft_inst *rt_inst_at(uint32_t number);
uint64_t rt_inst_live(struct weft_inst *inst, uint64_t *births);

/* --- Arenas (stack.c) --- */

struct rt_arena {
	char *base;
	_Atomic uint32_t opened; /* slots below are mapped and guarded; grows */
	/* 1: the slot was handed out (to a P's cache or a goroutine); 0: free, perhaps wiped.
	 * Changed under the ARENA lock; readers skip zeros so that they don't touch wiped pages. */
	_Atomic uint64_t used[RT_SLOTS_PER_ARENA / 64];
};
extern struct rt_arena *_Atomic rt_arenas[RT_ARENAS_MAX];
extern _Atomic uint32_t rt_n_arenas;
static inline struct g *rt_slot_g(const struct rt_arena *a, uint32_t arena, uint32_t i)
{
	uint32_t slot = arena * RT_SLOTS_PER_ARENA + i;

	return (struct g *)(a->base + ((size_t)(i + 1) << RT_SLOT_SHIFT) - RT_G_SIZE - rt_colour(slot));
}
/* Take up to n slots; 0: -ENOMEM or -EAGAIN in *rc. */
uint32_t rt_slots_take(struct g **out, uint32_t n, int *rc);
void rt_slots_give(struct g **gs, uint32_t n);
int rt_stacks_start(int no_guard);
void rt_stacks_trim(void); /* scavenger: give memory of dead slots and deep spikes back */
const char *rt_guard_name(void);
/* In the guard of g's slot, or (canary) was the canary overwritten? */
bool rt_is_guard(const struct g *g, uintptr_t addr);
void rt_stack_counters(struct weft_counters *out);
void rt_canary_check(struct g *g);

/* --- Assembly (switch_amd64.S) --- */

/* Save the callee-saved registers and sp in *save, take those saved at sp, and return m there. */
struct m *rt_switch(_Atomic uintptr_t *save, uintptr_t sp, struct m *m);
/* First activation: root frame (return address undefined), calls rt_g_main(m). */
void rt_g_entry(void);
extern const char rt_g_entry_call[]; /* the return address of that call */
void rt_g_main(struct m *m) __attribute__((noreturn));
/* Words that rt_switch leaves at sp, lowest first */
enum { RT_FRAME_FP = 5, RT_FRAME_PC = 6, RT_FRAME_WORDS = 7 };

/* --- Who am I (m.c) --- */

extern __thread struct m *rt_tls_m __attribute__((tls_model("local-exec")));

/* The calling thread's M, or NULL.  Looked up anew at every call: a compiler that knew this for a
 * thread-local might keep its address over a switch to another thread.  Signal-safe. */
static inline struct m *rt_self(void)
{
	struct m *m;

	__asm__ __volatile__("movq %%fs:rt_tls_m@tpoff, %0" : "=r"(m));
	return m;
}

void rt_fatal(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2))); /* fatal.c */

/* --- Entering and leaving the runtime (revoke.c) --- */

struct m *rt_enter_slow(struct m *m);
/* For every call from a goroutine that touches P state.  NULL: a foreign thread, use the P-less way. */
static inline struct m *rt_enter(struct m *m)
{
	if (unlikely(!m))
		return NULL;
	st(&m->in_rt, 1);
	rt_light(); /* pairs with rt_heavy() in rt_revoke() */
	if (unlikely(ld_acq(&m->own) != RT_OWNED))
		return rt_enter_slow(m);
	return m;
}
static inline void rt_leave(struct m *m)
{
	rt_light();
	st_rel(&m->in_rt, 0); /* pairs with the load in rt_revoke(): all we did to the P is visible */
}
/* Take the P from an M that is outside the runtime; the goroutine goes on DETACHED.  The P, owned by
 * the caller, or NULL.  Not on an M. */
struct p *rt_revoke(struct m *m);
/* Look at p's owner-only state for a moment without taking it: false when its M is in the runtime. */
bool rt_borrow(struct m *m, struct p **p);
void rt_unborrow(struct m *m);

/* --- Scheduling (sched.c, runq.c) --- */

/* Park the current goroutine (its wait word is open) and run others; `drop` (may be NULL) is unlocked
 * once it is no longer on its stack.  Returns the outcome; *m is the M it woke on.  *m NULL: a foreign
 * thread, which blocks on its own record's note. */
int rt_park(struct m **m, enum rt_wait reason, struct rt_lock *drop);
/* Sleep; opens the wait word itself. */
int rt_park_until(struct m **m, int64_t when);
enum rt_how {
	RT_READY_NEXT,  /* hand-over: run it when I stop; wakes no other worker */
	RT_READY_QUEUE, /* first in, first out */
	RT_READY_SPAWN, /* newest first */
};
/* Make a goroutine runnable whose wait the caller has won.  m: the caller's M in the runtime, or NULL. */
void rt_ready(struct m *m, struct g *g, int outcome, enum rt_how how);
void rt_yield(struct m **m);
void rt_exit(struct m *m) __attribute__((noreturn));
struct m *rt_requeue(struct m *m);
void rt_arrive(struct m *m);
void rt_loop(struct m *m);
void rt_p_acquire(struct m *m, struct p *p);
struct p *rt_idle_p_get(void);      /* under sched.lock */
bool rt_idle_m_remove(struct m *m); /* under sched.lock */
/* Start P p (the caller's) on some M; spinning: counted in n_spinning already. */
void rt_run_p(struct p *p, bool spinning);
void rt_wake_slow(void);
/* Work was put on a queue (line 2 of sched.c's left column): if a P idles and nobody looks for work,
 * wake one worker. */
static inline void rt_wake_one(void)
{
	rt_light();
	if (unlikely(ld(&sched.n_idle_ps) != 0) && ld(&sched.n_spinning) == 0)
		rt_wake_slow();
}
static inline bool rt_wait_cancellable(enum rt_wait reason)
{
#define X(name, dump, trace, off) | (uint32_t)(off) << RT_WAIT_##name
	return (0u RT_WAIT_REASONS(X)) >> reason & 1;
#undef X
}

void rt_runq_put(struct p *p, struct g *g);
struct g *rt_runq_get(struct p *p);
void rt_spawn_put(struct p *p, struct g *g);
struct g *rt_spawn_get(struct p *p); /* newest */
struct g *rt_spawn_get_oldest(struct p *p);
void rt_global_put(struct g *first, struct g *last, uint32_t n);
struct g *rt_global_get(struct p *p, uint32_t max);
struct g *rt_steal(struct p *p, struct p *victim);
uint32_t rt_runq_len(const struct p *p);
bool rt_runq_empty(const struct p *p);

/* --- Waits (g.c): one wait word, won by CAS --- */

static inline uint64_t rt_wait_open(struct g *g)
{
	uint64_t n = (ld(&g->wait) >> 1) + 1;

	g->outcome = 0;
	st_rel(&g->wait, n << 1 | 1);
	return n;
}
static inline bool rt_wait_win(struct g *g, uint64_t number)
{
	uint64_t open = number << 1 | 1;

	return cas(&g->wait, &open, number << 1);
}
/* Start a goroutine of inst; m may be NULL (a thread without a P).  Errors as weft_go(). */
struct rt_go_args {
	weft_fn fn;
	void *arg;
	const struct weft_go_opts *opts; /* or NULL */
	weft_wg *wg;                     /* told when the goroutine returns, or NULL */
	void *frame;                     /* the public function's, for the stack of the go statement */
	bool even_if_over;               /* the embedder's own: also in a cancelled instance */
};
int rt_go(struct m *m, struct weft_inst *inst, const struct rt_go_args *args);
void rt_g_free(struct m *m, struct g *g);
void rt_g_created(struct m *m, struct g *g); /* write the record that its starter could not */
struct g *rt_foreign_g(void);                /* the record of the calling thread, which is no M */
struct g *rt_g_of(uintptr_t addr);           /* the goroutine whose slot holds addr, or NULL.  sig */
void rt_purge(void);                         /* at stop: every goroutine left is nobody's */
static inline uint32_t rt_trace_seq(struct g *g, uint32_t more)
{
	uint32_t seq = ld(&g->trace_seq) + more;

	st(&g->trace_seq, seq);
	return seq;
}

/* --- Ms and Ps (m.c) --- */

int rt_m_new(struct p *p, bool spinning); /* a thread that starts with P p; -EAGAIN: none to be had */
int rt_ps_start(uint32_t n);
void rt_ms_join(void);

/* Publish sp, status, reason of a goroutine that was switched away from (A12). */
static inline void rt_seq_begin(struct g *g)
{
	st(&g->seq, ld(&g->seq) + 1);
	atomic_thread_fence(memory_order_release);
}
static inline void rt_seq_end(struct g *g)
{
	st_rel(&g->seq, ld(&g->seq) + 1);
}

/* --- Timers (timer.c) --- */

void rt_timer_add(struct p *p, const struct rt_timer *t); /* p owned by the caller */
/* Fire what is due on p (any P); how many.  m: the caller's, with a P. */
uint32_t rt_timers_run(struct m *m, struct p *p, int64_t now);
int64_t rt_timers_first(void); /* over all Ps; INT64_MAX: none */
void rt_timers_retune(void);   /* the clock was calibrated anew */

/* --- Clock (clock.c) --- */

extern bool rt_have_tsc;
int64_t rt_now(void);               /* CLOCK_MONOTONIC */
uint64_t rt_tsc(void);              /* cheap counter: tsc, or rt_now() where that is not invariant */
int64_t rt_tsc_to_ns(uint64_t tsc); /* CLOCK_MONOTONIC of a recent rt_tsc() */
uint64_t rt_ns_to_tsc(int64_t ns);
uint64_t rt_ns_span_tsc(int64_t ns);
void rt_clock_start(void);
void rt_clock_tune(void); /* sysmon, each second */

/* --- Sema (sema.c): waiting by address, under every blocking primitive --- */

/* Take one from *count, waiting while it is 0; lifo: at the head of the queue. */
void rt_sema_acquire(struct m **m, _Atomic uint32_t *count, enum rt_wait reason, bool lifo);
/* Give one: to the longest waiting, or to *count. */
void rt_sema_release(struct m *m, _Atomic uint32_t *count, enum rt_how how);

/* --- Recorder (ring.c) --- */

extern bool rt_rec_on;
int rt_rec_start(size_t bytes);
bool rt_rec_more(struct m *m); /* a fresh chunk; false: none to be had, event dropped and counted */
void rt_rec_release(struct m *m);
void rt_record_foreign(enum rt_event ev, uint64_t subject, uint32_t seq); /* by a thread that is no M */
void rt_rec_counters(struct weft_counters *out);
struct rt_chunk {
	_Atomic uint64_t generation;  /* odd while being recycled; readers look before and after */
	_Atomic uint64_t first_index; /* of its first record among all of that thread */
	_Atomic uint64_t first_tsc;
	_Atomic uint32_t n; /* records written: release by the producer */
	_Atomic int tid;    /* of the producer */
	/* The pool's list by age; CHUNK lock */
	struct rt_chunk *older, *newer;
	struct m *producer; /* NULL: finished */
	uint64_t pad;
	struct rt_rec rec[254];
};
_Static_assert(sizeof(struct rt_chunk) == 8192, "chunks are 8 KiB");
/* One record, stamped m->tsc.  The caller has set that in this scheduler step. */
static inline void rt_record(struct m *m, enum rt_event ev, unsigned flags, uint64_t gid, uint64_t subject,
			     uint32_t stack, uint32_t seq)
{
	struct p *p = ld(&m->p);
	struct rt_rec *r;

	if (unlikely(m->rec_at == m->rec_end) && !rt_rec_more(m))
		return;
	r = m->rec_at++;
	st(&r->tsc, m->tsc);
	st(&r->gid_type, gid << 16 | (uint64_t)ev << 8 | (flags & 0xff));
	st(&r->subject_pid, subject << 16 | (p ? p->id : 0xffffu));
	st(&r->stack_seq, (uint64_t)seq << 32 | stack);
	st_rel(&m->chunk->n, (uint32_t)(m->rec_at - m->chunk->rec)); /* pairs with the readers' acquire */
}

/* --- Seeing --- */

/* modules.c, unwind_table.c: the module table and the unwind tables behind it are swapped as a whole by
 * weft_host_scan_modules(), old ones kept. */
void rt_unwind_counters(struct weft_counters *out);
/* unwind.c: walk by table within [lo, hi).  Frames put (at least the pc itself, if max > 0); *flags |=
 * WEFT_GF_APPROX: something was found by search, or the walk ended before a root was found;
 * WEFT_GF_CUT: max was reached.  Neither: exact, from the leaf to the root.  sig */
struct rt_regs {
	uintptr_t pc, sp, fp;
	bool exact;             /* pc is interrupted code, not a return address */
	bool fp_known;          /* false: pc and sp are all that is known (a thread in a system call) */
	const long long *gregs; /* all registers of the interrupted context (ucontext_t), or NULL */
};
int rt_unwind(struct rt_regs regs, uintptr_t lo, uintptr_t hi, uint64_t *pc, int max, unsigned *flags);
/* stacktab.c: frames -> id, append-only, lock-free, bounded; 0 when full (counted). sig */
int rt_stacktab_start(void);
uint32_t rt_stack_intern(const uint64_t *pc, int n);
/* The current goroutine's stack from its caller's frame, by frame pointers if they end at the entry
 * trampoline, else by table. */
uint32_t rt_stack_here(struct m *m, void *fp);
void rt_stacktab_counters(struct weft_counters *out);

/* capture.c (see capture.h): stacks of running goroutines, by a directed signal. */
int rt_capture_start(void); /* installs the handler; once per process, from rt_signals_start() */
void rt_capture_counters(struct weft_counters *out); /* capture_signals, capture_late */

/* signals.c: who handles what, alternate stacks, threads with a name, fork */
int rt_signals_start(void); /* handlers of fatal signals and SIGPROF; once per process */
/* Alternate stack of the calling thread, unless it has one (a sanitizer's). */
void rt_signals_thread(struct m *m, void *altstack, size_t size);
/* Install fn on the alternate stack, with SA_RESTART; all but the synchronous signals are blocked
 * meanwhile.  Not through libc, which sanitizers wrap. */
int rt_on_signal(int sig, void (*fn)(int sig, void *info, void *context));
void rt_signal_default(int sig); /* sig */
/* Registers of the interrupted code, for rt_unwind().  sig */
struct rt_regs rt_regs_of(const void *context);
/* A thread that called weft_host_thread(): its name and stack bounds; false: it did not.  sig */
bool rt_thread_find(int tid, char name[32], uintptr_t *lo, uintptr_t *hi);
extern bool rt_forked; /* this is a child after fork(): nothing of weft works here */
static inline void rt_check_forked(void)
{
	if (unlikely(rt_forked))
		rt_fatal("a weft function was called in a child after fork(): there, only exec and _exit work");
}

/* prof_cpu.c */
int rt_cpu_signals(void);
void rt_cpu_thread_start(int tid); /* on a new M, once m->tid is set; cheap while nobody samples */
void rt_cpu_forked(void);
void rt_cpu_counters(struct weft_counters *out);                /* samples, samples_lost */
void rt_log_counters(struct weft_counters *out);                /* logs_cut */
static inline void rt_fatal_counters(struct weft_counters *out) /* of the files of this part, in one */
{
	rt_cpu_counters(out);
	rt_log_counters(out);
}

/* gread.c: the park part and identity of a goroutine, by the sequence counter (A reader at rt_seq_begin()).
 * Everything of *out but frames of running goroutines; labels stay a name.  sig */
enum rt_look {
	RT_LOOK_NONE,    /* nobody there */
	RT_LOOK_PARKED,  /* *out with its stack */
	RT_LOOK_RUNNING, /* *out without: RUNNING or DETACHED */
	RT_LOOK_MOVED,   /* it would not stand still; look again later */
};
enum rt_look rt_g_look(const struct g *g, struct weft_goroutine *out, uint64_t *labels);

/* label.c.  Nothing without labels costs more than a compare with 0. */
uint64_t rt_labels_hold(uint64_t set);
void rt_labels_drop(struct g *g);
void rt_labels_unref(uint64_t set);
bool rt_labels_copy(uint64_t set, struct weft_labels *out); /* false: gone.  sig */
void rt_label_counters(struct weft_counters *out);
extern int64_t rt_labels_rest_ns;                  /* tests shorten it */
static inline uint64_t rt_labels_ref(uint64_t set) /* a further holder; returns set */
{
	return set ? rt_labels_hold(set) : 0;
}
static inline void rt_labels_exit(struct g *g) /* drop what the goroutine holds */
{
	if (unlikely(ld(&g->labels) || g->label_stack))
		rt_labels_drop(g);
}

/* log.c */
void rt_log(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* sysmon.c */
int rt_sysmon_start(void);
void rt_sysmon_stop(void);
void rt_sysmon_kick(void); /* it may be in its long sleep */

#endif
