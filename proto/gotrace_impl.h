/* gotrace_impl.h - what the files of the trace converter share.
 *
 * The converter replays the records in one order in which each follows its causes, on a model of the scheduler: the
 * states of goroutines (gt_g), Ps (gt_p) and threads (gt_m) as a reader of the trace will see them.  An event is
 * written only where the model allows it, and before the model changes.  What becomes of an event is the format's
 * (gt_format): bytes of Go's (gotrace_wire.c), or JSON for other viewers (gotrace_chrome.c). */
#ifndef WEFT_PROTO_GOTRACE_IMPL_H
#define WEFT_PROTO_GOTRACE_IMPL_H

#include "gotrace.h"
#include "store.h"

#define GT_P_MAX 1024
#define GT_STRING_MAX 1024
#define GT_FRAMES_MAX 128
#define GT_GONE 65536
#define GT_PORTION 256 /* records or goroutines between looks at the clock */

/* Events of the format. */
enum {
	GT_EV_BATCH = 1,
	GT_EV_STACKS = 2,
	GT_EV_STACK = 3,
	GT_EV_STRINGS = 4,
	GT_EV_STRING = 5,
	GT_EV_CPU_SAMPLES = 6,
	GT_EV_CPU_SAMPLE = 7,
	GT_EV_FREQUENCY = 8,
	GT_EV_PROCS_CHANGE = 9,
	GT_EV_PROC_START = 10,
	GT_EV_PROC_STOP = 11,
	GT_EV_PROC_STEAL = 12,
	GT_EV_PROC_STATUS = 13,
	GT_EV_GO_CREATE = 14,
	GT_EV_GO_START = 16,
	GT_EV_GO_DESTROY = 17,
	GT_EV_GO_STOP = 19,
	GT_EV_GO_BLOCK = 20,
	GT_EV_GO_UNBLOCK = 21,
	GT_EV_GO_SYSCALL_BEGIN = 22,
	GT_EV_GO_SYSCALL_END = 23,
	GT_EV_GO_SYSCALL_END_BLOCKED = 24,
	GT_EV_GO_STATUS = 25,
	GT_EV_HEAP_ALLOC = 37,
	GT_EV_GO_LABEL = 39,
	GT_EV_USER_TASK_BEGIN = 40,
	GT_EV_USER_TASK_END = 41,
	GT_EV_USER_REGION_BEGIN = 42,
	GT_EV_USER_REGION_END = 43,
	GT_EV_USER_LOG = 44,
	GT_EV_GO_STATUS_STACK = 48,
};

enum gt_g_state { GT_G_NONE, GT_G_RUNNABLE, GT_G_RUNNING, GT_G_SYSCALL, GT_G_WAITING };
enum gt_p_state { GT_P_NONE, GT_P_RUNNING, GT_P_IDLE, GT_P_SYSCALL };

struct gt_m;
/* A goroutine's or P's first or last record on one side of the start: gotrace_infer.c. */
struct gt_edge {
	const struct weft_rec *seq, *own, *taken;
};
/* What a plugin said; strings of this file, stack of the stack table. */
struct gt_said {
	struct gt_said *next;
	uint64_t task, parent;
	uint32_t name, text, stack;
	uint8_t event, flags; /* of the record */
};
struct gt_sample {
	int64_t time, tid, p; /* p -1: none */
	uint64_t g, stack;
};
/* Where a goroutine was made ready from: for gt_format_chrome. */
struct gt_wake {
	int64_t time; /* 0: nobody is known to have done it */
	int64_t tid;
	uint32_t pid, stack;
	bool alone; /* in no slice */
};
struct gt_g {
	struct gt_g *next;       /* in its bucket */
	uint32_t label;          /* string; 0: none */
	struct gt_said *regions; /* that are open, the innermost first */
	struct gt_said *said;    /* in a system call: to be said when it is back */
	uint64_t id;
	enum gt_g_state state;
	bool wanted;   /* events about it are written */
	bool known;    /* seq is */
	uint32_t seq;  /* of the records */
	uint64_t wseq; /* of the events */
	uint32_t stack;
	uint64_t start; /* function, 0: not known */
	struct gt_m *m; /* RUNNING, SYSCALL */
	int tid;        /* that it was seen on */
	union {
		struct {                             /* while the start is inferred; then all 0 */
			struct gt_edge far, near;    /* last before the start, first after it */
			int64_t far_time;            /* of the latest before it that has not been stamped too early */
			const struct weft_rec *back; /* the first by which it came back without a P */
			const struct weft_rec *last; /* with its seq, of the thread that is looked through */
		};
		struct { /* from the first event on: gt_format_chrome's */
			struct gt_wake wake;
			uint32_t name;    /* the stack whose root it is called by; 0: not known */
			uint32_t at;      /* the stack on which it last stood */
			uint32_t cut_off; /* regions that began before the trace */
		};
	};
};
struct gt_p {
	enum gt_p_state state;
	uint32_t id;
	bool known; /* seq is */
	uint32_t seq;
	uint64_t wseq;
	struct gt_m *m; /* RUNNING, SYSCALL */
	bool named;     /* gt_format_chrome: its track is */
	/* As of gt_g */
	struct gt_edge far, near;
	const struct weft_rec *last;
};
/* What gt_format_chrome has not written yet: a slice in the making. */
struct gt_slice {
	int64_t since; /* 0: there is none */
	int64_t call;  /* since when it has been in a system call and kept its P; 0: it is in none */
	int64_t tid;   /* track: of pid */
	uint32_t pid, call_stack;
};
struct gt_m {
	int64_t tid; /* as written; -1: nobody */
	struct gt_p *p;
	struct gt_g *g;
	/* Of gt_format_go: the batch in the making */
	struct buf b;
	int64_t base, last;
	/* Of gt_format_chrome */
	struct gt_slice slice; /* m->g's */
	bool named;            /* its track is */
	/* Its records */
	const struct weft_rec *at, *end;
	uint64_t done;   /* those below are written */
	uint64_t parent; /* of the task that it is about to begin */
};

