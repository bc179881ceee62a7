/* wait.c - shapes around select, rwmutexes, conditions and semaphores. */
#include <stdlib.h>

#include "line.h"
#include "shapes.h"

/* --- Choose: tokens sent and received by selects over many lines ------------------------------------------- */

#define CHOOSE_LINES 8
#define CHOOSE_CASES (2 * CHOOSE_LINES + 3)

struct choose {
	struct ledger book;
	struct line lines[CHOOSE_LINES];
	unsigned n_lines, per;
};

/* A select over the lines in `open` (bits), some of them twice, and what else a select may have. */
struct choice {
	struct weft_case cases[CHOOSE_CASES];
	unsigned line[CHOOSE_CASES];
	bool ok, done;
	unsigned n;
};

static void choice_add(struct choice *c, struct choose *s, unsigned line, uint32_t op, struct token *t)
{
	c->line[c->n] = line;
	c->cases[c->n++] = (struct weft_case){
		.op = op, .on = s->lines[line].c, .elem = t, .size = s->lines[line].size, .ok = &c->ok
	};
}

static void choice_make(struct choice *c, struct actor *a, unsigned open, uint32_t op, struct token *t)
{
	struct choose *s = a->gr->state;

	*c = (struct choice){ 0 };
	for (unsigned i = 0, at = rnd_in(&a->rng, 0, s->n_lines - 1); i < s->n_lines; i++, at = (at + 1) % s->n_lines) {
		if (!(open & 1u << at))
			continue;
		choice_add(c, s, at, op, t);
		if (rnd_one_in(&a->rng, 6))
			choice_add(c, s, at, op, t);
	}
	if (rnd_one_in(&a->rng, 4))
		c->cases[c->n++] = (struct weft_case){ .op = WEFT_OP_RECV, .size = 1 }; /* never ready */
	if (rnd_one_in(&a->rng, 4) && !a->foreign) {
		c->done = true;
		c->cases[c->n++] = (struct weft_case){ .op = WEFT_OP_DONE, .on = weft_ctx_self() };
	}
	if (rnd_one_in(&a->rng, 4))
		c->cases[c->n++] = (struct weft_case){ .op = WEFT_OP_AFTER, .ns = rnd_in(&a->rng, 0, 200000) };
	else if (rnd_one_in(&a->rng, 6))
		c->cases[c->n++] = (struct weft_case){ .op = WEFT_OP_DEFAULT };
}

/* The case of a line that ran; -EAGAIN: another one; -ECANCELED: give up. */
static int choose_one(struct actor *a, struct choice *c)
{
	int rc = weft_select_n(c->cases, c->n, sizeof *c->cases);

	if (rc < 0 && (c->done || !called_off(a, rc)))
		fail(a->gr, "weft_select_n: %s", weft_strerror(rc));
	if (rc >= (int)c->n)
		fail(a->gr, "of %u cases number %d ran", c->n, rc);
	if (rc >= 0 && c->cases[rc].op == WEFT_OP_DONE) {
		if (!called_off(a, weft_ctx_err(weft_ctx_self())))
			fail(a->gr, "the context is over, a select says, and it is not");
		return -ECANCELED;
	}
	if (rc >= 0 && c->cases[rc].op == WEFT_OP_RECV && !c->cases[rc].on)
		fail(a->gr, "something was received from a nil channel");
	if (rc >= 0 && !c->cases[rc].on)
		return -EAGAIN;
	return rc;
}

static void choose_send(struct actor *a)
{
	struct choose *s = a->gr->state;
	unsigned open = (1u << s->n_lines) - 1;

	for (unsigned i = 0; i < s->per && open; nudge(a)) {
		struct token t = { .producer = a->n, .seq = i };
		struct choice c;
		int rc;

		for (unsigned k = 0; k < s->n_lines; k++)
			line_seal(&s->lines[k], &t);
		choice_make(&c, a, open, WEFT_OP_SEND, &t);
		rc = choose_one(a, &c);
		if (rc == -ECANCELED)
			return;
		if (rc < 0)
			continue;
		if (c.ok) {
			ledger_sent(&s->book, &t);
			i++;
		} else {
			if (!a->gr->doomed)
				fail(a->gr, "a select found the channel closed that it sends on");
			open &= ~(1u << c.line[rc]);
		}
	}
}

static void choose_sent(struct actor *a)
{
	struct choose *s = a->gr->state;

	for (unsigned i = 0; i < s->n_lines; i++)
		line_drop_sender(&s->lines[i]);
}

static void choose_take(struct actor *a)
{
	struct choose *s = a->gr->state;
	unsigned open = (1u << s->n_lines) - 1;
	struct order o;

	order_open(&o, s->n_lines, s->book.producers);
	while (open) {
		struct token t;
		struct choice c;
		int rc;

		choice_make(&c, a, open, WEFT_OP_RECV, &t);
		rc = choose_one(a, &c);
		if (rc == -ECANCELED)
			break;
		if (rc >= 0 && line_took(&s->lines[c.line[rc]], &t, c.ok) == 1) {
			order_seen(&o, a, c.line[rc], &t);
			ledger_taken(&s->book, &t);
		} else if (rc >= 0) {
			open &= ~(1u << c.line[rc]);
		}
		nudge(a);
	}
	order_close(&o);
}

