#!/bin/bash
# Whoever waits under a context that ends is called off, and nothing ends the next one in its cell, in every interleaving.
# runs beside others
. tests/model/lib.sh
model ctx
plant 'no heavy barrier between the flag and the look at who waits' ctx.c '/^	rt_heavy\(\); .*called_off/d' \
	'ctx: a wait, and the end of what it carries'
plant 'a deadline does not ask whose it is' ctx.c 's/^	if \(ld\(&a->armed\) == number\)$/	if (1)/' \
	'ctx: freed and made anew while its deadline passes'
plant 'below one that is over another is not' ctx.c 's/^		st\(&c->over, ld\(&parent->over\)\);$/		st(\&c->over, 0);/' \
	'ctx: one is made below one that ends'
plant 'a family is begun without a look at the instance' ctx.c \
	's/^		st\(&c->over, ld\(&parent->over\)\); .*/		st(\&c->over, 0);/' 'ctx: a family is made while the instance ends'
plant 'a carrier counts as no reference' ctx.c 's/^	c->refs\+\+;$//' 'ctx: entered while it ends'
plant 'the reason is written anew by a later end' ctx.c 's/^	if \(ld\(&top->over\) \|\| (!mark.*)$/	if (\1/;s/^		if \(ld\(&c->over\)\)$/		if (0)/' \
	'ctx: a wait, a deadline and a cancel'
