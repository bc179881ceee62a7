/* flight_dir.c - see flight_dir.h. */
#include "flight_dir.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HIDDEN ".flight-" /* what is not whole yet */

enum { TRACE, DUMP, RAW, ENDINGS };
static const char *const ending[ENDINGS] = { ".trace", ".txt", ".raw" };

void flight_name(char out[FLIGHT_NAME], int64_t real_ns, const char *reason)
{
	time_t s = (time_t)(real_ns / 1000000000);
	struct tm tm;
	size_t n;

	gmtime_r(&s, &tm);
	n = strftime(out, FLIGHT_NAME, "flight-%Y%m%dT%H%M%S", &tm);
	(void)snprintf(out + n, FLIGHT_NAME - n, ".%03dZ-%s", (int)(real_ns / 1000000 % 1000), reason);
}

static const char form[] = "flight-00000000T000000.000Z-";

/* Which ending, and where it begins; -1: not a file of ours. */
static int parse(const char *name, size_t *stem)
{
	size_t n = 0, reason;

	for (; form[n]; n++)
		if (form[n] == '0' ? !isdigit((unsigned char)name[n]) : name[n] != form[n])
			return -1;
	reason = strspn(name + n, "abcdefghijklmnopqrstuvwxyz-");
	if (!reason || reason >= FLIGHT_REASON)
		return -1;
	*stem = n + reason;
	for (int i = 0; i < ENDINGS; i++)
		if (!strcmp(name + *stem, ending[i]))
			return i;
	return -1;
}

bool flight_is_file(const char *name)
{
	size_t stem;

	return parse(name, &stem) >= 0;
}

/* --- Listing ------------------------------------------------------------------------------------- */

struct list {
	struct flight_snapshot *v;
	size_t n, cap;
};

/* The entry of that name, new if need be; NULL: no memory. */
static struct flight_snapshot *entry(struct list *l, const char *name, size_t stem)
{
	struct flight_snapshot *s;

	for (size_t i = 0; i < l->n; i++)
		if (strlen(l->v[i].name) == stem && !memcmp(l->v[i].name, name, stem))
			return &l->v[i];
	if (l->n == l->cap) {
		s = realloc(l->v, (l->cap + 64) * sizeof(*s));
		if (!s)
			return NULL;
		l->v = s;
		l->cap += 64;
	}
	s = &l->v[l->n++];
	*s = (struct flight_snapshot){ 0 };
	memcpy(s->name, name, stem);
	memcpy(s->reason, name + sizeof(form) - 1, stem - (sizeof(form) - 1));
	return s;
}

static int newest_first(const void *a, const void *b)
{
	return strcmp(((const struct flight_snapshot *)b)->name, ((const struct flight_snapshot *)a)->name);
}

static int add_file(struct list *l, DIR *d, const char *name)
{
	struct flight_snapshot *s;
	struct stat st;
	size_t stem;
	int which = parse(name, &stem);

	if (which < 0 || fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return 0;
	s = entry(l, name, stem);
	if (!s)
		return -ENOMEM;
	*(which == TRACE ? &s->trace_bytes : which == DUMP ? &s->dump_bytes : &s->raw_bytes) = (uint64_t)st.st_size;
	return 0;
}

int flight_list(const char *dir, struct flight_snapshot **out)
{
	DIR *d = opendir(dir);
	struct list l = { 0 };
	int rc = d ? 0 : -errno;

	if (!d)
		return rc;
	for (struct dirent *e; rc == 0 && (e = readdir(d));)
		rc = add_file(&l, d, e->d_name);
	closedir(d);
	if (rc < 0) {
		free(l.v);
		return rc;
	}
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), newest_first);
	*out = l.v;
	return (int)l.n;
}

void flight_describe(const char *dir, struct flight_snapshot *s)
{
	size_t reason = strlen(s->reason);
	char file[FLIGHT_NAME + 8];
	ssize_t n;
	int fd;

	snprintf(file, sizeof(file), "%s%s", s->name, ending[DUMP]);
	fd = flight_open(dir, file);
	n = fd < 0 ? 0 : read(fd, s->what, sizeof(s->what) - 1);
	if (fd >= 0)
		close(fd);
	s->what[n > 0 ? n : 0] = '\0';
	s->what[strcspn(s->what, "\n")] = '\0';
	if (!strncmp(s->what, s->reason, reason) && !strncmp(s->what + reason, ": ", 2))
		memmove(s->what, s->what + reason + 2, strlen(s->what + reason + 2) + 1);
}

/* --- Writing and deleting -------------------------------------------------------------------------- */

static int open_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int flight_prune(const char *dir, size_t keep, uint64_t max_bytes)
{
	struct flight_snapshot *s = NULL;
	int n = flight_list(dir, &s), fd = open_dir(dir), rc = n < 0 ? n : fd < 0 ? fd : 0;
	uint64_t bytes = 0;

	for (int i = 0; rc == 0 && i < n; i++) {
		bytes += s[i].trace_bytes + s[i].dump_bytes + s[i].raw_bytes;
		if (i == 0 || ((size_t)i < keep && bytes <= max_bytes))
			continue;
		for (int k = 0; k < ENDINGS; k++) {
			char file[FLIGHT_NAME + 8];

			snprintf(file, sizeof(file), "%s%s", s[i].name, ending[k]);
			if (unlinkat(fd, file, 0) < 0 && errno != ENOENT)
				rc = -errno;
		}
	}
	if (fd >= 0)
		close(fd);
	free(s);
	return rc;
}

int flight_open(const char *dir, const char *file)
{
	int at = flight_is_file(file) ? open_dir(dir) : -ENOENT, fd;
	struct stat st;

	if (at < 0)
		return at;
	fd = openat(at, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		fd = errno == ELOOP ? -ENOENT : -errno; /* a link is no such file */
	close(at);
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		fd = -ENOENT;
	}
	return fd;
}

int flight_create(const char *dir, const char *temporary)
{
	int at = open_dir(dir), fd;

	if (at < 0)
		return at;
	fd = openat(at, temporary, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
	fd = fd < 0 ? -errno : fd;
	close(at);
	if (fd >= 0)
		(void)flock(fd, LOCK_EX | LOCK_NB);
	return fd;
}

int flight_publish(const char *dir, const char *temporary, const char *file)
{
	int at = open_dir(dir), rc;

	if (at < 0)
		return at;
	rc = renameat(at, temporary, at, file) < 0 ? -errno : 0;
	close(at);
	return rc;
}

void flight_sweep(const char *dir)
{
	DIR *d = opendir(dir);

	for (struct dirent *e; d && (e = readdir(d));) {
		int fd;

		if (strncmp(e->d_name, HIDDEN, sizeof(HIDDEN) - 1))
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			(void)unlinkat(dirfd(d), e->d_name, 0);
		close(fd);
	}
	if (d)
		closedir(d);
}
