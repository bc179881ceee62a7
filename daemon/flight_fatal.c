/* flight_fatal.c - fatal signals and the flight recorder: the file that a signal would write to, and what others have
 * left there.
 *
 * The file is made when the daemon starts, under a name of its own, and is locked and empty until a fatal signal writes
 * to it (runtime/raw.c).  So one with something in it and without a lock is a dead process's: it gets the name of a
 * snapshot, and another weftd makes a trace of it (convert.c), for that needs the dead one's modules, not ours.  That
 * one is left to itself and is killed when it takes too long.
 *
 * NAME.raw becomes NAME.trace and NAME.txt, in this order, and goes.  When it can't, it stays, and NAME.txt says why:
 * so where there is one it has been tried. */
#include "flight.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "flight_dir.h"
#include "gotrace_raw.h"

#define LEFT_BEGINS ".flight-"
#define LEFT_ENDS ".fatal"
#define CONVERT_NS (60 * WEFT_SEC)

static struct {
	pthread_mutex_t lock;
	char path[PATH_MAX]; /* "": there is none */
	bool over;           /* the daemon ends: none is to be made */
} ours = { .lock = PTHREAD_MUTEX_INITIALIZER };

void flight_fatal_open(const char *dir)
{
	char name[32];
	int fd;

	snprintf(name, sizeof name, LEFT_BEGINS "%d" LEFT_ENDS, getpid());
	pthread_mutex_lock(&ours.lock);
	fd = ours.over ? -ESHUTDOWN : flight_create(dir, name);
	if (fd >= 0) {
		snprintf(ours.path, sizeof ours.path, "%s/%s", dir, name);
		weft_host_fatal_file(fd);
	} else if (!ours.over) {
		log_error("flight recorder: no file for fatal signals in %s: %s", dir, weft_strerror(fd));
	}
	pthread_mutex_unlock(&ours.lock);
}

void flight_fatal_close(void)
{
	pthread_mutex_lock(&ours.lock);
	ours.over = true;
	weft_host_fatal_file(-1);
	if (*ours.path)
		(void)unlink(ours.path);
	pthread_mutex_unlock(&ours.lock);
}

/* --- What others left ------------------------------------------------------------------------------ */

static bool is_left(const char *name)
{
	size_t n = strlen(name), end = sizeof LEFT_ENDS - 1;

	return !strncmp(name, LEFT_BEGINS, sizeof LEFT_BEGINS - 1) && n > end && !strcmp(name + n - end, LEFT_ENDS);
}

/* When a fatal signal wrote it, by itself or, if it can't be read, by the file; 0: none did, or somebody may yet. */
static int64_t died_at(int fd)
{
	_Alignas(8) char bytes[sizeof(struct weft_raw_head) + 64];
	const struct weft_raw_head *h;
	ssize_t n = flock(fd, LOCK_EX | LOCK_NB) == 0 ? pread(fd, bytes, sizeof bytes, 0) : 0;
	struct stat st;

	if (n <= 0 || fstat(fd, &st) < 0)
		return 0;
	h = gotrace_raw_head(bytes, (size_t)n);
	return h && h->real > 0 ? h->real : st.st_mtim.tv_sec * WEFT_SEC + st.st_mtim.tv_nsec;
}

/* Give it the name of a snapshot. */
static void adopt(int dir, const char *left)
{
	int fd = openat(dir, left, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char name[FLIGHT_NAME], file[FLIGHT_NAME + 8];
	int64_t at = fd < 0 ? 0 : died_at(fd);

	if (at) {
		flight_name(name, at, "fatal");
		snprintf(file, sizeof file, "%s.raw", name);
		(void)renameat(dir, left, dir, file);
	}
	if (fd >= 0)
		close(fd);
}

static void adopt_all(const char *dir)
{
	DIR *d = opendir(dir);

	for (struct dirent *e; d && (e = readdir(d));)
		if (is_left(e->d_name))
			adopt(dirfd(d), e->d_name);
	if (d)
		closedir(d);
}

/* --- Converting -------------------------------------------------------------------------------------- */

#define SAID 1024

/* What pid says by its end, into `said`.  0; -EIO: it failed; -ETIMEDOUT: it took too long. */
static int await(pid_t pid, int from, char said[SAID])
{
	int64_t until = now_ns() + CONVERT_NS;
	ssize_t n;
	int status;
	pid_t rc;

	while ((rc = waitpid(pid, &status, WNOHANG)) == 0 && now_ns() < until)
		nanosleep(&(struct timespec){ .tv_nsec = 20 * WEFT_MS }, NULL);
	if (rc == 0) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		snprintf(said, SAID, "it took longer than %d s", (int)(CONVERT_NS / WEFT_SEC));
		return -ETIMEDOUT;
	}
	n = read(from, said, SAID - 1);
	said[n > 0 ? n : 0] = '\0';
	said[strcspn(said, "\n")] = '\0';
	if (rc == pid && WIFEXITED(status) && (!WEXITSTATUS(status) || *said))
		return WEXITSTATUS(status) ? -EIO : 0;
	snprintf(said, SAID, "the process that was to do so died");
	return -EIO;
}

