/* lifecycle.c - starting -> running -> draining -> stopped.
 *
 * Start.  Signal handlers before any thread, so that no signal is lost; then the logger, the runtime,
 * the debug server, and only then the first plugin: the server answers while a constructor or an init
 * hangs.  Instances start one after the other, in the order of the file, each under
 * runtime.init_timeout; the first refusal undoes the others and ends the daemon with 78.
 *
 * Drain.  Every instance is stopped at once and has until the deadline (now + shutdown_timeout).  At
 * half of it a stop() that has not returned is overtaken: its context ends all the same.  At the
 * deadline the stragglers are named and the process ends without them.  Nothing here waits for a
 * goroutine: progress comes as posts and by counting on a timer, and each step of the end has a limit
 * of its own, so that the process is gone within shutdown_timeout + 1 s whatever the goroutines do.
 *
 * The end is _exit(): destructors of plugins are plugin code, and the dynamic linker's lock may be held
 * by a constructor that never returns.  What stdio has buffered is written by a thread of its own with
 * a limit, since a goroutine may hold a stream's lock. */
#include "flight.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe_scan.h"
#include "version.h"

/* The end after the deadline, in all less than a second. */
#define REPORT_NS (550 * WEFT_MS)
#define HTTP_STOP_NS (150 * WEFT_MS)
#define TRACE_NS (300 * WEFT_MS) /* that a trace has at least to become whole, unless there was a report */
#define STDIO_NS (100 * WEFT_MS)
#define LOG_NS (100 * WEFT_MS)

#define REFUSED_NS WEFT_SEC /* a refused instance is given no more than this to end */
#define COUNT_FIRST_NS WEFT_MS
#define COUNT_DRAIN_NS (20 * WEFT_MS)
#define COUNT_RUNNING_NS (250 * WEFT_MS)
#define TELL_NS WEFT_SEC

static void arm(struct weftd *d, struct http_timer *t, int64_t in_ns)
{
	d->hl->arm(d->hl->user, t, in_ns);
}

/* --- The end --------------------------------------------------------------------------------------- */

static void http_stopped(void *arg)
{
	struct weftd *d = arg;

	d->http = NULL;
	loop_stop(d->loop);
}

static void finish(struct weftd *d)
{
	if (d->state == WEFTD_STOPPED)
		return;
	d->state = WEFTD_STOPPED;
	if (!d->http) {
		loop_stop(d->loop);
		return;
	}
	/* The tick ends the loop if the server does not keep its own limit. */
	d->deadline = now_ns() + HTTP_STOP_NS + 50 * WEFT_MS;
	arm(d, d->tick, HTTP_STOP_NS + 50 * WEFT_MS);
	http_stop(d->http, HTTP_STOP_NS, http_stopped, d);
}

static size_t count_left(const struct weftd *d, bool refused_too)
{
	size_t n = 0;

	for (size_t i = 0; i < d->n_instances; i++)
		n += d->instances[i].phase != INSTANCE_GONE && (refused_too || !d->instances[i].refused);
	return n;
}

static void reported(void *arg)
{
	finish(arg);
}

static void overdue(struct weftd *d)
{
	if (d->exit_code == 0)
		d->exit_code = 1;
	d->reporting = true;
	trace_api_end(0);
	stragglers_report(d, reported);
}

static void tell_draining(struct weftd *d, int64_t now)
{
	uint64_t goroutines = 0;

	if (now - d->told < TELL_NS)
		return;
	d->told = now;
	for (size_t i = 0; i < d->n_instances; i++)
		if (d->instances[i].inst)
			goroutines += weft_inst_live(d->instances[i].inst);
	notify_send(&d->notify, "EXTEND_TIMEOUT_USEC=%lld\nSTATUS=Stopping: %zu instances, %llu goroutines are left",
		    (long long)((d->deadline - now + 2 * TELL_NS) / WEFT_US), count_left(d, true),
		    (unsigned long long)goroutines);
}

