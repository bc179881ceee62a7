#!/bin/bash
# The deque loses nothing and gives nothing twice, in every interleaving.
# runs beside others
. tests/model/lib.sh
model deque
plant 'no fence where the owner takes' runq.c '/pairs with the fence in rt_spawn_get_oldest/d'
plant 'the owner takes the last one without asking' runq.c 's/if \(!cas\(&p->top, &t, t \+ 1\)\)/if (0)/'
plant 'a thief takes without CAS' runq.c '/^struct g \*rt_spawn_get_oldest/,/^}/s/cas\(&p->top, &t, t \+ 1\)/(st(\&p->top, t + 1), 1)/'
