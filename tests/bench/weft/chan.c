/* chan.c - workloads of channels.
 *
 * What a goroutine uses of its starter's frame lives until the starter's wait group has let it go;
 * the sieve leaves its goroutines parked, as the Go side does. */
#include <stdlib.h>

#include "bench.h"

struct pair {
	weft_wg wg;
	num_chan x, y;
	int64_t n;
};

static void check_sum(const char *what, int64_t sum, int64_t n)
{
	if (sum != n * (n - 1) / 2)
		fail("%s: wrong sum", what);
}

static void ping(void *arg)
{
	struct pair *p = arg;
	int64_t v;

	for (int64_t i = 0; i < p->n; i++) {
		must(weft_send(p->x, i), "weft_send");
		must(weft_recv(p->y, &v), "weft_recv");
		if (v != i + 1)
			fail("pingpong: wrong value");
	}
}

static void pong(void *arg)
{
	struct pair *p = arg;
	int64_t v;

	for (int64_t i = 0; i < p->n; i++) {
		must(weft_recv(p->x, &v), "weft_recv");
		must(weft_send(p->y, v + 1), "weft_send");
	}
}

void run_ping_pong(int64_t n, int64_t k)
{
	struct pair p = { .x = new_chan(0), .y = new_chan(0), .n = n };

	(void)k;
	must(weft_wg_go(&p.wg, ping, &p), "weft_wg_go");
	must(weft_wg_go(&p.wg, pong, &p), "weft_wg_go");
	weft_wg_wait(&p.wg);
	weft_chan_free(p.x.h);
	weft_chan_free(p.y.h);
}

static void to_self(void *arg)
{
	struct pair *p = arg;
	int64_t sum = 0, v;

	for (int64_t i = 0; i < p->n; i++) {
		must(weft_send(p->x, i), "weft_send");
		must(weft_recv(p->x, &v), "weft_recv");
		sum += v;
	}
	check_sum("self", sum, p->n);
}

void run_self(int64_t n, int64_t k)
{
	struct pair p = { .x = new_chan((size_t)k), .n = n };

	must(weft_wg_go(&p.wg, to_self, &p), "weft_wg_go");
	weft_wg_wait(&p.wg);
	weft_chan_free(p.x.h);
}

static void produce(void *arg)
{
	struct pair *p = arg;

	for (int64_t i = 0; i < p->n; i++)
		must(weft_send(p->x, i), "weft_send");
}

static void consume(void *arg)
{
	struct pair *p = arg;
	int64_t sum = 0, v;

	for (int64_t i = 0; i < p->n; i++) {
		must(weft_recv(p->x, &v), "weft_recv");
		sum += v;
	}
	check_sum("buffered", sum, p->n);
}

void run_buffered(int64_t n, int64_t k)
{
	struct pair p = { .x = new_chan((size_t)k), .n = n };

	must(weft_wg_go(&p.wg, produce, &p), "weft_wg_go");
	must(weft_wg_go(&p.wg, consume, &p), "weft_wg_go");
	weft_wg_wait(&p.wg);
	weft_chan_free(p.x.h);
}

struct link {
	num_chan in, out;
	weft_wg *wg;
};

static void ring_member(void *arg)
{
	struct link *l = arg;
	int64_t v;

	while (weft_recv(l->in, &v) > 0)
		must(weft_send(l->out, v + 1), "weft_send");
	weft_chan_finish(l->out);
	weft_wg_done(l->wg);
}

static void ring_lap(num_chan first, num_chan last, int64_t k)
{
	int64_t v;

	must(weft_send(first, 0), "weft_send");
	must(weft_recv(last, &v), "weft_recv");
	if (v != k - 1)
		fail("ring: wrong value");
}

/* k goroutines in a ring; the measuring one is the k-th member. */
void own_ring(int64_t n, int64_t k)
{
	num_chan *c = calloc((size_t)k, sizeof *c);
	int64_t laps = n / k > 0 ? n / k : 1;
	weft_wg wg = { 0 };

	if (!c)
		fail("no memory");
	for (int64_t i = 0; i < k; i++)
		c[i] = new_chan(0);
	weft_wg_add(&wg, (int)k - 1);
	for (int64_t i = 0; i + 1 < k; i++)
		must(weft_go_copy(ring_member, &(struct link){ c[i], c[i + 1], &wg }), "weft_go_copy");
	ring_lap(c[0], c[k - 1], k);
	struct stamp s = stamp_now();
	for (int64_t i = 0; i < laps; i++)
		ring_lap(c[0], c[k - 1], k);
	print_per_op("ring", s, laps * k);
	weft_chan_finish(c[0]);
	weft_wg_wait(&wg);
	free(c);
}

static void generate(void *arg)
{
	const num_chan *out = arg;

	for (int64_t i = 2; weft_send(*out, i) == 0; i++)
		;
}

struct filter {
	num_chan in, out;
	int64_t prime;
};

static void filter(void *arg)
{
	const struct filter *f = arg;
	int64_t v;

	while (weft_recv(f->in, &v) > 0)
		if (v % f->prime != 0 && weft_send(f->out, v) < 0)
			return;
}

/* The first k primes by a chain of filter goroutines, left parked when the last prime is there. */
static int64_t sieve(int64_t k)
{
	num_chan c = new_chan(0), next;
	int64_t prime = 0;

	must(weft_go_copy(generate, &c), "weft_go_copy");
	for (int64_t i = 0; i < k; i++) {
		must(weft_recv(c, &prime), "weft_recv");
		next = new_chan(0);
		must(weft_go_copy(filter, &(struct filter){ c, next, prime }), "weft_go_copy");
		c = next;
	}
	return prime;
}

/* n is not used: the number of transfers follows from k. */
void own_sieve(int64_t n, int64_t k)
{
	struct stamp s, end;
	int64_t prime;

	(void)n;
	sieve(k / 10);
	s = stamp_now();
	prime = sieve(k);
	end = stamp_now();
	if (k == 1000 && prime != 7919)
		fail("sieve: wrong prime");
	print_value("sieve.ms", (double)(end.wall - s.wall) / (double)WEFT_MS, "ms");
	print_value("sieve.ms.cpu", (double)(end.cpu - s.cpu) / (double)WEFT_MS, "ms");
}
