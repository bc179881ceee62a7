/* test_stack.c - classes of stacks: who gets which, what is seen of them, that they are reused and given back, what
 * an overflow of each says below each kind of guard, and how deep they got. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dying.h"
#include "rlook.h"
#include "rt.h"

Suite *test_stack(void);

#define KIB 1024u
static const size_t class_bytes[] = { 64 * KIB, 256 * KIB, 1024 * KIB };

static uint32_t class_here(void)
{
	return rt_slot_class(ld(&rt_self()->cur));
}

static int go_with(weft_fn fn, void *arg, const struct weft_go_opts *opts)
{
	int rc;

	weft_enter(inst);
	rc = weft_go_with(fn, arg, opts);
	weft_leave();
	return rc;
}

static int go_sized(weft_fn fn, void *arg, size_t stack)
{
	return go_with(fn, arg, &(struct weft_go_opts){ .size = sizeof(struct weft_go_opts), .stack = stack });
}

/* Writes all over `bytes` of the stack. */
RT_NOINLINE static void use(size_t bytes)
{
	volatile char page[4 * KIB];

	for (size_t i = 0; i < sizeof page; i += 512)
		page[i] = 1;
	if (bytes > sizeof page)
		use(bytes - sizeof page);
	ck_assert_int_eq(page[512], 1);
}

/* --- Who gets which --- */

static _Atomic int seen_class;

static void note_class(void *arg)
{
	(void)arg;
	use(((size_t)RT_SLOT << RT_CLASS_STEP * class_here()) / 2);
	seen_class = (int)class_here();
}

static int class_of(size_t stack)
{
	seen_class = -1;
	if (go_sized(note_class, NULL, stack) != 0)
		return -1;
	rtest_wait_gone();
	return seen_class;
}

START_TEST(bytes_are_rounded_up_to_a_class)
{
	rtest_begin(2);
	ck_assert_int_eq(class_of(0), 0);
	ck_assert_int_eq(class_of(1), 0);
	ck_assert_int_eq(class_of(64 * KIB), 0);
	ck_assert_int_eq(class_of(64 * KIB + 1), 1);
	ck_assert_int_eq(class_of(256 * KIB), 1);
	ck_assert_int_eq(class_of(256 * KIB + 1), 2);
	ck_assert_int_eq(class_of(1024 * KIB), 2);
	ck_assert_int_eq(go_sized(note_class, NULL, 1024 * KIB + 1), -EINVAL);
	ck_assert_int_eq(go_sized(note_class, NULL, SIZE_MAX), -EINVAL);
	/* of a plugin that knows of no choice */
	ck_assert_int_eq(
		go_with(note_class, NULL,
			&(struct weft_go_opts){ .size = offsetof(struct weft_go_opts, stack), .stack = SIZE_MAX }),
		0);
	ck_assert_int_eq(go_with(note_class, NULL, &(struct weft_go_opts){ .size = sizeof(struct weft_go_opts) + 8 }),
			 -EINVAL);
	rtest_wait_gone();
	rtest_end();
}
END_TEST

START_TEST(an_instance_has_a_class_that_a_goroutine_may_override)
{
	rtest_begin(2);
	ck_assert_int_eq(weft_inst_stack(inst, 200 * KIB), 0);
	ck_assert_int_eq(class_of(0), 1);
	ck_assert_int_eq(class_of(1), 0);
	ck_assert_int_eq(class_of(1024 * KIB), 2);
	ck_assert_int_eq(weft_inst_stack(inst, 2048 * KIB), -EINVAL);
	ck_assert_int_eq(class_of(0), 1);
	ck_assert_int_eq(weft_inst_stack(inst, 0), 0);
	ck_assert_int_eq(class_of(0), 0);
	rtest_end();
}
END_TEST

/* --- Life in them --- */

static weft_chan *gate;

RT_NOINLINE static void wait_below(size_t bytes)
{
	volatile char page[4 * KIB];
	int64_t v;

	page[0] = 1;
	if (bytes > sizeof page)
		wait_below(bytes - sizeof page);
	else
		weft_chan_recv(gate, &v, sizeof v);
	ck_assert_int_eq(page[0], 1);
}
/* arg: how deep it waits */
static void wait_deep(void *arg)
{
	wait_below((size_t)arg);
}

