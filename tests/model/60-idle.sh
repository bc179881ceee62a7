#!/bin/bash
# No goroutine is left in a queue while all workers sleep, in every interleaving.
# runs beside others
. tests/model/lib.sh
model idle
plant 'no heavy barrier before the last look' idle.c '/^	rt_heavy\(\);/d'
plant 'no last look where a P is passed on' idle.c '/^void rt_p_pass/,/^}/s/if \(work_anywhere\(\) && /if (0 \&\& /'
plant 'no last look' idle.c 's/if \(work_anywhere\(\) && /if (work_anywhere() \&\& 0 \&\& /'
plant 'still counted as spinning at the last look' idle.c '/^void rt_go_idle/,/^}/{/^	if \(span\)$/,/^		add_sc/d;s/^	sleep_idle\(m\);/	if (span)\n		add_sc(\&sched.n_spinning, -1);\n&/}'
plant 'the last to find work while spinning wakes nobody' find.c '/^void rt_stop_spinning/,/^}/s/rt_wake_one\(\);/(void)0;/'
plant 'work is announced before it is put' sched.c '/^static inline void ready\(struct m \*m, struct g \*g, int outcome, enum rt_how how, uint64_t waker, uint32_t stack\)$/,/^}/{s/^			rt_runq_put\(p, g\);/			rt_wake_one(), rt_runq_put(p, g);/;s/^		rt_wake_one\(\);//}'
