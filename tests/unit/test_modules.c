/* test_modules.c - the table of what is mapped executable. */
#include <check.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "insn.h"
#include "rt.h"
#include "sofile.h"
#include "unwind_table.h"

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

static const struct weft_module *at(const void *p)
{
	return weft_module_at(weft_read_modules(), (uintptr_t)p);
}

static void *load(const char *path)
{
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	ck_assert_msg(lib != NULL, "%s", dlerror());
	return lib;
}

static void hex(const struct weft_module *m, char *out)
{
	*out = '\0';
	for (unsigned i = 0; i < m->build_id_len; i++)
		(void)snprintf(out + 2 * i, 3, "%02x", m->build_id[i]);
}

/* What readelf says about the file. */
static void build_id_of(const char *path, char *out, size_t cap)
{
	char cmd[400];
	FILE *p;

	(void)snprintf(cmd, sizeof cmd, "readelf -n '%s' 2>/dev/null | sed -n 's/.*Build ID: *//p'", path);
	p = popen(cmd, "r");
	ck_assert_ptr_nonnull(p);
	*out = '\0';
	(void)!fgets(out, (int)cap, p);
	(void)pclose(p);
	out[strcspn(out, "\n")] = '\0';
}

START_TEST(program_libc_and_vdso_are_found_by_address)
{
	struct stat here, want;
	const struct weft_module *m;

	ck_assert_int_eq(weft_host_scan_modules(), 0);

	m = at((void *)count_fds);
	ck_assert_ptr_nonnull(m);
	ck_assert(m->program && !m->plugin);
	ck_assert_int_eq(fstat(m->fd, &here), 0);
	ck_assert_int_eq(stat("/proc/self/exe", &want), 0);
	ck_assert(here.st_ino == want.st_ino && here.st_dev == want.st_dev);

	m = at(dlsym(RTLD_NEXT, "gnu_get_libc_version")); /* which no sanitizer wraps */
	ck_assert_ptr_nonnull(m);
	ck_assert_ptr_nonnull(strstr(m->path, "/libc.so"));
	ck_assert(!m->program && !m->plugin);
	ck_assert_uint_gt(m->build_id_len, 0);

	for (size_t i = 0; i < weft_read_modules()->n; i++)
		if (!strcmp(weft_read_modules()->m[i].path, "[vdso]"))
			return;
	ck_abort_msg("no [vdso]");
}
END_TEST

START_TEST(modules_are_sorted_and_as_the_kernel_mapped_them)
{
	const struct weft_modules *ms;
	char line[4500];
	FILE *f;

	ck_assert_int_eq(weft_host_scan_modules(), 0);
	ms = weft_read_modules();
	for (size_t i = 1; i < ms->n; i++)
		ck_assert_uint_le(ms->m[i - 1].limit, ms->m[i].start);

	f = fopen("/proc/self/maps", "r");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f)) {
		unsigned long lo, hi, off;
		char perm[5], path[4097];
		const struct weft_module *m;

		if (sscanf(line, "%lx-%lx %4s %lx %*s %*s %4096s", &lo, &hi, perm, &off, path) != 5 || perm[2] != 'x' ||
		    *path != '/')
			continue;
		m = weft_module_at(ms, lo);
		ck_assert_msg(m != NULL, "%s", line);
		ck_assert_str_eq(m->path, path);
		ck_assert_uint_eq(m->start, lo);
		ck_assert_uint_eq(m->limit, hi);
		ck_assert_uint_eq(m->offset, off);
	}
	(void)fclose(f);
	ck_assert_ptr_null(weft_module_at(ms, 0));
	ck_assert_ptr_null(weft_module_at(ms, UINT64_MAX));
	ck_assert_ptr_null(weft_module_at(ms, (uintptr_t)&ms));
}
END_TEST

START_TEST(loaded_object_is_a_plugin_with_the_build_id_of_its_file)
{
	char path[300], want[100], got[100];
	const struct weft_module *m;
	uint64_t generation;
	void *f;

	ck_assert_int_eq(weft_host_scan_modules(), 0);
	generation = weft_read_modules()->generation;
	sofile_build("int f(int x){return x+1;}\n", "-O2 -Wl,--build-id", path, sizeof path);
	f = dlsym(load(path), "f");
	ck_assert_ptr_null(at(f));

	ck_assert_int_eq(weft_host_scan_modules(), 0);

	m = at(f);
	ck_assert_ptr_nonnull(m);
	ck_assert(m->plugin && !m->program);
	ck_assert_str_eq(m->path, path);
	ck_assert_int_ge(m->fd, 0);
	ck_assert_uint_eq(weft_read_modules()->generation, generation + 1);
	hex(m, got);
	build_id_of(path, want, sizeof want);
	ck_assert_uint_gt(strlen(want), 10);
	ck_assert_str_eq(got, want);
	ck_assert_uint_eq(weft_read_func_start((uintptr_t)f + 1), (uintptr_t)f);
	sofile_remove(path);
}
END_TEST

