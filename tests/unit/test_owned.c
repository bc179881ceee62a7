/* test_owned.c - what an instance made and did not free goes with it. */
#include <malloc.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rtest.h"

static _Atomic int n_began, n_fired, n_destroyed;
static bool inst_is_empty(void *arg)
{
	return weft_inst_live(arg) == 0;
}

/* An instance that runs fn, ends, and is freed. */
static void live_once(const char *name, weft_fn fn)
{
	weft_inst *in = weft_inst_new(name);

	ck_assert_ptr_nonnull(in);
	ck_assert_int_eq(weft_go_in(in, fn, in), 0);
	while (atomic_load(&n_began) == 0)
		usleep(50);
	n_began = 0;
	ck_assert_int_eq(weft_inst_free(in), -EBUSY); /* it is not over yet */
	weft_inst_cancel(in);
	rtest_wait(inst_is_empty, in, "its goroutines have ended");
	ck_assert_int_eq(weft_inst_free(in), 0);
}

static void fired(void *arg)
{
	(void)arg;
	n_fired++;
}

static void destroyed(void *arg)
{
	(void)arg;
	n_destroyed++;
}

static int waits(void *arg)
{
	return weft_chan_recv(arg, NULL, 1);
}

static void waits_for_end(void *arg)
{
	(void)arg;
	(void)weft_sleep(WEFT_FOREVER);
}

static void forget_contexts(weft_inst *in)
{
	weft_ctx *a = weft_ctx_new(NULL, weft_now() + 3600 * WEFT_SEC), *b = weft_ctx_new(a, WEFT_FOREVER);
	struct weft_go_opts opts = { .size = sizeof opts, .ctx = weft_ctx_new(b, weft_now() + 60 * WEFT_SEC) };
	weft_group *g = weft_group_new(a, 2);

	ck_assert_ptr_nonnull(opts.ctx);
	ck_assert_int_eq(weft_ctx_set(b, &n_began, in), 0);
	ck_assert_int_eq(weft_ctx_set(a, &n_fired, in), 0);
	ck_assert_int_eq(weft_go_with(waits_for_end, NULL, &opts), 0);
	ck_assert_int_eq(weft_group_go(g, waits, weft_chan_new(1, 0)), 0);
}

static void forget_descriptors(void)
{
	char name[64];
	int l, fd;

	snprintf(name, sizeof name, "@weft-owned-%d", getpid());
	l = weft_listen("unix", name);
	ck_assert_int_ge(l, 0);
	ck_assert_int_ge(weft_dial("unix", name), 0);
	fd = weft_accept(l, NULL, NULL);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(weft_set_deadline(fd, POLLIN, weft_now() + 3600 * WEFT_SEC), 0);
	ck_assert_int_ge(weft_listen("udp", "127.0.0.1:0"), 0);
}

static void forgets_everything(void *arg)
{
	int64_t tick;
	weft_timer *t = weft_timer_new(10 * WEFT_US, WEFT_MS);
	int key = weft_local_new(destroyed);

	ck_assert_int_gt(key, 0);
	ck_assert_int_eq(weft_local_set(key, arg), 0);
	ck_assert_int_eq(weft_chan_recv(weft_timer_chan(t), &tick, sizeof tick), 1);
	ck_assert_ptr_nonnull(weft_timer_new(3600 * WEFT_SEC, 0));
	ck_assert_ptr_nonnull(weft_after(3600 * WEFT_SEC, fired, NULL));
	ck_assert_ptr_nonnull(weft_chan_new(1000, 100));
	forget_contexts(arg);
	forget_descriptors();
	n_began = 1;
	(void)weft_sleep(WEFT_FOREVER);
}

static long rss_kib(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[128];
	long kib = -1;

	while (fgets(line, sizeof line, f))
		(void)sscanf(line, "VmRSS: %ld", &kib);
	fclose(f);
	return kib;
}

