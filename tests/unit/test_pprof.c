/* test_pprof.c - the profile builder: the rules of the consumers, the real tool. */
#include <check.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pprof_build.h"
#include "weft_host.h"

static const struct pprof_spec goroutine = {
	.sample = { { "goroutine", "count" } },
	.n_sample = 1,
	.period_type = { "goroutine", "count" },
	.period = 1,
};

/* The runtime's own; only their addresses are used. */
extern const char rt_g_main[], rt_g_entry[];

static void check_stack(const struct pprof_doc *d, size_t sample, const char *want)
{
	char stack[4096];

	ck_assert_str_eq(pprof_doc_stack(d, sample, stack, sizeof stack), want);
}

/* --- what a sample is --------------------------------------------------------------------------- */

START_TEST(equal_stacks_with_equal_labels_are_one_sample)
{
	struct pprof *p = new_profile(&pprof_spec_cpu);
	struct pprof_doc d;

	add_labelled(p, 0x1000, "k", "v", "a");
	add_labelled(p, 0x1000, "k", "v", "a");
	add_labelled(p, 0x1000, "k", "w", "a");
	add_labelled(p, 0x1000, "k", "v", "b");
	add_labelled(p, 0x1000, NULL, NULL, NULL);
	add_labelled(p, 0x2000, "k", "v", "a");
	ck_assert_uint_eq(pprof_samples(p), 5);
	ck_assert_int_eq(pprof_total(p, 1), 60000000);
	d = finish(p);

	ck_assert_uint_eq(d.msg->n_sample, 5);
	ck_assert_int_eq(d.msg->sample[0]->value[0], 2);
	ck_assert_int_eq(pprof_doc_total(&d, 0), 6);
	ck_assert_int_eq(pprof_doc_total(&d, 1), 60000000);
	pprof_doc_close(&d);
}
END_TEST

START_TEST(addresses_are_of_calls_except_the_interrupted_leaf)
{
	const uint64_t pc[] = { 0x1000, 0x2000 };
	struct pprof *p = new_profile(&pprof_spec_cpu);
	struct pprof_doc d;

	add(p, pc, 2, 2);
	ck_assert_int_eq(pprof_add(p, pc, 2, WEFT_GF_EXACT, NULL, NULL, NULL, (int64_t[]){ 1, 1 }), 0);
	d = finish(p);

	ck_assert_uint_eq(d.msg->location[0]->address, 0xfff);
	ck_assert_uint_eq(d.msg->location[1]->address, 0x1fff);
	ck_assert_uint_eq(d.msg->location[2]->address, 0x1000);
	ck_assert_uint_eq(d.msg->sample[1]->location_id[1], 2);
	pprof_doc_close(&d);
}
END_TEST

START_TEST(instance_and_thread_are_labels_that_nobody_can_fake)
{
	const struct weft_labels l = { .n = 3, .l = { { "a", "1" }, { "instance", "fake" }, { "z", "2" } } };
	const uint64_t pc = 0x1000;
	struct pprof *p = new_profile(&goroutine);
	struct pprof_doc d;

	ck_assert_int_eq(pprof_add(p, &pc, 1, 0, &l, "primes", "sysmon", (int64_t[]){ 1 }), 0);
	d = finish(p);

	ck_assert_uint_eq(d.msg->sample[0]->n_label, 4);
	ck_assert_str_eq(pprof_doc_label(&d, 0, "instance"), "primes");
	ck_assert_str_eq(pprof_doc_label(&d, 0, "thread"), "sysmon");
	ck_assert_str_eq(pprof_doc_label(&d, 0, "a"), "1");
	ck_assert_str_eq(pprof_doc_label(&d, 0, "z"), "2");
	pprof_doc_close(&d);
}
END_TEST

START_TEST(labels_that_are_not_utf8_are_repaired)
{
	struct pprof *p = new_profile(&goroutine);
	struct pprof_doc d;

	add_labelled(p, 0x1000, "k\xff", "\xc3\xbc\xe2\x82", NULL);
	d = finish(p);

	ck_assert_str_eq(pprof_doc_label(&d, 0, "k?"), "\xc3\xbc??");
	pprof_doc_close(&d);
}
END_TEST

