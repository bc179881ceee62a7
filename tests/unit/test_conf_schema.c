/* test_conf_schema.c - the table of keys and its man page, and what values are made of: units, names,
 * addresses.  WEFT_UPDATE=1 writes the man page's part anew instead of comparing. */
#include "conf_impl.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAN "conf/weftd.json.5"

START_TEST(schema_rows_are_grouped_documented_and_have_a_default_or_are_required)
{
	for (size_t i = 0; i < conf_schema_n; i++) {
		const struct conf_row *row = &conf_schema[i];
		size_t len = strlen(row->help), group = strcspn(row->path, ".[");
		bool ended = false;

		ck_assert_msg(len > 10 && row->help[len - 1] == '.', "%s", row->path);
		ck_assert_msg(row->def || !strcmp(row->path, "instances[].name") ||
				      !strcmp(row->path, "instances[].plugin"),
			      "%s", row->path);
		for (size_t j = i + 1; j < conf_schema_n; j++) {
			const char *other = conf_schema[j].path;
			bool same = strcspn(other, ".[") == group && !strncmp(other, row->path, group);

			ck_assert_msg(strcmp(other, row->path) != 0, "%s stands twice", other);
			ck_assert_msg(!same || !ended, "%s stands apart", other);
			ended |= !same;
		}
	}
}
END_TEST

/* Where the two texts part, as a line of each. */
static void expect_same_lines(const char *got, const char *want)
{
	size_t same = 0, line = 0;

	while (got[same] && got[same] == want[same])
		if (got[same++] == '\n')
			line = same;
	ck_assert_msg(got[same] == want[same], "\"%.*s\" stands where the schema has \"%.*s\"",
		      (int)strcspn(got + line, "\n"), got + line, (int)strcspn(want + line, "\n"), want + line);
}

START_TEST(man_page_has_the_schema_s_table)
{
	static char man[1 << 16];
	static const char mark[] = ".\\\" keys\n";
	FILE *f = fopen(MAN, "re");
	char *table, *from, *to;
	size_t len;

	ck_assert_msg(f != NULL, MAN " (the tests run at the top of the tree)");
	len = fread(man, 1, sizeof man - 1, f);
	fclose(f);
	ck_assert_uint_lt(len, sizeof man - 1);
	from = strstr(man, mark);
	ck_assert_ptr_nonnull(from);
	from += strlen(mark);
	to = strstr(from, mark);
	ck_assert_ptr_nonnull(to);
	f = open_memstream(&table, &len);
	conf_print_schema_mdoc(f);
	fclose(f);
	if (getenv("WEFT_UPDATE")) {
		f = fopen(MAN, "we");
		fprintf(f, "%.*s%s%s", (int)(from - man), man, table, to);
		fclose(f);
	} else {
		*to = 0;
		expect_same_lines(from, table);
	}
	free(table);
}
END_TEST

/* --- Units and names ------------------------------------------------------------------------------------ */

START_TEST(durations_are_exact_or_refused)
{
	static const struct {
		const char *text;
		int64_t ns; /* -1: refused */
	} t[] = {
		{ "0s", 0 },
		{ "10ns", 10 },
		{ "500us", 500000 },
		{ "250ms", 250000000 },
		{ "1.5s", 1500000000 },
		{ "2m", INT64_C(120000000000) },
		{ "1h", INT64_C(3600000000000) },
		{ "0.000000001s", 1 },
		{ "2562047h", INT64_C(9223369200000000000) },
		{ "9223372036854775807ns", -1 }, /* 19 digits are too many to be exact everywhere */
		{ "2562048h", -1 },
		{ "0.0000000001s", -1 },
		{ "1.5ns", -1 },
		{ "", -1 },
		{ "s", -1 },
		{ "10", -1 },
		{ "10 s", -1 },
		{ " 10s", -1 },
		{ "10s ", -1 },
		{ "-1s", -1 },
		{ "+1s", -1 },
		{ "1.s", -1 },
		{ ".5s", -1 },
		{ "1.2.3s", -1 },
		{ "1e3s", -1 },
		{ "1S", -1 },
		{ "1d", -1 },
		{ "1h30m", -1 },
		{ "99999999999999999999999s", -1 },
	};

	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		int64_t ns = -1;

		ck_assert_msg(conf_parse_dur(t[i].text, &ns) == (t[i].ns < 0 ? -EINVAL : 0), "%s", t[i].text);
		ck_assert_msg(ns == t[i].ns, "%s: %lld", t[i].text, (long long)ns);
	}
}
END_TEST

