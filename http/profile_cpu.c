/* profile_cpu.c - a CPU profile without a request: what weft_profile_cpu_start() and weft_profile_cpu_stop() ask for.
 *
 * One of the process.  The sampling is a session of pprof_cpu.c beside those of requests; this file passes the word
 * between the thread of the caller, which waits, and the loop, which never does.  What was sampled is encoded and
 * written on the thread of the caller.
 *
 *	NONE -> STARTING -> ON -> STOPPING -> OVER -> NONE
 *	                     \-> DROPPED ---------/^
 *
 * A caller goes to STARTING and STOPPING, and from OVER back to NONE; the loop to ON and, from whatever but NONE, to
 * OVER: at the end of the longest window that requests have, when sampling fails, or when the server stops.  DROPPED:
 * the instance that began it has ended, nobody waits, and the loop throws it away.
 *
 * The one caller that waits for the loop is `waiting`, and until it has woken no other changes the state: a second one
 * that stops would take the profile that the first one was about to.
 *
 * It also knows which server runs, for whoever has none at hand.
 *
 * Lock: `lock` guards all; it is given up while a caller waits, so the loop is never held up; only the loop writes `h`,
 * and takes it away when none is ON. */
#include "server.h"

#include "frame.h"

#include <errno.h>
#include <pthread.h>

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct http *h; /* the server that runs, or NULL */
	enum { NONE, STARTING, ON, STOPPING, DROPPED, OVER } state;
	bool waiting;
	int hz;
	uint32_t instance; /* whose it is, or 0 */
	/* once OVER */
	int rc;
	struct pprof *p; /* owned; NULL when rc is an error */
	int64_t time_ns, duration_ns;
} cpu_file = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* --- Loop ---------------------------------------------------------------------------------------- */

void cpu_file_began(void)
{
	pthread_mutex_lock(&cpu_file.lock);
	if (cpu_file.state == STARTING) {
		cpu_file.state = ON;
		pthread_cond_broadcast(&cpu_file.changed);
	}
	pthread_mutex_unlock(&cpu_file.lock);
}

void cpu_file_over(int rc, struct pprof *p, int64_t time_ns, int64_t duration_ns)
{
	bool dropped;

	pthread_mutex_lock(&cpu_file.lock);
	dropped = cpu_file.state == DROPPED;
	cpu_file.rc = rc;
	cpu_file.p = dropped ? NULL : p;
	cpu_file.time_ns = time_ns;
	cpu_file.duration_ns = duration_ns;
	cpu_file.state = dropped ? NONE : OVER;
	pthread_cond_broadcast(&cpu_file.changed);
	pthread_mutex_unlock(&cpu_file.lock);
	if (dropped)
		pprof_free(p);
}

static void begin(void *arg)
{
	struct http *h = cpu_file.h;
	int rc = h ? cpu_file_open(h->cpu, cpu_file.hz) : -ESHUTDOWN;

	(void)arg;
	if (rc < 0)
		cpu_file_over(rc, NULL, 0, 0);
}

static void end(void *arg)
{
	(void)arg;
	if (cpu_file.h)
		cpu_file_close(cpu_file.h->cpu);
}

static void names_read(void *arg)
{
	(void)arg;
	if (cpu_file.h)
		trim_later(cpu_file.h);
}

void cpu_file_serve(struct http *h)
{
	pthread_mutex_lock(&cpu_file.lock);
	cpu_file.h = h;
	pthread_mutex_unlock(&cpu_file.lock);
}

/* --- Callers ------------------------------------------------------------------------------------- */

static void post(void (*fn)(void *arg))
{
	const struct http_loop *loop = cpu_file.h->loop;

	loop->post(loop->user, fn, NULL);
}

void names_were_read(void)
{
	bool served;

	pthread_mutex_lock(&cpu_file.lock);
	served = cpu_file.h != NULL;
	if (served)
		post(names_read);
	pthread_mutex_unlock(&cpu_file.lock);
	if (!served) { /* nobody comes by later: what was used before this, then the rest */
		(void)frames_trim();
		(void)frames_trim();
	}
}

/* Under lock, which is given up meanwhile. */
static void wait_while(int state)
{
	cpu_file.waiting = true;
	while ((int)cpu_file.state == state)
		pthread_cond_wait(&cpu_file.changed, &cpu_file.lock);
	cpu_file.waiting = false;
}

/* Have it begun, under lock. */
static int start(int hz, uint32_t instance)
{
	while (cpu_file.state == DROPPED)
		pthread_cond_wait(&cpu_file.changed, &cpu_file.lock);
	if (!cpu_file.h)
		return -ENOSYS;
	if (cpu_file.state != NONE || cpu_file.waiting)
		return -EBUSY;
	cpu_file.instance = instance;
	cpu_file.hz = hz ? hz : cpu_file.h->opts.cpu_hz;
	cpu_file.state = STARTING;
	post(begin);
	wait_while(STARTING);
	if (cpu_file.state != OVER || cpu_file.rc == 0)
		return 0;
	cpu_file.state = NONE;
	return cpu_file.rc;
}

int http_cpu_start(int hz, uint32_t instance)
{
	int rc;

	if (hz < 0 || hz > 1000)
		return -EINVAL;
	pthread_mutex_lock(&cpu_file.lock);
	rc = start(hz, instance);
	pthread_mutex_unlock(&cpu_file.lock);
	return rc;
}

/* Have it ended, under lock: 0, and the caller takes what there is. */
static int stop(void)
{
	if (cpu_file.waiting || (cpu_file.state != ON && cpu_file.state != OVER))
		return -EINVAL;
	if (cpu_file.state == ON) {
		cpu_file.state = STOPPING;
		post(end);
	}
	wait_while(STOPPING);
	cpu_file.state = NONE;
	return cpu_file.rc;
}

int http_cpu_stop(int fd)
{
	struct pprof *p = NULL;
	int64_t time_ns = 0, duration_ns = 0;
	int rc;

	pthread_mutex_lock(&cpu_file.lock);
	rc = stop();
	if (rc == 0) {
		p = cpu_file.p;
		time_ns = cpu_file.time_ns;
		duration_ns = cpu_file.duration_ns;
		cpu_file.p = NULL;
	}
	pthread_mutex_unlock(&cpu_file.lock);
	if (rc == 0 && fd >= 0) {
		rc = profile_put(p, time_ns, duration_ns, fd);
		names_were_read();
	}
	pprof_free(p);
	return rc;
}

/* One that is being begun is left to whoever begins it. */
void http_cpu_end(uint32_t instance)
{
	struct pprof *p = NULL;

	pthread_mutex_lock(&cpu_file.lock);
	if (instance && cpu_file.instance == instance && !cpu_file.waiting) {
		if (cpu_file.state == ON) {
			cpu_file.state = DROPPED;
			post(end);
		} else if (cpu_file.state == OVER) {
			cpu_file.state = NONE;
			p = cpu_file.p;
			cpu_file.p = NULL;
		}
	}
	pthread_mutex_unlock(&cpu_file.lock);
	pprof_free(p);
}
