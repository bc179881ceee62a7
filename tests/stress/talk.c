/* talk.c - shapes that use channels for more than passing tokens on: questions and answers, gates that are
 * opened by closing, nil channels. */
#include <stdlib.h>

#include "shapes.h"

/* --- Ask: clients send questions with a channel for the answer in them ---------------------------------- */

struct question {
	uint64_t x;
	weft_chan *answer;
};

struct ask {
	weft_chan *questions;
	weft_chan **answers; /* by client */
	unsigned clients, per;
	_Atomic unsigned clients_left, servers_left;
	_Atomic unsigned asked, answered, got;
};

static int ask_one(struct actor *a, uint64_t x)
{
	struct ask *s = a->gr->state;
	struct question q = { x, s->answers[a->n] };
	uint64_t y = 0;
	int rc = weft_chan_send(s->questions, &q, sizeof q);

	if (rc < 0) {
		if (rc == -EPIPE ? !a->gr->doomed : !called_off(a, rc))
			fail(a->gr, "sending a question: %s", weft_strerror(rc));
		return rc;
	}
	atomic_fetch_add(&s->asked, 1);
	nudge(a);
	rc = weft_chan_recv(q.answer, &y, sizeof y);
	if (rc <= 0) {
		if (rc == 0 ? !a->gr->doomed : !called_off(a, rc))
			fail(a->gr, "waiting for an answer: %d", rc);
		return rc;
	}
	if (y != rnd_mix(x, 1))
		fail(a->gr, "a client got the answer to another question");
	atomic_fetch_add(&s->got, 1);
	return 1;
}

static void ask_client(struct actor *a)
{
	struct ask *s = a->gr->state;

	for (unsigned i = 0; i < s->per; i++) {
		if (ask_one(a, rnd(&a->rng)) <= 0)
			return;
		nudge(a);
	}
}

static void ask_client_left(struct actor *a)
{
	struct ask *s = a->gr->state;

	(void)weft_chan_close(s->answers[a->n]); /* a server may have done so */
	if (atomic_fetch_sub(&s->clients_left, 1) == 1)
		(void)weft_chan_close(s->questions);
}

static void ask_serve(struct actor *a)
{
	struct ask *s = a->gr->state;
	struct question q;
	int rc;

	while ((rc = weft_chan_recv(s->questions, &q, sizeof q)) == 1) {
		uint64_t y = rnd_mix(q.x, 1);

		nudge(a);
		rc = weft_chan_send(q.answer, &y, sizeof y);
		if (rc < 0) {
			(void)weft_chan_close(q.answer); /* its client is not to wait for ever */
			if (rc == -EPIPE && a->gr->doomed)
				continue;
			break;
		}
		atomic_fetch_add(&s->answered, 1);
		nudge(a);
	}
	if (rc < 0 && !called_off(a, rc))
		fail(a->gr, "serving: %s", weft_strerror(rc));
}

/* The last server takes care that no client waits for an answer that will not come. */
static void ask_server_left(struct actor *a)
{
	struct ask *s = a->gr->state;
	struct question q;

	if (atomic_fetch_sub(&s->servers_left, 1) != 1)
		return;
	(void)weft_chan_close(s->questions);
	while (weft_chan_try_recv(s->questions, &q, sizeof q) == 1)
		(void)weft_chan_close(q.answer);
}

static void ask_make(struct graph *gr)
{
	struct ask *s = gr->state;
	unsigned servers = rnd_in(&gr->rng, 1, 6);

	s->clients = rnd_in(&gr->rng, 1, scaled(30));
	s->clients_left = s->clients;
	s->servers_left = servers;
	s->per = rnd_in(&gr->rng, 1, scaled(60));
	s->questions = weft_chan_new(sizeof(struct question), rnd_in(&gr->rng, 0, 3));
	s->answers = must_alloc(s->clients * sizeof(*s->answers));
	for (unsigned i = 0; i < s->clients; i++)
		s->answers[i] = weft_chan_new(sizeof(uint64_t), rnd_in(&gr->rng, 0, 1));
	graph_room(gr, s->clients + servers);
	for (unsigned i = 0; i < servers; i++)
		actor_start(gr, NULL, (struct cast){ ask_serve, ask_server_left, i, NULL, a_few(gr) });
	for (unsigned i = 0; i < s->clients; i++)
		actor_start(gr, NULL, (struct cast){ ask_client, ask_client_left, i, NULL, a_few(gr) });
}

