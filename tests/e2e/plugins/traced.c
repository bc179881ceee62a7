/* traced.c - waits whose lengths are known, for the execution trace: each goes on for as long as the instance.
 *
 * config: "late" how long a goroutine that was woken has to wait for the only P, over and over; then there is nobody
 * else. */
#include <stdlib.h>
#include <unistd.h>

#include <weft.h>

struct traced {
	int pipe[2];
	int64_t late;
	weft_chan *there, *back;
};

static bool over(void)
{
	return weft_ctx_err(weft_ctx_self()) != 0;
}

__attribute__((noinline)) static void traced_sleeper(void *arg)
{
	(void)arg;
	while (!over())
		weft_sleep(10 * WEFT_MS);
}

/* A byte each 10 ms, and who waits for it. */
__attribute__((noinline)) static void traced_writer(void *arg)
{
	struct traced *t = arg;

	while (weft_sleep(10 * WEFT_MS) == 0)
		(void)weft_write(t->pipe[1], "x", 1);
}

__attribute__((noinline)) static void traced_reader(void *arg)
{
	struct traced *t = arg;
	char c;

	while (!over())
		(void)weft_read(t->pipe[0], &c, 1);
}

__attribute__((noinline)) static void traced_section(void *arg)
{
	(void)arg;
	while (weft_sleep(5 * WEFT_MS) == 0)
		WEFT_BLOCKING
		{
			usleep(2000);
		}
}

static void traced_child(void *arg)
{
	(void)arg;
}

__attribute__((noinline)) static void traced_parent(void *arg)
{
	(void)arg;
	while (weft_sleep(WEFT_MS) == 0)
		weft_go(traced_child, NULL);
}

/* A task with one below it, 3 ms each in a region, one of them in a section; memory that comes and goes. */
__attribute__((noinline)) static void traced_tasks(void *arg)
{
	void *held = NULL;

	(void)arg;
	weft_label_push("kind", "tasks");
	while (weft_sleep(5 * WEFT_MS) == 0) {
		free(held);
		held = malloc(2 << 20);
		WEFT_TASK("traced_request")
			WEFT_REGION("traced_outer") {
				weft_trace_log("step", "one of %d", 2);
				weft_sleep(3 * WEFT_MS);
				WEFT_TASK("traced_part")
					WEFT_REGION("traced_inner")
						WEFT_BLOCKING
						{
							weft_trace_log("step", "two, in a section");
							usleep(3000);
						}
			}
	}
	free(held);
}

/* It says nothing at all: in every window from end to end. */
__attribute__((noinline)) static void traced_silent(void *arg)
{
	const weft_ctx *ctx = weft_ctx_self();

	(void)arg;
	while (weft_ctx_err(ctx) == 0)
		;
}

/* It is sent something, and may not run until the sender, who computes, waits for the answer. */
__attribute__((noinline)) static void traced_late(void *arg)
{
	struct traced *t = arg;
	int n;

	while (weft_chan_recv(t->there, &n, sizeof n) >= 0 && weft_chan_send(t->back, &n, sizeof n) >= 0)
		;
}

static int traced_waker(struct traced *t)
{
	int n = 0, rc = 0;

	while (rc >= 0) {
		int64_t start, now;

		rc = weft_chan_send(t->there, &n, sizeof n);
		start = now = weft_now();
		while (now < start + t->late)
			now = weft_now();
		weft_trace_log("computed", "%lld", (long long)(now - start));
		if (rc >= 0)
			rc = weft_chan_recv(t->back, &n, sizeof n);
	}
	return rc == -ECANCELED ? 0 : rc;
}

static int traced_init(void *state, const weft_conf *conf)
{
	struct traced *t = state;

	return weft_conf_dur(conf, "late", &t->late);
}

static int run_late(struct traced *t)
{
	int rc;

	t->there = weft_chan_new(sizeof(int), 1);
	t->back = weft_chan_new(sizeof(int), 1);
	rc = t->there && t->back ? weft_go(traced_late, t) : -ENOMEM;
	return rc < 0 ? rc : traced_waker(t);
}

static int traced_run(void *state)
{
	static const weft_fn fns[] = { traced_sleeper, traced_writer, traced_reader, traced_section,
				       traced_parent,  traced_tasks,  traced_silent };
	struct traced *t = state;
	int rc;

	if (t->late)
		return run_late(t);
	rc = pipe(t->pipe) < 0 ? -errno : 0;
	for (size_t i = 0; rc == 0 && i < sizeof fns / sizeof *fns; i++)
		rc = weft_go(fns[i], t);
	return rc;
}

WEFT_PLUGIN(.name = "traced", .version = "1", .about = "waits of known lengths", .state_size = sizeof(struct traced),
	    .init = traced_init, .run = traced_run);
