/* rheap.h - for tests of the heap profile: a runtime that samples, and what it has sampled by where. */
#ifndef WEFT_TESTS_RHEAP_H
#define WEFT_TESTS_RHEAP_H

#include "heap.h"
#include "rtest.h"

struct rheap {
	int64_t v[WEFT_PROF_VALUES], samples;
	double bytes; /* allocated, scaled */
	struct weft_prof_sample last;
	bool rooted; /* `last` goes through `through` */
};

/* A runtime of two Ps that samples at that rate, always alike. */
void rheap_begin(int64_t rate);
/* All samples whose leaf is in `leaf`; does one of them go through `through`? */
struct rheap rheap_look(void *leaf, void *through);
void rheap_expect(void *leaf, int64_t allocs, int64_t bytes, int64_t frees, int64_t freed);
/* malloc(n) from there. */
void *site_malloc(size_t n);

#endif
