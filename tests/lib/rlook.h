/* rlook.h - for tests of the runtime: all goroutines at one look, and those of interest among them. */
#ifndef WEFT_TESTS_RLOOK_H
#define WEFT_TESTS_RLOOK_H

#include "rtest.h"

struct seen {
	struct weft_goroutine g[64]; /* those that run through `function`, as far as they fit */
	int n;
	int all;
};

/* Look at everybody; keep those whose stack holds `function` or which started there.  Fails the test when one is
 * reported twice. */
void look(struct seen *s, void *function);
/* Is there a frame of `function`? */
bool passes(const struct weft_goroutine *g, void *function);
/* Does the stack reach down to where goroutines begin? */
bool rooted(const struct weft_goroutine *g);
/* Of goroutine ids (uint64_t), for qsort() and bsearch(). */
int compare_ids(const void *a, const void *b);

#endif
