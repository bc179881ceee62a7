/* block.c - system calls that block their thread, beside a goroutine that computes. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define ALONE (300 * WEFT_MS)
#define NAP (10 * WEFT_MS)

static struct {
	_Atomic bool stop;
	_Atomic uint64_t steps; /* thousands of them */
} computing;

static void compute(void *arg)
{
	uint64_t x = 1;

	(void)arg;
	while (!atomic_load_explicit(&computing.stop, memory_order_relaxed)) {
		for (int i = 0; i < 1000; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		atomic_fetch_add_explicit(&computing.steps, 1 + (x == 0), memory_order_relaxed);
	}
}

/* Steps a second from s on. */
static double rate(struct stamp s, uint64_t steps)
{
	return (double)(atomic_load(&computing.steps) - steps) / (double)(weft_now() - s.wall);
}

static void nap_raw(void *arg)
{
	(void)arg;
	syscall(SYS_nanosleep, &(struct timespec){ .tv_nsec = NAP }, NULL);
}

static void nap_declared(void *arg)
{
	(void)arg;
	WEFT_BLOCKING
	syscall(SYS_nanosleep, &(struct timespec){ .tv_nsec = NAP }, NULL);
}

static double round_ms(weft_fn nap, int64_t k)
{
	int64_t start = weft_now();
	weft_wg wg = { 0 };

	for (int64_t i = 0; i < k; i++)
		must(weft_wg_go(&wg, nap, NULL), "weft_wg_go");
	weft_wg_wait(&wg);
	return (double)(weft_now() - start) / (double)WEFT_MS;
}

static int threads_now(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	int n = 0;

	if (!f)
		fail("/proc/self/status cannot be opened");
	while (fgets(line, sizeof line, f))
		if (strncmp(line, "Threads:", 8) == 0)
			n = (int)strtol(line + 8, NULL, 10);
	fclose(f);
	return n;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void naps(weft_fn nap, int64_t n, int64_t k)
{
	double *ms = calloc((size_t)n, sizeof *ms), alone, beside;
	struct stamp s;
	uint64_t steps;
	weft_wg wg = { 0 };
	int threads = 0;

	if (!ms || n < 2)
		fail("blocking: N must be at least 2");
	must(weft_wg_go(&wg, compute, NULL), "weft_wg_go");
	s = stamp_now();
	must(weft_sleep(ALONE), "weft_sleep");
	alone = rate(s, 0);
	s = stamp_now();
	steps = atomic_load(&computing.steps);
	for (int64_t i = 0; i < n; i++) {
		int now;

		ms[i] = round_ms(nap, k);
		now = threads_now(); /* they are kept for a while */
		threads = now > threads ? now : threads;
	}
	beside = rate(s, steps);
	print_value("blocking.cpu", (double)(stamp_now().cpu - s.cpu) / (double)n / (double)WEFT_MS, "ms");
	atomic_store(&computing.stop, true);
	weft_wg_wait(&wg);
	print_value("blocking.first", ms[0], "ms");
	qsort(ms + 1, (size_t)n - 1, sizeof *ms, by_size);
	print_value("blocking", ms[1 + (n - 1) / 2], "ms");
	print_value("blocking.rate", beside / alone, "x");
	print_value("blocking.threads", threads, "");
	free(ms);
}

/* n rounds of k calls, each declared. */
void own_blocking(int64_t n, int64_t k)
{
	naps(nap_declared, n, k);
}

/* The same, found out by the runtime. */
void own_blocking_raw(int64_t n, int64_t k)
{
	naps(nap_raw, n, k);
}
