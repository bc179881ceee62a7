/* rlate.c - see rlate.h. */
#include "rlate.h"

#include <stdatomic.h>
#include <stdlib.h>

#define TICKS_MAX 4000

static _Atomic bool stop;
static int64_t late[TICKS_MAX]; /* by the ticker; by the test once that has ended */
static _Atomic int n_late;

void late_reset(void)
{
	stop = false;
	n_late = 0;
}

void late_ticker(void *arg)
{
	(void)arg;
	while (!stop && n_late < TICKS_MAX) {
		int64_t due = weft_now() + WEFT_MS;

		weft_sleep(WEFT_MS);
		late[n_late] = weft_now() - due;
		n_late++;
	}
}

void late_stop(void)
{
	stop = true;
}

static bool has_ticked(void *arg)
{
	return n_late >= *(int *)arg;
}

void late_await(int ticks)
{
	rtest_wait(has_ticked, &ticks, "the ticker has ticked");
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

int64_t late_p99(void)
{
	int n = n_late;

	ck_assert_int_gt(n, 10);
	qsort(late, (size_t)n, sizeof *late, by_size);
	return late[n - 1 - n / 100];
}
