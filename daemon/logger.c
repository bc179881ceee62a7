/* logger.c - the log: a bounded queue and the one thread that writes to stderr.
 *
 * Writers (any thread, any goroutine) claim a slot of the ring with one CAS, fill it, and publish it
 * with one release store.  They never wait: not for the thread, not for one another; when the ring is
 * full the line is dropped and counted, and the thread says later how many were.  So a stderr that
 * nobody reads blocks the logger thread and nothing else.
 *
 * Each slot carries a sequence number.  For the writer of position n the slot is free when seq == n;
 * filled it says n + 1; the reader sets n + SLOTS for the next round.  A writer that is descheduled
 * between claim and publication holds back the reader, not other writers.
 *
 * The thread sleeps on the futex word `wake`.  Writer: publish, fence, load asleep; reader: store
 * asleep, fence, look at the ring again.  One of the two sees the other. */
#include "daemon.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLOTS 1024u /* a power of two */
#define TEXT_MAX 1024
#define NAME_MAX_LEN 64
/* So long the last lines are waited for where stderr would take them and only the CPU is missing. */
#define NO_CPU_NS (2 * WEFT_SEC)
#define LINE_MAX_LEN (TEXT_MAX + NAME_MAX_LEN + 96)

struct slot {
	_Atomic uint64_t seq;
	int64_t time; /* CLOCK_REALTIME */
	uint64_t goid;
	int level;
	char instance[NAME_MAX_LEN];
	char text[TEXT_MAX];
};

static struct {
	_Atomic uint64_t tail; /* next position to claim */
	_Atomic uint64_t head; /* next to write: the thread's own, read by logger_flush() */
	_Atomic uint32_t wake, asleep;
	_Atomic uint32_t dumps; /* asked for and not yet written */
	_Atomic uint64_t dropped;
	_Atomic int level;
	uint64_t told; /* of dropped, already said */
	int fd;
	enum logger_style style;
	struct slot slot[SLOTS];
} lg;

static const char *const level_names[] = { "", "", "", "error", "warning", "notice", "info", "debug" };

int logger_level_parse(const char *name)
{
	for (int i = WEFT_ERROR; i <= WEFT_DEBUG; i++)
		if (!strcmp(name, level_names[i]))
			return i;
	return !strcmp(name, "warn") ? WEFT_WARN : -EINVAL;
}

enum logger_style logger_style_of(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &dev, &ino) != 2 || fstat(fd, &st) < 0)
		return LOGGER_PLAIN;
	return st.st_dev == dev && st.st_ino == ino ? LOGGER_JOURNAL : LOGGER_PLAIN;
}

/* --- Writers ---------------------------------------------------------------------------------- */

