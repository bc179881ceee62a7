/* unwind_table.h - between the files that build unwind tables (modules.c, unwind_table.c, unwind_cfi.c,
 * unwind_cursor.c) and
 * those that walk by them (unwind.c, unwind_guess.c).
 *
 * A table is a sorted array of rows; row i says how to leave a frame whose pc lies in [row i, row i+1).
 * Rows follow the pc, sp, the frame pointer (fp: rbp, x29) and one register more (bx: rbx, x19); what a row names
 * otherwise has to be known from an interrupted context.
 *
 * Tables and the set that names them are immutable once published and are never freed, so a signal
 * handler may hold on to either. */
#ifndef WEFT_RT_UNWIND_TABLE_H
#define WEFT_RT_UNWIND_TABLE_H

#include <link.h>

#include "rt.h"

/* How the canonical frame address (sp before the call) is found; `cfa` is the row's offset. */
enum row_kind {
	ROW_END,      /* the outermost frame: its return address is undefined */
	ROW_SP,       /* sp + cfa */
	ROW_FP,       /* fp + cfa */
	ROW_BX,       /* bx + cfa (the dynamic linker's lazy resolver) */
	ROW_REG,      /* register `ra` + cfa; only where all registers are known */
	ROW_PLT,      /* sp + 8, and 8 more once the stub has pushed (from pc & 15 >= cfa on) */
	ROW_SIGNAL,   /* everything from the context at sp */
	ROW_SP_DEREF, /* *(sp + cfa) + ra */
	ROW_FP_DEREF, /* *(fp + cfa) + ra */
	ROW_GAP,      /* no function that has unwind information */
	ROW_BAD,      /* a function whose unwind information we do not understand */
};
#define ROW_KIND(r) ((enum row_kind)((r)->kind & 0x0f))
#define ROW_FIRST 0x40u /* a function starts here */
#define ROW_EXACT 0x80u /* the caller was interrupted, it did not call */

enum row_fp { /* where the caller's fp is */
	      ROW_FP_SAME,
	      ROW_FP_AT_CFA, /* at cfa + fp */
	      ROW_FP_AT_FP,  /* at fp + fp */
	      ROW_FP_UNKNOWN,
};
#define ROW_BX_SAME 0u
#define ROW_BX_UNKNOWN 255u
#define ROW_RA_REG 0x80u /* | n: the return address is in register n */
#define ROW_RA_ABOVE_FP                                                                                                \
	0xffu /* the return address is right above the caller's fp, of ROW_FP_AT_CFA: a frame record                   \
	       */

struct rt_row {
	uint32_t pc; /* offset from the object's lowest executable address */
	int16_t cfa, fp;
	uint8_t kind;    /* enum row_kind | ROW_FIRST | ROW_EXACT */
	uint8_t fp_kind; /* enum row_fp */
	uint8_t bx;      /* caller's bx: ROW_BX_* or at cfa - 8 * bx */
	uint8_t ra;      /* return address: at cfa - 8 * ra, or ROW_RA_*; see also REG, DEREF */
};
_Static_assert(sizeof(struct rt_row) == 12, "rows are what the tables' size is made of");

#define ROW_PAGE_SHIFT 10
struct rt_table {
	uint32_t n_rows, n_pages;
	uint32_t failed; /* functions that were not understood */
	const struct rt_row *rows;
	const uint32_t *index; /* [n_pages + 1]: rows with pc <= page << ROW_PAGE_SHIFT */
};

/* One executable segment, beside each struct weft_module of the published table. */
struct rt_seg {
	uintptr_t lo, hi;
	uintptr_t base;               /* what the rows' offsets are from */
	const struct rt_table *table; /* NULL: none */
};
struct rt_module_set {
	struct rt_module_set *older;
	struct rt_seg *seg;       /* [mods.n], by address */
	struct weft_modules mods; /* last: it ends in an array */
};
extern struct rt_module_set *_Atomic rt_modules; /* the set published last */

/* Build an object's table from the .eh_frame that its PT_GNU_EH_FRAME names; base is its lowest
 * executable address, span the length up to the highest.  -ENOENT: it has none; -EINVAL: unusable;
 * -ENOMEM. */
int rt_table_build(const struct dl_phdr_info *info, uintptr_t base, size_t span, struct rt_table **out);

/* unwind_cursor.c: reading with bounds.  After a read past the end `bad` is set and reads give 0. */
struct rt_cursor {
	const uint8_t *p, *end;
	bool bad;
};
uint64_t rt_cur_uint(struct rt_cursor *c, int bytes); /* little endian */
uint64_t rt_cur_uleb(struct rt_cursor *c);
int64_t rt_cur_sleb(struct rt_cursor *c);
void rt_cur_skip(struct rt_cursor *c, uint64_t n);
/* A pointer in DW_EH_PE_* encoding; data: what DW_EH_PE_datarel is from. */
uint64_t rt_cur_pointer(struct rt_cursor *c, uint8_t encoding, uintptr_t data);

/* unwind_cfi.c */
struct rt_cie {
	uint64_t code_align;
	int64_t data_align;
	uint64_t ra_reg;
	uint8_t encoding; /* of addresses in its FDEs */
	bool augmented;   /* FDEs have a length of augmentation data */
	bool signal;
	struct rt_cursor init; /* initial instructions */
};
struct rt_rows { /* a growing array */
	struct rt_row *r;
	uint32_t n, cap;
	bool no_memory;
};
void rt_rows_add(struct rt_rows *rows, struct rt_row row);
/* Rows of the function [pc, pc + len) (offsets from the table's base) from its instructions.  False: not
 * understood, a ROW_BAD stands for all of it. */
bool rt_cfi_rows(const struct rt_cie *cie, struct rt_cursor code, uintptr_t base, uint32_t pc, uint32_t len,
		 struct rt_rows *rows);

/* unwind.c and unwind_guess.c: a walk.  sig */
struct rt_walk {
	uintptr_t pc, sp, fp, bx;
	uintptr_t lo, hi;      /* words at [lo, hi) may be read */
	const long long *regs; /* of an interrupted context (rt_arch_regs()); NULL: not known */
	const struct rt_module_set *set;
	const struct rt_seg *seg; /* of the pc looked up last */
	const struct rt_row *row; /* in force at pc, or NULL */
	bool exact, fp_known, bx_known, sp_least;
};
enum rt_step {
	RT_STEP_CALLER, /* the walk stands in the caller */
	RT_STEP_ODD,    /* likewise, but no function we know is there: perhaps the frame was left wrongly */
	RT_STEP_ROOT,   /* there is none */
	RT_STEP_LOST,   /* the walk stands where it stood */
};
enum rt_step rt_walk_step(struct rt_walk *w);
/* The row that is in force at pc, or NULL. */
const struct rt_row *rt_row_at(const struct rt_module_set *set, const struct rt_seg **seg, uintptr_t pc);
/* Start of the function around pc, 0: unknown. */
uintptr_t rt_func_start(const struct rt_module_set *set, uintptr_t pc);
/* The tables do not lead on from here: find the likeliest caller, or (sure) one that certainly calls this
 * function.  False: none. */
bool rt_walk_guess(struct rt_walk *w, bool sure);

#endif
