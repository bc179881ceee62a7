/* leak.c - what a goroutine leak looks like.
 *
 * Every now and then a request is handled, and the handler asks a helper goroutine for an answer but
 * gives up before it comes.  The helper then waits for ever to hand over an answer that nobody will take:
 * the classic leak.  In the goroutine profile a stack through send_answer() grows and grows, and its
 * label says which kind of request leaves it behind.
 *
 * Here it ends at a bound, and stopping the instance calls the leaked ones off like any other.
 *
 *	"config": { "every": "2s", "most": 100, "request": "report" }
 *
 * every     time between two leaks
 * most      goroutines that are leaked in all
 * request   value of the label */
#include <weft.h>

typedef WEFT_CHAN(int64_t) answer_chan;

struct leak {
	int64_t every, most;
	const char *request;
	answer_chan answers; /* nobody receives here: that is the bug */
};

static void send_answer(void *arg)
{
	struct leak *l = arg;
	int rc = weft_send(l->answers, INT64_C(42));

	if (rc != -ECANCELED)
		weft_log(WEFT_ERROR, "somebody took the answer: %s", weft_strerror(rc));
}

static int handle_request(struct leak *l)
{
	int rc = 0;

	/* The helper inherits the label, and keeps it after the request is over. */
	WEFT_LABEL("request", l->request) {
		rc = weft_go(send_answer, l);
	}
	return rc;
}

static int leak_init(void *state, const weft_conf *conf)
{
	struct leak *l = state;

	l->every = 2 * WEFT_SEC;
	l->most = 100;
	l->request = "report";
	if (weft_conf_dur(conf, "every", &l->every) < 0 || weft_conf_int(conf, "most", 0, 10000000, &l->most) < 0 ||
	    weft_conf_str(conf, "request", &l->request) < 0)
		return -EINVAL;
	return weft_make(&l->answers, 0);
}

static int leak_run(void *state)
{
	struct leak *l = state;
	int rc = 0;

	for (int64_t n = 0; rc == 0 && n < l->most; n++) {
		rc = handle_request(l);
		if (rc == 0)
			rc = weft_sleep(l->every);
	}
	return rc == -ECANCELED ? 0 : rc;
}

static void leak_fini(void *state)
{
	struct leak *l = state;

	weft_chan_free(l->answers.h);
}

WEFT_PLUGIN(.name = "leak", .version = "1", .about = "goroutines that never end", .state_size = sizeof(struct leak),
	    .init = leak_init, .run = leak_run, .fini = leak_fini);