static int run_convert(char *raw, char *trace, char said[SAID])
{
	char *argv[] = { (char *)"weftd", (char *)"--convert", raw, trace, NULL };
	posix_spawn_file_actions_t actions;
	int fd[2], rc;
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	rc = posix_spawn_file_actions_init(&actions);
	if (rc == 0) {
		rc = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
		if (rc == 0) /* the log is the logger's alone */
			rc = posix_spawn_file_actions_adddup2(&actions, fd[1], STDERR_FILENO);
		if (rc == 0)
			rc = posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ);
		posix_spawn_file_actions_destroy(&actions);
	}
	rc = rc ? -rc : await(pid, fd[0], said);
	close(fd[0]);
	close(fd[1]);
	return rc;
}

/* Without what names the program and the file, which are known. */
static const char *reason(const char *said, const char *raw)
{
	const char *at = strstr(said, raw);

	return at && !strncmp(at + strlen(raw), ": ", 2) ? at + strlen(raw) + 2 : said;
}

/* Have NAME.txt say why there is no trace. */
static int mark(const char *dir, const char *name, const char *why)
{
	char temp[32], file[FLIGHT_NAME + 8];
	struct buf b = { 0 };
	int fd, rc;

	snprintf(temp, sizeof temp, LEFT_BEGINS "%d.mark", getpid());
	snprintf(file, sizeof file, "%s.txt", name);
	buf_fmt(&b, "fatal: no trace: %s.raw can't be converted: %s\n", name, why);
	fd = rc = flight_create(dir, temp);
	if (rc >= 0) {
		rc = buf_write(&b, fd);
		close(fd);
	}
	buf_free(&b);
	return rc < 0 ? rc : flight_publish(dir, temp, file);
}

/* 0, or -Exxx, and it has been logged. */
static int convert_one(const char *dir, const char *name)
{
	char raw[PATH_MAX], trace[PATH_MAX], temp[32], file[FLIGHT_NAME + 8], said[SAID] = "";
	int rc;

	snprintf(raw, sizeof raw, "%s/%s.raw", dir, name);
	snprintf(temp, sizeof temp, LEFT_BEGINS "%d.trace", getpid());
	snprintf(trace, sizeof trace, "%s/%s", dir, temp);
	rc = run_convert(raw, trace, said);
	if (rc == -EIO || rc == -ETIMEDOUT) { /* as it would be at each start */
		int marked = mark(dir, name, reason(said, raw));

		log_error("flight recorder: %s can't be converted: %s; it is kept%s", raw, reason(said, raw),
			  marked < 0 ? "" : ", and not tried again");
		return rc;
	}
	snprintf(file, sizeof file, "%s.trace", name);
	if (rc == 0)
		rc = flight_publish(dir, temp, file);
	snprintf(temp, sizeof temp, LEFT_BEGINS "%d.txt", getpid());
	snprintf(file, sizeof file, "%s.txt", name);
	if (rc == 0)
		rc = flight_publish(dir, temp, file);
	if (rc < 0) {
		log_error("flight recorder: %s can't be converted: %s", raw, weft_strerror(rc));
		return rc;
	}
	(void)unlink(raw);
	log_notice("flight recorder: a process died of a fatal signal; see %s/%s.trace%s%s", dir, name,
		   *said ? "; " : "", reason(said, raw));
	return 0;
}

int flight_fatal_convert(const char *dir)
{
	struct flight_snapshot *s = NULL;
	int n, done = 0, rc = 0;

	adopt_all(dir);
	n = flight_list(dir, &s);
	for (int i = 0; i < n; i++) {
		int one = s[i].raw_bytes && !s[i].dump_bytes ? convert_one(dir, s[i].name) : 1;

		done += one == 0;
		rc = one < 0 ? one : rc;
	}
	free(s);
	return rc < 0 ? rc : done;
}
