/* test_logger.c - the log's queue and thread, written into a pipe of our own.  A test is a process, so
 * each starts its own logger. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon.h"

Suite *test_logger(void);

#define PATIENCE (10 * WEFT_SEC)

static int ends[2];

static void start(enum logger_style style, int level)
{
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(logger_start(ends[1], style, level), 0);
}

/* What has been written so far, after a flush. */
static size_t read_log(char *out, size_t cap)
{
	ssize_t n;

	ck_assert(logger_flush(PATIENCE));
	n = read(ends[0], out, cap - 1);
	ck_assert_int_ge(n, 0);
	out[n] = 0;
	return (size_t)n;
}

START_TEST(a_plain_line_has_a_time_a_level_and_its_origin)
{
	char got[1024], rest[256];
	int year, month, day, hour, minute, second, ms;

	start(LOGGER_PLAIN, WEFT_INFO);
	logger_write(WEFT_WARN, "primes", 17, "something is odd");
	read_log(got, sizeof got);

	ck_assert_int_eq(sscanf(got, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %255[^\n]", &year, &month, &day, &hour, &minute,
				&second, &ms, rest),
			 8);
	ck_assert_str_eq(rest, "warning [primes 17] something is odd");
	ck_assert_int_eq(got[strlen(got) - 1], '\n');
}
END_TEST

/* A daemon that ends at once on a busy machine says why it does. */
START_TEST(a_thread_that_is_late_is_waited_for_while_stderr_takes_more)
{
	start(LOGGER_PLAIN, WEFT_INFO);
	for (int i = 0; i < 20; i++) {
		logger_write(WEFT_INFO, NULL, 0, "the reason");
		ck_assert(logger_flush(0));
	}
}
END_TEST

START_TEST(a_plain_line_tells_the_right_time)
{
	char got[1024];
	struct tm tm = { 0 };
	time_t before = time(NULL), said;

	start(LOGGER_PLAIN, WEFT_INFO);
	logger_write(WEFT_INFO, NULL, 0, "now");
	read_log(got, sizeof got);

	ck_assert_ptr_nonnull(strptime(got, "%Y-%m-%dT%H:%M:%S", &tm));
	said = timegm(&tm);
	ck_assert_int_ge(said, before);
	ck_assert_int_le(said, time(NULL));
}
END_TEST

START_TEST(a_journal_line_has_its_priority_in_front)
{
	char got[1024];

	start(LOGGER_JOURNAL, WEFT_INFO);
	logger_write(WEFT_ERROR, NULL, 0, "one");
	logger_write(WEFT_INFO, "leak", 0, "two");
	read_log(got, sizeof got);

	ck_assert_str_eq(got, "<3>one\n<6>[leak] two\n");
}
END_TEST

START_TEST(lines_below_the_level_are_left_out)
{
	char got[1024];

	start(LOGGER_JOURNAL, WEFT_WARN);
	logger_write(WEFT_INFO, NULL, 0, "no");
	logger_write(WEFT_WARN, NULL, 0, "yes");
	logger_level(WEFT_DEBUG);
	logger_write(WEFT_DEBUG, NULL, 0, "now, too");
	read_log(got, sizeof got);

	ck_assert_str_eq(got, "<4>yes\n<7>now, too\n");
}
END_TEST

START_TEST(a_text_can_forge_no_second_line)
{
	char got[1024];

	start(LOGGER_JOURNAL, WEFT_INFO);
	logger_write(WEFT_INFO, "a\nb", 1, "first\n<0>forged\r\x1b[2J");
	read_log(got, sizeof got);

	ck_assert_str_eq(got, "<6>[a b 1] first <0>forged  [2J\n");
}
END_TEST

START_TEST(a_long_text_is_cut)
{
	static char text[5000], got[5000];

	memset(text, 'x', sizeof text - 1);
	start(LOGGER_JOURNAL, WEFT_INFO);
	logger_write(WEFT_INFO, NULL, 0, text);

	ck_assert_uint_eq(read_log(got, sizeof got), 3 + 1023 + 1);
}
END_TEST

/* Nobody reads: a writer that waited would run into the test's time limit. */
START_TEST(nobody_waits_for_a_full_pipe_and_the_loss_is_told)
{
	static char text[1000], got[1 << 21];
	size_t n = 0, lines = 0;
	uint64_t dropped;
	char told[128];

	memset(text, 'z', sizeof text - 1);
	start(LOGGER_JOURNAL, WEFT_INFO);
	for (int i = 0; i < 5000; i++)
		logger_write(WEFT_INFO, NULL, 0, text);
	dropped = logger_dropped();
	ck_assert_uint_gt(dropped, 0);
	ck_assert(!logger_flush(50 * WEFT_MS));

	/* The reader wakes up; the lines that were kept come out, then the count of the others. */
	snprintf(told, sizeof told, "<4>%llu log lines were dropped", (unsigned long long)dropped);
	while (!strstr(got + (n > 500 ? n - 500 : 0), told)) {
		ssize_t more;

		ck_assert_int_eq(poll(&(struct pollfd){ .fd = ends[0], .events = POLLIN }, 1, 10000), 1);
		more = read(ends[0], got + n, sizeof got - 1 - n);
		ck_assert_int_gt(more, 0);
		n += (size_t)more;
		got[n] = 0;
	}
	for (size_t i = 0; i < n; i++)
		lines += got[i] == '\n';
	ck_assert_uint_eq(lines, 5000 - dropped + 1);
	ck_assert_uint_eq(logger_dropped(), dropped);
}
END_TEST

