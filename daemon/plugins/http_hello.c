/* http_hello.c - an HTTP/1.1 server that says hello, and keeps connections alive.
 *
 * It reads a request's head, answers, and goes on with what follows in the buffer: requests may come one after the
 * other on a connection, or several at once (pipelining).  GET and HEAD are all it knows, and a request with a body
 * is refused, so that the end of a head is the start of the next request.  What is not understood is answered in
 * words, and the connection closed.
 *
 *	"config": { "listen": "127.0.0.1:8080", "idle": "60s", "text": "Hello, world!" }
 *
 * listen   "host:port"
 * idle     how long a connection may take for a request
 * text     the body of every answer */
#include <weft.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEAD_MOST 8192
#define PAUSE (20 * WEFT_MS)

struct http_hello {
	const char *address, *text;
	int64_t idle;
	int listener;
	char *answer; /* head and text, made once */
	size_t head, whole;
};

struct connection {
	struct http_hello *server;
	int fd;
};

/* Does the head have a field of that name, with that value (NULL: any)? */
static bool has_field(const char *head, const char *name, const char *value)
{
	size_t n = strlen(name);

	for (const char *line = strstr(head, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
		const char *at = line + 2;

		if (strncasecmp(at, name, n) != 0 || at[n] != ':')
			continue;
		at += n + 1;
		at += strspn(at, " \t");
		if (!value || strncasecmp(at, value, strlen(value)) == 0)
			return true;
	}
	return false;
}

static bool refuse(int fd, const char *status)
{
	char buf[200];
	int n = snprintf(
		buf, sizeof buf,
		"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s\n",
		status, strlen(status) + 1, status);

	(void)weft_write(fd, buf, (size_t)n);
	return false;
}

/* One request, of which the head is complete and ends in a 0.  False: close the connection. */
static bool answer(const struct connection *c, const char *head)
{
	const struct http_hello *s = c->server;
	bool get = strncmp(head, "GET ", 4) == 0, old;
	const char *version = strstr(head, " HTTP/1."), *line_end = strstr(head, "\r\n");
	size_t n = get ? s->whole : s->head;

	if (!version || version > line_end)
		return refuse(c->fd, "400 Bad Request");
	if (!get && strncmp(head, "HEAD ", 5) != 0)
		return refuse(c->fd, "405 Method Not Allowed");
	if (has_field(head, "Content-Length", NULL) || has_field(head, "Transfer-Encoding", NULL))
		return refuse(c->fd, "413 Content Too Large");
	if (weft_write(c->fd, s->answer, n) != (ssize_t)n)
		return false;
	old = version[8] == '0';
	return old ? has_field(head, "Connection", "keep-alive") : !has_field(head, "Connection", "close");
}

/* Answer the complete requests in buf; how many bytes of it are left, at its start.  < 0: close. */
static ssize_t answer_all(const struct connection *c, char *buf, size_t n)
{
	char *at = buf, *end;

	buf[n] = 0;
	while ((end = memmem(at, n - (size_t)(at - buf), "\r\n\r\n", 4))) {
		char kept = end[4];

		end[4] = 0;
		if (!answer(c, at))
			return -ECONNRESET;
		end[4] = kept;
		at = end + 4;
	}
	n -= (size_t)(at - buf);
	memmove(buf, at, n);
	return (ssize_t)n;
}

static void serve(void *arg)
{
	struct connection *c = arg;
	char buf[HEAD_MOST + 1];
	ssize_t n, have = 0;

	do {
		(void)weft_set_deadline(c->fd, POLLIN | POLLOUT, weft_now() + c->server->idle);
		n = weft_read(c->fd, buf + have, HEAD_MOST - (size_t)have);
		if (n > 0)
			have = answer_all(c, buf, (size_t)(have + n));
		if (have == HEAD_MOST)
			(void)refuse(c->fd, "431 Request Header Fields Too Large");
	} while (n > 0 && have >= 0 && have < HEAD_MOST);
	weft_close(c->fd);
}

/* Where it really listens: port 0 means any. */
static void log_address(const struct http_hello *s)
{
	struct sockaddr_in sa = { 0 };
	socklen_t len = sizeof sa;

	if (getsockname(s->listener, (struct sockaddr *)&sa, &len) == 0 && sa.sin_family == AF_INET)
		weft_log(WEFT_INFO, "hello on port %d", ntohs(sa.sin_port));
	else
		weft_log(WEFT_INFO, "hello on %s", s->address);
}

static int http_hello_init(void *state, const weft_conf *conf)
{
	static const char form[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%n%s\n";
	struct http_hello *s = state;
	int head, whole;

	s->address = "127.0.0.1:8080";
	s->text = "Hello, world!";
	s->idle = 60 * WEFT_SEC;
	if (weft_conf_str(conf, "listen", &s->address) < 0 || weft_conf_dur(conf, "idle", &s->idle) < 0 ||
	    weft_conf_str(conf, "text", &s->text) < 0)
		return -EINVAL;
	whole = asprintf(&s->answer, form, strlen(s->text) + 1, &head, s->text);
	if (whole < 0)
		return -ENOMEM;
	s->whole = (size_t)whole;
	s->head = (size_t)head;
	s->listener = weft_listen("tcp", s->address);
	if (s->listener < 0)
		weft_log(WEFT_ERROR, "listen: cannot listen on %s: %s", s->address, weft_strerror(s->listener));
	else
		log_address(s);
	return s->listener < 0 ? s->listener : 0;
}

static int http_hello_run(void *state)
{
	struct http_hello *s = state;
	int rc = 0;

	while (rc == 0) {
		int fd = weft_accept(s->listener, NULL, NULL);

		if (fd >= 0 && weft_go_copy(serve, &(struct connection){ s, fd }) < 0)
			weft_close(fd);
		else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM)
			rc = weft_sleep(PAUSE); /* until others have ended; the clients wait */
		else if (fd < 0)
			rc = fd;
	}
	return rc == -EBADF || rc == -ECANCELED ? 0 : rc; /* stop() was called */
}

static void http_hello_stop(void *state)
{
	struct http_hello *s = state;

	weft_close(s->listener);
}

static void http_hello_fini(void *state)
{
	struct http_hello *s = state;

	free(s->answer);
}

WEFT_PLUGIN(.name = "http_hello", .version = "1", .about = "an HTTP server that says hello",
	    .state_size = sizeof(struct http_hello), .init = http_hello_init, .run = http_hello_run,
	    .stop = http_hello_stop, .fini = http_hello_fini);
