/* files.c - writes files, reads them back, and checks that they hold what was written.
 *
 * A regular file is always "ready", and reading it may still wait for the disk: weft_read() and weft_write() leave it
 * to another thread, and the goroutine waits as it does for the network.  So a hundred goroutines at a slow disk hold
 * no processor up.
 *
 * Each goroutine has a file of its own in `folder`, which it makes anew every time and removes afterwards.  What is
 * in it follows from the goroutine's id.
 *
 *	"config": { "folder": "/tmp", "goroutines": 4, "size": 65536, "every": "1s" }
 *
 * folder       where the files are; must be writable
 * goroutines   how many, each with its file
 * size         bytes in each
 * every        pause between two rounds */
#include <weft.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PART 8192

struct files {
	const char *folder;
	int64_t goroutines, size, every;
};

static void fill(char *buf, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		buf[i] = (char)(seed >> 56);
	}
}

static size_t part(const struct files *f, int64_t at)
{
	return (size_t)(f->size - at < PART ? f->size - at : PART);
}

/* 0, or the error: -EIO when less is written than should be. */
static int write_it(const struct files *f, int fd, uint64_t seed)
{
	char buf[PART];
	ssize_t n;

	for (int64_t at = 0; at < f->size; at += n) {
		size_t want = part(f, at);

		fill(buf, want, seed + (uint64_t)at);
		n = weft_write(fd, buf, want);
		if (n != (ssize_t)want)
			return n < 0 ? (int)n : -EIO;
	}
	return 0;
}

static int check_it(const struct files *f, int fd, uint64_t seed)
{
	char buf[PART], good[PART];
	size_t have = 0;
	ssize_t n;

	for (int64_t at = 0; at < f->size; at += PART) {
		size_t want = part(f, at);

		for (have = 0; have < want; have += (size_t)n) {
			n = weft_read(fd, buf + have, want - have);
			if (n <= 0)
				return n < 0 ? (int)n : -EIO;
		}
		fill(good, want, seed + (uint64_t)at);
		if (memcmp(buf, good, want) != 0)
			return -EBADMSG;
	}
	return 0;
}

static int one_round(const struct files *f)
{
	char path[PATH_MAX];
	int fd, rc;

	snprintf(path, sizeof path, "%s/weft-files.%d.%llu", f->folder, getpid(), (unsigned long long)weft_goid());
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	rc = write_it(f, fd, weft_goid());
	if (rc == 0 && lseek(fd, 0, SEEK_SET) < 0)
		rc = -errno;
	if (rc == 0)
		rc = check_it(f, fd, weft_goid());
	close(fd);
	(void)unlink(path);
	return rc;
}

static void work(void *arg)
{
	const struct files *f = arg;
	uint64_t rounds = 0;
	int rc;

	do {
		rc = one_round(f);
		rounds += rc == 0;
	} while (rc == 0 && weft_sleep(f->every) == 0);
	if (rc < 0)
		weft_log(WEFT_ERROR, "a file in %s: %s", f->folder, weft_strerror(rc));
	weft_log(WEFT_INFO, "%llu times %lld bytes written and read back", (unsigned long long)rounds,
		 (long long)f->size);
}

static int files_init(void *state, const weft_conf *conf)
{
	struct files *f = state;

	f->folder = "/tmp";
	f->goroutines = 4;
	f->size = 65536;
	f->every = WEFT_SEC;
	if (weft_conf_str(conf, "folder", &f->folder) < 0 ||
	    weft_conf_int(conf, "goroutines", 1, 10000, &f->goroutines) < 0 ||
	    weft_conf_int(conf, "size", 1, INT64_C(1) << 30, &f->size) < 0 ||
	    weft_conf_dur(conf, "every", &f->every) < 0)
		return -EINVAL;
	return 0;
}

static int files_run(void *state)
{
	struct files *f = state;
	int rc = 0;

	for (int64_t i = 0; rc == 0 && i < f->goroutines; i++)
		rc = weft_go(work, f);
	return rc;
}

WEFT_PLUGIN(.name = "files", .version = "1", .about = "writes files and reads them back",
	    .state_size = sizeof(struct files), .init = files_init, .run = files_run);
