/* main.c - the weft benchmark's command line:
 *
 *	weft WORKLOAD PROCS N [K]
 *
 * The main thread starts the runtime, loads workloads.so from beside the program, as weftd loads plugins, and waits;
 * the workload is a goroutine.  RECORDER=BYTES in the environment sizes the event recorder (0: off; default 16 MiB,
 * as the daemon's; how many events there were is printed last).  Memory is sampled as by the daemon. */
#include <dlfcn.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "job.h"

#include <weft_host.h>
#include <weft_read.h>

static struct {
	struct bench_job job;
	void (*run)(const struct bench_job *job);
	weft_wg done;
} main_job = { .job = { .k = -1, .heap_rate = weft_host_heap_rate } };

static void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("bench: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	_exit(1); /* goroutines may run: no destructors under them */
}

static void must(int rc, const char *what)
{
	if (rc < 0)
		fail("%s: %s", what, weft_strerror(rc));
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

/* --- Observing: what the daemon does while somebody asks for a profile -------------------------------------- */

static struct {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t stop;
	bool stopping;
} drain = { .lock = PTHREAD_MUTEX_INITIALIZER, .stop = PTHREAD_COND_INITIALIZER };

static void drop(void *user, const struct weft_sample *s)
{
	(void)user;
	(void)s;
}

static void *drain_main(void *arg)
{
	(void)arg;
	weft_host_thread("drain");
	pthread_mutex_lock(&drain.lock);
	while (!drain.stopping) {
		struct timespec until;

		weft_cpu_drain(drop, NULL);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 200000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&drain.stop, &drain.lock, &until);
	}
	pthread_mutex_unlock(&drain.lock);
	return NULL;
}

static void observe_cpu(int on)
{
	if (on) {
		drain.stopping = false;
		must(weft_cpu_start(100), "weft_cpu_start");
		must(-pthread_create(&drain.thread, NULL, drain_main, NULL), "pthread_create");
		return;
	}
	pthread_mutex_lock(&drain.lock);
	drain.stopping = true;
	pthread_cond_signal(&drain.stop);
	pthread_mutex_unlock(&drain.lock);
	pthread_join(drain.thread, NULL);
	weft_cpu_stop();
	weft_cpu_drain(drop, NULL);
}

static void observe(int what, int on)
{
	switch (what) {
	case OBSERVE_CPU:
		observe_cpu(on);
		break;
	case OBSERVE_BLOCK_1:
		(void)weft_host_rate(WEFT_RATE_BLOCK, on ? 1 : 0);
		break;
	case OBSERVE_BLOCK_10US:
		(void)weft_host_rate(WEFT_RATE_BLOCK, on ? 10000 : 0);
		break;
	case OBSERVE_MUTEX_1:
		(void)weft_host_rate(WEFT_RATE_MUTEX, on ? 1 : 0);
		break;
	case OBSERVE_MUTEX_100:
		(void)weft_host_rate(WEFT_RATE_MUTEX, on ? 100 : 0);
		break;
	case OBSERVE_WAITS:
		(void)weft_host_rate(WEFT_RATE_BLOCK, on ? WEFT_RATE_BIASED : 0);
		(void)weft_host_rate(WEFT_RATE_MUTEX, on ? WEFT_RATE_BIASED : 0);
		break;
	}
}

static void job_run(void *arg)
{
	(void)arg;
	main_job.run(&main_job.job);
	weft_wg_done(&main_job.done);
}

/* After the first scan of modules: those that come later are plugins. */
static void load_workloads(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path);
	void *handle;

	while (n > 0 && path[n - 1] != '/')
		n--;
	if (n <= 0 || (size_t)n + sizeof "workloads.so" > sizeof path)
		fail("/proc/self/exe cannot be read");
	strcpy(path + n, "workloads.so");
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	main_job.run = handle ? (void (*)(const struct bench_job *))dlsym(handle, "bench_run") : NULL;
	if (!main_job.run)
		fail("%s", dlerror());
	must(weft_host_scan_modules(), "weft_host_scan_modules");
}

int main(int argc, char **argv)
{
	const char *rec = getenv("RECORDER");
	struct weft_host_opts opts = {
		.heap_rate = 512 << 10,
		.recorder_bytes = rec ? (size_t)number(rec, "RECORDER") : 16u << 20,
		.log = log_line,
		.name = no_name,
	};
	struct weft_counters counters;
	weft_inst *inst;

	if (argc < 4 || argc > 5)
		fail("usage: weft WORKLOAD PROCS N [K]");
	main_job.job.workload = argv[1];
	main_job.job.observe = observe;
	opts.maxprocs = (int)number(argv[2], "PROCS");
	main_job.job.n = number(argv[3], "N");
	if (argc == 5)
		main_job.job.k = number(argv[4], "K");
	weft_host_thread("main");
	must(weft_host_start(&opts), "weft_host_start");
	must(weft_host_scan_modules(), "weft_host_scan_modules");
	load_workloads();
	inst = weft_inst_new("bench");
	if (!inst)
		fail("weft_inst_new: no memory");
	weft_wg_add(&main_job.done, 1);
	must(weft_go_in(inst, job_run, NULL), "weft_go_in");
	weft_wg_wait(&main_job.done);
	weft_read_counters(&counters);
	if (opts.recorder_bytes)
		printf("recorder.events\t%" PRIu64 "\tev\n", counters.recorder_events);
	return weft_host_stop(10 * WEFT_SEC) < 0;
}
