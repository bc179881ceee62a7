/* pprof_custom.c - /debug/pprof/NAME of profiles that plugins made: what their stacks hold just now. */
#include "server.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CUSTOM_MAX 64

struct custom {
	uint32_t number;
	struct weft_prof_sample sample;
};

/* One a profile, by its number; filled when it is first asked for, under the lock, and then constant. */
static struct snapshot_kind kinds[CUSTOM_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Its name, which stays, and number; NULL: there is none. */
static const char *find(const char *name, uint32_t *number)
{
	const char *have;

	for (uint32_t i = 0; i < CUSTOM_MAX && (have = weft_read_custom_name(i)) != NULL; i++)
		if (*have && !strcmp(have, name)) {
			*number = i;
			return have;
		}
	return NULL;
}

static bool begin(struct snapshot *s, struct request *r)
{
	struct custom *c = s->state = calloc(1, sizeof(*c));

	if (!c)
		reply_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
	else
		c->number = (uint32_t)(s->kind - kinds);
	return c != NULL;
}

static int next(struct snapshot *s)
{
	static const uint64_t lost = PPROF_PC_LOST; /* skipped as a whole, or found no room */
	struct custom *c = s->state;
	struct weft_prof_sample *x = &c->sample;
	struct pprof_extra extra = { 0 };
	int rc;

	if (!weft_read_custom(c->number, &s->at, x))
		return 0;
	if (x->overflow || x->depth)
		rc = snapshot_add_prof(s, x, &extra, x->value);
	else
		rc = snapshot_add(s, &lost, 1, 0, &x->labels, x->instance, &extra, x->value);
	return rc < 0 ? -ENOMEM : 1;
}

static void drop(struct snapshot *s)
{
	free(s->state);
}

static void fill(struct snapshot_kind *k, const char *name)
{
	*k = (struct snapshot_kind){
		.name = name,
		.help = "A profile of a plugin: the stacks that hold something just now.",
		.spec = { .sample = { { name, "count" } },
			  .n_sample = 1,
			  .period_type = { name, "count" },
			  .period = 1 },
		.form = TEXT_COUNT,
		.begin = begin,
		.next = next,
		.drop = drop,
		.no_difference = true, /* as in Go */
	};
}

const struct snapshot_kind *custom_kind(const char *name)
{
	uint32_t number;

	name = find(name, &number);
	if (!name)
		return NULL;
	pthread_mutex_lock(&lock);
	if (!kinds[number].name)
		fill(&kinds[number], name);
	pthread_mutex_unlock(&lock);
	return &kinds[number];
}

size_t custom_count(uint32_t i, const char **name)
{
	*name = i < CUSTOM_MAX ? weft_read_custom_name(i) : NULL;
	return weft_read_custom_count(i);
}
