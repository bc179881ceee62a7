/* notify.c - tells the service manager how the daemon is: READY=1, STATUS=, STOPPING=1,
 * EXTEND_TIMEOUT_USEC=, as datagrams to the socket it names in $NOTIFY_SOCKET.
 *
 * Nothing here waits: a manager that does not read loses messages, the daemon does not stop. */
#include "daemon.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

_Static_assert(sizeof(((struct notify *)0)->addr) >= sizeof(struct sockaddr_un), "room for any address");

int notify_init(struct notify *n, const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;

	n->fd = -1;
	if (!path)
		return 0;
	if ((path[0] != '/' && path[0] != '@') || len < 2)
		return -EINVAL;
	/* A path ends with its NUL, an abstract name with its length. */
	if (len + (path[0] == '/') > sizeof to.sun_path)
		return -ENAMETOOLONG;
	memcpy(to.sun_path, path, len);
	if (path[0] == '@')
		to.sun_path[0] = 0;
	memcpy(n->addr, &to, sizeof to);
	n->addr_len = (unsigned)(offsetof(struct sockaddr_un, sun_path) + len + (path[0] == '/'));
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return n->fd < 0 ? -errno : 0;
}

void notify_send(const struct notify *n, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int len;

	if (n->fd < 0)
		return;
	va_start(ap, fmt);
	len = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (len >= (int)sizeof text)
		len = sizeof text - 1;
	/* The manager may be gone or full: nothing to do about it. */
	(void)sendto(n->fd, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)n->addr,
		     n->addr_len);
}

void notify_done(struct notify *n)
{
	if (n->fd >= 0)
		(void)close(n->fd);
	n->fd = -1;
}
