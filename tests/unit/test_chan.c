/* test_chan.c - promises of channels, on one and on several Ps. */
#include <stdatomic.h>
#include <string.h>

#include "often.h"
#include "rtest.h"

typedef WEFT_CHAN(int64_t) int_chan;

/* A goroutine that does one operation and says how it ended. */
struct op {
	weft_chan *c;
	int64_t value;
	int rc;
	_Atomic uint64_t goid;
	_Atomic int done;
};
static void do_send(void *arg)
{
	struct op *o = arg;

	o->goid = weft_goid();
	o->rc = weft_chan_send(o->c, &o->value, sizeof o->value);
	o->done = 1;
}
static void do_recv(void *arg)
{
	struct op *o = arg;

	o->goid = weft_goid();
	o->rc = weft_chan_recv(o->c, &o->value, sizeof o->value);
	o->done = 1;
}
static bool has_goid(void *arg)
{
	return ((struct op *)arg)->goid != 0;
}
static bool is_done(void *arg)
{
	return ((struct op *)arg)->done;
}
static void start(struct op *o, weft_fn fn, enum rt_wait reason)
{
	ck_assert_int_eq(weft_go_in(inst, fn, o), 0);
	rtest_wait(has_goid, o, "the goroutine runs");
	rtest_wait_parked(o->goid, reason);
}
static void finished(struct op *o)
{
	rtest_wait(is_done, o, "the operation is done");
}

START_TEST(send_to_full_channel_parks_until_a_receive)
{
	weft_chan *c = weft_chan_new(8, 1);
	struct op o = { .c = c, .value = 2 };
	int64_t v = 1;

	ck_assert_int_eq(weft_chan_try_send(c, &v, 8), 0);
	ck_assert_int_eq(weft_chan_try_send(c, &v, 8), -EAGAIN);
	start(&o, do_send, RT_WAIT_CHAN_SEND);

	ck_assert_int_eq(weft_chan_recv(c, &v, 8), 1);
	ck_assert_int_eq(v, 1);

	finished(&o);
	ck_assert_int_eq(o.rc, 0);
	ck_assert_uint_eq(weft_chan_len(c), 1);
	ck_assert_int_eq(weft_chan_try_recv(c, &v, 8), 1);
	ck_assert_int_eq(v, 2);
	weft_chan_free(c);
}
END_TEST

START_TEST(recv_on_closed_channel_drains_then_reports_closed)
{
	weft_chan *c = weft_chan_new(8, 2);
	int64_t v = 7;

	weft_chan_send(c, &v, 8);
	ck_assert_int_eq(weft_chan_close(c), 0);
	ck_assert_int_eq(weft_chan_close(c), -EALREADY);
	ck_assert_int_eq(weft_chan_send(c, &v, 8), -EPIPE);

	v = 0;
	ck_assert_int_eq(weft_chan_recv(c, &v, 8), 1);
	ck_assert_int_eq(v, 7);
	ck_assert_int_eq(weft_chan_recv(c, &v, 8), 0);
	ck_assert_int_eq(v, 0);
	weft_chan_free(c);
}
END_TEST

START_TEST(close_wakes_all_receivers_with_closed_and_senders_with_epipe)
{
	weft_chan *r = weft_chan_new(8, 0), *s = weft_chan_new(8, 0);
	struct op recv[3], send[3];

	memset(recv, 0, sizeof recv);
	memset(send, 0, sizeof send);
	for (int i = 0; i < 3; i++) {
		recv[i].c = r;
		recv[i].value = 99;
		send[i].c = s;
		start(&recv[i], do_recv, RT_WAIT_CHAN_RECV);
		start(&send[i], do_send, RT_WAIT_CHAN_SEND);
	}
	weft_chan_close(r);
	weft_chan_close(s);
	for (int i = 0; i < 3; i++) {
		finished(&recv[i]);
		finished(&send[i]);
		ck_assert_int_eq(recv[i].rc, 0);
		ck_assert_int_eq(recv[i].value, 0);
		ck_assert_int_eq(send[i].rc, -EPIPE);
	}
	weft_chan_free(r);
	weft_chan_free(s);
}
END_TEST

START_TEST(waiters_are_served_in_order_of_arrival)
{
	weft_chan *c = weft_chan_new(8, 0);
	struct op send[5];
	int64_t v;

	memset(send, 0, sizeof send);
	for (int i = 0; i < 5; i++) {
		send[i].c = c;
		send[i].value = i;
		start(&send[i], do_send, RT_WAIT_CHAN_SEND);
	}
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(weft_chan_recv(c, &v, 8), 1);
		ck_assert_int_eq(v, i);
	}
	rtest_wait_gone();
	weft_chan_free(c);
}
END_TEST

START_TEST(a_nil_channel_waits_until_called_off)
{
	struct op send = { 0 }, recv = { 0 };
	int64_t v = 0;

	ck_assert_int_eq(weft_chan_try_send(NULL, &v, 8), -EAGAIN);
	ck_assert_int_eq(weft_chan_try_recv(NULL, &v, 8), -EAGAIN);
	ck_assert_int_eq(weft_chan_close(NULL), -EINVAL);
	start(&send, do_send, RT_WAIT_CHAN_SEND_NIL);
	start(&recv, do_recv, RT_WAIT_CHAN_RECV_NIL);

	weft_inst_cancel(inst);

	finished(&send);
	finished(&recv);
	ck_assert_int_eq(send.rc, -ECANCELED);
	ck_assert_int_eq(recv.rc, -ECANCELED);
}
END_TEST

