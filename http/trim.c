/* trim.c - what the symboliser keeps open to read names and lines is given back when nobody asks.
 *
 * Whoever has had names looked up says so at its end.  From then on a task in the symboliser's lane closes
 * every TRIM_NS what was not used since the last one, until nothing is left: so what is used goes on being
 * open, and the rest is gone after one to two of these.  All on the loop thread but the task. */
#include "server.h"

#include "frame.h"

#include <stdlib.h>

#define TRIM_NS (30 * SECOND)

struct trim {
	struct http *h;
	struct http_timer *timer;
	bool armed; /* or a task is out */
	bool out;
	bool left; /* the task's: something is still open */
};

static void arm(struct trim *t)
{
	t->armed = true;
	t->h->loop->arm(t->h->loop->user, t->timer, TRIM_NS);
}

static void trim_work(void *arg)
{
	struct trim *t = arg;

	t->left = frames_trim();
}

static void trim_done(void *arg)
{
	struct trim *t = arg;
	struct http *h = t->h;

	t->out = t->armed = false;
	if (t->left)
		arm(t);
	http_stop_check(h);
	http_unref(h);
}

static void trim_due(void *arg)
{
	struct trim *t = arg;
	struct http *h = t->h;

	if (h->stopping)
		return;
	http_ref(h);
	t->out = true;
	if (h->loop->offload(h->loop->user, LANE_NAMES, trim_work, trim_done, t) == 0)
		return;
	t->out = false;
	http_unref(h);
	arm(t);
}

void trim_later(struct http *h)
{
	if (!h->trim->armed && !h->stopping)
		arm(h->trim);
}

bool trim_idle(const struct trim *t)
{
	return !t->out;
}

struct trim *trim_new(struct http *h)
{
	struct trim *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->h = h;
	t->timer = h->loop->timer(h->loop->user, trim_due, t);
	if (!t->timer) {
		free(t);
		return NULL;
	}
	return t;
}

void trim_free(struct trim *t)
{
	if (!t)
		return;
	t->h->loop->untimer(t->h->loop->user, t->timer);
	free(t);
}
