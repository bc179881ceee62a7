/* test_plugin.c - what may be loaded and what is refused, and in which words.  The shared objects are
 * built by the tests themselves, with $CC or cc, in a folder that goes away with the test. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon.h"

Suite *test_plugin(void);

#define GOOD "#include <weft.h>\nstatic int run(void *s) { (void)s; return 0; }\n"
#define ENTRY "WEFT_PLUGIN(.name = \"t\", .run = run);\n"
#define OPTIONS "-shared -fPIC -Wl,-z,now -Wl,--build-id -Wl,-z,noexecstack"

static char folder[64], path[128], err[512];

static void make_folder(void)
{
	strcpy(folder, "/tmp/weft-plugin-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/t.so", folder);
}

static void remove_folder(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	ck_assert_int_eq(system(command), 0);
}

static void write_file(const char *name, const char *text, size_t n)
{
	char at[192];
	FILE *f;

	snprintf(at, sizeof at, "%s/%s", folder, name);
	f = fopen(at, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(text, 1, n, f), n);
	ck_assert_int_eq(fclose(f), 0);
}

/* source -> t.so */
static void build(const char *source, const char *options)
{
	const char *cc = getenv("CC");
	char command[1024], *root = realpath("runtime/include", NULL);

	ck_assert_msg(root != NULL, "run this from the top of the source tree");
	write_file("t.c", source, strlen(source));
	snprintf(command, sizeof command, "%s -g -o %s %s/t.c -I%s %s", cc && *cc ? cc : "cc", path, folder, root,
		 options);
	ck_assert_msg(system(command) == 0, "%s", command);
	free(root);
}

/* Both steps, as the loader does them. */
static int load(struct plugin **out)
{
	static struct plugin *kept; /* for good, as in weftd: not a leak */
	struct plugin_file file;
	int rc = plugin_examine(path, &file, err, sizeof err);

	if (rc == 0)
		rc = plugin_open(path, &file, &kept, err, sizeof err);
	if (rc == 0)
		*out = kept;
	return rc;
}

/* Refused, in a sentence that begins with the path and says this. */
static void refused(const char *saying)
{
	struct plugin *p = NULL;

	err[0] = 0;
	ck_assert_int_lt(load(&p), 0);
	ck_assert_ptr_null(p);
	ck_assert_msg(strncmp(err, path, strlen(path)) == 0 && strstr(err, saying), "\"%s\" does not say \"%s\"", err,
		      saying);
}

static void refused_before_it_is_mapped(const char *saying)
{
	struct plugin_file file;

	refused(saying);
	ck_assert_int_lt(plugin_examine(path, &file, err, sizeof err), 0);
}

START_TEST(a_good_plugin_is_loaded)
{
	struct plugin *p = NULL;

	build(GOOD ENTRY, OPTIONS);
	ck_assert_msg(load(&p) == 0, "%s", err);

	ck_assert_str_eq(p->entry.name, "t");
	ck_assert_int_eq(p->entry.run(NULL), 0);
	ck_assert_uint_gt(p->file.build_id_len, 0);
	ck_assert_str_eq(p->path, path);
}
END_TEST

START_TEST(a_plugin_may_call_weftd)
{
	struct plugin *p = NULL;

	build("#include <weft.h>\n"
	      "static int run(void *s) { (void)s; return weft_strerror(-ENOMEM)[0] == 'C'; }\n" ENTRY,
	      OPTIONS);
	ck_assert_msg(load(&p) == 0, "%s", err);
	ck_assert_int_eq(p->entry.run(NULL), 1); /* "Cannot allocate memory" */
}
END_TEST

START_TEST(a_plugin_with_a_shorter_entry_reads_as_zero_where_it_has_nothing)
{
	struct plugin *p = NULL;

	build(GOOD "static void fini(void *s) { (void)s; }\n"
		   "__attribute__((visibility(\"default\"))) const struct weft_plugin weft_plugin_entry = {\n"
		   ".abi = WEFT_ABI, .size = offsetof(struct weft_plugin, stop), .run = run, .fini = fini };\n",
	      OPTIONS);
	ck_assert_msg(load(&p) == 0, "%s", err);
	ck_assert_ptr_nonnull(p->entry.run);
	ck_assert_ptr_null(p->entry.fini);
}
END_TEST

START_TEST(a_missing_file_is_refused)
{
	refused_before_it_is_mapped("there is no such file");
}
END_TEST

START_TEST(a_folder_and_a_fifo_are_refused)
{
	ck_assert_int_eq(mkdir(path, 0700), 0);
	refused_before_it_is_mapped("not a regular file");
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(mkfifo(path, 0600), 0); /* and nobody waits for a writer */
	refused_before_it_is_mapped("not a regular file");
}
END_TEST

