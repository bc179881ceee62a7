/* server.h - what the files of this folder share.
 *
 * Everything here belongs to the loop thread, except what struct op says about pool tasks.
 *
 * Who owns what:
 *   http      lives until http_stop() has said so and the last pool task is back (refs).
 *   conn      one per accepted connection; libmicrohttpd's socket context.
 *   request   from the request line to libmicrohttpd's completion callback, which is always called.
 *   op        what a suspended request waits for; outlives the request while a pool task or a response
 *             still holds it.  r->op and op->r point at each other or are both NULL.
 * A request is suspended exactly while `suspended` is set; then libmicrohttpd does not look at its socket,
 * so `watch` does.  Only request_wake() resumes. */
#ifndef WEFT_HTTP_SERVER_H
#define WEFT_HTTP_SERVER_H

#define WEFT_KEEP_ERRNO
#include <weft.h>

#include <microhttpd.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "http.h"
#include "pprof.h"
#include "text.h"

#define CONNECTIONS_MAX 256  /* a listener */
#define CONNECTIONS_HIGH 230 /* from here on the one idle for longest is shut down for each new one */
#define IDLE_SECONDS 10
#define STREAM_STALL_SECONDS 60 /* a reader of a stream that takes nothing for so long is dropped */
#define BODY_MAX (4u << 20)
#define TARGET_MAX (16u << 10)
#define HEAD_MAX (32u << 10)         /* request line and headers */
#define CONNECTION_MEMORY (64 << 10) /* what a head is read into; beyond it libmicrohttpd answers by itself */
#define TASK_NS 40000000             /* a pool task hands back after this, to stay below 50 ms */

#define SECOND INT64_C(1000000000)

enum { LANE_ANY, LANE_NAMES, LANE_CPU, LANE_RINGS };

struct listener;
struct cpu;
struct trim;

struct conn {
	TAILQ_ENTRY(conn) idle; /* of l->idle unless busy; longest idle first */
	struct listener *l;
	int fd;
	bool busy;
};
TAILQ_HEAD(conn_list, conn);

struct listener {
	struct http *h;
	struct MHD_Daemon *daemon;
	struct http_watch *watch; /* of daemon's epoll descriptor */
	int fd;
	bool local; /* a Unix socket */
	char *address;
	char *path; /* of a Unix socket we made: to be unlinked; else NULL */
	dev_t dev;
	ino_t ino;
	struct conn_list idle;
	unsigned conns;
};

enum method { METHOD_GET = 1, METHOD_HEAD = 2, METHOD_POST = 4, METHOD_OTHER = 8 };

struct request;
struct route {
	const char *path;
	const char *class; /* label of the counters */
	unsigned methods;
	bool plain;   /* as Go's: no headers of our own beside the common ones */
	unsigned off; /* not served with one of these switched off */
	/* Sets a reply or an op.  HEAD comes here too, and must not collect. */
	void (*handle)(struct request *r);
};
#define ROUTES_MAX 32
#define CODES_MAX 16

enum request_state { REQ_NEW, REQ_BODY, REQ_WAIT, REQ_READY };

struct request {
	TAILQ_ENTRY(request) all;
	struct http *h;
	struct listener *l;
	struct conn *conn;
	struct MHD_Connection *c;
	char *target;      /* as sent; path stands in the same memory */
	char *path;        /* decoded, without absolute-form prefix */
	const char *query; /* as sent, in target; "" if none */
	char host[256];    /* of an absolute-form target, else "" */
	const struct route *route;
	enum method method;
	enum request_state state;
	bool suspended;
	bool bad;      /* target not understood */
	bool too_long; /* target longer than TARGET_MAX */
	bool old;      /* HTTP/1.0, where nobody has to send a Host */
	bool body;     /* one is announced */
	bool lossy;    /* no memory for the body */
	bool stalls;   /* a stream: longer timeout */
	struct http_watch *watch;
	struct op *op;
	struct MHD_Response *reply;
	unsigned status;
};
TAILQ_HEAD(request_list, request);

enum budget { BUDGET_NONE, BUDGET_COLLECTION, BUDGET_SYMBOL, BUDGETS };

