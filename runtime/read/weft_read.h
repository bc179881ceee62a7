/* weft_read.h - looking at the runtime from outside: modules, goroutines, CPU samples, counters.
 *
 * Plain structs; no function here parks, stops anybody, or needs a goroutine.  Callable from any
 * thread of the embedder, also while every P is wedged; not from a signal handler.  Calls on one
 * object (snapshot) are the caller's to serialise.  Times are CLOCK_MONOTONIC ns. */
#ifndef WEFT_READ_H
#define WEFT_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEFT_STACK_MAX 128 /* frames kept of a stack: the leaf side */
#define WEFT_LABELS_MAX 16
#define WEFT_BUILD_ID_MAX 32

/* --- Modules: what is mapped executable ----------------------------------------- */

struct weft_module {
	const char *path;      /* as mapped; "[vdso]"; never NULL */
	uint64_t bias;         /* run-time address = bias + ELF address */
	uint64_t start, limit; /* run-time bounds of the executable segment */
	uint64_t offset;       /* its file offset */
	uint8_t build_id[WEFT_BUILD_ID_MAX];
	uint8_t build_id_len; /* 0: none */
	bool plugin;          /* loaded after weft_host_start() */
	bool program;         /* the executable itself */
	int fd;               /* open on the file as it was when mapped, or -1; stays open */
};
struct weft_modules {
	uint64_t generation; /* grows with every publication */
	size_t n;
	struct weft_module m[]; /* by start; an entry per executable segment, nearly always one an object */
};
/* The table published last: immutable, valid for the life of the process.  Never NULL once the
 * runtime has been started. */
const struct weft_modules *weft_read_modules(void);
/* For a program that looks at what another process has left, and runs no runtime: from now on the modules are these, by
 * start, and the runtime's code is there.  Opens their files; how many are missing, or are of another build. */
size_t weft_read_foreign(struct weft_modules *ms, uint64_t runtime, uint64_t runtime_end);
/* The module that holds pc, or NULL. */
const struct weft_module *weft_module_at(const struct weft_modules *ms, uint64_t pc);
/* Is pc in the runtime's own code (weft_* functions included)? */
bool weft_read_is_runtime(uint64_t pc);
/* Start of the function around pc from the unwind tables (run-time address), or 0. */
uint64_t weft_read_func_start(uint64_t pc);

/* --- Labels, instances ------------------------------------------------------------ */

struct weft_labels {
	int n;
	struct {
		char key[64], value[128];
	} l[WEFT_LABELS_MAX]; /* by key; keys are unique */
};
/* Name of instance number i (0: the runtime itself, ""), or NULL. */
const char *weft_read_instance(uint32_t i);
const char *weft_read_plugin(uint32_t i); /* that it runs; "" if nobody said; NULL: no such instance */

/* --- Goroutines --------------------------------------------------------------------- */

enum weft_g_status {
	WEFT_G_DEAD,
	WEFT_G_RUNNABLE,
	WEFT_G_RUNNING,
	WEFT_G_WAITING,
	WEFT_G_DETACHED, /* runs plugin code without a P */
	WEFT_G_SYSCALL,  /* in a declared blocking section */
};
enum {
	WEFT_GF_EXACT = 1,       /* pc[0] is the interrupted pc itself, not a return address */
	WEFT_GF_APPROX = 2,      /* frames found by search: caller may be missing */
	WEFT_GF_UNAVAILABLE = 4, /* it ran and did not answer in time: no frames */
	WEFT_GF_CUT = 8,         /* deeper than WEFT_STACK_MAX: the root side is missing */
	WEFT_GF_LOCKED = 32,  /* it goes on on its own thread only: locked to it, or waiting with a lock of pthread's */
	WEFT_GF_BLOCKED = 16, /* in a system call: `syscall` holds its number */
};
struct weft_goroutine {
	uint64_t id, parent; /* parent 0: started by the host */
	enum weft_g_status status;
	int reason;    /* of WAITING: see weft_read_reason() */
	int64_t since; /* since when in that status; 0: unknown */
	uint32_t instance;
	uint32_t created; /* stack of the go statement, weft_read_stack(); 0: none */
	uint64_t start;   /* start function */
	const char *name; /* from weft_go_opts, or NULL */
	int tid;          /* thread it is on, 0: none */
	int syscall;      /* of WEFT_GF_BLOCKED; its first argument is syscall_arg */
	uint64_t syscall_arg;
	unsigned flags;
	int depth;
	uint64_t pc[WEFT_STACK_MAX]; /* leaf first; return addresses except as WEFT_GF_EXACT says */
	struct weft_labels labels;
};

