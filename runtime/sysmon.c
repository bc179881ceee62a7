/* sysmon.c - the thread without a P: sees to what nobody with a P can.
 *
 *   - work that waits behind a goroutine that does not come back to the scheduler, while a P idles: its
 *     run-next is moved to the global queue (and the P told to be eager, see sched.c), a worker woken;
 *   - timers of such a P that are due, while a P idles: a worker woken, which fires them;
 *   - descriptors that nobody has asked about for STALE;
 *   - the clock's calibration, the give-back of stacks and the number of Ps, each second.
 *
 * It sleeps 20 us while it finds something to do, twice as long after each idle round beyond 50, at most
 * 10 ms; and until kicked once every P has been idle for a while (a daemon with nothing to do must use no
 * CPU).  It takes no lock that a worker holds while it waits for anything. */
#include <pthread.h>

#include "netpoll.h"
#include "rt.h"
#include "sys.h"

#define SLEEP_MIN (20 * WEFT_US)
#define SLEEP_MAX (10 * WEFT_MS)
#define IDLE_ROUNDS 50
#define EAGER 64
#define STALE (10 * WEFT_MS)
#define STALE_IDLE (1 * WEFT_MS) /* while a P idles that could go on */
#define ASLEEP_AFTER 20          /* rounds of SLEEP_MAX with every P idle */

static pthread_t thread;
static struct rt_note note;
static _Atomic bool stop;
static struct {
	uint64_t tick;
	bool stuck; /* the same goroutine, with work behind it, at the last look already */
} seen[WEFT_MAXPROCS_LIMIT];

/* Move p's run-next where others can take it.  False: there is none, or its M is in the runtime. */
static bool free_next(struct p *p)
{
	struct m *m = ld(&p->m);
	struct p *mine;
	struct g *g = NULL;

	if (!m || !rt_borrow(m, &mine))
		return false;
	if (mine == p && p->next) {
		g = p->next;
		p->next = NULL;
		st(&p->has_next, 0);
		p->eager = EAGER;
	}
	rt_unborrow(m);
	if (!g)
		return false;
	rt_global_put(g, g, 1);
	return true;
}

/* Is there work behind a goroutine that has not switched since the last look? */
static bool look_at(struct p *p)
{
	uint64_t tick = ld(&p->tick);
	bool same = tick == seen[p->id].tick && !ld(&p->idle), was = seen[p->id].stuck;

	seen[p->id].tick = tick;
	seen[p->id].stuck = same && (ld(&p->has_next) || !rt_runq_empty(p));
	if (!seen[p->id].stuck || !was)
		return false;
	return !rt_runq_empty(p) || free_next(p);
}

static bool round_of_ps(void)
{
	bool idle = ld(&sched.n_idle_ps) != 0, work = false;

	if (rt_net_stale(rt_now(), idle ? STALE_IDLE : STALE))
		work = rt_net_poll(NULL, RT_READY_QUEUE) != 0;
	if (!idle)
		return work; /* nobody could take more */
	for (uint32_t i = 0; i < ld_acq(&sched.n_ps); i++)
		work |= look_at(sched.ps[i]);
	work |= rt_timers_first() <= rt_now();
	work |= ld(&sched.n_global) != 0;
	if (work)
		rt_wake_one();
	return work;
}

/* Every P idles, and has for a while: sleep until one starts. */
static void sleep_long(void)
{
	bool asleep;

	rt_lock(&sched.lock);
	asleep = ld(&sched.n_idle_ps) == ld(&sched.n_active) && !ld(&stop) && (!ld(&rt_net.used) || ld(&sched.poller));
	sched.sysmon_asleep = asleep;
	rt_unlock(&sched.lock);
	if (asleep)
		(void)rt_note_wait(&note, INT64_MAX);
}

static void each_second(void)
{
	rt_clock_tune();
	rt_timers_retune();
	rt_stacks_trim();
	rt_procs_poll();
}

static void *sysmon_main(void *arg)
{
	int64_t delay = SLEEP_MIN, last = 0, now;
	uint32_t idle = 0, quiet = 0;

	(void)arg;
	weft_host_thread("weft-sysmon");
	while (!ld_acq(&stop)) {
		if (idle > IDLE_ROUNDS && delay < SLEEP_MAX)
			delay = delay * 2 < SLEEP_MAX ? delay * 2 : SLEEP_MAX;
		now = rt_now();
		(void)rt_note_wait(&note, now + delay);
		st(&sched.coarse_tsc, rt_tsc());
		if (round_of_ps()) {
			idle = 0;
			delay = SLEEP_MIN;
		} else {
			idle++;
		}
		if (now - last >= WEFT_SEC) {
			last = now;
			each_second();
		}
		quiet = ld(&sched.n_idle_ps) == ld(&sched.n_active) && delay == SLEEP_MAX ? quiet + 1 : 0;
		if (quiet > ASLEEP_AFTER) {
			quiet = 0;
			rt_stacks_trim();
			sleep_long();
			idle = 0;
			delay = SLEEP_MIN;
		}
	}
	return NULL;
}

/* Under sched.lock, when a P starts to run. */
void rt_sysmon_kick(void)
{
	sched.sysmon_asleep = false;
	rt_note_wake(&note);
}

int rt_sysmon_start(void)
{
	pthread_attr_t attr;
	int rc;

	st(&stop, false);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	rc = pthread_create(&thread, &attr, sysmon_main, NULL);
	pthread_attr_destroy(&attr);
	return -rc;
}

void rt_sysmon_stop(void)
{
	st_rel(&stop, true);
	rt_note_wake(&note);
	pthread_join(thread, NULL);
}
