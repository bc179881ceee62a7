/* chromecheck.h - is a file a trace in the Trace Event Format that viewers show as it is meant?
 *
 * It is JSON; slices of a track lie beside or in one another, with 1 ns between their ends; an arrow has two ends, each
 * in a slice, the second at its beginning; tasks and regions begin and end in pairs, in one another; every stack that
 * is named is there; tracks have names; counters are not below 0. */
#ifndef WEFT_TESTS_CHROMECHECK_H
#define WEFT_TESTS_CHROMECHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chromecheck {
	char err[256]; /* "": it is valid */
	/* How many there are */
	int slices, arrows, spans /* of tasks and regions */, instants, counters, frames, stacks /* that are named */;
};
bool chromecheck(struct chromecheck *c, const char *bytes, size_t len);

#endif
