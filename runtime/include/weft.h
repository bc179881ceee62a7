/* SPDX-License-Identifier: MIT */
/*
 * weft.h - what a task plugin may call.
 *
 * Three rules hold for every function here:
 *   - Results: >= 0 is success, a negative value is -Exxx.  errno is not used
 *     to report anything; weft_strerror() gives the text of a result.
 *   - Whatever can wait gives up once the goroutine's context is over, with
 *     -ECANCELED, or -ETIMEDOUT when it was a deadline that ended it.  Locks
 *     and wait groups are the exception: they wait for code of yours, which is
 *     itself told to give up.
 *   - What a plugin instance creates belongs to that instance, and what it
 *     did not free is freed with it, after fini: descriptors of weft's own,
 *     timers, contexts, error groups, channels, keys, tasks.
 *
 * The life of an instance.  Every callback of struct weft_plugin runs on a
 * goroutine of the instance, so it may wait.
 *
 *	dlopen ... init -> run ........................ stop -> fini
 *	           |       |  returns: nothing ends     |       |
 *	           |       |  < 0: the instance is      |       after the last
 *	           |       |       cancelled            |       goroutine is gone
 *	           |       weft_go(), weft_go_in(), ... |
 *	           < 0: the instance is refused         before the context is over
 *
 *   - init: reads the configuration.  A negative result refuses the instance
 *     (at daemon start: the daemon), and so does taking longer than the
 *     configured runtime.init_timeout.
 *   - run: the work.  Its return does not end the instance: that ends when its
 *     last goroutine has returned.  A negative result cancels the instance.
 *   - stop: called once, before the context is cancelled, to begin an orderly
 *     end.  After it every wait returns -ECANCELED.
 *   - fini: frees what state holds.  state lives until fini has returned; a
 *     weft_conf and its strings live as long as state.
 *
 * Foreign threads.  A thread that is no goroutine (a library's own) may call
 * everything here that needs no goroutine: sends, receives, select, locks,
 * conditions, semaphores and wait groups block that thread (on a futex) instead
 * of a goroutine; try calls work; sleep and yield do what the system calls of
 * that name do.  It carries no context, so nothing calls its waits off.
 * Creating a goroutine needs an instance: weft_go_in(), or weft_go() between
 * weft_enter() and weft_leave(); otherwise it is -EPERM.
 *
 * C++.  The functions and WEFT_PLUGIN (C++20) can be used from C++; the typed
 * channels and scopes of the second part are GNU C, C++ has weft::locked,
 * weft::labelled, weft::blocking, weft::timeout, weft::region and weft::task
 * instead.  An exception must not leave a goroutine's function: it ends the
 * process with a dump that names the goroutine.
 *
 * Thread-locals (__thread, thread_local) belong to the OS thread and change
 * under a goroutine's feet whenever it waits; use state, arguments or labels.
 * errno is goroutine-local (see the end of the first part).
 *
 * Floating point control words are not switched with goroutines: restore the
 * default rounding before calling anything of weft's.
 *
 * The first part is the ABI: plain functions on opaque types.  The second part
 * (from "Sugar") is inline and adds no symbols.  ABI major 0: no promise yet.
 *
 * Names that are reserved for what comes next: weft_metric*.
 */
#ifndef WEFT_H
#define WEFT_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default) /* the runtime is built hidden; this part is not */

#define WEFT_ABI_MAJOR 0 /* another major is refused at load */
#define WEFT_ABI_MINOR 1 /* a newer plugin minor is refused at load */
#define WEFT_ABI ((uint32_t)WEFT_ABI_MAJOR << 16 | WEFT_ABI_MINOR)

#define WEFT_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Durations and instants are nanoseconds; instants are CLOCK_MONOTONIC. */
#define WEFT_NS INT64_C(1)
#define WEFT_US INT64_C(1000)
#define WEFT_MS INT64_C(1000000)
#define WEFT_SEC INT64_C(1000000000)
#define WEFT_FOREVER INT64_MAX

typedef struct weft_chan weft_chan;
typedef struct weft_ctx weft_ctx;
typedef struct weft_timer weft_timer;
typedef struct weft_group weft_group;
typedef struct weft_conf weft_conf;
typedef struct weft_inst weft_inst;

/* --- Goroutines ----------------------------------------------------------- */

typedef void (*weft_fn)(void *arg);

struct weft_go_opts {
	size_t size;      /* sizeof this struct, for later growth */
	const char *name; /* shown instead of the start function's symbol; must outlive the process's
			     profiles: a string literal; NULL: the symbol */
	size_t arg_size;  /* copy *arg to the new stack (at most WEFT_ARG_MAX); 0: pass the pointer */
	weft_ctx *ctx;    /* to carry, of the same instance; NULL: the caller's */
	size_t stack;     /* bytes, rounded up to 64 KiB, 256 KiB or 1 MiB, of which 4 KiB are the guard page;
			     0: as the instance is configured (instances[].stack) */
};
#define WEFT_ARG_MAX 8192

/*
 * Start fn(arg) as a goroutine of the caller's instance; it inherits the
 * caller's context and labels.  Never waits.
 *   0
 *   -ENOMEM     no memory for a stack
 *   -EAGAIN     runtime.max_goroutines are alive, or all that memory pays for
 *   -ECANCELED, -ETIMEDOUT  the context is over
 *   -EINVAL     fn is NULL, opts->size unknown, arg_size above WEFT_ARG_MAX,
 *               opts->ctx of another instance, opts->stack above 1 MiB
 *   -EPERM      a foreign thread outside weft_enter()
 */
int weft_go(weft_fn fn, void *arg);
int weft_go_with(weft_fn fn, void *arg, const struct weft_go_opts *opts);

