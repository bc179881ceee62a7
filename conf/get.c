/* get.c - what a plugin reads of its own object.
 *
 * Called on goroutines: nothing here allocates, locks or waits, and the stack need is some 4 KiB (a message). */
#include "conf_impl.h"

#include <errno.h>

/* The member, marked as asked for; NULL: absent. */
static const struct conf_node *ask(const struct conf_node *n, const char *key)
{
	const struct conf_node *m = conf_node_member(n, key);

	if (m)
		((struct conf_node *)m)->asked = true; /* the one field that changes, see conf_impl.h */
	return m;
}

static int bad(const struct conf_node *n, struct conf_error *err, const char *allowed)
{
	char is[256];
	struct conf_text v = { is, sizeof is, 0 };

	conf_text_value(&v, n);
	return conf_fail(err, n, "this is %s; allowed: %s", is, allowed);
}

int conf_get_int(const struct conf_node *n, const char *key, int64_t min, int64_t max, int64_t *out,
		 struct conf_error *err)
{
	const struct conf_node *m = ask(n, key);
	char allowed[96];
	int64_t v;

	if (!m)
		return 0;
	v = m->kind == CONF_INT ? json_integer_value(m->json) : 0;
	if (m->kind != CONF_INT || v < min || v > max) {
		(void)snprintf(allowed, sizeof allowed, "a whole number from %lld to %lld", (long long)min,
			       (long long)max);
		return bad(m, err, allowed);
	}
	*out = v;
	return 1;
}

int conf_get_dur(const struct conf_node *n, const char *key, int64_t *out, struct conf_error *err)
{
	const struct conf_node *m = ask(n, key);

	if (!m)
		return 0;
	if (m->kind != CONF_STRING || conf_parse_dur(json_string_value(m->json), out) < 0)
		return bad(m, err, "a duration such as \"1.5s\" (units h, m, s, ms, us, ns)");
	return 1;
}

int conf_get_bool(const struct conf_node *n, const char *key, bool *out, struct conf_error *err)
{
	const struct conf_node *m = ask(n, key);

	if (!m)
		return 0;
	if (m->kind != CONF_BOOL)
		return bad(m, err, "true or false");
	*out = json_is_true(m->json);
	return 1;
}

int conf_get_str(const struct conf_node *n, const char *key, const char **out, struct conf_error *err)
{
	const struct conf_node *m = ask(n, key);

	if (!m)
		return 0;
	if (m->kind != CONF_STRING)
		return bad(m, err, "a string");
	*out = json_string_value(m->json);
	return 1;
}

const struct conf_node *conf_get_sub(const struct conf_node *n, const char *key)
{
	const struct conf_node *m = conf_node_member(n, key);

	/* Something else than an object stays unasked, so that conf_unused() tells of it. */
	return m && m->kind == CONF_OBJECT ? ask(n, key) : NULL;
}

static __attribute__((noinline)) void tell(const struct conf_node *n, void (*fn)(void *user, const char *path),
					   void *user)
{
	char path[CONF_PATH_MAX];
	struct conf_text t = { path, sizeof path, 0 };

	conf_text_path(&t, n);
	fn(user, path);
}

void conf_unused(const struct conf_node *n, void (*fn)(void *user, const char *path), void *user)
{
	if (!n || n->kind != CONF_OBJECT)
		return;
	for (const struct conf_node *m = n->first; m; m = m->next) {
		if (!m->asked)
			tell(m, fn, user);
		else
			conf_unused(m, fn, user);
	}
}
