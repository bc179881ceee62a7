/* tracesim.c - see tracesim.h.
 *
 * Each thread has its own records; sim.m[0] is the stream of threads that are no workers, SAMPLES that of CPU samples.
 * What a thread does is recorded at the present time, but what the scheduler does on it may be stamped earlier, as it
 * looks at the clock when it begins to look for work. */
#include "tracesim.h"

#include <string.h>

#include "often.h"
#include "rtest.h"

#include "gotrace_impl.h"

#define NP 3
#define NM 6
#define NG 4000
#define NREC 20000
#define SAMPLES (NM + 1)
#define NTASK 16 /* open at a time */
#define NREGION 6

struct sim {
	uint64_t seed;
	int64_t now;
	struct {
		int state, m; /* 0 idle, 1 running, 2 in a syscall */
		uint32_t seq;
	} p[NP];
	struct {
		enum gt_g_state state;
		bool uncreated; /* by a thread without a P: who runs it first says so */
		int m, n_regions, region[NREGION];
		uint32_t seq;
	} g[NG];
	int n_g, live;
	int tasks, n_open, open[NTASK];
	struct {
		int p, g;  /* -1; 0 */
		int lives; /* threads that it was before */
		struct weft_rec r[NREC];
		size_t n;
		int64_t last;
	} m[NM + 2]; /* 0: foreign */
};
static struct sim sim;

int64_t sim_now(void)
{
	return sim.now;
}

int sim_gs(void)
{
	return sim.n_g;
}

int sim_below(int n)
{
	return (int)(rtest_random(&sim.seed) % (uint64_t)n);
}

/* Ascending by m. */
static int tid_of(int m)
{
	return m == SAMPLES ? WEFT_REC_SAMPLES : m ? 1000 * m + sim.m[m].lives : 0;
}

static void rec(int m, int event, int g, uint32_t seq, int p, int64_t early, uint64_t gid, int flags)
{
	int64_t time = sim.now - early > sim.m[m].last ? sim.now - early : sim.m[m].last;

	often(sim.m[m].n < NREC);
	sim.m[m].r[sim.m[m].n] = (struct weft_rec){
		.time = time,
		.at = sim.m[m].n,
		.gid = gid,
		.subject = (uint64_t)g,
		.seq = seq,
		.tid = tid_of(m),
		.pid = p < 0 ? WEFT_REC_NO_P : (uint16_t)p,
		.event = (uint8_t)event,
		.flags = (uint8_t)flags,
	};
	sim.m[m].last = time;
	sim.m[m].n++;
}

/* A goroutine in that state, 0: none found. */
static int some_g(enum gt_g_state state)
{
	for (int i = 0, k = sim_below(NG); i < sim.n_g; i++) {
		int g = 1 + (k + i) % sim.n_g;

		if (sim.g[g].state == state)
			return g;
	}
	return 0;
}

static int idle_p(void)
{
	for (int i = 0, k = sim_below(NP); i < NP; i++)
		if (sim.p[(k + i) % NP].state == 0)
			return (k + i) % NP;
	return -1;
}

/* early: by how much it may be stamped before what led to it. */
static void sim_proc_start(int m, int p, int early)
{
	sim.p[p].state = 1;
	sim.p[p].m = m;
	sim.m[m].p = p;
	rec(m, WEFT_EV_PROC_START, p, ++sim.p[p].seq, p, sim_below(early), 0, 0);
}

static void lose_p(int m)
{
	sim.p[sim.m[m].p].state = 0;
	sim.m[m].p = -1;
}

static void sim_start(int m, int g)
{
	sim.g[g].state = GT_G_RUNNING;
	sim.m[m].g = g;
	if (sim.g[g].uncreated)
		rec(m, WEFT_EV_GO_CREATE, g, 0, sim.m[m].p, sim_below(SIM_EARLY), 0x4000, 1);
	sim.g[g].uncreated = false;
	rec(m, WEFT_EV_GO_START, g, ++sim.g[g].seq, sim.m[m].p, sim_below(SIM_EARLY), (uint64_t)g, 0);
}

