#!/bin/bash
# Channels hand over every value once and leave nobody waiting, in every interleaving.
# runs beside others
. tests/model/lib.sh
model chan
plant 'a waiter is served without winning its wait' chan.h 's/if \(likely\(rt_wait_win\(w->g, w->number\)\)\)/(void)rt_wait_win(w->g, w->number);\n		if (1)/'
plant 'who was called off stays in the queue' chan.c 's/^	if \(w\.queued\)$/	if (0)/'
plant 'the lock is dropped before the waiter stands in the queue' chan.c 's/^	queue_put\(q, &w\);/	rt_unlock(\&c->lock);\n	rt_lock(\&c->lock);\n&/'
plant 'close forgets the senders' chan.c 's/while \(\(w = queue_win\(&c->senders\)\) != NULL\)/while (0)/'
plant 'a receiver lets no waiting sender into the buffer' chan.c 's/^		w = c->senders\.first \? queue_win\(&c->senders\) : NULL;/		w = NULL;/'