/* Let other runnable goroutines go first. */
void weft_yield(void);

/*
 * For long loops: a place where the goroutine lets others go first when its time
 * slice (10 ms) is over.  Costs a few instructions otherwise.  0, or -ECANCELED
 * once its context is over; 0 on a foreign thread.
 */
int weft_checkpoint(void);

/*
 * Keep the calling goroutine on the thread it is on, for libraries whose state
 * belongs to a thread.  Others still run there while it waits.  Calls add up;
 * the last unlock ends it.  Returning without it ends the thread.  No-ops on a
 * foreign thread.  Need no P.
 */
void weft_lock_thread(void);
void weft_unlock_thread(void); /* not locked: fatal, named */

/* The caller's goroutine id: > 0, never reused; 0 on a foreign thread.  Needs no P. */
uint64_t weft_goid(void);

/* CLOCK_MONOTONIC in ns.  Needs no P. */
int64_t weft_now(void);

/* Wait ns nanoseconds (<= 0: like weft_yield).  0, or -ECANCELED when called off early. */
int weft_sleep(int64_t ns);

/* --- How many run at once ---------------------------------------------------- */
/*
 * At most weft_maxprocs() goroutines run at the same time.  The number is, in this
 * order: what was last set here, the WEFT_MAXPROCS environment variable, the
 * configuration, or automatic: the CPUs that this process may use, and no more
 * than the tightest CPU quota of its control groups is worth (rounded up, at
 * least 2), looked at anew each second.  A change stops nothing: a goroutine
 * beyond the new number runs on until it next waits or yields.  From any thread.
 */

/* Set it to n, for good; n <= 0 only asks.  The number before; -EINVAL above 256; -ENOMEM. */
int weft_maxprocs(int n);
/* Back to automatic.  The new number; -ENOMEM. */
int weft_maxprocs_default(void);
/* CPUs that this process may run on (its affinity).  Needs no P. */
int weft_ncpu(void);

/* --- Channels ------------------------------------------------------------- */
/*
 * A channel of cap elements of elem_size bytes; cap 0 hands over directly.
 * Waiting senders and receivers are served first in, first out.  size must be
 * elem_size, else -EINVAL (the typed macros below see to that).
 *
 * A NULL channel is Go's nil channel: send and receive wait until called off,
 * the try forms say -EAGAIN.
 */

/* NULL: no memory, or the sizes overflow.  Elements up to 64 KiB - 1. */
weft_chan *weft_chan_new(size_t elem_size, size_t cap);
/* NULL is fine.  With goroutines still waiting on it: fatal, named. */
void weft_chan_free(weft_chan *c);
/* 0; -EPIPE closed; -ECANCELED */
int weft_chan_send(weft_chan *c, const void *elem, size_t size);
/* 1 got one; 0 closed and drained (*elem is zeroed); -ECANCELED.  elem may be NULL: dropped. */
int weft_chan_recv(weft_chan *c, void *elem, size_t size);
/* As above but never waits: -EAGAIN instead. */
int weft_chan_try_send(weft_chan *c, const void *elem, size_t size);
int weft_chan_try_recv(weft_chan *c, void *elem, size_t size);
/* 0; -EALREADY; -EINVAL for NULL.  Waiting senders get -EPIPE. */
int weft_chan_close(weft_chan *c);
size_t weft_chan_len(const weft_chan *c);
size_t weft_chan_cap(const weft_chan *c);

/* --- Select ----------------------------------------------------------------- */
/*
 * Wait for the first of up to WEFT_SELECT_MAX cases: when several are ready,
 * each is as likely as the others; when none is, the default case, or wait.
 * The typed forms of the second part (weft_select) are what one usually writes.
 *
 *   SEND   on a channel, of *elem; RECV into *elem (NULL: dropped).  A NULL
 *          channel is never ready.  size is its elem_size.
 *   DONE   on a context: it is over (NULL: it is)
 *   AFTER  ns from now (<= 0: now; WEFT_FOREVER: never)
 *   DEFAULT when nothing else is ready; at most one
 *
 * A channel may stand in several cases, for sending and receiving: they do not
 * meet each other.  More than 64 cases take 18 KiB of stack.
 *
 * The index of the case that ran, or
 *   -ECANCELED, -ETIMEDOUT  called off, and there was no DONE case that says so
 *   -EPIPE   a send on a closed channel, in a case without ok
 *   -EINVAL  an unknown op, two defaults, a wrong size
 *   -E2BIG   more than WEFT_SELECT_MAX cases
 */
enum { WEFT_OP_SEND = 1, WEFT_OP_RECV, WEFT_OP_DONE, WEFT_OP_AFTER, WEFT_OP_DEFAULT };
#define WEFT_SELECT_MAX 256

struct weft_case {
	uint32_t op;
	uint32_t flags; /* 0 */
	const void *on; /* weft_chan * or weft_ctx * */
	void *elem;
	size_t size;
	int64_t ns;
	bool *ok; /* may be NULL; set when this case ran: false, the channel was closed */
};

/* size: sizeof *cases */
int weft_select_n(const struct weft_case *cases, size_t n, size_t size);

/* --- Locks: zero is ready to use, nothing to destroy ----------------------- */
/*
 * They belong to no goroutine: one may lock and another unlock.  Misuse
 * (unlocking what is not locked, a negative wait group, adding to one from zero
 * while others still wait for its last round) is fatal and named.  They may not
 * be copied while in use.  Not called off by the context, but for conditions
 * and semaphores.
 */
typedef struct {
	uint64_t _[4];
} weft_mutex;
typedef struct {
	uint64_t _[4];
} weft_wg;
typedef struct {
	uint64_t _[4];
} weft_once;
typedef struct {
	uint64_t _[8];
} weft_rwmutex;
typedef struct {
	uint64_t _[4];
} weft_cond;
typedef struct {
	uint64_t _[4];
} weft_sem;

