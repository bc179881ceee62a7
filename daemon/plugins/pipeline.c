/* pipeline.c - fan-out and fan-in: one reader, several workers, one writer.
 *
 *	          /-> digest --\
 *	read_pages -> digest ---> collect
 *	          \-> digest --/
 *
 * The reader makes a page now and then, whichever worker is free takes it from the buffered channel, and
 * the collector adds up what comes back.  stop() only tells the reader to make no more pages: it closes
 * its channel, the workers finish what is queued and end, the last of them closes the results, and the
 * collector reports the total.  Nothing is lost, and nobody is called off in the middle of a page.
 *
 *	"config": { "workers": 4, "queue": 16, "every": "20ms", "page": 4096 }
 *
 * workers   goroutines that digest pages
 * queue     pages that may wait for one
 * every     time between two pages
 * page      bytes in each */
#include <weft.h>

struct page {
	uint64_t number;
	int64_t bytes;
};
struct result {
	uint64_t number, digest;
};
typedef WEFT_CHAN(struct page) page_chan;
typedef WEFT_CHAN(struct result) result_chan;
typedef WEFT_CHAN(bool) flag_chan;

struct pipeline {
	int64_t workers, queue, every, page;
	page_chan pages;
	result_chan results;
	flag_chan enough; /* closed by stop() */
	weft_wg working, collecting;
};

static void read_pages(struct pipeline *p)
{
	bool none;

	for (uint64_t n = 1; weft_chan_try_recv(p->enough.h, &none, sizeof none) == -EAGAIN; n++)
		if (weft_send(p->pages, (struct page){ n, p->page }) < 0 || weft_sleep(p->every) < 0)
			break;
	weft_chan_finish(p->pages);
}

/* What stands for the work: a hash over the page's bytes, which are made up on the way. */
static uint64_t digest(const struct page *page)
{
	uint64_t h = 14695981039346656037u, x = page->number;

	for (int64_t i = 0; i < page->bytes; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		h = (h ^ (x >> 56)) * 1099511628211u;
	}
	return h;
}

static void digest_pages(void *arg)
{
	struct pipeline *p = arg;
	struct page page;

	WEFT_LABEL("stage", "digest") {
		while (weft_recv(p->pages, &page) > 0)
			if (weft_send(p->results, (struct result){ page.number, digest(&page) }) < 0)
				break;
	}
}

static void close_results(void *arg)
{
	struct pipeline *p = arg;

	weft_wg_wait(&p->working);
	weft_chan_finish(p->results);
}

static void collect(void *arg)
{
	struct pipeline *p = arg;
	uint64_t n = 0, sum = 0;
	struct result r;

	WEFT_LABEL("stage", "collect") {
		for (; weft_recv(p->results, &r) > 0; n++)
			sum ^= r.digest;
	}
	weft_log(WEFT_INFO, "%llu pages, digests add up to %016llx", (unsigned long long)n, (unsigned long long)sum);
}

static int pipeline_init(void *state, const weft_conf *conf)
{
	struct pipeline *p = state;

	p->workers = 4;
	p->queue = 16;
	p->every = 20 * WEFT_MS;
	p->page = 4096;
	if (weft_conf_int(conf, "workers", 1, 1000, &p->workers) < 0 ||
	    weft_conf_int(conf, "queue", 0, 65536, &p->queue) < 0 || weft_conf_dur(conf, "every", &p->every) < 0 ||
	    weft_conf_int(conf, "page", 1, 1 << 24, &p->page) < 0)
		return -EINVAL;
	if (p->every > WEFT_SEC) {
		weft_log(WEFT_ERROR, "every: at most 1s, since stopping waits for it");
		return -EINVAL;
	}
	if (weft_make(&p->pages, (size_t)p->queue) < 0 || weft_make(&p->results, (size_t)p->queue) < 0 ||
	    weft_make(&p->enough, 0) < 0)
		return -ENOMEM; /* fini is not called: the process ends */
	return 0;
}

static int pipeline_run(void *state)
{
	struct pipeline *p = state;
	int rc = weft_wg_go(&p->collecting, collect, p);

	for (int64_t i = 0; rc == 0 && i < p->workers; i++)
		rc = weft_wg_go(&p->working, digest_pages, p);
	if (rc == 0)
		rc = weft_go(close_results, p);
	if (rc == 0)
		read_pages(p);
	return rc;
}

static void pipeline_stop(void *state)
{
	struct pipeline *p = state;

	weft_chan_finish(p->enough);
	weft_wg_wait(&p->collecting); /* the context ends when we return: let them finish first */
}

static void pipeline_fini(void *state)
{
	struct pipeline *p = state;

	weft_chan_free(p->pages.h);
	weft_chan_free(p->results.h);
	weft_chan_free(p->enough.h);
}

WEFT_PLUGIN(.name = "pipeline", .version = "1", .about = "fan-out and fan-in over channels",
	    .state_size = sizeof(struct pipeline), .init = pipeline_init, .run = pipeline_run, .stop = pipeline_stop,
	    .fini = pipeline_fini);
