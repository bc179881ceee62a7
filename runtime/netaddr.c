/* netaddr.c - from the words of weft_listen() and weft_dial() to addresses.
 *
 * Numbers are read here; a name goes to getaddrinfo() on a helper thread (helper.c), which may take as long as the
 * name servers do.  The goroutine that waits for it may be called off: the job is on the heap, with copies of what
 * it was asked. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "net.h"

#define HOST_MAX 256
#define PORT_MAX 32

struct name {
	char host[HOST_MAX], port[PORT_MAX];
	int family, type;
	bool passive;
};

static const struct network {
	const char *name;
	int family, type;
} networks[] = {
	{ "tcp", AF_UNSPEC, SOCK_STREAM },         { "tcp4", AF_INET, SOCK_STREAM },
	{ "tcp6", AF_INET6, SOCK_STREAM },         { "udp", AF_UNSPEC, SOCK_DGRAM },
	{ "udp4", AF_INET, SOCK_DGRAM },           { "udp6", AF_INET6, SOCK_DGRAM },
	{ "unix", AF_UNIX, SOCK_STREAM },          { "unixgram", AF_UNIX, SOCK_DGRAM },
	{ "unixpacket", AF_UNIX, SOCK_SEQPACKET },
};

static void put(struct rt_addrs *out, const void *sa, socklen_t len)
{
	if (out->n == RT_ADDRS_MAX || len > sizeof out->a[0].room)
		return;
	memcpy(out->a[out->n].room, sa, len);
	out->a[out->n++].len = len;
}

static void put4(struct rt_addrs *out, struct in_addr ip, uint16_t port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = ip };

	put(out, &sa, sizeof sa);
}

static void put6(struct rt_addrs *out, struct in6_addr ip, uint16_t port)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = ip };

	put(out, &sa, sizeof sa);
}

static int unix_address(const char *path, struct rt_addrs *out)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t n = strlen(path), head = offsetof(struct sockaddr_un, sun_path);

	if (n == 0 || n >= sizeof sa.sun_path)
		return -EINVAL;
	memcpy(sa.sun_path, path, n);
	if (path[0] == '@') {
		sa.sun_path[0] = 0;
		put(out, &sa, (socklen_t)(head + n));
	} else {
		put(out, &sa, (socklen_t)(head + n + 1));
	}
	return 0;
}

/* "host:port" apart. */
static int split(const char *addr, struct name *name)
{
	const char *colon = strrchr(addr, ':'), *host = addr;
	size_t n;

	if (!colon || strlen(colon + 1) >= PORT_MAX || !colon[1])
		return -EINVAL;
	n = (size_t)(colon - addr);
	if (n && addr[0] == '[') {
		if (addr[n - 1] != ']')
			return -EINVAL;
		host++;
		n -= 2;
	} else if (memchr(addr, ':', n)) {
		return -EINVAL; /* is its last part the port? */
	}
	if (n >= HOST_MAX)
		return -EINVAL;
	memcpy(name->host, host, n);
	name->host[n] = 0;
	strcpy(name->port, colon + 1);
	return 0;
}

/* 0; -EINVAL: too large; -ENOENT: a service's name. */
static int port_number(const char *s, uint16_t *out)
{
	uint32_t v = 0;

	for (; *s >= '0' && *s <= '9' && v < 65536; s++)
		v = v * 10 + (uint32_t)(*s - '0');
	*out = (uint16_t)v;
	if (v >= 65536)
		return -EINVAL;
	return *s ? -ENOENT : 0;
}

/* No host: all of this machine's addresses, or the machine itself. */
static void put_self(const struct name *name, uint16_t port, struct rt_addrs *out)
{
	struct in_addr v4 = { htonl(name->passive ? INADDR_ANY : INADDR_LOOPBACK) };

	/* One that listens on IPv6 hears IPv4 as well; where there is no IPv6 the next one is tried. */
	if (name->family != AF_INET)
		put6(out, name->passive ? (struct in6_addr)IN6ADDR_ANY_INIT : (struct in6_addr)IN6ADDR_LOOPBACK_INIT,
		     port);
	if (name->family != AF_INET6)
		put4(out, v4, port);
}

/* 1; 0: there is a name in it; -EINVAL. */
static int numeric(const struct name *name, struct rt_addrs *out)
{
	struct in_addr v4;
	struct in6_addr v6;
	uint16_t port;
	int rc = port_number(name->port, &port);

	if (rc < 0)
		return rc == -EINVAL ? rc : 0;
	if (!name->host[0])
		put_self(name, port, out);
	else if (name->family != AF_INET6 && inet_pton(AF_INET, name->host, &v4) == 1)
		put4(out, v4, port);
	else if (name->family != AF_INET && inet_pton(AF_INET6, name->host, &v6) == 1)
		put6(out, v6, port);
	return out->n > 0;
}

/* --- Names -------------------------------------------------------------------------------------------------- */

static int error_of(int eai)
{
	switch (eai) {
	case EAI_AGAIN:
		return -EAGAIN;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_FAMILY:
		return -EAFNOSUPPORT;
	default:
		return -ENOENT;
	}
}

/* Blocks. */
static int look_up(const struct name *name, struct rt_addrs *out)
{
	struct addrinfo hints = { .ai_family = name->family, .ai_socktype = name->type }, *list;
	int rc;

	hints.ai_flags = name->passive ? AI_PASSIVE : 0;
	rc = getaddrinfo(name->host[0] ? name->host : NULL, name->port, &hints, &list);
	if (rc != 0)
		return error_of(rc);
	for (const struct addrinfo *a = list; a; a = a->ai_next)
		put(out, a->ai_addr, a->ai_addrlen);
	freeaddrinfo(list);
	return out->n ? 0 : -ENOENT;
}

struct lookup {
	struct rt_job job;
	struct name name;
	struct rt_addrs out;
	int rc;
};

static void lookup_run(struct rt_job *job)
{
	struct lookup *l = (struct lookup *)job;

	l->rc = look_up(&l->name, &l->out);
}

static void lookup_drop(struct rt_job *job)
{
	free(job);
}

static int look_up_elsewhere(struct m **m, const struct name *name, struct rt_addrs *out)
{
	struct lookup *l = malloc(sizeof *l);
	int rc;

	if (!l)
		return -ENOMEM;
	*l = (struct lookup){ .job = { .run = lookup_run, .drop = lookup_drop }, .name = *name, .out.type = out->type };
	rc = rt_job_wait(m, &l->job, RT_WAIT_IO);
	if (rc == -ECANCELED)
		return rc; /* its own by now */
	if (rc == 0) {
		rc = l->rc;
		*out = l->out;
	}
	free(l);
	return rc;
}

int rt_addr_find(struct m **m, const char *net, const char *addr, bool passive, struct rt_addrs *out)
{
	const struct network *n = NULL;
	struct name name = { .passive = passive };
	int rc;

	out->n = 0;
	for (size_t i = 0; net && i < sizeof networks / sizeof *networks; i++)
		if (strcmp(networks[i].name, net) == 0)
			n = &networks[i];
	if (!n || !addr)
		return -EINVAL;
	out->type = n->type;
	if (n->family == AF_UNIX)
		return unix_address(addr, out);
	name.family = n->family;
	name.type = n->type;
	rc = split(addr, &name);
	if (rc == 0)
		rc = numeric(&name, out);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	return *m ? look_up_elsewhere(m, &name, out) : look_up(&name, out);
}
