/* sync.c - workloads of locks and wait groups, and the memory of parked goroutines. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

struct shared {
	weft_mutex lock;
	weft_wg wg;
	int64_t per, sum;
};

static void lock_n(void *arg)
{
	struct shared *s = arg;

	for (int64_t i = 0; i < s->per; i++) {
		weft_lock(&s->lock);
		s->sum++;
		weft_unlock(&s->lock);
	}
	weft_wg_done(&s->wg);
}

void run_mutex(int64_t n, int64_t k)
{
	struct shared s = { .per = n / k };

	weft_wg_add(&s.wg, (int)k);
	for (int64_t i = 0; i < k; i++)
		must(weft_go(lock_n, &s), "weft_go");
	weft_wg_wait(&s.wg);
	if (s.sum != s.per * k)
		fail("mutex: wrong sum");
}

#define WRITE_EACH 1000

struct board {
	weft_rwmutex lock;
	weft_wg wg;
	int64_t per, counter;
};

static void read_or_write(void *arg)
{
	struct board *b = arg;
	int64_t last = 0;

	for (int64_t i = 1; i <= b->per; i++) {
		if (i % WRITE_EACH == 0) {
			weft_wlock(&b->lock);
			b->counter++;
			weft_wunlock(&b->lock);
			continue;
		}
		weft_rlock(&b->lock);
		if (b->counter < last)
			fail("rwmutex: the counter went backwards");
		last = b->counter;
		weft_runlock(&b->lock);
	}
}

/* k goroutines share one rwmutex; n operations in all, each thousandth writes. */
void run_rwmutex(int64_t n, int64_t k)
{
	struct board b = { .per = n / k };

	for (int64_t i = 0; i < k; i++)
		must(weft_wg_go(&b.wg, read_or_write, &b), "weft_wg_go");
	weft_wg_wait(&b.wg);
	if (b.counter != b.per / WRITE_EACH * k)
		fail("rwmutex: wrong count");
}

struct pairs {
	weft_wg done;
	int64_t n;
};

static void add_done(void *arg)
{
	struct pairs *p = arg;
	weft_wg wg = { 0 };

	for (int64_t i = 0; i < p->n; i++) {
		weft_wg_add(&wg, 1);
		weft_wg_done(&wg);
	}
}

void run_wait_group(int64_t n, int64_t k)
{
	struct pairs p = { .n = n };

	(void)k;
	must(weft_wg_go(&p.done, add_done, &p), "weft_wg_go");
	weft_wg_wait(&p.done);
}

/* VmRSS + VmPTE in bytes. */
static int64_t memory_now(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	int64_t total = 0;

	if (!f)
		fail("/proc/self/status cannot be opened");
	while (fgets(line, sizeof line, f))
		if (strncmp(line, "VmRSS:", 6) == 0 || strncmp(line, "VmPTE:", 6) == 0)
			total += strtoll(line + 6, NULL, 10) * 1024;
	fclose(f);
	return total;
}

/* Write depth KiB of stack in frames of 1 KiB. */
static __attribute__((noinline)) char touch(int64_t depth)
{
	volatile char frame[1024];

	for (size_t i = 0; i < sizeof frame; i++)
		frame[i] = (char)((int64_t)i + depth);
	if (depth > 1)
		frame[0] = (char)(frame[0] + touch(depth - 1));
	return frame[depth % 1024];
}

struct crowd {
	weft_wg running;
	num_chan never;
	int64_t touch_kib;
};

static void wait_for_ever(void *arg)
{
	struct crowd *c = arg;
	int64_t v;

	if (c->touch_kib)
		touch(c->touch_kib);
	weft_wg_done(&c->running);
	weft_recv(c->never, &v);
}

/* k goroutines tell that they run and block for ever; each first touches n bytes of stack. */
void own_memory(int64_t n, int64_t k)
{
	static struct crowd c; /* outlives its goroutines: they are abandoned at the end */
	int64_t before;
	struct stamp s, end;

	c.never = new_chan(0);
	c.touch_kib = n / 1024;
	before = memory_now();
	s = stamp_now();
	weft_wg_add(&c.running, (int)k);
	for (int64_t i = 0; i < k; i++)
		must(weft_go(wait_for_ever, &c), "weft_go");
	weft_wg_wait(&c.running);
	end = stamp_now();
	weft_sleep(200 * WEFT_MS);
	print_value("memory", (double)(memory_now() - before) / (double)k, "B");
	print_value("memory.create", (double)(end.wall - s.wall) / (double)k, "ns");
	print_value("memory.create.cpu", (double)(end.cpu - s.cpu) / (double)k, "ns");
}
