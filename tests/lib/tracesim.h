/* tracesim.h - a scheduler that does random things, and the records that the recorder would leave of them.
 *
 * Goroutines are started (also by threads without a P), run, wait, are woken from anywhere, interrupted, enter and
 * leave blocking sections, lose their P, end; they begin and end tasks, regions (which they may leave open), change
 * labels, log; Ps change hands, their number changes; threads end and others begin; CPU samples come late.  One
 * simulation at a time. */
#ifndef WEFT_TESTS_TRACESIM_H
#define WEFT_TESTS_TRACESIM_H

#include "gotrace.h"

#define SIM_STEP 300               /* ns: a step takes up to 200 of them */
#define SIM_EARLY (300 * SIM_STEP) /* by how much an effect may be stamped before its cause */

void sim_start_at(uint64_t seed);
void sim_step(void);
int sim_below(int n); /* random */
int64_t sim_now(void);
int sim_gs(void); /* goroutines so far are 1 to that */

/* What can be read: of each thread from `from` on, and some that came before; every one_in-th record is lost.  With
 * free(). */
struct weft_recs *sim_readings(int64_t from, int one_in);
/* Of what was written up to `lost` threads have lost the older part. */
void sim_lose(struct weft_recs *recs, int64_t lost);
/* As of now. */
void sim_see_g(struct gotrace *t, int g);
void sim_see_threads(struct gotrace *t);
const char *sim_name(void *user, uint32_t number); /* gotrace_opts.name */

#endif
