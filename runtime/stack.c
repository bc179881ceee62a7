/* stack.c - where goroutines live: arenas of slots, giving memory back.
 *
 *	arena (1 GiB, aligned)    slot 0 | slot 1 | ... | opened ......... reserved, PROT_NONE
 *	slot (64 KiB, ...)        guard page | stack, grows down <- | colour | G
 *
 * The slots of an arena are of one class, and so of one size; each is aligned to it.  A class opens arenas of
 * its own as it needs them.
 *
 * Arenas are reserved PROT_NONE and opened as a growing prefix, in batches, so that only what is used
 * counts as committed, and neighbours merge into one mapping.  They are never unmapped: a stale pointer
 * to a G can always be read.
 *
 * A free slot is a zero in the arena's `used` bitmap, never a link inside the slot: so its memory can be
 * given back whole but for the guard page, and the zero page that is then read there says "dead" (status 0, id 0,
 * seq 0).  `warm` marks free slots that still have pages.
 *
 * Lock: ARENA guards all of it but what readers look at (opened, used: relaxed, a hint for them). */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cgroup.h"
#include "rt.h"
#include "sys.h"

struct rt_arena *_Atomic rt_arenas[RT_ARENAS_MAX];
_Atomic uint32_t rt_n_arenas;

/* Of each class: slots opened at once (whole words of the bitmaps), free slots that keep their pages, and what a
 * goroutine costs at least: the top page, page tables, the guard's share, side tables. */
static const struct class_is {
	uint32_t batch, warm_floor, cost;
} class_is[RT_CLASSES] = { { 256, 1024, 4608 }, { 64, 64, 5120 }, { 64, 16, 6656 } };

#define BATCH 64 /* slots given back at a time */
#define TAKE 16  /* taken at a time, at most */

static struct rt_lock lock = RT_LOCK_INIT(ARENA);
/* under lock */
static struct class
{
	uint64_t used, warm;
	uint64_t least;     /* warm ones there were since rt_stacks_age(): that many nobody has needed */
	uint64_t spare;     /* of those: to be given back */
	uint32_t hint;      /* arena in which to look for a free slot first */
	uint32_t hint_word; /* and where in it */
	uint32_t open;      /* number of the arena with room for more, plus 1; 0: none */
} classes[RT_CLASSES];
static uint64_t n_opened, n_unguarded, n_trimmed;
static uint64_t warm[RT_ARENAS_MAX][RT_SLOTS_PER_ARENA / 64];
static uint64_t bare[RT_ARENAS_MAX][RT_SLOTS_PER_ARENA / 64]; /* guarded by a canary only */
static uint64_t limit;                                        /* goroutines */
static uint64_t budget;                                       /* bytes that they may cost at least */

static uint32_t shift_of(uint32_t class)
{
	return RT_SLOT_SHIFT + RT_CLASS_STEP * class;
}

static uint32_t class_of(const struct rt_arena *a)
{
	return (a->shift - RT_SLOT_SHIFT) / RT_CLASS_STEP;
}

static uint32_t slots_in(const struct rt_arena *a)
{
	return 1u << (RT_SPAN_SHIFT - a->shift);
}

uint32_t rt_stack_class(size_t bytes)
{
	uint32_t class = 0;

	/* by the names of the classes, also where a sanitizer makes them larger */
	while (class < RT_CLASSES && bytes > (size_t)65536 << RT_CLASS_STEP * class)
		class ++;
	return class;
}

/* --- Opening --------------------------------------------------------------------------------- */

/* 80 % of what memory there is, or of the tightest control group's limit, where one is set. */
static uint64_t default_budget(void)
{
	struct rt_cgroup_limit group;
	uint64_t best = UINT64_MAX;
	long pages = sysconf(_SC_PHYS_PAGES);

	rt_cgroup_memory(sched.opts.proc_root ? sched.opts.proc_root : "/proc",
			 sched.opts.sys_root ? sched.opts.sys_root : "", &group);
	if (group.memory)
		best = group.memory;
	if (pages > 0 && (uint64_t)pages * RT_PAGE < best)
		best = (uint64_t)pages * RT_PAGE;
	best = best / 10 * 8;
	return best < 1000 * class_is[0].cost ? 1000 * class_is[0].cost : best;
}