void weft_lock(weft_mutex *m);
bool weft_trylock(weft_mutex *m);
void weft_unlock(weft_mutex *m);

void weft_wg_add(weft_wg *wg, int n);
void weft_wg_done(weft_wg *wg);
void weft_wg_wait(weft_wg *wg);
/* add, go, done in one; errors as weft_go(), and then nothing was added. */
int weft_wg_go(weft_wg *wg, weft_fn fn, void *arg);

/* Call fn(arg) if no call on *o has been made yet; return when that call has. */
void weft_once_do(weft_once *o, weft_fn fn, void *arg);

/*
 * Many readers or one writer.  A writer that waits goes before readers that come
 * later; readers that waited for it go before the next writer.  So a goroutine
 * must not read-lock twice: a writer may come in between.
 */
void weft_rlock(weft_rwmutex *m);
bool weft_try_rlock(weft_rwmutex *m);
void weft_runlock(weft_rwmutex *m);
void weft_wlock(weft_rwmutex *m);
bool weft_try_wlock(weft_rwmutex *m);
void weft_wunlock(weft_rwmutex *m);

/*
 * Unlock m, wait for a signal, lock m again: also when called off.  0, -ECANCELED,
 * -ETIMEDOUT.  Only a signal wakes, but what it told may be untrue again by the
 * time m is locked: ask in a loop.
 */
int weft_cond_wait(weft_cond *c, weft_mutex *m);
/* Wake the longest waiting; all.  m need not be locked. */
void weft_cond_signal(weft_cond *c);
void weft_cond_broadcast(weft_cond *c);

/* Set up with so many permits (zeroed memory has none); a negative number is fatal. */
void weft_sem_init(weft_sem *s, int64_t permits);
/* Take n permits, first come, first served: also a small request waits behind a large
 * one.  0, -ECANCELED, -ETIMEDOUT; -EINVAL when n <= 0.  try: -EAGAIN instead of waiting. */
int weft_sem_acquire(weft_sem *s, int64_t n);
int weft_sem_try_acquire(weft_sem *s, int64_t n);
/* n <= 0 is fatal.  More than were taken may be given. */
void weft_sem_release(weft_sem *s, int64_t n);

/* --- Contexts --------------------------------------------------------------- */
/*
 * Every goroutine carries a context, inherited from its starter: the instance's,
 * which ends when that is stopped, or one made below it, which ends also when it
 * is cancelled, when its deadline has passed, or with the one above it.  Its end
 * calls off the waits of the goroutines that carry it; anybody may watch for it
 * with a DONE case of select.
 *
 *	WEFT_TIMEOUT(2 * WEFT_SEC)
 *		n = weft_recv(replies, &r);	-ETIMEDOUT after two seconds
 *
 * Goroutines that carry a context, and contexts below it, keep it alive.
 */
weft_ctx *weft_ctx_self(void); /* borrowed; NULL on a foreign thread.  Needs no P. */
/* Below parent (NULL: the current one; on a foreign thread that of the instance it entered), over
 * at monotonic instant `deadline` (WEFT_FOREVER: none of its own).  NULL: no memory, or no parent;
 * every function takes that for a context that is over. */
weft_ctx *weft_ctx_new(weft_ctx *parent, int64_t deadline);
/* Cancels and gives the handle back.  NULL is fine; the instance's own: fatal. */
void weft_ctx_free(weft_ctx *ctx);
/* Over from now on, and all below it.  NULL is fine; the instance's own: fatal. */
void weft_ctx_cancel(weft_ctx *ctx);
/* 0, -ECANCELED, -ETIMEDOUT; NULL counts as over.  Needs no P. */
int weft_ctx_err(const weft_ctx *ctx);
/* The earliest of its own and of those above; WEFT_FOREVER: none; 0 for NULL.  Needs no P. */
int64_t weft_ctx_deadline(const weft_ctx *ctx);
/* Let this goroutine carry ctx (NULL: one that is over) and return what it carried, to be entered
 * again.  One of another instance: fatal.  On a foreign thread nothing happens: NULL. */
weft_ctx *weft_ctx_enter(weft_ctx *ctx);
/* Values: key is compared as an address; get looks in ctx, then above it (NULL: not found).  set: 0,
 * -ENOMEM, -EINVAL for a NULL key, NULL and the instance's context.  What value points to is yours. */
int weft_ctx_set(weft_ctx *ctx, const void *key, void *value);
void *weft_ctx_get(const weft_ctx *ctx, const void *key);

/* --- Timers ------------------------------------------------------------------ */
/*
 * A timer sends the instant at which it fires to its channel, after ns and then
 * (period > 0) every period; when the last was not taken yet the tick is dropped.
 * ns <= 0: at once; WEFT_FOREVER: not before it is reset.  When its instance is
 * stopped it fires no more.  Handles are yours to free; NULL is fine everywhere.
 */
/* NULL: no memory, or period < 0. */
weft_timer *weft_timer_new(int64_t ns, int64_t period);
/* Of int64_t; it belongs to the timer: not to be closed or freed.  NULL for one of weft_after(). */
weft_chan *weft_timer_chan(weft_timer *t);
/* Call fn(arg) after ns, on a goroutine of its own with the instance's context.  Until one can be had
 * (runtime.max_goroutines) it is tried again.  NULL: no memory, fn NULL, no instance.  The timer may be
 * freed at any time, also in fn; a goroutine that has started goes on. */
weft_timer *weft_after(int64_t ns, weft_fn fn, void *arg);
/* Fire after ns instead (the period stays); fire no more.  True: it was still to fire, or its tick
 * to be taken.  No tick of before is received after. */
