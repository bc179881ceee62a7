/* stress.c - the runtime under random goroutine graphs, for a while.
 *
 *	stress [SEED [SECONDS]]
 *
 *	WEFT_STRESS_SEED     the seed; else from the clock.  Printed first thing
 *	WEFT_STRESS_SECONDS  how long (10)
 *	WEFT_STRESS_ROUND    this round only, again and again: to see a failure once more
 *	WEFT_STRESS_ONLY     this shape only
 *
 * Exit status 0: everything held.  What does not hold is said with seed and round, and ends in abort(), at
 * which the runtime prints all goroutines.  So does a round in which nothing moves for STUCK_SECONDS.
 *
 * The main thread makes graphs and checks them; threads of a round pull at the scheduler meanwhile: one
 * takes Ps away, one takes snapshots, one cancels the doomed instance.  The watchdog lives as long as the
 * process; `now` is what it looks at, under its lock. */
#include "stress.h"

#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "round.h"

#include <weft_host.h>

#define STUCK_SECONDS 60
#define ROUNDS_PER_EPOCH 8 /* a round belongs to an epoch by its number alone, so it can be had again */

static struct {
	uint64_t seed, seconds, round;
	bool one_round;
	const char *only;
} args = { .seconds = 10 };

static struct totals total;
static struct {
	pthread_mutex_t lock;
	struct round *round; /* or NULL */
	const char *stage;   /* what the main thread is at */
	uint64_t steps;      /* of the main thread */
	int procs;
} now = { .lock = PTHREAD_MUTEX_INITIALIZER, .stage = "start" };

static void stage(const char *what, struct round *r)
{
	pthread_mutex_lock(&now.lock);
	now.stage = what;
	now.round = r;
	now.steps++;
	pthread_mutex_unlock(&now.lock);
}

/* --- Failing --------------------------------------------------------------------------------------------- */

static void print_graph(const struct graph *gr)
{
	unsigned n = atomic_load(&gr->n_actors), there = 0;

	dprintf(2, "  graph %u: %s, %s, %s, %u actors\n", gr->number, gr->shape->name, gr->mood.name,
		gr->doomed ? "doomed" : "to live", n);
	for (unsigned i = 0; i < n && i < gr->max_actors; i++) {
		const struct actor *a = &gr->actors[i];

		if (atomic_load(&a->ended) || atomic_load(&a->refused) || there++ >= 20)
			continue;
		dprintf(2, "    actor %u (%u) has not ended: goroutine %llu%s, begun %u, %llu steps\n", i, a->n,
			(unsigned long long)a->goid, a->foreign ? " (a thread)" : "", atomic_load(&a->begun),
			(unsigned long long)atomic_load(&a->steps));
	}
	if (there > 20)
		dprintf(2, "    and %u more\n", there - 20);
}

void fail(const struct graph *gr, const char *fmt, ...)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;
	char text[500];
	va_list ap;

	if (atomic_flag_test_and_set(&said))
		for (;;)
			pause(); /* another thread is at it */
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	dprintf(2, "FAIL: %s\n", text);
	/* Without the lock: whoever holds it may be the one that fails, and nothing is freed any more but by
	 * the main thread, which fails itself soon or waits. */
	if (gr)
		dprintf(2, "in graph %u (%s)\n", gr->number, gr->shape->name);
	dprintf(2, "WEFT_STRESS_SEED=%llu WEFT_STRESS_ROUND=%llu%s%s, %d Ps, while: %s\n",
		(unsigned long long)args.seed, now.round ? (unsigned long long)now.round->number : 0ull,
		args.only ? " WEFT_STRESS_ONLY=" : "", args.only ? args.only : "", now.procs, now.stage);
	for (unsigned i = 0; now.round && i < now.round->n_graphs; i++)
		print_graph(&now.round->graphs[i]);
	abort();
}

/* --- Watchdog ---------------------------------------------------------------------------------------------- */

static uint64_t progress(void)
{
	uint64_t sum;

	pthread_mutex_lock(&now.lock);
	sum = now.steps;
	for (unsigned i = 0; now.round && i < now.round->n_graphs; i++) {
		const struct graph *gr = &now.round->graphs[i];
		unsigned n = atomic_load(&gr->n_actors);

		for (unsigned k = 0; k < n && k < gr->max_actors; k++)
			sum += gr->actors[k].steps + gr->actors[k].begun + gr->actors[k].ended;
	}
	pthread_mutex_unlock(&now.lock);
	return sum;
}

/* It counts its own naps, not the clock: where the whole machine stands still it does, too. */
static void *watch(void *arg)
{
	uint64_t last = 0;

	for (unsigned still = 0; still < STUCK_SECONDS * 4; still++) {
		uint64_t sum = progress();

		if (sum != last)
			still = 0;
		last = sum;
		nanosleep(&(struct timespec){ .tv_nsec = 250000000 }, NULL);
	}
	fail(NULL, "nothing has moved for %d s", STUCK_SECONDS);
	return arg;
}

/* --- Epochs -------------------------------------------------------------------------------------------------- */

