/* helper.c - helper threads: for what blocks a thread for long, needs a thread's stack, and is to be left behind when
 * its goroutine is called off (getaddrinfo()).
 *
 * Started when there is work and no helper idles, MAX at most (more work queues, first in, first out); one that
 * idles for SPARE ends.  They have no P and make goroutines runnable as any thread that is no M does.
 *
 * A job is put on the queue under the lock that is dropped when its goroutine has parked: so it cannot be done
 * before.  What is done with it afterwards: a goroutine that was called off leaves it behind, and whoever comes
 * last, the helper or the goroutine, frees it. */
#include <pthread.h>

#include "net.h"
#include "prof_thread.h"
#include "sys.h"

#define MAX 32
#define STACK (1u << 20) /* a job may write a profile, for which libdw takes 150 KiB at once */
#define SPARE (5 * WEFT_SEC)

struct helper {
	struct helper *next;
	struct rt_note note;
};

static struct rt_lock lock = RT_LOCK_INIT(HELPERS);
/* under lock */
static struct rt_job *first, *last;
static struct helper *idle;
static uint32_t n_idle;
static bool stopping;
/* changed under lock; rt_helpers_stop() reads it without */
static _Atomic uint32_t n_threads;

static struct rt_job *job_take(void)
{
	struct rt_job *job = first;

	if (job)
		first = job->next;
	return job;
}

static bool unlink_idle(struct helper *h)
{
	for (struct helper **at = &idle; *at; at = &(*at)->next) {
		if (*at == h) {
			*at = h->next;
			n_idle--;
			return true;
		}
	}
	return false;
}

/* Wait for a job; NULL: end.  Under lock, also on return. */
static struct rt_job *job_wait(struct helper *me)
{
	struct rt_job *job;
	bool spare = false;

	while (!(job = job_take()) && !stopping && !spare) {
		me->next = idle;
		idle = me;
		n_idle++;
		rt_unlock(&lock);
		(void)rt_note_wait(&me->note, rt_now() + SPARE);
		rt_lock(&lock);
		spare = unlink_idle(me); /* nobody has taken us off */
	}
	return job;
}

static void finish(struct rt_job *job)
{
	struct g *g;
	bool won = false;

	rt_lock(&lock);
	g = job->g;
	job->done = true;
	if (g)
		won = ld(&g->id) == job->goid && rt_wait_win(g, job->number);
	rt_unlock(&lock);
	if (won)
		rt_ready(NULL, g, 0, RT_READY_QUEUE);
	else if (!g)
		job->drop(job);
}

static void *helper_main(void *arg)
{
	struct helper me = { 0 };
	struct rt_job *job;

	(void)arg;
	pthread_setname_np(pthread_self(), "weft-helper");
	weft_host_thread("weft-helper");
	rt_lock(&lock);
	while ((job = job_wait(&me))) {
		rt_unlock(&lock);
		job->run(job);
		finish(job);
		rt_lock(&lock);
	}
	add_sc(&n_threads, (uint32_t)-1);
	rt_unlock(&lock);
	return NULL;
}

/* See to it that somebody will take one more job. */
static int helper_have(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	rt_lock(&lock);
	if (n_idle || ld(&n_threads) >= MAX) {
		rt_unlock(&lock);
		return 0;
	}
	add_sc(&n_threads, 1);
	rt_unlock(&lock);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = rt_thread_start(&thread, &attr, helper_main, NULL, RT_THREAD_HELPER);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		return 0;
	return add_sc(&n_threads, (uint32_t)-1) > 1 ? 0 : -EAGAIN; /* those that work will come to it */
}

static void put(struct rt_job *job)
{
	struct helper *h = idle;

	job->next = NULL;
	if (first)
		last->next = job;
	else
		first = job;
	last = job;
	if (h) {
		idle = h->next;
		n_idle--;
		rt_note_wake(&h->note);
	}
}

int rt_job_wait(struct m **m, struct rt_job *job, enum rt_wait reason)
{
	int rc = helper_have();

	if (rc < 0)
		return rc;
	job->done = false;
	rt_lock(&lock);
	job->g = ld(&(*m)->cur);
	job->goid = ld(&job->g->id);
	job->number = rt_wait_open(job->g);
	put(job);
	rc = rt_park(m, reason, &lock);
	if (rc == 0)
		return 0;
	rt_lock(&lock);
	job->g = NULL;
	if (!job->done) { /* it, or the helper that has it, will find that nobody waits */
		rt_unlock(&lock);
		return rc;
	}
	rt_unlock(&lock);
	job->drop(job);
	return rc;
}

/* --- The end ----------------------------------------------------------------------------------------------- */

/* The goroutines are nobody's: helpers end, but for those that are in the middle of something; these find nobody
 * to tell. */
void rt_helpers_stop(void)
{
	int64_t until = rt_now() + WEFT_SEC;
	struct rt_job *job;

	rt_lock(&lock);
	stopping = true;
	while ((job = job_take()))
		if (!job->g)
			job->drop(job);
	while (idle) {
		struct helper *h = idle;

		idle = h->next;
		n_idle--;
		rt_note_wake(&h->note);
	}
	rt_unlock(&lock);
	while (ld_acq(&n_threads) && rt_now() < until)
		(void)rt_syscall(SYS_nanosleep, (long)&(struct timespec){ .tv_nsec = 200000 }, 0, 0, 0, 0, 0);
	rt_lock(&lock);
	stopping = false;
	rt_unlock(&lock);
}
