/* gotrace_chrome.c - what becomes of events in the Trace Event Format: who ran where as slices, who made whom ready as
 * arrows, tasks, regions, counters.
 *
 * A slice is written when it ends, for then its length is known; the format asks for no order.  Each thread has one in
 * the making: on the track of its P while it runs a goroutine or has one in a system call, on its own while the
 * goroutine goes on without a P.  Slices of a track do not overlap, but lie in one another (a system call in what its
 * goroutine runs): events have times of their own, so what begins later lies behind.  By at least 1 ns, and what lies
 * in another ends 1 ns before it: readers may be wrong by that much when they turn decimals into floats.
 *
 * An arrow is written when the slice that it leads to ends, both ends at once: so there is no half of one.  Where it
 * comes from no slice, from the scheduler itself or a thread that is none of its own, there is one of 1 ns for it. */
#include "gotrace_chrome.h"

/* --- Slices ------------------------------------------------------------------------------------------- */

static struct gt_track track_of(const struct gt_slice *s)
{
	return (struct gt_track){ s->pid, s->tid };
}

static struct gt_word name_of(const struct gotrace *t, const struct gt_g *g)
{
	uint32_t name = gt_stack_name(t, g->name);

	return name ? gt_word(t, name) : GT_WORD("goroutine");
}

/* The track where m is now. */
static struct gt_track track_now(struct gotrace *t, struct gt_m *m)
{
	return m->p ? gt_track_p(t, m->p) : gt_track_m(t, m);
}

static void begin(struct gotrace *t, struct gt_m *m, struct gt_track track)
{
	m->slice = (struct gt_slice){ .since = t->now, .pid = track.pid, .tid = track.tid };
	if (track.pid == GT_PID_THREADS)
		gt_chrome_count(t, GT_C_THREADS, 1, 1);
}

static void end_call(struct gotrace *t, struct gt_m *m, int64_t time)
{
	struct gt_slice *s = &m->slice;

	if (!s->call)
		return;
	gt_chrome_open(t, "X", "syscall", GT_WORD("system call"), track_of(s), s->call);
	gt_chrome_dur(t, time - s->call);
	gt_chrome_stack(t, "sf", s->call_stack);
	GT_ARGS(t, GT_NUMBER("goroutine", m->g->id));
	gt_chrome_close(t);
	s->call = 0;
}

/* From who made g ready to where it runs now. */
static void arrow(struct gotrace *t, struct gt_g *g, const struct gt_slice *to)
{
	struct gt_track from = { g->wake.pid, g->wake.tid };
	uint64_t id = ++t->chrome->arrows;

	if (g->wake.alone) {
		gt_chrome_open(t, "X", "wake", GT_WORD("wake"), from, g->wake.time);
		gt_chrome_dur(t, 1);
		gt_chrome_stack(t, "sf", g->wake.stack);
		GT_ARGS(t, GT_NUMBER("goroutine", g->id));
		gt_chrome_close(t);
	}
	gt_chrome_open(t, "s", "wake", GT_WORD("wake"), from, g->wake.time);
	gt_chrome_id(t, id);
	gt_chrome_stack(t, "sf", g->wake.stack);
	gt_chrome_close(t);
	gt_chrome_open(t, "t", "wake", GT_WORD("wake"), track_of(to), to->since);
	gt_chrome_id(t, id);
	gt_chrome_close(t);
	g->wake.time = 0;
}

/* m's slice is over, because of `why`; stack: where its goroutine is then, 0: where it was. */
static void end(struct gotrace *t, struct gt_m *m, struct gt_word why, uint64_t stack)
{
	struct gt_slice *s = &m->slice;
	struct gt_g *g = m->g;

	if (!s->since || !g)
		return;
	end_call(t, m, t->now - 1);
	gt_chrome_open(t, "X", s->pid == GT_PID_PS ? "running" : "without a P", name_of(t, g), track_of(s), s->since);
	gt_chrome_dur(t, t->now - s->since);
	gt_chrome_stack(t, "sf", g->at);
	gt_chrome_stack(t, "esf", stack);
	GT_ARGS(t, GT_NUMBER("goroutine", g->id), GT_TEXT("end", why), GT_TEXT("labels", gt_word(t, g->label)));
	gt_chrome_close(t);
	if (g->wake.time)
		arrow(t, g, s);
	if (s->pid == GT_PID_THREADS)
		gt_chrome_count(t, GT_C_THREADS, 1, -1);
	s->since = 0;
	if (stack)
		g->at = (uint32_t)stack;
}

static void begin_call(struct gotrace *t, struct gt_m *m, uint64_t stack)
{
	if (!m->slice.since)
		return;
	m->slice.call = t->now;
	m->slice.call_stack = (uint32_t)stack;
	if (stack)
		m->g->at = (uint32_t)stack;
}

