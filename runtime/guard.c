/* guard.c - what lies below a goroutine's stack, so that an overflow is named and harms nobody.
 *
 * The best that the kernel has, found at start and said in the log:
 *   madvise       MADV_GUARD_INSTALL (Linux 6.13): costs no mapping, any number
 *   userfaultfd   the guard page is write-protected through a userfaultfd (Linux 5.11, x86): costs no mapping,
 *                 any number.  A page has to be there to be protected: the shared zero page, by reading it.  The
 *                 descriptor stays open as long as the process lives; who writes there gets SIGBUS
 *   mprotect      splits the mapping: about vm.max_map_count / 2 slots, the rest get
 *   canary        the lowest words of the stack must stay zero; looked at on every switch away.  Zero so
 *                 that looking maps the shared zero page and costs no memory.
 *
 * MADV_DONTNEED over a guard would take it away: who gives a slot's memory back leaves its lowest page out.
 * A child after fork() has no guards of the second kind, but may only exec.
 *
 * Lock: ARENA (stack.c) is held by whoever calls what changes anything here, after the start. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "rt.h"
#include "sys.h"

#define BATCH 256 /* slots that one call guards */
#define CANARY_WORDS 8
#define ADV_GUARD_INSTALL 102 /* Linux 6.13, asm-generic/mman-common.h */

enum guard { GUARD_MADVISE, GUARD_UFFD, GUARD_MPROTECT, GUARD_CANARY };

static enum guard guard;      /* constant after start */
static int pidfd = -1;        /* MADVISE: for whole batches */
static int uffd = -1;         /* UFFD */
static int64_t mprotect_left; /* guards the mapping limit still allows */

/* --- What there is --- */

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
		return fallback;
	for (int i = 0; buf[i] >= '0' && buf[i] <= '9' && v < INT64_MAX / 10 - 9; i++)
		v = v * 10 + (buf[i] - '0');
	return v;
}

static bool have_madvise(void)
{
	char *page = rt_map(RT_PAGE);
	bool ok;

	if (!page)
		return false;
	/* Something between us and a kernel (an emulator) may take advice that it does not know for good. */
	ok = rt_syscall(SYS_madvise, (long)page, RT_PAGE, ADV_GUARD_INSTALL, 0, 0, 0) == 0 &&
	     rt_syscall(SYS_clock_gettime, CLOCK_MONOTONIC, (long)page, 0, 0, 0, 0) == -EFAULT;
	rt_unmap(page, RT_PAGE);
	return ok;
}

static int watch(char *base, size_t span)
{
	struct uffdio_register reg = { .range = { (uintptr_t)base, span }, .mode = UFFDIO_REGISTER_MODE_WP };

	return (int)rt_syscall(SYS_ioctl, uffd, UFFDIO_REGISTER, (long)&reg, 0, 0, 0);
}

RT_NOSAN static int write_protect(char *page)
{
	struct uffdio_writeprotect wp = { { (uintptr_t)page, RT_PAGE }, UFFDIO_WRITEPROTECT_MODE_WP };

	(void)*(volatile char *)page;
	return (int)rt_syscall(SYS_ioctl, uffd, UFFDIO_WRITEPROTECT, (long)&wp, 0, 0, 0);
}

/* Open it, and see that it does on a page of ours what it shall. */
static bool have_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_SIGBUS };
	/* faults of user mode only: no privilege is needed for that */
	long fd = rt_syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY, 0, 0, 0, 0, 0);
	char *page;
	bool ok;

	if (fd < 0)
		return false;
	uffd = (int)fd;
	page = rt_map(RT_PAGE);
	ok = page && rt_syscall(SYS_ioctl, uffd, UFFDIO_API, (long)&api, 0, 0, 0) == 0 && watch(page, RT_PAGE) == 0 &&
	     write_protect(page) == 0;
	if (page)
		rt_unmap(page, RT_PAGE);
	if (!ok) {
		(void)rt_sys_close(uffd);
		uffd = -1;
	}
	return ok;
}

