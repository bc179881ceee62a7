/* filter.c - what profiles have in common: whose samples a request wants, and whether with names.
 *
 * instance= and plugin= leave out what is not theirs, symbolize=none leaves names to the reader of the profile. */
#include "server.h"

#include "weft_read.h"

#include <string.h>

bool filter_parse(struct request *r, struct filter *f)
{
	char how[16];

	*f = (struct filter){ 0 };
	(void)param_get(r->query, "instance", f->instance, sizeof(f->instance));
	(void)param_get(r->query, "plugin", f->plugin, sizeof(f->plugin));
	if (!param_get(r->query, "symbolize", how, sizeof(how)) || !*how)
		return true;
	f->bare = !strcmp(how, "none");
	if (!f->bare)
		reply_error(r, MHD_HTTP_BAD_REQUEST, "symbolize can be none, or be left out");
	return f->bare;
}

bool filter_passes(const struct filter *f, uint32_t instance)
{
	const char *name;

	if (*f->instance) {
		name = weft_read_instance(instance);
		if (!name || strcmp(name, f->instance))
			return false;
	}
	if (*f->plugin) {
		name = weft_read_plugin(instance);
		if (!name || strcmp(name, f->plugin))
			return false;
	}
	return true;
}

const char *instance_name(uint32_t i)
{
	const char *name = weft_read_instance(i);

	return name && *name ? name : NULL;
}
