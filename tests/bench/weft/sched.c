/* sched.c - workloads of the scheduler alone: yield, start, fork and join.
 *
 * What a goroutine uses of its starter's frame lives until the starter's wait group has let it go. */
#include "bench.h"

struct yielder {
	weft_wg *wg;
	int64_t n;
};

static void yield_n(void *arg)
{
	struct yielder *y = arg;

	for (int64_t i = 0; i < y->n; i++)
		weft_yield();
	weft_wg_done(y->wg);
}

void run_switch(int64_t n, int64_t k)
{
	weft_wg wg = { 0 };
	struct yielder y = { &wg, n / 2 };

	(void)k;
	weft_wg_add(&wg, 2);
	for (int i = 0; i < 2; i++)
		must(weft_go(yield_n, &y), "weft_go");
	weft_wg_wait(&wg);
}

static void just_done(void *arg)
{
	weft_wg_done(arg);
}

void run_spawn_join(int64_t n, int64_t k)
{
	weft_wg wg = { 0 };

	for (int64_t left = n; left > 0; left -= k) {
		int b = (int)(k < left ? k : left);

		weft_wg_add(&wg, b);
		for (int i = 0; i < b; i++)
			must(weft_go(just_done, &wg), "weft_go");
		weft_wg_wait(&wg);
	}
}

/* Goroutines of a k-ary tree with n leaves. */
static int64_t tree_nodes(int64_t n, int64_t k)
{
	int64_t total = 0;

	for (int64_t level = 1;; level *= k) {
		total += level;
		if (level >= n)
			return total;
	}
}

struct tree {
	weft_wg *wg;
	int64_t size, k;
};

static void tree_node(void *arg)
{
	const struct tree *t = arg;

	if (t->size > 1) {
		weft_wg_add(t->wg, (int)t->k);
		for (int64_t i = 0; i < t->k; i++)
			must(weft_go_copy(tree_node, &(struct tree){ t->wg, t->size / t->k, t->k }), "weft_go_copy");
	}
	weft_wg_done(t->wg);
}

static void grow_tree(int64_t n, int64_t k)
{
	weft_wg wg = { 0 };

	weft_wg_add(&wg, 1);
	must(weft_go_copy(tree_node, &(struct tree){ &wg, n, k }), "weft_go_copy");
	weft_wg_wait(&wg);
}

void own_spawn_tree(int64_t n, int64_t k)
{
	grow_tree(n, k);
	struct stamp s = stamp_now();
	grow_tree(n, k);
	print_per_op_ms("spawn_tree", s, tree_nodes(n, k));
}

struct net {
	num_chan out;
	int64_t num, size, k;
};

static void net_node(void *arg)
{
	const struct net *t = arg;
	num_chan c;
	int64_t sum = 0, v;

	if (t->size == 1) {
		must(weft_send(t->out, t->num), "weft_send");
		return;
	}
	c = new_chan(0);
	for (int64_t i = 0; i < t->k; i++) {
		int64_t part = t->size / t->k;

		must(weft_go_copy(net_node, &(struct net){ c, t->num + i * part, part, t->k }), "weft_go_copy");
	}
	for (int64_t i = 0; i < t->k; i++) {
		must(weft_recv(c, &v), "weft_recv");
		sum += v;
	}
	weft_chan_free(c.h);
	must(weft_send(t->out, sum), "weft_send");
}

static void cast_net(int64_t n, int64_t k)
{
	num_chan c = new_chan(0);
	int64_t sum;

	must(weft_go_copy(net_node, &(struct net){ c, 0, n, k }), "weft_go_copy");
	must(weft_recv(c, &sum), "weft_recv");
	if (sum != n * (n - 1) / 2)
		fail("skynet: wrong sum");
	weft_chan_free(c.h);
}

void own_skynet(int64_t n, int64_t k)
{
	cast_net(n, k);
	struct stamp s = stamp_now();
	cast_net(n, k);
	print_per_op_ms("skynet", s, tree_nodes(n, k));
}

static int64_t fib_seq(int64_t n)
{
	return n < 2 ? n : fib_seq(n - 1) + fib_seq(n - 2);
}

static int64_t fib_fork(int64_t n, int64_t cut);

struct fork {
	weft_wg wg;
	int64_t n, cut, value;
};

static void fib_half(void *arg)
{
	struct fork *f = arg;

	f->value = fib_fork(f->n, f->cut);
}

static int64_t fib_fork(int64_t n, int64_t cut)
{
	struct fork f = { .n = n - 1, .cut = cut };
	int64_t b;

	if (n < cut)
		return fib_seq(n);
	must(weft_wg_go(&f.wg, fib_half, &f), "weft_wg_go");
	b = fib_fork(n - 2, cut);
	weft_wg_wait(&f.wg);
	return f.value + b;
}

static int64_t fib_forks(int64_t n, int64_t cut)
{
	return n < cut ? 0 : 1 + fib_forks(n - 1, cut) + fib_forks(n - 2, cut);
}

void own_fib(int64_t n, int64_t k)
{
	struct stamp s = stamp_now();
	volatile int64_t arg = n; /* else the compiler may compute it once and for all */
	int64_t want = fib_seq(arg);

	print_value("fib.seq.ms", (double)(weft_now() - s.wall) / (double)WEFT_MS, "ms");
	fib_fork(n < 30 ? n : 30, k);
	s = stamp_now();
	if (fib_fork(n, k) != want)
		fail("fib: wrong result");
	print_per_op_ms("fib", s, fib_forks(n, k));
}
