/* pprof_delta.c - /debug/pprof/delta_NAME?client=TOKEN: what has come since the same client asked before.
 *
 * For collectors that want differences without holding a request open.  The first answer to a client is everything
 * since the start.  What a client has seen is kept as the sums by number of the table's entry (weft_read_prof() gives
 * entries in a fixed order), and replaced only once the answer is made: a request that fails loses nothing.
 *
 * Of CLIENTS tokens the one that was used longest ago makes room.  The list is the loop thread's; the sums of an
 * entry that is busy are the pool task's of the one request that has it. */
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS 32

struct sums {
	int64_t (*v)[PPROF_VALUES]; /* by number of the entry */
	uint32_t n, cap;
};

struct client {
	char token[64];
	const struct snapshot_kind *kind; /* NULL: free */
	bool busy;
	uint64_t used;
	struct sums seen;
};

struct delta {
	const struct delta_source *source;
	struct client *client;
	struct sums now;
	struct weft_prof_sample sample;
};

static struct client clients[CLIENTS];
static uint64_t uses;

/* What the sums are of; false: not in this profile. */
static bool contention(const struct weft_prof_sample *x, int64_t *values, struct pprof_extra *extra)
{
	(void)extra;
	values[0] = x->value[0];
	values[1] = x->value[1];
	return !x->extra;
}

static bool heap(const struct weft_prof_sample *x, int64_t *values, struct pprof_extra *extra)
{
	heap_values(x, 1, 1, values, extra);
	return true;
}

static const struct delta_source {
	const char *name;
	const struct snapshot_kind *base;
	enum weft_prof which;
	bool (*values)(const struct weft_prof_sample *x, int64_t *values, struct pprof_extra *extra);
} sources[] = {
	{ "delta_block", &block_kind, WEFT_PROF_BLOCK, contention },
	{ "delta_heap", &heap_kind, WEFT_PROF_HEAP, heap },
	{ "delta_mutex", &mutex_kind, WEFT_PROF_MUTEX, contention },
};

/* --- Clients ---------------------------------------------------------------------------------- */

/* The client's entry; NULL: it is busy, or all are. */
static struct client *client_of(const struct snapshot_kind *kind, const char *token)
{
	struct client *oldest = NULL;

	for (struct client *c = clients; c < clients + CLIENTS; c++) {
		if (c->kind == kind && !strcmp(c->token, token))
			return c->busy ? NULL : c;
		if (!c->busy && (!oldest || !c->kind || (oldest->kind && c->used < oldest->used)))
			oldest = c;
	}
	if (oldest) {
		free(oldest->seen.v);
		*oldest = (struct client){ .kind = kind };
		strcpy(oldest->token, token);
	}
	return oldest;
}

static int sums_put(struct sums *s, uint32_t i, const int64_t *values)
{
	if (i >= s->cap) {
		uint32_t cap = s->cap ? s->cap : 256;
		void *v;

		while (cap <= i)
			cap *= 2;
		v = realloc(s->v, cap * sizeof(*s->v));
		if (!v)
			return -ENOMEM;
		s->v = v;
		s->cap = cap;
	}
	if (i >= s->n) {
		memset(s->v + s->n, 0, (i + 1 - s->n) * sizeof(*s->v));
		s->n = i + 1;
	}
	memcpy(s->v[i], values, sizeof(*s->v));
	return 0;
}

/* --- The kind ----------------------------------------------------------------------------------- */

/* Of the profile that the differences are of. */
static void take_form(struct snapshot *s, const struct delta *d)
{
	const struct snapshot_kind *base = d->source->base;
	bool bare = s->spec.bare;

	s->spec = base->spec;
	s->spec.bare = bare;
	if (d->source->which == WEFT_PROF_HEAP) {
		struct weft_counters c;

		weft_read_counters(&c);
		s->spec.period = c.heap_rate;
		s->e.head.rate = 1; /* the values are scaled */
	}
	if (base->text_name)
		s->e.head.name = base->text_name;
}

static bool begin(struct snapshot *s, struct request *r)
{
	struct delta *d = s->state = calloc(1, sizeof(*d));
	char token[sizeof(clients[0].token)];

	if (!d) {
		reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
		return false;
	}
	if (!param_get(r->query, "client", token, sizeof(token)) || !*token) {
		reply_error(r, MHD_HTTP_BAD_REQUEST, "client must name who asks, in 1 to %zu bytes", sizeof(token) - 1);
		return false;
	}
	for (d->source = sources; strcmp(d->source->name, s->kind->name); d->source++)
		;
	take_form(s, d);
	d->client = client_of(s->kind, token);
	if (!d->client) {
		reply_error(r, MHD_HTTP_TOO_MANY_REQUESTS, "a request of this client is running; try again later");
		return false;
	}
	d->client->busy = true;
	d->client->used = ++uses;
	return true;
}

static int next(struct snapshot *s)
{
	struct delta *d = s->state;
	const struct sums *seen = &d->client->seen;
	struct pprof_extra extra = { 0 };
	int64_t v[PPROF_VALUES] = { 0 }, any = 0;
	uint32_t i;

	if (!weft_read_prof(d->source->which, &s->at, &d->sample))
		return 0;
	i = s->at - 1;
	if (!d->source->values(&d->sample, v, &extra))
		return 1;
	if (sums_put(&d->now, i, v) < 0)
		return -ENOMEM;
	for (int k = 0; k < PPROF_VALUES; k++) {
		v[k] -= i < seen->n ? seen->v[i][k] : 0;
		any |= v[k];
	}
	return any && snapshot_add_prof(s, &d->sample, &extra, v) < 0 ? -ENOMEM : 1;
}

static void drop(struct snapshot *s)
{
	struct delta *d = s->state;

	if (d && d->client) {
		if (s->e.made) {
			free(d->client->seen.v);
			d->client->seen = d->now;
			d->now.v = NULL;
		}
		d->client->busy = false;
	}
	if (d)
		free(d->now.v);
	free(d);
}

#define KIND(base)                                                                                                     \
	{                                                                                                              \
		.name = "delta_" #base, .query = "client=me&amp;debug=1",                                              \
		.help = "What " #base " has counted since the same client=TOKEN asked before.", .form = FORM_##base,   \
		.begin = begin, .next = next, .drop = drop, .no_difference = true, .by_client = true                   \
	}
#define FORM_block TEXT_CONTENTION
#define FORM_heap TEXT_HEAP
#define FORM_mutex TEXT_CONTENTION

const struct snapshot_kind delta_block_kind = KIND(block), delta_heap_kind = KIND(heap), delta_mutex_kind = KIND(mutex);
