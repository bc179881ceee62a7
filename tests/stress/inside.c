/* inside.c - the only part of the stress program that knows how the runtime is made.
 *
 * Revoking is what sysmon does to a P whose goroutine is busy elsewhere; here it happens at random moments,
 * from threads that are no Ms. */
#include <stdlib.h>
#include <string.h>

#include "rt.h"

#include "stress.h"

#define THREADS_MAX 64 /* no revocation while more Ms than this live: each may need another one */

static void spin(unsigned n)
{
	for (volatile unsigned i = 0; i < n; i++)
		;
}

/* Who has a P now, or any M: that one may have lost it, or may never have had one. */
static struct m *victim(uint64_t *rng)
{
	uint32_t n = ld_acq(&rt_n_ms);

	if (rnd_one_in(rng, 8))
		return n ? ld_acq(&rt_ms[rnd_in(rng, 0, n - 1)]) : NULL;
	return ld(&sched.ps[rnd_in(rng, 0, ld_acq(&sched.n_ps) - 1)]->m);
}

bool inside_revoke(uint64_t *rng)
{
	struct m *m = victim(rng);
	struct p *p;

	if (!m || ld(&sched.n_ms) > THREADS_MAX)
		return false;
	if (rnd_one_in(rng, 4)) { /* a look only */
		if (!rt_borrow(m, &p))
			return false;
		spin(rnd_in(rng, 0, 300));
		rt_unborrow(m);
		return true;
	}
	p = rt_revoke(m, RT_LOST_BLOCKED, 0);
	if (!p)
		p = rt_retake(m); /* or it was lent */
	if (!p)
		return false;
	spin(rnd_in(rng, 0, 300));
	rt_run_p(p, false);
	return true;
}

static int by_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void inside_snapshot(void)
{
	struct weft_snapshot *s = weft_snapshot_new();
	struct weft_goroutine g;
	size_t n = 0, cap = 1024;
	uint64_t *ids = must_alloc(cap * sizeof *ids);

	if (!s)
		fail(NULL, "weft_snapshot_new: no memory");
	while (weft_snapshot_next(s, &g) == 1) {
		if (n == cap) {
			cap *= 2;
			ids = realloc(ids, cap * sizeof *ids);
			if (!ids)
				fail(NULL, "no memory for %zu goroutine ids", cap);
		}
		if (g.depth < 0 || g.depth > WEFT_STACK_MAX || (g.depth == 0 && !(g.flags & WEFT_GF_UNAVAILABLE)))
			fail(NULL, "goroutine %llu has a stack of %d frames, flags %#x", (unsigned long long)g.id,
			     g.depth, g.flags);
		ids[n++] = g.id;
	}
	weft_snapshot_free(s);
	qsort(ids, n, sizeof *ids, by_id);
	for (size_t i = 0; i < n; i++)
		if (ids[i] == 0 || (i > 0 && ids[i] == ids[i - 1]))
			fail(NULL, "goroutine %llu is twice in a snapshot", (unsigned long long)ids[i]);
	free(ids);
}

static void sample_seen(void *user, const struct weft_sample *s)
{
	if (s->depth < 0 || s->depth > WEFT_STACK_MAX || s->weight == 0)
		fail(NULL, "a sample has %d frames and weight %u", s->depth, s->weight);
	++*(uint64_t *)user;
}

bool inside_sampler(bool on)
{
#ifdef __SANITIZE_THREAD__
	(void)on; /* a handler's atomics inside its own switch between fibers can crash it */
	return false;
#else
	if (!on)
		weft_cpu_stop();
	else if (weft_cpu_start(1000) < 0)
		fail(NULL, "weft_cpu_start failed");
	return true;
#endif
}

uint64_t inside_samples(void)
{
	uint64_t n = 0;

	weft_cpu_drain(sample_seen, &n);
	return n;
}

void inside_sema_acquire(struct inside_sema *s, bool lifo)
{
	struct m *m = rt_enter(rt_self());

	rt_sema_acquire(&m, &s->count, RT_WAIT_MUTEX, lifo);
	if (m)
		rt_leave(m);
}

void inside_sema_release(struct inside_sema *s, bool next)
{
	struct m *m = rt_enter(rt_self());

	rt_sema_release(m, &s->count, next ? RT_READY_NEXT : RT_READY_QUEUE);
	if (m)
		rt_leave(m);
}

bool inside_label(const char *key, char value[128])
{
	struct m *m = rt_enter(rt_self());
	struct weft_labels labels;
	bool ok = m && rt_labels_copy(ld(&ld(&m->cur)->labels), &labels);

	if (m)
		rt_leave(m);
	for (int i = 0; ok && i < labels.n; i++) {
		if (strcmp(labels.l[i].key, key) == 0) {
			memcpy(value, labels.l[i].value, sizeof labels.l[i].value);
			return true;
		}
	}
	return false;
}

void inside_check_quiet(void)
{
	struct weft_counters c;

	weft_read_counters(&c);
	if (c.live)
		fail(NULL, "%llu goroutines live after the last has ended", (unsigned long long)c.live);
	if (c.global_runq)
		fail(NULL, "%llu goroutines are on the global queue after the last has ended",
		     (unsigned long long)c.global_runq);
	for (int i = 0; i < c.runq_n; i++)
		if (c.runq[i])
			fail(NULL, "%u goroutines are on the queue of P %d after the last has ended", c.runq[i], i);
}
