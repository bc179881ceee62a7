/* flight_watch.c - a look at all goroutines for what the flight recorder is to be triggered by.
 *
 * Nothing is measured where goroutines run: each carries since when it is in its state, and here that is compared with
 * the limits.  A limit is passed once: when a look finds that it was not passed yet at the look before.  So nothing
 * has to be remembered of goroutines, and whatever lasts longer than the limit and the pause is found.
 *
 * Belongs to the flight recorder's thread. */
#include "flight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVERY_LEAST (10 * WEFT_MS)
#define EVERY_MOST (250 * WEFT_MS)
#define REST 50 /* times as long as a look took */

struct flight_watch {
	int64_t runq_wait, block, stall; /* 0: off */
	int64_t last;                    /* look */
	int64_t took;
	struct weft_sched_g *g;
	size_t cap;
	struct of_instance {
		int64_t newest;
		const struct weft_sched_g *active; /* one that does not wait */
	} * of;
	size_t n_of;
};

struct flight_watch *flight_watch_new(int64_t runq_wait, int64_t block, int64_t stall)
{
	struct flight_watch *w = calloc(1, sizeof *w);

	if (w)
		*w = (struct flight_watch){ .runq_wait = runq_wait, .block = block, .stall = stall, .last = now_ns() };
	return w;
}

void flight_watch_free(struct flight_watch *w)
{
	if (!w)
		return;
	free(w->g);
	free(w->of);
	free(w);
}

static int64_t least(int64_t a, int64_t b)
{
	return !a || (b && b < a) ? b : a;
}

int64_t flight_watch_pause(const struct flight_watch *w)
{
	int64_t every = least(w->runq_wait, least(w->block, w->stall)) / 4;

	if (!every)
		return -1;
	every = every < EVERY_LEAST ? EVERY_LEAST : every > EVERY_MOST ? EVERY_MOST : every;
	return every > w->took * REST ? every : w->took * REST;
}

/* All goroutines; how many. */
static size_t read_all(struct flight_watch *w)
{
	size_t n = weft_read_sched_gs(w->g, w->cap);

	if (n <= w->cap)
		return n;
	free(w->g);
	w->cap = n + n / 4;
	w->g = calloc(w->cap, sizeof *w->g);
	if (!w->g)
		w->cap = 0;
	n = weft_read_sched_gs(w->g, w->cap);
	return n < w->cap ? n : w->cap;
}

/* Has what began at `since` lasted for `limit` now, but not at the look before? */
static bool passed(const struct flight_watch *w, int64_t since, int64_t limit, int64_t now)
{
	return limit && since + limit <= now && since + limit > w->last;
}

static bool is_lock(int reason)
{
	const char *word = weft_read_reason(reason);

	return !strncmp(word, "sync.Mutex", 10) || !strncmp(word, "sync.RWMutex", 12) || !strcmp(word, "semacquire");
}

static void say(struct flight_found *out, enum flight_reason reason, const struct weft_sched_g *g, const char *did,
		int64_t ns)
{
	const char *name = weft_read_instance(g->instance);

	out->reason = reason;
	snprintf(out->what, sizeof out->what, "goroutine %llu of instance %s %s %.3g s", (unsigned long long)g->id,
		 name && *name ? name : "-", did, (double)ns / WEFT_SEC);
}

/* --- Instances that stand still ------------------------------------------------------------------ */

static bool room(struct flight_watch *w, uint32_t instance)
{
	struct of_instance *of;

	if (instance < w->n_of)
		return true;
	of = realloc(w->of, (instance + 16) * sizeof *of);
	if (!of)
		return false;
	memset(of + w->n_of, 0, (instance + 16 - w->n_of) * sizeof *of);
	w->of = of;
	w->n_of = instance + 16;
	return true;
}

static void count(struct flight_watch *w, const struct weft_sched_g *g)
{
	struct of_instance *of;

	if (!w->stall || !g->instance || !room(w, g->instance))
		return;
	of = &w->of[g->instance];
	if (g->since > of->newest)
		of->newest = g->since;
	if (g->status != WEFT_G_WAITING && g->status != WEFT_G_SYSCALL)
		of->active = g;
}

static unsigned stalled(struct flight_watch *w, int64_t now, struct flight_found *out)
{
	unsigned found = 0;

	for (size_t i = 0; i < w->n_of; i++) {
		const struct of_instance *of = &w->of[i];

		if (of->active && passed(w, of->newest, w->stall, now)) {
			say(out, FLIGHT_STALL, of->active,
			    of->active->status == WEFT_G_RUNNABLE ? "gets no processor, and no other has moved for"
								  : "runs on, and no other has moved for",
			    now - of->newest);
			found = 1u << FLIGHT_STALL;
		}
	}
	if (w->n_of)
		memset(w->of, 0, w->n_of * sizeof *w->of);
	return found;
}

/* Has g passed a limit of its own?  FLIGHT_REASON_N: no. */
static enum flight_reason late(const struct flight_watch *w, const struct weft_sched_g *g, int64_t now)
{
	if (g->status == WEFT_G_RUNNABLE && passed(w, g->since, w->runq_wait, now))
		return FLIGHT_RUNQ;
	if (g->status == WEFT_G_WAITING && passed(w, g->since, w->block, now) && is_lock(g->reason))
		return FLIGHT_BLOCK;
	return FLIGHT_REASON_N;
}

unsigned flight_watch_look(struct flight_watch *w, struct flight_found out[FLIGHT_REASON_N])
{
	int64_t now = now_ns(), longest[FLIGHT_REASON_N] = { 0 };
	size_t n = read_all(w);
	unsigned found = 0;

	for (size_t i = 0; i < n; i++) {
		const struct weft_sched_g *g = &w->g[i];
		enum flight_reason r = late(w, g, now);

		count(w, g);
		if (r == FLIGHT_REASON_N || now - g->since <= longest[r])
			continue;
		longest[r] = now - g->since;
		say(&out[r], r, g, r == FLIGHT_RUNQ ? "could run, but had to wait for" : "has waited for a lock for",
		    longest[r]);
		found |= 1u << r;
	}
	found |= stalled(w, now, &out[FLIGHT_STALL]);
	w->last = now;
	w->took = now_ns() - now;
	return found;
}
