/* parse.c - JSON text to nodes that know their lines.
 *
 * jansson decodes what is intricate about JSON, strings and numbers, one token at a time; the brackets,
 * commas and colons around them are walked here, because jansson keeps no line for a value and drops the
 * first of two equal keys.  What is accepted is exactly what jansson accepts, except: equal keys in one
 * object, U+0000 in strings, nesting beyond CONF_DEPTH_MAX (tests/unit/test_conf.c compares the two).
 *
 * A node is made before its value is read, so every message has a path. */
#include "conf_impl.h"

#include <errno.h>
#include <string.h>

struct parser {
	struct conf_impl *impl;
	const char *text;
	size_t len, at;
	int line;
	size_t line_start;
	int depth;
	struct conf_error *err;
};

static int parse_value(struct parser *p, struct conf_node *n);

/* A message about what stands at offset `at` of the current line. */
static int CONF_PRINTF(4, 5) bad(struct parser *p, const struct conf_node *n, size_t at, const char *fmt, ...)
{
	char what[512];
	int column = 1;
	va_list ap;

	for (size_t i = p->line_start; i < at; i++)
		column += ((unsigned char)p->text[i] & 0xc0) != 0x80; /* characters, not bytes */
	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	return conf_fail_at(p->err, n, p->line, "this is not JSON at line %d, column %d: %s", p->line, column, what);
}

static void skip_space(struct parser *p)
{
	for (; p->at < p->len && strchr(" \t\r\n", p->text[p->at]) && p->text[p->at]; p->at++) {
		if (p->text[p->at] == '\n') {
			p->line++;
			p->line_start = p->at + 1;
		}
	}
}

static int peek(struct parser *p)
{
	skip_space(p);
	return p->at < p->len ? (unsigned char)p->text[p->at] : -1;
}

/* The length of the string or word at p->at; 0: a string that doesn't end on its line. */
static size_t token_len(const struct parser *p)
{
	const char *s = p->text + p->at;
	size_t left = p->len - p->at, n = 1;

	if (*s != '"') {
		while (n < left && !(s[n] && strchr(" \t\r\n{}[]:,\"", s[n])))
			n++;
		return n;
	}
	for (; n < left && s[n] != '\n'; n++) {
		if (s[n] == '"')
			return n + 1;
		if (s[n] == '\\' && n + 1 < left && s[n + 1] != '\n')
			n++;
	}
	return 0;
}

static int bad_word(struct parser *p, const struct conf_node *n, size_t len, const char *instead)
{
	char buf[160];
	struct conf_text t = { buf, sizeof buf, 0 };
	const char *s = p->text + p->at;

	conf_text_quote(&t, s, len, 40);
	if (*s == '/' || *s == '#')
		return bad(p, n, p->at, "%s looks like a comment, and JSON has none", buf);
	if (*s == '\'')
		return bad(p, n, p->at, "%s: strings and keys stand in double quotes", buf);
	return bad(p, n, p->at, "%s stands here; %s", buf, instead);
}

/* jansson's own words about a string, up to where it repeats the text. */
static int bad_string(struct parser *p, const struct conf_node *n, const json_error_t *e)
{
	const char *near = strstr(e->text, " near ");
	int len = near ? (int)(near - e->text) : (int)strlen(e->text);
	const char *rule = "";

	if (json_error_code(e) == json_error_invalid_utf8)
		rule = "; the file must be UTF-8";
	else if (!strncmp(e->text, "control character", 17))
		rule = "; control characters are written \\n, \\t or \\u0001";
	else if (!strncmp(e->text, "invalid escape", 14))
		rule = "; allowed after a backslash: \" \\ / b f n r t, or u and four hex digits";
	return bad(p, n, p->at, "in this string: %.*s%s", len, e->text, rule);
}