static bool parked(void *arg)
{
	struct weft_counters c;

	weft_read_counters(&c);
	return c.waiting == (uint64_t)(uintptr_t)arg;
}

START_TEST(goroutines_of_all_classes_are_each_seen_once_and_walked_to_their_root)
{
	static struct seen s;

	rtest_begin(2);
	gate = weft_chan_new(8, 0);
	for (uintptr_t i = 0; i < 60; i++)
		ck_assert_int_eq(go_sized(wait_deep, (void *)(uintptr_t)(class_bytes[i % 3] / 4), class_bytes[i % 3]),
				 0);
	rtest_wait(parked, (void *)60, "all wait");
	for (int try = 0; try < 50 && s.n < 60; try++) { /* the last one may be about to leave its stack */
		look(&s, wait_below);
		usleep(1000);
	}
	ck_assert_int_eq(s.all, 60);
	ck_assert_int_eq(s.n, 60);
	for (int i = 0; i < s.n; i++)
		ck_assert(rooted(&s.g[i]) || s.g[i].flags & WEFT_GF_CUT);
	weft_chan_close(gate);
	rtest_wait_gone();
	weft_chan_free(gate);
	rtest_end();
}
END_TEST

static void shallow(void *arg)
{
	(void)arg;
	weft_yield();
}

START_TEST(dead_slots_of_each_class_are_reused)
{
	struct weft_counters c;
	int rounds = rtest_scale(6000);

	rtest_begin(2);
	for (int i = 0; i < rounds; i++) {
		ck_assert_int_eq(go_sized(shallow, NULL, class_bytes[i % 3]), 0);
		if (i % 50 == 49)
			rtest_wait_gone();
	}
	rtest_wait_gone();
	weft_read_counters(&c);
	/* what rests with two Ps, and the 50 that may live at once, in whole batches */
	ck_assert_uint_le(c.stacks_mapped, 768 + 2 * 128);
	rtest_end();
}
END_TEST

static bool trimmed(void *arg)
{
	struct weft_counters c;

	rt_stacks_trim();
	weft_read_counters(&c);
	return c.stacks_trimmed >= (uint64_t)(uintptr_t)arg;
}

START_TEST(a_spike_of_each_class_is_given_back_and_the_slots_live_again)
{
	const size_t bytes = class_bytes[_i];
	const uintptr_t n = _i ? 300 : 1800;

	rtest_begin(2);
	for (int round = 0; round < 2; round++) {
		gate = weft_chan_new(8, 0);
		for (uintptr_t i = 0; i < n; i++)
			ck_assert_int_eq(go_sized(wait_deep, (void *)(uintptr_t)(20 * KIB), bytes), 0);
		rtest_wait(parked, (void *)n, "all wait");
		weft_chan_close(gate);
		rtest_wait_gone();
		/* but for what stays warm, and what rests with the Ps */
		rtest_wait(trimmed, (void *)(uintptr_t)((round + 1) * (_i ? 150 : 200)), "their memory is given back");
		weft_chan_free(gate);
	}
	rtest_end();
}
END_TEST

/* --- Overflow --- */

/* What an overflow would do to the canary, without all it would do to the neighbour. */
static void kill_canary(void *arg)
{
	(void)arg;
	*(volatile char *)rt_stack_lo(ld(&rt_self()->cur)) = 1;
	weft_yield();
}

static const struct guard_case {
	unsigned no_guard;
	const char *name;
	int sig;
	weft_fn fn;
} guards[] = {
	{ WEFT_NO_GUARD_MADVISE, "userfaultfd", SIGBUS, recurse },
	{ WEFT_NO_GUARD_MADVISE | WEFT_NO_GUARD_UFFD, "mprotect", SIGSEGV, recurse },
	{ WEFT_NO_GUARD_MADVISE | WEFT_NO_GUARD_UFFD | WEFT_NO_GUARD_MPROTECT, "canary", SIGABRT, kill_canary },
	{ 0, NULL, SIGSEGV, recurse }, /* the kernel's best: whichever that is */
};

static void child(const struct guard_case *c, size_t bytes, int fd)
{
	struct weft_host_opts opts = { .maxprocs = 2, .no_guard = c->no_guard };
	struct weft_counters n;

	alarm(60);
	dup2(fd, 2);
	if (weft_host_start(&opts) != 0)
		_exit(10);
	inst = weft_inst_new("victim");
	weft_read_counters(&n);
	if (c->name && strcmp(n.guard, c->name) != 0)
		_exit(11);
	if (go_sized(shallow, NULL, bytes) != 0 || go_sized(c->fn, NULL, bytes) != 0)
		_exit(12);
	sleep(30);
	_exit(13);
}

