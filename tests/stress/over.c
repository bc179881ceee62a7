/* over.c - shapes around what ends things: contexts, error groups, timers; and goroutine-local values. */
#include <stdlib.h>

#include "shapes.h"

/* --- Limit: contexts below one another, with deadlines, cancelled by anybody ------------------------------------- */

#define LIMIT_SHARED 6

struct limit {
	weft_chan *never;
	weft_sem none;
	weft_mutex lock;
	weft_ctx *shared[LIMIT_SHARED]; /* under lock: alive as long as they are here */
	unsigned per;
};

/* A wait that its context ends, sooner or later. */
static void limit_wait(struct actor *a)
{
	struct limit *s = a->gr->state;
	weft_ctx *mine = weft_ctx_self();
	struct weft_case cases[] = {
		{ .op = WEFT_OP_RECV, .on = s->never, .size = 1 },
		{ .op = WEFT_OP_DONE, .on = mine },
	};
	int rc;

	switch (rnd_in(&a->rng, 0, 3)) {
	case 0:
		rc = weft_chan_recv(s->never, NULL, 1);
		break;
	case 1:
		rc = weft_sem_acquire(&s->none, 1);
		break;
	case 2:
		rc = weft_sleep(WEFT_FOREVER);
		break;
	default:
		rc = weft_select_n(cases, 2, sizeof *cases);
		rc = rc == 1 ? weft_ctx_err(mine) : rc;
	}
	if (!called_off(a, rc))
		fail(a->gr, "a wait that only its context can end says %d", rc);
	if (rc == -ETIMEDOUT && weft_now() < weft_ctx_deadline(mine))
		fail(a->gr, "a context was over before its deadline");
}

/* It lives under a context that its starter frees at some time. */
static void limit_child(struct actor *a)
{
	nudge(a);
	limit_wait(a);
	if (!weft_ctx_err(weft_ctx_self()))
		fail(a->gr, "a context that was over is not any more");
}

static void limit_meddle(struct actor *a)
{
	struct limit *s = a->gr->state;
	weft_ctx *c;

	weft_lock(&s->lock);
	c = s->shared[rnd_in(&a->rng, 0, LIMIT_SHARED - 1)];
	if (c && rnd_one_in(&a->rng, 3)) {
		weft_ctx_cancel(c);
		if (!weft_ctx_err(c))
			fail(a->gr, "a cancelled context is not over");
	} else if (c) {
		weft_ctx *below = weft_ctx_new(c, weft_now() + rnd_in(&a->rng, 0, 300000));

		if (!below || (weft_ctx_err(c) && !weft_ctx_err(below)))
			fail(a->gr, "below a context that is over there is one that is not");
		if (weft_ctx_get(below, &limit_shape) != a->gr)
			fail(a->gr, "a value is not found from below");
		weft_ctx_free(below);
	}
	weft_unlock(&s->lock);
}

/* c is seen by others until it is withdrawn; the place, or LIMIT_SHARED: no room. */
static unsigned limit_show(struct limit *s, weft_ctx *c, unsigned at, weft_ctx *was)
{
	if (at == LIMIT_SHARED)
		return at;
	weft_lock(&s->lock);
	if (s->shared[at] == was)
		s->shared[at] = c;
	else
		at = LIMIT_SHARED;
	weft_unlock(&s->lock);
	return at;
}

static void limit_under(struct actor *a, weft_ctx *c, bool ends)
{
	unsigned children = rnd_one_in(&a->rng, 4) ? rnd_in(&a->rng, 1, 2) : 0;
	int rc;

	for (unsigned i = 0; i < children && a->gr->n_actors < a->gr->max_actors - 64; i++)
		actor_start(a->gr, a, (struct cast){ limit_child, NULL, i, NULL, false });
	nudge(a);
	limit_meddle(a);
	if (ends || weft_ctx_err(c)) {
		limit_wait(a);
		return;
	}
	rc = weft_sleep(rnd_in(&a->rng, 0, 200000));
	if (rc != 0 && !called_off(a, rc))
		fail(a->gr, "weft_sleep: %s", weft_strerror(rc));
}

