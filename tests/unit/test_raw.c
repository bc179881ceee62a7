/* test_raw.c - what a fatal signal writes of the recorder, and the trace that another process makes of it: here both
 * are one process, which goes on. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rtest.h"

#include "chromecheck.h"
#include "gotrace_raw.h"
#include "raw.h"
#include "tracecheck.h"

Suite *test_raw(void);

static _Atomic bool stop;
static char *bytes;
static size_t n_bytes;

__attribute__((noinline)) static void raw_sleeper(void *arg)
{
	(void)arg;
	while (!stop)
		weft_sleep(WEFT_MS);
}

static void raw_spawner(void *arg)
{
	(void)arg;
	while (!stop) {
		weft_go(raw_sleeper, NULL); /* ends when all do */
		weft_sleep(20 * WEFT_MS);
		weft_block_enter();
		usleep(200);
		weft_block_exit();
	}
}

static void raw_silent(void *arg)
{
	(void)arg;
	while (!stop)
		;
}

/* Has all open that has a name, from after what the recorder may have lost at its start. */
static void raw_speaker(void *arg)
{
	(void)arg;
	weft_sleep(100 * WEFT_MS);
	weft_label_push("raw_key", "raw_value");
	weft_label_push("raw_key", "another");
	weft_label_pop();
	(void)weft_task_begin("raw_task");
	weft_region_begin("raw_region");
	while (!stop) {
		weft_trace_log("raw_category", "raw_text");
		weft_sleep(WEFT_MS);
	}
}

/* A file as it is written while everybody goes on; `text` behind it. */
static void write_raw(const char *text)
{
	char path[] = "/tmp/weft-raw.XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	(void)unlink(path);
	weft_host_fatal_file(fd);
	ck_assert_int_eq(rt_raw_write(SIGSEGV, "a test"), fd);
	weft_host_fatal_file(-1);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	n_bytes = (size_t)lseek(fd, 0, SEEK_END);
	bytes = malloc(n_bytes + 1);
	ck_assert_int_eq(pread(fd, bytes, n_bytes, 0), (ssize_t)n_bytes);
	close(fd);
}

static void make_raw(void)
{
	struct weft_host_opts opts = { .maxprocs = 3, .recorder_bytes = 1 << 20 };

	rtest_begin_with(&opts);
	stop = false;
	weft_go_in(inst, raw_silent, NULL);
	weft_go_in(inst, raw_sleeper, NULL);
	weft_go_in(inst, raw_spawner, NULL);
	weft_go_in(inst, raw_speaker, NULL);
	usleep(300000);
	write_raw("all goroutines, and why it died\n");
	stop = true;
	rtest_wait_gone();
	rtest_end();
}

static bool holds(const struct buf *b, const char *s)
{
	return memmem(b->b, b->len, s, strlen(s)) != NULL;
}

START_TEST(the_recorder_s_memory_becomes_a_trace_with_names)
{
	struct tracecheck c = { 0 };
	struct gotrace_raw raw;

	make_raw();
	ck_assert_int_eq(gotrace_raw_head(bytes, n_bytes)->signo, SIGSEGV);
	ck_assert_str_eq(gotrace_raw_head(bytes, n_bytes)->what, "a test");
	ck_assert_int_eq(gotrace_raw(bytes, n_bytes, GOTRACE_GO, &raw), 0);
	ck_assert_msg(tracecheck(&c, raw.trace.b, raw.trace.len), "%s", c.err);
	ck_assert(raw.whole);
	ck_assert_uint_eq(raw.missing, 0);
	ck_assert_uint_eq(raw.text_len, strlen("all goroutines, and why it died\n"));
	ck_assert_mem_eq(raw.text, "all goroutines, and why it died\n", raw.text_len);
	ck_assert(holds(&raw.trace, "raw_sleeper"));
	ck_assert(holds(&raw.trace, "raw_silent"));
	ck_assert(!holds(&raw.trace, "rt_park"));
	buf_free(&raw.trace);
	free(bytes);
}
END_TEST

START_TEST(it_becomes_one_in_json_too)
{
	struct chromecheck c;
	struct gotrace_raw raw;

	make_raw();
	ck_assert_int_eq(gotrace_raw(bytes, n_bytes, GOTRACE_CHROME, &raw), 0);
	ck_assert_msg(chromecheck(&c, raw.trace.b, raw.trace.len), "%s", c.err);
	ck_assert(holds(&raw.trace, "\"name\":\"raw_sleeper\""));
	ck_assert(holds(&raw.trace, "\"name\":\"raw_task\""));
	buf_free(&raw.trace);
	free(bytes);
}
END_TEST

