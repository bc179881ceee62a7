#!/bin/bash
# What was stopped, set anew or freed does not fire any more, what was not fires once, in every interleaving.
# runs beside others
. tests/model/lib.sh
model tick
plant 'a timer that fires does not ask whether it is still the one' tick.c 's/ld\(&a->armed\) != number \|\| //' \
	'tick: set anew while it fires'
plant 'stopping leaves the tick there is' tick.c 's/^		while \(ld\(&t->chan->count\)\) \{/		while (0) {/' \
	'tick: stopped while it fires'
plant 'stopping only empties the channel' tick.c '/^static bool stop/,/^\}/s/^	st\(&t->alarm\.armed, 0\);//' \
	'tick: stopped while it fires' 'tick: a function'"'"'s is stopped while it fires'
plant 'a reused cell numbers its alarms anew' timer.c 's/st\(&a->armed, \+\+a->last\);/st(\&a->armed, a->last = 1);/' \
	'tick: freed and made anew while it fires'
plant 'the look at the alarm comes before the lock' tick.c \
	's/^	rt_lock\(&t->lock\);\n//;/^static void fire/,/^\}/{s/^	rt_lock\(&t->lock\);//;s/^	st\(&a->armed, 0\);/	rt_lock(\&t->lock);\n&/;s/^		rt_unlock\(&t->lock\);//}' \
	'tick: a function'"'"'s is stopped while it fires'
