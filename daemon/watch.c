/* watch.c - what the daemon looks at from time to time: deadlocks each second, and the scheduler as often as
 * WEFTDEBUG=schedtrace= says.
 *
 * Each is a timer on the loop that puts a task on the pool; the timer is set anew when the task is back, so a look
 * that takes long is followed by a full pause and never by a second one beside it. */
#include "flight.h"

#include <string.h>

#include "schedstate.h"

#define DEADLOCKS_EVERY WEFT_SEC
#define LOG_GS_MAX 200 /* the log holds some 1,000 lines */

struct watch {
	struct weftd *d;
	struct http_timer *timer;
	int64_t every;
	void (*work)(void *arg);
};

static struct watch watches[2];

static void rearm(void *arg)
{
	struct watch *w = arg;

	w->d->hl->arm(w->d->hl->user, w->timer, w->every);
}

static void on_time(void *arg)
{
	struct watch *w = arg;

	if (w->d->state == WEFTD_STOPPED)
		return;
	if (w->d->hl->offload(w->d->hl->user, 0, w->work, rearm, w) < 0)
		rearm(w); /* no memory now; perhaps next time */
}

/* pool */
static void find_deadlocks(void *arg)
{
	const struct weftd *d = ((struct watch *)arg)->d;
	int n = weft_host_find_deadlocks();

	if (n > 0 && d->conf->flight.on.deadlock)
		flight_trigger(FLIGHT_DEADLOCK, "%d instance%s in a deadlock, which the log names", n,
			       n == 1 ? " is" : "s are");
}

/* pool */
static void trace_sched(void *arg)
{
	bool detail = ((struct watch *)arg)->d->debug.scheddetail;
	struct sched_state st;
	struct buf text = { 0 };

	if (sched_state_read(&st, detail) < 0)
		return;
	if (st.n_g > LOG_GS_MAX)
		st.n_g = LOG_GS_MAX;
	sched_text(&text, &st, detail);
	sched_state_free(&st);
	buf_add(&text, "", 1);
	for (char *line = text.b; !text.failed && *line;) {
		char *end = line + strcspn(line, "\n");
		bool more = *end;

		*end = '\0';
		logger_write(WEFT_NOTICE, NULL, 0, line);
		line = more ? end + 1 : end;
	}
	buf_free(&text);
}

static int watch(struct weftd *d, struct watch *w, int64_t every, void (*work)(void *arg))
{
	*w = (struct watch){ .d = d, .every = every, .work = work };
	w->timer = d->hl->timer(d->hl->user, on_time, w);
	if (!w->timer)
		return -ENOMEM;
	rearm(w);
	return 0;
}

int watch_start(struct weftd *d)
{
	int rc = watch(d, &watches[0], DEADLOCKS_EVERY, find_deadlocks);

	if (rc == 0 && d->debug.schedtrace)
		rc = watch(d, &watches[1], d->debug.schedtrace, trace_sched);
	return rc;
}
