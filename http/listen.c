/* listen.c - from a listen entry to listening sockets.
 *
 * Forms: "host:port", "[v6]:port", "unix:PATH", "fd:NAME" (LISTEN_FDNAMES; several sockets may share a name).
 * A TCP address that is not loopback is refused unless allow_remote, also when it comes from the service
 * manager.  A Unix socket is made with mode 0660 from the start; a stale one, which nobody answers on, is
 * replaced; it is unlinked at the end if it is still ours. */
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 128
#define FORMS "\"host:port\", \"[v6]:port\", \"unix:PATH\" or \"fd:NAME\""

static int fail(int rc, char *err, size_t cap, const char *entry, const char *what, const char *detail)
{
	snprintf(err, cap, "listen \"%s\": %s%s%s", entry, what, detail ? ": " : "", detail ? detail : "");
	return rc;
}

static bool copy(char *to, size_t cap, const char *from, size_t len)
{
	if (len >= cap)
		return false;
	memcpy(to, from, len);
	to[len] = '\0';
	return true;
}

static int parse_tcp(const char *entry, struct listen_spec *out, char *err, size_t cap)
{
	const char *colon = strrchr(entry, ':');
	const char *host = entry, *end = colon;
	size_t digits;

	if (!colon)
		return fail(-EINVAL, err, cap, entry, "no port; allowed are " FORMS, NULL);
	if (*host == '[') {
		struct in6_addr a;

		host++;
		end = colon - 1;
		if (end <= host || *end != ']' || !copy(out->host, sizeof(out->host), host, (size_t)(end - host)) ||
		    inet_pton(AF_INET6, out->host, &a) != 1)
			return fail(-EINVAL, err, cap, entry, "no IPv6 address between the brackets", NULL);
	} else if (memchr(host, ':', (size_t)(end - host))) {
		return fail(-EINVAL, err, cap, entry, "an IPv6 address must stand in brackets", NULL);
	} else if (!copy(out->host, sizeof(out->host), host, (size_t)(end - host))) {
		return fail(-EINVAL, err, cap, entry, "the host name is too long", NULL);
	}
	digits = strspn(colon + 1, "0123456789");
	if (!digits || digits > 5 || colon[1 + digits] || atol(colon + 1) > 65535)
		return fail(-EINVAL, err, cap, entry, "the port must be a number from 0 to 65535", NULL);
	copy(out->port, sizeof(out->port), colon + 1, digits);
	return 0;
}

int listen_parse(const char *entry, struct listen_spec *out, char *err, size_t cap)
{
	size_t max = sizeof(((struct sockaddr_un *)0)->sun_path);

	memset(out, 0, sizeof(*out));
	if (!strncmp(entry, "unix:", 5)) {
		out->kind = LISTEN_UNIX;
		if (entry[5] != '/')
			return fail(-EINVAL, err, cap, entry, "the path of a Unix socket must begin with /", NULL);
		if (!copy(out->name, max < sizeof(out->name) ? max : sizeof(out->name), entry + 5, strlen(entry + 5)))
			return fail(-EINVAL, err, cap, entry, "the path of a Unix socket has at most 107 bytes", NULL);
		return 0;
	}
	if (!strncmp(entry, "fd:", 3)) {
		out->kind = LISTEN_FD;
		if (!entry[3] || strchr(entry + 3, ':') ||
		    !copy(out->name, sizeof(out->name), entry + 3, strlen(entry + 3)))
			return fail(-EINVAL, err, cap, entry,
				    "fd: wants a name without colons, as in FileDescriptorName=", NULL);
		return 0;
	}
	out->kind = LISTEN_TCP;
	return parse_tcp(entry, out, err, cap);
}

