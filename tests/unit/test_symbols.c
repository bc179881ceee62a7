/* test_symbols.c - names of functions: this program's own, libraries', made-up ones, damaged files. */
#include <check.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sofile.h"
#include "symbols.h"
#include "symtab.h"
#include "weft_host.h"

/* Functions whose symbols are exactly known.  weft_ts_folded has unwind information, but no symbol. */
__asm__(".pushsection .text.weft_ts,\"ax\",@progbits\n"
	".type weft_ts_sized,@function\n"
	"weft_ts_sized: .skip 16,0x90\n"
	".size weft_ts_sized,8\n"

	".globl weft_ts_alias,__weft_ts_alias\n"
	".type weft_ts_alias,@function\n.type __weft_ts_alias,@function\n.type wtsa,@function\n"
	"weft_ts_alias: __weft_ts_alias: wtsa: .skip 16,0x90\n"
	".size weft_ts_alias,16\n.size __weft_ts_alias,16\n.size wtsa,16\n"

	".type weft_ts_long_name,@function\n.type weft_ts_name,@function\n"
	"weft_ts_long_name: weft_ts_name: .skip 16,0x90\n"
	".size weft_ts_long_name,16\n.size weft_ts_name,16\n"

	".type weft_ts_outer,@function\n.type weft_ts_inner,@function\n"
	"weft_ts_outer: .skip 8,0x90\n"
	"weft_ts_label: .skip 8,0x90\n"
	"weft_ts_inner: .skip 8,0x90\n"
	".size weft_ts_inner,8\n"
	".skip 8,0x90\n"
	".size weft_ts_outer,32\n"

	".type weft_ts_unsized,@function\n"
	"weft_ts_unsized: .skip 16,0x90\n"

	".type weft_ts_indirect,@gnu_indirect_function\n"
	"weft_ts_indirect: .Lindirect: .skip 16,0x90\n"
	".size weft_ts_indirect,16\n"

	".type weft_ts_impl,@function\n.type weft_ts_ind2,@gnu_indirect_function\n"
	"weft_ts_ind2: weft_ts_impl: .skip 16,0x90\n"
	".size weft_ts_ind2,16\n.size weft_ts_impl,16\n"

	".type weft_ts_end,@function\n"
	"weft_ts_end: nop\n.size weft_ts_end,1\n"
	".skip 15,0x90\n"
	".Lfolded: .cfi_startproc\n.skip 32,0x90\n.cfi_endproc\n"
	".popsection\n"
	".pushsection .data.rel.ro.weft_ts,\"aw\",@progbits\n"
	".balign 8\nweft_ts_folded: .quad .Lfolded\nweft_ts_resolver: .quad .Lindirect\n"
	".popsection\n");

extern const char weft_ts_sized[], weft_ts_alias[], weft_ts_name[], weft_ts_outer[], weft_ts_unsized[], weft_ts_impl[];
extern const char *const weft_ts_folded, *const weft_ts_resolver; /* by address: their names can't be used here */

static uint64_t at(const void *p, int offset)
{
	return (uint64_t)(uintptr_t)p + (uint64_t)offset;
}

static void setup(void)
{
	ck_assert_int_ge(weft_host_scan_modules(), 0);
	ck_assert_int_eq(symbols_update(), 0);
}

static void check_name(const void *p, int offset, const char *want, int from_start)
{
	struct symbol s = symbols_at(at(p, offset));

	ck_assert_str_eq(s.name, want);
	ck_assert(s.exact);
	ck_assert_uint_eq(s.start, at(p, offset - from_start));
	ck_assert_ptr_nonnull(s.module);
}

static __attribute__((noinline)) int only_here(int n)
{
	__asm__ volatile("" : "+r"(n));
	return n;
}

START_TEST(static_functions_have_names)
{
	ck_assert_int_eq(only_here(3), 3);
	check_name((const void *)(uintptr_t)&only_here, 1, "only_here", 1);
}
END_TEST

