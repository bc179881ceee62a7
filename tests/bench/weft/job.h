/* job.h - what main.c asks workloads.so for. */
#ifndef WEFT_BENCH_JOB_H
#define WEFT_BENCH_JOB_H

#include <stdint.h>

/* What a workload can have switched on and off; numbers are the k of the workload "profile" on both sides. */
enum {
	OBSERVE_NOTHING,
	OBSERVE_CPU,
	OBSERVE_BLOCK_1, /* every wait */
	OBSERVE_BLOCK_10US,
	OBSERVE_MUTEX_1,   /* every unlock that others waited for */
	OBSERVE_MUTEX_100, /* one in 100 */
	OBSERVE_WAITS,     /* block and mutex by default; Go has no such */
	OBSERVE_N
};

struct bench_job {
	const char *workload;
	int64_t n, k;                     /* k < 0: the workload's own default */
	void (*heap_rate)(int64_t bytes); /* of the host interface, which the workloads do not see */
	void (*observe)(int what, int on);
};
void bench_run(const struct bench_job *job);

#endif
