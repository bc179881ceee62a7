/* text.c - debug=1, the memory map and the answer of /debug/pprof/symbol; debug=2 is in text_dump.c.
 *
 * Columns are set as Go sets them: cells end with a tab, tab stops are 8 apart, and a column is as wide
 * as its widest cell plus one within a run of neighbouring lines that have it. */
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frame.h"
#include "pprof_impl.h"
#include "symbols.h"
#include "utf8.h"

#define CELLS 4 /* #, address, function, position */
#define TAB 8

/* A line of a record: cells end where end[] says, the last one with the line. */
struct row {
	size_t begin, end[CELLS];
	int n;
};
struct rows {
	struct buf text;
	struct row *row;
	uint32_t n, cap;
};

/* --- columns --------------------------------------------------------------------------------- */

static void row_begin(struct rows *rs)
{
	if (array_room(&rs->row, rs->n, &rs->cap, sizeof *rs->row) < 0) {
		rs->text.failed = 1;
		return;
	}
	rs->row[rs->n++] = (struct row){ .begin = rs->text.len };
}

/* What was appended to rs->text since is the next cell. */
static void cell_end(struct rows *rs)
{
	struct row *r = &rs->row[rs->n - 1];

	if (rs->text.failed)
		return;
	r->end[r->n++] = rs->text.len;
}

static size_t cell_start(const struct row *r, int column)
{
	return column ? r->end[column - 1] : r->begin;
}

/* In characters. */
static size_t cell_width(const struct rows *rs, const struct row *r, int column)
{
	size_t w = 0;

	for (size_t i = cell_start(r, column); i < r->end[column]; i++)
		w += ((unsigned char)rs->text.b[i] & 0xc0) != 0x80;
	return w;
}

/* Width of the column in the run of lines around i that have it. */
static size_t column_width(const struct rows *rs, uint32_t i, int column)
{
	size_t width = 0;
	uint32_t first = i;

	while (first > 0 && rs->row[first - 1].n > column + 1)
		first--;
	for (; first < rs->n && rs->row[first].n > column + 1; first++) {
		size_t w = cell_width(rs, &rs->row[first], column) + 1;

		width = w > width ? w : width;
	}
	return (width + TAB - 1) / TAB * TAB;
}

static void rows_print(struct buf *out, const struct rows *rs)
{
	size_t width[CELLS];

	for (uint32_t i = 0; i < rs->n && !rs->text.failed; i++) {
		const struct row *r = &rs->row[i];

		for (int c = 0; c < r->n; c++) {
			size_t start = cell_start(r, c);

			buf_add(out, rs->text.b + start, r->end[c] - start);
			if (c + 1 == r->n)
				continue;
			if (i == 0 || rs->row[i - 1].n <= c + 1) /* a run begins here */
				width[c] = column_width(rs, i, c);
			start = (width[c] - cell_width(rs, r, c) + TAB - 1) / TAB;
			buf_add(out, "\t\t\t\t\t\t\t\t", start < TAB ? start : TAB);
			for (; start > TAB; start--)
				buf_str(out, "\t");
		}
		buf_str(out, "\n");
	}
}

/* --- debug=1 ------------------------------------------------------------------------------------- */

static void frame_row(struct rows *rs, uint64_t call, const struct frame *f)
{
	row_begin(rs);
	buf_str(&rs->text, "#");
	cell_end(rs);
	buf_fmt(&rs->text, "0x%" PRIx64, call);
	cell_end(rs);
	if (!f->named)
		return;
	buf_str(&rs->text, f->name);
	buf_fmt(&rs->text, "+0x%" PRIx64, f->entry ? call - f->entry : 0);
	cell_end(rs);
	buf_fmt(&rs->text, "%s:%d", *f->file ? f->file : "??", f->line);
	cell_end(rs);
}

