/* test_heap_live.c - the table of sampled blocks, and the sizes they are counted under. */
#include "heap.h"
#include "often.h"
#include "rtest.h"

static struct rt_live block(uintptr_t addr, uint64_t size)
{
	return (struct rt_live){ .addr = addr, .size = size, .entry = size & 0xff };
}

START_TEST(a_block_is_found_until_it_is_taken_out_among_many_that_come_and_go)
{
	enum { N = 50000, STEPS = 400000 };
	static uint64_t size[N]; /* 0: not in */
	uint64_t rng = rtest_seed(), in = 0;
	struct rt_live b;

	for (int i = 0; i < STEPS; i++) {
		uint64_t k = rtest_random(&rng) % N;
		uintptr_t addr = 0x7f0000000000 + k * 48;

		if (size[k]) {
			often(rt_live_maybe((void *)addr));
			often(rt_live_take((void *)addr, &b));
			often_eq(b.size, size[k]);
			often_eq(b.entry, size[k] & 0xff);
			in--;
			size[k] = 0;
		} else {
			often(!rt_live_take((void *)addr, &b));
			size[k] = 1 + rtest_random(&rng) % 100000;
			often_eq(rt_live_put(block(addr, size[k]), &b), RT_LIVE_PUT);
			in++;
		}
		often_eq(rt_live_count(), in);
	}
	for (uint64_t k = 0; k < N; k++)
		often_eq(rt_live_take((void *)(0x7f0000000000 + k * 48), &b), size[k] != 0);
	for (uint64_t k = 0; k < N; k++) /* N / 2 in 128 Ki places: none of them stuck */
		often(!rt_live_maybe((void *)(0x7f0000000000 + k * 48)));
}
END_TEST

START_TEST(a_block_that_was_freed_unseen_gives_way_to_the_next_at_its_address)
{
	struct rt_live old;

	ck_assert_int_eq(rt_live_put(block(0x1000, 10), &old), RT_LIVE_PUT);
	ck_assert_int_eq(rt_live_put(block(0x1000, 20), &old), RT_LIVE_STALE);
	ck_assert_uint_eq(old.size, 10);
	ck_assert(rt_live_take((void *)0x1000, &old));
	ck_assert_uint_eq(old.size, 20);
	ck_assert(!rt_live_take((void *)0x1000, &old));
	ck_assert(!rt_live_maybe((void *)0x1000));
}
END_TEST

/* Addresses of one shard; the filter's bytes overflow, too. */
START_TEST(a_full_table_refuses_and_forgets_nobody)
{
	uintptr_t addr = 0x10;
	uint64_t n = 0;
	struct rt_live b;

	while (rt_live_put(block(addr, n + 1), &b) == RT_LIVE_PUT) {
		n++;
		addr += (uintptr_t)1 << 40; /* hash and shard stay */
		often(n < 1 << 20);
	}
	ck_assert_uint_gt(n, 100000);
	addr = 0x10;
	for (uint64_t i = 0; i < n; i++, addr += (uintptr_t)1 << 40) {
		often(rt_live_maybe((void *)addr));
		often(rt_live_take((void *)addr, &b));
		often_eq(b.size, i + 1);
	}
	ck_assert_uint_eq(rt_live_count(), 0);
}
END_TEST

START_TEST(sizes_are_rounded_up_by_a_sixteenth_at_most)
{
	static const size_t same[] = { 8, 104, 256, 272, 1024, 4096, 65536, 1 << 20, (1 << 20) + (1 << 16) };

	for (size_t i = 0; i < sizeof same / sizeof *same; i++)
		ck_assert_uint_eq(weft_read_heap_size(rt_heap_class(same[i])), same[i]);
	for (size_t n = 1; n < 10000000; n += 1 + n / 100) {
		uint64_t class = weft_read_heap_size(rt_heap_class(n));

		ck_assert_uint_ge(class, n);
		ck_assert_uint_le(class, n <= 256 ? n + 7 : n + n / 16);
		ck_assert_uint_eq(weft_read_heap_size(rt_heap_class(class)), class);
	}
}
END_TEST

Suite *test_heap_live(void);
Suite *test_heap_live(void)
{
	Suite *s = suite_create("heap_live");
	TCase *t = tcase_create("live");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_block_is_found_until_it_is_taken_out_among_many_that_come_and_go);
	tcase_add_test(t, a_block_that_was_freed_unseen_gives_way_to_the_next_at_its_address);
	tcase_add_test(t, a_full_table_refuses_and_forgets_nobody);
	tcase_add_test(t, sizes_are_rounded_up_by_a_sixteenth_at_most);
	suite_add_tcase(s, t);
	return s;
}
