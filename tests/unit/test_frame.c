/* test_frame.c - lines and inlined functions from debug information: of objects that the tests build, load
 * and are called back from, so that the address of a call with known lines is at hand. */
#include <check.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frame.h"
#include "pprof.h"
#include "pprof_check.h"
#include "sofile.h"
#include "text.h"
#include "weft_host.h"

static const char nested[] = "typedef void fn(void);\n"
			     "static inline __attribute__((always_inline)) void inner(fn *f)\n"
			     "{ f(); __asm__ volatile(\"\"); }\n"
			     "static inline __attribute__((always_inline)) void middle(fn *f)\n"
			     "{\n"
			     "	inner(f);\n"
			     "}\n"
			     "__attribute__((noinline)) void outer(fn *f)\n"
			     "{\n"
			     "	__asm__ volatile(\"\");\n"
			     "	middle(f);\n"
			     "	__asm__ volatile(\"\");\n"
			     "}\n";

static char path[256];
static uint64_t call; /* in the object, to here() */

static __attribute__((noinline)) void here(void)
{
	call = (uint64_t)(uintptr_t)__builtin_return_address(0) - 1;
}

/* Build, load, and call a function that calls back. */
static void load(const char *source, const char *flags, const char *function)
{
	void *so;
	void (*f)(void (*)(void));

	sofile_build(source, flags, path, sizeof path);
	so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	ck_assert_msg(so != NULL, "%s", dlerror());
	*(void **)&f = dlsym(so, function);
	ck_assert_ptr_nonnull(f);
	f(here);
	ck_assert_int_ge(weft_host_scan_modules(), 0);
}

static void check_frame(const struct frame *f, const char *name, int line, int start_line)
{
	ck_assert_str_eq(f->name, name);
	ck_assert_int_eq(f->line, line);
	ck_assert_int_eq(f->start_line, start_line);
	ck_assert(f->exact && f->named && f->inlines);
	ck_assert_int_eq(f->file[0], '/');
	ck_assert_str_eq(strrchr(f->file, '/'), "/x.c");
}

static void check_nested(struct frames v)
{
	ck_assert_int_eq(v.n, 3);
	check_frame(&v.f[0], "inner", 3, 2);
	check_frame(&v.f[1], "middle", 6, 4);
	check_frame(&v.f[2], "outer", 11, 8);
	ck_assert(v.f[0].inlined && v.f[1].inlined && !v.f[2].inlined);
	ck_assert_str_eq(v.f[2].system, "outer");
	ck_assert_uint_gt(v.f[2].entry, 0);
}

/* --- Lines and inlined functions -------------------------------------------------------------------- */

static const char *const forms[] = { "-O2", "-O2 -gdwarf-4", "-O2 -gz", "-O2 -fno-dwarf2-cfi-asm -gno-as-loc-support",
				     "-O2 -ffunction-sections" };

START_TEST(inlined_functions_are_frames_innermost_first)
{
	load(nested, forms[_i], "outer");
	check_nested(frames_at(call));
	sofile_remove(path);
}
END_TEST

START_TEST(clang_says_the_same)
{
	if (system("clang --version >/dev/null 2>&1") != 0) {
		printf("SKIP clang_says_the_same: no clang\n");
		return;
	}
	setenv("CC", "clang", 1);
	load(nested, "-O2", "outer");
	check_nested(frames_at(call));
	sofile_remove(path);
}
END_TEST

START_TEST(deleted_file_still_has_lines)
{
	load(nested, "-O2", "outer");
	sofile_remove(path);
	check_nested(frames_at(call));
}
END_TEST

START_TEST(replaced_file_still_has_its_own_lines)
{
	char other[256];

	load(nested, "-O2", "outer");
	sofile_build("\n\n\n\n\nvoid outer(void)\n{\n}\n", "-O2", other, sizeof other);
	ck_assert_int_eq(rename(other, path), 0);
	check_nested(frames_at(call));
	sofile_remove(path);
	sofile_remove(other);
}
END_TEST

static const char *const no_debug[] = { "-O2 -g0", "-O2 -s" };

START_TEST(without_debug_information_there_is_the_name_alone)
{
	struct frames v;

	load(nested, no_debug[_i], "outer");
	v = frames_at(call);
	ck_assert_int_eq(v.n, 1);
	ck_assert_str_eq(v.f->name, "outer");
	ck_assert(v.f->exact && !v.f->inlines);
	ck_assert_str_eq(v.f->file, "");
	ck_assert_int_eq(v.f->line, 0);
	sofile_remove(path);
}
END_TEST

