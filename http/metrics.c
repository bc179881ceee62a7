/* metrics.c - /metrics in the text format 0.0.4, whatever the client would rather have.
 *
 * Built on the loop: it reads counters and a few files of /proc that take no lock another thread may hold
 * for long, and takes well under a millisecond. */
#include "server.h"

#include "expo.h"
#include "weft_read.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define INSTANCES_MAX 4096

static void counter(struct buf *b, const char *name, uint64_t v, const char *help)
{
	expo_family(b, name, EXPO_COUNTER, help);
	expo_u64(b, name, v, NULL);
}

static void gauge(struct buf *b, const char *name, uint64_t v, const char *help)
{
	expo_family(b, name, EXPO_GAUGE, help);
	expo_u64(b, name, v, NULL);
}

/* --- Scheduler ---------------------------------------------------------------------- */

/* Two reasons may have one word, and a series may be written once only. */
static void parks(struct buf *b, const struct weft_counters *c)
{
	static const char name[] = "weft_parks_total";

	expo_family(b, name, EXPO_COUNTER, "Times a goroutine began to wait, by what for.");
	for (int i = 0; i < WEFT_REASONS_MAX; i++) {
		const char *word = weft_read_reason(i);
		uint64_t sum = 0;
		bool seen = false;

		for (int k = 0; k < WEFT_REASONS_MAX; k++) {
			if (strcmp(word, weft_read_reason(k)) != 0)
				continue;
			seen |= k < i;
			sum += c->parks[k];
		}
		if (!seen && sum)
			expo_u64(b, name, sum, "reason", word, NULL);
	}
}

static void preemption(struct buf *b, const struct weft_counters *c)
{
	static const char handoffs[] = "weft_handoffs_total", refused[] = "weft_preempt_refused_total";

	expo_family(b, handoffs, EXPO_COUNTER, "Times a P was taken from a thread that kept its goroutine.");
	expo_u64(b, handoffs, c->handoffs_slice, "reason", "slice", NULL);
	expo_u64(b, handoffs, c->handoffs_blocked, "reason", "blocked", NULL);
	expo_u64(b, handoffs, c->handoffs_section, "reason", "section", NULL);
	counter(b, "weft_preempted_total", c->preempted, "Goroutines interrupted by signal at the end of their slice.");
	counter(b, "weft_parks_locked_total", c->parked_locked, "Waits of goroutines that held a lock of pthread's.");
	gauge(b, "weft_handed_off", c->handed_off, "Threads that run on after the end of a slice, without a P.");
	gauge(b, "weft_handed_off_max", c->handoff_max, "How many there may be.");
	expo_family(b, refused, EXPO_COUNTER, "Ends of a slice at which the goroutine kept its P.");
	for (int i = 0; i < WEFT_REFUSED_N; i++)
		expo_u64(b, refused, c->preempt_refused[i], "reason", weft_read_refusal(i), NULL);
}

