/* pprof_build.h - for tests: small profiles, built, encoded and read back. */
#ifndef WEFT_TESTS_PPROF_BUILD_H
#define WEFT_TESTS_PPROF_BUILD_H

#include "pprof.h"
#include "pprof_check.h"

#define TIME 1700000000123456789
#define DURATION 1500000000

extern const struct pprof_spec pprof_spec_cpu; /* samples and nanoseconds, 10 ms each */

struct pprof *new_profile(const struct pprof_spec *spec);
/* n samples of this stack. */
void add(struct pprof *p, const uint64_t *pc, int depth, int64_t n);
/* n, over few addresses. */
void add_many(struct pprof *p, int n);
/* As add(), with one label; key NULL: none. */
void add_labelled(struct pprof *p, uint64_t pc, const char *key, const char *value, const char *instance);
/* Encode, check, and free the builder; the bytes to *gz, which the caller frees, unless NULL. */
struct pprof_doc encode(struct pprof *p, char **gz, size_t *len);
/* Without the bytes. */
struct pprof_doc finish(struct pprof *p);

#endif
