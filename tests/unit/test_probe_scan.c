/* test_probe_scan.c - which code is known to step over a guard page, in shared objects that the tests build for
 * themselves. */
#include "probe_scan.h"

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sofile.h"

Suite *test_probe_scan(void);

static char path[128];
static struct probe_found found;

static void make_folder(void)
{
	sofile_folder(path, sizeof path);
}

static void remove_folder(void)
{
	sofile_remove(path);
}

START_TEST(what_is_no_object_or_not_there_is_an_error)
{
	FILE *f;

	found.functions = 77;
	ck_assert_int_eq(probe_scan(path, &found), -ENOENT);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(
		fputs("just text, but longer than the head of an ELF file would have been, so that it is read", f), 0);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(probe_scan(path, &found), -ENOEXEC);
	ck_assert_uint_eq(found.functions, 77);
}
END_TEST

#if defined(__x86_64__)

/* Compile it, and scan that. */
static void scan(const char *source, const char *options)
{
	ck_assert_msg(sofile_compile(source, options, path), "the compiler refuses, with %s:\n%s", options, source);
	ck_assert_int_eq(probe_scan(path, &found), 0);
}

#define DEEP                                                                                                           \
	"void use(char *);\n"                                                                                          \
	"__attribute__((visibility(\"default\"))) int deep(int n) { char a[70000]; if (n < 0) return n; use(a); "      \
	"return a[n]; }\n"
#define SHALLOW "int shallow(int n) { char a[4000]; use(a); return a[n]; }\n"

START_TEST(a_frame_above_a_page_without_the_flag_is_found_and_named)
{
	static const char *const levels[] = { "-O0 -fno-stack-clash-protection", "-O2 -fno-stack-clash-protection",
					      "-O2 -fno-omit-frame-pointer -fno-stack-clash-protection",
					      "-Os -fno-stack-clash-protection" };

	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
		scan(DEEP SHALLOW, levels[i]);
		ck_assert_uint_eq(found.functions, 1);
		ck_assert_str_eq(found.function, "deep");
		ck_assert_uint_ge(found.frame, 70000);
		ck_assert_uint_lt(found.frame, 71000);
	}
}
END_TEST

START_TEST(with_the_flag_nothing_is_found)
{
	static const char *const levels[] = { "-O0 -fstack-clash-protection", "-O2 -fstack-clash-protection",
					      "-O3 -fno-omit-frame-pointer -fstack-clash-protection",
					      "-Os -fstack-clash-protection" };

	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
		scan(DEEP SHALLOW, levels[i]);
		ck_assert_uint_eq(found.functions, 0);
	}
}
END_TEST

START_TEST(functions_are_counted_once_and_the_largest_is_named)
{
	scan("void use(char *);\n"
	     "int less(int n) { char a[5000]; use(a); return a[n]; }\n"
	     "int most(int n) { char a[9000]; use(a); return a[n]; }\n"
	     "int also(int n) { char a[6000]; use(a); return a[n]; }\n"
	     "__asm__(\".text\\n.type twice,@function\\ntwice: sub $0x2000,%rsp\\nsub $0x2000,%rsp\\nret\\n"
	     ".size twice,.-twice\\n\");",
	     "-O2 -fno-stack-clash-protection");
	ck_assert_uint_eq(found.functions, 4);
	ck_assert_str_eq(found.function, "most");
}
END_TEST

START_TEST(a_stripped_object_still_gives_an_address)
{
	scan(DEEP, "-O2 -fno-stack-clash-protection -fvisibility=hidden -s");
	ck_assert_uint_eq(found.functions, 1);
	ck_assert_str_eq(found.function, "deep"); /* from the dynamic symbols */
	scan("void use(char *);\nstatic __attribute__((noinline)) int inner(int n) { char a[70000]; use(a); return "
	     "a[n]; }\n"
	     "int outer(int n) { return inner(n) + 1; }\n",
	     "-O2 -fno-stack-clash-protection -s");
	ck_assert_uint_eq(found.functions, 1);
	ck_assert_str_eq(found.function, "");
	ck_assert_uint_gt(found.address, 0);
}
END_TEST

/* One instruction between two others; how many functions were found. */
static size_t code(const char *bytes)
{
	char source[512];

	snprintf(source, sizeof source,
		 "__asm__(\".text\\n.type f,@function\\nf: nop\\n.byte %s\\nret\\n.size f,.-f\\n\");", bytes);
	scan(source, "");
	return found.functions;
}

