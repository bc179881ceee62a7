/* test_rings.c - reading the recorder's rings: all that was done is there, in order and whole, or said to be lost. */
#include "often.h"
#include "rtest.h"

#include "rt.h"

Suite *test_rings(void);

/* The events about one goroutine, in the order of its seq; in between, that of its records. */
static int events_of(const struct weft_recs *recs, uint64_t id, uint8_t *out, int cap)
{
	int n = 0;

	for (uint32_t seq = 0; n < cap; seq++) {
		int before = n;

		/* What counts up comes first. */
		for (int counts = 1; counts >= 0; counts--) {
			for (size_t i = 0; i < recs->n && n < cap; i++) {
				const struct weft_rec *r = &recs->r[i];
				bool up = r->event == WEFT_EV_GO_CREATE || r->event == WEFT_EV_GO_START ||
					  r->event == WEFT_EV_GO_UNBLOCK;

				if (r->subject == id && (r->event == WEFT_EV_GO_CREATE ? 0 : r->seq) == seq &&
				    up == counts && r->event >= WEFT_EV_GO_CREATE && r->event <= WEFT_EV_GO_UNBLOCK)
					out[n++] = r->event;
			}
		}
		if (n == before)
			break;
	}
	return n;
}

static uint64_t sleeper_id;
static void sleeper(void *arg)
{
	(void)arg;
	sleeper_id = weft_goid();
	weft_sleep(WEFT_MS);
}

static void starts_sleeper(void *arg)
{
	weft_wg wg = { 0 };

	(void)arg;
	weft_wg_go(&wg, sleeper, NULL);
	weft_wg_wait(&wg);
}

START_TEST(a_life_is_there_from_creation_to_end)
{
	static const uint8_t want[] = { WEFT_EV_GO_CREATE,  WEFT_EV_GO_START, WEFT_EV_GO_BLOCK,
					WEFT_EV_GO_UNBLOCK, WEFT_EV_GO_START, WEFT_EV_GO_DESTROY };
	uint8_t got[16];
	struct weft_recs *recs;

	rtest_begin(2);
	rtest_run(starts_sleeper, NULL);
	rtest_wait_gone();
	recs = weft_recs_read(0);
	ck_assert_ptr_nonnull(recs);
	ck_assert_int_eq(events_of(recs, sleeper_id, got, sizeof got), sizeof want);
	ck_assert_mem_eq(got, want, sizeof want);
	for (size_t i = 0; i < recs->n; i++) {
		const struct weft_rec *r = &recs->r[i];

		if (r->event == WEFT_EV_GO_CREATE && r->subject == sleeper_id)
			ck_assert_uint_eq(r->gid, (uintptr_t)sleeper); /* the start function */
		if (r->event == WEFT_EV_GO_CREATE && r->subject == sleeper_id)
			ck_assert_uint_eq(r->seq, inst->number);
		if (r->event == WEFT_EV_GO_DESTROY && r->subject == sleeper_id)
			ck_assert_uint_eq(r->stack, inst->number);
		if (r->event == WEFT_EV_GO_BLOCK && r->subject == sleeper_id)
			ck_assert_str_eq(weft_read_trace_reason(r->flags), "sleep");
	}
	weft_recs_free(recs);
	rtest_end();
}
END_TEST

static void sleeps_often(void *arg)
{
	(void)arg;
	for (int i = 0; i < 100; i++)
		weft_sleep(200 * WEFT_US);
}

START_TEST(a_thread_that_idles_often_stays_in_its_chunk)
{
	struct rt_chunk *c;
	size_t n, used = 0;

	rtest_begin(2);
	rtest_run(sleeps_often, NULL); /* each time its worker has nothing else to do and gives its P up */
	c = rt_rec_chunks(&n);
	ck_assert_uint_ge(n, 100);
	for (size_t i = 0; i < n; i++)
		used += ld(&c[i].n) != 0;
	ck_assert_uint_le(used, 20);
	rtest_end();
}
END_TEST

static _Atomic bool stop_yielding;
static void yields(void *arg)
{
	(void)arg;
	while (!stop_yielding)
		weft_yield();
}

