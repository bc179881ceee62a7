/* gotrace_file.h - a trace in Go's format into a descriptor, on a thread that may take its time. */
#ifndef WEFT_PROTO_GOTRACE_FILE_H
#define WEFT_PROTO_GOTRACE_FILE_H

#include <stdatomic.h>

#include "gotrace_live.h"

/* What happened, up to the end of the trace, or until *stop (may be NULL) is set: seen within GOTRACE_LIVE_POLL.
 * 0; -ENOMEM; what write(2) failed with. */
int gotrace_file_events(struct gotrace_live *l, int fd, const atomic_bool *stop);
/* Then the names, which makes it whole.  Likewise. */
int gotrace_file_names(struct gotrace_live *l, int fd);
/* Both. */
int gotrace_file(const struct gotrace_opts *opts, int64_t end, int fd, const atomic_bool *stop);

#endif
