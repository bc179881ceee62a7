/* parked.c - goroutines that wait in known functions, labelled: what the goroutine profile must show.
 *
 * config: "receiving", "sending", "locking", "sleeping", "nil": how many wait in each way.  The lock's
 * holder is `run` itself, which waits for the end of its context. */
#include <weft.h>

struct parked {
	weft_chan *silent, *full;
	weft_mutex held;
	int64_t receiving, sending, locking, sleeping, nil;
};

static __attribute__((noinline)) void parked_receiving(void *arg)
{
	struct parked *p = arg;

	weft_chan_recv(p->silent, NULL, sizeof(int64_t));
	__asm__ volatile(""); /* no tail call: the function stays on the stack */
}

static __attribute__((noinline)) void parked_sending(void *arg)
{
	struct parked *p = arg;

	weft_chan_send(p->full, &(int64_t){ 1 }, sizeof(int64_t));
	__asm__ volatile("");
}

static __attribute__((noinline)) void parked_locking(void *arg)
{
	struct parked *p = arg;

	weft_lock(&p->held);
	weft_unlock(&p->held);
}

static __attribute__((noinline)) void parked_sleeping(void *arg)
{
	(void)arg;
	weft_sleep(3600 * WEFT_SEC);
	__asm__ volatile("");
}

static __attribute__((noinline)) void parked_on_nil(void *arg)
{
	(void)arg;
	weft_chan_recv(NULL, NULL, sizeof(int64_t));
	__asm__ volatile("");
}

static int start(struct parked *p, int64_t n, const char *kind, weft_fn fn)
{
	int rc = 0;

	if (kind)
		weft_label_push("kind", kind);
	for (int64_t i = 0; i < n && rc >= 0; i++)
		rc = weft_go(fn, p);
	if (kind)
		weft_label_pop();
	return rc;
}

static int parked_init(void *state, const weft_conf *conf)
{
	struct parked *p = state;

	if (weft_conf_int(conf, "receiving", 0, 1000000, &p->receiving) < 0 ||
	    weft_conf_int(conf, "sending", 0, 1000000, &p->sending) < 0 ||
	    weft_conf_int(conf, "locking", 0, 1000000, &p->locking) < 0 ||
	    weft_conf_int(conf, "sleeping", 0, 1000000, &p->sleeping) < 0 ||
	    weft_conf_int(conf, "nil", 0, 1000000, &p->nil) < 0)
		return -EINVAL;
	p->silent = weft_chan_new(sizeof(int64_t), 0);
	p->full = weft_chan_new(sizeof(int64_t), 0);
	return p->silent && p->full ? 0 : -ENOMEM;
}

static int parked_run(void *state)
{
	struct parked *p = state;
	int rc;

	weft_lock(&p->held);
	if ((rc = start(p, p->receiving, "receiving", parked_receiving)) < 0 ||
	    (rc = start(p, p->sending, "sending", parked_sending)) < 0 ||
	    (rc = start(p, p->locking, "locking", parked_locking)) < 0 ||
	    (rc = start(p, p->sleeping, NULL, parked_sleeping)) < 0 || (rc = start(p, p->nil, NULL, parked_on_nil)) < 0)
		weft_log(WEFT_ERROR, "cannot start: %s", weft_strerror(rc));
	weft_log(WEFT_INFO, "all started");
	weft_chan_recv(NULL, NULL, sizeof(int64_t));
	weft_unlock(&p->held);
	return rc;
}

static void parked_fini(void *state)
{
	struct parked *p = state;

	weft_chan_free(p->silent);
	weft_chan_free(p->full);
}

WEFT_PLUGIN(.name = "parked", .version = "1", .about = "goroutines parked in known functions",
	    .state_size = sizeof(struct parked), .init = parked_init, .run = parked_run, .fini = parked_fini);