bool weft_timer_reset(weft_timer *t, int64_t ns);
bool weft_timer_stop(weft_timer *t);
/* With goroutines still waiting on its channel: fatal, named. */
void weft_timer_free(weft_timer *t);

/* --- Error groups -------------------------------------------------------------- */
/*
 * Goroutines that end together: the first that returns an error (< 0) cancels
 * the context that all of them carry.  One goroutine makes, fills, waits for and
 * frees a group.
 */
/* Below parent (NULL: the current context); at most `limit` run at once (0: any number).  NULL: no
 * memory, no parent, limit < 0. */
weft_group *weft_group_new(weft_ctx *parent, int limit);
/* Start fn(arg) in the group; waits while `limit` run.  Errors as weft_go(): -ECANCELED also when
 * the group was cancelled. */
int weft_group_go(weft_group *g, int (*fn)(void *arg), void *arg);
/* The group's context, borrowed. */
weft_ctx *weft_group_ctx(weft_group *g);
/* Wait for all: the first error, or 0.  Not called off by the context: what it waits for is. */
int weft_group_wait(weft_group *g);
/* Cancel, wait for all, free.  The first error, or 0; NULL is fine. */
int weft_group_free(weft_group *g);

/* --- Goroutine-local values -------------------------------------------------------- */
/*
 * A key belongs to the instance that made it; every goroutine (and foreign thread) has its own value
 * under it, at first NULL.  When the goroutine's function has returned, destroy is
 * called with each value that is not NULL, on that goroutine; values it sets anew
 * are destroyed as well, up to four times over.
 */
/* A key > 0; -EAGAIN: 256 exist.  destroy may be NULL. */
int weft_local_new(weft_fn destroy);
/* What goroutines hold under it is forgotten, not destroyed.  0, -EINVAL: not a key. */
int weft_local_free(int key);
/* 0, -EINVAL, -ENOMEM */
int weft_local_set(int key, void *value);
/* NULL: never set, or not a key.  Needs no P. */
void *weft_local_get(int key);

/* --- Blocking sections -------------------------------------------------------- */
/*
 * Around calls that may put the thread to sleep (file I/O, a library's own
 * network code): while it does, others run in its place.  Cheap when nothing
 * sleeps.  Without them such calls are found out as well, only later.
 *
 * The function that calls weft_block_enter() must not return before
 * weft_block_exit(), which may wait for its turn and come back on another
 * thread.  Sections may lie in one another.  What waits inside of one, like a
 * channel operation, ends it early.  No-ops on a foreign thread.
 */
void weft_block_enter(void);
void weft_block_exit(void); /* outside of a section: fatal, named */

/* --- Instances and foreign threads ------------------------------------------ */

/* The instance of the calling goroutine, or entered by the calling thread; else NULL. */
weft_inst *weft_instance_self(void);
/* Its name in the configuration; "" outside.  Lives as long as the process.  Needs no P. */
const char *weft_instance_name(void);
/* weft_go() for a given instance, from any thread. */
int weft_go_in(weft_inst *inst, weft_fn fn, void *arg);
/* Let this foreign thread start goroutines of inst.  0; -EBUSY: already inside; -EINVAL: NULL,
 * or called on a goroutine.  Pairs with weft_leave(). */
int weft_enter(weft_inst *inst);
void weft_leave(void);

/* --- Network and files ----------------------------------------------------------- */
/*
 * Descriptors are plain ints.  The calls here wait without holding a thread up,
 * and give up with -ECANCELED as all waits do, with -ETIMEDOUT when the
 * descriptor's deadline is over, and with -EBADF when another goroutine closes
 * the descriptor with weft_close() meanwhile.  Other errors are the system
 * call's own.  Several goroutines may wait on one descriptor.
 *
 * weft_listen, weft_dial and weft_accept give descriptors that are close-on-exec
 * and NON-BLOCKING: a library that expects a blocking one gets EAGAIN from them.
 *
 * Descriptors from elsewhere (open, pipe, a library) may be used, too: where
 * they can be waited for they are, whether O_NONBLOCK is set or not; regular
 * files are read and written in a blocking section.  Close those with close().
 *
 * On a foreign thread all of this blocks that thread.
 */

/*
 * net is "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix", "unixgram" or
 * "unixpacket".  addr is "host:port", "[v6]:port" or ":port" (any address; for
 * dial: this host), the port a number or a service's name; or a path ("@name":
 * abstract).  Names are looked up on another thread, and every address they
 * have is tried in turn: for its share of the time that the context leaves (at
 * least 2 s), for 10 s where it has no deadline, the last for as long as it takes.
 *   -EINVAL  net or addr is not understood
 *   -ENOENT  no such host or service, or no such path;  -EAGAIN  the name servers do not answer,
 *            or (unix) too many wait there already
 *
 * TCP has TCP_NODELAY set; listening sets SO_REUSEADDR.  "udp" gives a bound
 * socket.  A Unix socket's path stays behind when it is closed.
 */
int weft_listen(const char *net, const char *addr);
int weft_dial(const char *net, const char *addr);
/*
 * The next connection.  sa and len as in accept(2), or NULL.  Connections that
 * went away again are skipped.  -EMFILE, -ENFILE, -ENOBUFS, -ENOMEM mean that
 * none can be had at present: sleep a little and call again.
 */
int weft_accept(int fd, struct sockaddr *sa, socklen_t *len);

/* Up to n bytes; 0 at the end. */
ssize_t weft_read(int fd, void *buf, size_t n);
ssize_t weft_readv(int fd, const struct iovec *iov, int n);
/*
 * All n bytes.  Fewer when it had to give up: what was written is returned then,
 * and the error by the next call.  A peer that is gone is -EPIPE or -ECONNRESET;
 * no signal is sent for sockets.
 */
