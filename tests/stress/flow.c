/* flow.c - shapes of goroutines that pass tokens through channels.
 *
 * In all of them somebody receives from each line until it is closed, and who gives up leaves its lines,
 * which closes them: so nobody waits for ever, whether or not the graph is called off. */
#include <stdlib.h>

#include "line.h"
#include "shapes.h"

/* --- Mesh: many producers, many lines, some receivers bound to a line, some that roam ------------------ */

#define MESH_LINES 6

struct mesh {
	struct ledger book;
	struct line lines[MESH_LINES];
	unsigned n_lines, per;
};

static void mesh_produce(struct actor *a)
{
	struct mesh *s = a->gr->state;

	for (unsigned i = 0; i < s->per; i++) {
		struct token t = { .producer = a->n, .seq = i };

		if (line_put(&s->lines[rnd_in(&a->rng, 0, s->n_lines - 1)], a, &t) < 0)
			return;
		ledger_sent(&s->book, &t);
	}
}

static void mesh_produced(struct actor *a)
{
	struct mesh *s = a->gr->state;

	for (unsigned i = 0; i < s->n_lines; i++)
		line_drop_sender(&s->lines[i]);
}

static void mesh_receive(struct actor *a)
{
	struct mesh *s = a->gr->state;
	struct order o;
	struct token t;

	order_open(&o, 1, s->book.producers);
	while (line_take(&s->lines[a->n], a, &t) == 1) {
		order_seen(&o, a, 0, &t);
		ledger_taken(&s->book, &t);
	}
	order_close(&o);
}

static void mesh_received(struct actor *a)
{
	struct mesh *s = a->gr->state;

	line_drop_receiver(&s->lines[a->n]);
}

static void mesh_roam(struct actor *a)
{
	struct mesh *s = a->gr->state;
	unsigned open = (1u << s->n_lines) - 1;
	struct order o;
	struct token t;

	order_open(&o, s->n_lines, s->book.producers);
	while (open && weft_ctx_err(weft_ctx_self()) == 0) {
		unsigned i = rnd_in(&a->rng, 0, s->n_lines - 1);
		int rc = line_try_take(&s->lines[i], a, &t);

		if (rc == 1) {
			order_seen(&o, a, i, &t);
			ledger_taken(&s->book, &t);
		} else if (rc == 0) {
			open &= ~(1u << i);
		}
		weft_yield();
	}
	order_close(&o);
}

static void mesh_slam(struct actor *a)
{
	struct mesh *s = a->gr->state;
	int rc;

	for (unsigned n = rnd_in(&a->rng, 0, 50); n > 0; n--)
		nudge(a);
	rc = weft_chan_close(s->lines[a->n].c);
	if (rc < 0 && rc != -EALREADY)
		fail(a->gr, "weft_chan_close: %s", weft_strerror(rc));
}

static void mesh_make(struct graph *gr)
{
	struct mesh *s = gr->state;
	unsigned producers = rnd_in(&gr->rng, 1, scaled(40)), receivers[MESH_LINES];
	unsigned roamers = rnd_one_in(&gr->rng, 2) ? rnd_in(&gr->rng, 1, 4) : 0;
	bool slam = rnd_one_in(&gr->rng, 5);

	s->n_lines = rnd_in(&gr->rng, 1, MESH_LINES);
	s->per = rnd_in(&gr->rng, 1, scaled(rnd_one_in(&gr->rng, 6) ? 1000 : 80));
	ledger_open(&s->book, gr, producers, s->per);
	graph_room(gr, producers + MESH_LINES * 5 + roamers);
	for (unsigned i = 0; i < s->n_lines; i++) {
		receivers[i] = rnd_in(&gr->rng, 1, 4);
		line_open(&s->lines[i], &s->book, producers, receivers[i]);
		s->lines[i].slammed = slam;
	}
	for (unsigned i = 0; i < s->n_lines; i++)
		for (unsigned k = 0; k < receivers[i]; k++)
			actor_start(gr, NULL, (struct cast){ mesh_receive, mesh_received, i, NULL, a_few(gr) });
	for (unsigned i = 0; i < producers; i++)
		actor_start(gr, NULL, (struct cast){ mesh_produce, mesh_produced, i, NULL, a_few(gr) });
	for (unsigned i = 0; i < roamers; i++)
		actor_start(gr, NULL, (struct cast){ .fn = mesh_roam });
	for (unsigned i = 0; slam && i < s->n_lines; i++)
		actor_start(gr, NULL, (struct cast){ mesh_slam, NULL, i, NULL, a_few(gr) });
}

