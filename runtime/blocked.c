/* blocked.c - the system calls that plugins make without saying so: which, from where, how often, for how long.
 *
 * A table of fixed size, append-only, by {instance, stack, system call}.  sysmon alone adds entries and
 * counts; the goroutine that comes back adds the time (rt_blocked_time()).  A full table counts what it loses.
 * Readers take entries below n_entries, which are complete. */
#include "retake.h"

#define ENTRIES 4096

struct rt_blocked {
	/* constant */
	uint32_t instance, stack;
	int nr;
	uint32_t next; /* in its bucket, plus 1 */
	_Atomic uint64_t count, ns;
};

static struct rt_blocked entries[ENTRIES];
static _Atomic uint32_t n_entries;
static _Atomic uint64_t n_lost;
static uint32_t bucket[1024]; /* sysmon: first entry, plus 1 */

struct rt_blocked *rt_blocked_entry(struct weft_inst *inst, uint32_t stack, int nr)
{
	uint32_t number = inst ? inst->number : 0, n = ld(&n_entries);
	uint32_t *head = &bucket[(number * 31 + stack * 7 + (uint32_t)nr) % (sizeof bucket / sizeof *bucket)];

	for (uint32_t i = *head; i; i = entries[i - 1].next) {
		struct rt_blocked *e = &entries[i - 1];

		if (e->instance == number && e->stack == stack && e->nr == nr)
			return e;
	}
	if (n == ENTRIES)
		return NULL;
	entries[n].instance = number;
	entries[n].stack = stack;
	entries[n].nr = nr;
	entries[n].next = *head;
	*head = n + 1;
	st_rel(&n_entries, n + 1); /* pairs with weft_read_blocked() */
	return &entries[n];
}

void rt_blocked_count(struct rt_blocked *e, struct weft_inst *inst)
{
	if (inst)
		bump(&inst->blocked, 1);
	if (e)
		bump(&e->count, 1);
	else
		bump(&n_lost, 1);
}

void rt_blocked_time(struct rt_blocked *e, int64_t ns)
{
	if (e && ns > 0)
		(void)add(&e->ns, (uint64_t)ns);
}

size_t weft_read_blocked(struct weft_blocked_call *out, size_t cap)
{
	size_t n = ld_acq(&n_entries); /* pairs with the release in rt_blocked_entry() */

	for (size_t i = 0; i < n && i < cap; i++)
		out[i] = (struct weft_blocked_call){
			.instance = entries[i].instance,
			.stack = entries[i].stack,
			.syscall = entries[i].nr,
			.count = ld(&entries[i].count),
			.ns = (int64_t)ld(&entries[i].ns),
		};
	return n;
}

uint64_t weft_read_blocked_lost(void)
{
	return ld(&n_lost);
}
