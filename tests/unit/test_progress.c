/* test_progress.c - everybody gets on, whoever else is busy: who yields, who waits for time, who shares a P with one
 * that computes. */
#include <stdatomic.h>
#include <unistd.h>

#include "rtest.h"

static _Atomic bool stop;

/* --- Yielding --------------------------------------------------------------------------------------------- */

static _Atomic int turn;

struct player {
	int me, of;
	bool locked;
};
static void play(void *arg)
{
	struct player *p = arg;

	if (p->locked)
		weft_lock_thread();
	for (int round = 0; round < 50; round++) {
		while (turn % p->of != p->me)
			weft_yield();
		turn++;
	}
	if (p->locked)
		weft_unlock_thread();
}
/* Nobody can go on without the others, and nobody waits: all must be given the P whenever one yields. */
static void all_take_turns(int n, bool locked)
{
	struct player p[8];

	for (int i = 0; i < n; i++) {
		p[i] = (struct player){ i, n, locked && i % 2 == 0 };
		ck_assert_int_eq(weft_go_in(inst, play, &p[i]), 0);
	}
	rtest_wait_gone();
	ck_assert_int_eq(turn, 50 * n);
}

START_TEST(those_who_only_yield_take_turns)
{
	all_take_turns(8, false);
}
END_TEST

START_TEST(locked_ones_that_only_yield_take_turns_with_the_others)
{
	all_take_turns(4, true);
}
END_TEST

/* --- A pair that hands over without end --------------------------------------------------------------------- */

static weft_chan *there, *back;
static _Atomic uint64_t n_rallies;

static void serve(void *arg)
{
	int64_t v = 0;

	(void)arg;
	while (!stop && weft_chan_send(there, &v, sizeof v) == 0 && weft_chan_recv(back, &v, sizeof v) == 1)
		n_rallies++;
	weft_chan_close(there);
}
static void return_ball(void *arg)
{
	int64_t v;

	(void)arg;
	while (weft_chan_recv(there, &v, sizeof v) == 1 && weft_chan_send(back, &v, sizeof v) == 0)
		;
}
static void start_pair(void)
{
	there = weft_chan_new(8, 0);
	back = weft_chan_new(8, 1); /* one place: the last return needs no taker */
	ck_assert_int_eq(weft_go_in(inst, serve, NULL), 0);
	ck_assert_int_eq(weft_go_in(inst, return_ball, NULL), 0);
}
static void end_pair(void)
{
	stop = true;
	rtest_wait_gone();
	weft_chan_free(there);
	weft_chan_free(back);
}
static bool rallied(void *arg)
{
	return n_rallies >= *(uint64_t *)arg;
}

static _Atomic uint64_t n_computed;
static void compute(void *arg)
{
	(void)arg;
	while (!stop)
		n_computed++;
}
static bool computed(void *arg)
{
	return n_computed >= *(uint64_t *)arg;
}

START_TEST(a_pair_that_hands_over_and_a_hog_both_get_on)
{
	uint64_t goal;

	start_pair();
	rtest_wait(rallied, &(uint64_t){ 1 }, "the pair runs");
	ck_assert_int_eq(weft_go_in(inst, compute, NULL), 0);
	for (int i = 0; i < 3; i++) {
		goal = n_computed + 1000;
		rtest_wait(computed, &goal, "the hog gets on");
		goal = n_rallies + 100;
		rtest_wait(rallied, &goal, "the pair gets on");
	}
	end_pair();
}
END_TEST

static void yields(void *arg)
{
	(void)arg;
	while (!stop)
		weft_yield();
}

static _Atomic int n_fired;
static void fired(void *arg)
{
	(void)arg;
	n_fired++;
}
static bool enough_fired(void *arg)
{
	return n_fired >= *(int *)arg;
}

START_TEST(timers_fire_although_others_are_runnable_all_the_time)
{
	weft_timer *t[20];

	start_pair();
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(weft_go_in(inst, yields, NULL), 0);
	rtest_wait(rallied, &(uint64_t){ 1 }, "the pair runs");
	ck_assert_int_eq(weft_enter(inst), 0);
	for (int i = 0; i < 20; i++)
		t[i] = weft_after(i * WEFT_MS / 4, fired, NULL);
	weft_leave();
	rtest_wait(enough_fired, &(int){ 20 }, "all timers have fired");
	end_pair();
	for (int i = 0; i < 20; i++)
		weft_timer_free(t[i]);
}
END_TEST

/* --- Waiting for time ----------------------------------------------------------------------------------------- */

