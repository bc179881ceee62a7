/* heap.c - malloc and its kin of everybody in the process, in front of the C library's: which blocks are sampled, and
 * what they are counted under.
 *
 * The functions below stand in the executable, so they are found before the C library's by plugins, by all that they
 * load, by C++'s operator new and by the C library itself.  Each does what the C library does, on its blocks.  Not
 * seen: mappings, allocators of a plugin's own, plugins that were opened with RTLD_DEEPBIND (weftd does not).
 *
 * Sampling is Go's: each byte allocated is hit with the same small chance, a block that was hit is a sample, and who
 * reads a profile multiplies by 1 / (1 - e^(-size/rate)).  So a thread draws how many bytes it may allocate until the
 * next hit (`due`), from an exponential distribution with the rate as mean.  The hot path counts down a window of that,
 * `left`; when it is used up, note() settles it against `due`.  A window is short enough that a change of the
 * rate is soon seen by all, and one of -1 sends every block to note().
 *
 * A block is known for a sample from its address, heap_live.c; its entry in the table of sums gets the free, too.  A
 * block that realloc() is given is freed and another one allocated, whether it moves or not.  Sums count what was
 * asked for, to the byte.  Entries are by stack, instance, labels, rate and size, this rounded up as class() says, or
 * a place that allocates strings would have an entry for each length.
 *
 * May be called by anybody, anywhere: before main() and in ld.so (nothing is sampled before weft_host_start()), under
 * any lock (those of heap_live.c are of the last rank), on any stack, in a thread's last moments (there is nothing to
 * clean up), in a signal handler that interrupted just this (`busy`: then not sampled, not looked up), in a child
 * after fork() (`owner`: likewise; who held the locks is not there; a system call to find that out would cost more than
 * all the rest).  Sampling allocates nothing and takes no lock that workers share on their way; a sampled block costs a
 * walk of the stack by table, up to some microseconds.
 *
 * In builds with a sanitizer, which has an allocator of its own, nothing is sampled. */
#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "heap.h"
#include "sys.h"

#define WINDOW (32 * 1024)
#define NEVER (INT64_MAX / 2)
#define WALK_MAX (256 * 1024) /* bytes of a stack of whose bounds only the upper one is known */
#define ROOM (4 * 1024)       /* of stack that the walk of a goroutine's needs, */
#define RATES 256
#define MOVED (1024 * 1024) /* bytes */

struct rt_ptab rt_heap_tab = RT_PTAB(RT_HEAP_ENTRIES);

static struct {
	_Atomic uint32_t generation; /* of what is below; 0: nothing ever started */
	_Atomic int64_t rate;        /* bytes; 0: off */
	_Atomic uint32_t rate_index;
	_Atomic bool counting;
	_Atomic uint32_t *_Atomic owner; /* 1; in memory that the kernel zeroes in a child */
	_Atomic uint64_t seeds;
	_Atomic int64_t rates[RATES]; /* by index: those there have been */
	RT_CACHED _Atomic uint64_t samples;
	_Atomic uint64_t lost;
	_Atomic int64_t in_use, told; /* bytes that the live samples stand for; as last recorded */
	RT_CACHED _Atomic uint64_t mallocs;
	_Atomic uint64_t malloc_bytes;
} heap;

/* --- Rates ---------------------------------------------------------------------------------------- */

int64_t weft_read_heap_rate(uint64_t extra)
{
	return ld(&heap.rates[extra >> 48 & (RATES - 1)]);
}

uint64_t weft_read_heap_size(uint64_t extra)
{
	return extra & ((UINT64_C(1) << 48) - 1);
}

/* Up to 256 in steps of 8, beyond in 16 steps from one power of two to the next. */
uint64_t rt_heap_class(size_t size)
{
	uint64_t step = 8;

	if (size > 256)
		step = UINT64_C(1) << (59 - __builtin_clzl(size - 1));
	size = (size + step - 1) & ~(step - 1);
	if (size >= UINT64_C(1) << 48)
		size = (UINT64_C(1) << 48) - 1;
	return size | (uint64_t)ld(&heap.rate_index) << 48;
}

uint64_t weft_read_heap_bytes(void)
{
	int64_t n = ld(&heap.in_use);

	return n > 0 ? (uint64_t)n : 0;
}

void rt_heap_tell(struct m *m)
{
	int64_t told = ld(&heap.told), now = ld(&heap.in_use);

	if (!rt_rec_on || likely(now - told < MOVED && told - now < MOVED) || !cas(&heap.told, &told, now))
		return;
	rt_record(m, RT_EV_HEAP, 0, 0, weft_read_heap_bytes(), 0, 0);
}

void rt_heap_counters(struct weft_counters *out)
{
	out->heap_rate = ld(&heap.rate);
	out->heap_samples = ld(&heap.samples);
	out->heap_samples_lost = ld(&heap.lost);
	out->heap_samples_live = rt_live_count();
}

