/* gmp.h - the records: G, M, P, the scheduler's globals, instances, and the arenas that Gs live in.
 *
 * Each field or group of fields says who may touch it; what it does not say holds for the whole record, see rt.h. */
#ifndef WEFT_RT_GMP_H
#define WEFT_RT_GMP_H

#include "cell.h"
#include "ctx.h"
#include "lock.h"
#include "park.h"

#include "weft_host.h"
#include "weft_read.h"

/* --- G --- */

/* Status and, above it, the wait reason: one word, g->status. */
#define RT_G_DEAD 0u     /* no goroutine (a wiped slot reads so) */
#define RT_G_RUNNABLE 1u /* on a queue, or about to be */
#define RT_G_RUNNING 2u
#define RT_G_WAITING 3u
#define RT_G_DETACHED 4u /* running plugin code; its P was taken */
#define RT_G_SYSCALL 5u  /* in a declared blocking section, with a P or without (block.c) */
#define RT_G_STATUS(word) ((word)&0xffu)
#define RT_G_REASON(word) ((word) >> 8)

/* What is unusual about a goroutine: g->marks.  Its own, or its queue's. */
#define RT_PINNED 1u   /* it runs on g->pin only */
#define RT_ASYNC 2u    /* ... because it was interrupted or waits with a lock: until it next waits without */
#define RT_PLOCKS 4u   /* it waits with g->plocks locks of pthread's */
#define RT_SECTIONS 8u /* it has been in a blocking section: g->sections counts */
#define RT_FOREIGN 16u /* a thread that is no M: woken through g->note */

/* What is unusual about its slot: g->kind.  Written before its id is published, FRESH also taken away when it dies. */
#define RT_SLOT_BARE 1u     /* only a canary below its stack */
#define RT_SLOT_SHIFT_BY 6u /* mask of RT_CLASS_STEP * class */
#define RT_SLOT_FRESH 8u    /* no page below the top one had been touched when it was born (highwater.c) */

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

	/* What else a switch needs: so far everything lies in one cache line. */
	struct weft_ctx *_Atomic ctx; /* it carries: changed by itself while it runs; who calls waits off reads it */
	struct m *_Atomic m;          /* it runs on, while RUNNING or DETACHED */
	_Atomic int tid;              /* of the thread, likewise */
	_Atomic uint8_t kind;         /* of slot, RT_SLOT_ bits below; 0 for most.  Constant for a life */
	uint8_t uncreated;            /* its GO_CREATE record is still to be written, by who starts it */
	uint8_t marks;                /* RT_PINNED and so on; 0 for most */

	/* Identity: written before id is published (release), constant for that life. */
	_Atomic uint64_t id; /* 0: nobody */
	_Atomic uint64_t parent;
	_Atomic(weft_fn) fn;
	void *arg;
	weft_wg *wg;              /* weft_wg_go(): to be told at the end, or NULL */
	const char *_Atomic name; /* from weft_go_opts, or NULL */
	struct weft_inst *_Atomic inst;
	_Atomic uint32_t created; /* stack of the go statement */

	/* Own goroutine; labels is also read by samplers on the same thread and by snapshots */
	_Atomic uint32_t trace_seq; /* of its recorder records */
	_Atomic uint64_t labels;    /* label set {slot, generation}; 0: none (label.c) */

	uint32_t slot;        /* arena * RT_SLOTS_PER_ARENA + index; constant */
	uint32_t labels_over; /* pushes that found no room, above the inherited set (label.c) */
	struct g *next;       /* link of whatever list it is on */
	struct rt_note note;
	struct m *pin;    /* RT_PINNED: the only one it runs on (pin.c) */
	uint16_t pins;    /* weft_lock_thread() calls to be undone */
	uint8_t extras;   /* RT_EXTRA_ bits: what extras_end() (g.c) has to see to; own goroutine */
	uint8_t sections; /* blocking sections it is in, one inside the other (block.c) */
	int plocks;       /* held while it waits (plock.c) */
	void *fiber;      /* sanitizers' idea of this stack */
	void *fake_stack;
	/* Made contexts only (ctx.c): the one it was born with, which lives as long; the list of who carries the
	 * current one, under its family's lock */
	struct weft_ctx *born;
	struct g *ctx_next, **ctx_link;
	struct locals *locals; /* own goroutine: local.c */
	/* The number of its latest wait that more than goroutines can end, written before that is published: with a
	 * deadline, or a select that names the end of the instance (deadlock.c) */
	_Atomic uint64_t timed;
	/* Own goroutine, while extras says so: task.c */
	struct weft_task *task;
	struct rt_regions *regions;
	_Atomic(weft_fn) start; /* identity, if extras says so: what it is known by, for which fn stands in */
};
#define RT_EXTRA_CTX 1u
#define RT_EXTRA_LOCALS 2u
#define RT_EXTRA_TASK 4u    /* task is set */
#define RT_EXTRA_REGIONS 8u /* regions is */
#define RT_EXTRA_START 16u  /* start is; for a whole life */
/* gread.c: of whoever it may be, who may end or change its extras meanwhile.  sig */
weft_fn rt_start_of(const struct g *g);

