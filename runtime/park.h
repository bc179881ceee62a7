/* park.h - why a goroutine waits: one list gives the enum, Go's word for it in dumps and profiles,
 * and the reason string of the execution trace (what viewers group by).
 * There is no "forever" in traces, which would end a goroutine's account there: whatever waits can be called off. */
#ifndef WEFT_RT_PARK_H
#define WEFT_RT_PARK_H

#define RT_WAIT_REASONS(X)                                                                                             \
	/* name, text in dumps, text in traces, can be called off */                                                   \
	X(NONE, "waiting", "unspecified", 0)                                                                           \
	X(CHAN_RECV, "chan receive", "chan receive", 1)                                                                \
	X(CHAN_SEND, "chan send", "chan send", 1)                                                                      \
	X(CHAN_RECV_NIL, "chan receive (nil chan)", "chan receive", 1)                                                 \
	X(CHAN_SEND_NIL, "chan send (nil chan)", "chan send", 1)                                                       \
	X(SLEEP, "sleep", "sleep", 1)                                                                                  \
	X(MUTEX, "sync.Mutex.Lock", "sync", 0)                                                                         \
	X(WAITGROUP, "sync.WaitGroup.Wait", "sync", 0)                                                                 \
	X(ONCE, "sync.Mutex.Lock", "sync", 0)                                                                          \
	X(IO, "IO wait", "network", 1)                                                                                 \
	X(SELECT, "select", "select", 1)                                                                               \
	X(SELECT_NONE, "select (no cases)", "select", 1)                                                               \
	X(RWMUTEX_R, "sync.RWMutex.RLock", "sync", 0)                                                                  \
	X(RWMUTEX_W, "sync.RWMutex.Lock", "sync", 0)                                                                   \
	X(COND, "sync.Cond.Wait", "sync.(*Cond).Wait", 1)                                                              \
	X(SEMAPHORE, "semacquire", "sync", 1)

enum rt_wait {
#define X(name, dump, trace, off) RT_WAIT_##name,
	RT_WAIT_REASONS(X)
#undef X
		RT_WAIT_N
};

#endif
