/* churn.c - many parked goroutines, short-lived ones coming and going, and a sleeper that measures how
 * late it wakes: what a dump must neither miss nor disturb.
 *
 * config: "parked" how many wait for ever; "per_second" how many are born and die; "report" a file that
 * gets a line "instant lateness" (CLOCK_MONOTONIC ns, ns) per wake-up of the 1 ms sleeper. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <weft.h>

struct churn {
	int64_t parked, per_second;
	const char *report;
	weft_chan *silent;
	int fd;
};

static __attribute__((noinline)) void churn_parked(void *arg)
{
	struct churn *c = arg;

	weft_chan_recv(c->silent, NULL, sizeof(int64_t));
	__asm__ volatile("");
}

static __attribute__((noinline)) void churn_brief(void *arg)
{
	(void)arg;
	weft_sleep(2 * WEFT_MS);
	__asm__ volatile("");
}

/* Batches of 10 ms, so that the rate holds however late a sleep ends. */
static void churn_births(void *arg)
{
	struct churn *c = arg;
	int64_t start = weft_now(), born = 0;

	while (weft_sleep(10 * WEFT_MS) == 0)
		for (int64_t due = (weft_now() - start) / WEFT_MS * c->per_second / 1000; born < due; born++)
			if (weft_go(churn_brief, NULL) < 0)
				return;
}

static void churn_sleeper(void *arg)
{
	struct churn *c = arg;
	char text[8192];
	int len = 0;

	for (;;) {
		int64_t start = weft_now(), woke;

		if (weft_sleep(WEFT_MS) < 0)
			return;
		woke = weft_now();
		len += snprintf(text + len, sizeof text - (size_t)len, "%lld %lld\n", (long long)woke,
				(long long)(woke - start - WEFT_MS));
		if (len < (int)sizeof text - 64)
			continue;
		if (write(c->fd, text, (size_t)len) < 0)
			weft_log(WEFT_ERROR, "the report cannot be written");
		len = 0;
	}
}

static int churn_init(void *state, const weft_conf *conf)
{
	struct churn *c = state;

	c->fd = -1;
	if (weft_conf_int(conf, "parked", 0, 10000000, &c->parked) < 0 ||
	    weft_conf_int(conf, "per_second", 0, 1000000, &c->per_second) < 0 ||
	    weft_conf_str(conf, "report", &c->report) < 0)
		return -EINVAL;
	c->silent = weft_chan_new(sizeof(int64_t), 0);
	if (!c->silent)
		return -ENOMEM;
	if (c->report)
		c->fd = open(c->report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	return c->report && c->fd < 0 ? -EACCES : 0;
}

static int churn_run(void *state)
{
	struct churn *c = state;
	int rc = 0;

	for (int64_t i = 0; i < c->parked && rc >= 0; i++)
		rc = weft_go(churn_parked, c);
	if (rc >= 0 && c->per_second)
		rc = weft_go(churn_births, c);
	if (rc >= 0 && c->report)
		rc = weft_go(churn_sleeper, c);
	weft_log(WEFT_INFO, "all started");
	return rc;
}

static void churn_fini(void *state)
{
	struct churn *c = state;

	weft_chan_free(c->silent);
	if (c->fd >= 0)
		close(c->fd);
}

WEFT_PLUGIN(.name = "churn", .version = "1", .about = "parked, short-lived and punctual goroutines",
	    .state_size = sizeof(struct churn), .init = churn_init, .run = churn_run, .fini = churn_fini);
