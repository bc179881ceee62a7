/* load.c - a file against the schema: struct conf, or one sentence about the first thing that is wrong.
 *
 * Defaults are set first, through the same code as the file's values (they are JSON text in the schema), so
 * a default can't be of a form that the file could not name.  Then the file's keys in their order.  The
 * caller's *out is written last, when nothing can fail any more. */
#include "conf_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct conf_scope top = { "", 0 }, instance_scope = { "instances[].", 12 };

/* What is being filled: the struct that the rows' offsets count from. */
struct target {
	struct conf_impl *impl;
	void *base;
	struct conf_error *err;
};

static int bad_value(struct target *t, const struct conf_row *row, const struct conf_node *n, const char *why)
{
	char is[256], allowed[384], hint[64] = "";
	struct conf_text v = { is, sizeof is, 0 }, a = { allowed, sizeof allowed, 0 };

	conf_text_value(&v, n);
	/* An item of a list of strings: what one must look like, not the list. */
	if (row->type == CONF_T_STRINGS && n->kind != CONF_LIST && n->parent && n->parent->kind == CONF_LIST)
		conf_text_add(&a, "%s", row->form);
	else
		conf_schema_allowed(row, &a);
	for (size_t i = 0; row->words && n->kind == CONF_STRING && row->words[i] && !*hint; i++)
		if (conf_similar(json_string_value(n->json), row->words[i]))
			(void)snprintf(hint, sizeof hint, " (did you mean \"%s\"?)", row->words[i]);
	return conf_fail(t->err, n, "this is %s%s%s; allowed: %s%s", is, why ? ", and " : "", why ? why : "", allowed,
			 hint);
}

static int set_int(struct target *t, const struct conf_row *row, const struct conf_node *n)
{
	int64_t *to = (int64_t *)((char *)t->base + row->off), v = 0;
	const char *s = n->kind == CONF_STRING ? json_string_value(n->json) : NULL;
	int rc = -EINVAL;

	if (n->kind == CONF_INT && row->type != CONF_T_DUR) {
		v = json_integer_value(n->json);
		rc = 0;
	} else if (s && row->type == CONF_T_INT && row->zero && !strcmp(s, row->zero)) {
		*to = 0;
		return 0;
	} else if (s && row->type == CONF_T_DUR) {
		rc = conf_parse_dur(s, &v);
	} else if (s && row->type == CONF_T_SIZE) {
		rc = conf_parse_size(s, &v);
	}
	if (rc < 0)
		return bad_value(t, row, n, NULL);
	if ((v < row->min || v > row->max) && !(row->type == CONF_T_SIZE && row->zero && !v))
		return bad_value(t, row, n, NULL);
	*to = v;
	return 0;
}

static int check_string(struct target *t, const struct conf_row *row, const struct conf_node *n)
{
	const char *why = NULL;
	size_t len;

	if (n->kind != CONF_STRING)
		return bad_value(t, row, n, NULL);
	len = json_string_length(n->json);
	if (len < (size_t)row->min)
		return bad_value(t, row, n, "it is empty");
	if (len > (size_t)row->max)
		return bad_value(t, row, n, "it is too long");
	if (row->check)
		why = row->check(json_string_value(n->json));
	return why ? bad_value(t, row, n, why) : 0;
}

static int set_string(struct target *t, const struct conf_row *row, const struct conf_node *n)
{
	int rc = check_string(t, row, n);

	if (rc >= 0)
		*(const char **)((char *)t->base + row->off) = json_string_value(n->json);
	return rc;
}

static int set_word(struct target *t, const struct conf_row *row, const struct conf_node *n)
{
	for (size_t i = 0; n->kind == CONF_STRING && row->words[i]; i++) {
		if (strcmp(json_string_value(n->json), row->words[i]))
			continue;
		if (row->type == CONF_T_SWITCH)
			*(bool *)((char *)t->base + row->off) = i > 0;
		else
			*(const char **)((char *)t->base + row->off) = row->words[i];
		return 0;
	}
	return bad_value(t, row, n, NULL);
}

static int set_strings(struct target *t, const struct conf_row *row, const struct conf_node *n)
{
	const char **list, *s;
	size_t i = 0;
	int rc;

	if (n->kind != CONF_LIST || n->n > CONF_LIST_MAX)
		return bad_value(t, row, n, n->kind == CONF_LIST ? "it is too long" : NULL);
	list = conf_alloc(t->impl, n->n * sizeof *list);
	if (!list)
		return conf_fail_memory(t->err, t->impl->file);
	for (const struct conf_node *item = n->first; item; item = item->next) {
		rc = check_string(t, row, item);
		if (rc < 0)
			return rc;
		s = json_string_value(item->json);
		for (size_t j = 0; j < i; j++)
			if (!strcmp(list[j], s))
				return bad_value(t, row, item, "it stands in the list already");
		list[i++] = s;
	}
	*(const char ***)((char *)t->base + row->off) = list;
	memcpy((char *)t->base + row->off + sizeof list, &i, sizeof i); /* schema.c asserts the order */
	return 0;
}

