/* life.c - shapes about being born, sleeping and ending: trees of spawns, sleepers, bursts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shapes.h"

/* --- Tree: every node starts its children, waits for them, adds up ---------------------------------------- */

#define TREE_WIDTH 6

struct tree {
	unsigned depth, width;
	_Atomic unsigned nodes; /* that have run */
	uint64_t sum;           /* of the root */
};

struct tree_join {
	weft_wg wg;
	uint64_t sums[TREE_WIDTH];
};

/* A child knows its depth (n) and where its sum goes (p), in its parent's frame. */
struct tree_place {
	struct tree_join *join; /* NULL: the root */
	unsigned child;
};

/* What its parent pushed is there; gone is what a cousin pushed. */
static void tree_labels(struct actor *a)
{
	char found[128], want[32];

	if (a->foreign)
		return;
	snprintf(want, sizeof want, "%u", a->n);
	if (a->parent && (!inside_label("depth", found) || strcmp(found, want) != 0))
		fail(a->gr, "a child has not inherited its parent's label");
	snprintf(want, sizeof want, "%u", a->n + 1);
	weft_label_push("depth", want);
	a->n_labels++;
}

static void tree_children(struct actor *a, struct tree_join *join)
{
	struct tree *s = a->gr->state;
	unsigned n = rnd_in(&a->rng, 1, s->width);
	struct tree_place places[TREE_WIDTH];

	weft_wg_add(&join->wg, (int)n);
	for (unsigned i = 0; i < n; i++) {
		places[i] = (struct tree_place){ join, i };
		nudge(a);
		actor_start(a->gr, a, (struct cast){ a->fn, a->leave, a->n + 1, &places[i], false });
	}
	weft_wg_wait(&join->wg);
}

static void tree_node(struct actor *a)
{
	struct tree *s = a->gr->state;
	struct tree_join join = { 0 };

	a->result = 1;
	atomic_fetch_add(&s->nodes, 1);
	tree_labels(a);
	if (a->n < s->depth)
		tree_children(a, &join);
	for (unsigned i = 0; i < TREE_WIDTH; i++)
		a->result += join.sums[i];
	nudge(a);
}

static void tree_left(struct actor *a)
{
	struct tree *s = a->gr->state;
	struct tree_place *at = a->p;

	if (!at->join) {
		s->sum += a->result;
		return;
	}
	at->join->sums[at->child] = a->result;
	weft_wg_done(&at->join->wg); /* and with it `at` is gone */
}

static void tree_make(struct graph *gr)
{
	static struct tree_place root; /* never written */
	struct tree *s = gr->state;
	unsigned max = 1;

	s->width = rnd_in(&gr->rng, 1, TREE_WIDTH);
	for (unsigned level = 1; max * s->width + 1 <= scaled(1500) && s->depth < 60; s->depth++, level *= s->width)
		max = max * s->width + 1;
	graph_room(gr, max + 1);
	actor_start(gr, NULL, (struct cast){ tree_node, tree_left, 0, &root, a_few(gr) });
}

static void tree_check(struct graph *gr)
{
	struct tree *s = gr->state;

	if (s->sum != s->nodes)
		fail(gr, "a tree of %u nodes adds up to %llu", s->nodes, (unsigned long long)s->sum);
}

const struct shape tree_shape = { "tree", sizeof(struct tree), tree_make, tree_check };

/* --- Sleep: never too short, and called off at once --------------------------------------------------------- */

struct sleep {
	unsigned per, longest;
};

static void sleep_on(struct actor *a)
{
	const struct sleep *s = a->gr->state;

	for (unsigned i = 0; i < s->per; i++) {
		int64_t ns = rnd_in(&a->rng, 0, s->longest), before = weft_now();
		/* Only the end of the context can end it in time. */
		bool for_ever = a->gr->doomed && !a->foreign && i + 1 == s->per;
		int rc = weft_sleep(for_ever ? WEFT_FOREVER : ns);

		if (rc < 0 && called_off(a, rc))
			return;
		if (rc != 0 && !(a->foreign && rc == -EINTR))
			fail(a->gr, "weft_sleep: %s", weft_strerror(rc));
		if (rc == 0 && (for_ever || weft_now() < before + ns))
			fail(a->gr, "a sleep of %lld ns took %lld ns", (long long)ns, (long long)(weft_now() - before));
		nudge(a);
	}
}

static void sleep_make(struct graph *gr)
{
	struct sleep *s = gr->state;
	unsigned n = rnd_in(&gr->rng, 1, scaled(rnd_one_in(&gr->rng, 6) ? 1500 : 60));

	s->per = rnd_in(&gr->rng, 1, 8);
	s->longest = rnd_in(&gr->rng, 1, 3000000);
	graph_room(gr, n);
	for (unsigned i = 0; i < n; i++)
		actor_start(gr, NULL, (struct cast){ sleep_on, NULL, i, NULL, a_few(gr) });
}

static void sleep_check(struct graph *gr)
{
	(void)gr; /* every sleeper has checked its sleeps */
}

const struct shape sleep_shape = { "sleep", sizeof(struct sleep), sleep_make, sleep_check };

/* --- Burst: many short lives, more than a P's queue and cache hold, in chains and in heaps ------------------ */

struct burst {
	unsigned starters, heap, chain;
	_Atomic unsigned births, deaths;
};

/* n: how many more follow one after the other. */
static void burst_link(struct actor *a)
{
	struct burst *s = a->gr->state;

	atomic_fetch_add(&s->births, 1);
	if (rnd_one_in(&a->rng, 4))
		nudge(a);
	if (a->n > 0)
		actor_start(a->gr, a, (struct cast){ burst_link, a->leave, a->n - 1, NULL, false });
}

static void burst_end(struct actor *a)
{
	struct burst *s = a->gr->state;

	if (a->begun)
		atomic_fetch_add(&s->deaths, 1);
}

static void burst_start(struct actor *a)
{
	struct burst *s = a->gr->state;

	for (unsigned i = 0; i < s->heap; i++) {
		actor_start(a->gr, a, (struct cast){ burst_link, burst_end, s->chain, NULL, false });
		if (rnd_one_in(&a->rng, 20))
			nudge(a);
	}
}

static void burst_make(struct graph *gr)
{
	struct burst *s = gr->state;

	s->starters = rnd_in(&gr->rng, 1, 6);
	s->heap = rnd_in(&gr->rng, 1, scaled(rnd_one_in(&gr->rng, 5) ? 700 : 60));
	s->chain = rnd_in(&gr->rng, 0, 4);
	graph_room(gr, s->starters * (1 + s->heap * (s->chain + 1)));
	for (unsigned i = 0; i < s->starters; i++)
		actor_start(gr, NULL, (struct cast){ burst_start, NULL, i, NULL, a_few(gr) });
}

static void burst_check(struct graph *gr)
{
	struct burst *s = gr->state;
	unsigned want = s->starters * s->heap * (s->chain + 1);

	if (s->births != s->deaths || (!gr->doomed && s->births != want))
		fail(gr, "of %u goroutines %u were born and %u have ended", want, s->births, s->deaths);
}

const struct shape burst_shape = { "burst", sizeof(struct burst), burst_make, burst_check };
