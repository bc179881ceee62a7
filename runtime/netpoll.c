/* netpoll.c - who waits for which descriptor, and who asks the kernel.
 *
 * A descriptor that weft opens is registered once, edge-triggered, for all it can say; what a change means stands in
 * net.h.  One that weft did not open is registered anew for each wait, for one event: whoever closed it meanwhile
 * without our knowing, the kernel then looks at what is open there now.
 *
 * Who asks: a worker that runs dry, before it steals, and each millisecond one that does not; the last resort is the
 * poller, an idle M that sleeps in epoll_pwait2() where others sleep on their note (idle.c), so that a daemon whose
 * connections are all idle uses no CPU; and sysmon, where none of them has for a while.  `busy` lets one at a time
 * ask without waiting: the others would only queue up in the kernel.  Nobody asks before a descriptor is used.
 *
 * A record's lock is taken by who waits on it, who closes it and the poller; nothing is locked under it. */
#include "netpoll.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "net.h"
#include "sys.h"

#define CHUNK RT_FDS_CHUNK
#define CHUNKS (RT_FDS / CHUNK)
#define IN_EVENTS (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)
#define OUT_EVENTS (EPOLLOUT | EPOLLHUP | EPOLLERR)
#define WAKE_UP UINT64_MAX /* the data of the eventfd */

_Static_assert(sizeof(struct epoll_event) == sizeof(struct rt_net_event), "the kernel's own layout");

struct rt_net rt_net = { .ep = -1, .wake = -1 };
_Atomic int rt_fd_owner;

static struct rt_fd *_Atomic chunks[CHUNKS];
static struct rt_lock chunks_lock = RT_LOCK_INIT(LEAF);

/* --- Records ------------------------------------------------------------------------------------------ */

struct rt_fd *rt_fd_find(int fd)
{
	struct rt_fd *chunk;

	if (unlikely((unsigned)fd >= CHUNK * CHUNKS))
		return NULL;
	chunk = ld_acq(&chunks[(unsigned)fd / CHUNK]); /* pairs with the release in chunk_new() */
	return chunk ? &chunk[(unsigned)fd % CHUNK] : NULL;
}

static int chunk_new(unsigned at)
{
	struct rt_fd *chunk;

	rt_lock(&chunks_lock);
	chunk = ld(&chunks[at]);
	if (!chunk) {
		chunk = rt_map(CHUNK * sizeof *chunk);
		for (unsigned i = 0; RT_CHECKS && chunk && i < CHUNK; i++)
			rt_lock_init(&chunk[i].lock, RT_RANK_FD);
		st_rel(&chunks[at], chunk);
	}
	rt_unlock(&chunks_lock);
	return chunk ? 0 : -ENOMEM;
}

/* The record of fd, made if need be. */
static int record(int fd, struct rt_fd **f)
{
	if ((unsigned)fd >= CHUNK * CHUNKS)
		return fd < 0 ? -EBADF : -EMFILE;
	if (!rt_fd_find(fd) && chunk_new((unsigned)fd / CHUNK) < 0)
		return -ENOMEM;
	*f = rt_fd_find(fd);
	return 0;
}

static int control(int op, int fd, uint32_t gen, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.u64 = (uint64_t)gen << 32 | (unsigned)fd };

	return (int)rt_syscall(SYS_epoll_ctl, rt_net.ep, op, fd, (long)&ev, 0, 0);
}

/* The first descriptor there is: an M that sleeps already may have to be the poller. */
static void in_use(void)
{
	if (likely(ld(&rt_net.used)))
		return;
	st_sc(&rt_net.used, 1);
	rt_idle_m_poke();
}