/*
 * One look at all goroutines.  Every goroutine that lived before weft_snapshot_new() and still lives
 * when weft_snapshot_next() has returned 0 is reported exactly once, none twice, with a stack it had
 * in between.  Stops nobody; running ones are asked by signal, together, at the end.
 */
struct weft_snapshot;
struct weft_snapshot *weft_snapshot_new(void); /* NULL: no memory */
/* A look at some of them: each has a chance of 1 / one_in; another seed chooses others. */
struct weft_snapshot *weft_snapshot_some(uint32_t one_in, uint64_t seed);
/* One that asks nobody and never waits: those that run come without a stack. */
struct weft_snapshot *weft_snapshot_parked(void);
/* 1: *out filled; 0: that was all.  A call takes microseconds, but one waits for those that run: 20 ms at most,
 * or 400 ms while threads wait for a CPU. */
int weft_snapshot_next(struct weft_snapshot *s, struct weft_goroutine *out);
void weft_snapshot_free(struct weft_snapshot *s);

/* Go's word for a wait reason, e.g. "chan receive"; "waiting" if unknown.  Static. */
const char *weft_read_reason(int reason);
/* Copy a stack of the stack table (leaf first, return addresses).  Frames; 0: unknown id. */
int weft_read_stack(uint32_t id, uint64_t *pc, int cap);

/* --- CPU samples --------------------------------------------------------------------- */

enum weft_sample_kind {
	WEFT_SAMPLE_G,      /* a goroutine's code */
	WEFT_SAMPLE_SCHED,  /* a worker between goroutines */
	WEFT_SAMPLE_THREAD, /* any other thread of the process */
	WEFT_SAMPLE_LOST,   /* weight says how many did not fit */
};
struct weft_sample {
	int64_t time;
	enum weft_sample_kind kind;
	uint32_t weight; /* 1 + timer overrun: periods of CPU time it stands for */
	uint64_t goid;
	uint32_t instance;
	int tid;
	const char *thread; /* of SCHED and THREAD: name given or read; else NULL */
	unsigned flags;     /* WEFT_GF_* */
	int depth;
	uint64_t pc[WEFT_STACK_MAX];
	struct weft_labels labels;
};

/*
 * One sampler for the process.  Arms a CPU-clock timer of hz on every thread; threads that appear
 * meanwhile are found at the next weft_cpu_drain().  Start while running changes the rate.
 * -EINVAL: hz outside 1..1000; -EAGAIN: no timers to be had.
 */
int weft_cpu_start(int hz);
void weft_cpu_stop(void);
/* Hand all samples taken so far, in rough order of time, to fn; one caller at a time; at least every
 * 500 ms while started, else label sets and samples are lost (and counted as WEFT_SAMPLE_LOST).
 * Works after weft_cpu_stop() too, for the rest. */
void weft_cpu_drain(void (*fn)(void *user, const struct weft_sample *s), void *user);

/* --- Cumulative profiles ------------------------------------------------------------- */

enum weft_prof {
	WEFT_PROF_BLOCK, /* waits, by who waited: {events, ns}; extra: enum weft_wait_kind */
	WEFT_PROF_MUTEX, /* waits for locks, by who let go of the lock: {events, ns} */
	/* Blocks of malloc() and its kin: {allocated, bytes, freed, bytes}; not scaled: each is a sample that stands
	 * for more, by its size and rate */
	WEFT_PROF_HEAP,
	WEFT_PROF_THREADS, /* threads started, by whom: {threads}; reason is set */
	WEFT_PROF_N
};
enum weft_wait_kind { WEFT_WAIT_SYNC, WEFT_WAIT_SLEEP, WEFT_WAIT_IO };
#define WEFT_PROF_VALUES 4
struct weft_prof_sample {
	bool overflow; /* the bucket of what found no room: no stack, no labels */
	uint32_t instance;
	int depth; /* 0: no stack is known */
	uint64_t pc[WEFT_STACK_MAX];
	struct weft_labels labels;
	uint64_t extra;                  /* what else tells samples of one stack apart: the profile says */
	const char *reason;              /* a word that goes into a label, or NULL.  Static */
	int64_t value[WEFT_PROF_VALUES]; /* since the start of the process */
};
/* The next sample from *at (0 at first) on; false: that was all.  Stops nobody: what is counted meanwhile may be seen
 * or not. */
