/* interpose_fd.c - close(), dup2(), dup3() and close_range() of everybody in the process.
 *
 * A plugin or a library may close a descriptor that the poller knows, or put another file under its number, without
 * weft_close(): its registration has to go first, and who waits for it has to be told, or the next owner of the
 * number would wait for ever.  Of a number that the poller does not know these cost two loads.
 *
 * Not seen: what libc does inside (fclose(), closefrom()), and plugins that bring their own system calls.  Not in
 * builds with a sanitizer, which has its own versions.  A child after fork() or vfork() may call them: it has its own
 * descriptors, and must leave the parent's records alone. */
#include <fcntl.h>
#include <unistd.h>

#include "net.h"
#include "sys.h"

#if !defined(RT_ASAN) && !defined(RT_TSAN)

#define EXPORTED __attribute__((visibility("default")))

int __close(int fd); /* libc's own, a point of cancellation */
int *__errno_location(void) __attribute__((const));

static int result(long rc)
{
	if (rc >= 0)
		return (int)rc;
	*__errno_location() = (int)-rc;
	return -1;
}

static void forget(int fd)
{
	struct rt_fd *f = rt_fd_find(fd);

	if (unlikely(f && rt_fd_known(f)) && rt_pid() == ld(&rt_fd_owner))
		rt_fd_gone(f, fd);
}

EXPORTED int close(int fd)
{
	forget(fd);
	return __close(fd);
}

/* As dup3(), which refuses to do nothing. */
static int dup_to(int from, int to, int flags)
{
	if (from != to && rt_syscall(SYS_fcntl, from, F_GETFD, 0, 0, 0, 0) >= 0)
		forget(to);
	return result(rt_syscall(SYS_dup3, from, to, flags, 0, 0, 0));
}

EXPORTED int dup2(int from, int to)
{
	if (from == to)
		return result(rt_syscall(SYS_fcntl, from, F_GETFD, 0, 0, 0, 0) < 0 ? -EBADF : to);
	return dup_to(from, to, 0);
}

EXPORTED int dup3(int from, int to, int flags)
{
	return dup_to(from, to, flags);
}

EXPORTED int close_range(unsigned first, unsigned last, int flags)
{
	if (first <= last && !(flags & CLOSE_RANGE_CLOEXEC))
		for (unsigned fd = first; fd <= last && fd < RT_FDS; fd++) {
			if (rt_fd_find((int)fd))
				forget((int)fd);
			else
				fd |= RT_FDS_CHUNK - 1; /* none of this chunk */
		}
	return result(rt_syscall(SYS_close_range, first, last, flags, 0, 0, 0));
}

#endif
