/* prof.c - what profilers cost: the same work with one off and on in turn, in one process. */
#include <stdlib.h>

#include "bench.h"

#define TURNS 99 /* many short ones: so small a loop runs now in one gear, now in another */
#define HEAP_RATE (512 << 10)

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v)
{
	qsort(v, TURNS, sizeof *v, ascending);
	return v[TURNS / 2];
}

/* n blocks of k bytes, each freed at once. */
void run_malloc(int64_t n, int64_t k)
{
	for (int64_t i = 0; i < n; i++) {
		void *volatile p = malloc((size_t)k); /* volatile: the compiler would leave out the pair */

		if (!p)
			fail("malloc: no memory");
		free(p);
	}
}

/* n tasks with a region and a log line in it, on one goroutine.  k 1: Go's side is traced; ours by RECORDER alone. */
void run_annotate(int64_t n, int64_t k)
{
	(void)k;
	for (int64_t i = 0; i < n; i++)
		WEFT_TASK("request")
			WEFT_REGION("parse")
				weft_trace_log("step", "item %lld", (long long)i);
}

static double malloc_cpu(int64_t n, int64_t k)
{
	struct stamp s = stamp_now();

	run_malloc(n, k);
	return (double)(stamp_now().cpu - s.cpu) / (double)n;
}

void own_prof_heap(int64_t n, int64_t k)
{
	double off[TURNS], on[TURNS], cost[TURNS];

	run_malloc(n / 10, k);
	for (int i = 0; i < TURNS; i++) {
		bench_heap_rate(0);
		off[i] = malloc_cpu(n / TURNS, k);
		bench_heap_rate(HEAP_RATE);
		on[i] = malloc_cpu(n / TURNS, k);
		cost[i] = on[i] - off[i];
	}
	print_value("prof_heap.off", median(off), "ns");
	print_value("prof_heap.on", median(on), "ns");
	print_value("prof_heap.cost", median(cost), "ns");
}