/* sig */
static void wake(void)
{
	atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in sleep_until_woken() */
	if (!atomic_load_explicit(&lg.asleep, memory_order_relaxed))
		return;
	atomic_fetch_add_explicit(&lg.wake, 1, memory_order_relaxed);
	syscall(SYS_futex, &lg.wake, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* A slot of our own and its position; NULL: full. */
static struct slot *claim(uint64_t *pos)
{
	uint64_t at = atomic_load_explicit(&lg.tail, memory_order_relaxed);

	for (;;) {
		struct slot *s = &lg.slot[at % SLOTS];
		/* pairs with the release in write_out(): the reader is done with the slot */
		int64_t diff = (int64_t)(atomic_load_explicit(&s->seq, memory_order_acquire) - at);

		if (diff < 0)
			return NULL;
		if (diff > 0)
			at = atomic_load_explicit(&lg.tail, memory_order_relaxed);
		else if (atomic_compare_exchange_weak_explicit(&lg.tail, &at, at + 1, memory_order_relaxed,
							       memory_order_relaxed)) {
			*pos = at;
			return s;
		}
	}
}

static void copy_text(char *out, size_t cap, const char *in)
{
	size_t n = 0;

	/* A line break in a text must not look like a line of the log. */
	for (; in && in[n] && n + 1 < cap; n++)
		out[n] = (unsigned char)in[n] < 0x20 || in[n] == 0x7f ? ' ' : in[n];
	out[n] = 0;
}

void logger_write(int level, const char *instance, uint64_t goid, const char *text)
{
	struct timespec now;
	struct slot *s;
	uint64_t pos;

	if (level > atomic_load_explicit(&lg.level, memory_order_relaxed))
		return;
	s = claim(&pos);
	if (!s) {
		atomic_fetch_add_explicit(&lg.dropped, 1, memory_order_relaxed);
		wake();
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	s->time = now.tv_sec * WEFT_SEC + now.tv_nsec;
	s->goid = goid;
	s->level = level < WEFT_ERROR ? WEFT_ERROR : level;
	copy_text(s->instance, sizeof s->instance, instance);
	copy_text(s->text, sizeof s->text, text);
	atomic_store_explicit(&s->seq, pos + 1, memory_order_release); /* pairs with the acquire in next_slot() */
	wake();
}

void logger_print(int level, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	logger_write(level, NULL, 0, text);
}

void logger_level(int level)
{
	atomic_store_explicit(&lg.level, level, memory_order_relaxed);
}

void logger_dump(void)
{
	atomic_fetch_add_explicit(&lg.dumps, 1, memory_order_release);
	wake();
}

uint64_t logger_dropped(void)
{
	return atomic_load_explicit(&lg.dropped, memory_order_relaxed);
}

/* --- The thread ------------------------------------------------------------------------------------ */

/* Days since 1970-01-01 to a date.  Own arithmetic because gmtime_r() takes the time zone's lock. */
static void civil(int64_t days, int *year, int *month, int *day)
{
	int64_t z = days + 719468; /* from 0000-03-01: the leap day comes last */
	int64_t era = z / 146097, doe = z % 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

	*day = (int)(doy - (153 * mp + 2) / 5 + 1);
	*month = (int)(mp < 10 ? mp + 3 : mp - 9);
	*year = (int)(yoe + era * 400 + (*month <= 2));
}

static int format_head(char *out, size_t cap, int64_t time, int level)
{
	int64_t sec = time / WEFT_SEC;
	int year, month, day, in_day = (int)(sec % 86400);

	if (lg.style == LOGGER_JOURNAL)
		return snprintf(out, cap, "<%d>", level);
	civil(sec / 86400, &year, &month, &day);
	return snprintf(out, cap, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %-7s ", year, month, day, in_day / 3600,
			in_day / 60 % 60, in_day % 60, (int)(time % WEFT_SEC / WEFT_MS), level_names[level]);
}

static size_t format_slot(char *out, const struct slot *s)
{
	int n = format_head(out, LINE_MAX_LEN, s->time, s->level);

	if (s->instance[0] && s->goid)
		n += snprintf(out + n, LINE_MAX_LEN - n, "[%s %llu] ", s->instance, (unsigned long long)s->goid);
	else if (s->instance[0])
		n += snprintf(out + n, LINE_MAX_LEN - n, "[%s] ", s->instance);
	n += snprintf(out + n, LINE_MAX_LEN - n, "%s\n", s->text);
	return (size_t)n;
}

static void write_all(const char *b, size_t n)
{
	while (n > 0) {
		ssize_t w = write(lg.fd, b, n);

		if (w < 0 && errno == EAGAIN) /* somebody made stderr non-blocking: this thread may wait all the same */
			poll(&(struct pollfd){ .fd = lg.fd, .events = POLLOUT }, 1, -1);
		else if (w < 0 && errno != EINTR)
			return; /* nobody is left to tell */
		else if (w > 0) {
			b += w;
			n -= (size_t)w;
		}
	}
}

static void tell_dropped(void)
{
	uint64_t dropped = logger_dropped();
	struct timespec now;
	char line[LINE_MAX_LEN];
	int n;

	if (dropped == lg.told)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	n = format_head(line, sizeof line, now.tv_sec * WEFT_SEC + now.tv_nsec, WEFT_WARN);
	n += snprintf(line + n, sizeof line - (size_t)n,
		      "%llu log lines were dropped here because stderr was not read fast enough\n",
		      (unsigned long long)(dropped - lg.told));
	lg.told = dropped;
	write_all(line, (size_t)n);
}

static struct slot *next_slot(uint64_t at)
{
	struct slot *s = &lg.slot[at % SLOTS];

	/* pairs with the release in logger_write() */
	return atomic_load_explicit(&s->seq, memory_order_acquire) == at + 1 ? s : NULL;
}

/* Write what is there, many lines a system call. */
static void write_out(void)
{
	static char batch[16 * LINE_MAX_LEN];
	uint64_t at = atomic_load_explicit(&lg.head, memory_order_relaxed);
	size_t n = 0;
	struct slot *s;

	while ((s = next_slot(at))) {
		n += format_slot(batch + n, s);
		atomic_store_explicit(&s->seq, at + SLOTS, memory_order_release); /* pairs with claim() */
		at++;
		if (n > sizeof batch - LINE_MAX_LEN || !next_slot(at)) {
			write_all(batch, n);
			n = 0;
			atomic_store_explicit(&lg.head, at, memory_order_release); /* pairs with logger_flush() */
		}
	}
	tell_dropped();
}

static void sleep_until_woken(void)
{
	uint32_t seen = atomic_load_explicit(&lg.wake, memory_order_relaxed);

	atomic_store_explicit(&lg.asleep, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in wake() */
	if (!next_slot(atomic_load_explicit(&lg.head, memory_order_relaxed)) &&
	    !atomic_load_explicit(&lg.dumps, memory_order_relaxed) && logger_dropped() == lg.told)
		syscall(SYS_futex, &lg.wake, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
	atomic_store_explicit(&lg.asleep, 0, memory_order_relaxed);
}

static void *logger_main(void *unused)
{
	(void)unused;
	pthread_setname_np(pthread_self(), "weft-logger");
	weft_host_thread("weft-logger");
	for (;;) {
		write_out();
		/* pairs with the release in logger_dump() */
		if (atomic_exchange_explicit(&lg.dumps, 0, memory_order_acquire))
			weft_host_dump(lg.fd, "SIGUSR1: all goroutines; the daemon goes on");
		sleep_until_woken();
	}
	return NULL;
}

int logger_start(int fd, enum logger_style style, int level)
{
	pthread_t thread;
	int rc;

	for (uint64_t i = 0; i < SLOTS; i++)
		atomic_store_explicit(&lg.slot[i].seq, i, memory_order_relaxed); /* pthread_create publishes */
	lg.fd = fd;
	lg.style = style;
	logger_level(level);
	rc = pthread_create(&thread, NULL, logger_main, NULL);
	if (rc)
		return -rc;
	pthread_detach(thread);
	return 0;
}

/* Somebody reads stderr, or it is a file. */
static bool takes_more(void)
{
	struct pollfd p = { .fd = lg.fd, .events = POLLOUT };

	return poll(&p, 1, 0) > 0;
}

bool logger_flush(int64_t timeout_ns)
{
	uint64_t want = atomic_load_explicit(&lg.tail, memory_order_relaxed);
	int64_t begun = now_ns();

	wake();
	/* pairs with the release in write_out() */
	while (atomic_load_explicit(&lg.head, memory_order_acquire) < want) {
		int64_t waited = now_ns() - begun;

		if (waited >= timeout_ns && (waited >= NO_CPU_NS || !takes_more()))
			return false;
		nanosleep(&(struct timespec){ .tv_nsec = WEFT_MS }, NULL);
	}
	return true;
}
