/* stack.c - where goroutines live: arenas of slots, guards, giving memory back.
 *
 *	arena (1 GiB, aligned)    slot 0 | slot 1 | ... | opened ......... reserved, PROT_NONE
 *	slot (64 KiB)             guard page | stack, grows down <- | colour | G
 *
 * Arenas are reserved PROT_NONE and opened as a growing prefix, in batches, so that only what is used
 * counts as committed, and neighbours merge into one mapping.  They are never unmapped: a stale pointer
 * to a G can always be read.
 *
 * A free slot is a zero in the arena's `used` bitmap, never a link inside the slot: so its memory can be
 * given back whole, and the zero page that is then read there says "dead" (status 0, id 0, seq 0).
 * `warm` marks free slots that still have pages.
 *
 * Guards, the best that the kernel has, found at start and said in the log:
 *   madvise   MADV_GUARD_INSTALL (Linux 6.13): costs no mapping, any number
 *   mprotect  splits the mapping: about vm.max_map_count / 2 slots, the rest get
 *   canary    the lowest words of the stack must stay zero; looked at on every switch away.  Zero so
 *             that looking maps the shared zero page and costs no memory.
 *
 * Lock: ARENA guards all of it but what readers look at (opened, used: relaxed, a hint for them). */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cgroup.h"
#include "rt.h"
#include "sys.h"

#define BATCH 256       /* slots opened at once */
#define WARM_FLOOR 1024 /* free slots that keep their pages */
#define CANARY_WORDS 8
#define ADV_GUARD_INSTALL 102 /* Linux 6.13, asm-generic/mman-common.h */

struct rt_arena *_Atomic rt_arenas[RT_ARENAS_MAX];
_Atomic uint32_t rt_n_arenas;

enum guard { GUARD_MADVISE, GUARD_MPROTECT, GUARD_CANARY };

static struct rt_lock lock = RT_LOCK_INIT(ARENA);
/* under lock */
static enum guard guard;
static int64_t mprotect_left; /* guards the mapping limit still allows */
static uint64_t n_used, n_warm, n_opened, n_unguarded, n_trimmed;
static uint32_t hint;      /* arena in which to look for a free slot first */
static uint32_t hint_word; /* and where in it */
static uint64_t warm[RT_ARENAS_MAX][RT_SLOTS_PER_ARENA / 64];
static uint64_t bare[RT_ARENAS_MAX][RT_SLOTS_PER_ARENA / 64]; /* guarded by a canary only */
static int pidfd = -1;
static uint64_t limit; /* goroutines */

/* --- Opening --------------------------------------------------------------------------------- */

static int64_t read_number(const char *path, int64_t fallback)
{
	char buf[32] = { 0 };
	int fd = rt_sys_open(path, O_RDONLY | O_CLOEXEC);
	int64_t v = 0;
	long n;

	if (fd < 0)
		return fallback;
	n = rt_sys_read(fd, buf, sizeof buf - 1);
	(void)rt_sys_close(fd);
	if (n <= 0 || buf[0] < '0' || buf[0] > '9')
		return fallback; /* "max" too */
	for (int i = 0; buf[i] >= '0' && buf[i] <= '9' && v < INT64_MAX / 10 - 9; i++)
		v = v * 10 + (buf[i] - '0');
	return v;
}

/* 80 % of what memory there is (of the tightest control group's limit, where one is set), 4.5 KiB each. */
static uint64_t default_limit(void)
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
	best = best / 10 * 8 / 4608;
	return best < 1000 ? 1000 : best;
}

static int arena_new(void)
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
	a->base = (char *)base;
	st_rel(&rt_arenas[i], a);
	st_rel(&rt_n_arenas, i + 1);
	return 0;
}

static int guard_by_madvise(char *first, uint32_t n)
{
	struct iovec v[BATCH];

	for (uint32_t i = 0; i < n; i++)
		v[i] = (struct iovec){ first + ((size_t)i << RT_SLOT_SHIFT), RT_PAGE };
	if (pidfd >= 0) {
		long rc = rt_syscall(SYS_process_madvise, pidfd, (long)v, n, ADV_GUARD_INSTALL, 0, 0);

		if (rc == (long)n * RT_PAGE)
			return 0;
		(void)rt_sys_close(pidfd);
		pidfd = -1;
	}
	for (uint32_t i = 0; i < n; i++) {
		long rc = rt_syscall(SYS_madvise, (long)v[i].iov_base, RT_PAGE, ADV_GUARD_INSTALL, 0, 0, 0);

		if (rc < 0)
			return (int)rc;
	}
	return 0;
}

static void guard_slots(uint32_t arena, uint32_t at, uint32_t n)
{
	char *first = rt_arenas[arena]->base + ((size_t)at << RT_SLOT_SHIFT);

	if (guard == GUARD_MADVISE && guard_by_madvise(first, n) == 0)
		return;
	/* EINVAL: the memory is locked (mlockall); so no such guard for these */
	for (uint32_t i = 0; i < n; i++) {
		char *page = first + ((size_t)i << RT_SLOT_SHIFT);

		if (guard != GUARD_CANARY && mprotect_left > 0 &&
		    rt_syscall(SYS_mprotect, (long)page, RT_PAGE, PROT_NONE, 0, 0, 0) == 0) {
			mprotect_left--;
			continue;
		}
		bare[arena][(at + i) / 64] |= 1ull << ((at + i) % 64);
		n_unguarded++;
	}
}