/* Slots.  G lies at the top of its slot, the stack right below it; both are shifted down by a colour
 * so that the hot lines of neighbours do not meet in one cache set. */
#define RT_COLOURS 8u
#define RT_COLOUR_STEP 128u
#define RT_G_SIZE 256u
_Static_assert(sizeof(struct g) <= RT_G_SIZE, "G shares its first page with the stack");
_Static_assert(offsetof(struct g, id) == RT_LINE, "a switch needs one line of the record");
static inline uint32_t rt_colour(uint32_t slot)
{
	return (slot % RT_COLOURS) * RT_COLOUR_STEP;
}
RT_INLINE uintptr_t rt_slot_size(const struct g *g)
{
	return (uintptr_t)RT_SLOT << (ld(&g->kind) & RT_SLOT_SHIFT_BY);
}
RT_INLINE uint32_t rt_slot_class(const struct g *g)
{
	return (ld(&g->kind) & RT_SLOT_SHIFT_BY) / RT_CLASS_STEP;
}
RT_INLINE uintptr_t rt_slot_base(const struct g *g)
{
	return (uintptr_t)g & -rt_slot_size(g);
}
RT_INLINE uintptr_t rt_stack_lo(const struct g *g) /* above the guard */
{
	return rt_slot_base(g) + RT_PAGE;
}
RT_INLINE uintptr_t rt_stack_hi(const struct g *g)
{
	return (uintptr_t)g;
}

/* --- M --- */

enum rt_own {
	RT_NO_P,
	RT_OWNED,
	RT_REVOKING, /* sysmon looks whether it may */
	RT_LENT,     /* in a declared blocking section: may be taken without asking */
};

/* Why an M has no P, while its goroutine goes on. */
enum rt_lost {
	RT_LOST_SLICE,   /* it ran for longer than its slice */
	RT_LOST_BLOCKED, /* it sat in a system call that nobody had declared */
	RT_LOST_SECTION, /* in a declared blocking section */
	RT_LOST_RETIRED, /* there are to be fewer Ps (procs.c) */
	RT_LOST_N
};

/* What rt_arrive() does with the goroutine that was left. */
enum rt_after {
	RT_AFTER_NOTHING,   /* it was the scheduler */
	RT_AFTER_PARK,      /* waiting; drop the lock */
	RT_AFTER_TIMED,     /* waiting; drop the lock; arm a timer */
	RT_AFTER_SELECT,    /* likewise, with several locks */
	RT_AFTER_YIELD,     /* to the tail of the run queue */
	RT_AFTER_GLOBAL,    /* to the global queue (it lost its P, or its slice is over) */
	RT_AFTER_PREEMPT,   /* likewise, behind all others */
	RT_AFTER_ELSEWHERE, /* likewise, before all others, and the P goes to another M */
	RT_AFTER_EXIT,      /* dead */
};

struct rt_blocked;
struct rt_chunk;