struct http {
	const struct http_loop *loop;
	struct http_opts opts; /* strings and arrays are our copies */
	int refs;              /* one of the owner, one per op, one of a CPU task that is out */
	bool closed;           /* stopped() has been called */
	struct listener *listener;
	size_t n_listeners;
	struct http_timer *timer; /* next MHD_run */
	bool running, kicked;     /* inside MHD_run; MHD_run wanted */
	struct request_list requests;
	struct cpu *cpu;
	struct trim *trim;
	int in_use[BUDGETS];
	unsigned ops; /* alive */
	struct {
		uint64_t requests[ROUTES_MAX][CODES_MAX];
		uint64_t rejected, gone;
	} count;
	atomic_ulong names; /* generation of the module table that has names; written in LANE_NAMES */
	bool stopping;
	struct http_timer *stop_timer;
	int64_t stop_at;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* server.c */
int64_t mono_now(void);
int64_t real_now(void);
void http_log(struct http *h, int level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void http_kick(struct http *h); /* have MHD_run called soon */
void http_ref(struct http *h);
void http_unref(struct http *h);
void http_stop_check(struct http *h); /* something that http_stop() may wait for has ended */

/* request.c */
void *request_new(void *cls, const char *target, struct MHD_Connection *c); /* the URI callback */
enum MHD_Result request_access(void *cls, struct MHD_Connection *c, const char *url, const char *method,
			       const char *version, const char *data, size_t *len, void **ctx);
void request_completed(void *cls, struct MHD_Connection *c, void **ctx, enum MHD_RequestTerminationCode how);
int request_suspend(struct request *r); /* in the access handler or a content reader; 0 or -ENOMEM */
void request_wake(struct request *r);
/* Who asked, for the log: "127.0.0.1:4711" or "uid 0 pid 12". */
const char *request_peer(struct request *r, char *buf, size_t cap);

/* route.c */
const struct route *route_find(const char *path);
const char *route_class(size_t i); /* NULL past the end */
size_t route_index(const struct route *route);
void route_dispatch(struct request *r);
/* Refuse what is switched off: false, and a reply is set. */
bool route_is_on(struct request *r, unsigned what);
int route_code(unsigned status); /* index into http.count.requests[] */
unsigned route_status(int code); /* and back; 0 past the end */

/* param.c: pure */
struct param {
	bool given, valid;
	int64_t value;
};
/* Copy the first value of key, decoded; false: absent, or longer than cap - 1. */
bool param_get(const char *query, const char *key, char *buf, size_t cap);
/* Decimal integer; saturates; empty counts as absent. */
struct param param_int(const char *query, const char *key);
/* %XX in place; false: malformed, or a NUL byte in it. */
bool param_decode(char *s, bool plus_is_space);
/* Path and query of a request target; strips "http://host" and leaves it in host (or ""). */
bool param_target(const char *target, char *path, size_t path_cap, const char **query, char *host, size_t host_cap);

/* access.c */
/* Host, cross-site and body rules; true: go on, false: a reply is set. */
bool access_check(struct request *r);
/* Pure parts. */
bool access_host_ok(const char *host, const char *const *allowed, size_t n);
bool access_origin_ok(const char *origin, const char *host);
bool access_site_ok(const char *sec_fetch_site);

/* listen.c */
enum listen_kind { LISTEN_TCP, LISTEN_UNIX, LISTEN_FD };
struct listen_spec {
	enum listen_kind kind;
	char host[256]; /* TCP; "" is every address */
	char port[8];
	char name[256]; /* path or descriptor name */
};
/* 0, or -EINVAL with the reason in err. */
int listen_parse(const char *entry, struct listen_spec *out, char *err, size_t cap);
bool listen_is_local(const struct sockaddr *sa); /* loopback or Unix */
/* Fill at most cap listeners (fd, local, address, path) for one entry.  How many, or -Exxx with err. */
int listen_open(const char *entry, bool allow_remote, struct listener *out, size_t cap, char *err, size_t err_cap);
void listen_close(struct listener *l);

/* reply.c: each sets r->reply and r->status; a failed allocation leaves r->reply NULL, and the connection
 * is then closed. */
void reply_error(struct request *r, unsigned status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* data comes from malloc and is taken over. */
void reply_bytes(struct request *r, const char *type, const char *filename, void *data, size_t len);
void reply_text(struct request *r, const char *type, const char *text);
/* Headers only, for HEAD on what would have to be collected. */
void reply_head(struct request *r, const char *type, const char *filename);
void reply_stream(struct request *r, const char *type, MHD_ContentReaderCallback read, struct op *o);
/* Which of the two `format=` asks for; false: for another, and that is refused. */
bool reply_format(struct request *r, bool *json);
void reply_header(struct request *r, const char *name, const char *value);
void reply_file(struct request *r, const char *filename); /* the name to be saved under; NULL: none */
enum MHD_Result reply_queue(struct request *r);
extern const char type_json[], type_text[], type_html[], type_binary[];

/* budget.c */
/* true, or false with the 429 set as reply. */
bool budget_take(struct request *r, enum budget what);
void budget_give(struct http *h, enum budget what);

/* op.c: work in steps.  The type in front of whatever a collection needs. */
struct op {
	struct http *h;
	struct request *r; /* who waits, or NULL */
	int refs;          /* r's, that of a task that is out, that of a response; loop thread */
	enum budget budget;
	atomic_bool dead; /* nobody waits any more: pool tasks look at it now and then, and hand back */
	int rc;           /* for the steps' own use */
	void (*work)(struct op *o);
	void (*done)(struct op *o);
	void (*cancelled)(struct op *o); /* loop thread, when the client left or the server stops; or NULL */
	void (*free)(struct op *o);      /* loop thread, no task is out; o itself too */
};
/* Takes the budget; a reply is set when it returns NULL. */
void *op_new(struct request *r, size_t size, enum budget budget, void (*free)(struct op *o));
/* One that no request waits for; the caller's reference.  NULL: no memory. */
void *op_alone(struct http *h, size_t size, void (*free)(struct op *o));
void op_ref(struct op *o);
void op_unref(struct op *o);
/* work on the pool, then done on the loop, unless dead by then.  On no memory the request is answered. */
void op_run(struct op *o, int lane, void (*work)(struct op *o), void (*done)(struct op *o));
/* The request is answered (a reply is set): wake it; the op is gone unless somebody else holds it. */
void op_finish(struct op *o);
void op_fail(struct op *o, unsigned status, const char *text);
void op_cancel(struct op *o);
bool op_dead(struct op *o);
/* Bring the symbol tables up to date; in LANE_NAMES. */
void op_names(struct http *h);

/* encode.c: a profile that is complete becomes the answer. */
struct pprof;
struct encoding {
	struct op op;
	struct pprof *p; /* owned */
	int64_t time_ns, duration_ns;
	char filename[80];
	bool text; /* debug=1, as head says; its comment is owned */
	bool made; /* the answer is set */
	struct text_head head;
	struct buf out;
};
void encode_start(struct encoding *e);
void encode_done(struct encoding *e); /* loop thread; frees what it holds, not itself */
void encode_free(struct encoding *e); /* the same of one that no request has made */

/* filter.c: what all profiles take: instance=, plugin=, symbolize=none. */
struct filter {
	char instance[64], plugin[64]; /* "": any */
	bool bare;
};
/* The value of key at buf, "" without one; what does not fit is an error, not left out.  false: a reply is set. */
bool param_word(struct request *r, const char *key, char *buf, size_t cap);
bool filter_parse(struct request *r, struct filter *f); /* false: a reply is set */
bool filter_passes(const struct filter *f, uint32_t instance);
const char *instance_name(uint32_t i); /* for the label; NULL: the runtime itself */

/* pprof_snapshot.c: profiles that are read at an instant, or twice, for the difference. */
struct snapshot;
struct snapshot_kind {
	const char *name, *help;
	const char *query;     /* of the link on the index page, in HTML; NULL: debug=1 */
	const char *text_name; /* in the head of debug=1; NULL: name */
	struct pprof_spec spec;
	enum text_form form;
	/* Loop thread.  Look at further parameters, change spec and head, take what the readings need; false: a
	 * reply is set.  Or NULL. */
	bool (*begin)(struct snapshot *s, struct request *r);
	/* Pool, before the first next() of each reading: 0 or -ENOMEM.  Or NULL. */
	int (*prepare)(struct snapshot *s);
	/* Pool.  Add the next sample: 1; 0: that was all; -ENOMEM. */
	int (*next)(struct snapshot *s);
	/* Pool, after the last of a text: what becomes head.comment.  Or NULL. */
	void (*comment)(struct snapshot *s, struct buf *text);
	/* Loop thread, once the last reading is done or given up, perhaps with a task still out.  May be called
	 * twice.  Or NULL. */
	void (*end)(struct snapshot *s);
	/* Loop thread, no task is out: free what the kind keeps.  Or NULL. */
	void (*drop)(struct snapshot *s);
	size_t (*count)(void); /* for the index */
	bool no_difference;    /* seconds= is refused */
	bool by_client;        /* client= is demanded: there is none without a request */
};
struct snapshot {
	struct encoding e; /* first */
	const struct snapshot_kind *kind;
	struct pprof_spec spec;
	struct filter filter;
	bool no_labels;
	bool begun;      /* a reading has begun */
	int64_t sign;    /* of each value: 1, or -1 in the first half of a difference */
	int64_t seconds; /* 0: no difference */
	int64_t first_at;
	struct http_timer *timer;
	uint32_t at; /* the kind's: where its reading is; 0 at first */
	void *state; /* the kind's */
};
void snapshot_start(struct request *r, const struct snapshot_kind *kind);
void snapshot_init(struct snapshot *s, const struct snapshot_kind *kind);
void snapshot_comment(struct snapshot *s);
/* Add what passes the filter; values are multiplied by sign.  0 or -ENOMEM. */
int snapshot_add(struct snapshot *s, const uint64_t *pc, int depth, unsigned flags, const struct weft_labels *labels,
		 uint32_t instance, struct pprof_extra *extra, const int64_t *values);
/* The same of a sample of weft_read_prof(). */
int snapshot_add_prof(struct snapshot *s, const struct weft_prof_sample *x, struct pprof_extra *extra,
		      const int64_t *values);
void get_snapshot(struct request *r);                           /* of the kind that the path names */
const struct snapshot_kind *snapshot_kind_at(size_t i);         /* our own, by name; NULL past the end */
const struct snapshot_kind *snapshot_kind_of(const char *name); /* also of plugins; NULL: there is none */
/* Refuse seconds above the limit: false, and a reply is set. */
bool seconds_ok(struct request *r, double seconds);

/* The kinds, each in its own file. */
extern const struct snapshot_kind goroutine_kind;
extern const struct snapshot_kind block_kind, mutex_kind;
extern const struct snapshot_kind threadcreate_kind, blocking_kind;
extern const struct snapshot_kind heap_kind, allocs_kind;
extern const struct snapshot_kind delta_block_kind, delta_heap_kind, delta_mutex_kind;
/* Make sums of blocks sampled at rate `from` what they would be at rate `to`; 1: all of them. */
void heap_scale(int64_t *objects, int64_t *bytes, int64_t from, int64_t to);
/* The four values of a heap profile at rate `to`, and the size's label; of what is in the overflow bucket, whose rate
 * is not known, as if that were `assumed`. */
void heap_values(const struct weft_prof_sample *x, int64_t assumed, int64_t to, int64_t *v, struct pprof_extra *extra);

/* pprof_custom.c: those of plugins.  Any thread. */
const struct snapshot_kind *custom_kind(const char *name); /* NULL: there is none */
size_t custom_count(uint32_t i, const char **name);        /* by number; name "": none there, NULL: past the end */

/* pprof_cpu.c */
struct cpu *cpu_new(struct http *h);
void cpu_free(struct cpu *c);
bool cpu_idle(const struct cpu *c);
int cpu_sessions(const struct cpu *c);
void cpu_hold(struct cpu *c, int by); /* 1: the sampler has to run; -1: no longer for the sake of this one */
/* The session of profile_cpu.c.  Open: 0 or -ENOMEM; then cpu_file_began() and cpu_file_over() are called, or the
 * latter alone.  Close: now rather than at the end of its window.  Drop: whatever it is at. */
int cpu_file_open(struct cpu *c, int hz);
void cpu_file_close(struct cpu *c);
void cpu_file_drop(struct cpu *c);

/* profile_cpu.c; loop thread */
void cpu_file_serve(struct http *h); /* NULL: no longer */
void cpu_file_began(void);
void cpu_file_over(int rc, struct pprof *p, int64_t time_ns, int64_t duration_ns); /* p is taken over */

/* profile_cpu.c; any thread: names have been looked up without a request, which calls trim_later(). */
void names_were_read(void);
/* profile_write.c: encode p and write it; any thread that may block.  0, -ENOMEM or what write(2) failed with. */
int profile_put(struct pprof *p, int64_t time_ns, int64_t duration_ns, int fd);

/* trim.c */
struct trim *trim_new(struct http *h);
void trim_free(struct trim *t);
void trim_later(struct http *h); /* names have been looked up */
bool trim_idle(const struct trim *t);

/* The handlers. */
void get_index(struct request *r);
void get_index_redirect(struct request *r);
void get_goroutine(struct request *r);
void get_profile(struct request *r);
void get_fgprof(struct request *r);
void get_trace(struct request *r);
void get_flight(struct request *r);
void get_flights(struct request *r);
void get_cmdline(struct request *r);
void any_symbol(struct request *r);
void symbol_begin(struct request *r); /* before the body */
bool symbol_body(struct request *r, const char *data, size_t len);
void get_sched(struct request *r);
void get_stacks(struct request *r);
void get_metrics(struct request *r);
void get_healthz(struct request *r);
void get_readyz(struct request *r);
void get_version(struct request *r);
void goroutine_dump(struct request *r);

#endif
