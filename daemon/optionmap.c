/* optionmap.c - the configuration in the words of the runtime and the debug server, which know nothing
 * of struct conf. */
#include "flight.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "symbols.h"
#include "version.h"

static void on_log(void *user, int level, const char *instance, uint64_t goid, const char *text)
{
	(void)user;
	logger_write(level, instance, goid, text);
}

static int64_t profile_count(void *user, const char *name)
{
	(void)user;
	return http_profile_count(name);
}

static int profile_write(void *user, const char *name, int debug, int fd)
{
	(void)user;
	return http_profile_write(name, debug, true, fd);
}

static int profile_write_bare(void *user, const char *name, int debug, int fd)
{
	(void)user;
	return http_profile_write(name, debug, false, fd);
}

static int cpu_start(void *user, int hz, uint32_t instance)
{
	(void)user;
	return http_cpu_start(hz, instance);
}

static int cpu_stop(void *user, int fd)
{
	(void)user;
	return http_cpu_stop(fd);
}

static void cpu_end(void *user, uint32_t instance)
{
	(void)user;
	http_cpu_end(instance);
}

/* "auto" (0) or 1..WEFT_MAXPROCS_LIMIT */
static int parse_maxprocs(const char *text)
{
	char *end;
	long n;

	if (!strcmp(text, "auto"))
		return 0;
	errno = 0;
	n = strtol(text, &end, 10);
	if (end == text || *end || errno || n < 1 || n > WEFT_MAXPROCS_LIMIT)
		return -EINVAL;
	return (int)n;
}

int options_host(const struct conf *c, const char *env, struct weft_host_opts *out, char *err, size_t cap)
{
	int procs = (int)c->runtime.maxprocs;

	if (env && *env)
		procs = parse_maxprocs(env);
	if (procs < 0) {
		snprintf(err, cap, "environment WEFT_MAXPROCS: \"%s\" is neither \"auto\" nor a number from 1 to %d",
			 env, WEFT_MAXPROCS_LIMIT);
		return -EINVAL;
	}
	*out = (struct weft_host_opts){
		.maxprocs = procs,
		.maxprocs_floor = c->runtime.maxprocs_floor,
		.preempt_by_signal = !strcmp(c->runtime.preempt, "signal"),
		.max_threads = (int)c->runtime.max_threads,
		.handoff_max = (int)c->runtime.handoff_max,
		.max_goroutines = (uint64_t)c->runtime.max_goroutines,
		.recorder_bytes = (size_t)c->runtime.recorder_memory,
		.heap_rate = c->profiles.heap_rate,
		.traceback_full = c->runtime.traceback_full,
		.log = on_log,
		.name = symbols_name,
		.profile_count = profile_count,
		.profile_write = c->http.labels ? profile_write : profile_write_bare,
		.cpu_start = cpu_start,
		.cpu_stop = cpu_stop,
		.cpu_end = cpu_end,
		.trace_start = trace_api_start,
		.trace_stop = trace_api_stop,
		.trace_end = trace_api_instance_end,
		.flight = trace_api_flight,
		.user = (void *)c,
	};
	return 0;
}

static bool ready(void *user, char *why, size_t cap)
{
	const struct weftd *d = user;

	if (d->state == WEFTD_RUNNING)
		return true;
	if (d->state == WEFTD_STARTING && d->next < d->n_instances)
		instance_describe(&d->instances[d->next], why, cap);
	else
		snprintf(why, cap, "%s", d->state == WEFTD_STARTING ? "starting" : "stopping");
	return false;
}

static void http_log(void *user, int level, const char *text)
{
	(void)user;
	logger_write(level, NULL, 0, text);
}

static unsigned switched_off(const struct conf *c)
{
	return (c->http.endpoints.pprof ? 0 : HTTP_PPROF) | (c->http.endpoints.metrics ? 0 : HTTP_METRICS) |
	       (c->http.endpoints.cmdline ? 0 : HTTP_CMDLINE) | (c->http.endpoints.symbol ? 0 : HTTP_SYMBOL) |
	       (c->http.endpoints.dump ? 0 : HTTP_DUMP) | (c->http.endpoints.trace ? 0 : HTTP_TRACE);
}

void options_http(const struct weftd *d, struct http_opts *out)
{
	const struct conf *c = d->conf;

	*out = (struct http_opts){
		.loop = d->hl,
		.listen = c->http.listen,
		.n_listen = c->http.n_listen,
		.allowed_hosts = c->http.allowed_hosts,
		.n_allowed_hosts = c->http.n_allowed_hosts,
		.allow_remote = c->http.allow_remote,
		.max_profile_seconds = c->http.max_profile_seconds,
		.max_collections = (int)c->http.max_collections,
		.cpu_hz = (int)c->profiles.cpu_hz,
		.off = switched_off(c),
		.no_labels = !c->http.labels,
		.version = WEFT_VERSION,
		.build_id = d->build_id,
		.flight_dir = flight_directory(c),
		.argc = d->argc,
		.argv = d->argv,
		.ready = ready,
		.log = http_log,
		.metrics = metrics_write,
		.user = (void *)d,
	};
}
