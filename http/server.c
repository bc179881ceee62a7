/* server.c - libmicrohttpd in the embedder's loop: start, stop, and everything in between.
 *
 * One MHD daemon per listener, in external epoll mode: the loop watches its epoll descriptor, and a timer
 * stands for MHD_get_timeout().  A resumed connection wakes nobody by itself, so whoever resumes calls
 * http_kick(), which has MHD_run() called from the timer, never from inside MHD_run().
 *
 * At CONNECTIONS_MAX libmicrohttpd stops accepting, which would starve /metrics behind idle keep-alive
 * connections.  So each connection beyond CONNECTIONS_HIGH has the one that has been idle for longest shut
 * down: its socket reads as closed, and libmicrohttpd lets it go.
 *
 * Stopping: no more accepts; collections are cancelled and their requests answered 503; idle connections are
 * shut down; when the last request and the last op have ended, or at the deadline, MHD_stop_daemon().  That
 * aborts the process if a connection is suspended then, so all are resumed first. */
#include "server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LISTENERS_MAX 32

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * SECOND + ts.tv_nsec;
}

int64_t mono_now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int64_t real_now(void)
{
	return clock_ns(CLOCK_REALTIME);
}

void http_log(struct http *h, int level, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (!h->opts.log || h->closed)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text[strcspn(text, "\r\n")] = '\0';
	for (char *t = text; *t; t++)
		if ((unsigned char)*t < ' ' || *t == 0x7f)
			*t = '?'; /* part of it may be what a client sent */
	h->opts.log(h->opts.user, level, text);
}

/* --- Running ------------------------------------------------------------------------ */

static void run(struct http *h)
{
	int64_t next = -1;

	h->running = true;
	h->kicked = false;
	for (size_t i = 0; i < h->n_listeners; i++)
		if (h->listener[i].daemon)
			MHD_run(h->listener[i].daemon);
	h->running = false;
	for (size_t i = 0; i < h->n_listeners; i++) {
		MHD_UNSIGNED_LONG_LONG ms;

		if (!h->listener[i].daemon || MHD_get_timeout(h->listener[i].daemon, &ms) != MHD_YES)
			continue;
		if (next < 0 || (int64_t)ms * 1000000 < next)
			next = (int64_t)ms * 1000000;
	}
	h->loop->arm(h->loop->user, h->timer, h->kicked ? 0 : next);
}

static void timer_due(void *arg)
{
	run(arg);
}

static void epoll_ready(void *arg, unsigned events)
{
	struct listener *l = arg;

	(void)events;
	run(l->h);
}

void http_kick(struct http *h)
{
	h->kicked = true;
	if (!h->running)
		h->loop->arm(h->loop->user, h->timer, 0);
}

/* --- Connections ----------------------------------------------------------------------- */

static void connection_new(struct listener *l, struct MHD_Connection *c, void **ctx)
{
	struct conn *k = calloc(1, sizeof(*k));
	struct conn *oldest;

	l->conns++;
	if (l->conns > CONNECTIONS_HIGH && (oldest = TAILQ_FIRST(&l->idle))) {
		/* To the end, so that the next new one meets another. */
		TAILQ_REMOVE(&l->idle, oldest, idle);
		TAILQ_INSERT_TAIL(&l->idle, oldest, idle);
		(void)shutdown(oldest->fd, SHUT_RDWR);
	}
	*ctx = k;
	if (!k)
		return; /* works without, but is not shut down early */
	k->l = l;
	k->fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	TAILQ_INSERT_TAIL(&l->idle, k, idle);
}

static void connection_event(void *cls, struct MHD_Connection *c, void **ctx, enum MHD_ConnectionNotificationCode what)
{
	struct listener *l = cls;
	struct conn *k = *ctx;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		connection_new(l, c, ctx);
		return;
	}
	l->conns--;
	if (k && !k->busy)
		TAILQ_REMOVE(&l->idle, k, idle);
	free(k);
	*ctx = NULL;
}

static void mhd_log(void *cls, const char *fmt, va_list ap)
{
	char text[400];

	/* Mostly about clients that went away or talk nonsense. */
	vsnprintf(text, sizeof(text), fmt, ap);
	http_log(cls, WEFT_DEBUG, "http: %s", text);
}

/* --- Start --------------------------------------------------------------------------------- */

