/* flight.c - the flight recorder's thread: waits for a trigger, takes a snapshot, looks around.
 *
 *	SIGUSR2's handler     -> asked, event_fd
 *	anybody               -> pending (one of each reason; more are counted as suppressed), event_fd
 *	the thread            -> its own looks (flight_watch.c)
 *
 * A snapshot is the trace of the last seconds and the goroutines of that moment: the rings are read first, then the
 * stacks, and names are looked up last.  A file gets its name when it is whole; the trace last, so where there is a
 * trace its dump is there too.
 *
 * `lock` guards pending and when the last one was taken; nobody waits under it. */
#include "flight.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "expo.h"
#include "flight_dir.h"
#include "gotrace_file.h"
#include "version.h"

static const char *const words[] = {
#define X(name, word) word,
	FLIGHT_REASONS(X)
#undef X
};

static struct {
	/* constant after start */
	const struct conf *conf;
	const char *dir;
	int event_fd; /* -1: nothing is kept */
	struct flight_watch *watch;
	atomic_bool asked;
	atomic_bool ready, busy; /* the thread: has done with what others left; takes one */
	/* counters */
	_Atomic uint64_t taken[FLIGHT_REASON_N], errors, suppressed;
	pthread_mutex_t lock;
	/* under lock */
	bool pending[FLIGHT_REASON_N];
	struct flight_found due[FLIGHT_REASON_N];
	int64_t last; /* snapshot; 0: none yet */
} flight = { .event_fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER };

/* --- Triggers ------------------------------------------------------------------------------------ */

/* sig */
static void wake(void)
{
	uint64_t one = 1;

	(void)!write(flight.event_fd, &one, sizeof one); /* fails when it is awake anyway */
}

bool flight_signal(void)
{
	if (flight.event_fd < 0)
		return false;
	atomic_store(&flight.asked, true);
	wake();
	return true;
}

/* Under lock. */
static bool cools_down(void)
{
	return flight.last && now_ns() - flight.last < flight.conf->flight.cooldown;
}

static void trigger(const struct flight_found *found)
{
	bool taken;

	pthread_mutex_lock(&flight.lock);
	taken = !flight.pending[found->reason] && !cools_down();
	if (taken) {
		flight.due[found->reason] = *found;
		flight.pending[found->reason] = true;
	}
	pthread_mutex_unlock(&flight.lock);
	if (taken)
		wake();
	else
		atomic_fetch_add(&flight.suppressed, 1);
}

void flight_trigger(enum flight_reason reason, const char *fmt, ...)
{
	struct flight_found found = { .reason = reason };
	va_list ap;

	if (flight.event_fd < 0)
		return;
	va_start(ap, fmt);
	vsnprintf(found.what, sizeof found.what, fmt, ap);
	va_end(ap);
	trigger(&found);
}

/* The next one that is due, under lock; in the cool-down they are dropped. */
static bool next_pending(struct flight_found *out)
{
	for (int r = 0; r < FLIGHT_REASON_N; r++) {
		if (!flight.pending[r])
			continue;
		flight.pending[r] = false;
		*out = flight.due[r];
		if (!cools_down())
			return true;
		atomic_fetch_add(&flight.suppressed, 1);
	}
	return false;
}

/* What is to be taken now. */
static bool take_due(struct flight_found *out)
{
	bool due = atomic_exchange(&flight.asked, false);

	*out = (struct flight_found){ FLIGHT_SIGNAL, "SIGUSR2" };
	pthread_mutex_lock(&flight.lock);
	due = due || next_pending(out);
	if (due)
		flight.last = now_ns();
	pthread_mutex_unlock(&flight.lock);
	return due;
}

/* --- A snapshot ------------------------------------------------------------------------------------ */

struct snapshot {
	const struct flight_found *found;
	struct timespec at;
	char name[FLIGHT_NAME], trace_temp[32], dump_temp[32];
	int trace, dump; /* descriptors, below 0: none */
};

