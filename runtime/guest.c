/* guest.c - threads of the embedder while they run plugin code outside of goroutines: dlopen() runs
 * constructors.
 *
 * For who looks, such a guest is a goroutine as long as the call lasts: it has an id and an arena slot, where
 * walks of all goroutines come by, is DETACHED, and can be asked for its stack like any that runs
 * (capture.c).  The stack is that of the thread, the slot's is never used.
 *
 * For itself it is none: rt_self() stays NULL, so that weft_* calls see a foreign thread.  It holds no P and
 * is of no instance (inst NULL, number 0), and as counts of goroutines are those of instances, it counts
 * in none: dumps and profiles may list one more than weft_goroutines_live.  Its slot does count towards
 * max_goroutines.  It is in no event of the recorder.
 *
 * A guest's struct m is not in rt_ms and never schedules.  Only tid, cur, capture, index and the stack's
 * bounds are used.  Entries are never freed, only reused; tid 0: free.  Unlike a worker's, a guest's stack may be
 * unmapped after it has left: who walks it from another thread holds the guest meanwhile.
 *
 *	rt_guest_hold()		leave()
 *	lookers++		tid = 0
 *	tid still the same?	wait until lookers == 0
 *
 * Lock: LEAF, for taking entries. */
#include <pthread.h>
#include <signal.h>

#include "capture.h"
#include "sys.h"

#define GUESTS_MAX 16

struct guest {
	struct m m; /* first: a guest's struct m * is a struct guest * */
	_Atomic uint32_t lookers;
	bool taken; /* under lock */
};

static struct rt_lock lock = RT_LOCK_INIT(LEAF);
static struct guest *_Atomic guests[GUESTS_MAX]; /* a growing prefix */
static __thread struct guest *self __attribute__((tls_model("local-exec")));

struct m *rt_guest_at(uint32_t i)
{
	struct guest *u = i < GUESTS_MAX ? ld_acq(&guests[i]) : NULL; /* pairs with the release in entry() */

	return u ? &u->m : NULL;
}

RT_NOSAN struct m *rt_guest_self(void)
{
	return self ? &self->m : NULL;
}

bool rt_guest_hold(struct m *m, int tid)
{
	struct guest *u = (struct guest *)m;

	(void)add_sc(&u->lookers, 1);
	if (ld_sc(&m->tid) == tid)
		return true;
	rt_guest_drop(m);
	return false;
}

void rt_guest_drop(struct m *m)
{
	(void)add_sc(&((struct guest *)m)->lookers, -1u);
}

/* NULL: all are taken, or no memory. */
static struct guest *entry(void)
{
	struct guest *u = NULL;

	rt_lock(&lock);
	for (uint32_t i = 0; i < GUESTS_MAX; i++) {
		u = ld(&guests[i]);
		if (!u && (u = rt_map(sizeof *u))) {
			u->m.index = RT_MS_GUEST;
			st_rel(&guests[i], u);
		}
		if (!u || !u->taken)
			break;
		u = NULL;
	}
	if (u)
		u->taken = true;
	rt_unlock(&lock);
	return u;
}

static bool bounds(struct m *m)
{
	pthread_attr_t attr;
	void *lo;
	size_t size;
	int rc;

	if (pthread_getattr_np(pthread_self(), &attr) != 0)
		return false;
	rc = pthread_attr_getstack(&attr, &lo, &size);
	(void)pthread_attr_destroy(&attr);
	m->stack_lo = (uintptr_t)lo;
	m->stack_hi = (uintptr_t)lo + size;
	return rc == 0;
}

static void birth(struct m *m, struct g *g, weft_fn fn, void *arg)
{
	rt_seq_begin(g); /* odd until the end */
	st(&g->parent, 0);
	st(&g->fn, fn);
	g->extras = 0;
	g->arg = arg;
	g->wg = NULL;
	st(&g->name, NULL);
	st(&g->inst, NULL);
	st(&g->created, 0);
	st(&g->labels, 0);
	st(&g->since_tsc, rt_tsc());
	st(&g->status, RT_G_DETACHED);
	st(&g->tid, rt_tid());
	st(&g->m, m);
	st_rel(&g->id, add(&sched.goids, 1) + 1); /* pairs with readers' acquire: identity is complete */
}

static void death(struct g *g)
{
	st(&g->id, 0);
	st(&g->status, RT_G_DEAD);
	st(&g->tid, 0);
	st(&g->m, NULL);
	rt_seq_end(g);
	rt_slots_give(&g, 1);
}

/* The thread shows itself as g.  False: it can't. */
static bool enter(weft_fn fn, void *arg)
{
	struct guest *u = sched.running && !self && !rt_self() ? entry() : NULL;
	struct g *g;
	int rc;

	if (!u)
		return false;
	if (!bounds(&u->m) || !rt_slots_take(&g, 1, 0, &rc)) {
		rt_lock(&lock);
		u->taken = false;
		rt_unlock(&lock);
		return false;
	}
	birth(&u->m, g, fn, arg);
	st(&u->m.cur, g);
	self = u;
	st_rel(&u->m.tid, rt_tid()); /* from now on captures may ask this thread */
	return true;
}

static void leave(void)
{
	struct timespec nap = { .tv_nsec = 50 * WEFT_US };
	struct guest *u = self;
	struct g *g = ld(&u->m.cur);

	self = NULL;
	st_sc(&u->m.tid, 0);
	while (ld_sc(&u->lookers))
		(void)rt_syscall(SYS_nanosleep, (long)&nap, 0, 0, 0, 0, 0);
	st(&u->m.cur, NULL);
	death(g);
	rt_lock(&lock);
	u->taken = false;
	rt_unlock(&lock);
}

RT_NOINLINE void weft_host_as_goroutine(weft_fn fn, void *arg)
{
	sigset_t urg;

	if (!enter(fn, arg)) {
		fn(arg);
		return;
	}
	sigemptyset(&urg);
	sigaddset(&urg, SIGURG);
	(void)pthread_sigmask(SIG_UNBLOCK, &urg, NULL); /* for good, as for workers */
	fn(arg);
	leave();
}
