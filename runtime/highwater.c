/* highwater.c - how deep stacks get, by start function: for who has to choose a class of stacks.
 *
 * A stack that had no page but its top one when its goroutine was born shows by the pages it has now how deep that
 * goroutine has been: RT_SLOT_FRESH.  It holds for who is first in a slot that was never used or was given back,
 * and for one goroutine in a while whose slot is emptied for the purpose when it is born: at most one a P and
 * millisecond, looked for where a P takes a block of 64 ids, so nothing of this is on the path of the others.
 * Measured is when it ends, at most one each 100 us and P, and, all of them, when somebody asks while they live.
 * So the marks are whole pages; a function of which very many are started is a sample; and pages that were
 * swapped out don't count.
 *
 * The table only grows, by compare-and-swap on an entry's key; full means that further functions are left out. */
#include <sys/mman.h>

#include "rt.h"
#include "sys.h"

#define ENTRIES 1024u /* power of two */
#define BIRTH_EACH WEFT_MS
#define DEATH_EACH (100 * WEFT_US)
#define LOOK 64 /* pages asked for at once: this runs on goroutines' stacks */

struct mark {
	_Atomic uint64_t key;  /* function and class; 0: free.  Never changes again */
	_Atomic uint64_t used; /* bytes, the most so far */
	_Atomic uint64_t looks;
};
static struct mark marks[ENTRIES];

/* --- The table --- */

static uint64_t key_of(weft_fn fn, uint32_t class)
{
	return (uint64_t)(uintptr_t)fn * RT_CLASSES + class;
}

static struct mark *find(uint64_t key)
{
	uint64_t h = key * UINT64_C(0x9e3779b97f4a7c15) >> 54;

	for (uint32_t i = 0; i < ENTRIES; i++) {
		struct mark *k = &marks[(h + i) % ENTRIES];
		uint64_t there = ld(&k->key);

		if (there == key || (!there && (cas(&k->key, &there, key) || there == key)))
			return k;
	}
	return NULL;
}

static void note(weft_fn fn, uint32_t class, uint64_t used)
{
	struct mark *k = find(key_of(fn, class));
	uint64_t was;

	if (!k)
		return;
	add(&k->looks, 1);
	was = ld(&k->used);
	while (was < used && !cas(&k->used, &was, used))
		;
}

size_t weft_read_stack_use(struct weft_stack_use *out, size_t cap)
{
	size_t n = 0;

	for (uint32_t i = 0; i < ENTRIES && n < cap; i++) {
		uint64_t key = ld(&marks[i].key), looks = ld(&marks[i].looks);

		if (!looks)
			continue;
		out[n++] = (struct weft_stack_use){
			.fn = key / RT_CLASSES,
			.size = ((uint64_t)RT_SLOT << RT_CLASS_STEP * (key % RT_CLASSES)) - RT_PAGE,
			.used = ld(&marks[i].used),
			.looks = looks,
		};
	}
	return n;
}

/* --- Measuring --- */

static uintptr_t top_page(const struct g *g)
{
	return (uintptr_t)g & ~(uintptr_t)(RT_PAGE - 1);
}

/* From the end of the stack to its lowest page that is there. */
static uint64_t depth(const struct g *g)
{
	uintptr_t top = top_page(g), at = rt_stack_lo(g);
	unsigned char there[LOOK];

	if (ld(&g->kind) & RT_SLOT_BARE)
		at += RT_PAGE; /* looking at the canary has mapped it */
	while (at < top) {
		uintptr_t n = (top - at) / RT_PAGE < LOOK ? (top - at) / RT_PAGE : LOOK;

		if (rt_syscall(SYS_mincore, (long)at, (long)(n * RT_PAGE), (long)there, 0, 0, 0) < 0)
			return 0;
		for (uintptr_t i = 0; i < n; i++)
			if (there[i] & 1)
				return rt_stack_hi(g) - (at + i * RT_PAGE);
		at += n * RT_PAGE;
	}
	return rt_stack_hi(g) - top;
}

RT_COLD void rt_mark_birth(struct p *p, struct g *g)
{
	uint64_t now = rt_tsc();

	if (now < p->mark_birth || ld(&g->kind) & RT_SLOT_FRESH)
		return;
	p->mark_birth = now + rt_ns_span_tsc(BIRTH_EACH);
	if (rt_syscall(SYS_madvise, (long)rt_stack_lo(g), (long)(top_page(g) - rt_stack_lo(g)), MADV_DONTNEED, 0, 0,
		       0) == 0)
		st(&g->kind, ld(&g->kind) | RT_SLOT_FRESH);
}

RT_COLD void rt_mark_death(struct p *p, struct g *g)
{
	uint64_t now = rt_tsc();

	if (now >= p->mark_death) {
		p->mark_death = now + rt_ns_span_tsc(DEATH_EACH);
		note(rt_start_of(g), rt_slot_class(g), depth(g));
	}
	st(&g->kind, ld(&g->kind) & (uint8_t)~RT_SLOT_FRESH);
}

/* What dies or is born meanwhile shows another id, and then what was seen may be another's. */
static void look_at(const struct g *g)
{
	uint64_t id = ld_acq(&g->id), used; /* pairs with its publication in rt_go() */
	weft_fn fn = rt_start_of(g);
	uint32_t class = rt_slot_class(g);

	if (!id || !ld(&g->inst) || !(ld(&g->kind) & RT_SLOT_FRESH))
		return; /* nobody, a guest, or on a used stack */
	used = depth(g);
	if (ld_acq(&g->id) == id)
		note(fn, class, used);
}

bool weft_read_stack_look(uint64_t *at, size_t n)
{
	uint32_t arenas = ld_acq(&rt_n_arenas); /* pairs with the release where arenas are added (stack.c) */

	for (; *at / RT_SLOTS_PER_ARENA < arenas; *at = (*at / RT_SLOTS_PER_ARENA + 1) * RT_SLOTS_PER_ARENA) {
		uint32_t arena = (uint32_t)(*at / RT_SLOTS_PER_ARENA);
		const struct rt_arena *a = ld_acq(&rt_arenas[arena]);

		for (uint32_t i = *at % RT_SLOTS_PER_ARENA; i < ld_acq(&a->opened); i++, (*at)++) {
			if (!(ld_acq(&a->used[i / 64]) >> (i % 64) & 1))
				continue;
			if (!n--)
				return true;
			look_at(rt_slot_g(a, arena, i));
		}
	}
	return false;
}
