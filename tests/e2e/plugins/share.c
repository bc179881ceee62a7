/* share.c - goroutines that do not share: one computes, one sits in a read that nobody declared, one in a read that
 * is declared; the configuration says how many of each. */
#include <unistd.h>

#include <weft.h>

struct share {
	int64_t computing, reading, declared;
	int pipe[2];
};

static _Atomic uint64_t sink;

__attribute__((noinline)) static void share_in_a_loop(void *arg)
{
	const weft_ctx *ctx = weft_ctx_self();
	uint64_t x = 1;

	(void)arg;
	while (weft_ctx_err(ctx) == 0) /* needs no P */
		for (int i = 0; i < 100000; i++)
			x = x * 6364136223846793005u + 1;
	sink = x;
}

__attribute__((noinline)) static void share_in_read(void *arg)
{
	struct share *s = arg;
	char c;

	(void)!read(s->pipe[0], &c, 1);
}

__attribute__((noinline)) static void share_in_a_section(void *arg)
{
	struct share *s = arg;
	char c;

	WEFT_BLOCKING
	{
		(void)!read(s->pipe[0], &c, 1);
	}
}

static int share_init(void *state, const weft_conf *conf)
{
	struct share *s = state;
	int rc = weft_conf_int(conf, "computing", 0, 1000, &s->computing);

	if (rc == 0)
		rc = weft_conf_int(conf, "reading", 0, 1000, &s->reading);
	if (rc == 0)
		rc = weft_conf_int(conf, "declared", 0, 1000, &s->declared);
	if (rc == 0 && pipe(s->pipe) < 0)
		rc = -errno;
	return rc;
}

static int go(int64_t n, weft_fn fn, void *arg)
{
	int rc = 0;

	for (int64_t i = 0; i < n && rc == 0; i++)
		rc = weft_go(fn, arg);
	return rc;
}

static int share_run(void *state)
{
	struct share *s = state;
	int rc = go(s->computing, share_in_a_loop, s);

	if (rc == 0)
		rc = go(s->reading, share_in_read, s);
	return rc < 0 ? rc : go(s->declared, share_in_a_section, s);
}

static void share_stop(void *state)
{
	struct share *s = state;

	(void)close(s->pipe[1]); /* readers see the end */
}

WEFT_PLUGIN(.name = "share", .version = "1", .about = "does not share", .state_size = sizeof(struct share),
	    .init = share_init, .run = share_run, .stop = share_stop);
