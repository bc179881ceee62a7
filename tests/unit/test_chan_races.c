/* test_chan_races.c - what channels and select promise while others are at the same channels, and when many of them
 * are put together. */
#include <stdatomic.h>

#include "rtest.h"

typedef WEFT_CHAN(int64_t) int_chan;

static int_chan chan_of(size_t cap)
{
	int_chan c;

	ck_assert_int_eq(weft_make(&c, cap), 0);
	return c;
}

/* --- Calls that do not wait ---------------------------------------------------------------------------------- */

struct look {
	int_chan a, b;
	weft_wg *wg;
	bool blind; /* nothing was found although there was something all the time */
};

static void try_to_receive(void *arg)
{
	struct look *l = arg;
	int64_t v;

	l->blind = weft_chan_try_recv(l->a.h, &v, sizeof v) == -EAGAIN;
}
static void close_beside_a_receiver(void *arg)
{
	for (int i = 0; i < *(int *)arg; i++) {
		weft_wg wg = { 0 };
		struct look l = { .a = chan_of(1), .wg = &wg };

		weft_send(l.a, 1);
		ck_assert_int_eq(weft_wg_go(&wg, try_to_receive, &l), 0);
		if (i % 2)
			weft_yield();
		weft_chan_finish(l.a);
		weft_wg_wait(&wg);
		ck_assert(!l.blind);
		weft_chan_free(l.a.h);
	}
}
START_TEST(a_try_to_receive_finds_what_is_there_though_the_channel_is_being_closed)
{
	int n = rtest_scale(20000);

	rtest_run(close_beside_a_receiver, &n);
}
END_TEST

static void select_from_two(void *arg)
{
	struct look *l = arg;
	int64_t v;

	l->blind = weft_select(weft_on_recv(l->a, &v), weft_on_recv(l->b, &v), weft_on_default) == 2;
}
/* First a holds something, then both, then b: never neither. */
static void move_beside_a_selecter(void *arg)
{
	for (int i = 0; i < *(int *)arg; i++) {
		weft_wg wg = { 0 };
		struct look l = { .a = chan_of(1), .b = chan_of(1), .wg = &wg };
		int64_t v;

		weft_send(l.a, 1);
		ck_assert_int_eq(weft_wg_go(&wg, select_from_two, &l), 0);
		if (i % 4 == 3)
			weft_yield();
		if (i % 2)
			weft_chan_finish(l.b);
		else
			weft_send(l.b, 1);
		(void)weft_chan_try_recv(l.a.h, &v, sizeof v);
		weft_wg_wait(&wg);
		ck_assert(!l.blind);
		weft_chan_free(l.a.h);
		weft_chan_free(l.b.h);
	}
}
START_TEST(a_select_with_a_default_sees_that_one_of_its_channels_is_always_ready)
{
	int n = rtest_scale(20000);

	rtest_run(move_beside_a_selecter, &n);
}
END_TEST

/* --- One channel in several cases ----------------------------------------------------------------------------- */

static void send_bits(void *arg)
{
	int_chan *c = arg;

	for (int i = 0; i < 200; i++)
		ck_assert_int_ge(weft_select(weft_on_send(*c, 0), weft_on_send(*c, 1)), 0);
	weft_chan_finish(*c);
}
static void count_bits(void *arg)
{
	int_chan c = chan_of(*(size_t *)arg);
	int n[2] = { 0 };
	int64_t v;

	ck_assert_int_eq(weft_go(send_bits, &c), 0);
	while (weft_recv(c, &v) == 1)
		n[v]++;
	ck_assert_int_eq(n[0] + n[1], 200);
	ck_assert_int_gt(n[0], 20); /* less than once in 10^30 */
	ck_assert_int_gt(n[1], 20);
	weft_chan_free(c.h);
}
START_TEST(of_two_values_offered_on_one_channel_both_are_sent)
{
	rtest_run(count_bits, &(size_t){ 0 });
	rtest_run(count_bits, &(size_t){ 1 });
}
END_TEST

