/* test_unwind_table.c - from .eh_frame to rows: what comes out of a good section, and that a bad one does
 * no harm. */
#include <check.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rt.h"
#include "sys.h"
#include "unwind_table.h"

/* An object in memory that consists of a header and a section, and pretends to have a page of code. */
struct image {
	_Alignas(8) uint8_t hdr[16], section[4080];
	uint8_t code[RT_PAGE];
};

static int build_image(struct image *im, struct rt_table **out)
{
	ElfW(Phdr) ph[3] = {
		{ .p_type = PT_LOAD, .p_flags = PF_R, .p_memsz = sizeof *im },
		{ .p_type = PT_LOAD, .p_flags = PF_X, .p_vaddr = offsetof(struct image, code), .p_memsz = RT_PAGE },
		{ .p_type = PT_GNU_EH_FRAME, .p_memsz = sizeof im->hdr },
	};
	struct dl_phdr_info info = { .dlpi_addr = (uintptr_t)im, .dlpi_name = "x", .dlpi_phdr = ph, .dlpi_phnum = 3 };
	uintptr_t section = (uintptr_t)im->section;

	memset(im->hdr, 0, sizeof im->hdr);
	im->hdr[0] = 1; /* version; the address of .eh_frame is absolute */
	memcpy(im->hdr + 4, &section, sizeof section);
	return rt_table_build(&info, (uintptr_t)im->code, RT_PAGE, out);
}

/* A CIE and two functions, as an assembler would write them. */
static size_t good_section(struct image *im)
{
	uint8_t *p = im->section;
	static const uint8_t cie[] = { 20,       0, 0,    0,    0,        0, 0,
				       0,        1, 'z',  'R',  0,        1, 0x78,
				       RT_DW_RA, 1, 0x1b, 0x0c, RT_DW_SP, 8, 0x80 | RT_DW_RA,
				       1,        0, 0 };
	/* x86-64's push %rbp; mov %rsp,%rbp */
	static const uint8_t code[] = { 0x41, 0x0e, 16, 0x80 | RT_DW_FP, 2, 0x43, 0x0d, RT_DW_FP };

	memcpy(p, cie, sizeof cie);
	p += sizeof cie;
	for (int i = 0; i < 2; i++) {
		uint32_t len = 4 + 4 + 4 + 1 + sizeof code + 3, id = (uint32_t)(p + 4 - im->section), size = 64;
		int32_t pc = (int32_t)(im->code + 64 + i * 100 - (p + 8));

		memset(p, 0, len + 4);
		memcpy(p, &len, 4);
		memcpy(p + 4, &id, 4);
		memcpy(p + 8, &pc, 4);
		memcpy(p + 12, &size, 4);
		memcpy(p + 17, code, sizeof code);
		p += 4 + len;
	}
	memset(p, 0, 4);
	return (size_t)(p + 4 - im->section);
}

START_TEST(rows_follow_the_instructions_and_gaps_are_marked)
{
	static struct image im;
	struct rt_table *t = NULL;
	static const struct {
		uint32_t pc;
		unsigned kind;
		int cfa;
	} want[] = { { 0, ROW_GAP | ROW_FIRST, 0 },
		     { 64, ROW_SP | ROW_FIRST, 8 },
		     { 65, ROW_SP, 16 },
		     { 68, ROW_FP, 16 },
		     { 128, ROW_GAP | ROW_FIRST, 0 },
		     { 164, ROW_SP | ROW_FIRST, 8 },
		     { 165, ROW_SP, 16 },
		     { 168, ROW_FP, 16 },
		     { 228, ROW_GAP | ROW_FIRST, 0 } };

	(void)good_section(&im);
	ck_assert_int_eq(build_image(&im, &t), 0);

	ck_assert_uint_eq(t->n_rows, sizeof want / sizeof *want);
	ck_assert_uint_eq(t->failed, 0);
	for (uint32_t i = 0; i < t->n_rows; i++) {
		ck_assert_uint_eq(t->rows[i].pc, want[i].pc);
		ck_assert_uint_eq(t->rows[i].kind, want[i].kind);
		ck_assert_int_eq(t->rows[i].cfa, want[i].cfa);
	}
	ck_assert_int_eq(t->rows[3].fp_kind, ROW_FP_AT_CFA);
	ck_assert_int_eq(t->rows[3].fp, -16);
}
END_TEST

START_TEST(malformed_sections_fail_without_harm)
{
	/* The section ends where an inaccessible page begins: reading beyond it would be seen. */
	char *map = rt_map(3 * RT_PAGE);
	struct image *im = (struct image *)map;
	const char *env = getenv("WEFT_SEED");
	unsigned seed = env ? (unsigned)strtoul(env, NULL, 0) : (unsigned)time(NULL);
	int64_t until = rt_now() + 2 * WEFT_SEC;

	ck_assert_ptr_nonnull(map);
	ck_assert_int_eq(rt_syscall(SYS_mprotect, (long)(map + 2 * RT_PAGE), RT_PAGE, 0, 0, 0, 0), 0);
	printf("WEFT_SEED=%u\n", seed);
	srand(seed);
	/* Each round maps and unmaps, which takes long where others do it, too: then fewer will do. */
	for (int round = 0; round < 20000 && (round < 500 || rt_now() < until); round++) {
		size_t n = good_section(im);
		struct rt_table *t = NULL;
		int rc, broken = 1 + rand() % 4;

		while (broken--)
			im->section[(unsigned)rand() % n] = (uint8_t)rand();
		rc = build_image(im, &t);
		ck_assert(rc == 0 || rc == -EINVAL);
		if (rc < 0)
			continue;
		for (uint32_t i = 1; i < t->n_rows; i++)
			ck_assert_uint_lt(t->rows[i - 1].pc, t->rows[i].pc);
		rt_unmap(t, sizeof *t + (t->n_pages + 1) * 4 + t->n_rows * sizeof *t->rows);
	}
	rt_unmap(map, 3 * RT_PAGE);
}
END_TEST

Suite *test_unwind_table(void);
Suite *test_unwind_table(void)
{
	Suite *s = suite_create("unwind_table");
	TCase *tc = tcase_create("unwind_table");

	tcase_add_test(tc, rows_follow_the_instructions_and_gaps_are_marked);
	tcase_add_test(tc, malformed_sections_fail_without_harm);
	suite_add_tcase(s, tc);
	return s;
}