static int load_instances(struct target *t, const struct conf_row *row, const struct conf_node *n);

static int set_value(struct target *t, const struct conf_row *row, const struct conf_node *n)
{
	void *to = (char *)t->base + row->off;

	/* "Not given": the field stays NULL. */
	if (n->kind == CONF_NULL && conf_row_nullable(row))
		return 0;
	switch (row->type) {
	case CONF_T_BOOL:
		if (n->kind != CONF_BOOL)
			return bad_value(t, row, n, NULL);
		*(bool *)to = json_is_true(n->json);
		return 0;
	case CONF_T_INT:
	case CONF_T_DUR:
	case CONF_T_SIZE:
		return set_int(t, row, n);
	case CONF_T_STRING:
		return set_string(t, row, n);
	case CONF_T_WORD:
	case CONF_T_SWITCH:
		return set_word(t, row, n);
	case CONF_T_STRINGS:
		return set_strings(t, row, n);
	case CONF_T_INSTANCES:
		return load_instances(t, row, n);
	case CONF_T_FREE:
		if (n->kind != CONF_OBJECT)
			return bad_value(t, row, n, NULL);
		*(const struct conf_node **)to = n;
		return 0;
	case CONF_T_RESERVED:
		return n->kind == CONF_OBJECT ? 0 : bad_value(t, row, n, NULL);
	}
	return -EINVAL;
}

/* A good value of a key whose feature this version lacks. */
static int check_have(struct target *t, const struct conf_row *row, const struct conf_node *n)
{
	struct conf_node *have;
	int rc;

	if (!row->have || n->kind == CONF_NULL)
		return 0;
	rc = conf_parse_json(t->impl, row->have, strlen(row->have), &have, t->err);
	if (rc < 0 || conf_node_equal(have, n))
		return rc;
	return conf_fail(t->err, n, "what this value asks for is not in this version of weftd; allowed: %s", row->have);
}

static int unknown_key(struct target *t, struct conf_scope scope, const struct conf_node *n)
{
	char hint[512];
	struct conf_text h = { hint, sizeof hint, 0 };

	conf_schema_suggest(scope, n->key, &h);
	return conf_fail_at(t->err, n, n->key_line, "there is no such key%s", hint);
}

