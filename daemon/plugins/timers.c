/* timers.c - many timers, and how late they come.
 *
 * Some goroutines each have a ticker; others wait, again and again, for what never comes, with a time limit of
 * random length.  Both note by how much they were woken too late.  A third kind of goroutine, with a ticker of its
 * own, writes what was gathered to the log every now and then:
 *
 *	800 ticks, 0 missed: half within 64 us, 99 of 100 within 512 us, all within 1024 us
 *
 * A tick is missed when it came so late that it was the next one's time, or was not taken until then.  In profiles and
 *dumps the goroutines carry the label timer=tick or timer=timeout.
 *
 *	"config": { "tickers": 10, "period": "10ms", "timeouts": 100, "longest": "50ms", "report": "5s" }
 *
 * tickers    goroutines with a ticker, of this `period`
 * timeouts   goroutines that wait with a time limit, of at most `longest`
 * report     time between two reports */
#include <weft.h>

enum { BUCKETS = 48 }; /* bucket n: less than 2^n us late */

struct counts {
	uint64_t n, missed, bucket[BUCKETS];
};

struct lateness {
	weft_mutex lock;
	struct counts c;
};

struct timers {
	int64_t tickers, period, timeouts, longest, report;
	struct lateness ticks, limits;
};

static void note(struct lateness *l, int64_t late, uint64_t missed)
{
	unsigned n = 0;

	while (n < BUCKETS - 1 && late >= WEFT_US << n)
		n++;
	WEFT_LOCKED(&l->lock) {
		l->c.n++;
		l->c.missed += missed;
		l->c.bucket[n]++;
	}
}

static void tick(void *arg)
{
	struct timers *t = arg;
	int64_t due = weft_now() + t->period, at;
	weft_timer *ticker = weft_timer_new(t->period, t->period);

	if (!ticker)
		return;
	WEFT_LABEL("timer", "tick") {
		while (weft_select(weft_on_tick(ticker, &at), weft_on_done(weft_ctx_self())) == 0) {
			int64_t missed = (at - due) / t->period;

			due += missed * t->period;
			note(&t->ticks, weft_now() - due, (uint64_t)missed);
			due += t->period;
		}
	}
	weft_timer_free(ticker);
}

static void time_out(void *arg)
{
	struct timers *t = arg;
	uint64_t random = weft_goid();

	WEFT_LABEL("timer", "timeout") {
		while (weft_ctx_err(weft_ctx_self()) == 0) {
			int64_t limit, until;

			random = random * 6364136223846793005u + 1442695040888963407u;
			limit = 1 + (int64_t)(random >> 33) % t->longest;
			until = weft_now() + limit;
			WEFT_TIMEOUT(limit)
				if (weft_chan_recv(NULL, NULL, 0) == -ETIMEDOUT)
					note(&t->limits, weft_now() - until, 0);
		}
	}
}

/* The least power of two, in us, that so many hundredths were below. */
static unsigned long long within(const struct counts *c, uint64_t hundredths)
{
	uint64_t sum = 0;
	unsigned n = 0;

	for (; n < BUCKETS - 1; n++) {
		sum += c->bucket[n];
		if (sum * 100 >= c->n * hundredths)
			break;
	}
	return 1ull << n;
}

/* Writes what there is, and starts anew. */
static void report(struct lateness *l, const char *what)
{
	struct counts now;

	WEFT_LOCKED(&l->lock) {
		now = l->c;
		l->c = (struct counts){ 0 };
	}
	if (now.n)
		weft_log(WEFT_INFO,
			 "%llu %s, %llu missed: half within %llu us, 99 of 100 within %llu us, all within %llu us",
			 (unsigned long long)now.n, what, (unsigned long long)now.missed, within(&now, 50),
			 within(&now, 99), within(&now, 100));
}

static int timers_init(void *state, const weft_conf *conf)
{
	struct timers *t = state;

	t->tickers = 10;
	t->period = 10 * WEFT_MS;
	t->timeouts = 100;
	t->longest = 50 * WEFT_MS;
	t->report = 5 * WEFT_SEC;
	if (weft_conf_int(conf, "tickers", 0, 100000, &t->tickers) < 0 ||
	    weft_conf_dur(conf, "period", &t->period) < 0 ||
	    weft_conf_int(conf, "timeouts", 0, 100000, &t->timeouts) < 0 ||
	    weft_conf_dur(conf, "longest", &t->longest) < 0 || weft_conf_dur(conf, "report", &t->report) < 0)
		return -EINVAL;
	if (t->period < 100 * WEFT_US || t->longest < 100 * WEFT_US || t->report < WEFT_MS) {
		weft_log(WEFT_ERROR, "period and longest: at least 100us; report: at least 1ms");
		return -EINVAL;
	}
	return 0;
}

static int timers_run(void *state)
{
	struct timers *t = state;
	weft_timer *ticker = weft_timer_new(t->report, t->report);
	int rc = ticker ? 0 : -ENOMEM;

	for (int64_t i = 0; rc == 0 && i < t->tickers; i++)
		rc = weft_go(tick, t);
	for (int64_t i = 0; rc == 0 && i < t->timeouts; i++)
		rc = weft_go(time_out, t);
	while (rc == 0 && weft_select(weft_on_tick(ticker, NULL), weft_on_done(weft_ctx_self())) == 0) {
		report(&t->ticks, "ticks");
		report(&t->limits, "timeouts");
	}
	weft_timer_free(ticker);
	return rc;
}

WEFT_PLUGIN(.name = "timers", .version = "1", .about = "tickers and time limits, and how late they come",
	    .state_size = sizeof(struct timers), .init = timers_init, .run = timers_run);
