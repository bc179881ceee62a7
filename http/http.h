/* http.h - the embedded debug server.
 *
 * Lives on one loop thread, which it does not own: the embedder gives it the loop as a struct of
 * functions.  Never parks, never runs plugin code; long work goes to the pool through offload(), in
 * tasks of at most 50 ms, so that /metrics and /healthz always get through. */
#ifndef WEFT_HTTP_HTTP_H
#define WEFT_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_watch;
struct http_timer;

/* All but post are called on the loop thread only, and call back on it, never from inside. */
struct http_loop {
	void *user;
	/* Watch fd: events HTTP_READABLE, HTTP_HANGUP (peer closed its side or all).  NULL: no memory. */
	struct http_watch *(*watch)(void *user, int fd, unsigned events, void (*fn)(void *arg, unsigned events),
				    void *arg);
	void (*unwatch)(void *user, struct http_watch *w);                         /* fd may be closed right after */
	struct http_timer *(*timer)(void *user, void (*fn)(void *arg), void *arg); /* not armed */
	void (*arm)(void *user, struct http_timer *t, int64_t in_ns);              /* < 0: disarm */
	void (*untimer)(void *user, struct http_timer *t);
	/* work(arg) on a pool thread, then done(arg) on the loop.  0, or -ENOMEM and nothing was called.
	 * Tasks of one `lane` run one at a time, in order (lane 1: the symboliser); lane 0: any.
	 * Lanes are 0..HTTP_LANES-1. */
	int (*offload)(void *user, int lane, void (*work)(void *arg), void (*done)(void *arg), void *arg);
	/* fn(arg) on the loop thread soon; from any thread.  Never fails once the loop runs. */
	void (*post)(void *user, void (*fn)(void *arg), void *arg);
};
enum { HTTP_READABLE = 1, HTTP_HANGUP = 2 };
enum { HTTP_LANES = 4 };

/* What can be switched off; all from HTTP_CMDLINE on are parts of HTTP_PPROF. */
enum {
	HTTP_PPROF = 1,
	HTTP_METRICS = 2,
	HTTP_CMDLINE = 4,
	HTTP_SYMBOL = 8,
	HTTP_DUMP = 16, /* goroutine?debug=2 */
	HTTP_TRACE = 32,
};

struct http_opts {
	const struct http_loop *loop;
	const char *const *listen; /* "host:port", "[v6]:port", "unix:PATH", "fd:NAME" */
	size_t n_listen;
	const char *const *allowed_hosts;
	size_t n_allowed_hosts;
	bool allow_remote;
	int64_t max_profile_seconds;    /* 0: 3600 */
	int max_collections;            /* 0: 8 */
	int cpu_hz;                     /* 0: 100 */
	unsigned off;                   /* HTTP_PPROF and so on */
	bool no_labels;                 /* leave the goroutines' own labels out of profiles */
	const char *version, *build_id; /* build_id: hex, of weftd */
	const char *flight_dir;         /* where snapshots of the flight recorder are, or NULL */
	int argc;
	char **argv;
	/* Loop thread; must not block.  ready: what /readyz says; why: one line when not ready. */
	bool (*ready)(void *user, char *why, size_t cap);
	void (*log)(void *user, int level, const char *text);
	/* More metric families of the embedder's; called when /metrics is built. */
	void (*metrics)(void *user, void *buf /* struct buf */);
	void *user;
};

/* For the embedder's C API; any thread that may block.  Write a profile as /debug/pprof/NAME?debug=N gives it: 0;
 * -ENOENT, -ENOMEM, or what write(2) failed with.  Count: its samples; -ENOENT; -EEXIST: the name is taken, but what is
 * there takes a request. */
int http_profile_write(const char *name, int debug, bool labels, int fd);
int64_t http_profile_count(const char *name);
/* A CPU profile without a request; any thread that may block, but not that of the loop, which has to go on meanwhile.
 * hz 0: that of the options.  Stop: written to fd, below 0 thrown away.  Results as weft_profile_cpu_start() and
 * weft_profile_cpu_stop() say; -ENOSYS: no server runs. */
int http_cpu_start(int hz, uint32_t instance);
int http_cpu_stop(int fd);
/* The instance has ended: throw away the profile that it began.  Does not wait. */
void http_cpu_end(uint32_t instance);

struct http;
/* Bind and serve.  0; -Exxx with a sentence in err that names the listen entry. */
int http_start(const struct http_opts *opts, struct http **out, char *err, size_t cap);
/* The addresses really bound, e.g. "127.0.0.1:6060" (port 0 resolved); NULL past the end. */
const char *http_address(const struct http *h, size_t i);
/* Stop accepting, end pending collections (they answer 503), then call stopped(arg) on the loop;
 * the object is freed before that call.  Within deadline_ns at the latest. */
void http_stop(struct http *h, int64_t deadline_ns, void (*stopped)(void *arg), void *arg);

#endif
