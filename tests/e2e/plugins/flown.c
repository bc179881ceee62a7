/* flown.c - what the flight recorder is triggered by: "do" in the configuration says which, after 300 ms. */
#include <stdlib.h>
#include <string.h>

#include <weft.h>

struct flown {
	char what[16], dir[512];
	weft_mutex mutex;
};

static _Atomic uint64_t sink;

static void compute(int64_t ns)
{
	uint64_t x = 1;

	for (int64_t until = weft_now() + ns; weft_now() < until;)
		for (int i = 0; i < 1000; i++)
			x = x * 6364136223846793005u + 1;
	sink = x;
}

__attribute__((noinline)) static void flown_waiter(void *arg)
{
	struct flown *f = arg;

	weft_lock(&f->mutex);
	weft_unlock(&f->mutex);
}

static void do_block(struct flown *f)
{
	weft_lock(&f->mutex);
	weft_go(flown_waiter, f);
	while (weft_sleep(WEFT_SEC) == 0)
		;
	weft_unlock(&f->mutex);
}

__attribute__((noinline)) static void flown_in_the_queue(void *arg)
{
	(void)arg;
	compute(10 * WEFT_MS);
}

/* Half a second's work for 8 Ps, again and again: who looks may be busy with another snapshot.  In between there is
 * time to stand still. */
static void do_queue(struct flown *f)
{
	(void)f;
	do
		for (int i = 0; i < 400; i++)
			weft_go(flown_in_the_queue, NULL);
	while (weft_sleep(4 * WEFT_SEC) == 0);
}

__attribute__((noinline)) static void flown_computes(struct flown *f)
{
	const weft_ctx *ctx = weft_ctx_self(); /* asking it needs no processor */

	(void)f;
	while (weft_ctx_err(ctx) == 0)
		compute(10 * WEFT_MS);
}

/* A set of labels that is told only by the record that made it. */
__attribute__((noinline)) static void flown_labelled(void *arg)
{
	(void)arg;
	while (weft_sleep(10 * WEFT_MS) == 0)
		;
}

/* In the middle of all that a trace has names for. */
__attribute__((noinline)) static void flown_crashes(struct flown *f)
{
	(void)f;
	weft_label_push("flown_key", "flown_value");
	weft_go(flown_labelled, NULL);
	weft_label_push("flown_other", "x");
	weft_label_pop();
	(void)weft_task_begin("flown_task");
	weft_region_begin("flown_region");
	weft_trace_log("flown_category", "%d of %s", 1, "flown_text");
	weft_sleep(30 * WEFT_MS);
	*(volatile int *)8 = 1;
}

static void say(const char *what, int rc)
{
	weft_log(WEFT_NOTICE, "%s: %d", what, rc);
}

/* Traces by itself. */
static void do_trace(struct flown *f)
{
	char path[600];

	strcpy(stpcpy(path, f->dir), "/mine.trace");
	say("stop without start", weft_trace_stop());
	say("start", weft_trace_start(path));
	say("start again", weft_trace_start(path));
	weft_sleep(100 * WEFT_MS);
	say("stop", weft_trace_stop());
	strcpy(stpcpy(path, f->dir), "/past.trace");
	say("snapshot", weft_flight_snapshot(path, WEFT_SEC));
	say("snapshot of nothing", weft_flight_snapshot("", 0));
	say("snapshot to nowhere", weft_flight_snapshot("/nonexistent/file", 0));
	strcpy(stpcpy(path, f->dir), "/end.trace"); /* goes on until the daemon ends */
	say("start", weft_trace_start(path));
}

static void flown_main(void *arg)
{
	static const struct {
		const char *what;
		void (*fn)(struct flown *f);
	} all[] = { { "block", do_block },
		    { "queue", do_queue },
		    { "stall", flown_computes },
		    { "crash", flown_crashes },
		    { "trace", do_trace } };
	struct flown *f = arg;

	weft_sleep(300 * WEFT_MS);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (!strcmp(all[i].what, f->what))
			all[i].fn(f);
	while (weft_sleep(WEFT_SEC) == 0)
		;
}

static int flown_init(void *state, const weft_conf *conf)
{
	struct flown *f = state;
	const char *s = "";
	int rc = weft_conf_str(conf, "do", &s);

	if (rc == 0) {
		strncpy(f->what, s, sizeof f->what - 1);
		s = "";
		rc = weft_conf_str(conf, "dir", &s);
		strncpy(f->dir, s, sizeof f->dir - 1);
	}
	return rc;
}

static int flown_run(void *state)
{
	return weft_go(flown_main, state);
}

WEFT_PLUGIN(.name = "flown", .version = "1", .about = "triggers of the flight recorder",
	    .state_size = sizeof(struct flown), .init = flown_init, .run = flown_run);
