/* bench.h - the weft side of `make bench`: workloads on <weft.h>, word for word those of the Go side.
 *
 * A workload uses nothing that a plugin author has not, and is loaded as a plugin is; only main.c knows the host
 * interface.  Every function here runs on a goroutine. */
#ifndef WEFT_BENCH_H
#define WEFT_BENCH_H

#include <stdint.h>

#include <weft.h>

#include "job.h"

typedef WEFT_CHAN(int64_t) num_chan;

struct stamp {
	int64_t wall, cpu; /* ns */
};
struct stamp stamp_now(void);

/* name<TAB>value<TAB>unit */
void print_value(const char *name, double value, const char *unit);
/* X and X.cpu: ns per operation since s; _ms adds X.ms. */
void print_per_op(const char *name, struct stamp s, int64_t ops);
void print_per_op_ms(const char *name, struct stamp s, int64_t ops);
/* End the program with a sentence. */
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* A call that may not fail here: the result, or the end. */
int must(int rc, const char *what);
num_chan new_chan(size_t cap);
uint64_t splitmix64(uint64_t i);          /* the i-th number of the sequence that starts at 0 */
extern void (*observe)(int what, int on); /* the job's */

extern void (*bench_heap_rate)(int64_t bytes); /* weft_host_heap_rate() */

/* n operations; k is the workload's own parameter.  run_: timed after a warm-up of a
 * tenth; own_: does its own warm-up, timing and printing. */
void run_switch(int64_t n, int64_t k);
void run_spawn_join(int64_t n, int64_t k);
void own_spawn_tree(int64_t n, int64_t k);
void own_skynet(int64_t n, int64_t k);
void own_fib(int64_t n, int64_t k);
void run_ping_pong(int64_t n, int64_t k);
void run_self(int64_t n, int64_t k);
void run_buffered(int64_t n, int64_t k);
void own_ring(int64_t n, int64_t k);
void own_sieve(int64_t n, int64_t k);
void run_mutex(int64_t n, int64_t k);
void run_wait_group(int64_t n, int64_t k);
void own_memory(int64_t n, int64_t k);
void run_select_ready(int64_t n, int64_t k);
void run_select_block(int64_t n, int64_t k);
void run_rwmutex(int64_t n, int64_t k);
void run_mpmc(int64_t n, int64_t k);
void run_mix(int64_t n, int64_t k);
void own_mergesort(int64_t n, int64_t k);
void own_timers(int64_t n, int64_t k);
void own_fairness(int64_t n, int64_t k);
void own_late_compute(int64_t n, int64_t k);
void own_late_malloc(int64_t n, int64_t k);
void own_late_print(int64_t n, int64_t k);
void own_late_sort(int64_t n, int64_t k);
void own_late_once(int64_t n, int64_t k);
void own_late_lock(int64_t n, int64_t k);
void own_blocking(int64_t n, int64_t k);
void own_blocking_raw(int64_t n, int64_t k);
void own_tcp_server(int64_t n, int64_t k);
void run_malloc(int64_t n, int64_t k);
void own_prof_heap(int64_t n, int64_t k);
void own_profile(int64_t n, int64_t k);
void run_annotate(int64_t n, int64_t k);

#endif
