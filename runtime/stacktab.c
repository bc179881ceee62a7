/* stacktab.c - the stack table: frames -> a 32-bit id, one for the process.
 *
 * Append-only and lock-free: a stack that is in keeps its id for ever, and who holds an id can always
 * read it.  Bounded in stacks and in frames; beyond that ids are 0 and the loss is counted.
 *
 *   slots    open addressing, linear; {hash:32, id:32}, 0 free, set once by CAS
 *   entries  by id: {offset:32, frames:32}, set once before the id can be known
 *   words    the frames, taken from the front
 *
 * Two threads that put the same new stack at once may both take an entry; the one whose CAS comes
 * second finds the other's slot and its own entry stays unused.
 *
 * All of it may run in a signal handler, also one that interrupts it. */
#include <string.h>

#include "rt.h"
#include "unwind_table.h"

#include "sys.h"

#define ID_BITS 17
#define IDS (UINT32_C(1) << ID_BITS)
#define SLOTS (2 * IDS)            /* never more than half full */
#define WORDS (UINT32_C(64) << 17) /* 64 MiB */

/* An M's cache of what is in: sets of WAYS places {hash:47, id:17}, newest first, by the hash's other bits; 0 free.
 * Stacks that take turns in a full set are walked and looked up again each time, for some hundred instructions more,
 * and which those are follows from addresses; so sets are many and wide enough that it hardly comes about. */
#define WAYS 4u

static struct {
	_Atomic uint64_t *slots;
	_Atomic uint64_t *entries;
	uint64_t *words;
	_Atomic bool on;
	RT_CACHED _Atomic uint64_t n_ids; /* handed out; id 0 is nobody's */
	_Atomic uint64_t n_words;
	_Atomic uint64_t lost;
} tab;

/* One round per frame: short enough for the walk of rt_stack_here(), and different stacks differ in all
 * bits, since the M's cache trusts the hash alone. */
static inline __attribute__((always_inline)) uint64_t mix(uint64_t h, uint64_t pc)
{
	return ((h << 5 | h >> 59) ^ pc) * UINT64_C(0x9e3779b97f4a7c15);
}
static inline uint64_t mix_end(uint64_t h)
{
	h ^= h >> 32;
	h *= UINT64_C(0xd6e8feb86659fd93);
	h ^= h >> 29;
	return h ? h : 1; /* 0 says that the walk got lost */
}

int rt_stacktab_start(void)
{
	if (ld(&tab.on))
		return 0;
	tab.slots = rt_map(SLOTS * sizeof *tab.slots);
	tab.entries = rt_map(IDS * sizeof *tab.entries);
	tab.words = rt_map((size_t)WORDS * sizeof *tab.words);
	if (!tab.slots || !tab.entries || !tab.words) {
		if (tab.slots)
			rt_unmap(tab.slots, SLOTS * sizeof *tab.slots);
		if (tab.entries)
			rt_unmap(tab.entries, IDS * sizeof *tab.entries);
		return -ENOMEM;
	}
	st(&tab.n_ids, 1);
	st_rel(&tab.on, true); /* pairs with the acquires of intern() and weft_read_stack() */
	return 0;
}

/* --- Putting ----------------------------------------------------------------------------------- */

/* A fresh entry that holds the stack, or 0. */
static uint32_t entry_new(const uint64_t *pc, uint32_t n)
{
	uint64_t id, at;

	if (ld(&tab.n_ids) >= IDS || ld(&tab.n_words) + n > WORDS)
		goto full;
	at = add(&tab.n_words, n);
	if (at + n > WORDS)
		goto full;
	id = add(&tab.n_ids, 1);
	if (id >= IDS)
		goto full;
	memcpy(tab.words + at, pc, n * sizeof *pc);
	st_rel(&tab.entries[id], at << 32 | n); /* pairs with the acquire in weft_read_stack() */
	return (uint32_t)id;
full:
	(void)add(&tab.lost, 1);
	return 0;
}

static bool holds(uint32_t id, const uint64_t *pc, uint32_t n)
{
	uint64_t e = ld(&tab.entries[id]);

	return (uint32_t)e == n && memcmp(tab.words + (e >> 32), pc, n * sizeof *pc) == 0;
}

static uint32_t intern(const uint64_t *pc, uint32_t n, uint64_t hash)
{
	uint32_t mine = 0, tag = (uint32_t)(hash >> 32);

	if (!n || n > WEFT_STACK_MAX || !ld_acq(&tab.on)) /* pairs with the release in rt_stacktab_start() */
		return 0;
	for (uint32_t i = (uint32_t)hash % SLOTS, tries = 0; tries < SLOTS; i = (i + 1) % SLOTS, tries++) {
		uint64_t v = ld_acq(&tab.slots[i]); /* pairs with the CAS below */

		if (!v) {
			if (!mine && !(mine = entry_new(pc, n)))
				return 0;
			if (cas(&tab.slots[i], &v, (uint64_t)tag << 32 | mine))
				return mine;
		}
		if (v >> 32 == tag && holds((uint32_t)v, pc, n))
			return (uint32_t)v;
	}
	return 0;
}

