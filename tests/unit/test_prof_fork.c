/* test_prof_fork.c - children of a process whose CPU is being sampled. */
#include <check.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "prof.h"
#include "rtest.h"

static _Atomic bool stop;
static _Atomic uint64_t sink;

static void *burn(void *arg)
{
	(void)arg;
	while (!stop)
		sink++;
	return NULL;
}

static uint64_t weight;
static void take(void *user, const struct weft_sample *s)
{
	(void)user;
	weight += s->kind == WEFT_SAMPLE_LOST ? 0 : s->weight;
}

static int ended(pid_t pid)
{
	int status = -1;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

/* A fork() of a process with much memory takes longer than the period of the signals: each would begin it anew. */
START_TEST(children_are_started_while_signals_of_the_sampler_come)
{
	size_t n = 64 << 20;
	char *memory = malloc(n), name[] = "true", *argv[] = { name, NULL }, *none[] = { NULL };
	pthread_t burner;
	pid_t pid;

	for (size_t i = 0; i < n; i += 4096)
		memory[i] = 1;
	ck_assert_int_eq(pthread_create(&burner, NULL, burn, NULL), 0);
	ck_assert_int_eq(weft_cpu_start(1000), 0);
	for (int i = 0; i < 10; i++) {
		pid = fork();
		if (pid == 0)
			_exit(memory[4096] == 1 ? 7 : 8);
		ck_assert_int_gt(pid, 0);
		ck_assert_int_eq(WEXITSTATUS(ended(pid)), 7);
		ck_assert_int_eq(posix_spawn(&pid, "/bin/true", NULL, NULL, argv, none), 0);
		ck_assert_int_eq(ended(pid), 0);
	}
	while (weight == 0)
		weft_cpu_drain(take, NULL);
	weft_cpu_stop();
	stop = true;
	pthread_join(burner, NULL);
	free(memory);
}
END_TEST

Suite *test_prof_fork(void);
Suite *test_prof_fork(void)
{
	Suite *s = suite_create("prof_fork");
	TCase *t = tcase_create("fork");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, children_are_started_while_signals_of_the_sampler_come);
	suite_add_tcase(s, t);
	return s;
}
