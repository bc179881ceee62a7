/* test_select_many.c - select is fair, and holds with many cases and many goroutines. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "often.h"
#include "rtest.h"

typedef WEFT_CHAN(int64_t) int_chan;

static int_chan chan_of(size_t cap)
{
	int_chan c;

	ck_assert_int_eq(weft_make(&c, cap), 0);
	return c;
}

/* --- Fairness -------------------------------------------------------------------------------------------- */

#define READY 6
static long picked[READY];
static void pick_many(void *arg)
{
	int_chan c[READY + 1];
	long n = *(long *)arg;
	int64_t v;

	for (int i = 0; i <= READY; i++)
		c[i] = chan_of(1);
	for (int i = 0; i < READY; i++)
		weft_send(c[i], i);
	for (long k = 0; k < n; k++) {
		/* one that is not ready stands among them */
		int i = weft_select(weft_on_recv(c[0], &v), weft_on_recv(c[READY], &v), weft_on_recv(c[1], &v),
				    weft_on_recv(c[2], &v), weft_on_recv(c[3], &v), weft_on_recv(c[4], &v),
				    weft_on_recv(c[5], &v));

		often(i >= 0 && i != 1 && v == (i ? i - 1 : 0));
		picked[v]++;
		weft_send(c[v], v);
	}
	for (int i = 0; i <= READY; i++)
		weft_chan_free(c[i].h);
}

/* With 5 degrees of freedom chi-square exceeds 50 once in 10^9. */
static double chi_square(long n)
{
	double expected = (double)n / READY, sum = 0;

	for (int i = 0; i < READY; i++)
		sum += ((double)picked[i] - expected) * ((double)picked[i] - expected) / expected;
	return sum;
}
START_TEST(ready_cases_are_equally_likely)
{
	long n = rtest_scale(200000);

	rtest_run(pick_many, &n);
	ck_assert_msg(chi_square(n) < 50, "chi-square %.1f", chi_square(n));
	memset(picked, 0, sizeof picked);
	pick_many(&n); /* a foreign thread draws from elsewhere */
	ck_assert_msg(chi_square(n) < 50, "foreign: chi-square %.1f", chi_square(n));
}
END_TEST

static void record_picks(void *arg)
{
	int_chan c = chan_of(1);
	unsigned char *out = arg;

	for (int i = 0; i < 64; i++) {
		out[i] = (unsigned char)weft_select(weft_on_after(0), weft_on_after(0), weft_on_after(0));
	}
	weft_chan_free(c.h);
}
START_TEST(the_seed_decides_what_is_chosen)
{
	unsigned char picks[3][64];
	uint64_t seeds[] = { 12, 12, 13 };

	for (int i = 0; i < 3; i++) {
		rtest_begin_with(&(struct weft_host_opts){ .maxprocs = 1, .seed = seeds[i] });
		rtest_run(record_picks, picks[i]);
		rtest_end();
	}
	ck_assert_mem_eq(picks[0], picks[1], 64);
	ck_assert_mem_ne(picks[0], picks[2], 64);
}
END_TEST

/* --- Many cases, many goroutines -------------------------------------------------------------------------- */

static void many_cases(void *arg)
{
	static weft_chan *c[WEFT_SELECT_MAX];
	struct weft_case *cases = calloc(WEFT_SELECT_MAX, sizeof *cases);
	size_t n = *(size_t *)arg;
	int64_t v = 0;

	for (size_t i = 0; i < n; i++) {
		c[i] = weft_chan_new(8, 1);
		cases[i] = (struct weft_case){ .op = WEFT_OP_RECV, .on = c[i], .elem = &v, .size = 8 };
	}
	for (int64_t i = 0; i < (int64_t)n; i++) {
		ck_assert_int_eq(weft_chan_send(c[i], &i, 8), 0);
		ck_assert_int_eq(weft_select_n(cases, n, sizeof *cases), i);
		ck_assert_int_eq(v, i);
	}
	for (size_t i = 0; i < n; i++)
		weft_chan_free(c[i]);
	free(cases);
}
START_TEST(many_cases_are_no_trouble)
{
	size_t n[] = { 8, 9, 64, 65, WEFT_SELECT_MAX };

	for (size_t i = 0; i < sizeof n / sizeof *n; i++)
		rtest_run(many_cases, &n[i]);
}
END_TEST

