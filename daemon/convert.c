/* convert.c - weftd --convert FILE [OUT]: what a fatal signal has left becomes a trace, and the dump beside it.
 *
 * A process of its own, which runs nothing: it takes the modules of the dead one for its own. */
#include "flight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gotrace_raw.h"

struct bytes {
	void *p;
	size_t n;
	dev_t dev;
	ino_t ino;
};

static int map_file(const char *path, struct bytes *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = fd < 0 ? -errno : 0;
	struct stat st;

	if (rc == 0 && fstat(fd, &st) < 0)
		rc = -errno;
	if (rc == 0 && (!S_ISREG(st.st_mode) || st.st_size == 0))
		rc = -EINVAL;
	if (rc == 0) {
		out->n = (size_t)st.st_size;
		out->dev = st.st_dev;
		out->ino = st.st_ino;
		out->p = mmap(NULL, out->n, PROT_READ, MAP_PRIVATE, fd, 0);
		rc = out->p == MAP_FAILED ? -errno : 0;
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

static bool is_same(const struct bytes *in, const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_dev == in->dev && st.st_ino == in->ino;
}

static int write_file(const char *path, struct buf *b)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640), rc;

	if (fd < 0)
		return -errno;
	rc = buf_write(b, fd);
	return close(fd) < 0 && rc == 0 ? -errno : rc;
}

static bool ends_in(const char *path, const char *ending)
{
	size_t n = strlen(path), k = strlen(ending);

	return n > k && !strcmp(path + n - k, ending);
}

/* path with another ending in place of `from`, or appended. */
static void other_ending(char *to, size_t cap, const char *path, const char *from, const char *ending)
{
	size_t n = strlen(path) - (ends_in(path, from) ? strlen(from) : 0);

	snprintf(to, cap, "%.*s%s", (int)n, path, ending);
}

static int write_dump(const char *path, const struct weft_raw_head *h, const struct gotrace_raw *raw)
{
	struct buf b = { 0 };
	int rc;

	buf_fmt(&b, "fatal: %.*s\nprocess %d, %lld.%03lld s since 1970\n", (int)strnlen(h->what, sizeof h->what),
		h->what, h->pid, (long long)(h->real / WEFT_SEC), (long long)(h->real % WEFT_SEC / WEFT_MS));
	buf_add(&b, raw->text, raw->text_len);
	rc = write_file(path, &b);
	buf_free(&b);
	return rc;
}

#define DIGITS "0123456789"

/* Of a file that another version wrote: the number of its form, else "". */
static void other_form(const struct bytes *in, char number[8])
{
	static const char form[16] = WEFT_RAW_MAGIC;
	const char *p = in->p;
	size_t at = strcspn(form, DIGITS), n = 0;

	if (in->n >= sizeof form && !memcmp(p, form, at) && memcmp(p, form, sizeof form) != 0)
		for (; n < 7 && at + n < sizeof form && p[at + n] && strchr(DIGITS, p[at + n]); n++)
			number[n] = p[at + n];
	number[n] = '\0';
}

static void why_not(const struct bytes *in, int rc, char *err, size_t cap)
{
	char form[8];

	other_form(in, form);
	if (rc == -EINVAL && *form)
		snprintf(err, cap, "another version of weftd has written it, in form %s; use that version's --convert",
			 form);
	else
		snprintf(err, cap, "%s",
			 rc == -EINVAL
				 ? "this is nothing that a fatal signal of weftd has written, or not even its beginning"
			 : rc == -ENODATA ? "it ends before there is anything to make a trace of"
					  : weft_strerror(rc));
}

static int convert(const struct bytes *in, const char *trace, struct gotrace_raw *raw, char *err, size_t cap)
{
	bool json = ends_in(trace, ".json");
	char dump[PATH_MAX];
	int rc = gotrace_raw(in->p, in->n, json ? GOTRACE_CHROME : GOTRACE_GO, raw);

	if (rc < 0) {
		why_not(in, rc, err, cap);
		return rc;
	}
	other_ending(dump, sizeof dump, trace, json ? ".json" : ".trace", ".txt");
	if (is_same(in, trace) || is_same(in, dump)) {
		snprintf(err, cap, "%.4000s, or the dump beside it, would overwrite it; allowed is any other name",
			 trace);
		return -EINVAL;
	}
	rc = write_file(trace, &raw->trace);
	if (rc == 0)
		rc = write_dump(dump, gotrace_raw_head(in->p, in->n), raw);
	if (rc < 0)
		snprintf(err, cap, "%s can't be written: %s", trace, weft_strerror(rc));
	return rc;
}

int convert_file(const char *path, const char *out, char *err, size_t cap)
{
	char trace[PATH_MAX], why[PATH_MAX + 128] = "";
	struct gotrace_raw raw = { 0 };
	struct bytes in = { 0 };
	int rc = map_file(path, &in);

	if (out)
		snprintf(trace, sizeof trace, "%s", out);
	else
		other_ending(trace, sizeof trace, path, ".raw", ".trace");
	if (rc < 0)
		snprintf(why, sizeof why, "%s", rc == -EINVAL ? "this is no file, or an empty one" : weft_strerror(rc));
	else
		rc = convert(&in, trace, &raw, why, sizeof why);
	buf_free(&raw.trace);
	if (rc < 0)
		snprintf(err, cap, "%s: %s", path, why);
	else if (raw.missing || !raw.whole)
		snprintf(err, cap, "%s: %s%s", path, raw.whole ? "" : "it ends in the middle; ",
			 raw.missing
				 ? "files of the process are missing or of another build, so functions have no names"
				 : "what is there was converted");
	else
		*err = '\0';
	return rc;
}
