/* kernel.c - what the kernel charges: futex round trips, first touch of a page, a guarded stack. */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "floor.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif
#define PAGE 4096

enum { TRIPS = 20000 };
static _Atomic uint32_t turn; /* 0: main's, 1: the partner's */

static void hand_over(uint32_t to)
{
	atomic_store(&turn, to);
	syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void await(uint32_t mine)
{
	while (atomic_load(&turn) != mine)
		syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, !mine, NULL, NULL, 0);
}

static void *partner(void *arg)
{
	floor_pin(*(const int *)arg);
	for (int i = 0; i < TRIPS; i++) {
		await(1);
		hand_over(0);
	}
	return NULL;
}

static void futex_trips(const char *name, int cpu)
{
	pthread_t t;
	int64_t start;

	atomic_store(&turn, 0);
	floor_pin(0);
	if (pthread_create(&t, NULL, partner, &cpu) != 0)
		floor_fail("pthread_create");
	start = floor_now();
	for (int i = 0; i < TRIPS; i++) {
		hand_over(1);
		await(0);
	}
	floor_value(name, (double)(floor_now() - start) / TRIPS / 1000, "us");
	pthread_join(t, NULL);
	floor_pin(-1);
}

void floor_futex(void)
{
	static _Atomic uint32_t nobody;
	int64_t start = floor_now();

	for (int i = 0; i < TRIPS; i++)
		syscall(SYS_futex, &nobody, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	floor_value("futex.wake_nobody", (double)(floor_now() - start) / TRIPS / 1000, "us");
	futex_trips("futex.one_cpu", 0);
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		futex_trips("futex.two_cpus", 1);
}

static char *map(size_t len)
{
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		floor_fail("mmap");
	madvise(p, len, MADV_NOHUGEPAGE);
	return p;
}

void floor_pagefault(void)
{
	enum { PAGES = 16384 };
	const size_t len = (size_t)PAGES * PAGE;
	volatile char *p = map(len);
	int64_t start = floor_now();

	for (size_t i = 0; i < PAGES; i++)
		p[i * PAGE] = 1;
	floor_value("pagefault.touch", (double)(floor_now() - start) / PAGES, "ns");
	start = floor_now();
	munmap((void *)p, len);
	floor_value("pagefault.unmap", (double)(floor_now() - start) / PAGES, "ns");
}

/* 64 KiB mapped, guarded, its top page touched, unmapped: what a goroutine would cost without reuse. */
static void stack_maps(const char *name, int (*guard)(void *page))
{
	enum { N = 4000, STACK = 65536 };
	int64_t start = floor_now();

	for (int i = 0; i < N; i++) {
		volatile char *p = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			floor_fail("mmap");
		if (guard && guard((void *)p) < 0) {
			munmap((void *)p, STACK);
			return; /* this kernel has no such guard */
		}
		p[STACK - 1] = 1;
		munmap((void *)p, STACK);
	}
	floor_value(name, (double)(floor_now() - start) / N / 1000, "us");
}

static int guard_protect(void *page)
{
	return mprotect(page, PAGE, PROT_NONE);
}

static int guard_advise(void *page)
{
	return madvise(page, PAGE, MADV_GUARD_INSTALL);
}

void floor_stackmap(void)
{
	stack_maps("stackmap.bare", NULL);
	stack_maps("stackmap.mprotect", guard_protect);
	stack_maps("stackmap.madvise", guard_advise);
}
