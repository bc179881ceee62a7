/* test_pprof_bytes.c - the encoding of profiles: golden bytes, the same whatever the way, and the checker that other
 * tests rely on. */
#include "pprof_build.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* --- bytes ---------------------------------------------------------------------------------------- */

/* Written by hand from the format: tag = number << 3 | type, type 0 varint, 2 length and bytes. */
static const uint8_t golden[] = {
	0x0a, 4,    0x08, 1,    0x10, 2,                                        /* sample_type samples/count */
	0x0a, 4,    0x08, 3,    0x10, 4,                                        /* sample_type cpu/nanoseconds */
	0x48, 0x95, 0x9a, 0x97, 0xec, 0xe3, 0x9f, 0xe7, 0xcb, 0x17,             /* time */
	0x50, 0x80, 0xde, 0xa0, 0xcb, 0x05,                                     /* duration */
	0x5a, 4,    0x08, 3,    0x10, 4,                                        /* period_type cpu/nanoseconds */
	0x60, 0x80, 0xad, 0xe2, 0x04,                                           /* period 10000000 */
	0x6a, 1,    5,                                                          /* comment */
	0x70, 3,                                                                /* default_sample_type cpu */
	0x12, 23,                                                               /* sample: the larger one first */
	0x0a, 2,    1,    2,                                                    /*   location 1, 2 */
	0x12, 5,    3,    0x80, 0x87, 0xa7, 0x0e,                               /*   3, 30000000 */
	0x1a, 4,    0x08, 6,    0x10, 7,                                        /*   instance=primes */
	0x1a, 4,    0x08, 8,    0x10, 9,                                        /*   k=v */
	0x12, 10,   0x0a, 1,    3,    0x12, 5,    1,    0x80, 0xad, 0xe2, 0x04, /* sample: location 3, 1, 10000000 */
	0x22, 5,    0x08, 1,    0x18, 0x81, 0x20,                               /* location 1: 0x1001, exact */
	0x22, 5,    0x08, 2,    0x18, 0x80, 0x40,                               /* location 2: 0x2001 - 1 */
	0x22, 8,    0x08, 3,    0x18, 3,    0x22, 2,    0x08, 1, /* location 3: pseudo frame, function 1 */
	0x2a, 6,    0x08, 1,    0x10, 10,   0x18, 10,            /* function 1 */
	0x32, 0,                                                 /* strings */
	0x32, 7,    's',  'a',  'm',  'p',  'l',  'e',  's',  0x32, 5,    'c',  'o', 'u', 'n',  't',
	0x32, 3,    'c',  'p',  'u',  0x32, 11,   'n',  'a',  'n',  'o',  's',  'e', 'c', 'o',  'n',
	'd',  's',  0x32, 5,    'h',  'e',  'l',  'l',  'o',  0x32, 8,    'i',  'n', 's', 't',  'a',
	'n',  'c',  'e',  0x32, 6,    'p',  'r',  'i',  'm',  'e',  's',  0x32, 1,   'k', 0x32, 1,
	'v',  0x32, 10,   'w',  'e',  'f',  't',  '.',  '_',  'L',  'o',  's',  't',
};

START_TEST(bytes_are_those_of_the_format)
{
	struct pprof_spec spec = pprof_spec_cpu;
	struct pprof *p;
	const uint64_t pc[] = { 0x1001, 0x2001 }, lost = PPROF_PC_LOST;
	const struct weft_labels l = { .n = 1, .l = { { "k", "v" } } };
	struct pprof_doc d;

	ck_assert_ptr_null(weft_read_modules()); /* the runtime was not started: no mappings */
	spec.default_sample_type = "cpu";
	p = new_profile(&spec);
	pprof_comment(p, "hello");
	add(p, &lost, 1, 1);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pprof_add(p, pc, 2, WEFT_GF_EXACT, &l, "primes", NULL, (int64_t[]){ 1, 10000000 }), 0);
	d = finish(p);

	for (size_t i = 0; i < sizeof golden && i < d.raw_len; i++)
		ck_assert_msg(d.raw[i] == golden[i], "byte %zu is %#x, not %#x", i, d.raw[i], golden[i]);
	ck_assert_uint_eq(d.raw_len, sizeof golden);
	pprof_doc_close(&d);
}
END_TEST

START_TEST(order_of_adding_does_not_change_a_byte)
{
	char *gz[2];
	size_t len[2];

	for (int way = 0; way < 2; way++) {
		struct pprof *p = new_profile(&pprof_spec_cpu);
		struct pprof_doc d;

		for (uint64_t i = 0; i < 500; i++) {
			uint64_t k = way ? 499 - i : i;
			uint64_t pc[] = { 0x1000 + k % 7 * 0x100, 0x9000 + k % 11, 0x200000 + k };
			char value[20];

			snprintf(value, sizeof value, "v%d", (int)(k % 5));
			add(p, pc, 1 + (int)(k % 3), (int64_t)(k % 4));
			add_labelled(p, pc[0], "key", value, k % 2 ? "a" : "b");
		}
		d = encode(p, &gz[way], &len[way]);
		pprof_doc_close(&d);
	}
	ck_assert_uint_eq(len[0], len[1]);
	ck_assert_int_eq(memcmp(gz[0], gz[1], len[0]), 0);
	free(gz[0]);
	free(gz[1]);
}
END_TEST

