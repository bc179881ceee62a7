/* test_text.c - debug=1, debug=2 and the symbol answer, byte by byte and through the real tool. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pprof_check.h"
#include "symbols.h"
#include "text.h"
#include "utf8.h"
#include "weft_host.h"

#define MINUTE 60000000000LL
#define NOW (1000 * MINUTE)

static const struct pprof_spec goroutine = {
	.sample = { { "goroutine", "count" } },
	.n_sample = 1,
	.period_type = { "goroutine", "count" },
	.period = 1,
};

static const struct text_head goroutine_head = { .form = TEXT_COUNT, .name = "goroutine" };

/* Names of several widths, and of the runtime; only their addresses are used. */
__asm__(".pushsection .text.weft_tt,\"ax\",@progbits\n"
	".type wtt,@function\nwtt: .skip 64,0x90\n.size wtt,64\n"
	".type wtt_sixteen_wide,@function\nwtt_sixteen_wide: .skip 64,0x90\n.size wtt_sixteen_wide,64\n"
	".type wtt_a_name_of_many_words_to_widen_the_column,@function\n"
	"wtt_a_name_of_many_words_to_widen_the_column: .skip 64,0x90\n"
	".size wtt_a_name_of_many_words_to_widen_the_column,64\n"
	".popsection\n.pushsection rt_text,\"ax\",@progbits\n" /* where the runtime's code stands */
	".type rt_wtt_park,@function\nrt_wtt_park: .skip 64,0x90\n.size rt_wtt_park,64\n"
	".popsection\n");
extern const char wtt[], wtt_sixteen_wide[], wtt_a_name_of_many_words_to_widen_the_column[], rt_wtt_park[];
extern const char rt_g_main[], rt_g_entry[];

static uint64_t at(const char *function, int offset)
{
	return (uint64_t)(uintptr_t)function + (uint64_t)offset;
}

static void scan(void)
{
	ck_assert_int_ge(weft_host_scan_modules(), 0);
}

/* --- debug=1 ----------------------------------------------------------------------------------- */

static void add(struct pprof *p, const uint64_t *pc, int depth, unsigned flags, const struct weft_labels *l, int64_t n)
{
	ck_assert_int_eq(pprof_add(p, pc, depth, flags, l, NULL, NULL, &n), 0);
}

static char *text_of(struct buf *b)
{
	ck_assert_int_eq(b->failed, 0);
	buf_add(b, "", 1);
	return b->b;
}

/* The text without its memory map; frees p.  Free the result. */
static char *records(struct pprof *p)
{
	struct buf b = { 0 };
	char *tail;

	text_profile(&b, p, &goroutine_head);
	pprof_free(p);
	tail = strstr(text_of(&b), "--- Memory map: ---\n");
	ck_assert_ptr_nonnull(tail);
	ck_assert_ptr_nonnull(strstr(tail, "r-xp"));
	*tail = 0;
	return b.b;
}

START_TEST(records_with_fixed_addresses_are_these_bytes)
{
	const uint64_t two[] = { 0x1001, 0x2001 }, one = 0x3000, lost = PPROF_PC_LOST;
	const struct weft_labels l = { .n = 2, .l = { { "k", "v" }, { "k\"2", "a\tb\n\xc3\xbc" } } };
	struct pprof *p = pprof_new(&goroutine);
	char *text;

	ck_assert_ptr_null(weft_read_modules()); /* the runtime was not started: no names */
	add(p, two, 2, 0, &l, 1);
	add(p, &one, 1, WEFT_GF_EXACT, NULL, 5);
	add(p, &lost, 1, 0, NULL, 1);
	add(p, two, 2, 0, NULL, 1);
	text = records(p);

	ck_assert_str_eq(text, "goroutine profile: total 8\n"
			       "5 @ 0x3001\n"
			       "#\t0x3000\n"
			       "\n"
			       "1 @ 0x1001 0x2001\n"
			       "#\t0x1000\n"
			       "#\t0x2000\n"
			       "\n"
			       "1 @ 0x1001 0x2001\n"
			       "# labels: {\"k\":\"v\", \"k\\\"2\":\"a\\tb\\n\xc3\xbc\"}\n"
			       "#\t0x1000\n"
			       "#\t0x2000\n"
			       "\n"
			       "1 @ 0x4\n"
			       "#\t0x3\tweft._Lost+0x0\t??:0\n"
			       "\n");
	free(text);
}
END_TEST

