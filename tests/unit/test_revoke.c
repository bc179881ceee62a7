/* test_revoke.c - taking the P from a goroutine that runs plugin code. */
#include <stdatomic.h>

#include "retake.h"
#include "rtest.h"

static _Atomic bool let_go;
static _Atomic uint64_t hog_id;

static void hog(void *arg)
{
	hog_id = weft_goid();
	while (!let_go)
		;
	weft_yield(); /* finds that it has no P */
	atomic_fetch_add((_Atomic int *)arg, 1);
}

static bool hog_runs(void *arg)
{
	(void)arg;
	return hog_id != 0;
}

/* The M on which goroutine goid runs. */
static struct m *m_of(uint64_t goid)
{
	for (uint32_t i = 0; i < ld(&rt_n_ms); i++) {
		struct m *m = ld(&rt_ms[i]);

		if (m && ld(&ld(&m->cur)->id) == goid)
			return m;
	}
	return NULL;
}

static void add_one(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
}
static bool is_ten(void *arg)
{
	return *(_Atomic int *)arg == 10;
}

START_TEST(a_revoked_p_runs_others_and_the_hog_comes_back)
{
	static _Atomic int others, done;
	struct weft_counters c;
	struct p *p;

	rt_slice_ns = INT64_MAX; /* nobody else takes the P */
	rtest_begin(1);
	weft_go_in(inst, hog, &done);
	rtest_wait(hog_runs, NULL, "the hog runs");
	for (int i = 0; i < 10; i++)
		weft_go_in(inst, add_one, &others);

	p = rt_revoke(m_of(hog_id), RT_LOST_BLOCKED, 0);
	ck_assert_ptr_nonnull(p);
	ck_assert_ptr_null(rt_revoke(m_of(hog_id), RT_LOST_BLOCKED, 0)); /* it has none any more */
	ck_assert_uint_eq(ld(&rt_g_of((uintptr_t)ld(&m_of(hog_id)->cur))->status), RT_G_DETACHED);
	rt_run_p(p, false);

	rtest_wait(is_ten, &others, "the others have run on the revoked P");
	ck_assert_int_eq(done, 0);
	weft_read_counters(&c);
	ck_assert_uint_eq(c.not_in_go, 1);
	let_go = true;
	rtest_wait_gone();
	ck_assert_int_eq(done, 1);
	rtest_end();
}
END_TEST

START_TEST(a_p_is_not_taken_from_an_m_inside_the_runtime)
{
	struct m *m;
	static _Atomic int done;

	rt_slice_ns = INT64_MAX; /* nobody else takes the P */
	rtest_begin(1);
	weft_go_in(inst, hog, &done);
	rtest_wait(hog_runs, NULL, "the hog runs");
	m = m_of(hog_id);
	st(&m->in_rt, 1); /* as if it were inside */
	ck_assert_ptr_null(rt_revoke(m, RT_LOST_BLOCKED, 0));
	ck_assert_uint_eq(ld(&m->own), RT_OWNED);
	st(&m->in_rt, 0);
	let_go = true;
	rtest_wait_gone();
	rtest_end();
}
END_TEST

/* Revocation again and again, at random moments, under everything that touches Ps. */
static _Atomic bool stop;
static void worker(void *arg)
{
	weft_chan *c = arg;
	uint64_t rng = weft_goid() * 7919 + 1;
	int64_t v = 1;

	while (!stop) {
		switch (rtest_random(&rng) % 6) {
		case 0:
			weft_yield();
			break;
		case 1:
			(void)weft_chan_try_send(c, &v, sizeof v);
			break;
		case 2:
			(void)weft_chan_try_recv(c, &v, sizeof v);
			break;
		case 3:
			(void)weft_sleep((int64_t)(rtest_random(&rng) % 50000));
			break;
		case 4:
			(void)weft_go(add_one, (void *)&hog_id);
			break;
		default:
			for (volatile int i = 0; i < 5000; i++)
				;
		}
	}
}
START_TEST(random_revocations_lose_nobody)
{
	weft_chan *c;
	uint64_t rng = rtest_seed();
	int taken = 0;

	rtest_begin(3);
	c = weft_chan_new(8, 16);
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(weft_go_in(inst, worker, c), 0);
	for (int64_t begin = weft_now(), spent = 0; spent < 2 * WEFT_SEC || (taken <= 10 && spent < 60 * WEFT_SEC);
	     spent = weft_now() - begin) {
		uint32_t n = ld(&rt_n_ms);
		struct m *m = ld(&rt_ms[rtest_random(&rng) % n]);
		struct p *p = m && ld(&m->cur) != &m->g0 ? rt_revoke(m, RT_LOST_BLOCKED, 0) : NULL;

		if (p) {
			rt_run_p(p, false);
			taken++;
		}
		for (volatile int i = 0; i < 20000; i++)
			;
	}
	stop = true;
	rtest_wait_gone();
	ck_assert_int_gt(taken, 10);
	weft_chan_free(c);
	rtest_end();
}
END_TEST

/* Revoked, a goroutine leaves its M at its next call: that M sleeps without a P. */
static _Atomic bool keep_p;
static void keeps_p(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
	while (keep_p)
		;
}
static bool is_queued(void *arg)
{
	(void)arg;
	return ld(&sched.n_global) == 1;
}
START_TEST(an_m_that_lost_its_p_keeps_no_chunk_of_the_recorder)
{
	static _Atomic int done, kept;
	struct weft_host_opts opts = { .maxprocs = 1, .recorder_bytes = 1 << 20 };
	struct p *p;

	rt_slice_ns = INT64_MAX; /* nobody else takes the P */
	rtest_begin_with(&opts);
	keep_p = true;
	weft_go_in(inst, hog, &done);
	rtest_wait(hog_runs, NULL, "the hog runs");
	p = rt_revoke(m_of(hog_id), RT_LOST_BLOCKED, 0);
	ck_assert_ptr_nonnull(p);
	weft_go_in(inst, keeps_p, &kept);
	rt_run_p(p, false);
	while (kept != 1)
		;
	let_go = true;
	rtest_wait(is_queued, NULL, "the hog waits for a P");
	keep_p = false;
	rtest_wait_gone();
	rtest_end();
	for (uint32_t i = 0; i < ld(&rt_n_ms); i++)
		ck_assert_ptr_null(ld(&rt_ms[i])->chunk);

	opts.recorder_bytes = 1 << 19; /* the old pool goes away */
	rtest_begin_with(&opts);
	rtest_run(add_one, &done);
	rtest_end();
}
END_TEST

Suite *test_revoke(void);
Suite *test_revoke(void)
{
	Suite *s = suite_create("revoke");
	TCase *t = tcase_create("revoke");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_revoked_p_runs_others_and_the_hog_comes_back);
	tcase_add_test(t, a_p_is_not_taken_from_an_m_inside_the_runtime);
	tcase_add_test(t, random_revocations_lose_nobody);
	tcase_add_test(t, an_m_that_lost_its_p_keeps_no_chunk_of_the_recorder);
	suite_add_tcase(s, t);
	return s;
}
