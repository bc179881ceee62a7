/* test_plugin_dump.c - what --dump-plugin reads from a file, by whatever means its pointers are relocated, and
 * that nothing of the plugin runs. */
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon.h"
#include "rtest.h"
#include "sofile.h"

Suite *test_plugin_dump(void);

#define SOURCE                                                                                                         \
	"#include <weft.h>\n#include <stdlib.h>\n"                                                                     \
	"static __attribute__((constructor)) void bomb(void) { abort(); }\n"                                           \
	"static int run(void *s) { (void)s; return 0; }\n"                                                             \
	"static void fini(void *s) { (void)s; }\n"                                                                     \
	"WEFT_PLUGIN(.name = \"bomb\", .version = \"2.3\", .about = \"goes\\toff\", .state_size = 4711, .run = run,\n" \
	"\t    .fini = fini);\n"
#define OPTIONS "-Wl,-z,now -Wl,--build-id -Wl,-z,noexecstack "

static char path[128], err[512], text[8192];

static void make_folder(void)
{
	sofile_folder(path, sizeof path);
}

static void remove_folder(void)
{
	sofile_remove(path);
}

/* False: the tools do not know the option. */
static bool build(const char *source, const char *options)
{
	char all[512], *root = realpath("runtime/include", NULL);

	ck_assert_msg(root != NULL, "run this from the top of the source tree");
	ck_assert_int_lt(snprintf(all, sizeof all, "%s -I%s", options, root), (int)sizeof all);
	free(root);
	return sofile_compile(source, all, path);
}

static int dump(void)
{
	FILE *f;
	int rc;

	memset(text, 0, sizeof text);
	f = fmemopen(text, sizeof text - 1, "w");
	ck_assert_ptr_nonnull(f);
	rc = plugin_dump(path, f, err, sizeof err);
	ck_assert_int_eq(fclose(f), 0);
	return rc;
}

static void says(const char *line)
{
	ck_assert_msg(strstr(text, line) != NULL, "\"%s\" is not in:\n%s", line, text);
}

static void says_all(void)
{
	ck_assert_msg(dump() == 0, "%s", err);
	says("name        bomb\n");
	says("version     2.3\n");
	says("about       goes?off\n");
	says("abi         0.1\n");
	says("state       4711 bytes\n");
	says("callbacks   run fini\n");
	says("build-id    ");
	says("probes      ");
}

START_TEST(everything_is_read_and_no_constructor_runs)
{
	ck_assert(build(SOURCE, OPTIONS));
	says_all();
}
END_TEST

START_TEST(a_stripped_one_says_the_same)
{
	ck_assert(build(SOURCE, OPTIONS "-s"));
	says_all();
}
END_TEST

START_TEST(the_old_hash_table_will_do)
{
	ck_assert(build(SOURCE, OPTIONS "-Wl,--hash-style=sysv"));
	says_all();
}
END_TEST

START_TEST(packed_relocations_are_understood)
{
	if (build(SOURCE, OPTIONS "-Wl,-z,pack-relative-relocs"))
		says_all();
}
END_TEST

START_TEST(a_callback_of_another_object_counts_as_present)
{
	ck_assert(build("#include <weft.h>\nint elsewhere(void *);\n"
			"WEFT_PLUGIN(.name = \"t\", .run = elsewhere);\n",
			OPTIONS));
	ck_assert_int_eq(dump(), 0);
	says("callbacks   run\n");
	says("version     -\n");
}
END_TEST

START_TEST(another_abi_is_shown_not_refused)
{
	ck_assert(build("#include <weft.h>\nstatic int run(void *s) { return !s; }\n"
			"__attribute__((visibility(\"default\"))) const struct weft_plugin weft_plugin_entry = {\n"
			".abi = 7u << 16 | 3, .size = offsetof(struct weft_plugin, stop), .run = run };\n",
			OPTIONS));
	ck_assert_int_eq(dump(), 0);
	says("abi         7.3 (another major");
	says("callbacks   run\n");
}
END_TEST

START_TEST(what_is_no_plugin_is_refused_with_its_path)
{
	ck_assert(build("int nothing;\n", OPTIONS));
	ck_assert_int_eq(dump(), -ENOEXEC);
	ck_assert_int_eq(strncmp(err, path, strlen(path)), 0);
	ck_assert_ptr_nonnull(strstr(err, "no weft_plugin_entry"));

	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_lt(dump(), 0);
	ck_assert_ptr_nonnull(strstr(err, "no such file"));
}
END_TEST

/* Every damaged byte is either refused or shown; neither crashes nor hangs (the sanitizers look on). */
START_TEST(a_damaged_file_is_survived)
{
	uint64_t seed = rtest_seed();
	struct stat st;
	int fd;

	ck_assert(build(SOURCE, OPTIONS "-s"));
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	for (int i = 0; i < rtest_scale(4000); i++) {
		/* half of them among the headers and tables at the file's start */
		off_t at = (off_t)(rtest_random(&seed) % (uint64_t)(i % 2 ? st.st_size : 0x600));
		unsigned char was, is = (unsigned char)rtest_random(&seed);

		ck_assert_int_eq(pread(fd, &was, 1, at), 1);
		ck_assert_int_eq(pwrite(fd, &is, 1, at), 1);
		(void)dump();
		if (i % 4)
			ck_assert_int_eq(pwrite(fd, &was, 1, at), 1);
	}
	ck_assert_int_eq(close(fd), 0);
}
END_TEST

Suite *test_plugin_dump(void)
{
	Suite *s = suite_create("plugin_dump");
	TCase *t = tcase_create("plugin_dump");

	tcase_add_checked_fixture(t, make_folder, remove_folder);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, everything_is_read_and_no_constructor_runs);
	tcase_add_test(t, a_stripped_one_says_the_same);
	tcase_add_test(t, the_old_hash_table_will_do);
	tcase_add_test(t, packed_relocations_are_understood);
	tcase_add_test(t, a_callback_of_another_object_counts_as_present);
	tcase_add_test(t, another_abi_is_shown_not_refused);
	tcase_add_test(t, what_is_no_plugin_is_refused_with_its_path);
	tcase_add_test(t, a_damaged_file_is_survived);
	suite_add_tcase(s, t);
	return s;
}