static void sim_unblock(int m)
{
	int g = some_g(GT_G_WAITING);

	if (!g)
		return;
	rec(m, WEFT_EV_GO_UNBLOCK, g, ++sim.g[g].seq, m ? sim.m[m].p : -1, m && !sim.m[m].g ? sim_below(SIM_EARLY) : 0,
	    m ? (uint64_t)sim.m[m].g : 0, 0);
	sim.g[g].state = GT_G_RUNNABLE;
}

static void sim_create(int m)
{
	int g;

	if (sim.n_g + 1 == NG || sim.live > 60)
		return;
	g = ++sim.n_g;
	sim.live++;
	sim.g[g].state = GT_G_RUNNABLE;
	sim.g[g].uncreated = !m;
	if (m)
		rec(m, WEFT_EV_GO_CREATE, g, 0, sim.m[m].p, 0, 0x4000 + (uint64_t)(g % 7), 0);
}

static void sim_leave(int m, int event, enum gt_g_state state)
{
	int g = sim.m[m].g;

	rec(m, event, g, sim.g[g].seq, sim.m[m].p, 0, (uint64_t)g, event == WEFT_EV_GO_BLOCK ? RT_WAIT_SLEEP : 0);
	sim.g[g].state = state;
	sim.m[m].g = 0;
	sim.live -= state == GT_G_NONE;
}

/* --- What plugins say ----------------------------------------------------------------------------- */

const char *sim_name(void *user, uint32_t number)
{
	static const char *const names[] = { "", "one", "two", "three", "four", "five" };

	(void)user;
	return names[number % 6];
}

/* By g, in stream m. */
static void say(int m, int g, int event, int subject, int name, int flags)
{
	rec(m, event, subject, (uint32_t)name, m ? sim.m[m].p : -1, 0, (uint64_t)g, flags);
}

static void say_task_begin(int m, int g)
{
	bool below = sim.n_open && sim_below(2);

	if (sim.n_open == NTASK)
		return;
	if (below)
		say(m, g, WEFT_EV_TASK_PARENT, sim.open[sim_below(sim.n_open)], 0, 0);
	sim.open[sim.n_open++] = ++sim.tasks;
	say(m, g, WEFT_EV_TASK_BEGIN, sim.tasks, sim_below(6), below);
}

/* Whoever began it. */
static void say_task_end(int m, int g)
{
	int i = sim.n_open ? sim_below(sim.n_open) : -1;

	if (i < 0)
		return;
	say(m, g, WEFT_EV_TASK_END, sim.open[i], 0, 0);
	sim.open[i] = sim.open[--sim.n_open];
}

/* The name says which task it is for, too. */
static void say_region(int m, int g, bool begins)
{
	int n = begins ? sim.g[g].n_regions : sim.g[g].n_regions - 1;

	if (n < 0 || n == NREGION)
		return;
	if (begins)
		sim.g[g].region[n] = sim_below(1 + sim.tasks);
	sim.g[g].n_regions = begins ? n + 1 : n;
	say(m, g, begins ? WEFT_EV_REGION_BEGIN : WEFT_EV_REGION_END, sim.g[g].region[n], sim.g[g].region[n] % 6, n);
}

static void say_text(int m, int g, int event, int least)
{
	int n = least + sim_below(4);

	for (int i = 0; i < n; i++)
		say(m, g, WEFT_EV_TEXT, 'a' + i, 0, i);
	say(m, g, event, sim_below(1 + sim.tasks), sim_below(6), n);
}

static void say_something(int m, int g)
{
	switch (sim_below(7)) {
	case 0:
		say_task_begin(m, g);
		break;
	case 1:
		say_task_end(m, g);
		break;
	case 2:
	case 3:
		say_region(m, g, true);
		break;
	case 4:
		say_region(m, g, false);
		break;
	case 5:
		say_text(m, g, WEFT_EV_LOG, 0);
		break;
	default:
		say_text(m, g, WEFT_EV_LABELS, 1);
	}
}

