/* route.c - the table of what is served.
 *
 * Paths are matched exactly, after decoding: nothing cleans them up.  What follows /debug/flight/ is up to its handler.
 */
#include "server.h"

#include <string.h>

#define READ (METHOD_GET | METHOD_HEAD)

static const char flights[] = "/debug/flight/";

static const struct route routes[] = {
	{ "/debug/pprof", "index", READ, true, HTTP_PPROF, get_index_redirect },
	{ "/debug/pprof/", "index", READ, false, HTTP_PPROF, get_index },
	{ "/debug/pprof/allocs", "allocs", READ, true, HTTP_PPROF, get_snapshot },
	{ "/debug/pprof/block", "block", READ, true, HTTP_PPROF, get_snapshot },
	{ "/debug/pprof/heap", "heap", READ, true, HTTP_PPROF, get_snapshot },
	{ "/debug/pprof/blocking", "blocking", READ, false, HTTP_PPROF, get_snapshot },
	{ "/debug/pprof/delta_block", "delta", READ, false, HTTP_PPROF, get_snapshot },
	{ "/debug/pprof/delta_heap", "delta", READ, false, HTTP_PPROF, get_snapshot },
	{ "/debug/pprof/delta_mutex", "delta", READ, false, HTTP_PPROF, get_snapshot },
	{ "/debug/pprof/goroutine", "goroutine", READ, true, HTTP_PPROF, get_goroutine },
	{ "/debug/pprof/mutex", "mutex", READ, true, HTTP_PPROF, get_snapshot },
	{ "/debug/pprof/profile", "profile", READ, true, HTTP_PPROF, get_profile },
	{ "/debug/pprof/cmdline", "cmdline", READ, true, HTTP_PPROF | HTTP_CMDLINE, get_cmdline },
	{ "/debug/pprof/symbol", "symbol", READ | METHOD_POST, true, HTTP_PPROF | HTTP_SYMBOL, any_symbol },
	{ "/debug/pprof/threadcreate", "threadcreate", READ, true, HTTP_PPROF, get_snapshot },
	{ "/debug/pprof/trace", "trace", READ, true, HTTP_PPROF | HTTP_TRACE, get_trace },
	{ "/debug/flight", "flight", READ, false, HTTP_PPROF | HTTP_TRACE, get_flight },
	{ flights, "flight", READ, false, HTTP_PPROF | HTTP_TRACE, get_flights }, /* and the files below it */
	{ "/debug/fgprof", "fgprof", READ, false, HTTP_PPROF, get_fgprof },
	{ "/debug/weft/sched", "sched", READ, false, HTTP_PPROF, get_sched },
	{ "/debug/weft/stacks", "stacks", READ, false, HTTP_PPROF, get_stacks },
	{ "/metrics", "metrics", READ, false, HTTP_METRICS, get_metrics },
	{ "/healthz", "health", READ, false, 0, get_healthz },
	{ "/readyz", "health", READ, false, 0, get_readyz },
	{ "/version", "version", READ, false, 0, get_version },
	{ "", "custom", READ, true, HTTP_PPROF, get_snapshot }, /* the last: profiles of plugins, whatever their name */
};
#define N (sizeof(routes) / sizeof(routes[0]))
_Static_assert(N < ROUTES_MAX, "one more than the routes is counted: everything else");

/* What libmicrohttpd answers by itself is not counted. */
static const unsigned codes[] = { 200, 301, 400, 403, 404, 405, 413, 414, 429, 431, 500, 501, 503 };
#define CODES (int)(sizeof(codes) / sizeof(codes[0]))
_Static_assert(sizeof(codes) / sizeof(codes[0]) < CODES_MAX, "one more is counted: everything else");

const struct route *route_find(const char *path)
{
	for (size_t i = 0; i < N - 1; i++)
		if (!strcmp(routes[i].path, path) ||
		    (routes[i].path == flights && !strncmp(path, flights, sizeof(flights) - 1)))
			return &routes[i];
	return !strncmp(path, "/debug/pprof/", 13) && custom_kind(path + 13) ? &routes[N - 1] : NULL;
}

const char *route_class(size_t i)
{
	if (i > N)
		return NULL;
	return i == N ? "other" : routes[i].class;
}

size_t route_index(const struct route *route)
{
	return route ? (size_t)(route - routes) : N;
}

int route_code(unsigned status)
{
	int i = 0;

	while (i < CODES && codes[i] != status)
		i++;
	return i;
}

unsigned route_status(int code)
{
	return code < CODES ? codes[code] : 0;
}

bool route_is_on(struct request *r, unsigned what)
{
	/* The whole before its parts. */
	static const struct {
		unsigned bit;
		const char *key;
	} keys[] = {
		{ HTTP_PPROF, "pprof" },   { HTTP_METRICS, "metrics" }, { HTTP_CMDLINE, "cmdline" },
		{ HTTP_SYMBOL, "symbol" }, { HTTP_DUMP, "dump" },       { HTTP_TRACE, "trace" },
	};
	size_t i = 0;

	what &= r->h->opts.off;
	if (!what)
		return true;
	while (!(keys[i].bit & what))
		i++;
	reply_error(r, MHD_HTTP_FORBIDDEN, "switched off: http.endpoints.%s is false", keys[i].key);
	return false;
}

void route_dispatch(struct request *r)
{
	if (!r->route) {
		reply_error(r, MHD_HTTP_NOT_FOUND,
			    strncmp(r->path, "/debug/pprof/", 13) ? "404 page not found" : "Unknown profile");
	} else if (!(r->route->methods & r->method)) {
		reply_error(r, MHD_HTTP_METHOD_NOT_ALLOWED, "Method Not Allowed");
		reply_header(r, MHD_HTTP_HEADER_ALLOW,
			     r->route->methods & METHOD_POST ? "GET, HEAD, POST" : "GET, HEAD");
	} else {
		r->route->handle(r);
	}
}
