/* select.c - workloads of select. */
#include <stdlib.h>

#include "bench.h"

#define MOST 64

struct choice {
	weft_wg wg;
	num_chan c[MOST];
	int64_t n, k;
};

static struct choice *new_choice(int64_t n, int64_t k, size_t cap)
{
	struct choice *x = calloc(1, sizeof *x);

	if (!x || k < 1 || k > MOST)
		fail("select: K must be 1 to %d", MOST);
	x->n = n / k * k;
	x->k = k;
	for (int64_t i = 0; i < k; i++)
		x->c[i] = new_chan(cap);
	return x;
}

static void free_choice(struct choice *x)
{
	weft_wg_wait(&x->wg);
	for (int64_t i = 0; i < x->k; i++)
		weft_chan_free(x->c[i].h);
	free(x);
}

/* Receives from any of the channels into *v. */
static void receive_any(const struct choice *x, struct weft_case *cases, int64_t *v)
{
	for (int64_t i = 0; i < x->k; i++)
		cases[i] = weft_on_recv(x->c[i], v);
}

static void select_ready(void *arg)
{
	struct choice *x = arg;
	struct weft_case cases[MOST];
	int64_t v;

	receive_any(x, cases, &v);
	for (int64_t i = 0; i < x->n; i++) {
		must(weft_send(x->c[i % x->k], i), "weft_send");
		must(weft_select_n(cases, (size_t)x->k, sizeof *cases), "weft_select_n");
		if (v != i)
			fail("select_ready: wrong value");
	}
}

/* One goroutine; one of k channels is ready each time. */
void run_select_ready(int64_t n, int64_t k)
{
	struct choice *x = new_choice(n, k, 1);

	must(weft_wg_go(&x->wg, select_ready, x), "weft_wg_go");
	free_choice(x);
}

struct part {
	weft_wg *wg;
	num_chan c;
	int64_t n;
};

static void send_part(void *arg)
{
	struct part *p = arg;

	for (int64_t i = 0; i < p->n; i++)
		must(weft_send(p->c, i), "weft_send");
	weft_wg_done(p->wg);
}

static void select_block(void *arg)
{
	struct choice *x = arg;
	struct weft_case cases[MOST];
	int64_t v, sum = 0, each = x->n / x->k;

	receive_any(x, cases, &v);
	for (int64_t i = 0; i < x->n; i++) {
		must(weft_select_n(cases, (size_t)x->k, sizeof *cases), "weft_select_n");
		sum += v;
	}
	if (sum != x->k * (each * (each - 1) / 2))
		fail("select_block: wrong sum");
}

/* k producers, each on an unbuffered channel of its own; one consumer selects over all. */
void run_select_block(int64_t n, int64_t k)
{
	struct choice *x = new_choice(n, k, 0);

	weft_wg_add(&x->wg, (int)k);
	for (int64_t i = 0; i < k; i++)
		must(weft_go_copy(send_part, &(struct part){ &x->wg, x->c[i], x->n / k }), "weft_go_copy");
	must(weft_wg_go(&x->wg, select_block, x), "weft_wg_go");
	free_choice(x);
}
