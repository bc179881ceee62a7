/* burn.c - CPU time in two functions, 70 to 30: what the CPU profile must show.
 *
 * Work is counted in equal units of arithmetic, so the split does not depend on the clock.  Each part
 * carries a label part=...; config "goroutines" (default 1) says how many burn. */
#include <weft.h>

struct burn {
	int64_t goroutines;
};

static uint64_t burn_unit(uint64_t x)
{
	for (int i = 0; i < 20000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	return x;
}

static __attribute__((noinline)) uint64_t burn_seventy(uint64_t x)
{
	for (int i = 0; i < 7; i++)
		x = burn_unit(x);
	return x;
}

static __attribute__((noinline)) uint64_t burn_thirty(uint64_t x)
{
	for (int i = 0; i < 3; i++)
		x = burn_unit(x);
	return x;
}

static void burn_loop(void *arg)
{
	volatile uint64_t keep = 88172645463325252u;

	(void)arg;
	while (weft_ctx_err(weft_ctx_self()) == 0) {
		WEFT_LABEL("part", "seventy") {
			keep = burn_seventy(keep);
		}
		WEFT_LABEL("part", "thirty") {
			keep = burn_thirty(keep);
		}
		weft_yield();
	}
}

static int burn_init(void *state, const weft_conf *conf)
{
	struct burn *b = state;

	b->goroutines = 1;
	return weft_conf_int(conf, "goroutines", 1, 1000, &b->goroutines);
}

static int burn_run(void *state)
{
	struct burn *b = state;
	int rc = 0;

	for (int64_t i = 0; i < b->goroutines && rc >= 0; i++)
		rc = weft_go(burn_loop, NULL);
	return rc;
}

WEFT_PLUGIN(.name = "burn", .version = "1", .about = "70 % here, 30 % there", .state_size = sizeof(struct burn),
	    .init = burn_init, .run = burn_run);
