/* raw.h - raw.c, for who dies. */
#ifndef WEFT_RT_RAW_H
#define WEFT_RT_RAW_H

#include "weft_raw.h"

/* Write what the recorder holds.  The descriptor, to be followed by the text of the dump; below 0: there is none, or it
 * could not be written.  sig */
int rt_raw_write(int signo, const char *what);

#endif
