/* ring.c - the recorder: always on, fixed 32-byte records in 8 KiB chunks from one pool.
 *
 * A thread that records owns one chunk, the only one it writes, and publishes each record by a release
 * store of the chunk's `n`.  A chunk is let go when it is full, or when its thread has no use for it (it lost its P);
 * the next one taken is what was let go longest ago in the whole process, so the window that the pool remembers is
 * equally long for all threads.  A thread that records again goes on in the chunk that it let go, if that is still
 * there: threads that idle often don't spread over the pool.  A chunk that is being written is never recycled; when
 * all are, the event is dropped and counted.
 *
 * Readers (rings.c) copy a chunk between two looks at its generation and throw away what changed under them.  Nobody
 * stops anybody.  What is older than `lost_tsc` they may not find: it was recycled, dropped, or never recorded.
 *
 * Lock: CHUNK guards the list by age, taken once in 254 records. */
#include <string.h>

#include "rt.h"
#include "sys.h"

bool rt_rec_on;

static struct rt_lock lock = RT_LOCK_INIT(CHUNK);
/* under lock */
static struct rt_chunk *chunks; /* the pool, contiguous */
static size_t n_chunks, pool_bytes;
static struct rt_chunk *oldest, *newest;
static uint64_t n_recorded, lost_tsc; /* in chunks that were let go */
static _Atomic uint64_t n_dropped;
static _Atomic bool frozen; /* the process dies: what the pool holds stays there */
/* Records of threads that are no Ms (revocation, wakes by foreign threads) go through one pseudo M. */
static struct rt_lock foreign_lock = RT_LOCK_INIT(ARENA);
static struct m foreign_m;
static struct m sample_m; /* likewise, of who drains CPU samples */

static void list_remove(struct rt_chunk *c)
{
	if (c->older)
		c->older->newer = c->newer;
	else
		oldest = c->newer;
	if (c->newer)
		c->newer->older = c->older;
	else
		newest = c->older;
}

static void list_append(struct rt_chunk *c)
{
	c->older = newest;
	c->newer = NULL;
	if (newest)
		newest->newer = c;
	else
		oldest = c;
	newest = c;
}

int rt_rec_start(size_t bytes)
{
	size_t n = bytes / sizeof(struct rt_chunk);

	rt_rec_on = false;
	if (n == 0)
		return 0;
	if (chunks && n != n_chunks) {
		rt_unmap(chunks, pool_bytes);
		chunks = NULL;
	}
	if (!chunks) {
		chunks = rt_map(n * sizeof *chunks);
		if (!chunks)
			return -ENOMEM;
		n_chunks = n;
		pool_bytes = n * sizeof *chunks;
	}
	oldest = newest = NULL;
	for (size_t i = 0; i < n; i++) {
		chunks[i].producer = chunks[i].owner = NULL;
		chunks[i].counted = 0;
		st(&chunks[i].n, 0);
		list_append(&chunks[i]);
	}
	foreign_m = (struct m){ 0 };
	sample_m = (struct m){ .tid = WEFT_REC_SAMPLES };
	lost_tsc = rt_tsc();
	st(&frozen, false);
	rt_rec_on = true;
	return 0;
}

/* Nobody writes c for now: of all chunks it will be recycled last.  Under lock. */
static void let_go(struct rt_chunk *c)
{
	c->producer = NULL;
	n_recorded += ld(&c->n) - c->counted;
	c->counted = ld(&c->n);
	list_remove(c);
	list_append(c);
}

void rt_rec_release(struct m *m)
{
	if (!m->chunk)
		return;
	rt_lock(&lock);
	let_go(m->chunk);
	rt_unlock(&lock);
	m->last_chunk = m->chunk;
	m->chunk = NULL;
	m->rec_at = m->rec_end = NULL;
}

/* Does c, which m let go, still hold m's records, and has room?  Under lock. */
static bool is_mine(const struct rt_chunk *c, const struct m *m)
{
	return c && c->owner == m && ld(&c->tid) == ld(&m->tid) && ld(&c->n) < RT_CHUNK_RECS;
}

/* The chunk that m is to write next, NULL: none is free; *fresh: with another's records, to be thrown away.  Under
 * lock. */
static struct rt_chunk *take(struct m *m, bool *fresh)
{
	struct rt_chunk *c = is_mine(m->last_chunk, m) ? m->last_chunk : NULL;
	uint32_t n;

	*fresh = !c;
	if (c) {
		c->producer = m;
		return c;
	}
	for (c = oldest; c && c->producer; c = c->newer)
		;
	if (!c) {
		lost_tsc = m->tsc > lost_tsc ? m->tsc : lost_tsc;
		return NULL;
	}
	n = ld(&c->n);
	if (n && ld(&c->rec[n - 1].tsc) > lost_tsc)
		lost_tsc = ld(&c->rec[n - 1].tsc);
	c->owner = c->producer = m;
	return c;
}