void weft_read_mallocs(uint64_t *calls, uint64_t *bytes)
{
	*calls = ld(&heap.mallocs);
	*bytes = ld(&heap.malloc_bytes);
}

void weft_host_trim(void)
{
	if (sched.running)
		rt_stacks_trim();
	(void)malloc_trim(0);
}

#if defined(RT_ASAN) || defined(RT_TSAN)

void weft_host_heap_rate(int64_t rate)
{
	(void)rate;
}

int weft_host_count_mallocs(void)
{
	return -ENOTSUP;
}

#else

#define EXPORTED __attribute__((visibility("default"), section("rt_heap_text")))
#define INSIDE __attribute__((section("rt_heap_text")))
extern const char __start_rt_heap_text[], __stop_rt_heap_text[];

/* The C library's own; called without a detour through the linkage table. */
#define REAL __attribute__((noplt))
REAL void *__libc_malloc(size_t n);
REAL void *__libc_calloc(size_t n, size_t size);
REAL void *__libc_realloc(void *p, size_t n);
REAL void *__libc_memalign(size_t align, size_t n);
REAL void *__libc_valloc(size_t n);
REAL void *__libc_pvalloc(size_t n);
REAL void __libc_free(void *p);
extern void *__libc_stack_end;
int *__errno_location(void) __attribute__((const));

/* The thread's countdown.  All zero in a new thread: its first block goes to note(). */
static __thread struct self {
	int64_t left;   /* of the window */
	int64_t window; /* what left was when it was opened; -1: every block is noted */
	int64_t due;    /* bytes from there to the next hit */
	uint64_t rng;
	uint32_t generation; /* that due was drawn for */
	bool busy;
	uintptr_t stack_lo, stack_hi; /* of a stack that is no worker's: known to be mapped */
} self __attribute__((tls_model("local-exec")));

/* --- The countdown -------------------------------------------------------------------------------- */

static uint64_t random64(struct self *s)
{
	uint64_t x = s->rng;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	s->rng = x;
	return x * UINT64_C(0x2545f4914f6cdd1d);
}

/* Bytes to the next hit. */
static int64_t draw(struct self *s, int64_t rate)
{
	double u;

	if (rate == 0)
		return NEVER;
	if (rate == 1)
		return 0;
	u = ((double)(random64(s) >> 11) + 1) * 0x1p-53; /* (0, 1] */
	return (int64_t)(-log(u) * (double)rate);
}

/* The first block of a thread, or a new rate.  What was due does not matter: the distance from anywhere to the next
 * hit has the same distribution. */
static RT_COLD void renew(struct self *s)
{
	uint32_t generation = ld_acq(&heap.generation); /* pairs with the release in changed() */
	int64_t rate = ld(&heap.rate);

	if (!s->rng && rate) {
		uint64_t seed = sched.opts.seed ? sched.opts.seed : rt_tsc();

		s->rng = (seed + add(&heap.seeds, 1)) * UINT64_C(0x9e3779b97f4a7c15) | 1;
	}
	s->due = draw(s, rate);
	s->generation = generation;
}

/* Account for a block of n bytes, with which the window ended.  True: it was hit. */
static bool settle(struct self *s, size_t n)
{
	int64_t rate = ld(&heap.rate), spent = s->window - s->left;
	bool hit = false, counting = ld(&heap.counting);

	if (unlikely(ld(&heap.generation) != s->generation)) {
		renew(s);
		spent = (int64_t)n;
	}
	if (counting) {
		(void)add(&heap.mallocs, 1);
		(void)add(&heap.malloc_bytes, n);
	}
	s->due -= spent + !n; /* an empty block is a byte, or it would never be hit */
	if (s->due < 0) {
		hit = rate > 0;
		s->due = draw(s, rate);
	}
	s->window = counting || rate == 1 ? -1 : s->due < WINDOW ? s->due : WINDOW;
	s->left = s->window;
	return hit;
}

/* A size that no block has ends it, too, or it would make the window endless: note() takes it back. */
static inline bool ends_window(size_t n)
{
	self.left = (int64_t)((uint64_t)self.left - n);
	return (self.left | (int64_t)n) < 0;
}

/* --- A sample ------------------------------------------------------------------------------------- */

/* The stack that a thread that is no worker is on: from sp up, as far as it is certainly mapped.  A thread's control
 * block lies right above its stack; the first thread's stack ends where the program was entered. */
