/* gotrace_table.c - strings and stacks of a trace: each is named once, by a small number, and written at the end.
 *
 * Only then are addresses turned into words, so a trace that lasts costs no more than what is new in it; but for a
 * format that needs the names of goroutines in events, those as soon as there are new stacks.  A reader takes an
 * address for the identity of a frame: functions that are inlined at one address get made-up ones. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "gotrace_impl.h"
#include "pprof.h"

#define INLINED_SHIFT 48 /* above any address of a process */

struct gt_string {
	const char *s;
	uint32_t len;
};
enum stack_kind {
	STACK_TABLE,  /* value: id in the runtime's table */
	STACK_SAMPLE, /* likewise; where it was is shown, even if inside the runtime */
	STACK_START,  /* value: a start function */
	STACK_PSEUDO /* value: PPROF_PC_ */,
	STACK_PCS, /* pc */
};
struct gt_stack {
	enum stack_kind kind;
	uint32_t n, name; /* of the root: a string, 0: not looked up */
	bool exact;
	uint64_t value;
	uint64_t start; /* function that belongs at the root, 0: none */
	const uint64_t *pc;
};

/* --- Strings ---------------------------------------------------------------------------------------- */

static bool same_string(const void *user, uint32_t ref, const void *key)
{
	const struct gt_string *a = &((const struct gotrace *)user)->string[ref], *b = key;

	return a->len == b->len && memcmp(a->s, b->s, a->len) == 0;
}

/* Of what is too long, the end: it tells paths apart. */
uint32_t gt_string(struct gotrace *t, const char *s)
{
	size_t len = strlen(s);
	struct gt_string key = { len > GT_STRING_MAX ? s + len - GT_STRING_MAX : s,
				 (uint32_t)(len > GT_STRING_MAX ? GT_STRING_MAX : len) };
	uint64_t hash = hash_bytes(0, key.s, key.len);
	uint32_t ref;

	if (!key.len)
		return 0;
	ref = index_find(&t->strings, hash, same_string, t, &key);
	if (ref != INDEX_NONE)
		return ref + 1;
	key.s = arena_copy(&t->arena, key.s, key.len);
	if (!key.s || array_room(&t->string, t->n_strings, &t->cap_strings, sizeof *t->string) < 0 ||
	    index_add(&t->strings, hash, t->n_strings) < 0) {
		t->failed = 1;
		return 0;
	}
	t->string[t->n_strings] = key;
	return ++t->n_strings;
}

const char *gt_string_at(const struct gotrace *t, uint64_t id, uint32_t *len)
{
	*len = id ? t->string[id - 1].len : 0;
	return id ? t->string[id - 1].s : "";
}

/* --- Stacks ------------------------------------------------------------------------------------------- */

static bool same_stack(const void *user, uint32_t ref, const void *key)
{
	const struct gt_stack *a = &((const struct gotrace *)user)->stack[ref], *b = key;

	return a->kind == b->kind && a->value == b->value && a->start == b->start && a->n == b->n &&
	       a->exact == b->exact && (!a->n || memcmp(a->pc, b->pc, a->n * sizeof *a->pc) == 0);
}

static uint64_t put(struct gotrace *t, struct gt_stack key)
{
	uint64_t hash = hash_bytes(hash_u64((uint64_t)key.kind, key.value), key.pc, key.n * sizeof *key.pc);
	uint32_t ref = index_find(&t->stacks, hash, same_stack, t, &key);

	if (ref != INDEX_NONE)
		return ref + 1;
	if (key.n && !(key.pc = arena_copy(&t->arena, key.pc, key.n * sizeof *key.pc)))
		goto failed;
	if (array_room(&t->stack, t->n_stacks, &t->cap_stacks, sizeof *t->stack) < 0 ||
	    index_add(&t->stacks, hash, t->n_stacks) < 0)
		goto failed;
	t->stack[t->n_stacks] = key;
	return ++t->n_stacks;
failed:
	t->failed = 1;
	return 0;
}

uint64_t gt_stack_of_name(struct gotrace *t, uint32_t id)
{
	return put(t, (struct gt_stack){ .kind = STACK_TABLE, .value = id });
}

uint64_t gt_stack_id(struct gotrace *t, uint32_t id)
{
	return id && !t->opts.no_stacks ? gt_stack_of_name(t, id) : 0;
}

uint64_t gt_stack_sample(struct gotrace *t, uint32_t id)
{
	return id && !t->opts.no_stacks ? put(t, (struct gt_stack){ .kind = STACK_SAMPLE, .value = id }) : 0;
}

uint64_t gt_stack_named(struct gotrace *t, uint32_t id, uint64_t start)
{
	if (!id || t->opts.no_stacks)
		return gt_stack_start(t, start);
	return put(t, (struct gt_stack){ .kind = STACK_TABLE, .value = id, .start = start });
}

uint64_t gt_stack_start(struct gotrace *t, uint64_t fn)
{
	return fn ? put(t, (struct gt_stack){ .kind = STACK_START, .value = fn }) : 0;
}

uint64_t gt_stack_scheduler(struct gotrace *t)
{
	return t->opts.no_stacks ? 0 : put(t, (struct gt_stack){ .kind = STACK_PSEUDO, .value = PPROF_PC_SCHED });
}

