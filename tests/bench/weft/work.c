/* work.c - workloads that spread work: many producers and consumers, a pool of workers, a parallel sort. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* --- mpmc: k producers and k consumers on one buffered channel ------------------------------------------- */

#define MPMC_CAP 128

struct market {
	weft_wg made, taken;
	num_chan c;
	weft_mutex lock;
	int64_t per, sum;
};

static void make(void *arg)
{
	struct market *m = arg;

	for (int64_t i = 0; i < m->per; i++)
		must(weft_send(m->c, i), "weft_send");
}

static void take(void *arg)
{
	struct market *m = arg;
	int64_t v, sum = 0;

	while (must(weft_recv(m->c, &v), "weft_recv") > 0)
		sum += v;
	weft_lock(&m->lock);
	m->sum += sum;
	weft_unlock(&m->lock);
}

void run_mpmc(int64_t n, int64_t k)
{
	struct market m = { .c = new_chan(MPMC_CAP), .per = n / k };

	for (int64_t i = 0; i < k; i++) {
		must(weft_wg_go(&m.made, make, &m), "weft_wg_go");
		must(weft_wg_go(&m.taken, take, &m), "weft_wg_go");
	}
	weft_wg_wait(&m.made);
	weft_chan_finish(m.c);
	weft_wg_wait(&m.taken);
	weft_chan_free(m.c.h);
	if (m.sum != k * (m.per * (m.per - 1) / 2))
		fail("mpmc: wrong sum");
}

/* --- mix: one producer, k workers, one collector --------------------------------------------------------- */

#define MIX_CAP 128
#define MIX_STEPS 1000

struct shop {
	weft_wg workers;
	num_chan jobs, results;
	weft_mutex lock;
	int64_t n;
	uint64_t sum;
};

static uint64_t xorshift(uint64_t x, int steps)
{
	for (int i = 0; i < steps; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	return x;
}

static void worker(void *arg)
{
	struct shop *s = arg;
	int64_t job;

	while (must(weft_recv(s->jobs, &job), "weft_recv") > 0) {
		uint64_t x = xorshift((uint64_t)job + 1, MIX_STEPS);

		weft_lock(&s->lock);
		s->sum += x;
		weft_unlock(&s->lock);
		must(weft_send(s->results, (int64_t)x), "weft_send");
	}
}

static void producer(void *arg)
{
	struct shop *s = arg;

	for (int64_t i = 0; i < s->n; i++)
		must(weft_send(s->jobs, i), "weft_send");
	weft_chan_finish(s->jobs);
}

void run_mix(int64_t n, int64_t k)
{
	struct shop s = { .jobs = new_chan(MIX_CAP), .results = new_chan(MIX_CAP), .n = n };
	uint64_t sum = 0;
	int64_t v;

	for (int64_t i = 0; i < k; i++)
		must(weft_wg_go(&s.workers, worker, &s), "weft_wg_go");
	must(weft_wg_go(&s.workers, producer, &s), "weft_wg_go");
	for (int64_t i = 0; i < n; i++) {
		must(weft_recv(s.results, &v), "weft_recv");
		sum += (uint64_t)v;
	}
	weft_wg_wait(&s.workers);
	if (sum != s.sum)
		fail("mix: wrong sum");
	weft_chan_free(s.jobs.h);
	weft_chan_free(s.results.h);
}

/* --- mergesort ----------------------------------------------------------------------------------------------- */

#define INSERTION 24

static void merge(uint32_t *v, uint32_t *scratch, int64_t n, int64_t half)
{
	int64_t i = 0, j = half, at = 0;

	while (i < half && j < n)
		scratch[at++] = v[j] < v[i] ? v[j++] : v[i++];
	while (i < half)
		scratch[at++] = v[i++];
	while (j < n)
		scratch[at++] = v[j++];
	memcpy(v, scratch, (size_t)n * sizeof *v);
}

static void sort_seq(uint32_t *v, uint32_t *scratch, int64_t n)
{
	if (n <= INSERTION) {
		for (int64_t i = 1; i < n; i++) {
			uint32_t x = v[i];
			int64_t j = i;

			for (; j > 0 && v[j - 1] > x; j--)
				v[j] = v[j - 1];
			v[j] = x;
		}
		return;
	}
	sort_seq(v, scratch, n / 2);
	sort_seq(v + n / 2, scratch + n / 2, n - n / 2);
	merge(v, scratch, n, n / 2);
}

struct half {
	weft_wg wg;
	uint32_t *v, *scratch;
	int64_t n, cut;
};

static void sort_fork(uint32_t *v, uint32_t *scratch, int64_t n, int64_t cut);

static void sort_half(void *arg)
{
	struct half *h = arg;

	sort_fork(h->v, h->scratch, h->n, h->cut);
}

static void sort_fork(uint32_t *v, uint32_t *scratch, int64_t n, int64_t cut)
{
	struct half left = { .v = v, .scratch = scratch, .n = n / 2, .cut = cut };

	if (n <= cut) {
		sort_seq(v, scratch, n);
		return;
	}
	must(weft_wg_go(&left.wg, sort_half, &left), "weft_wg_go");
	sort_fork(v + n / 2, scratch + n / 2, n - n / 2, cut);
	weft_wg_wait(&left.wg);
	merge(v, scratch, n, n / 2);
}

static uint32_t *fill(uint32_t *v, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		v[i] = (uint32_t)splitmix64((uint64_t)i);
	return v;
}

static void check_sorted(const uint32_t *v, int64_t n)
{
	for (int64_t i = 1; i < n; i++)
		if (v[i - 1] > v[i])
			fail("mergesort: not sorted");
}

/* n numbers; a goroutine per left half above k. */
void own_mergesort(int64_t n, int64_t k)
{
	uint32_t *v = calloc((size_t)n, sizeof *v), *scratch = calloc((size_t)n, sizeof *v);
	struct stamp s;

	if (!v || !scratch)
		fail("no memory");
	sort_fork(fill(v, n / 10), scratch, n / 10, k);
	fill(v, n);
	s = stamp_now();
	sort_seq(v, scratch, n);
	print_per_op("mergesort.seq", s, n);
	check_sorted(v, n);
	fill(v, n);
	s = stamp_now();
	sort_fork(v, scratch, n, k);
	print_per_op("mergesort", s, n);
	check_sorted(v, n);
	free(v);
	free(scratch);
}
