/* unwind_cfi.c - call frame instructions of .eh_frame, run to give rows.
 *
 * Only what a stack walk needs is followed: the CFA, where the return address is, and the caller's fp and bx
 * (unwind_table.h).  All input is taken for hostile: every read is checked against the end of the entry, and what
 * is not understood becomes a ROW_BAD over the function rather than a wrong answer.
 *
 * Loader thread only. */
#include "unwind_table.h"

#include <string.h>

#include "sys.h"

void rt_rows_add(struct rt_rows *rows, struct rt_row row)
{
	if (rows->n == rows->cap) {
		uint32_t cap = rows->cap ? rows->cap * 2 : 4096;
		struct rt_row *r =
			rows->cap ? rt_remap(rows->r, rows->cap * sizeof *r, cap * sizeof *r) : rt_map(cap * sizeof *r);

		if (!r) {
			rows->no_memory = true;
			return;
		}
		rows->r = r;
		rows->cap = cap;
	}
	rows->r[rows->n++] = row;
}

/* --- The register rules ---------------------------------------------------------------------- */

struct rules {
	enum row_kind kind;
	uint64_t reg;     /* of ROW_SP, _FP, _BX, _REG: what the CFA is from */
	int64_t off, add; /* add: of the DEREF kinds */
	enum row_fp fp_kind;
	int64_t fp;
	bool bx_known, bx_saved, sp_changed;
	int64_t bx;
	enum { RA_SAVED, RA_IN_REG, RA_END, RA_ODD } ra_kind;
	int64_t ra; /* RA_SAVED: offset from the CFA; RA_IN_REG: the register */
};

struct machine {
	const struct rt_cie *cie;
	struct rules now, init;
	struct rules stack[16];
	int depth;
	uint64_t pc; /* offset */
	uint32_t start, len;
	bool bad;
	uintptr_t base;
	struct rt_rows *rows; /* NULL: the initial instructions */
};

static enum row_kind kind_of_reg(uint64_t reg)
{
	return reg == RT_DW_SP ? ROW_SP : reg == RT_DW_FP ? ROW_FP : reg == RT_DW_BX ? ROW_BX : ROW_REG;
}

/* The caller's fp and the return address are saved side by side. */
static bool is_record(const struct rules *s)
{
	return s->ra_kind == RA_SAVED && s->fp_kind == ROW_FP_AT_CFA && s->ra == s->fp + 8 && s->fp >= INT16_MIN &&
	       s->fp <= INT16_MAX;
}

/* Fill what only some kinds use; ROW_BAD if a value does not fit. */
static void row_cfa(struct rt_row *row, const struct rules *s)
{
	enum row_kind kind = s->kind;

	if (s->off < INT16_MIN || s->off > INT16_MAX)
		kind = ROW_BAD;
	row->cfa = (int16_t)s->off;
	if (s->ra_kind == RA_END) {
		kind = ROW_END;
	} else if (s->ra_kind == RA_ODD || s->sp_changed) {
		kind = ROW_BAD;
	} else if (kind == ROW_REG || kind == ROW_SP_DEREF || kind == ROW_FP_DEREF) {
		uint64_t v = kind == ROW_REG ? s->reg : (uint64_t)s->add;

		if (v > 255 || s->ra_kind != RA_SAVED || s->ra != -8)
			kind = ROW_BAD;
		row->ra = (uint8_t)v;
	} else if (RT_DW_LINKED && is_record(s)) {
		row->ra = ROW_RA_ABOVE_FP;
	} else if (s->ra_kind == RA_IN_REG) {
		row->ra = (uint8_t)(ROW_RA_REG | s->ra);
	} else if (s->ra >= 0 || s->ra % 8 || s->ra < -8 * 127) {
		kind = ROW_BAD;
	} else {
		row->ra = (uint8_t)(-s->ra / 8);
	}
	row->kind = (uint8_t)kind;
}

static struct rt_row row_of(const struct rules *s, uint32_t pc, bool signal)
{
	struct rt_row row = { .pc = pc };

	row_cfa(&row, s);
	if (signal)
		row.kind =
			(uint8_t)((RT_DW_LINKED ? ROW_SIGNAL : row.kind) | ROW_EXACT); /* the vDSO's names a record */
	row.fp_kind = (uint8_t)s->fp_kind;
	if (s->fp_kind == ROW_FP_AT_CFA || s->fp_kind == ROW_FP_AT_FP) {
		if (s->fp < INT16_MIN || s->fp > INT16_MAX)
			row.fp_kind = ROW_FP_UNKNOWN;
		else
			row.fp = (int16_t)s->fp;
	}
	if (!s->bx_known)
		row.bx = ROW_BX_UNKNOWN;
	else if (s->bx_saved)
		row.bx = s->bx < 0 && s->bx % 8 == 0 && s->bx >= -8 * 254 ? (uint8_t)(-s->bx / 8) : ROW_BX_UNKNOWN;
	return row;
}

