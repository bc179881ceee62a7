/* cgroup.c - limits on CPU and memory, of version 1 and 2 control groups.
 *
 * /proc/self/cgroup says which group, /proc/self/mountinfo where its hierarchy is mounted: the first mount
 * whose root is the group's path or an ancestor of it, by whole components.  From the group up to the mount
 * point each directory is asked, and the tightest answer counts; a file that is missing (the root has none)
 * is passed over.  Both files are read anew each time: systemd moves a service to another group when its
 * first quota is set, so that descriptors kept open would show a group that the process has left.
 *
 * A version 1 line that lists the controller wins over the "0::" line.  Formats: cgroups(7), proc(5).
 * The static buffers belong to the one caller. */
#include "cgroup.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "sys.h"

#define LINE 8192 /* longer lines (overlay mounts) are not what is looked for */

struct reader {
	int fd;
	size_t at, have;
	char buf[4096];
};

struct controller {
	const char *name;                                                   /* in version 1 */
	void (*ask)(const char *dir, bool v2, struct rt_cgroup_limit *out); /* tightens *out */
};

static char line[LINE], path[2 * LINE + RT_CGROUP_PATH], group[LINE], mount_at[LINE];

/* The next line, without its newline, in `line`; an overlong one comes out empty.  False: the end, and a last
 * line without a newline is no line: it was cut. */
static bool next_line(struct reader *r)
{
	size_t n = 0;
	bool fits = true;

	for (;;) {
		char c;

		if (r->at == r->have) {
			long got = rt_sys_read(r->fd, r->buf, sizeof r->buf);

			if (got <= 0)
				return false;
			r->at = 0;
			r->have = (size_t)got;
		}
		c = r->buf[r->at++];
		if (c == '\n')
			break;
		if (n + 1 < LINE)
			line[n++] = c;
		else
			fits = false;
	}
	line[fits ? n : 0] = '\0';
	return true;
}

static bool open_lines(struct reader *r, const char *proc, const char *name)
{
	size_t n = strlen(proc);

	if (n + strlen(name) >= sizeof path)
		return false;
	memcpy(path, proc, n);
	strcpy(path + n, name);
	r->at = r->have = 0;
	r->fd = rt_sys_open(path, O_RDONLY | O_CLOEXEC);
	return r->fd >= 0;
}

/* Is `token` one of the comma-separated words of list[0..n)? */
static bool has_token(const char *list, size_t n, const char *token)
{
	size_t len = strlen(token);

	for (const char *end = list + n; list < end;) {
		const char *comma = memchr(list, ',', (size_t)(end - list));
		size_t word = comma ? (size_t)(comma - list) : (size_t)(end - list);

		if (word == len && !memcmp(list, token, len))
			return true;
		list += word + 1;
	}
	return false;
}

/* The path of our group into `group`.  1, 2: of that version; 0: none. */
static int find_group(const char *proc, const char *controller)
{
	struct reader r;
	int version = 0;

	if (!open_lines(&r, proc, "/self/cgroup"))
		return 0;
	while (version != 1 && next_line(&r)) {
		char *list = strchr(line, ':'), *at = list ? strchr(list + 1, ':') : NULL;
		int v;

		if (!at || at[1] != '/')
			continue;
		v = at == list + 1 && line[0] == '0' ? 2 : 1;
		if (v == 1 && !has_token(list + 1, (size_t)(at - list - 1), controller))
			continue;
		version = v;
		strcpy(group, at + 1);
	}
	(void)rt_sys_close(r.fd);
	return version;
}

/* proc(5): space, tab, newline and backslash are written as three octal digits. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
		    s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* What is left of p below root, which must end at a component; NULL: p is elsewhere. */
static const char *below(const char *p, const char *root)
{
	size_t n = strlen(root);

	if (n == 1)
		return p;
	if (strncmp(p, root, n) != 0 || (p[n] != '/' && p[n] != '\0'))
		return NULL;
	return p + n;
}

/* `line` of mountinfo, cut into its first n fields; the rest after " - ", or NULL. */
static char *mount_fields(char **field, int n)
{
	char *rest = strstr(line, " - "), *at = line;

	if (!rest)
		return NULL;
	*rest = '\0';
	for (int i = 0; i < n; i++) {
		field[i] = at;
		at = strchr(at, ' ');
		if (!at)
			return NULL;
		*at++ = '\0';
	}
	return rest + 3;
}

static bool is_hierarchy(char *rest, int version, const char *controller)
{
	char *source = strchr(rest, ' '), *super = source ? strchr(source + 1, ' ') : NULL;

	if (!super)
		return false;
	*source = '\0';
	if (version == 2)
		return !strcmp(rest, "cgroup2");
	return !strcmp(rest, "cgroup") && has_token(super + 1, strlen(super + 1), controller);
}