static int load_object(struct target *t, struct conf_scope scope, const struct conf_node *object)
{
	for (const struct conf_node *n = object->first; n; n = n->next) {
		const struct conf_row *row;
		size_t len = 0;
		int rc;

		row = conf_schema_find(scope, n->key, &len);
		if (!row)
			return unknown_key(t, scope, n);
		if (!row->path[len]) {
			rc = set_value(t, row, n);
			if (rc >= 0)
				rc = check_have(t, row, n);
			if (rc >= 0 && row->type == CONF_T_RESERVED && n->first)
				rc = unknown_key(t, (struct conf_scope){ "metrics.", 8 }, n->first);
		} else if (n->kind != CONF_OBJECT) {
			char is[256];
			struct conf_text v = { is, sizeof is, 0 };

			conf_text_value(&v, n);
			rc = conf_fail(t->err, n, "this is %s; allowed: an object", is);
		} else {
			rc = load_object(t, (struct conf_scope){ row->path, len + 1 }, n);
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int set_defaults(struct target *t, struct conf_scope scope)
{
	for (size_t i = 0; i < conf_schema_n; i++) {
		const struct conf_row *row = &conf_schema[i];
		bool of_instance = !strncmp(row->path, instance_scope.path, instance_scope.len);
		struct conf_node *n;
		int rc;

		if (of_instance != (scope.len > 0) || !row->def)
			continue;
		rc = conf_parse_json(t->impl, row->def, strlen(row->def), &n, t->err);
		if (rc >= 0)
			rc = set_value(t, row, n);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int load_instance(struct target *t, struct conf_instance *in, const struct conf_node *n)
{
	struct target one = { t->impl, in, t->err };
	int rc;

	if (n->kind != CONF_OBJECT)
		return conf_fail(t->err, n, "an instance is an object; allowed: { \"name\": ..., \"plugin\": ... }");
	in->line = n->line;
	rc = set_defaults(&one, instance_scope);
	if (rc >= 0)
		rc = load_object(&one, instance_scope, n);
	if (rc < 0)
		return rc;
	if (!in->name || !in->plugin)
		return conf_fail(t->err, n, "the key \"%s\" is missing; an instance needs \"name\" and \"plugin\"",
				 in->name ? "plugin" : "name");
	return 0;
}

static int load_instances(struct target *t, const struct conf_row *row, const struct conf_node *n)
{
	struct conf *c = t->base;
	struct conf_instance *list;
	size_t i = 0;
	int rc;

	if (n->kind != CONF_LIST || n->n > (size_t)row->max)
		return bad_value(t, row, n, n->kind == CONF_LIST ? "it is too long" : NULL);
	list = conf_alloc(t->impl, n->n * sizeof *list);
	if (!list)
		return conf_fail_memory(t->err, t->impl->file);
	for (const struct conf_node *item = n->first; item; item = item->next, i++) {
		rc = load_instance(t, &list[i], item);
		if (rc < 0)
			return rc;
		for (size_t j = 0; j < i; j++)
			if (!strcmp(list[j].name, list[i].name))
				return conf_fail(t->err, conf_node_member(item, "name"),
						 "the instance in line %d has the name \"%s\" too; names must differ",
						 list[j].line, list[j].name);
	}
	c->instances = list;
	c->n_instances = i;
	return 0;
}

/* What no single key can tell. */
static int check_together(struct target *t)
{
	const struct conf *c = t->base;
	const struct conf_node *n = conf_node_member(conf_node_member(t->impl->root, "http"), "listen");

	for (n = n ? n->first : NULL; n && !c->http.allow_remote; n = n->next)
		if (conf_listen_is_remote(json_string_value(n->json)))
			return conf_fail(t->err, n,
					 "\"%s\" can be reached from other machines; allowed: an address of this "
					 "machine only, such as "
					 "127.0.0.1, or any with \"allow_remote\": true",
					 json_string_value(n->json));
	return 0;
}

static int fill(struct conf *c, const char *text, size_t len, struct conf_error *err)
{
	struct target t = { c->impl, c, err };
	int rc = set_defaults(&t, top);

	if (rc >= 0)
		rc = conf_parse_json(c->impl, text, len, &c->impl->root, err);
	if (rc < 0)
		return rc;
	if (c->impl->root->kind != CONF_OBJECT) {
		char is[256];
		struct conf_text v = { is, sizeof is, 0 };

		conf_text_value(&v, c->impl->root);
		return conf_fail(err, c->impl->root, "this is %s; allowed: an object, { ... }", is);
	}
	rc = load_object(&t, top, c->impl->root);
	return rc < 0 ? rc : check_together(&t);
}

int conf_parse(const char *text, size_t len, const char *file, struct conf **out, struct conf_error *err)
{
	struct conf *c = calloc(1, sizeof *c);
	int rc;

	if (c)
		c->impl = conf_impl_new(file);
	if (!c || !c->impl) {
		conf_free(c);
		return conf_fail_memory(err, file);
	}
	rc = fill(c, text, len, err);
	if (rc < 0) {
		conf_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	conf_impl_free(c->impl);
	free(c);
}

/* A message about the file as a whole. */
static int bad_file(struct conf_error *err, const char *file, int rc, const char *what)
{
	size_t len = strlen(file);

	(void)snprintf(err->text, sizeof err->text, "%s%s: %s: %s; allowed: a readable JSON file of at most 1MiB",
		       len > 400 ? "..." : "", len > 400 ? file + len - 400 : file, what, strerrordesc_np(-rc));
	return rc;
}

/* Up to CONF_FILE_MAX + 1 bytes; how many. */
static int64_t read_all(int fd, char *buf)
{
	size_t len = 0;

	while (len <= CONF_FILE_MAX) {
		ssize_t n = read(fd, buf + len, CONF_FILE_MAX + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += (size_t)n;
	}
	return (int64_t)len;
}

int conf_load(const char *file, struct conf **out, struct conf_error *err)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char *buf = NULL;
	int64_t len;
	int rc;

	if (fd < 0)
		return bad_file(err, file, -errno, "the configuration can't be opened");
	buf = malloc(CONF_FILE_MAX + 1);
	if (!buf) {
		rc = conf_fail_memory(err, file);
		goto out;
	}
	len = read_all(fd, buf);
	if (len < 0)
		rc = bad_file(err, file, (int)len, "the configuration can't be read");
	else if (len > CONF_FILE_MAX)
		rc = bad_file(err, file, -EFBIG, "the configuration is too large");
	else
		rc = conf_parse(buf, (size_t)len, file, out, err);
	free(buf);
out:
	(void)close(fd); /* read only: nothing to lose */
	return rc;
}