START_TEST(file_stays_readable_after_it_was_deleted)
{
	char path[300], magic[4];
	const struct weft_module *m;
	void *f;

	sofile_build("int f(int x){return x+1;}\n", "-Wl,--build-id", path, sizeof path);
	f = dlsym(load(path), "f");
	ck_assert_int_eq(weft_host_scan_modules(), 0);

	sofile_remove(path);

	m = at(f);
	ck_assert_int_eq(pread(m->fd, magic, 4, 0), 4);
	ck_assert_mem_eq(magic, "\177ELF", 4);
	ck_assert_str_eq(m->path, path);
}
END_TEST

START_TEST(file_that_was_replaced_is_not_taken_for_the_object)
{
	char path[300], other[300];
	void *f;

	sofile_build("int f(int x){return x+1;}\n", "-Wl,--build-id", path, sizeof path);
	sofile_build("int f(int x){return x*3;}\n", "-Wl,--build-id", other, sizeof other);
	f = dlsym(load(path), "f");
	ck_assert_int_eq(rename(other, path), 0);

	ck_assert_int_eq(weft_host_scan_modules(), 0);

	ck_assert_ptr_nonnull(at(f));
	ck_assert_int_eq(at(f)->fd, -1);
	sofile_remove(path);
	sofile_remove(other);
}
END_TEST

START_TEST(nothing_new_changes_nothing)
{
	const struct weft_modules *before;
	int fds;

	ck_assert_int_eq(weft_host_scan_modules(), 0);
	before = weft_read_modules();
	fds = count_fds();

	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(weft_host_scan_modules(), 0);

	ck_assert_ptr_eq(weft_read_modules(), before);
	ck_assert_int_eq(count_fds(), fds);
}
END_TEST

START_TEST(object_that_comes_and_goes_keeps_its_table_and_its_file)
{
	char path[300];
	const struct rt_table *table = NULL;
	int fds = 0;

	ck_assert_int_eq(weft_host_scan_modules(), 0);
	sofile_build("int f(int x){return x+1;}\n", "-Wl,--build-id", path, sizeof path);
	for (int i = 0; i < 20; i++) {
		void *lib = load(path), *f = dlsym(lib, "f");
		const struct rt_seg *seg = NULL;

		ck_assert_int_eq(weft_host_scan_modules(), 0);
		ck_assert_ptr_nonnull(rt_row_at(ld_acq(&rt_modules), &seg, (uintptr_t)f));
		if (i == 0) {
			table = seg->table;
			fds = count_fds();
		}
		ck_assert_ptr_eq(seg->table, table);
		ck_assert_int_eq(count_fds(), fds);
		ck_assert_int_eq(dlclose(lib), 0);
		ck_assert_int_eq(weft_host_scan_modules(), 0);
		ck_assert_ptr_null(at(f));
	}
	sofile_remove(path);
}
END_TEST

START_TEST(object_without_unwind_information_is_counted)
{
	char path[300];
	struct weft_counters before, after;
	void *f;

	ck_assert_int_eq(weft_host_scan_modules(), 0);
	rt_unwind_counters(&before);
	sofile_build("__asm__(\".globl f\\nf: ret\");\n",
		     "-nostdlib -fno-asynchronous-unwind-tables -Wl,--no-eh-frame-hdr " INSN_NO_UNWIND, path,
		     sizeof path);
	f = dlsym(load(path), "f");

	ck_assert_int_eq(weft_host_scan_modules(), 0);

	rt_unwind_counters(&after);
	ck_assert_uint_eq(after.unwind_modules, before.unwind_modules + 1);
	ck_assert_uint_eq(after.unwind_failed, before.unwind_failed + 1);
	ck_assert_uint_eq(after.unwind_rows, before.unwind_rows);
	ck_assert_ptr_nonnull(at(f));
	ck_assert_uint_eq(weft_read_func_start((uintptr_t)f), 0);
	sofile_remove(path);
}
END_TEST

Suite *test_modules(void);
Suite *test_modules(void)
{
	Suite *s = suite_create("modules");
	TCase *tc = tcase_create("modules");

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, modules_are_sorted_and_as_the_kernel_mapped_them);
	tcase_add_test(tc, loaded_object_is_a_plugin_with_the_build_id_of_its_file);
	tcase_add_test(tc, file_stays_readable_after_it_was_deleted);
	tcase_add_test(tc, file_that_was_replaced_is_not_taken_for_the_object);
	tcase_add_test(tc, nothing_new_changes_nothing);
	tcase_add_test(tc, object_that_comes_and_goes_keeps_its_table_and_its_file);
	tcase_add_test(tc, object_without_unwind_information_is_counted);
	suite_add_tcase(s, tc);
	tc = tcase_create("vdso");
	tcase_set_timeout(tc, 30);
	tcase_set_tags(tc, "vdso");
	tcase_add_test(tc, program_libc_and_vdso_are_found_by_address);
	suite_add_tcase(s, tc);
	return s;
}