static int open_batch(void)
{
	uint32_t n = ld(&rt_n_arenas), at;
	struct rt_arena *a;
	long rc;

	if (n == 0 || ld(&rt_arenas[n - 1]->opened) == RT_SLOTS_PER_ARENA) {
		int e = arena_new();

		if (e < 0)
			return e;
		n++;
	}
	a = rt_arenas[n - 1];
	at = ld(&a->opened);
	rc = rt_syscall(SYS_mprotect, (long)(a->base + ((size_t)at << RT_SLOT_SHIFT)), (long)BATCH << RT_SLOT_SHIFT,
			PROT_READ | PROT_WRITE, 0, 0, 0);
	if (rc < 0)
		return (int)rc;
	guard_slots(n - 1, at, BATCH);
	n_opened += BATCH;
	st_rel(&a->opened, at + BATCH);
	return 0;
}

/* --- Taking and giving ------------------------------------------------------------------------- */

static uint32_t take_free(struct g **out, uint32_t n)
{
	uint32_t arenas = ld(&rt_n_arenas), got = 0;

	for (; hint < arenas; hint++, hint_word = 0) {
		struct rt_arena *a = rt_arenas[hint];
		uint32_t words = ld(&a->opened) / 64;

		for (; hint_word < words; hint_word++) {
			uint64_t used = ld(&a->used[hint_word]);

			while (~used && got < n) {
				uint32_t i = hint_word * 64 + (uint32_t)__builtin_ctzll(~used);
				struct g *g = rt_slot_g(a, hint, i);

				used |= 1ull << (i % 64);
				if (warm[hint][i / 64] & 1ull << (i % 64)) {
					warm[hint][i / 64] &= ~(1ull << (i % 64));
					n_warm--;
				}
				g->slot = hint * RT_SLOTS_PER_ARENA + i;
				g->unguarded = bare[hint][i / 64] >> (i % 64) & 1;
				out[got++] = g;
			}
			st(&a->used[hint_word], used);
			if (got == n)
				return got;
		}
		if (words * 64 < RT_SLOTS_PER_ARENA)
			break;
	}
	return got;
}

/* Goroutines: slots taken but for the dead ones in the Ps' caches, whose counts move while we add. */
static uint64_t living(void)
{
	uint64_t cached = 0;

	for (uint32_t i = 0; i < ld_acq(&sched.n_ps); i++)
		cached += ld(&sched.ps[i]->n_free);
	return n_used > cached ? n_used - cached : 0;
}

uint32_t rt_slots_take(struct g **out, uint32_t n, int *rc)
{
	uint64_t live;
	uint32_t got;

	rt_lock(&lock);
	live = living();
	*rc = -EAGAIN;
	if (live >= limit) {
		rt_unlock(&lock);
		return 0;
	}
	if (n > limit - live)
		n = (uint32_t)(limit - live);
	got = take_free(out, n);
	if (!got) {
		*rc = open_batch();
		if (*rc == 0)
			got = take_free(out, n);
	}
	n_used += got;
	rt_unlock(&lock);
	return got;
}

void rt_slots_give(struct g **gs, uint32_t n)
{
	rt_lock(&lock);
	for (uint32_t k = 0; k < n; k++) {
		uint32_t arena = gs[k]->slot / RT_SLOTS_PER_ARENA, i = gs[k]->slot % RT_SLOTS_PER_ARENA;
		struct rt_arena *a = rt_arenas[arena];

		st(&a->used[i / 64], ld(&a->used[i / 64]) & ~(1ull << (i % 64)));
		warm[arena][i / 64] |= 1ull << (i % 64);
		if (arena < hint || (arena == hint && i / 64 < hint_word)) {
			hint = arena;
			hint_word = i / 64;
		}
	}
	n_warm += n;
	n_used -= n;
	rt_unlock(&lock);
}

/* --- Giving memory back --------------------------------------------------------------------------- */

/* Find up to n warm free slots, from the top down (the bottom is reused first), and mark them used so
 * that nobody takes them while their pages go. */
static uint32_t borrow_warm(uint32_t *slots, uint32_t n)
{
	uint32_t got = 0;

	for (uint32_t arena = ld(&rt_n_arenas); arena-- > 0;) {
		struct rt_arena *a = rt_arenas[arena];

		for (uint32_t w = ld(&a->opened) / 64; w-- > 0;) {
			while (warm[arena][w] && got < n && n_warm > WARM_FLOOR) {
				uint32_t i = w * 64 + 63 - (uint32_t)__builtin_clzll(warm[arena][w]);

				warm[arena][w] &= ~(1ull << (i % 64));
				st(&a->used[w], ld(&a->used[w]) | 1ull << (i % 64));
				n_warm--;
				n_used++;
				slots[got++] = arena * RT_SLOTS_PER_ARENA + i;
			}
			if (got == n || n_warm <= WARM_FLOOR)
				return got;
		}
	}
	return got;
}

