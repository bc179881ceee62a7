/* contend.c - goroutines that stand in each other's way, to have something to see.
 *
 * Three groups, each with a label of its own, each around one lock:
 *
 *	lock=mutex     all of them want a mutex
 *	lock=rwmutex   one in eight writes (role=writer), the others read (role=reader)
 *	lock=cond      half of them put into a queue with little room, as fast as they can; half take from it
 *
 * Who holds a lock computes one time and sleeps the next: then the others run, and find it taken.
 *
 * Dumps show who waits where; how often each group got its turn is logged at the end.
 *
 *	"config": { "goroutines": 8, "hold": "200us", "pause": "2ms" }
 *
 * goroutines   in each group
 * hold         how long a lock is held
 * pause        between two turns of a goroutine */
#include <weft.h>

#include <stdatomic.h>

enum { ROOM = 2 };

struct contend {
	int64_t goroutines, hold, pause;
	weft_mutex mutex;
	weft_rwmutex rwmutex;
	weft_mutex queue;
	weft_cond not_empty, not_full;
	int queued; /* under queue */
	_Atomic uint64_t locked, read, written, put, taken;
};

/* What somebody does with a lock in turn n. */
static void hold(const struct contend *c, uint64_t n)
{
	int64_t until = weft_now() + c->hold;

	if (n % 2)
		(void)weft_sleep(c->hold);
	while (weft_now() < until && weft_ctx_err(weft_ctx_self()) == 0)
		;
}

/* Between two turns.  False: it is over. */
static bool rest(const struct contend *c)
{
	return weft_sleep(c->pause) == 0;
}

static void want_mutex(void *arg)
{
	struct contend *c = arg;

	WEFT_LABEL("lock", "mutex") {
		do {
			WEFT_LOCKED(&c->mutex)
				hold(c, c->locked++);
		} while (rest(c));
	}
}

static void want_to_read(void *arg)
{
	struct contend *c = arg;

	WEFT_LABEL("lock", "rwmutex")
		WEFT_LABEL("role", "reader") {
			do {
				weft_rlock(&c->rwmutex);
				hold(c, c->read++);
				weft_runlock(&c->rwmutex);
			} while (rest(c));
		}
}

static void want_to_write(void *arg)
{
	struct contend *c = arg;

	WEFT_LABEL("lock", "rwmutex")
		WEFT_LABEL("role", "writer") {
			do {
				weft_wlock(&c->rwmutex);
				hold(c, c->written++);
				weft_wunlock(&c->rwmutex);
			} while (rest(c));
		}
}

static void put(void *arg)
{
	struct contend *c = arg;
	int rc = 0;

	WEFT_LABEL("lock", "cond")
		WEFT_LABEL("role", "producer") {
			do {
				WEFT_LOCKED(&c->queue) {
					while (rc == 0 && c->queued == ROOM)
						rc = weft_cond_wait(&c->not_full, &c->queue);
					c->queued += rc == 0;
				}
				c->put += rc == 0;
				weft_cond_signal(&c->not_empty);
			} while (rc == 0 && rest(c));
		}
}

static void take(void *arg)
{
	struct contend *c = arg;
	int rc = 0;

	WEFT_LABEL("lock", "cond")
		WEFT_LABEL("role", "consumer") {
			do {
				WEFT_LOCKED(&c->queue) {
					while (rc == 0 && c->queued == 0)
						rc = weft_cond_wait(&c->not_empty, &c->queue);
					c->queued -= rc == 0;
				}
				c->taken += rc == 0;
				weft_cond_signal(&c->not_full);
			} while (rc == 0 && rest(c));
		}
}

static int contend_init(void *state, const weft_conf *conf)
{
	struct contend *c = state;

	c->goroutines = 8;
	c->hold = 200 * WEFT_US;
	c->pause = 2 * WEFT_MS;
	if (weft_conf_int(conf, "goroutines", 2, 10000, &c->goroutines) < 0 ||
	    weft_conf_dur(conf, "hold", &c->hold) < 0 || weft_conf_dur(conf, "pause", &c->pause) < 0)
		return -EINVAL;
	if (c->hold > 100 * WEFT_MS || c->pause < WEFT_US) {
		weft_log(WEFT_ERROR, "hold: at most 100ms; pause: at least 1us");
		return -EINVAL;
	}
	return 0;
}

static int contend_run(void *state)
{
	struct contend *c = state;
	int rc = 0;

	for (int64_t i = 0; rc == 0 && i < c->goroutines; i++) {
		rc = weft_go(want_mutex, c);
		if (rc == 0)
			rc = weft_go(i % 8 == 0 ? want_to_write : want_to_read, c);
		if (rc == 0)
			rc = weft_go(i % 2 == 0 ? put : take, c);
	}
	return rc;
}

static void contend_fini(void *state)
{
	struct contend *c = state;

	weft_log(WEFT_INFO, "mutex held %llu times; rwmutex read %llu, written %llu times; %llu put, %llu taken",
		 (unsigned long long)c->locked, (unsigned long long)c->read, (unsigned long long)c->written,
		 (unsigned long long)c->put, (unsigned long long)c->taken);
}

WEFT_PLUGIN(.name = "contend", .version = "1", .about = "goroutines that wait for each other's locks",
	    .state_size = sizeof(struct contend), .init = contend_init, .run = contend_run, .fini = contend_fini);
