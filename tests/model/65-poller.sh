#!/bin/bash
# The poller hears the wake-ups that are meant for it, in every interleaving.
# runs beside others
. tests/model/lib.sh
model poller
plant 'two in the kernel at once' idle.c 's/ && !sched.poller_in;/ \&\& !ld(\&sched.poller);/'
plant 'the note is not enough' idle.c '/^	if \(polls\)/,/^		rt_net_wake/d'
plant 'heard before it is noted' idle.c '/^void rt_idle_m_wake/,/^}/{s/^	rt_note_wake\(&m->note\);//;s/^		rt_net_wake\(\);/		rt_net_wake();\n	rt_note_wake(\&m->note);/}'
plant 'the poller is never asked to work' idle.c '/^struct m \*rt_idle_m_get/,/^}/s/^		m = ld\(&sched.poller\);/		return NULL;/'
