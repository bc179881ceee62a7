/* daemon.h - the program weftd: what its files know of one another.
 *
 * struct weftd is the one owner of everything with a lifetime.  Unless a line says otherwise it, and
 * every function here, belongs to the main thread, which runs the control loop: it never parks, never
 * runs plugin code, never calls dl*, and waits for no lock that a worker or the loader may hold for
 * long.  What takes time happens elsewhere and comes back as a call on the loop:
 *
 *   loader thread   every dl* call, the module and symbol tables after each           loader.c
 *   logger thread   the only writer to stderr                                         logger.c
 *   goroutines      the plugins' callbacks, each on one of its instance               instance.c
 *   libuv's pool    cancelling an instance, looking for stragglers                    instance.c stragglers.c
 *
 * libuv itself is seen by loop.c only; the others use its struct http_loop. */
#ifndef WEFT_DAEMON_DAEMON_H
#define WEFT_DAEMON_DAEMON_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#define WEFT_KEEP_ERRNO /* daemon code reads errno only where nothing can park in between */
#include "conf.h"
#include "http.h"
#include "loop.h"
#include "weft_host.h"
#include "weft_read.h"

#define EXIT_USAGE 2
#define EXIT_REFUSED 78 /* EX_CONFIG: the service manager need not try again */

struct weftd;

/* CLOCK_MONOTONIC ns.  Any thread, also before the runtime is started. */
static inline int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * WEFT_SEC + t.tv_nsec;
}

/* --- logger.c: any thread, goroutines and signal handlers' dump request included ------------ */

enum logger_style {
	LOGGER_PLAIN,   /* a time and the level's name before each line */
	LOGGER_JOURNAL, /* "<6>" before each line: stderr is the journal */
};
/* LOGGER_JOURNAL when $JOURNAL_STREAM names the device and inode of fd. */
enum logger_style logger_style_of(int fd);
/* Start the thread that writes to fd.  Once per process.  0 or -Exxx. */
int logger_start(int fd, enum logger_style style, int level);
/* Lines less urgent than this (WEFT_ERROR..WEFT_DEBUG) are left out. */
void logger_level(int level);
int logger_level_parse(const char *name); /* -EINVAL: no such level */
/* One line into the queue; a full queue drops and counts it.  Never waits.  instance may be NULL, goid 0. */
void logger_write(int level, const char *instance, uint64_t goid, const char *text);
void logger_print(int level, const char *fmt, ...) WEFT_PRINTF(2, 3);
#define log_error(...) logger_print(WEFT_ERROR, __VA_ARGS__)
#define log_warn(...) logger_print(WEFT_WARN, __VA_ARGS__)
#define log_notice(...) logger_print(WEFT_NOTICE, __VA_ARGS__)
#define log_info(...) logger_print(WEFT_INFO, __VA_ARGS__)
/* Ask the logger thread for a dump of all goroutines between two lines.  Async-signal-safe. */
void logger_dump(void);
/* Wait until what was queued before is written, or for timeout_ns: longer where stderr takes more and the thread
 * merely has not come to it on a busy machine.  False: not all of it. */
bool logger_flush(int64_t timeout_ns);
uint64_t logger_dropped(void);

/* --- notify.c: the service manager's protocol ----------------------------------------------- */

struct notify {
	int fd; /* -1: nobody wants to know */
	unsigned char addr[128];
	unsigned addr_len;
};
/* path: $NOTIFY_SOCKET, "/..." or "@..." (abstract); NULL: off.  0 or -Exxx, and then it is off. */
int notify_init(struct notify *n, const char *path);
/* One datagram of KEY=value lines; never waits, a lost one is lost. */
void notify_send(const struct notify *n, const char *fmt, ...) WEFT_PRINTF(2, 3);
void notify_done(struct notify *n);

/* --- signals.c ------------------------------------------------------------------------------- */

