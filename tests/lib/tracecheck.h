/* tracecheck.h - is a file an execution trace of one generation that a reader accepts? */
#ifndef WEFT_TESTS_TRACECHECK_H
#define WEFT_TESTS_TRACECHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tracecheck {
	char err[256]; /* "": it is valid */
	int events;
	int count[64]; /* by id */
	int batches, strings, stacks, samples;
	/* Called with each event in the order of the reader; may be NULL. */
	void (*event)(void *user, int64_t time, uint64_t m, uint64_t g, int id, const uint64_t *args);
	/* Called with each CPU sample, before that; may be NULL.  p: UINT64_MAX for none. */
	void (*sample)(void *user, int64_t time, uint64_t m, uint64_t p, uint64_t g);
	void *user;
};
bool tracecheck(struct tracecheck *c, const void *bytes, size_t len);
/* The text of a string of the trace that was checked last; "" if there is none. */
const char *tracecheck_string(uint64_t id);
/* Leave it in the folder that WEFT_TRACES names, if there is one, for Go's own reader. */
void tracecheck_keep(const char *name, const void *bytes, size_t len);

#endif
