/* atomic.h - stands in for runtime/atomic.h in models: the same names, every operation a step of mc.h. */
#ifndef WEFT_RT_ATOMIC_H
#define WEFT_RT_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mc.h"

#define MC_T(p) __typeof__((void)0, *(p)) /* without _Atomic */

#define MC_LD(p, text)                                                                                                 \
	({                                                                                                             \
		__typeof__(p) mc_p = (p);                                                                              \
		(MC_T(mc_p))(uintptr_t) mc_ld(mc_p, sizeof *mc_p, text);                                               \
	})
#define MC_ST(p, v, text)                                                                                              \
	({                                                                                                             \
		__typeof__(p) mc_p = (p);                                                                              \
		MC_T(mc_p) mc_v = (v);                                                                                 \
		mc_st(mc_p, sizeof *mc_p, (uint64_t)(uintptr_t)mc_v, text);                                            \
	})
/* old = *p; *p = new, where new may name old */
#define MC_RMW(p, v, new, text)                                                                                        \
	({                                                                                                             \
		__typeof__(p) mc_p = (p);                                                                              \
		MC_T(mc_p) mc_v = (v), mc_old;                                                                         \
		mc_rmw(mc_p, sizeof *mc_p, text);                                                                      \
		mc_old = *(MC_T(mc_p) *)mc_p;                                                                          \
		*(MC_T(mc_p) *)mc_p = (new);                                                                           \
		mc_rmw_done(mc_p, sizeof *mc_p, true);                                                                 \
		mc_old;                                                                                                \
	})
#define MC_CAS(p, expected, new, text)                                                                                 \
	({                                                                                                             \
		__typeof__(p) mc_p = (p);                                                                              \
		__typeof__(expected) mc_e = (expected);                                                                \
		MC_T(mc_p) mc_new = (new), mc_old;                                                                     \
		bool mc_ok;                                                                                            \
		mc_rmw(mc_p, sizeof *mc_p, text);                                                                      \
		mc_old = *(MC_T(mc_p) *)mc_p;                                                                          \
		mc_ok = mc_old == *mc_e;                                                                               \
		if (mc_ok)                                                                                             \
			*(MC_T(mc_p) *)mc_p = mc_new;                                                                  \
		else                                                                                                   \
			*mc_e = mc_old;                                                                                \
		mc_rmw_done(mc_p, sizeof *mc_p, mc_ok);                                                                \
		mc_ok;                                                                                                 \
	})

/* On x86 an acquire or sequentially consistent load is a plain one, a release store as well; a
 * sequentially consistent store is an exchange. */
#define ld(p) MC_LD(p, #p)
#define ld_acq(p) MC_LD(p, #p)
#define ld_sc(p) MC_LD(p, #p)
#define st(p, v) MC_ST(p, v, #p)
#define st_rel(p, v) MC_ST(p, v, #p)
#define st_sc(p, v) ((void)MC_RMW(p, v, mc_v, #p))
#define add(p, v) MC_RMW(p, v, mc_old + mc_v, #p)
#define add_sc(p, v) MC_RMW(p, v, mc_old + mc_v, #p)
#define xchg(p, v) MC_RMW(p, v, mc_v, #p)
#define cas(p, old, new) MC_CAS(p, old, new, #p)
#define bump(p, v) MC_ST(p, MC_LD(p, #p) + (v), #p)

#undef atomic_compare_exchange_strong_explicit
#undef atomic_fetch_sub_explicit
#undef atomic_thread_fence
#undef atomic_signal_fence
#define atomic_compare_exchange_strong_explicit(p, old, new, good, bad) MC_CAS(p, old, new, #p)
#define atomic_fetch_sub_explicit(p, v, order) MC_RMW(p, v, mc_old - mc_v, #p)
#define atomic_thread_fence(order) ((order) == memory_order_seq_cst ? mc_fence() : (void)0)
#define atomic_signal_fence(order) ((void)0)

#define rt_light() ((void)0)
#define rt_pause() mc_pause()
#define rt_heavy() mc_heavy()

#endif
