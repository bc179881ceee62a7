/* fatal.h - what signals.c and fatal.c share. */
#ifndef WEFT_RT_FATAL_H
#define WEFT_RT_FATAL_H

void rt_fatal_signal(int sig, void *info, void *context); /* fatal.c: the handler */
void rt_signal_die(int sig) __attribute__((noreturn));    /* signals.c: by that very signal */

#endif
