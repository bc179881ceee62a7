/* weftdebug.c - WEFTDEBUG in the environment: what the daemon shall say about itself in the log.
 *
 *	WEFTDEBUG=schedtrace=1000,scheddetail=1,inittrace=1
 *
 * as Go's GODEBUG: pairs between commas, of equal keys the last counts.  What is not understood is warned of, in one
 * line, and left out.
 *
 * inittrace: a line for each plugin that is opened (its constructors) and each init(), like Go's.  Bytes and allocs are
 * what malloc was asked for meanwhile, in the whole process; they are missing in builds with a sanitizer, which has an
 * allocator of its own. */
#include "daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEDTRACE_MAX 86400000 /* ms */

static const char allowed[] = "schedtrace=MILLISECONDS, scheddetail=1, inittrace=1 (0: off)";

static struct {
	bool on, counts;
	int64_t began;
} inittrace; /* constant once the loader runs */

/* A whole number from 0 to most. */
static bool parse_number(const char *text, long most, long *out)
{
	char *end;

	*out = strtol(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && *out <= most;
}

static bool parse_pair(char *pair, struct weftdebug *out)
{
	char *value = strchr(pair, '=');
	long n;

	if (!value)
		return false;
	*value++ = '\0';
	if (!strcmp(pair, "schedtrace") && parse_number(value, SCHEDTRACE_MAX, &n))
		out->schedtrace = n * WEFT_MS;
	else if (!strcmp(pair, "scheddetail") && parse_number(value, 1, &n))
		out->scheddetail = n;
	else if (!strcmp(pair, "inittrace") && parse_number(value, 1, &n))
		out->inittrace = n;
	else
		return false;
	return true;
}

void weftdebug_parse(const char *env, struct weftdebug *out, char *warning, size_t cap)
{
	size_t bad = 0;

	*out = (struct weftdebug){ 0 };
	*warning = '\0';
	while (env && *env) {
		size_t len = strcspn(env, ",");
		char pair[64];

		snprintf(pair, sizeof pair, "%.*s", (int)len, env);
		if (len > 0 && (len >= sizeof pair || !parse_pair(pair, out)) && bad < cap)
			bad += (size_t)snprintf(warning + bad, cap - bad, "%s\"%.*s\"",
						bad ? ", " : "environment WEFTDEBUG: not understood: ",
						(int)(len < 64 ? len : 64), env);
		env += len + (env[len] == ',');
	}
	if (bad && bad < cap)
		snprintf(warning + bad, cap - bad, "; allowed are %s", allowed);
}

/* --- inittrace -------------------------------------------------------------------------------------- */

void inittrace_start(void)
{
	inittrace.on = true;
	inittrace.counts = weft_host_count_mallocs() == 0;
	inittrace.began = now_ns();
	log_notice("inittrace: bytes and allocs are what malloc was asked for in the whole process");
}

struct inittrace_mark inittrace_begin(void)
{
	struct inittrace_mark mark = { .at = now_ns() };

	weft_read_mallocs(&mark.allocs, &mark.bytes);
	return mark;
}

void inittrace_end(struct inittrace_mark began, const char *instance, const char *what)
{
	int64_t now = now_ns();
	char text[PATH_MAX + 128], counts[64] = "";
	uint64_t allocs, bytes;

	if (!inittrace.on)
		return;
	weft_read_mallocs(&allocs, &bytes);
	if (inittrace.counts)
		snprintf(counts, sizeof counts, ", %llu bytes, %llu allocs", (unsigned long long)(bytes - began.bytes),
			 (unsigned long long)(allocs - began.allocs));
	snprintf(text, sizeof text, "init %s @%.3f ms, %.3f ms clock%s", what,
		 (double)(began.at - inittrace.began) / WEFT_MS, (double)(now - began.at) / WEFT_MS, counts);
	logger_write(WEFT_NOTICE, instance, 0, text);
}
