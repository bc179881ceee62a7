/* rlate.h - for tests of the runtime: a ticker of 1 ms, and how late its ticks are. */
#ifndef WEFT_TESTS_RLATE_H
#define WEFT_TESTS_RLATE_H

#include "rtest.h"

/* Before each run. */
void late_reset(void);
/* A goroutine: ticks until late_stop(), 4000 times at most. */
void late_ticker(void *arg);
void late_stop(void);
/* Wait until so many ticks have come. */
void late_await(int ticks);
/* The lateness, in ns, that 99 of 100 ticks do not exceed; once the ticker has ended. */
int64_t late_p99(void);

#endif