START_TEST(no_samples_is_still_a_profile)
{
	struct pprof_doc d = finish(new_profile(&pprof_spec_cpu));

	ck_assert_uint_eq(d.msg->n_sample, 0);
	ck_assert_uint_eq(d.msg->n_sample_type, 2);
	ck_assert_int_eq(d.msg->time_nanos, TIME);
	ck_assert_int_eq(d.msg->duration_nanos, DURATION);
	pprof_doc_close(&d);
}
END_TEST

START_TEST(stack_without_frames_is_charged_to_the_system_frame)
{
	const uint64_t null[] = { 0, 0 };
	struct pprof *p = new_profile(&goroutine);
	struct pprof_doc d;

	add(p, NULL, 0, 1);
	add(p, null, 2, 1);
	d = finish(p);

	ck_assert_uint_eq(d.msg->n_sample, 1);
	check_stack(&d, 0, "weft._System");
	pprof_doc_close(&d);
}
END_TEST

START_TEST(null_frames_are_left_out)
{
	const uint64_t pc[] = { 0x1001, 0, 0x2001, 0 };
	struct pprof *p = new_profile(&goroutine);
	struct pprof_doc d;

	add(p, pc, 4, 1);
	d = finish(p);

	ck_assert_uint_eq(d.msg->sample[0]->n_location_id, 2);
	pprof_doc_close(&d);
}
END_TEST

START_TEST(pseudo_frames_have_names_and_no_mapping)
{
	static const char *const name[] = { "weft._System", "weft._ExternalCode", "weft._Lost", "weft._Overflow",
					    "weft._Sched" };
	struct pprof *p;
	struct pprof_doc d;

	ck_assert_int_ge(weft_host_scan_modules(), 0);
	p = new_profile(&goroutine);
	for (uint64_t pc = PPROF_PC_SYSTEM; pc <= PPROF_PC_SCHED; pc++)
		add(p, &pc, 1, 10 - (int64_t)pc);
	d = finish(p);

	for (size_t i = 0; i < 5; i++) {
		check_stack(&d, i, name[i]);
		ck_assert_uint_eq(d.msg->location[i]->mapping_id, 0);
	}
	pprof_doc_close(&d);
}
END_TEST

START_TEST(stacks_beyond_the_bound_are_charged_to_overflow)
{
	struct pprof *p = new_profile(&pprof_spec_cpu);
	struct pprof_doc d;
	int64_t total;
	size_t overflow = 0, want = 0;
	char stack[200];

	add_many(p, PPROF_MAX_STACKS + 50);
	ck_assert_uint_eq(pprof_samples(p), PPROF_MAX_STACKS + 1);
	add_many(p, 50); /* the known ones still count as themselves */
	ck_assert_uint_eq(pprof_samples(p), PPROF_MAX_STACKS + 1);
	total = pprof_total(p, 0);
	d = finish(p);

	ck_assert_int_eq(pprof_doc_total(&d, 0), total);
	for (size_t i = 0; i < d.msg->n_sample; i++)
		if (strcmp(pprof_doc_stack(&d, i, stack, sizeof stack), "weft._Overflow") == 0)
			overflow += (size_t)d.msg->sample[i]->value[0];
	for (size_t i = PPROF_MAX_STACKS; i < PPROF_MAX_STACKS + 50; i++)
		want += 1 + i % 3; /* as add_many() gave them */
	ck_assert_uint_eq(overflow, want);
	pprof_doc_close(&d);
}
END_TEST

START_TEST(sums_stop_at_the_end_of_the_range)
{
	const uint64_t pc = 0x1000;
	struct pprof *p = new_profile(&pprof_spec_cpu);

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pprof_add(p, &pc, 1, 0, NULL, NULL, NULL, (int64_t[]){ 1, INT64_MAX / 2 }), 0);

	ck_assert_int_eq(pprof_total(p, 0), 3);
	ck_assert_int_eq(pprof_total(p, 1), INT64_MAX);
	pprof_free(p);
}
END_TEST

