/* pprof_index.c - /debug/pprof/: what there is, how much of it, and at what rate it is sampled. */
#include "server.h"

#include "weft_read.h"

#include <stdio.h>
#include <stdlib.h>

struct entry {
	const char *name, *link, *help;
	unsigned off; /* not listed with this switched off */
};

/* By name.  symbol is for programs and not listed. */
static const struct entry entries[] = {
	{ "cmdline", "cmdline?debug=1", "The command line of this process, arguments separated by NUL bytes.",
	  HTTP_CMDLINE },
	{ "goroutine", "goroutine?debug=1",
	  "Stacks of all goroutines that are alive, counted by stack and labels. debug=2 lists each one; "
	  "seconds=N gives what came and went in that time.",
	  0 },
	{ "profile", "profile?seconds=5",
	  "CPU profile. seconds=N sets how long (30), hz=N how often each thread is sampled. Requests that "
	  "overlap share the sampler. Look at it with go tool pprof.",
	  0 },
};
#define N (sizeof(entries) / sizeof(entries[0]))

static void html(struct buf *b, const char *s)
{
	for (; *s; s++) {
		switch (*s) {
		case '<':
			buf_str(b, "&lt;");
			break;
		case '>':
			buf_str(b, "&gt;");
			break;
		case '&':
			buf_str(b, "&amp;");
			break;
		case '"':
			buf_str(b, "&#34;");
			break;
		default:
			buf_add(b, s, 1);
		}
	}
}

static void page(struct buf *b, const struct http *h)
{
	struct weft_counters c;
	unsigned off = h->opts.off;

	weft_read_counters(&c);
	buf_str(b, "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>/debug/pprof/</title>\n"
		   "<style>\nbody { font-family: sans-serif; margin: 2em }\ntd { padding: 0 .7em 0 0 }\n"
		   "td.n { text-align: right }\n</style>\n</head>\n<body>\n<h1>/debug/pprof/</h1>\n"
		   "<p>weftd ");
	html(b, h->opts.version);
	if (*h->opts.build_id) {
		buf_str(b, ", build-id ");
		html(b, h->opts.build_id);
	}
	buf_str(b, "</p>\n<p>Set debug=1 as a query parameter to get a profile as text.</p>\n"
		   "<p>Types of profiles available:</p>\n<table>\n<tr><th>Count</th><th>Profile</th></tr>\n");
	for (size_t i = 0; i < N; i++) {
		unsigned long long n = entries[i].name[0] == 'g' ? c.live : 0;

		if (entries[i].off & off)
			continue;
		buf_fmt(b, "<tr><td class=\"n\">%llu</td><td><a href=\"%s\">%s</a></td></tr>\n", n, entries[i].link,
			entries[i].name);
	}
	buf_str(b, "</table>\n");
	if (!(off & HTTP_DUMP))
		buf_str(b, "<p><a href=\"goroutine?debug=2\">full goroutine stack dump</a></p>\n");
	buf_str(b, "<ul>\n");
	for (size_t i = 0; i < N; i++) {
		if (entries[i].off & off)
			continue;
		buf_fmt(b, "<li><b>%s</b>: ", entries[i].name);
		html(b, entries[i].help);
		buf_str(b, "</li>\n");
	}
	buf_fmt(b,
		"</ul>\n<p>Sampling: CPU at %d Hz of each thread's CPU time, only while a profile is taken; "
		"sessions open now: %d. Goroutines are never sampled: each one is in every profile.</p>\n"
		"<p><a href=\"/debug/weft/sched\">scheduler</a> %s<a "
		"href=\"/version\">version</a></p>\n</body>\n</html>\n",
		h->opts.cpu_hz, cpu_sessions(h->cpu), off & HTTP_METRICS ? "" : "<a href=\"/metrics\">metrics</a> ");
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