static enum guard choose(unsigned no_guard)
{
	if (!(no_guard & WEFT_NO_GUARD_MADVISE) && have_madvise())
		return GUARD_MADVISE;
	if (!(no_guard & WEFT_NO_GUARD_UFFD) && have_uffd())
		return GUARD_UFFD;
	return no_guard & WEFT_NO_GUARD_MPROTECT ? GUARD_CANARY : GUARD_MPROTECT;
}

void rt_guards_start(unsigned no_guard)
{
	mprotect_left = (read_number("/proc/sys/vm/max_map_count", 65530) - 5000) / 2;
	guard = choose(no_guard);
	if (guard == GUARD_MADVISE) {
		long fd = rt_syscall(SYS_pidfd_open, rt_pid(), 0, 0, 0, 0, 0);

		pidfd = fd < 0 ? -1 : (int)fd; /* close-on-exec by itself */
	} else if (guard == GUARD_UFFD) {
		rt_log(WEFT_INFO, "stack guards: write-protected through userfaultfd, as this kernel has no "
				  "MADV_GUARD_INSTALL (Linux 6.13)");
	} else if (guard == GUARD_MPROTECT) {
		rt_log(WEFT_NOTICE,
		       "stack guards: this kernel has no MADV_GUARD_INSTALL (Linux 6.13), and userfaultfd can't "
		       "write-protect or is not permitted; mprotect guards the first %lld goroutine stacks "
		       "(vm.max_map_count), the rest get a canary",
		       (long long)mprotect_left);
	} else {
		rt_log(WEFT_NOTICE, "stack guards: none, canaries only");
	}
}

/* --- Installing --- */

void rt_guard_arena(char *base, size_t span)
{
	/* What fails here fails again slot by slot, and is dealt with there. */
	if (guard == GUARD_UFFD)
		(void)watch(base, span);
}

static int by_madvise(char *first, uint32_t shift, uint32_t n)
{
	struct iovec v[BATCH];

	for (uint32_t i = 0; i < n; i++)
		v[i] = (struct iovec){ first + ((size_t)i << shift), RT_PAGE };
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

static bool by_mprotect(char *page)
{
	if (guard == GUARD_CANARY || mprotect_left <= 0 ||
	    rt_syscall(SYS_mprotect, (long)page, RT_PAGE, PROT_NONE, 0, 0, 0) < 0)
		return false;
	mprotect_left--;
	return true;
}

uint32_t rt_guard_slots(char *first, uint32_t shift, uint32_t n, uint64_t *bare, uint32_t at)
{
	uint32_t unguarded = 0;

	/* -EINVAL: the memory is locked (mlockall); so no such guard for these */
	if (guard == GUARD_MADVISE && n <= BATCH && by_madvise(first, shift, n) == 0)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		char *page = first + ((size_t)i << shift);

		if ((guard == GUARD_UFFD && write_protect(page) == 0) || by_mprotect(page))
			continue;
		bare[(at + i) / 64] |= 1ull << ((at + i) % 64);
		unguarded++;
	}
	return unguarded;
}

/* --- Questions --- */

const char *rt_guard_name(void)
{
	static const char *const names[] = { "madvise", "userfaultfd", "mprotect", "canary" };

	return names[guard];
}

RT_NOSAN bool rt_is_guard(const struct g *g, uintptr_t addr)
{
	return addr >= rt_slot_base(g) && addr < rt_stack_lo(g);
}

RT_NOSAN void rt_canary_check(struct g *g)
{
	const uint64_t *w = (const uint64_t *)rt_stack_lo(g);

	for (int i = 0; i < CANARY_WORDS; i++)
		if (unlikely(w[i] != 0))
			rt_fatal("stack overflow: goroutine %llu has used all %u KiB of its stack (canary overwritten)",
				 (unsigned long long)ld(&g->id), (unsigned)(rt_slot_size(g) - RT_PAGE) / 1024);
}
