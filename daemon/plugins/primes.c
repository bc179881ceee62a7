/* primes.c - a sieve of goroutines, one for each prime.
 *
 *	candidates -> [not by 2] -> [not by 3] -> [not by 5] -> ...
 *
 * A number that comes out at the end of the chain is prime and becomes its next link.  Every number is
 * handed from goroutine to goroutine over unbuffered channels, so the sieve is all switches and hardly
 * any arithmetic.  When the candidates run out the chain empties from the front; then it starts again.
 *
 *	"config": { "limit": 2000, "pause": "3s" }
 *
 * limit   the largest candidate
 * pause   between two sieves */
#include <weft.h>

#include <stdlib.h>

typedef WEFT_CHAN(int64_t) numbers;

struct primes {
	int64_t limit, pause;
};

/* One link of the chain; `in` is closed by the link before. */
struct link {
	numbers in, out;
	int64_t prime; /* 0: the source */
	int64_t limit;
	struct link *before;
};

static void candidates(void *arg)
{
	struct link *l = arg;

	for (int64_t n = 2; n <= l->limit; n++)
		if (weft_send(l->out, n) < 0)
			break; /* called off */
	weft_chan_finish(l->out);
}

static void not_divisible(void *arg)
{
	struct link *l = arg;
	int64_t n;

	while (weft_recv(l->in, &n) > 0)
		if (n % l->prime != 0 && weft_send(l->out, n) < 0)
			break;
	/* After a break the link before us may still be sending: it gets -EPIPE and ends, too. */
	weft_chan_finish(l->in);
	weft_chan_finish(l->out);
}

/* Put a link at the end of the chain and start it. */
static int append(struct link **end, weft_wg *wg, weft_fn fn, int64_t prime, int64_t limit)
{
	struct link *l = calloc(1, sizeof *l);
	int rc;

	if (!l)
		return -ENOMEM;
	l->prime = prime;
	l->limit = limit;
	l->before = *end;
	if (*end)
		l->in = (*end)->out;
	rc = weft_make(&l->out, 0);
	if (rc == 0)
		rc = weft_wg_go(wg, fn, l);
	if (rc < 0) {
		weft_chan_free(l->out.h);
		free(l);
		return rc;
	}
	*end = l;
	return 0;
}

/* How many primes there are up to limit, or -Exxx. */
static int64_t sieve(int64_t limit)
{
	struct link *end = NULL;
	weft_wg wg = { 0 };
	int64_t found = 0, prime;
	int rc = append(&end, &wg, candidates, 0, limit);

	while (rc >= 0 && (rc = weft_recv(end->out, &prime)) > 0) {
		found++;
		rc = append(&end, &wg, not_divisible, prime, limit);
	}
	/* Broken off: nobody reads the last channel any more, so its writer must not wait for us. */
	if (rc < 0 && end)
		weft_chan_finish(end->out);
	weft_wg_wait(&wg); /* from here on nobody else knows the links */
	while (end) {
		struct link *l = end;

		end = l->before;
		weft_chan_free(l->out.h);
		free(l);
	}
	return rc < 0 ? rc : found;
}

static int primes_init(void *state, const weft_conf *conf)
{
	struct primes *p = state;

	p->limit = 2000;
	p->pause = 3 * WEFT_SEC;
	if (weft_conf_int(conf, "limit", 2, 1000000, &p->limit) < 0 || weft_conf_dur(conf, "pause", &p->pause) < 0)
		return -EINVAL;
	return 0;
}

static int primes_run(void *state)
{
	struct primes *p = state;
	int64_t found;

	do {
		found = -ECANCELED;
		WEFT_LABEL("job", "sieve") {
			found = sieve(p->limit);
		}
		if (found >= 0)
			weft_log(WEFT_DEBUG, "%lld primes up to %lld", (long long)found, (long long)p->limit);
		else if (found != -ECANCELED)
			weft_log(WEFT_WARN, "sieve broken off: %s", weft_strerror((int)found));
	} while (weft_sleep(p->pause) == 0);
	return 0;
}

WEFT_PLUGIN(.name = "primes", .version = "1", .about = "sieve of goroutines", .state_size = sizeof(struct primes),
	    .init = primes_init, .run = primes_run);
