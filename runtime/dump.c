/* dump.c - all goroutines as text: the form of /debug/pprof/goroutine?debug=2, by async-signal-safe code.
 *
 *	goroutine 17 [chan receive, 3 minutes, instance=primes, user=42]:
 *	filter(...)
 *		??:0 +0x1f
 *	created by run in goroutine 3
 *		??:0 +0x88
 *
 * Order: the one that is the cause, then those that run, then the rest in the order of their slots, at
 * most `limit` in full.  Beyond that they are counted by (stack, state, instance), and each group is
 * printed once with its count, in a table of fixed size.  Those that run are asked by signal, for a
 * bounded time (capture.c; its question is made of bare system calls, too).  What is unknown is said to be
 * unknown; beyond that nothing here waits for anybody but the reader of the text (out.c).
 *
 * Frames of the runtime that a parked goroutine ends in are left out down to the weft_* call, as those
 * it began with.  Names come from opts.name; without it the text has addresses. */
#include "dump.h"
#include "sys.h"

#define ASKING WEFT_SEC /* that waiting for answers may cost in all */
#define EDGE 50         /* frames printed at either end of a deep stack */

/* --- Small things --------------------------------------------------------------------------------- */

RT_NOSAN static bool starts_with(const char *s, const char *prefix)
{
	while (*prefix)
		if (*s++ != *prefix++)
			return false;
	return true;
}

/* Label text inside the brackets of a header must not look like their end. */
RT_NOSAN static void put_text(struct rt_out *o, const char *s)
{
	for (; *s; s++) {
		char c = *s;

		if ((unsigned char)c < 0x20 || c == 0x7f || c == ']' || c == '[' || c == ',')
			c = '_';
		rt_out_strn(o, &c, 1);
	}
}

RT_NOSAN static const char *lookup(struct rt_dump *d, uint64_t pc)
{
	d->name[0] = 0;
	if (sched.opts.name)
		(void)sched.opts.name((uintptr_t)pc, d->name, sizeof d->name);
	d->name[sizeof d->name - 1] = 0;
	return d->name;
}

/* Where "+0x1f" begins in the name that was looked up. */
RT_NOSAN static size_t offset_at(const char *name)
{
	size_t n = 0, at = 0;

	for (; name[n]; n++)
		if (name[n] == '+')
			at = n;
	return at ? at : n;
}

RT_NOSAN void rt_dump_name(struct rt_dump *d, uint64_t pc)
{
	if (*lookup(d, pc))
		rt_out_str(&d->out, d->name);
	else
		rt_out_hex(&d->out, pc);
}

/* --- Frames --------------------------------------------------------------------------------------- */

/* The address whose function frame i is in: that of the call, not where it returns to. */
RT_NOSAN static uint64_t call_at(const uint64_t *pc, int i, unsigned flags)
{
	return i == 0 && (flags & WEFT_GF_EXACT) ? pc[0] : pc[i] - 1;
}

RT_NOSAN static void put_position(struct rt_dump *d, uint64_t pc)
{
	const char *offset = d->name + offset_at(d->name);

	rt_out_str(&d->out, "\n\t??:0 ");
	if (*offset) {
		rt_out_str(&d->out, offset);
	} else {
		rt_out_str(&d->out, "+");
		rt_out_hex(&d->out, *d->name ? 0 : pc);
	}
	rt_out_str(&d->out, "\n");
}

RT_NOSAN static void put_frame(struct rt_dump *d, uint64_t pc)
{
	if (*lookup(d, pc))
		rt_out_strn(&d->out, d->name, offset_at(d->name));
	else
		rt_out_hex(&d->out, pc);
	rt_out_str(&d->out, "(...)");
	put_position(d, pc);
}

/* The first frame to show: a parked goroutine's from the weft_* call on, which is where its wait began. */
RT_NOSAN static int first_shown(struct rt_dump *d, const uint64_t *pc, int depth, unsigned flags)
{
	for (int i = 0; i < depth && i < 8; i++)
		if (starts_with(lookup(d, call_at(pc, i, flags)), "weft_"))
			return i;
	return 0;
}

