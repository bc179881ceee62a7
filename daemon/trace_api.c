/* trace_api.c - traces into files, for weft_trace_start(), weft_trace_stop() and weft_flight_snapshot().
 *
 * A trace that lasts is written by a thread of its own, which ends with it.  Everybody else here is a thread that may
 * wait.  `lock` guards `writing`; it is held while the thread is started and while it is awaited, so that calls come
 * one after the other. */
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
	int fd, rc;
	atomic_bool stop;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct writing *writing; /* under lock; NULL: none */

static bool recorder_is_on(void)
{
	static struct weft_counters c; /* large; all that matters of it is constant */

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

static void *write_main(void *arg)
{
	struct writing *w = arg;

	pthread_setname_np(pthread_self(), "weft-trace");
	weft_host_thread("weft-trace");
	w->rc = gotrace_file_events(w->live, w->fd, &w->stop);
	if (w->rc == 0)
		w->rc = gotrace_file_names(w->live, w->fd);
	return NULL;
}

static void drop(struct writing *w)
{
	gotrace_live_free(w->live);
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}

/* Under lock. */
static int start(const char *path)
{
	struct gotrace_opts opts = { .host = getpid() };
	struct writing *w;
	int rc;

	if (writing)
		return -EBUSY;
	w = calloc(1, sizeof *w);
	if (!w)
		return -ENOMEM;
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

int trace_api_start(void *user, const char *path)
{
	int rc;

	(void)user;
	pthread_mutex_lock(&lock);
	rc = start(path);
	pthread_mutex_unlock(&lock);
	return rc;
}

int trace_api_stop(void *user)
{
	int rc = -EINVAL;

	(void)user;
	pthread_mutex_lock(&lock);
	if (writing) {
		atomic_store(&writing->stop, true);
		pthread_join(writing->thread, NULL);
		rc = writing->rc;
		drop(writing);
		writing = NULL;
	}
	pthread_mutex_unlock(&lock);
	return rc;
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

	if (pthread_mutex_trylock(&lock) != 0)
		return; /* somebody is at it */
	if (writing) {
		atomic_store(&writing->stop, true);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += limit / WEFT_SEC + (until.tv_nsec + limit % WEFT_SEC) / WEFT_SEC;
		until.tv_nsec = (until.tv_nsec + limit % WEFT_SEC) % WEFT_SEC;
		if (pthread_timedjoin_np(writing->thread, NULL, &until) == 0) {
			drop(writing);
			writing = NULL;
		}
	}
	pthread_mutex_unlock(&lock);
}
