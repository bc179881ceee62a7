/* lock.c - locks and notes that block the M: short sections of the runtime's own.
 *
 * rt_lock: one word, 0 or 1.  Taking is a CAS, dropping a plain release store: no locked instruction.
 * What makes that safe is that a sleeper announces itself in `sleepers` and then runs a heavy barrier
 * before it looks at the word once more:
 *
 *	sleeper				holder
 *	sleepers++			word = 0
 *	heavy barrier			(compiler barrier)
 *	word free? take it		sleepers? wake one
 *	else futex wait while 1
 *
 * Either the holder's load sees the sleeper, or its store was seen by the sleeper's look.  `sleepers`
 * stands in a table by address, not in the lock: after its store the holder may not touch a lock whose
 * object somebody else is free to free.  Two locks that share an entry cost a needless wake.  Not fair:
 * sections are tens of nanoseconds, and whoever runs gets the lock. */
#include "rt.h"
#include "sys.h"

#define SPINS 60

_Atomic uint32_t rt_lock_sleepers[256];

void rt_lock_slow(struct rt_lock *l)
{
	_Atomic uint32_t *sleepers = rt_sleepers_of(l);
	uint32_t free;

	for (int i = 0; i < SPINS; i++) {
		free = 0;
		if (ld(&l->word) == 0 && cas(&l->word, &free, 1))
			return;
		rt_pause();
	}
	add_sc(sleepers, 1);
	rt_heavy();
	for (;;) {
		free = 0;
		if (cas(&l->word, &free, 1))
			break;
		(void)rt_futex_wait(&l->word, 1, NULL);
	}
	add_sc(sleepers, (uint32_t)-1);
}

RT_COLD void rt_lock_wake(struct rt_lock *l)
{
	(void)rt_futex_wake(&l->word, 1);
}

void rt_note_wake(struct rt_note *n)
{
	if (xchg(&n->word, 1) == 0) /* pairs with the acquire in rt_note_wait() */
		(void)rt_futex_wake(&n->word, 1);
}

bool rt_note_wait(struct rt_note *n, int64_t until)
{
	struct timespec ts = { .tv_sec = until / WEFT_SEC, .tv_nsec = until % WEFT_SEC };

	for (;;) {
		if (xchg(&n->word, 0))
			return true;
		if (until != INT64_MAX && rt_now() >= until)
			return false;
		(void)rt_futex_wait(&n->word, 0, until == INT64_MAX ? NULL : &ts);
	}
}

#if RT_CHECKS
/* What this thread holds, in the order taken. */
static __thread struct rt_lock *held[RT_RANK_N + WEFT_SELECT_MAX];
static __thread int n_held;

static const char *const rank_names[] = {
#define X(name, what) #name,
	RT_LOCK_RANKS(X)
#undef X
};

RT_NOINLINE void rt_rank_take(struct rt_lock *l)
{
	struct rt_lock *top = n_held ? held[n_held - 1] : NULL;

	if (top && (top->rank > l->rank || (top->rank == l->rank && top >= l)))
		rt_fatal("lock order: %s wanted while holding %s", rank_names[l->rank], rank_names[top->rank]);
	held[n_held++] = l;
}

RT_NOINLINE void rt_rank_drop(struct rt_lock *l)
{
	int i = n_held;

	while (i > 0 && held[i - 1] != l)
		i--;
	if (i == 0)
		rt_fatal("lock %s dropped by a thread that does not hold it", rank_names[l->rank]);
	for (; i < n_held; i++)
		held[i - 1] = held[i];
	n_held--;
}
#endif
