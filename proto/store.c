/* store.c - see store.h. */
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK (128 * 1024)
#define INDEX_FIRST 256
#define ARRAY_FIRST 64

struct arena_block {
	struct arena_block *next;
	size_t used, cap;
	_Alignas(16) char data[];
};

void *arena_alloc(struct arena *a, size_t n)
{
	struct arena_block *b = a->block;
	void *p;

	n = (n + 15) & ~(size_t)15;
	if (!b || b->cap - b->used < n) {
		size_t cap = n > ARENA_BLOCK ? n : ARENA_BLOCK;

		b = calloc(1, sizeof *b + cap);
		if (!b)
			return NULL;
		b->cap = cap;
		b->next = a->block;
		a->block = b;
	}
	p = b->data + b->used;
	b->used += n;
	return p;
}

void *arena_copy(struct arena *a, const void *p, size_t n)
{
	void *q = arena_alloc(a, n);

	if (q && n)
		memcpy(q, p, n);
	return q;
}

void arena_free(struct arena *a)
{
	while (a->block) {
		struct arena_block *b = a->block;

		a->block = b->next;
		free(b);
	}
}

/* Where hash is or would go. */
static uint32_t index_home(const struct index *x, uint32_t hash)
{
	return hash & (x->cap - 1);
}

uint32_t index_find(const struct index *x, uint64_t hash, index_eq *eq, const void *user, const void *key)
{
	uint32_t h = (uint32_t)(hash >> 32);

	if (x->cap == 0)
		return INDEX_NONE;
	for (uint32_t i = index_home(x, h); x->slot[i].ref; i = (i + 1) & (x->cap - 1))
		if (x->slot[i].hash == h && eq(user, x->slot[i].ref - 1, key))
			return x->slot[i].ref - 1;
	return INDEX_NONE;
}

static void index_put(struct index *x, struct index_slot s)
{
	uint32_t i = index_home(x, s.hash);

	while (x->slot[i].ref)
		i = (i + 1) & (x->cap - 1);
	x->slot[i] = s;
}

static int index_grow(struct index *x)
{
	struct index bigger = { .n = x->n, .cap = x->cap ? x->cap * 2 : INDEX_FIRST };

	bigger.slot = calloc(bigger.cap, sizeof *bigger.slot);
	if (!bigger.slot)
		return -ENOMEM;
	for (uint32_t i = 0; i < x->cap; i++)
		if (x->slot[i].ref)
			index_put(&bigger, x->slot[i]);
	free(x->slot);
	*x = bigger;
	return 0;
}

int index_add(struct index *x, uint64_t hash, uint32_t ref)
{
	if (x->n >= x->cap / 2 && index_grow(x) < 0)
		return -ENOMEM;
	index_put(x, (struct index_slot){ .hash = (uint32_t)(hash >> 32), .ref = ref + 1 });
	x->n++;
	return 0;
}

void index_free(struct index *x)
{
	free(x->slot);
	*x = (struct index){ 0 };
}

/* Multiply and fold: the high half, which the index uses, depends on every bit. */
uint64_t hash_u64(uint64_t seed, uint64_t v)
{
	uint64_t x = (seed ^ v) * 0x9e3779b97f4a7c15u;

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9u;
	return x ^ (x >> 32);
}

uint64_t hash_bytes(uint64_t seed, const void *p, size_t n)
{
	const unsigned char *s = p;
	uint64_t h = hash_u64(seed, n);

	for (; n >= 8; s += 8, n -= 8) {
		uint64_t v;

		memcpy(&v, s, 8);
		h = hash_u64(h, v);
	}
	if (n) {
		uint64_t v = 0;

		memcpy(&v, s, n);
		h = hash_u64(h, v);
	}
	return h;
}

size_t sorted_upto(const uint64_t *key, size_t stride, size_t n, uint64_t at)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (*(const uint64_t *)((const char *)key + mid * stride) <= at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int array_room(void *array, uint32_t n, uint32_t *cap, size_t element)
{
	void *old, *new;
	uint32_t c = *cap ? *cap * 2 : ARRAY_FIRST;

	if (n < *cap)
		return 0;
	memcpy(&old, array, sizeof old);
	new = c > *cap ? reallocarray(old, c, element) : NULL;
	if (!new)
		return -ENOMEM;
	memcpy(array, &new, sizeof new);
	*cap = c;
	return 0;
}
