/* test_heap.c - malloc and its kin: what is sampled, where, for whom; frees are exact whoever frees and however. */
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rheap.h"

#define KEEP 64
static void *kept[KEEP];
static int n_kept;

/* --- Sites -------------------------------------------------------------------------------------------- */

static void *volatile out; /* the compiler must not leave out a pair of calls */

RT_NOINLINE static void site_persistent(void)
{
	for (int i = 0; i < 10; i++)
		kept[n_kept++] = site_malloc(100);
}

RT_NOINLINE static void site_transient(void)
{
	for (int i = 0; i < 7; i++) {
		out = calloc(3, 40);
		free(out);
	}
}

static void sites(void *arg)
{
	(void)arg;
	site_persistent();
	site_transient();
}

START_TEST(at_rate_1_each_site_has_its_blocks_to_the_byte)
{
	rheap_begin(1);
	rtest_run(sites, NULL);

	rheap_expect(site_malloc, 10, 1000, 0, 0);
	ck_assert(rheap_look(site_malloc, site_persistent).rooted);
	ck_assert(rheap_look(site_malloc, sites).rooted);
	rheap_expect(site_transient, 7, 840, 7, 840);
	ck_assert_uint_eq(weft_read_heap_size(rheap_look(site_transient, NULL).last.extra), 120);
	ck_assert_uint_eq(weft_read_heap_size(rheap_look(site_malloc, NULL).last.extra), 104);
	while (n_kept)
		free(kept[--n_kept]);
	rheap_expect(site_malloc, 10, 1000, 10, 1000);
	rtest_end();
}
END_TEST

RT_NOINLINE static void by_malloc(void)
{
	out = malloc(500);
}
RT_NOINLINE static void by_malloc_of_nothing(void)
{
	out = malloc(0);
}
RT_NOINLINE static void by_calloc(void)
{
	out = calloc(5, 100);
}
RT_NOINLINE static void by_realloc(void)
{
	out = realloc(NULL, 500);
}
RT_NOINLINE static void by_reallocarray(void)
{
	out = reallocarray(NULL, 5, 100);
}
RT_NOINLINE static void by_memalign(void)
{
	out = memalign(256, 500);
}
RT_NOINLINE static void by_aligned_alloc(void)
{
	out = aligned_alloc(64, 500);
}
RT_NOINLINE static void by_posix_memalign(void)
{
	void *p;

	ck_assert_int_eq(posix_memalign(&p, 128, 500), 0);
	out = p;
}
RT_NOINLINE static void by_valloc(void)
{
	out = valloc(500);
}
RT_NOINLINE static void by_pvalloc(void)
{
	out = pvalloc(500);
}

static void family(void *arg)
{
	static void (*const by[])(
		void) = { by_malloc,   by_malloc_of_nothing, by_calloc,         by_realloc, by_reallocarray,
			  by_memalign, by_aligned_alloc,     by_posix_memalign, by_valloc,  by_pvalloc };

	(void)arg;
	for (size_t i = 0; i < sizeof by / sizeof *by; i++) {
		size_t n = by[i] == by_malloc_of_nothing ? 0 : 500;

		by[i]();
		ck_assert_ptr_nonnull(out);
		ck_assert_uint_ge(malloc_usable_size(out), n);
		rheap_expect(by[i], 1, (int64_t)n, 0, 0);
		free(out);
		rheap_expect(by[i], 1, (int64_t)n, 1, (int64_t)n);
	}
}

START_TEST(every_function_of_the_family_is_sampled_and_its_caller_is_the_leaf)
{
	rheap_begin(1);
	rtest_run(family, NULL);
	rtest_end();
}
END_TEST

RT_NOINLINE static void by_strdup(void)
{
	out = strdup("allocated inside the C library");
}

START_TEST(what_the_c_library_allocates_is_sampled_and_the_way_there_is_not_lost)
{
	struct weft_prof_sample s;
	uint32_t at = 0;
	bool found = false;

	rheap_begin(1);
	by_strdup();
	while (weft_read_prof(WEFT_PROF_HEAP, &at, &s))
		found |= s.depth > 2 && s.value[1] == 31 && weft_read_func_start(s.pc[1] - 1) == (uintptr_t)by_strdup;
	ck_assert(found);
	free(out);
	rtest_end();
}
END_TEST

/* --- Results -------------------------------------------------------------------------------------------- */

static volatile size_t absurd = SIZE_MAX / 2 + 2;

static void asks_for_too_much(void *arg)
{
	(void)arg;
	ck_assert_ptr_null(malloc(absurd));
	ck_assert_ptr_null(calloc(1, absurd));
	ck_assert_ptr_null(realloc(NULL, absurd));
	ck_assert_ptr_null(memalign(64, absurd));
	site_transient();
}

