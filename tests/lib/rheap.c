/* rheap.c - see rheap.h. */
#include "rheap.h"

#include <math.h>

void rheap_begin(int64_t rate)
{
	rtest_begin_with(&(struct weft_host_opts){ .maxprocs = 2, .heap_rate = rate, .seed = 20240607 });
}

struct rheap rheap_look(void *leaf, void *through)
{
	struct rheap sums = { 0 };
	struct weft_prof_sample s;
	uint32_t at = 0;

	while (weft_read_prof(WEFT_PROF_HEAP, &at, &s)) {
		double rate = (double)weft_read_heap_rate(s.extra), mean = (double)s.value[1] / (double)s.value[0];

		if (!s.depth || weft_read_func_start(s.pc[0] - 1) != (uintptr_t)leaf)
			continue;
		for (int i = 0; i < WEFT_PROF_VALUES; i++)
			sums.v[i] += s.value[i];
		sums.samples++;
		sums.bytes += (double)s.value[1] / (rate > 1 ? 1 - exp(-mean / rate) : 1);
		sums.last = s;
		for (int i = 1; i < s.depth; i++)
			sums.rooted |= weft_read_func_start(s.pc[i] - 1) == (uintptr_t)through;
	}
	return sums;
}

void rheap_expect(void *leaf, int64_t allocs, int64_t bytes, int64_t frees, int64_t freed)
{
	struct rheap s = rheap_look(leaf, NULL);

	ck_assert_int_eq(s.v[0], allocs);
	ck_assert_int_eq(s.v[1], bytes);
	ck_assert_int_eq(s.v[2], frees);
	ck_assert_int_eq(s.v[3], freed);
}

RT_NOINLINE void *site_malloc(size_t n)
{
	void *volatile p = malloc(n); /* not a jump */

	return p;
}