/* One behind the last frame to show: not where every goroutine begins. */
RT_NOSAN static int last_shown(const uint64_t *pc, int depth, unsigned flags)
{
	while (depth > 1) {
		uint64_t fn = weft_read_func_start(call_at(pc, depth - 1, flags));

		if (fn != (uintptr_t)rt_g_entry && fn != (uintptr_t)rt_g_main)
			break;
		depth--;
	}
	return depth;
}

RT_NOSAN static void put_frames(struct rt_dump *d, const uint64_t *pc, int depth, unsigned flags, bool parked)
{
	int from = parked ? first_shown(d, pc, depth, flags) : 0, to = last_shown(pc, depth, flags);

	for (int i = from; i < to; i++) {
		if (to - from > 2 * EDGE && i == from + EDGE) {
			rt_out_str(&d->out, "...");
			rt_out_u64(&d->out, (uint64_t)(to - from - 2 * EDGE));
			rt_out_str(&d->out, " frames elided...\n");
			i = to - EDGE;
		}
		put_frame(d, call_at(pc, i, flags));
	}
	if (flags & WEFT_GF_CUT)
		rt_out_str(&d->out, "...additional frames elided...\n");
}

RT_NOSAN static void put_created(struct rt_dump *d, uint32_t stack, uint64_t parent)
{
	int n = stack ? weft_read_stack(stack, d->created, WEFT_STACK_MAX) : 0, i = 0;

	if (!parent || n <= 0)
		return;
	while (i < n - 1 && starts_with(lookup(d, d->created[i] - 1), "weft_"))
		i++;
	rt_out_str(&d->out, "created by ");
	if (*lookup(d, d->created[i] - 1))
		rt_out_strn(&d->out, d->name, offset_at(d->name));
	else
		rt_out_hex(&d->out, d->created[i] - 1);
	rt_out_str(&d->out, " in goroutine ");
	rt_out_u64(&d->out, parent);
	put_position(d, d->created[i] - 1);
}

/* --- Headers -------------------------------------------------------------------------------------- */

RT_NOSAN static const char *state_word(int status, int reason, unsigned flags)
{
	if (flags & WEFT_GF_BLOCKED)
		return "syscall";
	switch (status) {
	case WEFT_G_SYSCALL:
		return "syscall";
	case WEFT_G_RUNNABLE:
		return "runnable";
	case WEFT_G_WAITING:
		return weft_read_reason(reason);
	default:
		return "running";
	}
}

RT_NOSAN static void put_state(struct rt_dump *d, const char *word, bool waiting, int64_t since, bool locked,
			       uint32_t instance)
{
	int64_t minutes = since > 0 ? (d->now - since) / (60 * WEFT_SEC) : 0;
	const char *name = instance ? weft_read_instance(instance) : NULL;

	rt_out_str(&d->out, word);
	if (waiting && minutes >= 1) {
		rt_out_str(&d->out, ", ");
		rt_out_u64(&d->out, (uint64_t)minutes);
		rt_out_str(&d->out, " minutes");
	}
	if (locked)
		rt_out_str(&d->out, ", locked to thread");
	if (name && *name) {
		rt_out_str(&d->out, ", instance=");
		put_text(&d->out, name);
	}
}

RT_NOSAN static void put_labels(struct rt_dump *d, uint64_t set, struct weft_labels *l)
{
	if (!rt_labels_copy(set, l))
		return;
	for (int i = 0; i < l->n; i++) {
		rt_out_str(&d->out, ", ");
		put_text(&d->out, l->l[i].key);
		rt_out_str(&d->out, "=");
		put_text(&d->out, l->l[i].value);
	}
}

/* The header of d->g. */
RT_NOSAN static void put_header(struct rt_dump *d)
{
	struct weft_goroutine *g = &d->g;

	rt_out_str(&d->out, "goroutine ");
	rt_out_u64(&d->out, g->id);
	rt_out_str(&d->out, " [");
	put_state(d, state_word(g->status, g->reason, g->flags), g->status == WEFT_G_WAITING, g->since,
		  g->flags & WEFT_GF_LOCKED, g->instance);
	put_labels(d, d->labels, &g->labels);
	rt_out_str(&d->out, "]:\n");
	d->printed++;
}

