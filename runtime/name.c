/* name.c - the names that plugins give to tasks, regions and kinds of log lines: text -> a number, one table for the
 * process.
 *
 * Append-only and lock-free, as the stack table (stacktab.c): what is in keeps its number for ever and never changes,
 * so whoever has one can read it.  Bounded: names are cut at NAME_BYTES, and what comes when there is no room left has
 * the number of "(other)".
 *
 *   slots   open addressing, linear; {hash:32, number:32}, 0 free, set once by CAS
 *   names   by number: the text, padded with zeros; written before its number can be known
 *
 * Of two threads that put the same new name at once the second finds the first's slot; its own number stays unused. */
#include <string.h>

#include "rt.h"
#include "sys.h"

#define NAMES 4096u
#define SLOTS (2 * NAMES) /* never more than half full */
#define NAME_BYTES 64u
#define OTHER 1u

struct name {
	union {
		char s[NAME_BYTES];
		uint64_t w[NAME_BYTES / 8];
	};
};

static struct {
	_Atomic uint64_t *slots;
	struct name *names;
	_Atomic bool on;
	_Atomic uint32_t n; /* numbers given out; those of "" and "(other)" are */
} tab;

int rt_names_start(void)
{
	if (ld(&tab.on))
		return 0;
	tab.slots = rt_map(SLOTS * sizeof *tab.slots);
	tab.names = rt_map(NAMES * sizeof *tab.names);
	if (!tab.slots || !tab.names) {
		if (tab.slots)
			rt_unmap(tab.slots, SLOTS * sizeof *tab.slots);
		return -ENOMEM;
	}
	strcpy(tab.names[OTHER].s, "(other)");
	st(&tab.n, OTHER + 1);
	st_rel(&tab.on, true); /* pairs with the acquires of those who look */
	return 0;
}

/* Padded with zeros; its length. */
static size_t copy(struct name *out, const char *text)
{
	size_t n = rt_text_cut(text, strnlen(text, NAME_BYTES), NAME_BYTES - 1);

	memset(out, 0, sizeof *out);
	memcpy(out->s, text, n);
	return n;
}

static uint64_t hash_of(const struct name *name, size_t n)
{
	uint64_t h = n;

	for (size_t i = 0; i < (n + 7) / 8; i++)
		h = (h ^ name->w[i]) * UINT64_C(0x9e3779b97f4a7c15) ^ h >> 29;
	return h ^ h >> 32;
}

static uint32_t number_new(const struct name *name)
{
	uint32_t n = ld(&tab.n);

	do {
		if (n == NAMES)
			return OTHER;
	} while (!cas(&tab.n, &n, n + 1));
	tab.names[n] = *name;
	return n;
}

uint32_t rt_name(const char *text)
{
	struct name name;
	uint32_t mine = 0, tag;
	uint64_t h;

	if (!text || !*text || !ld_acq(&tab.on)) /* pairs with the release in rt_names_start() */
		return 0;
	h = hash_of(&name, copy(&name, text));
	tag = (uint32_t)(h >> 32);
	for (uint32_t i = (uint32_t)h % SLOTS;; i = (i + 1) % SLOTS) {
		uint64_t v = ld_acq(&tab.slots[i]); /* pairs with the CAS below */

		if (!v) {
			if (!mine)
				mine = number_new(&name);
			if (mine == OTHER || cas(&tab.slots[i], &v, (uint64_t)tag << 32 | mine))
				return mine;
		}
		if (v >> 32 == tag && memcmp(&tab.names[(uint32_t)v], &name, sizeof name) == 0)
			return (uint32_t)v;
	}
}

RT_NOSAN uint32_t rt_names(void)
{
	return ld(&tab.n);
}

RT_NOSAN const char *weft_read_trace_name(uint32_t number)
{
	/* pairs with the release in rt_names_start() */
	return number < NAMES && ld_acq(&tab.on) ? tab.names[number].s : "";
}
