/* net.c - TCP echo server, a goroutine per connection. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define MESSAGE 64

static void serve(void *arg)
{
	int fd = *(int *)arg;
	char buf[MESSAGE];
	ssize_t n;

	while ((n = weft_read(fd, buf, sizeof buf)) > 0)
		if (weft_write(fd, buf, (size_t)n) != n)
			break;
	weft_close(fd);
}

static void accept_all(void *arg)
{
	int ln = *(int *)arg, fd;

	while ((fd = weft_accept(ln, NULL, NULL)) >= 0)
		must(weft_go_copy(serve, &fd), "weft_go_copy");
}

/* n: the port, 0 for any; ends when stdin does. */
void own_tcp_server(int64_t n, int64_t k)
{
	struct sockaddr_in addr = { 0 };
	socklen_t len = sizeof addr;
	char where[64], c;
	int ln;

	(void)k;
	snprintf(where, sizeof where, "127.0.0.1:%d", (int)n);
	ln = must(weft_listen("tcp4", where), "weft_listen");
	if (getsockname(ln, (struct sockaddr *)&addr, &len) < 0)
		fail("getsockname failed");
	printf("ready %d\n", ntohs(addr.sin_port));
	fflush(stdout);
	must(weft_go_copy(accept_all, &ln), "weft_go_copy");
	while (weft_read(STDIN_FILENO, &c, 1) > 0)
		;
	weft_close(ln);
}
