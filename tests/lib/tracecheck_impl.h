/* tracecheck_impl.h - what the files of the checker share: the trace that is being checked, one at a time. */
#ifndef WEFT_TESTS_TRACECHECK_IMPL_H
#define WEFT_TESTS_TRACECHECK_IMPL_H

#include "tracecheck.h"

#define TC_MS 2048
#define TC_IDS 262144
#define TC_NOBODY UINT64_MAX

struct tc_ev {
	int64_t time;
	uint64_t a[4];
	int id;
};
struct tc_thread {
	uint64_t id;
	struct tc_ev *ev;
	size_t n, cap, at;
	int p;      /* -1: none */
	uint64_t g; /* 0: none */
};

extern struct tracecheck *tc;
extern struct tc_thread tc_threads[TC_MS];
extern size_t tc_n_threads;

/* The first reason stays. */
int tc_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* tracecheck_read.c: false: it is broken */
bool tc_read(const void *bytes, size_t len);
void tc_forget(void); /* what was read */
struct tc_thread *tc_thread(uint64_t id);
bool tc_is_string(uint64_t id);
bool tc_is_stack(uint64_t id);
bool tc_is_p(uint64_t id);

#endif
