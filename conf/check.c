/* check.c - what the strings of the configuration must look like.
 *
 * Only the form is judged: nothing is resolved, opened or bound, so a check can't hang and says the same on
 * every machine. */
#include "conf_impl.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/un.h>

#define LETTERS_DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static bool only(const char *s, size_t len, const char *set)
{
	return strspn(s, set) >= len;
}

static bool port_ok(const char *s)
{
	size_t len = strlen(s);
	unsigned v = 0;

	if (!len || len > 5 || !only(s, len, "0123456789"))
		return false;
	while (*s)
		v = v * 10 + (unsigned)(*s++ - '0');
	return v <= 65535;
}

/* The host of "host:port" or "[v6]:port" without brackets; NULL: there is none, or it is too long. */
static const char *host_of(const char *s, char host[256], const char **out_port)
{
	const char *from = s, *colon = strrchr(s, ':'), *to = colon;

	if (*s == '[') {
		from++;
		to = strchr(s, ']');
		if (!to || colon != to + 1)
			return NULL;
	}
	if (!to || to - from < 1 || to - from > 255)
		return NULL;
	memcpy(host, from, (size_t)(to - from));
	host[to - from] = 0;
	*out_port = colon + 1;
	return host;
}

static const char *check_tcp(const char *s)
{
	unsigned char addr[16];
	const char *port;
	char host[256];

	if (!host_of(s, host, &port))
		return "there is no HOST:PORT in it";
	if (!port_ok(port))
		return "the port is not a number from 0 to 65535";
	if (*s == '[')
		return inet_pton(AF_INET6, host, addr) == 1 ? NULL : "there is no IPv6 address between [ and ]";
	if (strchr(host, ':'))
		return "an IPv6 address stands between [ and ]";
	if (only(host, strlen(host), "0123456789."))
		return inet_pton(AF_INET, host, addr) == 1 ? NULL : "the host is not an IPv4 address";
	return conf_check_host(host);
}

const char *conf_check_listen(const char *s)
{
	if (!strncmp(s, "unix:", 5)) {
		if (s[5] != '/')
			return "the path after unix: does not begin with /";
		return strlen(s + 5) < sizeof((struct sockaddr_un *)0)->sun_path
			       ? NULL
			       : "the path of a Unix socket has at most 107 bytes";
	}
	if (!strncmp(s, "fd:", 3)) {
		size_t len = strlen(s + 3);

		return len && len <= 255 && only(s + 3, len, LETTERS_DIGITS "_.-@")
			       ? NULL
			       : "after fd: there is no name of at most 255 letters, digits, dots, _, - and @";
	}
	return check_tcp(s);
}

bool conf_listen_is_remote(const char *s)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	unsigned char a[16];
	const char *port;
	char host[256];

	if (!strncmp(s, "unix:", 5) || !strncmp(s, "fd:", 3) || !host_of(s, host, &port))
		return false;
	if (inet_pton(AF_INET, host, a) == 1)
		return a[0] != 127;
	if (inet_pton(AF_INET6, host, a) != 1)
		return false; /* a name: known when it is bound */
	if (!memcmp(a, mapped, sizeof mapped))
		return a[12] != 127;
	return memcmp(a, &in6addr_loopback, sizeof a) != 0;
}

const char *conf_check_host(const char *s)
{
	size_t len = strlen(s);

	if (!only(s, len, LETTERS_DIGITS "_.-"))
		return "a host name has letters, digits, dots and hyphens only";
	if (s[0] == '.' || s[0] == '-' || strstr(s, ".."))
		return "a host name begins with a letter or digit and has no empty part";
	return NULL;
}

const char *conf_check_name(const char *s)
{
	return only(s, strlen(s), LETTERS_DIGITS "_.-") ? NULL : "it has other characters";
}
