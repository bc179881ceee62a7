/* tracefiles.c - are these files execution traces?
 *
 * tracefiles FILE...: a line per file that is none, and status 1.  The rules are those of tests/lib/tracecheck.h. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tracecheck.h"

static bool check(const char *path, struct tracecheck *c)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st = { 0 };
	void *bytes = NULL;
	bool good;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0 ||
	    (bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED) {
		snprintf(c->err, sizeof c->err, "it is empty, or cannot be read");
		good = false;
	} else {
		good = tracecheck(c, bytes, (size_t)st.st_size);
		munmap(bytes, (size_t)st.st_size);
	}
	if (fd >= 0)
		close(fd);
	return good;
}

int main(int argc, char **argv)
{
	int bad = 0;

	for (int i = 1; i < argc; i++) {
		struct tracecheck c = { 0 };

		if (!check(argv[i], &c)) {
			printf("%s: %s\n", argv[i], c.err);
			bad = 1;
		}
	}
	return bad;
}
