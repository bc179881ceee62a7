#!/bin/bash
# The ring and the global queue lose nothing and give nothing twice, in every interleaving.
# runs beside others
. tests/model/lib.sh
model ring
plant 'the tail is moved before the slot is written' runq.c \
	'/st\(&p->ring\[tail % RT_RUNQ\], g\);/{N;s/^(.*)\n(.*)$/\2\n\1/}'
plant 'the owner takes without CAS' runq.c \
	'/^struct g \*rt_runq_get/,/^}/s/cas\(&p->head, &head, head \+ 1\)/(st(\&p->head, head + 1), 1)/'
plant 'a thief reads the slots after the CAS' runq.c \
	'/^		for \(uint32_t i = 0; i < n; i\+\+\)$/,/^			continue;/{/for|st\(/{H;d};/continue;/G}'
plant 'half of the ring is spilled without asking' runq.c 's/if \(!cas\(&p->head, &head, head \+ n\)\)/if (st(\&p->head, head + n), 0)/'
