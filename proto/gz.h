/* gz.h - gzip, level 1, into a growing byte string; no time stamp, so equal input gives equal bytes. */
#ifndef WEFT_PROTO_GZ_H
#define WEFT_PROTO_GZ_H

#include <zlib.h>

#include "text.h"

struct gz {
	z_stream z;
	struct buf out;
	int open;
};
/* 0, or -ENOMEM.  gz_abort() is right in every state, also on a zeroed struct and twice. */
int gz_begin(struct gz *g);
int gz_write(struct gz *g, const void *p, size_t n);
int gz_end(struct gz *g);
void gz_abort(struct gz *g);

#endif