bool listen_is_local(const struct sockaddr *sa)
{
	const struct sockaddr_in *in = (const void *)sa;
	const struct sockaddr_in6 *in6 = (const void *)sa;

	switch (sa->sa_family) {
	case AF_UNIX:
		return true;
	case AF_INET:
		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	case AF_INET6:
		return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
		       (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) && in6->sin6_addr.s6_addr[12] == 127);
	default:
		return false;
	}
}

/* What the socket is bound to, for people; NULL: no memory. */
static char *address_of(const struct sockaddr_storage *ss, socklen_t len)
{
	const struct sockaddr_un *un = (const void *)ss;
	char host[INET6_ADDRSTRLEN], *text = NULL;
	const struct sockaddr_in *in = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;
	int n = -1;

	if (ss->ss_family == AF_UNIX) {
		int at = len > offsetof(struct sockaddr_un, sun_path) && !*un->sun_path;
		int max = (int)(len - offsetof(struct sockaddr_un, sun_path)) - at;

		n = asprintf(&text, "unix:%s%.*s", at ? "@" : "", max, un->sun_path + at);
	} else if (ss->ss_family == AF_INET) {
		n = asprintf(&text, "%s:%u", inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host)),
			     ntohs(in->sin_port));
	} else if (ss->ss_family == AF_INET6) {
		n = asprintf(&text, "[%s]:%u", inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host)),
			     ntohs(in6->sin6_port));
	}
	return n < 0 ? NULL : text;
}

/* fd is bound: fill l from what it says of itself, check it, listen.  Closes nothing. */
static int take_socket(int fd, const char *entry, bool allow_remote, struct listener *l, char *err, size_t cap)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	int type = 0;
	socklen_t type_len = sizeof(type);

	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) < 0)
		return fail(-errno, err, cap, entry, "not a socket", strerror(errno));
	if (type != SOCK_STREAM || (ss.ss_family != AF_UNIX && ss.ss_family != AF_INET && ss.ss_family != AF_INET6))
		return fail(-EINVAL, err, cap, entry, "not a TCP or Unix stream socket", NULL);
	if (!allow_remote && !listen_is_local((struct sockaddr *)&ss))
		return fail(-EACCES, err, cap, entry,
			    "not a loopback address, so other machines could read this process; "
			    "http.allow_remote: true allows it",
			    NULL);
	if (listen(fd, BACKLOG) < 0)
		return fail(-errno, err, cap, entry, "cannot listen", strerror(errno));
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return fail(-errno, err, cap, entry, "cannot make it non-blocking", strerror(errno));
	l->address = address_of(&ss, len);
	if (!l->address)
		return fail(-ENOMEM, err, cap, entry, "no memory", NULL);
	l->local = ss.ss_family == AF_UNIX;
	l->fd = fd;
	return 0;
}

static int open_tcp(const struct listen_spec *spec, const char *entry, bool allow_remote, struct listener *l, char *err,
		    size_t cap)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *ai = NULL;
	bool localhost = !strcmp(spec->host, "localhost");
	int one = 1, fd, rc;

	/* "localhost" without asking anybody: the name service may be slow or say something else. */
	rc = getaddrinfo(localhost ? "127.0.0.1" : *spec->host ? spec->host : NULL, spec->port, &hints, &ai);
	if (rc)
		return fail(-EADDRNOTAVAIL, err, cap, entry, "cannot resolve the host", gai_strerror(rc));
	/* Before the bind: the port of a refused address is not even taken. */
	if (!allow_remote && !listen_is_local(ai->ai_addr)) {
		rc = fail(-EACCES, err, cap, entry,
			  "not a loopback address, so other machines could read this process; "
			  "http.allow_remote: true allows it",
			  NULL);
		goto out;
	}
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		rc = fail(-errno, err, cap, entry, "no socket", strerror(errno));
		goto out;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* [::] is IPv6 only, so that an entry for 0.0.0.0 can stand beside it. */
	if (ai->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0)
		rc = fail(-errno, err, cap, entry, "cannot bind", strerror(errno));
	else
		rc = take_socket(fd, entry, allow_remote, l, err, cap);
	if (rc < 0)
		close(fd);
