/* text_dump.c - debug=2: goroutines as a crashing Go program prints them.
 *
 * Addresses in this form are where the goroutine goes on, so offsets are those of return addresses;
 * names and lines are those of the call before it. */
#include <inttypes.h>
#include <string.h>

#include "frame.h"
#include "text.h"

#define INNER 50 /* frames shown at either end of a deep stack */
#define OUTER 50
#define MINUTE 60000000000LL

static bool in_syscall(const struct weft_goroutine *g)
{
	return g->status == WEFT_G_SYSCALL || (g->flags & WEFT_GF_BLOCKED);
}

static const char *state(const struct weft_goroutine *g)
{
	if (g->status == WEFT_G_DEAD)
		return "dead";
	if (in_syscall(g))
		return "syscall";
	if (g->status == WEFT_G_WAITING)
		return weft_read_reason(g->reason);
	return g->status == WEFT_G_RUNNABLE ? "runnable" : "running";
}

static void header(struct buf *out, const struct weft_goroutine *g, int64_t now)
{
	int64_t minutes = 0;

	if (g->since > 0 && (in_syscall(g) || g->status == WEFT_G_WAITING))
		minutes = (now - g->since) / MINUTE;
	buf_fmt(out, "goroutine %" PRIu64 " [%s", g->id, state(g));
	if (g->flags & WEFT_GF_APPROX)
		buf_str(out, " (approx.)");
	if (minutes >= 1)
		buf_fmt(out, ", %" PRId64 " minutes", minutes);
	buf_str(out, "]:\n");
}

static void position(struct buf *out, const struct frame *f, uint64_t pc)
{
	buf_fmt(out, "\t%s:%d", *f->file ? f->file : "??", f->line);
	if (f->entry && pc > f->entry)
		buf_fmt(out, " +0x%" PRIx64, pc - f->entry);
	buf_str(out, "\n");
}

static void name(struct buf *out, const struct frame *f, uint64_t pc)
{
	if (f->named)
		buf_str(out, f->name);
	else
		buf_fmt(out, "0x%" PRIx64, pc);
}

/* The frames to be shown into `shown`; the runtime's own only if all. */
static int choose(const struct frame *f, int n, bool all, int *shown)
{
	int k = 0;

	for (int i = 0; i < n; i++)
		if (!f[i].root && (all || !f[i].internal))
			shown[k++] = i;
	return k;
}

static void frames(struct buf *out, const struct weft_goroutine *g)
{
	bool exact = (g->flags & WEFT_GF_EXACT) && g->pc[0] != 0;
	uint64_t call[WEFT_STACK_MAX];
	struct frame f[WEFT_STACK_MAX];
	int shown[WEFT_STACK_MAX], k, n = frame_calls(g->pc, g->depth, exact, call);

	for (int i = 0; i < n; i++)
		f[i] = frame_at(call[i]);
	k = choose(f, n, false, shown);
	if (k == 0)
		k = choose(f, n, true, shown);
	for (int j = 0; j < k; j++) {
		int i = shown[j];
		uint64_t pc = call[i] + !(exact && i == 0);

		if (j == INNER && k > INNER + OUTER) {
			buf_fmt(out, "...%d frames elided...\n", k - INNER - OUTER);
			j = k - OUTER;
			i = shown[j];
			pc = call[i] + 1;
		}
		name(out, &f[i], pc);
		buf_str(out, "(...)\n");
		position(out, &f[i], pc);
	}
	if (g->flags & WEFT_GF_CUT)
		buf_str(out, "...additional frames elided...\n");
}

/* The first frame outside the runtime and its calls (weft_go() and kin) of the stack that said go. */
static void created_by(struct buf *out, const struct weft_goroutine *g)
{
	uint64_t pc[WEFT_STACK_MAX];
	int n = g->created ? weft_read_stack(g->created, pc, WEFT_STACK_MAX) : 0;
	struct frame f;
	int i = 0;

	if (n == 0)
		return;
	while (f = frame_at(pc[i] - 1), (f.internal || strncmp(f.name, "weft_", 5) == 0) && i + 1 < n)
		i++;
	buf_str(out, "created by ");
	name(out, &f, pc[i]);
	if (g->parent)
		buf_fmt(out, " in goroutine %" PRIu64, g->parent);
	buf_str(out, "\n");
	position(out, &f, pc[i]);
}

void text_goroutine(struct buf *out, const struct weft_goroutine *g, int64_t now)
{
	header(out, g, now);
	if (g->flags & WEFT_GF_UNAVAILABLE)
		buf_str(out, "\tgoroutine running on other thread; stack unavailable\n");
	else
		frames(out, g);
	created_by(out, g);
	buf_str(out, "\n");
}