static int open_files(struct snapshot *s)
{
	snprintf(s->trace_temp, sizeof s->trace_temp, ".flight-%d.trace", getpid());
	snprintf(s->dump_temp, sizeof s->dump_temp, ".flight-%d.txt", getpid());
	s->trace = flight_create(flight.dir, s->trace_temp);
	s->dump = s->trace < 0 ? s->trace : flight_create(flight.dir, s->dump_temp);
	return s->dump < 0 ? s->dump : 0;
}

static int write_dump(const struct snapshot *s)
{
	struct buf b = { 0 };
	int rc;

	buf_fmt(&b, "%s: %s\nweftd %s, process %d, %lld.%03ld s since 1970\n\n", words[s->found->reason],
		s->found->what, WEFT_VERSION, getpid(), (long long)s->at.tv_sec, s->at.tv_nsec / WEFT_MS);
	rc = buf_write(&b, s->dump);
	buf_free(&b);
	return rc < 0 ? rc : http_profile_write("goroutine", 2, flight.conf->http.labels, s->dump);
}

static int write_both(const struct snapshot *s)
{
	int64_t now = now_ns();
	struct gotrace_opts opts = { .from = now - flight.conf->flight.seconds, .host = getpid() };
	struct gotrace_live *l;
	int rc;

	opts.from = opts.from > 0 ? opts.from : 1;
	l = gotrace_live_new(&opts, now);
	rc = l ? gotrace_file_events(l, s->trace, NULL) : -ENOMEM;
	if (rc == 0)
		rc = write_dump(s);
	if (rc == 0)
		rc = gotrace_file_names(l, s->trace);
	gotrace_live_free(l);
	return rc;
}

static int publish(const struct snapshot *s)
{
	char file[FLIGHT_NAME + 8];
	int rc;

	snprintf(file, sizeof file, "%s.txt", s->name);
	rc = flight_publish(flight.dir, s->dump_temp, file);
	snprintf(file, sizeof file, "%s.trace", s->name);
	return rc < 0 ? rc : flight_publish(flight.dir, s->trace_temp, file);
}

static void prune(void)
{
	int64_t bytes = flight.conf->flight.max_bytes;
	int rc = flight_prune(flight.dir, (size_t)flight.conf->flight.max_snapshots,
			      bytes ? (uint64_t)bytes : UINT64_MAX);

	if (rc < 0)
		log_error("flight recorder: old snapshots in %s can't be deleted: %s", flight.dir, weft_strerror(rc));
}

static void take(const struct flight_found *found)
{
	struct snapshot s = { .found = found, .trace = -1, .dump = -1 };
	int rc;

	clock_gettime(CLOCK_REALTIME, &s.at);
	flight_name(s.name, s.at.tv_sec * WEFT_SEC + s.at.tv_nsec, words[found->reason]);
	rc = open_files(&s);
	if (rc == 0)
		rc = write_both(&s);
	if (rc == 0)
		rc = publish(&s);
	if (s.trace >= 0)
		close(s.trace);
	if (s.dump >= 0)
		close(s.dump);
	if (rc < 0) {
		atomic_fetch_add(&flight.errors, 1);
		flight_sweep(flight.dir);
		log_error("flight recorder: no snapshot in %s: %s (%s)", flight.dir, weft_strerror(rc), found->what);
		return;
	}
	atomic_fetch_add(&flight.taken[found->reason], 1);
	log_notice("flight recorder: %s; see %s/%s.trace", found->what, flight.dir, s.name);
	prune();
}

/* --- The thread ---------------------------------------------------------------------------------------- */

static void look(void)
{
	static struct flight_found found[FLIGHT_REASON_N];
	unsigned which = flight_watch_look(flight.watch, found);

	for (int r = 0; r < FLIGHT_REASON_N; r++)
		if (which & 1u << r)
			trigger(&found[r]);
}

/* What was left by earlier processes; then, when none of that is mistaken for ours, our own. */
static void convert_fatal(void)
{
	int n = flight_fatal_convert(flight.dir);

	flight_sweep(flight.dir);
	if (flight.conf->flight.on.fatal && flight.conf->runtime.recorder_memory)
		flight_fatal_open(flight.dir);
	atomic_fetch_add(&flight.taken[FLIGHT_FATAL], n > 0 ? (uint64_t)n : 0);
	atomic_fetch_add(&flight.errors, n < 0);
	if (n > 0)
		prune();
}