/* m, with its goroutine in a system call, has lost its P. */
static void lose_p(struct gotrace *t, struct gt_m *m)
{
	if (!m->slice.since || m->slice.pid != GT_PID_PS)
		return;
	end(t, m, GT_WORD("its P went on without it"), m->slice.call_stack);
	begin(t, m, gt_track_m(t, m));
}

/* m made g ready. */
static void wake(struct gotrace *t, struct gt_m *m, struct gt_g *g, uint64_t stack)
{
	bool alone = !m->slice.since;
	struct gt_track from = alone ? track_now(t, m) : track_of(&m->slice);

	g->wake = (struct gt_wake){
		.time = t->now, .pid = from.pid, .tid = from.tid, .stack = (uint32_t)stack, .alone = alone
	};
	t->now += alone; /* the time of the slice that it will be in */
}

/* --- Goroutines -------------------------------------------------------------------------------------------- */

static void count_g(struct gotrace *t, enum gt_g_state state, int by)
{
	switch (state) {
	case GT_G_RUNNING:
		gt_chrome_count(t, GT_C_READY, 0, by);
		break;
	case GT_G_RUNNABLE:
		gt_chrome_count(t, GT_C_READY, 1, by);
		break;
	case GT_G_WAITING:
		gt_chrome_count(t, GT_C_PARKED, 0, by);
		break;
	case GT_G_SYSCALL:
		gt_chrome_count(t, GT_C_PARKED, 1, by);
		break;
	case GT_G_NONE:
		break;
	}
}

static void move(struct gotrace *t, enum gt_g_state from, enum gt_g_state to)
{
	count_g(t, from, -1);
	count_g(t, to, 1);
}

/* As it was at the start. */
static void go_status(struct gotrace *t, struct gt_m *m, const uint64_t *a, uint64_t stack)
{
	struct gt_g *g = gt_g_find(t, a[0]);
	enum gt_g_state state = (enum gt_g_state)a[2];

	count_g(t, state, 1);
	if (!g)
		return;
	g->name = g->at = (uint32_t)stack;
	if (state != GT_G_RUNNING && state != GT_G_SYSCALL)
		return;
	if (state == GT_G_SYSCALL && !(m->p && m->p->state == GT_P_SYSCALL)) {
		begin(t, m, gt_track_m(t, m));
		return;
	}
	begin(t, m, track_now(t, m));
	if (state == GT_G_SYSCALL) {
		t->now += 2; /* inside */
		begin_call(t, m, 0);
	}
}

static void go_create(struct gotrace *t, struct gt_m *m, const uint64_t *a)
{
	struct gt_g *g = gt_g_find(t, a[0]);

	count_g(t, GT_G_RUNNABLE, 1);
	if (!g)
		return;
	g->name = g->at = (uint32_t)a[1];
	wake(t, m, g, a[2]);
}

static void go_unblock(struct gotrace *t, struct gt_m *m, const uint64_t *a)
{
	struct gt_g *g = gt_g_find(t, a[0]);

	move(t, GT_G_WAITING, GT_G_RUNNABLE);
	if (g)
		wake(t, m, g, a[2]);
}

/* --- Tasks, regions, log -------------------------------------------------------------------------------------- */

static const struct gt_track tasks = { GT_PID_SAID, GT_TID_TASKS }, regions = { GT_PID_SAID, GT_TID_REGIONS };

static struct gt_task **find_task(struct gotrace *t, uint64_t id)
{
	struct gt_task **at = &t->chrome->task[hash_u64(0, id) % GT_TASK_BUCKETS];

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

static struct gt_task *new_task(struct gotrace *t, uint64_t id, uint32_t name)
{
	struct gt_task *task = t->chrome->free_task;

