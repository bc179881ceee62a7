/* flight.h - the flight recorder: snapshots of the last seconds, in a folder, taken when something happens.
 *
 * A thread of its own takes them, so nobody who triggers one waits: neither the loop, nor a goroutine, nor a signal
 * handler.  flight.c has the thread, flight_watch.c what it looks for by itself, http/flight_dir.h the folder. */
#ifndef WEFT_DAEMON_FLIGHT_H
#define WEFT_DAEMON_FLIGHT_H

#include "daemon.h"

#define FLIGHT_REASONS(X)                                                                                              \
	X(SIGNAL, "signal")                                                                                            \
	X(RUNQ, "runq-wait")                                                                                           \
	X(BLOCK, "block")                                                                                              \
	X(STALL, "stall")                                                                                              \
	X(DEADLOCK, "deadlock")                                                                                        \
	X(FATAL, "fatal")

enum flight_reason {
#define X(name, word) FLIGHT_##name,
	FLIGHT_REASONS(X)
#undef X
		FLIGHT_REASON_N
};

struct flight_found {
	enum flight_reason reason;
	char what[200]; /* a sentence without its end */
};

/* --- flight.c --- */

/* The folder by the configuration, or the environment's STATE_DIRECTORY, or NULL; lives as long as the process. */
const char *flight_directory(const struct conf *c);
/* Begin to keep snapshots.  Without a folder, or when it can't be used, which is logged, nothing happens.  0 or
 * -Exxx. */
int flight_start(const struct conf *c);
/* As SIGUSR2 wants it.  Async-signal-safe.  False: none are kept. */
bool flight_signal(void);
/* Any thread; waits for nobody.  Not in the cool-down, nor while another is due. */
void flight_trigger(enum flight_reason reason, const char *fmt, ...) WEFT_PRINTF(2, 3);
/* The daemon ends: let the snapshot that is being taken become whole, and wait for that no longer. */
void flight_end(int64_t limit);
/* For /metrics; any thread. */
void flight_metrics(void *buf);

/* --- trace_api.c: callbacks of struct weft_host_opts; user is the struct conf --- */

int trace_api_start(void *user, const char *path, uint32_t instance);
int trace_api_stop(void *user);
void trace_api_instance_end(void *user, uint32_t instance);
int trace_api_flight(void *user, const char *path, int64_t ns);
/* The daemon ends: let a trace that is being written become whole, and wait for that no longer. */
void trace_api_end(int64_t limit);

/* --- flight_fatal.c: what fatal signals leave; the flight recorder's thread, but for the first --- */

/* Have a fatal signal write to the folder from now on, and give it up again when the process ends in order. */
void flight_fatal_open(const char *dir);
void flight_fatal_close(void);
/* Make snapshots of what processes that are gone have left; how many, -Exxx for the last that failed. */
int flight_fatal_convert(const char *dir);

/* --- convert.c --- */

/* For --convert: a file that a fatal signal has left becomes the trace `out` (NULL: beside it), and its dump with the
 * ending .txt.  0, or -Exxx; err is a sentence, on success about what is missing, or "". */
int convert_file(const char *path, const char *out, char *err, size_t cap);

/* --- flight_watch.c; the flight recorder's thread --- */

struct flight_watch;
struct flight_watch *flight_watch_new(int64_t runq_wait, int64_t block, int64_t stall); /* NULL: no memory */
void flight_watch_free(struct flight_watch *w);
/* Until the next look; below 0: there is nothing to look for. */
int64_t flight_watch_pause(const struct flight_watch *w);
/* What has passed its limit: by reason, of each the one that lasts longest.  A bit for each reason that was found. */
unsigned flight_watch_look(struct flight_watch *w, struct flight_found out[FLIGHT_REASON_N]);

#endif
