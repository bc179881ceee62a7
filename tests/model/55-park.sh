#!/bin/bash
# Parking, waking and calling off: one winner, nothing lost, in every interleaving.
# runs beside others
. tests/model/lib.sh
model park
plant 'the canceller has no heavy barrier' inst.c '/^	rt_heavy\(\);/d'
plant 'who parks looks at over before waiting is published' sched.c '/^static RT_FLAT void arrive_parked\(/,/^}/{/^	off = called_off\(m, g, ctx\);$/d;s/^	publish\(m, g, .*/	off = called_off(m, g, ctx);\n&/}'
plant 'a wait is won without CAS' rt.h 's/return cas\(&g->wait, &open, number << 1\);/return ld(\&g->wait) == open \&\& (st(\&g->wait, number << 1), true);/'
plant 'the lock is dropped before the goroutine is off its stack' sched.c 's/^	m->after_lock = drop;/	m->after_lock = NULL;\n	if (drop)\n		rt_unlock(drop);/'
plant 'the canceller does not ask for the wait' inst.c 's/if \(rt_wait_win\(g, wait >> 1\)\)/if (rt_wait_win(g, wait >> 1) || 1)/'
plant 'a select drops its locks before it is published' sched.c '/^static (RT_NOINLINE )?void arrive_select\(/,/^}/{/^	drop_all\(m->after_held\);$/d;s/^	publish\(/	drop_all(m->after_held);\n&/}' 'park: with two locks, woken beside a second worker'
