/* rwmutex.c - many readers or one writer; a waiting writer goes before new readers.
 *
 * readers counts those who hold or want a read lock; a writer that has the inner mutex takes BIAS off it, so that
 * whoever comes to read finds it negative and waits.  The writer then waits for the `leaving` readers it found;
 * the last of them lets it in.  Its unlock gives BIAS back and lets in the readers that gathered meanwhile, before
 * the next writer gets the inner mutex: so neither side starves the other.  (Go's has the same rules.)
 *
 * Not called off by a context, as all locks.  Reading costs one atomic add on a word that all readers share. */
#include "rt.h"

#define BIAS (1 << 30)

struct rwmutex {
	weft_mutex writers; /* one at a time */
	_Atomic int32_t readers, leaving;
	_Atomic uint32_t reader_sema, writer_sema;
};
_Static_assert(sizeof(struct rwmutex) <= sizeof(weft_rwmutex), "weft_rwmutex holds an rwmutex");

static RT_NOINLINE void wait(_Atomic uint32_t *sema, enum rt_wait reason)
{
	struct m *m = rt_enter(rt_self());

	rt_sema_acquire(&m, sema, reason, false);
	if (m)
		rt_leave(m);
}

static RT_NOINLINE void let_in(_Atomic uint32_t *sema, int32_t n)
{
	struct m *m = rt_enter(rt_self());

	while (n--)
		rt_sema_release(m, sema, RT_READY_QUEUE);
	if (m)
		rt_leave(m);
}

void weft_rlock(weft_rwmutex *rw)
{
	struct rwmutex *x = (struct rwmutex *)rw;

	if (unlikely(atomic_fetch_add_explicit(&x->readers, 1, memory_order_acq_rel) < 0))
		wait(&x->reader_sema, RT_WAIT_RWMUTEX_R);
	RT_KEEP_FRAME();
	atomic_thread_fence(memory_order_acquire);
}

bool weft_try_rlock(weft_rwmutex *rw)
{
	struct rwmutex *x = (struct rwmutex *)rw;
	int32_t n = ld(&x->readers);

	while (n >= 0)
		if (cas(&x->readers, &n, n + 1))
			return true;
	return false;
}

static RT_NOINLINE void runlock_slow(struct rwmutex *x, int32_t left)
{
	if (left + 1 == 0 || left + 1 == -BIAS)
		rt_fatal("weft_runlock: the rwmutex is not locked for reading");
	/* A writer waits, for us and those like us. */
	if (atomic_fetch_sub_explicit(&x->leaving, 1, memory_order_acq_rel) == 1)
		let_in(&x->writer_sema, 1);
}

void weft_runlock(weft_rwmutex *rw)
{
	struct rwmutex *x = (struct rwmutex *)rw;
	int32_t left = atomic_fetch_sub_explicit(&x->readers, 1, memory_order_acq_rel) - 1;

	if (unlikely(left < 0))
		runlock_slow(x, left);
	RT_KEEP_FRAME();
}

void weft_wlock(weft_rwmutex *rw)
{
	struct rwmutex *x = (struct rwmutex *)rw;
	int32_t inside;

	weft_lock(&x->writers);
	inside = atomic_fetch_sub_explicit(&x->readers, BIAS, memory_order_acq_rel);
	/* Some of those inside may have left since, and taken one off `leaving` each. */
	if (inside && atomic_fetch_add_explicit(&x->leaving, inside, memory_order_acq_rel) + inside != 0)
		wait(&x->writer_sema, RT_WAIT_RWMUTEX_W);
	RT_KEEP_FRAME();
	atomic_thread_fence(memory_order_acquire);
}

bool weft_try_wlock(weft_rwmutex *rw)
{
	struct rwmutex *x = (struct rwmutex *)rw;
	int32_t none = 0;

	if (!weft_trylock(&x->writers))
		return false;
	if (cas(&x->readers, &none, -BIAS))
		return true;
	weft_unlock(&x->writers);
	return false;
}

void weft_wunlock(weft_rwmutex *rw)
{
	struct rwmutex *x = (struct rwmutex *)rw;
	int32_t gathered = atomic_fetch_add_explicit(&x->readers, BIAS, memory_order_acq_rel) + BIAS;

	if (unlikely(gathered >= BIAS))
		rt_fatal("weft_wunlock: the rwmutex is not locked for writing");
	if (gathered)
		let_in(&x->reader_sema, gathered);
	weft_unlock(&x->writers);
	RT_KEEP_FRAME();
}
