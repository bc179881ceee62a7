/* line.h - a channel whose tokens are accounted for one by one.
 *
 * Every token names its producer and its place in that producer's row; the ledger of the graph has a mark
 * for each that was taken out again.  At the end exactly those that a producer got rid of are marked.
 *
 * A line counts who still sends and who still receives.  When the last on either side has left it is
 * closed, so that nobody on the other side waits for ever; a receiver leaves early only when it is called
 * off. */
#ifndef WEFT_TESTS_LINE_H
#define WEFT_TESTS_LINE_H

#include "stress.h"

#define TOKEN_FILL 1500

struct token {
	uint32_t producer, seq, hops, unused;
	uint64_t sum;
	unsigned char fill[TOKEN_FILL]; /* as much of it as the line's elements have room for */
};

struct ledger {
	struct graph *gr;
	unsigned producers, per;
	_Atomic unsigned *sent;       /* by producer: the first so many of its row */
	_Atomic unsigned char *taken; /* by producer and place */
};
void ledger_open(struct ledger *b, struct graph *gr, unsigned producers, unsigned per);
void ledger_sent(struct ledger *b, const struct token *t);
void ledger_taken(struct ledger *b, const struct token *t);
void ledger_close(struct ledger *b); /* every token that was sent was taken, once */

struct line {
	struct graph *gr;
	struct ledger *book;
	weft_chan *c;
	size_t size;  /* of an element */
	bool slammed; /* somebody closes it while others send */
	_Atomic unsigned senders, receivers;
};
/* Capacity and element size at random. */
void line_open(struct line *l, struct ledger *book, unsigned senders, unsigned receivers);
void line_close(struct line *l); /* what is left in it counts as taken */

/* Waits, tries or both.  0; < 0: give up. */
int line_put(struct line *l, struct actor *a, struct token *t);
/* 1; 0: closed and empty; < 0: give up. */
int line_take(struct line *l, struct actor *a, struct token *t);
/* 1; 0; -EAGAIN */
int line_try_take(struct line *l, struct actor *a, struct token *t);
/* For who sends or receives otherwise (select): before a token goes in, and after it came out with rc. */
void line_seal(const struct line *l, struct token *t);
int line_took(struct line *l, struct token *t, int rc);
void line_drop_sender(struct line *l);
void line_drop_receiver(struct line *l);

/* What one receiver has seen: the tokens of each producer arrive in order, on each line. */
struct order {
	unsigned lines, producers;
	uint32_t *next; /* by line and producer: the least that may come */
};
void order_open(struct order *o, unsigned lines, unsigned producers);
void order_seen(struct order *o, struct actor *a, unsigned line, const struct token *t);
void order_close(struct order *o);

#endif