/* Of who runs on m, or of nobody; some time ago. */
static void take_sample(int m)
{
	rec(SAMPLES, WEFT_EV_CPU_SAMPLE, tid_of(m), 0, sim.m[m].p, sim_below(SIM_EARLY), (uint64_t)sim.m[m].g, 0);
}

/* --- What they do ----------------------------------------------------------------------------------- */

static void step_running(int m)
{
	int g = sim.m[m].g, p = sim.m[m].p;

	if (sim_below(3) == 0) {
		say_something(m, g);
		return;
	}
	switch (sim_below(12)) {
	case 0:
		sim_leave(m, WEFT_EV_GO_YIELD, GT_G_RUNNABLE);
		break;
	case 1:
		if (sim.live > 10)
			sim_leave(m, WEFT_EV_GO_DESTROY, GT_G_NONE);
		break;
	case 2:
		rec(m, WEFT_EV_SYSCALL_BEGIN, g, ++sim.p[p].seq, p, 0, (uint64_t)g, 0);
		sim.g[g].state = GT_G_SYSCALL;
		sim.p[p].state = 2;
		break;
	case 3:
		rec(0, WEFT_EV_HANDOFF, g, sim.p[p].seq += 2, p, 0, 0, 0);
		sim.g[g].state = GT_G_SYSCALL;
		lose_p(m);
		break;
	case 4:
	case 5:
		sim_create(m);
		break;
	case 6:
	case 7:
		sim_unblock(m);
		break;
	default:
		sim_leave(m, WEFT_EV_GO_BLOCK, GT_G_WAITING);
	}
}

static void step_syscall(int m)
{
	int g = sim.m[m].g, p = sim.m[m].p;

	if (sim_below(4) == 0)
		say_something(0, g);
	else if (p >= 0 && sim_below(2)) {
		rec(m, WEFT_EV_SYSCALL_END, g, sim.p[p].seq, p, 0, (uint64_t)g, 0);
		sim.g[g].state = GT_G_RUNNING;
		sim.p[p].state = 1;
	} else if (p >= 0) {
		rec(0, WEFT_EV_PROC_STEAL, g, ++sim.p[p].seq, p, 0, 0, 0);
		lose_p(m);
	} else if ((p = idle_p()) >= 0) {
		sim_proc_start(m, p, 1);
		rec(m, WEFT_EV_REATTACH, g, ++sim.g[g].seq, p, 0, (uint64_t)g, 0);
		sim.g[g].state = GT_G_RUNNING;
	} else if (sim_below(3) == 0) {
		rec(m, WEFT_EV_REATTACH, g, sim.g[g].seq, -1, 0, (uint64_t)g, 1);
		sim.g[g].state = GT_G_RUNNABLE;
		sim.m[m].g = 0;
	}
}

/* By threads that are no workers, and the sampler. */
static void step_foreign(void)
{
	switch (sim_below(200)) {
	case 0:
	case 1:
	case 2:
		sim_unblock(0);
		break;
	case 3:
		sim_create(0);
		break;
	case 4:
		say_task_end(0, 0);
		break;
	case 5:
		rec(0, WEFT_EV_PROCS_CHANGE, 1 + sim_below(8), 0, -1, 0, 0, 0);
		break;
	case 6:
	case 7:
		take_sample(1 + sim_below(NM));
		break;
	}
}

/* m has a P and nobody to run. */
static void step_scheduler(int m)
{
	int p = sim.m[m].p, g;

	if (sim_below(5) == 0) {
		rec(m, WEFT_EV_PROC_STOP, p, sim.p[p].seq, p, 0, 0, 0);
		lose_p(m);
		return;
	}
	if (sim_below(10) == 0)
		rec(m, WEFT_EV_HEAP, sim_below(1 << 20), 0, p, sim_below(SIM_EARLY), 0, 0);
	g = some_g(GT_G_RUNNABLE);
	if (g) {
		sim_start(m, g);
		return;
	}
	sim_unblock(m);
	sim_create(m);
}

