/* m.c - the OS threads that run goroutines.
 *
 * An M is made when a P has to run and none idles; it is never freed.  When its thread ends (the runtime
 * stops) the record and its alternate signal stack stay for the next thread.  rt_ms lists all of them
 * for samplers and captures; slots of it are written once.
 *
 * Ms keep the signal mask they were started with, but for the signals that look at goroutines, which
 * must come through. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "prof_thread.h"
#include "rt.h"
#include "sanity.h"
#include "sys.h"

#define THREAD_STACK (256u * 1024)
#define ALTSTACK (64u * 1024) /* the kernel's frame alone may take 12 KiB (AMX) */

struct m *_Atomic rt_ms[RT_MS_MAX];
_Atomic uint32_t rt_n_ms;
__thread struct m *rt_tls_m;

static struct rt_lock lock = RT_LOCK_INIT(LEAF);
static struct m *dead; /* under lock: records without a thread, by idle_next */
static pthread_t threads[RT_MS_MAX];
static bool joinable[RT_MS_MAX]; /* whoever has the record off the list `dead`, or starts the thread */

static void bounds(struct m *m)
{
	pthread_attr_t attr;
	void *lo;
	size_t size;

	if (pthread_getattr_np(pthread_self(), &attr) != 0)
		return;
	if (pthread_attr_getstack(&attr, &lo, &size) == 0) {
		m->stack_lo = (uintptr_t)lo;
		m->stack_hi = (uintptr_t)lo + size;
	}
	pthread_attr_destroy(&attr);
}

static void *thread_main(void *arg)
{
	struct m *m = arg;
	char name[16];
	sigset_t mine;
	struct p *p = m->next_p;

	snprintf(name, sizeof name, "weft-m%u", m->index);
	pthread_setname_np(pthread_self(), name);
	bounds(m);
	rt_signals_thread(m, m->altstack, ALTSTACK);
	sigemptyset(&mine);
	sigaddset(&mine, SIGPROF);
	sigaddset(&mine, SIGURG);
	pthread_sigmask(SIG_UNBLOCK, &mine, NULL);

	m->errno_at = __errno_location();
	rt_tls_m = m;
	sane_thread(m);
	st(&m->cur, &m->g0);
	st(&m->in_rt, 1);
	st_rel(&m->tid, rt_tid()); /* from now on captures may ask this thread */
	rt_cpu_thread_start(ld(&m->tid));
	rt_p_acquire(m, p);
	rt_loop(m);

	rt_rec_release(m); /* it may have none, and no P: the next start has another pool */
	m->last_chunk = NULL;
	rt_tls_m = NULL;
	st(&m->tid, 0);
	rt_lock(&lock);
	m->idle_next = dead;
	dead = m;
	rt_unlock(&lock);
	add_sc(&sched.n_ms, (uint32_t)-1);
	return NULL;
}

#define RETRY (10 * WEFT_MS)
static _Atomic int64_t no_thread_until; /* the system gave us none; it is not asked all the time */

bool rt_m_may_start(void)
{
	return ld(&sched.n_ms) < sched.max_ms && rt_now() >= ld(&no_thread_until);
}

/* A record: one whose thread has ended, or a new one.  NULL: none to be had. */
static struct m *record(void)
{
	struct m *m;
	uint32_t i;

	rt_lock(&lock);
	m = dead;
	if (m)
		dead = m->idle_next;
	rt_unlock(&lock);
	if (m) {
		if (joinable[m->index])
			pthread_join(threads[m->index], NULL); /* it is past its last line */
		joinable[m->index] = false;
		return m;
	}
	m = rt_map(sizeof *m);
	if (!m)
		return NULL;
	m->altstack = rt_map(ALTSTACK);
	i = m->altstack ? add_sc(&rt_n_ms, 1) : RT_MS_MAX;
	if (i >= RT_MS_MAX) {
		if (m->altstack) {
			rt_unmap(m->altstack, ALTSTACK);
			add_sc(&rt_n_ms, (uint32_t)-1);
		}
		rt_unmap(m, sizeof *m);
		return NULL;
	}
	m->index = i;
	st_rel(&rt_ms[i], m); /* readers skip NULL */
	return m;
}

int rt_m_new(struct p *p, bool spinning)
{
	static _Atomic bool said;
	struct m *m = rt_m_may_start() ? record() : NULL;
	pthread_attr_t attr;
	int rc;

	if (!m)
		return -EAGAIN;
	m->next_p = p;
	m->spinning = spinning;
	m->leave = false;
	st(&m->n_homes, 0);
	memset(m->pinned, 0, sizeof m->pinned); /* of a runtime that was stopped */
	st(&m->n_pinned, 0);
	m->stray = NULL;
	m->plocks = 0;
	st(&m->preempt, 0);
	m->after = RT_AFTER_NOTHING;
	m->tsc = rt_tsc();
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	add_sc(&sched.n_ms, 1);
	joinable[m->index] = true; /* now: the thread may have ended, and its record be taken, before we go on */
	rc = rt_thread_start(&threads[m->index], &attr, thread_main, m, RT_THREAD_WORKER);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		return 0;
	joinable[m->index] = false;
	add_sc(&sched.n_ms, (uint32_t)-1);
	st(&no_thread_until, rt_now() + RETRY);
	rt_lock(&lock);
	m->idle_next = dead;
	dead = m;
	rt_unlock(&lock);
	if (!xchg(&said, true))
		rt_log(WEFT_WARN, "cannot start a worker thread (%s): going on with the %u there are",
		       weft_strerror(-rc), ld(&sched.n_ms));
	return -EAGAIN;
}

/* One of the dead whose thread is still to be joined, off their list. */
static struct m *unjoined(void)
{
	struct m **at, *m = NULL;

	rt_lock(&lock);
	for (at = &dead; *at && !joinable[(*at)->index]; at = &(*at)->idle_next)
		;
	if (*at) {
		m = *at;
		*at = m->idle_next;
	}
	rt_unlock(&lock);
	return m;
}

void rt_ms_reap(void)
{
	struct m *m;

	while ((m = unjoined())) {
		pthread_join(threads[m->index], NULL); /* it is past its last line */
		joinable[m->index] = false;
		rt_lock(&lock);
		m->idle_next = dead;
		dead = m;
		rt_unlock(&lock);
	}
}

/* After the runtime has stopped: wait for the threads themselves. */
void rt_ms_join(void)
{
	for (uint32_t i = 0; i < ld(&rt_n_ms); i++) {
		if (joinable[i]) {
			pthread_join(threads[i], NULL);
			joinable[i] = false;
		}
	}
}
