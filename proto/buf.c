/* buf.c - the growing byte string of text.h.  One owner at a time; doubles, so appending is linear. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"
#include "utf8.h"

#define BUF_FIRST 512

/* Room for n more bytes and a NUL. */
static int buf_room(struct buf *b, size_t n)
{
	size_t cap = b->cap ? b->cap : BUF_FIRST;
	char *p;

	if (b->failed)
		return -1;
	if (b->cap - b->len > n)
		return 0;
	while (cap - b->len <= n && cap <= SIZE_MAX / 2)
		cap *= 2;
	p = cap - b->len > n ? realloc(b->b, cap) : NULL;
	if (!p) {
		b->failed = 1;
		return -1;
	}
	b->b = p;
	b->cap = cap;
	return 0;
}

void buf_free(struct buf *b)
{
	free(b->b);
	*b = (struct buf){ 0 };
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	if (n == 0 || buf_room(b, n) < 0)
		return;
	memcpy(b->b + b->len, p, n);
	b->len += n;
}

void buf_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
	char small[256];
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(small, sizeof small, fmt, ap);
	if (n < 0) {
		b->failed = 1;
	} else if ((size_t)n < sizeof small) {
		buf_add(b, small, (size_t)n);
	} else if (buf_room(b, (size_t)n) == 0) {
		vsnprintf(b->b + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
	va_end(ap);
}

void buf_json(struct buf *b, const char *s)
{
	buf_json_n(b, s, strlen(s));
}

void buf_json_n(struct buf *b, const char *s, size_t n)
{
	size_t plain = 0; /* where what needs no change begins */

	buf_add(b, "\"", 1);
	for (size_t i = 0; i < n;) {
		uint32_t rune;
		size_t len = utf8_next(s + i, n - i, &rune);

		if (len && rune >= ' ' && rune != '"' && rune != '\\') {
			i += len;
			continue;
		}
		buf_add(b, s + plain, i - plain);
		if (!len)
			buf_add(b, "?", 1);
		else if (rune < ' ')
			buf_fmt(b, "\\u%04x", (unsigned)rune);
		else
			buf_fmt(b, "\\%c", (int)rune);
		plain = ++i;
	}
	buf_add(b, s + plain, n - plain);
	buf_add(b, "\"", 1);
}

int buf_write(struct buf *b, int fd)
{
	size_t done = 0;

	while (!b->failed && done < b->len) {
		ssize_t n = write(fd, b->b + done, b->len - done);

		if (n >= 0)
			done += (size_t)n;
		else if (errno == EAGAIN) /* one that does not block: sockets of weft's own are */
			(void)poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
		else if (errno != EINTR)
			return -errno;
	}
	b->len = 0;
	return b->failed ? -ENOMEM : 0;
}

void buf_html(struct buf *b, const char *s)
{
	for (; *s; s++) {
		switch (*s) {
		case '<':
			buf_str(b, "&lt;");
			break;
		case '>':
			buf_str(b, "&gt;");
			break;
		case '&':
			buf_str(b, "&amp;");
			break;
		case '"':
			buf_str(b, "&#34;");
			break;
		default:
			buf_add(b, s, 1);
		}
	}
}
