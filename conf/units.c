/* units.c - durations ("1.5s") and sizes ("16MiB") to whole nanoseconds and bytes, and back.
 *
 * Exact: a text that names a fraction of a nanosecond or byte, or more than an int64_t holds, is refused
 * rather than rounded. */
#include "conf_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct unit {
	const char *name;
	int64_t factor;
};

/* Largest first, for formatting. */
static const struct unit dur_units[] = {
	{ "h", INT64_C(3600000000000) },
	{ "m", INT64_C(60000000000) },
	{ "s", 1000000000 },
	{ "ms", 1000000 },
	{ "us", 1000 },
	{ "ns", 1 },
	{ NULL, 0 },
};
static const struct unit size_units[] = {
	{ "GiB", INT64_C(1) << 30 },
	{ "MiB", 1 << 20 },
	{ "KiB", 1 << 10 },
	{ NULL, 0 },
};

static const struct unit *unit_find(const struct unit *units, const char *name)
{
	for (; units->name; units++)
		if (!strcmp(units->name, name))
			return units;
	return NULL;
}

static int parse(const char *text, const struct unit *units, int64_t *out)
{
	int64_t mantissa = 0, scale = 1;
	bool point = false, digits = false;
	const struct unit *u;
	__int128 v;

	for (; (*text >= '0' && *text <= '9') || (*text == '.' && digits && !point); text++) {
		if (*text == '.') {
			point = true;
			digits = false; /* one must follow */
			continue;
		}
		if (mantissa > INT64_MAX / 10 - 1 || scale > INT64_MAX / 10)
			return -EINVAL;
		mantissa = mantissa * 10 + (*text - '0');
		scale *= point ? 10 : 1;
		digits = true;
	}
	u = unit_find(units, text);
	if (!digits || !u)
		return -EINVAL;
	v = (__int128)mantissa * u->factor;
	if (v % scale || v / scale > INT64_MAX)
		return -EINVAL;
	*out = (int64_t)(v / scale);
	return 0;
}

int conf_parse_dur(const char *text, int64_t *out_ns)
{
	return parse(text, dur_units, out_ns);
}

int conf_parse_size(const char *text, int64_t *out_bytes)
{
	return parse(text, size_units, out_bytes);
}

void conf_format_dur(int64_t ns, char *buf)
{
	const struct unit *u = dur_units;

	while (u->factor > 1 && ns % u->factor)
		u++;
	if (!ns)
		u = unit_find(dur_units, "s");
	(void)snprintf(buf, 32, "%" PRId64 "%s", ns / u->factor, u->name);
}

void conf_format_size(int64_t bytes, char *buf)
{
	const struct unit *u = size_units;

	while (u->name && bytes % u->factor)
		u++;
	if (u->name && bytes)
		(void)snprintf(buf, 32, "%" PRId64 "%s", bytes / u->factor, u->name);
	else
		(void)snprintf(buf, 32, "%" PRId64, bytes);
}
