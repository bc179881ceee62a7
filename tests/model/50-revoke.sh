#!/bin/bash
# A P has one owner at a time, whoever takes it from whom, in every interleaving.
# runs beside others
. tests/model/lib.sh
model revoke
plant 'no heavy barrier where a P is taken' revoke.c '/^	rt_heavy\(\);/d'
plant 'in_rt is looked at before own is changed' revoke.c '/^bool rt_borrow/,/^}/{s/^	uint32_t owned = RT_OWNED;/&\n	uint32_t in = ld_acq(\&m->in_rt);/;s/if \(ld_acq\(&m->in_rt\)\)/if (in)/}'
plant 'entering looks at own first' rt.h '/^static inline struct m \*rt_enter\(/,/^}/{s/^	st\(&m->in_rt, 1\);/	uint32_t own = ld(\&m->own);\n&/;s/ld_acq\(&m->own\) != RT_OWNED/own != RT_OWNED/}'
plant 'entering does not wait for who looks' revoke.c '/^RT_COLD struct m \*rt_enter_slow/,/^}/s/== RT_REVOKING\)/== 77)/'
plant 'a P is given up without asking' idle.c 's/while \(!cas\(&m->own, &owned, RT_NO_P\)\)/for (st_sc(\&m->own, RT_NO_P); 0;)/'
plant 'a P is lent without asking' block.c 's/while \(!cas\(&m->own, &owned, RT_LENT\)\)/for (st_rel(\&m->own, RT_LENT); 0;)/'
plant 'a lent P is taken back without asking' block.c 's/if \(unlikely\(!cas\(&m->own, &lent, RT_OWNED\)\)\)/st_rel(\&m->own, RT_OWNED);\n	if (0)/'
plant 'a lent P is looked at first, taken then' revoke.c 's/if \(!cas\(&m->own, &lent, RT_REVOKING\)\)/if (ld(\&m->own) != lent || (st(\&m->own, RT_REVOKING), 0))/'
plant 'a section ends with readers none the wiser' revoke.c '/^		rt_seq_begin\(g\); /d;s/^	if \(ld\(&g->status\) == RT_G_SYSCALL\)/	(void)0;/'