/* Each `word` in the file is another one. */
static void change(const char *word)
{
	char *at = bytes;

	while ((at = memmem(at, n_bytes - (size_t)(at - bytes), word, strlen(word))))
		*at = 'R';
}

START_TEST(what_plugins_called_things_is_taken_from_the_file)
{
	static const char *const words[] = { "raw_key", "raw_value", "raw_task", "raw_region", "raw_category" };
	struct gotrace_raw raw;

	make_raw();
	for (int i = 0; i < 5; i++)
		change(words[i]);
	ck_assert_int_eq(gotrace_raw(bytes, n_bytes, GOTRACE_GO, &raw), 0);
	ck_assert(!holds(&raw.trace, "raw_task"));
	ck_assert(holds(&raw.trace, "Raw_task"));
	ck_assert(holds(&raw.trace, "Raw_region"));
	ck_assert(holds(&raw.trace, "Raw_category"));
	ck_assert(holds(&raw.trace, "Raw_key=Raw_value"));
	ck_assert(holds(&raw.trace, "raw_text"));
	buf_free(&raw.trace);
	free(bytes);
}
END_TEST

static void raw_yielder(void *arg)
{
	(void)arg;
	while (!stop)
		weft_yield();
}

START_TEST(what_a_signal_found_stays_although_others_go_on)
{
	struct weft_host_opts opts = { .maxprocs = 2, .recorder_bytes = 1 << 20 };
	struct tracecheck c = { 0 };
	struct gotrace_raw raw;

	rtest_begin_with(&opts);
	stop = false;
	for (int i = 0; i < 4; i++)
		weft_go_in(inst, raw_yielder, NULL);
	usleep(100000);
	write_raw("");
	stop = true;
	rtest_wait_gone();
	rtest_end();
	ck_assert_int_eq(gotrace_raw(bytes, n_bytes, GOTRACE_GO, &raw), 0);
	ck_assert_msg(tracecheck(&c, raw.trace.b, raw.trace.len), "%s", c.err);
	ck_assert_int_ge(c.events, 1000);
	buf_free(&raw.trace);
	free(bytes);
}
END_TEST

START_TEST(a_file_that_ends_anywhere_gives_a_trace_or_is_refused)
{
	uint64_t seed = rtest_seed();
	struct tracecheck c = { 0 };
	int good = 0;

	make_raw();
	for (int i = 0; i < rtest_scale(40); i++) {
		size_t n = rtest_random(&seed) % n_bytes;
		struct gotrace_raw raw;
		int rc = gotrace_raw(bytes, n, GOTRACE_GO, &raw);

		ck_assert_msg(rc == 0 || rc == -EINVAL || rc == -ENODATA, "%d", rc);
		if (rc == 0)
			ck_assert_msg(tracecheck(&c, raw.trace.b, raw.trace.len), "cut at %zu: %s", n, c.err);
		good += rc == 0;
		buf_free(&raw.trace);
	}
	ck_assert_int_gt(good, 0);
	free(bytes);
}
END_TEST

START_TEST(a_damaged_file_does_no_harm)
{
	static const uint64_t words[] = { 0, 1, UINT32_MAX, INT64_MAX, (uint64_t)INT64_MIN, UINT64_MAX };
	uint64_t seed = rtest_seed();

	make_raw();
	for (int i = 0; i < rtest_scale(60); i++) {
		char *copy = malloc(n_bytes);
		struct gotrace_raw raw;

		memcpy(copy, bytes, n_bytes);
		for (int k = 0; k < 50; k++)
			copy[16 + rtest_random(&seed) % (n_bytes - 16)] = (char)rtest_random(&seed);
		for (int k = 0; k < i % 4; k++) /* first of all in the head */
			memcpy(copy + 16 + rtest_random(&seed) % 20 * 8, &words[rtest_random(&seed) % 6], 8);
		(void)gotrace_raw(copy, n_bytes, GOTRACE_GO, &raw);
		buf_free(&raw.trace);
		free(copy);
	}
	free(bytes);
}
END_TEST

Suite *test_raw(void)
{
	Suite *s = suite_create("raw");
	TCase *t = tcase_create("raw");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, the_recorder_s_memory_becomes_a_trace_with_names);
	tcase_add_test(t, it_becomes_one_in_json_too);
	tcase_add_test(t, what_plugins_called_things_is_taken_from_the_file);
	tcase_add_test(t, what_a_signal_found_stays_although_others_go_on);
	tcase_add_test(t, a_file_that_ends_anywhere_gives_a_trace_or_is_refused);
	tcase_add_test(t, a_damaged_file_does_no_harm);
	suite_add_tcase(s, t);
	return s;
}
