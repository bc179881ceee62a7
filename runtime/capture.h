/* capture.h - what a thread runs right now, asked from outside (capture.c, for snapshot.c). */
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
	RT_ASK_SENT,     /* the answer will come: rt_capture_answer() with *ticket */
};
/* Ask thread m what it runs.  Waits for nobody.  Any thread but m's; not in a signal handler. */
enum rt_ask rt_capture_ask(struct m *m, uint64_t *ticket, struct rt_captured *out);
/* The answer to a question that was sent.  False: not yet. */
bool rt_capture_answer(const struct m *m, uint64_t ticket, struct rt_captured *out);
/* n questions that were sent are given up. */
void rt_capture_late(uint64_t n);

#endif
