/* access.c - who may ask.
 *
 * The server has no passwords in this version; it listens on loopback, and what loopback does not keep out
 * are web pages in a browser on the same machine.  Three rules do:
 *   Host must be an IP literal, localhost or a configured name: a page that rebinds its own name to
 *     127.0.0.1 sends that name.  Not on Unix sockets, which no browser reaches and where clients make
 *     the name up.
 *   Sec-Fetch-Site and Origin must not speak of another site: everything expensive is a GET here.
 *   Exactly one Host (HTTP/1.0 may have none), no Transfer-Encoding, a body only where one is expected: what two HTTP
 * readers in a row could understand differently is refused, and the connection closed. */
#include "server.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Host without port and brackets into buf; *literal: it is an address.  false: malformed. */
static bool split_host(const char *host, char *buf, size_t cap, bool *literal)
{
	bool v6 = *host == '[';
	struct in6_addr addr;
	size_t len = strcspn(host += v6, v6 ? "]" : ":");
	const char *rest = host + len + v6;

	if (!len || len >= cap || (v6 && host[len] != ']') || (*rest && *rest != ':'))
		return false;
	if (*rest && strspn(rest + 1, "0123456789") != strlen(rest + 1))
		return false;
	memcpy(buf, host, len);
	buf[len] = '\0';
	*literal = inet_pton(v6 ? AF_INET6 : AF_INET, buf, &addr) == 1;
	return *literal || !v6;
}

bool access_host_ok(const char *host, const char *const *allowed, size_t n)
{
	char name[256];
	size_t len;
	bool literal;

	if (!split_host(host, name, sizeof(name), &literal))
		return false;
	if (literal)
		return true;
	len = strlen(name);
	if (len > 1 && name[len - 1] == '.')
		name[len - 1] = '\0';
	if (!strcasecmp(name, "localhost"))
		return true;
	for (size_t i = 0; i < n; i++)
		if (!strcasecmp(name, allowed[i]))
			return true;
	return false;
}

bool access_origin_ok(const char *origin, const char *host)
{
	if (!strncasecmp(origin, "http://", 7))
		origin += 7;
	else if (!strncasecmp(origin, "https://", 8))
		origin += 8;
	else
		return false; /* "null", or no web page at all */
	return host && !strcasecmp(origin, host);
}

bool access_site_ok(const char *site)
{
	return !strcasecmp(site, "same-origin") || !strcasecmp(site, "none");
}

struct seen {
	int hosts, encodings, lengths;
	const char *host, *length;
};

static enum MHD_Result see_header(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct seen *s = cls;

	(void)kind;
	if (!strcasecmp(key, MHD_HTTP_HEADER_HOST)) {
		s->hosts++;
		s->host = value ? value : "";
	} else if (!strcasecmp(key, MHD_HTTP_HEADER_TRANSFER_ENCODING)) {
		s->encodings++;
	} else if (!strcasecmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH)) {
		s->lengths++;
		s->length = value ? value : "";
	}
	return MHD_YES;
}

static const char *header(struct request *r, const char *name)
{
	return MHD_lookup_connection_value(r->c, MHD_HEADER_KIND, name);
}

/* true: refused, reply set. */
static bool refuse_framing(struct request *r, const struct seen *s)
{
	bool known = r->route && r->route->methods & r->method;
	const union MHD_ConnectionInfo *head = MHD_get_connection_info(r->c, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	r->body = s->encodings || (s->length && strtoull(s->length, NULL, 10) > 0);
	if (r->too_long)
		reply_error(r, 414, "the request target has more than %u bytes", TARGET_MAX);
	else if (head && head->header_size > HEAD_MAX)
		reply_error(r, 431, "the request line and headers have more than %u bytes", HEAD_MAX);
	else if (!s->hosts && !r->old)
		reply_error(r, 400, "no Host header");
	else if (s->hosts > 1)
		reply_error(r, 400, "more than one Host header");
	else if (s->lengths > 1)
		reply_error(r, 400, "more than one Content-Length header");
	else if (s->encodings)
		reply_error(r, 501, "Transfer-Encoding is not supported in requests; send Content-Length");
	else if (r->body && known && r->method != METHOD_POST)
		reply_error(r, 400, "a body is not expected here");
	else if (r->body && known && strtoull(s->length, NULL, 10) > BODY_MAX)
		reply_error(r, 413, "the body has %s bytes; at most %u are taken", s->length, BODY_MAX);
	else
		return false;
	reply_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
	return true;
}

static bool refuse_host(struct request *r, const char *host)
{
	const struct http_opts *o = &r->h->opts;

	if (r->l->local || access_host_ok(host, o->allowed_hosts, o->n_allowed_hosts))
		return false;
	reply_error(r, 403,
		    "Host \"%.200s\" is not served; allowed are IP addresses, localhost and the names in "
		    "http.allowed_hosts",
		    host);
	return true;
}

bool access_check(struct request *r)
{
	struct seen s = { 0 };
	const char *site, *origin;

	MHD_get_connection_values(r->c, MHD_HEADER_KIND, see_header, &s);
	if (s.host && s.hosts == 1 && refuse_host(r, s.host))
		return false;
	if (*r->host && refuse_host(r, r->host))
		return false;
	site = header(r, "Sec-Fetch-Site");
	origin = header(r, MHD_HTTP_HEADER_ORIGIN);
	if ((site && !access_site_ok(site)) || (origin && !access_origin_ok(origin, s.host))) {
		reply_error(r, 403, "requests from pages of other sites are not served");
		return false;
	}
	return !refuse_framing(r, &s);
}
