/* gotrace_chrome_out.c - the Trace Event Format: JSON for Perfetto and chrome://tracing.
 *
 * {"displayTimeUnit":"ns","traceEvents":[...],"stackFrames":{...}}, written from front to back: the events as they
 * come, the frames that they refer to at the end.  Times are CLOCK_MONOTONIC in microseconds, with three decimals and
 * never as powers of ten: readers differ in what they make of those. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gotrace_chrome.h"

#define GAP INT64_C(100000) /* ns between values of one counter */

/* --- Events ------------------------------------------------------------------------------------------ */

struct gt_word gt_word(const struct gotrace *t, uint64_t string)
{
	struct gt_word w;

	w.s = gt_string_at(t, string, &w.len);
	return w;
}

void gt_chrome_open(struct gotrace *t, const char *ph, const char *cat, struct gt_word name, struct gt_track track,
		    int64_t time)
{
	buf_fmt(&t->out, ",\n{\"ph\":\"%s\",\"cat\":\"%s\",\"pid\":%u,\"tid\":%lld,\"ts\":%lld.%03d,\"name\":", ph, cat,
		track.pid, (long long)track.tid, (long long)(time / 1000), (int)(time % 1000));
	name = name.len ? name : GT_WORD("(no name)");
	buf_json_n(&t->out, name.s, name.len);
}

void gt_chrome_dur(struct gotrace *t, int64_t dur)
{
	buf_fmt(&t->out, ",\"dur\":%lld.%03d", (long long)(dur / 1000), (int)(dur % 1000));
}

void gt_chrome_id(struct gotrace *t, uint64_t id)
{
	buf_fmt(&t->out, ",\"id\":\"0x%llx\"", (unsigned long long)id);
}

void gt_chrome_stack(struct gotrace *t, const char *key, uint64_t stack)
{
	if (stack && !t->opts.no_stacks)
		buf_fmt(&t->out, ",\"%s\":%llu", key, (unsigned long long)stack);
}

void gt_chrome_args(struct gotrace *t, const struct gt_arg *args, int n)
{
	bool any = false;

	for (int i = 0; i < n; i++) {
		if (!args[i].word.len && !args[i].number)
			continue;
		buf_fmt(&t->out, "%s\"%s\":", any ? "," : ",\"args\":{", args[i].key);
		if (args[i].word.len)
			buf_json_n(&t->out, args[i].word.s, args[i].word.len);
		else
			buf_fmt(&t->out, "%llu", (unsigned long long)args[i].number);
		any = true;
	}
	if (any)
		buf_str(&t->out, "}");
}

void gt_chrome_close(struct gotrace *t)
{
	buf_str(&t->out, "}");
	if (t->out.failed)
		t->failed = 1;
}

/* --- Processes and threads ------------------------------------------------------------------------------ */

static void metadata(struct gotrace *t, const char *what, struct gt_track track, const char *name, int64_t sort)
{
	const char *first = t->out.len && t->out.b[t->out.len - 1] == '[' ? "" : ",";

	buf_fmt(&t->out,
		"%s\n{\"ph\":\"M\",\"pid\":%u,\"tid\":%lld,\"name\":\"%s_name\",\"args\":{\"name\":\"%s\"}},\n"
		"{\"ph\":\"M\",\"pid\":%u,\"tid\":%lld,\"name\":\"%s_sort_index\",\"args\":{\"sort_index\":%lld}}",
		first, track.pid, (long long)track.tid, what, name, track.pid, (long long)track.tid, what,
		(long long)sort);
}

struct gt_track gt_track_p(struct gotrace *t, struct gt_p *p)
{
	struct gt_track track = { GT_PID_PS, (int64_t)p->id + 1 };
	char name[16];

	if (!p->named) {
		snprintf(name, sizeof name, "P%u", p->id);
		metadata(t, "thread", track, name, (int64_t)p->id);
		p->named = true;
	}
	return track;
}

struct gt_track gt_track_m(struct gotrace *t, struct gt_m *m)
{
	struct gt_track track = { GT_PID_THREADS, m->tid > 0 ? m->tid : 1 };
	char name[48];

	if (!m->named) {
		snprintf(name, sizeof name, m == t->foreign ? "other threads" : "thread %lld", (long long)m->tid);
		metadata(t, "thread", track, name, track.tid);
		m->named = true;
	}
	return track;
}

