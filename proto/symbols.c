/* symbols.c - see symbols.h.
 *
 * One published set: the module table it was made for and a symbol table per module.  A new set takes
 * over the tables of modules it has seen; nothing is freed, so whoever holds an old pointer, a signal
 * handler above all, reads on in peace.  symbols_update() serialises itself.
 *
 * Names made up for functions without a symbol are interned under a lock, by the start of the function;
 * that lock is never taken in a signal handler. */
#include "symbols.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store.h"
#include "symtab.h"
#include "utf8.h"
#include "weft_read.h"

#define MADE_UP_MAX 65536

struct symbol_set {
	const struct symbol_set *older; /* only so that leak checkers see what is kept */
	const struct weft_modules *ms;
	const struct symtab *tab[]; /* as ms->m */
};

static _Atomic(const struct symbol_set *) published;
static pthread_mutex_t update_lock = PTHREAD_MUTEX_INITIALIZER;

/* --- the published set ------------------------------------------------------------------- */

/* sig.  (weft_module_at() makes no promise to signal handlers.) */
static const struct weft_module *module_find(const struct weft_modules *ms, uint64_t pc)
{
	size_t n = ms ? sorted_upto(&ms->m->start, sizeof *ms->m, ms->n, pc) : 0;

	return n && pc < ms->m[n - 1].limit ? &ms->m[n - 1] : NULL;
}

static bool same_module(const struct weft_module *a, const struct weft_module *b)
{
	return a == b || (a->start == b->start && a->limit == b->limit && a->bias == b->bias &&
			  a->build_id_len == b->build_id_len &&
			  memcmp(a->build_id, b->build_id, a->build_id_len) == 0 && strcmp(a->path, b->path) == 0);
}

/* sig */
static const struct symtab *tab_of(const struct symbol_set *set, const struct weft_module *m)
{
	const struct weft_module *known = set ? module_find(set->ms, m->start) : NULL;

	return known && same_module(known, m) ? set->tab[known - set->ms->m] : NULL;
}

/* Tables for all modules of set; those that old has are taken over. */
static int fill(struct symbol_set *set, const struct symbol_set *old)
{
	for (size_t i = 0; i < set->ms->n; i++) {
		int rc = 0;

		set->tab[i] = tab_of(old, &set->ms->m[i]);
		if (!set->tab[i])
			rc = symtab_read(&set->ms->m[i], &set->tab[i]);
		if (rc < 0) {
			while (i-- > 0)
				if (!tab_of(old, &set->ms->m[i]))
					symtab_free(set->tab[i]);
			return rc;
		}
	}
	return 0;
}

static int update(void)
{
	const struct weft_modules *ms = weft_read_modules();
	const struct symbol_set *old = atomic_load_explicit(&published, memory_order_relaxed); /* only we write */
	struct symbol_set *set;
	int rc;

	if (!ms || (old && old->ms == ms))
		return 0;
	set = calloc(1, sizeof *set + ms->n * sizeof *set->tab);
	if (!set)
		return -ENOMEM;
	set->older = old;
	set->ms = ms;
	rc = fill(set, old);
	if (rc < 0) {
		free(set);
		return rc;
	}
	/* pairs with the acquires in symbols_at() and symbols_name() */
	atomic_store_explicit(&published, set, memory_order_release);
	return 0;
}

int symbols_update(void)
{
	int rc;

	pthread_mutex_lock(&update_lock);
	rc = update();
	pthread_mutex_unlock(&update_lock);
	return rc;
}

/* --- functions without a symbol ------------------------------------------------------------ */

struct made_up {
	uint64_t addr; /* of the function in its file, or of the pc where its start is not known */
	const char *path, *name;
};

static pthread_mutex_t made_up_lock = PTHREAD_MUTEX_INITIALIZER;
/* under made_up_lock */
static struct made_up *made_up;
static uint32_t n_made_up, cap_made_up;
static struct index made_up_index;
static struct arena made_up_arena;

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static bool made_up_eq(const void *user, uint32_t ref, const void *key)
{
	const struct made_up *want = key;

	(void)user;
	return made_up[ref].addr == want->addr && strcmp(made_up[ref].path, want->path) == 0;
}

