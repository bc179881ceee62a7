/* test_flight_watch.c - what the flight recorder is triggered by: a limit is passed once, and only where it was. */
#include <string.h>
#include <unistd.h>

#include "rtest.h"

#include "flight.h"

Suite *test_flight_watch(void);

static weft_mutex mutex;
static _Atomic bool stop;

static void wants(void *arg)
{
	(void)arg;
	weft_lock(&mutex);
	weft_unlock(&mutex);
}

static void holds(void *arg)
{
	(void)arg;
	weft_lock(&mutex);
	weft_go(wants, NULL);
	while (!stop)
		weft_sleep(WEFT_MS);
	weft_unlock(&mutex);
}

static void sleeps(void *arg)
{
	(void)arg;
	weft_sleep(WEFT_SEC);
}

static void hogs(void *arg)
{
	(void)arg;
	while (!stop)
		;
}

/* Look till something is found, for 10 s at most. */
static bool find(struct flight_watch *w, struct flight_found out[FLIGHT_REASON_N], enum flight_reason reason)
{
	for (int i = 0; i < 1000; i++) {
		if (flight_watch_look(w, out) == 1u << reason)
			return true;
		usleep(10000);
	}
	return false;
}

START_TEST(a_wait_for_a_lock_is_found_once)
{
	struct flight_watch *w;
	struct flight_found found[FLIGHT_REASON_N];

	rtest_begin(2);
	stop = false;
	w = flight_watch_new(0, 50 * WEFT_MS, 0);
	ck_assert_int_ge(flight_watch_pause(w), 10 * WEFT_MS);
	weft_go_in(inst, holds, NULL);
	ck_assert(find(w, found, FLIGHT_BLOCK));
	ck_assert_int_eq(found[FLIGHT_BLOCK].reason, FLIGHT_BLOCK);
	ck_assert_ptr_nonnull(strstr(found[FLIGHT_BLOCK].what, "has waited for a lock for 0."));
	for (int i = 0; i < 10; i++) {
		ck_assert(!flight_watch_look(w, found));
		usleep(10000);
	}
	flight_watch_free(w);
	stop = true;
	rtest_wait_gone();
	rtest_end();
}
END_TEST

START_TEST(an_instance_whose_goroutine_never_pauses_is_found_and_one_that_waits_is_not)
{
	struct flight_watch *w;
	struct flight_found found[FLIGHT_REASON_N];

	rtest_begin(2);
	stop = false;
	w = flight_watch_new(0, 0, 100 * WEFT_MS);
	weft_go_in(inst, sleeps, NULL);
	for (int i = 0; i < 30; i++) {
		ck_assert(!flight_watch_look(w, found));
		usleep(10000);
	}
	weft_go_in(inst, hogs, NULL);
	ck_assert(find(w, found, FLIGHT_STALL));
	ck_assert_int_eq(found[FLIGHT_STALL].reason, FLIGHT_STALL);
	flight_watch_free(w);
	stop = true;
	rtest_wait_gone();
	rtest_end();
}
END_TEST

START_TEST(nothing_is_looked_for_without_limits)
{
	struct flight_watch *w = flight_watch_new(0, 0, 0);

	ck_assert_int_lt(flight_watch_pause(w), 0);
	flight_watch_free(w);
}
END_TEST

Suite *test_flight_watch(void)
{
	Suite *s = suite_create("flight_watch");
	TCase *t = tcase_create("flight_watch");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_wait_for_a_lock_is_found_once);
	tcase_add_test(t, an_instance_whose_goroutine_never_pauses_is_found_and_one_that_waits_is_not);
	tcase_add_test(t, nothing_is_looked_for_without_limits);
	suite_add_tcase(s, t);
	return s;
}
