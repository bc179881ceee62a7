/* print.c - the effective configuration as JSON, and the schema as mdoc.
 *
 * Both walk the schema, so no key can be forgotten.  What conf_print() writes loads again to an equal
 * struct conf, and printing that gives the same bytes. */
#include "conf_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct printer {
	FILE *to;
	int depth;
	bool failed; /* no memory; write errors are the stream's */
};

static void newline(struct printer *p)
{
	fprintf(p->to, "\n%*s", 2 * p->depth, "");
}

static void print_json(struct printer *p, const json_t *j)
{
	char *s = json_dumps(j, JSON_ENCODE_ANY);

	if (s)
		fputs(s, p->to);
	else
		p->failed = true;
	free(s);
}

static void print_string(struct printer *p, const char *s)
{
	json_t *j = s ? json_string(s) : json_null();

	if (j)
		print_json(p, j);
	else
		p->failed = true;
	json_decref(j);
}

static void print_strings(struct printer *p, const void *field)
{
	const char *const *list;
	size_t n;

	memcpy(&list, field, sizeof list);
	memcpy(&n, (const char *)field + sizeof list, sizeof n);
	fputc('[', p->to);
	for (size_t i = 0; i < n; i++) {
		fputs(i ? ", " : "", p->to);
		print_string(p, list[i]);
	}
	fputc(']', p->to);
}

static void print_node(struct printer *p, const struct conf_node *n)
{
	const struct conf_node *m;

	if (!n) {
		fputs("null", p->to);
		return;
	}
	if (n->kind != CONF_OBJECT && n->kind != CONF_LIST) {
		print_json(p, n->json);
		return;
	}
	fputc(n->kind == CONF_OBJECT ? '{' : '[', p->to);
	p->depth++;
	for (m = n->first; m; m = m->next) {
		newline(p);
		if (m->key) {
			print_json(p, m->key_json);
			fputs(": ", p->to);
		}
		print_node(p, m);
		fputs(m->next ? "," : "", p->to);
	}
	p->depth--;
	if (n->first)
		newline(p);
	fputc(n->kind == CONF_OBJECT ? '}' : ']', p->to);
}

static void print_scope(struct printer *p, struct conf_scope scope, const void *base);

static void print_instances(struct printer *p, const struct conf *c)
{
	fputc('[', p->to);
	p->depth++;
	for (size_t i = 0; i < c->n_instances; i++) {
		fputs(i ? "," : "", p->to);
		newline(p);
		print_scope(p, (struct conf_scope){ "instances[].", 12 }, &c->instances[i]);
	}
	p->depth--;
	if (c->n_instances)
		newline(p);
	fputc(']', p->to);
}

static void print_value(struct printer *p, const struct conf_row *row, const void *base)
{
	const void *f = (const char *)base + row->off;
	char buf[32];

	switch (row->type) {
	case CONF_T_BOOL:
		fputs(*(const bool *)f ? "true" : "false", p->to);
		break;
	case CONF_T_INT:
		if (row->zero && !*(const int64_t *)f)
			fprintf(p->to, "\"%s\"", row->zero);
		else
			fprintf(p->to, "%" PRId64, *(const int64_t *)f);
		break;
	case CONF_T_DUR:
		conf_format_dur(*(const int64_t *)f, buf);
		fprintf(p->to, "\"%s\"", buf);
		break;
	case CONF_T_SIZE:
		conf_format_size(*(const int64_t *)f, buf);
		/* Without a unit it is a number. */
		fprintf(p->to, strstr(buf, "iB") ? "\"%s\"" : "%s", buf);
		break;
	case CONF_T_STRING:
	case CONF_T_WORD:
		print_string(p, *(const char *const *)f);
		break;
	case CONF_T_SWITCH:
		print_string(p, row->words[*(const bool *)f]);
		break;
	case CONF_T_STRINGS:
		print_strings(p, f);
		break;
	case CONF_T_FREE:
		print_node(p, *(const struct conf_node *const *)f);
		break;
	case CONF_T_INSTANCES:
		print_instances(p, base);
		break;
	case CONF_T_RESERVED:
		fputs("{}", p->to);
		break;
	}
}

static void print_scope(struct printer *p, struct conf_scope scope, const void *base)
{
	const char *name, *comma = "";
	size_t len;

	fputc('{', p->to);
	p->depth++;
	for (size_t i = 0; i < conf_schema_n; i++) {
		const struct conf_row *row = &conf_schema[i];

		if (!conf_schema_first(scope, row, &name, &len))
			continue;
		fputs(comma, p->to);
		comma = ",";
		newline(p);
		fprintf(p->to, "\"%.*s\": ", (int)len, name);
		if (name[len] == '.')
			print_scope(p, (struct conf_scope){ row->path, scope.len + len + 1 }, base);
		else
			print_value(p, row, base);
	}
	p->depth--;
	newline(p);
	fputc('}', p->to);
}

int conf_print(const struct conf *c, FILE *to)
{
	struct printer p = { .to = to };

	print_scope(&p, (struct conf_scope){ "", 0 }, c);
	fputc('\n', to);
	if (fflush(to) || ferror(to))
		return -EIO;
	return p.failed ? -ENOMEM : 0;
}

/* A text line of mdoc for each sentence: roff's escape character is doubled, nothing begins with a dot. */
static void print_sentences(FILE *to, const char *s)
{
	for (; *s; s++) {
		if (*s == '\\')
			fputs("\\e", to);
		else
			fputc(*s, to);
		if (s[0] == '.' && s[1] == ' ') {
			fputc('\n', to);
			s++;
		}
	}
	fputc('\n', to);
}

void conf_print_schema_mdoc(FILE *to)
{
	for (size_t i = 0; i < conf_schema_n; i++) {
		const struct conf_row *row = &conf_schema[i];
		char allowed[384];
		struct conf_text a = { allowed, sizeof allowed, 0 };

		conf_schema_allowed(row, &a);
		fprintf(to, ".It Ic %s\n", row->path);
		print_sentences(to, row->help);
		conf_text_add(&a, ".");
		fprintf(to, ".br\n%c", allowed[0] >= 'a' && allowed[0] <= 'z' ? allowed[0] - 'a' + 'A' : allowed[0]);
		print_sentences(to, allowed + 1);
		if (row->def)
			fprintf(to, ".br\nDefault: %s\n", row->def);
		else
			fputs(".br\nMust be given.\n", to);
		if (row->have)
			fprintf(to, ".br\nReserved for a later version; this one takes only %s%s.\n", row->have,
				conf_row_nullable(row) ? " or null" : "");
		if (!row->live)
			fputs(".br\nFixed while the daemon runs.\n", to);
	}
}