out:
	freeaddrinfo(ai);
	return rc;
}

/* true: a socket file that nobody answers on. */
static bool stale(const struct sockaddr_un *un)
{
	struct stat st;
	int fd;
	bool dead;

	if (lstat(un->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	dead = connect(fd, (const struct sockaddr *)un, sizeof(*un)) < 0 && errno == ECONNREFUSED;
	close(fd);
	return dead;
}

static int open_unix(const struct listen_spec *spec, const char *entry, struct listener *l, char *err, size_t cap)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct stat st;
	int fd, rc;

	copy(un.sun_path, sizeof(un.sun_path), spec->name, strlen(spec->name));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail(-errno, err, cap, entry, "no socket", strerror(errno));
	/* The file gets the socket's mode less the umask, so it is never wider than this; then exactly this. */
	(void)fchmod(fd, 0660);
	rc = bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 ? -errno : 0;
	if (rc == -EADDRINUSE && stale(&un)) {
		(void)unlink(un.sun_path); /* bind tells */
		rc = bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 ? -errno : 0;
	}
	if (rc < 0) {
		fail(rc, err, cap, entry, "cannot bind", strerror(-rc));
		goto err0;
	}
	rc = take_socket(fd, entry, true, l, err, cap);
	if (rc < 0)
		goto err1;
	l->path = strdup(un.sun_path);
	if (!l->path || chmod(un.sun_path, 0660) < 0 || lstat(un.sun_path, &st) < 0) {
		rc = fail(l->path ? -errno : -ENOMEM, err, cap, entry, "cannot set its mode", strerror(errno));
		goto err1;
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
err1:
	free(l->path);
	free(l->address);
	(void)unlink(un.sun_path); /* ours since the bind */
err0:
	close(fd);
	return rc;
}

/* Every socket passed under the name.  They stay open on failure: they are not ours alone. */
static int open_passed(const struct listen_spec *spec, const char *entry, bool allow_remote, struct listener *out,
		       size_t cap, char *err, size_t err_cap)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
	int n = fds ? atoi(fds) : 0;
	size_t found = 0, len = strlen(spec->name);

	if (!pid || atol(pid) != getpid() || n <= 0 || !names)
		return fail(-ENOENT, err, err_cap, entry, "the service manager passed no named sockets", NULL);
	for (int fd = 3; fd < 3 + n; fd++) {
		size_t this = strcspn(names, ":");

		if (this == len && !strncmp(names, spec->name, len) && found < cap) {
			int rc = take_socket(fd, entry, allow_remote, &out[found], err, err_cap);

			if (rc < 0) {
				while (found--)
					free(out[found].address);
				return rc;
			}
			(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
			found++;
		}
		names += this + (names[this] == ':');
	}
	if (!found)
		return fail(-ENOENT, err, err_cap, entry, "the service manager passed no socket of that name", NULL);
	return (int)found;
}

int listen_open(const char *entry, bool allow_remote, struct listener *out, size_t cap, char *err, size_t err_cap)
{
	struct listen_spec spec;
	int rc = listen_parse(entry, &spec, err, err_cap);

	if (rc < 0)
		return rc;
	if (!cap)
		return fail(-EMFILE, err, err_cap, entry, "too many listeners", NULL);
	if (spec.kind == LISTEN_FD)
		return open_passed(&spec, entry, allow_remote, out, cap, err, err_cap);
	if (spec.kind == LISTEN_UNIX)
		rc = open_unix(&spec, entry, out, err, err_cap);
	else
		rc = open_tcp(&spec, entry, allow_remote, out, err, err_cap);
	return rc < 0 ? rc : 1;
}

void listen_close(struct listener *l)
{
	struct stat st;

	if (l->path && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		(void)unlink(l->path); /* a leftover does no harm */
	close(l->fd);
	free(l->path);
	free(l->address);
}
