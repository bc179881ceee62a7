/* label.c - label sets: immutable, shared, named by value.
 *
 * A set is a sorted list of up to WEFT_LABELS_MAX pairs.  Pairs (key and value) are shared between the
 * sets that came from one another, so that a push copies indices, not text.  Both live in slabs whose
 * memory never goes away and never changes its type; a set is named {generation:30, slot:18} in one word
 * of 48 bits (a recorder subject), and 0 names none.
 *
 * Life of a set: made by a push, which makes the pushing goroutine its first holder; each goroutine that
 * is started meanwhile is another.  When the last lets go it rests: its name stays good for
 * rt_labels_rest_ns, because samples that carry the name are resolved later.  Only then is the slot
 * given a new generation, its pairs are let go, and it is used again.
 *
 * Push and pop: the set made by a push remembers the one before (`prev`, a reference that its maker
 * owns) and its maker.  A goroutine pops only what it made itself, so what it inherited stays.  A push
 * that found no room counts as one on top of the present set (`over`), and the pop that belongs to it
 * takes that away.
 *
 * Readers copy without a lock: generation, pairs, fence, generation again.  Text is kept in atomic words
 * because it may be rewritten under a reader, who then throws his copy away.
 *
 * Lock: LABEL guards the slabs' free lists and a set from its birth to its publication.  refs is atomic;
 * prev and over belong to the maker. */
#include <string.h>

#include "rt.h"
#include "sys.h"

#define SLOT_BITS RT_LABEL_SLOT_BITS
#define GENERATION_MAX ((1u << 30) - 1)
#define SLOTS_MAX RT_LABEL_SLOTS /* 256 Ki sets: 32 MiB, and as many pairs: 50 MiB, if all are used */
#define CHUNK_SLOTS 1024u
#define CHUNKS (SLOTS_MAX / CHUNK_SLOTS)
#define KEY_WORDS 8
#define VALUE_WORDS 16
#define TEXT_BYTES (9 * RT_TEXT_BYTES) /* of a set, in the recorder */

struct pair {
	_Atomic uint64_t key[KEY_WORDS], value[VALUE_WORDS]; /* NUL-terminated, NUL-padded */
	/* under the lock */
	uint32_t refs; /* sets that list it */
	uint32_t next; /* free list */
};

struct set {
	_Atomic uint32_t generation; /* 0: free, or being rewritten */
	_Atomic uint32_t refs;
	_Atomic uint32_t n;
	_Atomic uint32_t pair[WEFT_LABELS_MAX]; /* by key */
	/* maker */
	uint32_t over;
	uint64_t maker; /* goroutine id */
	uint64_t prev;
	/* under the lock */
	int64_t rested; /* when its rest is over */
	uint32_t last_generation;
	uint32_t next; /* resting, oldest first */
};
_Static_assert(sizeof(struct set) <= 128, "a set is two cache lines");

int64_t rt_labels_rest_ns = 2 * WEFT_SEC;

static struct rt_lock lock = RT_LOCK_INIT(LABEL);
static struct set *_Atomic sets[CHUNKS];
static struct pair *_Atomic pairs[CHUNKS];
/* under lock; indices, 0 ends a list (slot 0 is never used) */
static uint32_t sets_opened = 1, pairs_opened = 1;
static uint32_t rest_head, rest_tail, free_pairs;

static _Atomic uint64_t n_live, n_dropped;

/* Of an index that was given out at some time; pairs with open_slot() */
RT_NOSAN static struct set *set_at(uint32_t i)
{
	return &ld_acq(&sets[i / CHUNK_SLOTS])[i % CHUNK_SLOTS];
}

RT_NOSAN static struct pair *pair_at(uint32_t i)
{
	return &ld_acq(&pairs[i / CHUNK_SLOTS])[i % CHUNK_SLOTS];
}

RT_NOSAN static uint32_t slot_of(uint64_t name)
{
	return (uint32_t)name & (SLOTS_MAX - 1);
}

/* The set of a name that the caller holds. */
static struct set *held(uint64_t name)
{
	struct set *s = set_at(slot_of(name));

	RT_ASSERT(ld(&s->generation) == name >> SLOT_BITS && ld(&s->refs) > 0);
	return s;
}

/* --- Slabs, under the lock ------------------------------------------------------------------------ */

