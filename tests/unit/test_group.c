/* test_group.c - error groups; goroutine-local values. */
#include <pthread.h>
#include <stdatomic.h>

#include "rtest.h"

/* --- Error groups ---------------------------------------------------------------------------------------- */

static weft_chan *never;
static _Atomic int running, most, ended;
static int fails(void *arg)
{
	(void)arg;
	return -EIO;
}
static int waits_for_ever(void *arg)
{
	int rc = weft_chan_recv(never, NULL, 8);

	(void)arg;
	ended++;
	return rc;
}
static int counts(void *arg)
{
	int now = ++running, top = most;

	while (now > top && !atomic_compare_exchange_weak(&most, &top, now))
		;
	(void)weft_sleep(WEFT_MS);
	running--;
	ended++;
	return *(int *)arg;
}
static void first_error(void *arg)
{
	weft_group *g = weft_group_new(NULL, 0);
	int zero = 0;

	(void)arg;
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(weft_group_go(g, waits_for_ever, NULL), 0);
	ck_assert_int_eq(weft_group_go(g, fails, NULL), 0);
	ck_assert_int_eq(weft_group_wait(g), -EIO);
	ck_assert_int_eq(ended, 3);
	ck_assert_int_eq(weft_ctx_err(weft_group_ctx(g)), -ECANCELED);
	ck_assert_int_eq(weft_group_go(g, counts, &zero), -ECANCELED);
	ck_assert_int_eq(weft_ctx_err(weft_ctx_self()), 0);
	ck_assert_int_eq(weft_group_free(g), -EIO);
}
START_TEST(the_first_error_cancels_the_rest_of_a_group)
{
	never = weft_chan_new(8, 0);
	rtest_run(first_error, NULL);
	weft_chan_free(never);
}
END_TEST

static void limited(void *arg)
{
	weft_group *g = weft_group_new(NULL, 3);
	int zero = 0;

	(void)arg;
	for (int i = 0; i < 12; i++)
		ck_assert_int_eq(weft_group_go(g, counts, &zero), 0);
	ck_assert_int_eq(weft_group_wait(g), 0);
	ck_assert_int_eq(ended, 12);
	ck_assert_int_le(most, 3);
	ck_assert_int_eq(weft_group_free(g), 0);
	g = weft_group_new(NULL, 0);
	ck_assert_int_eq(weft_group_go(g, waits_for_ever, NULL), 0);
	ck_assert_int_eq(weft_group_free(g), -ECANCELED); /* cancels, and waits */
	ck_assert_int_eq(ended, 13);
	ck_assert_ptr_null(weft_group_new(NULL, -1));
	ck_assert_int_eq(weft_group_free(NULL), 0);
}
START_TEST(a_group_keeps_its_limit_and_freeing_it_waits)
{
	never = weft_chan_new(8, 0);
	rtest_run(limited, NULL);
	weft_chan_free(never);
}
END_TEST

START_TEST(a_foreign_thread_can_have_a_group)
{
	weft_group *g;
	int zero = 0;

	ck_assert_ptr_null(weft_group_new(NULL, 0));
	ck_assert_int_eq(weft_enter(inst), 0);
	g = weft_group_new(NULL, 2);
	weft_leave();
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(weft_group_go(g, counts, &zero), 0);
	ck_assert_int_eq(weft_group_wait(g), 0);
	ck_assert_int_eq(ended, 5);
	weft_group_free(g);
}
END_TEST

/* --- Goroutine-local values ----------------------------------------------------------------------------------- */

