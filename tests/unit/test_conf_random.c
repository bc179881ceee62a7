/* test_conf_random.c - what must hold for every configuration: lines are right, what is JSON is what jansson
 * says, and what is printed loads again.  WEFT_SEED=N repeats a run. */
#include "conf_impl.h"
#include "often.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t state;

static void seed(void)
{
	const char *s = getenv("WEFT_SEED");

	state = s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL);
	printf("conf: WEFT_SEED=%llu\n", (unsigned long long)state);
}

/* A number below n (splitmix64). */
static unsigned below(unsigned n)
{
	uint64_t z = (state += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (unsigned)((z ^ z >> 31) % n);
}

/* --- Lines: a generated text whose values are the lines that they stand in -------------------- */

struct text {
	char s[1 << 16];
	size_t len;
	int line, keys;
};

static void put(struct text *t, const char *s)
{
	size_t n = strlen(s);

	often(t->len + n < sizeof t->s);
	memcpy(t->s + t->len, s, n + 1);
	t->len += n;
	for (; *s; s++)
		t->line += *s == '\n';
}

static void put_space(struct text *t)
{
	static const char *const space[] = { "", "", " ", "\n", "\t", "\r\n", "\n\n  ", "  " };

	put(t, space[below(8)]);
}

/* Brackets, quotes and escapes that a careless scanner would count. */
static const char *nasty(void)
{
	static const char *const s[] = {
		"",   "{",        "]]", "\\\"",          "\\\\", "\\n", "\\u000a", "\xc3\xa9", "\xf0\x9f\x98\x80",
		",:", "\\\\\\\"", "//", "\\ud83d\\ude00"
	};

	return s[below(13)];
}

static void put_value(struct text *t, int depth)
{
	unsigned kind = below(depth < 6 ? 6 : 4), n = below(4);
	char buf[128];

	if (kind < 2) {
		snprintf(buf, sizeof buf, "%d", t->line);
		put(t, buf);
	} else if (kind < 4) {
		snprintf(buf, sizeof buf, "\"%d %s%s\"", t->line, nasty(), nasty());
		put(t, buf);
	} else if (kind == 4) {
		put(t, "[");
		for (unsigned i = 0; i < n; i++) {
			put_space(t);
			put_value(t, depth + 1);
			put_space(t);
			put(t, i + 1 < n ? "," : "");
		}
		put_space(t);
		put(t, "]");
	} else {
		put(t, "{");
		for (unsigned i = 0; i < n; i++) {
			put_space(t);
			snprintf(buf, sizeof buf, "\"%d %d %s\"", t->line, t->keys++, nasty());
			put(t, buf);
			put_space(t);
			put(t, ":");
			put_space(t);
			put_value(t, depth + 1);
			put_space(t);
			put(t, i + 1 < n ? "," : "");
		}
		put_space(t);
		put(t, "}");
	}
}

static int check_lines(const struct conf_node *n)
{
	int seen = 1;

	if (n->key)
		ck_assert_int_eq(n->key_line, atoi(n->key));
	if (n->kind == CONF_INT)
		ck_assert_int_eq(n->line, (int)json_integer_value(n->json));
	if (n->kind == CONF_STRING)
		ck_assert_int_eq(n->line, atoi(json_string_value(n->json)));
	for (const struct conf_node *m = n->first; m; m = m->next)
		seen += check_lines(m);
	return seen;
}

START_TEST(every_key_and_value_knows_its_line)
{
	int seen = 0;

	seed();
	for (int i = 0; i < 2000; i++) {
		static struct text t;
		struct conf_impl *impl = conf_impl_new("f");
		struct conf_error err = { "" };
		struct conf_node *n;

		t = (struct text){ .line = 1 };
		put_space(&t);
		put(&t, "[");
		for (int v = 0; v < 8; v++) {
			put(&t, v ? "," : "");
			put_space(&t);
			put_value(&t, 0);
			put_space(&t);
		}
		put(&t, "]");
		ck_assert_msg(conf_parse_json(impl, t.s, t.len, &n, &err) == 0, "%s\n%s", err.text, t.s);
		seen += check_lines(n);
		conf_impl_free(impl);
	}
	ck_assert_int_gt(seen, 20000);
}
END_TEST

/* --- The same language as jansson's ------------------------------------------------------------- */

/* Our own rules, which come on top of jansson's. */
static bool ours_alone(const char *message)
{
	return strstr(message, "holds U+0000") || strstr(message, "nested too deeply") ||
	       strstr(message, "byte order mark") || strstr(message, "UTF-16");
}

static void mutate(struct text *t)
{
	static const char bytes[] = "{}[]:,\"\\ \n\t0123456789-+.eEtruefalsn/\x01\x7f\xc3\xa9\xff";
	size_t at = t->len ? below((unsigned)t->len) : 0, n;

	switch (below(4)) {
	case 0: /* another byte */
		t->s[at] = bytes[below(sizeof bytes)];
		break;
	case 1: /* one less */
		n = t->len - at;
		memmove(t->s + at, t->s + at + 1, n);
		t->len -= t->len > 0;
		break;
	case 2: /* one more */
		memmove(t->s + at + 1, t->s + at, t->len - at + 1);
		t->s[at] = bytes[below(sizeof bytes)];
		t->len++;
		break;
	default: /* cut */
		if (!below(4))
			t->len = at;
	}
}

START_TEST(what_is_json_is_what_jansson_says)
{
	int good = 0, bad = 0;

	seed();
	for (int i = 0; i < 20000; i++) {
		static struct text t;
		struct conf_error err = { "" };
		struct conf_impl *impl = conf_impl_new("f");
		struct conf_node *n;
		json_error_t e;
		json_t *j;
		int rc;

		t = (struct text){ .line = 1 };
		put_value(&t, 2);
		for (unsigned m = below(4); m > 0; m--)
			mutate(&t);
		rc = conf_parse_json(impl, t.s, t.len, &n, &err);
		j = json_loadb(t.s, t.len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &e);
		if (!ours_alone(err.text))
			ck_assert_msg((rc == 0) == (j != NULL), "%s\nours: %s\njansson: %s", t.s, err.text, e.text);
		good += rc == 0;
		bad += rc < 0;
		json_decref(j);
		conf_impl_free(impl);
	}
	ck_assert_int_gt(good, 1000);
	ck_assert_int_gt(bad, 1000);
}
END_TEST

/* --- Print and load ------------------------------------------------------------------------------- */

static void put_number(struct text *t, int64_t min, int64_t max)
{
	char buf[32];

	snprintf(buf, sizeof buf, "%lld", (long long)(min + (int64_t)below(1u << 31) % (max - min + 1)));
	put(t, buf);
}

static void put_row(struct text *t, const struct conf_row *row)
{
	static const char *const listen[] = { "[]", "[\"127.0.0.1:0\"]", "[\"[::1]:6060\", \"unix:/a b\\u00e9\\\"\"]",
					      "[\"fd:x\", \"localhost:1\", \"10.0.0.1:65535\"]" };
	static const char *const dur[] = { "\"1ms\"",   "\"1.5s\"",          "\"90s\"",
					   "\"3600s\"", "\"59.999999999m\"", "\"1000001ns\"" };
	static const char *const size[] = { "0",          "262144",    "262145",     "\"256KiB\"",
					    "\"1.5MiB\"", "\"64GiB\"", "68719476735" };
	static const char *const strings[] = { "null", "\"/x\"", "\"\\\" \\\\ \\n \xc3\xa9\"" };
	unsigned n_words = 1;
	char buf[64];

	if (row->have) {
		put(t, row->have);
		return;
	}
	switch (row->type) {
	case CONF_T_BOOL:
		put(t, below(2) ? "true" : "false");
		break;
	case CONF_T_INT:
		if (row->zero && below(2))
			put(t, "\"auto\"");
		else
			put_number(t, row->min, row->max);
		break;
	case CONF_T_DUR:
		put(t, dur[below(6)]);
		break;
	case CONF_T_SIZE:
		put(t, size[below(7)]);
		break;
	case CONF_T_STRING:
		put(t, strings[below(3)]);
		break;
	case CONF_T_WORD:
	case CONF_T_SWITCH:
		while (row->words[n_words])
			n_words++;
		snprintf(buf, sizeof buf, "\"%s\"", row->words[below(n_words)]);
		put(t, buf);
		break;
	case CONF_T_STRINGS:
		put(t, row->check == conf_check_listen ? listen[below(4)] : "[\"a.b\", \"c\"]");
		break;
	default:
		put(t, row->def);
	}
}

static void put_instances(struct text *t)
{
	static const char *const rest[] = { "",
					    ",\"config\":null",
					    ",\"config\":{}",
					    ",\"preempt\":\"handoff\"",
					    ",\"preempt\":null",
					    ",\"stack\":\"1MiB\"" };
	char buf[128];

	put(t, ",\"instances\":[");
	for (unsigned i = 0, n = below(5); i < n; i++) {
		snprintf(buf, sizeof buf, "%s{\"name\":\"i%u\",\"plugin\":\"p%u.so\"%s", i ? "," : "", i, below(3),
			 rest[below(6)]);
		put(t, buf);
		if (!strchr(buf, 'f')) { /* neither config nor handoff */
			put(t, ",\"config\":{\"x\":");
			put_value(t, 2);
			put(t, "}");
		}
		put(t, "}");
	}
	put(t, "]");
}

/* Leave and enter objects until the one that the path's last key belongs to is open. */
static void put_objects(struct text *t, char *open, size_t cap, const char *path, bool *first)
{
	const char *dot;
	char key[64];

	while (strncmp(open, path, strlen(open)) != 0) {
		open[strlen(open) - 1] = '\0';
		dot = strrchr(open, '.');
		open[dot ? dot + 1 - open : 0] = '\0';
		put(t, "}");
		*first = false;
	}
	while ((dot = strchr(path + strlen(open), '.'))) {
		snprintf(key, sizeof key, "%s\"%.*s\":{", *first ? "" : ",", (int)(dot - path - strlen(open)),
			 path + strlen(open));
		put(t, key);
		snprintf(open, cap, "%.*s", (int)(dot + 1 - path), path);
		*first = true;
	}
}

/* Random values for a random choice of keys. */
static void put_config(struct text *t)
{
	char open[64] = ""; /* the objects that are open, "runtime.recorder." */
	bool first = true;

	put(t, "{");
	for (size_t i = 0; i < conf_schema_n; i++) {
		const struct conf_row *row = &conf_schema[i];
		const char *dot = strrchr(row->path, '.');
		bool remote = !strcmp(row->path, "http.allow_remote"); /* listen may need it */
		char key[128];

		if (!dot || strchr(row->path, '[') || (!remote && below(3)))
			continue;
		put_objects(t, open, sizeof open, row->path, &first);
		snprintf(key, sizeof key, "%s\"%s\":", first ? "" : ",", dot + 1);
		put(t, key);
		if (remote)
			put(t, "true");
		else
			put_row(t, row);
		first = false;
	}
	put_objects(t, open, sizeof open, "", &first);
	put_instances(t);
	put(t, "}");
}

static char *print(const struct conf *c)
{
	char *s = NULL;
	size_t len;
	FILE *f = open_memstream(&s, &len);

	ck_assert_int_eq(conf_print(c, f), 0);
	fclose(f);
	return s;
}

static bool same_string(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool same_node(const struct conf_node *a, const struct conf_node *b)
{
	if (!a || !b)
		return a == b;
	if (a->kind != b->kind || a->n != b->n || !same_string(a->key, b->key))
		return false;
	if (a->json && !json_equal(a->json, b->json))
		return false;
	a = a->first;
	b = b->first;
	for (; a && b; a = a->next, b = b->next)
		if (!same_node(a, b))
			return false;
	return a == b;
}

static void check_same_lists(const char **a, size_t n, const char **b, size_t m)
{
	ck_assert_uint_eq(n, m);
	for (size_t i = 0; i < n; i++)
		ck_assert_str_eq(a[i], b[i]);
}

static void check_same(const struct conf *a, const struct conf *b)
{
	check_same_lists(a->http.listen, a->http.n_listen, b->http.listen, b->http.n_listen);
	check_same_lists(a->http.allowed_hosts, a->http.n_allowed_hosts, b->http.allowed_hosts,
			 b->http.n_allowed_hosts);
	ck_assert(a->http.allow_remote == b->http.allow_remote);
	ck_assert_int_eq(a->http.max_profile_seconds, b->http.max_profile_seconds);
	ck_assert_int_eq(a->http.max_collections, b->http.max_collections);
	ck_assert(a->http.endpoints.pprof == b->http.endpoints.pprof);
	ck_assert(a->http.endpoints.metrics == b->http.endpoints.metrics);
	ck_assert(a->http.endpoints.cmdline == b->http.endpoints.cmdline);
	ck_assert(a->http.endpoints.symbol == b->http.endpoints.symbol);
	ck_assert(a->http.endpoints.dump == b->http.endpoints.dump);
	ck_assert(a->http.endpoints.trace == b->http.endpoints.trace);
	ck_assert(a->http.labels == b->http.labels);
	ck_assert_int_eq(a->runtime.maxprocs, b->runtime.maxprocs);
	ck_assert(a->runtime.maxprocs_floor == b->runtime.maxprocs_floor);
	ck_assert_int_eq(a->runtime.max_goroutines, b->runtime.max_goroutines);
	ck_assert_str_eq(a->runtime.preempt, b->runtime.preempt);
	ck_assert_str_eq(a->runtime.stack, b->runtime.stack);
	ck_assert_int_eq(a->runtime.handoff_max, b->runtime.handoff_max);
	ck_assert_int_eq(a->runtime.max_threads, b->runtime.max_threads);
	ck_assert_int_eq(a->runtime.init_timeout, b->runtime.init_timeout);
	ck_assert(a->runtime.traceback_full == b->runtime.traceback_full);
	ck_assert_int_eq(a->runtime.recorder_memory, b->runtime.recorder_memory);
	ck_assert_int_eq(a->profiles.cpu_hz, b->profiles.cpu_hz);
	ck_assert_int_eq(a->profiles.block_rate, b->profiles.block_rate);
	ck_assert_int_eq(a->profiles.mutex_fraction, b->profiles.mutex_fraction);
	ck_assert_int_eq(a->profiles.heap_rate, b->profiles.heap_rate);
	ck_assert(same_string(a->plugins.path, b->plugins.path));
	ck_assert_int_eq(a->plugins.max_builds, b->plugins.max_builds);
	ck_assert_int_eq(a->flight.cooldown, b->flight.cooldown);
	ck_assert_int_eq(a->flight.max_bytes, b->flight.max_bytes);
	ck_assert_int_eq(a->flight.on.stall, b->flight.on.stall);
	ck_assert(a->plugins.require_probes == b->plugins.require_probes);
	ck_assert_str_eq(a->log.level, b->log.level);
	ck_assert_int_eq(a->shutdown_timeout, b->shutdown_timeout);
	ck_assert_uint_eq(a->n_instances, b->n_instances);
	for (size_t i = 0; i < a->n_instances; i++) {
		const struct conf_instance *x = &a->instances[i], *y = &b->instances[i];

		ck_assert_str_eq(x->name, y->name);
		ck_assert_str_eq(x->plugin, y->plugin);
		ck_assert(same_string(x->preempt, y->preempt));
		ck_assert(same_string(x->stack, y->stack));
		ck_assert(same_node(x->config, y->config));
	}
}

START_TEST(printed_configuration_loads_to_the_same_and_prints_the_same)
{
	seed();
	for (int i = 0; i < 2000; i++) {
		static struct text t;
		struct conf *a = NULL, *b = NULL;
		struct conf_error err = { "" };
		char *once, *twice;

		t = (struct text){ .line = 1 };
		put_config(&t);
		ck_assert_msg(conf_parse(t.s, t.len, "f", &a, &err) == 0, "%s\n%s", err.text, t.s);
		once = print(a);
		ck_assert_msg(conf_parse(once, strlen(once), "f", &b, &err) == 0, "%s\n%s", err.text, once);
		check_same(a, b);
		twice = print(b);
		ck_assert_str_eq(once, twice);
		free(once);
		free(twice);
		conf_free(a);
		conf_free(b);
	}
}
END_TEST

Suite *test_conf_random(void);

Suite *test_conf_random(void)
{
	Suite *s = suite_create("conf_random");
	TCase *t = tcase_create("properties");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, every_key_and_value_knows_its_line);
	tcase_add_test(t, what_is_json_is_what_jansson_says);
	tcase_add_test(t, printed_configuration_loads_to_the_same_and_prints_the_same);
	suite_add_tcase(s, t);
	return s;
}