static void wipe(const uint32_t *slots, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++) {
		char *base = rt_arenas[slots[k] / RT_SLOTS_PER_ARENA]->base +
			     ((size_t)(slots[k] % RT_SLOTS_PER_ARENA) << RT_SLOT_SHIFT);

		(void)rt_syscall(SYS_madvise, (long)(base + RT_PAGE), RT_SLOT - RT_PAGE, MADV_DONTNEED, 0, 0, 0);
	}
}

void rt_stacks_trim(void)
{
	uint32_t slots[64], n;

	do {
		rt_lock(&lock);
		n = n_warm > WARM_FLOOR ? borrow_warm(slots, 64) : 0;
		rt_unlock(&lock);

		wipe(slots, n);

		rt_lock(&lock);
		for (uint32_t k = 0; k < n; k++) {
			uint32_t arena = slots[k] / RT_SLOTS_PER_ARENA, i = slots[k] % RT_SLOTS_PER_ARENA;
			struct rt_arena *a = rt_arenas[arena];

			st(&a->used[i / 64], ld(&a->used[i / 64]) & ~(1ull << (i % 64)));
			if (arena < hint || (arena == hint && i / 64 < hint_word)) {
				hint = arena;
				hint_word = i / 64;
			}
		}
		n_used -= n;
		n_trimmed += n;
		rt_unlock(&lock);
	} while (n == 64);
}

/* --- Start, questions -------------------------------------------------------------------------------- */

static bool have_madvise_guard(void)
{
	char *page = rt_map(RT_PAGE);
	bool ok;

	if (!page)
		return false;
	ok = rt_syscall(SYS_madvise, (long)page, RT_PAGE, ADV_GUARD_INSTALL, 0, 0, 0) == 0;
	rt_unmap(page, RT_PAGE);
	return ok;
}

int rt_stacks_start(int no_guard)
{
	limit = sched.opts.max_goroutines ? sched.opts.max_goroutines : default_limit();
	if (ld(&rt_n_arenas))
		return 0; /* a further start in this process: the arenas are still there */
	mprotect_left = (read_number("/proc/sys/vm/max_map_count", 65530) - 5000) / 2;
	guard = no_guard >= 2 ? GUARD_CANARY : no_guard == 1 || !have_madvise_guard() ? GUARD_MPROTECT : GUARD_MADVISE;
	if (guard == GUARD_MADVISE) {
		long fd = rt_syscall(SYS_pidfd_open, rt_pid(), 0, 0, 0, 0, 0);

		pidfd = fd < 0 ? -1 : (int)fd; /* close-on-exec by itself */
	} else if (guard == GUARD_MPROTECT) {
		rt_log(WEFT_NOTICE,
		       "stack guards: this kernel has no MADV_GUARD_INSTALL (Linux 6.13); mprotect guards the first "
		       "%lld goroutine stacks (vm.max_map_count), the rest get a canary",
		       (long long)mprotect_left);
	} else {
		rt_log(WEFT_NOTICE, "stack guards: none, canaries only");
	}
	return 0;
}

const char *rt_guard_name(void)
{
	static const char *const names[] = { "madvise", "mprotect", "canary" };

	return names[guard];
}

RT_NOSAN struct g *rt_g_of(uintptr_t addr)
{
	uint32_t n = ld_acq(&rt_n_arenas);

	for (uint32_t i = 0; i < n; i++) {
		const struct rt_arena *a = ld_acq(&rt_arenas[i]);
		uintptr_t off = addr - (uintptr_t)a->base;

		if (off < (uintptr_t)ld(&a->opened) << RT_SLOT_SHIFT)
			return rt_slot_g(a, i, (uint32_t)(off >> RT_SLOT_SHIFT));
	}
	return NULL;
}

bool rt_is_guard(const struct g *g, uintptr_t addr)
{
	return addr >= rt_slot_base(g) && addr < rt_stack_lo(g);
}

RT_NOSAN void rt_canary_check(struct g *g)
{
	const uint64_t *w = (const uint64_t *)rt_stack_lo(g);

	for (int i = 0; i < CANARY_WORDS; i++)
		if (unlikely(w[i] != 0))
			rt_fatal("stack overflow: goroutine %llu has used all %u KiB of its stack (canary overwritten)",
				 (unsigned long long)ld(&g->id), (RT_SLOT - RT_PAGE) / 1024);
}

void rt_stack_counters(struct weft_counters *out)
{
	rt_lock(&lock);
	out->stacks_mapped = n_opened;
	out->stacks_in_use = living();
	out->stack_bytes_reserved = (uint64_t)ld(&rt_n_arenas) << RT_SPAN_SHIFT;
	out->stacks_trimmed = n_trimmed;
	out->guard = rt_guard_name();
	out->unguarded = n_unguarded;
	rt_unlock(&lock);
}
