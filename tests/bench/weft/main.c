/* main.c - command line, clocks and printing of the weft benchmark:
 *
 *	weft WORKLOAD PROCS N [K]
 *
 * The main thread starts the runtime and waits; the workload is a goroutine.  RECORDER=BYTES in the
 * environment sizes the event recorder (0: off; default 16 MiB, as the daemon's). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench.h"

#include <weft_host.h>

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
};

struct job {
	const struct workload *w;
	int64_t n, k;
	weft_wg done;
};

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

static void job_run(void *arg)
{
	struct job *j = arg;

	if (j->w->own) {
		j->w->own(j->n, j->k);
	} else {
		j->w->run(j->n / 10, j->k);
		struct stamp s = stamp_now();
		j->w->run(j->n, j->k);
		print_per_op(j->w->name, s, j->n);
	}
	fflush(stdout);
	weft_wg_done(&j->done);
}

static int64_t number(const char *s, const char *what)
{
	char *end;
	long long n = strtoll(s, &end, 10);

	if (end == s || *end || n < 0)
		fail("%s must be a number >= 0, not \"%s\"", what, s);
	return n;
}

static void log_line(void *user, int level, const char *instance, uint64_t goid, const char *text)
{
	(void)user;
	(void)instance;
	if (level <= WEFT_WARN)
		fprintf(stderr, "bench: goroutine %" PRIu64 ": %s\n", goid, text);
}

static size_t no_name(uintptr_t pc, char *buf, size_t cap)
{
	(void)pc;
	if (cap > 0)
		*buf = '\0';
	return 0;
}

static const struct workload *find(const char *name)
{
	for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
		if (strcmp(workloads[i].name, name) == 0)
			return &workloads[i];
	fail("there is no workload \"%s\"", name);
}

int main(int argc, char **argv)
{
	static struct job job;
	const char *rec = getenv("RECORDER");
	struct weft_host_opts opts = {
		.recorder_bytes = rec ? (size_t)number(rec, "RECORDER") : 16u << 20,
		.log = log_line,
		.name = no_name,
	};
	weft_inst *inst;

	if (argc < 4 || argc > 5)
		fail("usage: weft WORKLOAD PROCS N [K]");
	job.w = find(argv[1]);
	opts.maxprocs = (int)number(argv[2], "PROCS");
	job.n = number(argv[3], "N");
	job.k = argc == 5 ? number(argv[4], "K") : job.w->k;
	weft_host_thread("main");
	must(weft_host_start(&opts), "weft_host_start");
	must(weft_host_scan_modules(), "weft_host_scan_modules");
	inst = weft_inst_new("bench");
	if (!inst)
		fail("weft_inst_new: no memory");
	weft_wg_add(&job.done, 1);
	must(weft_go_in(inst, job_run, &job), "weft_go_in");
	weft_wg_wait(&job.done);
	return weft_host_stop(10 * WEFT_SEC) < 0;
}