START_TEST(an_overflow_is_named_with_the_size_of_its_class_below_each_guard)
{
	const struct guard_case *c = &guards[_i / 3];
	size_t bytes = class_bytes[_i % 3];
	char name[] = "/tmp/weft-stack.XXXXXX", text[16384], want[80];
	int fd = mkstemp(name), status;
	ssize_t n;
	pid_t pid;

	unlink(name);
	fflush(NULL);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		child(c, bytes, fd);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	n = pread(fd, text, sizeof text - 1, 0);
	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	if (WIFEXITED(status) && WEXITSTATUS(status) == 11) {
		printf("this kernel offers no %s\n", c->name);
		return;
	}
	ck_assert_msg(WIFSIGNALED(status), "status 0x%x: %s", status, text);
	if (c->name)
		ck_assert_msg(WTERMSIG(status) == c->sig, "died of %d: %s", WTERMSIG(status), text);
	snprintf(want, sizeof want, "has used all %u KiB of its stack",
		 ((RT_SLOT << RT_CLASS_STEP * (unsigned)(_i % 3)) - RT_PAGE) / KIB);
	ck_assert_msg(strstr(text, want) != NULL, "no \"%s\" in: %s", want, text);
	ck_assert_msg(strstr(text, "stack overflow: goroutine ") != NULL, "%s", text);
	close(fd);
}
END_TEST

/* --- How many --- */

static char root[] = "/tmp/weft-stack.XXXXXX";

static void put(const char *name, const char *words)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof path, "%s%s", root, name);
	for (char *s = path + sizeof root; (s = strchr(s, '/')) != NULL; s++) {
		*s = '\0';
		(void)mkdir(path, 0700);
		*s = '/';
	}
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(words, f);
	fclose(f);
}

/* How many of a class there can be where a control group allows 10 MiB: 80 % of it at the class's price. */
START_TEST(max_goroutines_follows_the_memory_limit_and_the_class)
{
	static const int want[] = { 8388608 / 4608, 8388608 / 5120, 8388608 / 6656 };
	char proc[64], sys[64], cmd[64];
	int n = 0, rc = 0;

	ck_assert_ptr_nonnull(mkdtemp(root));
	put("/proc/self/cgroup", "0::/a\n");
	put("/proc/self/mountinfo", "35 26 0:30 / /cg rw - cgroup2 cgroup2 rw\n");
	put("/sys/cg/a/memory.max", "10485760\n");
	snprintf(proc, sizeof proc, "%s/proc", root);
	snprintf(sys, sizeof sys, "%s/sys", root);
	rtest_begin_with(&(struct weft_host_opts){ .maxprocs = 1, .proc_root = proc, .sys_root = sys });
	gate = weft_chan_new(8, 0);
	while (n < 3000 && (rc = go_sized(wait_deep, NULL, class_bytes[_i])) == 0)
		n++;
	ck_assert_int_eq(rc, -EAGAIN);
	ck_assert_int_eq(n, want[_i]);
	weft_chan_close(gate);
	rtest_wait_gone();
	weft_chan_free(gate);
	rtest_end();
	snprintf(cmd, sizeof cmd, "rm -rf %s", root);
	ck_assert_int_eq(system(cmd), 0);
}
END_TEST

/* --- How deep --- */

static struct weft_stack_use use_of(weft_fn fn, size_t size)
{
	static struct weft_stack_use all[WEFT_STACK_USE_MAX];
	uint64_t at = 0;
	size_t n;

	while (weft_read_stack_look(&at, 7))
		;
	n = weft_read_stack_use(all, WEFT_STACK_USE_MAX);
	for (size_t i = 0; i < n; i++)
		if (all[i].fn == (uintptr_t)fn && (!size || all[i].size == size))
			return all[i];
	return (struct weft_stack_use){ 0 };
}

/* The pages of n bytes, and what frames and records around them may take. */
static bool about(uint64_t used, uint64_t n)
{
	return used >= n && used <= n + n / 2 + 16 * KIB;
}