START_TEST(size_of_a_symbol_is_respected)
{
	struct symbol beyond = symbols_at(at(weft_ts_sized, 8));

	check_name(weft_ts_sized, 7, "weft_ts_sized", 7);
	ck_assert(!beyond.exact);
	ck_assert_ptr_nonnull(strstr(beyond.name, "+0x"));
}
END_TEST

START_TEST(global_name_without_underscores_wins)
{
	check_name(weft_ts_alias, 3, "weft_ts_alias", 3);
}
END_TEST

START_TEST(shorter_name_wins_among_equals)
{
	check_name(weft_ts_name, 0, "weft_ts_name", 0);
}
END_TEST

START_TEST(inner_function_does_not_hide_the_rest_of_the_outer)
{
	check_name(weft_ts_outer, 4, "weft_ts_outer", 4);
	check_name(weft_ts_outer, 20, "weft_ts_inner", 4);
	check_name(weft_ts_outer, 28, "weft_ts_outer", 28);
}
END_TEST

START_TEST(label_inside_a_function_is_not_a_function)
{
	check_name(weft_ts_outer, 10, "weft_ts_outer", 10);
}
END_TEST

START_TEST(unsized_function_reaches_to_the_next)
{
	check_name(weft_ts_unsized, 15, "weft_ts_unsized", 15);
}
END_TEST

START_TEST(resolver_of_an_indirect_function_has_its_name_unless_a_function_is_there)
{
	check_name(weft_ts_resolver, 2, "weft_ts_indirect", 2);
	check_name(weft_ts_impl, 2, "weft_ts_impl", 2);
}
END_TEST

START_TEST(library_function_is_named_from_dynamic_symbols)
{
	const void *p = dlsym(RTLD_DEFAULT, "getenv");
	struct symbol s = symbols_at(at(p, 2));

	ck_assert_str_eq(s.name, "getenv");
	ck_assert_ptr_nonnull(strstr(s.module->path, "libc.so"));
	ck_assert(!s.internal);
}
END_TEST

/* Between an object and the function of another that it calls: a jump that no symbol table lists. */
START_TEST(stub_has_the_name_of_what_it_calls)
{
	static uint64_t stub;
	uint64_t (*call)(void);
	char path[256];
	void *so;
	struct symbol s;

	/* A function's address in code that may not be relocated is that of its stub. */
	sofile_build(
		"#include <stdint.h>\n#include <stdlib.h>\n"
		"#if defined(__x86_64__)\n"
		"uint64_t where(void) { uint64_t p; __asm__(\"lea labs@plt(%%rip), %0\" : \"=r\"(p)); return p; }\n"
		"#else\n"
		"uint64_t where(void) { return 0; }\n"
		"#endif\n"
		"long use(long x) { return labs(x); }\n",
		"-O2 -fno-builtin -fplt", path, sizeof path);
	so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	ck_assert_msg(so != NULL, "%s", dlerror());
	*(void **)&call = dlsym(so, "where");
	stub = call();
	setup();
	sofile_remove(path);
	if (!stub) {
		printf("SKIP stub_has_the_name_of_what_it_calls: no way to ask for a stub's address here\n");
		return;
	}
	s = symbols_at(stub + 3);
	ck_assert_str_eq(s.name, "labs@plt");
	ck_assert_uint_eq(s.start, stub);
	ck_assert(s.exact);
}
END_TEST

START_TEST(vdso_functions_have_names)
{
	void *vdso = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
	const void *p = vdso ? dlsym(vdso, "__vdso_clock_gettime") : NULL;

	if (!p) {
		printf("SKIP vdso_functions_have_names: this kernel has no vDSO\n");
		return;
	}
	ck_assert_ptr_nonnull(strstr(symbols_at(at(p, 1)).name, "clock_gettime"));
}
END_TEST