START_TEST(a_size_that_nobody_has_does_not_end_the_sampling_of_its_thread)
{
	rheap_begin(1);
	rtest_run(asks_for_too_much, NULL);

	rheap_expect(site_transient, 7, 840, 7, 840);
	rtest_end();
}
END_TEST

START_TEST(wrong_arguments_are_refused_as_by_the_c_library)
{
	void *p = &p;
	volatile size_t half = SIZE_MAX / 2 + 1; /* volatile: the compiler would warn */

	rheap_begin(1);
	for (int sampled = 1; sampled >= 0; sampled--) {
		ck_assert_int_eq(posix_memalign(&p, 3, 100), EINVAL);
		ck_assert_int_eq(posix_memalign(&p, 4, 100), EINVAL);
		ck_assert_int_eq(posix_memalign(&p, 64, half), ENOMEM);
		ck_assert_ptr_eq(p, &p);
		*weft_errno_location() = 0;
		ck_assert_ptr_null(calloc(half, 2));
		ck_assert_int_eq(*weft_errno_location(), ENOMEM);
		*weft_errno_location() = 0;
		ck_assert_ptr_null(reallocarray(NULL, half, 2));
		ck_assert_int_eq(*weft_errno_location(), ENOMEM);
		ck_assert_ptr_null(malloc(half));
		weft_host_heap_rate(0);
	}
	weft_host_heap_rate(1);
	by_malloc(); /* the thread has not lost count */
	rheap_expect(by_malloc, 1, 500, 0, 0);
	free(out);
	rtest_end();
}
END_TEST

RT_NOINLINE static void *grow(void *p, size_t n)
{
	out = realloc(p, n);
	return out;
}

START_TEST(realloc_frees_one_block_and_allocates_another)
{
	void *p;

	rheap_begin(1);
	p = site_malloc(1000);
	p = grow(p, 1001);
	rheap_expect(site_malloc, 1, 1000, 1, 1000);
	rheap_expect(grow, 1, 1001, 0, 0);
	ck_assert_ptr_null(grow(p, SIZE_MAX / 2)); /* it stays */
	rheap_expect(grow, 1, 1001, 0, 0);
	ck_assert_ptr_null(grow(p, 0)); /* frees */
	rheap_expect(grow, 1, 1001, 1, 1001);
	rtest_end();
}
END_TEST

/* --- Who -------------------------------------------------------------------------------------------------- */

RT_NOINLINE static void by_labelled(void)
{
	out = malloc(64);
	free(out);
}

static void labelled(void *arg)
{
	(void)arg;
	weft_label_push("who", "me");
	by_labelled();
	weft_label_pop();
}

START_TEST(a_sample_has_the_labels_and_the_instance_of_its_goroutine)
{
	struct weft_prof_sample s;

	rheap_begin(1);
	rtest_run(labelled, NULL);
	s = rheap_look(by_labelled, NULL).last;
	ck_assert_str_eq(weft_read_instance(s.instance), "test");
	ck_assert_int_eq(s.labels.n, 1);
	ck_assert_str_eq(s.labels.l[0].key, "who");
	ck_assert_str_eq(s.labels.l[0].value, "me");
	rtest_end();
}
END_TEST

RT_NOINLINE static void by_thread(void)
{
	out = malloc(96);
	free(out);
}

RT_NOINLINE static void by_entered(void)
{
	out = malloc(96);
	free(out);
}

static void *thread_main(void *arg)
{
	(void)arg;
	by_thread();
	ck_assert_int_eq(weft_enter(inst), 0);
	by_entered();
	weft_leave();
	return NULL;
}

START_TEST(threads_are_walked_to_the_root_and_have_the_instance_they_entered)
{
	struct rheap s;
	pthread_t t;

	rheap_begin(1);
	ck_assert_int_eq(pthread_create(&t, NULL, thread_main, NULL), 0);
	ck_assert_int_eq(pthread_join(t, NULL), 0);
	s = rheap_look(by_thread, thread_main);
	ck_assert(s.rooted);
	ck_assert_uint_eq(s.last.instance, 0);
	ck_assert_str_eq(weft_read_instance(rheap_look(by_entered, NULL).last.instance), "test");
	by_thread(); /* the first thread */
	s = rheap_look(by_thread, NULL);
	ck_assert_int_eq(s.v[0], 2);
	ck_assert_int_gt(s.last.depth, 2);
	rtest_end();
}
END_TEST

static _Alignas(RT_PAGE) char small_stack[256 * 1024];
static bool on_small_stack;

static void *small_main(void *arg)
{
	(void)arg;
	on_small_stack = (char *)__builtin_frame_address(0) > small_stack &&
			 (char *)__builtin_frame_address(0) < small_stack + sizeof small_stack;
	by_thread();
	return NULL;
}

