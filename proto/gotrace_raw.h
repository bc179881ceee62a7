/* gotrace_raw.h - a trace from what a fatal signal has written of the recorder's memory (weft_raw.h).
 *
 * For a program of its own: it takes the dead process's modules for its own (weft_read_foreign()). */
#ifndef WEFT_PROTO_GOTRACE_RAW_H
#define WEFT_PROTO_GOTRACE_RAW_H

#include <stddef.h>

#include "gotrace.h"
#include "text.h"
#include "weft_raw.h"

/* The head of the file that begins with these bytes; NULL: it is none. */
const struct weft_raw_head *gotrace_raw_head(const void *bytes, size_t n);
struct gotrace_raw {
	struct buf trace;
	const char *text; /* of the dump, in the file's bytes */
	size_t text_len;
	size_t missing; /* files that are not there, or of another build: their functions have no names */
	bool whole;     /* false: the file ends in the middle */
};
/* 0, -EINVAL: it is no such file; -ENODATA: it ends before there is anything to tell; -ENOMEM. */
int gotrace_raw(const void *bytes, size_t n, enum gotrace_format format, struct gotrace_raw *out);

#endif
