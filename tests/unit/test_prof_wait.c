/* test_prof_wait.c - block and mutex profile: who is charged, with what, and how much is counted at which rate. */
#include <stdio.h>
#include <string.h>

#include "prof_wait.h"
#include "rt.h"
#include "rtest.h"

#define D (20 * WEFT_MS)

/* --- What was counted ------------------------------------------------------------------------------- */

struct sums {
	int64_t n, ns, records;
};

/* Of all samples whose innermost plugin function is fn, called the public function `leaf` (NULL: any). */
static struct sums sums_of(enum weft_prof which, const void *leaf, const void *fn)
{
	static struct weft_prof_sample s;
	struct sums sum = { 0 };

	for (uint32_t at = 0; weft_read_prof(which, &at, &s);) {
		bool is = s.depth >= 2 && weft_read_func_start(s.pc[1] - 1) == (uintptr_t)fn;

		if (!is || (leaf && weft_read_func_start(s.pc[0] - 1) != (uintptr_t)leaf))
			continue;
		sum.n += s.value[0];
		sum.ns += s.value[1];
		sum.records++;
	}
	return sum;
}

static void begin(int procs, int64_t block, int64_t mutex)
{
	rtest_begin(procs);
	(void)weft_host_rate(WEFT_RATE_BLOCK, block);
	(void)weft_host_rate(WEFT_RATE_MUTEX, mutex);
}

/* --- Every primitive ----------------------------------------------------------------------------------- */

static weft_chan *chan;
static weft_mutex mutex;
static weft_rwmutex rw;
static weft_cond cond;
static weft_sem sem;
static weft_wg wg;
static weft_once once;

static void nothing(void *arg)
{
	(void)arg;
}
static _Atomic bool inside;
static void slow(void *arg)
{
	(void)arg;
	inside = true;
	(void)weft_sleep(D);
}

static RT_NOINLINE void do_recv(void)
{
	int v;

	(void)weft_chan_recv(chan, &v, sizeof v);
	RT_KEEP_FRAME();
}
static RT_NOINLINE void do_send(void)
{
	int v = 1;

	(void)weft_chan_send(chan, &v, sizeof v);
	RT_KEEP_FRAME();
}
static RT_NOINLINE void do_select(void)
{
	int v;

	(void)weft_select({ .op = WEFT_OP_RECV, .on = chan, .elem = &v, .size = sizeof v });
	RT_KEEP_FRAME();
}
static RT_NOINLINE void do_lock(void)
{
	weft_lock(&mutex);
	weft_unlock(&mutex);
	RT_KEEP_FRAME();
}
static RT_NOINLINE void do_rlock(void)
{
	weft_rlock(&rw);
	weft_runlock(&rw);
	RT_KEEP_FRAME();
}
static RT_NOINLINE void do_wlock(void)
{
	weft_wlock(&rw);
	weft_wunlock(&rw);
	RT_KEEP_FRAME();
}
static RT_NOINLINE void do_cond(void)
{
	weft_lock(&mutex);
	(void)weft_cond_wait(&cond, &mutex);
	weft_unlock(&mutex);
	RT_KEEP_FRAME();
}
static RT_NOINLINE void do_sem(void)
{
	(void)weft_sem_acquire(&sem, 1);
	RT_KEEP_FRAME();
}
static RT_NOINLINE void do_wg(void)
{
	weft_wg_wait(&wg);
	RT_KEEP_FRAME();
}
static RT_NOINLINE void do_once(void)
{
	weft_once_do(&once, nothing, NULL);
	RT_KEEP_FRAME();
}
static RT_NOINLINE void do_sleep(void)
{
	(void)weft_sleep(D);
	RT_KEEP_FRAME();
}

static void end_recv(void)
{
	int v = 1;

	(void)weft_chan_try_send(chan, &v, sizeof v);
}
static void end_send(void)
{
	int v;

	(void)weft_chan_try_recv(chan, &v, sizeof v);
}
static void take_lock(void)
{
	weft_lock(&mutex);
}
static RT_NOINLINE void give_lock(void)
{
	weft_unlock(&mutex);
	RT_KEEP_FRAME();
}
static void take_w(void)
{
	weft_wlock(&rw);
}
static RT_NOINLINE void give_w(void)
{
	weft_wunlock(&rw);
	RT_KEEP_FRAME();
}
static void take_r(void)
{
	weft_rlock(&rw);
}
static RT_NOINLINE void give_r(void)
{
	weft_runlock(&rw);
	RT_KEEP_FRAME();
}
static void end_cond(void)
{
	weft_cond_signal(&cond);
}
static void end_sem(void)
{
	weft_sem_release(&sem, 1);
}
static void take_wg(void)
{
	weft_wg_add(&wg, 1);
}
static void end_wg(void)
{
	weft_wg_done(&wg);
}
static void run_once(void *arg)
{
	(void)arg;
	weft_once_do(&once, slow, NULL);
}
static void take_once(void)
{
	ck_assert_int_eq(weft_go(run_once, NULL), 0);
	while (!inside)
		weft_yield();
}