static void scheduler(struct buf *b, const struct weft_counters *c)
{
	static const char states[] = "weft_goroutines", runq[] = "weft_runq_length";

	gauge(b, "weft_maxprocs", (uint64_t)c->maxprocs, "Ps: how many goroutines can run at once.");
	gauge(b, "weft_procs_idle", (uint64_t)c->idle_procs, "Ps without work.");
	gauge(b, "weft_threads", (uint64_t)c->threads, "Threads of the runtime.");
	expo_family(b, states, EXPO_GAUGE, "Goroutines by state; a look without stopping, so the sum may be off.");
	expo_u64(b, states, c->running, "state", "running", NULL);
	expo_u64(b, states, c->runnable, "state", "runnable", NULL);
	expo_u64(b, states, c->waiting, "state", "waiting", NULL);
	expo_u64(b, states, c->not_in_go, "state", "not-in-go", NULL);
	gauge(b, "weft_goroutines_live", c->live, "Goroutines that have been started and have not ended.");
	counter(b, "weft_goroutines_created_total", c->created, "Goroutines ever started.");
	expo_family(b, runq, EXPO_GAUGE, "Runnable goroutines in the queue of each P.");
	for (int i = 0; i < c->runq_n; i++) {
		char p[12];

		snprintf(p, sizeof(p), "%d", i);
		expo_u64(b, runq, c->runq[i], "p", p, NULL);
	}
	gauge(b, "weft_runq_global_length", c->global_runq, "Runnable goroutines in the queue of all.");
	counter(b, "weft_switches_total", c->switches, "Switches from one goroutine to another.");
	counter(b, "weft_steals_total", c->steals, "Times a P took work from another's queue.");
	counter(b, "weft_handovers_total", c->handovers,
		"Wake-ups that put the woken goroutine next on the waker's P.");
	preemption(b, c);
	counter(b, "weft_spurious_wakes_total", c->spurious_wakes, "Threads woken that found nothing to run.");
	parks(b, c);
	gauge(b, "weft_timers", c->timers, "Timers pending.");
	gauge(b, "weft_netpoll_descriptors", c->net_descriptors, "Descriptors that weft has opened.");
	counter(b, "weft_netpoll_polls_total", c->net_polls, "Times the kernel was asked which descriptors are ready.");
	counter(b, "weft_netpoll_events_total", c->net_events, "Changes of descriptors that it told of.");
}

/* --- Memory and tables ------------------------------------------------------------------- */

static void tables(struct buf *b, const struct weft_counters *c)
{
	static const char guard[] = "weft_stack_guard";

	gauge(b, "weft_goroutines_max", c->goroutines_max, "Goroutines that may exist at once, with stacks of 64 KiB.");
	gauge(b, "weft_stacks_mapped", c->stacks_mapped, "Stack slots that have been opened.");
	gauge(b, "weft_stacks_in_use", c->stacks_in_use, "Stack slots that hold a goroutine.");
	gauge(b, "weft_stack_reserved_bytes", c->stack_bytes_reserved, "Address space of all stack slots.");
	counter(b, "weft_stacks_trimmed_total", c->stacks_trimmed, "Dead stack slots given back to the system.");
	expo_family(b, guard, EXPO_GAUGE, "How stacks are guarded against overflow.");
	expo_u64(b, guard, 1, "kind", c->guard ? c->guard : "none", NULL);
	gauge(b, "weft_stacks_unguarded", c->unguarded, "Stack slots with a canary instead of a guard page.");
	gauge(b, "weft_recorder_memory_bytes", c->recorder_bytes, "Size of the event recorder's pool.");
	counter(b, "weft_recorder_events_total", c->recorder_events, "Events recorded.");
	counter(b, "weft_recorder_dropped_total", c->recorder_dropped, "Events that found no room.");
	gauge(b, "weft_stack_table_entries", c->stack_table_used, "Distinct stacks in the stack table.");
	gauge(b, "weft_stack_table_capacity", c->stack_table_size, "Distinct stacks that fit into the stack table.");
	counter(b, "weft_stack_table_lost_total", c->stack_table_lost, "Stacks that found the table full.");
	gauge(b, "weft_unwind_rows", c->unwind_rows, "Rows of the compiled unwind tables.");
	gauge(b, "weft_unwind_modules", c->unwind_modules, "Modules with an unwind table.");
	counter(b, "weft_unwind_failed_total", c->unwind_failed, "Stack walks that ended before the root.");
	gauge(b, "weft_label_sets", c->label_sets, "Label sets alive.");
	counter(b, "weft_labels_dropped_total", c->labels_dropped, "Labels not kept for want of room.");
	gauge(b, "weft_profile_label_sets", c->labels_kept, "Label sets in the cumulative profiles.");
	counter(b, "weft_profile_labels_dropped_total", c->profile_labels_dropped,
		"Events of the cumulative profiles counted without their labels, of which their instance has too "
		"many.");
	counter(b, "weft_logs_cut_total", c->logs_cut, "Log lines cut or dropped.");
	counter(b, "weft_cpu_samples_total", c->samples, "CPU samples taken.");
	counter(b, "weft_cpu_samples_lost_total", c->samples_lost, "CPU samples that found no room.");
	gauge(b, "weft_heap_sample_rate_bytes", (uint64_t)c->heap_rate,
	      "Bytes allocated for one sample of the heap profile, on average; 1: every block is one; 0: off.");
	counter(b, "weft_heap_samples_total", c->heap_samples, "Blocks of memory that were sampled.");
	gauge(b, "weft_heap_samples_live", c->heap_samples_live, "Sampled blocks that have not been freed.");
	counter(b, "weft_heap_samples_lost_total", c->heap_samples_lost,
		"Sampled blocks for which there was no room: the heap profile takes them for freed.");
	counter(b, "weft_capture_signals_total", c->capture_signals, "Signals sent to read the stack of a thread.");
	counter(b, "weft_capture_late_total", c->capture_late, "Threads that did not show their stack in time.");
}

