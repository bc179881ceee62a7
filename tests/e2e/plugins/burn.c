/* burn.c - CPU time in two functions, 70 to 30: what the CPU profile must show.
 *
 * Work is counted in equal units of arithmetic, so the split does not depend on the clock.  Each part
 * carries a label part=...; config "goroutines" (default 1) says how many burn.  With "file" it writes a CPU profile
 * of its first `own` (default 1500ms) there by itself; called off before that, or with "own" 0, it leaves the
 * profile on. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <weft.h>

struct burn {
	int64_t goroutines, own;
	const char *file;
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

static void burn_profile(void *arg)
{
	const struct burn *b = arg;
	int begun, again, written, more, fd;

	for (int n = 0; (begun = weft_profile_cpu_start(250)) == -EBUSY && n < 400; n++)
		if (weft_sleep(50 * WEFT_MS) < 0)
			return;
	again = weft_profile_cpu_start(0);
	if (b->own == 0) {
		weft_log(WEFT_INFO, "left on: %s", weft_strerror(begun));
		return;
	}
	if (weft_sleep(b->own) < 0)
		return;
	fd = open(b->file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	written = weft_profile_cpu_stop(fd);
	more = weft_profile_cpu_stop(fd);
	close(fd);
	weft_log(WEFT_INFO, "own profile: %s, %s, %s, %s", weft_strerror(begun), weft_strerror(again),
		 weft_strerror(written), weft_strerror(more));
}

static int burn_init(void *state, const weft_conf *conf)
{
	struct burn *b = state;

	b->goroutines = 1;
	b->own = 1500 * WEFT_MS;
	if (weft_conf_dur(conf, "own", &b->own) < 0 || weft_conf_str(conf, "file", &b->file) < 0)
		return -EINVAL;
	return weft_conf_int(conf, "goroutines", 0, 1000, &b->goroutines);
}

static int burn_run(void *state)
{
	struct burn *b = state;
	int rc = b->file ? weft_go(burn_profile, b) : 0;

	for (int64_t i = 0; i < b->goroutines && rc >= 0; i++)
		rc = weft_go(burn_loop, NULL);
	return rc;
}

WEFT_PLUGIN(.name = "burn", .version = "1", .about = "70 % here, 30 % there", .state_size = sizeof(struct burn),
	    .init = burn_init, .run = burn_run);