/* --- One goroutine -------------------------------------------------------------------------------- */

RT_NOSAN static void put_first(struct rt_dump *d, const struct rt_dump_first *f)
{
	if (f->g && rt_g_look(f->g, &d->g, &d->labels) != RT_LOOK_NONE) {
		d->g.status = WEFT_G_RUNNING;
		put_header(d);
	} else {
		rt_out_str(&d->out, "goroutine 0 [running, thread ");
		rt_out_u64(&d->out, (uint64_t)f->tid);
		if (f->thread && *f->thread) {
			rt_out_str(&d->out, " ");
			put_text(&d->out, f->thread);
		}
		rt_out_str(&d->out, "]:\n");
		d->g.parent = 0;
	}
	put_frames(d, f->pc, f->depth, f->flags, false);
	put_created(d, d->g.created, d->g.parent);
	rt_out_str(&d->out, "\n");
}

/* False: none in time. */
RT_NOSAN static bool await_answer(struct rt_dump *d, const struct rt_question *q)
{
	struct timespec nap = { .tv_nsec = 50 * WEFT_US };
	int64_t began = rt_now(), took = 0;
	bool answered;

	while (!(answered = rt_capture_answer(q, &d->answer)) && took < d->asking && took < RT_ANSWER_STARVED &&
	       (took < RT_ANSWER_WAIT || rt_capture_starved(q))) {
		(void)rt_syscall(SYS_nanosleep, (long)&nap, 0, 0, 0, 0, 0);
		took = rt_now() - began;
	}
	d->asking -= took;
	return answered;
}

/* Ask the thread that runs g for its stack, into d->answer; false: no answer in time. */
RT_NOSAN static bool ask(struct rt_dump *d, const struct g *g)
{
	struct m *m = *(struct m *const volatile *)&g->m;
	struct rt_question q;
	enum rt_ask rc;

	if (!m || ld(&m->cur) != g || ld(&m->tid) == rt_tid() || d->asking <= 0)
		return false;
	rc = rt_capture_ask(m, &q, &d->answer);
	if (rc == RT_ASK_NOTHING || (rc == RT_ASK_SENT && !await_answer(d, &q)))
		return false;
	return d->answer.g == g && d->answer.id == d->g.id && d->answer.depth > 0;
}

RT_NOSAN static void put_running(struct rt_dump *d, const struct g *g)
{
	bool known = ask(d, g);

	d->g.flags = (known ? d->answer.flags : 0) | (d->g.flags & WEFT_GF_LOCKED);
	put_header(d);
	if (known)
		put_frames(d, d->answer.pc, d->answer.depth, d->answer.flags, false);
	else
		rt_out_str(&d->out, "\tgoroutine running on another thread; stack unavailable\n");
	put_created(d, d->g.created, d->g.parent);
	rt_out_str(&d->out, "\n");
}

RT_NOSAN static void put_parked(struct rt_dump *d)
{
	put_header(d);
	put_frames(d, d->g.pc, d->g.depth, d->g.flags, true);
	put_created(d, d->g.created, d->g.parent);
	rt_out_str(&d->out, "\n");
}

/* --- Groups --------------------------------------------------------------------------------------- */

