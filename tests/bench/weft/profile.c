/* profile.c - what being observed costs: mix with it off and on in turn, so that a machine that slows down slows both.
 */
#include <stdlib.h>

#include "bench.h"

#define TURNS 9
#define WORKERS 100

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v)
{
	qsort(v, TURNS, sizeof *v, by_value);
	return v[TURNS / 2];
}

/* k says what is observed. */
void own_profile(int64_t n, int64_t k)
{
	double wall[2][TURNS], cpu[2][TURNS], slower[TURNS], slower_cpu[TURNS];

	if (k >= OBSERVE_N)
		fail("profile: there is no %d to observe", (int)k);
	run_mix(n, WORKERS);
	for (int i = 0; i < TURNS; i++) {
		for (int on = 0; on < 2; on++) {
			struct stamp s, end;

			if (on)
				observe((int)k, 1);
			s = stamp_now();
			run_mix(n, WORKERS);
			end = stamp_now();
			if (on)
				observe((int)k, 0);
			wall[on][i] = (double)(end.wall - s.wall) / (double)n;
			cpu[on][i] = (double)(end.cpu - s.cpu) / (double)n;
		}
		slower[i] = wall[1][i] / wall[0][i];
		slower_cpu[i] = cpu[1][i] / cpu[0][i];
	}
	print_value("profile.off", median(wall[0]), "ns");
	print_value("profile.on", median(wall[1]), "ns");
	print_value("profile.slowdown", median(slower), "x");
	print_value("profile.slowdown.cpu", median(slower_cpu), "x");
}
