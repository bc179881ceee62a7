/* heap_live.c - the sampled blocks that are alive, by address: what free() has to know.
 *
 * Nearly no block is sampled, so free() first asks a filter of one byte per hash that counts the sampled blocks under
 * it (rt_live_maybe()).  It has no false negatives: a block's count is raised before its address is given out, and
 * lowered when the block is taken out.  A byte that has reached 255 stays there, as nobody knows any more.
 *
 * Behind it are tables by address, open addressing with linear probing; a place is freed by moving back what was
 * displaced by it, so there are no tombstones.  They grow by doubling, up to SHARDS * PLACES_MAX places.
 *
 * The blocks of one sixteenth of the filter are one shard with a lock of its own; sampled blocks alone get here.
 * The lock is of the last rank, since free() may be called under any other.  Nothing here allocates. */
#include "heap.h"
#include "sys.h"

#define SHARDS 16u
#define PLACES_MIN 256u /* a page */
#define PLACES_MAX (1u << 18)

struct shard {
	RT_CACHED struct rt_lock lock;
	/* under lock */
	struct rt_live *place;
	uint32_t cap;       /* a power of two, or 0 */
	_Atomic uint32_t n; /* read without the lock, too */
};

_Atomic uint8_t rt_live_filter[RT_LIVE_FILTER];
static struct shard shards[SHARDS] = { [0 ... SHARDS - 1] = { .lock = RT_LOCK_INIT(HEAP) } };

static struct shard *shard_of(uintptr_t addr)
{
	return &shards[rt_live_hash((void *)addr) / (RT_LIVE_FILTER / SHARDS)];
}

static uint32_t home(const struct shard *s, uintptr_t addr)
{
	return (uint32_t)((addr >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (s->cap - 1);
}

/* Where addr is, or the free place where it would be.  The table is never full. */
static uint32_t find(const struct shard *s, uintptr_t addr)
{
	uint32_t i = home(s, addr);

	while (s->place[i].addr && s->place[i].addr != addr)
		i = (i + 1) & (s->cap - 1);
	return i;
}

/* Room for one more; false: there is none. */
static bool make_room(struct shard *s)
{
	struct shard fresh = { .cap = s->cap ? 2 * s->cap : PLACES_MIN };

	if (s->cap && ld(&s->n) < s->cap / 4 * 3)
		return true;
	if (s->cap < PLACES_MAX)
		fresh.place = rt_map(fresh.cap * sizeof *fresh.place);
	if (!fresh.place)
		return false;
	for (uint32_t i = 0; i < s->cap; i++)
		if (s->place[i].addr)
			fresh.place[find(&fresh, s->place[i].addr)] = s->place[i];
	if (s->place)
		rt_unmap(s->place, s->cap * sizeof *s->place);
	s->place = fresh.place;
	s->cap = fresh.cap;
	return true;
}

static void filter_add(uintptr_t addr, int by)
{
	_Atomic uint8_t *count = &rt_live_filter[rt_live_hash((void *)addr)];
	uint8_t now = ld(count);

	if (now < UINT8_MAX)
		st(count, (uint8_t)(now + by));
}

enum rt_live_put rt_live_put(struct rt_live block, struct rt_live *old)
{
	struct shard *s = shard_of(block.addr);
	enum rt_live_put done = RT_LIVE_LOST;

	rt_lock(&s->lock);
	if (make_room(s)) {
		struct rt_live *at = &s->place[find(s, block.addr)];

		done = at->addr ? RT_LIVE_STALE : RT_LIVE_PUT;
		*old = *at;
		*at = block;
		if (done == RT_LIVE_PUT) {
			filter_add(block.addr, 1);
			bump(&s->n, 1);
		}
	}
	rt_unlock(&s->lock);
	return done;
}

/* Free place i: whatever stands behind it without a gap and may stand there moves up. */
static void close_gap(struct shard *s, uint32_t i)
{
	uint32_t mask = s->cap - 1;

	for (uint32_t k = (i + 1) & mask; s->place[k].addr; k = (k + 1) & mask) {
		uint32_t displaced = (k - home(s, s->place[k].addr)) & mask;

		if (displaced < ((k - i) & mask))
			continue;
		s->place[i] = s->place[k];
		i = k;
	}
	s->place[i].addr = 0;
}

bool rt_live_take(const void *p, struct rt_live *out)
{
	uintptr_t addr = (uintptr_t)p;
	struct shard *s = shard_of(addr);
	uint32_t i;

	rt_lock(&s->lock);
	i = s->cap ? find(s, addr) : 0;
	*out = s->cap ? s->place[i] : (struct rt_live){ 0 };
	if (out->addr) {
		close_gap(s, i);
		filter_add(addr, -1);
		bump(&s->n, -1u);
	}
	rt_unlock(&s->lock);
	return out->addr;
}

uint64_t rt_live_count(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < SHARDS; i++)
		n += ld(&shards[i].n);
	return n;
}
