/* node.c - the tree of a loaded file: memory, paths, messages.
 *
 * Everything of one file is on two chains of struct conf_impl (nodes, blocks) and freed in one go, without
 * recursion.  Messages are put together in the caller's struct conf_error; nothing here allocates for one,
 * so they also work on a goroutine's stack and when memory is out. */
#include "conf_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct conf_block {
	struct conf_block *next;
	max_align_t data[];
};

void *conf_alloc(struct conf_impl *impl, size_t size)
{
	struct conf_block *b = calloc(1, sizeof *b + size);

	if (!b)
		return NULL;
	b->next = impl->blocks;
	impl->blocks = b;
	return b->data;
}

struct conf_impl *conf_impl_new(const char *file)
{
	struct conf_impl *impl = calloc(1, sizeof *impl);

	if (!impl)
		return NULL;
	impl->file = strdup(file);
	if (!impl->file) {
		free(impl);
		return NULL;
	}
	return impl;
}

void conf_impl_free(struct conf_impl *impl)
{
	if (!impl)
		return;
	while (impl->all) {
		struct conf_node *n = impl->all;

		impl->all = n->all;
		json_decref(n->json);
		json_decref(n->key_json);
		free(n);
	}
	while (impl->blocks) {
		struct conf_block *b = impl->blocks;

		impl->blocks = b->next;
		free(b);
	}
	free(impl->file);
	free(impl);
}

struct conf_node *conf_node_new(struct conf_impl *impl, struct conf_node *parent, struct conf_node *prev)
{
	struct conf_node *n = calloc(1, sizeof *n);

	if (!n)
		return NULL;
	n->impl = impl;
	n->all = impl->all;
	impl->all = n;
	n->parent = parent;
	if (prev)
		prev->next = n;
	else if (parent)
		parent->first = n;
	if (parent)
		n->index = parent->n++;
	return n;
}

const struct conf_node *conf_node_member(const struct conf_node *object, const char *key)
{
	if (!object || object->kind != CONF_OBJECT)
		return NULL;
	for (const struct conf_node *n = object->first; n; n = n->next)
		if (!strcmp(n->key, key))
			return n;
	return NULL;
}

bool conf_node_equal(const struct conf_node *a, const struct conf_node *b)
{
	return a->kind == b->kind && a->json && b->json && json_equal(a->json, b->json);
}

void conf_text_add(struct conf_text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (t->len + 1 >= t->cap)
		return;
	va_start(ap, fmt);
	n = vsnprintf(t->s + t->len, t->cap - t->len, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n < t->cap - t->len) {
		t->len += (size_t)n;
		return;
	}
	/* Cut: drop a sequence that lost its tail, and take no more. */
	t->len = t->cap - 1;
	while (t->len && ((unsigned char)t->s[t->len - 1] & 0xc0) == 0x80)
		t->len--;
	if (t->len && (unsigned char)t->s[t->len - 1] >= 0xc0)
		t->len--;
	t->s[t->len] = 0;
	t->cap = t->len + 1;
}

/* Bytes of the UTF-8 sequence at s, at most len; 0: it is none, or a C1 control that a terminal may obey. */
static size_t utf8_len(const unsigned char *s, size_t len)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xc2 && s[1] < 0xa0) || (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90))
		return 0;
	if ((s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf4 && s[1] >= 0x90))
		return 0;
	return n;
}

void conf_text_quote(struct conf_text *t, const char *str, size_t len, size_t max)
{
	const unsigned char *s = (const unsigned char *)str;
	size_t i = 0;

	conf_text_add(t, "\"");
	while (i < len && i < max) {
		size_t n = utf8_len(s + i, len - i);

		if (n == 1 && (s[i] == '"' || s[i] == '\\'))
			conf_text_add(t, "\\%c", s[i]);
		else if (n == 1 && (s[i] < 0x20 || s[i] == 0x7f))
			conf_text_add(t, "\\u%04x", s[i]);
		else if (n)
			conf_text_add(t, "%.*s", (int)n, str + i);
		else
			conf_text_add(t, "\\x%02x", s[i]);
		i += n ? n : 1;
	}
	conf_text_add(t, i < len ? "...\"" : "\"");
}

static bool plain_key(const char *key)
{
	size_t n = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

	return n && !key[n] && n <= 64;
}

void conf_text_path(struct conf_text *t, const struct conf_node *n)
{
	const struct conf_node *up[CONF_DEPTH_MAX + 2];
	size_t depth = 0;

	for (; n && n->parent && depth < sizeof up / sizeof up[0]; n = n->parent)
		up[depth++] = n;
	if (!depth)
		conf_text_add(t, "top level");
	for (size_t i = depth; i-- > 0;) {
		if (!up[i]->key) {
			conf_text_add(t, "[%zu]", up[i]->index);
		} else if (plain_key(up[i]->key)) {
			conf_text_add(t, "%s%s", i + 1 < depth ? "." : "", up[i]->key);
		} else {
			conf_text_add(t, "[");
			conf_text_quote(t, up[i]->key, strlen(up[i]->key), 64);
			conf_text_add(t, "]");
		}
	}
}

void conf_text_value(struct conf_text *t, const struct conf_node *n)
{
	switch (n->kind) {
	case CONF_NULL:
		conf_text_add(t, "null");
		break;
	case CONF_BOOL:
		conf_text_add(t, json_is_true(n->json) ? "true" : "false");
		break;
	case CONF_INT:
		conf_text_add(t, "the number %" JSON_INTEGER_FORMAT, json_integer_value(n->json));
		break;
	case CONF_REAL:
		conf_text_add(t, "the number %.15g (with a point or exponent)", json_real_value(n->json));
		break;
	case CONF_STRING:
		conf_text_add(t, "the string ");
		conf_text_quote(t, json_string_value(n->json), json_string_length(n->json), 80);
		break;
	case CONF_LIST:
		conf_text_add(t, "a list");
		break;
	case CONF_OBJECT:
		conf_text_add(t, "an object");
		break;
	}
}

static int fail_v(struct conf_error *err, const struct conf_node *n, int line, const char *fmt, va_list ap)
{
	struct conf_text t = { err->text, sizeof err->text, 0 };
	char path[CONF_PATH_MAX], what[sizeof err->text];
	struct conf_text p = { path, sizeof path, 0 };
	const char *file = n->impl->file;
	size_t len = strlen(file);

	conf_text_path(&p, n);
	(void)vsnprintf(what, sizeof what, fmt, ap);
	/* The end of a long name tells more than its start. */
	conf_text_add(&t, "%s%s:%d: %s: ", len > 200 ? "..." : "", len > 200 ? file + len - 200 : file, line, path);
	conf_text_add(&t, "%s", what);
	return -EINVAL;
}

int conf_fail(struct conf_error *err, const struct conf_node *n, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fail_v(err, n, n->line, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int conf_fail_at(struct conf_error *err, const struct conf_node *n, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fail_v(err, n, line, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int conf_fail_memory(struct conf_error *err, const char *file)
{
	(void)snprintf(err->text, sizeof err->text, "%.200s: no memory to read the configuration", file);
	return -ENOMEM;
}
