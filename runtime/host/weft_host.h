/* weft_host.h - for the program that embeds the runtime (weftd, the tests, the benchmarks).
 *
 * One runtime per process.  Nothing here parks; everything may be called from any thread that is
 * not a goroutine, unless it says otherwise.  Results: >= 0 or -Exxx. */
#ifndef WEFT_HOST_H
#define WEFT_HOST_H

#include <stddef.h>
#include <stdint.h>

#include <weft.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_MAXPROCS_LIMIT 256

#define WEFT_NO_GUARD_MADVISE 1u
#define WEFT_NO_GUARD_UFFD 2u
#define WEFT_NO_GUARD_MPROTECT 4u

struct weft_host_opts {
	int maxprocs;            /* Ps, at most WEFT_MAXPROCS_LIMIT; 0: what the machine allows, looked at each
				    second: the CPUs this process may run on, and no more than the tightest CPU
				    quota of its control groups is worth, rounded, at least 2 */
	bool maxprocs_floor;     /* round a quota down, not up */
	int max_threads;         /* that run goroutines, those in system calls included; at most 10,000; 0: that.
				    Beyond it goroutines queue */
	int handoff_max;         /* threads that may run on after a hand-off at the end of their slice; 0: 4 x Ps + 8 */
	bool preempt_by_signal;  /* of instances that do not say otherwise */
	uint64_t max_goroutines; /* 0: as many as 80 % of the memory limit pay for: 4.5 KiB each, 5 KiB with a stack of
				    256 KiB, 6.5 KiB with one of 1 MiB */
	size_t recorder_bytes;   /* event ring chunk pool; 0: recorder off */
	int64_t heap_rate;       /* weft_host_heap_rate() from the start */
	uint64_t seed;           /* of choices by chance: select, whom to steal from, which blocks are sampled */
	bool traceback_full;     /* fatal dumps print every goroutine, not at most 10,000 */
	unsigned no_guard;     /* tests only: WEFT_NO_GUARD_ bits, kinds of stack guards that the kernel is said not to
				  have; counts at the first start of the process only */
	int cpus;              /* tests only: how many CPUs to believe in; 0: ask */
	const char *proc_root; /* tests only: instead of /proc; NULL */
	const char *sys_root;  /* tests only: put before every mount point of a control group; NULL */

	/* A line for the log.  instance may be NULL, goid 0.  Called from any thread, goroutines
	 * included: must not wait, park or call weft_*. */
	void (*log)(void *user, int level, const char *instance, uint64_t goid, const char *text);
	/* Name the function at a call address: writes "name+0x12" or nothing, NUL-terminated, returns
	 * the length.  Called from signal handlers: async-signal-safe, no allocation, no locks. */
	size_t (*name)(uintptr_t pc, char *buf, size_t cap);
	/* What weft_profile_lookup() finds beside the profiles of plugins: how many samples a profile of the
	 * embedder's has; -ENOENT: none of that name; else below 0: that cannot be found, but its name is taken.  Any
	 * thread. */
	int64_t (*profile_count)(void *user, const char *name);
	/* For weft_profile_write(): any profile, as /debug/pprof/NAME?debug=N.  On a thread that may block. */
	int (*profile_write)(void *user, const char *name, int debug, int fd);
	/* For weft_profile_cpu_start() and weft_profile_cpu_stop(), likewise: hz 0 is the embedder's own rate; fd below
	 * 0: the profile is thrown away.  instance: whose goroutine asks, by its number; 0: nobody's. */
	int (*cpu_start)(void *user, int hz, uint32_t instance);
	int (*cpu_stop)(void *user, int fd);
	/* The instance that began a profile has ended: so does the profile, if it still runs.  Must not wait. */
	void (*cpu_end)(void *user, uint32_t instance);
	/* For weft_trace_start(), weft_trace_stop() and weft_flight_snapshot(), likewise: into a new file at path; ns 0
	 * is the embedder's own length; instance as in cpu_start. */
	int (*trace_start)(void *user, const char *path, uint32_t instance);
	int (*trace_stop)(void *user);
	/* As cpu_end: the trace is to become whole, if it is still being written. */
	void (*trace_end)(void *user, uint32_t instance);
	int (*flight)(void *user, const char *path, int64_t ns);
	void *user;
};

/* Start the Ps and their Ms, install the signal handlers (SIGPROF, SIGURG for capture, and those of
 * fatal signals).  -EBUSY: already running; -ENOMEM; -EINVAL; -ENOTSUP: the kernel's pages are not of 4096 bytes. */
int weft_host_start(const struct weft_host_opts *opts);

/* Stop: waits until every M has ended.  Goroutines that still exist are abandoned where they are.
 * 0; -ETIMEDOUT when an M did not come back within timeout_ns (wedged in plugin code): the runtime is
 * then unusable and the process should exit. */
int weft_host_stop(int64_t timeout_ns);

/* Instances: the unit of ownership, labels and accounting.  name is copied.  Records are never given back: one of
 * the same name that was freed is used again, and goes on counting where it was. */