/* A slot that was never used; 0: none.  chunk is the table's entry for it. */
static uint32_t open_slot(uint32_t *opened, void *_Atomic *table, size_t size)
{
	uint32_t i = *opened;
	void *chunk;

	if (i >= SLOTS_MAX)
		return 0;
	if (!ld(&table[i / CHUNK_SLOTS])) {
		chunk = rt_map(CHUNK_SLOTS * size);
		if (!chunk)
			return 0;
		st_rel(&table[i / CHUNK_SLOTS], chunk);
	}
	*opened = i + 1;
	return i;
}

static uint32_t pair_take(void)
{
	uint32_t i = free_pairs;

	if (!i)
		return open_slot(&pairs_opened, (void *_Atomic *)pairs, sizeof(struct pair));
	free_pairs = pair_at(i)->next;
	return i;
}

static void pair_unref(uint32_t i)
{
	struct pair *p = pair_at(i);

	if (--p->refs)
		return;
	p->next = free_pairs;
	free_pairs = i;
}

/* Take the set that has rested longest, if long enough.  From here on its name is gone. */
static uint32_t take_rested(void)
{
	uint32_t i = rest_head;
	struct set *s = i ? set_at(i) : NULL;

	if (!s || rt_now() < s->rested)
		return 0;
	rest_head = s->next;
	if (!rest_head)
		rest_tail = 0;
	st(&s->generation, 0);
	atomic_thread_fence(memory_order_release); /* with the acquire fence of rt_labels_copy() */
	for (uint32_t k = 0; k < ld(&s->n); k++)
		pair_unref(ld(&s->pair[k]));
	return i;
}

static uint32_t set_take(void)
{
	uint32_t i = take_rested();

	return i ? i : open_slot(&sets_opened, (void *_Atomic *)sets, sizeof(struct set));
}

/* Back again unused: the next to be taken. */
static void set_untake(uint32_t i)
{
	struct set *s = set_at(i);

	st(&s->n, 0);
	s->rested = 0;
	s->next = rest_head;
	rest_head = i;
	if (!rest_tail)
		rest_tail = i;
}

/* --- Holders -------------------------------------------------------------------------------------- */

uint64_t rt_labels_hold(uint64_t name)
{
	add(&held(name)->refs, 1);
	return name;
}

void rt_labels_unref(uint64_t name)
{
	struct set *s;

	if (!name)
		return;
	s = held(name);
	if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	rt_lock(&lock);
	s->rested = rt_now() + rt_labels_rest_ns;
	s->next = 0;
	if (rest_tail)
		set_at(rest_tail)->next = slot_of(name);
	else
		rest_head = slot_of(name);
	rest_tail = slot_of(name);
	rt_unlock(&lock);
	(void)add(&n_live, (uint64_t)-1);
}

/* --- Records --------------------------------------------------------------------------------------- */

static void record(struct m *by, struct g *g, uint64_t name, unsigned texts)
{
	rt_record(by, RT_EV_LABELS, texts, ld(&g->id), slot_of(name), (uint32_t)(name >> SLOT_BITS),
		  rt_trace_seq(g, 0));
}

/* What a set says, as far as TEXT_BYTES go, with zeros behind it; its length. */
static size_t tell(uint64_t name, char text[TEXT_BYTES + RT_TEXT_BYTES])
{
	struct weft_labels l;
	size_t at = 0;

	memset(text, 0, TEXT_BYTES + RT_TEXT_BYTES);
	(void)rt_labels_copy(name, &l);
	for (int i = 0; i < l.n; i++) {
		const char *part[] = { i ? ", " : "", l.l[i].key, "=", l.l[i].value };

		for (int k = 0; k < 4; k++) {
			size_t n = rt_text_cut(part[k], strlen(part[k]), TEXT_BYTES - at);

			memcpy(text + at, part[k], n);
			at += n;
			if (part[k][n])
				return at;
		}
	}
	return at;
}

/* Who looks at records later may come when the set is gone: so whoever makes one says what it is. */
static RT_COLD void record_made(struct g *g, uint64_t name)
{
	char text[TEXT_BYTES + RT_TEXT_BYTES];
	size_t n = tell(name, text);
	struct m *by;
	bool inside;

	by = rt_anywhere_begin(&inside);
	record(by, g, name, rt_record_text(by, ld(&g->id), text, n));
	rt_anywhere_end(by, inside);
}

