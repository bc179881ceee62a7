/* pprof_build.c - see pprof_build.h. */
#include "pprof_build.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

const struct pprof_spec pprof_spec_cpu = {
	.sample = { { "samples", "count" }, { "cpu", "nanoseconds" } },
	.n_sample = 2,
	.period_type = { "cpu", "nanoseconds" },
	.period = 10000000,
};
struct pprof *new_profile(const struct pprof_spec *spec)
{
	struct pprof *p = pprof_new(spec);

	ck_assert_ptr_nonnull(p);
	return p;
}

void add(struct pprof *p, const uint64_t *pc, int depth, int64_t n)
{
	int64_t v[PPROF_VALUES] = { n, n * 10000000 };

	ck_assert_int_eq(pprof_add(p, pc, depth, 0, NULL, NULL, NULL, v), 0);
}

void add_labelled(struct pprof *p, uint64_t pc, const char *key, const char *value, const char *instance)
{
	static struct weft_labels l;
	int64_t v[PPROF_VALUES] = { 1, 10000000 };

	l.n = key != NULL;
	snprintf(l.l[0].key, sizeof l.l[0].key, "%s", key ? key : "");
	snprintf(l.l[0].value, sizeof l.l[0].value, "%s", value ? value : "");
	ck_assert_int_eq(pprof_add(p, &pc, 1, 0, &l, instance, NULL, v), 0);
}

void add_many(struct pprof *p, int n)
{
	for (int i = 0; i < n; i++) {
		uint64_t pc[6];

		for (int j = 0, rest = i; j < 6; j++, rest /= 10)
			pc[j] = 0x10000 + (uint64_t)(rest % 10 * 0x100);
		add(p, pc, 6, 1 + i % 3);
	}
}

struct pprof_doc encode(struct pprof *p, char **gz, size_t *len)
{
	struct pprof_doc d;
	size_t n;
	void *b;
	int rc;

	while ((rc = pprof_step(p, TIME, DURATION, 50000000)) > 0)
		;
	ck_assert_int_eq(rc, 0);
	b = pprof_take(p, &n);
	ck_assert_ptr_nonnull(b);
	ck_assert_msg(pprof_doc_open(&d, b, n) == 0, "%s", d.err);
	pprof_free(p);
	if (gz) {
		*gz = b;
		*len = n;
	} else {
		free(b);
	}
	return d;
}

struct pprof_doc finish(struct pprof *p)
{
	return encode(p, NULL, NULL);
}
