/* wedge.c - goroutines that never give their P back: what the debug server must survive.
 *
 * config: "how" one of
 *	loop    an endless loop
 *	read    read(2) on a pipe that nobody writes to
 *	mutex   two goroutines that deadlock on two mutexes, the rest spins
 *	stdout  one sleeps in the kernel holding stdout's lock, the rest wants to print
 *	init    init itself never returns
 *	chatter logs without end (for a log that nobody reads)
 * and "goroutines", how many (default 2).  None of them ever ends. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <weft.h>

struct wedge {
	const char *how;
	int64_t goroutines;
	int silent[2];
	weft_mutex a, b;
};

static volatile uint64_t spins;

static __attribute__((noinline)) void wedge_in_a_loop(void *arg)
{
	(void)arg;
	for (;;)
		spins = spins + 1;
}

static __attribute__((noinline)) void wedge_in_read(void *arg)
{
	struct wedge *w = arg;
	char c;

	while (read(w->silent[0], &c, 1) != 0)
		;
}

static __attribute__((noinline)) void wedge_lock_both(weft_mutex *first, weft_mutex *second)
{
	weft_lock(first);
	weft_sleep(50 * WEFT_MS); /* both have their first by now */
	weft_lock(second);
	weft_unlock(second);
	weft_unlock(first);
}

static void wedge_ab(void *arg)
{
	struct wedge *w = arg;

	wedge_lock_both(&w->a, &w->b);
}

static void wedge_ba(void *arg)
{
	struct wedge *w = arg;

	wedge_lock_both(&w->b, &w->a);
}

static __attribute__((noinline)) void wedge_holding_stdout(void *arg)
{
	(void)arg;
	flockfile(stdout);
	for (;;)
		nanosleep(&(struct timespec){ .tv_sec = 3600 }, NULL);
}

static __attribute__((noinline)) void wedge_printing(void *arg)
{
	(void)arg;
	for (;;)
		puts("never seen");
}

static __attribute__((noinline)) void wedge_chatting(void *arg)
{
	(void)arg;
	for (;;)
		weft_log(WEFT_INFO, "a line of no interest at all, again and again, to fill whatever holds it");
}

static int wedge_init(void *state, const weft_conf *conf)
{
	struct wedge *w = state;

	w->how = "loop";
	w->goroutines = 2;
	if (weft_conf_str(conf, "how", &w->how) < 0 || weft_conf_int(conf, "goroutines", 1, 1000, &w->goroutines) < 0)
		return -EINVAL;
	if (strcmp(w->how, "init") == 0)
		wedge_in_a_loop(NULL);
	return pipe(w->silent) < 0 ? -EMFILE : 0;
}

static int wedge_all(struct wedge *w, int64_t n, weft_fn fn)
{
	int rc = 0;

	for (int64_t i = 0; i < n && rc >= 0; i++)
		rc = weft_go(fn, w);
	return rc;
}

static int wedge_run(void *state)
{
	struct wedge *w = state;
	int rc;

	if (strcmp(w->how, "read") == 0)
		return wedge_all(w, w->goroutines, wedge_in_read);
	if (strcmp(w->how, "chatter") == 0)
		return wedge_all(w, w->goroutines, wedge_chatting);
	if (strcmp(w->how, "stdout") == 0) {
		rc = weft_go(wedge_holding_stdout, w);
		return rc < 0 ? rc : wedge_all(w, w->goroutines, wedge_printing);
	}
	if (strcmp(w->how, "mutex") == 0) {
		if ((rc = weft_go(wedge_ab, w)) < 0 || (rc = weft_go(wedge_ba, w)) < 0)
			return rc;
		weft_sleep(200 * WEFT_MS); /* let them reach their second lock before the spinning begins */
	}
	return wedge_all(w, w->goroutines, wedge_in_a_loop);
}

WEFT_PLUGIN(.name = "wedge", .version = "1", .about = "never gives a P back", .state_size = sizeof(struct wedge),
	    .init = wedge_init, .run = wedge_run);
