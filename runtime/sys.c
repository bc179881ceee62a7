/* sys.c - memory from the kernel, and the heavy half of asymmetric barriers (atomic.h). */
#include <linux/membarrier.h>
#include <string.h>
#include <sys/mman.h>

#include "rt.h"
#include "sys.h"

void *rt_map(size_t bytes)
{
	long p = rt_syscall(SYS_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p < 0 && p > -4096 ? NULL : (void *)p;
}

#ifdef RT_TSAN /* its own versions of all three */
/* ThreadSanitizer remembers who touched an address until it sees the memory go: the next mapping that
 * lands there would race with the last one. */
void rt_unmap(void *p, size_t bytes)
{
	(void)munmap(p, (bytes + RT_PAGE - 1) & ~(size_t)(RT_PAGE - 1)); /* the end of the last page goes as well */
}

void *rt_remap(void *old, size_t old_bytes, size_t bytes)
{
	void *p = rt_map(bytes);

	if (p) {
		memcpy(p, old, old_bytes < bytes ? old_bytes : bytes);
		rt_unmap(old, old_bytes);
	}
	return p;
}

void rt_heavy(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}
#else
void *rt_remap(void *old, size_t old_bytes, size_t bytes)
{
	long p = rt_syscall(SYS_mremap, (long)old, (long)old_bytes, (long)bytes, MREMAP_MAYMOVE, 0, 0);

	return p < 0 && p > -4096 ? NULL : (void *)p;
}

void rt_unmap(void *p, size_t bytes)
{
	(void)rt_syscall(SYS_munmap, (long)p, (long)bytes, 0, 0, 0, 0);
}

/* Without membarrier(2): taking write permission from a page that was just written makes the kernel
 * interrupt every CPU that runs a thread of ours (TLB shootdown), which is a full barrier there. */
static void heavy_by_mprotect(void)
{
	static struct rt_lock lock = RT_LOCK_INIT(LEAF);
	static char *page;

	rt_lock(&lock);
	if (!page)
		page = rt_map(RT_PAGE);
	if (page) {
		(void)rt_syscall(SYS_mprotect, (long)page, RT_PAGE, PROT_READ | PROT_WRITE, 0, 0, 0);
		*(volatile char *)page = 1;
		(void)rt_syscall(SYS_mprotect, (long)page, RT_PAGE, PROT_READ, 0, 0, 0);
	}
	rt_unlock(&lock);
}

void rt_heavy(void)
{
	static _Atomic int state; /* 0 not asked, 1 registered, 2 not available */

	atomic_thread_fence(memory_order_seq_cst);
	if (unlikely(ld(&state) == 0)) {
		long rc = rt_syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0, 0, 0, 0);

		st(&state, rc == 0 ? 1 : 2);
	}
	if (likely(ld(&state) == 1))
		(void)rt_syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0, 0, 0, 0);
	else
		heavy_by_mprotect();
	atomic_thread_fence(memory_order_seq_cst);
}
#endif
