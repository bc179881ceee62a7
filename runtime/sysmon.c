/* sysmon.c - the thread without a P: sees to what nobody with a P can.
 *
 *   - Ps of goroutines that are in a blocking call, or do not come back to the scheduler (retake.c);
 *   - work that waits behind such a goroutine, while a P idles: its run-next is moved to the global queue (and the P
 *     told to be eager, see sched.c), a worker woken;
 *   - timers that are due while a P idles: a worker woken, which fires them;
 *   - descriptors that nobody has asked about for STALE;
 *   - the clock's calibration, the give-back of stacks (in portions: there may be a million) and of ended threads, the
 *     number of Ps, each second.
 *
 * It sleeps 20 us (and not the 50 us more that threads allow the kernel by default) while it finds something to do,
 * twice as long after each idle round beyond 50, at most 10 ms, or less when a look asks for another; and until kicked
 * once every P has been idle for a while (a daemon with nothing to do must use no CPU).  It takes no lock that a worker
 * holds while it waits for anything. */
#include <pthread.h>
#include <sys/prctl.h>

#include "idle.h"
#include "netpoll.h"
#include "prof_thread.h"
#include "retake.h"
#include "sys.h"

#define SLEEP_MIN (20 * WEFT_US)
#define SLEEP_MAX (10 * WEFT_MS)
#define IDLE_ROUNDS 50
#define STALE (10 * WEFT_MS)
#define STALE_IDLE (1 * WEFT_MS) /* while a P idles that could go on */
#define TRIM (500 * WEFT_US)     /* it looks at nothing else for so long */
#define TRIM_EVERY (2 * WEFT_MS)
#define ASLEEP_AFTER 20 /* rounds of SLEEP_MAX with every P idle */

static pthread_t thread;
static struct rt_note note;
static _Atomic bool stop;
/* Is there work, and a P that nobody runs for it? */
static bool wake_for_work(int64_t now)
{
	if (!ld(&sched.n_idle_ps) || !rt_m_to_be_had())
		return false;
	if (!ld(&sched.n_global) && rt_timers_first() > now)
		return false;
	rt_wake_one();
	return true;
}

static bool round_of_ps(int64_t now, int64_t *next)
{
	bool did = false;

	if (rt_net_stale(now, ld(&sched.n_idle_ps) ? STALE_IDLE : STALE))
		did = rt_net_poll(NULL, RT_READY_QUEUE) != 0;
	for (uint32_t i = 0; i < ld_acq(&sched.n_ps); i++)
		did |= rt_look_at_p(sched.ps[i], now, next);
	if (did)
		rt_wake_one();
	return wake_for_work(now) || did;
}

/* Until when every P may idle without anybody looking: a timer for which no M keeps time, threads to be reaped. */
static int64_t idle_until(void) /* under sched.lock */
{
	int64_t first = rt_timers_first(), until = first < sched.idle_until ? first : INT64_MAX;

	if (ld(&sched.n_idle_ms) > ld(&sched.maxprocs) && until > rt_now() + 2 * rt_spare_ns)
		until = rt_now() + 2 * rt_spare_ns;
	return until;
}

/* Every P idles, and has for a while: sleep until one starts. */
static void sleep_long(void)
{
	int64_t until;
	bool asleep;

	rt_lock(&sched.lock);
	asleep = ld(&sched.n_idle_ps) == ld(&sched.n_active) && !ld(&stop) && (!ld(&rt_net.used) || ld(&sched.poller));
	sched.sysmon_asleep = asleep;
	until = idle_until();
	rt_unlock(&sched.lock);
	if (!asleep || rt_note_wait(&note, until))
		return;
	rt_lock(&sched.lock);
	sched.sysmon_asleep = false;
	rt_unlock(&sched.lock);
}

/* Every P idles: nobody needs warm stacks.  False: one does not idle any more. */
static bool trim_all(void)
{
	rt_stacks_age(true);
	while (rt_stacks_trim_some(rt_now() + TRIM))
		if (ld(&sched.n_idle_ps) != ld(&sched.n_active) || ld(&stop))
			return false;
	return true;
}

static void each_second(void)
{
	rt_clock_tune();
	rt_timers_retune();
	rt_stacks_age(false);
	rt_procs_poll();
	rt_ms_reap();
}

static void *sysmon_main(void *arg)
{
	int64_t delay = SLEEP_MIN, last = 0, next = INT64_MAX, now;
	uint32_t idle = 0, quiet = 0;
	bool trims = false;

	(void)arg;
	weft_host_thread("weft-sysmon");
	(void)prctl(PR_SET_TIMERSLACK, 1);
	while (!ld_acq(&stop)) {
		if (idle > IDLE_ROUNDS && delay < SLEEP_MAX)
			delay = delay * 2 < SLEEP_MAX ? delay * 2 : SLEEP_MAX;
		now = rt_now();
		(void)rt_note_wait(&note, next < now + delay ? next : now + delay);
		now = rt_now();
		next = INT64_MAX;
		st(&sched.coarse_tsc, rt_tsc());
		if (round_of_ps(now, &next)) {
			idle = 0;
			delay = SLEEP_MIN;
		} else {
			idle++;
		}
		if (now - last >= WEFT_SEC) {
			last = now;
			each_second();
			trims = true;
		}
		if (trims) {
			trims = rt_stacks_trim_some(now + TRIM);
			delay = trims && delay > TRIM_EVERY ? TRIM_EVERY : delay;
		}
		quiet = ld(&sched.n_idle_ps) == ld(&sched.n_active) && delay == SLEEP_MAX ? quiet + 1 : 0;
		if (quiet > ASLEEP_AFTER) {
			quiet = 0;
			rt_ms_reap();
			if (trim_all())
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
	rc = rt_thread_start(&thread, &attr, sysmon_main, NULL, RT_THREAD_SYSMON);
	pthread_attr_destroy(&attr);
	return -rc;
}

void rt_sysmon_stop(void)
{
	st_rel(&stop, true);
	rt_note_wake(&note);
	pthread_join(thread, NULL);
}
