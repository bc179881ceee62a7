/* line.c - see line.h. */
#include "line.h"

#include <stdlib.h>
#include <string.h>

/* --- Ledger --- */

void ledger_open(struct ledger *b, struct graph *gr, unsigned producers, unsigned per)
{
	b->gr = gr;
	b->producers = producers;
	b->per = per;
	b->sent = must_alloc(producers * sizeof *b->sent);
	b->taken = must_alloc((size_t)producers * per);
}

void ledger_sent(struct ledger *b, const struct token *t)
{
	unsigned before = atomic_fetch_add(&b->sent[t->producer], 1);

	if (before != t->seq)
		fail(b->gr, "producer %u has sent its token %u after %u others", t->producer, t->seq, before);
}

void ledger_taken(struct ledger *b, const struct token *t)
{
	if (t->producer >= b->producers || t->seq >= b->per)
		fail(b->gr, "token %u of producer %u: there is none such", t->seq, t->producer);
	if (atomic_fetch_add(&b->taken[(size_t)t->producer * b->per + t->seq], 1) != 0)
		fail(b->gr, "token %u of producer %u was received twice", t->seq, t->producer);
}

void ledger_close(struct ledger *b)
{
	for (unsigned p = 0; p < b->producers; p++) {
		for (unsigned i = 0; i < b->per; i++) {
			bool sent = i < b->sent[p], taken = b->taken[(size_t)p * b->per + i];

			if (sent != taken)
				fail(b->gr, "token %u of producer %u was %s, but %s", i, p, sent ? "sent" : "not sent",
				     taken ? "received" : "not received");
		}
	}
	free(b->sent);
	free(b->taken);
}

/* --- Tokens --- */

static size_t fill_of(const struct line *l)
{
	return l->size - offsetof(struct token, fill);
}

static unsigned char fill_at(const struct token *t, size_t i)
{
	return (unsigned char)(t->seq * 31 + t->producer + i);
}

void line_seal(const struct line *l, struct token *t)
{
	t->sum = rnd_mix((uint64_t)t->producer << 32 | t->seq, t->hops);
	for (size_t i = 0; i < fill_of(l); i++)
		t->fill[i] = fill_at(t, i);
}

static void open_seal(const struct line *l, const struct token *t)
{
	if (t->sum != rnd_mix((uint64_t)t->producer << 32 | t->seq, t->hops))
		fail(l->gr, "a token came out of the channel other than it went in");
	for (size_t i = 0; i < fill_of(l); i++)
		if (t->fill[i] != fill_at(t, i))
			fail(l->gr, "byte %zu of %zu of a token came out wrong", i, fill_of(l));
}

/* --- Lines --- */

void line_open(struct line *l, struct ledger *book, unsigned senders, unsigned receivers)
{
	static const unsigned caps[] = { 0, 0, 1, 1, 2, 3, 8, 64, 300 };
	static const unsigned fills[] = { 0, 0, 0, 0, 8, 9, 100, TOKEN_FILL };
	uint64_t *rng = &book->gr->rng;
	unsigned cap = caps[rnd_in(rng, 0, sizeof caps / sizeof *caps - 1)];

	l->gr = book->gr;
	l->book = book;
	l->senders = senders;
	l->receivers = receivers;
	l->size = offsetof(struct token, fill) + fills[rnd_in(rng, 0, sizeof fills / sizeof *fills - 1)];
	l->c = weft_chan_new(l->size, cap);
	if (!l->c || weft_chan_cap(l->c) != cap)
		fail(l->gr, "no channel of %u elements of %zu bytes", cap, l->size);
}

void line_close(struct line *l)
{
	struct token t;

	if (l->senders || l->receivers)
		fail(l->gr, "%u senders and %u receivers have not left their line", l->senders, l->receivers);
	while (weft_chan_try_recv(l->c, &t, l->size) == 1) {
		open_seal(l, &t);
		ledger_taken(l->book, &t);
	}
	if (weft_chan_len(l->c) != 0 || weft_chan_close(l->c) != -EALREADY)
		fail(l->gr, "a line that all have left holds %zu or is not closed", weft_chan_len(l->c));
	weft_chan_free(l->c);
}

int line_put(struct line *l, struct actor *a, struct token *t)
{
	unsigned tries = rnd_one_in(&a->rng, 3) ? rnd_in(&a->rng, 1, 5) : 0;
	int rc = -EAGAIN;

	line_seal(l, t);
	while (rc == -EAGAIN && tries-- > 0) {
		rc = weft_chan_try_send(l->c, t, l->size);
		nudge(a);
	}
	if (rc == -EAGAIN)
		rc = weft_chan_send(l->c, t, l->size);
	if (rc == -EPIPE && !l->slammed && !a->gr->doomed)
		fail(a->gr, "a send found the channel closed");
	if (rc < 0 && rc != -EPIPE && !called_off(a, rc))
		fail(a->gr, "weft_chan_send: %s", weft_strerror(rc));
	nudge(a);
	return rc;
}

int line_took(struct line *l, struct token *t, int rc)
{
	if (rc == 1)
		open_seal(l, t);
	for (size_t i = 0; rc == 0 && i < l->size; i++)
		if (((unsigned char *)t)[i])
			fail(l->gr, "a closed channel's element is not zeroed");
	return rc;
}

int line_try_take(struct line *l, struct actor *a, struct token *t)
{
	int rc = weft_chan_try_recv(l->c, t, l->size);

	if (rc < 0 && rc != -EAGAIN)
		fail(l->gr, "weft_chan_try_recv: %s", weft_strerror(rc));
	rc = line_took(l, t, rc);
	nudge(a);
	return rc;
}

int line_take(struct line *l, struct actor *a, struct token *t)
{
	unsigned tries = rnd_one_in(&a->rng, 3) ? rnd_in(&a->rng, 1, 5) : 0;
	int rc = -EAGAIN;

	while (rc == -EAGAIN && tries-- > 0)
		rc = line_try_take(l, a, t);
	if (rc == -EAGAIN) {
		rc = line_took(l, t, weft_chan_recv(l->c, t, l->size));
		if (rc < 0 && !called_off(a, rc))
			fail(a->gr, "weft_chan_recv: %s", weft_strerror(rc));
		nudge(a);
	}
	return rc;
}

static void shut(struct line *l)
{
	int rc = weft_chan_close(l->c);

	if (rc < 0 && rc != -EALREADY)
		fail(l->gr, "weft_chan_close: %s", weft_strerror(rc));
}

void line_drop_sender(struct line *l)
{
	if (atomic_fetch_sub(&l->senders, 1) == 1)
		shut(l);
}

void line_drop_receiver(struct line *l)
{
	if (atomic_fetch_sub(&l->receivers, 1) == 1)
		shut(l);
}

/* --- Order --- */

void order_open(struct order *o, unsigned lines, unsigned producers)
{
	o->lines = lines;
	o->producers = producers;
	o->next = must_alloc((size_t)lines * producers * sizeof *o->next);
}

void order_seen(struct order *o, struct actor *a, unsigned line, const struct token *t)
{
	uint32_t *next;

	if (t->producer >= o->producers)
		fail(a->gr, "a token of producer %u: there is none such", t->producer);
	next = &o->next[(size_t)line * o->producers + t->producer];
	if (t->seq < *next)
		fail(a->gr, "token %u of producer %u came after its token %u", t->seq, t->producer, *next - 1);
	*next = t->seq + 1;
}

void order_close(struct order *o)
{
	free(o->next);
}
