/* filter.c - what profiles have in common: whose samples a request wants, and whether with names.
 *
 * instance= and plugin= leave out what is not theirs, symbolize=none leaves names to the reader of the profile. */
#include "server.h"

#include "weft_read.h"

#include <string.h>

bool param_word(struct request *r, const char *key, char *buf, size_t cap)
{
	char all[TARGET_MAX];

	*buf = '\0';
	if (!param_get(r->query, key, all, sizeof(all)))
		return true;
	if (strlen(all) >= cap) {
		reply_error(r, MHD_HTTP_BAD_REQUEST, "%s is too long; at most %zu bytes are allowed", key, cap - 1);
		return false;
	}
	strcpy(buf, all);
	return true;
}

bool filter_parse(struct request *r, struct filter *f)
{
	char how[16];

	*f = (struct filter){ 0 };
	if (!param_word(r, "instance", f->instance, sizeof(f->instance)) ||
	    !param_word(r, "plugin", f->plugin, sizeof(f->plugin)) || !param_word(r, "symbolize", how, sizeof(how)))
		return false;
	if (!*how)
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