START_TEST(a_thread_on_a_stack_of_its_own_making_is_walked_no_further_than_that)
{
	pthread_attr_t attr;
	pthread_t t;

	rheap_begin(1);
	ck_assert_int_eq(pthread_attr_init(&attr), 0);
	ck_assert_int_eq(pthread_attr_setstack(&attr, small_stack, sizeof small_stack), 0);
	ck_assert_int_eq(pthread_create(&t, &attr, small_main, NULL), 0);
	ck_assert_int_eq(pthread_join(t, NULL), 0);
	ck_assert(on_small_stack);
	ck_assert(rheap_look(by_thread, small_main).rooted);
	(void)pthread_attr_destroy(&attr);
	rtest_end();
}
END_TEST

/* --- Threads ---------------------------------------------------------------------------------------------- */

#define CHURN 4
#define ROUNDS 4000

struct churn {
	weft_chan *to;
	uint64_t rng;
};

RT_NOINLINE static void by_churn(struct churn *c)
{
	void *p = malloc(1 + rtest_random(&c->rng) % 4000);

	if (rtest_random(&c->rng) % 4 == 0)
		p = realloc(p, 1 + rtest_random(&c->rng) % 8000);
	ck_assert_int_eq(weft_chan_send(c->to, &p, sizeof p), 0);
}

static void churn(void *arg)
{
	struct churn *c = arg;

	for (int i = 0; i < ROUNDS; i++)
		by_churn(c);
}

static void free_all(void *arg)
{
	void *p;

	for (int i = 0; i < CHURN * ROUNDS; i++) {
		ck_assert_int_eq(weft_chan_recv(arg, &p, sizeof p), 1);
		free(p);
	}
}

static void churn_and_check(int64_t rate)
{
	struct churn c[CHURN];
	uint64_t seed = rtest_seed();
	weft_chan *ch;
	struct rheap s;

	rheap_begin(rate);
	ch = weft_chan_new(sizeof(void *), 64);
	for (int i = 0; i < CHURN; i++) {
		c[i] = (struct churn){ ch, seed + (uint64_t)i };
		ck_assert_int_eq(weft_go_in(inst, churn, &c[i]), 0);
	}
	rtest_run(free_all, ch);
	rtest_wait_gone();
	s = rheap_look(by_churn, churn);
	ck_assert_int_gt(s.v[0], 100);
	if (rate == 1)
		ck_assert_int_ge(s.v[0], CHURN * ROUNDS);
	ck_assert_int_eq(s.v[2], s.v[0]);
	ck_assert_int_eq(s.v[3], s.v[1]);
	weft_chan_free(ch);
	rtest_end();
}

START_TEST(what_others_free_is_freed_where_it_was_allocated)
{
	churn_and_check(1);
	churn_and_check(10000);
}
END_TEST

/* --- fork ------------------------------------------------------------------------------------------------- */

static _Atomic bool stop;

static void *always_sampling(void *arg)
{
	while (!ld(&stop))
		free(malloc(200));
	return arg;
}

/* Whatever locks others held at the fork are held for good in the child. */
START_TEST(a_child_after_fork_allocates_and_frees_while_its_parent_was_sampling)
{
	pthread_t t[2];

	rheap_begin(1);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, always_sampling, NULL), 0);
	for (int i = 0; i < 100; i++) {
		void *p = site_malloc(100);
		int status;
		pid_t pid = fork();

		ck_assert_int_ge(pid, 0);
		if (pid == 0) {
			free(p);
			for (int k = 0; k < 1000; k++)
				free(realloc(site_malloc(100), 300));
			_exit(0);
		}
		free(p);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
	}
	st(&stop, true);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_join(t[i], NULL), 0);
	rheap_expect(site_malloc, 100, 10000, 100, 10000);
	rtest_end();
}
END_TEST

Suite *test_heap(void);
Suite *test_heap(void)
{
	Suite *s = suite_create("heap");
	TCase *t = tcase_create("malloc");
	tcase_set_tags(t, "malloc");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, at_rate_1_each_site_has_its_blocks_to_the_byte);
	tcase_add_test(t, every_function_of_the_family_is_sampled_and_its_caller_is_the_leaf);
	tcase_add_test(t, what_the_c_library_allocates_is_sampled_and_the_way_there_is_not_lost);
	tcase_add_test(t, a_size_that_nobody_has_does_not_end_the_sampling_of_its_thread);
	tcase_add_test(t, wrong_arguments_are_refused_as_by_the_c_library);
	tcase_add_test(t, realloc_frees_one_block_and_allocates_another);
	tcase_add_test(t, a_sample_has_the_labels_and_the_instance_of_its_goroutine);
	tcase_add_test(t, threads_are_walked_to_the_root_and_have_the_instance_they_entered);
	tcase_add_test(t, a_thread_on_a_stack_of_its_own_making_is_walked_no_further_than_that);
	tcase_add_test(t, what_others_free_is_freed_where_it_was_allocated);
	tcase_add_test(t, a_child_after_fork_allocates_and_frees_while_its_parent_was_sampling);
	suite_add_tcase(s, t);
	return s;
}