/* take, then one goroutine that waits, then end: on one P. */
static const struct way {
	void (*take)(void), (*wait)(void), (*end)(void);
	enum rt_wait reason;
	const void *leaf;
	const void *unlocker; /* that the mutex profile charges, calling unlock; NULL: no lock */
	const void *unlock;
} ways[] = {
	{ NULL, do_recv, end_recv, RT_WAIT_CHAN_RECV, weft_chan_recv, NULL, NULL },
	{ NULL, do_send, end_send, RT_WAIT_CHAN_SEND, weft_chan_send, NULL, NULL },
	{ NULL, do_select, end_recv, RT_WAIT_SELECT, weft_select_n, NULL, NULL },
	{ take_lock, do_lock, give_lock, RT_WAIT_MUTEX, weft_lock, give_lock, weft_unlock },
	{ take_w, do_rlock, give_w, RT_WAIT_RWMUTEX_R, weft_rlock, give_w, weft_wunlock },
	{ take_r, do_wlock, give_r, RT_WAIT_RWMUTEX_W, weft_wlock, give_r, weft_runlock },
	{ NULL, do_cond, end_cond, RT_WAIT_COND, weft_cond_wait, NULL, NULL },
	{ NULL, do_sem, end_sem, RT_WAIT_SEMAPHORE, weft_sem_acquire, NULL, NULL },
	{ take_wg, do_wg, end_wg, RT_WAIT_WAITGROUP, weft_wg_wait, NULL, NULL },
	{ take_once, do_once, NULL, RT_WAIT_ONCE, weft_once_do, NULL, NULL },
};

static uint64_t waiter_id;

static void waiter(void *arg)
{
	const struct way *w = arg;

	waiter_id = weft_goid();
	w->wait();
}

/* At least as long as it slept; the machine may make it more. */
static void long_enough(struct sums s, int64_t n, const char *what)
{
	ck_assert_msg(s.n == n, "%s: %lld events, not %lld", what, (long long)s.n, (long long)n);
	ck_assert_msg(s.ns >= n * D * 9 / 10, "%s: %lld ns", what, (long long)s.ns);
}

static void one_way(void *arg)
{
	const struct way *w = arg;
	weft_wg done = { 0 };
	int64_t until;

	if (w->take)
		w->take();
	waiter_id = 0;
	ck_assert_int_eq(weft_wg_go(&done, waiter, arg), 0);
	until = weft_now() + D;
	while (weft_now() < until || !waiter_id)
		weft_yield();
	(void)weft_sleep(D); /* from its first instant to here: D and more */
	if (w->end)
		w->end();
	weft_wg_wait(&done);
}

START_TEST(a_wait_is_charged_to_the_public_function_and_a_lock_to_who_let_go)
{
	const struct way *w = &ways[_i];
	struct sums s;

	begin(1, 1, 1);
	chan = weft_chan_new(sizeof(int), 0);
	rtest_run(one_way, (void *)w);
	s = sums_of(WEFT_PROF_BLOCK, w->leaf, w->wait);
	long_enough(s, 1, "block");
	ck_assert_int_lt(s.ns, 100 * D * (w->end ? 1 : 2) + 10 * WEFT_SEC);
	if (w->unlocker)
		long_enough(sums_of(WEFT_PROF_MUTEX, w->unlock, w->unlocker), 1, "mutex");
	weft_chan_free(chan);
	rtest_end();
}
END_TEST

static void sleeps(void *arg)
{
	(void)arg;
	do_sleep();
}

START_TEST(a_sleep_is_counted_apart)
{
	static struct weft_prof_sample s;
	int64_t n = 0;

	begin(1, 1, 0);
	rtest_run(sleeps, NULL);
	for (uint32_t at = 0; weft_read_prof(WEFT_PROF_BLOCK, &at, &s);)
		n += s.extra == WEFT_WAIT_SLEEP ? s.value[0] : 0;
	rtest_end();
	ck_assert_int_eq(n, 1);
}
END_TEST