static void choose_taken(struct actor *a)
{
	struct choose *s = a->gr->state;

	for (unsigned i = 0; i < s->n_lines; i++)
		line_drop_receiver(&s->lines[i]);
}

static void choose_make(struct graph *gr)
{
	struct choose *s = gr->state;
	unsigned senders = rnd_in(&gr->rng, 1, scaled(20)), takers = rnd_in(&gr->rng, 1, scaled(20));

	s->n_lines = rnd_in(&gr->rng, 1, CHOOSE_LINES);
	s->per = rnd_in(&gr->rng, 1, scaled(rnd_one_in(&gr->rng, 6) ? 600 : 60));
	ledger_open(&s->book, gr, senders, s->per);
	for (unsigned i = 0; i < s->n_lines; i++)
		line_open(&s->lines[i], &s->book, senders, takers);
	graph_room(gr, senders + takers);
	for (unsigned i = 0; i < takers; i++)
		actor_start(gr, NULL, (struct cast){ choose_take, choose_taken, i, NULL, a_few(gr) });
	for (unsigned i = 0; i < senders; i++)
		actor_start(gr, NULL, (struct cast){ choose_send, choose_sent, i, NULL, a_few(gr) });
}

static void choose_check(struct graph *gr)
{
	struct choose *s = gr->state;

	for (unsigned i = 0; i < s->n_lines; i++)
		line_close(&s->lines[i]);
	ledger_close(&s->book);
}

const struct shape choose_shape = { "choose", sizeof(struct choose), choose_make, choose_check };

/* --- Shelf: a rwmutex; what it guards is plain memory ---------------------------------------------------------- */

struct shelf {
	weft_rwmutex lock;
	uint64_t copy[4]; /* under lock: all the same */
	_Atomic unsigned readers, writers;
	_Atomic uint64_t writes;
	unsigned per;
};

static void shelf_read(struct actor *a, struct shelf *s)
{
	if (!rnd_one_in(&a->rng, 3) || !weft_try_rlock(&s->lock))
		weft_rlock(&s->lock);
	atomic_fetch_add(&s->readers, 1);
	if (s->writers)
		fail(a->gr, "a reader and a writer are inside");
	if (rnd_one_in(&a->rng, 3))
		nudge(a);
	for (unsigned i = 1; i < 4; i++)
		if (s->copy[i] != s->copy[0])
			fail(a->gr, "a reader sees what is half written");
	atomic_fetch_sub(&s->readers, 1);
	weft_runlock(&s->lock);
}

static void shelf_write(struct actor *a, struct shelf *s)
{
	if (!rnd_one_in(&a->rng, 3) || !weft_try_wlock(&s->lock))
		weft_wlock(&s->lock);
	if (atomic_fetch_add(&s->writers, 1) || s->readers)
		fail(a->gr, "a writer is not alone");
	for (unsigned i = 0; i < 4; i++) {
		s->copy[i]++;
		if (rnd_one_in(&a->rng, 8))
			nudge(a);
	}
	atomic_fetch_add(&s->writes, 1);
	atomic_fetch_sub(&s->writers, 1);
	weft_wunlock(&s->lock);
}

static void shelf_use(struct actor *a)
{
	struct shelf *s = a->gr->state;

	for (unsigned i = 0; i < s->per; i++) {
		if (rnd_one_in(&a->rng, 1 + a->n % 8))
			shelf_write(a, s);
		else
			shelf_read(a, s);
		nudge(a);
	}
}

static void shelf_make(struct graph *gr)
{
	struct shelf *s = gr->state;
	unsigned n = rnd_in(&gr->rng, 1, scaled(50));

	s->per = rnd_in(&gr->rng, 1, scaled(rnd_one_in(&gr->rng, 5) ? 800 : 80));
	graph_room(gr, n);
	for (unsigned i = 0; i < n; i++)
		actor_start(gr, NULL, (struct cast){ shelf_use, NULL, i, NULL, a_few(gr) });
}

static void shelf_check(struct graph *gr)
{
	struct shelf *s = gr->state;

	if (!weft_try_wlock(&s->lock))
		fail(gr, "a rwmutex is not free after its last unlock");
	weft_wunlock(&s->lock);
	if (s->copy[3] != s->writes)
		fail(gr, "%llu writes have counted to %llu", (unsigned long long)s->writes,
		     (unsigned long long)s->copy[3]);
}

const struct shape shelf_shape = { "shelf", sizeof(struct shelf), shelf_make, shelf_check };

/* --- Store: a bounded store under a mutex and two conditions ------------------------------------------------------ */

struct store {
	weft_mutex lock;
	weft_cond filled, emptied;
	/* under lock */
	unsigned n, makers, takers;
	uint64_t made, taken;
	unsigned room, per;
	bool broadcasts;
};

