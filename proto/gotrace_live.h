/* gotrace_live.h - a trace of this process, as long as somebody calls gotrace_live_step().
 *
 * The recorder runs all the time; this is a reader of it, and there may be any number.  One thread at a time each. */
#ifndef WEFT_PROTO_GOTRACE_LIVE_H
#define WEFT_PROTO_GOTRACE_LIVE_H

#include "gotrace.h"

/* How often there is to be a step: a busy process fills the recorder's pool in a second. */
#define GOTRACE_LIVE_POLL INT64_C(100000000)

struct gotrace_live;
/* Until `end` (CLOCK_MONOTONIC ns), or until gotrace_live_finish(); from now on with opts->from 0, else from then on,
 * or from where the recorder's memory begins.  NULL: no memory. */
struct gotrace_live *gotrace_live_new(const struct gotrace_opts *opts, int64_t end);
void gotrace_live_free(struct gotrace_live *l);
/* Ends with what is written by now. */
void gotrace_live_finish(struct gotrace_live *l);

enum gotrace_live_rc {
	GOTRACE_LIVE_OVER, /* what is in gotrace_out() completes the file */
	GOTRACE_LIVE_MORE, /* call again at once, as when the time `budget` (CLOCK_MONOTONIC ns) is over */
	GOTRACE_LIVE_WAIT, /* call again in GOTRACE_LIVE_POLL */
};
/* Or -ENOMEM. */
int gotrace_live_step(struct gotrace_live *l, int64_t budget);
/* Does the next step look up names?  Callers who do that in turns want to know. */
bool gotrace_live_names(const struct gotrace_live *l);
/* Does the next step read the recorder's rings?  That takes as long as they are large, whatever the budget. */
bool gotrace_live_reads(const struct gotrace_live *l);
struct gotrace *gotrace_live_trace(struct gotrace_live *l);

#endif
