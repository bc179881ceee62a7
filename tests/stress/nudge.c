/* nudge.c - what an actor does between two steps, so that every step meets every schedule.
 *
 * Whatever it is, the goroutine comes back as itself: same id, same errno, same stack contents. */
#include "stress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void do_yield(struct actor *a)
{
	(void)a;
	weft_yield();
}

static void do_yields(struct actor *a)
{
	for (unsigned n = rnd_in(&a->rng, 2, 20); n > 0; n--)
		weft_yield();
}

static void spin(unsigned n)
{
	for (volatile unsigned i = 0; i < n; i++)
		;
}

static void do_spin(struct actor *a)
{
	spin(rnd_in(&a->rng, 1, 3000));
}

static void do_long_spin(struct actor *a)
{
	spin(rnd_in(&a->rng, 1, 200000));
}

static void do_sleep(struct actor *a)
{
	int64_t ns = rnd_in(&a->rng, 0, 300000), before = weft_now();
	int rc = weft_sleep(ns);

	if (rc < 0 && !called_off(a, rc))
		fail(a->gr, "weft_sleep: %s", weft_strerror(rc));
	if (rc == 0 && weft_now() < before + ns)
		fail(a->gr, "a sleep of %lld ns took %lld ns", (long long)ns, (long long)(weft_now() - before));
}

/* A system call of its own: the P can be taken meanwhile.  A signal may end it early. */
static void do_block(struct actor *a)
{
	int was = errno;

	nanosleep(&(struct timespec){ .tv_nsec = rnd_in(&a->rng, 1, 100000) }, NULL);
	errno = was;
}

static __attribute__((noinline)) unsigned deep(struct actor *a, unsigned n)
{
	volatile unsigned char frame[512];
	unsigned sum = 0;

	memset((void *)frame, (int)(n & 0xff), sizeof frame);
	if (n > 1)
		sum = deep(a, n - 1);
	else
		weft_yield();
	for (size_t i = 0; i < sizeof frame; i++)
		sum += frame[i] == (n & 0xff);
	return sum;
}

static void do_deep(struct actor *a)
{
	unsigned n = rnd_in(&a->rng, 1, 40), sum = deep(a, n);

	if (sum != n * 512)
		fail(a->gr, "%u bytes on a stack of %u frames were overwritten", n * 512 - sum, n);
}

static void do_label(struct actor *a)
{
	char key[16], value[32], found[128];

	if (a->foreign)
		return;
	if (a->n_labels >= 4) {
		weft_label_pop();
		a->n_labels--;
		return;
	}
	snprintf(key, sizeof key, "nudge%u", a->n_labels++);
	snprintf(value, sizeof value, "%llx", (unsigned long long)rnd(&a->rng));
	weft_label_push(key, value);
	weft_yield();
	if (!inside_label(key, found) || strcmp(found, value) != 0)
		fail(a->gr, "the label %s is not there after a yield", key);
}

/* Others run meanwhile; one in four ends early, in a wait. */
static void do_section(struct actor *a)
{
	WEFT_BLOCKING
	{
		if (rnd_one_in(&a->rng, 4))
			weft_yield();
		else if (rnd_one_in(&a->rng, 3))
			do_block(a);
		else
			do_spin(a);
	}
}

static void do_pin(struct actor *a)
{
	pid_t tid;

	weft_lock_thread();
	tid = gettid();
	for (unsigned n = rnd_in(&a->rng, 1, 3); n > 0; n--) {
		if (rnd_one_in(&a->rng, 3))
			do_sleep(a);
		else if (rnd_one_in(&a->rng, 3))
			do_section(a);
		else
			do_yield(a);
		if (gettid() != tid)
			fail(a->gr, "a goroutine that is locked to thread %d runs on %d", tid, gettid());
	}
	weft_unlock_thread();
}

static const struct {
	unsigned weight;
	void (*fn)(struct actor *a);
} kinds[] = {
	{ 30, do_yield }, { 5, do_yields }, { 30, do_spin }, { 3, do_long_spin }, { 8, do_sleep },
	{ 5, do_block },  { 5, do_deep },   { 8, do_label }, { 8, do_section },   { 4, do_pin },
};

static void pick(struct actor *a)
{
	unsigned total = 0, at;

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		total += kinds[i].weight;
	at = rnd_in(&a->rng, 0, total - 1);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (at < kinds[i].weight) {
			kinds[i].fn(a);
			return;
		}
		at -= kinds[i].weight;
	}
}

void nudge(struct actor *a)
{
	int token = (int)(rnd(&a->rng) & 0x7fff);

	atomic_store_explicit(&a->steps, atomic_load_explicit(&a->steps, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	if (rnd_in(&a->rng, 0, 255) >= a->gr->mood.nudge)
		return;
	errno = token;
	pick(a);
	if (weft_goid() != a->goid)
		fail(a->gr, "goroutine %llu goes on as %llu", (unsigned long long)a->goid,
		     (unsigned long long)weft_goid());
	/* A thread's own system calls may set errno; what a goroutine calls here succeeds. */
	if (!a->foreign && errno != token)
		fail(a->gr, "errno was %d and has become %d", token, errno);
}
