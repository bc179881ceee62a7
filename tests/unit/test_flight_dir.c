/* test_flight_dir.c - the folder of the flight recorder: what is a name, what is listed, what goes first. */
#include "flight_dir.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

Suite *test_flight_dir(void);

static char dir[64];

static void make_dir(void)
{
	strcpy(dir, "/tmp/weft-flight.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void drop_dir(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

static void put(const char *name, size_t bytes)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	for (size_t i = 0; i < bytes; i++)
		fputc(i == 10 ? '\n' : 'x', f);
	ck_assert_int_eq(fclose(f), 0);
}

static bool is_there(const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

START_TEST(names_hold_time_and_reason_and_nothing_else_is_one)
{
	static const char *const bad[] = {
		"",
		"flight-20261122T130501.123Z-signal",
		"flight-20261122T130501.123Z-.trace",
		"flight-20261122T130501.123Z-SIGNAL.trace",
		"flight-20261122T130501.123Z-signal.trace.gz",
		"flight-20261122T130501.123Z-signal/../../x.trace",
		"../flight-20261122T130501.123Z-signal.trace",
		"flight-2026x122T130501.123Z-signal.trace",
		"flight-20261122T130501.123Z-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.trace",
	};
	char name[FLIGHT_NAME], file[FLIGHT_NAME + 8];

	flight_name(name, INT64_C(1795266301123456789), "runq-wait");
	ck_assert_str_eq(name, "flight-20261121T130501.123Z-runq-wait");
	snprintf(file, sizeof file, "%s.trace", name);
	ck_assert(flight_is_file(file));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_msg(!flight_is_file(bad[i]), "%s", bad[i]);
}
END_TEST

START_TEST(snapshots_are_listed_newest_first_with_all_their_files)
{
	struct flight_snapshot *s = NULL;

	make_dir();
	put("flight-20261122T130501.123Z-signal.trace", 100);
	put("flight-20261122T130501.123Z-signal.txt", 50);
	put("flight-20261122T130501.124Z-fatal.raw", 7);
	put("something else", 1);
	ck_assert_int_eq(flight_list(dir, &s), 2);
	ck_assert_str_eq(s[0].reason, "fatal");
	ck_assert_uint_eq(s[0].raw_bytes, 7);
	ck_assert_str_eq(s[1].name, "flight-20261122T130501.123Z-signal");
	ck_assert_uint_eq(s[1].trace_bytes, 100);
	ck_assert_uint_eq(s[1].dump_bytes, 50);
	flight_describe(dir, &s[1]);
	ck_assert_str_eq(s[1].what, "xxxxxxxxxx");
	flight_describe(dir, &s[0]);
	ck_assert_str_eq(s[0].what, "");
	free(s);
	drop_dir();
	ck_assert_int_eq(flight_list(dir, &s), -ENOENT);
}
END_TEST

START_TEST(the_oldest_go_first_and_the_newest_never)
{
	make_dir();
	put("flight-20261122T130501.001Z-signal.trace", 100);
	put("flight-20261122T130501.001Z-signal.txt", 100);
	put("flight-20261122T130501.002Z-signal.trace", 100);
	put("flight-20261122T130501.003Z-signal.trace", 100);
	put("mine", 1);
	ck_assert_int_eq(flight_prune(dir, 2, 1000), 0);
	ck_assert(!is_there("flight-20261122T130501.001Z-signal.trace"));
	ck_assert(!is_there("flight-20261122T130501.001Z-signal.txt"));
	ck_assert(is_there("flight-20261122T130501.002Z-signal.trace"));
	ck_assert_int_eq(flight_prune(dir, 2, 150), 0);
	ck_assert(!is_there("flight-20261122T130501.002Z-signal.trace"));
	ck_assert_int_eq(flight_prune(dir, 2, 1), 0);
	ck_assert(is_there("flight-20261122T130501.003Z-signal.trace"));
	ck_assert(is_there("mine"));
	drop_dir();
}
END_TEST

START_TEST(only_files_of_snapshots_are_opened)
{
	char path[256];
	int fd;

	make_dir();
	put("secret", 5);
	put("flight-20261122T130501.001Z-signal.trace", 5);
	snprintf(path, sizeof path, "%s/flight-20261122T130501.002Z-signal.trace", dir);
	ck_assert_int_eq(symlink("secret", path), 0);
	fd = flight_open(dir, "flight-20261122T130501.001Z-signal.trace");
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(flight_open(dir, "secret"), -ENOENT);
	ck_assert_int_eq(flight_open(dir, "../secret"), -ENOENT);
	ck_assert_int_eq(flight_open(dir, "flight-20261122T130501.002Z-signal.trace"), -ENOENT);
	ck_assert_int_eq(flight_open(dir, "flight-20261122T130501.003Z-signal.trace"), -ENOENT);
	drop_dir();
}
END_TEST

START_TEST(what_nobody_holds_is_swept_away_and_what_is_whole_has_its_name)
{
	int fd;

	make_dir();
	put(".flight-1.trace", 5);
	put(".other", 5);
	fd = flight_create(dir, ".flight-2.trace");
	ck_assert_int_ge(fd, 0);
	flight_sweep(dir);
	ck_assert(!is_there(".flight-1.trace"));
	ck_assert(is_there(".flight-2.trace"));
	ck_assert(is_there(".other"));
	ck_assert_int_eq(flight_publish(dir, ".flight-2.trace", "flight-20261122T130501.001Z-signal.trace"), 0);
	ck_assert(is_there("flight-20261122T130501.001Z-signal.trace"));
	ck_assert(!is_there(".flight-2.trace"));
	close(fd);
	drop_dir();
}
END_TEST

Suite *test_flight_dir(void)
{
	Suite *s = suite_create("flight_dir");
	TCase *t = tcase_create("flight_dir");

	tcase_add_test(t, names_hold_time_and_reason_and_nothing_else_is_one);
	tcase_add_test(t, snapshots_are_listed_newest_first_with_all_their_files);
	tcase_add_test(t, the_oldest_go_first_and_the_newest_never);
	tcase_add_test(t, only_files_of_snapshots_are_opened);
	tcase_add_test(t, what_nobody_holds_is_swept_away_and_what_is_whole_has_its_name);
	suite_add_tcase(s, t);
	return s;
}
