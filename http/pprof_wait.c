/* pprof_wait.c - /debug/pprof/block and mutex: who waited for how long, and whose unlock others waited for.
 *
 * rate= (ns) and fraction= raise what is counted for the length of a difference; the rate falls back when that ends,
 * whoever ends it.  include=sleep,io shows waits that are no contention, under a label. */
#include "server.h"

#include "weft_host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLEEP_BIT (1u << WEFT_WAIT_SLEEP)
#define IO_BIT (1u << WEFT_WAIT_IO)
#define NO_RAISE (-1)

struct wait {
	enum weft_rate rate;
	int raise; /* what weft_host_rate_raise() gave; NO_RAISE */
	unsigned include;
	struct weft_prof_sample sample;
};

/* Words between commas; false: one of them is unknown. */
static bool included(const char *words, unsigned *bits)
{
	*bits = 0;
	while (*words) {
		size_t n = strcspn(words, ",");

		if (n == 5 && !strncmp(words, "sleep", 5))
			*bits |= SLEEP_BIT;
		else if (n == 2 && !strncmp(words, "io", 2))
			*bits |= IO_BIT;
		else
			return false;
		words += n + (words[n] == ',');
	}
	return true;
}

static bool raise_rate(struct request *r, struct snapshot *s, struct wait *w, const char *key)
{
	struct param p = param_int(r->query, key);

	if (!p.given)
		return true;
	if (!p.valid || p.value < 1 || p.value > WEFT_RATE_MAX) {
		reply_error(r, MHD_HTTP_BAD_REQUEST, "%s must be a whole number from 1 to %lld", key,
			    (long long)WEFT_RATE_MAX);
		return false;
	}
	if (!s->seconds) {
		reply_error(r, MHD_HTTP_BAD_REQUEST, "%s goes with seconds only, for whose length it holds", key);
		return false;
	}
	w->raise = weft_host_rate_raise(w->rate, p.value);
	if (w->raise >= 0)
		return true;
	reply_error(r, MHD_HTTP_TOO_MANY_REQUESTS, "too many requests have raised the rate; try again later");
	return false;
}

static bool begin(struct snapshot *s, struct request *r, enum weft_rate rate, const char *key)
{
	struct wait *w = s->state = calloc(1, sizeof(*w));
	char words[64];

	if (!w) {
		reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return false;
	}
	w->rate = rate;
	w->raise = NO_RAISE;
	if (rate == WEFT_RATE_BLOCK && !param_word(r, "include", words, sizeof(words)))
		return false;
	if (rate == WEFT_RATE_BLOCK && !included(words, &w->include)) {
		reply_error(r, MHD_HTTP_BAD_REQUEST, "include can name sleep and io, with a comma between them");
		return false;
	}
	return raise_rate(r, s, w, key);
}

static bool begin_block(struct snapshot *s, struct request *r)
{
	return begin(s, r, WEFT_RATE_BLOCK, "rate");
}

static bool begin_mutex(struct snapshot *s, struct request *r)
{
	return begin(s, r, WEFT_RATE_MUTEX, "fraction");
}

static void end(struct snapshot *s)
{
	struct wait *w = s->state;

	if (w && w->raise >= 0)
		weft_host_rate_drop(w->rate, w->raise);
	if (w)
		w->raise = NO_RAISE;
}

static void drop(struct snapshot *s)
{
	free(s->state);
}

static int next(struct snapshot *s)
{
	static const char *const kind_name[] = { [WEFT_WAIT_SLEEP] = "sleep", [WEFT_WAIT_IO] = "io" };
	struct wait *w = s->state;
	struct weft_prof_sample *x = &w->sample;
	struct pprof_extra extra = { .key = "wait" };

	if (!weft_read_prof(w->rate == WEFT_RATE_BLOCK ? WEFT_PROF_BLOCK : WEFT_PROF_MUTEX, &s->at, x))
		return 0;
	if (x->extra && !(w->include >> x->extra & 1))
		return 1;
	extra.value = x->extra ? kind_name[x->extra] : NULL;
	return snapshot_add_prof(s, x, &extra, x->value) < 0 ? -ENOMEM : 1;
}

static void comment(struct snapshot *s, struct buf *text)
{
	const struct wait *w = s->state;
	int64_t rate = weft_read_rate(w->rate);

	if (rate == WEFT_RATE_BIASED)
		buf_fmt(text, "# counted: every event of 1 ms and more; of shorter ones, scaled, %s\n",
			w->rate == WEFT_RATE_BLOCK ? "one a millisecond of waiting" : "one in 100");
	else
		buf_fmt(text, "# %s: %lld\n",
			w->rate == WEFT_RATE_BLOCK ? "block profile rate, ns" : "mutex profile fraction",
			(long long)rate);
}

static size_t count_block(void)
{
	return weft_read_prof_count(WEFT_PROF_BLOCK);
}

static size_t count_mutex(void)
{
	return weft_read_prof_count(WEFT_PROF_MUTEX);
}

#define SPEC                                                                                                           \
	{                                                                                                              \
		.sample = { { "contentions", "count" }, { "delay", "nanoseconds" } }, .calls = true, .n_sample = 2,    \
		.period_type = { "contentions", "count" }, .period = 1, .sort = 1                                      \
	}

const struct snapshot_kind block_kind = {
	.name = "block",
	.text_name = "contention",
	.help = "Stacks that have waited for others (channels, select, locks, conditions, wait groups), and for how "
		"long. "
		"include=sleep,io adds sleeps and waits for descriptors; rate=NS with seconds=N counts more meanwhile.",
	.spec = SPEC,
	.form = TEXT_CONTENTION,
	.begin = begin_block,
	.next = next,
	.comment = comment,
	.end = end,
	.drop = drop,
	.count = count_block,
};

const struct snapshot_kind mutex_kind = {
	.name = "mutex",
	.text_name = "mutex",
	.help = "Stacks that have let go of a lock for which others waited, and how long those waited in all. "
		"fraction=N with seconds=N counts one in N events meanwhile.",
	.spec = SPEC,
	.form = TEXT_CONTENTION,
	.begin = begin_mutex,
	.next = next,
	.comment = comment,
	.end = end,
	.drop = drop,
	.count = count_mutex,
};
