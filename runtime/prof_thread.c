/* prof_thread.c - which threads were started, by which stack, and why: the threadcreate profile.
 *
 * Every start counts once: those of the runtime name their reason (rt_thread_start()); others are seen where
 * pthread_create() is interposed, and are a plugin's when a goroutine asks for them.  A start is rare and dear, so
 * the stack is always walked, on whatever thread that is. */
#include "prof_thread.h"

#include "ptab.h"
#include "rt.h"
#include "sanity.h"
#include "sys.h"

/* Set while the runtime starts one: pthread_create() below it has not to count. */
static __thread bool own;

/* Bounds of the calling thread's own stack. */
static bool bounds(const struct m *m, uintptr_t *lo, uintptr_t *hi)
{
	pthread_attr_t attr;
	char name[32];
	void *base = NULL;
	size_t size = 0;

	if (m && m->stack_hi) {
		*lo = m->stack_lo;
		*hi = m->stack_hi;
		return true;
	}
	if (rt_thread_find(rt_tid(), name, lo, hi) && *hi)
		return true;
	if (pthread_getattr_np(pthread_self(), &attr) != 0)
		return false;
	(void)pthread_attr_getstack(&attr, &base, &size);
	(void)pthread_attr_destroy(&attr);
	*lo = (uintptr_t)base;
	*hi = *lo + size;
	return size > 0;
}

static RT_NOSAN RT_NOINLINE uint32_t stack_of_thread(const struct m *m, const struct rt_record *frame)
{
	struct rt_regs regs = RT_REGS_OF_CALLER();
	uint64_t pc[WEFT_STACK_MAX];
	uintptr_t lo, hi;
	unsigned flags = 0;

	if (!bounds(m, &lo, &hi) || (uintptr_t)frame < lo || (uintptr_t)frame >= hi)
		return 0;
	if (!rt_regs_above(&regs, hi, frame))
		return 0;
	return rt_stack_intern(pc, rt_unwind(regs, (uintptr_t)frame, hi, pc, WEFT_STACK_MAX, &flags));
}

uint32_t rt_stack_any(struct m *m, void *frame)
{
	uint32_t id = rt_stack_here(m, frame);

	return id ? id : stack_of_thread(m, frame);
}

static void count(enum rt_thread_reason reason, void *frame)
{
	struct m *m = rt_self();
	const struct g *g = m ? ld(&m->cur) : NULL;
	const struct weft_inst *inst = g && g != &m->g0 ? ld(&g->inst) : NULL;
	struct rt_ptab_key key = { .instance = inst ? inst->number : 0, .extra = reason };

	if (inst)
		key.labels = rt_labels_keep(ld(&g->labels), key.instance);
	key.stack = rt_stack_any(m, frame);
	rt_ptab_add(&rt_prof_threads, rt_ptab_at(&rt_prof_threads, key), 0, 1);
}

int rt_thread_start(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg), void *arg,
		    enum rt_thread_reason reason)
{
	sigset_t mask;
	int rc;

	own = true;
	sane_begin_thread(&mask);
	rc = pthread_create(thread, attr, fn, arg);
	sane_thread_begun(&mask);
	own = false;
	if (rc == 0)
		count(reason, __builtin_frame_address(0));
	return rc;
}

void rt_thread_started(void *frame)
{
	const struct m *m = rt_self();

	if (!own)
		count(m && ld(&m->cur) && ld(&m->cur) != &m->g0 ? RT_THREAD_PLUGIN : RT_THREAD_HOST, frame);
}

const char *rt_thread_reason(uint64_t reason)
{
	static const char *const words[] = {
#define X(name, word) word,
		RT_THREAD_REASONS(X)
#undef X
	};

	return reason < sizeof words / sizeof *words ? words[reason] : NULL;
}