/* The rules up to now hold from m->pc on. */
static void emit(struct machine *m)
{
	struct rt_rows *rows = m->rows;
	struct rt_row row, *last;

	if (!rows || m->pc >= (uint64_t)m->start + m->len)
		return;
	row = row_of(&m->now, (uint32_t)m->pc, m->cie->signal);
	last = rows->n ? &rows->r[rows->n - 1] : NULL;
	if (row.pc == m->start) {
		row.kind |= ROW_FIRST;
		if (last && last->pc == row.pc)
			rows->n--;
	} else if (last && last->pc == row.pc) {
		rows->n--;
	} else if (last && last->pc >= m->start && (last->kind & ~ROW_FIRST) == row.kind && last->cfa == row.cfa &&
		   last->fp == row.fp && last->fp_kind == row.fp_kind && last->bx == row.bx && last->ra == row.ra) {
		return; /* says nothing new */
	}
	rt_rows_add(rows, row);
}

/* --- Instructions ------------------------------------------------------------------------------ */

static void advance(struct machine *m, uint64_t by)
{
	emit(m);
	if (by > m->len || m->pc + by > (uint64_t)m->start + m->len)
		m->bad = true;
	else
		m->pc += by;
}

static void advance_to(struct machine *m, uint64_t at)
{
	if (at < m->base + m->pc)
		m->bad = true;
	else
		advance(m, at - (m->base + m->pc));
}

static void saved_at(struct machine *m, uint64_t reg, int64_t off)
{
	switch (reg) {
	case RT_DW_FP:
		m->now.fp_kind = ROW_FP_AT_CFA;
		m->now.fp = off;
		break;
	case RT_DW_BX:
		m->now.bx_known = m->now.bx_saved = true;
		m->now.bx = off;
		break;
	case RT_DW_SP:
		m->now.sp_changed = true;
		break;
	case RT_DW_RA:
		m->now.ra_kind = RA_SAVED;
		m->now.ra = off;
		break;
	}
}

/* The caller's reg is somewhere we do not follow. */
static void elsewhere(struct machine *m, uint64_t reg)
{
	switch (reg) {
	case RT_DW_FP:
		m->now.fp_kind = ROW_FP_UNKNOWN;
		break;
	case RT_DW_BX:
		m->now.bx_known = false;
		break;
	case RT_DW_SP:
		m->now.sp_changed = true;
		break;
	case RT_DW_RA:
		m->now.ra_kind = RA_ODD;
		break;
	}
}

static void ra_unsaved(struct rules *s)
{
	s->ra_kind = RT_DW_LINKED ? RA_IN_REG : RA_ODD;
	s->ra = RT_DW_RA;
}

static void same(struct machine *m, uint64_t reg)
{
	switch (reg) {
	case RT_DW_FP:
		m->now.fp_kind = ROW_FP_SAME;
		break;
	case RT_DW_BX:
		m->now.bx_known = true;
		m->now.bx_saved = false;
		break;
	case RT_DW_SP:
		m->now.sp_changed = false;
		break;
	case RT_DW_RA:
		ra_unsaved(&m->now);
		break;
	}
}

static void restore(struct machine *m, uint64_t reg)
{
	const struct rules *init = &m->init;

	switch (reg) {
	case RT_DW_FP:
		m->now.fp_kind = init->fp_kind;
		m->now.fp = init->fp;
		break;
	case RT_DW_BX:
		m->now.bx_known = init->bx_known;
		m->now.bx_saved = init->bx_saved;
		m->now.bx = init->bx;
		break;
	case RT_DW_SP:
		m->now.sp_changed = init->sp_changed;
		break;
	case RT_DW_RA:
		m->now.ra_kind = init->ra_kind;
		m->now.ra = init->ra;
		break;
	}
}

static void in_register(struct machine *m, uint64_t reg, uint64_t where)
{
	if (reg == RT_DW_RA && where < RT_DW_REGS) {
		m->now.ra_kind = RA_IN_REG;
		m->now.ra = (int64_t)where;
	} else if (reg == RT_DW_SP) {
		/* The caller's sp is the CFA all the same; __longjmp and the like say otherwise. */
		m->now.sp_changed = where != RT_DW_SP;
	} else {
		elsewhere(m, reg);
	}
}