static void instances(struct buf *b)
{
	size_t n = weft_read_instances(NULL, 0);
	struct weft_inst_info *info;

	n = n < INSTANCES_MAX ? n : INSTANCES_MAX;
	info = n ? calloc(n, sizeof(*info)) : NULL;
	if (!info)
		return;
	/* More may have come, never fewer: instances are not freed. */
	(void)weft_read_instances(info, n);
	expo_family(b, "weft_instance_goroutines", EXPO_GAUGE, "Goroutines of the instance that are alive.");
	for (size_t i = 0; i < n; i++)
		expo_u64(b, "weft_instance_goroutines", info[i].live, "instance", info[i].name, NULL);
	expo_family(b, "weft_instance_goroutines_created_total", EXPO_COUNTER, "Goroutines the instance started.");
	for (size_t i = 0; i < n; i++)
		expo_u64(b, "weft_instance_goroutines_created_total", info[i].created, "instance", info[i].name, NULL);
	expo_family(b, "weft_instance_cancelled", EXPO_GAUGE, "1 when the instance is being stopped.");
	for (size_t i = 0; i < n; i++)
		expo_u64(b, "weft_instance_cancelled", info[i].cancelled, "instance", info[i].name, NULL);
	free(info);
}

/* --- HTTP ----------------------------------------------------------------------------------- */

/* The sum over the routes of one class, at its first route only. */
static uint64_t requests_of(const struct http *h, size_t i, int code)
{
	uint64_t sum = 0;

	for (size_t k = 0; route_class(k); k++) {
		if (strcmp(route_class(k), route_class(i)) != 0)
			continue;
		if (k < i)
			return 0;
		sum += h->count.requests[k][code];
	}
	return sum;
}

static void http_counters(struct buf *b, struct http *h)
{
	static const char name[] = "weft_http_requests_total";
	uint64_t conns = 0;

	expo_family(b, name, EXPO_COUNTER, "HTTP requests answered, by endpoint and status code.");
	for (size_t i = 0; route_class(i); i++) {
		for (int k = 0; k < CODES_MAX; k++) {
			uint64_t n = requests_of(h, i, k);
			char code[12] = "other";

			if (!n)
				continue;
			if (route_status(k))
				snprintf(code, sizeof(code), "%u", route_status(k));
			expo_u64(b, name, n, "endpoint", route_class(i), "code", code, NULL);
		}
	}
	for (size_t i = 0; i < h->n_listeners; i++)
		conns += h->listener[i].conns;
	gauge(b, "weft_http_connections", conns, "Open HTTP connections.");
	gauge(b, "weft_http_collections", (uint64_t)h->in_use[BUDGET_COLLECTION], "Collections that are running.");
	gauge(b, "weft_http_cpu_sessions", (uint64_t)cpu_sessions(h->cpu), "CPU profiles that are being taken.");
	counter(b, "weft_http_rejected_total", h->count.rejected, "Requests refused because too many were running.");
	counter(b, "weft_http_client_gone_total", h->count.gone, "Collections ended because the client left.");
}