uint32_t rt_stack_intern(const uint64_t *pc, int n)
{
	uint64_t h = 0;

	for (int i = 0; i < n; i++)
		h = mix(h, pc[i]);
	return n > 0 ? intern(pc, (uint32_t)n, mix_end(h)) : 0;
}

/* --- The current stack ---------------------------------------------------------------------------- */

/* Follow the frame records from fp; the hash of the stack, or 0 when they don't end at the entry
 * trampoline.  out (may be NULL) gets the frames, *n their number. */
static RT_NOSAN inline __attribute__((always_inline)) uint64_t walk_records(const struct rt_record *fp, uintptr_t hi,
									    uint64_t *out, uint32_t *n)
{
	uint64_t h = 0;
	uint32_t k = 0;

	for (;;) {
		const struct rt_record *up = fp->up;
		uint64_t pc = rt_arch_code(fp->pc);

		if (likely(k < WEFT_STACK_MAX)) {
			h = mix(h, pc);
			if (out)
				out[k] = pc;
			k++;
		}
		if (pc == (uintptr_t)rt_g_entry_call)
			break;
		if (up <= fp || (uintptr_t)up > hi - sizeof *up || (uintptr_t)up % 8)
			return 0;
		fp = up;
	}
	*n = k;
	return mix_end(h);
}

static inline uint64_t *set_of(struct m *m, uint64_t hash)
{
	return &m->stack_cache[hash % (RT_STACK_CACHE / WAYS) * WAYS];
}

static void cache(struct m *m, uint64_t hash, uint32_t id)
{
	uint64_t *set = set_of(m, hash);

	for (unsigned i = WAYS - 1; i > 0; i--)
		set[i] = set[i - 1];
	set[0] = hash >> ID_BITS << ID_BITS | id;
}

/* Not in the cache, or not by frame pointers.  Apart, since it needs a kilobyte of stack. */
static RT_NOSAN RT_COLD uint32_t stack_slow(struct m *m, const struct rt_record *fp, uintptr_t hi, uint64_t hash)
{
	uint64_t pc[WEFT_STACK_MAX];
	uint32_t n = 0, id;
	unsigned flags = 0;

	if (!hash) {
		struct rt_regs regs = RT_REGS_OF_CALLER();

		if (!rt_regs_above(&regs, hi, fp))
			return 0;
		n = (uint32_t)rt_unwind(regs, (uintptr_t)fp, hi, pc, WEFT_STACK_MAX, &flags);
		return rt_stack_intern(pc, (int)n);
	}
	(void)walk_records(fp, hi, pc, &n);
	id = intern(pc, n, hash);
	if (id)
		cache(m, hash, id);
	return id;
}

RT_NOSAN uint32_t rt_stack_here(struct m *m, void *frame)
{
	const struct rt_record *fp = frame;
	const struct g *g = m ? ld(&m->cur) : NULL;
	const uint64_t *set;
	uintptr_t hi;
	uint64_t hash;
	uint32_t n;

	if (!g || (uintptr_t)fp < rt_stack_lo(g) || (uintptr_t)fp > rt_stack_hi(g) - sizeof *fp)
		return 0;
	hi = rt_stack_hi(g);
	hash = walk_records(fp, hi, NULL, &n);
	set = set_of(m, hash);
	for (unsigned i = 0; likely(hash) && i < WAYS; i++)
		if (likely((set[i] ^ hash) < IDS)) /* equal but for the id */
			return (uint32_t)set[i] % IDS;
	return stack_slow(m, fp, hi, hash);
}

/* --- Reading ----------------------------------------------------------------------------------------- */

uint32_t rt_stack_ids(void)
{
	uint64_t n = ld(&tab.n_ids);

	return (uint32_t)(n < IDS ? n : IDS);
}

int weft_read_stack(uint32_t id, uint64_t *pc, int cap)
{
	uint64_t e;
	int n;

	if (!id || id >= IDS || !ld_acq(&tab.on)) /* pairs with the release in rt_stacktab_start() */
		return 0;
	e = ld_acq(&tab.entries[id]); /* pairs with the release in entry_new() */
	n = (int)(uint32_t)e;
	if (n > cap)
		n = cap;
	if (n > 0)
		memcpy(pc, tab.words + (e >> 32), (size_t)n * sizeof *pc);
	return n > 0 ? n : 0;
}

void rt_stacktab_counters(struct weft_counters *out)
{
	uint64_t used = ld(&tab.n_ids);

	out->stack_table_size = IDS - 1;
	out->stack_table_used = used > IDS ? IDS - 1 : used ? used - 1 : 0;
	out->stack_table_lost = ld(&tab.lost);
}