void sim_step(void)
{
	int m = 1 + sim_below(NM), p;

	sim.now += (1 + sim_below(200)) * SIM_STEP;
	step_foreign();
	if (sim.m[m].g && sim.g[sim.m[m].g].state == GT_G_SYSCALL) {
		if (sim_below(4) == 0)
			step_syscall(m);
	} else if (sim.m[m].g) {
		if (sim_below(m == 1 ? 500 : 3) == 0) /* the first often has nothing to say for the whole window */
			step_running(m);
	} else if (sim.m[m].p >= 0) {
		step_scheduler(m);
	} else if (sim_below(20) == 0) {
		sim.m[m].lives++; /* it ends, another begins */
	} else if ((p = idle_p()) >= 0) {
		sim_proc_start(m, p, SIM_EARLY);
	}
}

static void read_thread(struct weft_recs *recs, int m, int64_t from, int one_in)
{
	int64_t first = from - sim_below(2) * sim_below(300) * 1000 * SIM_STEP;

	for (size_t i = 0; i < sim.m[m].n; i++)
		if (sim.m[m].r[i].time >= first && (!one_in || ((size_t)m * 7 + i) % (size_t)one_in))
			recs->r[recs->n++] = sim.m[m].r[i];
}

struct weft_recs *sim_readings(int64_t from, int one_in)
{
	struct weft_recs *recs = calloc(1, sizeof *recs + (NM + 2) * NREC * sizeof recs->r[0]);

	read_thread(recs, SAMPLES, from, one_in);
	for (int m = 0; m <= NM; m++)
		read_thread(recs, m, from, one_in);
	return recs;
}

void sim_see_g(struct gotrace *t, int g)
{
	static const enum weft_g_status status[] = { WEFT_G_DEAD, WEFT_G_RUNNABLE, WEFT_G_RUNNING, WEFT_G_SYSCALL,
						     WEFT_G_WAITING };
	struct weft_goroutine w = { .id = (uint64_t)g, .status = status[sim.g[g].state], .start = 0x4000 };

	if (w.status == WEFT_G_DEAD)
		return;
	for (int m = 1; m <= NM; m++)
		if (sim.m[m].g == g)
			w.tid = tid_of(m);
	gotrace_goroutine(t, &w);
}

void sim_see_threads(struct gotrace *t)
{
	for (int p = 0; p < NP; p++)
		gotrace_proc(t, p);
	gotrace_procs(t, NP);
	for (int m = 1; m <= NM; m++) {
		struct weft_sched_m w = { .tid = tid_of(m), .p = sim.m[m].p, .goid = (uint64_t)sim.m[m].g };

		gotrace_thread(t, &w);
	}
}

void sim_start_at(uint64_t seed)
{
	memset(&sim, 0, sizeof sim);
	sim.seed = seed;
	sim.now = 1000000;
	for (int m = 0; m <= SAMPLES; m++)
		sim.m[m].p = -1;
	sim_proc_start(1, 0, 1);
	for (int i = 0; i < 10; i++)
		sim_create(1);
}

void sim_lose(struct weft_recs *recs, int64_t lost)
{
	size_t n = 0;
	int tid = -1, skip = 0;

	for (size_t i = 0; i < recs->n; i++) {
		if (recs->r[i].tid != tid)
			skip = sim_below(100);
		tid = recs->r[i].tid;
		if (skip > 0 && recs->r[i].time <= lost)
			skip--;
		else
			recs->r[n++] = recs->r[i];
	}
	recs->n = n;
	recs->lost = lost + SIM_EARLY; /* effects may be stamped before their causes */
}
