/* echo.c - a TCP server: sends back what it gets.
 *
 * One goroutine accepts, and starts one for each connection; that one reads and writes in straight lines, as if it
 * had a thread to itself.  A connection that says nothing for `idle` is closed by its deadline.  When there are no
 * descriptors left the clients wait in the kernel's queue until some are free again: accepting goes on a moment
 * later.
 *
 * stop() closes the listening socket, which ends the accept loop; the connections end when the context does.
 *
 *	"config": { "listen": "127.0.0.1:7000", "idle": "30s" }
 *
 * listen   "host:port", or a path for a Unix socket; port 0: any, see the log
 * idle     how long a connection may say nothing; "0s": for ever */
#include <weft.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PAUSE (20 * WEFT_MS) /* before the next attempt to accept */

struct echo {
	const char *address;
	int64_t idle;
	int listener;
};

struct connection {
	struct echo *echo;
	int fd;
};

static void serve(void *arg)
{
	struct connection *c = arg;
	char buf[4096];
	ssize_t n;

	do {
		if (c->echo->idle)
			(void)weft_set_deadline(c->fd, POLLIN | POLLOUT, weft_now() + c->echo->idle);
		n = weft_read(c->fd, buf, sizeof buf);
		if (n > 0)
			n = weft_write(c->fd, buf, (size_t)n);
	} while (n > 0);
	weft_close(c->fd);
}

/* No descriptor or no memory for one more, at present. */
static bool exhausted(int rc)
{
	return rc == -EMFILE || rc == -ENFILE || rc == -ENOBUFS || rc == -ENOMEM;
}

static int accept_all(struct echo *e)
{
	bool said = false;
	int rc = 0;

	while (rc == 0) {
		int fd = weft_accept(e->listener, NULL, NULL);

		if (exhausted(fd)) {
			if (!said)
				weft_log(WEFT_WARN, "no more connections at present: %s", weft_strerror(fd));
			said = true;
			rc = weft_sleep(PAUSE);
		} else if (fd < 0) {
			rc = fd;
		} else {
			said = false;
			if (weft_go_copy(serve, &(struct connection){ e, fd }) < 0)
				weft_close(fd);
		}
	}
	return rc == -EBADF || rc == -ECANCELED ? 0 : rc; /* stop() was called */
}

/* Where it really listens: port 0 means any. */
static void log_address(const struct echo *e)
{
	struct sockaddr_in sa = { 0 };
	socklen_t len = sizeof sa;
	char ip[INET_ADDRSTRLEN];

	if (getsockname(e->listener, (struct sockaddr *)&sa, &len) == 0 && sa.sin_family == AF_INET &&
	    inet_ntop(AF_INET, &sa.sin_addr, ip, sizeof ip))
		weft_log(WEFT_INFO, "echo on %s:%d", ip, ntohs(sa.sin_port));
	else
		weft_log(WEFT_INFO, "echo on %s", e->address);
}

static int echo_init(void *state, const weft_conf *conf)
{
	struct echo *e = state;

	e->address = "127.0.0.1:7000";
	e->idle = 30 * WEFT_SEC;
	if (weft_conf_str(conf, "listen", &e->address) < 0 || weft_conf_dur(conf, "idle", &e->idle) < 0)
		return -EINVAL;
	if (e->address[0] == '/')
		(void)unlink(e->address); /* left behind by the last run */
	e->listener = weft_listen(e->address[0] == '/' ? "unix" : "tcp", e->address);
	if (e->listener < 0)
		weft_log(WEFT_ERROR, "listen: cannot listen on %s: %s", e->address, weft_strerror(e->listener));
	else
		log_address(e);
	return e->listener < 0 ? e->listener : 0;
}

static int echo_run(void *state)
{
	return accept_all(state);
}

static void echo_stop(void *state)
{
	struct echo *e = state;

	weft_close(e->listener);
}

WEFT_PLUGIN(.name = "echo", .version = "1", .about = "a TCP server that sends back what it gets",
	    .state_size = sizeof(struct echo), .init = echo_init, .run = echo_run, .stop = echo_stop);
