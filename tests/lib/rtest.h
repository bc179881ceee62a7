/* rtest.h - for tests of the runtime: start one, run goroutines, wait for what the scheduler says. */
#ifndef WEFT_TESTS_RTEST_H
#define WEFT_TESTS_RTEST_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "park.h"
#include "weft_host.h"
#include "weft_read.h"
#include <weft.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define RTEST_SANITIZER 1
#endif

extern weft_inst *inst; /* of rtest_begin() */

/* A runtime of n Ps with one instance "test"; recorder on. */
void rtest_begin(int n);
/* A case whose tests each run on a runtime of their own with n Ps, 1 or 3, and may take so many seconds. */
TCase *rtest_case(int n, int seconds);
/* With the options changed by hand. */
void rtest_begin_with(const struct weft_host_opts *opts);
/* Stop it; fails the test when an M does not come back within 10 s. */
void rtest_end(void);
/* fn(arg) on a goroutine; returns when it has. */
void rtest_run(weft_fn fn, void *arg);

/* Poll until cond(arg); fails the test after 20 s (100 s under a sanitizer). */
void rtest_wait(bool (*cond)(void *arg), void *arg, const char *what);
/* Until goroutine goid waits for that reason. */
void rtest_wait_parked(uint64_t goid, enum rt_wait reason);
/* Until no goroutine of inst lives. */
void rtest_wait_gone(void);

/* Arithmetic that calls nobody, until *stop. */
void rtest_compute(const _Atomic bool *stop);

/* /proc/self: how many. */
int rtest_threads(void);
int rtest_fds(void);
int rtest_maps(void);

/* n, or less where a sanitizer makes everything slow. */
int rtest_scale(int n);
/* From $SEED, else from the clock; printed. */
uint64_t rtest_seed(void);
uint64_t rtest_random(uint64_t *state);

#endif