ssize_t weft_write(int fd, const void *buf, size_t n);
ssize_t weft_writev(int fd, const struct iovec *iov, int n); /* at most 1,024 parts, else -EINVAL */
/* n bytes, or to its end, of the file `in` to the socket `out`; offset as in sendfile(2).  Results as
 * weft_write(). */
ssize_t weft_sendfile(int out, int in, off_t *offset, size_t n);
/* One message of a socket; flags, address and results as of the system calls. */
ssize_t weft_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *from, socklen_t *len);
ssize_t weft_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *to, socklen_t len);

/*
 * Wait until fd can be read (POLLIN), written (POLLOUT) or either, without doing
 * it: for libraries that do their own I/O on non-blocking descriptors.  Returns
 * what poll(2) says is the case, > 0 (POLLERR and POLLHUP included), or an error.
 */
int weft_wait_fd(int fd, unsigned events);
/*
 * From instant `when` (weft_now() scale) on, reading (POLLIN) or writing
 * (POLLOUT) ends with -ETIMEDOUT; those who wait already included.  0 takes the
 * deadline away.  -EINVAL: events, or a descriptor that is not weft's.
 */
int weft_set_deadline(int fd, unsigned events, int64_t when);
/* Close fd and wake who waits on it with -EBADF.  0 or -EBADF.  Of descriptors that are not weft's, too. */
int weft_close(int fd);

/* --- Seeing: labels, traces, profiles, log ------------------------------------------------------ */
/*
 * Labels are carried into every profile and inherited by goroutines started
 * meanwhile.  Key and value are copied (cut to 63 and 127 bytes).  A later label
 * with the same key hides the earlier until popped.  At most 16 are kept; more
 * are counted and dropped.  Returning from the goroutine pops what is left.
 * No-ops on a foreign thread.  Need no P.
 */
void weft_label_push(const char *key, const char *value);
void weft_label_pop(void);

/*
 * What your code does, for who looks at an execution trace (GET /debug/pprof/trace, go tool trace): tasks are jobs
 * that may involve many goroutines, regions are stretches of one goroutine's time, log lines are instants.  type and
 * category are names, of which a process has some thousands at most ("GET /user", not a user's id); they are copied
 * and cut to 63 bytes, and what comes when there is no room for more of them is called "(other)".
 *
 * All of this does nothing while no trace is recorded (runtime.recorder), and on a foreign thread nothing but
 * weft_trace_on() and weft_task_end().
 */

/* Is it worth while to make up what would be said? */
bool weft_trace_on(void);

/*
 * A task is carried by the goroutine that began it, and by those that are started meanwhile in the same instance;
 * regions, log lines and further tasks belong to the one carried.  After its end, which any goroutine may tell, who
 * began it carries the one above; the others go on to say what they do for it.  A task handed to a goroutine that ran
 * before is carried between enter and leave:
 *
 *	weft_task *t = weft_task_begin("request");	...	WEFT_IN_TASK(job->task) {
 *	job->task = t; weft_send(jobs, job);				WEFT_REGION("work") ...
 *								}
 *								weft_task_end(job->task);
 */
typedef struct weft_task weft_task;
/* Below the one carried.  NULL: nothing is recorded, or no memory. */
weft_task *weft_task_begin(const char *type);
/* Ends the handle as well.  NULL is fine. */
void weft_task_end(weft_task *t);
/* Carry t (NULL, or a task of another instance: none).  What was carried before, to be given to weft_task_leave(). */
weft_task *weft_task_enter(weft_task *t);
void weft_task_leave(weft_task *before);

/* Regions of one goroutine lie in one another; up to 16 deep, others are left out.  An end too many is ignored. */
void weft_region_begin(const char *type);
void weft_region_end(void);

/* One line of text, cut at 256 bytes. */
void weft_trace_log(const char *category, const char *fmt, ...) WEFT_PRINTF(2, 3);

/*
 * Profiles of your own: which stacks hold something just now - connections, say, or buffers - at
 * /debug/pprof/NAME.  None of these need a P; any thread.
 *
 * new: name is 1 to 63 of A-Z a-z 0-9 . _ -, not beginning with a dot.  NULL: not such a name, one that is taken
 * (also by a profile of weftd's own), too many (64), no memory.
 * add: key stands for the thing, and must not be NULL; the stack begins at the caller of add, or `skip` frames
 * further out.  -EEXIST: the key is in already.  -ENOMEM, -EINVAL.
 * remove: whoever calls it; a key that is not in is ignored.  count: of keys.
 * free: forgets all keys and the name.  Nobody may use the handle afterwards.  Done for what the instance that made it
 * has not freed when it ends.
 */
typedef struct weft_profile weft_profile;
weft_profile *weft_profile_new(const char *name);
int weft_profile_add(weft_profile *p, const void *key, int skip);
void weft_profile_remove(weft_profile *p, const void *key);
int64_t weft_profile_count(const weft_profile *p);
void weft_profile_free(weft_profile *p);
/* Any profile by name: "heap", "block", "goroutine", one of a plugin.  NULL: there is none.  Those of weftd can be
 * counted and written; they are never freed.  Not found is what takes time or a client, and so a request: "profile",
 * "delta_heap" and its kin, /debug/fgprof. */
weft_profile *weft_profile_lookup(const char *name);
/* Write what /debug/pprof/NAME?debug=N would answer to fd, which is left open.  The goroutine waits meanwhile.
 * 0; -EINVAL; -ENOMEM; -EBADF; what write(2) failed with; -ECANCELED: it goes on by itself; -ENOSYS where the host
 * serves no profiles. */