static int key_a, key_b;
static _Atomic int destroyed, rounds;
static void destroy(void *value)
{
	destroyed += *(int *)value;
}
static void destroy_again(void *value)
{
	rounds++;
	ck_assert_int_eq(weft_local_set(key_b, value), 0);
}
static void has_locals(void *arg)
{
	int *v = arg;

	ck_assert_ptr_null(weft_local_get(key_a));
	ck_assert_int_eq(weft_local_set(key_a, v), 0);
	weft_yield();
	ck_assert_ptr_eq(weft_local_get(key_a), v);
	ck_assert_int_eq(weft_local_set(key_a, NULL), 0);
	ck_assert_int_eq(weft_local_set(key_a, v), 0);
}
static void many_locals(void *arg)
{
	static int values[100];
	weft_wg wg = { 0 };

	(void)arg;
	for (int i = 0; i < 100; i++) {
		values[i] = i;
		ck_assert_int_eq(weft_wg_go(&wg, has_locals, &values[i]), 0);
	}
	weft_wg_wait(&wg);
	ck_assert_int_eq(destroyed, 4950); /* before the wait group hears of it */
}
START_TEST(each_goroutine_has_its_own_value_destroyed_at_its_end)
{
	key_a = weft_local_new(destroy);
	ck_assert_int_gt(key_a, 0);
	rtest_run(many_locals, NULL);
	ck_assert_int_eq(weft_local_free(key_a), 0);
	ck_assert_int_eq(weft_local_free(key_a), -EINVAL);
	ck_assert_int_eq(weft_local_set(key_a, &key_a), -EINVAL);
	ck_assert_ptr_null(weft_local_get(key_a));
}
END_TEST

static void stubborn(void *arg)
{
	ck_assert_int_eq(weft_local_set(key_b, arg), 0);
}
START_TEST(a_destructor_that_sets_anew_is_called_four_times)
{
	key_b = weft_local_new(destroy_again);
	rtest_run(stubborn, &key_b);
	rtest_wait_gone();
	ck_assert_int_eq(rounds, 4);
	weft_local_free(key_b);
}
END_TEST

static void use_up_keys(void *arg)
{
	int keys[256], again;

	(void)arg;

	for (int i = 0; i < 256; i++) {
		keys[i] = weft_local_new(NULL);
		ck_assert_int_gt(keys[i], 0);
		ck_assert_int_eq(weft_local_set(keys[i], &keys[i]), 0);
	}
	ck_assert_int_eq(weft_local_new(NULL), -EAGAIN);
	for (int i = 0; i < 256; i++)
		ck_assert_ptr_eq(weft_local_get(keys[i]), &keys[i]);
	ck_assert_int_eq(weft_local_free(keys[7]), 0);
	again = weft_local_new(NULL);
	ck_assert_int_gt(again, 0);
	ck_assert_int_ne(again, keys[7]);
	ck_assert_ptr_null(weft_local_get(again));
	ck_assert_ptr_null(weft_local_get(keys[7]));
	for (int i = 0; i < 256; i++)
		weft_local_free(i == 7 ? again : keys[i]);
}
START_TEST(keys_run_out_and_come_back_as_new_ones)
{
	rtest_run(use_up_keys, NULL);
}
END_TEST

static void *thread_local_values(void *arg)
{
	has_locals(arg);
	return NULL;
}
START_TEST(a_foreign_threads_values_are_destroyed_when_it_ends)
{
	int v = 5;
	pthread_t t;

	key_a = weft_local_new(destroy);
	ck_assert_int_eq(pthread_create(&t, NULL, thread_local_values, &v), 0);
	pthread_join(t, NULL);
	ck_assert_int_eq(destroyed, 5);
	weft_local_free(key_a);
}
END_TEST

Suite *test_group(void);
Suite *test_group(void)
{
	Suite *s = suite_create("group");
	for (int ps = 1; ps <= 3; ps += 2) {
		TCase *t = rtest_case(ps, 60);

		tcase_add_test(t, the_first_error_cancels_the_rest_of_a_group);
		tcase_add_test(t, a_group_keeps_its_limit_and_freeing_it_waits);
		tcase_add_test(t, a_foreign_thread_can_have_a_group);
		tcase_add_test(t, each_goroutine_has_its_own_value_destroyed_at_its_end);
		tcase_add_test(t, a_destructor_that_sets_anew_is_called_four_times);
		tcase_add_test(t, keys_run_out_and_come_back_as_new_ones);
		tcase_add_test(t, a_foreign_threads_values_are_destroyed_when_it_ends);
		suite_add_tcase(s, t);
	}
	return s;
}