START_TEST(full_depth_stacks_are_complete)
{
	uint64_t pc[WEFT_STACK_MAX];
	struct pprof *p = new_profile(&goroutine);
	struct pprof_doc d;

	for (int i = 0; i < WEFT_STACK_MAX; i++)
		pc[i] = 0x1001 + (uint64_t)i;
	add(p, pc, WEFT_STACK_MAX, 1);
	d = finish(p);

	ck_assert_uint_eq(d.msg->sample[0]->n_location_id, WEFT_STACK_MAX);
	ck_assert_uint_eq(d.msg->location[WEFT_STACK_MAX - 1]->address, 0x1000 + WEFT_STACK_MAX - 1);
	pprof_doc_close(&d);
}
END_TEST

/* --- objects and names ---------------------------------------------------------------------------- */

static __attribute__((noinline)) int leaf_function(int n)
{
	__asm__ volatile("" : "+r"(n));
	return n;
}

static struct pprof *real_stacks(void)
{
	uint64_t leaf = (uint64_t)(uintptr_t)&leaf_function, libc = (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "getenv");
	const uint64_t ours[] = { leaf + 2, (uint64_t)(uintptr_t)rt_g_main + 2, (uint64_t)(uintptr_t)rt_g_entry + 2 };
	const uint64_t theirs[] = { libc + 2, leaf + 2 }, root = (uint64_t)(uintptr_t)rt_g_main + 2;
	struct pprof *p;

	ck_assert_int_ge(weft_host_scan_modules(), 0);
	p = new_profile(&pprof_spec_cpu);
	add(p, ours, 3, 7);
	add(p, theirs, 2, 4);
	add(p, &root, 1, 1);
	return p;
}

START_TEST(main_program_is_mapping_one_and_build_ids_are_hex)
{
	const struct weft_module *me;
	struct pprof_doc d = finish(real_stacks());
	char id[2 * WEFT_BUILD_ID_MAX + 1] = "";

	me = weft_module_at(weft_read_modules(), (uint64_t)(uintptr_t)&leaf_function);
	ck_assert_ptr_nonnull(me);
	for (int i = 0; i < me->build_id_len; i++)
		snprintf(id + 2L * i, 3, "%02x", me->build_id[i]);
	ck_assert_uint_eq(d.msg->n_mapping, 2);
	ck_assert_uint_eq(d.msg->mapping[0]->memory_start, me->start);
	ck_assert_uint_eq(d.msg->mapping[0]->memory_limit, me->limit);
	ck_assert_uint_eq(d.msg->mapping[0]->file_offset, me->offset);
	ck_assert_str_eq(pprof_doc_string(&d, d.msg->mapping[0]->filename), me->path);
	ck_assert_str_eq(pprof_doc_string(&d, d.msg->mapping[0]->build_id), id);
	ck_assert_uint_gt(strlen(id), 0);
	ck_assert_ptr_nonnull(strstr(pprof_doc_string(&d, d.msg->mapping[1]->filename), "libc.so"));
	pprof_doc_close(&d);
}
END_TEST

START_TEST(main_program_is_mapping_one_even_unsampled)
{
	const uint64_t libc = (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "getenv") + 2;
	struct pprof *p;
	struct pprof_doc d;

	ck_assert_int_ge(weft_host_scan_modules(), 0);
	p = new_profile(&pprof_spec_cpu);
	add(p, &libc, 1, 1);
	d = finish(p);

	ck_assert_uint_eq(d.msg->location[0]->mapping_id, 2);
	ck_assert_uint_eq(d.msg->mapping[0]->memory_start,
			  weft_module_at(weft_read_modules(), (uint64_t)(uintptr_t)&leaf_function)->start);
	pprof_doc_close(&d);
}
END_TEST

