/* net_io.c - reading and writing: system calls that do not wait, and what to do when they would have to.
 *
 * A descriptor of weft's is a socket: it is asked with MSG_DONTWAIT, and -EAGAIN means waiting for an edge (net.h).
 * Any other is looked at first (fstat): a socket is asked in the same way, something that can be polled is polled
 * before it is read unless it is non-blocking anyway, and a regular file is read and written in a blocking section
 * (block.c), unless what is wanted lies in memory.
 *
 * A read of a TCP socket that gave less than there was room for has emptied it.  So the next one waits without
 * asking, as long as no edge has come: what follows on the network does come with one.  Not so after a hang-up or
 * urgent data (`keep`), which cut a read short as well.
 *
 * Nothing here waits between a system call that did something and the return. */
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "net.h"
#include "sanity.h"
#include "sys.h"

#define PIPE_BUF_LEAST 4096 /* what a pipe that polls writable takes without blocking */
#define IOV_MOST 1024

#ifdef RT_TSAN
char sane_network;
#endif

struct io {
	enum rt_fd_dir dir;
	struct rt_call socket; /* nr 0: there is no form of it that never blocks */
	struct rt_call file;
	size_t want; /* less than this is all there was; 0: says nothing */
};

/* --- Weft's own descriptors -------------------------------------------------------------------------------- */

static bool emptied(const struct rt_fd *f, uint32_t seq)
{
	return ld(&f->dir[RT_FD_IN].dry) == seq && f->tcp && !ld(&f->keep);
}

static long io_ours(struct m **m, struct rt_fd *f, int fd, uint32_t gen, const struct io *io)
{
	for (;;) {
		uint32_t seq[2] = { 0 };
		long n = rt_fd_enter(f, fd, gen, io->dir);

		if (unlikely(n < 0))
			return n;
		seq[io->dir] = ld_acq(&f->dir[io->dir].seq); /* pairs with on_event() */
		if (io->want && emptied(f, seq[RT_FD_IN]))
			n = -EAGAIN;
		else
			n = rt_call_now(&io->socket);
		rt_fd_leave(f, fd);
		if (io->want && (n == -EAGAIN || (n > 0 && n < (long)io->want)))
			st(&f->dir[RT_FD_IN].dry, seq[RT_FD_IN]);
		if (n == -EINTR)
			continue;
		if (n != -EAGAIN)
			return n;
		n = rt_fd_wait(m, f, gen, RT_FD_BIT(io->dir), seq);
		if (n < 0)
			return n;
	}
}

/* --- Descriptors from elsewhere ------------------------------------------------------------------------------ */

enum kind {
	KIND_SOCKET,
	KIND_STREAM, /* a pipe, terminal, event descriptor: can be polled, probably */
	KIND_FILE,
};

static int kind_of(int fd)
{
	struct stat st;
	long rc = rt_syscall(SYS_fstat, fd, (long)&st, 0, 0, 0, 0);

	if (rc < 0)
		return (int)rc;
	if (S_ISSOCK(st.st_mode))
		return KIND_SOCKET;
	return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode) ? KIND_FILE : KIND_STREAM;
}

static bool is_blocking(int fd)
{
	long flags = rt_syscall(SYS_fcntl, fd, F_GETFL, 0, 0, 0, 0);

	return flags >= 0 && !(flags & O_NONBLOCK);
}

int rt_fd_poll(int fd, unsigned events)
{
	struct pollfd p = { .fd = fd, .events = (short)events };
	long rc;

	do { /* a signal ends it although it does not wait */
		rc = rt_syscall(SYS_ppoll, (long)&p, 1, (long)&(struct timespec){ 0 }, 0, 0, 0);
	} while (rc == -EINTR);
	if (rc < 0)
		return (int)rc;
	return p.revents & POLLNVAL ? -EBADF : p.revents;
}

/* A blocking descriptor is only asked when it will not block: others at it may still take what it had. */
static long call_polled(const struct io *io, int fd, bool blocking)
{
	struct rt_call call = io->file;
	int ready = 1;

	if (!blocking)
		return rt_call_now(&call);
	ready = rt_fd_poll(fd, io->dir == RT_FD_IN ? POLLIN : POLLOUT);
	if (ready <= 0)
		return ready < 0 ? ready : -EAGAIN;
	if (call.nr == SYS_write && call.arg[2] > PIPE_BUF_LEAST)
		call.arg[2] = PIPE_BUF_LEAST;
	return rt_call_now(&call);
}