START_TEST(clone_is_shown_as_the_function_it_is_of)
{
	struct frame f;

	load("typedef void fn(void);\n"
	     "static __attribute__((noinline)) void work(fn *f, int n)\n"
	     "{ while (n-- > 0) { f(); __asm__ volatile(\"\"); } }\n"
	     "void run(fn *f) { work(f, 2); __asm__ volatile(\"\"); }\n",
	     "-O2", "run");
	f = frame_at(call);
	ck_assert_str_eq(f.name, "work");
	ck_assert_int_eq(strncmp(f.system, "work", 4), 0);
	sofile_remove(path);
}
END_TEST

/* --- C++ ---------------------------------------------------------------------------------------------- */

static const char cpp[] =
	"typedef void fn();\n"
	"namespace ns {\n"
	"template <class T> struct box {\n"
	"	__attribute__((noinline)) void call(fn *f) { f(); asm volatile(\"\"); }\n"
	"	__attribute__((noinline)) bool operator<(fn *f) { f(); asm volatile(\"\"); return true; }\n"
	"};\n"
	"namespace { struct hidden { void f(fn *f); };\n"
	"__attribute__((noinline)) void hidden::f(fn *f) { f(); asm volatile(\"\"); } }\n"
	"template <class T> __attribute__((noinline)) void apply(T f) { f(); asm volatile(\"\"); }\n"
	"}\n"
	"extern \"C\" {\n"
	"void method(fn *f) { ns::box<int> b; b.call(f); asm volatile(\"\"); }\n"
	"void less(fn *f) { ns::box<ns::box<char> > b; (void)(b < f); asm volatile(\"\"); }\n"
	"void anonymous(fn *f) { ns::hidden h; h.f(f); asm volatile(\"\"); }\n"
	"void argument(fn *f) { ns::apply(f); asm volatile(\"\"); }\n"
	"void plain(fn *f) { f(); asm volatile(\"\"); }\n"
	"}\n";

static const struct {
	const char *function, *name, *system;
} cpp_names[] = {
	{ "method", "ns::box::call", "_ZN2ns3boxIiE4callEPFvvE" },
	{ "less", "ns::box::operator<", "_ZN2ns3boxINS0_IcEEEltEPFvvE" },
	{ "anonymous", "ns::(anonymous namespace)::hidden::f", "_ZN2ns12_GLOBAL__N_16hidden1fEPFvvE" },
	{ "argument", "ns::apply", "_ZN2ns5applyIPFvvEEEvT_" },
	{ "plain", "plain", "plain" },
};

/* As `go tool pprof` shows them: qualified, without parameters and template arguments. */
START_TEST(cpp_functions_have_qualified_names_and_their_linkers_name)
{
	struct frame f;

	load(cpp, "-O2 -fno-ipa-sra -fno-ipa-cp -x c++", cpp_names[_i].function);
	f = frame_at(call);
	ck_assert_str_eq(f.name, cpp_names[_i].name);
	ck_assert_str_eq(f.system, cpp_names[_i].system);
	sofile_remove(path);
}
END_TEST

/* --- Steps, the cache ------------------------------------------------------------------------------------- */

START_TEST(in_tiny_steps_the_same_is_found)
{
	int steps = 0;

	load(nested, "-O2", "outer");
	while (frames_prepare(call, 0) > 0)
		ck_assert_int_lt(++steps, 10000);
	ck_assert_int_gt(steps, 0);
	check_nested(frames_at(call));
	sofile_remove(path);
}
END_TEST

START_TEST(what_is_known_stays_known_and_the_rest_is_found_after_trimming)
{
	struct frames v;
	uint64_t first;

	load(nested, "-O2", "outer");
	sofile_remove(path);
	first = call;
	v = frames_at(first);
	ck_assert(frames_trim()); /* used since */
	ck_assert(!frames_trim());
	ck_assert_ptr_eq(frames_at(first).f, v.f);
	ck_assert(!frames_trim());
	ck_assert_str_eq(frame_at(first - 1).name, "outer");
	ck_assert_int_gt(frame_at(first - 1).line, 0);
	ck_assert(frames_trim());
}
END_TEST

/* --- In profiles and texts ---------------------------------------------------------------------------------- */

static struct pprof *profile_of(const uint64_t *pc, int depth, bool bare)
{
	const struct pprof_spec spec = { .sample = { { "goroutine", "count" } },
					 .n_sample = 1,
					 .period_type = { "goroutine", "count" },
					 .period = 1,
					 .bare = bare };
	struct pprof *p = pprof_new(&spec);
	const int64_t n = 1;

	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(pprof_add(p, pc, depth, WEFT_GF_EXACT, NULL, NULL, NULL, &n), 0);
	return p;
}