static int serve(struct http *h, struct listener *l, char *err, size_t cap)
{
	const union MHD_DaemonInfo *info;

	l->h = h;
	TAILQ_INIT(&l->idle);
	l->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, request_access, l,
		MHD_OPTION_EXTERNAL_LOGGER, mhd_log, h, MHD_OPTION_LISTEN_SOCKET, l->fd,
		MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned)IDLE_SECONDS, MHD_OPTION_URI_LOG_CALLBACK, request_new, l, MHD_OPTION_NOTIFY_COMPLETED,
		request_completed, l, MHD_OPTION_NOTIFY_CONNECTION, connection_event, l, MHD_OPTION_END);
	if (!l->daemon) {
		snprintf(err, cap, "listen \"%s\": the HTTP library could not be started", l->address);
		return -EIO;
	}
	info = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	l->watch = info ? h->loop->watch(h->loop->user, info->epoll_fd, HTTP_READABLE, epoll_ready, l) : NULL;
	if (!l->watch) {
		snprintf(err, cap, "listen \"%s\": cannot be watched by the event loop", l->address);
		return -ENOMEM;
	}
	return 0;
}

/* Close what a start that failed, or a server that stops, has open. */
static void close_listeners(struct http *h)
{
	for (size_t i = 0; i < h->n_listeners; i++) {
		struct listener *l = &h->listener[i];

		if (l->watch)
			h->loop->unwatch(h->loop->user, l->watch);
		if (l->daemon) {
			/* What is quiesced is ours to close. */
			if (!h->stopping)
				(void)MHD_quiesce_daemon(l->daemon);
			MHD_stop_daemon(l->daemon);
		}
		listen_close(l);
	}
	h->n_listeners = 0;
}

static void free_strings(const char *const *list, size_t n)
{
	for (size_t i = 0; list && i < n; i++)
		free((char *)list[i]);
	free((void *)list);
}

static void http_free(struct http *h)
{
	cpu_free(h->cpu);
	trim_free(h->trim);
	free_strings(h->opts.allowed_hosts, h->opts.n_allowed_hosts);
	free_strings((const char *const *)h->opts.argv, (size_t)h->opts.argc);
	free((char *)h->opts.version);
	free((char *)h->opts.build_id);
	free((char *)h->opts.flight_dir);
	free(h->listener);
	free(h);
}

void http_ref(struct http *h)
{
	h->refs++;
}

void http_unref(struct http *h)
{
	if (!--h->refs)
		http_free(h);
}

static const char *const *copy_strings(const char *const *list, size_t n, bool *ok)
{
	char **out = calloc(n + 1, sizeof(*out));

	for (size_t i = 0; out && i < n; i++)
		if (!(out[i] = strdup(list[i])))
			*ok = false;
	*ok = *ok && out;
	return (const char *const *)out;
}

static struct http *http_new(const struct http_opts *o)
{
	struct http *h = calloc(1, sizeof(*h));
	bool ok = true;

	if (!h)
		return NULL;
	h->refs = 1;
	h->loop = o->loop;
	h->opts = *o;
	h->opts.listen = NULL;
	h->opts.max_collections = o->max_collections > 0 ? o->max_collections : 8;
	h->opts.max_profile_seconds = o->max_profile_seconds > 0 ? o->max_profile_seconds : 3600;
	h->opts.cpu_hz = o->cpu_hz > 0 ? o->cpu_hz : 100;
	h->opts.allowed_hosts = copy_strings(o->allowed_hosts, o->n_allowed_hosts, &ok);
	h->opts.argv = (char **)copy_strings((const char *const *)o->argv, (size_t)o->argc, &ok);
	h->opts.version = strdup(o->version ? o->version : "unknown");
	h->opts.build_id = strdup(o->build_id ? o->build_id : "");
	h->listener = calloc(LISTENERS_MAX, sizeof(*h->listener));
	TAILQ_INIT(&h->requests);
	h->cpu = cpu_new(h);
	h->trim = trim_new(h);
	h->opts.flight_dir = o->flight_dir ? strdup(o->flight_dir) : NULL;
	if (!ok || !h->opts.version || !h->opts.build_id || !h->opts.flight_dir != !o->flight_dir || !h->listener ||
	    !h->cpu || !h->trim) {
		http_free(h);
		return NULL;
	}
	return h;
}

static void stop_due(void *arg);

static bool no_ipv6(const char *entry, int rc)
{
	return *entry == '[' && (rc == -EADDRNOTAVAIL || rc == -EAFNOSUPPORT);
}