bool weft_read_prof(enum weft_prof which, uint32_t *at, struct weft_prof_sample *out);
size_t weft_read_prof_count(enum weft_prof which); /* samples there are, about */
/* What `extra` is in WEFT_PROF_HEAP: the rate by which a sample was taken (1: every block), and the size of its
 * blocks, rounded up: to 8 up to 256, then to one of 16 steps for each power of two. */
int64_t weft_read_heap_rate(uint64_t extra);
uint64_t weft_read_heap_size(uint64_t extra);
/* In use, about: what the live samples stand for. */
uint64_t weft_read_heap_bytes(void);
/* Since weft_host_count_mallocs(); bytes as asked for. */
void weft_read_mallocs(uint64_t *calls, uint64_t *bytes);

/* Profiles of plugins, by number from 0: the name, "" where there is none now, NULL past the end. */
const char *weft_read_custom_name(uint32_t i);
/* As weft_read_prof(): {things held}. */
bool weft_read_custom(uint32_t i, uint32_t *at, struct weft_prof_sample *out);
size_t weft_read_custom_count(uint32_t i); /* things held */

/* How much of waits (which: enum weft_rate, weft_host.h) is counted now. */
int64_t weft_read_rate(int which);

/* --- Counters ---------------------------------------------------------------------------- */

/* Why a P was not taken from a goroutine at the end of its slice. */
enum weft_refusal {
	WEFT_REFUSED_HANDOFF_MAX, /* as many threads run on as may */
	WEFT_REFUSED_THREADS,     /* no thread to be had that could take the P */
	WEFT_REFUSED_RUNTIME,     /* it was in the runtime */
	/* by signal only */
	WEFT_REFUSED_LIBRARY, /* in a library, or called back by one */
	WEFT_REFUSED_LOCKS,   /* it holds a lock of pthread's */
	WEFT_REFUSED_WALK,    /* its stack could not be walked exactly */
	WEFT_REFUSED_STACK,   /* too little stack left */
	WEFT_REFUSED_STATE,   /* registers that can't be saved: AMX; any, on aarch64 and in builds with a sanitizer */
	WEFT_REFUSED_LATE,    /* no answer */
	WEFT_REFUSED_N
};
const char *weft_read_refusal(int i); /* a word for it */

#define WEFT_REASONS_MAX 32
struct weft_counters {
	int maxprocs, threads, idle_procs;
	uint64_t created, live;                         /* goroutines */
	uint64_t running, runnable, waiting, not_in_go; /* a look without stopping: need not add up */
	uint64_t switches, steals, spurious_wakes;
	uint64_t preempted;     /* goroutines interrupted by signal */
	uint64_t parked_locked; /* waits of goroutines that held a lock of pthread's */
	uint64_t handovers;     /* wake-ups that put the woken next on the waker's P */
	/* Ps taken from a goroutine that ran on: at the end of its slice, in a system call, in a declared section */
	uint64_t handoffs_slice, handoffs_blocked, handoffs_section;
	uint64_t handed_off, handoff_max; /* of those that ended a slice: how many have not come back; the limit */
	uint64_t preempt_refused[WEFT_REFUSED_N];
	uint64_t parks[WEFT_REASONS_MAX]; /* by reason */
	int runq_n;
	uint32_t runq[256]; /* length per P */
	uint64_t global_runq;
	uint64_t stacks_mapped, stacks_in_use, stack_bytes_reserved, stacks_trimmed;
	const char *guard;       /* "madvise", "userfaultfd", "mprotect", "canary" */
	uint64_t unguarded;      /* slots with a canary only */
	uint64_t goroutines_max; /* that may live at once, with stacks of 64 KiB */
	uint64_t timers;
	uint64_t recorder_bytes, recorder_events, recorder_dropped;
	uint64_t stack_table_used, stack_table_size, stack_table_lost;
	uint64_t unwind_rows, unwind_modules;
	uint64_t unwind_failed; /* objects without a table, and functions that were not understood */
	uint64_t label_sets, labels_dropped, logs_cut;
	uint64_t labels_kept, profile_labels_dropped; /* of the cumulative profiles */
	uint64_t samples, samples_lost;
	int64_t heap_rate; /* 0: off */
	uint64_t heap_samples, heap_samples_live,
		heap_samples_lost; /* lost: sampled, but no room to know of its free */
	uint64_t capture_signals, capture_late;
	uint64_t net_descriptors, net_polls, net_events;
	int64_t started; /* CLOCK_REALTIME ns of weft_host_start() */
};
void weft_read_counters(struct weft_counters *out);

