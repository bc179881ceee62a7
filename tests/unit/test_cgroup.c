/* test_cgroup.c - limits of control groups, read from trees made for the purpose: what Go's parser tests know,
 * and ancestors, moved groups, and files that are cut or missing. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup.h"

static char top[] = "/tmp/weft-cgroup.XXXXXX", proc[64], sys[64];

static void put(const char *under, const char *name, const char *text)
{
	char path[1024];
	FILE *f;

	snprintf(path, sizeof path, "%s%s", under, name);
	for (char *s = path + 1; (s = strchr(s, '/')) != NULL; s++) {
		*s = '\0';
		(void)mkdir(path, 0700);
		*s = '/';
	}
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(top));
	snprintf(proc, sizeof proc, "%s/proc", top);
	snprintf(sys, sizeof sys, "%s/sys", top);
	put(sys, "/x", "");
}

static void teardown(void)
{
	char cmd[128];

	snprintf(cmd, sizeof cmd, "rm -rf %s", top);
	ck_assert_int_eq(system(cmd), 0);
}

#define V2(root, at) "35 26 0:30 " root " " at " rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1(root, at, super) "40 25 0:31 " root " " at " rw,nosuid - cgroup cgroup rw," super "\n"
#define OTHER "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"

static const struct {
	const char *cgroup, *mountinfo, *dir, *cpu_max, *quota, *period;
	int64_t want_quota, want_period;
} cases[] = {
	/* version 2 */
	{ "0::/a/b\n", OTHER V2("/", "/cg"), "/cg/a/b", .cpu_max = "250000 100000\n", .want_quota = 250000,
	  .want_period = 100000 },
	{ "0::/a/b\n", V2("/", "/cg"), "/cg/a", .cpu_max = "50000 100000\n", .want_quota = 50000,
	  .want_period = 100000 },
	{ "0::/a/b\n", V2("/", "/cg"), "/cg", .cpu_max = "50000 100000\n", .want_quota = 50000, .want_period = 100000 },
	{ "0::/\n", V2("/", "/cg"), "/cg", .cpu_max = "50000 100000\n", .want_quota = 50000, .want_period = 100000 },
	{ "0::/a\n", V2("/", "/cg"), "/cg/a", .cpu_max = "max 100000\n" },
	{ "0::/a\n", V2("/", "/cg"), "/cg/a", .cpu_max = "250000 100000" }, /* cut */
	{ "0::/a\n", V2("/", "/cg"), "/cg/a", .cpu_max = "250000\n" },      /* malformed from here */
	{ "0::/a\n", V2("/", "/cg"), "/cg/a", .cpu_max = "250000 x\n" },
	{ "0::/a\n", V2("/", "/cg"), "/cg/a", .cpu_max = "-1 100000\n" },
	{ "0::/a\n", V2("/", "/cg"), "/cg/a", .cpu_max = "250000 0\n" },
	{ "0::/a\n", V2("/", "/cg"), "/cg/a", .cpu_max = "99999999999999999999 100000\n" },
	{ "0::/a\n", V2("/", "/cg"), "/cg/a", .cpu_max = "\n" },
	/* mount roots: whole components, the first that fits */
	{ "0::/pod/c\n", V2("/pod", "/cg"), "/cg/c", .cpu_max = "250000 100000\n", .want_quota = 250000,
	  .want_period = 100000 },
	{ "0::/pod/c\n", V2("/pod/c", "/cg"), "/cg", .cpu_max = "250000 100000\n", .want_quota = 250000,
	  .want_period = 100000 },
	{ "0::/sandbox\n", V2("/sand", "/cg"), "/cg/box", .cpu_max = "250000 100000\n" },
	{ "0::/sandbox\n", V2("/sand", "/no") V2("/", "/cg"), "/cg/sandbox", .cpu_max = "250000 100000\n",
	  .want_quota = 250000, .want_period = 100000 },
	{ "0::/../..\n", V2("/../..", "/cg"), "/cg", .cpu_max = "250000 100000\n", .want_quota = 250000,
	  .want_period = 100000 },
	{ "0::/\n", V2("/../..", "/cg"), "/cg", .cpu_max = "250000 100000\n" },
	/* escapes */
	{ "0::/a b\n", V2("/", "/c\\040g\\134"), "/c g\\/a b", .cpu_max = "250000 100000\n", .want_quota = 250000,
	  .want_period = 100000 },
	/* version 1 */
	{ "4:cpu,cpuacct:/a\n0::/u\n", V1("/", "/cpu", "cpu,cpuacct") V2("/", "/cg"), "/cpu/a", .quota = "150000\n",
	  .period = "100000\n", .want_quota = 150000, .want_period = 100000 },
	{ "0::/u\n4:cpu:/a\n", V2("/", "/cg") V1("/", "/cpu", "cpu"), "/cpu/a", .quota = "150000\n",
	  .period = "50000\n", .want_quota = 150000, .want_period = 50000 },
	{ "4:cpu:/a\n", V1("/", "/cpu", "cpu"), "/cpu/a", .quota = "-1\n", .period = "100000\n" },
	{ "4:cpu:/a\n", V1("/", "/cpu", "cpu"), "/cpu/a", .quota = "150000\n" },
	{ "4:cpuacct:/a\n", V1("/", "/cpu", "cpuacct"), "/cpu/a", .quota = "150000\n", .period = "100000\n" },
	{ "4:cpu:/a\n", V1("/", "/acct", "cpuacct") V1("/", "/cpu", "cpu"), "/cpu/a", .quota = "150000\n",
	  .period = "100000\n", .want_quota = 150000, .want_period = 100000 },
	/* files that are cut or strange */
	{ "0::/a\n", "35 26 0:30 / /cg rw,nosuid - cgroup2", "/cg/a", .cpu_max = "250000 100000\n" },
	{ "0::/a\n", "35 26 0:30 / /cg\n35 26\n\n - \n", "/cg/a", .cpu_max = "250000 100000\n" },
	{ "0::/a", V2("/", "/cg"), "/cg/a", .cpu_max = "250000 100000\n" },
	{ "\n::\n0:\n0::\n0::/a\n", V2("/", "/cg"), "/cg/a", .cpu_max = "250000 100000\n", .want_quota = 250000,
	  .want_period = 100000 },
	{ "", "", "/cg", .cpu_max = "250000 100000\n" },
};

