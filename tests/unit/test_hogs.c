/* test_hogs.c - plugins that do not share: while they compute or sleep, a ticker of 1 ms keeps time.
 *
 * Runs alone. The machine may still be busy with other things for a moment: a bound is met when one of TRIES runs
 * meets it. */
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "rlate.h"

#define TRIES 4
#ifdef RTEST_SANITIZER
#define P99 (500 * WEFT_MS)
#else
#define P99 (50 * WEFT_MS)
#endif
#define HOGS 8

static _Atomic bool stop;
static _Atomic int n_begun;

/* --- The hogs ------------------------------------------------------------------------------------------------ */

static void compute(void)
{
	rtest_compute(&stop);
}

static void arithmetic(void *arg)
{
	(void)arg;
	n_begun++;
	compute();
}

static void allocates(void *arg)
{
	(void)arg;
	n_begun++;
	for (size_t n = 1; !stop; n = n * 7 % 4099 + 1) {
		char *p = malloc(n);

		*(volatile char *)p = 1;
		free(p);
	}
}

static FILE *nowhere;
static void prints(void *arg)
{
	(void)arg;
	n_begun++;
	for (int i = 0; !stop; i++)
		fprintf(nowhere, "%d %s %g\n", i, "line", i / 3.0);
}

static int compares(const void *a, const void *b)
{
	compute();
	return *(const int64_t *)a > *(const int64_t *)b;
}

static void sorts(void *arg)
{
	int64_t v[3] = { 3, 1, 2 };

	(void)arg;
	n_begun++;
	qsort(v, 3, sizeof *v, compares);
}

static pthread_once_t once[HOGS];
static _Atomic int next_once;
static void once_main(void)
{
	n_begun++;
	compute();
}
static void in_once(void *arg)
{
	(void)arg;
	pthread_once(&once[next_once++ % HOGS], once_main);
}

static pthread_mutex_t mutex[2] = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER };
static void holds_mutex(void *arg)
{
	pthread_mutex_t *m = &mutex[n_begun++ % 2]; /* most of them wait for one that computes */

	(void)arg;
	pthread_mutex_lock(m);
	compute();
	pthread_mutex_unlock(m);
}

static const struct {
	const char *what;
	void (*fn)(void *arg);
} hogs[] = {
	{ "arithmetic", arithmetic }, { "malloc and free", allocates },   { "printf", prints },
	{ "inside qsort", sorts },    { "inside pthread_once", in_once }, { "holding a mutex", holds_mutex },
};

/* 99 of 100 ticks are in time, in one of a few runs; and all come to an end. */
static void keeps_time(const char *what, void (*fn)(void *arg), int n, int ticks)
{
	int64_t got = 0;

	for (int i = 0; i < TRIES; i++) {
		stop = false;
		n_begun = next_once = 0;
		late_reset();
		memset(once, 0, sizeof once);
		for (int k = 0; k < n; k++)
			ck_assert_int_eq(weft_go_in(inst, fn, NULL), 0);
		ck_assert_int_eq(weft_go_in(inst, late_ticker, NULL), 0);
		late_await(ticks);
		stop = true;
		late_stop();
		rtest_wait_gone();
		got = late_p99();
		if (got < P99)
			return;
	}
	ck_abort_msg("%s: the 99th percentile of the lateness is %.1f ms", what, (double)got / WEFT_MS);
}

START_TEST(hogs_do_not_make_others_late)
{
	rtest_begin(2);
	nowhere = fopen("/dev/null", "w");
	ck_assert_ptr_nonnull(nowhere);
	keeps_time(hogs[_i].what, hogs[_i].fn, HOGS, rtest_scale(1500));
	fclose(nowhere);
	rtest_end();
}
END_TEST

/* --- Sleepers --------------------------------------------------------------------------------------------------- */

static int pipe_fd[2];
static char lock_name[] = "/tmp/weft-test-lock-XXXXXX";

static void sleeps(void *arg)
{
	(void)arg;
	n_begun++;
	nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
}

static void reads(void *arg)
{
	char c;

	(void)arg;
	n_begun++;
	(void)!read(pipe_fd[0], &c, 1);
}

static void locks(void *arg)
{
	int fd = open(lock_name, O_RDWR | O_CLOEXEC);

	(void)arg;
	n_begun++;
	(void)flock(fd, LOCK_EX);
	(void)close(fd);
}

static void resolves(void *arg)
{
	struct addrinfo *list;

	(void)arg;
	n_begun++;
	if (getaddrinfo("localhost", "80", NULL, &list) == 0)
		freeaddrinfo(list);
}

static bool all_begun(void *arg)
{
	return n_begun >= *(int *)arg;
}

START_TEST(a_thousand_sleepers_do_not_make_others_late)
{
	int n = rtest_scale(250), all = 4 * n, lock;
	bool in_time = false;
	int64_t got = 0;

	rtest_begin(2);
	ck_assert_int_eq(pipe2(pipe_fd, O_CLOEXEC), 0);
	lock = mkstemp(lock_name);
	ck_assert_int_ge(lock, 0);
	for (int i = 0; i < TRIES && !in_time; i++) {
		stop = false;
		n_begun = 0;
		late_reset();
		ck_assert_int_eq(flock(lock, LOCK_EX), 0);
		for (int k = 0; k < n; k++) {
			ck_assert_int_eq(weft_go_in(inst, sleeps, NULL), 0);
			ck_assert_int_eq(weft_go_in(inst, reads, NULL), 0);
			ck_assert_int_eq(weft_go_in(inst, locks, NULL), 0);
			ck_assert_int_eq(weft_go_in(inst, resolves, NULL), 0);
		}
		ck_assert_int_eq(weft_go_in(inst, late_ticker, NULL), 0);
		rtest_wait(all_begun, &all, "all have begun");
		late_await(rtest_scale(1000));
		stop = true;
		late_stop();
		ck_assert_int_eq(flock(lock, LOCK_UN), 0);
		for (int k = 0; k < n; k++)
			ck_assert_int_eq(write(pipe_fd[1], "x", 1), 1);
		rtest_wait_gone();
		got = late_p99();
		in_time = got < P99;
	}
	ck_assert_msg(in_time, "the 99th percentile of the lateness is %.1f ms", (double)got / WEFT_MS);
	(void)unlink(lock_name);
	rtest_end();
}
END_TEST

Suite *test_hogs(void);
Suite *test_hogs(void)
{
	Suite *s = suite_create("hogs");
	TCase *t = tcase_create("hogs");

	tcase_set_timeout(t, 240);
	tcase_add_loop_test(t, hogs_do_not_make_others_late, 0, (int)(sizeof hogs / sizeof *hogs));
	tcase_add_test(t, a_thousand_sleepers_do_not_make_others_late);
	suite_add_tcase(s, t);
	return s;
}