	if (task)
		t->chrome->free_task = task->next;
	else
		task = arena_alloc(&t->arena, sizeof *task);
	if (!task) {
		t->failed = 1;
		return NULL;
	}
	*task = (struct gt_task){ .id = id, .name = name };
	return task;
}

static void task_begin(struct gotrace *t, const struct gt_m *m, const uint64_t *a)
{
	struct gt_task **at = find_task(t, a[0]);

	if (*at)
		return;
	*at = new_task(t, a[0], (uint32_t)a[2]);
	gt_chrome_open(t, "b", "task", gt_word(t, a[2]), tasks, t->now);
	gt_chrome_id(t, a[0]);
	gt_chrome_stack(t, "sf", a[3]);
	GT_ARGS(t, GT_NUMBER("task", a[0]), GT_NUMBER("parent", a[1]), GT_NUMBER("goroutine", m->g->id));
	gt_chrome_close(t);
}

static void put_end(struct gotrace *t, const char *cat, struct gt_word name, struct gt_track track, uint64_t id,
		    bool open)
{
	gt_chrome_open(t, "e", cat, name, track, t->now);
	gt_chrome_id(t, id);
	GT_ARGS(t, GT_NUMBER("open", open));
	gt_chrome_close(t);
}

/* What was open at the start begins there; `back` ns earlier. */
static void put_begin_before(struct gotrace *t, const char *cat, struct gt_word name, struct gt_track track,
			     uint64_t id, int64_t back)
{
	int64_t from = t->opts.from > back ? t->opts.from - back : 0;

	gt_chrome_open(t, "b", cat, name, track, from);
	gt_chrome_id(t, id);
	GT_ARGS(t, GT_NUMBER("open", 1));
	gt_chrome_close(t);
}

static void task_end(struct gotrace *t, uint64_t id)
{
	struct gt_task **at = find_task(t, id), *task = *at;
	struct gt_word name = task ? gt_word(t, task->name) : GT_WORD("a task that began before");

	if (!task)
		put_begin_before(t, "task", name, tasks, id, 0);
	put_end(t, "task", name, tasks, id, false);
	if (!task)
		return;
	*at = task->next;
	task->next = t->chrome->free_task;
	t->chrome->free_task = task;
}

static void region_begin(struct gotrace *t, const struct gt_m *m, const uint64_t *a)
{
	gt_chrome_open(t, "b", "region", gt_word(t, a[1]), regions, t->now);
	gt_chrome_id(t, m->g->id);
	gt_chrome_stack(t, "sf", a[2]);
	GT_ARGS(t, GT_NUMBER("goroutine", m->g->id), GT_NUMBER("task", a[0]));
	gt_chrome_close(t);
}

/* Those that began before the start end from the innermost on: each begins before the last. */
static void region_end(struct gotrace *t, const struct gt_m *m, const uint64_t *a)
{
	if (!m->g->regions)
		put_begin_before(t, "region", gt_word(t, a[1]), regions, m->g->id, m->g->cut_off++);
	put_end(t, "region", gt_word(t, a[1]), regions, m->g->id, false);
}

static void end_regions(struct gotrace *t, const struct gt_g *g)
{
	for (const struct gt_said *s = g->regions; s; s = s->next)
		put_end(t, "region", gt_word(t, s->name), regions, g->id, true);
}

static void put_log(struct gotrace *t, struct gt_m *m, const uint64_t *a)
{
	struct gt_word text = gt_word(t, a[2]), category = gt_word(t, a[1]);
	const struct gt_arg args[] = { GT_TEXT("category", category), GT_NUMBER("task", a[0]),
				       GT_NUMBER("goroutine", m->g->id) };

	gt_chrome_open(t, "i", "log", text, m->slice.since ? track_of(&m->slice) : track_now(t, m), t->now);
	buf_str(&t->out, ",\"s\":\"t\"");
	gt_chrome_stack(t, "sf", a[3]);
	gt_chrome_args(t, args, 3);
	gt_chrome_close(t);
	if (!a[0] || !*find_task(t, a[0]))
		return;
	gt_chrome_open(t, "n", "task", text, tasks, t->now);
	gt_chrome_id(t, a[0]);
	gt_chrome_args(t, args, 3);
	gt_chrome_close(t);
}

/* --- The format ------------------------------------------------------------------------------------------------ */

static void proc_event(struct gotrace *t, struct gt_m *m, unsigned id, const uint64_t *a)
{
	struct gt_p *p = id == GT_EV_PROC_STOP ? m->p : gt_p_get(t, (uint32_t)a[0]);

	if (!p)
		return;
	(void)gt_track_p(t, p);
	switch (id) {
	case GT_EV_PROC_STATUS:
		gt_chrome_count(t, GT_C_THREADS, 0, a[1] != GT_P_IDLE);
		break;
	case GT_EV_PROC_START:
		gt_chrome_count(t, GT_C_THREADS, 0, 1);
		break;
	case GT_EV_PROC_STOP:
		gt_chrome_count(t, GT_C_THREADS, 0, -1);
		lose_p(t, m);
		break;
	case GT_EV_PROC_STEAL:
		gt_chrome_count(t, GT_C_THREADS, 0, -1);
		lose_p(t, p->m);
		break;
	}
}

static void go_event(struct gotrace *t, struct gt_m *m, unsigned id, const uint64_t *a)
{
	switch (id) {
	case GT_EV_GO_CREATE:
		go_create(t, m, a);
		break;
	case GT_EV_GO_START:
		move(t, GT_G_RUNNABLE, GT_G_RUNNING);
		begin(t, m, track_now(t, m));
		break;
	case GT_EV_GO_DESTROY:
		count_g(t, GT_G_RUNNING, -1);
		end_regions(t, m->g);
		end(t, m, GT_WORD("exit"), 0);
		break;
	case GT_EV_GO_STOP:
	case GT_EV_GO_BLOCK:
		move(t, GT_G_RUNNING, id == GT_EV_GO_STOP ? GT_G_RUNNABLE : GT_G_WAITING);
		end(t, m, gt_word(t, a[0]), a[1]);
		break;
	case GT_EV_GO_UNBLOCK:
		go_unblock(t, m, a);
		break;
	case GT_EV_GO_SYSCALL_BEGIN:
		move(t, GT_G_RUNNING, GT_G_SYSCALL);
		begin_call(t, m, a[1]);
		break;
	case GT_EV_GO_SYSCALL_END:
		move(t, GT_G_SYSCALL, GT_G_RUNNING);
		end_call(t, m, t->now);
		break;
	case GT_EV_GO_SYSCALL_END_BLOCKED:
		move(t, GT_G_SYSCALL, GT_G_RUNNABLE);
		end(t, m, GT_WORD("back to the Ps"), 0);
		break;
	}
}

static void set(struct gotrace *t, enum gt_counter c, uint64_t value)
{
	gt_chrome_count(t, c, 0, (int64_t)value - t->chrome->count[c].now[0]);
}

static void other_event(struct gotrace *t, struct gt_m *m, unsigned id, const uint64_t *a)
{
	switch (id) {
	case GT_EV_GO_STATUS:
		go_status(t, m, a, 0);
		break;
	case GT_EV_GO_STATUS_STACK:
		go_status(t, m, a, a[3]);
		break;
	case GT_EV_PROCS_CHANGE:
		set(t, GT_C_PS, a[0]);
		break;
	case GT_EV_HEAP_ALLOC:
		set(t, GT_C_HEAP, a[0]);
		break;
	case GT_EV_USER_TASK_BEGIN:
		task_begin(t, m, a);
		break;
	case GT_EV_USER_TASK_END:
		task_end(t, a[0]);
		break;
	case GT_EV_USER_REGION_BEGIN:
		region_begin(t, m, a);
		break;
	case GT_EV_USER_REGION_END:
		region_end(t, m, a);
		break;
	case GT_EV_USER_LOG:
		put_log(t, m, a);
		break;
	}
}

static void event(struct gotrace *t, struct gt_m *m, unsigned id, const uint64_t *a)
{
	size_t before = t->out.len;

	if (!t->chrome)
		return;
	if (id >= GT_EV_PROC_START && id <= GT_EV_PROC_STATUS)
		proc_event(t, m, id, a);
	else if (id >= GT_EV_GO_CREATE && id <= GT_EV_GO_SYSCALL_END_BLOCKED)
		go_event(t, m, id, a);
	else
		other_event(t, m, id, a);
	gt_chrome_counters(t, false);
	t->n_bytes += t->out.len - before;
}

static void sample(struct gotrace *t, const struct gt_sample *s)
{
	struct gt_p *p = s->p >= 0 ? gt_p_get(t, (uint32_t)s->p) : NULL;
	struct gt_m *m = p ? NULL : gt_m_get(t, (int)s->tid);

	if (!p && !m)
		return;
	gt_chrome_open(t, "i", "cpu", GT_WORD("CPU sample"), p ? gt_track_p(t, p) : gt_track_m(t, m), s->time);
	buf_str(&t->out, ",\"s\":\"t\"");
	gt_chrome_stack(t, "sf", s->stack);
	GT_ARGS(t, GT_NUMBER("goroutine", s->g));
	gt_chrome_close(t);
}

/* What still goes on ends with the trace. */
static void close(struct gotrace *t)
{
	if (!t->chrome)
		return;
	if (t->next > t->now)
		t->now = t->next;
	for (uint32_t i = 0; i < t->n_ms; i++)
		end(t, t->m[i], GT_WORD("end of the trace"), 0);
	for (uint32_t i = 0; i < t->n_buckets; i++)
		for (const struct gt_g *g = t->buckets[i]; g; g = g->next)
			end_regions(t, g);
	for (uint32_t i = 0; i < GT_TASK_BUCKETS; i++)
		for (const struct gt_task *task = t->chrome->task[i]; task; task = task->next)
			put_end(t, "task", gt_word(t, task->name), tasks, task->id, true);
	gt_chrome_counters(t, true);
	buf_str(&t->out, "\n],\"stackFrames\":{");
}

const struct gt_format gt_format_chrome = {
	.names = true,
	.head = gt_chrome_head,
	.event = event,
	.sample = sample,
	.close = close,
	.stack = gt_chrome_stack_frames,
	.tail = gt_chrome_tail,
	.free = gt_chrome_free,
};