static void mesh_check(struct graph *gr)
{
	struct mesh *s = gr->state;

	for (unsigned i = 0; i < s->n_lines; i++)
		line_close(&s->lines[i]);
	ledger_close(&s->book);
}

const struct shape mesh_shape = { "mesh", sizeof(struct mesh), mesh_make, mesh_check };

/* --- Pipeline: stages of one or more workers; fan-out and fan-in ---------------------------------------- */

#define PIPE_STAGES 8

struct pipe {
	struct ledger book;
	struct line lines[PIPE_STAGES + 1]; /* stage i takes from i and puts to i + 1 */
	unsigned stages, per;
	bool in_order; /* one worker each, so everything keeps its order */
};

static void pipe_source(struct actor *a)
{
	struct pipe *s = a->gr->state;

	for (unsigned i = 0; i < s->per; i++) {
		struct token t = { .producer = a->n, .seq = i };

		if (line_put(&s->lines[0], a, &t) < 0)
			return;
		ledger_sent(&s->book, &t);
	}
}

static void pipe_source_left(struct actor *a)
{
	line_drop_sender(&((struct pipe *)a->gr->state)->lines[0]);
}

static void pipe_work(struct actor *a)
{
	struct pipe *s = a->gr->state;
	struct token t;

	while (line_take(&s->lines[a->n], a, &t) == 1) {
		if (t.hops++ != a->n)
			fail(a->gr, "stage %u got a token that has been through %u", a->n, t.hops - 1);
		if (line_put(&s->lines[a->n + 1], a, &t) < 0) {
			ledger_taken(&s->book, &t); /* it ends here */
			return;
		}
	}
}

static void pipe_work_left(struct actor *a)
{
	struct pipe *s = a->gr->state;

	line_drop_receiver(&s->lines[a->n]);
	line_drop_sender(&s->lines[a->n + 1]);
}

static void pipe_sink(struct actor *a)
{
	struct pipe *s = a->gr->state;
	struct order o;
	struct token t;

	order_open(&o, 1, s->book.producers);
	while (line_take(&s->lines[s->stages], a, &t) == 1) {
		if (t.hops != s->stages)
			fail(a->gr, "a token has been through %u of %u stages", t.hops, s->stages);
		if (s->in_order)
			order_seen(&o, a, 0, &t);
		ledger_taken(&s->book, &t);
	}
	order_close(&o);
}

static void pipe_sink_left(struct actor *a)
{
	struct pipe *s = a->gr->state;

	line_drop_receiver(&s->lines[s->stages]);
}