/* Where `group` is mounted: the mount point into mount_at; what is left below it is returned. */
static const char *find_mount(const char *proc, int version, const char *controller)
{
	struct reader r;
	const char *rel = NULL;

	if (!open_lines(&r, proc, "/self/mountinfo"))
		return NULL;
	while (!rel && next_line(&r)) {
		char *field[5], *rest = mount_fields(field, 5);

		if (!rest || !is_hierarchy(rest, version, controller))
			continue;
		unescape(field[3]);
		unescape(field[4]);
		rel = below(group, field[3]);
		if (rel)
			strcpy(mount_at, field[4]);
	}
	(void)rt_sys_close(r.fd);
	return rel;
}

/* --- Limits --- */

/* The text of DIR/NAME, without its newline, in buf; false: not there, or cut (no newline). */
static bool read_small(const char *dir, const char *name, char *buf, size_t cap)
{
	static char at[sizeof path + 64];
	size_t n = strlen(dir);
	long got;
	int fd;

	memcpy(at, dir, n);
	at[n] = '/';
	strcpy(at + n + 1, name);
	fd = rt_sys_open(at, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	got = rt_sys_read(fd, buf, cap);
	(void)rt_sys_close(fd);
	if (got <= 0 || buf[got - 1] != '\n')
		return false;
	buf[got - 1] = '\0';
	return true;
}

/* A number up to `end`, which is then behind it; -1: none. */
static int64_t number(const char **end)
{
	const char *s = *end;
	int64_t v = 0;

	if (*s < '0' || *s > '9')
		return -1;
	for (; *s >= '0' && *s <= '9'; s++) {
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *s - '0', &v))
			return -1;
	}
	*end = s;
	return v;
}

static int64_t whole_number(const char *s)
{
	int64_t v = number(&s);

	return *s ? -1 : v;
}

static void set_by(struct rt_cgroup_limit *out, const char *dir)
{
	size_t n = strlen(dir) < sizeof out->by ? strlen(dir) : sizeof out->by - 1;

	memcpy(out->by, dir, n);
	out->by[n] = '\0';
}

static void ask_cpu(const char *dir, bool v2, struct rt_cgroup_limit *out)
{
	char buf[64];
	const char *s = buf;
	int64_t quota = -1, period = -1;

	if (v2) {
		if (!read_small(dir, "cpu.max", buf, sizeof buf))
			return;
		quota = number(&s);
		if (quota < 0 || *s++ != ' ')
			return; /* "max PERIOD" */
		period = whole_number(s);
	} else {
		if (!read_small(dir, "cpu.cfs_quota_us", buf, sizeof buf))
			return;
		quota = whole_number(buf);
		if (quota < 0 || !read_small(dir, "cpu.cfs_period_us", buf, sizeof buf))
			return;
		period = whole_number(buf);
	}
	if (quota <= 0 || period <= 0)
		return;
	if (out->quota && (double)quota / (double)period >= (double)out->quota / (double)out->period)
		return;
	out->quota = quota;
	out->period = period;
	set_by(out, dir);
}

static void ask_memory(const char *dir, bool v2, struct rt_cgroup_limit *out)
{
	char buf[64];
	int64_t bytes;

	if (!read_small(dir, v2 ? "memory.max" : "memory.limit_in_bytes", buf, sizeof buf))
		return;
	bytes = whole_number(buf);
	if (bytes < 0 || (out->memory && (uint64_t)bytes >= out->memory))
		return;
	out->memory = (uint64_t)bytes;
	set_by(out, dir);
}

static void ask_all(const char *proc, const char *sysroot, const struct controller *c, struct rt_cgroup_limit *out)
{
	int version;
	const char *rel;
	size_t top;

	memset(out, 0, sizeof *out);
	version = find_group(proc, c->name);
	rel = version ? find_mount(proc, version, c->name) : NULL;
	if (!rel)
		return;
	top = strlen(sysroot) + strlen(mount_at);
	if (top + strlen(rel) >= sizeof path)
		return;
	strcpy(path, sysroot);
	strcat(path, mount_at);
	if (strcmp(rel, "/") != 0)
		strcat(path, rel);
	for (;;) {
		char *slash;

		c->ask(path, version == 2, out);
		slash = strrchr(path, '/');
		if (!slash || (size_t)(slash - path) < top)
			return;
		*slash = '\0';
	}
}

void rt_cgroup_cpu(const char *proc, const char *sysroot, struct rt_cgroup_limit *out)
{
	ask_all(proc, sysroot, &(struct controller){ "cpu", ask_cpu }, out);
}

void rt_cgroup_memory(const char *proc, const char *sysroot, struct rt_cgroup_limit *out)
{
	ask_all(proc, sysroot, &(struct controller){ "memory", ask_memory }, out);
}