/* A round fits into the queue, so nothing is dropped; all of them go round it several times. */
#define WRITERS 4
#define EACH 200
#define ROUNDS 6

static int round_nr;

static void *write_lines(void *arg)
{
	for (int i = 0; i < EACH; i++)
		logger_print(WEFT_INFO, "writer %d line %d end", (int)(intptr_t)arg, round_nr * EACH + i);
	return NULL;
}

static void *read_until_done(void *arg)
{
	int *next = arg, writer, line;
	FILE *f = fdopen(ends[0], "r");
	char text[256], tail;

	while (fgets(text, sizeof text, f) && strcmp(text, "<6>done\n") != 0) {
		ck_assert_int_eq(sscanf(text, "<6>writer %d line %d en%c", &writer, &line, &tail), 3);
		ck_assert_int_eq(tail, 'd');
		ck_assert_int_eq(line, next[writer]);
		next[writer]++;
	}
	return NULL;
}

START_TEST(lines_of_many_threads_come_out_whole_and_each_ones_in_order)
{
	pthread_t writers[WRITERS], reader;
	int next[WRITERS] = { 0 };

	start(LOGGER_JOURNAL, WEFT_INFO);
	ck_assert_int_eq(pthread_create(&reader, NULL, read_until_done, next), 0);
	for (round_nr = 0; round_nr < ROUNDS; round_nr++) {
		for (intptr_t i = 0; i < WRITERS; i++)
			ck_assert_int_eq(pthread_create(&writers[i], NULL, write_lines, (void *)i), 0);
		for (int i = 0; i < WRITERS; i++)
			pthread_join(writers[i], NULL);
		ck_assert(logger_flush(PATIENCE));
	}
	logger_print(WEFT_INFO, "done");
	pthread_join(reader, NULL);

	ck_assert_uint_eq(logger_dropped(), 0);
	for (int i = 0; i < WRITERS; i++)
		ck_assert_int_eq(next[i], ROUNDS * EACH);
}
END_TEST

START_TEST(the_journal_is_known_by_device_and_inode)
{
	struct stat st;
	char stream[64];
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	ck_assert_int_eq(fstat(fd, &st), 0);
	snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	ck_assert_int_eq(logger_style_of(fd), LOGGER_JOURNAL);
	snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino + 1);
	setenv("JOURNAL_STREAM", stream, 1);
	ck_assert_int_eq(logger_style_of(fd), LOGGER_PLAIN);
	setenv("JOURNAL_STREAM", "nonsense", 1);
	ck_assert_int_eq(logger_style_of(fd), LOGGER_PLAIN);
	unsetenv("JOURNAL_STREAM");
	ck_assert_int_eq(logger_style_of(fd), LOGGER_PLAIN);
	close(fd);
}
END_TEST

START_TEST(levels_are_known_by_name)
{
	ck_assert_int_eq(logger_level_parse("error"), WEFT_ERROR);
	ck_assert_int_eq(logger_level_parse("warn"), WEFT_WARN);
	ck_assert_int_eq(logger_level_parse("notice"), WEFT_NOTICE);
	ck_assert_int_eq(logger_level_parse("info"), WEFT_INFO);
	ck_assert_int_eq(logger_level_parse("debug"), WEFT_DEBUG);
	ck_assert_int_lt(logger_level_parse("loud"), 0);
	ck_assert_int_lt(logger_level_parse(""), 0);
}
END_TEST

Suite *test_logger(void)
{
	Suite *s = suite_create("logger");
	TCase *c = tcase_create("logger");

	tcase_set_timeout(c, 60);
	tcase_add_test(c, a_plain_line_has_a_time_a_level_and_its_origin);
	tcase_add_test(c, a_thread_that_is_late_is_waited_for_while_stderr_takes_more);
	tcase_add_test(c, a_plain_line_tells_the_right_time);
	tcase_add_test(c, a_journal_line_has_its_priority_in_front);
	tcase_add_test(c, lines_below_the_level_are_left_out);
	tcase_add_test(c, a_text_can_forge_no_second_line);
	tcase_add_test(c, a_long_text_is_cut);
	tcase_add_test(c, nobody_waits_for_a_full_pipe_and_the_loss_is_told);
	tcase_add_test(c, lines_of_many_threads_come_out_whole_and_each_ones_in_order);
	tcase_add_test(c, the_journal_is_known_by_device_and_inode);
	tcase_add_test(c, levels_are_known_by_name);
	suite_add_tcase(s, c);
	return s;
}