int rt_fd_open(int fd, bool tcp)
{
	static const uint32_t events = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLOUT | EPOLLET;
	const struct weft_inst *inst = weft_instance_self();
	struct rt_fd *f;
	int rc = record(fd, &f);

	if (rc < 0)
		return rc;
	rt_lock(&f->lock);
	st(&f->armed, false);
	f->tcp = tcp;
	f->owner = inst ? (uint16_t)(inst->number & 0x7fff) : 0;
	st(&f->keep, false);
	for (int d = 0; d < 2; d++) {
		st(&f->dir[d].deadline, 0);
		st(&f->dir[d].dry, ld(&f->dir[d].seq) - 1);
	}
	st_rel(&f->gen, ld(&f->gen) + 1);
	rc = control(EPOLL_CTL_ADD, fd, ld(&f->gen), events);
	if (unlikely(rc == -EEXIST)) /* somebody waits for it already, by a number that he should have forgotten */
		rc = control(EPOLL_CTL_MOD, fd, ld(&f->gen), events);
	if (rc == 0)
		atomic_fetch_or_explicit(&f->use, RT_FD_OURS, memory_order_release); /* pairs with rt_fd_ours() */
	rt_unlock(&f->lock);
	in_use();
	return rc;
}

/* --- Waiters ---------------------------------------------------------------------------------------------- */

/* Take those who wait in dirs off f and win their waits; who was won is added to the list at *end.  Under lock. */
static struct g **take(struct rt_fd *f, unsigned dirs, struct g **end)
{
	for (int d = 0; d < 2; d++) {
		struct rt_fd_waiter *w, *next;

		if (!(dirs & RT_FD_BIT(d)))
			continue;
		for (w = f->dir[d].first; w; w = next) {
			next = w->next;
			if (rt_wait_win(w->g, w->number)) {
				*end = w->g;
				end = &w->g->next;
			}
			st_rel(&w->linked, false); /* pairs with forget(): the last look at *w */
		}
		f->dir[d].first = NULL;
	}
	*end = NULL;
	return end;
}

static uint32_t ready_all(struct m *m, struct g *g, int outcome, enum rt_how how)
{
	struct g *next;
	uint32_t n = 0;

	for (; g; g = next, n++) {
		next = g->next;
		rt_ready(m, g, outcome, n ? RT_READY_QUEUE : how);
	}
	return n;
}

static void forget(struct rt_fd *f, struct rt_fd_waiter w[2])
{
	if (!ld_acq(&w[0].linked) && !ld_acq(&w[1].linked)) /* pairs with the release in take() */
		return;
	rt_lock(&f->lock);
	for (int d = 0; d < 2; d++) {
		for (struct rt_fd_waiter **at = &f->dir[d].first; w[d].linked && *at; at = &(*at)->next) {
			if (*at == &w[d]) {
				*at = w[d].next;
				st(&w[d].linked, false);
				break;
			}
		}
	}
	rt_unlock(&f->lock);
}

/* Wait in dirs.  Under lock, which it drops. */
static int wait_in(struct m **m, struct rt_fd *f, unsigned dirs, int64_t until)
{
	struct g *g = *m ? ld(&(*m)->cur) : rt_foreign_g();
	struct rt_fd_waiter w[2] = { 0 };
	uint64_t number = rt_wait_open(g);
	int rc;

	for (int d = 0; d < 2; d++) {
		if (!(dirs & RT_FD_BIT(d)))
			continue;
		w[d].g = g;
		w[d].number = number;
		w[d].next = f->dir[d].first;
		st(&w[d].linked, true);
		f->dir[d].first = &w[d];
	}
	if (until)
		rc = rt_park_until(m, RT_WAIT_IO, &f->lock, until);
	else
		rc = rt_park(m, RT_WAIT_IO, &f->lock);
	forget(f, w);
	return rc;
}

int rt_fd_wait(struct m **m, struct rt_fd *f, uint32_t gen, unsigned dirs, const uint32_t seq[2])
{
	int64_t until = 0;

	rt_check_forked();
	rt_lock(&f->lock);
	if (ld(&f->gen) != gen) {
		rt_unlock(&f->lock);
		return -EBADF;
	}
	for (int d = 0; d < 2; d++) {
		int64_t deadline = ld(&f->dir[d].deadline);

		if (!(dirs & RT_FD_BIT(d)))
			continue;
		if (ld(&f->dir[d].seq) != seq[d]) {
			rt_unlock(&f->lock);
			return 0;
		}
		if (deadline && (!until || deadline < until))
			until = deadline;
	}
	return wait_in(m, f, dirs, until);
}

