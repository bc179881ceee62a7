#!/bin/bash
# Locks and notes exclude, and lose no wake-up, in every interleaving.
# runs beside others
. tests/model/lib.sh
model lock
plant 'no heavy barrier before a sleeper looks again' lock.c '/^	rt_heavy\(\);/d'
plant 'a sleeper announces itself too late' lock.c '/^	add_sc\(sleepers, 1\);/d;s/^	for \(;;\) \{/&\n		uint32_t held = 1;/;s/\(void\)rt_futex_wait\(&l->word, 1, NULL\)/held = ld(\&l->word); if (held) { add_sc(sleepers, 1); (void)rt_futex_wait(\&l->word, 1, NULL); add_sc(sleepers, (uint32_t)-1); }/;s/^	add_sc\(sleepers, \(uint32_t\)-1\);//'
plant 'unlock looks for sleepers first' lock.h '/^	st_rel\(&l->word, 0\);/d;s/^	if \(unlikely\(ld\(rt_sleepers_of\(l\)\)\)\)/	uint32_t any = ld(rt_sleepers_of(l));\n	st_rel(\&l->word, 0);\n	if (any)/'
plant 'a note is set after its waiter was woken' lock.c \
	'/^void rt_note_wake/,/^}/s/if \(xchg\(&n->word, 1\) == 0\)/(void)rt_futex_wake(\&n->word, 1);\n	if (xchg(\&n->word, 1) == 2)/'
