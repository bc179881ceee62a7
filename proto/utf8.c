/* utf8.c - see utf8.h. */
#include "utf8.h"

#include <stdbool.h>
#include <string.h>

#include "text.h"

size_t utf8_next(const char *s, size_t n, uint32_t *rune)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *u = (const unsigned char *)s;
	size_t len;
	uint32_t r;

	if (n == 0)
		return 0;
	if (u[0] < 0x80) {
		*rune = u[0];
		return 1;
	}
	len = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : u[0] >= 0xc0 ? 2 : 0;
	if (len == 0 || u[0] > 0xf4 || len > n)
		return 0;
	r = u[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
		r = r << 6 | (u[i] & 0x3f);
	}
	if (r < least[len] || r > 0x10ffff || (r >= 0xd800 && r <= 0xdfff))
		return 0;
	*rune = r;
	return len;
}

static void clean(char *s, size_t n, bool controls)
{
	for (size_t i = 0; i < n;) {
		uint32_t r;
		size_t len = utf8_next(s + i, n - i, &r);

		if (len == 0 || (controls && (r < 0x20 || r == 0x7f))) {
			s[i] = '?';
			len = 1;
		}
		i += len;
	}
}

void utf8_clean(char *s, size_t n)
{
	clean(s, n, false);
}

void utf8_clean_controls(char *s, size_t n)
{
	clean(s, n, true);
}

/* Characters beyond ASCII that have no shape of their own: other spaces, marks of direction,
 * private use, non-characters.  An excerpt of Unicode's list: those that occur. */
static bool shapeless(uint32_t r)
{
	return r < 0xa0 || r == 0xa0 || r == 0xad || r == 0x1680 || (r >= 0x2000 && r <= 0x200f) ||
	       (r >= 0x2028 && r <= 0x202f) || (r >= 0x205f && r <= 0x206f) || r == 0x3000 ||
	       (r >= 0xe000 && r <= 0xf8ff) || r == 0xfeff || (r >= 0xfff0 && r <= 0xfffb) || (r & 0xfffe) == 0xfffe ||
	       r >= 0xe0000;
}

static void quote_rune(struct buf *out, const char *s, size_t len, uint32_t r)
{
	static const char named[] = "\aa\bb\ff\nn\rr\tt\vv\"\"\\\\";

	for (size_t i = 0; len == 1 && named[i]; i += 2)
		if (named[i] == *s) {
			buf_fmt(out, "\\%c", named[i + 1]);
			return;
		}
	if (r < 0x20 || r == 0x7f)
		buf_fmt(out, "\\x%02x", r);
	else if (r < 0x80 || !shapeless(r))
		buf_add(out, s, len);
	else
		buf_fmt(out, r > 0xffff ? "\\U%08x" : "\\u%04x", r);
}

void utf8_quote(struct buf *out, const char *s)
{
	size_t n = strlen(s);

	buf_str(out, "\"");
	while (n) {
		uint32_t r;
		size_t len = utf8_next(s, n, &r);

		if (len == 0) {
			buf_fmt(out, "\\x%02x", (unsigned char)*s);
			len = 1;
		} else {
			quote_rune(out, s, len, r);
		}
		s += len;
		n -= len;
	}
	buf_str(out, "\"");
}
