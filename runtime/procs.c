/* procs.c - how many Ps there are, and changing that while they run.
 *
 * sched.maxprocs is the aim: Ps with a smaller id may run.  Ps are made when first needed and never freed.
 * A P beyond the aim is retired: empty, on no list, never picked up; but its queues stay readable, so whoever
 * looks at every P (thieves, timers, metrics) goes by n_ps, and who counts busy ones by n_active.
 *
 * Growing puts retired Ps on the idle list and wakes a worker.  Shrinking takes idle Ps off the list at once; a
 * P that runs is retired by its own M at its next scheduler step, at most a TURN away (rt_p_retire()), or, if
 * its goroutine does not come back, by sysmon, which revokes it within a second or two.  A P that retires is
 * between two states: released by its M, on no list, not yet `retired`; if the aim grew again meanwhile it
 * becomes idle instead.  Nothing stops for any of this.
 *
 * The aim: weft_maxprocs() > configuration > automatic.  Automatic is min(CPUs by affinity, max(2, quota)),
 * as Go has it, the quota being the tightest of all visible control groups, and is found anew each second.
 * `choice` is a mutex for those who change the aim and for cgroup.c's buffers; held while files are read,
 * so never by who holds another lock. */
#include <sched.h>

#include "cgroup.h"
#include "idle.h"
#include "rt.h"
#include "sys.h"

static struct rt_lock choice = RT_LOCK_INIT(PROCS);
static bool automatic;                           /* choice */
static uint64_t ticks_seen[WEFT_MAXPROCS_LIMIT]; /* sysmon's */

int weft_ncpu(void)
{
	static cpu_set_t set[16]; /* 16,384 CPUs; all who write it write the same */
	long n;

	if (sched.opts.cpus)
		return sched.opts.cpus;
	n = rt_syscall(SYS_sched_getaffinity, 0, sizeof set, (long)set, 0, 0, 0);
	return n > 0 ? CPU_COUNT_S((size_t)n, set) : 1;
}

/* Under choice. */
static uint32_t resolve(struct rt_cgroup_limit *limit)
{
	int64_t cpus = weft_ncpu(), worth;

	rt_cgroup_cpu(sched.opts.proc_root ? sched.opts.proc_root : "/proc",
		      sched.opts.sys_root ? sched.opts.sys_root : "", limit);
	if (limit->quota) {
		worth = limit->quota / limit->period;
		if (limit->quota % limit->period && !sched.opts.maxprocs_floor)
			worth++;
		if (worth < 2)
			worth = 2;
		if (worth < cpus)
			cpus = worth;
		else
			limit->quota = 0; /* it is not what limits */
	}
	return cpus < WEFT_MAXPROCS_LIMIT ? (uint32_t)cpus : WEFT_MAXPROCS_LIMIT;
}

/* --- Making Ps --- */

static void renew(struct p *p, uint32_t id)
{
	p->id = id;
	p->rng = (sched.opts.seed + 1) * 0x9e3779b97f4a7c15ull * (id + 1);
	p->rng += p->rng == 0; /* it would stay 0 */
	p->chance = p->rng;
	rt_lock_init(&p->tlock, RT_RANK_TIMERS);
	p->next = NULL;
	st(&p->has_next, 0);
	st(&p->head, ld(&p->tail));
	st(&p->top, ld(&p->bottom));
	p->n_timers = 0;
	st(&p->first, INT64_MAX);
	st(&p->first_tsc, UINT64_MAX);
	st(&p->idle, 0);
	p->retired = true;
}

/* So that there are n.  Under sched.lock. */
static int make_ps(uint32_t n)
{
	for (uint32_t i = ld(&sched.n_ps); i < n; i++) {
		struct p *p = rt_map(sizeof *p);

		if (!p)
			return -ENOMEM;
		renew(p, i);
		sched.ps[i] = p;
		st_rel(&sched.n_ps, i + 1); /* pairs with the acquires of those who look at every P */
	}
	return 0;
}

/* --- Changing the aim --- */

/* Retired Ps below the aim become idle.  Under sched.lock. */
static void bring_back(void)
{
	for (uint32_t i = ld(&sched.maxprocs); i-- > 0;) {
		struct p *p = sched.ps[i];

		if (!p->retired)
			continue;
		p->retired = false;
		st(&sched.n_active, ld(&sched.n_active) + 1);
		rt_idle_p_put(p);
	}
}

/* Idle Ps beyond the aim, off the list, as a list of their own.  Under sched.lock. */
static struct p *take_idle_beyond(void)
{
	struct p **at = &sched.idle_ps, *gone = NULL;

	while (*at) {
		struct p *p = *at;

		if (p->id < ld(&sched.maxprocs)) {
			at = &p->idle_next;
			continue;
		}
		*at = p->idle_next;
		st(&p->idle, 0);
		st(&sched.n_idle_ps, ld(&sched.n_idle_ps) - 1);
		p->idle_next = gone;
		gone = p;
	}
	return gone;
}