/* Register fd, which is not ours, for the next event in a direction that somebody waits for, or in dirs.  Under lock.
 */
static int arm(struct rt_fd *f, int fd, unsigned dirs)
{
	uint32_t events = EPOLLONESHOT;
	int rc = -ENOENT;

	if (f->dir[RT_FD_IN].first || dirs & RT_FD_BIT(RT_FD_IN))
		events |= EPOLLIN | EPOLLRDHUP;
	if (f->dir[RT_FD_OUT].first || dirs & RT_FD_BIT(RT_FD_OUT))
		events |= EPOLLOUT;
	if (ld(&f->armed))
		rc = control(EPOLL_CTL_MOD, fd, ld(&f->gen), events);
	if (rc == -ENOENT) /* closed and opened again meanwhile, or the first time */
		rc = control(EPOLL_CTL_ADD, fd, ld(&f->gen), events);
	st(&f->armed, rc == 0);
	return rc;
}

int rt_fd_wait_once(struct m **m, int fd, unsigned dirs)
{
	struct rt_fd *f;
	int rc = record(fd, &f);

	rt_check_forked();
	if (rc < 0)
		return rc;
	in_use();
	rt_lock(&f->lock);
	if (!(ld(&f->use) & (RT_FD_OURS | RT_FD_CLOSING))) {
		rc = arm(f, fd, dirs);
		if (rc == 0)
			return wait_in(m, f, dirs, 0);
	}
	rt_unlock(&f->lock);
	return rc;
}

/* --- Closing -------------------------------------------------------------------------------------------------- */

/* fd is no longer what it was.  False: it was not registered. */
static bool unregister(struct rt_fd *f, int fd, uint32_t add_bits)
{
	struct g *woken = NULL;
	bool ours;

	rt_lock(&f->lock);
	ours = ld(&f->use) & RT_FD_OURS;
	if (!ours && !ld(&f->armed)) {
		rt_unlock(&f->lock);
		return false;
	}
	if (ours)
		atomic_fetch_xor_explicit(&f->use, RT_FD_OURS | add_bits, memory_order_release);
	/* Closing would do it, unless the open file has another descriptor: then it would haunt us. */
	(void)control(EPOLL_CTL_DEL, fd, 0, 0);
	st(&f->armed, false);
	st_rel(&f->gen, ld(&f->gen) + 1);
	(void)take(f, RT_FD_BIT(RT_FD_IN) | RT_FD_BIT(RT_FD_OUT), &woken);
	rt_unlock(&f->lock);
	(void)ready_all(NULL, woken, -EBADF, RT_READY_QUEUE);
	return ours;
}

void rt_fd_gone(struct rt_fd *f, int fd)
{
	(void)unregister(f, fd, 0);
}

int rt_fd_close(int fd)
{
	struct rt_fd *f = rt_fd_find(fd);

	if (!f)
		return rt_sys_close(fd);
	add(&f->use, RT_FD_USER);
	if (unregister(f, fd, RT_FD_CLOSING)) {
		rt_fd_leave(f, fd);
		return 0;
	}
	if (ld(&f->use) & RT_FD_CLOSING) {
		rt_fd_leave(f, fd);
		return -EBADF; /* closed already, just now */
	}
	rt_fd_leave(f, fd);
	return rt_sys_close(fd);
}

int rt_fd_enter(struct rt_fd *f, int fd, uint32_t gen, enum rt_fd_dir dir)
{
	int64_t deadline = ld(&f->dir[dir].deadline);

	if (unlikely(deadline) && rt_now() >= deadline)
		return ld(&f->gen) == gen ? -ETIMEDOUT : -EBADF;
	/* Pairs with the change of bits in unregister(): we see it, or who closes sees us. */
	if (likely(add_sc(&f->use, RT_FD_USER) & RT_FD_OURS) && likely(ld(&f->gen) == gen))
		return 0;
	rt_fd_leave(f, fd);
	return -EBADF;
}

void rt_fd_leave(struct rt_fd *f, int fd)
{
	uint32_t old = atomic_fetch_sub_explicit(&f->use, RT_FD_USER, memory_order_acq_rel), last;

	last = RT_FD_CLOSING;
	if (unlikely(old == (RT_FD_USER | RT_FD_CLOSING)) && cas(&f->use, &last, 0))
		(void)rt_sys_close(fd); /* from here on the number may be anybody's */
}