START_TEST(durations_and_sizes_are_written_so_that_they_read_back)
{
	char buf[32];

	conf_format_dur(0, buf);
	ck_assert_str_eq(buf, "0s");
	conf_format_dur(INT64_C(90000000000), buf);
	ck_assert_str_eq(buf, "90s");
	conf_format_size(3 << 19, buf);
	ck_assert_str_eq(buf, "1536KiB");
	for (int64_t i = 0; i < 10000; i++) {
		static const int64_t unit[] = { 1, 1000, 1024, 1000000, 1 << 20, 1000000000, INT64_C(60000000000) };
		int64_t v = i * i % 99991 * unit[i % 7], back = -1;

		conf_format_dur(v, buf);
		ck_assert_msg(conf_parse_dur(buf, &back) == 0 && back == v, "%s", buf);
		conf_format_size(v, buf);
		if (strstr(buf, "iB"))
			ck_assert_msg(conf_parse_size(buf, &back) == 0 && back == v, "%s", buf);
		else
			ck_assert_msg(strtoll(buf, NULL, 10) == v, "%s", buf);
	}
}
END_TEST

START_TEST(names_are_similar_within_a_few_edits)
{
	ck_assert_uint_eq(conf_distance("", ""), 0);
	ck_assert_uint_eq(conf_distance("", "abc"), 3);
	ck_assert_uint_eq(conf_distance("kitten", "sitting"), 3);
	ck_assert_uint_eq(conf_distance("memroy", "memory"), 1);
	ck_assert_uint_eq(conf_distance("MaxProcs", "maxprocs"), 0);
	ck_assert(conf_similar("max_procs", "maxprocs"));
	ck_assert(conf_similar("instnaces", "instances"));
	ck_assert(!conf_similar("x", "http"));
	ck_assert(!conf_similar("ports", "log"));
}
END_TEST

START_TEST(addresses_of_this_machine_are_told_from_others)
{
	static const char *const here[] = { "127.0.0.1:1",      "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1",
					    "unix:/0.0.0.0:80", "fd:x",        "name:1" };
	static const char *const there[] = { "0.0.0.0:1", "10.0.0.1:1", "[::]:1", "[::ffff:10.0.0.1]:1",
					     "[fe80::1]:1" };

	for (size_t i = 0; i < sizeof here / sizeof here[0]; i++)
		ck_assert_msg(!conf_check_listen(here[i]) && !conf_listen_is_remote(here[i]), "%s", here[i]);
	for (size_t i = 0; i < sizeof there / sizeof there[0]; i++)
		ck_assert_msg(!conf_check_listen(there[i]) && conf_listen_is_remote(there[i]), "%s", there[i]);
}
END_TEST

Suite *test_conf_schema(void);

Suite *test_conf_schema(void)
{
	Suite *s = suite_create("conf_schema");
	TCase *t = tcase_create("schema");

	tcase_add_test(t, schema_rows_are_grouped_documented_and_have_a_default_or_are_required);
	tcase_add_test(t, man_page_has_the_schema_s_table);
	suite_add_tcase(s, t);
	t = tcase_create("values");
	tcase_add_test(t, durations_are_exact_or_refused);
	tcase_add_test(t, durations_and_sizes_are_written_so_that_they_read_back);
	tcase_add_test(t, names_are_similar_within_a_few_edits);
	tcase_add_test(t, addresses_of_this_machine_are_told_from_others);
	suite_add_tcase(s, t);
	return s;
}