START_TEST(function_without_symbol_folds_to_module_and_start)
{
	struct symbol a = symbols_at(at(weft_ts_folded, 3)), b = symbols_at(at(weft_ts_folded, 30));
	char want[64];

	snprintf(want, sizeof want, "+0x%llx", (unsigned long long)(at(weft_ts_folded, 0) - a.module->bias));
	ck_assert(!a.exact);
	ck_assert_uint_eq(a.start, at(weft_ts_folded, 0));
	ck_assert_ptr_eq(a.name, b.name);
	ck_assert_str_eq(strchr(a.name, '+'), want);
	ck_assert_ptr_null(strchr(a.name, '/'));
}
END_TEST

START_TEST(address_in_no_module_has_no_symbol)
{
	void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct symbol s = symbols_at(at(page, 8));
	char name[32] = "x";

	ck_assert_ptr_null(s.module);
	ck_assert_ptr_nonnull(s.name);
	ck_assert(!s.exact);
	ck_assert_uint_eq(symbols_name((uintptr_t)page, name, sizeof name), 0);
	ck_assert_str_eq(name, "");
}
END_TEST

START_TEST(dump_names_are_function_and_offset)
{
	char name[64], tiny[8];

	ck_assert_uint_eq(symbols_name(at(weft_ts_alias, 11), name, sizeof name), strlen("weft_ts_alias+0xb"));
	ck_assert_str_eq(name, "weft_ts_alias+0xb");
	ck_assert_uint_eq(symbols_name(at(weft_ts_alias, 11), tiny, sizeof tiny), sizeof tiny - 1);
	ck_assert_str_eq(tiny, "weft_ts");
	ck_assert_uint_eq(symbols_name(at(weft_ts_alias, 11), tiny, 0), 0);
}
END_TEST

static char name_in_handler[64];

static void on_signal(int sig, siginfo_t *si, void *uc)
{
	(void)sig;
	(void)si;
	(void)uc;
	symbols_name((uintptr_t)weft_ts_sized + 2, name_in_handler, sizeof name_in_handler);
}

START_TEST(names_are_there_in_a_crash_handler)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESETHAND };

	sigaction(SIGSEGV, &sa, NULL);
	raise(SIGSEGV);

	ck_assert_str_eq(name_in_handler, "weft_ts_sized+0x2");
}
END_TEST

START_TEST(update_adds_new_modules_and_keeps_old_names)
{
	const char *before = symbols_at(at(weft_ts_sized, 0)).name, *p;
	void *lib = dlopen("libresolv.so.2", RTLD_NOW | RTLD_LOCAL);

	ck_assert_msg(lib != NULL, "%s", dlerror());
	p = dlsym(lib, "ns_sprintrr");
	ck_assert_msg(p != NULL, "%s", dlerror());
	ck_assert_int_ge(weft_host_scan_modules(), 0);
	ck_assert(!symbols_at(at(p, 1)).exact);
	ck_assert_int_eq(symbols_update(), 0);

	ck_assert(symbols_at(at(p, 1)).exact);
	ck_assert_ptr_nonnull(strstr(symbols_at(at(p, 1)).name, "ns_sprintrr"));
	ck_assert_ptr_eq(symbols_at(at(weft_ts_sized, 0)).name, before);
}
END_TEST

/* --- files that are not what they say ---------------------------------------------------------- */

static int file_of(const void *p, size_t n)
{
	int fd = memfd_create("elf", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, p, n), (ssize_t)n);
	return fd;
}

static void check_table(const struct symtab *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		const struct sym *s = &t->sym[i];

		ck_assert(i == 0 || t->sym[i - 1].addr < s->addr);
		ck_assert(s->end >= s->addr && s->end <= 1 << 20);
		ck_assert(s->around == SYM_NONE || s->around < i);
		ck_assert_uint_gt(strlen(t->names + s->name), 0);
	}
}

/* How many functions the reader finds in these bytes; they must make sense. */
static uint32_t entries(const void *p, size_t n)
{
	struct weft_module m = { .path = "test", .limit = 1 << 20, .fd = file_of(p, n) };
	const struct symtab *t = NULL;
	uint32_t found;

	ck_assert_int_eq(symtab_read(&m, &t), 0);
	ck_assert_ptr_nonnull(t);
	check_table(t);
	found = t->n;
	symtab_free(t);
	close(m.fd);
	return found;
}

