/* plugin_conf.c - weft_conf_*() of <weft.h>.
 *
 * A weft_conf is a struct conf_node under another name: a cast, no object of its own.  conf/ says what is
 * wrong, this file logs it, since a plugin is promised that one check of the result is enough.  Called on
 * goroutines, in init; needs no P and never waits. */
#include "conf.h"

#include <weft.h>

static const struct conf_node *node_of(const weft_conf *c)
{
	return (const struct conf_node *)c;
}

/* conf's result to weft.h's: found and absent are both 0, errors are logged. */
static int told(int rc, const struct conf_error *err)
{
	if (rc < 0)
		weft_log(WEFT_ERROR, "%s", err->text);
	return rc < 0 ? rc : 0;
}

int weft_conf_int(const weft_conf *c, const char *key, int64_t min, int64_t max, int64_t *out)
{
	struct conf_error err;

	return told(conf_get_int(node_of(c), key, min, max, out, &err), &err);
}

int weft_conf_dur(const weft_conf *c, const char *key, int64_t *out)
{
	struct conf_error err;

	return told(conf_get_dur(node_of(c), key, out, &err), &err);
}

int weft_conf_bool(const weft_conf *c, const char *key, bool *out)
{
	struct conf_error err;

	return told(conf_get_bool(node_of(c), key, out, &err), &err);
}

int weft_conf_str(const weft_conf *c, const char *key, const char **out)
{
	struct conf_error err;

	return told(conf_get_str(node_of(c), key, out, &err), &err);
}

const weft_conf *weft_conf_sub(const weft_conf *c, const char *key)
{
	return (const weft_conf *)conf_get_sub(node_of(c), key);
}
