/* deadlock.h - finding (deadlock.c) and explaining (deadlock_say.c) deadlocks. */
#ifndef WEFT_RT_DEADLOCK_H
#define WEFT_RT_DEADLOCK_H

#include "gmp.h"

/* Does g wait for what only code of goroutines can give, without a deadline?  *number: of the wait. */
bool rt_g_stuck(const struct g *g, uint64_t *number);
/* Log what the goroutines of inst wait for, `live` in number, and the cycle if one can be told. */
void rt_deadlock_explain(const struct weft_inst *inst, uint64_t live);

#endif
