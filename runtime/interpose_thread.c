/* interpose_thread.c - pthread_create() of everybody in the process.
 *
 * While CPU samples are taken, a thread that a plugin or a library starts tells the sampler (prof_cpu.c) of itself
 * before its first instruction: else one that ends before the next look at the list of threads would never be
 * sampled.  While none are taken this costs a load.  Every thread is counted for the threadcreate profile
 * (prof_thread.c).
 *
 * Not seen: thrd_create() and clone(); those threads are found by looking.  Not in builds with a sanitizer, which
 * has its own version. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

#include "prof_thread.h"
#include "rt.h"
#include "sys.h"

#if !defined(RT_ASAN) && !defined(RT_TSAN)

struct start {
	void *(*fn)(void *arg);
	void *arg;
};

static __typeof__(&pthread_create) real;

static void find(void)
{
	if (unlikely(!real))
		real = (__typeof__(real))dlsym(RTLD_NEXT, "pthread_create");
}

/* While there is one thread: dlsym() is not for others (see the head of daemon.h). */
__attribute__((constructor)) static void find_early(void)
{
	find();
}

static void tell_sampler(void)
{
	pthread_attr_t attr;
	void *lo = NULL;
	size_t size = 0;

	if (pthread_getattr_np(pthread_self(), &attr) == 0) {
		(void)pthread_attr_getstack(&attr, &lo, &size);
		pthread_attr_destroy(&attr);
	}
	rt_cpu_stranger_start(rt_tid(), (uintptr_t)lo, (uintptr_t)lo + size);
}

/* Ends in a jump, so that the thread's own function stays the root of its stack. */
static void *begin(void *arg)
{
	struct start s = *(struct start *)arg;

	free(arg);
	tell_sampler();
	return s.fn(s.arg);
}

__attribute__((visibility("default"))) int pthread_create(pthread_t *thread, const pthread_attr_t *attr,
							  void *(*fn)(void *arg), void *arg)
{
	struct start *s = rt_cpu_sampling() ? malloc(sizeof *s) : NULL;
	int rc;

	find();
	if (s)
		*s = (struct start){ fn, arg };
	rc = s ? real(thread, attr, begin, s) : real(thread, attr, fn, arg);
	if (rc == 0)
		rt_thread_started(__builtin_frame_address(0));
	else
		free(s);
	return rc;
}

#endif
