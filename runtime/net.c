/* net.c - making connections, and what else is done to descriptors: listen, dial, accept, wait, deadline, close.
 *
 * Every socket made here is close-on-exec, non-blocking and registered with the poller (netpoll.c); whoever fails to
 * register it closes it.  A connecting socket is registered once it connects: before, the kernel would tell of a
 * hang-up that means nothing. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include "net.h"
#include "sys.h"

#define BACKLOG 4096 /* the kernel takes less where net.core.somaxconn says so */
#define ALONE (10 * WEFT_SEC)

int64_t rt_dial_least_ns = 2 * WEFT_SEC;

static int set_option(int fd, int level, int name)
{
	int one = 1;

	return (int)rt_syscall(SYS_setsockopt, fd, level, name, (long)&one, sizeof one, 0);
}

static bool is_inet(int family)
{
	return family == AF_INET || family == AF_INET6;
}

/* A socket for address i. */
static int new_socket(const struct rt_addrs *as, int i, bool *tcp)
{
	int family = as->a[i].sa.sa_family;
	long fd = rt_syscall(SYS_socket, family, as->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, 0, 0, 0);

	*tcp = is_inet(family) && as->type == SOCK_STREAM;
	if (fd >= 0 && *tcp) /* connections inherit it */
		(void)set_option((int)fd, IPPROTO_TCP, TCP_NODELAY);
	return (int)fd;
}

/* fd, or the error, and then it is closed. */
static int keep_or_close(int fd, int rc)
{
	if (rc >= 0)
		return fd;
	(void)rt_sys_close(fd);
	return rc;
}

/* --- Listening ---------------------------------------------------------------------------------------------- */

static int listen_at(const struct rt_addrs *as, int i)
{
	bool tcp;
	int fd = new_socket(as, i, &tcp);
	long rc = 0;

	if (fd < 0)
		return fd;
	if (tcp)
		rc = set_option(fd, SOL_SOCKET, SO_REUSEADDR);
	if (rc == 0)
		rc = rt_syscall(SYS_bind, fd, (long)&as->a[i].sa, as->a[i].len, 0, 0, 0);
	if (rc == 0 && as->type != SOCK_DGRAM)
		rc = rt_syscall(SYS_listen, fd, BACKLOG, 0, 0, 0, 0);
	if (rc == 0)
		rc = rt_fd_open(fd, tcp);
	return keep_or_close(fd, (int)rc);
}

int weft_listen(const char *net, const char *addr)
{
	struct m *m = rt_enter(rt_self());
	struct rt_addrs as;
	int rc = rt_addr_find(&m, net, addr, true, &as);

	for (int i = 0; rc >= 0 && i < as.n; i++) {
		rc = listen_at(&as, i);
		if (rc >= 0)
			break;
		if (i + 1 < as.n)
			rc = 0; /* the next one may do */
	}
	if (m)
		rt_leave(m);
	return rc;
}

/* --- Dialling ------------------------------------------------------------------------------------------------- */

/* Until when is one address tried of `left`?  The last as long as the caller waits; the others for their share of the
 * time that his context leaves, as Go has it; without a deadline for less than the kernel would, which is two
 * minutes.  0: no limit. */
static int64_t attempt_until(const struct m *m, int left)
{
	int64_t deadline = m ? ld(&ld(&m->cur)->ctx)->deadline : WEFT_FOREVER, now = rt_now(), share;

	if (left == 1)
		return 0;
	if (deadline == WEFT_FOREVER)
		return now + ALONE;
	share = (deadline - now) / left;
	return now + (share > rt_dial_least_ns ? share : rt_dial_least_ns);
}

/* The socket is connecting: how does that end? */
static int await_connected(struct m **m, int fd, int64_t until)
{
	uint32_t gen, seq[2] = { 0 };
	struct rt_fd *f = rt_fd_ours(fd, &gen);
	socklen_t len = sizeof(int);
	int rc, error = 0;

	if (!f)
		return -EBADF;
	if (until)
		rt_fd_deadline(f, RT_FD_BIT(RT_FD_OUT), until);
	for (;;) {
		seq[RT_FD_OUT] = ld_acq(&f->dir[RT_FD_OUT].seq); /* pairs with on_event() */
		rc = rt_fd_poll(fd, POLLOUT);
		if (rc < 0)
			return rc;
		if (rc > 0)
			break;
		rc = rt_fd_wait(m, f, gen, RT_FD_BIT(RT_FD_OUT), seq);
		if (rc < 0)
			return rc;
	}
	if (until)
		rt_fd_deadline(f, RT_FD_BIT(RT_FD_OUT), 0);
	rc = (int)rt_syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, (long)&error, (long)&len, 0);
	return rc < 0 ? rc : -error;
}

