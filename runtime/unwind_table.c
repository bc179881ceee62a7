/* unwind_table.c - from an object's .eh_frame to its table of rows.
 *
 * Two passes: the first lists the functions (FDEs are in no order), the second runs their instructions
 * by ascending address, so rows come out sorted, with a gap row wherever no function follows at once.
 * Nothing in the object is trusted; what does not parse costs that function, or what follows it in the
 * section, never more.
 *
 * Loader thread only; memory comes from rt_map() and stays for the life of the process. */
#include "unwind_table.h"

#include <stdlib.h>
#include <string.h>

#include "sys.h"

struct fde {
	uint32_t pc, len;
	const uint8_t *cie, *code; /* code: what follows the addresses */
	const uint8_t *end;
};
struct object {
	uintptr_t base;
	size_t span;
	const uint8_t *section, *end; /* .eh_frame; its end is at most the end of its segment */
	struct fde *fdes;
	uint32_t n, cap, failed;
	bool no_memory;
};

/* --- Entries -------------------------------------------------------------------------------- */

struct entry {
	const uint8_t *start;
	struct rt_cursor body; /* behind the id */
	uint32_t id;           /* 0: a CIE */
	const uint8_t *id_at;
	bool odd; /* of the 64-bit form, which no tool writes here */
};

/* The entry at p.  False: the section ends, or goes beyond its segment. */
static bool entry_at(const struct object *o, const uint8_t *p, struct entry *e)
{
	struct rt_cursor c = { .p = p, .end = o->end };
	uint64_t len = rt_cur_uint(&c, 4);

	e->start = p;
	e->odd = len == 0xffffffff;
	if (e->odd)
		len = rt_cur_uint(&c, 8);
	if (c.bad || len < 4 || len > (uint64_t)(o->end - c.p))
		return false;
	e->id_at = c.p;
	e->body = (struct rt_cursor){ .p = c.p, .end = c.p + len };
	e->id = (uint32_t)rt_cur_uint(&e->body, 4);
	return true;
}

static bool read_augmentation(struct rt_cie *cie, const char *aug, struct rt_cursor *c)
{
	uint64_t len;
	struct rt_cursor a;

	cie->encoding = 0;
	cie->signal = false;
	cie->augmented = aug[0] == 'z';
	if (!cie->augmented)
		return aug[0] == '\0';
	len = rt_cur_uleb(c);
	a = (struct rt_cursor){ .p = c->p, .bad = c->bad };
	rt_cur_skip(c, len);
	a.end = c->bad ? a.p : c->p;
	for (aug++; *aug && !a.bad; aug++) {
		uint8_t personality;

		switch (*aug) {
		case 'R':
			cie->encoding = (uint8_t)rt_cur_uint(&a, 1);
			break;
		case 'P':
			personality = (uint8_t)rt_cur_uint(&a, 1);
			(void)rt_cur_pointer(&a, personality & 0x0f, 0);
			break;
		case 'L':
			(void)rt_cur_uint(&a, 1);
			break;
		case 'S':
			cie->signal = true;
			break;
		case 'B': /* aarch64: signed with the other key */
			break;
		default:
			return false; /* its length is unknown, so is what follows */
		}
	}
	return !a.bad && !c->bad;
}

static bool read_cie(const struct object *o, const uint8_t *at, struct rt_cie *cie)
{
	struct entry e;
	struct rt_cursor c;
	const char *aug;
	uint8_t version;
	size_t n;

	if (at < o->section || at >= o->end || !entry_at(o, at, &e) || e.id != 0 || e.odd)
		return false;
	c = e.body;
	version = (uint8_t)rt_cur_uint(&c, 1);
	aug = (const char *)c.p;
	n = strnlen(aug, (size_t)(c.end - c.p));
	rt_cur_skip(&c, n + 1);
	if (c.bad || (version != 1 && version != 3))
		return false;
	cie->code_align = rt_cur_uleb(&c);
	cie->data_align = rt_cur_sleb(&c);
	cie->ra_reg = version == 1 ? rt_cur_uint(&c, 1) : rt_cur_uleb(&c);
	if (!read_augmentation(cie, aug, &c))
		return false;
	cie->init = c;
	return !c.bad;
}

/* --- First pass ------------------------------------------------------------------------------- */

static void fde_add(struct object *o, struct fde f)
{
	if (o->n == o->cap) {
		uint32_t cap = o->cap ? o->cap * 2 : 1024;
		struct fde *fdes =
			o->cap ? rt_remap(o->fdes, o->cap * sizeof f, cap * sizeof f) : rt_map(cap * sizeof f);

		if (!fdes) {
			o->no_memory = true;
			return;
		}
		o->fdes = fdes;
		o->cap = cap;
	}
	o->fdes[o->n++] = f;
}

static void read_fde(struct object *o, const struct entry *e)
{
	struct rt_cursor c = e->body;
	struct rt_cie cie;
	const uint8_t *at = e->id <= (uint64_t)(e->id_at - o->section) ? e->id_at - e->id : NULL;
	uint64_t pc, len;

	if (!at || e->odd || !read_cie(o, at, &cie)) {
		o->failed++;
		return;
	}
	pc = rt_cur_pointer(&c, cie.encoding, 0);
	len = rt_cur_pointer(&c, cie.encoding & 0x0f, 0);
	if (cie.augmented)
		rt_cur_skip(&c, rt_cur_uleb(&c));
	if (c.bad) {
		o->failed++;
		return;
	}
	/* Functions that the linker dropped are left behind with address 0 or length 0. */
	if (!len || pc < o->base || pc - o->base >= o->span || len > o->span - (pc - o->base))
		return;
	fde_add(o, (struct fde){ (uint32_t)(pc - o->base), (uint32_t)len, at, c.p, c.end });
}