static struct pprof_doc encode(struct pprof *p)
{
	struct pprof_doc d;
	size_t n;
	void *b;

	while (pprof_step(p, 1, 0, 1000) > 0)
		;
	b = pprof_take(p, &n);
	ck_assert_msg(b && pprof_doc_open(&d, b, n) == 0, "%s", d.err);
	pprof_free(p);
	free(b);
	return d;
}

START_TEST(location_has_a_line_per_function_and_its_mapping_all_flags)
{
	struct pprof_doc d;
	Perftools__Profiles__Location *l;
	Perftools__Profiles__Mapping *m;
	Perftools__Profiles__Function *f;

	load(nested, "-O2 -Wl,--build-id", "outer");
	d = encode(profile_of(&call, 1, false));
	ck_assert_uint_eq(d.msg->n_location, 1);
	l = d.msg->location[0];
	ck_assert_uint_eq(l->n_line, 3);
	f = d.msg->function[l->line[0]->function_id - 1];
	ck_assert_str_eq(pprof_doc_string(&d, f->name), "inner");
	ck_assert_int_eq(l->line[0]->line, 3);
	ck_assert_int_eq(f->start_line, 2);
	f = d.msg->function[l->line[2]->function_id - 1];
	ck_assert_str_eq(pprof_doc_string(&d, f->name), "outer");
	ck_assert_int_eq(l->line[2]->line, 11);
	ck_assert_ptr_nonnull(strstr(pprof_doc_string(&d, f->filename), "/x.c"));
	m = d.msg->mapping[l->mapping_id - 1];
	ck_assert(m->has_functions && m->has_filenames && m->has_line_numbers && m->has_inline_frames);
	pprof_doc_close(&d);
	sofile_remove(path);
}
END_TEST

START_TEST(mapping_claims_no_more_than_all_its_locations_have)
{
	struct pprof_doc d;
	Perftools__Profiles__Mapping *m;

	load(nested, "-O2 -g0 -Wl,--build-id", "outer");
	d = encode(profile_of(&call, 1, false));
	m = d.msg->mapping[d.msg->location[0]->mapping_id - 1];
	ck_assert(m->has_functions);
	ck_assert(!m->has_filenames && !m->has_line_numbers && !m->has_inline_frames);
	pprof_doc_close(&d);
	sofile_remove(path);
}
END_TEST

START_TEST(bare_profile_has_addresses_mappings_and_build_ids_alone)
{
	uint64_t pc[] = { call, PPROF_PC_SCHED };
	struct pprof *p;
	struct pprof_doc d;
	Perftools__Profiles__Mapping *m;

	load(nested, "-O2 -Wl,--build-id", "outer");
	pc[0] = call;
	p = profile_of(pc, 2, true);
	d = encode(p);
	ck_assert_uint_eq(d.msg->n_location, 2);
	ck_assert_uint_eq(d.msg->location[0]->n_line, 0);
	ck_assert_uint_eq(d.msg->location[0]->address, call);
	ck_assert_uint_eq(d.msg->location[1]->n_line, 1); /* a pseudo frame is nowhere else to be found */
	for (size_t i = 0; i < d.msg->n_mapping; i++) {
		m = d.msg->mapping[i];
		ck_assert(!m->has_functions && !m->has_filenames && !m->has_line_numbers && !m->has_inline_frames);
		ck_assert_uint_gt(strlen(pprof_doc_string(&d, m->build_id)), 0);
	}
	m = d.msg->mapping[d.msg->location[0]->mapping_id - 1];
	ck_assert_ptr_nonnull(strstr(pprof_doc_string(&d, m->filename), "/x.so"));
	pprof_doc_close(&d);
	sofile_remove(path);
}
END_TEST

/* The tool takes the qualified name as it is, and has nothing left to demangle. */
START_TEST(go_tool_pprof_shows_the_names_of_cpp)
{
	struct pprof *p;
	char *raw;
	size_t n;
	void *b;

	load(cpp, "-O2 -x c++", "method");
	p = profile_of(&call, 1, false);
	while (pprof_step(p, 1, 0, 1000000) > 0)
		;
	b = pprof_take(p, &n);
	raw = go_pprof_raw(b, n);
	if (raw)
		ck_assert_msg(strstr(raw, " ns::box::call /") != NULL, "%s", raw);
	else
		printf("SKIP go_tool_pprof_shows_the_names_of_cpp: no go on PATH\n");
	free(raw);
	free(b);
	pprof_free(p);
	sofile_remove(path);
}
END_TEST

