/* pprof_heap.c - /debug/pprof/heap and allocs: who holds memory, and who allocated it.  The data of both are the same,
 * they differ in what is shown first.
 *
 * The runtime has samples, each of a block that stands for 1 / (1 - e^(-size/rate)) blocks of its size.  The message
 * is to hold whole numbers, so they are multiplied here.  Of a text its reader does that, by the rate that stands in
 * its head; samples that were taken under another rate are made what they would be under that one.
 *
 * Numbers are those of the moment: a free is seen at once, unlike in Go.  So gc=1 changes nothing in them; it gives
 * back what the allocator holds in reserve, which MaxRSS and the like then show. */
#include "server.h"

#include "weft_host.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>

struct heap {
	bool trim;                                        /* gc=1 */
	int64_t allocs, alloc_bytes, frees, in_use_bytes; /* scaled, for the text's comment */
	struct weft_prof_sample sample;
};

static double weight(double objects, double bytes, int64_t rate)
{
	return rate > 1 && objects ? 1 / (1 - exp(-bytes / objects / (double)rate)) : 1;
}

void heap_scale(int64_t *objects, int64_t *bytes, int64_t from, int64_t to)
{
	double n = (double)*objects, b = (double)*bytes, by = weight(n, b, from) / weight(n, b, to);

	if (from == to)
		return;
	*objects = (int64_t)(n * by);
	*bytes = (int64_t)(b * by);
}

static bool begin(struct snapshot *s, struct request *r)
{
	struct heap *h = s->state = calloc(1, sizeof(*h));
	struct param gc = param_int(r->query, "gc");
	struct weft_counters c;

	if (!h) {
		reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return false;
	}
	weft_read_counters(&c);
	s->spec.period = c.heap_rate;
	s->e.head.rate = c.heap_rate ? c.heap_rate : 1;
	h->trim = s->kind == &heap_kind && gc.valid && gc.value > 0;
	return true;
}

static int prepare(struct snapshot *s)
{
	struct heap *h = s->state;

	if (h->trim)
		weft_host_trim();
	h->trim = false;
	return 0;
}

void heap_values(const struct weft_prof_sample *x, int64_t assumed, int64_t to, int64_t *v, struct pprof_extra *extra)
{
	int64_t rate = x->overflow ? assumed : weft_read_heap_rate(x->extra);

	v[0] = x->value[0];
	v[1] = x->value[1];
	v[2] = x->value[0] - x->value[2];
	v[3] = x->value[1] - x->value[3];
	heap_scale(&v[0], &v[1], rate, to);
	heap_scale(&v[2], &v[3], rate, to);
	extra->bytes = x->overflow ? 0 : (int64_t)weft_read_heap_size(x->extra);
}

static void sum(struct heap *h, const struct weft_prof_sample *x, int64_t assumed)
{
	struct pprof_extra extra;
	int64_t v[4];

	heap_values(x, assumed, 1, v, &extra);
	h->allocs += v[0];
	h->alloc_bytes += v[1];
	h->frees += v[0] - v[2];
	h->in_use_bytes += v[3];
}

static int next(struct snapshot *s)
{
	struct heap *h = s->state;
	struct weft_prof_sample *x = &h->sample;
	struct pprof_extra extra = { 0 };
	int64_t to = s->e.text ? s->e.head.rate : 1, v[4];

	if (!weft_read_prof(WEFT_PROF_HEAP, &s->at, x))
		return 0;
	sum(h, x, s->e.head.rate);
	heap_values(x, s->e.head.rate, to, v, &extra);
	return snapshot_add_prof(s, x, &extra, v) < 0 ? -ENOMEM : 1;
}

/* Those of Go's MemStats that can be said here, in its words. */
static void comment(struct snapshot *s, struct buf *text)
{
	const struct heap *h = s->state;
	struct rusage ru = { 0 };
	struct weft_counters c;

	weft_read_counters(&c);
	getrusage(RUSAGE_SELF, &ru);
	buf_str(text, "# runtime.MemStats (of malloc, made up from the samples)\n");
	buf_fmt(text, "# Alloc = %lld\n# TotalAlloc = %lld\n", (long long)h->in_use_bytes, (long long)h->alloc_bytes);
	buf_fmt(text, "# Mallocs = %lld\n# Frees = %lld\n", (long long)h->allocs, (long long)h->frees);
	buf_fmt(text, "# HeapAlloc = %lld\n# HeapObjects = %lld\n", (long long)h->in_use_bytes,
		(long long)(h->allocs - h->frees));
	buf_fmt(text, "# MemProfileRate = %lld\n", (long long)c.heap_rate);
	buf_fmt(text, "# MaxRSS = %lld\n", (long long)ru.ru_maxrss * 1024);
}

static void drop(struct snapshot *s)
{
	free(s->state);
}

static size_t count(void)
{
	return weft_read_prof_count(WEFT_PROF_HEAP);
}

#define SPEC                                                                                                           \
	.sample = { { "alloc_objects", "count" },                                                                      \
		    { "alloc_space", "bytes" },                                                                        \
		    { "inuse_objects", "count" },                                                                      \
		    { "inuse_space", "bytes" } },                                                                      \
	.calls = true, .n_sample = 4, .period_type = { "space", "bytes" }, .sort = 3, .ascending = true,               \
	.drop_frames = "operator new.*|_Zn[aw]m.*|malloc|calloc|realloc|reallocarray|memalign|aligned_alloc|"          \
		       "posix_memalign|p?valloc"
#define HOOKS                                                                                                          \
	.form = TEXT_HEAP, .text_name = "heap", .begin = begin, .prepare = prepare, .next = next, .comment = comment,  \
	.drop = drop, .count = count

const struct snapshot_kind heap_kind = {
	.name = "heap",
	.help = "Memory that has been allocated by malloc and its kin and not freed, sampled, by who allocated it. "
		"gc=1 "
		"makes the allocator give back to the system first what it holds in reserve.",
	.spec = { SPEC },
	HOOKS,
};

const struct snapshot_kind allocs_kind = {
	.name = "allocs",
	.help = "All memory ever allocated by malloc and its kin, sampled, by who allocated it.",
	.spec = { SPEC, .default_sample_type = "alloc_space" },
	HOOKS,
};