enum { OP_DEREF = 0x06, OP_PLUS_UCONST = 0x23, OP_LIT0 = 0x30, OP_BREG0 = 0x70 };

/* CFA = breg N off [deref [plus_uconst n]], or the expression of a lazy PLT. */
static void cfa_expression(struct machine *m, struct rt_cursor e)
{
	static const uint8_t plt[] = { OP_BREG0 + RT_DW_SP, 8, OP_BREG0 + RT_DW_RA - 0, 0, OP_LIT0 + 15, 0x1a },
			     plt_tail[] = { 0x2a, OP_LIT0 + 3, 0x24, 0x22 };
	struct rules *s = &m->now;
	uint64_t op;

	s->add = 0;
	if (m->cie->signal) { /* glibc's trampoline spells out what the ucontext at sp holds */
		s->kind = ROW_SIGNAL;
		s->off = 0;
		s->sp_changed = false;
		s->ra_kind = RA_SAVED;
		s->ra = -8;
		return;
	}
	if (e.end - e.p == 11 && !memcmp(e.p, plt, sizeof plt) && !memcmp(e.p + 7, plt_tail, sizeof plt_tail)) {
		s->kind = ROW_PLT;
		s->off = e.p[6] - OP_LIT0;
		return;
	}
	op = rt_cur_uint(&e, 1);
	s->reg = op - OP_BREG0;
	s->off = rt_cur_sleb(&e);
	s->kind = op == OP_BREG0 + RT_DW_SP || op == OP_BREG0 + RT_DW_FP ? kind_of_reg(s->reg) : ROW_BAD;
	if (e.p < e.end) {
		s->kind = s->kind == ROW_SP ? ROW_SP_DEREF : s->kind == ROW_FP ? ROW_FP_DEREF : ROW_BAD;
		if (rt_cur_uint(&e, 1) != OP_DEREF)
			s->kind = ROW_BAD;
	}
	if (e.p < e.end) {
		if (rt_cur_uint(&e, 1) != OP_PLUS_UCONST)
			s->kind = ROW_BAD;
		s->add = (int64_t)rt_cur_uleb(&e);
	}
	if (e.bad || e.p != e.end)
		s->kind = ROW_BAD;
}

/* The caller's reg is saved at the address that the expression gives. */
static void saved_at_expression(struct machine *m, uint64_t reg, struct rt_cursor e)
{
	uint64_t op = rt_cur_uint(&e, 1);
	int64_t off = rt_cur_sleb(&e);

	if (m->now.kind == ROW_SIGNAL)
		return;
	if (reg == RT_DW_FP && op == OP_BREG0 + RT_DW_FP && !e.bad && e.p == e.end) {
		m->now.fp_kind = ROW_FP_AT_FP;
		m->now.fp = off;
		return;
	}
	elsewhere(m, reg);
}

static struct rt_cursor block(struct rt_cursor *c)
{
	uint64_t n = rt_cur_uleb(c);
	struct rt_cursor b = { .p = c->p };

	rt_cur_skip(c, n);
	b.end = c->bad ? b.p : c->p;
	b.bad = c->bad;
	return b;
}

static void def_cfa(struct machine *m, uint64_t reg, int64_t off)
{
	m->now.reg = reg;
	m->now.kind = reg < RT_DW_REGS ? kind_of_reg(reg) : ROW_BAD;
	m->now.off = off;
	m->now.add = 0;
}

static bool has_register(const struct rules *s)
{
	return s->kind == ROW_SP || s->kind == ROW_FP || s->kind == ROW_BX || s->kind == ROW_REG;
}

/* DW_CFA_def_cfa_register and _offset change one half of "register + offset". */
static void def_cfa_half(struct machine *m, uint64_t reg, int64_t off)
{
	if (has_register(&m->now))
		def_cfa(m, reg, off);
	else
		m->bad = true;
}

