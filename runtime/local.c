/* local.c - goroutine-local values: a key for the process, a value per goroutine.
 *
 * A key is {index, generation}; freeing it raises the generation, so what goroutines still hold under it is no
 * longer found, nor destroyed.  A goroutine's values are an array of its own by index, made at the first set; only
 * the goroutine itself touches it.  When its function has returned, destructors run on it, as its own code; what
 * they set anew is destroyed in further rounds, at most ROUNDS.  A foreign thread has values likewise, until it ends.
 *
 * Keys: under `lock`, but destructor and generation are read without (a key is made before it is used). */
#include <stdlib.h>
#include <string.h>

#include "rt.h"

#define KEYS 256
#define ROUNDS 4

struct locals {
	uint32_t n;
	struct local {
		uint32_t generation;
		void *value;
	} at[];
};

static struct rt_lock lock = RT_LOCK_INIT(LEAF);
static struct {
	_Atomic uint32_t generation; /* odd: in use */
	_Atomic(weft_fn) destroy;
	uint32_t owner; /* number of the instance that made it; 0: none.  Under lock */
} keys[KEYS];

int weft_local_new(weft_fn destroy)
{
	const struct weft_inst *inst = weft_instance_self();
	int key = -EAGAIN;

	rt_lock(&lock);
	for (uint32_t i = 0; i < KEYS && key < 0; i++) {
		uint32_t generation = ld(&keys[i].generation);

		if (generation & 1)
			continue;
		st(&keys[i].destroy, destroy);
		keys[i].owner = inst ? inst->number : 0;
		st_rel(&keys[i].generation, generation + 1); /* pairs with index_of() */
		key = (int)(((generation + 1) & 0x7fffff) << 8 | i);
	}
	rt_unlock(&lock);
	return key;
}

/* -1: not a key, or not any more. */
static int index_of(int key)
{
	uint32_t generation = ld_acq(&keys[key & (KEYS - 1)].generation);

	return key > 0 && generation & 1 && (generation & 0x7fffff) == (uint32_t)key >> 8 ? key & (KEYS - 1) : -1;
}

int weft_local_free(int key)
{
	int i;

	rt_lock(&lock);
	i = index_of(key);
	if (i >= 0)
		st(&keys[i].generation, ld(&keys[i].generation) + 1);
	rt_unlock(&lock);
	return i < 0 ? -EINVAL : 0;
}

void rt_locals_free(uint32_t number)
{
	rt_lock(&lock);
	for (uint32_t i = 0; i < KEYS; i++) {
		uint32_t generation = ld(&keys[i].generation);

		if (generation & 1 && keys[i].owner == number)
			st(&keys[i].generation, generation + 1);
	}
	rt_unlock(&lock);
}

static struct g *self_g(void)
{
	struct m *m = rt_self();

	return m ? ld(&m->cur) : rt_foreign_g();
}

int weft_local_set(int key, void *value)
{
	int i = index_of(key);
	struct g *g = self_g();
	struct locals *l = g->locals;
	uint32_t n;

	if (i < 0)
		return -EINVAL;
	if (!l || l->n <= (uint32_t)i) {
		n = ((uint32_t)i | 7) + 1;
		l = realloc(l, sizeof *l + n * sizeof *l->at);
		if (!l)
			return -ENOMEM;
		if (!g->locals)
			l->n = 0;
		memset(l->at + l->n, 0, (n - l->n) * sizeof *l->at);
		l->n = n;
		g->locals = l;
		g->extras |= RT_EXTRA_LOCALS;
	}
	l->at[i] = (struct local){ ld(&keys[i].generation), value };
	return 0;
}

void *weft_local_get(int key)
{
	int i = index_of(key);
	const struct locals *l = self_g()->locals;

	if (i < 0 || !l || l->n <= (uint32_t)i || l->at[i].generation != ld(&keys[i].generation))
		return NULL;
	return l->at[i].value;
}

/* One round of destructors.  False: there was nothing to do. */
static bool destroy_all(struct g *g)
{
	bool any = false;

	for (uint32_t i = 0; i < g->locals->n; i++) { /* the array moves when a destructor sets more */
		struct local l = g->locals->at[i];
		weft_fn destroy = ld(&keys[i].destroy);

		g->locals->at[i].value = NULL;
		if (!l.value || !destroy || l.generation != ld(&keys[i].generation))
			continue;
		any = true;
		destroy(l.value);
	}
	return any;
}

void rt_locals_end(struct g *g)
{
	for (int i = 0; g->locals && i < ROUNDS && destroy_all(g); i++)
		;
	rt_locals_drop(g);
}

void rt_locals_drop(struct g *g)
{
	free(g->locals);
	g->locals = NULL;
	g->extras &= (uint8_t)~RT_EXTRA_LOCALS;
}