static bool foreign_stack(struct self *s, uintptr_t sp, uintptr_t *hi)
{
	uintptr_t tcb = (uintptr_t)__builtin_thread_pointer(), end = (uintptr_t)__libc_stack_end, top;
	unsigned char resident[WALK_MAX / RT_PAGE + 2];
	uintptr_t lo = sp & ~(uintptr_t)(RT_PAGE - 1);

	*hi = s->stack_hi;
	if (sp >= s->stack_lo && sp < s->stack_hi)
		return true;
	top = tcb > sp && (end < sp || tcb < end) ? tcb : end;
	*hi = top > sp && top - sp > WALK_MAX ? lo + WALK_MAX : top;
	if (top <= sp || rt_syscall(SYS_mincore, (long)lo, (long)(*hi - lo), (long)resident, 0, 0, 0) != 0)
		return false;
	if (*hi == top) { /* it stays for as long as the thread runs on it */
		s->stack_lo = lo;
		s->stack_hi = top;
	}
	return true;
}

/* The stack that a call runs on, where its frame is at sp.  False: nobody knows. */
static bool bounds(struct self *s, const struct m *m, const struct g *g, uintptr_t sp, uintptr_t *lo, uintptr_t *hi)
{
	if (g) {
		*lo = rt_stack_lo(g);
		*hi = rt_stack_hi(g);
	} else if (m) {
		*lo = m->stack_lo;
		*hi = m->stack_hi;
	} else {
		*lo = sp;
		return foreign_stack(s, sp, hi);
	}
	return sp >= *lo && sp < *hi;
}

/* The stack from the caller of malloc() on. */
static uint32_t stack_of(struct rt_regs regs, uintptr_t lo, uintptr_t hi)
{
	uint64_t pc[WEFT_STACK_MAX];
	unsigned flags = 0;
	int n = rt_unwind(regs, lo, hi, pc, WEFT_STACK_MAX, &flags), skip = 0;

	while (skip < n - 1 && pc[skip] > (uintptr_t)__start_rt_heap_text && pc[skip] <= (uintptr_t)__stop_rt_heap_text)
		skip++;
	return rt_stack_intern(pc + skip, n - skip);
}

/* Bytes that a sampled block stands for, now and when it is freed. */
static int64_t stands_for(const struct rt_live *b)
{
	const struct rt_ptab_entry *e = ld_acq(&rt_heap_tab.entries); /* with rt_ptab_start() */
	double size = (double)b->size, rate = e ? (double)weft_read_heap_rate(e[b->entry].extra) : 0;

	return (int64_t)(rate > 1 && b->size ? size / -expm1(-size / rate) : size);
}

static void count_free(const struct rt_live *b)
{
	(void)add(&heap.in_use, -stands_for(b));
	rt_ptab_add(&rt_heap_tab, b->entry, 2, 1);
	rt_ptab_add(&rt_heap_tab, b->entry, 3, b->size);
}

static RT_COLD void sample(struct self *s, void *p, size_t n, const struct rt_record *fp, uintptr_t sp)
{
	const struct m *m = rt_self();
	struct g *g = m ? ld(&m->cur) : NULL;
	const struct weft_inst *inst = weft_instance_self();
	struct rt_ptab_key key = { .instance = inst ? inst->number : 0, .extra = rt_heap_class(n) };
	struct rt_live block = { .addr = (uintptr_t)p, .size = n }, old;
	uintptr_t lo, hi;

	if (g && g == &m->g0)
		g = NULL;
	if (bounds(s, m, g, (uintptr_t)fp, &lo, &hi) && (!g || (uintptr_t)fp - lo > ROOM))
		key.stack = stack_of(rt_regs_at_call(fp, sp), lo, hi);
	if (g && (uintptr_t)fp - lo > RT_LABEL_ROOM)
		key.labels = rt_labels_keep(ld(&g->labels), key.instance);
	block.entry = rt_ptab_at(&rt_heap_tab, key);
	rt_ptab_add(&rt_heap_tab, block.entry, 0, 1);
	rt_ptab_add(&rt_heap_tab, block.entry, 1, n);
	(void)add(&heap.in_use, stands_for(&block));
	(void)add(&heap.samples, 1);
	switch (rt_live_put(block, &old)) {
	case RT_LIVE_STALE:
		count_free(&old);
		break;
	case RT_LIVE_LOST: /* its free will not be seen */
		count_free(&block);
		(void)add(&heap.lost, 1);
		break;
	case RT_LIVE_PUT:
		break;
	}
}

/* --- What malloc() and free() do beside the C library's ---------------------------------------------- */

/* False in a child after fork. */
static bool is_owner(void)
{
	_Atomic uint32_t *owner = ld(&heap.owner);

	return owner && ld(owner);
}

/* A block was allocated, or (NULL) was not, with which the window ended.  Returns it. */
INSIDE static RT_NOINLINE void *note(void *p, size_t n)
{
	struct self *s = &self;

	if (!p || s->busy) {
		s->left = (int64_t)((uint64_t)s->left + n);
		return p;
	}
	s->busy = true;
	if (settle(s, n) && is_owner())
		sample(s, p, n, __builtin_frame_address(0), (uintptr_t)__builtin_dwarf_cfa());
	s->busy = false;
	return p;
}

