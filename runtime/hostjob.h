/* hostjob.h - calls of plugins that the host does, on a helper while the goroutine waits. */
#ifndef WEFT_RT_HOSTJOB_H
#define WEFT_RT_HOSTJOB_H

#include "net.h"

/* The host's part of a call.  Its own descriptor and text, as a goroutine that was called off leaves the job behind. */
struct rt_host_job {
	struct rt_job job; /* rt_host_do()'s */
	int (*call)(const struct rt_host_job *j);
	const char *text; /* or NULL */
	int fd;           /* below 0: none */
	int64_t arg;
	struct weft_inst *inst; /* of the goroutine that asks, or NULL */
};

/* Copy `what`, its descriptor and text too, and have it done.  What call() returns; -ECANCELED: it is done
 * nevertheless; -ENOMEM; what fcntl(2) failed with. */
int rt_host_do(const struct rt_host_job *what);

#endif