/* Goroutines send and receive on random pairs of four channels, some with a time limit: what was sent is received. */
#define STRESS_CHANS 4
static weft_chan *stress_chan[STRESS_CHANS];
static _Atomic int64_t sent_sum, received_sum, sent_n, received_n;
static int stress_ops;
static uint64_t stress_seed;
static void stress(void *arg)
{
	uint64_t rng = stress_seed + (uintptr_t)arg * 0x9e3779b97f4a7c15ull;

	for (int i = 0; i < stress_ops; i++) {
		weft_chan *a = stress_chan[rtest_random(&rng) % STRESS_CHANS];
		weft_chan *b = stress_chan[rtest_random(&rng) % STRESS_CHANS];
		int64_t out = (int64_t)(rtest_random(&rng) % 1000), in = 0;
		struct weft_case cases[3] = {
			{ .op = WEFT_OP_SEND, .on = a, .elem = &out, .size = 8 },
			{ .op = WEFT_OP_RECV, .on = b, .elem = &in, .size = 8 },
			{ .op = WEFT_OP_AFTER, .ns = (int64_t)(rtest_random(&rng) % 50) * WEFT_US },
		};
		int rc = weft_select_n(cases, 3, sizeof *cases);

		if (rc == 0) {
			sent_sum += out;
			sent_n++;
		} else if (rc == 1) {
			received_sum += in;
			received_n++;
		} else {
			ck_assert_int_eq(rc, 2);
		}
	}
}
static void stress_all(void *arg)
{
	weft_wg wg = { 0 };

	(void)arg;
	for (uintptr_t i = 0; i < 16; i++)
		ck_assert_int_eq(weft_wg_go(&wg, stress, (void *)i), 0);
	weft_wg_wait(&wg);
}
static void *stress_thread(void *arg)
{
	stress(arg);
	return NULL;
}
START_TEST(under_stress_everything_sent_is_received_once)
{
	pthread_t t;
	int64_t v;

	stress_seed = rtest_seed();
	stress_ops = rtest_scale(5000);
	for (int i = 0; i < STRESS_CHANS; i++)
		stress_chan[i] = weft_chan_new(8, (size_t)i % 3);
	ck_assert_int_eq(pthread_create(&t, NULL, stress_thread, (void *)99), 0);
	rtest_run(stress_all, NULL);
	pthread_join(t, NULL);
	for (int i = 0; i < STRESS_CHANS; i++) {
		while (weft_chan_try_recv(stress_chan[i], &v, 8) == 1) {
			received_sum += v;
			received_n++;
		}
		weft_chan_free(stress_chan[i]);
	}
	ck_assert_int_eq(sent_n, received_n);
	ck_assert_int_eq(sent_sum, received_sum);
	ck_assert_int_gt(sent_n, 0);
}
END_TEST

Suite *test_select_many(void);
Suite *test_select_many(void)
{
	Suite *s = suite_create("select many");
	TCase *one = rtest_case(1, 120), *three = rtest_case(3, 120), *own = tcase_create("own runtime");

	tcase_set_timeout(own, 120);
	for (int i = 0; i < 2; i++) {
		TCase *tc = i ? three : one;

		tcase_add_test(tc, ready_cases_are_equally_likely);
		tcase_add_test(tc, many_cases_are_no_trouble);
		tcase_add_test(tc, under_stress_everything_sent_is_received_once);
	}
	tcase_add_test(own, the_seed_decides_what_is_chosen);
	suite_add_tcase(s, one);
	suite_add_tcase(s, three);
	suite_add_tcase(s, own);
	return s;
}
