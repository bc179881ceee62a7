/* gotrace_file.c - see gotrace_file.h. */
#include "gotrace_file.h"

#include <errno.h>
#include <time.h>

#include "frame.h"
#include "symbols.h"

#define PORTION INT64_C(50000000) /* between looks at *stop */

static int64_t clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* One step, and what it wrote into the file.  As gotrace_live_step(), or what write(2) failed with. */
static int step(struct gotrace_live *l, int fd)
{
	int rc = gotrace_live_step(l, clock_now() + PORTION), wrote;

	wrote = rc < 0 ? rc : buf_write(gotrace_out(gotrace_live_trace(l)), fd);
	return wrote < 0 ? wrote : rc;
}

int gotrace_file_events(struct gotrace_live *l, int fd, const atomic_bool *stop)
{
	while (!gotrace_live_names(l)) {
		int rc = step(l, fd);

		if (rc < 0)
			return rc;
		if (stop && atomic_load(stop))
			gotrace_live_finish(l);
		else if (rc == GOTRACE_LIVE_WAIT)
			nanosleep(&(struct timespec){ .tv_nsec = GOTRACE_LIVE_POLL }, NULL);
	}
	return 0;
}

int gotrace_file_names(struct gotrace_live *l, int fd)
{
	int rc = symbols_update();

	if (rc < 0)
		return rc;
	while ((rc = step(l, fd)) > 0)
		;
	(void)frames_trim(); /* what was open already and not used since, that is all of it by the second call */
	(void)frames_trim();
	return rc;
}

int gotrace_file(const struct gotrace_opts *opts, int64_t end, int fd, const atomic_bool *stop)
{
	struct gotrace_live *l = gotrace_live_new(opts, end);
	int rc = l ? gotrace_file_events(l, fd, stop) : -ENOMEM;

	if (rc == 0)
		rc = gotrace_file_names(l, fd);
	gotrace_live_free(l);
	return rc;
}