/* Its number, or -ENOMEM. */
static int arena_new(uint32_t class)
{
	uint32_t i = ld(&rt_n_arenas);
	size_t span = (size_t)1 << RT_SPAN_SHIFT;
	struct rt_arena *a;
	uintptr_t at, base;
	long p;

	if (i == RT_ARENAS_MAX)
		return -ENOMEM;
	a = rt_map(sizeof *a);
	if (!a)
		return -ENOMEM;
	p = rt_syscall(SYS_mmap, 0, (long)(2 * span), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p < 0 && p > -4096) {
		rt_unmap(a, sizeof *a);
		return -ENOMEM;
	}
	at = (uintptr_t)p;
	base = (at + span - 1) & ~(span - 1);
	if (base > at)
		rt_unmap((void *)at, base - at);
	if (at + span > base)
		rt_unmap((void *)(base + span), at + span - base);
	/* With huge pages one goroutine would cost 2 MiB. */
	(void)rt_syscall(SYS_madvise, (long)base, (long)span, MADV_NOHUGEPAGE, 0, 0, 0);
	rt_guard_arena((char *)base, span);
	a->base = (char *)base;
	a->shift = shift_of(class);
	st_rel(&rt_arenas[i], a);
	st_rel(&rt_n_arenas, i + 1);
	return (int)i;
}

static int open_batch(uint32_t class)
{
	struct class *c = &classes[class];
	uint32_t at, n = class_is[class].batch;
	struct rt_arena *a;
	char *first;
	long rc;

	if (!c->open) {
		int i = arena_new(class);

		if (i < 0)
			return i;
		c->open = (uint32_t)i + 1;
	}
	a = rt_arenas[c->open - 1];
	at = ld(&a->opened);
	first = a->base + ((size_t)at << a->shift);
	rc = rt_syscall(SYS_mprotect, (long)first, (long)n << a->shift, PROT_READ | PROT_WRITE, 0, 0, 0);
	if (rc < 0)
		return (int)rc;
	n_unguarded += rt_guard_slots(first, a->shift, n, bare[c->open - 1], at);
	n_opened += n;
	st_rel(&a->opened, at + n);
	if (at + n == slots_in(a))
		c->open = 0;
	return 0;
}

/* --- Taking and giving ------------------------------------------------------------------------- */

/* A slot that somebody gets; it is written to when the lock is dropped, since that may map its page. */
struct taken {
	struct g *g;
	uint32_t slot;
	uint8_t kind;
};

/* The free slots among the 64 of a bitmap's word that `which` names are somebody's from now on. */
static uint32_t take(struct class *c, uint32_t arena, uint32_t word, uint64_t which, struct taken *out)
{
	const struct rt_arena *a = rt_arenas[arena];
	uint8_t kind = (uint8_t)(a->shift - RT_SLOT_SHIFT); /* RT_SLOT_SHIFT_BY */
	uint64_t used_before = warm[arena][word], canary = bare[arena][word];
	uint32_t n = 0;

	c->warm -= (uint64_t)__builtin_popcountll(used_before & which);
	c->least = c->warm < c->least ? c->warm : c->least;
	warm[arena][word] = used_before & ~which;
	for (; which; which &= which - 1) {
		uint32_t bit = (uint32_t)__builtin_ctzll(which), i = word * 64 + bit;
		out[n++] = (struct taken){
			.g = rt_slot_g(a, arena, i),
			.slot = arena * RT_SLOTS_PER_ARENA + i,
			.kind = (uint8_t)(kind | (used_before >> bit & 1 ? 0 : RT_SLOT_FRESH) |
					  (canary >> bit & 1 ? RT_SLOT_BARE : 0)),
		};
	}
	return n;
}

