/* store.h - memory of a builder: an arena that is freed as one, and an index from hash to number.
 *
 * Not thread-safe: each belongs to what it is part of. */
#ifndef WEFT_PROTO_STORE_H
#define WEFT_PROTO_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena_block;
struct arena {
	struct arena_block *block;
};
/* Zeroed and aligned for any type; NULL: no memory. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_copy(struct arena *a, const void *p, size_t n);
void arena_free(struct arena *a);

/* Open addressing; holds numbers, the things themselves are the user's. */
#define INDEX_NONE UINT32_MAX
struct index_slot {
	uint32_t hash, ref; /* ref + 1; 0: empty */
};
struct index {
	struct index_slot *slot;
	uint32_t n, cap;
};
typedef bool index_eq(const void *user, uint32_t ref, const void *key);
/* The number of what equals key, or INDEX_NONE. */
uint32_t index_find(const struct index *x, uint64_t hash, index_eq *eq, const void *user, const void *key);
/* It must not be there yet.  0, or -ENOMEM. */
int index_add(struct index *x, uint64_t hash, uint32_t ref);
void index_free(struct index *x);

uint64_t hash_u64(uint64_t seed, uint64_t v);
uint64_t hash_bytes(uint64_t seed, const void *p, size_t n);

/* How many of n elements, in order of a number in each, have one up to `at`.  key: that of the first element, stride:
 * the size of one.  Async-signal-safe. */
size_t sorted_upto(const uint64_t *key, size_t stride, size_t n, uint64_t at);

/* Make room for one more element of an array that doubles.  0, or -ENOMEM. */
int array_room(void *array, uint32_t n, uint32_t *cap, size_t element);

#endif
