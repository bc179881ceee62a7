/* raw.c - the recorder's memory into a file, while the process dies (weft_raw.h has the form).
 *
 * Runs in the handler of a fatal signal, on a thread that may have been anywhere: no locks, no allocation, nothing but
 * write(2), all that is large is static, and an end to its patience.  Others may run on meanwhile, but none takes over
 * a chunk any more; one that was being taken over just then is left out.  First who lives, then the records (gotrace.h
 * says why), then the label sets that these name, of which there may be very many.
 *
 * The file was opened before; what is in it counts once there is something. */
#include "raw.h"

#include "rt.h"
#include "sys.h"

#define PATIENCE (2 * WEFT_SEC)
#define THREADS_MAX 1024

static _Atomic int raw_fd = -1; /* changed by the host */

static struct {
	int64_t until;
	bool failed;
	size_t n;
	char buf[65536];
} out;
static struct weft_goroutine look;
static struct weft_raw_goroutine goroutine;
static struct weft_raw_module module;
static struct weft_raw_stack stack;
static struct weft_raw_name name;
static struct weft_labels label_set;
static struct weft_raw_labels labels;
static struct weft_raw_head head;
static struct weft_sched_m threads[THREADS_MAX];
static struct weft_sched sched_now;
static struct {
	struct weft_raw_chunk head;
	uint64_t words[RT_CHUNK_RECS * 4];
} chunk;

void weft_host_fatal_file(int fd)
{
	st(&raw_fd, fd);
}

RT_NOSAN static void flush(void)
{
	size_t done = 0;

	while (done < out.n && !out.failed) {
		long n = rt_sys_write(ld(&raw_fd), out.buf + done, out.n - done);

		if (n > 0)
			done += (size_t)n;
		if ((n < 0 && n != -EINTR) || rt_now() > out.until)
			out.failed = true;
	}
	out.n = 0;
}

RT_NOSAN static void put(const void *p, size_t n)
{
	const volatile char *from = p;

	for (size_t i = 0; i < n && !out.failed; i++) {
		if (out.n == sizeof out.buf)
			flush();
		out.buf[out.n++] = from[i];
	}
}

RT_NOSAN static void put_section(enum weft_raw_kind kind, const void *p, size_t n)
{
	struct weft_raw_section s = { .kind = kind, .bytes = n };

	put(&s, sizeof s);
	put(p, n);
}

RT_NOSAN static void copy_text(char *to, size_t cap, const char *from)
{
	size_t i = 0;

	for (; from && from[i] && i < cap - 1; i++)
		to[i] = from[i];
	to[i] = 0;
}

RT_NOSAN static void put_head(int signo, const char *what)
{
	struct timespec ts = { 0 };

	(void)rt_syscall(SYS_clock_gettime, CLOCK_REALTIME, (long)&ts, 0, 0, 0, 0);
	weft_read_sched(&sched_now);
	head.now = rt_now();
	head.real = ts.tv_sec * WEFT_SEC + ts.tv_nsec;
	head.lost = rt_tsc_to_ns(rt_rec_lost_unlocked());
	rt_clock_scale(&head.tsc, &head.ns, &head.mult);
	rt_text_bounds(&head.runtime, &head.runtime_end);
	head.pid = rt_pid();
	head.signo = signo;
	head.maxprocs = sched_now.maxprocs;
	head.n_ps = sched_now.n;
	for (int i = 0; i < sched_now.n; i++)
		head.p_status[i] = (uint8_t)sched_now.p[i].status;
	copy_text(head.what, sizeof head.what, what);
	put_section(WEFT_RAW_HEAD, &head, sizeof head);
}

RT_NOSAN static void put_modules(void)
{
	const struct weft_modules *ms = weft_read_modules();

	for (size_t i = 0; ms && i < ms->n; i++) {
		const struct weft_module *m = &ms->m[i];

		module.bias = m->bias;
		module.start = m->start;
		module.limit = m->limit;
		module.offset = m->offset;
		for (size_t k = 0; k < sizeof module.build_id; k++)
			module.build_id[k] = m->build_id[k];
		module.build_id_len = m->build_id_len;
		module.plugin = m->plugin;
		module.program = m->program;
		copy_text(module.path, sizeof module.path, m->path);
		put_section(WEFT_RAW_MODULE, &module, sizeof module);
	}
}

RT_NOSAN static void put_goroutine(const struct g *g)
{
	uint64_t set;

	if (rt_g_look(g, &look, &set) == RT_LOOK_NONE)
		return;
	goroutine.id = look.id;
	goroutine.start = look.start;
	goroutine.since = look.since;
	goroutine.instance = look.instance;
	goroutine.status = look.status;
	goroutine.flags = look.flags;
	goroutine.tid = look.tid;
	goroutine.depth = look.depth;
	goroutine.label_slot = rt_labels_slot(set, &goroutine.label_generation);
	for (int i = 0; i < look.depth; i++)
		goroutine.pc[i] = look.pc[i];
	put_section(WEFT_RAW_GOROUTINE, &goroutine,
		    offsetof(struct weft_raw_goroutine, pc) + (size_t)look.depth * sizeof goroutine.pc[0]);
}