static uint32_t take_free(struct taken *out, uint32_t n, uint32_t class)
{
	struct class *c = &classes[class];
	uint32_t arenas = ld(&rt_n_arenas), got = 0;

	for (; c->hint < arenas; c->hint++, c->hint_word = 0) {
		struct rt_arena *a = rt_arenas[c->hint];
		uint32_t words = ld(&a->opened) / 64;

		if (class_of(a) != class)
			continue;
		for (; c->hint_word < words; c->hint_word++) {
			uint64_t used = ld(&a->used[c->hint_word]), which = ~used, rest = which;

			for (uint32_t k = got; k < n && rest; k++)
				rest &= rest - 1; /* all but the lowest n - got */
			which &= ~rest;
			st(&a->used[c->hint_word], used | which);
			got += take(c, c->hint, c->hint_word, which, out + got);
			if (got == n)
				return got;
		}
		if (words * 64 < slots_in(a))
			break;
	}
	return got;
}

/* Goroutines of a class: slots taken but for the dead ones in the Ps' caches, whose counts move while we add. */
static uint64_t living(uint32_t class)
{
	uint64_t cached = 0;

	for (uint32_t i = 0; i < ld_acq(&sched.n_ps); i++) {
		const struct p *p = sched.ps[i];

		cached += class ? ld(&p->free_big[class - 1].n) : ld(&p->n_free);
	}
	return classes[class].used > cached ? classes[class].used - cached : 0;
}

/* How many more of a class there may be. */
static uint64_t room(uint32_t class)
{
	uint64_t n = 0, cost = 0;

	for (uint32_t i = 0; i < RT_CLASSES; i++) {
		uint64_t live = living(i);

		n += live;
		cost += live * class_is[i].cost;
	}
	n = n < limit ? limit - n : 0;
	cost = cost < budget ? (budget - cost) / class_is[class].cost : 0;
	return n < cost ? n : cost;
}

uint32_t rt_slots_take(struct g **out, uint32_t n, uint32_t class, int *rc)
{
	struct taken taken[TAKE];
	uint64_t left;
	uint32_t got;

	n = n < TAKE ? n : TAKE;
	rt_lock(&lock);
	left = room(class);
	*rc = -EAGAIN;
	if (!left) {
		rt_unlock(&lock);
		return 0;
	}
	if (n > left)
		n = (uint32_t)left;
	got = take_free(taken, n, class);
	if (!got) {
		*rc = open_batch(class);
		if (*rc == 0)
			got = take_free(taken, n, class);
	}
	classes[class].used += got;
	rt_unlock(&lock);
	for (uint32_t i = 0; i < got; i++) {
		out[i] = taken[i].g;
		out[i]->slot = taken[i].slot;
		st(&out[i]->kind, taken[i].kind);
	}
	return got;
}

/* A slot is free from now on. */
static inline void put(struct class *c, uint32_t arena, uint32_t i)
{
	struct rt_arena *a = rt_arenas[arena];

	st(&a->used[i / 64], ld(&a->used[i / 64]) & ~(1ull << (i % 64)));
	if (arena < c->hint || (arena == c->hint && i / 64 < c->hint_word)) {
		c->hint = arena;
		c->hint_word = i / 64;
	}
}

void rt_slots_give(struct g **gs, uint32_t n)
{
	struct class *c;

	if (!n)
		return;
	c = &classes[rt_slot_class(gs[0])];
	rt_lock(&lock);
	for (uint32_t k = 0; k < n; k++) {
		uint32_t arena = gs[k]->slot / RT_SLOTS_PER_ARENA, i = gs[k]->slot % RT_SLOTS_PER_ARENA;

		put(c, arena, i);
		warm[arena][i / 64] |= 1ull << (i % 64);
	}
	c->warm += n;
	c->used -= n;
	rt_unlock(&lock);
}

/* --- Giving memory back --------------------------------------------------------------------------- */

/* Find up to n warm free slots of a class, from the top down (the bottom is reused first), and mark them used so
 * that nobody takes them while their pages go. */
static uint32_t borrow_warm(uint32_t class, uint32_t *slots, uint32_t n)
{
	struct class *c = &classes[class];
	uint32_t got = 0;

	for (uint32_t arena = ld(&rt_n_arenas); arena-- > 0;) {
		struct rt_arena *a = rt_arenas[arena];

		if (class_of(a) != class)
			continue;
		for (uint32_t w = ld(&a->opened) / 64; w-- > 0;) {
			while (warm[arena][w] && got < n && c->warm > class_is[class].warm_floor) {
				uint32_t i = w * 64 + 63 - (uint32_t)__builtin_clzll(warm[arena][w]);

				warm[arena][w] &= ~(1ull << (i % 64));
				st(&a->used[w], ld(&a->used[w]) | 1ull << (i % 64));
				c->warm--;
				c->used++;
				slots[got++] = arena * RT_SLOTS_PER_ARENA + i;
			}
			if (got == n || c->warm <= class_is[class].warm_floor)
				return got;
		}
	}
	return got;
}

