/* trace_api.c - traces into files, for weft_trace_start(), weft_trace_stop() and weft_flight_snapshot().
 *
 * A trace that lasts is written by a thread of its own, which ends with it.  It belongs to whoever waits for that end,
 * or else, when the instance that began it has ended, to itself.  `lock` guards `writing` and what is said so below;
 * it is held for no longer than it takes to open the file and to start a thread. */
#include "flight.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "gotrace_file.h"

struct writing {
	pthread_t thread;
	struct gotrace_live *live;
	int fd;
	uint32_t instance; /* whose it is, or 0 */
	atomic_bool stop;
	/* under lock */
	int rc;
	bool over;    /* it is written, but for its owner to take away */
	bool awaited; /* by whoever stops it */
	bool alone;   /* nobody will: it is its own */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static struct writing *writing; /* under lock; NULL: none */

static bool recorder_is_on(void)
{
	struct weft_counters c;

	weft_read_counters(&c);
	return c.recorder_bytes > 0;
}

/* A new file, or -Exxx. */
static int create(const char *path)
{
	int fd;

	if (!recorder_is_on())
		return -ENOTSUP;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	return fd < 0 ? -errno : fd;
}

static void drop(struct writing *w)
{
	gotrace_live_free(w->live);
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}

/* Under lock: the thread has nothing to do any more.  What went wrong is told to whoever waits for it, else to the log.
 */
static void bury(struct writing *w)
{
	if (w->rc < 0 && !w->awaited)
		log_error("the trace that %s%s began can't be written: %s",
			  w->instance ? "instance " : "a foreign thread", weft_read_instance(w->instance),
			  weft_strerror(w->rc));
	if (w->alone)
		pthread_detach(w->thread);
	else
		pthread_join(w->thread, NULL);
	drop(w);
	writing = NULL;
}

static void *write_main(void *arg)
{
	struct writing *w = arg;
	int rc;

	pthread_setname_np(pthread_self(), "weft-trace");
	weft_host_thread("weft-trace");
	rc = gotrace_file_events(w->live, w->fd, &w->stop);
	if (rc == 0)
		rc = gotrace_file_names(w->live, w->fd);
	pthread_mutex_lock(&lock);
	w->rc = rc;
	w->over = true;
	if (w->alone)
		bury(w);
	pthread_cond_broadcast(&ended);
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* Under lock. */
static int start(const char *path, uint32_t instance)
{
	struct gotrace_opts opts = { .host = getpid() };
	struct writing *w;
	int rc;

	if (writing)
		return -EBUSY;
	w = calloc(1, sizeof *w);
	if (!w)
		return -ENOMEM;
	w->instance = instance;
	w->fd = rc = create(path);
	if (rc >= 0) {
		w->live = gotrace_live_new(&opts, INT64_MAX);
		rc = w->live ? -pthread_create(&w->thread, NULL, write_main, w) : -ENOMEM;
	}
	if (rc < 0)
		drop(w);
	else
		writing = w;
	return rc;
}

int trace_api_start(void *user, const char *path, uint32_t instance)
{
	int rc;

	(void)user;
	pthread_mutex_lock(&lock);
	rc = start(path, instance);
	pthread_mutex_unlock(&lock);
	return rc;
}

int trace_api_stop(void *user)
{
	int rc = -EINVAL;

	(void)user;
	pthread_mutex_lock(&lock);
	if (writing && !writing->awaited && !writing->alone) {
		writing->awaited = true;
		atomic_store(&writing->stop, true);
		while (!writing->over)
			pthread_cond_wait(&ended, &lock);
		rc = writing->rc;
		bury(writing);
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

void trace_api_instance_end(void *user, uint32_t instance)
{
	(void)user;
	pthread_mutex_lock(&lock);
	if (writing && instance && writing->instance == instance && !writing->awaited) {
		writing->alone = true;
		atomic_store(&writing->stop, true);
		if (writing->over) /* it failed before */
			bury(writing);
	}
	pthread_mutex_unlock(&lock);
}

int trace_api_flight(void *user, const char *path, int64_t ns)
{
	const struct conf *c = user;
	int64_t now = now_ns();
	struct gotrace_opts opts = { .from = now - (ns ? ns : c->flight.seconds), .host = getpid() };
	int fd = create(path), rc;

	if (fd < 0)
		return fd;
	opts.from = opts.from > 0 ? opts.from : 1;
	rc = gotrace_file(&opts, now, fd, NULL);
	close(fd);
	return rc;
}

void trace_api_end(int64_t limit)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += limit / WEFT_SEC + (until.tv_nsec + limit % WEFT_SEC) / WEFT_SEC;
	until.tv_nsec = (until.tv_nsec + limit % WEFT_SEC) % WEFT_SEC;
	pthread_mutex_lock(&lock);
	if (writing)
		atomic_store(&writing->stop, true);
	while (writing && !writing->over && pthread_cond_timedwait(&ended, &lock, &until) == 0)
		;
	if (writing && writing->over && !writing->awaited)
		bury(writing);
	pthread_mutex_unlock(&lock);
}
