/* netpair.h - for tests of the network: sockets that are connected to each other; whatever fails fails the test. */
#ifndef WEFT_TESTS_NETPAIR_H
#define WEFT_TESTS_NETPAIR_H

/* Where fd listens, as weft_dial() takes it, in buf. */
const char *address_of(int fd, char buf[80]);
int listen_on(const char *net, const char *addr);
/* fds[0] dials a listener at addr (port 0: any), fds[1] is accepted there; the listener is gone. */
void connect_pair(const char *net, const char *addr, int fds[2]);
void tcp_pair(int fds[2]);
void close_pair(const int fds[2]);

#endif
