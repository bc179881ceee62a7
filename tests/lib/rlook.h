/* rlook.h - for tests of the runtime: all goroutines at one look, and those of interest among them. */
#ifndef WEFT_TESTS_RLOOK_H
#define WEFT_TESTS_RLOOK_H

#include "rtest.h"

#define NOINLINE __attribute__((noinline, noipa))
#define PATIENCE (20 * WEFT_SEC)

/* Goroutines to look at: each counts itself in look_started when it begins. */
extern _Atomic uint32_t look_started;
extern _Atomic bool look_stop; /* set by look_end() */
extern _Atomic long look_sink; /* something to do behind a call, which so is not the last */
extern weft_chan *look_never;  /* the test makes it, and nobody sends */
void wait_here(void *arg);     /* on look_never */
void spin_here(void *arg);     /* until look_stop */
void look_go(weft_fn fn, void *arg);
void look_await(uint32_t n); /* so many have started */
void look_end(void);         /* all of them, and the runtime */

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