static void ask_check(struct graph *gr)
{
	struct ask *s = gr->state;

	if (s->got > s->answered || s->answered > s->asked)
		fail(gr, "%u questions, %u answers given, %u got", s->asked, s->answered, s->got);
	if (!gr->doomed && (s->got != s->clients * s->per || s->answered != s->got))
		fail(gr, "of %u questions %u were answered and %u answers got", s->clients * s->per, s->answered,
		     s->got);
	for (unsigned i = 0; i < s->clients; i++)
		weft_chan_free(s->answers[i]);
	weft_chan_free(s->questions);
	free(s->answers);
}

const struct shape ask_shape = { "ask", sizeof(struct ask), ask_make, ask_check };

/* --- Gate: many wait for one channel to be closed, time after time --------------------------------------- */

#define GATES 6

struct gate {
	weft_chan *gates[GATES];
	_Atomic unsigned through[GATES], before[GATES];
	unsigned n_gates, crowd;
};

static void gate_pass(struct actor *a)
{
	struct gate *s = a->gr->state;

	for (unsigned i = 0; i < s->n_gates; i++) {
		char c = 1;
		int rc;

		atomic_fetch_add(&s->before[i], 1);
		rc = weft_chan_recv(s->gates[i], &c, sizeof c);
		if (rc < 0 && called_off(a, rc))
			return;
		if (rc != 0 || c != 0)
			fail(a->gr, "a receive from a closed channel says %d", rc);
		atomic_fetch_add(&s->through[i], 1);
		nudge(a);
	}
}

static void gate_open(struct actor *a)
{
	struct gate *s = a->gr->state;

	for (unsigned i = 0; i < s->n_gates; i++) {
		for (unsigned n = rnd_in(&a->rng, 0, 30); n > 0; n--) {
			nudge(a);
			weft_yield();
		}
		if (s->through[i] != 0)
			fail(a->gr, "%u have come through a gate that is closed", s->through[i]);
		if (weft_chan_close(s->gates[i]) != 0)
			fail(a->gr, "a gate was open");
	}
}

static void gate_make(struct graph *gr)
{
	struct gate *s = gr->state;

	s->n_gates = rnd_in(&gr->rng, 1, GATES);
	s->crowd = rnd_in(&gr->rng, 1, scaled(rnd_one_in(&gr->rng, 5) ? 600 : 60));
	for (unsigned i = 0; i < s->n_gates; i++)
		s->gates[i] = weft_chan_new(1, 0);
	graph_room(gr, s->crowd + 1);
	for (unsigned i = 0; i < s->crowd; i++)
		actor_start(gr, NULL, (struct cast){ gate_pass, NULL, i, NULL, a_few(gr) });
	/* A thread, which nobody calls off: so every gate is opened. */
	actor_start(gr, NULL, (struct cast){ .fn = gate_open, .foreign = true });
}

static void gate_check(struct graph *gr)
{
	struct gate *s = gr->state;

	for (unsigned i = 0; i < s->n_gates; i++) {
		if (s->through[i] > s->before[i] || (!gr->doomed && s->through[i] != s->crowd))
			fail(gr, "%u of %u came through gate %u", s->through[i], s->crowd, i);
		weft_chan_free(s->gates[i]);
	}
}

const struct shape gate_shape = { "gate", sizeof(struct gate), gate_make, gate_check };

/* --- Nil: channels that nobody can use; only the context ends a wait for one ----------------------------- */

static void nil_wait(struct actor *a)
{
	uint64_t x = 7;
	int rc;

	for (unsigned n = rnd_in(&a->rng, 0, 10); n > 0; n--) {
		rc = rnd_one_in(&a->rng, 2) ? weft_chan_try_send(NULL, &x, sizeof x)
					    : weft_chan_try_recv(NULL, &x, sizeof x);
		if (rc != -EAGAIN)
			fail(a->gr, "trying a nil channel: %d", rc);
		nudge(a);
	}
	if (!a->gr->doomed)
		return;
	rc = rnd_one_in(&a->rng, 2) ? weft_chan_send(NULL, &x, sizeof x) : weft_chan_recv(NULL, &x, sizeof x);
	if (!called_off(a, rc))
		fail(a->gr, "a wait for a nil channel ended: %d", rc);
}

static void nil_make(struct graph *gr)
{
	unsigned n = rnd_in(&gr->rng, 1, scaled(80));

	graph_room(gr, n);
	for (unsigned i = 0; i < n; i++)
		actor_start(gr, NULL, (struct cast){ .fn = nil_wait });
}

static void nil_check(struct graph *gr)
{
	(void)gr; /* that they all came back is what there is to check */
}

const struct shape nil_shape = { "nil", 0, nil_make, nil_check };