/* Handlers for TERM INT HUP USR1 USR2 QUIT PIPE.  Before the first thread exists. */
int signals_init(void);
/* Descriptor that becomes readable when signals_take() has something. */
int signals_fd(void);
enum { SIGNALS_STOP = 1, SIGNALS_RELOAD = 2, SIGNALS_FLIGHT = 4 /* but there is no recorder */ };
/* What arrived since the last call; *signo: the signal of SIGNALS_STOP. */
unsigned signals_take(int *signo);

/* --- plugin.c: one shared object; the loader thread's ----------------------------------------- */

struct plugin_file {
	uint8_t build_id[WEFT_BUILD_ID_MAX];
	uint8_t build_id_len;
};
struct plugin {
	struct plugin_file file;
	struct weft_plugin entry; /* the host's copy: what an older plugin does not have is zero */
	void *handle;             /* never closed: profiles keep its addresses */
	struct plugin *next;
	char path[PATH_MAX];
};
/* Where `name` of the configuration is: itself with a slash in it, else in dir, else (dir NULL) in
 * plugins/ beside the binary or PLUGINDIR.  0 or -ENAMETOOLONG.  Any thread. */
int plugin_find(const char *name, const char *dir, char *out, size_t cap);
/* Could this file be a plugin?  Reads it, maps nothing, runs nothing.  0, or -Exxx with err a
 * sentence about `path`.  Any thread. */
int plugin_examine(const char *path, struct plugin_file *out, char *err, size_t cap);
/* dlopen an examined file and check its entry.  Runs its constructors. */
int plugin_open(const char *path, const struct plugin_file *file, struct plugin **out, char *err, size_t cap);

/* plugin_dump.c: print what its entry says; reads the file, maps nothing, runs nothing.  Results as plugin_examine().
 */
int plugin_dump(const char *path, FILE *out, char *err, size_t cap);

/* --- loader.c: the thread that calls dl* -------------------------------------------------------- */

enum loader_stage { LOADER_QUEUED, LOADER_READING, LOADER_OPENING, LOADER_TABLES };
struct load {
	const char *path;        /* the asker's, until done */
	bool require_probes;     /* plugins.require_probes */
	void (*done)(void *arg); /* on the loop, unless the thread never comes back */
	void *arg;
	_Atomic int stage; /* enum loader_stage, for who wonders what takes so long */
	struct load *next;
	/* valid in done() */
	int rc;
	const struct plugin *plugin;
	char err[512];
};
int loader_start(const struct http_loop *hl);
/* Queue a plugin; l must live until done() was called, for ever if it never is. */
void loader_load(struct load *l);

/* --- instance.c: one configured instance ----------------------------------------------------------- */

enum instance_phase {
	INSTANCE_NEW,
	INSTANCE_LOADING,  /* on the loader thread */
	INSTANCE_INIT,     /* init() runs */
	INSTANCE_RUNNING,  /* run() runs or has returned, goroutines live */
	INSTANCE_STOPPING, /* stop() runs */
	INSTANCE_ENDING,   /* context over; goroutines are awaited */
	INSTANCE_FINI,     /* fini() runs; then what was left behind is freed */
	INSTANCE_GONE,
};
struct instance {
	struct weftd *d;
	const struct conf_instance *conf;
	_Atomic enum instance_phase phase; /* main changes it; /metrics and the stragglers' report read it */
	bool inited;                       /* init succeeded: fini is due */
	bool ran;                          /* run has returned */
	bool cancelled;                    /* weft_inst_cancel() has come back from the pool */
	bool freeing;                      /* weft_inst_free() is on the pool */
	bool refused;
	int calls; /* callbacks started whose return has not been heard of */
	struct load load;
	weft_inst *inst;
	void *state;
	int rc; /* of the callback that returned last; written by its goroutine before it posts */
	char path[PATH_MAX];
};
/* Load, init and run it; weftd_started() or weftd_refuse() follows, or nothing if it is stopped first. */
void instance_start(struct instance *in);
/* Begin its end, from whatever phase it is in. */
void instance_stop(struct instance *in);
/* Look whether it can go on: goroutines are counted, nobody calls when the last has gone. */
void instance_poll(struct instance *in);
/* Do not wait for its stop() any longer. */
void instance_hurry(struct instance *in);
/* The limit for load and init passed. */
void instance_overdue(struct instance *in, int64_t limit);
/* What it is doing, for /readyz and the log: "instance \"x\": init has not returned yet". */
void instance_describe(const struct instance *in, char *out, size_t cap);