START_TEST(flags_of_a_mapping_say_what_all_its_locations_have)
{
	struct pprof_doc d = finish(real_stacks());

	check_stack(&d, 1, "getenv;leaf_function");
	ck_assert(d.msg->mapping[0]->has_functions); /* this program has a symbol table */
	ck_assert(d.msg->mapping[1]->has_functions);
	for (size_t i = 0; i < d.msg->n_mapping; i++) {
		bool file = true, line = true;

		for (size_t k = 0; k < d.msg->n_location; k++) {
			const Perftools__Profiles__Location *l = d.msg->location[k];

			for (size_t j = 0; l->mapping_id == i + 1 && j < l->n_line; j++) {
				file = file && d.msg->function[l->line[j]->function_id - 1]->filename;
				line = line && l->line[j]->line;
			}
		}
		ck_assert_int_eq(d.msg->mapping[i]->has_filenames, file);
		ck_assert_int_eq(d.msg->mapping[i]->has_line_numbers, line);
	}
	pprof_doc_close(&d);
}
END_TEST

START_TEST(root_frames_of_the_runtime_are_cut_unless_nothing_is_left)
{
	struct pprof_doc d = finish(real_stacks());

	check_stack(&d, 0, "leaf_function");
	check_stack(&d, 2, "rt_g_main");
	pprof_doc_close(&d);
}
END_TEST

START_TEST(go_tool_pprof_reads_the_same)
{
	struct pprof *p = real_stacks();
	struct pprof_doc d;
	char *gz, *raw;
	size_t len;

	add_labelled(p, 0x1000, "k", "v\n\"2", "primes");
	d = encode(p, &gz, &len);
	raw = go_pprof_raw(gz, len);
	if (!raw) {
		printf("SKIP go_tool_pprof_reads_the_same: no go on PATH\n");
		return;
	}
	ck_assert_msg(go_pprof_total(raw, 0) == pprof_doc_total(&d, 0), "%s", raw);
	ck_assert_msg(go_pprof_total(raw, 1) == pprof_doc_total(&d, 1), "%s", raw);
	ck_assert_msg(strstr(raw, "PeriodType: cpu nanoseconds\nPeriod: 10000000\n") != NULL, "%s", raw);
	ck_assert_msg(strstr(raw, "samples/count cpu/nanoseconds\n") != NULL, "%s", raw);
	ck_assert_msg(strstr(raw, "Duration: 1.5") != NULL, "%s", raw);
	ck_assert_msg(strstr(raw, " leaf_function ") != NULL, "%s", raw);
	ck_assert_msg(strstr(raw, " getenv ") != NULL, "%s", raw);
	ck_assert_msg(strstr(raw, "instance:[primes]") != NULL, "%s", raw);
	pprof_doc_close(&d);
	free(gz);
	free(raw);
}
END_TEST

Suite *test_pprof(void);
Suite *test_pprof(void)
{
	Suite *s = suite_create("pprof");
	TCase *t = tcase_create("pprof");

	tcase_set_timeout(t, 180); /* the first `go tool pprof` builds it */
	tcase_add_test(t, equal_stacks_with_equal_labels_are_one_sample);
	tcase_add_test(t, addresses_are_of_calls_except_the_interrupted_leaf);
	tcase_add_test(t, instance_and_thread_are_labels_that_nobody_can_fake);
	tcase_add_test(t, labels_that_are_not_utf8_are_repaired);
	tcase_add_test(t, no_samples_is_still_a_profile);
	tcase_add_test(t, stack_without_frames_is_charged_to_the_system_frame);
	tcase_add_test(t, null_frames_are_left_out);
	tcase_add_test(t, pseudo_frames_have_names_and_no_mapping);
	tcase_add_test(t, stacks_beyond_the_bound_are_charged_to_overflow);
	tcase_add_test(t, sums_stop_at_the_end_of_the_range);
	tcase_add_test(t, full_depth_stacks_are_complete);
	tcase_add_test(t, main_program_is_mapping_one_and_build_ids_are_hex);
	tcase_add_test(t, main_program_is_mapping_one_even_unsampled);
	tcase_add_test(t, flags_of_a_mapping_say_what_all_its_locations_have);
	tcase_add_test(t, root_frames_of_the_runtime_are_cut_unless_nothing_is_left);
	tcase_add_test(t, go_tool_pprof_reads_the_same);
	suite_add_tcase(s, t);
	return s;
}
