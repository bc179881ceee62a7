/* pprof_check.h - reads a profile back and holds it against the rules that its consumers enforce:
 * sequential ids, everything in range, string 0 empty, UTF-8, values as many as types.
 *
 * Decodes with zlib and the generated reader, nothing of the encoder. */
#ifndef WEFT_TESTS_PPROF_CHECK_H
#define WEFT_TESTS_PPROF_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "profile.pb-c.h"

struct pprof_doc {
	Perftools__Profiles__Profile *msg;
	uint8_t *raw; /* the message before compression */
	size_t raw_len;
	char err[200]; /* the first broken rule */
};

/* 0: a profile that keeps every rule; -1: not, err says why.  Close it in both cases. */
int pprof_doc_open(struct pprof_doc *d, const void *gz, size_t len);
void pprof_doc_close(struct pprof_doc *d);
/* What Pyroscope and Parca refuse beside that when a profile is uploaded: times far from now (wall clock, ns), too
 * many samples, labels, frames or bytes, labels that one of them would have to rename.  0, or -1 and err. */
int pprof_doc_uploadable(struct pprof_doc *d, int64_t now);

const char *pprof_doc_string(const struct pprof_doc *d, int64_t i);
int64_t pprof_doc_total(const struct pprof_doc *d, size_t value);
/* "leaf;caller;root", functions by name, "?" where there is none. */
const char *pprof_doc_stack(const struct pprof_doc *d, size_t sample, char *out, size_t cap);
/* The value of a sample's label, or NULL. */
const char *pprof_doc_label(const struct pprof_doc *d, size_t sample, const char *key);

/* What `go tool pprof -raw` says of these bytes, the caller frees it; NULL: no go on PATH. */
char *go_pprof_raw(const void *profile, size_t len);
/* Sum of one column of the samples in that, -1: it has none. */
int64_t go_pprof_total(const char *raw, int column);

#endif
