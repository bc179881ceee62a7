/* expo.c - see expo.h.  Whoever writes a page keeps the samples of a family together. */
#include "expo.h"

#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

#define WHOLE_MAX 9007199254740992.0 /* 2^53: whole numbers below it are exact */

static const char *const type_name[] = {
	[EXPO_COUNTER] = "counter",
	[EXPO_GAUGE] = "gauge",
	[EXPO_HISTOGRAM] = "histogram",
};

/* What the format asks for: \ and newline, in label values " too; bytes that are no UTF-8 are '?'. */
static void expo_escape(struct buf *out, const char *s, bool quotes)
{
	size_t n = strlen(s);

	while (n) {
		uint32_t r;
		size_t len = utf8_next(s, n, &r);

		if (len == 0)
			buf_str(out, "?");
		else if (*s == '\n')
			buf_str(out, "\\n");
		else if (*s == '\\' || (*s == '"' && quotes))
			buf_fmt(out, "\\%c", *s);
		else
			buf_add(out, s, len);
		len += len == 0;
		s += len;
		n -= len;
	}
}

void expo_family(struct buf *out, const char *name, enum expo_type type, const char *help)
{
	buf_fmt(out, "# HELP %s ", name);
	expo_escape(out, help, false);
	buf_fmt(out, "\n# TYPE %s %s\n", name, type_name[type]);
}

static void expo_name(struct buf *out, const char *name, va_list labels)
{
	const char *key, *sep = "{";

	buf_str(out, name);
	while ((key = va_arg(labels, const char *)) != NULL) {
		buf_fmt(out, "%s%s=\"", sep, key);
		expo_escape(out, va_arg(labels, const char *), true);
		buf_str(out, "\"");
		sep = ",";
	}
	buf_str(out, *sep == ',' ? "} " : " ");
}

static locale_t c_locale;

static void c_locale_make(void)
{
	c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* The fewest digits that read back as v.  A plugin may have set another decimal point. */
static void expo_double(struct buf *out, double v)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	char s[40];
	locale_t old;

	pthread_once(&once, c_locale_make);
	old = uselocale(c_locale);
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(s, sizeof s, "%.*g", digits, v);
		if (strtod(s, NULL) == v)
			break;
	}
	/* Whole numbers that a double can count are plain, not 1e+06. */
	if (v > -WHOLE_MAX && v < WHOLE_MAX && v == (double)(int64_t)v)
		snprintf(s, sizeof s, "%.0f", v);
	uselocale(old);
	buf_str(out, s);
}

void expo_value(struct buf *out, const char *name, double v, ...)
{
	va_list ap;

	va_start(ap, v);
	expo_name(out, name, ap);
	va_end(ap);
	if (isnan(v))
		buf_str(out, "NaN");
	else if (isinf(v))
		buf_str(out, v > 0 ? "+Inf" : "-Inf");
	else
		expo_double(out, v);
	buf_str(out, "\n");
}

void expo_u64(struct buf *out, const char *name, uint64_t v, ...)
{
	va_list ap;

	va_start(ap, v);
	expo_name(out, name, ap);
	va_end(ap);
	buf_fmt(out, "%" PRIu64 "\n", v);
}
