/* profcheck.c - does a served profile keep the rules of those who read profiles?
 *
 * profcheck FILE...: a line per file that does not, and status 1.  The rules are those of tests/lib/pprof_check.h. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "pprof_check.h"

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void *whole(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	size_t cap = 16u << 20;
	char *b = f ? malloc(cap) : NULL;

	*len = b ? fread(b, 1, cap, f) : 0;
	if (f)
		fclose(f);
	return b;
}

int main(int argc, char **argv)
{
	int bad = 0;

	for (int i = 1; i < argc; i++) {
		struct pprof_doc d = { .err = "cannot be read" };
		size_t len;
		void *b = whole(argv[i], &len);

		if (!b || pprof_doc_open(&d, b, len) < 0 || pprof_doc_uploadable(&d, now()) < 0) {
			printf("%s: %s\n", argv[i], d.err);
			bad++;
		}
		pprof_doc_close(&d);
		free(b);
	}
	return bad != 0;
}
