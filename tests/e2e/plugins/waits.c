/* waits.c - waits, threads and things held in known numbers: what block, mutex, threadcreate, blocking and a profile
 * of a plugin must show.
 *
 * Once: waits_holder holds a lock for "hold" while WAITERS goroutines want it (waits_locker), and a slow stage
 * (waits_stage) takes ITEMS items with "hold" / ITEMS between them, for which waits_producer waits.  30 things are
 * held in the profile "waits.held", by three functions.  One thread is started; one sleep is made without a word to the
 * runtime.  Then the mutex profile is written to "file", the block profile into a pipe, and the log says that it is
 * done.
 *
 * "again": after that the lock is held once more every 100 ms, by waits_holder_again: what a difference shows. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <weft.h>

#define WAITERS 5
#define ITEMS 10
#define NOT_LAST __asm__ volatile("") /* no tail call: the function stays on the stack */

struct waits {
	int64_t hold;
	bool again;
	const char *file;
	weft_mutex lock;
	weft_chan *items;
	weft_profile *held;
	char thing[30];
	weft_wg wg;
};

static __attribute__((noinline)) void waits_locker(void *arg)
{
	struct waits *w = arg;

	weft_lock(&w->lock);
	weft_unlock(&w->lock);
	NOT_LAST;
}

static void hold(struct waits *w)
{
	weft_wg done = { 0 };

	weft_lock(&w->lock);
	for (int i = 0; i < WAITERS; i++)
		weft_wg_go(&done, waits_locker, w);
	weft_sleep(w->hold);
	weft_unlock(&w->lock);
	weft_wg_wait(&done);
}

static __attribute__((noinline)) void waits_holder(struct waits *w)
{
	weft_label_push("phase", "first");
	hold(w);
	weft_label_pop();
	NOT_LAST;
}

static __attribute__((noinline)) void waits_holder_again(struct waits *w)
{
	hold(w);
	NOT_LAST;
}

static __attribute__((noinline)) void waits_stage(void *arg)
{
	struct waits *w = arg;
	int64_t item;

	while (weft_chan_recv(w->items, &item, sizeof(item)) > 0)
		weft_sleep(w->hold / ITEMS);
	NOT_LAST;
}

static __attribute__((noinline)) void waits_producer(struct waits *w)
{
	for (int64_t i = 0; i < ITEMS + 1; i++)
		weft_chan_send(w->items, &i, sizeof(i));
	NOT_LAST;
}

#define TAKES(name, from, to)                                                                                          \
	static __attribute__((noinline)) void name(struct waits *w)                                                    \
	{                                                                                                              \
		for (int i = (from); i < (to); i++)                                                                    \
			weft_profile_add(w->held, &w->thing[i], 0);                                                    \
		NOT_LAST;                                                                                              \
	}
TAKES(waits_take_five, 0, 5)
TAKES(waits_take_ten, 5, 15)
TAKES(waits_take_fifteen, 15, 30)

static void *thread(void *arg)
{
	return arg;
}

static __attribute__((noinline)) void waits_thread(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, thread, NULL) == 0)
		pthread_join(t, NULL);
	NOT_LAST;
}

static __attribute__((noinline)) void waits_undeclared(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
	NOT_LAST;
}

static void read_slowly(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char part[1024];
	ssize_t n;

	while ((n = read(fd, part, sizeof part)) != 0)
		if (n < 0 && weft_sleep(WEFT_MS) < 0)
			break;
	close(fd);
}

/* Into a pipe that is full and does not block. */
static int write_to_slow_reader(void)
{
	static const char full[4096];
	int rc, fd[2];

	if (pipe(fd) < 0)
		return -errno;
	(void)fcntl(fd[0], F_SETFL, O_NONBLOCK);
	(void)fcntl(fd[1], F_SETFL, O_NONBLOCK);
	while (write(fd[1], full, sizeof full) > 0)
		;
	rc = weft_go(read_slowly, (void *)(intptr_t)fd[0]);
	if (rc == 0)
		rc = weft_profile_write(weft_profile_lookup("block"), fd[1], 1);
	close(fd[1]);
	return rc;
}

/* What takes a request is not found, and its name is taken. */
static bool is_refused(const char *name)
{
	return !weft_profile_lookup(name) && !weft_profile_new(name);
}

static void write_profile(const struct waits *w)
{
	int fd = open(w->file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	int rc = weft_profile_write(weft_profile_lookup("mutex"), fd, 0);

	close(fd);
	if (rc < 0)
		weft_log(WEFT_ERROR, "the profile is not written: %s", weft_strerror(rc));
	weft_log(WEFT_INFO, "to a slow reader: %s", weft_strerror(write_to_slow_reader()));
	weft_log(WEFT_INFO, "profile, cmdline, delta_heap: %s",
		 is_refused("profile") && is_refused("cmdline") && is_refused("delta_heap") ? "refused" : "found");
}

static int waits_init(void *state, const weft_conf *conf)
{
	struct waits *w = state;

	w->hold = 200 * WEFT_MS;
	if (weft_conf_dur(conf, "hold", &w->hold) < 0 || weft_conf_bool(conf, "again", &w->again) < 0 ||
	    weft_conf_str(conf, "file", &w->file) < 0)
		return -EINVAL;
	w->items = weft_chan_new(sizeof(int64_t), 0);
	w->held = weft_profile_new("waits.held");
	return w->items && w->held ? 0 : -ENOMEM;
}

static int waits_run(void *state)
{
	struct waits *w = state;

	waits_take_five(w);
	waits_take_ten(w);
	waits_take_fifteen(w);
	waits_holder(w);
	weft_wg_go(&w->wg, waits_stage, w);
	waits_producer(w);
	weft_chan_close(w->items);
	weft_wg_wait(&w->wg);
	waits_thread();
	waits_undeclared();
	if (w->file)
		write_profile(w);
	weft_log(WEFT_INFO, "all has been waited for");
	while (w->again && weft_sleep(100 * WEFT_MS) == 0)
		waits_holder_again(w);
	weft_chan_recv(NULL, NULL, sizeof(int64_t));
	return 0;
}

static void waits_fini(void *state)
{
	struct waits *w = state;

	weft_profile_free(w->held);
	weft_chan_free(w->items);
}

WEFT_PLUGIN(.name = "waits", .version = "1", .about = "waits of known length", .state_size = sizeof(struct waits),
	    .init = waits_init, .run = waits_run, .fini = waits_fini);