/* jansson leaves the text empty when memory is out, or calls a string that it could not keep a bad token. */
static bool no_memory(const json_error_t *e, char first)
{
	return json_error_code(e) == json_error_out_of_memory || !*e->text ||
	       (first == '"' && !strncmp(e->text, "invalid token", 13));
}

/* Decode the string or word at p->at and step over it. */
static int decode(struct parser *p, const struct conf_node *n, json_t **out)
{
	size_t len = token_len(p);
	json_error_t e;
	json_t *j;

	if (!len)
		return bad(p, n, p->at, "the string that begins here is not closed on its line");
	j = json_loadb(p->text + p->at, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
	if (!j) {
		if (no_memory(&e, p->text[p->at]))
			return conf_fail_memory(p->err, p->impl->file);
		if (p->text[p->at] == '"')
			return bad_string(p, n, &e);
		if (json_error_code(&e) == json_error_numeric_overflow)
			return conf_fail_at(p->err, n, p->line,
					    "the number %.*s is out of range; allowed: -2^63 to 2^63-1, or with a "
					    "point or exponent up to 1.79e308",
					    len < 40 ? (int)len : 40, p->text + p->at);
		return bad_word(p, n, len,
				"allowed: a string in double quotes, a number, true, false, null, a list or an object");
	}
	if (json_is_string(j) && strlen(json_string_value(j)) != json_string_length(j)) {
		json_decref(j);
		return conf_fail_at(p->err, n, p->line, "a string here holds U+0000; allowed: any other character");
	}
	p->at += len;
	*out = j;
	return 0;
}

static int bad_end(struct parser *p, const struct conf_node *n, const char *kind, char close)
{
	return bad(p, n, p->at, "the file ends inside the %s that begins in line %d; its %c is missing", kind, n->line,
		   close);
}

static int parse_key(struct parser *p, struct conf_node *object, struct conf_node *n, json_t *seen)
{
	json_t *j = NULL, *before;
	int rc;

	n->key_line = n->line = p->line;
	if (p->text[p->at] != '"')
		return bad_word(p, object, token_len(p), "a key in double quotes, or }, is expected");
	rc = decode(p, object, &j);
	if (rc < 0)
		return rc;
	n->key_json = j;
	n->key = json_string_value(j);
	before = json_object_get(seen, n->key);
	if (before)
		return conf_fail_at(p->err, n, n->key_line,
				    "this key stands twice in its object, in line %" JSON_INTEGER_FORMAT
				    " too; a key may stand once",
				    json_integer_value(before));
	if (json_object_set_new(seen, n->key, json_integer(n->key_line)))
		return conf_fail_memory(p->err, p->impl->file);
	if (peek(p) != ':')
		return bad(p, n, p->at, "a colon is expected between a key and its value");
	p->at++;
	return 0;
}

/* After a member or item: 1 there is another, 0 that was the last, or an error. */
static int parse_next(struct parser *p, struct conf_node *n, const char *kind, char close)
{
	int c = peek(p);

	if (c < 0)
		return bad_end(p, n, kind, close);
	p->at++;
	if (c == close)
		return 0;
	p->at--;
	if (c != ',')
		return bad(p, n, p->at, "a comma or %c is expected here, in the %s that begins in line %d", close, kind,
			   n->line);
	p->at++;
	c = peek(p);
	if (c < 0)
		return bad_end(p, n, kind, close);
	if (c == close)
		return bad(p, n, p->at, "%c follows a comma; after the last one in its %s there is no comma", close,
			   kind);
	return 1;
}

static int parse_members(struct parser *p, struct conf_node *n, json_t *seen)
{
	struct conf_node *prev = NULL;
	int rc;

	do {
		struct conf_node *child = conf_node_new(p->impl, n, prev);

		if (!child)
			return conf_fail_memory(p->err, p->impl->file);
		rc = parse_key(p, n, child, seen);
		if (rc >= 0)
			rc = parse_value(p, child);
		if (rc < 0)
			return rc;
		prev = child;
		rc = parse_next(p, n, "object", '}');
	} while (rc > 0);
	return rc;
}

static int parse_object(struct parser *p, struct conf_node *n)
{
	json_t *seen;
	int rc, c;

	p->at++;
	c = peek(p);
	if (c < 0)
		return bad_end(p, n, "object", '}');
	if (c == '}') {
		p->at++;
		return 0;
	}
	seen = json_object();
	if (!seen)
		return conf_fail_memory(p->err, p->impl->file);
	rc = parse_members(p, n, seen);
	json_decref(seen);
	return rc;
}

static int parse_list(struct parser *p, struct conf_node *n)
{
	struct conf_node *prev = NULL;
	int rc, c;

	p->at++;
	c = peek(p);
	if (c < 0)
		return bad_end(p, n, "list", ']');
	if (c == ']') {
		p->at++;
		return 0;
	}
	do {
		struct conf_node *child = conf_node_new(p->impl, n, prev);

		if (!child)
			return conf_fail_memory(p->err, p->impl->file);
		rc = parse_value(p, child);
		if (rc < 0)
			return rc;
		prev = child;
		rc = parse_next(p, n, "list", ']');
	} while (rc > 0);
	return rc;
}

static enum conf_kind kind_of(const json_t *j)
{
	switch (json_typeof(j)) {
	case JSON_STRING:
		return CONF_STRING;
	case JSON_INTEGER:
		return CONF_INT;
	case JSON_REAL:
		return CONF_REAL;
	case JSON_TRUE:
	case JSON_FALSE:
		return CONF_BOOL;
	default:
		return CONF_NULL;
	}
}

static int parse_value(struct parser *p, struct conf_node *n)
{
	int c = peek(p), rc;

	n->line = p->line;
	if (c < 0)
		return bad(p, n, p->at, "the file ends where a value is expected");
	if (c == '{' || c == '[') {
		n->kind = c == '{' ? CONF_OBJECT : CONF_LIST;
		if (p->depth == CONF_DEPTH_MAX)
			return conf_fail_at(p->err, n, p->line,
					    "objects and lists are nested too deeply; allowed: %d levels",
					    CONF_DEPTH_MAX);
		p->depth++;
		rc = c == '{' ? parse_object(p, n) : parse_list(p, n);
		p->depth--;
		return rc;
	}
	if (strchr("}],:", c) && c)
		return bad(p, n, p->at, "a value is expected here, before the %c", c);
	rc = decode(p, n, &n->json);
	if (rc >= 0)
		n->kind = kind_of(n->json);
	return rc;
}

static int bad_start(struct parser *p, const struct conf_node *n)
{
	const char *t = p->text;

	if (p->len >= 3 && !memcmp(t, "\xef\xbb\xbf", 3))
		return conf_fail_at(
			p->err, n, 1,
			"the file begins with a byte order mark; allowed: UTF-8 without one, starting with {");
	if (p->len >= 2 && (!memcmp(t, "\xff\xfe", 2) || !memcmp(t, "\xfe\xff", 2)))
		return conf_fail_at(p->err, n, 1, "the file is UTF-16; allowed: UTF-8");
	if (peek(p) < 0)
		return conf_fail_at(p->err, n, 1, "the file is empty; allowed: a JSON object, at least {}");
	return 0;
}

int conf_parse_json(struct conf_impl *impl, const char *text, size_t len, struct conf_node **out,
		    struct conf_error *err)
{
	struct parser p = { .impl = impl, .text = text, .len = len, .line = 1, .err = err };
	struct conf_node *n = conf_node_new(impl, NULL, NULL);
	int rc;

	if (!n)
		return conf_fail_memory(err, impl->file);
	rc = bad_start(&p, n);
	if (rc >= 0)
		rc = parse_value(&p, n);
	if (rc < 0)
		return rc;
	if (peek(&p) >= 0)
		return bad_word(&p, n, token_len(&p), "nothing may follow the end of the top level");
	*out = n;
	return 0;
}
