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
#define SHOWN_MAX 2048
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
	if (g->flags & WEFT_GF_LOCKED)
		buf_str(out, ", locked to thread");
	buf_str(out, "]:\n");
}

/* A line of a stack: an inlined function has no address of its own. */
struct shown {
	const struct frame *f;
	uint64_t pc;
};

static void position(struct buf *out, const struct frame *f, uint64_t pc)
{
	buf_fmt(out, "\t%s:%d", *f->file ? f->file : "??", f->line);
	if (!f->inlined && f->entry && pc > f->entry)
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

/* Inlined functions of C headers are told as part of those they are inlined into: readers of such dumps
 * know source files alone. */
static bool in_header(const struct frame *f)
{
	size_t n = strlen(f->file);

	return f->inlined && n > 2 && strcmp(f->file + n - 2, ".h") == 0;
}

/* The frames to be shown into `shown`; the runtime's own only if all. */
static int choose(const uint64_t *call, int n, bool exact, bool all, struct shown *shown)
{
	int k = 0;

	for (int i = 0; i < n; i++) {
		struct frames v = frames_at(call[i]);

		for (int j = 0; j < v.n && k < SHOWN_MAX; j++)
			if (!v.f[j].root && (all || !v.f[j].internal) && !in_header(&v.f[j]))
				shown[k++] = (struct shown){ &v.f[j], call[i] + !(exact && i == 0) };
	}
	return k;
}

static int calls_of(const struct weft_goroutine *g, uint64_t *call)
{
	return frame_calls(g->pc, g->depth, (g->flags & WEFT_GF_EXACT) && g->pc[0] != 0, call);
}

static void frames(struct buf *out, const struct weft_goroutine *g)
{
	bool exact = (g->flags & WEFT_GF_EXACT) && g->pc[0] != 0;
	uint64_t call[WEFT_STACK_MAX];
	struct shown shown[SHOWN_MAX];
	int n = calls_of(g, call), k = choose(call, n, exact, false, shown);

	if (k == 0)
		k = choose(call, n, exact, true, shown);
	for (int j = 0; j < k; j++) {
		if (j == INNER && k > INNER + OUTER) {
			buf_fmt(out, "...%d frames elided...\n", k - INNER - OUTER);
			j = k - OUTER;
		}
		name(out, shown[j].f, shown[j].pc);
		buf_str(out, "(...)\n");
		position(out, shown[j].f, shown[j].pc);
	}
	if (g->flags & WEFT_GF_CUT)
		buf_str(out, "...additional frames elided...\n");
}

static int creators(const struct weft_goroutine *g, uint64_t *pc)
{
	return g->created ? weft_read_stack(g->created, pc, WEFT_STACK_MAX) : 0;
}

/* The first frame outside the runtime and its calls (weft_go() and kin) of the stack that said go. */
static void created_by(struct buf *out, const struct weft_goroutine *g)
{
	uint64_t pc[WEFT_STACK_MAX];
	int n = creators(g, pc);
	struct shown by = { 0 };
	bool found = false;

	for (int i = 0; i < n && !found; i++) {
		struct frames v = frames_at(pc[i] - 1);

		for (int j = 0; j < v.n && !found; j++) {
			by = (struct shown){ &v.f[j], pc[i] };
			found = !by.f->internal && strncmp(by.f->name, "weft_", 5) != 0 && !in_header(by.f);
		}
	}
	if (n == 0)
		return;
	buf_str(out, "created by ");
	name(out, by.f, by.pc);
	if (g->parent)
		buf_fmt(out, " in goroutine %" PRIu64, g->parent);
	buf_str(out, "\n");
	position(out, by.f, by.pc);
}

int text_goroutine_prepare(const struct weft_goroutine *g, int64_t until)
{
	uint64_t pc[WEFT_STACK_MAX];
	int n = g->flags & WEFT_GF_UNAVAILABLE ? 0 : calls_of(g, pc);

	for (int i = 0; i < n; i++)
		if (frames_prepare(pc[i], until) > 0)
			return 1;
	n = creators(g, pc);
	for (int i = 0; i < n; i++)
		if (frames_prepare(pc[i] - 1, until) > 0)
			return 1;
	return 0;
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
