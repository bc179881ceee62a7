/* out.c - text to a descriptor, async-signal-safe, that never waits for its reader for ever.
 *
 * Whoever writes a crash report to stderr must reckon with a full pipe that nobody reads.  So each write
 * is preceded by poll(), all polls together may take `patience`, and the write itself does not block: a
 * socket is written with MSG_DONTWAIT, a pipe through a second, non-blocking opening of it (O_NONBLOCK
 * on the given descriptor would change it for everybody who shares it).  Elsewhere - files, terminals,
 * a pipe that belongs to another user - writability as poll() told it has to do: writes are smaller than
 * what a pipe takes as one. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "out.h"
#include "rt.h"
#include "sys.h"

_Static_assert(sizeof((struct rt_out *)0)->buf <= PIPE_BUF, "poll() promises room for PIPE_BUF");

/* A further opening of the pipe behind fd, or -1. */
RT_NOSAN static int reopen(int fd)
{
	char path[32] = "/proc/self/fd/", digits[12];
	int at = 14, n = 0;

	do
		digits[n++] = (char)('0' + fd % 10);
	while (fd /= 10);
	while (n)
		path[at++] = digits[--n];
	path[at] = 0;
	return rt_sys_open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

RT_NOSAN void rt_out_begin(struct rt_out *o, int fd, int64_t patience)
{
	struct stat st;

	o->fd = fd;
	o->opened = -1;
	o->kind = RT_OUT_PLAIN;
	o->patience = patience;
	o->dead = false;
	o->n = 0;
	if (rt_syscall(SYS_fstat, fd, (long)&st, 0, 0, 0, 0) < 0) {
		o->dead = true;
	} else if (S_ISSOCK(st.st_mode)) {
		o->kind = RT_OUT_SOCKET;
	} else if (S_ISFIFO(st.st_mode)) {
		o->kind = RT_OUT_PIPE;
		o->opened = reopen(fd);
		if (o->opened >= 0)
			o->fd = o->opened;
		else
			o->opened = -1;
	}
}

/* Until it can be written; false: patience is at an end, or nobody can read. */
RT_NOSAN static bool wait_writable(struct rt_out *o)
{
	struct pollfd p = { .fd = o->fd, .events = POLLOUT };
	struct timespec limit;
	int64_t before = rt_now();
	long rc;

	do {
		if (o->patience <= 0)
			return false;
		limit = (struct timespec){ .tv_sec = o->patience / WEFT_SEC, .tv_nsec = o->patience % WEFT_SEC };
		rc = rt_syscall(SYS_ppoll, (long)&p, 1, (long)&limit, 0, 0, 0);
		o->patience -= rt_now() - before;
		before = rt_now();
	} while (rc == -EINTR);
	return rc > 0 && (p.revents & (POLLOUT | POLLERR | POLLHUP | POLLNVAL)) == POLLOUT; /* else SIGPIPE */
}

RT_NOSAN void rt_out_flush(struct rt_out *o)
{
	size_t done = 0;
	long n;

	while (done < o->n && !o->dead) {
		if (!wait_writable(o)) {
			o->dead = true;
			break;
		}
		if (o->kind == RT_OUT_SOCKET)
			n = rt_syscall(SYS_sendto, o->fd, (long)(o->buf + done), (long)(o->n - done),
				       MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
		else
			n = rt_sys_write(o->fd, o->buf + done, o->n - done);
		if (n > 0)
			done += (size_t)n;
		else if (n != -EAGAIN && n != -EINTR)
			o->dead = true;
	}
	o->n = 0;
}

RT_NOSAN void rt_out_end(struct rt_out *o)
{
	rt_out_flush(o);
	if (o->opened >= 0)
		(void)rt_sys_close(o->opened);
}

RT_NOSAN void rt_out_strn(struct rt_out *o, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (o->n == sizeof o->buf)
			rt_out_flush(o);
		o->buf[o->n++] = s[i];
	}
}

RT_NOSAN void rt_out_str(struct rt_out *o, const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	rt_out_strn(o, s, n);
}

RT_NOSAN void rt_out_u64(struct rt_out *o, uint64_t v)
{
	char digits[20];
	size_t at = sizeof digits;

	do
		digits[--at] = (char)('0' + v % 10);
	while (v /= 10);
	rt_out_strn(o, digits + at, sizeof digits - at);
}

RT_NOSAN void rt_out_hex(struct rt_out *o, uint64_t v)
{
	char digits[18];
	size_t at = sizeof digits;

	do
		digits[--at] = "0123456789abcdef"[v % 16];
	while (v /= 16);
	digits[--at] = 'x';
	digits[--at] = '0';
	rt_out_strn(o, digits + at, sizeof digits - at);
}