/* All that p has, to those who go on.  Nobody owns p; thieves may still take from it. */
static void empty(struct p *p)
{
	struct g *g;
	uint32_t n = ld(&p->n_free);

	g = p->next;
	p->next = NULL;
	st(&p->has_next, 0);
	while (g || (g = rt_runq_get(p)) || (g = rt_spawn_get(p))) {
		rt_global_put(g, g, 1);
		g = NULL;
	}
	rt_timers_move(p, sched.ps[0]);
	st(&p->n_free, 0);
	if (n)
		rt_slots_give(p->free, n);
	for (uint32_t i = 0; i < RT_CLASSES - 1; i++) {
		n = ld(&p->free_big[i].n);
		st(&p->free_big[i].n, 0);
		rt_slots_give(p->free_big[i].g, n);
	}
}

/* p is nobody's: retired, or idle if the aim has grown over it meanwhile. */
static void retire(struct p *p)
{
	empty(p);
	rt_lock(&sched.lock);
	if (p->id < ld(&sched.maxprocs)) {
		rt_idle_p_put(p);
	} else {
		p->retired = true;
		st(&sched.n_active, ld(&sched.n_active) - 1);
	}
	rt_unlock(&sched.lock);
	rt_wake_one();
}

struct p *rt_p_retire(struct m *m)
{
	struct p *p;

	rt_lock(&sched.lock);
	p = ld(&m->p)->id < ld(&sched.maxprocs) ? ld(&m->p) : NULL;
	rt_unlock(&sched.lock);
	if (!p)
		retire(rt_p_release(m));
	return p;
}

/* Under choice. */
static int set_aim(uint32_t n)
{
	struct p *gone;
	int rc;

	rt_lock(&sched.lock);
	rc = make_ps(n);
	if (rc == 0) {
		st(&sched.maxprocs, n);
		bring_back();
	}
	gone = take_idle_beyond();
	rt_unlock(&sched.lock);
	while (gone) {
		struct p *p = gone;

		gone = p->idle_next;
		retire(p);
	}
	if (rc == 0 && rt_rec_on)
		rt_record_foreign(RT_EV_PROCS_CHANGE, NULL, n, 0, 0);
	rt_wake_one();
	return rc;
}

/* Under choice. */
static void follow(void)
{
	struct rt_cgroup_limit limit;
	uint32_t n = resolve(&limit), old = ld(&sched.maxprocs);

	if (n == old || set_aim(n) < 0)
		return;
	if (limit.quota)
		rt_log(WEFT_NOTICE, "maxprocs %u -> %u: the CPU quota of %s allows %.2f of %d CPUs", old, n, limit.by,
		       (double)limit.quota / (double)limit.period, weft_ncpu());
	else
		rt_log(WEFT_NOTICE, "maxprocs %u -> %u: that many CPUs may be used", old, n);
}

static int change(int n)
{
	struct m *m = rt_enter(rt_self());
	int old, rc = 0;

	rt_lock(&choice);
	old = (int)ld(&sched.maxprocs);
	automatic = n == 0;
	if (automatic)
		follow();
	else if (n != old)
		rc = set_aim((uint32_t)n);
	rt_unlock(&choice);
	if (m)
		rt_leave(m);
	return rc < 0 ? rc : old;
}

int weft_maxprocs(int n)
{
	if (n > WEFT_MAXPROCS_LIMIT)
		return -EINVAL;
	return n > 0 ? change(n) : (int)ld(&sched.maxprocs);
}

int weft_maxprocs_default(void)
{
	int rc = change(0);

	return rc < 0 ? rc : (int)ld(&sched.maxprocs);
}

/* --- Start, and each second --- */

int rt_ps_start(void)
{
	struct rt_cgroup_limit limit;
	uint32_t n;
	int rc;

	rt_lock(&choice);
	automatic = sched.opts.maxprocs == 0;
	n = automatic ? resolve(&limit) : (uint32_t)sched.opts.maxprocs;
	rt_unlock(&choice);
	rt_lock(&sched.lock);
	sched.idle_ps = NULL;
	st(&sched.n_idle_ps, 0);
	st(&sched.n_active, 0);
	for (uint32_t i = 0; i < ld(&sched.n_ps); i++)
		renew(sched.ps[i], i);
	rc = make_ps(n);
	if (rc == 0) {
		st(&sched.maxprocs, n);
		bring_back();
	}
	rt_unlock(&sched.lock);
	return rc;
}

/* A goroutine that does not come back to the scheduler keeps its P from retiring: take it. */
static void retire_stuck(void)
{
	for (uint32_t i = ld(&sched.maxprocs); i < ld_acq(&sched.n_ps); i++) {
		struct p *p = sched.ps[i];
		struct m *m = ld(&p->m);
		uint64_t tick = ld(&p->tick);

		if (m && tick == ticks_seen[i] && ((p = rt_revoke(m, RT_LOST_RETIRED, 0)) || (p = rt_retake(m))))
			retire(p);
		ticks_seen[i] = tick;
	}
}

void rt_procs_poll(void)
{
	rt_lock(&choice);
	if (automatic)
		follow();
	rt_unlock(&choice);
	retire_stuck();
}