START_TEST(a_living_goroutine_shows_how_deep_it_has_been)
{
	struct weft_stack_use u;

	rtest_begin(2);
	gate = weft_chan_new(8, 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(go_sized(wait_deep, (void *)(uintptr_t)(class_bytes[i] / 2), class_bytes[i]), 0);
	rtest_wait(parked, (void *)3, "all wait");
	for (uint32_t i = 0; i < 3; i++) {
		u = use_of(wait_deep, ((size_t)RT_SLOT << RT_CLASS_STEP * i) - RT_PAGE);
		ck_assert_uint_ge(u.looks, 1);
		ck_assert_msg(about(u.used, class_bytes[i] / 2), "class %u: %llu", i, (unsigned long long)u.used);
	}
	weft_chan_close(gate);
	rtest_wait_gone();
	weft_chan_free(gate);
	rtest_end();
}
END_TEST

static void deep(void *arg)
{
	(void)arg;
	use(40 * KIB);
}

/* Starts fn on warm slots until one has been measured. */
static void until_measured(weft_fn fn)
{
	for (int i = 0; i < 1000 && !use_of(fn, 0).looks; i++) {
		for (int k = 0; k < 100; k++)
			ck_assert_int_eq(weft_go_in(inst, fn, NULL), 0);
		rtest_wait_gone();
	}
}

struct starter {
	weft_fn fn;
};
static void start_many(void *arg)
{
	const struct starter *s = arg;

	for (int i = 0; i < 200; i++) {
		while (weft_go(s->fn, NULL) != 0)
			weft_yield();
		weft_yield();
	}
}

static _Atomic bool started;
static void starts_and_says_so(void *arg)
{
	start_many(arg);
	atomic_store(&started, true);
}

/* ThreadSanitizer sees to it. */
START_TEST(who_looks_how_deep_they_are_disturbs_nobody_who_is_born_or_ends)
{
	struct starter of_shallow = { shallow };

	rtest_begin(2);
	atomic_store(&started, false);
	ck_assert_int_eq(weft_go_in(inst, starts_and_says_so, &of_shallow), 0);
	while (!atomic_load(&started))
		(void)use_of(shallow, 0);
	rtest_wait_gone();
	rtest_end();
}
END_TEST

START_TEST(short_lives_on_used_stacks_are_sampled_and_not_charged_for_who_was_there_before)
{
	struct starter of_deep = { deep }, of_shallow = { shallow };
	struct weft_stack_use u;

	rtest_begin(1);
	for (int i = 0; i < 5; i++)
		rtest_run(start_many, &of_deep);
	until_measured(deep);
	u = use_of(deep, 0);
	ck_assert_msg(about(u.used, 40 * KIB), "%llu", (unsigned long long)u.used);
	for (int i = 0; i < 500 && !use_of(shallow, 0).looks; i++)
		rtest_run(start_many, &of_shallow);
	u = use_of(shallow, 0);
	ck_assert_uint_ge(u.looks, 1);
	ck_assert_msg(u.used <= 20 * KIB, "%llu", (unsigned long long)u.used);
	rtest_end();
}
END_TEST

Suite *test_stack(void)
{
	Suite *s = suite_create("stack");
	TCase *t = tcase_create("classes");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, bytes_are_rounded_up_to_a_class);
	tcase_add_test(t, an_instance_has_a_class_that_a_goroutine_may_override);
	tcase_add_test(t, goroutines_of_all_classes_are_each_seen_once_and_walked_to_their_root);
	tcase_add_test(t, dead_slots_of_each_class_are_reused);
	tcase_add_loop_test(t, a_spike_of_each_class_is_given_back_and_the_slots_live_again, 0, 3);
	tcase_add_loop_test(t, max_goroutines_follows_the_memory_limit_and_the_class, 0, 3);
	suite_add_tcase(s, t);
	t = tcase_create("overflow");
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, an_overflow_is_named_with_the_size_of_its_class_below_each_guard, 0, 12);
	suite_add_tcase(s, t);
	t = tcase_create("depth");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_living_goroutine_shows_how_deep_it_has_been);
	tcase_add_test(t, who_looks_how_deep_they_are_disturbs_nobody_who_is_born_or_ends);
	tcase_add_test(t, short_lives_on_used_stacks_are_sampled_and_not_charged_for_who_was_there_before);
	suite_add_tcase(s, t);
	return s;
}
