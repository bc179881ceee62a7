/* see.h - what looks at the scheduler from outside: unwinding, stack table, capture, signals, samplers, labels, log.
 *
 * A comment that ends in `sig` marks what a signal handler may call. */
#ifndef WEFT_RT_SEE_H
#define WEFT_RT_SEE_H

#include "gmp.h"

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
	const long long *gregs; /* all registers of the interrupted context (rt_arch_regs()), or NULL */
};
/* What a function that keeps a frame pointer has at it. */
struct rt_record {
	const struct rt_record *up; /* the caller's */
	uintptr_t pc;               /* the return address */
};
/* sp: the caller's, at the call */
RT_INLINE struct rt_regs rt_regs_at_call(const struct rt_record *frame, uintptr_t sp)
{
	return (struct rt_regs){
		.pc = rt_arch_code(frame->pc), .sp = sp, .fp = (uintptr_t)frame->up, .fp_known = true
	};
}
/* Of the caller of the function it stands in, which must not be inlined. */
#define RT_REGS_OF_CALLER() rt_regs_at_call(__builtin_frame_address(0), (uintptr_t)__builtin_dwarf_cfa())
/* Walk up from regs to the caller of the function whose record is frame.  False: the walk got lost.  sig */
bool rt_unwind_to(struct rt_regs *regs, uintptr_t lo, uintptr_t hi, const struct rt_record *frame);
/* Likewise, the short way where a record says it all. */
RT_INLINE bool rt_regs_above(struct rt_regs *regs, uintptr_t hi, const struct rt_record *frame)
{
	if (!RT_SP_ABOVE_RECORD)
		return rt_unwind_to(regs, regs->sp, hi, frame);
	*regs = rt_regs_at_call(frame, (uintptr_t)(frame + 1));
	return true;
}
int rt_unwind(struct rt_regs regs, uintptr_t lo, uintptr_t hi, uint64_t *pc, int max, unsigned *flags);
/* stacktab.c: frames -> id, append-only, lock-free, bounded; 0 when full (counted). sig */
int rt_stacktab_start(void);
uint32_t rt_stack_intern(const uint64_t *pc, int n);
uint32_t rt_stack_ids(void);                         /* all in use are below; sig */
void rt_text_bounds(uint64_t *start, uint64_t *end); /* of the runtime's code */
/* The current goroutine's stack from its caller's frame, by frame pointers if they end at the entry
 * trampoline, else by table. */
uint32_t rt_stack_here(struct m *m, void *fp);
void rt_stacktab_counters(struct weft_counters *out);

/* capture.c (see capture.h): stacks of running goroutines, by a directed signal. */
int rt_capture_start(void); /* installs the handler; once per process, from rt_signals_start() */
void rt_capture_counters(struct weft_counters *out); /* capture_signals, capture_late */

/* preempt.c: SIGURG has come while m->preempt was set.  sig */
void rt_preempt_signal(struct m *m, void *context);

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
/* The same on any other new thread, with the bounds of its stack (hi 0: not known). */
void rt_cpu_stranger_start(int tid, uintptr_t lo, uintptr_t hi);
bool rt_cpu_sampling(void);
void rt_cpu_forked(void);
void rt_cpu_counters(struct weft_counters *out); /* samples, samples_lost */

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
void rt_labels_begin(struct m *m, struct g *g); /* g begins to run, with a set that it inherited: record it */
bool rt_labels_copy(uint64_t set, struct weft_labels *out); /* false: gone.  sig */
#define RT_LABEL_SLOT_BITS 18
#define RT_LABEL_SLOTS (1u << RT_LABEL_SLOT_BITS)
uint64_t rt_labels_at(uint32_t slot); /* the set that is in it; 0: none.  sig */
/* What a set's name is made of: its slot, 0: none.  sig */
uint32_t rt_labels_slot(uint64_t set, uint32_t *generation);
void rt_label_counters(struct weft_counters *out);
extern int64_t rt_labels_rest_ns;                  /* tests shorten it */
static inline uint64_t rt_labels_ref(uint64_t set) /* a further holder; returns set */
{
	return set ? rt_labels_hold(set) : 0;
}
static inline void rt_labels_exit(struct g *g) /* drop what the goroutine holds */
{
	if (unlikely(ld(&g->labels) || g->labels_over))
		rt_labels_drop(g);
}

/* name.c: what plugins call things in a trace -> a number; NULL and "" are 0 */
int rt_names_start(void);
uint32_t rt_name(const char *name);
uint32_t rt_names(void); /* all numbers are below.  sig */

/* netpoll.c */
void rt_net_counters(struct weft_counters *out);

/* log.c */
void rt_log_counters(struct weft_counters *out); /* logs_cut */
void rt_log(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void rt_log_for(const struct weft_inst *inst, int level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