static void pipe_make(struct graph *gr)
{
	struct pipe *s = gr->state;
	unsigned sources = rnd_in(&gr->rng, 1, 4), sinks = rnd_in(&gr->rng, 1, 3);
	unsigned workers[PIPE_STAGES] = { 0 };

	s->stages = rnd_in(&gr->rng, 1, PIPE_STAGES);
	s->per = rnd_in(&gr->rng, 1, scaled(300));
	s->in_order = rnd_one_in(&gr->rng, 3);
	for (unsigned i = 0; i < s->stages; i++)
		workers[i] = s->in_order ? 1 : rnd_in(&gr->rng, 1, 6);
	ledger_open(&s->book, gr, sources, s->per);
	graph_room(gr, sources + sinks + PIPE_STAGES * 6);
	for (unsigned i = 0; i <= s->stages; i++)
		line_open(&s->lines[i], &s->book, i == 0 ? sources : workers[i - 1],
			  i == s->stages ? sinks : workers[i]);
	for (unsigned i = 0; i < sinks; i++)
		actor_start(gr, NULL, (struct cast){ pipe_sink, pipe_sink_left, i, NULL, a_few(gr) });
	for (unsigned i = 0; i < s->stages; i++)
		for (unsigned k = 0; k < workers[i]; k++)
			actor_start(gr, NULL, (struct cast){ pipe_work, pipe_work_left, i, NULL, a_few(gr) });
	for (unsigned i = 0; i < sources; i++)
		actor_start(gr, NULL, (struct cast){ pipe_source, pipe_source_left, i, NULL, a_few(gr) });
}

static void pipe_check(struct graph *gr)
{
	struct pipe *s = gr->state;

	for (unsigned i = 0; i <= s->stages; i++)
		line_close(&s->lines[i]);
	ledger_close(&s->book);
}

const struct shape pipe_shape = { "pipeline", sizeof(struct pipe), pipe_make, pipe_check };

/* --- Ring: fewer tokens than nodes go round until each has made its hops ---------------------------------- */

struct ring {
	struct ledger book;
	struct line *lines; /* node i takes from i and puts to i + 1 */
	unsigned nodes, tokens, hops;
	_Atomic unsigned retired;
};

static void ring_node(struct actor *a)
{
	struct ring *s = a->gr->state;
	struct line *in = &s->lines[a->n], *out = &s->lines[(a->n + 1) % s->nodes];
	struct token t = { .producer = a->n };

	if (a->n < s->tokens) {
		if (line_put(out, a, &t) < 0)
			return;
		ledger_sent(&s->book, &t);
	}
	while (line_take(in, a, &t) == 1) {
		if (++t.hops == s->hops) {
			ledger_taken(&s->book, &t);
			if (atomic_fetch_add(&s->retired, 1) == s->tokens - 1)
				return; /* its lines are closed, and so on round the ring */
		} else if (line_put(out, a, &t) < 0) {
			ledger_taken(&s->book, &t);
			return;
		}
	}
}

static void ring_left(struct actor *a)
{
	struct ring *s = a->gr->state;

	line_drop_receiver(&s->lines[a->n]);
	line_drop_sender(&s->lines[(a->n + 1) % s->nodes]);
}

static void ring_make(struct graph *gr)
{
	struct ring *s = gr->state;

	s->nodes = rnd_in(&gr->rng, 2, scaled(rnd_one_in(&gr->rng, 8) ? 1000 : 40));
	s->tokens = rnd_in(&gr->rng, 1, s->nodes - 1);
	s->hops = rnd_in(&gr->rng, 1, scaled(4000) / s->tokens + 2);
	s->lines = must_alloc(s->nodes * sizeof *s->lines);
	ledger_open(&s->book, gr, s->tokens, 1);
	graph_room(gr, s->nodes);
	for (unsigned i = 0; i < s->nodes; i++)
		line_open(&s->lines[i], &s->book, 1, 1);
	for (unsigned i = 0; i < s->nodes; i++)
		actor_start(gr, NULL, (struct cast){ ring_node, ring_left, i, NULL, a_few(gr) });
}

static void ring_check(struct graph *gr)
{
	struct ring *s = gr->state;

	if (!gr->doomed && s->retired != s->tokens)
		fail(gr, "%u of %u tokens made their %u hops", s->retired, s->tokens, s->hops);
	for (unsigned i = 0; i < s->nodes; i++)
		line_close(&s->lines[i]);
	ledger_close(&s->book);
	free(s->lines);
}

const struct shape ring_shape = { "ring", sizeof(struct ring), ring_make, ring_check };