static void wipe(const uint32_t *slots, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++) {
		const struct rt_arena *a = rt_arenas[slots[k] / RT_SLOTS_PER_ARENA];
		char *base = a->base + ((size_t)(slots[k] % RT_SLOTS_PER_ARENA) << a->shift);

		(void)rt_syscall(SYS_madvise, (long)(base + RT_PAGE), (1l << a->shift) - RT_PAGE, MADV_DONTNEED, 0, 0,
				 0);
	}
}

/* One batch of a class; whether there may be more. */
static bool trim(uint32_t class)
{
	struct class *c = &classes[class];
	uint32_t slots[BATCH], n;

	rt_lock(&lock);
	n = borrow_warm(class, slots, c->spare < BATCH ? (uint32_t)c->spare : BATCH);
	c->spare -= n;
	c->least = c->warm < c->least ? c->warm : c->least;
	rt_unlock(&lock);

	wipe(slots, n);

	rt_lock(&lock);
	for (uint32_t k = 0; k < n; k++)
		put(c, slots[k] / RT_SLOTS_PER_ARENA, slots[k] % RT_SLOTS_PER_ARENA);
	c->used -= n;
	n_trimmed += n;
	rt_unlock(&lock);
	return n == BATCH;
}

void rt_stacks_age(bool all)
{
	rt_lock(&lock);
	for (uint32_t class = 0; class < RT_CLASSES; class ++) {
		struct class *c = &classes[class];
		uint64_t unused = all ? c->warm : c->least, floor = class_is[class].warm_floor;

		c->spare = unused > floor ? unused - floor : 0;
		c->least = c->warm;
	}
	rt_unlock(&lock);
}

bool rt_stacks_trim_some(int64_t until)
{
	for (uint32_t class = 0; class < RT_CLASSES; class ++)
		while (trim(class))
			if (rt_now() >= until)
				return true;
	return false;
}

void rt_stacks_trim(void)
{
	rt_stacks_age(true);
	(void)rt_stacks_trim_some(INT64_MAX);
}

/* --- Start, questions -------------------------------------------------------------------------------- */

void rt_stacks_start(void)
{
	limit = sched.opts.max_goroutines ? sched.opts.max_goroutines : UINT64_MAX;
	budget = sched.opts.max_goroutines ? UINT64_MAX : default_budget();
	if (!ld(&rt_n_arenas)) /* else a further start in this process: the arenas are still there */
		rt_guards_start(sched.opts.no_guard);
}

RT_NOSAN struct g *rt_g_of(uintptr_t addr)
{
	uint32_t n = ld_acq(&rt_n_arenas);

	for (uint32_t i = 0; i < n; i++) {
		const struct rt_arena *a = ld_acq(&rt_arenas[i]);
		uintptr_t off = addr - (uintptr_t)a->base;

		if (off < (uintptr_t)ld(&a->opened) << a->shift)
			return rt_slot_g(a, i, (uint32_t)(off >> a->shift));
	}
	return NULL;
}

void rt_stack_counters(struct weft_counters *out)
{
	rt_lock(&lock);
	out->stacks_mapped = n_opened;
	out->stacks_in_use = 0;
	for (uint32_t i = 0; i < RT_CLASSES; i++)
		out->stacks_in_use += living(i);
	out->stack_bytes_reserved = (uint64_t)ld(&rt_n_arenas) << RT_SPAN_SHIFT;
	out->stacks_trimmed = n_trimmed;
	out->goroutines_max = limit < budget / class_is[0].cost ? limit : budget / class_is[0].cost;
	out->guard = rt_guard_name();
	out->unguarded = n_unguarded;
	rt_unlock(&lock);
}
