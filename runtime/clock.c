/* clock.c - CLOCK_MONOTONIC, and a cheap counter on a scale of its own.
 *
 * The counter is the processor's (the TSC, on x86-64) where the kernel itself trusts it (invariant, and its
 * clocksource), since a read costs half of a vDSO call; elsewhere it is CLOCK_MONOTONIC.  It orders records and says
 * when to look at the real clock; nothing is ever waited for by it alone.
 *
 * The relation of both is two pairs taken as far apart as the process is old: published as an immutable
 * pair {counter, ns, ns per count}, replaced each second by sysmon. */
#include <fcntl.h>
#include <string.h>

#include "rt.h"
#include "sys.h"

bool rt_have_tsc, rt_distrust_tsc;

struct scale {
	uint64_t tsc;
	int64_t ns;
	uint64_t mult;    /* ns = d(tsc) * mult >> 32 */
	uint64_t inverse; /* d(tsc) = ns * inverse >> 32 */
};
/* One slot is written while `current` names another; a reader that was stopped for so long that its slot
 * came round again sees that `current` has moved on and reads anew. */
static struct {
	_Atomic uint64_t tsc;
	_Atomic int64_t ns;
	_Atomic uint64_t mult, inverse;
} scales[4];
static _Atomic uint32_t current; /* how often published; the slot is that modulo 4 */
static uint64_t first_tsc;
static int64_t first_ns;

/* sig */
RT_NOSAN int64_t rt_now(void)
{
	struct timespec ts;

#ifdef RT_TSAN /* libc's is wrapped there, and not for signal handlers (sanity.h) */
	(void)rt_syscall(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&ts, 0, 0, 0, 0);
#else
	clock_gettime(CLOCK_MONOTONIC, &ts);
#endif
	return ts.tv_sec * WEFT_SEC + ts.tv_nsec;
}

uint64_t rt_tsc(void)
{
	if (likely(rt_have_tsc))
		return rt_arch_counter();
	return (uint64_t)rt_now();
}

static uint64_t mul_shift(uint64_t a, uint64_t b)
{
	return (uint64_t)(((unsigned __int128)a * b) >> 32);
}

/* sig */
static inline struct scale scale_now(void)
{
	struct scale s;
	uint32_t n;

	do {
		n = ld_acq(&current); /* pairs with publish() */
		s = (struct scale){
			.tsc = ld(&scales[n % 4].tsc),
			.ns = ld(&scales[n % 4].ns),
			.mult = ld(&scales[n % 4].mult),
			.inverse = ld(&scales[n % 4].inverse),
		};
		atomic_thread_fence(memory_order_acquire); /* all of that was read before the look below */
	} while (unlikely(ld(&current) - n >= 3));
	return s;
}

int64_t rt_tsc_to_ns(uint64_t tsc)
{
	struct scale s = scale_now();

	if (tsc >= s.tsc)
		return s.ns + (int64_t)mul_shift(tsc - s.tsc, s.mult);
	return s.ns - (int64_t)mul_shift(s.tsc - tsc, s.mult);
}

void rt_clock_scale(uint64_t *tsc, int64_t *ns, uint64_t *mult)
{
	struct scale s = scale_now();

	*tsc = s.tsc;
	*ns = s.ns;
	*mult = s.mult;
}

uint64_t rt_ns_span_tsc(int64_t ns)
{
	return mul_shift((uint64_t)ns, ld(&scales[ld_acq(&current) % 4].inverse));
}

/* 0 for what was before the counter began: it may be younger than the clock. */
uint64_t rt_ns_to_tsc(int64_t ns)
{
	struct scale s = scale_now();
	uint64_t before;

	if (ns >= s.ns)
		return s.tsc + mul_shift((uint64_t)(ns - s.ns), s.inverse);
	before = mul_shift((uint64_t)(s.ns - ns), s.inverse);
	return before < s.tsc ? s.tsc - before : 0;
}

/* A pair read close together: the best of a few tries, as a hypervisor may stop us in between. */
static void pair(uint64_t *tsc, int64_t *ns)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 5; i++) {
		uint64_t a = rt_tsc();
		int64_t t = rt_now();
		uint64_t b = rt_tsc();

		if (b - a < best) {
			best = b - a;
			*tsc = a + (b - a) / 2;
			*ns = t;
		}
	}
}

static void publish(uint64_t tsc, int64_t ns)
{
	uint32_t next = ld(&current) + 1;
	uint64_t counts = tsc - first_tsc, span = (uint64_t)(ns - first_ns);

	if (!counts || !span)
		return;
	st(&scales[next % 4].tsc, tsc);
	st(&scales[next % 4].ns, ns);
	st(&scales[next % 4].mult, (uint64_t)(((unsigned __int128)span << 32) / counts));
	st(&scales[next % 4].inverse, (uint64_t)(((unsigned __int128)counts << 32) / span));
	st_rel(&current, next);
}

void rt_clock_tune(void)
{
	uint64_t tsc;
	int64_t ns;

	if (!rt_have_tsc)
		return;
	pair(&tsc, &ns);
	publish(tsc, ns);
}

static bool tsc_trusted(void)
{
	char buf[32] = { 0 };
	int fd = rt_sys_open("/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	(void)rt_sys_read(fd, buf, sizeof buf - 1);
	(void)rt_sys_close(fd);
	return rt_arch_counter_trusted(buf);
}

void rt_clock_start(void)
{
	uint64_t tsc;
	int64_t ns;

	if (first_ns)
		return;
	rt_have_tsc = !rt_distrust_tsc && tsc_trusted();
	st(&scales[0].mult, 1ull << 32);
	st(&scales[0].inverse, 1ull << 32);
	pair(&first_tsc, &first_ns);
	if (!rt_have_tsc)
		return;
	do
		pair(&tsc, &ns);
	while (ns - first_ns < 2 * WEFT_MS); /* 20 ppm or so; sysmon improves it each second */
	publish(tsc, ns);
}