static void limit_scope(struct actor *a, unsigned depth)
{
	struct limit *s = a->gr->state;
	bool ends = !rnd_one_in(&a->rng, 3), was = a->mortal;
	int64_t deadline = ends ? weft_now() + rnd_in(&a->rng, 0, 1000000) : WEFT_FOREVER;
	weft_ctx *c = weft_ctx_new(NULL, deadline), *old;
	unsigned at;

	if (!c || weft_ctx_set(c, &limit_shape, a->gr) < 0)
		fail(a->gr, "no context");
	at = limit_show(s, c, rnd_in(&a->rng, 0, LIMIT_SHARED), NULL);
	old = weft_ctx_enter(c);
	a->mortal = true;
	if (depth && rnd_one_in(&a->rng, 2))
		limit_scope(a, depth - 1);
	limit_under(a, c, ends);
	if (weft_ctx_enter(old) != c)
		fail(a->gr, "a goroutine carried another context");
	a->mortal = was;
	(void)limit_show(s, NULL, at, c);
	weft_ctx_free(c);
}

static void limit_live(struct actor *a)
{
	const struct limit *s = a->gr->state;

	for (unsigned i = 0; i < s->per; i++) {
		limit_scope(a, 3);
		nudge(a);
	}
}

static void limit_make(struct graph *gr)
{
	struct limit *s = gr->state;
	unsigned n = rnd_in(&gr->rng, 1, scaled(40));

	s->per = rnd_in(&gr->rng, 1, scaled(20));
	s->never = weft_chan_new(1, 0);
	graph_room(gr, 9 * n * s->per + 128);
	for (unsigned i = 0; i < n; i++)
		actor_start(gr, NULL, (struct cast){ .fn = limit_live, .n = i });
}

static void limit_check(struct graph *gr)
{
	struct limit *s = gr->state;

	weft_chan_free(s->never);
}

const struct shape limit_shape = { "limit", sizeof(struct limit), limit_make, limit_check };

/* --- Team: error groups --------------------------------------------------------------------------------------------
 */

struct team {
	unsigned per;
};

struct team_work {
	struct graph *gr;
	uint64_t rng;
	_Atomic unsigned begun, ended, said; /* said: bits of the errors that members returned */
};

static int team_member(void *arg)
{
	struct team_work *w = arg;
	uint64_t rng = rnd_mix(w->rng, atomic_fetch_add(&w->begun, 1));
	int rc = 0;

	for (unsigned n = rnd_in(&rng, 0, 3); n > 0 && rc == 0; n--)
		rc = weft_sleep(rnd_one_in(&rng, 8) ? 0 : rnd_in(&rng, 0, 100000));
	if (rc < 0 && weft_ctx_err(weft_ctx_self()) != rc && !w->gr->doomed)
		fail(w->gr, "a member of a group was called off: %d", rc);
	rc = rnd_one_in(&rng, 6) ? -(int)rnd_in(&rng, 1, 20) : 0;
	if (rc < 0)
		atomic_fetch_or(&w->said, 1u << -rc);
	atomic_fetch_add(&w->ended, 1);
	return rc;
}

static void team_once(struct actor *a)
{
	struct team_work w = { .gr = a->gr, .rng = rnd(&a->rng) };
	weft_group *g = weft_group_new(NULL, rnd_one_in(&a->rng, 2) ? (int)rnd_in(&a->rng, 1, 4) : 0);
	unsigned started = 0;
	int rc;

	for (unsigned n = rnd_in(&a->rng, 0, 12); n > 0; n--) {
		rc = weft_group_go(g, team_member, &w);
		if (rc != 0 && rc != -ECANCELED)
			fail(a->gr, "weft_group_go: %s", weft_strerror(rc));
		if (rc < 0 && !a->gr->doomed && !w.said)
			fail(a->gr, "a group was cancelled, and nobody had failed");
		started += rc == 0;
		nudge(a);
	}
	rc = rnd_one_in(&a->rng, 2) ? weft_group_wait(g) : 0;
	if (rc == 0)
		rc = weft_group_free(g);
	else if (weft_group_free(g) != rc)
		fail(a->gr, "a group's first error has changed");
	if (w.begun != started || w.ended != started)
		fail(a->gr, "of %u members %u began and %u ended", started, w.begun, w.ended);
	if (rc == 0 ? w.said != 0 : !(w.said & 1u << -rc))
		fail(a->gr, "a group's error is %d, its members' were %#x", rc, w.said);
}

static void team_lead(struct actor *a)
{
	const struct team *s = a->gr->state;

	for (unsigned i = 0; i < s->per; i++)
		team_once(a);
}

