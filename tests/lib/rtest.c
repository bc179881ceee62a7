/* rtest.c - see rtest.h. */
#include "rtest.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rt.h"

weft_inst *inst;

static void log_line(void *user, int level, const char *instance, uint64_t goid, const char *text)
{
	(void)user, (void)instance, (void)goid;
	if (level <= WEFT_WARN)
		dprintf(2, "log %d: %s\n", level, text);
}

void rtest_begin_with(const struct weft_host_opts *opts)
{
	ck_assert_int_eq(weft_host_start(opts), 0);
	inst = weft_inst_new("test");
	ck_assert_ptr_nonnull(inst);
}

void rtest_begin(int n)
{
	rtest_begin_with(&(struct weft_host_opts){ .maxprocs = n, .recorder_bytes = 1 << 20, .log = log_line });
}

static void begin_one(void)
{
	rtest_begin(1);
}

static void begin_three(void)
{
	rtest_begin(3);
}

void rtest_end(void)
{
	ck_assert_int_eq(weft_host_stop(10 * WEFT_SEC), 0);
}

TCase *rtest_case(int n, int seconds)
{
	TCase *t = tcase_create(n == 1 ? "one P" : "three Ps");

	tcase_add_checked_fixture(t, n == 1 ? begin_one : begin_three, rtest_end);
	tcase_set_timeout(t, seconds);
	return t;
}

RT_NOINLINE void rtest_compute(const _Atomic bool *stop)
{
	static _Atomic uint64_t sink;
	uint64_t x = 1;

	while (!ld(stop))
		for (int i = 0; i < 1000; i++)
			x = x * 6364136223846793005u + 1442695040888963407u;
	st(&sink, x);
}

struct run {
	weft_fn fn;
	void *arg;
	weft_wg *wg;
};

static void run_main(void *arg)
{
	struct run *r = arg;

	r->fn(r->arg);
	weft_wg_done(r->wg);
}

void rtest_run(weft_fn fn, void *arg)
{
	weft_wg wg = { 0 };
	struct run r = { fn, arg, &wg };

	weft_wg_add(&wg, 1);
	ck_assert_int_eq(weft_go_in(inst, run_main, &r), 0);
	weft_wg_wait(&wg); /* on this thread, which is no goroutine */
}

void rtest_wait(bool (*cond)(void *arg), void *arg, const char *what)
{
	int64_t until = weft_now() + 20 * WEFT_SEC;

#ifdef RTEST_SANITIZER
	until += 80 * WEFT_SEC;
#endif
	while (!cond(arg)) {
		if (weft_now() > until)
			ck_abort_msg("waited in vain until %s", what);
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	}
}

struct parked {
	uint64_t goid;
	enum rt_wait reason;
};

static bool is_parked(void *arg)
{
	const struct parked *want = arg;

	for (uint32_t a = 0; a < ld_acq(&rt_n_arenas); a++) {
		struct rt_arena *arena = ld_acq(&rt_arenas[a]);

		for (uint32_t i = 0; i < ld_acq(&arena->opened); i++) {
			struct g *g;

			if (!(ld(&arena->used[i / 64]) >> (i % 64) & 1))
				continue;
			g = rt_slot_g(arena, a, i);
			if (ld_acq(&g->id) == want->goid)
				return ld_acq(&g->status) == (RT_G_WAITING | (uint32_t)want->reason << 8);
		}
	}
	return false;
}

void rtest_wait_parked(uint64_t goid, enum rt_wait reason)
{
	rtest_wait(is_parked, &(struct parked){ goid, reason }, "the goroutine is parked");
}

static bool is_gone(void *arg)
{
	(void)arg;
	return weft_inst_live(inst) == 0;
}

void rtest_wait_gone(void)
{
	rtest_wait(is_gone, NULL, "all goroutines are gone");
}

static int count_dir(const char *path)
{
	DIR *d = opendir(path);
	int n = -3; /* . .. and d's own descriptor, or one entry too few for task/ */

	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

int rtest_threads(void)
{
	return count_dir("/proc/self/task") + 1;
}

int rtest_fds(void)
{
	return count_dir("/proc/self/fd");
}

int rtest_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	int n = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f))
		n++;
	fclose(f);
	return n;
}

int rtest_scale(int n)
{
#ifdef RTEST_SANITIZER
	return n / 20 ? n / 20 : 1;
#else
	return n;
#endif
}

uint64_t rtest_seed(void)
{
	const char *env = getenv("SEED");
	uint64_t seed = env ? strtoull(env, NULL, 0) : (uint64_t)weft_now() | 1;

	printf("SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	return seed ? seed : 1;
}

uint64_t rtest_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}
