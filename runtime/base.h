/* base.h - sizes, attributes and assertions that every file of the runtime uses. */
#ifndef WEFT_RT_BASE_H
#define WEFT_RT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "atomic.h"
#include <weft.h>

#undef errno /* the runtime does not use it; results are -Exxx from sys.h */

struct g;
struct m;
struct p;

#define RT_PAGE 4096
#define RT_LINE 64
#define RT_SPAN_SHIFT 30 /* arenas are 1 GiB, aligned */
#ifdef RT_TSAN
#define RT_SLOT_SHIFT 18
#elif defined(RT_ASAN)
#define RT_SLOT_SHIFT 18
#else
#define RT_SLOT_SHIFT 16
#endif
#define RT_SLOT (1u << RT_SLOT_SHIFT)
#define RT_SLOTS_PER_ARENA (1u << (RT_SPAN_SHIFT - RT_SLOT_SHIFT))
#define RT_ARENAS_MAX 1024
/* Slots come in classes, each RT_SLOT << RT_CLASS_STEP * class: 64 KiB, 256 KiB, 1 MiB (four times that under a
 * sanitizer). */
#define RT_CLASSES 3u
#define RT_CLASS_STEP 2u
#define RT_RUNQ 256
#define RT_DEQUE 1024
#define RT_MS_MAX 10000
#define RT_FREE_MAX 256
#define RT_FREE_BIG 16 /* of each larger class */
#define RT_STACK_CACHE 256

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define RT_CACHED __attribute__((aligned(RT_LINE)))
/* Instrumented for address and thread exactly where its caller is: an inline function would not be inlined
 * into one that is RT_NOSAN, but called. */
#define RT_INLINE static inline __attribute__((always_inline, no_sanitize("undefined")))
#define RT_NOINLINE __attribute__((noinline))
#define RT_FLAT inline __attribute__((always_inline)) /* where the depth of calls matters: switch_*.S */
/* Behind the last call of a public function that may wait or wake: the call does not become a jump, and the function
 * stays on the stack, where profiles look for it. */
#define RT_KEEP_FRAME() __asm__ __volatile__("")
/* Behind the last call of a function that passes its frame record on: on x86-64 that outlasts even a jump. */
#define RT_KEEP_RECORD() (RT_SP_ABOVE_RECORD ? (void)0 : ({ RT_KEEP_FRAME(); }))
#define RT_COLD __attribute__((noinline, cold))
#define RT_NOSAN __attribute__((no_sanitize("address", "thread", "undefined")))

/* Text of n bytes is to be cut to at most `most`: where, so as not to end within a UTF-8 sequence. */
static inline size_t rt_text_cut(const char *text, size_t n, size_t most)
{
	if (n <= most)
		return n;
	while (most > 0 && ((unsigned char)text[most] & 0xc0) == 0x80)
		most--;
	return most;
}

void rt_fatal(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2))); /* fatal.c */

#if RT_CHECKS
#define RT_ASSERT(c) ((c) ? (void)0 : rt_fatal("assertion failed: " #c " (%s:%d)", __FILE__, __LINE__))
#else
#define RT_ASSERT(c) ((void)0)
#endif

#endif
