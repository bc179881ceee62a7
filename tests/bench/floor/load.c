/* load.c - the client of the TCP rows: one thread, epoll, one 64-byte message outstanding per connection. */
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "floor.h"

enum { EVENTS = 256, MESSAGE = 64 };

static struct {
	int ep, conns;
	struct conn {
		int fd, have;
		int64_t sent;
	} * conn;
	int64_t *took; /* of each round trip that is timed */
} load;

static void dial(struct conn *c, int port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)port),
	};
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&addr, sizeof addr) < 0)
		floor_fail("connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (epoll_ctl(load.ep, EPOLL_CTL_ADD, c->fd, &ev) < 0)
		floor_fail("epoll_ctl");
}

static void ask(struct conn *c)
{
	static const char message[MESSAGE];

	c->have = 0;
	c->sent = floor_now();
	if (send(c->fd, message, MESSAGE, MSG_NOSIGNAL) != MESSAGE)
		floor_fail("send");
}

/* Is the answer complete? */
static int answer(struct conn *c)
{
	char buf[MESSAGE];
	ssize_t n = recv(c->fd, buf, (size_t)(MESSAGE - c->have), MSG_DONTWAIT);

	if (n == 0)
		errno = ECONNRESET;
	if (n == 0 || (n < 0 && errno != EAGAIN))
		floor_fail("recv");
	c->have += n > 0 ? (int)n : 0;
	return c->have == MESSAGE;
}

/* n round trips over all connections. */
static void trips(int64_t n)
{
	struct epoll_event ev[EVENTS];
	int64_t asked = 0, done = 0;

	for (int i = 0; i < load.conns && asked < n; i++, asked++)
		ask(&load.conn[i]);
	while (done < n) {
		int ready = epoll_wait(load.ep, ev, EVENTS, -1);

		for (int i = 0; i < ready; i++) {
			struct conn *c = ev[i].data.ptr;

			if (!answer(c))
				continue;
			load.took[done++] = floor_now() - c->sent;
			if (asked < n) {
				asked++;
				ask(c);
			}
		}
	}
}

/* CPU time of all threads of pid, ns. */
static double cpu_of(int pid)
{
	char path[64], name[sizeof path + 280];
	double total = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof path, "/proc/%d/task", pid);
	d = opendir(path);
	if (!d)
		floor_fail(path);
	while ((e = readdir(d))) {
		FILE *f;
		double ns;

		snprintf(name, sizeof name, "%s/%s/schedstat", path, e->d_name);
		f = fopen(name, "re");
		if (f && fscanf(f, "%lf", &ns) == 1)
			total += ns;
		if (f)
			fclose(f);
	}
	closedir(d);
	return total;
}

static double cpu_own(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1e9 +
	       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * 1e3;
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void value(const char *name, double v, const char *unit)
{
	printf("tcp.%s\t%.3f\t%s\n", name, v, unit);
}

void floor_load(int port, int conns, int64_t n, int pid)
{
	double server, client;
	int64_t start;

	load.ep = epoll_create1(EPOLL_CLOEXEC);
	load.conns = conns;
	load.conn = calloc((size_t)conns, sizeof *load.conn);
	load.took = calloc((size_t)n, sizeof *load.took);
	if (load.ep < 0 || !load.conn || !load.took)
		floor_fail("no memory");
	for (int i = 0; i < conns; i++)
		dial(&load.conn[i], port);
	trips(n / 10);
	server = cpu_of(pid);
	client = cpu_own();
	start = floor_now();
	trips(n);
	value("rate", (double)n * 1e9 / (double)(floor_now() - start), "/s");
	value("server.cpu", (cpu_of(pid) - server) / (double)n / 1e3, "us");
	value("client.cpu", (cpu_own() - client) / (double)n / 1e3, "us");
	qsort(load.took, (size_t)n, sizeof *load.took, by_size);
	value("p50", (double)load.took[n / 2] / 1e3, "us");
	value("p99", (double)load.took[n - 1 - n / 100] / 1e3, "us");
	value("p999", (double)load.took[n - 1 - n / 1000] / 1e3, "us");
}
