/* life.c - the life of an instance, told in the log, and ways to end it badly.
 *
 * config: "end" one of
 *	clean     (default) goroutines that end when their context does
 *	straggler a goroutine that goes on working, yielding, after it was called off
 *	segv      a goroutine that writes through a null pointer, when stop is called
 *	overflow  a goroutine that recurses for ever, when stop is called
 *	run       run returns an error
 * Every callback logs its name. */
#include <string.h>

#include <weft.h>

struct life {
	const char *end;
};

static __attribute__((noinline)) void life_straggler(void *arg)
{
	(void)arg;
	for (;;)
		weft_yield();
}

static __attribute__((noinline)) void life_segv(void *arg)
{
	volatile int *volatile nowhere = arg;

	*nowhere = 1;
}

static __attribute__((noinline)) int life_deeper(volatile int *n)
{
	volatile char room[256];

	room[0] = (char)*n;
	if (++*n < 0)
		return 0;
	return life_deeper(n) + room[0];
}

static void life_overflow(void *arg)
{
	int n = 0;

	(void)arg;
	life_deeper(&n);
}

static void life_worker(void *arg)
{
	(void)arg;
	while (weft_sleep(10 * WEFT_MS) == 0)
		;
	weft_log(WEFT_INFO, "life: worker called off");
}

static int life_init(void *state, const weft_conf *conf)
{
	struct life *l = state;

	l->end = "clean";
	weft_log(WEFT_INFO, "life: init");
	return weft_conf_str(conf, "end", &l->end);
}

static int life_run(void *state)
{
	struct life *l = state;
	int rc = weft_go(life_worker, NULL);

	weft_log(WEFT_INFO, "life: run");
	if (rc >= 0 && strcmp(l->end, "straggler") == 0)
		rc = weft_go(life_straggler, NULL);
	return strcmp(l->end, "run") == 0 ? -EIO : rc;
}

static void life_stop(void *state)
{
	struct life *l = state;

	weft_log(WEFT_INFO, "life: stop, context %s", weft_ctx_err(weft_ctx_self()) ? "over" : "alive");
	if (strcmp(l->end, "segv") == 0)
		(void)weft_go(life_segv, NULL);
	if (strcmp(l->end, "overflow") == 0)
		(void)weft_go(life_overflow, NULL);
}

static void life_fini(void *state)
{
	(void)state;
	weft_log(WEFT_INFO, "life: fini");
}

WEFT_PLUGIN(.name = "life", .version = "1", .about = "tells its life in the log", .state_size = sizeof(struct life),
	    .init = life_init, .run = life_run, .stop = life_stop, .fini = life_fini);