/* --- weftdebug.c: WEFTDEBUG in the environment ---------------------------------------------------- */

struct weftdebug {
	int64_t schedtrace; /* ns between two lines, 0: none */
	bool scheddetail, inittrace;
};
/* env may be NULL.  warning: a sentence about what is not understood, or "". */
void weftdebug_parse(const char *env, struct weftdebug *out, char *warning, size_t cap);
struct inittrace_mark {
	int64_t at;
	uint64_t allocs, bytes;
};
/* From now on what lies between the other two is logged; before the loader's thread exists. */
void inittrace_start(void);
struct inittrace_mark inittrace_begin(void);
void inittrace_end(struct inittrace_mark began, const char *instance, const char *what);

/* --- watch.c: deadlocks and schedtrace --------------------------------------------------------------- */

/* 0 or -ENOMEM. */
int watch_start(struct weftd *d);

/* --- metrics.c ------------------------------------------------------------------------------------- */

/* The daemon's own families for /metrics; user is a struct weftd, buf a struct buf.  Any thread. */
void metrics_write(void *user, void *buf);

/* --- stragglers.c ------------------------------------------------------------------------------------ */

/* Log what the instances that are not gone are stuck in, and the first few goroutines with their stacks;
 * then call done(d) on the loop.  Takes up to half a second on the pool. */
void stragglers_report(struct weftd *d, void (*done)(void *d));

/* --- optionmap.c: struct conf -> options of the layers below, which need not know conf -------------- */

/* WEFT_MAXPROCS (env, or NULL) wins over the file.  0, or -EINVAL with a sentence. */
int options_host(const struct conf *c, const char *env, struct weft_host_opts *out, char *err, size_t cap);
void options_http(const struct weftd *d, struct http_opts *out);

/* --- lifecycle.c: starting -> running -> draining -> stopped ------------------------------------------ */

enum weftd_state { WEFTD_STARTING, WEFTD_RUNNING, WEFTD_DRAINING, WEFTD_STOPPED };
struct weftd {
	/* constant after start */
	struct conf *conf;
	const char *conf_file;
	int argc;
	char **argv;
	struct weftdebug debug;
	struct notify notify;
	struct loop *loop;
	const struct http_loop *hl;
	struct http *http; /* NULL once it is stopped */
	char build_id[2 * WEFT_BUILD_ID_MAX + 1];

	enum weftd_state state;
	int exit_code;
	struct instance *instances;
	size_t n_instances, next; /* next: being started */
	struct http_timer *start_timer, *tick;
	struct http_watch *signals;
	int64_t drain_began, deadline; /* of the drain */
	int64_t told;                  /* when the service manager last heard of it */
	bool reporting;                /* the deadline has passed and the stragglers are being named */
};
/* Make the instances and look at their plugins' files, before anything is started.  0, or -Exxx with a
 * sentence. */
int weftd_check(struct weftd *d, char *err, size_t cap);
/* From there to the end; signals and logger have been started.  The exit code, for _exit(). */
int weftd_run(struct weftd *d, const struct weft_host_opts *host);
void weftd_started(struct weftd *d, struct instance *in);
/* The daemon can't start: say so, undo what was started, exit 78. */
void weftd_refuse(struct weftd *d, const char *fmt, ...) WEFT_PRINTF(2, 3);
void weftd_gone(struct weftd *d, struct instance *in);
/* Goroutines are to be counted from time to time. */
void weftd_watch(struct weftd *d);
/* The limit for the step of start-up that begins now. */
void weftd_limit(struct weftd *d);

#endif