/* The lock is held.  NULL: no memory, or too many already. */
static const char *make_up(uint64_t hash, const struct made_up *key)
{
	char name[256];
	struct made_up *e;
	int n = snprintf(name, sizeof name - 20, "%s", base_name(key->path));

	if (n_made_up >= MADE_UP_MAX || array_room(&made_up, n_made_up, &cap_made_up, sizeof *made_up) < 0)
		return NULL;
	if (n > (int)sizeof name - 21)
		n = sizeof name - 21;
	snprintf(name + n, sizeof name - (size_t)n, "+0x%llx", (unsigned long long)key->addr);
	utf8_clean_controls(name, strlen(name));
	e = &made_up[n_made_up];
	e->addr = key->addr;
	e->path = arena_copy(&made_up_arena, key->path, strlen(key->path) + 1);
	e->name = arena_copy(&made_up_arena, name, strlen(name) + 1);
	if (!e->path || !e->name || index_add(&made_up_index, hash, n_made_up) < 0)
		return NULL;
	n_made_up++;
	return e->name;
}

static const char *made_up_name(const struct weft_module *m, uint64_t addr)
{
	struct made_up key = { .addr = addr, .path = m->path };
	uint64_t hash = hash_bytes(addr, m->path, strlen(m->path));
	const char *name;
	uint32_t ref;

	pthread_mutex_lock(&made_up_lock);
	ref = index_find(&made_up_index, hash, made_up_eq, NULL, &key);
	name = ref != INDEX_NONE ? made_up[ref].name : make_up(hash, &key);
	pthread_mutex_unlock(&made_up_lock);
	return name ? name : "[unknown]";
}

/* --- look-ups ---------------------------------------------------------------------------------- */

/* What a plugin author calls is no inside. */
static bool is_internal(uint64_t pc, const char *name)
{
	return weft_read_is_runtime(pc) && strncmp(name, "weft_", 5) != 0;
}

struct symbol symbols_at(uint64_t pc)
{
	const struct symbol_set *set = atomic_load_explicit(&published, memory_order_acquire);
	const struct weft_module *m = module_find(weft_read_modules(), pc);
	const struct symtab *tab = m ? tab_of(set, m) : NULL;
	const struct sym *s = tab ? symtab_at(tab, pc - m->bias) : NULL;
	uint64_t start;

	if (!m)
		return (struct symbol){ .name = "[unknown]" };
	if (s) {
		const char *name = tab->names + s->name;

		return (struct symbol){ .name = name,
					.start = m->bias + s->addr,
					.exact = true,
					.internal = is_internal(pc, name),
					.module = m };
	}
	start = weft_read_func_start(pc);
	return (struct symbol){ .name = made_up_name(m, (start ? start : pc) - m->bias), .start = start, .module = m };
}

/* sig.  Append to buf what fits, keeping room for the NUL. */
static size_t put(char *buf, size_t len, size_t cap, const char *s)
{
	while (*s && len + 1 < cap)
		buf[len++] = *s++;
	return len;
}

/* sig */
static size_t put_offset(char *buf, size_t len, size_t cap, uint64_t v)
{
	char digits[20], *p = digits + sizeof digits;

	*--p = 0;
	do {
		*--p = "0123456789abcdef"[v & 15];
		v >>= 4;
	} while (v);
	len = put(buf, len, cap, "+0x");
	return put(buf, len, cap, p);
}

/* sig */
size_t symbols_name(uintptr_t pc, char *buf, size_t cap)
{
	const struct symbol_set *set = atomic_load_explicit(&published, memory_order_acquire);
	const struct weft_module *m = set ? module_find(set->ms, pc) : NULL;
	const struct sym *s;
	size_t len = 0;

	if (cap == 0)
		return 0;
	if (m) {
		const struct symtab *tab = set->tab[m - set->ms->m];

		s = symtab_at(tab, pc - m->bias);
		len = put(buf, 0, cap, s ? tab->names + s->name : base_name(m->path));
		len = put_offset(buf, len, cap, s ? pc - m->bias - s->addr : pc - m->bias);
	}
	buf[len] = 0;
	return len;
}