struct m {
	/* Ownership of the P (revoke.c): own is changed by its thread and, by CAS, by whoever
	 * revokes; in_rt is written by its own thread only. */
	_Atomic uint32_t own;   /* enum rt_own */
	_Atomic uint32_t in_rt; /* between rt_enter() and rt_leave(), or scheduling */
	uint32_t lost;          /* enum rt_lost, by whoever took the P, before own says so */
	/* Own thread; sysmon reads: blocking sections begun (which one is it?) */
	_Atomic uint32_t sections;
	/* Where the goroutine goes on after weft_block_enter(), for who walks its stack; with g->sp */
	_Atomic uintptr_t block_pc, block_fp;
	int plocks;                  /* own thread: of the C library's, held by the goroutine */
	_Atomic uint32_t preempt;    /* by sysmon: the next SIGURG asks whether it may be interrupted */
	_Atomic uint32_t preempt_no; /* by the handler: enum weft_refusal; RT_REFUSED_N: it was */
	_Atomic uint32_t give_way;   /* by sysmon: the slice is over, weft_checkpoint() shall yield */
	struct rt_blocked *blocked;  /* by sysmon, before own says NO_P: where RT_LOST_BLOCKED is counted, or NULL */

	/* Own thread; others read p, cur and tid as hints */
	struct p *_Atomic p;
	struct g *_Atomic cur; /* running here, or &g0 */
	_Atomic int tid;       /* 0: no thread */
	int *errno_at;         /* this thread's errno */
	uint64_t tsc;          /* at the last record or check: at most one clock read a step */
	int64_t looked;        /* since then it has looked at the timers of all Ps */

	/* From the one who switches away to rt_arrive() */
	struct g *left;
	enum rt_after after;
	enum rt_wait after_reason;
	struct rt_lock *after_lock;
	const struct rt_held *after_held; /* RT_AFTER_SELECT: on its stack */
	int64_t after_when;
	uint64_t after_number; /* of the wait word */

	/* Recorder: the chunk being filled (ring.c), a cache in front of the stack table */
	struct rt_rec *rec_at, *rec_end;
	struct rt_chunk *chunk, *last_chunk;  /* NULL: none; the one it let go */
	uint64_t rec_index;                   /* of the next chunk's first record */
	uint64_t stack_cache[RT_STACK_CACHE]; /* stacktab.c */

	/* sched.lock, or handed over through note */
	struct m *idle_next;
	struct rt_note note;
	struct p *next_p; /* from whoever wakes it */
	bool spinning;
	bool found;      /* own thread: it went onto the idle list before it sleeps */
	bool polls;      /* lies down as the poller; before it can be found there */
	struct g *stray; /* own thread, or from whoever wakes it: picked, to be run or sent home first */
	struct rt_pinned {
		struct g *head, *tail;
	} pinned[2];               /* goroutines that may run here only: locked to it, interrupted on it */
	_Atomic uint32_t n_pinned; /* their number; own thread reads it without the lock */
	/* own thread */
	bool leave;               /* it shall end */
	bool pinned_turn;         /* whose turn it was last: that of those locked to it */
	_Atomic uint32_t n_homes; /* goroutines pinned to it, wherever they are; own thread, sysmon reads */

	uint32_t index;               /* in rt_ms; constant */
	uintptr_t stack_lo, stack_hi; /* of the thread */
	void *altstack;
	_Atomic(struct rt_capture *) capture; /* a look at this thread is asked for (capture.c) */

	struct g g0; /* the scheduler's own record: id 0 */
};

/* --- P --- */

struct rt_timer {
	int64_t when;
	union {
		struct g *g;
		struct rt_alarm *alarm;
	};
	uint64_t goid;   /* 0: an alarm */
	uint64_t number; /* stale unless this (and goid) still is g's, or the alarm's */
};

/* Counters of one P: written by its owner (bump), read by anybody. */
#define RT_P_COUNTERS(X)                                                                                               \
	X(created)                                                                                                     \
	X(ended)                                                                                                       \
	X(switches)                                                                                                    \
	X(steals)                                                                                                      \
	X(handovers) X(preempted) X(parked_locked) X(spurious) X(wakes) X(timers_fired) X(timers_armed) X(timers_stale)

struct p {
	uint32_t id;
	_Atomic uint32_t idle; /* on the idle list; sched.lock */
	struct m *_Atomic m;
	struct p *idle_next; /* sched.lock */
	bool retired;        /* sched.lock: beyond maxprocs, empty, on no list */

