/* host.c - starting and stopping the runtime.
 *
 * A process may start and stop it many times, one after the other: Ps, M records, arenas, tables and
 * rings are kept and used again, so the hundredth cycle maps and opens no more than the tenth. */
#include <string.h>
#include <unistd.h>

#include "idle.h"
#include "net.h"
#include "netpoll.h"
#include "ptab.h"
#include "retake.h"
#include "sys.h"

static int64_t realtime(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * WEFT_SEC + ts.tv_nsec;
}

static int start_all(void)
{
	int rc;

	rt_clock_start();
	rc = rt_stacktab_start();
	if (rc == 0)
		rc = rt_names_start();
	if (rc == 0)
		rc = rt_prof_start();
	if (rc == 0)
		rc = weft_host_scan_modules();
	if (rc == 0)
		rc = rt_signals_start();
	if (rc == 0) {
		rt_stacks_start();
		rc = rt_rec_start(sched.opts.recorder_bytes);
	}
	rt_wait_prof_start(); /* once the clock is known, and whether the recorder is on */
	if (rc == 0)
		rc = rt_net_start();
	if (rc == 0)
		rc = rt_ps_start();
	if (rc == 0) {
		rt_retake_start();
		rc = rt_sysmon_start();
	}
	return rc;
}

static uint32_t max_threads(const struct weft_host_opts *opts)
{
	return opts->max_threads && opts->max_threads < RT_MS_MAX ? (uint32_t)opts->max_threads : RT_MS_MAX;
}

int weft_host_start(const struct weft_host_opts *opts)
{
	int rc;

	if (sched.running)
		return -EBUSY;
	if (opts->maxprocs < 0 || opts->maxprocs > WEFT_MAXPROCS_LIMIT || opts->max_threads < 0 ||
	    opts->handoff_max < 0)
		return -EINVAL;
	sched.opts = *opts;
	if (sysconf(_SC_PAGESIZE) != RT_PAGE) { /* aarch64 kernels may be built for larger ones */
		rt_log(WEFT_ERROR, "this kernel has pages of %ld bytes; weft runs on kernels with pages of %d bytes",
		       sysconf(_SC_PAGESIZE), RT_PAGE);
		return -ENOTSUP;
	}
	rt_lock_init(&sched.lock, RT_RANK_SCHED);
	sched.global_head = sched.global_tail = NULL;
	st(&sched.n_global, 0);
	sched.idle_ms = NULL;
	st(&sched.poller, NULL);
	sched.poller_in = false;
	st(&sched.n_idle_ms, 0);
	sched.max_ms = max_threads(opts);
	sched.timekeeper = NULL;
	sched.idle_until = INT64_MAX;
	sched.sysmon_asleep = false;
	st(&sched.n_spinning, 0);
	st(&sched.stopping, 0);
	sched.started_real = realtime();
	sched.started = rt_now();
	rc = start_all();
	if (rc < 0)
		return rc;
	sched.running = true;
	weft_host_heap_rate(opts->heap_rate);
	/* Each P shows once that it can have a thread; they go idle at once. */
	for (uint32_t n = ld(&sched.maxprocs); n > 0; n--) {
		struct p *p;

		rt_lock(&sched.lock);
		p = rt_idle_p_get();
		rt_unlock(&sched.lock);
		if (p && rt_m_new(p, false) < 0) {
			rt_lock(&sched.lock);
			p->idle_next = sched.idle_ps;
			sched.idle_ps = p;
			st(&p->idle, 1);
			st(&sched.n_idle_ps, ld(&sched.n_idle_ps) + 1);
			rt_unlock(&sched.lock);
			break;
		}
	}
	if (ld(&sched.n_ms) == 0) {
		(void)weft_host_stop(0);
		return -EAGAIN;
	}
	return 0;
}

/* Wake every idle M until all threads have left. */
static bool drain_ms(int64_t until)
{
	while (ld_acq(&sched.n_ms)) {
		struct m *m;

		do {
			rt_lock(&sched.lock);
			m = rt_idle_m_get();
			rt_unlock(&sched.lock);
			if (m)
				rt_idle_m_wake(m);
		} while (m);
		if (rt_now() >= until)
			return ld_acq(&sched.n_ms) == 0;
		(void)rt_syscall(SYS_nanosleep, (long)&(struct timespec){ .tv_nsec = 200000 }, 0, 0, 0, 0, 0);
	}
	return true;
}

int weft_host_stop(int64_t timeout_ns)
{
	int64_t now = rt_now();

	if (!sched.running)
		return 0;
	rt_lock(&sched.lock);
	st_sc(&sched.stopping, 1);
	rt_unlock(&sched.lock);
	if (!drain_ms(timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns))
		return -ETIMEDOUT;
	rt_sysmon_stop(); /* first: it joins threads, too */
	rt_ms_join();
	rt_helpers_stop();
	for (uint32_t i = 0; i < ld(&sched.n_ps); i++)
		st(&sched.ps[i]->n_free, 0);
	weft_host_heap_rate(0);
	rt_net_purge();
	rt_purge();
	rt_rec_on = false;
	sched.running = false;
	return 0;
}