static void *flight_main(void *arg)
{
	int64_t pause = flight_watch_pause(flight.watch), next = now_ns() + pause;
	struct pollfd p = { .fd = flight.event_fd, .events = POLLIN };
	struct flight_found found;
	uint64_t n;

	(void)arg;
	pthread_setname_np(pthread_self(), "weft-flight");
	weft_host_thread("weft-flight");
	convert_fatal();
	atomic_store(&flight.ready, true);
	for (;;) {
		int64_t left = next - now_ns();

		(void)poll(&p, 1, pause < 0 ? -1 : left > 0 ? (int)(left / WEFT_MS + 1) : 0);
		(void)!read(flight.event_fd, &n, sizeof n);
		atomic_store(&flight.busy, true); /* before `asked` is reset: flight_end() looks at both */
		while (take_due(&found))
			take(&found);
		atomic_store(&flight.busy, false);
		if (pause >= 0 && now_ns() >= next) {
			look();
			pause = flight_watch_pause(flight.watch);
			next = now_ns() + pause;
		}
	}
	return NULL;
}

const char *flight_directory(const struct conf *c)
{
	static char from_env[PATH_MAX];
	const char *env = getenv("STATE_DIRECTORY");

	if (c->flight.directory)
		return c->flight.directory;
	if (!*from_env && env)
		snprintf(from_env, sizeof from_env, "%.*s", (int)strcspn(env, ":"), env);
	return *from_env ? from_env : NULL;
}

static int start(void)
{
	pthread_t thread;

	flight.watch = flight_watch_new(flight.conf->flight.on.runq_wait, flight.conf->flight.on.block,
					flight.conf->flight.on.stall);
	flight.event_fd = flight.watch ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	if (flight.event_fd < 0) {
		flight_watch_free(flight.watch);
		return -ENOMEM;
	}
	return -pthread_create(&thread, NULL, flight_main, NULL);
}

/* Make the folder if need be.  0, or why nothing can be kept there. */
static int make_dir(const char *dir)
{
	int fd;

	if (mkdir(dir, 0750) < 0 && errno != EEXIST)
		return -errno;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(fd);
	return access(dir, W_OK | X_OK) < 0 ? -errno : 0;
}

int flight_start(const struct conf *c)
{
	int rc;

	flight.conf = c;
	flight.dir = flight_directory(c);
	if (!flight.dir)
		return 0;
	rc = make_dir(flight.dir);
	if (rc < 0) {
		log_error("flight recorder: %s can't be used: %s; no snapshots are kept", flight.dir,
			  weft_strerror(rc));
		return 0;
	}
	rc = start();
	if (rc < 0)
		log_error("flight recorder: its thread can't start: %s", weft_strerror(rc));
	return rc;
}

void flight_end(int64_t limit)
{
	int64_t until = now_ns() + limit;

	while (atomic_load(&flight.ready) && (atomic_load(&flight.asked) || atomic_load(&flight.busy)) &&
	       now_ns() < until)
		nanosleep(&(struct timespec){ .tv_nsec = WEFT_MS }, NULL);
}

void flight_metrics(void *buf)
{
	static const char taken[] = "weft_flight_snapshots_total";
	struct buf *out = buf;

	if (flight.event_fd < 0)
		return;
	expo_family(out, taken, EXPO_COUNTER, "Snapshots that the flight recorder has taken, by reason.");
	for (int i = 0; i < FLIGHT_REASON_N; i++)
		expo_u64(out, taken, atomic_load(&flight.taken[i]), "reason", words[i], (char *)NULL);
	expo_family(out, "weft_flight_errors_total", EXPO_COUNTER, "Snapshots that could not be written.");
	expo_u64(out, "weft_flight_errors_total", atomic_load(&flight.errors), (char *)NULL);
	expo_family(out, "weft_flight_suppressed_total", EXPO_COUNTER,
		    "Triggers of the flight recorder in its cool-down.");
	expo_u64(out, "weft_flight_suppressed_total", atomic_load(&flight.suppressed), (char *)NULL);
}