static void store_tell(const struct store *s, weft_cond *c)
{
	if (s->broadcasts)
		weft_cond_broadcast(c);
	else
		weft_cond_signal(c);
}

/* Under lock, while `full` or empty; false: give up. */
static bool store_wait(struct actor *a, weft_cond *c)
{
	struct store *s = a->gr->state;
	int rc = weft_cond_wait(c, &s->lock);

	if (rc < 0 && !called_off(a, rc))
		fail(a->gr, "weft_cond_wait: %s", weft_strerror(rc));
	return rc == 0;
}

static void store_fill(struct actor *a)
{
	struct store *s = a->gr->state;

	for (unsigned i = 0; i < s->per; i++) {
		bool on = true;

		weft_lock(&s->lock);
		while (on && s->n == s->room)
			on = s->takers && store_wait(a, &s->emptied);
		if (on) {
			s->n++;
			s->made++;
			store_tell(s, &s->filled);
		}
		weft_unlock(&s->lock);
		if (!on)
			return;
		nudge(a);
	}
}

static void store_take(struct actor *a)
{
	struct store *s = a->gr->state;
	bool on = true;

	while (on) {
		weft_lock(&s->lock);
		while (on && s->n == 0)
			on = s->makers && store_wait(a, &s->filled);
		if (on) {
			s->n--;
			s->taken++;
		}
		weft_unlock(&s->lock);
		store_tell(s, &s->emptied);
		nudge(a);
	}
}

static void store_left(struct actor *a)
{
	struct store *s = a->gr->state;

	weft_lock(&s->lock);
	if (a->fn == store_fill)
		s->makers--;
	else
		s->takers--;
	weft_unlock(&s->lock);
	weft_cond_broadcast(&s->filled);
	weft_cond_broadcast(&s->emptied);
}

static void store_make(struct graph *gr)
{
	struct store *s = gr->state;

	s->makers = rnd_in(&gr->rng, 1, scaled(25));
	s->takers = rnd_in(&gr->rng, 1, scaled(25));
	s->room = rnd_in(&gr->rng, 1, 6);
	s->per = rnd_in(&gr->rng, 1, scaled(200));
	s->broadcasts = rnd_one_in(&gr->rng, 4);
	graph_room(gr, s->makers + s->takers);
	for (unsigned i = 0, n = s->makers; i < n; i++)
		actor_start(gr, NULL, (struct cast){ store_fill, store_left, i, NULL, a_few(gr) });
	for (unsigned i = 0, n = gr->max_actors - gr->n_actors; i < n; i++)
		actor_start(gr, NULL, (struct cast){ store_take, store_left, i, NULL, a_few(gr) });
}

static void store_check(struct graph *gr)
{
	struct store *s = gr->state;

	if (s->made != s->taken + s->n || (!gr->doomed && s->n))
		fail(gr, "%llu were made, %llu taken, %u are left", (unsigned long long)s->made,
		     (unsigned long long)s->taken, s->n);
}

const struct shape store_shape = { "store", sizeof(struct store), store_make, store_check };

/* --- Permit: counting semaphores, several permits at a time ------------------------------------------------------- */

struct permit {
	weft_sem sem;
	unsigned total, per;
	_Atomic unsigned inside;
};

static void permit_use(struct actor *a)
{
	struct permit *s = a->gr->state;

	for (unsigned i = 0; i < s->per; i++) {
		unsigned n = rnd_in(&a->rng, 1, s->total);
		int rc = -EAGAIN;

		if (rnd_one_in(&a->rng, 3))
			rc = weft_sem_try_acquire(&s->sem, n);
		if (rc == -EAGAIN)
			rc = weft_sem_acquire(&s->sem, n);
		if (called_off(a, rc))
			return;
		if (rc < 0)
			fail(a->gr, "weft_sem_acquire: %s", weft_strerror(rc));
		if (atomic_fetch_add(&s->inside, n) + n > s->total)
			fail(a->gr, "more than %u permits are out", s->total);
		nudge(a);
		atomic_fetch_sub(&s->inside, n);
		weft_sem_release(&s->sem, n);
		nudge(a);
	}
}

static void permit_make(struct graph *gr)
{
	struct permit *s = gr->state;
	unsigned n = rnd_in(&gr->rng, 1, scaled(50));

	s->total = rnd_in(&gr->rng, 1, 8);
	s->per = rnd_in(&gr->rng, 1, scaled(100));
	weft_sem_init(&s->sem, s->total);
	graph_room(gr, n);
	for (unsigned i = 0; i < n; i++)
		actor_start(gr, NULL, (struct cast){ permit_use, NULL, i, NULL, a_few(gr) });
}

static void permit_check(struct graph *gr)
{
	struct permit *s = gr->state;

	if (weft_sem_try_acquire(&s->sem, s->total) != 0 || weft_sem_try_acquire(&s->sem, 1) != -EAGAIN)
		fail(gr, "not exactly %u permits are back", s->total);
}

const struct shape permit_shape = { "permit", sizeof(struct permit), permit_make, permit_check };
