/* reply.c - answers and their headers.
 *
 * Every answer says nosniff; every error is one line of text with X-Go-Pprof, without which `go tool pprof`
 * does not show it.  The endpoints that Go has carry Go's headers and no others. */
#include "server.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char type_text[] = "text/plain; charset=utf-8";
const char type_json[] = "application/json";
const char type_html[] = "text/html; charset=utf-8";
const char type_binary[] = "application/octet-stream";

void reply_header(struct request *r, const char *name, const char *value)
{
	if (r->reply && MHD_add_response_header(r->reply, name, value) != MHD_YES) {
		MHD_destroy_response(r->reply);
		r->reply = NULL;
	}
}

/* Takes resp over; NULL is no memory. */
static void set(struct request *r, unsigned status, struct MHD_Response *resp, const char *type)
{
	if (r->reply)
		MHD_destroy_response(r->reply);
	r->reply = resp;
	r->status = status;
	reply_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	reply_header(r, "X-Content-Type-Options", "nosniff");
	if (r->route && !r->route->plain) {
		reply_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
		reply_header(r, "Cross-Origin-Resource-Policy", "same-origin");
		reply_header(r, "X-Frame-Options", "DENY");
	}
}

void reply_file(struct request *r, const char *filename)
{
	char text[128];

	if (!filename)
		return;
	snprintf(text, sizeof(text), "attachment; filename=\"%s\"", filename);
	reply_header(r, MHD_HTTP_HEADER_CONTENT_DISPOSITION, text);
}

bool reply_format(struct request *r, bool *json)
{
	char format[8] = "text";

	(void)param_get(r->query, "format", format, sizeof(format));
	*json = !strcmp(format, "json");
	if (*json || !strcmp(format, "text"))
		return true;
	reply_error(r, MHD_HTTP_BAD_REQUEST, "format must be \"text\" or \"json\"");
	return false;
}

void reply_error(struct request *r, unsigned status, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	size_t len;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text) - 1, fmt, ap);
	va_end(ap);
	for (char *s = text; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = '?'; /* what the client sent stays one line */
	len = strlen(text);
	text[len++] = '\n';
	set(r, status, MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_COPY), type_text);
	reply_header(r, "X-Go-Pprof", "1");
}

void reply_bytes(struct request *r, const char *type, const char *filename, void *data, size_t len)
{
	struct MHD_Response *resp = MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE);

	if (!resp)
		free(data);
	set(r, MHD_HTTP_OK, resp, type);
	reply_file(r, filename);
}

void reply_text(struct request *r, const char *type, const char *text)
{
	set(r, MHD_HTTP_OK, MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY), type);
}

static ssize_t read_nothing(void *cls, uint64_t pos, char *buf, size_t max)
{
	(void)cls, (void)pos, (void)buf, (void)max;
	return MHD_CONTENT_READER_END_OF_STREAM;
}

void reply_head(struct request *r, const char *type, const char *filename)
{
	/* Of unknown size, for a Content-Length of 0 would be a lie. */
	set(r, MHD_HTTP_OK, MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1024, read_nothing, NULL, NULL), type);
	reply_file(r, filename);
}

static void stream_free(void *cls)
{
	op_unref(cls);
}

void reply_stream(struct request *r, const char *type, MHD_ContentReaderCallback read, struct op *o)
{
	struct MHD_Response *resp = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, read, o, stream_free);

	/* The response may outlive the request: its free callback comes after the completion callback. */
	if (resp)
		op_ref(o);
	set(r, MHD_HTTP_OK, resp, type);
	r->stalls = true;
}

enum MHD_Result reply_queue(struct request *r)
{
	enum MHD_Result ok;

	if (!r->reply) {
		http_log(r->h, WEFT_WARN, "http: no memory for an answer; connection closed");
		return MHD_NO;
	}
	if (r->h->stopping)
		reply_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
	if (!r->reply)
		return MHD_NO;
	if (r->stalls)
		MHD_set_connection_option(r->c, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)STREAM_STALL_SECONDS);
	r->h->count.requests[route_index(r->route)][route_code(r->status)]++;
	ok = MHD_queue_response(r->c, r->status, r->reply);
	MHD_destroy_response(r->reply);
	r->reply = NULL;
	return ok;
}