/* c is m's alone, and empty. */
static void renew(struct rt_chunk *c, struct m *m)
{
	st(&c->generation, ld(&c->generation) + 1);
	atomic_thread_fence(memory_order_release); /* a reader of anything below sees the odd generation */
	st(&c->n, 0);
	st(&c->tid, ld(&m->tid));
	st(&c->first_index, m->rec_index);
	c->counted = 0;
	st_rel(&c->generation, ld(&c->generation) + 1);
	m->rec_index += RT_CHUNK_RECS;
}

/* m's chunk is full, or it has none. */
bool rt_rec_more(struct m *m)
{
	struct rt_chunk *c;
	bool fresh;

	if (!rt_rec_on || ld(&frozen))
		return false;
	rt_lock(&lock);
	if (m->chunk)
		let_go(m->chunk);
	c = take(m, &fresh);
	rt_unlock(&lock);
	m->chunk = c;
	if (!c) {
		m->rec_at = m->rec_end = NULL;
		add(&n_dropped, 1);
		return false;
	}
	if (fresh)
		renew(c, m);
	m->rec_at = c->rec + ld(&c->n);
	m->rec_end = c->rec + RT_CHUNK_RECS;
	return true;
}

RT_NOSAN void rt_rec_freeze(void)
{
	st(&frozen, true);
}

#if defined(RT_ASAN) || defined(RT_TSAN)

_Atomic uint32_t rt_rec_stops;

RT_NOSAN void rt_rec_stop(struct m *m)
{
	uint64_t x = (m->tsc + m->rec_index + (uintptr_t)m->rec_at) * UINT64_C(0x9e3779b97f4a7c15) >> 32;
	struct timespec ts = { .tv_nsec = (long)(20 + x % 40) * WEFT_MS };
	uint32_t stops = ld(&rt_rec_stops);

	if (unlikely(stops) && x % stops == 0)
		(void)rt_syscall(SYS_nanosleep, (long)&ts, 0, 0, 0, 0, 0);
}

#endif

uint64_t rt_rec_lost(void)
{
	uint64_t tsc;

	rt_lock(&lock);
	tsc = lost_tsc;
	rt_unlock(&lock);
	return tsc;
}

RT_NOSAN uint64_t rt_rec_lost_unlocked(void)
{
	return *(const volatile uint64_t *)&lost_tsc;
}

struct rt_chunk *rt_rec_chunks(size_t *n)
{
	*n = rt_rec_on ? n_chunks : 0;
	return chunks;
}

struct m *rt_foreign_begin(struct p *p)
{
	rt_lock(&foreign_lock);
	foreign_m.tsc = rt_tsc();
	st(&foreign_m.p, p);
	return &foreign_m;
}

void rt_foreign_end(void)
{
	rt_unlock(&foreign_lock);
}

void rt_record_foreign(enum rt_event ev, struct p *p, uint64_t subject, uint32_t stack, uint32_t seq)
{
	rt_record(rt_foreign_begin(p), ev, 0, 0, subject, stack, seq);
	rt_foreign_end();
}

/* Who takes the M's P takes its chunk as well, but not while in_rt says that the goroutine is in the runtime (the
 * order of rt_enter()): with own OWNED after that the chunk is ours until in_rt is 0 again.  Without a P, or with
 * one that is lent or just being taken, the record goes through the pseudo M. */
struct m *rt_anywhere_begin(bool *inside)
{
	struct m *m = rt_self();

	*inside = ld(&m->in_rt) != 0;
	st(&m->in_rt, 1);
	rt_light();
	if (unlikely(ld_acq(&m->own) != RT_OWNED))
		return rt_foreign_begin(NULL);
	m->tsc = rt_tsc();
	return m;
}

void rt_anywhere_end(struct m *by, bool inside)
{
	if (by == &foreign_m)
		rt_foreign_end();
	if (!inside)
		rt_leave(rt_self());
}

unsigned rt_record_text(struct m *by, uint64_t gid, const char *text, size_t len)
{
	unsigned n = 0;

	for (size_t at = 0; at < len; at += RT_TEXT_BYTES, n++) {
		uint64_t subject = 0;
		uint32_t stack, seq;

		memcpy(&subject, text + at, 6);
		memcpy(&stack, text + at + 6, 4);
		memcpy(&seq, text + at + 10, 4);
		rt_record(by, RT_EV_TEXT, n, gid, subject, stack, seq);
	}
	return n;
}

/* Its stamps are older than those of others that are written at the same time, so they have chunks of their own: a
 * chunk's last stamp is its latest. */
void rt_record_sample(int64_t time, uint64_t gid, int tid, uint32_t pid, uint32_t stack)
{
	sample_m.tsc = rt_ns_to_tsc(time);
	st(&sample_m.p, pid < ld_acq(&sched.n_ps) ? sched.ps[pid] : NULL);
	rt_record(&sample_m, RT_EV_CPU_SAMPLE, 0, gid, (uint64_t)tid, stack, 0);
}

void rt_record_samples_end(void)
{
	rt_rec_release(&sample_m);
}

void rt_rec_counters(struct weft_counters *out)
{
	rt_lock(&lock);
	out->recorder_bytes = rt_rec_on ? pool_bytes : 0;
	out->recorder_events = n_recorded;
	rt_unlock(&lock);
	out->recorder_dropped = ld(&n_dropped);
}
