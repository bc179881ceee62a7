/* netpoll.h - what the scheduler sees of the poller: see netpoll.c. */
#ifndef WEFT_RT_NETPOLL_H
#define WEFT_RT_NETPOLL_H

#include "rt.h"

#define RT_NET_BATCH 128

struct rt_net_event {
	uint32_t events;
	uint64_t data; /* gen << 32 | descriptor */
} RT_EPOLL_PACKED;
struct rt_net_batch {
	int n;
	struct rt_net_event ev[RT_NET_BATCH];
};

struct rt_net {
	int ep, wake;                    /* epoll and eventfd: constant after the first start */
	_Atomic uint32_t used;           /* there is, or was, a descriptor to ask about */
	RT_CACHED _Atomic uint32_t busy; /* somebody asks without waiting */
	_Atomic int64_t polled_at;       /* when somebody last asked */
	_Atomic uint64_t polls, events;
};
extern struct rt_net rt_net;

/* Is there something to ask about, and nobody asleep who would hear? */
static inline bool rt_net_unwatched(void)
{
	return ld(&rt_net.used) && !ld(&sched.poller);
}
/* ... and for `age` nobody has asked? */
static inline bool rt_net_stale(int64_t now, int64_t age)
{
	return rt_net_unwatched() && now - ld(&rt_net.polled_at) >= age;
}
/* Ask without waiting; make runnable who waits for what was found: the first as `how` says, the rest
 * RT_READY_QUEUE.  How many.  m: the caller's, with a P, or NULL. */
uint32_t rt_net_poll(struct m *m, enum rt_how how);
/* Sleep until the note is woken (true), there are events (*b) or it is `until`. */
bool rt_net_sleep(struct rt_note *note, int64_t until, struct rt_net_batch *b);
void rt_net_wake(void); /* the one who sleeps there */
/* Make runnable who waits for the events in *b, as rt_net_poll(). */
uint32_t rt_net_deliver(struct m *m, struct rt_net_batch *b, enum rt_how how);
int rt_net_start(void);
void rt_net_purge(void);

#endif