START_TEST(columns_are_aligned_by_tabs_of_eight)
{
	const uint64_t pc[] = { at(wtt, 2), at(wtt_a_name_of_many_words_to_widen_the_column, 17),
				at(wtt_sixteen_wide, 33) };
	struct pprof *p;
	char *text, want[1000];

	scan();
	p = pprof_new(&goroutine);
	add(p, pc, 3, 0, NULL, 1);
	text = records(p);

	snprintf(want, sizeof want,
		 "goroutine profile: total 1\n"
		 "1 @ %#llx %#llx %#llx\n"
		 "#\t%#llx\twtt+0x1\t\t\t\t\t\t\t??:0\n"
		 "#\t%#llx\twtt_a_name_of_many_words_to_widen_the_column+0x10\t??:0\n"
		 "#\t%#llx\twtt_sixteen_wide+0x20\t\t\t\t\t??:0\n"
		 "\n",
		 (unsigned long long)pc[0], (unsigned long long)pc[1], (unsigned long long)pc[2],
		 (unsigned long long)pc[0] - 1, (unsigned long long)pc[1] - 1, (unsigned long long)pc[2] - 1);
	ck_assert_str_eq(text, want);
	free(text);
}
END_TEST

START_TEST(leading_runtime_frames_and_the_root_are_hidden)
{
	const uint64_t pc[] = { at(rt_wtt_park, 1), at(rt_wtt_park, 2), at(wtt, 2),
				at(rt_wtt_park, 3), at(rt_g_main, 2),   at(rt_g_entry, 2) };
	struct pprof *p;
	char *text, *first;

	scan();
	p = pprof_new(&goroutine);
	add(p, pc, 6, 0, NULL, 1);
	text = records(p);

	first = strchr(text, '#');
	ck_assert_ptr_nonnull(strstr(first, "wtt+0x1\t"));
	ck_assert_ptr_nonnull(strstr(first, "rt_wtt_park+0x2\t")); /* no longer leading */
	ck_assert_ptr_null(strstr(first, "rt_wtt_park+0x0"));
	ck_assert_ptr_null(strstr(first, "rt_wtt_park+0x1\t"));
	ck_assert_ptr_null(strstr(first, "rt_g_"));
	free(text);
}
END_TEST

START_TEST(runtime_frames_are_shown_when_nothing_else_is_left)
{
	const uint64_t pc[] = { at(rt_wtt_park, 1), at(rt_g_main, 2) };
	struct pprof *p;
	char *text;

	scan();
	p = pprof_new(&goroutine);
	add(p, pc, 2, 0, NULL, 1);
	text = records(p);

	ck_assert_ptr_nonnull(strstr(text, "rt_wtt_park+0x0\t??:0\n\n"));
	ck_assert_ptr_null(strstr(text, "rt_g_main"));
	free(text);
}
END_TEST

static struct pprof *many_records(void)
{
	struct pprof *p = pprof_new(&goroutine);

	for (int i = 0; i < 700; i++) {
		const uint64_t pc[] = { at(wtt, 1 + i % 50), at(wtt_sixteen_wide, 1 + i % 33), 0x1000 + (uint64_t)i,
					PPROF_PC_SCHED };
		struct weft_labels l = { .n = i % 2, .l = { { "k", "" } } };

		snprintf(l.l[0].value, sizeof l.l[0].value, "v%d", i % 5);
		add(p, pc, 1 + i % 4, 0, &l, 1 + i % 3);
	}
	return p;
}