int weft_profile_write(const weft_profile *p, int fd, int debug);
/*
 * A CPU profile of the process from start to stop, as /debug/pprof/profile?hz= takes it, with which it shares the
 * sampler: one at a time, whoever began it, beside any number of requests.  The goroutine waits meanwhile.
 *
 * start: samples per second of CPU time, at most 1,000; 0: the daemon's own rate (profiles.cpu_hz).  Sampling has
 * begun when it returns 0.  -EBUSY: one runs already; -EINVAL; -EAGAIN: no timers to be had; -ENOMEM; -ENOSYS: the
 * host takes none (weftd: it has no debug server).
 * stop: writes what was sampled to fd, which is left open; below 0 it is thrown away.  Either way the next one can
 * start, but after -EBADF, when this one goes on.  Of more than http.max_profile_seconds the beginning is kept.
 * -EINVAL: none runs; -ENOMEM; -ENOSYS; -ESHUTDOWN: the daemon ends; what write(2) failed with.
 * Both: -ECANCELED: it is done nevertheless, after the call has returned.  One that still runs when the instance that
 * began it has ended is thrown away.
 */
int weft_profile_cpu_start(int hz);
int weft_profile_cpu_stop(int fd);
/* How much the block profile counts (waits of ns and more, shorter ones as often as there is that much waiting; 1:
 * all; 0: none) and the mutex profile (one event in n; 0: none; -1: those of 1 ms and more, one in 100 of the
 * rest): of goroutines alone, foreign threads are in neither.  Gives back what was set before; below -1: that only.
 * For the whole process. */
int64_t weft_profile_block_rate(int64_t ns);
int64_t weft_profile_mutex_fraction(int64_t n);

/*
 * Execution traces into a file, for go tool trace: of the whole process, as /debug/pprof/trace and /debug/flight give
 * them, beside any number of requests.  The file is made anew, for its owner and group alone; a path that is not
 * absolute begins where the daemon was started.  The goroutine waits meanwhile.  None needs a P; any thread.
 *
 * start: from now on until stop, or until the instance that began it has ended, which nobody waits for; one at a time,
 * whoever began it.  -EBUSY: one is being written.
 * stop: returns when the file is whole.  -EINVAL: none was started, or it ends already.  What write(2) failed with,
 * also before.
 * snapshot: of the last ns nanoseconds, or as far back as runtime.recorder.memory reaches; 0: flight.seconds.  Returns
 * when the file is whole.
 * start, snapshot: -EINVAL: no path, ns below 0; what open(2) failed with; -ENOTSUP: the recorder is off
 * (runtime.recorder.memory is 0); -EAGAIN, -ENOMEM.
 * All: -ECANCELED: it is done nevertheless, after the call has returned; -ENOSYS: the host has none.
 */
int weft_trace_start(const char *path);
int weft_trace_stop(void);
int weft_flight_snapshot(const char *path, int64_t ns);

enum { WEFT_ERROR = 3, WEFT_WARN = 4, WEFT_NOTICE = 5, WEFT_INFO = 6, WEFT_DEBUG = 7 };
/* One line to the daemon's log, with instance and goroutine id.  Never waits: when the
 * log can't keep up the line is dropped and counted.  Cut at 1,000 bytes.  Needs no P. */
void weft_log(int level, const char *fmt, ...) WEFT_PRINTF(2, 3);
/* Text of a negative result, e.g. "Operation canceled".  Static strings. */
const char *weft_strerror(int rc);

/* --- Configuration: the plugin's own JSON object ------------------------------- */
/*
 * Absent key: 0, *out untouched.  Wrong type or range: logged with the JSON
 * path, -EINVAL.  So defaults are initial values and errors need one check.
 * Only inside init.  Keys that nobody asked for are reported as a warning.
 */
int weft_conf_int(const weft_conf *c, const char *key, int64_t min, int64_t max, int64_t *out);
int weft_conf_dur(const weft_conf *c, const char *key, int64_t *out); /* "250ms", in ns */
int weft_conf_bool(const weft_conf *c, const char *key, bool *out);
int weft_conf_str(const weft_conf *c, const char *key, const char **out); /* lives as long as c */
/* NULL when absent or not an object; every getter takes NULL for an empty object. */
const weft_conf *weft_conf_sub(const weft_conf *c, const char *key);

/* --- The plugin itself ---------------------------------------------------------- */

/* Grows at its end only. */
struct weft_plugin {
	uint32_t abi, size; /* filled in by WEFT_PLUGIN; first, forever */
	const char *name, *version, *about;
	size_t state_size;                               /* zeroed memory per configured instance */
	int (*init)(void *state, const weft_conf *conf); /* may be NULL */
	int (*run)(void *state);                         /* required */
	void (*stop)(void *state);                       /* may be NULL */
	void (*fini)(void *state);                       /* may be NULL */
};

#ifdef __cplusplus
#define WEFT_EXTERN_C_ extern "C"
#else
#define WEFT_EXTERN_C_ extern
#endif
#define WEFT_PLUGIN(...)                                                                                               \
	_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wmissing-field-initializers\"")              \
		WEFT_EXTERN_C_ __attribute__((visibility("default"))) const struct weft_plugin weft_plugin_entry;      \
	const struct weft_plugin weft_plugin_entry = { .abi = WEFT_ABI,                                                \
						       .size = sizeof(struct weft_plugin),                             \
						       __VA_ARGS__ };                                                  \
	_Pragma("GCC diagnostic pop") WEFT_EXTERN_C_ const struct weft_plugin weft_plugin_entry

/*
 * errno and goroutines.  glibc marks the function behind errno const, so a
 * compiler may fetch the address once per C function; a goroutine that waits
 * in between can wake on another thread and then read the wrong errno.  Plugin
 * code therefore gets an errno that is looked up anew at every use.
 */
