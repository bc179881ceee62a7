/* SPDX-License-Identifier: MIT */
/*
 * weft.h - what a task plugin may call.
 *
 * Three rules hold for every function here:
 *   - Results: >= 0 is success, a negative value is -Exxx.  errno is not used
 *     to report anything; weft_strerror() gives the text of a result.
 *   - Whatever can wait gives up with -ECANCELED once the goroutine's context
 *     is over.  Locks and wait groups are the exception: they wait for code of
 *     yours, which is itself told to give up.
 *   - What a plugin instance creates belongs to that instance.
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
 * everything here that needs no goroutine: sends, receives, locks and wait
 * groups block that thread (on a futex) instead of a goroutine; try calls work;
 * sleep and yield do what the system calls of that name do.  Creating a
 * goroutine needs an instance: weft_go_in(), or weft_go() between weft_enter()
 * and weft_leave(); otherwise it is -EPERM.
 *
 * C++.  The functions and WEFT_PLUGIN (C++20) can be used from C++; the typed
 * channels and scopes of the second part are GNU C, C++ has weft::locked and
 * weft::labelled instead.  An exception must not leave a goroutine's function:
 * it ends the process with a dump that names the goroutine.
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
 * Names that are reserved for what comes next: weft_select*, weft_case,
 * weft_on_*, weft_rwmutex, weft_rlock*, weft_wlock*, weft_try_rlock,
 * weft_try_wlock, weft_cond*, weft_sem*, weft_timer*, weft_after, weft_ctx_*,
 * weft_group*, weft_local*, weft_lock_thread, weft_unlock_thread, weft_block_*,
 * weft_checkpoint, weft_task*, weft_region*, weft_trace*, weft_flight*,
 * weft_profile*, weft_metric*,
 * WEFT_BLOCKING, WEFT_SYSCALL, WEFT_REGION, WEFT_TIMEOUT.
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
typedef struct weft_conf weft_conf;
typedef struct weft_inst weft_inst;

/* --- Goroutines ----------------------------------------------------------- */

typedef void (*weft_fn)(void *arg);

struct weft_go_opts {
	size_t size;      /* sizeof this struct, for later growth */
	const char *name; /* shown instead of the start function's symbol; must outlive the process's
			     profiles: a string literal; NULL: the symbol */
	size_t arg_size;  /* copy *arg to the new stack (at most WEFT_ARG_MAX); 0: pass the pointer */
};
#define WEFT_ARG_MAX 8192

/*
 * Start fn(arg) as a goroutine of the caller's instance; it inherits the
 * caller's context and labels.  Never waits.
 *   0
 *   -ENOMEM     no memory for a stack
 *   -EAGAIN     runtime.max_goroutines are alive
 *   -ECANCELED  the caller's context is over
 *   -EINVAL     fn is NULL, opts->size unknown, arg_size above WEFT_ARG_MAX
 *   -EPERM      a foreign thread outside weft_enter()
 */
int weft_go(weft_fn fn, void *arg);
int weft_go_with(weft_fn fn, void *arg, const struct weft_go_opts *opts);

/* Let other runnable goroutines go first. */
void weft_yield(void);

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

/* --- Locks: zero is ready to use, nothing to destroy ----------------------- */
/*
 * They belong to no goroutine: one may lock and another unlock.  Misuse
 * (unlocking what is not locked, a negative wait group) is fatal and named.
 * They may not be copied while in use.  Not called off by the context.
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

/* --- Contexts --------------------------------------------------------------- */
/*
 * Every goroutine carries the context of its instance, inherited from its
 * starter; stopping the instance ends it.
 */
weft_ctx *weft_ctx_self(void); /* borrowed; NULL on a foreign thread.  Needs no P. */
/* 0, -ECANCELED; NULL counts as over.  Needs no P. */
int weft_ctx_err(const weft_ctx *ctx);

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
 * files are read and written on another thread.  Close those with close().
 *
 * On a foreign thread all of this blocks that thread.
 */

/*
 * net is "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix", "unixgram" or
 * "unixpacket".  addr is "host:port", "[v6]:port" or ":port" (any address; for
 * dial: this host), the port a number or a service's name; or a path ("@name":
 * abstract).  Names are looked up on another thread, and every address they
 * have is tried in turn.
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

/* --- Seeing: labels, log ------------------------------------------------------ */
/*
 * Labels are carried into every profile and inherited by goroutines started
 * meanwhile.  Key and value are copied (cut to 63 and 127 bytes).  A later label
 * with the same key hides the earlier until popped.  At most 16 are kept; more
 * are counted and dropped.  Returning from the goroutine pops what is left.
 * No-ops on a foreign thread.  Need no P.
 */
void weft_label_push(const char *key, const char *value);
void weft_label_pop(void);

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
/* weft::labelled l("user", id);  pops at the end of the scope. */
class labelled
{
      public:
	labelled(const char *key, const char *value) { weft_label_push(key, value); }
	~labelled() { weft_label_pop(); }
	labelled(const labelled &) = delete;
	labelled &operator=(const labelled &) = delete;
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

/* weft_go_copy(fn, &(struct job){ 1, 2 }): the goroutine gets its own copy. */
#define weft_go_copy(fn, ...)                                                                                          \
	weft_go_with((fn), (__VA_ARGS__),                                                                              \
		     &(struct weft_go_opts){ .size = sizeof(struct weft_go_opts), .arg_size = sizeof *(__VA_ARGS__) })

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
#define WEFT_LOCKED(m) WEFT_SCOPE_(__COUNTER__, weft_on_lock_(m), weft_off_lock_)
#define WEFT_LABEL(k, v) WEFT_SCOPE_(__COUNTER__, weft_on_label_((k), (v)), weft_off_label_)

#endif /* sugar */
#endif /* WEFT_H */
