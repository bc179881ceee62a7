/* late.c - how late sleepers wake: many of them, and one beside goroutines that do not share. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* NAME.p50, .p99, .max in us. */
static void print_lateness(const char *name, int64_t *late, int64_t n)
{
	const struct {
		const char *what;
		int64_t at;
	} points[] = { { "p50", n / 2 }, { "p99", n - 1 - n / 100 }, { "max", n - 1 } };
	char line[64];

	qsort(late, (size_t)n, sizeof *late, by_size);
	for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
		snprintf(line, sizeof line, "%s.%s", name, points[i].what);
		print_value(line, (double)late[points[i].at] / (double)WEFT_US, "us");
	}
}

/* --- timers: k sleepers -------------------------------------------------------------------------------------- */

struct sleepers {
	weft_wg wg;
	int64_t *late;
};

struct sleeper {
	struct sleepers *all;
	int64_t i;
};

static void sleep_once(void *arg)
{
	const struct sleeper *s = arg;
	int64_t ns = (int64_t)(1 + splitmix64((uint64_t)s->i) % 1000) * WEFT_MS, due = weft_now() + ns;

	must(weft_sleep(ns), "weft_sleep");
	s->all->late[s->i] = weft_now() - due;
	weft_wg_done(&s->all->wg);
}

static void sleep_all(struct sleepers *all, int64_t k)
{
	weft_wg_add(&all->wg, (int)k);
	for (int64_t i = 0; i < k; i++)
		must(weft_go_copy(sleep_once, &(struct sleeper){ all, i }), "weft_go_copy");
	weft_wg_wait(&all->wg);
}

/* n is not used. */
void own_timers(int64_t n, int64_t k)
{
	struct sleepers all = { .late = calloc((size_t)k, sizeof *all.late) };
	struct stamp s, end;

	(void)n;
	if (!all.late)
		fail("no memory");
	sleep_all(&all, k / 100);
	s = stamp_now();
	sleep_all(&all, k);
	end = stamp_now();
	print_value("timers.wall", (double)(end.wall - s.wall) / (double)WEFT_MS, "ms");
	print_value("timers.cpu", (double)(end.cpu - s.cpu) / (double)WEFT_MS, "ms");
	print_lateness("timers", all.late, k);
	free(all.late);
}

/* --- One that sleeps 1 ms at a time, beside k that compute ------------------------------------------------- */

static _Atomic bool stop; /* what the computing ones load */
static _Atomic uint64_t sink;

struct tick {
	weft_wg wg;
	int64_t n, limit, *late;
	int64_t ticks;
};

static void tick(void *arg)
{
	struct tick *t = arg;
	int64_t end = weft_now() + t->limit;

	while (t->ticks < t->n) {
		int64_t due = weft_now() + WEFT_MS;

		must(weft_sleep(WEFT_MS), "weft_sleep");
		t->late[t->ticks++] = weft_now() - due;
		if (due > end)
			break;
	}
	atomic_store_explicit(&stop, true, memory_order_relaxed);
}

static void tick_beside(const char *name, int64_t n, int64_t limit, weft_wg *computing)
{
	struct tick t = { .n = n, .limit = limit, .late = calloc((size_t)n, sizeof *t.late) };

	if (!t.late)
		fail("no memory");
	must(weft_wg_go(&t.wg, tick, &t), "weft_wg_go");
	weft_wg_wait(&t.wg);
	weft_wg_wait(computing);
	print_lateness(name, t.late, t.ticks);
	free(t.late);
}

static uint64_t compute(void)
{
	uint64_t x = 1, steps = 0;

	for (; !atomic_load_explicit(&stop, memory_order_relaxed); steps++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	atomic_store_explicit(&sink, x, memory_order_relaxed);
	return steps;
}

static void spinner(void *arg)
{
	uint64_t steps = compute();

	*(uint64_t *)arg = steps;
}

#define FAIR_LIMIT (5 * WEFT_SEC)

/* n sleeps beside k spinners. */
void own_fairness(int64_t n, int64_t k)
{
	uint64_t *steps = calloc((size_t)k, sizeof *steps), least = UINT64_MAX, greatest = 1;
	weft_wg wg = { 0 };

	if (!steps)
		fail("no memory");
	for (int64_t i = 0; i < k; i++)
		must(weft_wg_go(&wg, spinner, &steps[i]), "weft_wg_go");
	tick_beside("fairness", n, FAIR_LIMIT, &wg);
	for (int64_t i = 0; i < k; i++) {
		least = steps[i] < least ? steps[i] : least;
		greatest = steps[i] > greatest ? steps[i] : greatest;
	}
	print_value("fairness.share", (double)least / (double)greatest, "x");
	free(steps);
}

/* --- Hogs of every kind ---------------------------------------------------------------------------------------- */

static FILE *nowhere;
static pthread_mutex_t lock[2] = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER };
static _Atomic uint32_t n_locking;

static void computes(void *arg)
{
	(void)arg;
	compute();
}

static void allocates(void *arg)
{
	(void)arg;
	for (size_t n = 1; !atomic_load_explicit(&stop, memory_order_relaxed); n = n * 7 % 4099 + 1) {
		char *p = malloc(n);

		if (!p)
			fail("no memory");
		*(volatile char *)p = 1;
		free(p);
	}
}

static void prints(void *arg)
{
	(void)arg;
	for (int i = 0; !atomic_load_explicit(&stop, memory_order_relaxed); i++)
		fprintf(nowhere, "%d %s %g\n", i, "line", i / 3.0);
}

static int compares(const void *a, const void *b)
{
	compute();
	return by_size(a, b);
}

static void sorts(void *arg)
{
	int64_t v[3] = { 3, 1, 2 };

	(void)arg;
	qsort(v, 3, sizeof *v, compares);
}

static void once_main(void)
{
	compute();
}

static void in_once(void *arg)
{
	pthread_once(arg, once_main);
}

/* Two of them compute, the others wait for those two. */
static void locks(void *arg)
{
	pthread_mutex_t *m = &lock[n_locking++ % 2];

	(void)arg;
	pthread_mutex_lock(m);
	compute();
	pthread_mutex_unlock(m);
}

#define LATE_LIMIT (2 * WEFT_SEC)

static void beside(void (*hog)(void *arg), int64_t n, int64_t k)
{
	pthread_once_t *once = calloc((size_t)k, sizeof *once); /* zero is PTHREAD_ONCE_INIT */
	weft_wg wg = { 0 };

	if (!once)
		fail("no memory");
	for (int64_t i = 0; i < k; i++)
		must(weft_wg_go(&wg, hog, &once[i]), "weft_wg_go");
	tick_beside("late", n, LATE_LIMIT, &wg);
	free(once);
}

void own_late_compute(int64_t n, int64_t k)
{
	beside(computes, n, k);
}

void own_late_malloc(int64_t n, int64_t k)
{
	beside(allocates, n, k);
}

void own_late_print(int64_t n, int64_t k)
{
	nowhere = fopen("/dev/null", "we");
	if (!nowhere)
		fail("/dev/null cannot be opened");
	beside(prints, n, k);
	fclose(nowhere);
}

void own_late_sort(int64_t n, int64_t k)
{
	beside(sorts, n, k);
}

void own_late_once(int64_t n, int64_t k)
{
	beside(in_once, n, k);
}

void own_late_lock(int64_t n, int64_t k)
{
	beside(locks, n, k);
}
