#!/bin/bash
# Select takes one case, whole, and leaves nothing behind, in every interleaving.
# runs beside others
. tests/model/lib.sh
model select
plant 'what was not served stays queued' select.c 's/^		if \(s->waiters\[i\]\.queued\)$/		if (0)/'
plant 'the locks are dropped before all waiters are queued' select.c 's/^		queue_put\(q, &s->waiters\[i\]\);/&\n		unlock_all(\&s->held);\n		lock_all(\&s->held);/'
plant 'a waiter is served without winning its wait' chan.h 's/if \(likely\(rt_wait_win\(w->g, w->number\)\)\)/(void)rt_wait_win(w->g, w->number);\n		if (1)/'
plant 'only the first channel is locked' select.c 's/^	for \(uint32_t i = 0; i < h->n; i\+\+\)$/	h = \&(struct rt_held){ h->n ? 1 : 0, h->lock };\n&/'