/* In a blocking section; nobody calls it off.  lasting: it will take long.  In a frame of its own, which lasts as
 * long as the section. */
static RT_NOINLINE long call_blocking(struct m **m, const struct rt_call *call, bool lasting)
{
	long n;

	if (!*m)
		return rt_call_now(call);
	*m = rt_section_begin(*m, __builtin_frame_address(0), (uintptr_t)__builtin_dwarf_cfa(), lasting);
	do {
		n = rt_call_now(call);
	} while (n == -EINTR);
	*m = rt_section_leave(*m);
	return n;
}

static long io_file(struct m **m, const struct io *io)
{
	struct rt_call call = io->file;
	bool lasting = false;

	if (call.nr == SYS_read || call.nr == SYS_readv) {
		struct iovec part = { (void *)call.arg[1], (size_t)call.arg[2] };
		bool vector = call.nr == SYS_readv;
		long n = rt_syscall(SYS_preadv2, call.arg[0], vector ? call.arg[1] : (long)&part,
				    vector ? call.arg[2] : 1, -1, -1, RWF_NOWAIT);

		if (n >= 0)
			return n;
		lasting = n == -EAGAIN; /* the disk is to be waited for */
	}
	return call_blocking(m, &call, lasting);
}

static long io_foreign(struct m **m, int fd, const struct io *io)
{
	int kind = kind_of(fd), rc;
	bool blocking;
	long n;

	if (kind < 0)
		return kind;
	if (kind == KIND_FILE)
		return io_file(m, io);
	blocking = !(kind == KIND_SOCKET && io->socket.nr) && is_blocking(fd);
	for (;;) {
		if (kind == KIND_SOCKET && io->socket.nr)
			n = rt_call_now(&io->socket);
		else
			n = call_polled(io, fd, blocking);
		if (n == -EINTR)
			continue;
		if (n != -EAGAIN)
			return n;
		rc = rt_fd_wait_once(m, fd, RT_FD_BIT(io->dir));
		if (rc == -EPERM) /* cannot be polled: some devices */
			return call_blocking(m, &io->file, false);
		if (rc < 0)
			return rc;
	}
}

static long perform(struct m **m, int fd, const struct io *io)
{
	uint32_t gen;
	struct rt_fd *f = rt_fd_ours(fd, &gen);
	long n;

	if (io->dir == RT_FD_OUT)
		sane_sent();
	n = f ? io_ours(m, f, fd, gen, io) : io_foreign(m, fd, io);
	if (io->dir == RT_FD_IN)
		sane_received();
	return n;
}

long rt_accept4(struct m **m, int fd, struct sockaddr *sa, socklen_t *len)
{
	struct rt_call call = { SYS_accept4, { fd, (long)sa, (long)len, SOCK_CLOEXEC | SOCK_NONBLOCK } };
	uint32_t gen;

	if (rt_fd_ours(fd, &gen))
		return perform(m, fd, &(struct io){ RT_FD_IN, call, call, 0 });
	return perform(m, fd, &(struct io){ .dir = RT_FD_IN, .file = call });
}

/* --- The calls -------------------------------------------------------------------------------------------------- */

/* In and out of the runtime. */
static ssize_t io_call(int fd, const struct io *what)
{
	struct m *m = rt_enter(rt_self());
	long n = perform(&m, fd, what);

	if (m)
		rt_leave(m);
	return n;
}

ssize_t weft_read(int fd, void *buf, size_t n)
{
	return io_call(fd, &(struct io){ RT_FD_IN,
					 { SYS_recvfrom, { fd, (long)buf, (long)n, MSG_DONTWAIT } },
					 { SYS_read, { fd, (long)buf, (long)n } },
					 n });
}

ssize_t weft_readv(int fd, const struct iovec *iov, int n)
{
	struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n };

	if (n < 0 || n > IOV_MOST)
		return -EINVAL;
	return io_call(fd, &(struct io){ RT_FD_IN,
					 { SYS_recvmsg, { fd, (long)&msg, MSG_DONTWAIT } },
					 { SYS_readv, { fd, (long)iov, n } },
					 0 });
}

ssize_t weft_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *from, socklen_t *len)
{
	struct rt_call call = { SYS_recvfrom, { fd, (long)buf, (long)n, flags | MSG_DONTWAIT, (long)from, (long)len } };

	return io_call(fd, &(struct io){ RT_FD_IN, call, call, 0 });
}