START_TEST(what_is_not_elf_is_refused)
{
	write_file("t.so", "#!/bin/sh\nexit 0\n", 17);
	refused_before_it_is_mapped("not an ELF file");
	write_file("t.so", "", 0);
	refused_before_it_is_mapped("not an ELF file");
	write_file("t.so", "\177ELF", 4);
	refused_before_it_is_mapped("not an ELF file");
}
END_TEST

/* Change `n` bytes of t.so. */
static void patch(off_t at, const void *bytes, size_t n)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, n, at), (ssize_t)n);
	close(fd);
}

START_TEST(another_machine_is_refused)
{
	unsigned char class32 = 1, other[2] = { 243, 0 }; /* RISC-V */

	build(GOOD ENTRY, OPTIONS);
	patch(18, other, 2);
	refused_before_it_is_mapped("another machine (64-bit, ELF machine 243)");
	patch(4, &class32, 1);
	refused_before_it_is_mapped("another machine (32-bit, ELF machine 243)");
}
END_TEST

START_TEST(programs_and_object_files_are_refused)
{
	build("int main(void) { return 0; }", "-no-pie -Wl,--build-id");
	refused_before_it_is_mapped("this is a program, not a shared object");
	build("int main(void) { return 0; }", "-pie -fPIE -Wl,--build-id");
	refused_before_it_is_mapped("this is a program, not a shared object");
	build("int x;", "-c");
	refused_before_it_is_mapped("this is an object file, not a shared object");
}
END_TEST

START_TEST(a_file_cut_short_is_refused)
{
	struct stat st;

	build(GOOD ENTRY, OPTIONS);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(truncate(path, 5000), 0);
	refused_before_it_is_mapped("cut short");
	ck_assert_int_eq(truncate(path, 100), 0);
	refused_before_it_is_mapped("program headers can't be read");
}
END_TEST

START_TEST(no_build_id_is_refused)
{
	build(GOOD ENTRY, "-shared -fPIC -Wl,--build-id=none -Wl,-z,noexecstack");
	refused_before_it_is_mapped("no build-id");
}
END_TEST

START_TEST(an_executable_stack_is_refused)
{
	build(GOOD ENTRY, "-shared -fPIC -Wl,--build-id -Wl,-z,execstack");
	refused_before_it_is_mapped("executable stack");
}
END_TEST

START_TEST(an_undefined_symbol_is_named)
{
	build("#include <weft.h>\nint weft_no_such_thing(void);\n"
	      "static int run(void *s) { (void)s; return weft_no_such_thing(); }\n" ENTRY,
	      OPTIONS);
	refused("needs the symbol weft_no_such_thing, which");
	ck_assert_ptr_nonnull(strstr(err, "newer weft.h"));
}
END_TEST

START_TEST(a_missing_library_is_refused_in_the_linkers_words)
{
	char options[512];

	build("int other(void) { return 1; }", "-shared -fPIC -Wl,-soname,libweft-absent.so");
	snprintf(options, sizeof options, "%s/libother.so", folder);
	ck_assert_int_eq(rename(path, options), 0);
	snprintf(options, sizeof options, OPTIONS " -L%s -lother", folder);
	build("#include <weft.h>\nint other(void);\nstatic int run(void *s) { (void)s; return other(); }\n" ENTRY,
	      options);
	refused("libweft-absent.so");
}
END_TEST

START_TEST(no_entry_is_refused)
{
	build("int x;", OPTIONS);
	refused("no weft_plugin_entry");
}
END_TEST

static void build_entry(const char *abi, const char *size, const char *run)
{
	char source[1024];

	snprintf(source, sizeof source,
		 GOOD "__attribute__((visibility(\"default\"))) const struct weft_plugin weft_plugin_entry = {\n"
		      ".abi = %s, .size = %s, .name = \"t\", .run = %s };\nvoid *keep = (void *)run;\n",
		 abi, size, run);
	build(source, OPTIONS);
}

START_TEST(another_abi_major_is_refused)
{
	build_entry("(WEFT_ABI_MAJOR + 1u) << 16 | WEFT_ABI_MINOR", "sizeof(struct weft_plugin)", "run");
	refused("ABI major 1; this weftd has 0");
}
END_TEST

START_TEST(a_newer_abi_minor_is_refused)
{
	build_entry("WEFT_ABI + 1", "sizeof(struct weft_plugin)", "run");
	refused("newer than this weftd's");
}
END_TEST

START_TEST(an_entry_too_short_for_run_is_refused)
{
	build_entry("WEFT_ABI", "8", "run");
	refused("says it has 8 bytes");
}
END_TEST

