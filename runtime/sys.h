/* sys.h - system calls without errno: they return -Exxx.  Async-signal-safe. */
#ifndef WEFT_RT_SYS_H
#define WEFT_RT_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

#include "base.h"

long rt_syscall(long nr, long a, long b, long c, long d, long e, long f); /* switch_*.S */

RT_INLINE int rt_futex_wait(_Atomic uint32_t *word, uint32_t expect, const struct timespec *until)
{
	/* FUTEX_WAIT_BITSET | FUTEX_PRIVATE: an absolute CLOCK_MONOTONIC limit */
	return (int)rt_syscall(SYS_futex, (long)word, 9 | 128, expect, (long)until, 0, 0xffffffffL);
}
RT_INLINE int rt_futex_wake(_Atomic uint32_t *word, int n)
{
	return (int)rt_syscall(SYS_futex, (long)word, 1 | 128, n, 0, 0, 0);
}
RT_INLINE int rt_tid(void)
{
	return (int)rt_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);
}
RT_INLINE int rt_pid(void)
{
	return (int)rt_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0);
}
RT_INLINE int rt_tgkill(int tid, int sig)
{
	return (int)rt_syscall(SYS_tgkill, rt_pid(), tid, sig, 0, 0, 0);
}
RT_INLINE long rt_sys_write(int fd, const void *b, size_t n)
{
	return rt_syscall(SYS_write, fd, (long)b, (long)n, 0, 0, 0);
}
RT_INLINE long rt_sys_read(int fd, void *b, size_t n)
{
	return rt_syscall(SYS_read, fd, (long)b, (long)n, 0, 0, 0);
}
RT_INLINE int rt_sys_open(const char *path, int flags)
{
	return (int)rt_syscall(SYS_openat, -100 /* AT_FDCWD */, (long)path, flags, 0, 0, 0);
}
RT_INLINE int rt_sys_close(int fd)
{
	return (int)rt_syscall(SYS_close, fd, 0, 0, 0, 0, 0);
}
/* Zeroed private memory, NORESERVE; NULL: none. */
void *rt_map(size_t bytes);
void *rt_remap(void *old, size_t old_bytes, size_t bytes);
void rt_unmap(void *p, size_t bytes);

#endif
