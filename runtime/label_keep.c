/* label_keep.c - label sets of the cumulative profiles: copies that stay.
 *
 * A live set's name dies with its last holder (label.c), and a program may make millions of sets that say the same.
 * So an event that is counted for good names its labels by a number of this table instead: one per different text
 * and instance, append-only, lock-free.  An instance gets RT_KEPT_PER_INSTANCE of them: what users put into labels
 * (a request's number) must not fill the profiles of others.  Beyond that the event is counted without labels.
 *
 *   slots   {hash:32, number:32}, open addressing, set once by CAS
 *   sets    by number: instance and text; constant once a slot names it
 *   text    key NUL value NUL ..., taken from the front
 *   recent  name -> number, a cache: {name:48, number:16}, so that most events don't copy a set
 *
 * As in ptab.c: no lock, no allocation, no system call. */
#include <string.h>

#include "ptab.h"
#include "rt.h"
#include "sys.h"

#define SETS (1u << 16)
#define SLOTS (2 * SETS)
#define TEXT (UINT32_C(32) << 20)
#define RECENT 1024u
#define INSTANCES 4096u

struct kept {
	uint32_t instance, n, text, len;
};

static struct {
	_Atomic bool on;
	_Atomic uint64_t *slots;
	struct kept *sets;
	char *text;
	_Atomic uint32_t *of_instance; /* how many it has */
	_Atomic uint64_t *recent;
	RT_CACHED _Atomic uint32_t n_sets, n_text;
	_Atomic uint64_t dropped;
} tab;

int rt_labels_keep_start(void)
{
	if (ld(&tab.on))
		return 0;
	tab.slots = rt_map(SLOTS * sizeof *tab.slots);
	tab.sets = rt_map(SETS * sizeof *tab.sets);
	tab.text = rt_map(TEXT);
	tab.of_instance = rt_map(INSTANCES * sizeof *tab.of_instance);
	tab.recent = rt_map(RECENT * sizeof *tab.recent);
	if (!tab.slots || !tab.sets || !tab.text || !tab.of_instance || !tab.recent)
		return -ENOMEM; /* weftd does not start then */
	st(&tab.n_sets, 1);
	st_rel(&tab.on, true); /* pairs with the acquires of those who look */
	return 0;
}

/* The text of a set, into buf; its length. */
static uint32_t flatten(const struct weft_labels *l, char *buf)
{
	uint32_t at = 0;

	for (int i = 0; i < l->n; i++)
		for (int value = 0; value < 2; value++) {
			const char *s = value ? l->l[i].value : l->l[i].key;
			uint32_t n = (uint32_t)strlen(s) + 1;

			memcpy(buf + at, s, n);
			at += n;
		}
	return at;
}

static uint64_t hash_of(uint32_t instance, const char *text, uint32_t len)
{
	uint64_t h = instance + UINT64_C(0xcbf29ce484222325);

	for (uint32_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
	return h ^ h >> 31;
}

static uint32_t take(_Atomic uint32_t *from, uint32_t n, uint32_t limit)
{
	uint32_t at = ld(from);

	do {
		if (n > limit - at)
			return UINT32_MAX;
	} while (!cas(from, &at, at + n));
	return at;
}

/* A fresh set, or 0.  The two that lose a race for one text cost its instance a place. */
static uint32_t set_new(uint32_t instance, const struct weft_labels *l, const char *text, uint32_t len)
{
	uint32_t i, at;

	if (take(&tab.of_instance[instance], 1, RT_KEPT_PER_INSTANCE) == UINT32_MAX)
		return 0;
	at = take(&tab.n_text, len, TEXT);
	i = at == UINT32_MAX ? UINT32_MAX : take(&tab.n_sets, 1, SETS);
	if (i == UINT32_MAX)
		return 0;
	memcpy(tab.text + at, text, len);
	tab.sets[i] = (struct kept){ .instance = instance, .n = (uint32_t)l->n, .text = at, .len = len };
	return i;
}

static uint32_t intern(uint32_t instance, const struct weft_labels *l)
{
	char text[WEFT_LABELS_MAX * sizeof l->l[0]];
	uint32_t len = flatten(l, text), mine = 0, tag;
	uint64_t hash = hash_of(instance, text, len);

	tag = (uint32_t)(hash >> 32);
	for (uint32_t i = (uint32_t)hash % SLOTS, tries = 0; tries < SLOTS; i = (i + 1) % SLOTS, tries++) {
		uint64_t v = ld_acq(&tab.slots[i]); /* pairs with the CAS below */
		const struct kept *k;

		if (!v) {
			if (!mine && !(mine = set_new(instance, l, text, len)))
				return 0;
			if (cas(&tab.slots[i], &v, (uint64_t)tag << 32 | mine))
				return mine;
		}
		k = &tab.sets[(uint32_t)v];
		if (v >> 32 == tag && k->instance == instance && k->len == len && k->n == (uint32_t)l->n &&
		    memcmp(tab.text + k->text, text, len) == 0)
			return (uint32_t)v;
	}
	return 0;
}

/* Apart, since it needs kilobytes of stack. */
static RT_COLD uint32_t keep_new(uint64_t name, uint32_t instance, _Atomic uint64_t *recent)
{
	struct weft_labels l;
	uint32_t kept;

	if (!rt_labels_copy(name, &l) || !l.n)
		return 0;
	kept = intern(instance, &l);
	if (kept)
		st_rel(recent, name << 16 | kept); /* pairs with the acquire in rt_labels_keep() */
	else
		(void)add(&tab.dropped, 1);
	return kept;
}

uint32_t rt_labels_keep(uint64_t name, uint32_t instance)
{
	_Atomic uint64_t *recent;
	uint64_t v;

	if (likely(!name) || !ld_acq(&tab.on)) /* pairs with the release in rt_labels_keep_start() */
		return 0;
	recent = &tab.recent[name * UINT64_C(0x9e3779b97f4a7c15) >> 54];
	v = ld_acq(recent);
	if (likely(v >> 16 == name && tab.sets[v & 0xffff].instance == instance))
		return v & 0xffff;
	return instance < INSTANCES ? keep_new(name, instance, recent) : 0;
}

void rt_labels_kept(uint32_t kept, struct weft_labels *out)
{
	const char *s;

	out->n = 0;
	if (!kept)
		return;
	out->n = (int)tab.sets[kept].n;
	s = tab.text + tab.sets[kept].text;
	for (int i = 0; i < out->n; i++) {
		size_t n = strlen(s) + 1;

		memcpy(out->l[i].key, s, n);
		s += n;
		n = strlen(s) + 1;
		memcpy(out->l[i].value, s, n);
		s += n;
	}
}

void rt_labels_keep_counters(struct weft_counters *out)
{
	out->labels_kept = ld(&tab.n_sets) ? ld(&tab.n_sets) - 1 : 0;
	out->profile_labels_dropped = ld(&tab.dropped);
}