	/* Owner (or revoker) only */
	struct g *next;              /* run-next: woken by a hand-over, inherits the slice */
	uint32_t picks;              /* since the last look at the clock */
	uint32_t turn;               /* which queue's oldest goes next */
	uint64_t slice_end, turn_at; /* tsc */
	uint64_t fair_at, fair_from; /* tsc: of the next turn of the oldest; since when the last one's runs */
	uint64_t fair_tick;          /* `tick` while that one runs */
	uint32_t trace_seq;          /* of its recorder records */
	uint64_t id_next, id_end;    /* goroutine ids to give out */
	uint64_t rng;                /* whom to steal from */
	uint64_t chance;             /* which case select takes: drawn by it alone, so that a seed repeats it */
	uint64_t luck;               /* which waits the profiles count (prof_wait.h) */
	uint32_t eager;              /* hand-overs that shall wake a second worker all the same */
	_Atomic uint32_t n_free;     /* others read it when they count */
	struct g *free[RT_FREE_MAX]; /* dead Gs with warm stacks, newest last */
	struct rt_free_big {
		_Atomic uint32_t n; /* others read it when they count */
		struct g *g[RT_FREE_BIG];
	} free_big[RT_CLASSES - 1];      /* likewise, of the larger classes */
	uint64_t mark_birth, mark_death; /* tsc: when the next stack may be measured (highwater.c) */
	struct rt_cells cells[RT_CELL_KINDS];
	uint64_t tasks; /* begun here (task.c) */

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
	struct g *_Atomic deque[RT_DEQUE];

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

/* --- The scheduler's globals (sched.c, find.c, idle.c) --- */

struct rt_sched {
	RT_CACHED struct rt_lock lock;
	/* under lock */
	struct g *global_head, *global_tail;
	struct m *idle_ms; /* last in, first out: those at the end are not needed */
	struct p *idle_ps;
	int64_t idle_until; /* when the timekeeper (an idle M that sleeps with a limit) wakes; INT64_MAX: none */
	struct m *timekeeper;
	struct m *_Atomic poller; /* the idle M that sleeps in the kernel's poll: on no list; a hint to others */
	bool poller_in;           /* until that M has left it: with two in there one could hear the other's wake-up */
	bool sysmon_asleep;       /* in its long sleep: kick it when a P starts */

	/* hints for the fast paths; changed under lock or by atomic operations */
	RT_CACHED _Atomic uint32_t n_global;
	_Atomic uint32_t n_idle_ps;
	_Atomic int32_t n_spinning;
	_Atomic uint32_t stopping; /* weft_host_stop(): every M leaves */
	_Atomic uint32_t n_ms;     /* threads alive */
	_Atomic uint32_t n_idle_ms;
	_Atomic uint32_t n_handed;   /* Ms that run on after the end of their slice, their P handed off */
	_Atomic uint64_t goids;      /* last id block given out */
	_Atomic uint64_t coarse_tsc; /* sysmon's last look at the clock */

	/* changes rarely, under lock (procs.c) */
	RT_CACHED _Atomic uint32_t maxprocs; /* Ps with a smaller id may run */
	_Atomic uint32_t n_ps;               /* made so far: ps[] below is set, for ever */
	_Atomic uint32_t n_active;           /* not retired: maxprocs, once all have noticed */