struct twice {
	int_chan c, d;
	int64_t got;
	int which;
	_Atomic uint64_t goid;
};
static void wait_twice(void *arg)
{
	struct twice *t = arg;

	t->goid = weft_goid();
	t->which = weft_select(weft_on_recv(t->c, &t->got), weft_on_recv(t->c, &t->got), weft_on_recv(t->d, &t->got));
}
static bool has_goid(void *arg)
{
	return ((struct twice *)arg)->goid != 0;
}
START_TEST(a_select_that_waits_twice_on_a_channel_leaves_it_wholly)
{
	struct twice t = { .c = chan_of(0), .d = chan_of(0) };

	for (int64_t i = 1; i <= 20; i++) {
		int_chan c = i % 2 ? t.c : t.d;

		t.goid = 0;
		ck_assert_int_eq(weft_go_in(inst, wait_twice, &t), 0);
		rtest_wait(has_goid, &t, "it runs");
		rtest_wait_parked(t.goid, RT_WAIT_SELECT);
		ck_assert_int_eq(weft_chan_try_send(c.h, &i, sizeof i), 0);
		rtest_wait_gone();
		ck_assert_int_eq(t.got, i);
		ck_assert(i % 2 ? t.which == 0 || t.which == 1 : t.which == 2);
		ck_assert_int_eq(weft_chan_try_send(t.c.h, &i, sizeof i), -EAGAIN);
		ck_assert_int_eq(weft_chan_try_send(t.d.h, &i, sizeof i), -EAGAIN);
	}
	weft_chan_free(t.c.h);
	weft_chan_free(t.d.h);
}
END_TEST

/* --- Many channels in a row --------------------------------------------------------------------------------------- */

struct link {
	int_chan in, out;
	int64_t drop; /* multiples of it; 0: none */
};
static void pass_on(void *arg)
{
	struct link l = *(struct link *)arg;
	int64_t v;

	while (weft_recv(l.in, &v) == 1)
		if (!l.drop || v % l.drop)
			weft_send(l.out, v);
	weft_chan_finish(l.out);
}
static void feed(void *arg)
{
	struct link l = *(struct link *)arg;

	for (int64_t i = 2; i < l.drop; i++)
		weft_send(l.out, i);
	weft_chan_finish(l.out);
}

#define LINKS 50
static void chain(void *arg)
{
	int_chan c[LINKS + 1];
	int64_t v, want = 2;

	(void)arg;
	for (int i = 0; i <= LINKS; i++)
		c[i] = chan_of((size_t)i % 3);
	for (int i = 0; i < LINKS; i++) {
		struct link l = { .in = c[i], .out = c[i + 1] };

		ck_assert_int_eq(weft_go_copy(pass_on, &l), 0);
	}
	ck_assert_int_eq(weft_go_copy(feed, (&(struct link){ .out = c[0], .drop = 500 })), 0);
	while (weft_recv(c[LINKS], &v) == 1)
		ck_assert_int_eq(v, want++);
	ck_assert_int_eq(want, 500);
	for (int i = 0; i <= LINKS; i++)
		weft_chan_free(c[i].h);
}
START_TEST(a_chain_of_goroutines_keeps_the_order)
{
	rtest_run(chain, NULL);
}
END_TEST

/* Each prime that comes through puts a goroutine behind the others, which drops its multiples. */
static void sieve(void *arg)
{
	static const int primes[] = { 2,  3,  5,  7,  11, 13, 17, 19, 23, 29, 31, 37,
				      41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89 };
	int_chan c[sizeof primes / sizeof *primes + 1], last = c[0] = chan_of(0);
	int64_t v;
	int n = 0;

	(void)arg;
	ck_assert_int_eq(weft_go_copy(feed, (&(struct link){ .out = last, .drop = 97 })), 0);
	while (weft_recv(last, &v) == 1) {
		ck_assert_int_lt(n, sizeof primes / sizeof *primes);
		ck_assert_int_eq(v, primes[n]);
		c[++n] = chan_of(0);
		ck_assert_int_eq(weft_go_copy(pass_on, (&(struct link){ last, c[n], v })), 0);
		last = c[n];
	}
	ck_assert_int_eq(n, sizeof primes / sizeof *primes);
	for (int i = 0; i <= n; i++)
		weft_chan_free(c[i].h);
}
START_TEST(a_sieve_of_goroutines_finds_the_primes)
{
	rtest_run(sieve, NULL);
}
END_TEST

Suite *test_chan_races(void);
Suite *test_chan_races(void)
{
	Suite *s = suite_create("chan races");
	for (int ps = 1; ps <= 3; ps += 2) {
		TCase *t = rtest_case(ps, 120);

		tcase_add_test(t, a_try_to_receive_finds_what_is_there_though_the_channel_is_being_closed);
		tcase_add_test(t, a_select_with_a_default_sees_that_one_of_its_channels_is_always_ready);
		tcase_add_test(t, of_two_values_offered_on_one_channel_both_are_sent);
		tcase_add_test(t, a_select_that_waits_twice_on_a_channel_leaves_it_wholly);
		tcase_add_test(t, a_chain_of_goroutines_keeps_the_order);
		tcase_add_test(t, a_sieve_of_goroutines_finds_the_primes);
		suite_add_tcase(s, t);
	}
	return s;
}