int *weft_errno_location(void);
#ifndef WEFT_KEEP_ERRNO
#undef errno
#define errno (*weft_errno_location())
#endif

#pragma GCC visibility pop
#ifdef __cplusplus
}

namespace weft
{
/* weft::locked hold(&m);  unlocks at the end of the scope. */
class locked
{
	weft_mutex *m_;

      public:
	explicit locked(weft_mutex *m) : m_(m) { weft_lock(m); }
	~locked() { weft_unlock(m_); }
	locked(const locked &) = delete;
	locked &operator=(const locked &) = delete;
};
/* weft::blocking here;  a blocking section to the end of the scope. */
class blocking
{
      public:
	__attribute__((always_inline)) blocking() { weft_block_enter(); }
	~blocking() { weft_block_exit(); }
	blocking(const blocking &) = delete;
	blocking &operator=(const blocking &) = delete;
};
/* weft::labelled l("user", id);  pops at the end of the scope. */
class labelled
{
      public:
	labelled(const char *key, const char *value) { weft_label_push(key, value); }
	~labelled() { weft_label_pop(); }
	labelled(const labelled &) = delete;
	labelled &operator=(const labelled &) = delete;
};
/* weft::region r("resize");  ends with the scope. */
class region
{
      public:
	explicit region(const char *type) { weft_region_begin(type); }
	~region() { weft_region_end(); }
	region(const region &) = delete;
	region &operator=(const region &) = delete;
};
/* weft::task t("request");  ends with the scope. */
class task
{
	weft_task *t_;

      public:
	explicit task(const char *type) : t_(weft_task_begin(type)) {}
	~task() { weft_task_end(t_); }
	task(const task &) = delete;
	task &operator=(const task &) = delete;
};
/* weft::timeout limit(2 * WEFT_SEC);  waits in the scope give up after that; as WEFT_TIMEOUT. */
class timeout
{
	weft_ctx *mine_, *old_;

      public:
	explicit timeout(int64_t ns)
	{
		int64_t now = weft_now();

		mine_ = weft_ctx_new(nullptr, ns > WEFT_FOREVER - now ? WEFT_FOREVER : now + ns);
		old_ = weft_ctx_enter(mine_);
	}
	~timeout()
	{
		weft_ctx_enter(old_);
		weft_ctx_free(mine_);
	}
	timeout(const timeout &) = delete;
	timeout &operator=(const timeout &) = delete;
};
} // namespace weft
#endif

/* --- Sugar: inline only, GNU C (not C++) ------------------------------------------- */

#if defined(__GNUC__) && !defined(__cplusplus) && !defined(WEFT_NO_SUGAR)

/*
 * Typed channels:
 *	typedef WEFT_CHAN(struct job) job_chan;
 *	job_chan c;
 *	weft_make(&c, 16);			0 or -ENOMEM
 *	weft_send(c, (struct job){ 1, 2 });	a wrong type does not compile
 *	while (weft_recv(c, &job) > 0) ...
 *	weft_chan_finish(c);			close: receivers drain what is left
 */
#define WEFT_CHAN(T)                                                                                                   \
	union {                                                                                                        \
		weft_chan *h;                                                                                          \
		T *elem;                                                                                               \
	}
#define weft_make(pc, cap) (((pc)->h = weft_chan_new(sizeof *(pc)->elem, (cap))) ? 0 : -ENOMEM)
#define weft_send(c, ...)                                                                                              \
	__extension__({                                                                                                \
		__typeof__(*(c).elem) weft_v_ = (__VA_ARGS__);                                                         \
		weft_chan_send((c).h, &weft_v_, sizeof weft_v_);                                                       \
	})
#define weft_recv(c, out) ((void)sizeof((out) - (c).elem), weft_chan_recv((c).h, (out), sizeof *(c).elem))
#define weft_chan_finish(c) weft_chan_close((c).h)

/*
 * Select on typed channels; the result is the number of the case:
 *	switch (weft_select(weft_on_recv(jobs, &job), weft_on_send(results, r),
 *			    weft_on_tick(ticker, NULL), weft_on_after(WEFT_SEC))) {
 *	case 0: ... job ...
 *	case 1: ... r was sent ...
 * (The ?: in weft_on_send only makes a wrong type an error.)  Arguments are evaluated once.  NULL as the place for what
 *is received drops it.
 */
#define weft_on_recv(c, out) weft_on_recv_ok(c, out, NULL)
#define weft_on_recv_ok(c, out, okp)                                                                                   \
	((struct weft_case){ .op = WEFT_OP_RECV,                                                                       \
			     .on = (c).h,                                                                              \
			     .elem = (__typeof__((c).elem)){ (out) },                                                  \
			     .size = sizeof *(c).elem,                                                                 \
			     .ok = (okp) })
#define weft_on_send(c, ...)                                                                                           \
	((struct weft_case){ .op = WEFT_OP_SEND,                                                                       \
			     .on = (c).h,                                                                              \
			     .elem = (__typeof__(*(c).elem)[1]){ 1 ? (__VA_ARGS__) : *(c).elem },                      \
			     .size = sizeof *(c).elem })
#define weft_on_tick(t, out)                                                                                           \
	((struct weft_case){                                                                                           \
		.op = WEFT_OP_RECV, .on = weft_timer_chan(t), .elem = (int64_t *){ (out) }, .size = sizeof(int64_t) })