START_TEST(text_in_tiny_steps_is_the_same)
{
	struct buf whole = { 0 }, steps = { 0 };
	struct pprof *p;
	int n = 1;

	scan();
	p = many_records();
	text_profile(&whole, p, &goroutine_head);
	pprof_free(p);
	p = many_records();
	while (text_profile_step(&steps, p, &goroutine_head, 0) > 0)
		n++;
	pprof_free(p);

	ck_assert_int_gt(n, 100);
	*strstr(text_of(&whole), "--- Memory") = 0; /* what follows grew meanwhile */
	*strstr(text_of(&steps), "--- Memory") = 0;
	ck_assert_str_eq(whole.b, steps.b);
	buf_free(&whole);
	buf_free(&steps);
}
END_TEST

START_TEST(go_tool_pprof_reads_the_text_to_the_same_totals)
{
	struct pprof *p;
	struct buf b = { 0 };
	int64_t total;
	char *raw;

	scan();
	p = many_records();
	text_profile(&b, p, &goroutine_head);
	total = pprof_total(p, 0);
	pprof_free(p);
	raw = go_pprof_raw(b.b, b.len);
	if (!raw) {
		printf("SKIP go_tool_pprof_reads_the_text_to_the_same_totals: no go on PATH\n");
		return;
	}
	ck_assert_msg(go_pprof_total(raw, 0) == total, "%s", raw);
	ck_assert_msg(strstr(raw, "PeriodType: goroutine count") != NULL, "%s", raw);
	ck_assert_msg(strstr(strstr(raw, "\nMappings\n"), "libc.so") != NULL, "%s", raw);
	free(raw);
	buf_free(&b);
}
END_TEST

/* --- debug=2 ------------------------------------------------------------------------------------- */

static char *dump(const struct weft_goroutine *g)
{
	struct buf b = { 0 };

	text_goroutine(&b, g, NOW);
	return text_of(&b);
}

static void check_dump(const struct weft_goroutine *g, const char *want)
{
	char *text = dump(g);

	ck_assert_str_eq(text, want);
	free(text);
}

START_TEST(headers_say_state_and_whole_minutes)
{
	static const struct {
		enum weft_g_status status;
		unsigned flags;
		int64_t ago;
		const char *want;
	} t[] = {
		{ WEFT_G_RUNNING, 0, 5 * MINUTE, "goroutine 7 [running]:\n\n" },
		{ WEFT_G_RUNNABLE, 0, 5 * MINUTE, "goroutine 7 [runnable]:\n\n" },
		{ WEFT_G_WAITING, 0, MINUTE - 1, "goroutine 7 [waiting]:\n\n" },
		{ WEFT_G_WAITING, 0, MINUTE, "goroutine 7 [waiting, 1 minutes]:\n\n" },
		{ WEFT_G_WAITING, 0, NOW, "goroutine 7 [waiting]:\n\n" }, /* since 0: unknown */
		{ WEFT_G_WAITING, WEFT_GF_APPROX, 90 * MINUTE, "goroutine 7 [waiting (approx.), 90 minutes]:\n\n" },
		{ WEFT_G_DETACHED, 0, 3 * MINUTE, "goroutine 7 [running]:\n\n" },
		{ WEFT_G_SYSCALL, 0, 3 * MINUTE, "goroutine 7 [syscall, 3 minutes]:\n\n" },
		{ WEFT_G_RUNNING, WEFT_GF_BLOCKED, 2 * MINUTE + 1, "goroutine 7 [syscall, 2 minutes]:\n\n" },
	};
	struct weft_goroutine g = { .id = 7, .reason = 30, .status = t[_i].status, .flags = t[_i].flags };

	g.since = NOW - t[_i].ago;
	check_dump(&g, t[_i].want);
}
END_TEST
#define HEADERS 9

START_TEST(reason_of_a_wait_is_quoted_as_it_is)
{
	struct weft_goroutine g = { .id = 7, .status = WEFT_G_WAITING };
	char want[100];

	for (g.reason = 0; g.reason < WEFT_REASONS_MAX; g.reason++) {
		snprintf(want, sizeof want, "goroutine 7 [%s]:\n\n", weft_read_reason(g.reason));
		check_dump(&g, want);
	}
}
END_TEST

