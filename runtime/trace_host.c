/* trace_host.c - what plugins have the host do with the recorder: traces into files. */
#include "hostjob.h"

void rt_traces_end(uint32_t instance)
{
	if (sched.opts.trace_end)
		sched.opts.trace_end(sched.opts.user, instance);
}

/* Of an instance that has ended meanwhile, rt_traces_end() came too early. */
static int start(const struct rt_host_job *j)
{
	uint32_t number = j->inst ? j->inst->number : 0;
	int rc = sched.opts.trace_start(sched.opts.user, j->text, number);

	if (rc == 0 && j->inst && weft_inst_cancelled(j->inst))
		rt_traces_end(number);
	return rc;
}

static int stop(const struct rt_host_job *j)
{
	(void)j;
	return sched.opts.trace_stop(sched.opts.user);
}

static int snapshot(const struct rt_host_job *j)
{
	return sched.opts.flight(sched.opts.user, j->text, j->arg);
}

int weft_trace_start(const char *path)
{
	if (!path || !*path)
		return -EINVAL;
	if (!sched.opts.trace_start)
		return -ENOSYS;
	return rt_host_do(&(struct rt_host_job){ .call = start, .text = path, .fd = -1, .inst = weft_instance_self() });
}

int weft_trace_stop(void)
{
	if (!sched.opts.trace_stop)
		return -ENOSYS;
	return rt_host_do(&(struct rt_host_job){ .call = stop, .fd = -1 });
}

int weft_flight_snapshot(const char *path, int64_t ns)
{
	if (!path || !*path || ns < 0)
		return -EINVAL;
	if (!sched.opts.flight)
		return -ENOSYS;
	return rt_host_do(&(struct rt_host_job){ .call = snapshot, .text = path, .fd = -1, .arg = ns });
}
