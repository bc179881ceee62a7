/* sofile.c - shared objects that a test builds for itself, with the compiler that built the test. */
#include "sofile.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *folder(void)
{
	const char *tmp = getenv("TMPDIR");

	return tmp && *tmp ? tmp : "/tmp";
}

void sofile_folder(char *path, size_t cap)
{
	ck_assert_int_lt(snprintf(path, cap, "%s/weft-so-XXXXXX", folder()), (int)cap - 5);
	ck_assert_ptr_nonnull(mkdtemp(path));
	strcat(path, "/x.so");
}

bool sofile_compile(const char *source, const char *flags, const char *path)
{
	char from[300], cmd[1600];
	const char *cc = getenv("CC");
	FILE *f;

	ck_assert_int_lt(snprintf(from, sizeof from, "%.*sc", (int)strlen(path) - 2, path), (int)sizeof from);
	f = fopen(from, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(source, f), 0);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_lt(snprintf(cmd, sizeof cmd, "%s -g -shared -fPIC %s -o %s %s 2>/dev/null", cc && *cc ? cc : "cc",
				  flags, path, from),
			 (int)sizeof cmd);
	return system(cmd) == 0;
}

void sofile_build(const char *source, const char *flags, char *path, size_t cap)
{
	sofile_folder(path, cap);
	ck_assert_msg(sofile_compile(source, flags, path), "the compiler refuses, with %s:\n%s", flags, source);
}

void sofile_remove(const char *path)
{
	char name[300];
	size_t n = strlen(path);

	(void)unlink(path);
	if (n < 2 || n >= sizeof name)
		return;
	memcpy(name, path, n + 1);
	name[n - 2] = 'c';
	name[n - 1] = '\0';
	(void)unlink(name);
	*strrchr(name, '/') = '\0';
	(void)rmdir(name);
}