/* A frame of a stack, as a viewer gets it; an address stands for one frame. */
struct gt_frame {
	uint64_t pc, line;
	uint32_t func, file; /* ids of strings */
};
/* In this order: head, events, samples, close, stacks, tail; free at any time.  What it writes goes to t->out, and what
 * events take is added to t->n_bytes. */
struct gt_format {
	bool names; /* gt_stack_name() is known of every stack that an earlier record brought */
	void (*head)(struct gotrace *t);
	/* At t->now, in m's stream; args as the format of Go has them, but the time. */
	void (*event)(struct gotrace *t, struct gt_m *m, unsigned id, const uint64_t *args);
	void (*sample)(struct gotrace *t, const struct gt_sample *s);
	void (*close)(struct gotrace *t);                                               /* no more events */
	void (*stack)(struct gotrace *t, uint32_t id, const struct gt_frame *f, int n); /* innermost first */
	void (*tail)(struct gotrace *t);
	void (*free)(struct gotrace *t); /* or NULL */
};
extern const struct gt_format gt_format_go, gt_format_chrome;
struct gt_chrome;

struct gotrace {
	struct gotrace_opts opts;
	const struct gt_format *format;
	struct gt_chrome *chrome; /* of gt_format_chrome */
	struct buf out;
	struct arena arena;
	int64_t now; /* of the last event */
	int64_t next;
	uint64_t n_events, n_repairs, n_bytes;
	int failed;
	bool begun;
	/* gt_begin(): how far it is */
	struct {
		int phase;
		uint32_t i;               /* thread, or bucket of goroutines */
		const struct weft_rec *r; /* of that thread, NULL: its first */
		bool cut, moved;          /* by time; by effects, in this round */
	} at;
	bool hole;                        /* between this reading and the last */
	int64_t lost;                     /* when it began: records of up to then */
	const struct weft_rec *first;     /* of what was taken last */
	struct gt_said *said, *free_said; /* by threads that are no goroutines */
	struct gt_sample *sample;
	uint32_t n_samples, cap_samples;
	uint32_t n_settled; /* samples that are for the trace; the others, behind, wait until it is known whose they are
			     */
	uint64_t samples_done;
	bool sampled;
	uint64_t *gone; /* of wanted goroutines that have ended the last, each in its place */
	/* model */
	struct gt_g **buckets, *free;
	uint32_t n_gs, n_buckets;
	struct gt_p *p[GT_P_MAX];
	struct gt_m **m, *nobody, *foreign;
	uint32_t n_ms, cap_ms;
	int procs;     /* to be said, 0: nothing */
	uint64_t heap; /* likewise */
	/* tables */
	struct gt_string *string;
	struct gt_stack *stack;
	struct index strings, stacks;
	uint32_t n_strings, cap_strings, n_stacks, cap_stacks;
	uint32_t n_named;  /* stacks whose names are known */
	uint32_t at_stack; /* gotrace_end(): how far it is */
	bool closed;
	struct buf section;
};

/* gotrace.c: an event in m's stream, at t->now, which it moves on. */
void gt_event(struct gotrace *t, struct gt_m *m, unsigned id, const uint64_t *args);
bool gt_is_over(int64_t budget);
#define GT_EVENT(t, m, id, ...) gt_event((t), (m), (id), (const uint64_t[4]){ __VA_ARGS__ })
#define GT_EVENT0(t, m, id) gt_event((t), (m), (id), NULL)

/* gotrace_wire.c */
void gt_varint(struct buf *b, uint64_t v);
/* A batch of m's from what it has. */
void gt_flush(struct gotrace *t, struct gt_m *m);
/* A batch of nobody's from t->section, which it empties. */
void gt_section(struct gotrace *t);

