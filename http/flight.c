/* flight.c - /debug/flight/: the snapshots that the flight recorder has kept, and each of their files.
 *
 * The folder is read on the pool; whatever a client names is compared with the form of such a file's name before it is
 * looked for. */
#include "server.h"

#include "flight_dir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (1u << 30)

struct flights {
	struct op op;               /* first */
	char file[FLIGHT_NAME + 8]; /* "": the list */
	struct buf out;
};

static void flights_free(struct op *o)
{
	struct flights *x = (struct flights *)o;

	buf_free(&x->out);
	free(x);
}

/* --- The list ------------------------------------------------------------------------------------ */

/* 20261122T130501.123Z */
static void put_time(struct buf *b, const char *name)
{
	const char *t = strchr(name, '-') + 1;

	buf_fmt(b, "%.4s-%.2s-%.2s %.2s:%.2s:%.6s", t, t + 4, t + 6, t + 9, t + 11, t + 13);
}

static void put_link(struct buf *b, const char *name, const char *ending, const char *word, uint64_t bytes)
{
	if (bytes)
		buf_fmt(b, "<a href=\"%s%s\">%s</a> %llu KiB ", name, ending, word,
			(unsigned long long)(bytes / 1024) + 1);
}

static void put_row(struct buf *b, const char *dir, struct flight_snapshot *s)
{
	flight_describe(dir, s);
	buf_str(b, "<tr><td>");
	put_time(b, s->name);
	buf_fmt(b, "</td><td>%s</td><td>", s->reason);
	buf_html(b, s->what);
	buf_str(b, "</td><td>");
	put_link(b, s->name, ".trace", "trace", s->trace_bytes);
	put_link(b, s->name, ".txt", "goroutines", s->dump_bytes);
	put_link(b, s->name, ".raw", "not converted", s->raw_bytes);
	buf_str(b, "</td></tr>\n");
}

static void put_unreadable(struct buf *b, const char *dir, int rc)
{
	buf_str(b, "<p>No snapshots can be read: ");
	buf_html(b, dir);
	buf_fmt(b, ": %s.</p>\n", weft_strerror(rc));
}

static int put_list(struct buf *b, const char *dir)
{
	struct flight_snapshot *s = NULL;
	int n = dir ? flight_list(dir, &s) : 0;

	buf_str(b,
		"<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>/debug/flight/</title>\n"
		"<style>\nbody { font-family: sans-serif; margin: 2em }\nth { text-align: left }\n"
		"td { padding: 0 .7em 0 0 }\n</style>\n</head>\n<body>\n<h1>/debug/flight/</h1>\n"
		"<p>What the scheduler did until now: <a href=\"/debug/flight?seconds=10\">the last 10 seconds</a>, "
		"for go tool trace, or <a href=\"/debug/flight?seconds=10&amp;format=chrome\">for Perfetto</a>.</p>\n");
	if (!dir)
		buf_str(b, "<p>No snapshots are kept: neither flight.directory nor the environment's STATE_DIRECTORY "
			   "names a folder.</p>\n");
	else if (n < 0)
		put_unreadable(b, dir, n);
	else if (n == 0)
		buf_str(b, "<p>No snapshot has been kept yet. SIGUSR2 asks for one.</p>\n");
	if (n > 0)
		buf_str(b, "<table>\n<tr><th>Time (UTC)</th><th>Reason</th><th>What</th><th>Files</th></tr>\n");
	for (int i = 0; i < n; i++)
		put_row(b, dir, &s[i]);
	buf_fmt(b, "%s</body>\n</html>\n", n > 0 ? "</table>\n" : "");
	free(s);
	return b->failed ? -ENOMEM : 0;
}

/* --- A file ---------------------------------------------------------------------------------------- */

static int put_file(struct buf *b, const char *dir, const char *file)
{
	int fd = dir ? flight_open(dir, file) : -ENOENT, rc = 0;
	struct stat st;
	char *p;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || st.st_size > FILE_MAX)
		rc = -EFBIG;
	p = rc == 0 ? malloc((size_t)st.st_size + 1) : NULL;
	if (rc == 0 && !p)
		rc = -ENOMEM;
	while (rc == 0 && b->len < (size_t)st.st_size) {
		ssize_t n = read(fd, p + b->len, (size_t)st.st_size - b->len);

		if (n < 0 && errno != EINTR)
			rc = -errno;
		else if (n == 0)
			break;
		b->len += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	b->b = p;
	return rc;
}

/* --- Steps ------------------------------------------------------------------------------------------- */

static void read_work(struct op *o)
{
	struct flights *x = (struct flights *)o;
	const char *dir = o->h->opts.flight_dir;

	o->rc = *x->file ? put_file(&x->out, dir, x->file) : put_list(&x->out, dir);
}

static void read_step(struct op *o)
{
	struct flights *x = (struct flights *)o;
	bool text = strstr(x->file, ".txt") != NULL; /* to be looked at, not to be saved */

	if (o->rc == -ENOENT && *x->file) {
		op_fail(o, MHD_HTTP_NOT_FOUND, "there is no such snapshot");
		return;
	}
	if (o->rc < 0) {
		op_fail(o, MHD_HTTP_SERVICE_UNAVAILABLE, weft_strerror(o->rc));
		return;
	}
	if (!*x->file) {
		reply_bytes(o->r, type_html, NULL, x->out.b, x->out.len);
		reply_header(o->r, "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
	} else {
		reply_bytes(o->r, text ? type_text : type_binary, text ? NULL : x->file, x->out.b, x->out.len);
	}
	x->out = (struct buf){ 0 };
	op_finish(o);
}

void get_flights(struct request *r)
{
	const char *file = strrchr(r->path, '/') + 1;
	struct flights *x;

	if (strlen(r->path) - strlen(file) != strlen("/debug/flight/") || (*file && !flight_is_file(file))) {
		reply_error(r, MHD_HTTP_NOT_FOUND, "there is no such snapshot");
		return;
	}
	/* The list is small, and wanted when much else is going on. */
	x = op_new(r, sizeof(*x), *file ? BUDGET_COLLECTION : BUDGET_NONE, flights_free);
	if (!x)
		return;
	snprintf(x->file, sizeof(x->file), "%s", file);
	op_run(&x->op, LANE_ANY, read_work, read_step);
}
