/* retake.h - what sysmon does to Ps, and the calls that it found blocking (retake.c, blocked.c). */
#ifndef WEFT_RT_RETAKE_H
#define WEFT_RT_RETAKE_H

#include "rt.h"

/* sysmon: look at p; true: something was done.  *next becomes earlier where another look is due by then. */
bool rt_look_at_p(struct p *p, int64_t now, int64_t *next);
void rt_retake_start(void);
extern int64_t rt_slice_ns; /* tests change it */

/* preempt.c, sysmon: ask m's goroutine whether it lets itself be interrupted, and what it said.  False: nothing yet;
 * WEFT_REFUSED_N: it was. */
void rt_preempt_ask(struct m *m);
bool rt_preempt_answer(const struct m *m, enum weft_refusal *why);
void rt_preempt_start(void);
extern bool rt_preempt_able;    /* on this machine, in this build */
extern bool rt_preempt_program; /* tests: the executable counts as a plugin */

/* Where a call of inst with that stack and number is counted; NULL: no room left.  sysmon. */
struct rt_blocked *rt_blocked_entry(struct weft_inst *inst, uint32_t stack, int nr);
/* One such call has cost inst a hand-off; e may be NULL.  sysmon. */
void rt_blocked_count(struct rt_blocked *e, struct weft_inst *inst);

#endif
