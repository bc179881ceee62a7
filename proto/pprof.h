/* pprof.h - builds one profile.proto message, as `go tool pprof` reads it.
 *
 * A builder collects samples (stack, labels, values), merges equal ones, and is then encoded: symbols
 * looked up, mappings written for what was sampled (the main program first), strings interned,
 * gzip level 1.  Field numbers and rules: https://github.com/google/pprof profile.proto.
 * One thread at a time per builder.  Bounded: after PPROF_MAX_STACKS distinct samples the rest is
 * charged to the pseudo frame weft._Overflow. */
#ifndef WEFT_PROTO_PPROF_H
#define WEFT_PROTO_PPROF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft_read.h"

#define PPROF_MAX_STACKS 100000
#define PPROF_VALUES 4

struct pprof_type {
	const char *type, *unit;
};
struct pprof_spec {
	struct pprof_type sample[PPROF_VALUES];
	int n_sample;
	struct pprof_type period_type;
	int64_t period;
	const char *default_sample_type; /* or NULL */
	const char *drop_frames; /* a pattern of whole names that readers leave out, with what they call; or NULL */
	/* Order of the samples: by this value, then by stack and labels */
	int sort;
	bool ascending;
	bool calls; /* the runtime's functions as they were called, without what was inlined into them */
	bool bare;  /* addresses and mappings only: whoever reads it looks the names up */
};

struct pprof;
struct pprof *pprof_new(const struct pprof_spec *spec); /* NULL: no memory */
void pprof_free(struct pprof *p);

/* Pseudo frames: pass these in place of a pc. */
enum { PPROF_PC_SYSTEM = 1, PPROF_PC_EXTERNAL, PPROF_PC_LOST, PPROF_PC_OVERFLOW, PPROF_PC_SCHED };

/* pcs as struct weft_goroutine has them (flags WEFT_GF_EXACT: pc[0] is the interrupted pc; the others
 * are return addresses).  labels may be NULL; what is extra takes the place of the goroutine's own of
 * that name.  No frames: charged to PPROF_PC_SYSTEM.
 * 0, or -ENOMEM. */
struct pprof_extra {
	const char *instance, *thread; /* labels of these names, or NULL */
	const char *key, *value;       /* one more; value may be NULL */
	int64_t bytes;                 /* numeric label; 0: none */
};
int pprof_add_with(struct pprof *p, const uint64_t *pc, int depth, unsigned flags, const struct weft_labels *labels,
		   const struct pprof_extra *extra, const int64_t *values);
int pprof_add(struct pprof *p, const uint64_t *pc, int depth, unsigned flags, const struct weft_labels *labels,
	      const char *instance, const char *thread, const int64_t *values);
void pprof_comment(struct pprof *p, const char *text);
size_t pprof_samples(const struct pprof *p);
int64_t pprof_total(const struct pprof *p, int value);

/*
 * Encoding in steps of bounded length, for a pool whose tasks may take 50 ms: call pprof_step() until it
 * says 0 (done), then take the bytes.  1: more to do; -ENOMEM.
 */
int pprof_step(struct pprof *p, int64_t time_ns, int64_t duration_ns, int64_t budget_ns);
/* The gzipped message; the caller frees it. */
void *pprof_take(struct pprof *p, size_t *len);

#endif