static int open_all(struct http *h, const struct http_opts *o, char *err, size_t cap)
{
	int skipped = 0;

	for (size_t i = 0; i < o->n_listen; i++) {
		int rc = listen_open(o->listen[i], o->allow_remote, h->listener + h->n_listeners,
				     LISTENERS_MAX - h->n_listeners, err, cap);

		/* The default names both loopback addresses; a machine without IPv6 has one. */
		if (rc < 0 && no_ipv6(o->listen[i], rc) && o->n_listen > 1) {
			http_log(h, WEFT_NOTICE, "http: %s; going on without it", err);
			skipped = rc;
			continue;
		}
		if (rc < 0)
			return rc;
		h->n_listeners += (size_t)rc;
	}
	return h->n_listeners ? 0 : skipped;
}

int http_start(const struct http_opts *opts, struct http **out, char *err, size_t cap)
{
	struct http *h = http_new(opts);
	int rc;

	if (!h) {
		snprintf(err, cap, "out of memory");
		return -ENOMEM;
	}
	h->timer = h->loop->timer(h->loop->user, timer_due, h);
	h->stop_timer = h->loop->timer(h->loop->user, stop_due, h);
	rc = open_all(h, opts, err, cap);
	if (rc == 0 && (!h->timer || !h->stop_timer)) {
		snprintf(err, cap, "out of memory");
		rc = -ENOMEM;
	}
	for (size_t i = 0; rc == 0 && i < h->n_listeners; i++) {
		rc = serve(h, &h->listener[i], err, cap);
		if (rc == 0 && opts->allow_remote && !h->listener[i].local)
			http_log(h, WEFT_NOTICE, "http: %s may be reached from other machines, without a password",
				 h->listener[i].address);
	}
	if (rc < 0) {
		close_listeners(h);
		h->loop->untimer(h->loop->user, h->timer);
		h->loop->untimer(h->loop->user, h->stop_timer);
		http_unref(h);
		return rc;
	}
	http_kick(h); /* arms the timer for what MHD_get_timeout says */
	cpu_file_serve(h);
	*out = h;
	return 0;
}

const char *http_address(const struct http *h, size_t i)
{
	return i < h->n_listeners ? h->listener[i].address : NULL;
}

/* --- Stop ------------------------------------------------------------------------------------ */

static bool quiet(struct http *h)
{
	return TAILQ_EMPTY(&h->requests) && !h->ops && cpu_idle(h->cpu) && trim_idle(h->trim);
}

static void finish(struct http *h)
{
	void (*stopped)(void *arg) = h->stopped;
	void *arg = h->stopped_arg;
	struct request *r;

	TAILQ_FOREACH(r, &h->requests, all)
	request_wake(r);
	close_listeners(h); /* completes every request */
	h->loop->untimer(h->loop->user, h->timer);
	h->loop->untimer(h->loop->user, h->stop_timer);
	h->closed = true;
	http_unref(h);
	stopped(arg);
}

static void stop_due(void *arg)
{
	struct http *h = arg;

	if (quiet(h) || mono_now() >= h->stop_at)
		finish(h);
	else
		h->loop->arm(h->loop->user, h->stop_timer, h->stop_at - mono_now());
}

void http_stop_check(struct http *h)
{
	/* From the timer, as this may be inside MHD_run(). */
	if (h->stopping && !h->closed && quiet(h))
		h->loop->arm(h->loop->user, h->stop_timer, 0);
}

void http_stop(struct http *h, int64_t deadline_ns, void (*stopped)(void *arg), void *arg)
{
	struct request *r;
	struct conn *k;

	h->stopping = true;
	h->stopped = stopped;
	h->stopped_arg = arg;
	h->stop_at = mono_now() + deadline_ns;
	cpu_file_drop(h->cpu); /* then there is none that would be stopped through h */
	cpu_file_serve(NULL);
	for (size_t i = 0; i < h->n_listeners; i++) {
		(void)MHD_quiesce_daemon(h->listener[i].daemon); /* cannot fail in this mode */
		TAILQ_FOREACH(k, &h->listener[i].idle, idle)
		(void)shutdown(k->fd, SHUT_RDWR);
	}
	TAILQ_FOREACH(r, &h->requests, all)
	{
		/* A body that comes slowly and a stream that is taken slowly are not waited for. */
		if (r->conn && (r->state == REQ_BODY || r->stalls))
			(void)shutdown(r->conn->fd, SHUT_RDWR);
		if (r->op)
			op_fail(r->op, MHD_HTTP_SERVICE_UNAVAILABLE, "the server is stopping");
	}
	h->loop->arm(h->loop->user, h->stop_timer, quiet(h) ? 0 : deadline_ns);
	http_kick(h);
}