static RT_COLD void record_change(struct g *g, uint64_t name)
{
	bool inside;
	struct m *by = rt_anywhere_begin(&inside);

	record(by, g, name, 0);
	rt_anywhere_end(by, inside);
}

void rt_labels_begin(struct m *m, struct g *g)
{
	if (rt_rec_on)
		record(m, g, ld(&g->labels), 0);
}

/* The only place where a living goroutine's label set changes. */
static void change(struct g *g, uint64_t name, bool made)
{
	st_rel(&g->labels, name); /* pairs with the acquire of whoever copies the set */
	if (rt_rec_on && made)
		record_made(g, name);
	else if (rt_rec_on)
		record_change(g, name);
}

/* The present set if the goroutine itself made it. */
static struct set *own_top(struct g *g)
{
	uint64_t name = ld(&g->labels);
	struct set *s = name ? held(name) : NULL;

	return s && s->maker == ld(&g->id) ? s : NULL;
}

static void over_add(struct g *g, uint32_t n)
{
	struct set *top = own_top(g);

	if (top)
		top->over += n;
	else
		g->labels_over += n;
}

/* Undo the latest push of g's own, and say so in a record; false: there is none. */
static bool pop(struct g *g, bool say)
{
	struct set *top = own_top(g);
	uint64_t name = ld(&g->labels);

	if (top ? top->over : g->labels_over) {
		over_add(g, (uint32_t)-1);
		return true;
	}
	if (!top)
		return false;
	if (say)
		change(g, top->prev, false); /* the reference moves */
	else
		st_rel(&g->labels, top->prev);
	top->prev = 0;
	rt_labels_unref(name);
	return true;
}

void rt_labels_drop(struct g *g)
{
	uint64_t inherited;

	while (pop(g, false)) /* it has them to its end */
		;
	inherited = ld(&g->labels);
	st(&g->labels, 0);
	g->labels_over = 0;
	rt_labels_unref(inherited);
}

/* --- Push ----------------------------------------------------------------------------------------- */

/* Copy at most cap - 1 bytes, not ending within a UTF-8 sequence; pad with NULs. */
static void copy_text(char *out, size_t cap, const char *text)
{
	size_t n = rt_text_cut(text, strnlen(text, cap), cap - 1);

	memcpy(out, text, n);
	memset(out + n, 0, cap - n);
}

struct text {
	union {
		char s[64];
		uint64_t w[KEY_WORDS];
	} key;
	union {
		char s[128];
		uint64_t w[VALUE_WORDS];
	} value;
};

/* key against that of a pair that does not change meanwhile. */
static int compare(const struct text *t, const struct pair *p)
{
	uint64_t w[KEY_WORDS];

	for (int i = 0; i < KEY_WORDS; i++)
		w[i] = ld(&p->key[i]);
	return memcmp(t->key.s, w, sizeof w);
}

static void write_pair(struct pair *p, const struct text *t)
{
	atomic_thread_fence(memory_order_release); /* who sees this text sees that the old set is gone */
	for (int i = 0; i < KEY_WORDS; i++)
		st(&p->key[i], t->key.w[i]);
	for (int i = 0; i < VALUE_WORDS; i++)
		st(&p->value[i], t->value.w[i]);
}

/* The list of `base` (may be NULL) with pair `added`, which hides one of the same key; its length, or 0
 * when there are too many.  list has a place more than a set. */
static uint32_t merge(const struct set *base, const struct text *t, uint32_t added, uint32_t *list)
{
	uint32_t n = base ? ld(&base->n) : 0, k = 0, out = 0;

	while (k < n && compare(t, pair_at(ld(&base->pair[k]))) > 0)
		list[out++] = ld(&base->pair[k++]);
	list[out++] = added;
	if (k < n && compare(t, pair_at(ld(&base->pair[k]))) == 0)
		k++;
	while (k < n)
		list[out++] = ld(&base->pair[k++]);
	return out > WEFT_LABELS_MAX ? 0 : out;
}

/* Make the set of base and t.  The name, or 0: no room.  The set's slot is taken first, as that may let
 * go of pairs. */