/* --- Many at one lock --------------------------------------------------------------------------------- */

#define WAITERS 8

static bool all_wait(void *arg)
{
	struct weft_counters c;

	(void)arg;
	weft_read_counters(&c);
	return c.parks[RT_WAIT_MUTEX] >= WAITERS;
}

static _Atomic bool hold;
static _Atomic int64_t held_ns;

static void holder(void *arg)
{
	int64_t began;

	(void)arg;
	weft_lock(&mutex);
	st(&hold, true);
	while (ld(&hold))
		(void)weft_sleep(WEFT_MS);
	began = weft_now();
	(void)weft_sleep(D);
	st(&held_ns, weft_now() - began);
	give_lock();
}

static bool is_held(void *arg)
{
	(void)arg;
	return ld(&hold);
}

static void wants(void *arg)
{
	(void)arg;
	do_lock();
}

/* As Go: whoever held it is charged for all who waited, not each successor for its own. */
START_TEST(the_first_unlock_is_charged_for_all_who_waited)
{
	struct sums first, later;

	begin(2, 0, 1);
	ck_assert_int_eq(weft_go_in(inst, holder, NULL), 0);
	rtest_wait(is_held, NULL, "the lock is held");
	for (int i = 0; i < WAITERS; i++)
		ck_assert_int_eq(weft_go_in(inst, wants, NULL), 0);
	rtest_wait(all_wait, NULL, "all wait");
	st(&hold, false);
	rtest_wait_gone();
	first = sums_of(WEFT_PROF_MUTEX, weft_unlock, give_lock);
	later = sums_of(WEFT_PROF_MUTEX, weft_unlock, do_lock);
	rtest_end();
	ck_assert_int_eq(first.n, 1);
	ck_assert_msg(first.ns >= WAITERS * ld(&held_ns) * 9 / 10, "%lld ns for %d that waited %lld and more",
		      (long long)first.ns, WAITERS, (long long)ld(&held_ns));
	ck_assert_int_lt(later.ns, first.ns);
}
END_TEST

/* --- Sampling ----------------------------------------------------------------------------------------------- */

static RT_NOINLINE void short_waits(struct m *m, struct g *g, uint64_t span, int n)
{
	for (int i = 0; i < n; i++) {
		st(&g->since_tsc, 1000 + span);
		rt_waited(m, g, 1000, RT_WAIT_CHAN_RECV, __builtin_frame_address(0));
	}
	RT_KEEP_FRAME();
}
static RT_NOINLINE void long_waits(struct m *m, struct g *g, uint64_t span, int n)
{
	for (int i = 0; i < n; i++) {
		st(&g->since_tsc, 1000 + span);
		rt_waited(m, g, 1000, RT_WAIT_CHAN_RECV, __builtin_frame_address(0));
	}
	RT_KEEP_FRAME();
}

static void both(void *arg)
{
	struct m *m = rt_enter(rt_self());
	uint64_t rate = ld(&rt_wait_rates.block);

	(void)arg;
	short_waits(m, ld(&m->cur), rate / 10, 100000);
	long_waits(m, ld(&m->cur), rate, 10000);
	rt_leave(m);
}

START_TEST(short_waits_are_sampled_without_bias)
{
	static struct weft_prof_sample s;
	int64_t n[2] = { 0 }, ns[2] = { 0 };

	begin(1, 1000000, 0);
	rtest_run(both, NULL);
	for (uint32_t at = 0; weft_read_prof(WEFT_PROF_BLOCK, &at, &s);) {
		/* The leaf is `both`, which called them: the frame was that of its callee. */
		int which = s.value[0] > 50000 ? 0 : 1;

		if (s.extra == WEFT_WAIT_SYNC && s.value[0] > 5000) {
			n[which] += s.value[0];
			ns[which] += s.value[1];
		}
	}
	rtest_end();
	ck_assert_int_eq(n[1], 10000);
	ck_assert_int_gt(n[0], 80000);
	ck_assert_int_lt(n[0], 120000);
	ck_assert_int_gt(ns[0], ns[1] * 8 / 10);
	ck_assert_int_lt(ns[0], ns[1] * 12 / 10);
}
END_TEST

static void contended(void *arg)
{
	struct m *m = rt_enter(rt_self());
	const uint64_t *span = arg;

	for (int i = 0; i < 100000; i++)
		rt_contended(m, 1u << 30, *span, __builtin_frame_address(0));
	rt_leave(m);
}

