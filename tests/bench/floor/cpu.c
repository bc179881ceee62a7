/* cpu.c - switches, atomics, a cache line between two CPUs, and the cheapest calls. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "floor.h"

void floor_switch_jmp(void **save, void *to);
void floor_switch_ret(void **save, void *to);

typedef void switch_fn(void **save, void *to);

static void *here, *there; /* saved stack pointers of main and of the other stack */
static switch_fn *sw;

static void other(void)
{
	for (;;)
		sw(&there, here);
}

/* Two switches a round: there and back. */
static double per_switch(switch_fn *fn)
{
	enum { ROUNDS = 2000000, SIZE = 16384 };
	void **stack = aligned_alloc(64, SIZE), **top = stack + SIZE / sizeof *stack;
	int64_t start;

	if (!stack)
		floor_fail("no memory");
	memset(stack, 0, SIZE);
	top -= 2; /* at other()'s entry the stack must be 8 off a multiple of 16 */
	*--top = (void *)other;
	there = top - 6; /* six registers to pop */
	sw = fn;
	for (int i = 0; i < ROUNDS / 10; i++)
		fn(&here, there);
	start = floor_now();
	for (int i = 0; i < ROUNDS; i++)
		fn(&here, there);
	double ns = (double)(floor_now() - start) / ROUNDS / 2;
	free(stack);
	return ns;
}

void floor_switch(void)
{
	floor_value("switch.jump", per_switch(floor_switch_jmp), "ns");
	floor_value("switch.ret", per_switch(floor_switch_ret), "ns");
}

void floor_atomic(void)
{
	enum { N = 20000000 };
	static _Atomic uint64_t word;
	int64_t start = floor_now();

	for (int i = 0; i < N; i++)
		atomic_fetch_add_explicit(&word, 1, memory_order_relaxed);
	floor_value("atomic.add", (double)(floor_now() - start) / N, "ns");
	atomic_store(&word, 0);
	start = floor_now();
	for (int i = 0; i < N; i++) {
		uint64_t zero = 0;

		if (!atomic_compare_exchange_strong_explicit(&word, &zero, 1, memory_order_acquire,
							     memory_order_relaxed))
			floor_fail("a lock that nobody holds is taken");
		atomic_store_explicit(&word, 0, memory_order_release);
	}
	floor_value("atomic.cas_release", (double)(floor_now() - start) / N, "ns");
}

enum { BATCH = 50000, BATCHES = 11, BOUNCES = BATCH * BATCHES };
static _Alignas(128) _Atomic uint32_t ball;

static void *bouncer(void *arg)
{
	(void)arg;
	floor_pin(1);
	for (uint32_t i = 0; i < BOUNCES; i++) {
		while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * i + 1)
			_mm_pause();
		atomic_store_explicit(&ball, 2 * i + 2, memory_order_release);
	}
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* One word there and back between two CPUs: the median of batches, as a batch in which one side was
 * off its CPU says nothing. */
void floor_cacheline(void)
{
	int64_t start, took[BATCHES];
	pthread_t t;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return;
	atomic_store(&ball, 0);
	floor_pin(0);
	if (pthread_create(&t, NULL, bouncer, NULL) != 0)
		floor_fail("pthread_create");
	start = floor_now();
	for (uint32_t i = 0; i < BOUNCES; i++) {
		atomic_store_explicit(&ball, 2 * i + 1, memory_order_release);
		while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * i + 2)
			_mm_pause();
		if (i % BATCH == BATCH - 1) {
			int64_t now = floor_now();

			took[i / BATCH] = now - start;
			start = now;
		}
	}
	qsort(took, BATCHES, sizeof *took, by_value);
	floor_value("cacheline.round_trip", (double)took[BATCHES / 2] / BATCH, "ns");
	pthread_join(t, NULL);
	floor_pin(-1);
}

static int empty_epoll;

static void call_clock(void)
{
	(void)floor_now();
}

static void call_tsc(void)
{
	(void)*(volatile uint64_t *)&(uint64_t){ __rdtsc() };
}

static void call_getppid(void)
{
	(void)syscall(SYS_getppid);
}

static void call_epoll(void)
{
	struct epoll_event e;

	(void)epoll_wait(empty_epoll, &e, 1, 0);
}

static double per_call(void (*fn)(void), int n)
{
	int64_t start = floor_now();

	for (int i = 0; i < n; i++)
		fn();
	return (double)(floor_now() - start) / n;
}

void floor_calls(void)
{
	floor_value("calls.clock", per_call(call_clock, 5000000), "ns");
	floor_value("calls.tsc", per_call(call_tsc, 5000000), "ns");
	floor_value("calls.syscall", per_call(call_getppid, 1000000), "ns");
	empty_epoll = epoll_create1(EPOLL_CLOEXEC);
	if (empty_epoll < 0)
		floor_fail("epoll_create1");
	floor_value("calls.epoll_wait", per_call(call_epoll, 1000000), "ns");
	close(empty_epoll);
}