void gt_chrome_head(struct gotrace *t)
{
	static const struct {
		uint32_t pid;
		const char *name;
	} processes[] = { { GT_PID_PS, "Ps" },
			  { GT_PID_COUNTERS, "counters" },
			  { GT_PID_SAID, "tasks and regions" },
			  { GT_PID_THREADS, "threads without a P" } };

	t->chrome = arena_alloc(&t->arena, sizeof *t->chrome);
	if (!t->chrome) {
		t->failed = 1;
		return;
	}
	buf_str(&t->out, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
	for (size_t i = 0; i < sizeof processes / sizeof *processes; i++)
		metadata(t, "process", (struct gt_track){ processes[i].pid, processes[i].pid }, processes[i].name,
			 processes[i].pid);
	metadata(t, "thread", (struct gt_track){ GT_PID_SAID, GT_TID_TASKS }, "tasks", 1);
	metadata(t, "thread", (struct gt_track){ GT_PID_SAID, GT_TID_REGIONS }, "regions", 2);
}

/* --- Counters --------------------------------------------------------------------------------------------- */

static void tell(struct gotrace *t, enum gt_counter which, int64_t time)
{
	static const struct {
		struct gt_word name;
		const char *series[2];
	} counters[] = {
		[GT_C_READY] = { GT_WORD("goroutines"), { "running", "runnable" } },
		[GT_C_PARKED] = { GT_WORD("goroutines that wait"), { "waiting", "in system calls" } },
		[GT_C_THREADS] = { GT_WORD("threads"), { "with a P", "that go on without" } },
		[GT_C_PS] = { GT_WORD("Ps"), { "may run", NULL } },
		[GT_C_HEAP] = { GT_WORD("heap"), { "bytes", NULL } },
	};
	struct gt_count *c = &t->chrome->count[which];
	const char *const *series = counters[which].series;

	gt_chrome_open(t, "C", "counter", counters[which].name, (struct gt_track){ GT_PID_COUNTERS, GT_PID_COUNTERS },
		       time);
	buf_fmt(&t->out, ",\"args\":{\"%s\":%lld", series[0], (long long)c->seen[0]);
	if (series[1])
		buf_fmt(&t->out, ",\"%s\":%lld", series[1], (long long)c->seen[1]);
	buf_str(&t->out, "}");
	gt_chrome_close(t);
	c->told = time;
	c->untold = false;
}

void gt_chrome_count(struct gotrace *t, enum gt_counter c, int series, int64_t by)
{
	t->chrome->count[c].now[series] += by;
}

/* A value that lasts for GAP or longer is told, and when it began; of shorter ones, one in a GAP; and the last again at
 * the end, for a viewer draws from one to the next. */
void gt_chrome_counters(struct gotrace *t, bool last)
{
	for (enum gt_counter i = 0; i < GT_C_N; i++) {
		struct gt_count *c = &t->chrome->count[i];
		bool changed = memcmp(c->now, c->seen, sizeof c->now) != 0;

		if (c->untold && (last || (changed && t->now - c->changed >= GAP)))
			tell(t, i, c->changed);
		if (changed) {
			memcpy(c->seen, c->now, sizeof c->seen);
			c->changed = t->now;
			c->untold = true;
		}
		if ((last && c->told) || (changed && t->now - c->told >= GAP))
			tell(t, i, t->now);
	}
}

/* --- Frames ----------------------------------------------------------------------------------------------- */

static bool same_node(const void *user, uint32_t ref, const void *key)
{
	const struct gt_node *a = &((const struct gt_chrome *)user)->node[ref], *b = key;

	return a->parent == b->parent && a->func == b->func && a->line == b->line;
}

/* "<prefix><id>":{"name":"func:line","parent":"f1"} */
static void put_frame(struct gotrace *t, const char *prefix, uint32_t id, const struct gt_node *f)
{
	struct gt_word func = f->func ? gt_word(t, f->func) : GT_WORD("(unknown)");

	buf_fmt(&t->out, "%s\n\"%s%u\":{\"name\":", t->chrome->n_frames++ ? "," : "", prefix, id);
	buf_json_n(&t->out, func.s, func.len);
	if (f->line) { /* into the string */
		t->out.len -= !t->out.failed;
		buf_fmt(&t->out, ":%llu\"", (unsigned long long)f->line);
	}
	if (f->parent)
		buf_fmt(&t->out, ",\"parent\":\"f%u\"", f->parent);
	buf_str(&t->out, "}");
}

/* The number of a frame below `parent`, written when it is new. */
static uint32_t node_of(struct gotrace *t, uint32_t parent, const struct gt_frame *f)
{
	struct gt_chrome *c = t->chrome;
	struct gt_node key = { parent, f->func, f->line };
	uint64_t hash = hash_u64(hash_u64((uint64_t)parent << 32 | f->func, f->line), f->func);
	uint32_t ref = index_find(&c->nodes, hash, same_node, c, &key);

	if (ref != INDEX_NONE)
		return ref + 1;
	if (array_room(&c->node, c->n_nodes, &c->cap_nodes, sizeof *c->node) < 0 ||
	    index_add(&c->nodes, hash, c->n_nodes) < 0) {
		t->failed = 1;
		return 0;
	}
	c->node[c->n_nodes++] = key;
	put_frame(t, "f", c->n_nodes, &key);
	return c->n_nodes;
}

/* The innermost frame has the number by which events name the stack, its callers are shared by all stacks. */
void gt_chrome_stack_frames(struct gotrace *t, uint32_t id, const struct gt_frame *f, int n)
{
	struct gt_node leaf = { 0 };

	if (t->opts.no_stacks)
		return;
	for (int i = n - 1; i > 0; i--)
		leaf.parent = node_of(t, leaf.parent, &f[i]);
	if (n > 0) {
		leaf.func = f[0].func;
		leaf.line = f[0].line;
	}
	put_frame(t, "", id, &leaf);
	if (t->out.failed)
		t->failed = 1;
}

void gt_chrome_tail(struct gotrace *t)
{
	buf_str(&t->out, "\n}}\n");
}

void gt_chrome_free(struct gotrace *t)
{
	if (!t->chrome)
		return;
	free(t->chrome->node);
	index_free(&t->chrome->nodes);
}