void rt_fds_free(uint32_t number)
{
	for (unsigned i = 0; i < CHUNK * CHUNKS; i++) {
		struct rt_fd *f = rt_fd_find((int)i);
		bool ours;

		if (!f) {
			i += CHUNK - 1 - i % CHUNK;
			continue;
		}
		rt_lock(&f->lock);
		ours = ld(&f->use) & RT_FD_OURS && f->owner == number;
		rt_unlock(&f->lock);
		if (ours)
			(void)rt_fd_close((int)i);
	}
}

void rt_fd_deadline(struct rt_fd *f, unsigned dirs, int64_t when)
{
	struct g *woken = NULL;

	rt_lock(&f->lock);
	for (int d = 0; d < 2; d++)
		if (dirs & RT_FD_BIT(d))
			st(&f->dir[d].deadline, when);
	(void)take(f, dirs, &woken); /* they look again */
	rt_unlock(&f->lock);
	(void)ready_all(NULL, woken, 0, RT_READY_QUEUE);
}

/* --- Asking the kernel ----------------------------------------------------------------------------------------------
 */

/* One event; who was won is added to the list at *end. */
static struct g **on_event(const struct rt_net_event *ev, struct g **end)
{
	int fd = (int)(uint32_t)ev->data;
	struct rt_fd *f = rt_fd_find(fd);
	unsigned dirs = (ev->events & IN_EVENTS ? RT_FD_BIT(RT_FD_IN) : 0) |
			(ev->events & OUT_EVENTS ? RT_FD_BIT(RT_FD_OUT) : 0);

	if (!f)
		return end;
	rt_lock(&f->lock);
	if (ld(&f->gen) == ev->data >> 32) {
		if (ev->events & (IN_EVENTS & ~EPOLLIN))
			st(&f->keep, true);
		for (int d = 0; d < 2; d++)
			if (dirs & RT_FD_BIT(d))
				st_rel(&f->dir[d].seq, ld(&f->dir[d].seq) + 1); /* pairs with ld_acq() before a
											    system call */
		end = take(f, dirs, end);
		if (ld(&f->armed) && (f->dir[RT_FD_IN].first || f->dir[RT_FD_OUT].first))
			(void)arm(f, fd, 0);
	}
	rt_unlock(&f->lock);
	return end;
}

uint32_t rt_net_deliver(struct m *m, struct rt_net_batch *b, enum rt_how how)
{
	struct g *woken = NULL, **end = &woken;
	uint32_t n;

	for (int i = 0; i < b->n; i++)
		if (b->ev[i].data != WAKE_UP)
			end = on_event(&b->ev[i], end);
	st(&rt_net.polled_at, rt_now());
	add(&rt_net.polls, 1);
	if (b->n) {
		add(&rt_net.events, (uint64_t)b->n);
		b->n = 0;
	}
	n = ready_all(m, woken, 0, how);
	return n;
}

static int ask(struct rt_net_batch *b, const struct timespec *limit)
{
	static _Atomic bool old_kernel;
	int64_t ms = -1;
	long n = -ENOSYS;

	if (!ld(&old_kernel))
		n = rt_syscall(SYS_epoll_pwait2, rt_net.ep, (long)b->ev, RT_NET_BATCH, (long)limit, 0, 0);
	if (unlikely(n == -ENOSYS)) { /* before 5.11, or forbidden: by the millisecond */
		st(&old_kernel, true);
		if (limit)
			ms = limit->tv_sec > 1000000 ? 1000000000
						     : limit->tv_sec * 1000 + (limit->tv_nsec + 999999) / 1000000;
		n = rt_syscall(SYS_epoll_pwait, rt_net.ep, (long)b->ev, RT_NET_BATCH, ms, 0, 0);
	}
	b->n = n > 0 ? (int)n : 0;
	return b->n;
}

