/* cpuburn.c - uses a set share of CPU time, in two functions of known weight.
 *
 * In every period each goroutine computes for `load` percent of it, 70 % of that in burn_float() and
 * 30 % in burn_hash(), and sleeps for the rest.  A CPU profile must show these two in that proportion.
 *
 * Code that computes for long should look at its context and let others have their turn now and then:
 * a slice here is a millisecond or two, after which the goroutine yields and sees whether it is called
 * off.
 *
 * What counts is the CPU time of the thread, so that a busy machine does not change the proportion; a
 * goroutine stays on its thread as long as it does not wait.  Slices differ in length because a sampler
 * that ticks every 10 ms would meet equal ones always at the same point.
 *
 *	"config": { "load": 20, "goroutines": 1, "period": "100ms" }
 *
 * load         percent of one CPU that each goroutine uses
 * goroutines   how many of them
 * period       after which the pattern repeats */
#include <weft.h>

#include <time.h>

struct cpuburn {
	int64_t load, goroutines, period;
};

/* What was computed goes here, so that it is computed at all. */
static volatile double float_sink;
static volatile uint64_t hash_sink;

/* CPU time of this thread so far. */
static int64_t cpu_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * WEFT_SEC + t.tv_nsec;
}

__attribute__((noinline)) static void burn_float(int64_t until)
{
	double x = 1.0;

	while (cpu_time() < until)
		for (int i = 0; i < 5000; i++)
			x = x * 1.000001 + 1.0 / (x + i);
	float_sink = x;
}

__attribute__((noinline)) static void burn_hash(int64_t until)
{
	uint64_t h = 14695981039346656037u;

	while (cpu_time() < until)
		for (uint64_t i = 0; i < 20000; i++)
			h = (h ^ i) * 1099511628211u;
	hash_sink = h;
}

/* Compute for `span` in slices.  0, or -ECANCELED. */
static int burn(int64_t span, uint64_t *random)
{
	int64_t slice;

	for (int64_t done = 0; done < span; done += slice) {
		int64_t now = cpu_time();

		*random = *random * 6364136223846793005u + 1442695040888963407u;
		slice = WEFT_MS + (int64_t)(*random >> 44); /* 1 to 2 ms */
		if (slice > span - done)
			slice = span - done;
		burn_float(now + slice * 7 / 10);
		burn_hash(now + slice);
		if (weft_ctx_err(weft_ctx_self()) < 0)
			return -ECANCELED;
		weft_yield();
	}
	return 0;
}

static void burn_in_periods(void *arg)
{
	struct cpuburn *c = arg;
	int64_t busy = c->period / 100 * c->load;
	uint64_t random = weft_goid();
	int64_t next = weft_now() + c->period, left = 0;

	WEFT_LABEL("job", "burn") {
		while (burn(busy, &random) == 0) {
			left = next - weft_now();
			if (weft_sleep(left) < 0)
				break;
			/* A period that took too long is made up for by a shorter sleep, but not many of them. */
			next += left < -c->period ? c->period - left : c->period;
		}
	}
}

static int cpuburn_init(void *state, const weft_conf *conf)
{
	struct cpuburn *c = state;

	c->load = 20;
	c->goroutines = 1;
	c->period = 100 * WEFT_MS;
	if (weft_conf_int(conf, "load", 0, 100, &c->load) < 0 ||
	    weft_conf_int(conf, "goroutines", 1, 1000, &c->goroutines) < 0 ||
	    weft_conf_dur(conf, "period", &c->period) < 0)
		return -EINVAL;
	if (c->period < WEFT_MS || c->period > 3600 * WEFT_SEC) {
		weft_log(WEFT_ERROR, "period: from 1ms to 1h");
		return -EINVAL;
	}
	return 0;
}

static int cpuburn_run(void *state)
{
	struct cpuburn *c = state;
	int rc = 0;

	for (int64_t i = 0; rc == 0 && i < c->goroutines; i++)
		rc = weft_go(burn_in_periods, c);
	return rc;
}

WEFT_PLUGIN(.name = "cpuburn", .version = "1", .about = "computes for a set share of the time",
	    .state_size = sizeof(struct cpuburn), .init = cpuburn_init, .run = cpuburn_run);