START_TEST(frames_are_functions_with_unknown_arguments_and_return_offsets)
{
	struct weft_goroutine g = { .id = 1, .status = WEFT_G_RUNNING, .depth = 3, .flags = WEFT_GF_EXACT };

	scan();
	ck_assert_int_eq(symbols_update(), 0);
	g.pc[0] = at(wtt, 18);
	g.pc[1] = at(wtt_sixteen_wide, 64); /* a call that does not return: the next function's address */
	g.pc[2] = 0x1234;
	check_dump(&g, "goroutine 1 [running]:\n"
		       "wtt(...)\n"
		       "\t??:0 +0x12\n"
		       "wtt_sixteen_wide(...)\n"
		       "\t??:0 +0x40\n"
		       "0x1234(...)\n"
		       "\t??:0\n"
		       "\n");
}
END_TEST

START_TEST(runtime_frames_are_hidden_in_dumps_too)
{
	struct weft_goroutine g = { .id = 1, .status = WEFT_G_RUNNABLE, .depth = 4 };

	scan();
	ck_assert_int_eq(symbols_update(), 0);
	g.pc[0] = at(rt_wtt_park, 9);
	g.pc[1] = at(wtt, 2);
	g.pc[2] = at(rt_g_main, 2);
	g.pc[3] = at(rt_g_entry, 2);
	check_dump(&g, "goroutine 1 [runnable]:\nwtt(...)\n\t??:0 +0x2\n\n");
	g.pc[1] = g.pc[0];
	check_dump(&g, "goroutine 1 [runnable]:\n"
		       "rt_wtt_park(...)\n\t??:0 +0x9\n"
		       "rt_wtt_park(...)\n\t??:0 +0x9\n"
		       "\n");
}
END_TEST

static int count(const char *text, const char *what)
{
	int n = 0;

	for (const char *p = text; (p = strstr(p, what)) != NULL; p++)
		n++;
	return n;
}

START_TEST(more_than_a_hundred_frames_are_elided_in_the_middle)
{
	struct weft_goroutine g = { .id = 1, .status = WEFT_G_RUNNABLE };
	char *text;

	for (int i = 0; i < WEFT_STACK_MAX; i++)
		g.pc[i] = 0x1001 + (uint64_t)i;
	g.depth = 100;
	text = dump(&g);
	ck_assert_int_eq(count(text, "(...)"), 100);
	ck_assert_int_eq(count(text, "elided"), 0);
	free(text);

	g.depth = 101;
	text = dump(&g);
	ck_assert_int_eq(count(text, "(...)"), 100);
	ck_assert_int_eq(count(text, "0x1032(...)\n\t??:0\n...1 frames elided...\n0x1034(...)\n"), 1);
	free(text);

	g.depth = WEFT_STACK_MAX;
	g.flags = WEFT_GF_CUT;
	text = dump(&g);
	ck_assert_int_eq(count(text, "\n...28 frames elided...\n"), 1);
	ck_assert_int_eq(count(text, "\n...additional frames elided...\n\n"), 1);
	free(text);
}
END_TEST

START_TEST(goroutine_that_did_not_answer_has_no_stack)
{
	const struct weft_goroutine g = { .id = 9, .status = WEFT_G_RUNNING, .flags = WEFT_GF_UNAVAILABLE };

	check_dump(&g, "goroutine 9 [running]:\n\tgoroutine running on other thread; stack unavailable\n\n");
}
END_TEST

/* --- symbol ------------------------------------------------------------------------------------------- */

static void check_symbols(const char *in, const char *want)
{
	struct buf b = { 0 };

	text_symbols(&b, in, strlen(in));
	ck_assert_str_eq(text_of(&b), want);
	buf_free(&b);
}