ssize_t weft_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *to, socklen_t len)
{
	struct rt_call call = { SYS_sendto,
				{ fd, (long)buf, (long)n, flags | MSG_DONTWAIT | MSG_NOSIGNAL, (long)to, len } };

	return io_call(fd, &(struct io){ RT_FD_OUT, call, call, 0 });
}

ssize_t weft_write(int fd, const void *buf, size_t n)
{
	struct m *m = rt_enter(rt_self());
	size_t done = 0;
	long rc;

	do {
		const char *at = (const char *)buf + done;
		long left = (long)(n - done);

		rc = perform(&m, fd,
			     &(struct io){ RT_FD_OUT,
					   { SYS_sendto, { fd, (long)at, left, MSG_DONTWAIT | MSG_NOSIGNAL } },
					   { SYS_write, { fd, (long)at, left } },
					   0 });
		done += rc > 0 ? (size_t)rc : 0;
	} while (rc > 0 && done < n);
	if (m)
		rt_leave(m);
	return rc < 0 && !done ? rc : (ssize_t)done;
}

/* From part i of iov on, `skip` bytes of which are written already: one system call. */
static long write_parts(struct m **m, int fd, const struct iovec *iov, int n, size_t skip)
{
	struct iovec some[16];
	int k = n < 16 ? n : 16;
	struct msghdr msg = { .msg_iov = some, .msg_iovlen = (size_t)k };
	struct io one = { RT_FD_OUT,
			  { SYS_sendmsg, { fd, (long)&msg, MSG_DONTWAIT | MSG_NOSIGNAL } },
			  { SYS_writev, { fd, (long)some, k } },
			  0 };
	uint32_t gen;

	for (int i = 0; i < k; i++)
		some[i] = iov[i];
	some[0].iov_base = (char *)some[0].iov_base + skip;
	some[0].iov_len -= skip;
	/* Where writing may block the length must be ours to choose. */
	if (!rt_fd_ours(fd, &gen) && kind_of(fd) == KIND_STREAM)
		one.file = (struct rt_call){ SYS_write, { fd, (long)some[0].iov_base, (long)some[0].iov_len } };
	return perform(m, fd, &one);
}

ssize_t weft_writev(int fd, const struct iovec *iov, int n)
{
	struct m *m;
	size_t skip = 0;
	ssize_t done = 0;
	long rc = 0;

	if (n < 0 || n > IOV_MOST)
		return -EINVAL;
	m = rt_enter(rt_self());
	for (int i = 0; i < n;) {
		if (skip == iov[i].iov_len) {
			skip = 0;
			i++;
			continue;
		}
		rc = write_parts(&m, fd, iov + i, n - i, skip);
		if (rc <= 0)
			break;
		done += rc;
		for (skip += (size_t)rc; i < n && skip >= iov[i].iov_len; i++)
			skip -= iov[i].iov_len;
	}
	if (m)
		rt_leave(m);
	return rc < 0 && !done ? rc : done;
}

/* Reading the file may block: in a section.  Then room in the socket is waited for here. */
static long send_some(struct m **m, int out, const struct rt_call *call)
{
	uint32_t gen, seq[2] = { 0 };
	struct rt_fd *f = rt_fd_ours(out, &gen);
	long n;

	for (;;) {
		if (f) {
			n = rt_fd_enter(f, out, gen, RT_FD_OUT);
			if (n < 0)
				return n;
			seq[RT_FD_OUT] = ld_acq(&f->dir[RT_FD_OUT].seq); /* pairs with on_event() */
		}
		n = call_blocking(m, call, false);
		if (f)
			rt_fd_leave(f, out);
		if (n != -EAGAIN)
			return n;
		n = f ? rt_fd_wait(m, f, gen, RT_FD_BIT(RT_FD_OUT), seq)
		      : rt_fd_wait_once(m, out, RT_FD_BIT(RT_FD_OUT));
		if (n < 0)
			return n;
	}
}

ssize_t weft_sendfile(int out, int in, off_t *offset, size_t n)
{
	struct m *m = rt_enter(rt_self());
	size_t done = 0;
	long rc;

	sane_sent();
	do {
		struct rt_call call = { SYS_sendfile, { out, in, (long)offset, (long)(n - done) } };

		rc = send_some(&m, out, &call);
		done += rc > 0 ? (size_t)rc : 0;
	} while (rc > 0 && done < n);
	if (m)
		rt_leave(m);
	return rc < 0 && !done ? rc : (ssize_t)done;
}
