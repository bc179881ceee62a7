/* pprof_blocking.c - /debug/pprof/blocking: system calls that blocked a P because nobody had said that they may block.
 *
 * Where to put a WEFT_BLOCKING, or a weft_* call instead: by stack and system call, how often and for how long. */
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#define CALLS(X)                                                                                                       \
	X(accept)                                                                                                      \
	X(accept4)                                                                                                     \
	X(clock_nanosleep)                                                                                             \
	X(close)                                                                                                       \
	X(connect)                                                                                                     \
	X(epoll_pwait)                                                                                                 \
	X(fallocate)                                                                                                   \
	X(fcntl)                                                                                                       \
	X(fdatasync)                                                                                                   \
	X(flock)                                                                                                       \
	X(fsync)                                                                                                       \
	X(ftruncate)                                                                                                   \
	X(futex)                                                                                                       \
	X(getdents64)                                                                                                  \
	X(getrandom)                                                                                                   \
	X(io_getevents)                                                                                                \
	X(ioctl)                                                                                                       \
	X(madvise)                                                                                                     \
	X(mmap)                                                                                                        \
	X(mprotect)                                                                                                    \
	X(msync)                                                                                                       \
	X(munmap)                                                                                                      \
	X(nanosleep)                                                                                                   \
	X(newfstatat)                                                                                                  \
	X(openat)                                                                                                      \
	X(ppoll)                                                                                                       \
	X(pread64)                                                                                                     \
	X(preadv)                                                                                                      \
	X(pselect6)                                                                                                    \
	X(pwrite64)                                                                                                    \
	X(pwritev)                                                                                                     \
	X(read)                                                                                                        \
	X(readv)                                                                                                       \
	X(recvfrom)                                                                                                    \
	X(recvmmsg)                                                                                                    \
	X(recvmsg)                                                                                                     \
	X(renameat)                                                                                                    \
	X(sendfile)                                                                                                    \
	X(sendmmsg)                                                                                                    \
	X(sendmsg)                                                                                                     \
	X(sendto)                                                                                                      \
	X(splice)                                                                                                      \
	X(statx)                                                                                                       \
	X(sync)                                                                                                        \
	X(unlinkat)                                                                                                    \
	X(wait4)                                                                                                       \
	X(waitid)                                                                                                      \
	X(write)                                                                                                       \
	X(writev)

struct blocking {
	struct weft_blocked_call *v;
	size_t n;
	char word[32];
};

/* Its name, or its number. */
static const char *call_name(struct blocking *b, int nr)
{
	static const struct {
		int nr;
		const char *name;
	} names[] = {
#define X(name) { SYS_##name, #name },
		CALLS(X)
#ifdef SYS_poll
			{ SYS_poll, "poll" },
		{ SYS_select, "select" },
		{ SYS_epoll_wait, "epoll_wait" },
		{ SYS_open, "open" },
		{ SYS_stat, "stat" },
		{ SYS_pause, "pause" },
#endif
#undef X
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].nr == nr)
			return names[i].name;
	if (nr < 0)
		return "unknown";
	snprintf(b->word, sizeof(b->word), "%d", nr);
	return b->word;
}

static int prepare(struct snapshot *s)
{
	struct blocking *b = s->state ? s->state : calloc(1, sizeof(*b));
	size_t cap;

	s->state = b;
	if (!b)
		return -ENOMEM;
	free(b->v);
	cap = weft_read_blocked(NULL, 0) + 64; /* some may come between the two calls */
	b->v = calloc(cap, sizeof(*b->v));
	if (!b->v)
		return -ENOMEM;
	b->n = weft_read_blocked(b->v, cap);
	b->n = b->n < cap ? b->n : cap;
	return 0;
}

static int next(struct snapshot *s)
{
	struct blocking *b = s->state;
	const struct weft_blocked_call *c;
	struct pprof_extra extra = { .key = "syscall" };
	uint64_t pc[WEFT_STACK_MAX];
	int64_t v[2];

	if (s->at >= b->n)
		return 0;
	c = &b->v[s->at++];
	extra.value = call_name(b, c->syscall);
	v[0] = (int64_t)c->count;
	v[1] = c->ns;
	return snapshot_add(s, pc, weft_read_stack(c->stack, pc, WEFT_STACK_MAX), 0, NULL, c->instance, &extra, v) < 0
		       ? -ENOMEM
		       : 1;
}

static void drop(struct snapshot *s)
{
	struct blocking *b = s->state;

	if (b)
		free(b->v);
	free(b);
}

static size_t count(void)
{
	return weft_read_blocked(NULL, 0);
}

const struct snapshot_kind blocking_kind = {
	.name = "blocking",
	.text_name = "contention",
	.help = "System calls that blocked a worker because they were made outside of WEFT_BLOCKING and weft_* calls, "
		"and how long those took that have returned.",
	.spec = { .sample = { { "calls", "count" }, { "delay", "nanoseconds" } },
		  .n_sample = 2,
		  .period_type = { "calls", "count" },
		  .period = 1,
		  .sort = 1 },
	.form = TEXT_CONTENTION,
	.prepare = prepare,
	.next = next,
	.drop = drop,
	.count = count,
};