START_TEST(symbol_answers_in_lines_of_address_and_name)
{
	char in[200], want[200];

	scan();
	snprintf(in, sizeof in, "%#llx+0x1+%llu+0%llo", (unsigned long long)at(wtt, 1),
		 (unsigned long long)at(wtt_sixteen_wide, 2), (unsigned long long)at(wtt, 3));
	snprintf(want, sizeof want, "num_symbols: 1\n%#llx wtt\n%#llx wtt_sixteen_wide\n%#llx wtt\n",
		 (unsigned long long)at(wtt, 1), (unsigned long long)at(wtt_sixteen_wide, 2),
		 (unsigned long long)at(wtt, 3));

	check_symbols(in, want);
}
END_TEST

START_TEST(symbol_leaves_out_what_it_does_not_know)
{
	scan();
	check_symbols("", "num_symbols: 1\n");
	check_symbols("+++", "num_symbols: 1\n");
	check_symbols("0x1234+xyz+-1+0x+99999999999999999999999+1x", "num_symbols: 1\n");
}
END_TEST

START_TEST(symbol_takes_a_quoted_list)
{
	char in[100], want[100];

	scan();
	snprintf(in, sizeof in, "\"%#llx+%#llx\"\n", (unsigned long long)at(wtt, 1), (unsigned long long)at(wtt, 2));
	snprintf(want, sizeof want, "num_symbols: 1\n%#llx wtt\n%#llx wtt\n", (unsigned long long)at(wtt, 1),
		 (unsigned long long)at(wtt, 2));

	check_symbols(in, want);
}
END_TEST

START_TEST(quoting_is_that_of_go)
{
	static const struct {
		const char *in, *want;
	} t[] = {
		{ "", "\"\"" },
		{ "a b", "\"a b\"" },
		{ "\a\b\f\n\r\t\v\"\\'", "\"\\a\\b\\f\\n\\r\\t\\v\\\"\\\\'\"" },
		{ "\x01\x1f\x7f", "\"\\x01\\x1f\\x7f\"" },
		{ "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\"" },
		{ "\xc2\x85\xc2\xa0\xe2\x80\x8b\xee\x80\x80\xef\xbb\xbf", "\"\\u0085\\u00a0\\u200b\\ue000\\ufeff\"" },
		{ "\xf4\x8f\xbf\xbf", "\"\\U0010ffff\"" },
		{ "\xff\xc3", "\"\\xff\\xc3\"" },
	};
	struct buf b = { 0 };

	utf8_quote(&b, t[_i].in);
	ck_assert_str_eq(text_of(&b), t[_i].want);
	buf_free(&b);
}
END_TEST
#define QUOTES 8

Suite *test_text(void);
Suite *test_text(void)
{
	Suite *s = suite_create("text");
	TCase *t = tcase_create("text");

	tcase_set_timeout(t, 180); /* the first `go tool pprof` builds it */
	tcase_add_test(t, records_with_fixed_addresses_are_these_bytes);
	tcase_add_test(t, columns_are_aligned_by_tabs_of_eight);
	tcase_add_test(t, leading_runtime_frames_and_the_root_are_hidden);
	tcase_add_test(t, runtime_frames_are_shown_when_nothing_else_is_left);
	tcase_add_test(t, text_in_tiny_steps_is_the_same);
	tcase_add_test(t, go_tool_pprof_reads_the_text_to_the_same_totals);
	tcase_add_loop_test(t, headers_say_state_and_whole_minutes, 0, HEADERS);
	tcase_add_test(t, reason_of_a_wait_is_quoted_as_it_is);
	tcase_add_test(t, frames_are_functions_with_unknown_arguments_and_return_offsets);
	tcase_add_test(t, runtime_frames_are_hidden_in_dumps_too);
	tcase_add_test(t, more_than_a_hundred_frames_are_elided_in_the_middle);
	tcase_add_test(t, goroutine_that_did_not_answer_has_no_stack);
	tcase_add_test(t, symbol_answers_in_lines_of_address_and_name);
	tcase_add_test(t, symbol_leaves_out_what_it_does_not_know);
	tcase_add_test(t, symbol_takes_a_quoted_list);
	tcase_add_loop_test(t, quoting_is_that_of_go, 0, QUOTES);
	suite_add_tcase(s, t);
	return s;
}