START_TEST(an_entry_of_senseless_size_is_refused)
{
	build_entry("WEFT_ABI", "1 << 20", "run");
	refused("says it has 1048576 bytes");
}
END_TEST

START_TEST(an_entry_without_run_is_refused)
{
	build_entry("WEFT_ABI", "sizeof(struct weft_plugin)", "NULL");
	refused("no run function");
}
END_TEST

START_TEST(no_mangled_file_crashes_the_examination)
{
	const char *seed_text = getenv("WEFT_SEED");
	unsigned seed = seed_text ? (unsigned)strtoul(seed_text, NULL, 0) : (unsigned)getpid() ^ (unsigned)now_ns();
	static unsigned char head[4096];
	int fd;

	printf("seed %u (WEFT_SEED)\n", seed);
	build(GOOD ENTRY, OPTIONS);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, head, sizeof head, 0), sizeof head);
	for (int round = 0; round < 3000; round++) {
		struct plugin_file file;
		unsigned char mangled[sizeof head];

		memcpy(mangled, head, sizeof head);
		for (int i = 0; i < 8; i++) /* mostly in the headers, where it hurts */
			mangled[rand_r(&seed) % (i < 6 ? 800 : sizeof head)] = (unsigned char)rand_r(&seed);
		ck_assert_int_eq(pwrite(fd, mangled, sizeof mangled, 0), sizeof mangled);
		err[0] = 0;
		ck_assert(plugin_examine(path, &file, err, sizeof err) == 0 || err[0] != 0);
	}
	close(fd);
}
END_TEST

START_TEST(a_name_with_a_slash_is_a_path)
{
	char out[256];

	ck_assert_int_eq(plugin_find("./x.so", "/somewhere", out, sizeof out), 0);
	ck_assert_str_eq(out, "./x.so");
	ck_assert_int_eq(plugin_find("/a/b.so", NULL, out, sizeof out), 0);
	ck_assert_str_eq(out, "/a/b.so");
}
END_TEST

START_TEST(a_bare_name_is_looked_for_in_the_plugin_folder)
{
	char out[256], tiny[8];

	ck_assert_int_eq(plugin_find("x.so", "/somewhere", out, sizeof out), 0);
	ck_assert_str_eq(out, "/somewhere/x.so");
	ck_assert_int_eq(plugin_find("x.so", NULL, out, sizeof out), 0);
	ck_assert_msg(strlen(out) > strlen("plugins/x.so") &&
			      !strcmp(out + strlen(out) - strlen("plugins/x.so"), "plugins/x.so"),
		      "%s", out);
	ck_assert_int_eq(plugin_find("x.so", "/somewhere", tiny, sizeof tiny), -ENAMETOOLONG);
}
END_TEST

Suite *test_plugin(void)
{
	Suite *s = suite_create("plugin");
	TCase *c = tcase_create("plugin");

	tcase_set_timeout(c, 120);
	tcase_add_checked_fixture(c, make_folder, remove_folder);
	tcase_add_test(c, a_good_plugin_is_loaded);
	tcase_add_test(c, a_plugin_may_call_weftd);
	tcase_add_test(c, a_plugin_with_a_shorter_entry_reads_as_zero_where_it_has_nothing);
	tcase_add_test(c, a_missing_file_is_refused);
	tcase_add_test(c, a_folder_and_a_fifo_are_refused);
	tcase_add_test(c, what_is_not_elf_is_refused);
	tcase_add_test(c, another_machine_is_refused);
	tcase_add_test(c, programs_and_object_files_are_refused);
	tcase_add_test(c, a_file_cut_short_is_refused);
	tcase_add_test(c, no_build_id_is_refused);
	tcase_add_test(c, an_executable_stack_is_refused);
	tcase_add_test(c, an_undefined_symbol_is_named);
	tcase_add_test(c, a_missing_library_is_refused_in_the_linkers_words);
	tcase_add_test(c, no_entry_is_refused);
	tcase_add_test(c, another_abi_major_is_refused);
	tcase_add_test(c, a_newer_abi_minor_is_refused);
	tcase_add_test(c, an_entry_too_short_for_run_is_refused);
	tcase_add_test(c, an_entry_of_senseless_size_is_refused);
	tcase_add_test(c, an_entry_without_run_is_refused);
	tcase_add_test(c, no_mangled_file_crashes_the_examination);
	tcase_add_test(c, a_name_with_a_slash_is_a_path);
	tcase_add_test(c, a_bare_name_is_looked_for_in_the_plugin_folder);
	suite_add_tcase(s, c);
	return s;
}
