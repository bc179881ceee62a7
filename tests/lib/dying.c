/* dying.c - see dying.h. */
#include "dying.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rt.h"

/* --- The child ---------------------------------------------------------------------------------------- */

static void waits(void *arg);

static const struct dying_name known[] = { { waits, "waits" }, { weft_chan_recv, "weft_chan_recv" }, { NULL, NULL } };
const struct dying_name *dying_names;

/* Signal-safe. */
static bool put_name(const struct dying_name *n, uintptr_t start, char *buf)
{
	for (; n && n->fn; n++)
		if ((uintptr_t)n->fn == start) {
			strcpy(buf, n->name);
			strcat(buf, "+0x1f");
			return true;
		}
	return false;
}

static size_t name_of(uintptr_t pc, char *buf, size_t cap)
{
	uintptr_t start = weft_read_func_start(pc);

	(void)cap;
	buf[0] = 0;
	if (!put_name(known, start, buf))
		(void)put_name(dying_names, start, buf);
	return strlen(buf);
}

struct weft_host_opts dying_opts = { .maxprocs = 2, .name = name_of };
volatile char *volatile dying_nowhere;
static weft_chan *silent;

static void waits(void *arg)
{
	(void)arg;
	weft_label_push("user", "42]:\n");
	if (weft_chan_recv(silent, NULL, 8) == 1) /* not the last call: it has to be on the stack */
		weft_label_pop();
}

RT_NOSAN void null_pointer(void *arg)
{
	(void)arg;
	*dying_nowhere = 1;
}

void aborts(void *arg)
{
	(void)arg;
	abort();
}

void asserts(void *arg)
{
	(void)arg;
	rt_fatal("the %s is broken", "invariant");
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winfinite-recursion"
RT_NOINLINE static int deeper(volatile char *from, int n)
{
	volatile char frame[200] = { 0 };

	frame[0] = *from;
	frame[n % 200] = 1;
	return n + deeper(frame, n + 1) + frame[3];
}
#pragma GCC diagnostic pop

void recurse(void *arg)
{
	volatile char frame[1] = { 0 };

	(void)arg;
	(void)deeper(frame, 0);
}

static uint64_t waiting(void)
{
	static struct weft_counters c;

	weft_read_counters(&c);
	return c.waiting;
}

/* How many of them have stacks that can be read: the status says that they wait a moment before. */
static int readable(void)
{
	static struct weft_goroutine g;
	struct weft_snapshot *snap = weft_snapshot_new();
	int n = 0;

	while (snap && weft_snapshot_next(snap, &g))
		n += g.start == (uintptr_t)waits && g.status == WEFT_G_WAITING && g.depth > 1;
	weft_snapshot_free(snap);
	return n;
}

void run_runtime(int n_waiting)
{
	if (weft_host_start(&dying_opts) != 0)
		_exit(99);
	inst = weft_inst_new("victim");
	silent = weft_chan_new(8, 0);
	for (int i = 0; i < n_waiting; i++)
		if (weft_go_in(inst, waits, NULL) != 0)
			_exit(98);
	while (waiting() < (uint64_t)n_waiting)
		usleep(1000);
	while (readable() < n_waiting)
		usleep(1000);
}

weft_fn victim;
void break_goroutine(void)
{
	run_runtime(2);
	weft_go_in(inst, victim, NULL);
	for (;;)
		pause();
}

/* --- The parent --------------------------------------------------------------------------------------- */

char *dying_text;

int64_t now_ms(void)
{
	return rt_now() / WEFT_MS;
}

pid_t spawn(void (*fn)(void), int err)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		if (err != 2) {
			dup2(err, 2);
			close(err);
		}
		fn();
		_exit(97);
	}
	ck_assert_int_gt(pid, 0);
	return pid;
}

int status_within(pid_t pid, int64_t ms)
{
	int64_t limit = now_ms() + ms;
	int status = 0;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (now_ms() > limit) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			ck_abort_msg("the child did not die within %lld ms", (long long)ms);
		}
		usleep(2000);
	}
	return status;
}

int outcome(void (*fn)(void))
{
	static const size_t cap = 64u << 20;
	size_t text_len;
	int p[2], limit = 60;
	ssize_t n;
	pid_t pid;

	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	pid = spawn(fn, p[1]);
	close(p[1]);
	dying_text = realloc(dying_text, cap);
	text_len = 0;
	for (;;) {
		struct pollfd pfd = { .fd = p[0], .events = POLLIN };

		if (poll(&pfd, 1, limit * 1000) <= 0) {
			kill(pid, SIGKILL);
			ck_abort_msg("the child fell silent");
		}
		n = read(p[0], dying_text + text_len, cap - 1 - text_len);
		if (n <= 0)
			break;
		text_len += (size_t)n;
	}
	dying_text[text_len] = 0;
	close(p[0]);
	return status_within(pid, 20000);
}

void dies_of(int sig, weft_fn fn)
{
	int status;

	victim = fn;
	status = outcome(break_goroutine);
	ck_assert_msg(WIFSIGNALED(status), "status 0x%x: %s", status, dying_text);
	ck_assert_msg(WTERMSIG(status) == sig, "died of %d: %s", WTERMSIG(status), dying_text);
}

void says(const char *what)
{
	ck_assert_msg(strstr(dying_text, what) != NULL, "no \"%s\" in:\n%.4000s", what, dying_text);
}

void does_not_say(const char *what)
{
	ck_assert_msg(strstr(dying_text, what) == NULL, "\"%s\" in:\n%.4000s", what, dying_text);
}

int count_of(const char *what)
{
	int n = 0;

	for (const char *at = dying_text; (at = strstr(at, what)); at += strlen(what))
		n++;
	return n;
}

void names_goroutine_first(void)
{
	unsigned long long id = 0, first = 0;
	const char *at = strstr(dying_text, "goroutine ");

	ck_assert_ptr_nonnull(at);
	ck_assert_int_eq(sscanf(at, "goroutine %llu of instance victim (started in ", &id), 1);
	at = strstr(dying_text, "\ngoroutine ");
	ck_assert_ptr_nonnull(at);
	ck_assert_int_eq(sscanf(at, "\ngoroutine %llu [running, instance=victim]:", &first), 1);
	ck_assert_uint_eq(id, first);
}

void shows_those_who_wait(void)
{
	ck_assert_int_eq(count_of(" [chan receive, instance=victim, user=42_:_]:\nweft_chan_recv(...)\n\t??:0 +0x1f\n"
				  "waits(...)\n\t??:0 +0x1f\n\n"),
			 2);
}
