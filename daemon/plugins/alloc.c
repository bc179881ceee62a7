/* alloc.c - memory that is held, and memory that comes and goes, to have something to see in heap and allocs.
 *
 *	hold_small()   many blocks of 1 KiB, label blocks=small
 *	hold_large()   few blocks of 1 MiB, label blocks=large
 *	churn()        a goroutine that allocates some blocks of 16 KiB and frees them, round after round
 *
 * So the heap profile shows what the first two hold, small x 1 KiB and large x 1 MiB, and of the third next to
 * nothing, while in the allocs profile it grows and grows.  How much that was is logged at the end, when all is
 * freed.
 *
 *	"config": { "small": 4096, "large": 8, "churn": 10, "every": "100ms" }
 *
 * small, large   blocks that are held
 * churn          blocks in a round
 * every          time between two rounds */
#include <weft.h>

#include <stdlib.h>
#include <string.h>

#define SMALL 1024
#define LARGE (1024 * 1024)
#define CHURN (16 * 1024)

struct alloc {
	int64_t n_small, n_large, n_churn, every;
	void **small, **large, **round;
	uint64_t rounds;
};

/* A function that profiles know under its own name: neither inlined nor cloned. */
#define SITE __attribute__((noipa))

/* Writes to a block, so that it is there and not only promised.  NULL is fine. */
static void *touch(void *block, size_t size)
{
	return block ? memset(block, 1, size) : NULL;
}

static void drop(void **blocks, int64_t n)
{
	for (int64_t i = 0; blocks && i < n; i++) {
		free(blocks[i]);
		blocks[i] = NULL;
	}
}

static SITE int hold_small(struct alloc *a)
{
	for (int64_t i = 0; i < a->n_small; i++) {
		a->small[i] = touch(malloc(SMALL), SMALL);
		if (!a->small[i])
			return -ENOMEM;
	}
	return 0;
}

static SITE int hold_large(struct alloc *a)
{
	for (int64_t i = 0; i < a->n_large; i++) {
		a->large[i] = touch(malloc(LARGE), LARGE);
		if (!a->large[i])
			return -ENOMEM;
	}
	return 0;
}

static SITE void churn(void *arg)
{
	struct alloc *a = arg;

	do {
		for (int64_t i = 0; i < a->n_churn; i++)
			a->round[i] = touch(malloc(CHURN), CHURN);
		drop(a->round, a->n_churn);
		a->rounds++;
	} while (weft_sleep(a->every) == 0);
}

static int alloc_init(void *state, const weft_conf *conf)
{
	struct alloc *a = state;

	a->n_small = 4096;
	a->n_large = 8;
	a->n_churn = 10;
	a->every = 100 * WEFT_MS;
	if (weft_conf_int(conf, "small", 0, 1 << 20, &a->n_small) < 0 ||
	    weft_conf_int(conf, "large", 0, 1 << 10, &a->n_large) < 0 ||
	    weft_conf_int(conf, "churn", 0, 1 << 14, &a->n_churn) < 0 || weft_conf_dur(conf, "every", &a->every) < 0)
		return -EINVAL;
	a->small = calloc((size_t)a->n_small + 1, sizeof *a->small);
	a->large = calloc((size_t)a->n_large + 1, sizeof *a->large);
	a->round = calloc((size_t)a->n_churn + 1, sizeof *a->round);
	return a->small && a->large && a->round ? 0 : -ENOMEM;
}

static int alloc_run(void *state)
{
	struct alloc *a = state;
	int rc = 0;

	WEFT_LABEL("blocks", "small")
		rc = hold_small(a);
	if (rc == 0)
		WEFT_LABEL("blocks", "large")
			rc = hold_large(a);
	if (rc < 0)
		return rc;
	weft_log(WEFT_INFO, "holding %lld blocks of %d bytes and %lld of %d", (long long)a->n_small, SMALL,
		 (long long)a->n_large, LARGE);
	return weft_go(churn, a);
}

static void alloc_fini(void *state)
{
	struct alloc *a = state;

	drop(a->small, a->n_small);
	drop(a->large, a->n_large);
	free(a->small);
	free(a->large);
	free(a->round);
	weft_log(WEFT_INFO, "freed; in %llu rounds %llu bytes came and went", (unsigned long long)a->rounds,
		 (unsigned long long)a->rounds * (unsigned long long)a->n_churn * CHURN);
}

WEFT_PLUGIN(.name = "alloc", .version = "1", .about = "memory that is held, and memory that comes and goes",
	    .state_size = sizeof(struct alloc), .init = alloc_init, .run = alloc_run, .fini = alloc_fini);