static uint64_t make(const struct set *base, const struct text *t)
{
	uint32_t list[WEFT_LABELS_MAX + 1], n = 0, p, i;
	uint64_t name = 0;
	struct set *s;

	rt_lock(&lock);
	i = set_take();
	p = i ? pair_take() : 0;
	if (p) {
		pair_at(p)->refs = 1;
		n = merge(base, t, p, list);
	}
	if (n) {
		write_pair(pair_at(p), t);
		s = set_at(i);
		for (uint32_t k = 0; k < n; k++) {
			st(&s->pair[k], list[k]);
			pair_at(list[k])->refs++;
		}
		st(&s->n, n);
		st(&s->refs, 1);
		s->over = 0;
		s->last_generation = s->last_generation == GENERATION_MAX ? 1 : s->last_generation + 1;
		name = (uint64_t)s->last_generation << SLOT_BITS | i;
		st_rel(&s->generation, s->last_generation); /* pairs with the acquire in rt_labels_copy() */
		(void)add(&n_live, 1);
	} else if (i) {
		set_untake(i);
	}
	if (p)
		pair_unref(p);
	rt_unlock(&lock);
	return name;
}

static struct g *current(void)
{
	struct m *m = rt_self();
	struct g *g = m ? ld(&m->cur) : NULL;

	return g && g != &m->g0 ? g : NULL;
}

void weft_label_push(const char *key, const char *value)
{
	struct g *g = current();
	uint64_t prev, name = 0;
	struct set *s;
	struct text t;

	if (!g)
		return;
	prev = ld(&g->labels);
	if (key && *key) {
		copy_text(t.key.s, sizeof t.key.s, key);
		copy_text(t.value.s, sizeof t.value.s, value ? value : "");
		name = make(prev ? held(prev) : NULL, &t);
	}
	if (!name) {
		(void)add(&n_dropped, 1);
		over_add(g, 1);
		return;
	}
	s = held(name);
	s->maker = ld(&g->id);
	s->prev = prev;
	change(g, name, true);
}

void weft_label_pop(void)
{
	struct g *g = current();

	if (g)
		(void)pop(g, true);
}

/* --- Readers ---------------------------------------------------------------------------------------- */

RT_NOSAN static void copy_words(char *out, const _Atomic uint64_t *w, int n)
{
	for (int i = 0; i < n; i++) {
		uint64_t v = ld(&w[i]);

		__builtin_memcpy(out + i * 8, &v, 8);
	}
	out[n * 8 - 1] = 0;
}

RT_NOSAN bool rt_labels_copy(uint64_t name, struct weft_labels *out)
{
	uint32_t generation = (uint32_t)(name >> SLOT_BITS), n;
	const struct set *s;

	out->n = 0;
	if (!name)
		return true;
	if (!ld_acq(&sets[slot_of(name) / CHUNK_SLOTS]))
		return false;
	s = set_at(slot_of(name));
	if (ld_acq(&s->generation) != generation) /* pairs with the release in make() */
		return false;
	n = ld(&s->n);
	for (uint32_t k = 0; k < n && k < WEFT_LABELS_MAX; k++) {
		const struct pair *p = pair_at(ld(&s->pair[k]));

		copy_words(out->l[k].key, p->key, KEY_WORDS);
		copy_words(out->l[k].value, p->value, VALUE_WORDS);
	}
	atomic_thread_fence(memory_order_acquire); /* with the release fence of take_rested() */
	if (ld(&s->generation) != generation)
		return false;
	out->n = (int)n;
	return true;
}

RT_NOSAN uint64_t rt_labels_at(uint32_t slot)
{
	uint32_t generation = ld_acq(&sets[slot / CHUNK_SLOTS]) ? ld_acq(&set_at(slot)->generation) : 0;

	return generation ? (uint64_t)generation << SLOT_BITS | slot : 0;
}

RT_NOSAN uint32_t rt_labels_slot(uint64_t name, uint32_t *generation)
{
	*generation = (uint32_t)(name >> SLOT_BITS);
	return slot_of(name);
}

bool weft_read_labels(uint64_t slot, uint32_t generation, struct weft_labels *out)
{
	return slot < SLOTS_MAX && rt_labels_copy((uint64_t)generation << SLOT_BITS | slot, out);
}

void rt_label_counters(struct weft_counters *out)
{
	out->label_sets = ld(&n_live);
	out->labels_dropped = ld(&n_dropped);
}
