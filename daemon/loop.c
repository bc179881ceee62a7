/* loop.c - struct http_loop over libuv.
 *
 * Invariants:
 *   Everything but post and loop_stop belongs to the loop thread; nothing calls back from inside.
 *   A lane above 0 has at most one task in the pool; the others wait in its list, in order.
 *   A watch or timer that was given up is freed by libuv's close callback, never earlier; its callback
 *   is not called any more from the moment it was given up.
 *   posted is a stack that any thread pushes to and the loop takes whole; the loop turns it round, so
 *   that posts of one thread arrive in order.
 * uv_poll takes the descriptor out of epoll at uv_poll_stop(), so it may be closed right after unwatch. */
#include "loop.h"

#include "http.h"
#include "weft_host.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define POOL_SLICE 10000000 /* ns */

struct http_watch {
	uv_poll_t poll;
	void (*fn)(void *arg, unsigned events);
	void *arg;
};

struct http_timer {
	uv_timer_t timer;
	void (*fn)(void *arg);
	void *arg;
};

struct task {
	uv_work_t req;
	struct loop *loop;
	struct task *next; /* in its lane */
	int lane;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

struct post {
	struct post *next;
	void (*fn)(void *arg);
	void *arg;
};

struct lane {
	struct task *first, *last; /* waiting */
	bool busy;
};

struct loop {
	uv_loop_t uv;
	struct http_loop api;
	uv_async_t wake; /* keeps the loop alive, too */
	struct lane lane[HTTP_LANES];
	_Atomic(struct post *) posted;
	atomic_bool stop;
};

/* --- Watches ------------------------------------------------------------------------ */

static void watch_event(uv_poll_t *p, int status, int events)
{
	struct http_watch *w = p->data;
	unsigned ev = 0;

	/* An error is reported by a read of whoever owns the descriptor, so wake every kind of waiter. */
	if (status < 0)
		ev = HTTP_READABLE | HTTP_HANGUP;
	if (events & UV_READABLE)
		ev |= HTTP_READABLE;
	if (events & UV_DISCONNECT)
		ev |= HTTP_HANGUP;
	if (ev)
		w->fn(w->arg, ev);
}

static void handle_free(uv_handle_t *h)
{
	free(h->data);
}

static struct http_watch *loop_watch(void *user, int fd, unsigned events, void (*fn)(void *arg, unsigned events),
				     void *arg)
{
	struct loop *l = user;
	struct http_watch *w = calloc(1, sizeof(*w));
	int uv = (events & HTTP_READABLE ? UV_READABLE : 0) | (events & HTTP_HANGUP ? UV_DISCONNECT : 0);

	if (!w)
		return NULL;
	w->fn = fn;
	w->arg = arg;
	if (uv_poll_init(&l->uv, &w->poll, fd) < 0) {
		free(w);
		return NULL;
	}
	w->poll.data = w;
	if (uv_poll_start(&w->poll, uv, watch_event) < 0) {
		uv_close((uv_handle_t *)&w->poll, handle_free);
		return NULL;
	}
	return w;
}

static void loop_unwatch(void *user, struct http_watch *w)
{
	(void)user;
	if (!w)
		return;
	uv_poll_stop(&w->poll);
	uv_close((uv_handle_t *)&w->poll, handle_free);
}

/* --- Timers --------------------------------------------------------------------------- */

static void timer_event(uv_timer_t *t)
{
	struct http_timer *ht = t->data;

	ht->fn(ht->arg);
}

static struct http_timer *loop_timer(void *user, void (*fn)(void *arg), void *arg)
{
	struct loop *l = user;
	struct http_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->fn = fn;
	t->arg = arg;
	uv_timer_init(&l->uv, &t->timer);
	t->timer.data = t;
	return t;
}

static void loop_arm(void *user, struct http_timer *t, int64_t in_ns)
{
	struct loop *l = user;

	if (in_ns < 0) {
		uv_timer_stop(&t->timer);
		return;
	}
	/* libuv counts from its own, possibly stale, idea of now; and never fire early. */
	uv_update_time(&l->uv);
	uv_timer_start(&t->timer, timer_event, (uint64_t)in_ns / 1000000 + (in_ns % 1000000 != 0), 0);
}

static void loop_untimer(void *user, struct http_timer *t)
{
	(void)user;
	if (!t)
		return;
	uv_timer_stop(&t->timer);
	uv_close((uv_handle_t *)&t->timer, handle_free);
}

/* --- Pool ------------------------------------------------------------------------------- */

/* Workers go first: a thread with a longer slice is preempted at once by one that wakes (Linux 6.12 on, where
 * EEVDF takes the slice of a normal thread from sched_runtime; older kernels ignore it).  Else a goroutine
 * whose timer fires while a dump is formatted waits for the next tick, 4 ms away at 250 Hz.  It may be
 * forbidden (seccomp): then it stays as it is. */
static void give_way(void)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attr = { .size = sizeof attr, .policy = SCHED_BATCH, .runtime = POOL_SLICE };

