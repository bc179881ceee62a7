/* prof.h - between prof_cpu.c (which threads, which timers) and prof_sample.c (the handler, the ring). */
#ifndef WEFT_RT_PROF_H
#define WEFT_RT_PROF_H

#include "rt.h"

#define RT_CPU_THREADS_MAX 16384

/* A thread that is or was sampled.  Records stay where they are; the signal carries a pointer to one. */
struct rt_cpu_thread {
	_Atomic int tid; /* the handler takes a sample only on this very thread */
	struct m *_Atomic m;
	_Atomic uintptr_t lo, hi; /* of its stack, where that is known; hi 0: it is not */
	char name[32];
	/* under prof_cpu.c's lock */
	enum { RT_CPU_FREE, RT_CPU_USED, RT_CPU_DEAD } state;
	int timer; /* kernel's number, if armed */
	bool armed, seen;
	bool early;       /* told of itself when it began: it may have been given a name since */
	uint32_t next;    /* chain of its hash; index + 1 */
	uint64_t dead_at; /* round in which it was found dead */
};

/* What the handler leaves. */
struct rt_raw_sample {
	_Atomic uint64_t seq;
	int64_t time;
	uint64_t goid, labels;
	uint32_t weight, instance, thread; /* thread: index of its record */
	int tid;
	unsigned flags;
	uint16_t kind, depth, pid; /* WEFT_REC_NO_P: none */
	uint64_t pc[WEFT_STACK_MAX];
};

extern struct rt_cpu_thread *rt_cpu_threads; /* [RT_CPU_THREADS_MAX]; mapped at the first start, then constant */
extern _Atomic uint32_t rt_cpu_on;

int rt_samples_start(void);
/* The oldest sample, or NULL; rt_samples_done() gives its place back.  One caller at a time. */
const struct rt_raw_sample *rt_samples_next(void);
void rt_samples_done(void);
uint64_t rt_samples_lost(void); /* since the last call */
/* Read the process's mappings anew, for stacks of threads that nobody told us of. */
void rt_samples_read_maps(void);

#endif
