/* pprof_index.c - /debug/pprof/: what there is, how much of it, and at what rate it is sampled. */
#include "server.h"

#include "weft_host.h"
#include "weft_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	const char *name, *query, *help;
	unsigned off; /* not listed with this switched off */
	size_t (*count)(void);
	size_t n; /* where there is no count() */
};

/* What is no snapshot.  symbol is for programs and not listed. */
static const struct entry others[] = {
	{ "cmdline", "debug=1", "The command line of this process, arguments separated by NUL bytes.", HTTP_CMDLINE,
	  NULL, 0 },
	{ "profile", "seconds=5",
	  "CPU profile. seconds=N sets how long (30), hz=N how often each thread is sampled. Requests that "
	  "overlap share the sampler. Look at it with go tool pprof.",
	  0, NULL, 0 },
	{ "trace", "seconds=1",
	  "What the scheduler did: every start, wait and wake-up of goroutines. seconds=N sets for how long (1), "
	  "instance=NAME or g=ID whose; cpu=1 adds CPU samples, stacks=0 leaves stacks out, max_bytes=N ends it early. "
	  "Look at it with go tool trace, or with format=chrome in Perfetto or chrome://tracing.",
	  HTTP_TRACE, NULL, 0 },
};
#define N_OTHERS (sizeof(others) / sizeof(others[0]))
#define ENTRIES_MAX 96

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* All that is served, by name; how many. */
static size_t list(struct entry *e, unsigned off)
{
	const struct snapshot_kind *k;
	size_t n = 0;

	for (size_t i = 0; i < N_OTHERS; i++)
		if (!(others[i].off & off))
			e[n++] = others[i];
	for (size_t i = 0; (k = snapshot_kind_at(i)) != NULL && n < ENTRIES_MAX; i++)
		e[n++] = (struct entry){ k->name, k->query ? k->query : "debug=1", k->help, 0, k->count, 0 };
	for (uint32_t i = 0; n < ENTRIES_MAX; i++) {
		const char *name;
		size_t count = custom_count(i, &name);

		if (!name)
			break;
		if (*name)
			e[n++] = (struct entry){ name, "debug=1", "A profile of a plugin.", 0, NULL, count };
	}
	qsort(e, n, sizeof(*e), by_name);
	return n;
}

static void head(struct buf *b, const struct http *h)
{
	buf_str(b, "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>/debug/pprof/</title>\n"
		   "<style>\nbody { font-family: sans-serif; margin: 2em }\ntd { padding: 0 .7em 0 0 }\n"
		   "td.n { text-align: right }\n</style>\n</head>\n<body>\n<h1>/debug/pprof/</h1>\n"
		   "<p>weftd ");
	buf_html(b, h->opts.version);
	if (*h->opts.build_id) {
		buf_str(b, ", build-id ");
		buf_html(b, h->opts.build_id);
	}
	buf_str(b, "</p>\n<p>Set debug=1 as a query parameter to get a profile as text.</p>\n");
}

static void rate(struct buf *b, const char *what, enum weft_rate which, const char *biased, const char *set)
{
	int64_t r = weft_read_rate(which);

	buf_fmt(b, " %s: ", what);
	if (r == WEFT_RATE_BIASED)
		buf_fmt(b, "each event of 1 ms and more, of shorter ones %s.", biased);
	else if (r)
		buf_fmt(b, set, (long long)r);
	else
		buf_str(b, "off.");
}

static void heap_rate(struct buf *b)
{
	struct weft_counters c;

	weft_read_counters(&c);
	if (c.heap_rate == 1)
		buf_str(b, " Memory: every block.");
	else if (c.heap_rate)
		buf_fmt(b, " Memory: a block in %lld bytes.", (long long)c.heap_rate);
	else
		buf_str(b, " Memory: off.");
}

static void tail(struct buf *b, const struct http *h)
{
	buf_fmt(b,
		"<p>Sampling: CPU at %d Hz of each thread's CPU time, only while a profile is taken; "
		"sessions open now: %d. Goroutines are never sampled: each one is in every profile.",
		h->opts.cpu_hz, cpu_sessions(h->cpu));
	rate(b, "Waits", WEFT_RATE_BLOCK, "one a millisecond", "one a %lld ns.");
	rate(b, "Locks", WEFT_RATE_MUTEX, "one in 100", "one event in %lld.");
	heap_rate(b);
	buf_fmt(b,
		"</p>\n<p><a href=\"/debug/fgprof?seconds=5\">time of goroutines on and off the CPU</a> "
		"%s<a href=\"/debug/weft/sched\">scheduler</a> "
		"<a href=\"/debug/weft/stacks\">stacks</a> %s<a "
		"href=\"/version\">version</a></p>\n</body>\n</html>\n",
		h->opts.off & HTTP_TRACE ? "" : "<a href=\"/debug/flight/\">flight recorder</a> ",
		h->opts.off & HTTP_METRICS ? "" : "<a href=\"/metrics\">metrics</a> ");
}

static void page(struct buf *b, const struct http *h)
{
	struct entry e[ENTRIES_MAX + N_OTHERS];
	size_t n = list(e, h->opts.off);

	head(b, h);
	buf_str(b, "<p>Types of profiles available:</p>\n<table>\n<tr><th>Count</th><th>Profile</th></tr>\n");
	for (size_t i = 0; i < n; i++)
		buf_fmt(b, "<tr><td class=\"n\">%zu</td><td><a href=\"%s?%s\">%s</a></td></tr>\n",
			e[i].count ? e[i].count() : e[i].n, e[i].name, e[i].query, e[i].name);
	buf_str(b, "</table>\n");
	if (!(h->opts.off & HTTP_DUMP))
		buf_str(b, "<p><a href=\"goroutine?debug=2\">full goroutine stack dump</a></p>\n");
	buf_str(b, "<ul>\n");
	for (size_t i = 0; i < n; i++) {
		buf_fmt(b, "<li><b>%s</b>: ", e[i].name);
		buf_html(b, e[i].help);
		buf_str(b, "</li>\n");
	}
	buf_str(b, "</ul>\n");
	tail(b, h);
}

void get_index(struct request *r)
{
	struct buf b = { 0 };

	page(&b, r->h);
	if (b.failed) {
		buf_free(&b);
		reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return;
	}
	reply_bytes(r, type_html, NULL, b.b, b.len);
	reply_header(r, "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
}

void get_index_redirect(struct request *r)
{
	char *to = NULL;

	if (asprintf(&to, "/debug/pprof/%s%s", *r->query ? "?" : "", r->query) < 0) {
		reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return;
	}
	reply_text(r, type_html, "<a href=\"/debug/pprof/\">Moved Permanently</a>.\n\n");
	r->status = MHD_HTTP_MOVED_PERMANENTLY;
	reply_header(r, MHD_HTTP_HEADER_LOCATION, to);
	free(to);
}
