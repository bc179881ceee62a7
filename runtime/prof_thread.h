/* prof_thread.h - starting threads, so that the threadcreate profile knows of them (prof_thread.c). */
#ifndef WEFT_RT_PROF_THREAD_H
#define WEFT_RT_PROF_THREAD_H

#include <pthread.h>
#include <stdint.h>

#define RT_THREAD_REASONS(X)                                                                                           \
	X(WORKER, "worker") /* a P had to run and no thread idled */                                                   \
	X(SYSMON, "sysmon")                                                                                            \
	X(HELPER, "helper") /* a call that blocks, on behalf of a goroutine */                                         \
	X(PLUGIN, "plugin") /* a goroutine called pthread_create() */                                                  \
	X(HOST, "host")     /* the daemon, or a library outside goroutines, did */

enum rt_thread_reason {
#define X(name, word) RT_THREAD_##name,
	RT_THREAD_REASONS(X)
#undef X
};

struct m;
/* The stack of the caller of the function with that frame, on whatever thread; 0: it can't be known. */
uint32_t rt_stack_any(struct m *m, void *frame);

/* pthread_create(), counted. */
int rt_thread_start(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg), void *arg,
		    enum rt_thread_reason reason);
/* Somebody has called pthread_create(), whose frame that is, and a thread was started. */
void rt_thread_started(void *frame);
const char *rt_thread_reason(uint64_t reason); /* a word for it, or NULL */

#endif
