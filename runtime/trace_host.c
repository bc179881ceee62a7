/* trace_host.c - what plugins have the host do with the recorder: traces into files. */
#include "hostjob.h"

static int start(const struct rt_host_job *j)
{
	return sched.opts.trace_start(sched.opts.user, j->text);
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
	return rt_host_do(&(struct rt_host_job){ .call = start, .text = path, .fd = -1 });
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