/* --- Process ----------------------------------------------------------------------------------- */

static size_t slurp(const char *path, char *buf, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, cap - 1);

	if (fd >= 0)
		close(fd);
	buf[n < 0 ? 0 : n] = '\0';
	return n < 0 ? 0 : (size_t)n;
}

static uint64_t open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t n = 0;

	if (!dir)
		return 0;
	for (struct dirent *e; (e = readdir(dir));)
		n += e->d_name[0] != '.';
	closedir(dir);
	return n - 1; /* not the one of the directory */
}

/* Seconds since the epoch when the machine booted; 0: unknown. */
static double boot_time(void)
{
	struct timespec real, up;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &up);
	return (double)(real.tv_sec - up.tv_sec) + (double)(real.tv_nsec - up.tv_nsec) / 1e9;
}

static void process(struct buf *b)
{
	static double start; /* the clock may be set; what was read first stays */
	char text[1024];
	const char *stat = NULL;
	unsigned long long vpages = 0, rpages = 0, ticks = 0, threads = 0;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct rusage ru = { 0 };
	struct rlimit rl = { 0 };

	/* After the name, which may hold anything, come the fields from the third on. */
	if (slurp("/proc/self/stat", text, sizeof(text)))
		stat = strrchr(text, ')');
	if (stat)
		(void)sscanf(stat + 1,
			     "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %*s %llu",
			     &threads, &ticks);
	if (start == 0 && ticks)
		start = boot_time() + (double)ticks / (double)sysconf(_SC_CLK_TCK);
	if (slurp("/proc/self/statm", text, sizeof(text)))
		(void)sscanf(text, "%llu %llu", &vpages, &rpages);
	getrusage(RUSAGE_SELF, &ru);
	getrlimit(RLIMIT_NOFILE, &rl);
	expo_family(b, "process_cpu_seconds_total", EXPO_COUNTER, "CPU time the process has used.");
	expo_value(b, "process_cpu_seconds_total",
		   (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
			   (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6,
		   NULL);
	gauge(b, "process_open_fds", open_fds(), "Open descriptors.");
	gauge(b, "process_max_fds", (uint64_t)rl.rlim_cur, "Descriptors the process may have open.");
	gauge(b, "process_resident_memory_bytes", rpages * page, "Memory in use.");
	gauge(b, "process_virtual_memory_bytes", vpages * page, "Address space in use.");
	gauge(b, "process_threads", threads, "Threads of the process.");
	expo_family(b, "process_start_time_seconds", EXPO_GAUGE, "When the process was started, since the epoch.");
	expo_value(b, "process_start_time_seconds", start, NULL);
}

void get_metrics(struct request *r)
{
	struct http *h = r->h;
	struct weft_counters c;
	struct buf b = { 0 };

	memset(&c, 0, sizeof(c));
	weft_read_counters(&c);
	expo_family(&b, "weft_build_info", EXPO_GAUGE, "Always 1; the labels say what runs.");
	expo_u64(&b, "weft_build_info", 1, "version", h->opts.version, "build_id", h->opts.build_id, NULL);
	expo_family(&b, "weft_start_time_seconds", EXPO_GAUGE, "When the runtime was started, since the epoch.");
	expo_value(&b, "weft_start_time_seconds", (double)c.started / 1e9, NULL);
	scheduler(&b, &c);
	tables(&b, &c);
	instances(&b);
	http_counters(&b, h);
	process(&b);
	if (h->opts.metrics)
		h->opts.metrics(h->opts.user, &b);
	if (b.failed) {
		buf_free(&b);
		reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return;
	}
	reply_bytes(r, "text/plain; version=0.0.4; charset=utf-8", NULL, b.b, b.len);
}