uint32_t rt_net_poll(struct m *m, enum rt_how how)
{
	struct rt_net_batch b;
	uint32_t idle = 0;

	if (ld(&rt_net.busy) || !cas(&rt_net.busy, &idle, 1))
		return 0;
	(void)ask(&b, &(struct timespec){ 0 });
	st_rel(&rt_net.busy, 0);
	return rt_net_deliver(m, &b, how);
}

/* Has the poller been woken, and nothing else happened?  The eventfd stays ready until the poller itself reads it:
 * whoever asks without waiting meanwhile must not take the wake-up away.  One that comes too late for one poller is
 * read by the next. */
static bool drain(struct rt_net_batch *b)
{
	uint64_t n;
	int others = 0;

	for (int i = 0; i < b->n; i++) {
		if (b->ev[i].data == WAKE_UP)
			(void)rt_sys_read(rt_net.wake, &n, sizeof n);
		else
			others++;
	}
	return !others;
}

bool rt_net_sleep(struct rt_note *note, int64_t until, struct rt_net_batch *b)
{
	struct timespec ts, *limit = until == INT64_MAX ? NULL : &ts;

	for (;;) {
		if (xchg(&note->word, 0)) /* pairs with rt_note_wake() */
			return true;
		if (limit) {
			int64_t left = until - rt_now();

			if (left <= 0)
				return false;
			ts = (struct timespec){ .tv_sec = left / WEFT_SEC, .tv_nsec = left % WEFT_SEC };
		}
		if (ask(b, limit) && !drain(b))
			return false;
	}
}

void rt_net_wake(void)
{
	uint64_t one = 1;

	(void)rt_sys_write(rt_net.wake, &one, sizeof one);
}

/* --- Start and stop
 * ------------------------------------------------------------------------------------------------------ */

int rt_net_start(void)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = WAKE_UP };
	long rc;

	st(&rt_fd_owner, rt_pid());
	st(&rt_net.busy, 0);
	if (rt_net.ep >= 0)
		return 0; /* kept from the last time */
	rc = rt_syscall(SYS_epoll_create1, EPOLL_CLOEXEC, 0, 0, 0, 0, 0);
	if (rc < 0)
		return (int)rc;
	rt_net.ep = (int)rc;
	rc = rt_syscall(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK, 0, 0, 0, 0);
	if (rc >= 0) {
		rt_net.wake = (int)rc;
		rc = rt_syscall(SYS_epoll_ctl, rt_net.ep, EPOLL_CTL_ADD, rt_net.wake, (long)&ev, 0, 0);
	}
	if (rc < 0) {
		if (rt_net.wake >= 0)
			(void)rt_sys_close(rt_net.wake);
		(void)rt_sys_close(rt_net.ep);
		rt_net.ep = rt_net.wake = -1;
	}
	return (int)rc;
}

/* Every M has ended: goroutines that wait are nobody's any more, foreign threads go on. */
void rt_net_purge(void)
{
	for (unsigned i = 0; i < CHUNK * CHUNKS; i++) {
		struct rt_fd *f = rt_fd_find((int)i);
		struct g *foreign = NULL, **end = &foreign;

		if (!f) {
			i += CHUNK - 1 - i % CHUNK;
			continue;
		}
		rt_lock(&f->lock);
		for (int d = 0; d < 2; d++) {
			for (struct rt_fd_waiter *w = f->dir[d].first; w; w = w->next) {
				if (!(w->g->marks & RT_FOREIGN) || !rt_wait_win(w->g, w->number))
					continue;
				*end = w->g;
				end = &w->g->next;
			}
			f->dir[d].first = NULL;
		}
		*end = NULL;
		rt_unlock(&f->lock);
		(void)ready_all(NULL, foreign, -ECANCELED, RT_READY_QUEUE);
	}
}

void rt_net_counters(struct weft_counters *out)
{
	for (unsigned i = 0; i < CHUNK * CHUNKS; i++) {
		struct rt_fd *f = rt_fd_find((int)i);

		if (!f)
			i += CHUNK - 1 - i % CHUNK;
		else
			out->net_descriptors += ld(&f->use) & RT_FD_OURS ? 1 : 0;
	}
	out->net_polls = ld(&rt_net.polls);
	out->net_events = ld(&rt_net.events);
}
