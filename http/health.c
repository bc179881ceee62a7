/* health.c - /healthz: the loop lives, or nobody would answer; /readyz: what the embedder says; /version. */
#include "server.h"

#include <stdlib.h>

void get_healthz(struct request *r)
{
	reply_text(r, type_text, "ok\n");
}

void get_readyz(struct request *r)
{
	const struct http_opts *o = &r->h->opts;
	char why[256] = "";

	if (!o->ready || o->ready(o->user, why, sizeof(why)))
		reply_text(r, type_text, "ready\n");
	else
		reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "not ready: %s", *why ? why : "starting");
}

void get_version(struct request *r)
{
	struct buf b = { 0 };

	buf_str(&b, "{\"version\":");
	buf_json(&b, r->h->opts.version);
	buf_str(&b, ",\"build_id\":");
	buf_json(&b, r->h->opts.build_id);
	buf_str(&b, "}\n");
	if (b.failed) {
		buf_free(&b);
		reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return;
	}
	reply_bytes(r, type_json, NULL, b.b, b.len);
}