weft_inst *weft_inst_new(const char *name);
/* The name of the plugin that it runs, copied; before its first goroutine. */
void weft_inst_plugin(weft_inst *inst, const char *plugin);
/* How a goroutine of inst is made to share that runs for longer than its slice. */
enum weft_preempt { WEFT_PREEMPT_DEFAULT, WEFT_PREEMPT_HANDOFF, WEFT_PREEMPT_SIGNAL };
void weft_inst_preempt(weft_inst *inst, enum weft_preempt how);
/* The stacks of its goroutines that are started from now on and name no size: bytes, rounded up to 64 KiB, 256 KiB
 * or 1 MiB, the guard page included; without a call 64 KiB.  0, or -EINVAL: more than 1 MiB. */
int weft_inst_stack(weft_inst *inst, size_t bytes);
/* Goroutines of the instance that are alive.  Exact when it says 0 after weft_inst_cancel(). */
uint64_t weft_inst_live(weft_inst *inst);
/* End the context: every wait of every goroutine of inst that can be called off is.  Walks all
 * goroutines: milliseconds per 100,000, so on a pool thread rather than the loop. */
void weft_inst_cancel(weft_inst *inst);
bool weft_inst_cancelled(const weft_inst *inst);
/* After weft_inst_cancel(), when no goroutine is left: free what it has made and did not: descriptors of weft's own,
 * timers, contexts, error groups, channels, keys of goroutine-local values, profiles.  Memory of plugins is theirs. The
 * handle is not to be used any more.  Microseconds, and more by what there is: on a pool thread.  0; -EBUSY: it has not
 * ended yet. */
int weft_inst_free(weft_inst *inst);
/* weft_go_in() for the embedder's own callbacks (init, run, stop, fini): also when the context of the
 * instance is over.  The goroutine is known by `callback`, of whatever type, which fn will call; NULL: by fn.  Not from
 * a goroutine. */
int weft_inst_call(weft_inst *inst, weft_fn fn, void *arg, weft_fn callback);

/* How much is counted: nanoseconds for waits, one in so many for locks.  1: all; 0: nothing. */
enum weft_rate { WEFT_RATE_BLOCK, WEFT_RATE_MUTEX, WEFT_RATE_N };
#define WEFT_RATE_BIASED (-1) /* the default of weftd: whatever takes 1 ms, and of shorter events some */
#define WEFT_RATE_MAX INT64_C(1000000000)
/* Set the rate that holds when nobody has raised it, give back the one before; below WEFT_RATE_BIASED: only that.
 * Off at first.  What was counted stays. */
int64_t weft_host_rate(int which, int64_t rate);
/* For a while: the most detailed rate of all holds.  What to give to weft_host_rate_drop(); -EINVAL: not 1 to
 * WEFT_RATE_MAX; -EAGAIN: too many at once. */
int weft_host_rate_raise(int which, int64_t rate);
void weft_host_rate_drop(int which, int raise);

/* Look for instances that can't go on: every goroutine waits for a lock, a wait group or a channel, with no deadline,
 * and none has moved since the call before.  Each is logged once, as a warning with what they wait for and the
 * cycle of locks if there is one; nobody is stopped.  An instance that threads of its own have entered, or have
 * ever woken, is left alone, since they may do so again; so is one with a timer, or that waits for its end.  Called
 * from time to time, each second say, by one caller at a time; microseconds, or milliseconds per 100,000 goroutines
 * when there is a suspicion.  How many were found. */
int weft_host_find_deadlocks(void);

/* Read every loaded object's unwind table anew and publish the module table (weft_read_modules()).
 * Calls dl_iterate_phdr: not on a thread that others wait for, and one caller at a time.  -ENOMEM keeps
 * the old table. */
int weft_host_scan_modules(void);

/* Of the heap profile: how many bytes are allocated for one sample, on average; 1: every block is one; 0: none.
 * Threads see a change within some ten KiB they allocate, the caller at once; what was sampled keeps the rate of its
 * time.  Ends with weft_host_stop().  One caller at a time.  No effect in builds with a sanitizer. */
void weft_host_heap_rate(int64_t rate);
/* From now on count calls of malloc() and its kin, for weft_read_mallocs(): makes each dearer.  -ENOTSUP in builds with
 * a sanitizer. */
int weft_host_count_mallocs(void);
/* Give back to the system what the allocator and goroutines that have ended hold in reserve.  Some 20 to 70 ms
 * for each GiB, in which others wait that allocate: not on the loop. */
void weft_host_trim(void);

/* A thread of the embedder's own: gives it a name for samples and dumps, its stack bounds, and an
 * alternate signal stack.  Call first thing on the thread; undone when the thread ends. */
void weft_host_thread(const char *name);

/* fn(arg) on the calling thread, which is no goroutine, and does not become one for what fn calls; but as long
 * as it lasts dumps and profiles list it as one, with the thread's stack: for code of plugins that runs
 * elsewhere than on goroutines, as constructors do in dlopen().  It is of no instance and counts in no
 * counter of goroutines.  Where it can't be listed (the runtime does not run, max_goroutines) fn is called all
 * the same. */
void weft_host_as_goroutine(void (*fn)(void *arg), void *arg);

/* Where a fatal signal is to write what the recorder holds (weft_raw.h), before the process dies; below 0: nowhere.
 * Takes two seconds at most, and what the text of all goroutines takes. */
void weft_host_fatal_file(int fd);

/* Write all goroutines to fd in the form of /debug/pprof/goroutine?debug=2, with async-signal-safe
 * code only; at most 10,000 in full unless traceback_full, the rest grouped by stack. */
void weft_host_dump(int fd, const char *reason);

#ifdef __cplusplus
}
#endif
#endif