/* Where the drain stands; on every tick, and when an instance is gone. */
static void check_drain(struct weftd *d)
{
	int64_t now = now_ns();

	if (d->reporting) {
		if (now >= d->deadline + REPORT_NS)
			finish(d);
	} else if (count_left(d, true) == 0) {
		finish(d);
	} else if (now >= d->deadline || (count_left(d, false) == 0 && now >= d->drain_began + REFUSED_NS)) {
		overdue(d);
	} else {
		tell_draining(d, now);
	}
}

static void drain(struct weftd *d)
{
	d->state = WEFTD_DRAINING;
	d->drain_began = now_ns();
	d->deadline = d->drain_began + d->conf->shutdown_timeout;
	notify_send(&d->notify, "STOPPING=1");
	arm(d, d->start_timer, -1);
	for (size_t i = 0; i < d->n_instances; i++)
		instance_stop(&d->instances[i]);
	tell_draining(d, d->drain_began);
	arm(d, d->tick, COUNT_FIRST_NS);
	check_drain(d);
}

/* --- Counting goroutines ------------------------------------------------------------------------------ */

static void on_tick(void *arg)
{
	struct weftd *d = arg;
	bool hurry = d->state == WEFTD_DRAINING && now_ns() >= d->drain_began + (d->deadline - d->drain_began) / 2;
	bool again = d->state == WEFTD_DRAINING;

	if (d->state == WEFTD_STOPPED) {
		loop_stop(d->loop);
		return;
	}
	for (size_t i = 0; i < d->n_instances; i++) {
		struct instance *in = &d->instances[i];

		instance_poll(in);
		if (hurry)
			instance_hurry(in);
		again |= (in->phase == INSTANCE_RUNNING && in->ran) || in->phase == INSTANCE_ENDING ||
			 in->phase == INSTANCE_FINI;
	}
	if (d->state == WEFTD_DRAINING)
		check_drain(d);
	if (again && d->state != WEFTD_STOPPED)
		arm(d, d->tick, d->state == WEFTD_DRAINING ? COUNT_DRAIN_NS : COUNT_RUNNING_NS);
}

void weftd_watch(struct weftd *d)
{
	if (d->state != WEFTD_STOPPED)
		arm(d, d->tick, COUNT_FIRST_NS);
}

void weftd_gone(struct weftd *d, struct instance *in)
{
	if (d->state == WEFTD_DRAINING)
		check_drain(d);
	else if (!in->refused)
		log_notice("instance \"%s\" has ended", in->conf->name);
}

/* --- The start -------------------------------------------------------------------------------------------- */

void weftd_refuse(struct weftd *d, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	log_error("%s", text);
	notify_send(&d->notify, "STATUS=Refused: %s", text);
	d->exit_code = EXIT_REFUSED;
	if (d->state == WEFTD_STARTING)
		drain(d);
}

void weftd_limit(struct weftd *d)
{
	arm(d, d->start_timer, d->conf->runtime.init_timeout);
	notify_send(&d->notify, "EXTEND_TIMEOUT_USEC=%lld\nSTATUS=Starting instance %zu of %zu: %s",
		    (long long)((d->conf->runtime.init_timeout + TELL_NS) / WEFT_US), d->next + 1, d->n_instances,
		    d->instances[d->next].conf->name);
}

static void on_limit(void *arg)
{
	struct weftd *d = arg;

	if (d->state == WEFTD_STARTING && d->next < d->n_instances)
		instance_overdue(&d->instances[d->next], d->conf->runtime.init_timeout);
}

static void is_running(struct weftd *d)
{
	const char *address = d->http ? http_address(d->http, 0) : NULL;

	d->state = WEFTD_RUNNING;
	arm(d, d->start_timer, -1);
	log_notice("ready: %zu instance%s", d->n_instances, d->n_instances == 1 ? "" : "s");
	notify_send(&d->notify, "READY=1\nSTATUS=Running %zu instances; debug server on %s", d->n_instances,
		    address ? address : "nothing");
}