START_TEST(encoding_in_tiny_steps_gives_the_same_bytes)
{
	struct pprof *p = new_profile(&pprof_spec_cpu);
	size_t len, want_len;
	char *b, *want;
	int steps = 1;
	struct pprof_doc d;

	add_many(p, 3000);
	while (pprof_step(p, TIME, DURATION, 0) > 0)
		steps++;
	b = pprof_take(p, &len);
	pprof_free(p);
	p = new_profile(&pprof_spec_cpu);
	add_many(p, 3000);
	d = encode(p, &want, &want_len);

	ck_assert_int_gt(steps, 100);
	ck_assert_uint_eq(len, want_len);
	ck_assert_int_eq(memcmp(b, want, len), 0);
	pprof_doc_close(&d);
	free(b);
	free(want);
}
END_TEST

/* --- the checker itself ------------------------------------------------------------------------------ */

/* Gzip a message after one thing in it was broken; 0 if the checker lets it pass. */
static int verdict(const Perftools__Profiles__Profile *msg)
{
	uint8_t raw[4096], gz[8192];
	size_t n = perftools__profiles__profile__pack(msg, raw);
	z_stream z = { .next_in = raw, .avail_in = (unsigned)n, .next_out = gz, .avail_out = sizeof gz };
	struct pprof_doc d;
	int rc;

	ck_assert_int_eq(deflateInit2(&z, 1, Z_DEFLATED, 31, 8, 0), Z_OK);
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	rc = pprof_doc_open(&d, gz, sizeof gz - z.avail_out);
	deflateEnd(&z);
	pprof_doc_close(&d);
	return rc;
}

START_TEST(checker_refuses_what_consumers_refuse)
{
	const uint64_t pc[] = { 0x1000, 0x2000 }, lost = PPROF_PC_LOST;
	struct pprof *p = new_profile(&pprof_spec_cpu);
	struct pprof_doc d;

	add(p, pc, 2, 1);
	add_labelled(p, pc[0], "k", "v", "i");
	add(p, &lost, 1, 1);
	d = finish(p);
	ck_assert_int_eq(verdict(d.msg), 0);

	ck_assert_int_eq(pprof_doc_uploadable(&d, TIME + DURATION), 0);
	ck_assert_int_lt(pprof_doc_uploadable(&d, TIME + 7200 * (int64_t)1000000000), 0);
	ck_assert_int_lt(pprof_doc_uploadable(&d, TIME - 1200 * (int64_t)1000000000), 0);

#define BREAKS(field, value)                                                                                           \
	do {                                                                                                           \
		__typeof__(field) old_ = (field);                                                                      \
		(field) = (value);                                                                                     \
		ck_assert_msg(verdict(d.msg) < 0, #field " = " #value " passed");                                      \
		(field) = old_;                                                                                        \
	} while (0)
	BREAKS(d.msg->string_table[0], (char *)"x");
	BREAKS(d.msg->string_table[1], (char *)"\xff");
	BREAKS(d.msg->string_table[1], (char *)"a-b");
	BREAKS(d.msg->sample_type[0]->unit, 99);
	BREAKS(d.msg->sample[0]->n_value, 1);
	BREAKS(d.msg->sample[0]->location_id[0], 0);
	BREAKS(d.msg->sample[0]->location_id[0], 9);
	BREAKS(d.msg->location[1]->id, 7);
	BREAKS(d.msg->location[1]->mapping_id, 1);
	BREAKS(d.msg->location[1]->address, d.msg->location[0]->address);
	BREAKS(d.msg->location[d.msg->n_location - 1]->line[0]->function_id, 2);
	BREAKS(d.msg->function[0]->id, 2);
	BREAKS(d.msg->default_sample_type, 2);
	ck_assert_int_eq(verdict(d.msg), 0);
	pprof_doc_close(&d);
}
END_TEST

Suite *test_pprof_bytes(void);
Suite *test_pprof_bytes(void)
{
	Suite *s = suite_create("pprof bytes");
	TCase *t = tcase_create("pprof bytes");

	tcase_add_test(t, bytes_are_those_of_the_format);
	tcase_add_test(t, order_of_adding_does_not_change_a_byte);
	tcase_add_test(t, encoding_in_tiny_steps_gives_the_same_bytes);
	tcase_add_test(t, checker_refuses_what_consumers_refuse);
	suite_add_tcase(s, t);
	return s;
}