#define weft_on_done(ctx) ((struct weft_case){ .op = WEFT_OP_DONE, .on = (const weft_ctx *){ (ctx) } })
#define weft_on_after(dur) ((struct weft_case){ .op = WEFT_OP_AFTER, .ns = (dur) })
#define weft_on_default ((struct weft_case){ .op = WEFT_OP_DEFAULT })
#define weft_select(...)                                                                                               \
	weft_select_n((struct weft_case[]){ __VA_ARGS__ },                                                             \
		      sizeof((struct weft_case[]){ __VA_ARGS__ }) / sizeof(struct weft_case),                          \
		      sizeof(struct weft_case))

/* weft_go_copy(fn, &(struct job){ 1, 2 }): the goroutine gets its own copy. */
#define weft_go_copy(fn, ...)                                                                                          \
	weft_go_with((fn), (__VA_ARGS__),                                                                              \
		     &(struct weft_go_opts){ .size = sizeof(struct weft_go_opts), .arg_size = sizeof *(__VA_ARGS__) })

/* One system call that may block, -Exxx for -1 and errno:
 *	n = WEFT_SYSCALL(pread(fd, buf, len, off)); */
#define WEFT_SYSCALL(...)                                                                                              \
	__extension__({                                                                                                \
		weft_block_enter();                                                                                    \
		__typeof__(__VA_ARGS__) weft_r_ = (__VA_ARGS__);                                                       \
		if (weft_r_ < 0)                                                                                       \
			weft_r_ = -*weft_errno_location();                                                             \
		weft_block_exit();                                                                                     \
		weft_r_;                                                                                               \
	})

/*
 * Scopes: `X { ... }` - leaving by return, break, continue or goto ends them
 * too.  `break` and `continue` end the scope only, not a loop around it; a
 * function that returns from inside needs a return after it.
 */
#define WEFT_CAT_(a, b) a##b
#define WEFT_CAT(a, b) WEFT_CAT_(a, b)
#define WEFT_SCOPE_(n, enter, leave)                                                                                   \
	for (struct weft_scope_ WEFT_CAT(weft_s_, n) __attribute__((cleanup(leave))) = enter;                          \
	     WEFT_CAT(weft_s_, n).once; WEFT_CAT(weft_s_, n).once = false)
struct weft_scope_ {
	bool once;
	weft_mutex *lock;
	weft_ctx *mine, *old;
	weft_task *task;
};
static inline struct weft_scope_ weft_on_lock_(weft_mutex *m)
{
	weft_lock(m);
	return (struct weft_scope_){ .once = true, .lock = m };
}
static inline void weft_off_lock_(struct weft_scope_ *s)
{
	weft_unlock(s->lock);
}
static inline struct weft_scope_ weft_on_label_(const char *key, const char *value)
{
	weft_label_push(key, value);
	return (struct weft_scope_){ .once = true };
}
static inline void weft_off_label_(struct weft_scope_ *s)
{
	(void)s;
	weft_label_pop();
}
static inline struct weft_scope_ weft_on_region_(const char *type)
{
	weft_region_begin(type);
	return (struct weft_scope_){ .once = true };
}
static inline void weft_off_region_(struct weft_scope_ *s)
{
	(void)s;
	weft_region_end();
}
static inline struct weft_scope_ weft_on_task_(const char *type)
{
	return (struct weft_scope_){ .once = true, .task = weft_task_begin(type) };
}
static inline void weft_off_task_(struct weft_scope_ *s)
{
	weft_task_end(s->task);
}
static inline struct weft_scope_ weft_on_in_task_(weft_task *t)
{
	return (struct weft_scope_){ .once = true, .task = weft_task_enter(t) };
}
static inline void weft_off_in_task_(struct weft_scope_ *s)
{
	weft_task_leave(s->task);
}
static inline struct weft_scope_ weft_on_timeout_(int64_t ns)
{
	int64_t now = weft_now();
	weft_ctx *mine = weft_ctx_new(NULL, ns > WEFT_FOREVER - now ? WEFT_FOREVER : now + ns);

	return (struct weft_scope_){ .once = true, .mine = mine, .old = weft_ctx_enter(mine) };
}
static inline void weft_off_timeout_(struct weft_scope_ *s)
{
	weft_ctx_enter(s->old);
	weft_ctx_free(s->mine);
}
/* WEFT_TIMEOUT(ns) { ... }: whatever waits inside, in goroutines started there as well, gives up with
 * -ETIMEDOUT; leaving the scope cancels what those still do.  No effect on a foreign thread. */
#define WEFT_TIMEOUT(ns) WEFT_SCOPE_(__COUNTER__, weft_on_timeout_(ns), weft_off_timeout_)
/* Inlined always: the section's frame has to outlast it. */
static inline __attribute__((always_inline)) struct weft_scope_ weft_on_block_(void)
{
	weft_block_enter();
	return (struct weft_scope_){ .once = true };
}
static inline void weft_off_block_(struct weft_scope_ *s)
{
	(void)s;
	weft_block_exit();
}
#define WEFT_LOCKED(m) WEFT_SCOPE_(__COUNTER__, weft_on_lock_(m), weft_off_lock_)
#define WEFT_BLOCKING WEFT_SCOPE_(__COUNTER__, weft_on_block_(), weft_off_block_)
#define WEFT_LABEL(k, v) WEFT_SCOPE_(__COUNTER__, weft_on_label_((k), (v)), weft_off_label_)
#define WEFT_REGION(type) WEFT_SCOPE_(__COUNTER__, weft_on_region_(type), weft_off_region_)
/* A task from begin to end; and carry one that is there. */
#define WEFT_TASK(type) WEFT_SCOPE_(__COUNTER__, weft_on_task_(type), weft_off_task_)
#define WEFT_IN_TASK(t) WEFT_SCOPE_(__COUNTER__, weft_on_in_task_(t), weft_off_in_task_)

#endif /* sugar */
#endif /* WEFT_H */