static void start_next(void *arg)
{
	struct weftd *d = arg;

	if (d->state != WEFTD_STARTING)
		return;
	if (d->next == d->n_instances)
		is_running(d);
	else
		instance_start(&d->instances[d->next]);
}

void weftd_started(struct weftd *d, struct instance *in)
{
	log_info("instance \"%s\" runs %s%s%s", in->conf->name, in->conf->plugin,
		 in->load.plugin->entry.version ? " " : "",
		 in->load.plugin->entry.version ? in->load.plugin->entry.version : "");
	d->next++;
	start_next(d);
}

static void on_signals(void *arg, unsigned events)
{
	struct weftd *d = arg;
	int signo;
	unsigned what = signals_take(&signo);

	(void)events;
	if (what & SIGNALS_RELOAD)
		log_warn("SIGHUP: this version can't reload its configuration while it runs; restart it instead");
	if (what & SIGNALS_FLIGHT)
		log_warn("SIGUSR2: no snapshot: neither flight.directory nor the environment's STATE_DIRECTORY "
			 "names a folder for it that can be used");
	if ((what & SIGNALS_STOP) && d->state < WEFTD_DRAINING) {
		log_notice("SIG%s: stopping, within %g s; a second signal exits at once", sigabbrev_np(signo),
			   (double)d->conf->shutdown_timeout / WEFT_SEC);
		drain(d);
	}
}

static int make_instances(struct weftd *d, char *err, size_t cap)
{
	const struct conf *c = d->conf;

	d->instances = calloc(c->n_instances + 1, sizeof *d->instances);
	if (!d->instances) {
		snprintf(err, cap, "no memory for %zu instances", c->n_instances);
		return -ENOMEM;
	}
	d->n_instances = c->n_instances;
	for (size_t i = 0; i < c->n_instances; i++) {
		struct instance *in = &d->instances[i];

		in->d = d;
		in->conf = &c->instances[i];
		if (plugin_find(in->conf->plugin, c->plugins.path, in->path, sizeof in->path) < 0) {
			snprintf(err, cap, "instance \"%s\": plugin %.200s: the path is too long", in->conf->name,
				 in->conf->plugin);
			return -ENAMETOOLONG;
		}
	}
	return 0;
}

int weftd_check(struct weftd *d, char *err, size_t cap)
{
	int rc = make_instances(d, err, cap);

	for (size_t i = 0; rc == 0 && i < d->n_instances; i++) {
		struct instance *in = &d->instances[i];
		struct plugin_file file;
		char why[512];

		rc = plugin_examine(in->path, &file, why, sizeof why);
		if (rc == 0 && d->conf->plugins.require_probes)
			rc = probe_check(in->path, true, why, sizeof why);
		if (rc < 0)
			snprintf(err, cap, "instance \"%s\": plugin %s", in->conf->name, why);
	}
	return rc;
}

static void know_own_build(struct weftd *d)
{
	const struct weft_module *me = weft_module_at(weft_read_modules(), (uintptr_t)weftd_run);

	for (int i = 0; me && i < me->build_id_len; i++)
		snprintf(d->build_id + 2 * i, 3, "%02x", me->build_id[i]);
}

static int serve(struct weftd *d)
{
	struct http_opts opts;
	char err[512] = "";
	int rc;

	if (d->conf->http.n_listen == 0)
		return 0;
	know_own_build(d);
	options_http(d, &opts);
	rc = http_start(&opts, &d->http, err, sizeof err);
	if (rc < 0) {
		log_error("debug server: %s", err);
		return rc;
	}
	for (size_t i = 0; http_address(d->http, i); i++)
		log_notice("listening on %s (%s%s/healthz)", http_address(d->http, i),
			   d->conf->http.endpoints.pprof ? "/debug/pprof/ " : "",
			   d->conf->http.endpoints.metrics ? "/metrics " : "");
	return 0;
}