RT_NOSAN static uint64_t hash_of(const struct weft_goroutine *g)
{
	uint64_t h = 0x9e3779b97f4a7c15u ^ ((uint64_t)g->status << 56 | (uint64_t)g->reason << 32 | g->instance);

	for (int i = 0; i < g->depth; i++) {
		h = (h ^ g->pc[i]) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	return h ? h : 1;
}

RT_NOSAN static void count(struct rt_dump *d)
{
	const struct weft_goroutine *g = &d->g;
	uint64_t hash = hash_of(g);
	struct rt_dump_group *e = &d->group[hash % RT_DUMP_GROUPS];

	d->grouped++;
	for (int i = 0; e->hash && e->hash != hash; i++) {
		if (i == 64) {
			d->lost++;
			return;
		}
		e = e == &d->group[RT_DUMP_GROUPS - 1] ? d->group : e + 1;
	}
	e->count++;
	if (e->hash) {
		if (g->since < e->since)
			e->since = g->since;
		return;
	}
	e->hash = hash;
	e->id = g->id;
	e->since = g->since;
	e->start = g->start;
	e->created = g->created;
	e->instance = g->instance;
	e->parent = g->parent;
	e->status = g->status;
	e->reason = g->reason;
	e->flags = g->flags;
	e->depth = g->depth;
	if (e->depth > RT_DUMP_FRAMES) {
		e->depth = RT_DUMP_FRAMES;
		e->flags |= WEFT_GF_CUT;
	}
	for (int i = 0; i < e->depth; i++)
		e->pc[i] = g->pc[i];
}

RT_NOSAN static void put_groups(struct rt_dump *d)
{
	if (!d->grouped)
		return;
	rt_out_u64(&d->out, d->grouped);
	rt_out_str(&d->out, " more goroutines, counted by stack:\n\n");
	for (int i = 0; i < RT_DUMP_GROUPS && !d->out.dead; i++) {
		const struct rt_dump_group *e = &d->group[i];

		if (!e->hash)
			continue;
		rt_out_u64(&d->out, e->count);
		rt_out_str(&d->out, " like goroutine ");
		rt_out_u64(&d->out, e->id);
		rt_out_str(&d->out, " [");
		put_state(d, state_word(e->status, e->reason, 0), e->status == WEFT_G_WAITING, e->since, false,
			  e->instance);
		rt_out_str(&d->out, "]:\n");
		put_frames(d, e->pc, e->depth, e->flags, true);
		put_created(d, e->created, e->parent);
		rt_out_str(&d->out, "\n");
	}
	if (d->lost) {
		rt_out_u64(&d->out, d->lost);
		rt_out_str(&d->out, " more with still other stacks\n");
	}
}

/* --- All ------------------------------------------------------------------------------------------ */

RT_NOSAN static bool seen(const struct rt_dump *d, uint64_t id)
{
	for (uint32_t i = 0; i < d->n_seen; i++)
		if (d->seen[i] == id)
			return true;
	return false;
}

/* The first round takes those that run; the second all that it did not take, also those that have begun
 * to run in between. */
RT_NOSAN static void visit(struct rt_dump *d, const struct g *g, bool running)
{
	enum rt_look look = rt_g_look(g, &d->g, &d->labels);

	if (look == RT_LOOK_NONE || (running && look != RT_LOOK_RUNNING) || seen(d, d->g.id))
		return;
	if (running && d->n_seen < RT_DUMP_RUNNING)
		d->seen[d->n_seen++] = d->g.id;
	if (look == RT_LOOK_RUNNING)
		put_running(d, g);
	else if (d->printed < d->limit)
		put_parked(d);
	else
		count(d);
}

RT_NOSAN static void visit_all(struct rt_dump *d, const struct g *but, bool running)
{
	uint32_t arenas = ld_acq(&rt_n_arenas);

	for (uint32_t a = 0; a < arenas; a++) {
		const struct rt_arena *arena = ld_acq(&rt_arenas[a]);
		uint32_t words = ld_acq(&arena->opened) / 64;

		for (uint32_t w = 0; w < words; w++) {
			uint64_t used = ld(&arena->used[w]);

			for (; used && !d->out.dead; used &= used - 1) {
				const struct g *g = rt_slot_g(arena, a, w * 64 + (uint32_t)__builtin_ctzll(used));

				if (g != but)
					visit(d, g, running);
			}
		}
	}
}

RT_NOSAN void rt_dump_goroutines(struct rt_dump *d, const struct rt_dump_first *first)
{
	const struct g *but = first ? first->g : NULL;

	d->now = rt_now();
	d->printed = d->grouped = d->lost = 0;
	d->n_seen = 0;
	d->asking = ASKING;
	if (first)
		put_first(d, first);
	visit_all(d, but, true);
	visit_all(d, but, false);
	put_groups(d);
}
