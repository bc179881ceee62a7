/* model_revoke.c - taking the P from a goroutine that is outside the runtime (revoke.c, rt_enter() and
 * rt_leave()): never two owners inside P state at once, each sees what the one before left there, nobody
 * stays outside for ever.
 *
 * The goroutine is the thread itself; where it would be switched away (rt_requeue()) it waits for a P. */
struct m;
static struct m *wait_for_p(struct m *m);
#define WORLD_REQUEUE wait_for_p
#include "world.h"

static _Atomic uint32_t inside[WORLD_PS], count[WORLD_PS]; /* the P's state, as far as this model goes */
static uint32_t uses;

/* What an owner does: stores that wait in the buffer like all others. */
static void use(struct p *p)
{
	if (ld(&inside[p->id]))
		mc_fail("two owners inside P %u", p->id);
	st(&inside[p->id], 1);
	bump(&count[p->id], 1);
	st(&inside[p->id], 0);
	uses++;
}

static void use_own(void)
{
	struct m *m = rt_enter(rt_self());

	use(ld(&m->p));
	rt_leave(m);
}

static void goroutine(void *arg)
{
	struct m *m = rt_self();

	for (intptr_t n = (intptr_t)arg; n > 0; n--) {
		m = rt_enter(m);
		use(ld(&m->p));
		rt_leave(m);
	}
}

/* Instead of rt_requeue(): as if it were on the global queue and a worker with a P came along. */
static struct m *wait_for_p(struct m *m)
{
	struct p *p = NULL;

	while (!p) {
		rt_pause();
		rt_lock(&sched.lock);
		p = rt_idle_p_get();
		rt_unlock(&sched.lock);
	}
	rt_p_acquire(m, p);
	return m;
}

/* Takes it, uses it, and lays it down for others. */
static void revoker(void *arg)
{
	struct p *p = rt_revoke(arg, RT_LOST_BLOCKED, 0);

	mc_note(p ? "has the P" : "could not");
	if (!p)
		return;
	use(p);
	rt_lock(&sched.lock);
	rt_idle_p_put(p);
	rt_unlock(&sched.lock);
}

/* In a section and out of it; what it does inside is nobody's business. */
static void sections(void *arg)
{
	for (intptr_t n = (intptr_t)arg; n > 0; n--) {
		weft_block_enter();
		weft_block_exit();
		use_own();
	}
}

/* A call that enters the runtime from inside ends the section early. */
static void section_with_call(void *arg)
{
	(void)arg;
	weft_block_enter();
	use_own();
	weft_block_exit();
	use_own();
}

/* Takes what is lent, uses it, and lays it down for others. */
static void retaker(void *arg)
{
	struct p *p = rt_retake(arg);

	mc_note(p ? "has the lent P" : "nothing is lent");
	if (!p)
		return;
	use(p);
	rt_lock(&sched.lock);
	rt_idle_p_put(p);
	rt_unlock(&sched.lock);
}

static void borrower(void *arg)
{
	struct p *p;

	if (!rt_borrow(arg, &p))
		return;
	mc_note("has borrowed it");
	use(p);
	rt_unborrow(arg);
}

/* A worker that goes idle with its P, the real way. */
static void gives_up(void *arg)
{
	struct m *m = arg;
	struct p *p;

	rt_lock(&sched.lock);
	p = rt_p_release(m);
	rt_idle_p_put(p);
	rt_unlock(&sched.lock);
}

/* In runtime code with m's P from the start; a thread of the model by itself. */
static struct m *m_outside(const char *name, void (*fn)(void *), void *arg, bool in_rt)
{
	struct m *m = &ms[n_ms];
	struct p *p = rt_idle_p_get();

	m->index = (uint32_t)n_ms++;
	st(&m->in_rt, in_rt);
	rt_p_acquire(m, p);
	st(&m->cur, world_g(NULL, NULL));
	st(&ld(&m->cur)->status, RT_G_RUNNING);
	rt_seq_begin(ld(&m->cur));
	m_of[n_threads++] = m;
	mc_thread(name, fn, arg ? arg : m);
	return m;
}

static void one(void)
{
	struct m *m;

	world_new(1);
	m = m_outside("goroutine", goroutine, (void *)2, false);
	world_thread("revoker", revoker, m);
}

static void with_borrower(void)
{
	struct m *m;

	world_new(1);
	m = m_outside("goroutine", goroutine, (void *)2, false);
	world_thread("revoker", revoker, m);
	world_thread("borrower", borrower, m);
}

static void two_ms(void)
{
	struct m *m0, *m1;

	world_new(2);
	m0 = m_outside("goroutine 0", goroutine, (void *)1, false);
	m1 = m_outside("goroutine 1", goroutine, (void *)1, false);
	world_thread("revoker of 0", revoker, m0);
	world_thread("revoker of 1", revoker, m1);
}

static void lent(void)
{
	struct m *m;

	world_new(1);
	m = m_outside("goroutine", sections, (void *)2, false);
	world_thread("retaker", retaker, m);
}

static void lent_and_revoked(void)
{
	struct m *m;

	world_new(1);
	m = m_outside("goroutine", sections, (void *)1, false);
	world_thread("retaker", retaker, m);
	world_thread("revoker", revoker, m);
}

static void lent_with_borrower(void)
{
	struct m *m;

	world_new(1);
	m = m_outside("goroutine", section_with_call, NULL, false);
	world_thread("retaker", retaker, m);
	world_thread("borrower", borrower, m);
}

static void release(void)
{
	struct m *m;

	world_new(1);
	m = m_outside("worker", gives_up, NULL, true);
	world_thread("borrower", borrower, m);
	world_thread("revoker", revoker, m);
}

static void all_counted(void)
{
	uint32_t n = ld(&count[0]) + ld(&count[1]);

	if (n != uses)
		mc_fail("%u uses of a P, %u are to be seen", uses, n);
}

/* Out of its sections it runs, on a P, and readers know. */
static void out_of_sections(void)
{
	const struct g *g = ld(&ms[0].cur);

	all_counted();
	MC_CHECK(RT_G_STATUS(ld(&g->status)) == RT_G_RUNNING && g->sections == 0 && ld(&g->seq) % 2);
}

static void out_or_revoked(void)
{
	const struct g *g = ld(&ms[0].cur);

	all_counted();
	MC_CHECK(RT_G_STATUS(ld(&g->status)) != RT_G_SYSCALL && g->sections == 0 && ld(&g->seq) % 2);
}

static void given_up(void)
{
	all_counted();
	MC_CHECK(ld(&ms[0].own) == RT_NO_P && ld(&sched.n_idle_ps) == 1);
}

const struct mc_case mc_cases[] = {
	{ "revoke: a goroutine enters and leaves, one revokes", one, all_counted, 0 },
	{ "revoke: beside it one borrows", with_borrower, all_counted, 0 },
	{ "revoke: two Ps, two revoke", two_ms, all_counted, 0 },
	{ "revoke: a worker gives its P up meanwhile", release, given_up, 0 },
	{ "revoke: two blocking sections, one retakes", lent, out_of_sections, 0 },
	{ "revoke: a blocking section, one retakes, one revokes", lent_and_revoked, out_or_revoked, 0 },
	{ "revoke: a call inside a section, one retakes, one borrows", lent_with_borrower, out_of_sections, 0 },
	{ NULL, NULL, NULL, 0 },
};
