/* plt.c - names for the stubs through which an object calls functions of others.
 *
 * No symbol table lists them, yet whatever calls across objects spends time there.  A stub jumps through a slot of
 * the global offset table, and the dynamic relocation of that slot names the function.  Read from the instructions,
 * not from the order of the stubs: linkers have several kinds of these sections.
 *
 * As in symtab.c nothing in the file is believed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "symtab_impl.h"

#define RELOCATIONS_MAX (1u << 20)
#define STUBS_MAX (1u << 20) /* bytes of one section */
#define RANK 0

#if defined(__x86_64__)
#define JUMP_SLOT R_X86_64_JUMP_SLOT
#define GLOB_DAT R_X86_64_GLOB_DAT

/* jmp *disp(%rip), perhaps after endbr64 or a prefix; 0: there is none in these n bytes. */
static uint64_t slot_of(const unsigned char *p, size_t n, uint64_t addr)
{
	for (size_t i = 0; i + 6 <= n; i++) {
		int32_t disp;

		if (p[i] != 0xff || p[i + 1] != 0x25)
			continue;
		memcpy(&disp, p + i + 2, sizeof disp);
		return addr + i + 6 + (uint64_t)(int64_t)disp;
	}
	return 0;
}
#elif defined(__aarch64__)
#define JUMP_SLOT R_AARCH64_JUMP_SLOT
#define GLOB_DAT R_AARCH64_GLOB_DAT

/* adrp x16, page; ldr x17, [x16, #offset] */
static uint64_t slot_of(const unsigned char *p, size_t n, uint64_t addr)
{
	uint32_t a, b;

	for (size_t i = 0; i + 8 <= n; i += 4) {
		memcpy(&a, p + i, 4);
		memcpy(&b, p + i + 4, 4);
		if ((a & 0x9f00001f) == 0x90000010 && (b & 0xffc003ff) == 0xf9400211) {
			uint64_t page = (uint64_t)(a >> 5 & 0x7ffff) << 14 | (uint64_t)(a >> 29 & 3) << 12;

			if (page >> 32)
				page |= 0xffffffffull << 32 << 1;
			return ((addr + i) & ~4095ull) + page + (uint64_t)(b >> 10 & 0xfff) * 8;
		}
	}
	return 0;
}
#endif

struct slot {
	uint64_t at;
	uint32_t sym;
};
struct slots {
	struct slot *v;
	uint32_t n, cap;
	Elf64_Sym *sym;
	uint64_t n_sym;
	char *str;
	uint64_t str_size;
};

static int slot_cmp(const void *a, const void *b)
{
	const struct slot *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

static const Elf64_Shdr *section(const struct reader *r, size_t i)
{
	return i < r->n_sec ? &r->sec[i] : NULL;
}

/* The dynamic symbols and their names.  As image_load(). */
static int load_symbols(const struct reader *r, struct slots *s, size_t *index)
{
	for (size_t i = 0; i < r->n_sec; i++) {
		const Elf64_Shdr *sh = &r->sec[i], *str = section(r, sh->sh_link);
		int rc;

		if (sh->sh_type != SHT_DYNSYM || sh->sh_entsize != sizeof(Elf64_Sym) || !str)
			continue;
		*index = i;
		s->n_sym = sh->sh_size / sizeof(Elf64_Sym);
		s->str_size = str->sh_size;
		rc = image_load(&r->im, sh->sh_offset, s->n_sym * sizeof(Elf64_Sym), &s->sym);
		return rc > 0 ? image_load(&r->im, str->sh_offset, str->sh_size, &s->str) : rc;
	}
	return 0;
}

static int load_slots(const struct reader *r, const Elf64_Shdr *sh, struct slots *s)
{
	uint64_t n = sh->sh_size / sizeof(Elf64_Rela);
	Elf64_Rela *rel;
	int rc;

	if (n == 0 || n > RELOCATIONS_MAX)
		return 0;
	rc = image_load(&r->im, sh->sh_offset, n * sizeof *rel, &rel);
	if (rc <= 0)
		return rc;
	for (uint64_t i = 0; i < n && rc >= 0; i++) {
		uint32_t type = ELF64_R_TYPE(rel[i].r_info);

		if (type != JUMP_SLOT && type != GLOB_DAT)
			continue;
		rc = array_room(&s->v, s->n, &s->cap, sizeof *s->v);
		if (rc == 0)
			s->v[s->n++] = (struct slot){ rel[i].r_offset, (uint32_t)ELF64_R_SYM(rel[i].r_info) };
	}
	free(rel);
	return rc;
}

static const char *name_of(const struct slots *s, uint64_t at)
{
	const struct slot key = { .at = at }, *found = NULL;

	if (at && s->n)
		found = bsearch(&key, s->v, s->n, sizeof *s->v, slot_cmp);
	if (!found || found->sym >= s->n_sym || s->sym[found->sym].st_name >= s->str_size)
		return "";
	return s->str + s->sym[found->sym].st_name;
}

static int add_stub(struct reader *r, uint64_t addr, uint64_t size, const char *name)
{
	size_t n = strnlen(name, NAME_MAX_LEN);
	char *copy = arena_alloc(&r->arena, n + sizeof "@plt");

	if (!copy || array_room(&r->c, r->n, &r->cap, sizeof *r->c) < 0)
		return -ENOMEM;
	memcpy(copy, name, n);
	memcpy(copy + n, "@plt", sizeof "@plt");
	r->c[r->n++] = (struct candidate){ addr, size, addr + size, copy, RANK };
	return 0;
}

/* All stubs of one section, if it is one of stubs: jumps to slots that have names. */
static int add_stubs(struct reader *r, const Elf64_Shdr *sh, const struct slots *s)
{
	uint64_t size = sh->sh_entsize, lo = r->m->start - r->m->bias, hi = r->m->limit - r->m->bias;
	unsigned char *p;
	int rc;

	if (size < 8 || size > 32 || sh->sh_size > STUBS_MAX || sh->sh_addr < lo || sh->sh_addr > hi ||
	    sh->sh_size > hi - sh->sh_addr)
		return 0;
	rc = image_load(&r->im, sh->sh_offset, sh->sh_size, &p);
	if (rc <= 0)
		return rc;
	for (uint64_t at = 0; at + size <= sh->sh_size && rc >= 0; at += size) {
		const char *name = name_of(s, slot_of(p + at, size, sh->sh_addr + at));

		rc = *name ? add_stub(r, sh->sh_addr + at, size, name) : 0;
	}
	free(p);
	return rc;
}

int plt_candidates(struct reader *r)
{
	struct slots s = { 0 };
	size_t symbols = 0;
	int rc = load_symbols(r, &s, &symbols);

	for (size_t i = 0; rc > 0 && i < r->n_sec; i++)
		if (r->sec[i].sh_type == SHT_RELA && r->sec[i].sh_link == symbols)
			rc = load_slots(r, &r->sec[i], &s) < 0 ? -ENOMEM : 1;
	if (s.n)
		qsort(s.v, s.n, sizeof *s.v, slot_cmp);
	for (size_t i = 0; rc > 0 && s.n && i < r->n_sec; i++)
		if (r->sec[i].sh_type == SHT_PROGBITS && r->sec[i].sh_flags & SHF_EXECINSTR)
			rc = add_stubs(r, &r->sec[i], &s) < 0 ? -ENOMEM : 1;
	free(s.v);
	free(s.sym);
	free(s.str);
	return rc < 0 ? rc : 0;
}
