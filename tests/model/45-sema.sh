#!/bin/bash
# Semaphores, mutexes, once and wait groups exclude, and lose no wake-up, in every interleaving.
# runs beside others
. tests/model/lib.sh
model sema
plant 'the lock is dropped between the look at the count and the queue' sema.c \
	'/^void rt_sema_acquire/,/^}/s/^	w\.number = rt_wait_open/	rt_unlock(\&b->lock);\n	rt_lock(\&b->lock);\n&/'
plant 'the last in line is not known to who comes first now' sema.c 's/^	first->last = w->last;$//'
plant 'a waiter of another lock is woken' sema.c 's/while \(\*at && \(\*at\)->addr != addr\)/while (0)/'
plant 'who was woken leaves WOKEN set' mutex.c 's/^		if \(awoke\)$/		if (0)/'
plant 'an unlock wakes one more although one is on its way' mutex.c \
	's/^(				break; ).*nobody to wake.*/				if (old < WAITER) break;/'
plant 'a newcomer takes a mutex that is handed over' mutex.c 's/^		if \(!\(old & STARVING\)\)$/		if (1)/'
plant 'who got it by hand-over still counts as waiting' mutex.c 's/change = LOCKED - WAITER;/change = LOCKED;/'
plant 'trylock takes a mutex that is handed over' mutex.c \
	's/if \(old & \(LOCKED \| STARVING\) \|\| /if (old \& LOCKED || /'
plant 'once is done before the call' mutex.c 's/^		fn\(arg\);/		st_rel(\&x->done, 1);\n&/'
plant 'the group is cleared after its last waiter was woken' waitgroup.c \
	's/^	st\(&x->state, 0\);//;s/^(		rt_sema_release\(m, &x->sema, waiters .*)/&\n	st(\&x->state, 0);/'
plant 'who waits does not look at the count again' waitgroup.c 's/^	\} while \(!cas\(&x->state, &old, old \+ 1\)\);/	} while (0);\n	add_sc(\&x->state, 1);/'