/* Opcodes without an operand in their low bits; a table in the form of a switch, hence its length. */
static void extended(struct machine *m, struct rt_cursor *c, uint8_t op)
{
	int64_t scale = m->cie->data_align;
	uint64_t reg;
	struct rt_cursor e;

	switch (op) {
	case 0x00: /* nop */
		break;
	case 0x01: /* set_loc */
		advance_to(m, rt_cur_pointer(c, m->cie->encoding, 0));
		break;
	case 0x02: /* advance_loc1, 2, 4 */
	case 0x03:
	case 0x04:
		advance(m, rt_cur_uint(c, 1 << (op - 2)) * m->cie->code_align);
		break;
	case 0x05: /* offset_extended */
		reg = rt_cur_uleb(c);
		saved_at(m, reg, (int64_t)rt_cur_uleb(c) * scale);
		break;
	case 0x11: /* offset_extended_sf */
		reg = rt_cur_uleb(c);
		saved_at(m, reg, rt_cur_sleb(c) * scale);
		break;
	case 0x2f: /* GNU_negative_offset_extended */
		reg = rt_cur_uleb(c);
		saved_at(m, reg, -(int64_t)rt_cur_uleb(c) * scale);
		break;
	case 0x06: /* restore_extended */
		restore(m, rt_cur_uleb(c));
		break;
	case 0x07: /* undefined */
		reg = rt_cur_uleb(c);
		if (reg == RT_DW_RA)
			m->now.ra_kind = RA_END;
		else
			elsewhere(m, reg);
		break;
	case 0x08: /* same_value */
		same(m, rt_cur_uleb(c));
		break;
	case 0x09: /* register */
		reg = rt_cur_uleb(c);
		in_register(m, reg, rt_cur_uleb(c));
		break;
	case 0x0a: /* remember_state */
		if (m->depth == (int)(sizeof m->stack / sizeof m->stack[0]))
			m->bad = true;
		else
			m->stack[m->depth++] = m->now;
		break;
	case 0x0b: /* restore_state */
		if (!m->depth)
			m->bad = true;
		else
			m->now = m->stack[--m->depth];
		break;
	case 0x0c: /* def_cfa */
		reg = rt_cur_uleb(c);
		def_cfa(m, reg, (int64_t)rt_cur_uleb(c));
		break;
	case 0x12: /* def_cfa_sf */
		reg = rt_cur_uleb(c);
		def_cfa(m, reg, rt_cur_sleb(c) * scale);
		break;
	case 0x0d: /* def_cfa_register */
		def_cfa_half(m, rt_cur_uleb(c), m->now.off);
		break;
	case 0x0e: /* def_cfa_offset */
		def_cfa_half(m, m->now.reg, (int64_t)rt_cur_uleb(c));
		break;
	case 0x13: /* def_cfa_offset_sf */
		def_cfa_half(m, m->now.reg, rt_cur_sleb(c) * scale);
		break;
	case 0x0f: /* def_cfa_expression */
		cfa_expression(m, block(c));
		break;
	case 0x10: /* expression */
		reg = rt_cur_uleb(c);
		e = block(c);
		saved_at_expression(m, reg, e);
		break;
	case 0x14: /* val_offset, val_offset_sf */
	case 0x15:
		elsewhere(m, rt_cur_uleb(c));
		(void)rt_cur_uleb(c);
		break;
	case 0x16: /* val_expression */
		elsewhere(m, rt_cur_uleb(c));
		(void)block(c);
		break;
	case 0x2e: /* GNU_args_size */
		(void)rt_cur_uleb(c);
		break;
	case 0x2d: /* AARCH64_negate_ra_state: signed from here on, or no longer; rt_arch_code() knows both */
		m->bad = !RT_DW_LINKED;
		break;
	default:
		m->bad = true;
	}
}

static void run(struct machine *m, struct rt_cursor c)
{
	while (c.p < c.end && !c.bad && !m->bad) {
		uint8_t op = (uint8_t)rt_cur_uint(&c, 1), low = op & 0x3f;

		switch (op >> 6) {
		case 1: /* advance_loc */
			advance(m, low * m->cie->code_align);
			break;
		case 2: /* offset */
			saved_at(m, low, (int64_t)rt_cur_uleb(&c) * m->cie->data_align);
			break;
		case 3:
			restore(m, low);
			break;
		default:
			extended(m, &c, op);
		}
	}
	m->bad |= c.bad;
}

bool rt_cfi_rows(const struct rt_cie *cie, struct rt_cursor code, uintptr_t base, uint32_t pc, uint32_t len,
		 struct rt_rows *rows)
{
	struct machine m = {
		.cie = cie,
		.pc = pc,
		.start = pc,
		.len = len,
		.base = base,
		.now = { .kind = ROW_BAD, .bx_known = true },
	};
	uint32_t first = rows->n;

	ra_unsaved(&m.now);
	run(&m, cie->init);
	m.init = m.now;
	m.depth = 0;
	if (!m.bad && cie->ra_reg == RT_DW_RA) {
		m.rows = rows;
		run(&m, code);
		emit(&m);
	} else {
		m.bad = true;
	}
	if (!m.bad)
		return true;
	rows->n = first;
	rt_rows_add(rows, (struct rt_row){ .pc = pc, .kind = ROW_BAD | ROW_FIRST });
	return false;
}