	attr.nice = getpriority(PRIO_PROCESS, 0); /* stays what it is */
	(void)syscall(SYS_sched_setattr, 0, &attr, 0);
}

static void task_work(uv_work_t *req)
{
	static _Thread_local bool known;
	struct task *t = req->data;

	if (!known) {
		known = true;
		weft_host_thread("weft-pool");
		give_way();
	}
	t->work(t->arg);
}

static void task_done(uv_work_t *req, int status);

static void task_queue(struct task *t)
{
	/* Fails only for a missing work function. */
	(void)uv_queue_work(&t->loop->uv, &t->req, task_work, task_done);
}

static void task_done(uv_work_t *req, int status)
{
	struct task *t = req->data;
	struct lane *lane = &t->loop->lane[t->lane];

	(void)status; /* nothing here cancels */
	if (t->lane > 0) {
		struct task *next = lane->first;

		lane->busy = next != NULL;
		if (next) {
			lane->first = next->next;
			task_queue(next);
		}
	}
	t->done(t->arg);
	free(t);
}

static int loop_offload(void *user, int lane, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	struct loop *l = user;
	struct task *t;

	if (lane < 0 || lane >= HTTP_LANES)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->loop = l;
	t->lane = lane;
	t->work = work;
	t->done = done;
	t->arg = arg;
	t->req.data = t;
	if (lane > 0 && l->lane[lane].busy) {
		if (l->lane[lane].first)
			l->lane[lane].last->next = t;
		else
			l->lane[lane].first = t;
		l->lane[lane].last = t;
		return 0;
	}
	l->lane[lane].busy = lane > 0;
	task_queue(t);
	return 0;
}

/* --- Posts -------------------------------------------------------------------------------- */

static void run_posts(struct loop *l)
{
	/* pairs with the release in loop_post() */
	struct post *p = atomic_exchange_explicit(&l->posted, NULL, memory_order_acquire);
	struct post *in_order = NULL;

	while (p) {
		struct post *next = p->next;

		p->next = in_order;
		in_order = p;
		p = next;
	}
	while (in_order) {
		struct post *next = in_order->next;

		in_order->fn(in_order->arg);
		free(in_order);
		in_order = next;
	}
}

static void wake_event(uv_async_t *a)
{
	struct loop *l = a->data;

	run_posts(l);
	if (atomic_exchange(&l->stop, false))
		uv_stop(&l->uv);
}

static void loop_post(void *user, void (*fn)(void *arg), void *arg)
{
	struct loop *l = user;
	struct post *p;

	/* Never fails: what is short of memory now will not be when the loop has gone on. */
	while (!(p = malloc(sizeof(*p))))
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	p->fn = fn;
	p->arg = arg;
	p->next = atomic_load_explicit(&l->posted, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&l->posted, &p->next, p, memory_order_release,
						      memory_order_relaxed))
		;
	uv_async_send(&l->wake);
}

/* --- The loop ------------------------------------------------------------------------------- */

struct loop *loop_new(void)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	if (uv_loop_init(&l->uv) < 0) {
		free(l);
		return NULL;
	}
	if (uv_async_init(&l->uv, &l->wake, wake_event) < 0) {
		(void)uv_loop_close(&l->uv); /* holds nothing yet */
		free(l);
		return NULL;
	}
	l->wake.data = l;
	l->api = (struct http_loop){
		.user = l,
		.watch = loop_watch,
		.unwatch = loop_unwatch,
		.timer = loop_timer,
		.arm = loop_arm,
		.untimer = loop_untimer,
		.offload = loop_offload,
		.post = loop_post,
	};
	return l;
}

const struct http_loop *loop_http(struct loop *l)
{
	return &l->api;
}

void loop_run(struct loop *l)
{
	uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *l)
{
	atomic_store(&l->stop, true);
	uv_async_send(&l->wake);
}

static void close_any(uv_handle_t *h, void *arg)
{
	struct loop *l = arg;

	if (!uv_is_closing(h))
		uv_close(h, h == (uv_handle_t *)&l->wake ? NULL : handle_free);
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	/* A done() may ask for another task or timer, so until nothing is left. */
	do {
		uv_walk(&l->uv, close_any, l);
		uv_run(&l->uv, UV_RUN_DEFAULT);
	} while (uv_loop_close(&l->uv) == UV_EBUSY);
	for (struct post *p = l->posted, *next; p; p = next) {
		next = p->next;
		free(p);
	}
	free(l);
}
