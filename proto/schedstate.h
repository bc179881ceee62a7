/* schedstate.h - the scheduler's state in words: in the shape of Go's GODEBUG=schedtrace lines, and as JSON. */
#ifndef WEFT_PROTO_SCHEDSTATE_H
#define WEFT_PROTO_SCHEDSTATE_H

#include "text.h"
#include "weft_read.h"

#define SCHED_GS_MAX 1000 /* goroutines listed; beyond that only counted */

struct sched_state {
	struct weft_sched s;
	struct weft_sched_m *m; /* n_m of them */
	struct weft_sched_g *g; /* n_g listed of all_g */
	size_t n_m, n_g, all_g;
};
/* One look; detail: with Ms and Gs.  Free it with sched_state_free().  -ENOMEM. */
int sched_state_read(struct sched_state *st, bool detail);
void sched_state_free(struct sched_state *st);

/* "SCHED 1009ms: gomaxprocs=2 ..." and, with detail, a line per P, M and G. */
void sched_text(struct buf *out, const struct sched_state *st, bool detail);
/* The same as one JSON object. */
void sched_json(struct buf *out, const struct sched_state *st);

#endif
