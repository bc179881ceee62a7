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

void sofile_build(const char *source, const char *flags, char *path, size_t cap)
{
	char dir[200], cmd[1200];
	const char *cc = getenv("CC");
	FILE *f;

	ck_assert_int_lt(snprintf(dir, sizeof dir, "%s/weft-so-XXXXXX", folder()), (int)sizeof dir);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_lt(snprintf(path, cap, "%s/x.c", dir), (int)cap);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(source, f), 0);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_lt(snprintf(cmd, sizeof cmd, "%s -g -shared -fPIC %s -o %s/x.so %s", cc && *cc ? cc : "cc", flags,
				  dir, path),
			 (int)sizeof cmd);
	ck_assert_msg(system(cmd) == 0, "failed: %s", cmd);
	path[strlen(path) - 1] = '\0';
	strncat(path, "so", cap - strlen(path) - 1);
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