static void sleeps_long(void *arg)
{
	(void)arg;
	ck_assert_int_eq(weft_sleep(3600 * WEFT_SEC), -ECANCELED);
}
static void sleeps_short(void *arg)
{
	(void)arg;
	ck_assert_int_eq(weft_sleep(200 * WEFT_US), 0);
}

/* Whoever idles has gone to sleep until the later of the two, and there is nobody else to notice. */
START_TEST(an_earlier_timer_ends_the_sleep_of_who_idles_until_a_later_one)
{
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(weft_go_in(inst, sleeps_long, NULL), 0);
	for (int i = 0; i < rtest_scale(1000); i++)
		rtest_run(sleeps_short, NULL);
	weft_inst_cancel(inst);
	rtest_wait_gone();
}
END_TEST

/* --- After a system call ---------------------------------------------------------------------------------------- */

static _Atomic bool others_ran, computing;
static void run_beside(void *arg)
{
	(void)arg;
	others_ran = true;
}
/* The call is long enough for its P to be taken, or just about, or far too short. */
static void call_then_compute(void *arg)
{
	(void)usleep(*(useconds_t *)arg);
	computing = true;
	while (!others_ran)
		n_computed++;
}
static bool is_computing(void *arg)
{
	(void)arg;
	return computing;
}

START_TEST(who_computes_after_a_system_call_gives_way_to_others)
{
	useconds_t us[] = { 1, 50, 1000, 20000 };

	for (size_t i = 0; i < sizeof us / sizeof *us; i++) {
		computing = others_ran = false;
		for (int k = 0; k < 3; k++) /* as many as there are Ps, at most */
			ck_assert_int_eq(weft_go_in(inst, call_then_compute, &us[i]), 0);
		rtest_wait(is_computing, NULL, "it computes");
		ck_assert_int_eq(weft_go_in(inst, run_beside, NULL), 0);
		rtest_wait_gone();
	}
}
END_TEST

/* --- The most Ps there can be ------------------------------------------------------------------------------------ */

static _Atomic int n_ended;
static void some_work(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20; i++)
		weft_yield();
	n_ended++;
}

START_TEST(the_most_ps_there_can_be_do_all_the_work)
{
	int n = rtest_scale(20000);

	rtest_begin(WEFT_MAXPROCS_LIMIT);
	for (int i = 0; i < n; i++)
		ck_assert_int_eq(weft_go_in(inst, some_work, NULL), 0);
	rtest_wait_gone();
	ck_assert_int_eq(n_ended, n);
	rtest_end();
}
END_TEST

/* --- Counts ------------------------------------------------------------------------------------------------------ */

static void in_section(void *arg)
{
	(void)arg;
	WEFT_BLOCKING
	{
		while (!stop)
			usleep(1000);
	}
}
static void receives(void *arg)
{
	int64_t v;

	(void)weft_chan_recv(arg, &v, sizeof v);
}
static bool add_up(void *arg)
{
	struct weft_counters c;

	(void)arg;
	weft_read_counters(&c);
	return c.live == 5 + 3 + 1 && c.waiting == 5 && c.not_in_go == 3 && c.running == 1 && c.runnable == 0 &&
	       c.created == c.live;
}

START_TEST(the_states_add_up_to_all_that_live)
{
	weft_chan *c;

	rtest_begin(3);
	c = weft_chan_new(8, 0);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(weft_go_in(inst, receives, c), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(weft_go_in(inst, in_section, NULL), 0);
	ck_assert_int_eq(weft_go_in(inst, compute, NULL), 0);
	rtest_wait(add_up, NULL, "5 wait, 3 are in sections, 1 runs: 9 in all");
	stop = true;
	weft_chan_close(c);
	rtest_wait_gone();
	weft_chan_free(c);
	rtest_end();
}
END_TEST

Suite *test_progress(void);
Suite *test_progress(void)
{
	Suite *s = suite_create("progress");
	TCase *t;

	for (int ps = 1; ps <= 3; ps += 2) {
		t = rtest_case(ps, 120);
		tcase_add_test(t, those_who_only_yield_take_turns);
		tcase_add_test(t, locked_ones_that_only_yield_take_turns_with_the_others);
		tcase_add_test(t, a_pair_that_hands_over_and_a_hog_both_get_on);
		tcase_add_test(t, timers_fire_although_others_are_runnable_all_the_time);
		tcase_add_test(t, an_earlier_timer_ends_the_sleep_of_who_idles_until_a_later_one);
		tcase_add_test(t, who_computes_after_a_system_call_gives_way_to_others);
		suite_add_tcase(s, t);
	}
	t = tcase_create("others");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, the_most_ps_there_can_be_do_all_the_work);
	tcase_add_test(t, the_states_add_up_to_all_that_live);
	suite_add_tcase(s, t);
	return s;
}