RT_NOSAN static void put_goroutines(void)
{
	uint32_t arenas = ld_acq(&rt_n_arenas);

	for (uint32_t a = 0; a < arenas; a++) {
		const struct rt_arena *arena = ld_acq(&rt_arenas[a]);
		uint32_t words = ld_acq(&arena->opened) / 64;

		for (uint32_t w = 0; w < words; w++)
			for (uint64_t used = ld(&arena->used[w]); used && !out.failed; used &= used - 1)
				put_goroutine(rt_slot_g(arena, a, w * 64 + (uint32_t)__builtin_ctzll(used)));
	}
}

RT_NOSAN static void put_threads(void)
{
	size_t n = weft_read_sched_ms(threads, THREADS_MAX);

	put_section(WEFT_RAW_THREADS, threads, (n < THREADS_MAX ? n : THREADS_MAX) * sizeof threads[0]);
}

RT_NOSAN static void put_stacks(void)
{
	for (uint32_t id = 1; id < rt_stack_ids() && !out.failed; id++) {
		int n = weft_read_stack(id, stack.pc, WEFT_STACK_MAX);

		if (n <= 0)
			continue;
		stack.id = id;
		stack.depth = (uint32_t)n;
		put_section(WEFT_RAW_STACK, &stack,
			    offsetof(struct weft_raw_stack, pc) + (size_t)n * sizeof stack.pc[0]);
	}
}

RT_NOSAN static void put_names(void)
{
	uint32_t n = rt_names();

	for (uint32_t i = 1; i < n && !out.failed; i++) {
		name.number = i;
		copy_text(name.text, sizeof name.text, weft_read_trace_name(i));
		put_section(WEFT_RAW_NAME, &name, sizeof name);
	}
}

RT_NOSAN static void put_labels(uint64_t set)
{
	if (!rt_labels_copy(set, &label_set))
		return; /* it ended just now */
	labels.slot = rt_labels_slot(set, &labels.generation);
	labels.n = (uint32_t)label_set.n;
	for (uint32_t i = 0; i < labels.n; i++) {
		copy_text(labels.l[i].key, sizeof labels.l[i].key, label_set.l[i].key);
		copy_text(labels.l[i].value, sizeof labels.l[i].value, label_set.l[i].value);
	}
	put_section(WEFT_RAW_LABELS, &labels, offsetof(struct weft_raw_labels, l) + labels.n * sizeof labels.l[0]);
}

RT_NOSAN static void put_all_labels(void)
{
	for (uint32_t slot = 1; slot < RT_LABEL_SLOTS && !out.failed; slot++) {
		uint64_t set = rt_labels_at(slot);

		if (set)
			put_labels(set);
	}
}

/* As copy_chunk() in rings.c does. */
RT_NOSAN static void put_chunk(const struct rt_chunk *c)
{
	uint64_t generation = ld_acq(&c->generation);
	uint32_t n = ld_acq(&c->n);
	const volatile uint64_t *from = (const volatile uint64_t *)c->rec;

	if (!n || n > RT_CHUNK_RECS || generation % 2)
		return;
	chunk.head.first_index = ld(&c->first_index);
	chunk.head.tid = ld(&c->tid);
	chunk.head.n = n;
	for (uint32_t i = 0; i < n * 4; i++)
		chunk.words[i] = from[i];
	atomic_thread_fence(memory_order_acquire);
	if (ld(&c->generation) == generation)
		put_section(WEFT_RAW_CHUNK, &chunk, sizeof chunk.head + n * sizeof c->rec[0]);
}

RT_NOSAN int rt_raw_write(int signo, const char *what)
{
	struct weft_raw_section text = { .kind = WEFT_RAW_TEXT };
	size_t n_chunks;
	const struct rt_chunk *chunks = rt_rec_chunks(&n_chunks);
	int64_t lost;

	if (ld(&raw_fd) < 0)
		return -1;
	rt_rec_freeze();
	out.until = rt_now() + PATIENCE;
	out.failed = false;
	out.n = 0;
	put(WEFT_RAW_MAGIC, 16);
	put_head(signo, what);
	put_modules();
	put_names();
	put_goroutines();
	put_threads();
	put_stacks();
	for (size_t i = 0; i < n_chunks && !out.failed; i++)
		put_chunk(&chunks[i]);
	put_all_labels();
	lost = rt_tsc_to_ns(rt_rec_lost_unlocked());
	put_section(WEFT_RAW_END, &lost, sizeof lost);
	put(&text, sizeof text);
	flush();
	return out.failed ? -1 : ld(&raw_fd);
}