/* Frames of the runtime are left out as long as they lead; how the goroutine began, always. */
static void frame_rows(struct rows *rs, struct pprof *p, const struct pprof_sample *s, bool all)
{
	for (uint32_t i = 0; i < s->depth; i++) {
		struct frames v = pprof_frames(p, s->loc[i]);

		for (int k = 0; k < v.n; k++) {
			all = all || !v.f[k].internal;
			if (all && !v.f[k].root)
				frame_row(rs, p->loc[s->loc[i]].call, &v.f[k]);
		}
	}
}

static void label_line(struct buf *out, const struct pprof_labels *l)
{
	const char *s = l->text;

	if (l->n == 0)
		return;
	buf_str(out, "# labels: {");
	for (uint32_t i = 0; i < l->n; i++) {
		buf_str(out, i ? ", " : "");
		utf8_quote(out, s);
		s += strlen(s) + 1;
		buf_str(out, ":");
		utf8_quote(out, s);
		s += strlen(s) + 1;
	}
	buf_str(out, "}\n");
}

/* Sums of what is sampled; v as TEXT_HEAP's values. */
static void heap_sums(struct buf *out, const int64_t *v, bool total)
{
	/* With both sums of bytes equal pprof would take the line for one without allocations. */
	buf_fmt(out, "%" PRId64 ": %" PRId64 " [%" PRId64 ": %" PRId64 "] @", v[2], v[3], v[0],
		v[1] + (total && v[1] == v[3]));
}

static void head(struct buf *out, const struct pprof *p, const struct text_head *h)
{
	switch (h->form) {
	case TEXT_COUNT:
		buf_fmt(out, "%s profile: total %" PRId64 "\n", h->name, p->total[0]);
		break;
	case TEXT_CONTENTION:
		buf_fmt(out, "--- %s:\ncycles/second=1000000000\n", h->name);
		if (!strcmp(h->name, "mutex")) /* what is printed is scaled already */
			buf_str(out, "sampling period=1\n");
		break;
	case TEXT_FOLDED:
		return;
	case TEXT_HEAP:
		buf_str(out, "heap profile: ");
		heap_sums(out, p->total, true);
		buf_fmt(out, " heap/%" PRId64 "\n", 2 * h->rate);
		return;
	}
	buf_str(out, h->comment ? h->comment : "");
}

static void record_sums(struct buf *out, const struct pprof_sample *s, enum text_form form)
{
	switch (form) {
	case TEXT_COUNT:
		buf_fmt(out, "%" PRId64 " @", s->value[0]);
		break;
	case TEXT_CONTENTION:
		buf_fmt(out, "%" PRId64 " %" PRId64 " @", s->value[1], s->value[0]);
		break;
	case TEXT_FOLDED:
		break;
	case TEXT_HEAP:
		heap_sums(out, s->value, false);
		break;
	}
}

/* A line: names from the root to the leaf. */
static void folded(struct buf *out, struct pprof *p, const struct pprof_sample *s)
{
	bool any = false;

	for (uint32_t i = s->depth; i--;) {
		struct frames v = pprof_frames(p, s->loc[i]);

		for (int k = v.n; k-- && !v.f[k].root; any = true) {
			buf_str(out, any ? ";" : "");
			if (v.f[k].named)
				buf_str(out, v.f[k].name);
			else
				buf_fmt(out, "0x%" PRIx64, p->loc[s->loc[i]].call);
		}
	}
	buf_fmt(out, " %" PRId64 "\n", s->value[0]);
}

static void record(struct buf *out, struct rows *rs, struct pprof *p, const struct pprof_sample *s, enum text_form form)
{
	if (form == TEXT_FOLDED) {
		folded(out, p, s);
		return;
	}
	record_sums(out, s, form);
	for (uint32_t i = 0; i < s->depth; i++)
		buf_fmt(out, " 0x%" PRIx64, p->loc[s->loc[i]].call + 1);
	buf_str(out, "\n");
	label_line(out, s->labels);
	rs->n = 0;
	rs->text.len = 0;
	frame_rows(rs, p, s, form == TEXT_CONTENTION); /* there the leading frames say what was called */
	if (rs->n == 0)
		frame_rows(rs, p, s, true);
	rows_print(out, rs);
	buf_str(out, "\n");
}

