/* stragglers.c - names the goroutines that did not come when the daemon stopped.
 *
 * Runs once, on the pool, when shutdown_timeout is over: so it is bounded in time and in lines, not
 * complete.  Waiting goroutines come first in a snapshot and running ones last, and it is the running
 * ones that hold a P; each kind has its own quota so that neither hides the other. */
#include "daemon.h"

#include <stdio.h>
#include <string.h>

#include "symbols.h"

#define SHOW_WAITING 8
#define SHOW_OTHER 16
#define SHOW_FRAMES 16
#define LOOK_NS (400 * WEFT_MS)

struct quota {
	int waiting, other;
};

static bool is_left(const struct weftd *d, const char *instance)
{
	for (size_t i = 0; instance && i < d->n_instances; i++)
		if (atomic_load(&d->instances[i].phase) != INSTANCE_GONE &&
		    !strcmp(d->instances[i].conf->name, instance))
			return true;
	return false;
}

static struct symbol frame(const struct weft_goroutine *g, int i)
{
	return symbols_at(i == 0 && (g->flags & WEFT_GF_EXACT) ? g->pc[i] : g->pc[i] - 1);
}

/* How the runtime waits inside is of no interest here: what the plugin called, or the plugin itself. */
static int first_frame(const struct weft_goroutine *g)
{
	for (int i = 0; i < g->depth; i++) {
		struct symbol s = frame(g, i);

		if (!strncmp(s.name, "weft_", 5) || (s.module && s.module->plugin))
			return g->status == WEFT_G_WAITING || g->status == WEFT_G_RUNNABLE ? i : 0;
	}
	return 0;
}

/* "leaf+0x12 <- caller+0x40 <- ..." */
static void format_stack(const struct weft_goroutine *g, char *out, size_t cap)
{
	size_t n = 0;
	int first = first_frame(g);

	snprintf(out, cap, "no stack to be had");
	for (int i = first; i < g->depth && i < first + SHOW_FRAMES && n < cap; i++) {
		struct symbol s = frame(g, i);

		n += (size_t)snprintf(out + n, cap - n, "%s%s", i > first ? " <- " : "", s.name);
		if (s.exact && s.start && n < cap)
			n += (size_t)snprintf(out + n, cap - n, "+0x%llx", (unsigned long long)(g->pc[i] - s.start));
	}
}

static const char *status_word(const struct weft_goroutine *g)
{
	switch (g->status) {
	case WEFT_G_WAITING:
		return weft_read_reason(g->reason);
	case WEFT_G_RUNNABLE:
		return "runnable";
	case WEFT_G_SYSCALL:
		return "syscall";
	default:
		return g->flags & WEFT_GF_BLOCKED ? "syscall" : "running";
	}
}

static void show(const struct weft_goroutine *g, const char *instance)
{
	char stack[800];

	format_stack(g, stack, sizeof stack);
	log_warn("instance \"%s\": goroutine %llu [%s] did not end: %s", instance, (unsigned long long)g->id,
		 status_word(g), stack);
}

static void show_goroutines(const struct weftd *d)
{
	struct weft_snapshot *s = weft_snapshot_new();
	struct quota left = { SHOW_WAITING, SHOW_OTHER };
	int64_t until = now_ns() + LOOK_NS;
	struct weft_goroutine g;

	while (s && now_ns() < until && left.waiting + left.other > 0 && weft_snapshot_next(s, &g) > 0) {
		const char *instance = weft_read_instance(g.instance);
		int *quota = g.status == WEFT_G_WAITING ? &left.waiting : &left.other;

		if (*quota > 0 && is_left(d, instance)) {
			show(&g, instance);
			--*quota;
		}
	}
	if (s)
		weft_snapshot_free(s);
}

/* pool */
static void report_work(void *arg)
{
	const struct weftd *d = arg;
	char what[256];

	for (size_t i = 0; i < d->n_instances; i++) {
		const struct instance *in = &d->instances[i];

		if (atomic_load(&in->phase) == INSTANCE_GONE)
			continue;
		instance_describe(in, what, sizeof what);
		log_error("%s %.3g s after the stop began; goroutines left: %llu", what,
			  (double)(now_ns() - d->drain_began) / WEFT_SEC,
			  (unsigned long long)(in->inst ? weft_inst_live(in->inst) : 0));
	}
	show_goroutines(d);
}

void stragglers_report(struct weftd *d, void (*done)(void *d))
{
	if (d->hl->offload(d->hl->user, 0, report_work, done, d) < 0)
		done(d);
}
