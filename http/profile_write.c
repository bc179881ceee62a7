/* profile_write.c - a profile into a descriptor, without a request: what weft_profile_write() asks for.
 *
 * The kinds of pprof_snapshot.c, read in one go on the thread of the caller, which may take its time. */
#include "server.h"

#include "symbols.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int write_dump(int fd)
{
	struct weft_snapshot *snap = weft_snapshot_new();
	struct weft_goroutine *g = malloc(sizeof(*g));
	struct buf b = { 0 };
	int rc = snap && g && symbols_update() == 0 ? 1 : -ENOMEM;

	while (rc > 0 && (rc = weft_snapshot_next(snap, g)) > 0) {
		text_goroutine(&b, g, mono_now());
		rc = buf_write(&b, fd);
		rc = rc < 0 ? rc : 1;
	}
	buf_free(&b);
	free(g);
	weft_snapshot_free(snap);
	names_were_read();
	return rc;
}

static int collect(struct snapshot *s)
{
	struct request none = { .query = "" }; /* no parameters */
	int rc = 1;

	if (s->kind->begin && !s->kind->begin(s, &none)) {
		if (none.reply)
			MHD_destroy_response(none.reply);
		return -EINVAL; /* it needs parameters */
	}
	s->e.p = pprof_new(&s->spec);
	if (!s->e.p || (s->kind->prepare && s->kind->prepare(s) < 0))
		return -ENOMEM;
	while (rc > 0)
		rc = s->kind->next(s);
	if (rc == 0 && s->e.text)
		snapshot_comment(s);
	return rc;
}

int profile_put(struct pprof *p, int64_t time_ns, int64_t duration_ns, int fd)
{
	struct buf out = { 0 };
	int rc;

	if (symbols_update() < 0)
		return -ENOMEM;
	while ((rc = pprof_step(p, time_ns, duration_ns, SECOND)) > 0)
		;
	if (rc < 0)
		return rc;
	out.b = pprof_take(p, &out.len);
	rc = out.b ? buf_write(&out, fd) : -ENOMEM;
	buf_free(&out);
	return rc;
}

static int encode(struct snapshot *s, int fd)
{
	if (!s->e.text)
		return profile_put(s->e.p, real_now(), 0, fd);
	if (symbols_update() < 0)
		return -ENOMEM;
	text_profile(&s->e.out, s->e.p, &s->e.head);
	return buf_write(&s->e.out, fd);
}

int http_profile_write(const char *name, int debug, bool labels, int fd)
{
	const struct snapshot_kind *kind = snapshot_kind_of(name);
	struct snapshot *s;
	int rc;

	if (!kind)
		return -ENOENT;
	if (kind == &goroutine_kind && debug >= 2)
		return write_dump(fd);
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	snapshot_init(s, kind);
	s->e.text = debug != 0;
	s->no_labels = !labels;
	s->sign = 1;
	rc = collect(s);
	if (rc == 0)
		rc = encode(s, fd);
	if (kind->end)
		kind->end(s);
	if (kind->drop)
		kind->drop(s);
	encode_free(&s->e);
	names_were_read();
	free(s);
	return rc;
}

int64_t http_profile_count(const char *name)
{
	const struct snapshot_kind *k;
	const struct route *route;
	char path[128];

	for (size_t i = 0; (k = snapshot_kind_at(i)) != NULL; i++)
		if (!strcmp(k->name, name))
			return k->by_client ? -EEXIST : k->count ? (int64_t)k->count() : 0;
	snprintf(path, sizeof(path), "/debug/pprof/%s", name);
	route = route_find(path);
	return route && strcmp(route->class, "custom") ? -EEXIST : -ENOENT;
}