START_TEST(texts_have_a_line_per_function)
{
	struct weft_goroutine g = { .id = 7, .status = WEFT_G_RUNNING, .flags = WEFT_GF_EXACT, .depth = 1 };
	struct buf b = { 0 };
	struct pprof *p;
	const char *at;

	load(nested, "-O2", "outer");
	p = profile_of(&call, 1, false);
	text_profile(&b, p, &(struct text_head){ .form = TEXT_COUNT, .name = "goroutine" });
	pprof_free(p);
	buf_add(&b, "", 1);
	ck_assert_int_eq(b.failed, 0);
	at = strstr(b.b, "\tinner+0x");
	ck_assert_ptr_nonnull(at);
	at = strstr(at, "/x.c:3\n#\t0x");
	ck_assert_ptr_nonnull(at);
	at = strstr(at, "\tmiddle+0x");
	ck_assert_ptr_nonnull(at);
	ck_assert_ptr_nonnull(strstr(at, "/x.c:11\n"));
	b.len = 0;

	g.pc[0] = call;
	text_goroutine(&b, &g, 0);
	buf_add(&b, "", 1);
	at = strstr(b.b, "inner(...)\n\t/");
	ck_assert_ptr_nonnull(at);
	ck_assert_ptr_nonnull(strstr(at, "/x.c:3\nmiddle(...)\n"));
	ck_assert_ptr_nonnull(strstr(at, "/x.c:6\nouter(...)\n"));
	ck_assert_ptr_nonnull(strstr(at, "/x.c:11 +0x"));
	buf_free(&b);
	sofile_remove(path);
}
END_TEST

START_TEST(inlined_function_of_a_header_is_told_with_its_caller_in_dumps)
{
	struct weft_goroutine g = { .id = 7, .status = WEFT_G_RUNNING, .flags = WEFT_GF_EXACT, .depth = 1 };
	struct buf b = { 0 };

	load("typedef void fn(void);\n"
	     "# 40 \"/some/where.h\"\n"
	     "static inline __attribute__((always_inline)) void of_header(fn *f) { f(); __asm__ volatile(\"\"); }\n"
	     "# 4 \"x.c\"\n"
	     "void user(fn *f)\n"
	     "{\n"
	     "	of_header(f);\n"
	     "}\n",
	     "-O2", "user");
	ck_assert_int_eq(frames_at(call).n, 2);
	ck_assert_str_eq(frames_at(call).f[0].file, "/some/where.h");
	ck_assert_int_eq(frames_at(call).f[0].line, 40);
	g.pc[0] = call;
	text_goroutine(&b, &g, 0);
	buf_add(&b, "", 1);
	ck_assert_ptr_null(strstr(b.b, "of_header"));
	ck_assert_ptr_nonnull(strstr(b.b, "user(...)\n"));
	ck_assert_ptr_nonnull(strstr(b.b, "x.c:6 +0x"));
	buf_free(&b);
	sofile_remove(path);
}
END_TEST

Suite *test_frame(void);
Suite *test_frame(void)
{
	Suite *s = suite_create("frame");
	TCase *t = tcase_create("frame");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, inlined_functions_are_frames_innermost_first, 0, sizeof forms / sizeof *forms);
	tcase_add_test(t, clang_says_the_same);
	tcase_add_test(t, deleted_file_still_has_lines);
	tcase_add_test(t, replaced_file_still_has_its_own_lines);
	tcase_add_loop_test(t, without_debug_information_there_is_the_name_alone, 0,
			    sizeof no_debug / sizeof *no_debug);
	tcase_add_test(t, clone_is_shown_as_the_function_it_is_of);
	tcase_add_loop_test(t, cpp_functions_have_qualified_names_and_their_linkers_name, 0,
			    sizeof cpp_names / sizeof *cpp_names);
	tcase_add_test(t, in_tiny_steps_the_same_is_found);
	tcase_add_test(t, what_is_known_stays_known_and_the_rest_is_found_after_trimming);
	tcase_add_test(t, location_has_a_line_per_function_and_its_mapping_all_flags);
	tcase_add_test(t, mapping_claims_no_more_than_all_its_locations_have);
	tcase_add_test(t, bare_profile_has_addresses_mappings_and_build_ids_alone);
	tcase_add_test(t, go_tool_pprof_shows_the_names_of_cpp);
	tcase_add_test(t, texts_have_a_line_per_function);
	tcase_add_test(t, inlined_function_of_a_header_is_told_with_its_caller_in_dumps);
	suite_add_tcase(s, t);
	return s;
}