/* How deep stacks got, by start function and size of stack.  Measured are whole pages, of goroutines that were the
 * first on their stack and of a sample of the rest: when they end, and in weft_read_stack_look(). */
#define WEFT_STACK_USE_MAX 1024 /* rows; what comes later is left out */
struct weft_stack_use {
	uint64_t fn;
	uint64_t size, used; /* bytes: what there is without the guard page, the most that was used */
	uint64_t looks;      /* how often one was measured */
};
size_t weft_read_stack_use(struct weft_stack_use *out, size_t cap);
/* Measures those of the next n goroutines alive for which it can be said, from *at on: 0 at first.  True: there are
 * more.  A microsecond each. */
bool weft_read_stack_look(uint64_t *at, size_t n);

/* System calls that were found blocking a P, by where they are made.  Fill at most cap; returns how many
 * there are. */
struct weft_blocked_call {
	uint32_t instance, stack; /* weft_read_stack() */
	int syscall;              /* -1: not known */
	uint64_t count;
	int64_t ns; /* that those took which have returned */
};
size_t weft_read_blocked(struct weft_blocked_call *out, size_t cap);
uint64_t weft_read_blocked_lost(void); /* calls that found no room there */

/* --- The scheduler, as Go's schedtrace shows it: looks without stopping, so numbers need not add up ---------- */

enum weft_p_status { WEFT_P_IDLE, WEFT_P_RUNNING, WEFT_P_RETIRED };
struct weft_sched_p {
	enum weft_p_status status;
	int m;         /* -1: none */
	uint64_t tick; /* switches to a goroutine */
	uint32_t runq, gfree;
	uint32_t timers;
};
struct weft_sched {
	int64_t uptime; /* ns since weft_host_start() */
	int maxprocs, idle_procs, threads, spinning, idle_threads;
	bool need_spinning; /* work is queued, a P idles, and no thread looks for work */
	uint64_t runq;      /* the global queue */
	int n;              /* Ps; those beyond maxprocs are retired, or about to be */
	struct weft_sched_p p[256];
};
void weft_read_sched(struct weft_sched *out);

struct weft_sched_m {
	int id, tid;
	int p;         /* -1: none */
	uint64_t goid; /* of the goroutine that it runs, 0: none */
	bool spinning;
	bool blocked; /* it has nothing to do and sleeps */
};
/* The threads alive: fill at most cap; returns how many there are. */
size_t weft_read_sched_ms(struct weft_sched_m *out, size_t cap);

struct weft_sched_g {
	uint64_t id;
	enum weft_g_status status;
	int reason;
	int m;         /* -1: none */
	int64_t since; /* when it last began or ended a wait; running goroutines have run since then at most */
	uint32_t instance;
};
/* All goroutines, likewise; milliseconds per 100,000. */
size_t weft_read_sched_gs(struct weft_sched_g *out, size_t cap);

struct weft_inst_info {
	const char *name;
	uint64_t live, created;
	uint64_t blocked; /* calls found blocking a P that its goroutines had not declared */
	bool cancelled;
};
/* Fill at most cap; returns how many instances there are (numbers 1..n in order). */
size_t weft_read_instances(struct weft_inst_info *out, size_t cap);

#endif
