/* net.h - descriptors: the record behind each number, and what netpoll.c offers to the calls in net.c and net_io.c.
 *
 * A record belongs to a descriptor's number, not to what is open there.  Records are never freed; `gen` changes
 * whenever weft opens or somebody closes that number, and names what was meant in the poller's events and in waits.
 *
 * Edges.  The poller learns only of changes.  Each change adds one to the direction's `seq`; who wants to wait has
 * read seq before its system call said that it would have to, and waits only while seq is still that:
 *
 *	reader				poller
 *	s = seq				(data arrive)
 *	system call: -EAGAIN		lock
 *	lock				seq++, take the waiters
 *	seq == s?  wait (unlocks)	unlock
 *	else try again			make them runnable
 *
 * Either the system call saw the data, or seq has changed.  An edge wakes everybody who waits in its direction: one
 * edge may stand for many connections, and whoever took the first might not come back for the next. */
#ifndef WEFT_RT_NET_H
#define WEFT_RT_NET_H

#include "rt.h"
#include "sys.h"

enum rt_fd_dir { RT_FD_IN, RT_FD_OUT };
#define RT_FD_BIT(dir) (1u << (dir))

/* One direction that a goroutine waits for, on its stack. */
struct rt_fd_waiter {
	struct rt_fd_waiter *next;
	struct g *g;
	uint64_t number;
	_Atomic bool linked; /* written under the record's lock */
};

/* Bits of rt_fd.use */
#define RT_FD_OURS 1u    /* weft opened it; it is registered for all edges */
#define RT_FD_CLOSING 2u /* weft_close() was called: who leaves last closes it */
#define RT_FD_USER 4u    /* one who is in a system call on it */

struct rt_fd {
	RT_CACHED struct rt_lock lock;
	_Atomic uint32_t use;
	_Atomic uint32_t gen; /* under lock; read by anybody */
	_Atomic bool armed;   /* under lock, read as a hint: not ours, but registered for one event */
	uint16_t tcp : 1;     /* constant while ours, as is */
	uint16_t owner : 15;  /* the number of the instance that it is closed with; 0: none */
	_Atomic bool keep;    /* the peer hung up or sent urgent data: a short read does not mean empty */
	struct {
		_Atomic uint32_t seq;       /* edges so far: under lock; read by anybody */
		_Atomic uint32_t dry;       /* the seq at which the kernel had no more: any reader; a hint */
		_Atomic int64_t deadline;   /* monotonic; 0: none */
		struct rt_fd_waiter *first; /* under lock */
	} dir[2];
};

#define RT_FDS_CHUNK 1024u
#define RT_FDS (1024u * RT_FDS_CHUNK) /* larger numbers cannot be used */
extern _Atomic int rt_fd_owner;       /* the process whose descriptors these are */

/* The record of fd; NULL: never used (or not a descriptor's number). */
struct rt_fd *rt_fd_find(int fd);
/* Register fd, which weft has just opened.  0 or -Exxx; the caller closes it then. */
int rt_fd_open(int fd, bool tcp);
/* fd is about to be closed: who waits is woken with -EBADF.  By weft (later): the last user closes it. */
void rt_fd_gone(struct rt_fd *f, int fd);
int rt_fd_close(int fd);

/* Enter and leave a system call on f.  -EBADF: it is not what it was; -ETIMEDOUT: past the deadline. */
int rt_fd_enter(struct rt_fd *f, int fd, uint32_t gen, enum rt_fd_dir dir);
void rt_fd_leave(struct rt_fd *f, int fd);

/* From `when` on (0: never) calls in dirs end with -ETIMEDOUT, those that wait included. */
void rt_fd_deadline(struct rt_fd *f, unsigned dirs, int64_t when);

/* Wait for an edge in one of dirs after those in seq (by direction).  0: try again; -Exxx. */
int rt_fd_wait(struct m **m, struct rt_fd *f, uint32_t gen, unsigned dirs, const uint32_t seq[2]);
/* The same for a descriptor that is not ours: until it is ready.  -EPERM: it always is (a file). */
int rt_fd_wait_once(struct m **m, int fd, unsigned dirs);

/* Is the poller told of it? */
static inline bool rt_fd_known(const struct rt_fd *f)
{
	return ld(&f->use) & RT_FD_OURS || ld(&f->armed);
}

/* The record of fd if weft opened it; *gen names what is open there. */
static inline struct rt_fd *rt_fd_ours(int fd, uint32_t *gen)
{
	struct rt_fd *f = rt_fd_find(fd);

	if (!f)
		return NULL;
	*gen = ld_acq(&f->gen); /* pairs with the release in rt_fd_open() */
	return ld_acq(&f->use) & (RT_FD_OURS | RT_FD_CLOSING) ? f : NULL;
}

/* --- Calls (net_io.c) --- */

/* accept4(), close-on-exec and non-blocking; the new descriptor is not registered. */
long rt_accept4(struct m **m, int fd, struct sockaddr *sa, socklen_t *len);
/* What poll(2) says of fd now, without waiting. */
int rt_fd_poll(int fd, unsigned events);

struct rt_call {
	long nr, arg[6];
};

/* --- Helper threads (helper.c) --- */

/* A job that blocks a thread for long, and that its goroutine may leave behind. */
struct rt_job {
	struct rt_job *next;
	void (*run)(struct rt_job *job);
	void (*drop)(struct rt_job *job); /* nobody waits for it any more: free it */
	struct g *g;                      /* NULL: left behind */
	uint64_t goid, number;            /* of g and of its wait */
	bool done;
};
/* 0, or -ECANCELED: it is no longer the caller's.  -EAGAIN: no thread to be had. */
int rt_job_wait(struct m **m, struct rt_job *job, enum rt_wait reason);
void rt_helpers_stop(void);

static inline long rt_call_now(const struct rt_call *c)
{
	return rt_syscall(c->nr, c->arg[0], c->arg[1], c->arg[2], c->arg[3], c->arg[4], c->arg[5]);
}

/* --- Addresses (netaddr.c) --- */

#define RT_ADDRS_MAX 8
struct rt_addrs {
	int n, type; /* SOCK_xxx */
	struct {
		socklen_t len;
		union {
			struct sockaddr sa;
			char room[112]; /* the longest: a Unix socket's path */
		};
	} a[RT_ADDRS_MAX];
};
/* The addresses that net and addr name.  0 or -Exxx as weft_listen(). */
int rt_addr_find(struct m **m, const char *net, const char *addr, bool passive, struct rt_addrs *out);

/* --- Dialling (net.c) --- */

/* Connect to the first of as that can be had.  A descriptor, or -Exxx of the last. */
int rt_dial(struct m **m, const struct rt_addrs *as);
extern int64_t rt_dial_least_ns; /* what an address that is not the last gets at least; tests shorten it */

#endif
