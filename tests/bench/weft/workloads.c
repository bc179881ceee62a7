/* workloads.c - the list of workloads, and what they share: clocks, printing, giving up.
 *
 * With the workloads this is a plugin as far as the runtime is concerned: loaded after it has started, calling it
 * through <weft.h> alone. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench.h"

static const struct workload {
	const char *name;
	void (*run)(int64_t n, int64_t k);
	void (*own)(int64_t n, int64_t k);
	int64_t k;
} workloads[] = {
	{ "switch", run_switch, NULL, 0 },
	{ "spawn_join", run_spawn_join, NULL, 1000 },
	{ "spawn_tree", NULL, own_spawn_tree, 10 },
	{ "skynet", NULL, own_skynet, 10 },
	{ "fib", NULL, own_fib, 12 },
	{ "chan_pingpong", run_ping_pong, NULL, 0 },
	{ "chan_self", run_self, NULL, 128 },
	{ "chan_buffered", run_buffered, NULL, 128 },
	{ "ring", NULL, own_ring, 1000 },
	{ "sieve", NULL, own_sieve, 1000 },
	{ "mutex", run_mutex, NULL, 1 },
	{ "waitgroup", run_wait_group, NULL, 0 },
	{ "memory", NULL, own_memory, 100000 },
	{ "select_ready", run_select_ready, NULL, 2 },
	{ "select_block", run_select_block, NULL, 2 },
	{ "rwmutex", run_rwmutex, NULL, 8 },
	{ "mpmc", run_mpmc, NULL, 4 },
	{ "mix", run_mix, NULL, 100 },
	{ "mergesort", NULL, own_mergesort, 4096 },
	{ "timers", NULL, own_timers, 100000 },
	{ "cpu_fairness", NULL, own_fairness, 4 },
	{ "late_compute", NULL, own_late_compute, 8 },
	{ "late_malloc", NULL, own_late_malloc, 8 },
	{ "late_print", NULL, own_late_print, 8 },
	{ "late_sort", NULL, own_late_sort, 8 },
	{ "late_once", NULL, own_late_once, 8 },
	{ "late_lock", NULL, own_late_lock, 8 },
	{ "blocking", NULL, own_blocking, 1000 },
	{ "blocking_raw", NULL, own_blocking_raw, 1000 },
	{ "tcp_server", NULL, own_tcp_server, 0 },
	{ "malloc", run_malloc, NULL, 64 },
	{ "prof_heap", NULL, own_prof_heap, 64 },
	{ "profile", NULL, own_profile, OBSERVE_CPU },
	{ "annotate", run_annotate, NULL, 0 },
	{ 0 },
};

void (*bench_heap_rate)(int64_t bytes);

void (*observe)(int what, int on);

void fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("bench: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	_exit(1); /* a goroutine may be here: no destructors under a running scheduler */
}

int must(int rc, const char *what)
{
	if (rc < 0)
		fail("%s: %s", what, weft_strerror(rc));
	return rc;
}

num_chan new_chan(size_t cap)
{
	num_chan c;

	must(weft_make(&c, cap), "weft_make");
	return c;
}

uint64_t splitmix64(uint64_t i)
{
	uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

struct stamp stamp_now(void)
{
	struct rusage ru;

	if (getrusage(RUSAGE_SELF, &ru) < 0)
		fail("getrusage failed");
	return (struct stamp){
		.wall = weft_now(),
		.cpu = (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * WEFT_SEC +
		       (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * WEFT_US,
	};
}

void print_value(const char *name, double value, const char *unit)
{
	printf("%s\t%.3f\t%s\n", name, value, unit);
}

void print_per_op(const char *name, struct stamp s, int64_t ops)
{
	struct stamp now = stamp_now();
	char cpu[64];

	snprintf(cpu, sizeof cpu, "%s.cpu", name);
	print_value(name, (double)(now.wall - s.wall) / (double)ops, "ns");
	print_value(cpu, (double)(now.cpu - s.cpu) / (double)ops, "ns");
}

void print_per_op_ms(const char *name, struct stamp s, int64_t ops)
{
	double ms = (double)(weft_now() - s.wall) / (double)WEFT_MS;
	char line[64];

	print_per_op(name, s, ops);
	snprintf(line, sizeof line, "%s.ms", name);
	print_value(line, ms, "ms");
}

__attribute__((visibility("default"))) void bench_run(const struct bench_job *j)
{
	const struct workload *w = workloads;
	int64_t k;

	bench_heap_rate = j->heap_rate;
	while (w->name && strcmp(w->name, j->workload) != 0)
		w++;
	if (!w->name)
		fail("there is no workload \"%s\"", j->workload);
	k = j->k < 0 ? w->k : j->k;
	observe = j->observe;
	if (w->own) {
		w->own(j->n, k);
	} else {
		w->run(j->n / 10, k);
		struct stamp s = stamp_now();
		w->run(j->n, k);
		print_per_op(w->name, s, j->n);
	}
	fflush(stdout);
}
