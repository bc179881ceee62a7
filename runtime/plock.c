/* plock.c - counts the locks of the C library that a goroutine holds.
 *
 * The functions below stand in the executable, so they are found before the C library's by plugins and by all
 * that they load.  A goroutine that holds such a lock is not interrupted (preempt.c), and when it waits all the
 * same it goes on on the thread that the lock belongs to (pin.c).  m->plocks is the goroutine's while it runs.
 *
 * Left to the C library in builds with sanitizers, which have wrappers of their own. */
#include "rt.h"

#if !defined(RT_ASAN) && !defined(RT_TSAN)
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <threads.h>

#define TAKING(X)                                                                                                      \
	X(int, pthread_mutex_lock, (pthread_mutex_t * l), (l))                                                         \
	X(int, pthread_mutex_trylock, (pthread_mutex_t * l), (l))                                                      \
	X(int, pthread_mutex_timedlock, (pthread_mutex_t * l, const struct timespec *t), (l, t))                       \
	X(int, pthread_mutex_clocklock, (pthread_mutex_t * l, clockid_t c, const struct timespec *t), (l, c, t))       \
	X(int, pthread_rwlock_rdlock, (pthread_rwlock_t * l), (l))                                                     \
	X(int, pthread_rwlock_tryrdlock, (pthread_rwlock_t * l), (l))                                                  \
	X(int, pthread_rwlock_timedrdlock, (pthread_rwlock_t * l, const struct timespec *t), (l, t))                   \
	X(int, pthread_rwlock_clockrdlock, (pthread_rwlock_t * l, clockid_t c, const struct timespec *t), (l, c, t))   \
	X(int, pthread_rwlock_wrlock, (pthread_rwlock_t * l), (l))                                                     \
	X(int, pthread_rwlock_trywrlock, (pthread_rwlock_t * l), (l))                                                  \
	X(int, pthread_rwlock_timedwrlock, (pthread_rwlock_t * l, const struct timespec *t), (l, t))                   \
	X(int, pthread_rwlock_clockwrlock, (pthread_rwlock_t * l, clockid_t c, const struct timespec *t), (l, c, t))   \
	X(int, pthread_spin_lock, (pthread_spinlock_t * l), (l))                                                       \
	X(int, pthread_spin_trylock, (pthread_spinlock_t * l), (l))                                                    \
	X(int, mtx_lock, (mtx_t * l), (l))                                                                             \
	X(int, mtx_trylock, (mtx_t * l), (l))                                                                          \
	X(int, mtx_timedlock, (mtx_t * l, const struct timespec *t), (l, t))                                           \
	X(int, ftrylockfile, (FILE * l), (l))
#define DROPPING(X)                                                                                                    \
	X(int, pthread_mutex_unlock, (pthread_mutex_t * l), (l))                                                       \
	X(int, pthread_rwlock_unlock, (pthread_rwlock_t * l), (l))                                                     \
	X(int, pthread_spin_unlock, (pthread_spinlock_t * l), (l))                                                     \
	X(int, mtx_unlock, (mtx_t * l), (l))

/* The C library's own, found at the first use, which is before there is a second thread. */
#define FIND(name)                                                                                                     \
	do {                                                                                                           \
		if (unlikely(!real_##name))                                                                            \
			real_##name = (__typeof__(real_##name))dlsym(RTLD_NEXT, #name);                                \
	} while (0)

/* Not below 0: a lock may have been taken before its thread became an M, or on another thread. */
static inline void count(int by)
{
	struct m *m = rt_self();

	if (m && (by > 0 || m->plocks))
		m->plocks += by;
}

#define X(type, name, params, args)                                                                                    \
	static __typeof__(&name) real_##name;                                                                          \
	__attribute__((visibility("default"))) type name params                                                        \
	{                                                                                                              \
		type rc;                                                                                               \
                                                                                                                       \
		FIND(name);                                                                                            \
		rc = real_##name args;                                                                                 \
		if (rc == 0 || rc == EOWNERDEAD)                                                                       \
			count(1);                                                                                      \
		return rc;                                                                                             \
	}
TAKING(X)
#undef X

#define X(type, name, params, args)                                                                                    \
	static __typeof__(&name) real_##name;                                                                          \
	__attribute__((visibility("default"))) type name params                                                        \
	{                                                                                                              \
		type rc;                                                                                               \
                                                                                                                       \
		FIND(name);                                                                                            \
		rc = real_##name args;                                                                                 \
		if (rc == 0)                                                                                           \
			count(-1);                                                                                     \
		return rc;                                                                                             \
	}
DROPPING(X)
#undef X

static __typeof__(&flockfile) real_flockfile;
static __typeof__(&funlockfile) real_funlockfile;

__attribute__((visibility("default"))) void flockfile(FILE *f)
{
	FIND(flockfile);
	real_flockfile(f);
	count(1);
}

__attribute__((visibility("default"))) void funlockfile(FILE *f)
{
	FIND(funlockfile);
	real_funlockfile(f);
	count(-1);
}

/* All of them while there is one thread: dlsym() is not for others (see the head of daemon.h). */
__attribute__((constructor)) static void find_all(void)
{
#define X(type, name, params, args) FIND(name);
	TAKING(X)
	DROPPING(X)
#undef X
	FIND(flockfile);
	FIND(funlockfile);
}
#endif