static int by_pc(const void *a, const void *b)
{
	const struct fde *x = a, *y = b;

	return x->pc != y->pc ? (x->pc < y->pc ? -1 : 1) : (x->len > y->len) - (x->len < y->len);
}

static void list_functions(struct object *o)
{
	struct entry e;

	for (const uint8_t *p = o->section; entry_at(o, p, &e); p = e.body.end)
		if (e.id)
			read_fde(o, &e);
	if (o->n)
		qsort(o->fdes, o->n, sizeof *o->fdes, by_pc);
}

/* --- Second pass --------------------------------------------------------------------------------- */

static void add_function(struct object *o, const struct fde *f, uint32_t len, struct rt_rows *rows)
{
	struct rt_cie cie;
	struct rt_cursor code = { .p = f->code, .end = f->end };

	if (!read_cie(o, f->cie, &cie) || !rt_cfi_rows(&cie, code, o->base, f->pc, len, rows))
		o->failed++;
}

static void gap(struct rt_rows *rows, uint32_t pc)
{
	rt_rows_add(rows, (struct rt_row){ .pc = pc, .kind = ROW_GAP | ROW_FIRST });
}

static void make_rows(struct object *o, struct rt_rows *rows)
{
	uint32_t end = 0;

	for (uint32_t i = 0; i < o->n && !rows->no_memory; i++) {
		const struct fde *f = &o->fdes[i];
		uint32_t len = f->len;

		if (i + 1 < o->n && o->fdes[i + 1].pc == f->pc)
			continue; /* two for one function: the longer */
		if (f->pc > end || i == 0)
			gap(rows, end);
		/* Of two that overlap, the one that begins later has the rest. */
		if (i + 1 < o->n && o->fdes[i + 1].pc - f->pc < len)
			len = o->fdes[i + 1].pc - f->pc;
		if (rows->n && rows->r[rows->n - 1].pc == f->pc)
			rows->n--;
		add_function(o, f, f->len, rows);
		while (rows->n && rows->r[rows->n - 1].pc >= f->pc + len)
			rows->n--;
		end = f->pc + len;
	}
	gap(rows, end);
}

/* Rows and index move into one mapping of their size. */
static struct rt_table *pack(const struct rt_rows *rows, size_t span)
{
	uint32_t pages = (uint32_t)(span >> ROW_PAGE_SHIFT) + 1;
	size_t index_bytes = (pages + 1) * sizeof(uint32_t), rows_bytes = rows->n * sizeof *rows->r;
	struct rt_table *t = rt_map(sizeof *t + index_bytes + rows_bytes);
	uint32_t *index;
	struct rt_row *r;

	if (!t)
		return NULL;
	index = (uint32_t *)(t + 1);
	r = (struct rt_row *)((char *)index + index_bytes);
	memcpy(r, rows->r, rows_bytes);
	for (uint32_t page = 0, k = 0; page <= pages; page++) {
		while (k < rows->n && r[k].pc <= (uint64_t)page << ROW_PAGE_SHIFT)
			k++;
		index[page] = k;
	}
	*t = (struct rt_table){ .n_rows = rows->n, .n_pages = pages, .rows = r, .index = index };
	return t;
}

/* --- The object ------------------------------------------------------------------------------------ */

/* End of the readable segment that holds p, or NULL. */
static const uint8_t *segment_end(const struct dl_phdr_info *info, uintptr_t p)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t lo = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_R) && p >= lo && p - lo < ph->p_memsz)
			return (const uint8_t *)(lo + ph->p_memsz);
	}
	return NULL;
}

static int find_section(const struct dl_phdr_info *info, struct object *o)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t hdr = info->dlpi_addr + ph->p_vaddr;
		struct rt_cursor c = { .p = (const uint8_t *)hdr };
		uint8_t version, encoding;

		if (ph->p_type != PT_GNU_EH_FRAME)
			continue;
		c.end = segment_end(info, hdr);
		if (!c.end)
			return -EINVAL;
		version = (uint8_t)rt_cur_uint(&c, 1);
		encoding = (uint8_t)rt_cur_uint(&c, 1);
		rt_cur_skip(&c, 2);
		o->section = (const uint8_t *)rt_cur_pointer(&c, encoding, hdr);
		o->end = segment_end(info, (uintptr_t)o->section);
		return !c.bad && version == 1 && o->section && o->end ? 0 : -EINVAL;
	}
	return -ENOENT;
}

int rt_table_build(const struct dl_phdr_info *info, uintptr_t base, size_t span, struct rt_table **out)
{
	struct object o = { .base = base, .span = span };
	struct rt_rows rows = { 0 };
	int rc = span < UINT32_MAX ? find_section(info, &o) : -EINVAL;

	if (rc < 0)
		return rc;
	list_functions(&o);
	make_rows(&o, &rows);
	rc = o.n ? -ENOMEM : -EINVAL;
	if (o.n && !o.no_memory && !rows.no_memory) {
		struct rt_table *t = pack(&rows, span);

		if (t) {
			t->failed = o.failed;
			*out = t;
			rc = 0;
		}
	}
	if (o.cap)
		rt_unmap(o.fdes, o.cap * sizeof *o.fdes);
	if (rows.cap)
		rt_unmap(rows.r, rows.cap * sizeof *rows.r);
	return rc;
}
