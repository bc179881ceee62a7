/* request.c - a request's way through libmicrohttpd.
 *
 * The URI callback makes it, the completion callback, which always comes, ends it.  In between the access
 * handler is called after the headers (REQ_NEW), for every piece of the body and once after it (REQ_BODY),
 * and again after a suspension (REQ_READY).  A reply queued in the first of these calls makes libmicrohttpd
 * close the connection, as it leaves the body unread; so only refusals of requests with a body do that. */
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *request_new(void *cls, const char *target, struct MHD_Connection *c)
{
	struct listener *l = cls;
	size_t len = strlen(target);
	struct request *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->target = malloc(2 * (len + 1));
	if (!r->target) {
		free(r);
		return NULL;
	}
	memcpy(r->target, target, len + 1);
	r->path = r->target + len + 1;
	r->query = "";
	r->too_long = len > TARGET_MAX;
	r->bad = !param_target(r->target, r->path, len + 1, &r->query, r->host, sizeof(r->host));
	r->h = l->h;
	r->l = l;
	r->c = c;
	r->conn = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
	TAILQ_INSERT_TAIL(&r->h->requests, r, all);
	return r;
}

static enum method method_of(const char *name)
{
	if (!strcmp(name, MHD_HTTP_METHOD_GET))
		return METHOD_GET;
	if (!strcmp(name, MHD_HTTP_METHOD_HEAD))
		return METHOD_HEAD;
	return strcmp(name, MHD_HTTP_METHOD_POST) ? METHOD_OTHER : METHOD_POST;
}

/* After the headers: set a reply if that is all there is to say. */
static void begin(struct request *r, const char *method, const char *version)
{
	if (r->conn && !r->conn->busy) {
		r->conn->busy = true;
		TAILQ_REMOVE(&r->l->idle, r->conn, idle);
	}
	r->method = method_of(method);
	r->old = !strcmp(version, MHD_HTTP_VERSION_1_0);
	r->route = r->bad ? NULL : route_find(r->path);
	if (!access_check(r))
		return;
	if (r->bad)
		reply_error(r, MHD_HTTP_BAD_REQUEST, "malformed request target");
	else if (r->h->stopping)
		reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the server is stopping");
	else if (!r->route || !(r->route->methods & r->method))
		route_dispatch(r); /* 404, 405 */
	else if (!route_is_on(r, r->route->off))
		return;
	else if (r->method == METHOD_POST)
		symbol_begin(r);
}

static enum MHD_Result body_complete(struct request *r)
{
	if (!r->reply && r->h->stopping)
		reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the server is stopping");
	else if (r->op && r->lossy)
		op_fail(r->op, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
	if (!r->reply)
		route_dispatch(r);
	if (r->reply || !r->op)
		return reply_queue(r);
	r->state = REQ_WAIT;
	if (request_suspend(r) < 0) {
		op_fail(r->op, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return reply_queue(r);
	}
	return MHD_YES;
}

enum MHD_Result request_access(void *cls, struct MHD_Connection *c, const char *url, const char *method,
			       const char *version, const char *data, size_t *len, void **ctx)
{
	struct request *r = *ctx;

	(void)cls, (void)c, (void)url;
	if (!r)
		return MHD_NO; /* no memory in the URI callback */
	switch (r->state) {
	case REQ_NEW:
		begin(r, method, version);
		r->state = REQ_BODY;
		return r->reply && r->body ? reply_queue(r) : MHD_YES;
	case REQ_BODY:
		if (!*len)
			return body_complete(r);
		if (r->op && !symbol_body(r, data, *len))
			r->lossy = true;
		*len = 0;
		return MHD_YES;
	default:
		return reply_queue(r);
	}
}

void request_completed(void *cls, struct MHD_Connection *c, void **ctx, enum MHD_RequestTerminationCode how)
{
	struct request *r = *ctx;
	struct http *h;

	(void)cls;
	if (!r)
		return;
	*ctx = NULL;
	h = r->h;
	if (r->op)
		op_cancel(r->op);
	if (r->watch)
		h->loop->unwatch(h->loop->user, r->watch);
	if (r->reply)
		MHD_destroy_response(r->reply);
	if (r->stalls && how == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)IDLE_SECONDS);
	if (r->conn && r->conn->busy) {
		r->conn->busy = false;
		TAILQ_INSERT_TAIL(&r->l->idle, r->conn, idle);
	}
	TAILQ_REMOVE(&h->requests, r, all);
	free(r->target);
	free(r);
	http_stop_check(h);
}

/* The client closed its side, or all, while the request was suspended. */
static void hangup(void *arg, unsigned events)
{
	struct request *r = arg;

	(void)events;
	r->h->count.gone++;
	if (r->op)
		op_cancel(r->op);
	/* A stream's reader sees for itself; otherwise somebody who closed one side only gets told. */
	if (r->state == REQ_WAIT) {
		reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the client closed its side; collection ended");
		reply_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
		r->state = REQ_READY;
	}
	request_wake(r);
}

int request_suspend(struct request *r)
{
	const struct http_loop *loop = r->h->loop;
	int fd = MHD_get_connection_info(r->c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;

	r->watch = loop->watch(loop->user, fd, HTTP_HANGUP, hangup, r);
	if (!r->watch)
		return -ENOMEM;
	r->suspended = true;
	MHD_suspend_connection(r->c);
	return 0;
}

void request_wake(struct request *r)
{
	if (!r->suspended)
		return;
	/* First the watch: libmicrohttpd may close the descriptor as soon as it has it back. */
	r->h->loop->unwatch(r->h->loop->user, r->watch);
	r->watch = NULL;
	r->suspended = false;
	MHD_resume_connection(r->c);
	http_kick(r->h);
}

const char *request_peer(struct request *r, char *buf, size_t cap)
{
	const union MHD_ConnectionInfo *info;
	struct ucred cred;
	socklen_t len = sizeof(cred);
	char host[INET6_ADDRSTRLEN] = "?";
	const struct sockaddr *sa;

	if (r->l->local) {
		int fd = MHD_get_connection_info(r->c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;

		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
			return "an unknown process";
		snprintf(buf, cap, "uid %d pid %d", (int)cred.uid, (int)cred.pid);
		return buf;
	}
	info = MHD_get_connection_info(r->c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	sa = info ? info->client_addr : NULL;
	if (sa && sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;

		snprintf(buf, cap, "%s:%u", inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host)), ntohs(in->sin_port));
	} else if (sa && sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		snprintf(buf, cap, "[%s]:%u", inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host)),
			 ntohs(in6->sin6_port));
	} else {
		snprintf(buf, cap, "%s", host);
	}
	return buf;
}
