/* atomic.h - the few memory orders the runtime uses, by name.
 *
 * Every acquire names its partner release at the place of use, and the other way round.  Relaxed
 * (ld, st) is for counters, hints that are looked at again under a lock or a CAS, and fields that a
 * sequence counter guards.
 *
 * Asymmetric pairs: one side is hot and uses rt_light(), which only keeps the compiler from
 * reordering; the other is rare and uses rt_heavy(), a membarrier(PRIVATE_EXPEDITED) that makes every
 * running thread of the process pass a full barrier.  Together they order a store before a load on
 * both sides.  ThreadSanitizer knows nothing of membarrier, so its builds use full fences on both. */
#ifndef WEFT_RT_ATOMIC_H
#define WEFT_RT_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "arch.h"

#if defined(__SANITIZE_THREAD__)
#define RT_TSAN 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define RT_ASAN 1
#endif

#define ld(p) atomic_load_explicit((p), memory_order_relaxed)
#define st(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define ld_acq(p) atomic_load_explicit((p), memory_order_acquire)
#define st_rel(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define ld_sc(p) atomic_load_explicit((p), memory_order_seq_cst)
#define st_sc(p, v) atomic_store_explicit((p), (v), memory_order_seq_cst)
#define add(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define add_sc(p, v) atomic_fetch_add_explicit((p), (v), memory_order_seq_cst)
#define cas(p, old, new)                                                                                               \
	atomic_compare_exchange_strong_explicit((p), (old), (new), memory_order_acq_rel, memory_order_acquire)
#define xchg(p, v) atomic_exchange_explicit((p), (v), memory_order_acq_rel)

/* A counter with one writing thread: no locked instruction. */
#define bump(p, v) st((p), ld(p) + (v))

static inline void rt_light(void)
{
#ifdef RT_TSAN
	atomic_thread_fence(memory_order_seq_cst);
#else
	atomic_signal_fence(memory_order_seq_cst);
#endif
}

void rt_heavy(void); /* sys.c */

static inline void rt_pause(void)
{
	rt_arch_pause();
}

#endif
