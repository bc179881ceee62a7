/* deadlock.c - goroutines that wait for one another.
 *
 *	"config": { "how": "locks", "goroutines": 2 }
 *
 * how   "locks": two take two locks in opposite order
 *       "receive": so many receive from a channel that nobody sends on
 *       "alive": likewise, but one sleeps now and then
 *       "nobody": likewise, but a thread of the plugin's own is inside the instance */
#include <weft.h>

#include <pthread.h>
#include <string.h>

typedef WEFT_CHAN(int) int_chan;

struct state {
	const char *how;
	int64_t goroutines;
	weft_mutex one, other;
	weft_wg first_step;
	int_chan never;
	weft_inst *inst;
};

static void one_then_other(void *arg)
{
	struct state *s = arg;

	weft_lock(&s->one);
	weft_wg_done(&s->first_step);
	weft_wg_wait(&s->first_step);
	weft_lock(&s->other);
	weft_log(WEFT_ERROR, "one_then_other has both");
}
static void other_then_one(void *arg)
{
	struct state *s = arg;

	weft_lock(&s->other);
	weft_wg_done(&s->first_step);
	weft_wg_wait(&s->first_step);
	weft_lock(&s->one);
	weft_log(WEFT_ERROR, "other_then_one has both");
}

static void receive_for_ever(void *arg)
{
	struct state *s = arg;
	int v;

	if (weft_recv(s->never, &v) != -ECANCELED)
		weft_log(WEFT_ERROR, "somebody sent");
}

static void *stay_inside(void *arg)
{
	struct state *s = arg;

	(void)weft_enter(s->inst);
	for (;;)
		(void)weft_sleep(WEFT_SEC);
	return NULL;
}

static int init(void *state, const weft_conf *conf)
{
	struct state *s = state;

	s->how = "locks";
	s->goroutines = 2;
	if (weft_conf_str(conf, "how", &s->how) < 0 || weft_conf_int(conf, "goroutines", 1, 100000, &s->goroutines) < 0)
		return -EINVAL;
	s->inst = weft_instance_self();
	return weft_make(&s->never, 0);
}

static int run(void *state)
{
	struct state *s = state;
	pthread_t thread;

	if (!strcmp(s->how, "locks")) {
		weft_wg_add(&s->first_step, 2);
		return weft_go(one_then_other, s) < 0 || weft_go(other_then_one, s) < 0 ? -ENOMEM : 0;
	}
	if (!strcmp(s->how, "nobody") && pthread_create(&thread, NULL, stay_inside, s) != 0)
		return -EAGAIN;
	for (int64_t i = 0; i < s->goroutines; i++)
		if (weft_go(receive_for_ever, s) < 0)
			return -ENOMEM;
	while (!strcmp(s->how, "alive") && weft_sleep(50 * WEFT_MS) == 0)
		;
	weft_log(WEFT_NOTICE, "all wait");
	return 0;
}

WEFT_PLUGIN(.name = "deadlock", .version = "1", .about = "goroutines that wait for one another",
	    .state_size = sizeof(struct state), .init = init, .run = run);
