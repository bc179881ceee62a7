/* plain_lock.h - for models of what stands above rt_lock: the slow path just waits until the word is 0.
 * Nobody ever counts as a sleeper.  The real one: model_lock.c. */
#ifndef WEFT_MODEL_PLAIN_LOCK_H
#define WEFT_MODEL_PLAIN_LOCK_H

_Atomic uint32_t rt_lock_sleepers[256];

void rt_lock_slow(struct rt_lock *l)
{
	uint32_t free;

	do {
		mc_wait_eq(&l->word, 0);
		free = 0;
	} while (!cas(&l->word, &free, 1));
}

void rt_lock_wake(struct rt_lock *l)
{
	(void)l;
	mc_fail("nobody sleeps on a lock here");
}

#endif
