/* hostjob.c - see hostjob.h.
 *
 * A job belongs to the goroutine until it waits, then to whoever comes last (helper.c). */
#include "hostjob.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

struct copy {
	struct rt_host_job j; /* first */
	int rc;
	char *text;
};

static void run(struct rt_job *job)
{
	struct copy *c = (struct copy *)job;

	c->rc = c->j.call(&c->j);
}

static void drop(struct rt_job *job)
{
	struct copy *c = (struct copy *)job;

	if (c->j.fd >= 0)
		(void)rt_sys_close(c->j.fd);
	free(c->text);
	free(c);
}

/* 0 or -Exxx, and then it is gone. */
static int copy_job(const struct rt_host_job *what, struct copy **out)
{
	struct copy *c = calloc(1, sizeof *c);
	int rc = c ? 0 : -ENOMEM;

	if (!c)
		return rc;
	c->j = *what;
	c->j.job = (struct rt_job){ .run = run, .drop = drop };
	if (what->text)
		c->j.text = c->text = strdup(what->text);
	if (what->text && !c->text)
		rc = -ENOMEM;
	if (what->fd >= 0)
		c->j.fd = (int)rt_syscall(SYS_fcntl, what->fd, F_DUPFD_CLOEXEC, 0, 0, 0, 0);
	if (rc == 0 && what->fd >= 0 && c->j.fd < 0)
		rc = c->j.fd;
	if (rc < 0)
		drop(&c->j.job);
	*out = c;
	return rc;
}

int rt_host_do(const struct rt_host_job *what)
{
	struct copy *c;
	struct m *m;
	int rc = copy_job(what, &c);

	if (rc < 0)
		return rc;
	m = rt_enter(rt_self());
	rc = m ? rt_job_wait(&m, &c->j.job, RT_WAIT_IO) : -EAGAIN;
	if (m)
		rt_leave(m);
	if (rc < 0 && rc != -EAGAIN)
		return rc; /* called off: the job is no longer ours */
	if (rc == -EAGAIN)
		run(&c->j.job);
	rc = c->rc;
	drop(&c->j.job);
	return rc;
}