static int count_dir(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	if (!d)
		fail(NULL, "%s can't be read", path);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void log_line(void *user, int level, const char *instance, uint64_t goid, const char *text)
{
	(void)user, (void)instance, (void)goid;
	if (level <= WEFT_WARN)
		dprintf(2, "log %d: %s\n", level, text);
}

static void start_runtime(uint64_t epoch)
{
	static const int procs[] = { 1, 2, 2, 3, 4, 8 };
	static const size_t recorder[] = { 0, 1 << 18, 1 << 20 };
	uint64_t rng = rnd_mix(args.seed, ~epoch);
	struct weft_host_opts opts = { .log = log_line, .name = round_symbol };
	int rc;

	opts.maxprocs = procs[rnd_in(&rng, 0, sizeof procs / sizeof *procs - 1)];
	opts.recorder_bytes = recorder[rnd_in(&rng, 0, sizeof recorder / sizeof *recorder - 1)];
	opts.no_guard = (1u << rnd_in(&rng, 0, 3)) - 1; /* the next best kind; counts at the first start only */
	now.procs = opts.maxprocs;
	stage("the runtime starts", NULL);
	rc = weft_host_start(&opts);
	if (rc < 0)
		fail(NULL, "weft_host_start: %s", weft_strerror(rc));
}

/* As many threads and descriptors as before, at once or soon: a thread that was joined may still be there
 * for a moment. */
static void stop_runtime(int threads, int *fds)
{
	int rc;

	stage("the runtime stops", NULL);
	rc = weft_host_stop(STUCK_SECONDS * WEFT_SEC);
	if (rc < 0)
		fail(NULL, "weft_host_stop: %s", weft_strerror(rc));
	for (int tries = 0; count_dir("/proc/self/task") != threads; tries++) {
		if (tries == STUCK_SECONDS * 1000)
			fail(NULL, "%d threads before the runtime was started, %d after it has stopped", threads,
			     count_dir("/proc/self/task"));
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	if (*fds < 0)
		*fds = count_dir("/proc/self/fd");
	else if (count_dir("/proc/self/fd") != *fds)
		fail(NULL, "%d descriptors after the first epoch, %d now", *fds, count_dir("/proc/self/fd"));
}

static void run_round(uint64_t number)
{
	struct round *r = round_new(args.seed, number, args.only);

	stage("a round is made", r);
	round_make(r);
	stage("a round runs", r);
	round_wait(r);
	stage("a round is checked", r);
	round_check(r);
	stage("between rounds", NULL);
	round_free(r, &total);
}

static int64_t clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * WEFT_SEC + ts.tv_nsec;
}

static void run(void)
{
	int64_t end = clock_now() + (int64_t)args.seconds * WEFT_SEC;
	int threads = count_dir("/proc/self/task"), fds = -1;
	uint64_t round = args.round;

	do {
		start_runtime(round / ROUNDS_PER_EPOCH);
		do {
			run_round(round);
			round += !args.one_round;
		} while (round % ROUNDS_PER_EPOCH && (!args.one_round || total.rounds % ROUNDS_PER_EPOCH) &&
			 clock_now() < end);
		stop_runtime(threads, &fds);
		total.epochs++;
	} while (clock_now() < end);
}

/* --- Command line ------------------------------------------------------------------------------------------------- */

static bool number(const char *name, const char *text, uint64_t *out)
{
	char *rest;

	if (!text || !*text)
		return false;
	*out = strtoull(text, &rest, 0);
	if (*rest || *text == '-') {
		dprintf(2, "stress: %s must be a number >= 0, not \"%s\"\n", name, text);
		exit(2);
	}
	return true;
}

static void get_args(int argc, char **argv)
{
	if (argc > 3) {
		dprintf(2, "usage: stress [SEED [SECONDS]]\n");
		exit(2);
	}
	if (!number("SEED", argc > 1 ? argv[1] : getenv("WEFT_STRESS_SEED"), &args.seed))
		args.seed = rnd_mix((uint64_t)clock_now(), (uint64_t)getpid()) >> 16;
	(void)number("SECONDS", argc > 2 ? argv[2] : getenv("WEFT_STRESS_SECONDS"), &args.seconds);
	args.one_round = number("WEFT_STRESS_ROUND", getenv("WEFT_STRESS_ROUND"), &args.round);
	args.only = getenv("WEFT_STRESS_ONLY");
	for (unsigned i = 0; args.only && shapes[i]; i++)
		if (strcmp(shapes[i]->name, args.only) == 0)
			return;
	if (args.only) {
		dprintf(2, "stress: WEFT_STRESS_ONLY: there is no shape \"%s\"\n", args.only);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	pthread_t watchdog;

	get_args(argc, argv);
	signal(SIGPIPE, SIG_IGN); /* of pipes whose reader is gone */
	dprintf(1, "WEFT_STRESS_SEED=%llu, %llu s\n", (unsigned long long)args.seed, (unsigned long long)args.seconds);
	if (pthread_create(&watchdog, NULL, watch, NULL) != 0)
		fail(NULL, "no thread for the watchdog");
	run();
	totals_print(&total);
	return 0;
}