/* Small, and on every machine: the object that the kernel maps into every process. */
static size_t small_elf(char *copy, size_t cap)
{
	const char *vdso = (const char *)getauxval(AT_SYSINFO_EHDR);
	const struct weft_module *m = vdso ? weft_module_at(weft_read_modules(), (uint64_t)(uintptr_t)vdso) : NULL;
	size_t n = m ? (m->limit - (uint64_t)(uintptr_t)vdso + 4095) / 4096 * 4096 : 0;

	if (n > cap)
		n = 0;
	if (n)
		memcpy(copy, vdso, n);
	return n;
}

START_TEST(file_without_table_has_no_names)
{
	struct weft_module none = { .path = "gone", .limit = 4096, .fd = -1 };
	const struct symtab *t;

	ck_assert_uint_eq(entries("", 0), 0);
	ck_assert_uint_eq(entries("\177ELF", 4), 0);
	ck_assert_uint_eq(entries("#!/bin/sh\nexit 0\n", 17), 0);
	ck_assert_int_eq(symtab_read(&none, &t), 0);
	ck_assert_uint_eq(t->n, 0);
}
END_TEST

START_TEST(damaged_files_give_a_sane_table_or_none)
{
	static char whole[64 * 1024], broken[64 * 1024];
	const char *env = getenv("WEFT_SEED");
	unsigned seed = env ? (unsigned)strtoul(env, NULL, 0) : 7;
	size_t n = small_elf(whole, sizeof whole);

	if (n == 0) {
		printf("SKIP damaged_files_give_a_sane_table_or_none: this kernel has no vDSO\n");
		return;
	}
	printf("seed %u (WEFT_SEED=)\n", seed);
	ck_assert_uint_gt(entries(whole, n), 0);
	for (int round = 0; round < 3000; round++) {
		size_t len = round % 3 ? n : (size_t)rand_r(&seed) % n;

		memcpy(broken, whole, n);
		for (int i = rand_r(&seed) % 20; i >= 0; i--) {
			/* the header, the section headers near the end, or anywhere */
			size_t where = i % 3 == 0 ? 64 : i % 3 == 1 ? n : 1024;
			size_t pos =
				where == 1024 ? n - 1 - (size_t)rand_r(&seed) % 2048 : (size_t)rand_r(&seed) % where;

			broken[pos] = (char)(rand_r(&seed) % 4 ? rand_r(&seed) : 0xff);
		}
		entries(broken, len);
	}
}
END_TEST

Suite *test_symbols(void);
Suite *test_symbols(void)
{
	Suite *s = suite_create("symbols");
	TCase *t = tcase_create("symbols");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, static_functions_have_names);
	tcase_add_test(t, size_of_a_symbol_is_respected);
	tcase_add_test(t, global_name_without_underscores_wins);
	tcase_add_test(t, shorter_name_wins_among_equals);
	tcase_add_test(t, inner_function_does_not_hide_the_rest_of_the_outer);
	tcase_add_test(t, label_inside_a_function_is_not_a_function);
	tcase_add_test(t, unsized_function_reaches_to_the_next);
	tcase_add_test(t, resolver_of_an_indirect_function_has_its_name_unless_a_function_is_there);
	tcase_add_test(t, library_function_is_named_from_dynamic_symbols);
	tcase_add_test(t, stub_has_the_name_of_what_it_calls);
	tcase_add_test(t, vdso_functions_have_names);
	tcase_add_test(t, function_without_symbol_folds_to_module_and_start);
	tcase_add_test(t, address_in_no_module_has_no_symbol);
	tcase_add_test(t, dump_names_are_function_and_offset);
	tcase_add_test(t, names_are_there_in_a_crash_handler);
	tcase_add_test(t, update_adds_new_modules_and_keeps_old_names);
	tcase_add_test(t, file_without_table_has_no_names);
	tcase_add_test(t, damaged_files_give_a_sane_table_or_none);
	suite_add_tcase(s, t);
	return s;
}