static struct sums all(enum weft_prof which)
{
	static struct weft_prof_sample s;
	struct sums sum = { 0 };

	for (uint32_t at = 0; weft_read_prof(which, &at, &s);) {
		sum.n += s.value[0];
		sum.ns += s.value[1];
		sum.records++;
	}
	return sum;
}

START_TEST(biased_locks_count_each_long_delay_and_one_in_a_hundred_short_ones)
{
	uint64_t span;
	struct sums s, more;

	begin(1, 0, WEFT_RATE_BIASED);
	span = rt_ns_span_tsc(10 * WEFT_US);
	rtest_run(contended, &span);
	s = all(WEFT_PROF_MUTEX);
	span = rt_ns_span_tsc(2 * WEFT_MS);
	rtest_run(contended, &span);
	more = all(WEFT_PROF_MUTEX);
	rtest_end();
	ck_assert_int_gt(s.n, 80000);
	ck_assert_int_lt(s.n, 120000);
	ck_assert_int_eq(s.n % 100, 0);
	ck_assert_int_eq(more.n - s.n, 100000);
}
END_TEST

START_TEST(rates_are_the_finest_asked_for_and_fall_back)
{
	int a, b;

	rtest_begin(1);
	ck_assert_int_eq(weft_host_rate(WEFT_RATE_BLOCK, 1000), 0);
	ck_assert_int_eq(weft_profile_block_rate(-2), 1000);
	a = weft_host_rate_raise(WEFT_RATE_BLOCK, 10);
	b = weft_host_rate_raise(WEFT_RATE_BLOCK, 100);
	ck_assert_int_ge(a, 0);
	ck_assert_int_ge(b, 0);
	ck_assert_int_eq(weft_read_rate(WEFT_RATE_BLOCK), 10);
	weft_host_rate_drop(WEFT_RATE_BLOCK, a);
	ck_assert_int_eq(weft_read_rate(WEFT_RATE_BLOCK), 100);
	weft_host_rate_drop(WEFT_RATE_BLOCK, b);
	ck_assert_int_eq(weft_read_rate(WEFT_RATE_BLOCK), 1000);
	(void)weft_host_rate(WEFT_RATE_MUTEX, WEFT_RATE_BIASED);
	a = weft_host_rate_raise(WEFT_RATE_MUTEX, 1000); /* less than the default has */
	ck_assert_int_eq(weft_read_rate(WEFT_RATE_MUTEX), WEFT_RATE_BIASED);
	b = weft_host_rate_raise(WEFT_RATE_MUTEX, 1);
	ck_assert_int_eq(weft_read_rate(WEFT_RATE_MUTEX), 1);
	weft_host_rate_drop(WEFT_RATE_MUTEX, b);
	weft_host_rate_drop(WEFT_RATE_MUTEX, a);
	ck_assert_int_eq(weft_host_rate_raise(WEFT_RATE_MUTEX, 0), -EINVAL);
	rtest_end();
}
END_TEST

START_TEST(switched_off_nothing_is_added_and_nothing_lost)
{
	uint64_t span = 1000000;
	struct sums before;

	begin(1, 1, 1);
	rtest_run(contended, &span);
	before = all(WEFT_PROF_MUTEX);
	(void)weft_host_rate(WEFT_RATE_MUTEX, 0);
	rtest_run(contended, &span);
	ck_assert_int_eq(all(WEFT_PROF_MUTEX).n, before.n);
	ck_assert_int_eq(before.n, 100000);
	rtest_end();
}
END_TEST

Suite *test_prof_wait(void);
Suite *test_prof_wait(void)
{
	Suite *s = suite_create("prof_wait");
	TCase *tc = tcase_create("prof_wait");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_wait_is_charged_to_the_public_function_and_a_lock_to_who_let_go, 0,
			    (int)(sizeof ways / sizeof *ways));
	tcase_add_test(tc, a_sleep_is_counted_apart);
	tcase_add_test(tc, the_first_unlock_is_charged_for_all_who_waited);
	tcase_add_test(tc, short_waits_are_sampled_without_bias);
	tcase_add_test(tc, biased_locks_count_each_long_delay_and_one_in_a_hundred_short_ones);
	tcase_add_test(tc, rates_are_the_finest_asked_for_and_fall_back);
	tcase_add_test(tc, switched_off_nothing_is_added_and_nothing_lost);
	suite_add_tcase(s, tc);
	return s;
}