/* Without stacks, or without its own, at least what it was started with. */
uint64_t gt_stack_pcs(struct gotrace *t, const struct weft_goroutine *w)
{
	if (t->opts.no_stacks || w->depth <= 0)
		return gt_stack_start(t, w->start);
	return put(t, (struct gt_stack){ .kind = STACK_PCS,
					 .start = w->start,
					 .n = (uint32_t)w->depth,
					 .exact = (w->flags & WEFT_GF_EXACT) != 0,
					 .pc = w->pc });
}

/* --- Words ---------------------------------------------------------------------------------------------- */

static int read_stack(const struct gotrace *t, uint32_t id, uint64_t *pc)
{
	if (t->opts.stack)
		return t->opts.stack(t->opts.user, id, pc, WEFT_STACK_MAX);
	return weft_read_stack(id, pc, WEFT_STACK_MAX);
}

static int calls_of(const struct gotrace *t, const struct gt_stack *s, uint64_t *call)
{
	uint64_t pc[WEFT_STACK_MAX];

	switch (s->kind) {
	case STACK_TABLE:
	case STACK_SAMPLE:
		return frame_calls(pc, read_stack(t, (uint32_t)s->value, pc), false, call);
	case STACK_PCS:
		return frame_calls(s->pc, (int)s->n, s->exact, call);
	default:
		call[0] = s->value;
		return 1;
	}
}

static struct gt_frame frame_of(struct gotrace *t, const struct frame *f, uint64_t pc, int inner)
{
	char hex[32];
	int line = f->line ? f->line : f->start_line;

	snprintf(hex, sizeof hex, "0x%llx", (unsigned long long)pc);
	return (struct gt_frame){ .pc = pc | (uint64_t)inner << INLINED_SHIFT,
				  .func = gt_string(t, f->named ? f->name : hex),
				  .file = gt_string(t, f->file),
				  .line = (uint64_t)(line > 0 ? line : 0) };
}

/* weft_on_block_ and its kin: what the scopes of weft.h are made of, where nobody has written a call. */
static bool is_scope(const char *name)
{
	return strncmp(name, "weft_", 5) == 0 && name[strlen(name) - 1] == '_';
}

/* The user's frames, innermost first; internal ones only between others, unless there are no others; nobody's who
 * called into a plugin: so the last is what the goroutine was started with, by which viewers group it.  Beyond
 * GT_FRAMES_MAX the last place is the root's. */
static int choose(struct gotrace *t, const uint64_t *call, int n, bool all, struct gt_frame *out)
{
	int k = 0, kept = 0, plugins = 0;

	for (int i = 0; i < n; i++) {
		struct frames v = frames_at(call[i]);

		for (int j = 0; j < v.n; j++) {
			if (v.f[j].root || is_scope(v.f[j].name) || (!all && !k && v.f[j].internal))
				continue;
			out[k < GT_FRAMES_MAX ? k++ : k - 1] = frame_of(t, &v.f[j], call[i], v.n - 1 - j);
			kept = all || !v.f[j].internal ? k : kept;
			plugins = v.f[j].module && v.f[j].module->plugin ? k : plugins;
		}
	}
	return plugins ? plugins : kept;
}

/* Where the start function's last call was a jump, or the stack is cut, it is put back at the root. */
static int end_in(struct gotrace *t, uint64_t start, struct gt_frame *f, int k)
{
	struct frame named = frame_at(start);
	struct gt_frame root = frame_of(t, &named, start, 0);

	if (k && (f[k - 1].func == root.func || k == GT_FRAMES_MAX))
		return k;
	f[k] = root;
	return k + 1;
}

/* The frames of one stack; < 0: the time `budget` is over. */
static int frames_of(struct gotrace *t, const struct gt_stack *s, int64_t budget, struct gt_frame *f)
{
	uint64_t call[WEFT_STACK_MAX];
	int n = calls_of(t, s, call), k;

	for (int i = 0; i < n; i++)
		if (frames_prepare(call[i], budget) > 0)
			return -EAGAIN;
	if (s->start && frames_prepare(s->start, budget) > 0)
		return -EAGAIN;
	k = choose(t, call, n, s->kind == STACK_SAMPLE, f);
	if (!k)
		k = choose(t, call, n, true, f);
	return s->start ? end_in(t, s->start, f, k) : k;
}

int gt_stack_names(struct gotrace *t, int64_t budget)
{
	for (; t->n_named < t->n_stacks; t->n_named++) {
		struct gt_frame f[GT_FRAMES_MAX];
		int n = frames_of(t, &t->stack[t->n_named], budget, f);

		if (n < 0)
			return 1;
		t->stack[t->n_named].name = n ? f[n - 1].func : 0;
	}
	return 0;
}

uint32_t gt_stack_name(const struct gotrace *t, uint64_t id)
{
	return id ? t->stack[id - 1].name : 0;
}

/* --- Writing -------------------------------------------------------------------------------------------- */

int gt_stacks(struct gotrace *t, int64_t budget)
{
	for (; t->at_stack < t->n_stacks; t->at_stack++) {
		struct gt_frame f[GT_FRAMES_MAX];
		int n = frames_of(t, &t->stack[t->at_stack], budget, f);

		if (n < 0)
			return 1;
		t->format->stack(t, t->at_stack + 1, f, n);
	}
	return t->failed ? -ENOMEM : 0;
}

void gt_tables_free(struct gotrace *t)
{
	free(t->string);
	free(t->stack);
	index_free(&t->strings);
	index_free(&t->stacks);
}
