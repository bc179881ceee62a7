/* whole.c - a plugin that uses everything of weft.h, to see that it compiles and links; never run.
 * Its includes stand in the order an author might choose, weft.h before and after the system's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <weft.h>

#include <sys/socket.h>
#include <sys/uio.h>

struct job {
	int id;
	double weight;
};

typedef WEFT_CHAN(struct job) job_chan;
typedef WEFT_CHAN(int) int_chan;

struct state {
	job_chan jobs;
	int_chan results;
	weft_mutex lock;
	weft_once once;
	weft_wg wg;
	int64_t limit, pause;
	bool loud;
	const char *greeting;
	int done;
	weft_rwmutex table;
	weft_cond changed;
	weft_sem room;
	weft_timer *ticker;
	weft_task *task;
	int key;
};

static void once(void *arg)
{
	((struct state *)arg)->done = 0;
}

static void labelled(void *arg)
{
	struct job *j = arg;

	WEFT_LABEL("job", "labelled") {
		weft_log(WEFT_DEBUG, "job %d of %.1f", j->id, j->weight);
		if (j->id < 0)
			return;
	}
	weft_label_push("kind", "by hand");
	weft_label_pop();
	WEFT_TASK("job")
		WEFT_REGION("part") {
			if (weft_trace_on())
				weft_trace_log("note", "job %d", j->id);
		}
	weft_region_begin("by hand");
	weft_region_end();
}

static void worker(void *arg)
{
	struct state *s = arg;
	struct job j;

	WEFT_IN_TASK(s->task)
		weft_yield();
	while (weft_recv(s->jobs, &j) > 0) {
		weft_once_do(&s->once, once, s);
		WEFT_LOCKED(&s->lock) {
			s->done++;
			if (s->done < 0)
				continue;
		}
		if (weft_trylock(&s->lock))
			weft_unlock(&s->lock);
		(void)weft_go_copy(labelled, &(struct job){ j.id, .weight = 2 });
		if (weft_send(s->results, j.id) < 0)
			break;
		(void)weft_sleep(s->pause);
		weft_yield();
		if (weft_checkpoint() < 0)
			break;
	}
}

static void locks(struct state *s)
{
	weft_rlock(&s->table);
	weft_runlock(&s->table);
	weft_wlock(&s->table);
	weft_wunlock(&s->table);
	if (weft_try_rlock(&s->table))
		weft_runlock(&s->table);
	if (weft_try_wlock(&s->table))
		weft_wunlock(&s->table);
	WEFT_LOCKED(&s->lock)
		while (s->done == 0 && weft_cond_wait(&s->changed, &s->lock) == 0)
			;
	weft_cond_signal(&s->changed);
	weft_cond_broadcast(&s->changed);
	weft_sem_init(&s->room, 4);
	if (weft_sem_acquire(&s->room, 2) == 0)
		weft_sem_release(&s->room, 2);
	if (weft_sem_try_acquire(&s->room, 1) == 0)
		weft_sem_release(&s->room, 1);
}

static int selects(struct state *s)
{
	struct job j;
	bool open;
	int64_t at;

	s->ticker = weft_timer_new(WEFT_MS, WEFT_MS);
	switch (weft_select(weft_on_recv(s->jobs, &j), weft_on_recv_ok(s->jobs, NULL, &open),
			    weft_on_send(s->jobs, (struct job){ 1, 2.5 }), weft_on_send(s->results, s->done),
			    weft_on_tick(s->ticker, &at), weft_on_done(weft_ctx_self()), weft_on_after(WEFT_SEC))) {
	case 0:
		return j.id;
	case 4:
		return at > 0;
	default:
		break;
	}
	(void)weft_timer_reset(s->ticker, WEFT_SEC);
	(void)weft_timer_stop(s->ticker);
	weft_timer_free(s->ticker);
	weft_timer_free(weft_after(WEFT_SEC, once, s));
	return weft_select(weft_on_tick(NULL, NULL), weft_on_default);
}

static int member(void *arg)
{
	struct state *s = arg;
	int n = 0;

	WEFT_TIMEOUT(5 * WEFT_MS)
		n = weft_recv(s->results, &n);
	return n;
}

static int contexts(struct state *s)
{
	weft_ctx *ctx = weft_ctx_new(NULL, weft_now() + WEFT_SEC), *old = weft_ctx_enter(ctx);
	weft_group *g = weft_group_new(ctx, 2);

	(void)weft_ctx_set(ctx, &s->key, s);
	if (weft_ctx_get(weft_group_ctx(g), &s->key) == s && weft_ctx_deadline(ctx) < WEFT_FOREVER)
		(void)weft_group_go(g, member, s);
	if (weft_group_wait(g) < 0)
		weft_ctx_cancel(ctx);
	weft_ctx_enter(old);
	weft_ctx_free(ctx);
	s->key = weft_local_new(free);
	if (s->key > 0 && weft_local_get(s->key) == NULL)
		(void)weft_local_set(s->key, malloc(1));
	(void)weft_local_free(s->key);
	return weft_group_free(g);
}

static void blocks(void *arg)
{
	struct state *s = arg;

	weft_lock_thread();
	WEFT_BLOCKING
	{
		s->done += (int)s->limit;
		if (s->done < 0)
			continue;
	}
	if (WEFT_SYSCALL(s->done) < 0 || weft_maxprocs(0) > weft_ncpu())
		(void)weft_maxprocs_default();
	weft_unlock_thread();
}

static void *foreign(weft_inst *inst, struct state *s)
{
	if (weft_enter(inst) == 0) {
		(void)weft_go(worker, s);
		(void)weft_go(blocks, s);
		weft_leave();
	}
	(void)weft_go_in(inst, worker, s);
	return NULL;
}

static int init(void *state, const weft_conf *conf)
{
	struct state *s = state;
	const weft_conf *sub = weft_conf_sub(conf, "output");

	s->limit = 10;
	s->pause = 5 * WEFT_MS;
	if (weft_conf_int(conf, "limit", 1, 1000, &s->limit) < 0 || weft_conf_dur(conf, "pause", &s->pause) < 0 ||
	    weft_conf_bool(sub, "loud", &s->loud) < 0 || weft_conf_str(sub, "greeting", &s->greeting) < 0)
		return -EINVAL;
	int rc = weft_make(&s->jobs, 16);
	if (rc < 0)
		return rc;
	return weft_make(&s->results, 0);
}

static void network(void *arg)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof from;
	char buf[64];
	struct iovec part = { buf, sizeof buf };
	int on = weft_listen("tcp", "127.0.0.1:0"), fd = weft_accept(on, NULL, NULL),
	    to = weft_dial("unix", "/nowhere");
	ssize_t n = weft_read(fd, buf, sizeof buf) + weft_readv(fd, &part, 1);

	(void)arg;
	if (weft_wait_fd(fd, 1) < 0 || weft_set_deadline(fd, 1, weft_now() + WEFT_SEC) < 0)
		return;
	n += weft_recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&from, &len);
	n += weft_sendto(to, buf, sizeof buf, 0, (struct sockaddr *)&from, len);
	n += weft_write(to, buf, sizeof buf) + weft_writev(to, &part, 1) + weft_sendfile(to, fd, NULL, 1);
	weft_log(WEFT_INFO, "%zd bytes, %d processors of %d, %d", n, weft_maxprocs(0), weft_ncpu(),
		 weft_maxprocs_default());
	(void)weft_close(fd);
}

static void profiles(struct state *s)
{
	weft_profile *held = weft_profile_new("whole.held");

	if (!held)
		return;
	if (weft_profile_add(held, s, 0) == 0)
		weft_profile_remove(held, s);
	if (weft_profile_lookup("whole.held") == held && weft_profile_count(held) == 0)
		(void)weft_profile_write(held, 2, 1);
	if (weft_profile_cpu_start(0) == 0)
		(void)weft_profile_cpu_stop(2);
	if (weft_trace_start("/dev/null") == 0)
		(void)weft_trace_stop();
	(void)weft_flight_snapshot("/dev/null", WEFT_SEC);
	weft_profile_free(held);
	(void)weft_profile_block_rate(weft_profile_block_rate(WEFT_MS));
	(void)weft_profile_mutex_fraction(weft_profile_mutex_fraction(10));
}

static int run(void *state)
{
	struct state *s = state;
	struct weft_go_opts named = { .size = sizeof named, .name = "named worker" };
	int64_t start = weft_now();
	int got;

	errno = 0;
	int rc = weft_wg_go(&s->wg, worker, s);
	if (rc < 0) {
		weft_log(WEFT_ERROR, "%s: %s", weft_instance_name(), weft_strerror(rc));
		return rc;
	}
	weft_wg_add(&s->wg, 1);
	weft_wg_done(&s->wg);
	(void)weft_go_with(worker, s, &named);
	foreign(weft_instance_self(), s);
	(void)weft_go(network, s);
	locks(s);
	profiles(s);
	if (selects(s) < 0 || contexts(s) < 0)
		return -EIO;
	for (int i = 0; i < s->limit; i++)
		(void)weft_send(s->jobs, (struct job){ i, 1.5 });
	(void)weft_chan_try_send(s->results.h, &(int){ 7 }, sizeof(int));
	(void)weft_chan_try_recv(s->results.h, &got, sizeof got);
	weft_chan_finish(s->jobs);
	weft_wg_wait(&s->wg);
	weft_log(WEFT_INFO, "goroutine %llu: %zu of %zu, %lld ns, errno %d, %s", (unsigned long long)weft_goid(),
		 weft_chan_len(s->results.h), weft_chan_cap(s->results.h), (long long)(weft_now() - start), errno,
		 s->greeting ? s->greeting : "");
	return weft_ctx_err(weft_ctx_self());
}

static void stop(void *state)
{
	(void)state;
}

static void fini(void *state)
{
	struct state *s = state;

	weft_chan_free(s->jobs.h);
	weft_chan_free(s->results.h);
}

WEFT_PLUGIN(.name = "whole", .version = "1", .about = "uses everything", .state_size = sizeof(struct state),
	    .init = init, .run = run, .stop = stop, .fini = fini);
