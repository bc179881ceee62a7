/* main.c - floor [GROUP...]: all groups, or those named.
 *
 *	floor echo				the epoll server that the TCP rows are compared with
 *	floor load PORT CONNS N PID		their client; PID is the server's */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "floor.h"

static const struct group {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "switch", floor_switch }, { "atomic", floor_atomic },       { "cacheline", floor_cacheline },
	{ "futex", floor_futex },   { "pagefault", floor_pagefault }, { "stackmap", floor_stackmap },
	{ "calls", floor_calls },
};

static cpu_set_t allowed;

int64_t floor_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

void floor_value(const char *name, double value, const char *unit)
{
	printf("floor.%s\t%.2f\t%s\n", name, value, unit);
	fflush(stdout);
}

void floor_fail(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

void floor_pin(int n)
{
	cpu_set_t one = allowed;

	if (n >= 0) {
		int k = n % CPU_COUNT(&allowed), cpu = 0;

		while (!CPU_ISSET(cpu, &allowed) || k-- > 0)
			cpu++;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
	}
	if (sched_setaffinity(0, sizeof one, &one) < 0)
		floor_fail("sched_setaffinity");
}

static void run(const char *name)
{
	for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
		if (strcmp(groups[i].name, name) == 0) {
			groups[i].run();
			return;
		}
	errno = EINVAL;
	floor_fail(name);
}

int main(int argc, char **argv)
{
	if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
		floor_fail("sched_getaffinity");
	if (argc == 2 && strcmp(argv[1], "echo") == 0) {
		floor_echo();
		return 0;
	}
	if (argc == 6 && strcmp(argv[1], "load") == 0) {
		floor_load(atoi(argv[2]), atoi(argv[3]), atoll(argv[4]), atoi(argv[5]));
		return 0;
	}
	for (int i = 1; i < argc; i++)
		run(argv[i]);
	if (argc == 1)
		for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
			groups[i].run();
	return 0;
}