START_TEST(cancel_calls_waits_off_and_leaves_the_channel_usable)
{
	weft_chan *c = weft_chan_new(8, 0);
	struct op dead[4];
	int64_t v = 5;

	memset(dead, 0, sizeof dead);
	for (int i = 0; i < 4; i++) {
		dead[i].c = c;
		start(&dead[i], do_recv, RT_WAIT_CHAN_RECV);
	}
	weft_inst_cancel(inst);
	for (int i = 0; i < 4; i++) {
		finished(&dead[i]);
		ck_assert_int_eq(dead[i].rc, -ECANCELED);
	}
	ck_assert_int_eq(weft_chan_try_send(c, &v, 8), -EAGAIN); /* nobody is left in the queue */
	ck_assert_int_eq(weft_go_in(inst, do_recv, &dead[0]), -ECANCELED);
	weft_chan_free(c);
}
END_TEST

START_TEST(wrong_sizes_are_refused)
{
	weft_chan *c = weft_chan_new(8, 1);
	int v = 0;

	ck_assert_int_eq(weft_chan_send(c, &v, 4), -EINVAL);
	ck_assert_int_eq(weft_chan_recv(c, &v, 4), -EINVAL);
	ck_assert_ptr_null(weft_chan_new(8, SIZE_MAX / 4));
	ck_assert_ptr_null(weft_chan_new(70000, 1));
	ck_assert_uint_eq(weft_chan_cap(c), 1);
	ck_assert_uint_eq(weft_chan_cap(NULL), 0);
	weft_chan_free(c);
	weft_chan_free(NULL);
}
END_TEST

struct big {
	char b[1000];
	int n;
};
typedef WEFT_CHAN(struct big) big_chan;

static void big_sender(void *arg)
{
	big_chan *c = arg;

	for (int i = 0; i < 100; i++) {
		struct big b = { .n = i };

		memset(b.b, i, sizeof b.b);
		ck_assert_int_eq(weft_send(*c, b), 0);
	}
	weft_chan_finish(*c);
}
START_TEST(elements_of_any_size_arrive_whole)
{
	for (size_t cap = 0; cap < 4; cap++) {
		big_chan c;
		struct big b;
		int n = 0;

		ck_assert_int_eq(weft_make(&c, cap), 0);
		weft_go_in(inst, big_sender, &c);
		while (weft_recv(c, &b) > 0) {
			ck_assert_int_eq(b.n, n++);
			for (size_t i = 0; i < sizeof b.b; i++)
				often_eq(b.b[i], (char)b.n);
		}
		ck_assert_int_eq(n, 100);
		rtest_wait_gone();
		weft_chan_free(c.h);
	}
}
END_TEST

/* Many producers and consumers: every value arrives exactly once. */
#define PAIRS 8
struct soup {
	int_chan c, out;
	weft_wg producers, consumers;
	int per;
};
static void produce(void *arg)
{
	struct soup *s = arg;

	for (int i = 1; i <= s->per; i++)
		often_eq(weft_send(s->c, i), 0);
}
static void consume(void *arg)
{
	struct soup *s = arg;
	int64_t v, sum = 0;

	while (weft_recv(s->c, &v) > 0) {
		sum += v;
		if (v % 7 == 0)
			weft_yield();
	}
	ck_assert_int_eq(weft_send(s->out, sum), 0);
}
static void soup_main(void *arg)
{
	struct soup *s = arg;

	for (int i = 0; i < PAIRS; i++) {
		ck_assert_int_eq(weft_wg_go(&s->producers, produce, s), 0);
		ck_assert_int_eq(weft_wg_go(&s->consumers, consume, s), 0);
	}
	weft_wg_wait(&s->producers);
	weft_chan_finish(s->c);
	weft_wg_wait(&s->consumers);
}
START_TEST(many_producers_and_consumers_lose_and_double_nothing)
{
	static const size_t caps[] = { 0, 1, 10, 128 };

	for (size_t k = 0; k < 4; k++) {
		struct soup s = { .per = rtest_scale(20000) };
		int64_t sum = 0, v;

		weft_make(&s.c, caps[k]);
		weft_make(&s.out, PAIRS);
		rtest_run(soup_main, &s);
		for (int i = 0; i < PAIRS; i++) {
			ck_assert_int_eq(weft_recv(s.out, &v), 1);
			sum += v;
		}
		ck_assert_int_eq(sum, (int64_t)PAIRS * s.per * (s.per + 1) / 2);
		rtest_wait_gone();
		weft_chan_free(s.c.h);
		weft_chan_free(s.out.h);
	}
}
END_TEST

Suite *test_chan(void);
Suite *test_chan(void)
{
	Suite *s = suite_create("chan");
	for (int ps = 1; ps <= 3; ps += 2) {
		TCase *t = rtest_case(ps, 120);

		tcase_add_test(t, send_to_full_channel_parks_until_a_receive);
		tcase_add_test(t, recv_on_closed_channel_drains_then_reports_closed);
		tcase_add_test(t, close_wakes_all_receivers_with_closed_and_senders_with_epipe);
		tcase_add_test(t, waiters_are_served_in_order_of_arrival);
		tcase_add_test(t, a_nil_channel_waits_until_called_off);
		tcase_add_test(t, cancel_calls_waits_off_and_leaves_the_channel_usable);
		tcase_add_test(t, wrong_sizes_are_refused);
		tcase_add_test(t, elements_of_any_size_arrive_whole);
		tcase_add_test(t, many_producers_and_consumers_lose_and_double_nothing);
		suite_add_tcase(s, t);
	}
	return s;
}