static int make_loop(struct weftd *d)
{
	d->loop = loop_new();
	if (!d->loop)
		return -ENOMEM;
	d->hl = loop_http(d->loop);
	d->tick = d->hl->timer(d->hl->user, on_tick, d);
	d->start_timer = d->hl->timer(d->hl->user, on_limit, d);
	d->signals = d->hl->watch(d->hl->user, signals_fd(), HTTP_READABLE, on_signals, d);
	return d->tick && d->start_timer && d->signals ? 0 : -ENOMEM;
}

/* From the loop to the loader, in the order that the head of this file explains. */
static int start(struct weftd *d, const struct weft_host_opts *host)
{
	int rc = make_loop(d);

	if (rc < 0) {
		log_error("the control loop can't be made: %s", weft_strerror(rc));
		return rc;
	}
	rc = weft_host_start(host);
	if (rc < 0) {
		log_error("the runtime can't start: %s", weft_strerror(rc));
		return rc;
	}
	weft_host_thread("weft-main");
	(void)weft_host_rate(WEFT_RATE_BLOCK, d->conf->profiles.block_rate);
	(void)weft_host_rate(WEFT_RATE_MUTEX, d->conf->profiles.mutex_fraction);
	rc = watch_start(d);
	if (rc == 0)
		rc = flight_start(d->conf);
	if (rc == 0)
		rc = serve(d);
	if (rc < 0)
		return rc;
	rc = loader_start(d->hl);
	if (rc < 0)
		log_error("the loader's thread can't start: %s", weft_strerror(rc));
	return rc;
}

static void *flush_main(void *done)
{
	fflush(NULL);
	atomic_store((_Atomic bool *)done, true);
	return NULL;
}

static void flush_stdio(void)
{
	static _Atomic bool done;
	int64_t until = now_ns() + STDIO_NS;
	pthread_t thread;

	if (pthread_create(&thread, NULL, flush_main, (void *)&done) != 0)
		return;
	while (!atomic_load(&done) && now_ns() < until)
		nanosleep(&(struct timespec){ .tv_nsec = WEFT_MS / 4 }, NULL);
	if (atomic_load(&done))
		pthread_join(thread, NULL);
	else
		pthread_detach(thread); /* it waits for a stream's lock */
}

static void read_debug(struct weftd *d)
{
	char warning[512];

	weftdebug_parse(getenv("WEFTDEBUG"), &d->debug, warning, sizeof warning);
	if (*warning)
		log_warn("%s", warning);
	if (d->debug.inittrace)
		inittrace_start();
}

/* What is left of the time to stop. */
static int64_t trace_limit(const struct weftd *d)
{
	int64_t left = d->drain_began + d->conf->shutdown_timeout - now_ns();

	if (d->reporting)
		return 0;
	return left > TRACE_NS ? left : TRACE_NS;
}

int weftd_run(struct weftd *d, const struct weft_host_opts *host)
{
	int rc;

	log_notice("weftd " WEFT_VERSION);
	read_debug(d);
	rc = notify_init(&d->notify, getenv("NOTIFY_SOCKET"));
	if (rc < 0)
		log_warn("environment NOTIFY_SOCKET: \"%s\" can't be used: %s; the service manager is told nothing",
			 getenv("NOTIFY_SOCKET"), weft_strerror(rc));
	unsetenv("NOTIFY_SOCKET"); /* ours alone, not that of processes that plugins start */
	rc = start(d, host);
	if (rc < 0) {
		d->exit_code = rc == -EINVAL ? EXIT_REFUSED : 1;
	} else {
		d->hl->post(d->hl->user, start_next, d);
		loop_run(d->loop);
		log_notice("stopped, exit status %d", d->exit_code);
	}
	trace_api_end(trace_limit(d));
	flight_end(trace_limit(d));
	flight_fatal_close();
	flush_stdio();
	logger_flush(LOG_NS);
	return d->exit_code;
}