enum { TEXT_HEAD, TEXT_FRAMES, TEXT_SORT, TEXT_RECORDS, TEXT_MAP, TEXT_DONE };

/* One bounded piece of the current stage; rs is scratch. */
static int text_piece(struct buf *out, struct rows *rs, struct pprof *p, const struct text_head *h, int64_t until)
{
	int rc = 0;

	switch (p->text.stage) {
	case TEXT_HEAD:
		rc = symbols_update();
		head(out, p, h);
		p->text.stage = TEXT_FRAMES;
		break;
	case TEXT_FRAMES:
		p->text.stage += pprof_frames_step(p, until) == 0;
		break;
	case TEXT_SORT:
		rc = pprof_sort_step(p);
		p->text.stage += rc == 0;
		p->text.at = 0;
		break;
	case TEXT_RECORDS:
		if (p->text.at < p->n_sample)
			record(out, rs, p, &p->sample[p->sort.order[p->text.at++]], h->form);
		else
			p->text.stage = TEXT_MAP;
		break;
	default:
		if (h->form == TEXT_HEAP && h->comment)
			buf_fmt(out, "\n%s", h->comment);
		if (h->form != TEXT_FOLDED)
			text_memory_map(out);
		p->text.stage = TEXT_DONE;
	}
	return rc < 0 || out->failed || rs->text.failed ? -ENOMEM : 0;
}

int text_profile_step(struct buf *out, struct pprof *p, const struct text_head *h, int64_t budget_ns)
{
	int64_t until = pprof_now() + budget_ns;
	struct rows *rs = calloc(1, sizeof *rs);
	int rc = rs ? 0 : -ENOMEM;

	while (rc == 0 && p->text.stage != TEXT_DONE) {
		rc = text_piece(out, rs, p, h, until);
		if (rc == 0 && p->text.stage != TEXT_DONE && pprof_now() >= until)
			rc = 1;
	}
	if (rs) {
		buf_free(&rs->text);
		free(rs->row);
	}
	free(rs);
	if (rc < 0)
		out->failed = 1;
	return rc;
}

void text_profile(struct buf *out, struct pprof *p, const struct text_head *h)
{
	p->text.stage = TEXT_HEAD;
	while (text_profile_step(out, p, h, 1000000000) > 0)
		;
}

void text_memory_map(struct buf *out)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	char chunk[4096];
	ssize_t n;

	buf_str(out, "--- Memory map: ---\n");
	if (fd < 0)
		return;
	while ((n = read(fd, chunk, sizeof chunk)) > 0 || (n < 0 && errno == EINTR))
		buf_add(out, chunk, n > 0 ? (size_t)n : 0);
	close(fd);
}

/* --- /debug/pprof/symbol ------------------------------------------------------------------------ */

/* A whole number in C's notation; 0: it is none. */
static uint64_t address(const char *s, size_t n)
{
	char word[32], *end;
	uint64_t v;

	if (n == 0 || n >= sizeof word || s[0] < '0' || s[0] > '9')
		return 0;
	memcpy(word, s, n);
	word[n] = 0;
	errno = 0;
	v = strtoull(word, &end, 0);
	return *end || errno ? 0 : v;
}

void text_symbols(struct buf *out, const char *in, size_t len)
{
	static const char between[] = "+ \t\r\n\"'"; /* old clients quote the list */

	if (symbols_update() < 0)
		out->failed = 1;
	buf_str(out, "num_symbols: 1\n");
	for (size_t i = 0; i < len;) {
		size_t n = 0;
		uint64_t pc;
		struct symbol s;

		while (i + n < len && in[i + n] && !strchr(between, in[i + n]))
			n++;
		pc = address(in + i, n);
		i += n + 1;
		if (pc == 0)
			continue;
		s = symbols_at(pc);
		if (s.module)
			buf_fmt(out, "0x%" PRIx64 " %s\n", pc, s.name);
	}
}