	/* constant after start */
	uint32_t max_ms; /* threads at most */
	bool running;
	struct weft_host_opts opts;
	int64_t started_real, started;
	struct p *ps[WEFT_MAXPROCS_LIMIT];
};
extern struct rt_sched sched;
extern struct m *_Atomic rt_ms[RT_MS_MAX]; /* never freed; index < rt_n_ms */
extern _Atomic uint32_t rt_n_ms;

/* --- Instances (inst.c) --- */

struct weft_inst {
	struct weft_ctx ctx; /* the root: no references, no list of carriers */
	uint32_t number;
	uint32_t lives;           /* how often it was begun; under INST, as is free */
	bool free;                /* to be begun again by who has the same name */
	_Atomic uint32_t outside; /* a thread that is no worker has woken or started one of its goroutines */
	char name[64];
	char plugin[64];          /* that it runs; constant once its goroutines run */
	_Atomic uint8_t preempt;  /* enum weft_preempt */
	_Atomic uint8_t stack;    /* class of stacks of goroutines that name none */
	_Atomic uint64_t blocked; /* hand-offs for calls that blocked without being declared; sysmon writes */
	/* Per P: births and deaths of goroutines, each a counter of one writer.  Reading all deaths
	 * before all births makes "equal" mean none was alive at that instant. */
	struct rt_inst_shard {
		RT_CACHED _Atomic uint64_t births, deaths;
		_Atomic int64_t wakers; /* see rt_inst_wakers() */
		struct rt_lock ctx_lock;
		/* under ctx_lock */
		struct weft_ctx *families; /* the root's children made on that P */
		struct rt_owned *owned;    /* what else was (owned.c) */
	} shard[WEFT_MAXPROCS_LIMIT + 1];  /* the last: by threads without a P, under an atomic add */
};
struct weft_inst *rt_inst_at(uint32_t number);
void rt_inst_retire(struct weft_inst *inst); /* everything of it is freed: its record may be used again */
uint64_t rt_inst_live(struct weft_inst *inst, uint64_t *births);
/* What is no goroutine and may wake those of `in` all the same: threads inside weft_enter(), timer
 * objects, contexts with a deadline of their own.  n more; p:
 * the caller's, or NULL.  As long as there is one the instance is in no deadlock. */
static inline void rt_inst_wakers(struct weft_inst *in, const struct p *p, int n)
{
	if (p)
		st(&in->shard[p->id].wakers, ld(&in->shard[p->id].wakers) + n);
	else
		add(&in->shard[WEFT_MAXPROCS_LIMIT].wakers, n);
}

/* --- Arenas (stack.c) --- */

struct rt_arena {
	char *base;
	uint32_t shift;          /* log2 of the size of its slots, all of one class; constant */
	_Atomic uint32_t opened; /* slots below are mapped and guarded; grows */
	/* 1: the slot was handed out (to a P's cache or a goroutine); 0: free, perhaps wiped.
	 * Changed under the ARENA lock; readers skip zeros so that they don't touch wiped pages. */
	_Atomic uint64_t used[RT_SLOTS_PER_ARENA / 64];
};
extern struct rt_arena *_Atomic rt_arenas[RT_ARENAS_MAX];
extern _Atomic uint32_t rt_n_arenas;
RT_INLINE struct g *rt_slot_g(const struct rt_arena *a, uint32_t arena, uint32_t i)
{
	uint32_t slot = arena * RT_SLOTS_PER_ARENA + i;

	return (struct g *)(a->base + ((size_t)(i + 1) << a->shift) - RT_G_SIZE - rt_colour(slot));
}
/* Take up to n slots of a class; 0: -ENOMEM or -EAGAIN in *rc. */
uint32_t rt_slots_take(struct g **out, uint32_t n, uint32_t class, int *rc);
void rt_slots_give(struct g **gs, uint32_t n); /* all of one class */
/* Class for a stack of that many bytes, RT_CLASSES: there is none so large. */
uint32_t rt_stack_class(size_t bytes);
void rt_stacks_start(void);
void rt_stacks_age(bool all); /* scavenger: what nobody used since the last time, or all, is to be given back... */
bool rt_stacks_trim_some(int64_t until); /* ...in portions; false: all is */
void rt_stacks_trim(void);               /* all at once */
void rt_stack_counters(struct weft_counters *out);

/* --- Guards (guard.c) --- */

/* How this process guards its stacks, and what is said about it in the log.  Before the first arena. */
void rt_guards_start(unsigned no_guard);
/* A new arena: what has to be done for the whole of it. */
void rt_guard_arena(char *base, size_t span);
/* Guard the lowest page of n slots from first on; sets the bit in bare, from bit `at` on, of those which get a
 * canary.  How many that are.  Under the ARENA lock. */
uint32_t rt_guard_slots(char *first, uint32_t shift, uint32_t n, uint64_t *bare, uint32_t at);
const char *rt_guard_name(void);
/* In the guard of g's slot? */
bool rt_is_guard(const struct g *g, uintptr_t addr);
void rt_canary_check(struct g *g); /* RT_SLOT_BARE: fatal if it was overwritten */

/* --- How deep stacks get (highwater.c) --- */

/* A goroutine is being born on p, not for the first time in a while: have it measured when it ends? */
void rt_mark_birth(struct p *p, struct g *g);
/* RT_SLOT_FRESH: it has ended. */
void rt_mark_death(struct p *p, struct g *g);

#endif