static int dial_at(struct m **m, const struct rt_addrs *as, int i)
{
	bool tcp;
	int fd = new_socket(as, i, &tcp), rc;
	long connected;

	if (fd < 0)
		return fd;
	connected = rt_syscall(SYS_connect, fd, (long)&as->a[i].sa, as->a[i].len, 0, 0, 0);
	if (connected < 0 && connected != -EINPROGRESS)
		return keep_or_close(fd, (int)connected);
	rc = rt_fd_open(fd, tcp);
	if (rc < 0)
		return keep_or_close(fd, rc);
	if (connected < 0)
		rc = await_connected(m, fd, attempt_until(*m, as->n - i));
	if (rc < 0)
		(void)rt_fd_close(fd);
	return rc < 0 ? rc : fd;
}

int rt_dial(struct m **m, const struct rt_addrs *as)
{
	int rc = -ENOENT;

	for (int i = 0; i < as->n; i++) {
		rc = dial_at(m, as, i);
		if (rc >= 0 || (*m && rt_ctx_err(ld(&ld(&(*m)->cur)->ctx))))
			break; /* else the next one may do */
	}
	return rc;
}

int weft_dial(const char *net, const char *addr)
{
	struct m *m = rt_enter(rt_self());
	struct rt_addrs as;
	int rc = rt_addr_find(&m, net, addr, false, &as);

	if (rc >= 0)
		rc = rt_dial(&m, &as);
	if (m)
		rt_leave(m);
	return rc;
}

/* --- Accepting ------------------------------------------------------------------------------------------------- */

/* Errors of a connection that was over before it was accepted. */
static bool went_away(long rc)
{
	return rc == -ECONNABORTED || rc == -EPROTO || rc == -ENOPROTOOPT || rc == -ENETDOWN || rc == -EHOSTDOWN ||
	       rc == -ENONET || rc == -EHOSTUNREACH || rc == -ENETUNREACH || rc == -EPERM;
}

static bool is_tcp(int fd)
{
	uint32_t gen;
	const struct rt_fd *f = rt_fd_ours(fd, &gen);
	int protocol = 0;
	socklen_t len = sizeof protocol;

	if (f)
		return f->tcp;
	return rt_syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_PROTOCOL, (long)&protocol, (long)&len, 0) == 0 &&
	       protocol == IPPROTO_TCP;
}

int weft_accept(int fd, struct sockaddr *sa, socklen_t *len)
{
	struct m *m = rt_enter(rt_self());
	long rc;

	do {
		rc = rt_accept4(&m, fd, sa, len);
	} while (went_away(rc));
	if (rc >= 0)
		rc = keep_or_close((int)rc, rt_fd_open((int)rc, is_tcp(fd)));
	if (m)
		rt_leave(m);
	return (int)rc;
}

/* --- Waiting, deadlines, closing -------------------------------------------------------------------------------- */

static int wait_ready(struct m **m, int fd, unsigned events)
{
	unsigned dirs = (events & POLLIN ? RT_FD_BIT(RT_FD_IN) : 0) | (events & POLLOUT ? RT_FD_BIT(RT_FD_OUT) : 0);
	uint32_t gen, seq[2];
	struct rt_fd *f = rt_fd_ours(fd, &gen);
	int rc;

	for (;;) {
		for (int d = 0; f && d < 2; d++) {
			if (!(dirs & RT_FD_BIT(d)))
				continue;
			rc = rt_fd_enter(f, fd, gen, (enum rt_fd_dir)d); /* is it still there, and in time? */
			if (rc < 0)
				return rc;
			seq[d] = ld_acq(&f->dir[d].seq); /* pairs with on_event() */
			rt_fd_leave(f, fd);
		}
		rc = rt_fd_poll(fd, events);
		if (rc != 0)
			return rc;
		rc = f ? rt_fd_wait(m, f, gen, dirs, seq) : rt_fd_wait_once(m, fd, dirs);
		if (rc < 0)
			return rc;
	}
}

int weft_wait_fd(int fd, unsigned events)
{
	struct m *m;
	int rc;

	if (!events || events & ~(unsigned)(POLLIN | POLLOUT))
		return -EINVAL;
	m = rt_enter(rt_self());
	rc = wait_ready(&m, fd, events);
	if (m)
		rt_leave(m);
	return rc;
}

int weft_set_deadline(int fd, unsigned events, int64_t when)
{
	uint32_t gen;
	struct rt_fd *f = rt_fd_ours(fd, &gen);

	if (!f || !events || events & ~(unsigned)(POLLIN | POLLOUT))
		return -EINVAL;
	rt_fd_deadline(f, (events & POLLIN ? RT_FD_BIT(RT_FD_IN) : 0) | (events & POLLOUT ? RT_FD_BIT(RT_FD_OUT) : 0),
		       when == WEFT_FOREVER ? 0 : when);
	return 0;
}

int weft_close(int fd)
{
	return rt_fd_close(fd);
}
