/* capture.h - what a thread runs right now, asked from outside (capture.c, for snapshot.c and dump.c), and the
 * threads besides workers that can be asked (guest.c). */
#ifndef WEFT_RT_CAPTURE_H
#define WEFT_RT_CAPTURE_H

#include "rt.h"

struct rt_captured {
	struct g *g; /* NULL: no goroutine's code */
	uint64_t id;
	int tid;
	unsigned flags; /* WEFT_GF_* */
	int syscall;    /* of WEFT_GF_BLOCKED */
	uint64_t syscall_arg;
	int depth;
	uint64_t pc[WEFT_STACK_MAX];
};

enum rt_ask {
	RT_ASK_NOTHING,  /* the thread cannot be asked now; try again */
	RT_ASK_ANSWERED, /* *out is filled: it sits in a system call */
	RT_ASK_SENT,     /* the answer will come: rt_capture_answer() */
};
struct rt_question {
	struct m *m;
	uint64_t number;
	int tid;
	int64_t clock; /* the thread's CPU time when it was asked; -1: unknown */
};
/* Ask thread m what it runs.  Waits for nobody.  Any thread but m's; not in a signal handler. */
enum rt_ask rt_capture_ask(struct m *m, struct rt_question *q, struct rt_captured *out);
/* The answer to a question that was sent.  False: not yet. */
bool rt_capture_answer(const struct rt_question *q, struct rt_captured *out);

/* How long to wait for an answer: so long in any case, */
#define RT_ANSWER_WAIT (20 * WEFT_MS)
/* and this long, all in all, while the thread has had no CPU to answer on. */
#define RT_ANSWER_STARVED (400 * WEFT_MS)
bool rt_capture_starved(const struct rt_question *q);

/* n questions that were sent are given up. */
void rt_capture_late(uint64_t n);

/* --- Guests (guest.c) --------------------------------------------------------------------------------- */

#define RT_MS_GUEST UINT32_MAX     /* index of a guest's M, which is not in rt_ms */
struct m *rt_guest_at(uint32_t i); /* NULL: no more.  Its tid is 0 while nobody is there */
struct m *rt_guest_self(void);     /* sig */
/* Keep guest m, whose thread was tid, from leaving until rt_guest_drop().  False: it has left. */
bool rt_guest_hold(struct m *m, int tid);
void rt_guest_drop(struct m *m);

/* CPU time of a thread of ours; it stands still while the thread does not run.  -1: gone. */
int64_t rt_thread_clock(int tid);
/* Does thread m sleep in a system call or a fault?  Then *out is filled as far as it can be known. */
bool rt_capture_sleeps(struct m *m, struct rt_captured *out);

#endif