static bool is_lost(void *arg)
{
	struct weft_recs *recs = weft_recs_read(weft_now());
	bool lost = recs->lost >= *(int64_t *)arg;

	weft_recs_free(recs);
	return lost;
}

/* Within a thread, from one reading to the next, nothing is missing that was not said to be lost, nothing torn. */
static void check_order(const struct weft_recs *recs)
{
	for (size_t i = 0; i < recs->n; i++) {
		const struct weft_rec *r = &recs->r[i], *before = r - 1;

		often(r->event > WEFT_EV_NONE && r->event < WEFT_EV_N);
		if (i == 0 || before->tid != r->tid) {
			often(i == 0 || before->tid < r->tid);
			continue;
		}
		often(r->at > before->at);
		if (r->at / RT_CHUNK_RECS == before->at / RT_CHUNK_RECS)
			often_eq(r->at, before->at + 1);
		often(r->time + 2 >= before->time); /* the clock may be tuned in between */
	}
}

START_TEST(while_others_write_what_is_read_is_whole_and_what_is_recycled_counts_as_lost)
{
	struct weft_host_opts opts = { .maxprocs = 2, .recorder_bytes = 16 * sizeof(struct rt_chunk) };
	int64_t began;

	rtest_begin_with(&opts);
	stop_yielding = false;
	for (int i = 0; i < 4; i++)
		weft_go_in(inst, yields, NULL);
	for (int i = 0; i < 300; i++) {
		struct weft_recs *recs = weft_recs_read(0);

		check_order(recs);
		weft_recs_free(recs);
	}
	began = weft_now();
	rtest_wait(is_lost, &began, "the pool is written over");
	stop_yielding = true;
	rtest_wait_gone();
	rtest_end();
}
END_TEST

/* As of a thread whose M has recorded nothing before: its id is free again, and there may be two. */
static void first_chunk(struct rt_chunk *c, int tid, uint32_t n, uint64_t subject)
{
	st(&c->tid, tid);
	st(&c->first_index, 0);
	for (uint32_t i = 0; i < n; i++) {
		st(&c->rec[i].tsc, rt_tsc());
		st(&c->rec[i].gid_type, WEFT_EV_HEAP << 8);
		st(&c->rec[i].subject_pid, subject << 16 | WEFT_REC_NO_P);
		st(&c->rec[i].stack_seq, 0);
	}
	st_rel(&c->n, n);
}

START_TEST(two_threads_that_had_the_same_id_are_read_whole)
{
	enum { TID = 1 << 23 };
	struct rt_chunk *c;
	struct weft_recs *recs;
	size_t n, found[3] = { 0 };

	rtest_begin(1);
	c = rt_rec_chunks(&n);
	first_chunk(&c[n - 2], TID, RT_CHUNK_RECS, 1);
	first_chunk(&c[n - 1], TID, 100, 2);
	recs = weft_recs_read(0);
	for (size_t i = 0; i < recs->n; i++)
		if (recs->r[i].tid == TID && recs->r[i].event == WEFT_EV_HEAP && recs->r[i].subject <= 2)
			found[recs->r[i].subject]++;
	ck_assert_uint_eq(found[1], RT_CHUNK_RECS);
	ck_assert_uint_eq(found[2], 100);
	weft_recs_free(recs);
	rtest_end();
}
END_TEST

START_TEST(what_is_older_than_asked_for_is_left_out_by_the_chunk)
{
	struct weft_recs *recs;

	rtest_begin(2);
	rtest_run(sleeps_often, NULL);
	recs = weft_recs_read(weft_now() + WEFT_SEC);
	ck_assert_uint_eq(recs->n, 0);
	weft_recs_free(recs);
	rtest_end();
}
END_TEST

Suite *test_rings(void)
{
	Suite *s = suite_create("rings");
	TCase *t = tcase_create("rings");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_life_is_there_from_creation_to_end);
	tcase_add_test(t, a_thread_that_idles_often_stays_in_its_chunk);
	tcase_add_test(t, while_others_write_what_is_read_is_whole_and_what_is_recycled_counts_as_lost);
	tcase_add_test(t, two_threads_that_had_the_same_id_are_read_whole);
	tcase_add_test(t, what_is_older_than_asked_for_is_left_out_by_the_chunk);
	suite_add_tcase(s, t);
	return s;
}