static void team_make(struct graph *gr)
{
	struct team *s = gr->state;
	unsigned n = rnd_in(&gr->rng, 1, scaled(20));

	s->per = rnd_in(&gr->rng, 1, scaled(20));
	graph_room(gr, n);
	for (unsigned i = 0; i < n; i++)
		actor_start(gr, NULL, (struct cast){ .fn = team_lead, .n = i });
}

static void nothing_left(struct graph *gr)
{
	(void)gr; /* the actors have checked */
}

const struct shape team_shape = { "team", sizeof(struct team), team_make, nothing_left };

/* --- Timer: set, reset, stopped while they fire ----------------------------------------------------------------------
 */

#define TIMERS_SHARED 4

struct timer {
	unsigned per;
	weft_timer *shared[TIMERS_SHARED]; /* by many at once */
	struct shot {
		_Atomic unsigned fired;
		enum { SHOT_MAYBE, SHOT_NEVER, SHOT_ONCE } want;
	} * shots; /* by actor and step */
};

static void timer_tick(struct actor *a, int64_t tick, int64_t earliest)
{
	if (tick < earliest || tick > weft_now())
		fail(a->gr, "a timer set for %lld says %lld, at %lld", (long long)earliest, (long long)tick,
		     (long long)weft_now());
}

static void timer_share(struct actor *a, weft_timer *t)
{
	int64_t tick;

	switch (rnd_in(&a->rng, 0, 3)) {
	case 0:
		(void)weft_timer_stop(t);
		break;
	case 1:
		(void)weft_timer_reset(t, rnd_in(&a->rng, 0, 200000));
		break;
	default:
		if (weft_chan_try_recv(weft_timer_chan(t), &tick, sizeof tick) == 1)
			timer_tick(a, tick, 1);
	}
}

/* One that nobody else knows.  False: give up. */
static bool timer_own(struct actor *a)
{
	int64_t period = rnd_one_in(&a->rng, 2) ? rnd_in(&a->rng, 20000, 300000) : 0, tick = 0;
	int64_t ns = rnd_in(&a->rng, 0, 400000), earliest = weft_now() + ns;
	weft_timer *t = weft_timer_new(ns, period);
	int rc = 1;

	for (unsigned n = rnd_in(&a->rng, 0, 6); n > 0 && rc >= 0; n--) {
		nudge(a);
		if (rnd_one_in(&a->rng, 3)) {
			(void)weft_timer_stop(t);
			if (weft_chan_try_recv(weft_timer_chan(t), &tick, sizeof tick) != -EAGAIN)
				fail(a->gr, "a timer that was stopped has ticked");
		}
		if (rnd_one_in(&a->rng, 3))
			nudge(a);
		ns = rnd_in(&a->rng, 0, 400000);
		earliest = weft_now() + ns;
		(void)weft_timer_reset(t, ns);
		if (rnd_one_in(&a->rng, 3))
			continue;
		rc = weft_chan_recv(weft_timer_chan(t), &tick, sizeof tick);
		if (rc == 1)
			timer_tick(a, tick, earliest);
		else if (!called_off(a, rc))
			fail(a->gr, "waiting for a tick: %d", rc);
	}
	weft_timer_free(t);
	return rc >= 0;
}

static void timer_fired(void *arg)
{
	struct shot *shot = arg;

	atomic_fetch_add(&shot->fired, 1);
	weft_yield();
}

static void timer_shoot(struct actor *a, struct shot *shot)
{
	weft_timer *t = weft_after(rnd_in(&a->rng, 0, 200000), timer_fired, shot);

	if (!t)
		fail(a->gr, "weft_after: none");
	nudge(a);
	if (rnd_one_in(&a->rng, 3) && weft_timer_stop(t)) {
		if (rnd_one_in(&a->rng, 2)) {
			weft_timer_free(t);
			shot->want = SHOT_NEVER;
			return;
		}
		(void)weft_timer_reset(t, rnd_in(&a->rng, 0, 100000));
		nudge(a);
	}
	if (rnd_one_in(&a->rng, 2))
		shot->want = weft_timer_stop(t) ? SHOT_NEVER : SHOT_ONCE;
	weft_timer_free(t);
}

static void timer_use(struct actor *a)
{
	struct timer *s = a->gr->state;

	for (unsigned i = 0; i < s->per; i++) {
		timer_share(a, s->shared[rnd_in(&a->rng, 0, TIMERS_SHARED - 1)]);
		if (rnd_one_in(&a->rng, 3) && !timer_own(a))
			return;
		if (rnd_one_in(&a->rng, 3) && !a->foreign)
			timer_shoot(a, &s->shots[a->n * s->per + i]);
		nudge(a);
	}
}