START_TEST(a_group_limits_the_cpu)
{
	struct rt_cgroup_limit l;
	char at[1200];

	put(proc, "/self/cgroup", cases[_i].cgroup);
	put(proc, "/self/mountinfo", cases[_i].mountinfo);
	if (cases[_i].cpu_max) {
		snprintf(at, sizeof at, "%s/cpu.max", cases[_i].dir);
		put(sys, at, cases[_i].cpu_max);
	}
	if (cases[_i].quota) {
		snprintf(at, sizeof at, "%s/cpu.cfs_quota_us", cases[_i].dir);
		put(sys, at, cases[_i].quota);
	}
	if (cases[_i].period) {
		snprintf(at, sizeof at, "%s/cpu.cfs_period_us", cases[_i].dir);
		put(sys, at, cases[_i].period);
	}
	rt_cgroup_cpu(proc, sys, &l);
	ck_assert_int_eq(l.quota, cases[_i].want_quota);
	if (l.quota) {
		ck_assert_int_eq(l.period, cases[_i].want_period);
		snprintf(at, sizeof at, "%s%s", sys, cases[_i].dir);
		ck_assert_str_eq(l.by, at);
	}
}
END_TEST

START_TEST(the_tightest_ancestor_counts_and_a_move_is_seen)
{
	struct rt_cgroup_limit l;

	put(proc, "/self/cgroup", "0::/a/b/c\n");
	put(proc, "/self/mountinfo", V2("/", "/cg"));
	put(sys, "/cg/a/cpu.max", "300000 100000\n");
	put(sys, "/cg/a/b/cpu.max", "40000 10000\n");
	put(sys, "/cg/a/b/c/cpu.max", "max 100000\n");
	rt_cgroup_cpu(proc, sys, &l);
	ck_assert_int_eq(l.quota, 300000);
	ck_assert_ptr_nonnull(strstr(l.by, "/cg/a"));
	put(sys, "/cg/a/b/c/cpu.max", "10000 20000\n");
	rt_cgroup_cpu(proc, sys, &l);
	ck_assert_int_eq(l.quota, 10000);
	ck_assert_int_eq(l.period, 20000);
	put(proc, "/self/cgroup", "0::/elsewhere\n");
	rt_cgroup_cpu(proc, sys, &l);
	ck_assert_int_eq(l.quota, 0);
}
END_TEST

START_TEST(an_overlong_line_is_passed_over)
{
	struct rt_cgroup_limit l;
	static char text[40000];

	memset(text, 'x', 30000);
	strcpy(text + 30000, "\n" V2("/", "/cg"));
	put(proc, "/self/cgroup", "0::/a\n");
	put(proc, "/self/mountinfo", text);
	put(sys, "/cg/a/cpu.max", "300000 100000\n");
	rt_cgroup_cpu(proc, sys, &l);
	ck_assert_int_eq(l.quota, 300000);
}
END_TEST

START_TEST(memory_is_limited_by_the_tightest_group)
{
	struct rt_cgroup_limit l;

	put(proc, "/self/cgroup", "7:memory:/a/b\n4:cpu:/other\n");
	put(proc, "/self/mountinfo", V1("/", "/mem", "memory"));
	put(sys, "/mem/a/b/memory.limit_in_bytes", "9223372036854771712\n");
	put(sys, "/mem/a/memory.limit_in_bytes", "1048576\n");
	rt_cgroup_memory(proc, sys, &l);
	ck_assert_uint_eq(l.memory, 1048576);
	put(proc, "/self/cgroup", "0::/a\n");
	put(proc, "/self/mountinfo", V2("/", "/cg"));
	put(sys, "/cg/a/memory.max", "max\n");
	rt_cgroup_memory(proc, sys, &l);
	ck_assert_uint_eq(l.memory, 0);
	put(sys, "/cg/a/memory.max", "4096\n");
	rt_cgroup_memory(proc, sys, &l);
	ck_assert_uint_eq(l.memory, 4096);
}
END_TEST

Suite *test_cgroup(void);
Suite *test_cgroup(void)
{
	Suite *s = suite_create("cgroup");
	TCase *t = tcase_create("files");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, a_group_limits_the_cpu, 0, sizeof cases / sizeof *cases);
	tcase_add_test(t, the_tightest_ancestor_counts_and_a_move_is_seen);
	tcase_add_test(t, an_overlong_line_is_passed_over);
	tcase_add_test(t, memory_is_limited_by_the_tightest_group);
	suite_add_tcase(s, t);
	return s;
}
