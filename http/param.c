/* param.c - request targets and query parameters.
 *
 * The rules are those of Go's form parser where tools may notice: pairs are split at '&', the first value of
 * a key wins, '+' is a space, a pair that is malformed or holds a ';' does not exist.  Pure functions. */
#include "server.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool param_decode(char *s, bool plus_is_space)
{
	char *to = s;

	for (; *s; s++) {
		if (*s == '+' && plus_is_space) {
			*to++ = ' ';
		} else if (*s == '%') {
			int hi = hex(s[1]);
			int lo = hi < 0 ? -1 : hex(s[2]);

			if (lo < 0 || !(hi | lo))
				return false;
			*to++ = (char)(hi << 4 | lo);
			s += 2;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
	return true;
}

/* Copy and decode; false: does not fit, or is malformed. */
static bool piece(const char *from, size_t len, char *buf, size_t cap)
{
	if (len >= cap)
		return false;
	memcpy(buf, from, len);
	buf[len] = '\0';
	return param_decode(buf, true);
}

bool param_get(const char *query, const char *key, char *buf, size_t cap)
{
	while (*query) {
		size_t len = strcspn(query, "&");
		size_t klen = strcspn(query, "=&");
		size_t vat = klen < len ? klen + 1 : len;
		char name[64];

		if (!memchr(query, ';', len) && piece(query, klen, name, sizeof(name)) && !strcmp(name, key) &&
		    piece(query + vat, len - vat, buf, cap))
			return true;
		query += len + (query[len] == '&');
	}
	return false;
}

struct param param_int(const char *query, const char *key)
{
	struct param p = { 0 };
	char text[128];
	const char *s = text;
	bool minus;

	if (!param_get(query, key, text, sizeof(text)) || !*text)
		return p;
	p.given = true;
	minus = *s == '-';
	if (*s == '-' || *s == '+')
		s++;
	if (!*s || strspn(s, "0123456789") != strlen(s))
		return p;
	p.valid = true;
	for (; *s; s++) {
		if (__builtin_mul_overflow(p.value, INT64_C(10), &p.value) ||
		    __builtin_sub_overflow(p.value, (int64_t)(*s - '0'), &p.value)) {
			p.value = INT64_MIN;
			break;
		}
	}
	/* Counted downwards, as the negative side is the longer one. */
	if (!minus)
		p.value = p.value == INT64_MIN ? INT64_MAX : -p.value;
	return p;
}

bool param_target(const char *target, char *path, size_t path_cap, const char **query, char *host, size_t host_cap)
{
	size_t len;

	*host = '\0';
	if (strchr(target, ' '))
		return false; /* more than three words in the request line */
	if (!strncasecmp(target, "http://", 7) || !strncasecmp(target, "https://", 8)) {
		target = strstr(target, "//") + 2;
		len = strcspn(target, "/?");
		if (!len || len >= host_cap)
			return false;
		memcpy(host, target, len);
		host[len] = '\0';
		target += len;
	}
	len = strcspn(target, "?");
	*query = target + len + (target[len] == '?');
	if (len >= path_cap)
		return false;
	memcpy(path, target, len);
	path[len] = '\0';
	return param_decode(path, false);
}
