/* step_arm64.c - a process cannot step itself: another thread sends SIGTRAP as fast as it is taken. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "step.h"

#define ENOUGH 2500ul

static void (*looks_at)(const void *context);
static _Atomic bool on, taken;
static pthread_t who;

static void on_trap(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)sig, (void)info;
	if (on)
		looks_at(context);
	taken = true;
	errno = saved;
}

static void *nag(void *arg)
{
	(void)arg;
	while (on) {
		taken = false;
		(void)pthread_kill(who, SIGTRAP);
		for (int i = 0; on && !taken; i++)
			if (i > 1000)
				(void)sched_yield();
	}
	return NULL;
}

void step_start(void (*look)(const void *context))
{
	struct sigaction sa = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };

	looks_at = look;
	(void)sigaction(SIGTRAP, &sa, NULL);
}

void step_through(void (*fn)(void), const unsigned long *looks)
{
	pthread_t t;

	who = pthread_self();
	on = true;
	if (pthread_create(&t, NULL, nag, NULL) != 0)
		return;
	while (*looks < ENOUGH)
		fn();
	on = false;
	(void)pthread_join(t, NULL);
}