static void timer_make(struct graph *gr)
{
	struct timer *s = gr->state;
	unsigned n = rnd_in(&gr->rng, 1, scaled(40));

	s->per = rnd_in(&gr->rng, 1, scaled(60));
	s->shots = must_alloc((size_t)n * s->per * sizeof *s->shots);
	for (unsigned i = 0; i < TIMERS_SHARED; i++)
		s->shared[i] = weft_timer_new(0, i % 2 ? 50000 : 0);
	graph_room(gr, n);
	for (unsigned i = 0; i < n; i++)
		actor_start(gr, NULL, (struct cast){ timer_use, NULL, i, NULL, a_few(gr) });
}

static void timer_check(struct graph *gr)
{
	struct timer *s = gr->state;

	for (unsigned i = 0; i < TIMERS_SHARED; i++)
		weft_timer_free(s->shared[i]);
	for (unsigned i = 0; i < gr->n_actors * s->per; i++) {
		const struct shot *shot = &s->shots[i];

		if (shot->fired > 1 || (shot->fired && shot->want == SHOT_NEVER) ||
		    (!shot->fired && shot->want == SHOT_ONCE && !gr->doomed))
			fail(gr, "a function was called %u times, and it was to be %s", shot->fired,
			     shot->want == SHOT_NEVER ? "never" : "once");
	}
	free(s->shots);
}

const struct shape timer_shape = { "timer", sizeof(struct timer), timer_make, timer_check };

/* --- Local: goroutine-local values, destroyed at the end
 * -------------------------------------------------------------- */

#define LOCAL_KEYS 3

struct local {
	int keys[LOCAL_KEYS];
	unsigned per;
	_Atomic int held;
};

struct local_value {
	struct local *s;
	unsigned key, lives; /* it sets itself anew so often */
	uint64_t goid;
};

static void local_destroy(void *value)
{
	struct local_value *v = value;

	if (v->goid != weft_goid())
		fail(NULL, "a value of goroutine %llu is destroyed on %llu", (unsigned long long)v->goid,
		     (unsigned long long)weft_goid());
	if (v->lives && v->lives--) {
		if (weft_local_set(v->s->keys[v->key], v) < 0)
			fail(NULL, "weft_local_set in a destructor");
		return;
	}
	atomic_fetch_sub(&v->s->held, 1);
	free(v);
}

static void local_use(struct actor *a)
{
	struct local *s = a->gr->state;
	struct local_value *mine[LOCAL_KEYS] = { NULL };

	for (unsigned i = 0; i < s->per; i++) {
		unsigned k = rnd_in(&a->rng, 0, LOCAL_KEYS - 1);

		if (weft_local_get(s->keys[k]) != mine[k])
			fail(a->gr, "a goroutine-local value has changed");
		if (rnd_one_in(&a->rng, 3)) {
			if (!mine[k])
				atomic_fetch_add(&s->held, 1);
			else
				free(mine[k]);
			mine[k] = must_alloc(sizeof *mine[k]);
			*mine[k] = (struct local_value){ s, k, rnd_in(&a->rng, 0, 3), weft_goid() };
			if (weft_local_set(s->keys[k], mine[k]) < 0)
				fail(a->gr, "weft_local_set");
		}
		nudge(a);
	}
}

static void local_make(struct graph *gr)
{
	struct local *s = gr->state;
	unsigned n = rnd_in(&gr->rng, 1, scaled(60));

	s->per = rnd_in(&gr->rng, 1, 40);
	for (unsigned i = 0; i < LOCAL_KEYS; i++) {
		s->keys[i] = weft_local_new(local_destroy);
		if (s->keys[i] < 0)
			fail(gr, "weft_local_new: %s", weft_strerror(s->keys[i]));
	}
	graph_room(gr, n);
	for (unsigned i = 0; i < n; i++)
		actor_start(gr, NULL, (struct cast){ .fn = local_use, .n = i });
}

static void local_check(struct graph *gr)
{
	struct local *s = gr->state;

	if (s->held)
		fail(gr, "%d values were not destroyed", s->held);
	for (unsigned i = 0; i < LOCAL_KEYS; i++)
		if (weft_local_free(s->keys[i]) != 0)
			fail(gr, "weft_local_free");
}

const struct shape local_shape = { "local", sizeof(struct local), local_make, local_check };
