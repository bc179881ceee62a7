/* gotrace_chrome.h - what the two files of the Trace Event Format share: its events as JSON, one a line.
 *
 * An event begins with gt_chrome_open(), goes on with fields of the caller's, and ends with gt_chrome_close(). */
#ifndef WEFT_PROTO_GOTRACE_CHROME_H
#define WEFT_PROTO_GOTRACE_CHROME_H

#include "gotrace_impl.h"

/* Viewers show processes with threads in them.  No id is 0: to Perfetto that is the kernel's idle thread. */
enum { GT_PID_PS = 1, GT_PID_COUNTERS, GT_PID_SAID, GT_PID_THREADS };
enum { GT_TID_TASKS = 1, GT_TID_REGIONS };
struct gt_track {
	uint32_t pid;
	int64_t tid;
};
/* A string of the trace, or a literal. */
struct gt_word {
	const char *s;
	uint32_t len;
};
#define GT_WORD(literal) ((struct gt_word){ literal, sizeof(literal) - 1 })
struct gt_word gt_word(const struct gotrace *t, uint64_t string);

/* ph, cat: their letters and words, which need no escapes; time, dur: ns. */
void gt_chrome_open(struct gotrace *t, const char *ph, const char *cat, struct gt_word name, struct gt_track track,
		    int64_t time);
void gt_chrome_dur(struct gotrace *t, int64_t dur);
void gt_chrome_id(struct gotrace *t, uint64_t id);
void gt_chrome_stack(struct gotrace *t, const char *key, uint64_t stack); /* sf or esf; nothing for 0 */
/* "args": those that are 0 or empty are left out. */
struct gt_arg {
	const char *key;
	struct gt_word word; /* empty: it is a number */
	uint64_t number;
};
#define GT_NUMBER(key, n)                                                                                              \
	{                                                                                                              \
		key, { NULL, 0 }, n                                                                                    \
	}
#define GT_TEXT(key, word)                                                                                             \
	{                                                                                                              \
		key, word, 0                                                                                           \
	}
void gt_chrome_args(struct gotrace *t, const struct gt_arg *args, int n);
#define GT_ARGS(t, ...)                                                                                                \
	gt_chrome_args((t), (const struct gt_arg[]){ __VA_ARGS__ },                                                    \
		       sizeof((const struct gt_arg[]){ __VA_ARGS__ }) / sizeof(struct gt_arg))
void gt_chrome_close(struct gotrace *t);

/* The tracks of a P and of a thread; they are named when they are first asked for. */
struct gt_track gt_track_p(struct gotrace *t, struct gt_p *p);
struct gt_track gt_track_m(struct gotrace *t, struct gt_m *m);

/* Counters, of two series at most. */
enum gt_counter { GT_C_READY, GT_C_PARKED, GT_C_THREADS, GT_C_PS, GT_C_HEAP, GT_C_N };
void gt_chrome_count(struct gotrace *t, enum gt_counter c, int series, int64_t by);
void gt_chrome_counters(struct gotrace *t, bool last); /* write what changed: after each event */

/* The parts of gt_format_chrome beside events. */
void gt_chrome_head(struct gotrace *t);
void gt_chrome_stack_frames(struct gotrace *t, uint32_t id, const struct gt_frame *f, int n);
void gt_chrome_tail(struct gotrace *t);
void gt_chrome_free(struct gotrace *t);

struct gt_count {
	int64_t now[2], seen[2]; /* seen: after the last event that changed it */
	int64_t changed, told;   /* when */
	bool untold;             /* seen is not written yet */
};
/* A frame with all that called it. */
struct gt_node {
	uint32_t parent, func; /* parent: 0: none */
	uint64_t line;
};
struct gt_task {
	struct gt_task *next;
	uint64_t id;
	uint32_t name;
};
#define GT_TASK_BUCKETS 1024
struct gt_chrome {
	uint64_t arrows;
	struct gt_count count[GT_C_N];
	struct gt_task *task[GT_TASK_BUCKETS], *free_task; /* that have begun and not ended */
	/* Stacks: a tree */
	struct gt_node *node;
	struct index nodes;
	uint32_t n_nodes, cap_nodes, n_frames;
};

#endif
