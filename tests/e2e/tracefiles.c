/* tracefiles.c - are these files execution traces?
 *
 * tracefiles FILE...: a line per file that is none, and status 1.  The rules are those of tests/lib/tracecheck.h, for
 * JSON those of tests/lib/chromecheck.h.
 * tracefiles --latency FILE: and for each goroutine that was woken and ran a line: its id, how often, and for how many
 * nanoseconds in all, and at most, it could have run and did not. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chromecheck.h"
#include "tracecheck.h"

enum { GO_START = 16, GO_UNBLOCK = 21 };
#define GOROUTINES 4096 /* more are left out */

static struct late {
	int64_t woken, ns, most; /* woken 0: it is not waiting to run */
	int n;
} late[GOROUTINES];

static void note(void *user, int64_t time, uint64_t m, uint64_t g, int id, const uint64_t *args)
{
	struct late *l = args[0] < GOROUTINES ? &late[args[0]] : NULL;

	(void)user, (void)m, (void)g;
	if (l && id == GO_UNBLOCK)
		l->woken = time;
	if (l && id == GO_START && l->woken) {
		l->ns += time - l->woken;
		l->most = time - l->woken > l->most ? time - l->woken : l->most;
		l->n++;
		l->woken = 0;
	}
}

/* JSON by its first byte. */
static bool check_bytes(const char *bytes, size_t len, struct tracecheck *c)
{
	struct chromecheck chrome;

	if (*bytes != '{')
		return tracecheck(c, bytes, len);
	snprintf(c->err, sizeof c->err, "%s", chromecheck(&chrome, bytes, len) ? "" : chrome.err);
	return !*c->err;
}

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
		good = check_bytes(bytes, (size_t)st.st_size, c);
		munmap(bytes, (size_t)st.st_size);
	}
	if (fd >= 0)
		close(fd);
	return good;
}

int main(int argc, char **argv)
{
	bool latency = argc > 1 && !strcmp(argv[1], "--latency");
	int bad = 0;

	for (int i = latency ? 2 : 1; i < argc; i++) {
		struct tracecheck c = { .event = latency ? note : NULL };

		if (!check(argv[i], &c)) {
			printf("%s: %s\n", argv[i], c.err);
			bad = 1;
		}
	}
	for (int g = 0; g < GOROUTINES; g++)
		if (late[g].n)
			printf("%d %d %lld %lld\n", g, late[g].n, (long long)late[g].ns, (long long)late[g].most);
	return bad;
}
