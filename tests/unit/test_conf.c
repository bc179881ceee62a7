/* test_conf.c - the configuration file: values, messages, files.
 *
 * Whole files and their lines are pairs in tests/golden/conf: NAME.json with NAME.out (what is in effect) or
 * NAME.err (the message).  Random files are test_conf_random.c's, a
 * plugin's own keys test_conf_get.c's.  Run from the top of the tree. */
#include "conf_impl.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weft.h>

#define GOLDEN "tests/golden/conf"

static struct conf *load(const char *text)
{
	struct conf_error err = { "" };
	struct conf *c = NULL;
	int rc = conf_parse(text, strlen(text), "f", &c, &err);

	ck_assert_msg(rc == 0, "%s: %s", text, err.text);
	return c;
}

static void expect(const char *text, size_t len, const char *message)
{
	struct conf_error err = { "" };
	struct conf *c = (struct conf *)&err;
	int rc = conf_parse(text, len, "f", &c, &err);

	ck_assert_msg(rc == -EINVAL, "accepted: %s", text);
	ck_assert_str_eq(err.text, message);
	ck_assert_ptr_eq(c, &err);
}

static char *read_file(const char *path)
{
	FILE *f = fopen(path, "re");
	char *s = calloc(1, 65536);

	ck_assert_msg(f != NULL, "%s (the tests run at the top of the tree)", path);
	ck_assert(fread(s, 1, 65535, f) < 65535);
	fclose(f);
	return s;
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

START_TEST(empty_object_is_all_defaults)
{
	struct conf *c = load("{}");

	ck_assert_uint_eq(c->http.n_listen, 2);
	ck_assert_str_eq(c->http.listen[0], "127.0.0.1:6060");
	ck_assert_str_eq(c->http.listen[1], "[::1]:6060");
	ck_assert_uint_eq(c->http.n_allowed_hosts, 0);
	ck_assert(!c->http.allow_remote);
	ck_assert_int_eq(c->http.max_profile_seconds, 3600);
	ck_assert_int_eq(c->http.max_collections, 8);
	ck_assert(c->http.endpoints.pprof && c->http.endpoints.metrics && c->http.endpoints.cmdline);
	ck_assert(c->http.endpoints.symbol && c->http.endpoints.dump && c->http.endpoints.trace);
	ck_assert(c->http.labels);
	ck_assert_int_eq(c->runtime.maxprocs, 0);
	ck_assert_int_eq(c->runtime.max_goroutines, 0);
	ck_assert_str_eq(c->runtime.preempt, "handoff");
	ck_assert_int_eq(c->runtime.handoff_max, 0);
	ck_assert_int_eq(c->runtime.init_timeout, 10 * WEFT_SEC);
	ck_assert(!c->runtime.traceback_full);
	ck_assert_int_eq(c->runtime.recorder_memory, 16 << 20);
	ck_assert_int_eq(c->profiles.cpu_hz, 100);
	ck_assert_int_eq(c->profiles.block_rate, 1000000);
	ck_assert_int_eq(c->profiles.mutex_fraction, -1);
	ck_assert_int_eq(c->profiles.heap_rate, 512 << 10);
	ck_assert_ptr_null(c->plugins.path);
	ck_assert_int_eq(c->plugins.max_builds, 16);
	ck_assert_ptr_null(c->flight.directory);
	ck_assert_int_eq(c->flight.seconds, 10 * INT64_C(1000000000));
	ck_assert_int_eq(c->flight.max_snapshots, 20);
	ck_assert_int_eq(c->flight.on.block, 0);
	ck_assert(c->flight.on.deadlock && c->flight.on.fatal);
	ck_assert(!c->plugins.require_probes);
	ck_assert_str_eq(c->log.level, "info");
	ck_assert_int_eq(c->shutdown_timeout, 30 * WEFT_SEC);
	ck_assert_uint_eq(c->n_instances, 0);
	conf_free(c);
}
END_TEST

START_TEST(minimal_example_loads_as_it_stands)
{
	struct conf_error err = { "" };
	struct conf *c = NULL;
	int64_t limit = 0;

	ck_assert_msg(conf_load("conf/examples/minimal.json", &c, &err) == 0, "%s", err.text);

	ck_assert_uint_eq(c->http.n_listen, 1);
	ck_assert_uint_eq(c->n_instances, 1);
	ck_assert_str_eq(c->instances[0].name, "primes");
	ck_assert_str_eq(c->instances[0].plugin, "primes.so");
	ck_assert_ptr_null(c->instances[0].preempt);
	ck_assert_int_eq(c->instances[0].line, 3);
	ck_assert_int_eq(conf_get_int(c->instances[0].config, "limit", 1, 1 << 20, &limit, &err), 1);
	ck_assert_int_eq(limit, 10000);
	conf_free(c);
}
END_TEST

START_TEST(shipped_sample_listens_on_loopback_and_names_the_bundled_plugins)
{
	static const char *const plugins[] = { "primes.so", "pipeline.so", "cpuburn.so", "leak.so", "gateway.so" };
	struct conf_error err = { "" };
	struct conf *c = NULL;

	ck_assert_msg(conf_load("conf/weftd.json", &c, &err) == 0, "%s", err.text);

	ck_assert_uint_eq(c->http.n_listen, 1);
	ck_assert_str_eq(c->http.listen[0], "127.0.0.1:6060");
	for (size_t i = 0; i < sizeof plugins / sizeof plugins[0]; i++) {
		size_t j = 0;

		while (j < c->n_instances && strcmp(c->instances[j].plugin, plugins[i]))
			j++;
		ck_assert_msg(j < c->n_instances, "%s", plugins[i]);
	}
	conf_free(c);
}
END_TEST

static void golden(const char *name)
{
	struct conf_error err = { "" };
	char path[512], *text, *want;
	struct conf *c = NULL;
	int rc;

	snprintf(path, sizeof path, GOLDEN "/%s.json", name);
	text = read_file(path);
	snprintf(path, sizeof path, "%s.json", name);
	rc = conf_parse(text, strlen(text), path, &c, &err);
	snprintf(path, sizeof path, GOLDEN "/%s.%s", name, rc ? "err" : "out");
	want = read_file(path);
	if (rc) {
		want[strcspn(want, "\n")] = 0;
		ck_assert_str_eq(err.text, want);
	} else {
		char *got = print(c);

		ck_assert_str_eq(got, want);
		free(got);
		conf_free(c);
	}
	free(text);
	free(want);
}

START_TEST(golden_files_give_their_output_or_message)
{
	struct dirent *e;
	DIR *d = opendir(GOLDEN);
	int n = 0;

	ck_assert_msg(d != NULL, GOLDEN " (the tests run at the top of the tree)");
	while ((e = readdir(d))) {
		char *dot = strstr(e->d_name, ".json");

		if (!dot)
			continue;
		*dot = 0;
		golden(e->d_name);
		n++;
	}
	closedir(d);
	ck_assert_int_ge(n, 10);
}
END_TEST

#define KEYS_TOP "http, runtime, profiles, plugins, flight, metrics, log, shutdown_timeout, instances"
#define LISTEN_FORM "\"HOST:PORT\", \"[IPV6]:PORT\", \"unix:PATH\" or \"fd:NAME\""
#define DUR_FORM ", such as \"1.5s\" (units h, m, s, ms, us, ns)"
#define SIZE_FORM "a size from 256KiB to 64GiB, as a number of bytes or such as \"16MiB\" (units KiB, MiB, GiB), or 0"
#define LISTEN(x) "{\"http\":{\"listen\":[\"" x "\"]}}"
#define RT(x) "{\"runtime\":{" x "}}"
#define INST(x) "{\"instances\":[{" x "}]}"

/* What stands in the file, and the whole message. */
static const struct {
	const char *text, *message;
} wrong[] = {
	/* keys */
	{ "{\"htp\":{}}", "f:1: htp: there is no such key; allowed here: " KEYS_TOP " (did you mean \"http\"?)" },
	{ "{\"zebra\":{}}", "f:1: zebra: there is no such key; allowed here: " KEYS_TOP },
	{ "{\"maxprocs\":1}", "f:1: maxprocs: there is no such key; allowed here: " KEYS_TOP
			      " (did you mean runtime.maxprocs? Every dot is an object inside an object)" },
	{ "{\"log.level\":1}", "f:1: [\"log.level\"]: there is no such key; allowed here: " KEYS_TOP
			       " (did you mean log.level? Every dot is an object inside an object)" },
	{ RT("\"recorder\":{\"memroy\":0}"),
	  "f:1: runtime.recorder.memroy: there is no such key; allowed here: memory (did you mean \"memory\"?)" },
	{ "{\"metrics\":{\"x\":1}}", "f:1: metrics.x: there is no such key; this version has no keys here" },
	{ "{\"a\\u0007\\\"\":1}", "f:1: [\"a\\u0007\\\"\"]: there is no such key; allowed here: " KEYS_TOP },
	{ "{\"log\":{},\n\"log\":{}}",
	  "f:2: log: this key stands twice in its object, in line 1 too; a key may stand once" },
	{ INST("\"name\":\"a\",\"plugin\":\"p\",\"nam\":1"), "f:1: instances[0].nam: there is no such key; allowed "
							     "here: name, plugin, config, preempt, stack (did you mean "
							     "\"name\"?)" },
	/* types and ranges */
	{ "[]", "f:1: top level: this is a list; allowed: an object, { ... }" },
	{ "{\"http\":null}", "f:1: http: this is null; allowed: an object" },
	{ "{\"metrics\":7}", "f:1: metrics: this is the number 7; allowed: an empty object" },
	{ RT("\"maxprocs\":0"),
	  "f:1: runtime.maxprocs: this is the number 0; allowed: a whole number from 1 to 256, or \"auto\"" },
	{ RT("\"maxprocs\":257"),
	  "f:1: runtime.maxprocs: this is the number 257; allowed: a whole number from 1 to 256, or \"auto\"" },
	{ RT("\"maxprocs\":\"4\""),
	  "f:1: runtime.maxprocs: this is the string \"4\"; allowed: a whole number from 1 to 256, or \"auto\"" },
	{ RT("\"maxprocs\":2.0"), "f:1: runtime.maxprocs: this is the number 2 (with a point or exponent); allowed: a "
				  "whole number from 1 to 256, or \"auto\"" },
	{ RT("\"maxprocs\":99999999999999999999"), "f:1: runtime.maxprocs: the number 99999999999999999999 is out of "
						   "range; allowed: -2^63 to 2^63-1, or with a point or exponent up to "
						   "1.79e308" },
	{ "{\"profiles\":{\"cpu_hz\":1001}}", "f:1: profiles.cpu_hz: this is the number 1001; allowed: a whole number "
					      "from 1 to 1000 (samples per second of CPU time)" },
	{ "{\"http\":{\"allow_remote\":1}}", "f:1: http.allow_remote: this is the number 1; allowed: true or false" },
	{ RT("\"traceback\":\"ful\""), "f:1: runtime.traceback: this is the string \"ful\"; allowed: \"short\" or "
				       "\"full\" (did you mean \"full\"?)" },
	{ RT("\"init_timeout\":10"),
	  "f:1: runtime.init_timeout: this is the number 10; allowed: a duration from 1ms to 1h" DUR_FORM },
	{ RT("\"init_timeout\":\"0s\""),
	  "f:1: runtime.init_timeout: this is the string \"0s\"; allowed: a duration from 1ms to 1h" DUR_FORM },
	{ "{\"shutdown_timeout\":\"-1s\"}",
	  "f:1: shutdown_timeout: this is the string \"-1s\"; allowed: a duration from 0s to 24h" DUR_FORM },
	{ RT("\"recorder\":{\"memory\":\"16MB\"}"),
	  "f:1: runtime.recorder.memory: this is the string \"16MB\"; allowed: " SIZE_FORM },
	{ RT("\"recorder\":{\"memory\":-1}"),
	  "f:1: runtime.recorder.memory: this is the number -1; allowed: " SIZE_FORM },
	{ "{\"plugins\":{\"path\":\"\"}}", "f:1: plugins.path: this is the string \"\", and it is empty; allowed: a "
					   "string of at most 4000 bytes: a folder, or null" },
	{ "{\"log\":{\"level\":null}}", "f:1: log.level: this is null; allowed: \"error\", \"warn\", \"notice\", "
					"\"info\" or \"debug\"" },
	/* not in this version */
	{ RT("\"handoff_max\":0"),
	  "f:1: runtime.handoff_max: this is the number 0; allowed: a whole number from 1 to 10000, or \"auto\"" },
	/* listen */
	{ "{\"http\":{\"listen\":\"127.0.0.1:6060\"}}",
	  "f:1: http.listen: this is the string \"127.0.0.1:6060\"; allowed: a list of at most 64 different "
	  "strings: " LISTEN_FORM },
	{ LISTEN("127.0.0.1"), "f:1: http.listen[0]: this is the string \"127.0.0.1\", and there is no HOST:PORT in "
			       "it; allowed: " LISTEN_FORM },
	{ LISTEN(":6060"),
	  "f:1: http.listen[0]: this is the string \":6060\", and there is no HOST:PORT in it; allowed: " LISTEN_FORM },
	{ LISTEN("localhost:65536"), "f:1: http.listen[0]: this is the string \"localhost:65536\", and the port is not "
				     "a number from 0 to 65535; allowed: " LISTEN_FORM },
	{ LISTEN("127.0.0.256:1"), "f:1: http.listen[0]: this is the string \"127.0.0.256:1\", and the host is not an "
				   "IPv4 address; allowed: " LISTEN_FORM },
	{ LISTEN("::1:6060"), "f:1: http.listen[0]: this is the string \"::1:6060\", and an IPv6 address stands "
			      "between [ and ]; allowed: " LISTEN_FORM },
	{ LISTEN("[x]:1"), "f:1: http.listen[0]: this is the string \"[x]:1\", and there is no IPv6 address between [ "
			   "and ]; allowed: " LISTEN_FORM },
	{ LISTEN("unix:"),
	  "f:1: http.listen[0]: this is the string \"unix:\", and the path after unix: does not begin with /; "
	  "allowed: " LISTEN_FORM },
	{ LISTEN("fd:a b"),
	  "f:1: http.listen[0]: this is the string \"fd:a b\", and after fd: there is no name of at most 255 "
	  "letters, digits, dots, _, - and @; allowed: " LISTEN_FORM },
	{ LISTEN("localhost:1\",\"localhost:1"),
	  "f:1: http.listen[1]: this is the string \"localhost:1\", and it stands in the list already; "
	  "allowed: " LISTEN_FORM },
	{ LISTEN("0.0.0.0:6060"),
	  "f:1: http.listen[0]: \"0.0.0.0:6060\" can be reached from other machines; allowed: "
	  "an address of this machine only, such as 127.0.0.1, or any with \"allow_remote\": true" },
	{ LISTEN("[::]:6060"), "f:1: http.listen[0]: \"[::]:6060\" can be reached from other machines; allowed: an "
			       "address of this machine only, such as 127.0.0.1, or any with \"allow_remote\": true" },
	{ "{\"http\":{\"allowed_hosts\":[\"http://x\"]}}",
	  "f:1: http.allowed_hosts[0]: this is the string \"http://x\", and a host name has letters, digits, dots and "
	  "hyphens only; allowed: a host name without port" },
	/* instances */
	{ "{\"instances\":{}}", "f:1: instances: this is an object; allowed: a list of at most 1000 objects" },
	{ "{\"instances\":[\"a\"]}",
	  "f:1: instances[0]: an instance is an object; allowed: { \"name\": ..., \"plugin\": ... }" },
	{ INST("\"name\":\"a\""),
	  "f:1: instances[0]: the key \"plugin\" is missing; an instance needs \"name\" and \"plugin\"" },
	{ INST("\"plugin\":\"a\""),
	  "f:1: instances[0]: the key \"name\" is missing; an instance needs \"name\" and \"plugin\"" },
	{ INST("\"plugin\":\"a\",\"name\":\"a b\""),
	  "f:1: instances[0].name: this is the string \"a b\", and it has other "
	  "characters; allowed: a string of at most 63 bytes: letters, digits, "
	  "dots, _ and -" },
	{ INST("\"plugin\":\"a\",\"name\":\"b\",\"config\":[]"),
	  "f:1: instances[0].config: this is a list; allowed: an object, or null" },
	/* not JSON */
	{ "", "f:1: top level: the file is empty; allowed: a JSON object, at least {}" },
	{ " \n\t\r\n", "f:1: top level: the file is empty; allowed: a JSON object, at least {}" },
	{ "\xef\xbb\xbf{}", "f:1: top level: the file begins with a byte order mark; allowed: UTF-8 without one, "
			    "starting with {" },
	{ "\xff\xfe{", "f:1: top level: the file is UTF-16; allowed: UTF-8" },
	{ "{} {}",
	  "f:1: top level: this is not JSON at line 1, column 4: \"{\" stands here; nothing may follow the end "
	  "of the top level" },
	{ "{\"log\":{}", "f:1: top level: this is not JSON at line 1, column 10: the file ends inside the object that "
			 "begins in line 1; its } is missing" },
	{ "{\"log\"",
	  "f:1: log: this is not JSON at line 1, column 7: a colon is expected between a key and its value" },
	{ "{\"log\":", "f:1: log: this is not JSON at line 1, column 8: the file ends where a value is expected" },
	{ "{\"log\":}", "f:1: log: this is not JSON at line 1, column 8: a value is expected here, before the }" },
	{ "{log:1}",
	  "f:1: top level: this is not JSON at line 1, column 2: \"log\" stands here; a key in double quotes, "
	  "or }, is expected" },
	{ "{'log':1}",
	  "f:1: top level: this is not JSON at line 1, column 2: \"'log'\": strings and keys stand in double "
	  "quotes" },
	{ "{\"log\":{} \"http\":{}}", "f:1: top level: this is not JSON at line 1, column 11: a comma or } is expected "
				      "here, in the object that begins in line 1" },
	{ "{\"log\":{\"level\":True}}",
	  "f:1: log.level: this is not JSON at line 1, column 17: \"True\" stands here; allowed: a string in double "
	  "quotes, a number, true, false, null, a list or an object" },
	{ "{\"log\":{\"level\":\"a\nb\"}}",
	  "f:1: log.level: this is not JSON at line 1, column 17: the string that begins "
	  "here is not closed on its line" },
	{ "{\"log\":{\"level\":\"\\q\"}}",
	  "f:1: log.level: this is not JSON at line 1, column 17: in this string: invalid escape; allowed after a "
	  "backslash: \" \\ / b f n r t, or u and four hex digits" },
	{ "{\"log\":{\"level\":\"\\u0000\"}}",
	  "f:1: log.level: a string here holds U+0000; allowed: any other character" },
	{ "{\"\\u0000\":1}", "f:1: top level: a string here holds U+0000; allowed: any other character" },
	{ "{\"log\":{\"level\":\"\xff\"}}",
	  "f:1: log.level: this is not JSON at line 1, column 17: in this string: unable "
	  "to decode byte 0xff; the file must be UTF-8" },
};

START_TEST(wrong_text_is_refused_with_this_message)
{
	expect(wrong[_i].text, strlen(wrong[_i].text), wrong[_i].message);
}
END_TEST

START_TEST(nul_bytes_in_the_file_are_refused)
{
	static const char raw[] = "{\"log\":{\"level\":\"a\0b\"}}", bare[] = "{\0}";

	expect(raw, sizeof raw - 1,
	       "f:1: log.level: this is not JSON at line 1, column 17: in this string: control "
	       "character 0x0; control characters are written \\n, \\t or \\u0001");
	expect(bare, sizeof bare - 1,
	       "f:1: top level: this is not JSON at line 1, column 2: \"\\u0000\" stands here; a key "
	       "in double quotes, or }, is expected");
}
END_TEST

/* {"instances":[{"name": 'a' x n, "plugin": 'p' x m}]} */
static int load_lengths(int n, int m, struct conf_error *err)
{
	char *text = NULL, *a = malloc((size_t)n + 1), *p = malloc((size_t)m + 1);
	struct conf *c = NULL;
	int rc;

	memset(a, 'a', (size_t)n);
	memset(p, 'p', (size_t)m);
	a[n] = p[m] = 0;
	ck_assert_int_gt(asprintf(&text, "{\"instances\":[{\"name\":\"%s\",\"plugin\":\"%s\"}]}", a, p), 0);
	rc = conf_parse(text, strlen(text), "f", &c, err);
	conf_free(c);
	free(text);
	free(a);
	free(p);
	return rc;
}

START_TEST(too_long_strings_are_refused_and_cut_in_the_message)
{
	struct conf_error err;

	ck_assert_int_eq(load_lengths(63, 4000, &err), 0);
	ck_assert_int_eq(load_lengths(64, 1, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "and it is too long; allowed: a string of at most 63 bytes"));
	ck_assert_int_eq(load_lengths(1, 4001, &err), -EINVAL);
	ck_assert_ptr_nonnull(
		strstr(err.text, "ppp...\", and it is too long; allowed: a string of at most 4000 bytes"));
}
END_TEST

START_TEST(nesting_ends_at_the_limit)
{
	char text[512] = "", *end = text;

	for (int i = 0; i < 200; i++)
		*end++ = '[';
	expect(text, 200,
	       "f:1: [0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]"
	       "[0][0]: objects and lists are nested too deeply; allowed: 32 levels");
}
END_TEST

START_TEST(long_names_never_overrun_a_message)
{
	char key[6001], text[6100], file[3000];
	struct conf_error err;
	struct conf *c = NULL;

	memset(key, 0, sizeof key);
	for (size_t i = 0; i + 2 < sizeof key; i += 2)
		memcpy(key + i, "\xc3\xa9", 2); /* two bytes each: a cut must not fall between them */
	memset(file, 'f', sizeof file);
	file[sizeof file - 1] = 0;
	snprintf(text, sizeof text, "{\"log\":{\"%s\":1}}", key);

	ck_assert_int_eq(conf_parse(text, strlen(text), file, &c, &err), -EINVAL);

	ck_assert_ptr_nonnull(strstr(err.text, "ff:1: log[\""));
	ck_assert_ptr_nonnull(strstr(err.text, "\xc3\xa9...\"]: there is no such key; allowed here: level"));
	ck_assert_ptr_null(json_loads(err.text, JSON_DECODE_ANY, NULL));
	ck_assert_uint_lt(strlen(err.text), sizeof err.text);
}
END_TEST

static void write_file(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
	close(fd);
}

static void expect_file(const char *path, int rc, const char *what)
{
	struct conf_error err = { "" };
	struct conf *c = NULL;

	ck_assert_int_eq(conf_load(path, &c, &err), rc);
	ck_assert_ptr_null(c);
	ck_assert_msg(!strncmp(err.text, path, strlen(path)) && strstr(err.text, what), "%s", err.text);
}

START_TEST(files_that_cannot_be_read_are_named_with_the_reason)
{
	char dir[] = "/tmp/weft-conf-XXXXXX", path[64];
	char *big = malloc(CONF_FILE_MAX + 1);

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/c.json", dir);
	expect_file(path, -ENOENT, "can't be opened: No such file or directory; allowed: ");
	expect_file(dir, -EISDIR, "can't be read: Is a directory; allowed: ");
	expect_file("/dev/null/c.json", -ENOTDIR, "can't be opened: Not a directory; allowed: ");
	write_file(path, "", 0);
	expect_file(path, -EINVAL, ":1: top level: the file is empty");
	memset(big, ' ', CONF_FILE_MAX + 1);
	write_file(path, big, CONF_FILE_MAX + 1);
	expect_file(path, -EFBIG,
		    "the configuration is too large: File too large; allowed: a readable JSON file of at most");
	write_file(path, big, CONF_FILE_MAX);
	expect_file(path, -EINVAL, ":1: top level: the file is empty");
	unlink(path);
	rmdir(dir);
	free(big);
}
END_TEST

Suite *test_conf(void);

Suite *test_conf(void)
{
	Suite *s = suite_create("conf");
	TCase *t = tcase_create("files");

	tcase_add_test(t, empty_object_is_all_defaults);
	tcase_add_test(t, minimal_example_loads_as_it_stands);
	tcase_add_test(t, shipped_sample_listens_on_loopback_and_names_the_bundled_plugins);
	tcase_add_test(t, golden_files_give_their_output_or_message);
	tcase_add_test(t, files_that_cannot_be_read_are_named_with_the_reason);
	suite_add_tcase(s, t);
	t = tcase_create("messages");
	tcase_add_loop_test(t, wrong_text_is_refused_with_this_message, 0, (int)(sizeof wrong / sizeof wrong[0]));
	tcase_add_test(t, nul_bytes_in_the_file_are_refused);
	tcase_add_test(t, too_long_strings_are_refused_and_cut_in_the_message);
	tcase_add_test(t, nesting_ends_at_the_limit);
	tcase_add_test(t, long_names_never_overrun_a_message);
	suite_add_tcase(s, t);
	return s;
}
