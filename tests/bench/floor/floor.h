/* floor.h - what the machine itself charges: the physical floor under the workloads.
 *
 * One group a file; each prints name<TAB>value<TAB>unit lines.  Main thread only; threads are joined
 * before a group returns. */
#ifndef WEFT_FLOOR_H
#define WEFT_FLOOR_H

#include <stdint.h>

int64_t floor_now(void); /* CLOCK_MONOTONIC, ns */
void floor_value(const char *name, double value, const char *unit);
void floor_fail(const char *what) __attribute__((noreturn)); /* with errno's text */
/* Pin the calling thread to the n-th CPU it may use, counted round; n < 0: all of them again. */
void floor_pin(int n);

void floor_switch(void);
void floor_atomic(void);
void floor_cacheline(void);
void floor_futex(void);
void floor_pagefault(void);
void floor_stackmap(void);
void floor_calls(void);

void floor_echo(void); /* until stdin ends */
void floor_load(int port, int conns, int64_t n, int pid);

#endif
