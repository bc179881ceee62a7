/* heap.h - between heap.c (malloc and its kin, what is sampled, what it is counted under) and heap_live.c (which
 * sampled blocks are alive). */
#ifndef WEFT_RT_HEAP_H
#define WEFT_RT_HEAP_H

#include "ptab.h"
#include "rt.h"

/* {blocks allocated, bytes, blocks freed, bytes}, sampled; extra as in weft_read.h. */
extern struct rt_ptab rt_heap_tab;
#define RT_HEAP_ENTRIES (1u << 16)

void rt_heap_counters(struct weft_counters *out);
/* Records the bytes in use if they have changed much since that was last done: by m, which has a P, for malloc() is
 * called anywhere. */
void rt_heap_tell(struct m *m);
/* What extra says of blocks of this size under a rate. */
uint64_t rt_heap_class(size_t size);

/* --- heap_live.c -------------------------------------------------------------------------------------- */

struct rt_live {
	uintptr_t addr; /* 0: a free place */
	uint64_t size : 48, entry : 16;
};
_Static_assert(RT_HEAP_ENTRIES <= 1 << 16, "an entry's number has 16 bits");

/* How many sampled blocks have an address with that hash; 255: as many or more, for good. */
#define RT_LIVE_FILTER (1u << 17)
extern _Atomic uint8_t rt_live_filter[RT_LIVE_FILTER];
static inline uint32_t rt_live_hash(const void *p)
{
	uintptr_t a = (uintptr_t)p;

	/* Neighbours share a cache line; blocks that are mapped one by one begin alike in their low 12 bits. */
	return (uint32_t)(a >> 4 ^ a >> 19) % RT_LIVE_FILTER;
}
/* False: p was not sampled.  It was put before whoever asks could know p. */
static inline bool rt_live_maybe(const void *p)
{
	return ld(&rt_live_filter[rt_live_hash(p)]);
}
enum rt_live_put {
	RT_LIVE_LOST, /* no room */
	RT_LIVE_PUT,
	RT_LIVE_STALE, /* likewise, in place of *old, whose end nobody told */
};
enum rt_live_put rt_live_put(struct rt_live block, struct rt_live *old);
bool rt_live_take(const void *p, struct rt_live *out);
uint64_t rt_live_count(void);

#endif
