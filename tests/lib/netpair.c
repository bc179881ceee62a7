/* netpair.c - see netpair.h. */
#include "netpair.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <weft.h>

const char *address_of(int fd, char buf[80])
{
	struct sockaddr_in6 sa = { 0 }; /* the larger one */
	socklen_t len = sizeof sa;
	char ip[64];

	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	if (sa.sin6_family == AF_INET6)
		snprintf(buf, 80, "[%s]:%d", inet_ntop(AF_INET6, &sa.sin6_addr, ip, sizeof ip), ntohs(sa.sin6_port));
	else
		snprintf(buf, 80, "%s:%d", inet_ntop(AF_INET, &((struct sockaddr_in *)&sa)->sin_addr, ip, sizeof ip),
			 ntohs(sa.sin6_port));
	return buf;
}

int listen_on(const char *net, const char *addr)
{
	int fd = weft_listen(net, addr);

	ck_assert_msg(fd >= 0, "listen %s %s: %s", net, addr, weft_strerror(fd));
	return fd;
}

void connect_pair(const char *net, const char *addr, int fds[2])
{
	char buf[80];
	int l = listen_on(net, addr);

	fds[0] = weft_dial(net, strncmp(net, "unix", 4) == 0 ? addr : address_of(l, buf));
	ck_assert_msg(fds[0] >= 0, "dial %s %s: %s", net, addr, weft_strerror(fds[0]));
	fds[1] = weft_accept(l, NULL, NULL);
	ck_assert_int_ge(fds[1], 0);
	ck_assert_int_eq(weft_close(l), 0);
}

void tcp_pair(int fds[2])
{
	connect_pair("tcp", "127.0.0.1:0", fds);
}

void close_pair(const int fds[2])
{
	ck_assert_int_eq(weft_close(fds[0]), 0);
	ck_assert_int_eq(weft_close(fds[1]), 0);
}