START_TEST(only_a_whole_step_beyond_the_page_counts)
{
	ck_assert_uint_eq(code("0x48,0x81,0xec,0x00,0x10,0x00,0x00"), 0); /* 0x1000: the flag's own step */
	ck_assert_uint_eq(code("0x48,0x81,0xec,0x08,0x10,0x00,0x00"), 1);
	ck_assert_uint_eq(found.frame, 0x1008);
	ck_assert_uint_eq(code("0x48,0x81,0xec,0xf8,0xff,0xff,0x7f"), 1);
	ck_assert_uint_eq(code("0x48,0x81,0xec,0x09,0x10,0x00,0x00"), 0); /* no frame has that size */
	ck_assert_uint_eq(code("0x48,0x81,0xec,0x00,0x00,0x00,0x80"), 0); /* adds */
	ck_assert_uint_eq(code("0x48,0x81,0xeb,0x00,0x20,0x00,0x00"), 0); /* another register */
	ck_assert_uint_eq(code("0x48,0x81,0xc4,0x00,0x20,0x00,0x00"), 0); /* gives a frame back */
}
END_TEST

START_TEST(an_instruction_is_found_wherever_it_lies_in_the_file)
{
	char source[512];

	/* Around the borders of the pieces that are read at once. */
	for (int i = 0; i < 28; i++) {
		snprintf(source, sizeof source,
			 "__asm__(\".text\\n.balign 4096\\n.type f,@function\\nf: .skip %d,0x90\\nsub "
			 "$0x2000,%%rsp\\nret\\n"
			 ".skip %d,0x90\\n.size f,.-f\\n\");",
			 65536 * (1 + i % 2) - 18 + i, i + 1);
		scan(source, "-nostdlib -Wl,-z,noseparate-code");
		ck_assert_msg(found.functions == 1 && !strcmp(found.function, "f"), "%d", i);
	}
}
END_TEST

/* A word at a place of the file's head. */
static void overwrite(long at, unsigned value)
{
	FILE *f = fopen(path, "r+");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fseek(f, at, SEEK_SET), 0);
	ck_assert_int_ne(fputc((int)(value & 0xff), f), EOF);
	ck_assert_int_ne(fputc((int)(value >> 8), f), EOF);
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(without_a_section_table_the_segments_are_read)
{
	scan(DEEP, "-O2 -fno-stack-clash-protection");
	overwrite(60, 0); /* e_shnum */

	ck_assert_int_eq(probe_scan(path, &found), 0);

	ck_assert_uint_eq(found.functions, 1);
	ck_assert_str_eq(found.function, "");
}
END_TEST

START_TEST(files_cut_anywhere_are_errors_or_scanned_and_never_worse)
{
	char out[PATH_MAX + 512];
	long size;
	FILE *f;

	scan(DEEP, "-O2 -g -fno-stack-clash-protection");
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
	size = ftell(f);
	ck_assert_int_eq(fclose(f), 0);
	for (; size >= 0; size -= 97) {
		int rc;

		ck_assert_int_eq(truncate(path, size), 0);
		rc = probe_sentence(path, out, sizeof out);
		ck_assert_msg(rc == 0 || rc == 1 || rc == -ENOEXEC, "%ld bytes: %d", size, rc);
	}
}
END_TEST

START_TEST(the_sentence_names_file_function_size_and_flag)
{
	char out[PATH_MAX + 512], err[512] = "";

	scan(DEEP, "-O2 -fno-stack-clash-protection");
	ck_assert_int_eq(probe_sentence(path, out, sizeof out), 1);
	ck_assert_ptr_nonnull(strstr(out, path));
	ck_assert_ptr_nonnull(strstr(out, "function deep"));
	ck_assert_ptr_nonnull(strstr(out, " 70"));
	ck_assert_ptr_nonnull(strstr(out, "-fstack-clash-protection"));
	ck_assert_int_eq(probe_check(path, true, err, sizeof err), -ENOEXEC);
	ck_assert_ptr_nonnull(strstr(err, "plugins.require_probes"));
	scan(DEEP, "-O2 -fstack-clash-protection");
	ck_assert_int_eq(probe_sentence(path, out, sizeof out), 0);
	ck_assert_int_eq(probe_check(path, true, err, sizeof err), 0);
}
END_TEST

#endif

Suite *test_probe_scan(void)
{
	Suite *s = suite_create("probe_scan");
	TCase *t = tcase_create("files");

	tcase_add_checked_fixture(t, make_folder, remove_folder);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, what_is_no_object_or_not_there_is_an_error);
#if defined(__x86_64__)
	tcase_add_test(t, a_frame_above_a_page_without_the_flag_is_found_and_named);
	tcase_add_test(t, with_the_flag_nothing_is_found);
	tcase_add_test(t, functions_are_counted_once_and_the_largest_is_named);
	tcase_add_test(t, a_stripped_object_still_gives_an_address);
	tcase_add_test(t, only_a_whole_step_beyond_the_page_counts);
	tcase_add_test(t, an_instruction_is_found_wherever_it_lies_in_the_file);
	tcase_add_test(t, without_a_section_table_the_segments_are_read);
	tcase_add_test(t, files_cut_anywhere_are_errors_or_scanned_and_never_worse);
	tcase_add_test(t, the_sentence_names_file_function_size_and_flag);
#endif
	suite_add_tcase(s, t);
	return s;
}
