/* log.c - one line to whoever embeds the runtime.
 *
 * A line is formatted on the caller's stack and handed to opts.log, which must not wait; nothing is
 * allocated, no stdio stream and no lock is touched, and no P is needed.  A line is at most LINE_BYTES
 * bytes of text without control characters: a longer one is cut between characters and counted. */
#include <stdio.h>
#include <string.h>

#include "rt.h"

#define LINE_BYTES 1000

static _Atomic uint64_t n_cut;

/* Cut text of `wanted` bytes to the line, not within a UTF-8 sequence; no control characters, no newline
 * at the end. */
static void tidy(char *text, size_t wanted)
{
	size_t n = rt_text_cut(text, wanted, LINE_BYTES);

	if (n < wanted)
		(void)add(&n_cut, 1);
	while (n > 0 && text[n - 1] == '\n')
		n--;
	text[n] = 0;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = ' ';
}

/* level is held to the range of weft.h. */
static void hand_over(int level, const char *instance, uint64_t goid, const char *fmt, va_list ap)
{
	char text[LINE_BYTES + 2];
	int *at = __errno_location(), saved = *at; /* nothing below parks */
	int n;

	if (!sched.opts.log)
		return;
	n = vsnprintf(text, sizeof text, fmt, ap);
	if (n < 0)
		n = snprintf(text, sizeof text, "(log line that cannot be formatted: \"%.200s\")", fmt);
	tidy(text, (size_t)n);
	sched.opts.log(sched.opts.user,
		       level < WEFT_ERROR   ? WEFT_ERROR
		       : level > WEFT_DEBUG ? WEFT_DEBUG
					    : level,
		       instance, goid, text);
	*at = saved;
}

void weft_log(int level, const char *fmt, ...)
{
	struct m *m = rt_self();
	struct g *g = m ? ld(&m->cur) : NULL;
	bool goroutine = g && g != &m->g0;
	weft_inst *inst = weft_instance_self(); /* of a foreign thread inside weft_enter() too */
	va_list ap;

	va_start(ap, fmt);
	hand_over(level, inst ? inst->name : NULL, goroutine ? ld(&g->id) : 0, fmt, ap);
	va_end(ap);
}

void rt_log(int level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	hand_over(level, NULL, 0, fmt, ap);
	va_end(ap);
}

void rt_log_for(const struct weft_inst *inst, int level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	hand_over(level, inst->name, 0, fmt, ap);
	va_end(ap);
}

void rt_log_counters(struct weft_counters *out)
{
	out->logs_cut = ld(&n_cut);
}

const char *weft_strerror(int rc)
{
	const char *text;

	if (rc >= 0)
		return "Success";
	text = rc > -4096 ? strerrordesc_np(-rc) : NULL; /* static and untranslated */
	return text ? text : "Unknown error";
}
