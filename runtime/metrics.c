/* metrics.c - counters: each P has its own, read here with relaxed loads; nothing adds up exactly while
 * the world moves, and nothing is stopped to make it. */
#include <string.h>

#include "heap.h"
#include "rt.h"

static void sum_p(struct weft_counters *out, const struct p *p)
{
	const struct m *m = ld(&p->m);

	out->switches += ld(&p->tick);
	out->steals += ld(&p->steals);
	out->preempted += ld(&p->preempted);
	out->parked_locked += ld(&p->parked_locked);
	out->handovers += ld(&p->handovers);
	out->timers += ld(&p->timers_now);
	for (int r = 0; r < RT_WAIT_N; r++)
		out->parks[r] += ld(&p->parks[r]);
	out->runq[out->runq_n] = rt_runq_len(p);
	out->runnable += out->runq[out->runq_n++];
	if (m && !ld(&p->idle) && ld(&m->cur) != &m->g0 && ld(&m->own) != RT_LENT)
		out->running++;
}

void weft_read_counters(struct weft_counters *out)
{
	size_t n = weft_read_instances(NULL, 0);
	uint64_t busy;

	memset(out, 0, sizeof *out);
	out->maxprocs = (int)ld(&sched.maxprocs);
	out->threads = (int)ld(&sched.n_ms);
	out->idle_procs = (int)ld(&sched.n_idle_ps);
	out->started = sched.started_real;
	out->global_runq = ld(&sched.n_global);
	out->runnable = out->global_runq;
	for (uint32_t i = 0; i < ld_acq(&sched.n_ps); i++)
		sum_p(out, sched.ps[i]);
	for (uint32_t i = 1; i <= n; i++) {
		uint64_t created;

		out->live += rt_inst_live(rt_inst_at(i), &created);
		out->created += created;
	}
	for (uint32_t i = 0; i < ld(&rt_n_ms); i++) {
		const struct m *m = ld(&rt_ms[i]);

		uint32_t own = m ? ld(&m->own) : RT_OWNED;

		if ((own == RT_NO_P || own == RT_LENT) && ld(&m->tid) && ld(&m->cur) != &m->g0)
			out->not_in_go++;
	}
	busy = out->running + out->runnable + out->not_in_go;
	out->waiting = out->live > busy ? out->live - busy : 0;
	rt_stack_counters(out);
	rt_rec_counters(out);
	rt_stacktab_counters(out);
	rt_label_counters(out);
	rt_labels_keep_counters(out);
	rt_cpu_counters(out);
	rt_heap_counters(out);
	rt_log_counters(out);
	rt_unwind_counters(out);
	rt_capture_counters(out);
	rt_net_counters(out);
	rt_retake_counters(out);
}