START_TEST(an_instance_that_forgets_everything_leaves_nothing_a_thousand_times)
{
	int rounds = rtest_scale(1000), fds, maps, before;
	struct weft_counters c;
	long rss, heap;

	rtest_begin(2);
	for (int i = 0; i < rounds / 4; i++)
		live_once("forgets", forgets_everything);
	weft_read_counters(&c);
	before = (int)c.timers;
	fds = rtest_fds();
	maps = rtest_maps();
	rss = rss_kib();
	heap = (long)mallinfo2().uordblks;
	for (int i = 0; i < rounds; i++)
		live_once("forgets", forgets_everything);

	ck_assert_int_eq(rtest_fds(), fds);
	weft_read_counters(&c);
	ck_assert_int_le((int)c.timers, before + 256); /* stale ones are swept when a heap is full */
	ck_assert_uint_eq(c.net_descriptors, 0);
	maps = rtest_maps() - maps;
	rss = rss_kib() - rss;
	heap = (long)mallinfo2().uordblks - heap;
#ifndef RTEST_SANITIZER /* whose allocator keeps what is freed */
	ck_assert_int_le(maps, 16);
	ck_assert_int_le(heap, rounds * 32L); /* less than the smallest thing that could be forgotten */
	ck_assert_int_le(rss, 8192);          /* the recorder's rings have not all been touched before */
#endif
	ck_assert_int_eq(n_fired, 0);
	ck_assert_int_eq(n_destroyed, rounds + rounds / 4);
	ck_assert_uint_eq(weft_read_instances(NULL, 0), 2); /* "test" and the one of that name */
	rtest_end();
}
END_TEST

static weft_chan *lent;
static void makes_a_channel(void *arg)
{
	(void)arg;
	lent = weft_chan_new(1, 0);
	n_began = 1;
}

static _Atomic int said = 1;
static _Atomic uint64_t who;
static void receives(void *arg)
{
	(void)arg;
	who = weft_goid();
	said = weft_chan_recv(lent, NULL, 1);
}

static bool has_begun(void *arg)
{
	(void)arg;
	return who != 0;
}

START_TEST(what_another_instance_waits_on_is_closed)
{
	weft_inst *in;

	rtest_begin(2);
	in = weft_inst_new("lender");
	ck_assert_int_eq(weft_go_in(in, makes_a_channel, NULL), 0);
	rtest_wait(inst_is_empty, in, "the channel is made");
	ck_assert_int_eq(weft_go_in(inst, receives, NULL), 0);
	rtest_wait(has_begun, NULL, "the receiver runs");
	rtest_wait_parked(who, RT_WAIT_CHAN_RECV);

	weft_inst_cancel(in);
	ck_assert_int_eq(weft_inst_free(in), 0);
	rtest_wait_gone();
	ck_assert_int_eq(said, 0);
	rtest_end();
}
END_TEST

static void nothing(void *arg)
{
	(void)arg;
	n_began = 1;
	(void)weft_sleep(WEFT_FOREVER);
}

START_TEST(an_instance_begins_anew_under_its_name_unless_a_thread_is_still_inside)
{
	struct weft_inst_info info[8];
	weft_inst *a, *b;

	rtest_begin(1);
	live_once("anew", nothing);
	a = weft_inst_new("anew");
	ck_assert(!weft_inst_cancelled(a));
	ck_assert_uint_eq(weft_read_instances(info, 8), 2);
	ck_assert_uint_eq(info[1].created, 1); /* it goes on counting */
	ck_assert_int_eq(weft_enter(a), 0);
	weft_inst_cancel(a);
	ck_assert_int_eq(weft_inst_free(a), 0);
	b = weft_inst_new("anew");
	ck_assert_ptr_ne(a, b);
	ck_assert(weft_inst_cancelled(a));
	weft_leave();
	rtest_end();
}
END_TEST

Suite *test_owned(void);
Suite *test_owned(void)
{
	Suite *s = suite_create("owned");
	TCase *t = tcase_create("owned");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, what_another_instance_waits_on_is_closed);
	tcase_add_test(t, an_instance_begins_anew_under_its_name_unless_a_thread_is_still_inside);
	suite_add_tcase(s, t);
	t = tcase_create("memory");
	tcase_set_timeout(t, 120);
	tcase_set_tags(t, "process-memory");
	tcase_add_test(t, an_instance_that_forgets_everything_leaves_nothing_a_thousand_times);
	suite_add_tcase(s, t);
	return s;
}