/* gotrace_table.c: ids within this file; 0: none */
uint32_t gt_string(struct gotrace *t, const char *s);
const char *gt_string_at(const struct gotrace *t, uint64_t id, uint32_t *len); /* not terminated */
uint64_t gt_stack_id(struct gotrace *t, uint32_t id);                          /* of the stack table */
uint64_t gt_stack_sample(struct gotrace *t, uint32_t id);                      /* likewise, of a CPU sample */
/* Likewise, of a goroutine whose name is told by nothing else: it ends in its start function, if that is known. */
uint64_t gt_stack_named(struct gotrace *t, uint32_t id, uint64_t start);
uint64_t gt_stack_start(struct gotrace *t, uint64_t fn); /* one frame: a start function */
uint64_t gt_stack_scheduler(struct gotrace *t);          /* one frame: nobody's doing but the scheduler's */
uint64_t gt_stack_pcs(struct gotrace *t, const struct weft_goroutine *w);
/* Of one that nobody needs but for its name. */
uint64_t gt_stack_of_name(struct gotrace *t, uint32_t id);
/* Look up the names of all that are there by now.  1: call again, the time `budget` is over. */
int gt_stack_names(struct gotrace *t, int64_t budget);
uint32_t gt_stack_name(const struct gotrace *t, uint64_t id); /* the function at its root, a string; 0: not known */
int gt_stacks(struct gotrace *t, int64_t budget);             /* hand them to the format; as gotrace_end() */
void gt_tables_free(struct gotrace *t);

/* gotrace_state.c */
struct gt_g *gt_g_find(const struct gotrace *t, uint64_t id);
struct gt_g *gt_g_get(struct gotrace *t, uint64_t id); /* NULL: no memory, and t->failed */
void gt_g_end(struct gotrace *t, struct gt_g *g);
/* All goroutines, from where the last call stopped; fn neither makes nor ends one.  False: call again. */
bool gt_each_g(struct gotrace *t, void (*fn)(struct gotrace *t, struct gt_g *g), int64_t budget);
struct gt_p *gt_p_get(struct gotrace *t, uint32_t id); /* NULL: likewise, or there is no such id */
struct gt_m *gt_m_get(struct gotrace *t, int tid);
void gt_states_free(struct gotrace *t);
/* The events that count a goroutine's or P's seq up, and by how much. */
int gt_g_counts(const struct weft_rec *r);
int gt_p_counts(const struct weft_rec *r);
bool gt_has_g_seq(const struct weft_rec *r);
uint32_t gt_seq(const struct weft_rec *r);
/* Are events about goroutine id, which is of that instance? */
bool gt_wants(const struct gotrace *t, uint64_t id, uint32_t instance);
bool gt_has_p_seq(const struct weft_rec *r);

/* gotrace_infer.c: all that is taken comes after the start, or is passed over; then who was where, in three steps.
 * False: call again, the budget is over. */
bool gt_cut(struct gotrace *t, int64_t budget);
bool gt_infer_look(struct gotrace *t, int64_t budget);
bool gt_infer_gs(struct gotrace *t, int64_t budget);
void gt_infer_rest(struct gotrace *t);
/* gotrace_begin.c: all that, and what is to be said of it.  1: call again; 0: it has begun. */
int gt_begin(struct gotrace *t, int64_t budget);

/* gotrace_event.c */
bool gt_ready(struct gotrace *t, struct gt_m *m, const struct weft_rec *r);
void gt_apply(struct gotrace *t, struct gt_m *m, const struct weft_rec *r);
void gt_p_start(struct gotrace *t, struct gt_m *m, struct gt_p *p); /* p, which nobody has, is m's */
/* gotrace_said.c */
bool gt_is_said(const struct weft_rec *r);
void gt_said_apply(struct gotrace *t, struct gt_m *m, const struct weft_rec *r);
void gt_said_flush(struct gotrace *t, struct gt_m *m); /* what could not be said before */
void gt_said_forget(struct gotrace *t, struct gt_g *g);
/* It has labels from the start, and says so when it first runs. */
void gt_said_labels(struct gotrace *t, struct gt_g *g, uint32_t label);
uint32_t gt_labels(struct gotrace *t, const struct weft_labels *labels); /* a string */
void gt_samples_take(struct gotrace *t, const struct weft_rec *r, const struct weft_rec *end);
void gt_samples_settle(struct gotrace *t, int64_t until);      /* up to then, all is written */
void gt_samples_gone(struct gotrace *t, const struct gt_g *g); /* it ends */
/* gotrace_repair.c: make the model fit, then apply it, if there is still something to be said. */
void gt_force(struct gotrace *t, struct gt_m *m, const struct weft_rec *r);

#endif
