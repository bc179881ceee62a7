/* echo.c - the peer of the TCP rows: an echo server of one thread on edge-triggered epoll, with nothing around it. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "floor.h"

enum { EVENTS = 256, MESSAGE = 64 };

static void watch(int ep, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = fd };

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
		floor_fail("epoll_ctl");
}

static void accept_all(int ep, int ln)
{
	int fd;

	while ((fd = accept4(ln, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
		watch(ep, fd);
	}
}

/* Until a short read: what comes later is told anew. */
static void echo(int fd)
{
	char buf[MESSAGE];
	ssize_t n;

	while ((n = read(fd, buf, sizeof buf)) > 0)
		if (write(fd, buf, (size_t)n) != n || n < MESSAGE)
			break;
	if (n == 0 || (n < 0 && errno != EAGAIN))
		close(fd);
}

void floor_echo(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof addr;
	int ln = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev[EVENTS];

	if (ln < 0 || ep < 0 || bind(ln, (struct sockaddr *)&addr, len) < 0 || listen(ln, SOMAXCONN) < 0 ||
	    getsockname(ln, (struct sockaddr *)&addr, &len) < 0)
		floor_fail("listen");
	watch(ep, ln);
	watch(ep, STDIN_FILENO);
	printf("ready %d\n", ntohs(addr.sin_port));
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(ep, ev, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (ev[i].data.fd == STDIN_FILENO)
				return;
			if (ev[i].data.fd == ln)
				accept_all(ep, ln);
			else
				echo(ev[i].data.fd);
		}
	}
}