/* p may be a sampled block and is about to be freed.  False: it is none. */
INSIDE static RT_NOINLINE bool forget(void *p, struct rt_live *out)
{
	struct self *s = &self;
	bool found;

	if (s->busy || !is_owner())
		return false;
	s->busy = true;
	found = rt_live_take(p, out);
	s->busy = false;
	return found;
}

INSIDE static RT_NOINLINE void free_maybe(void *p)
{
	struct rt_live block;

	if (forget(p, &block))
		count_free(&block);
	__libc_free(p);
}

/* It is not freed if there is no room for a new one. */
INSIDE static RT_NOINLINE void *realloc_maybe(void *p, size_t n)
{
	struct rt_live block, old;
	bool sampled = forget(p, &block);
	void *fresh = __libc_realloc(p, n);

	if (sampled && (fresh || !n || rt_live_put(block, &old) == RT_LIVE_LOST))
		count_free(&block);
	return ends_window(n) ? note(fresh, n) : fresh;
}

INSIDE static inline void *aligned(size_t align, size_t n)
{
	void *p = __libc_memalign(align, n);

	return unlikely(ends_window(n)) ? note(p, n) : p;
}

/* --- malloc and its kin --------------------------------------------------------------------------- */

EXPORTED void *malloc(size_t n)
{
	if (unlikely(ends_window(n)))
		return note(__libc_malloc(n), n);
	return __libc_malloc(n);
}

EXPORTED void free(void *p)
{
	if (unlikely(rt_live_maybe(p)))
		free_maybe(p);
	else
		__libc_free(p);
}

EXPORTED void *calloc(size_t n, size_t size)
{
	size_t bytes;

	if (likely(!__builtin_mul_overflow(n, size, &bytes)) && unlikely(ends_window(bytes)))
		return note(__libc_calloc(n, size), bytes);
	return __libc_calloc(n, size);
}

EXPORTED void *realloc(void *p, size_t n)
{
	if (unlikely(rt_live_maybe(p)))
		return realloc_maybe(p, n);
	if (unlikely(ends_window(n)))
		return note(__libc_realloc(p, n), n);
	return __libc_realloc(p, n);
}

EXPORTED void *reallocarray(void *p, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes)) {
		*__errno_location() = ENOMEM;
		return NULL;
	}
	return realloc(p, bytes);
}

EXPORTED void *memalign(size_t align, size_t n)
{
	return aligned(align, n);
}

EXPORTED void *aligned_alloc(size_t align, size_t n)
{
	return aligned(align, n);
}

EXPORTED int posix_memalign(void **out, size_t align, size_t n)
{
	void *p;

	if (align % sizeof(void *) || !align || align & (align - 1))
		return EINVAL;
	p = aligned(align, n);
	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

EXPORTED void *valloc(size_t n)
{
	void *p = __libc_valloc(n);

	return unlikely(ends_window(n)) ? note(p, n) : p;
}

EXPORTED void *pvalloc(size_t n)
{
	void *p = __libc_pvalloc(n);

	return unlikely(ends_window(n)) ? note(p, n) : p;
}

/* --- Switching it on and off ------------------------------------------------------------------------ */

/* A program that sets more than RATES of them in turn gets the last one's weights for what it sampled then. */
static uint32_t rate_index(int64_t rate)
{
	uint32_t i = 0;

	while (i < RATES - 1 && ld(&heap.rates[i]) && ld(&heap.rates[i]) != rate)
		i++;
	st(&heap.rates[i], rate);
	return i;
}

/* NULL: none to be had, and nothing is sampled. */
static _Atomic uint32_t *owner_new(void)
{
	void *page = rt_map(RT_PAGE);

	if (page && rt_syscall(SYS_madvise, (long)page, RT_PAGE, MADV_WIPEONFORK, 0, 0, 0) < 0) {
		rt_unmap(page, RT_PAGE);
		page = NULL;
	}
	return page;
}

/* This thread sees it at once, others within a window. */
static void changed(void)
{
	st_rel(&heap.generation, ld(&heap.generation) + 1); /* pairs with the acquire in renew() */
	self.window = self.left = -1;
}

void weft_host_heap_rate(int64_t rate)
{
	if (!ld(&heap.owner))
		st(&heap.owner, owner_new());
	rate = rate > 0 && ld(&heap.owner) && ld(&rt_heap_tab.entries) ? rate : 0;
	if (rate)
		st(ld(&heap.owner), 1);
	st(&heap.rate_index, rate_index(rate ? rate : 1));
	st(&heap.rate, rate);
	changed();
}

int weft_host_count_mallocs(void)
{
	st(&heap.counting, true);
	changed();
	return 0;
}
#endif
