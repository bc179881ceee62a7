/* symtab.c - see symtab.h.
 *
 * .symtab when the object has one with functions in it, else .dynsym.  The file is read with pread(),
 * never mapped: somebody may truncate it meanwhile.  Nothing in it is believed: every offset is checked
 * against the size of the file, and what does not fit means "no table".
 *
 * Several names at one address: a function before the resolver of an indirect one before an assembler
 * label; sized before unsized; global before weak before local; then the name with fewer leading
 * underscores, the shorter one, the smaller one.  A label inside a sized function is not a function.
 * plt.c adds stubs. */
#include "symtab.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "symtab_impl.h"
#include "utf8.h"

#define SECTIONS_MAX 65536
#define SYMS_MAX (64u << 20)
#define LOAD_MAX (2ull << 30)  /* of one section: a file with holes may be of any size */
#define NAMES_MAX (1ull << 30) /* many symbols may have one long name */

static const struct symtab empty;

static bool image_open(struct image *im, const struct weft_module *m)
{
	struct stat st;

	*im = (struct image){ .fd = m->fd };
	if (strcmp(m->path, "[vdso]") == 0) {
		im->base = getauxval(AT_SYSINFO_EHDR);
		/* section headers stand behind what is loaded, on the last page */
		im->size = m->limit > im->base ? (m->limit - im->base + 4095) / 4096 * 4096 : 0;
		im->fd = im->size ? open("/proc/self/mem", O_RDONLY | O_CLOEXEC) : -1;
		im->own_fd = true;
	} else if (m->fd >= 0 && fstat(m->fd, &st) == 0 && st.st_size > 0) {
		im->size = (uint64_t)st.st_size;
	} else {
		return false;
	}
	return im->fd >= 0;
}

static bool image_get(const struct image *im, void *to, uint64_t at, uint64_t n)
{
	char *p = to;

	if (at > im->size || n > im->size - at)
		return false;
	while (n) {
		ssize_t got = pread(im->fd, p, n, (off_t)(im->base + at));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		p += got;
		at += (uint64_t)got;
		n -= (uint64_t)got;
	}
	return true;
}

int image_load(const struct image *im, uint64_t at, uint64_t n, void *out)
{
	char *p;

	if (at > im->size || n > im->size - at || n > LOAD_MAX)
		return 0;
	p = malloc(n + 1);
	if (!p)
		return -ENOMEM;
	if (!image_get(im, p, at, n)) {
		free(p);
		return 0;
	}
	p[n] = 0;
	memcpy(out, &p, sizeof p);
	return 1;
}

static int read_sections(struct reader *r)
{
	Elf64_Ehdr e;
	uint64_t n;
	int rc;

	if (!image_get(&r->im, &e, 0, sizeof e) || memcmp(e.e_ident, ELFMAG, SELFMAG) != 0 ||
	    e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_ident[EI_DATA] != ELFDATA2LSB || e.e_shoff == 0 ||
	    e.e_shentsize != sizeof(Elf64_Shdr))
		return 0;
	n = e.e_shnum;
	if (n == 0) { /* too many for the header: the first section says how many */
		Elf64_Shdr first;

		if (!image_get(&r->im, &first, e.e_shoff, sizeof first))
			return 0;
		n = first.sh_size;
	}
	if (n > SECTIONS_MAX)
		return 0;
	rc = image_load(&r->im, e.e_shoff, n * sizeof(Elf64_Shdr), &r->sec);
	r->n_sec = rc > 0 ? n : 0;
	return rc;
}

static const Elf64_Shdr *find_section(const struct reader *r, uint32_t type)
{
	for (size_t i = 0; i < r->n_sec; i++)
		if (r->sec[i].sh_type == type && !(r->sec[i].sh_flags & SHF_COMPRESSED) &&
		    r->sec[i].sh_link < r->n_sec && r->sec[r->sec[i].sh_link].sh_type == SHT_STRTAB &&
		    !(r->sec[r->sec[i].sh_link].sh_flags & SHF_COMPRESSED))
			return &r->sec[i];
	return NULL;
}

/* How good a name for its address, or UINT32_MAX: no function. */
static uint32_t sym_rank(const struct reader *r, const Elf64_Sym *s, const char *name)
{
	static const uint32_t bind_rank[16] = {
		[STB_GLOBAL] = 0, [STB_WEAK] = 1, [STB_LOCAL] = 2, [STB_GNU_UNIQUE] = 0
	};
	unsigned type = ELF64_ST_TYPE(s->st_info);
	uint32_t underscores = 0, kind;

	if (s->st_shndx == SHN_UNDEF || s->st_shndx >= SHN_LORESERVE || name[0] == 0 || name[0] == '$' ||
	    strncmp(name, ".L", 2) == 0)
		return UINT32_MAX;
	if (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE)
		return UINT32_MAX;
	if (s->st_shndx < r->n_sec && !(r->sec[s->st_shndx].sh_flags & SHF_EXECINSTR))
		return UINT32_MAX;
	kind = type == STT_FUNC ? 0 : type == STT_GNU_IFUNC ? 1 : 2;
	while (underscores < 15 && name[underscores] == '_')
		underscores++;
	return kind << 12 | (uint32_t)(s->st_size == 0) << 11 | bind_rank[ELF64_ST_BIND(s->st_info)] << 4 | underscores;
}

static uint64_t section_end(const struct reader *r, const Elf64_Sym *s, uint64_t limit)
{
	const Elf64_Shdr *sec = s->st_shndx < r->n_sec ? &r->sec[s->st_shndx] : NULL;
	uint64_t end = sec ? sec->sh_addr + sec->sh_size : limit;

	return end > s->st_value && end < limit ? end : limit;
}

/* Collect the functions of one table inside the segment.  Leaves r->str, which the names point into. */
static int read_candidates(struct reader *r, const Elf64_Shdr *sh)
{
	const Elf64_Shdr *str = &r->sec[sh->sh_link];
	uint64_t lo = r->m->start - r->m->bias, hi = r->m->limit - r->m->bias;
	size_t n = sh->sh_size / sizeof(Elf64_Sym);
	Elf64_Sym *sym = NULL;
	int rc;

	if (sh->sh_entsize != sizeof(Elf64_Sym) || n == 0 || n > SYMS_MAX)
		return 0;
	rc = image_load(&r->im, str->sh_offset, str->sh_size, &r->str);
	if (rc > 0)
		rc = image_load(&r->im, sh->sh_offset, n * sizeof *sym, &sym);
	if (rc <= 0)
		return rc;
	for (size_t i = 0; i < n && rc > 0; i++) {
		const char *name = sym[i].st_name < str->sh_size ? r->str + sym[i].st_name : "";
		uint32_t rank = sym_rank(r, &sym[i], name);

		if (rank == UINT32_MAX || sym[i].st_value < lo || sym[i].st_value >= hi)
			continue;
		rc = array_room(&r->c, r->n, &r->cap, sizeof *r->c) < 0 ? -ENOMEM : 1;
		if (rc > 0)
			r->c[r->n++] = (struct candidate){ .addr = sym[i].st_value,
							   .size = sym[i].st_size,
							   .limit = section_end(r, &sym[i], hi),
							   .name = name,
							   .rank = rank };
	}
	free(sym);
	return rc;
}

static int candidate_cmp(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	size_t nx, ny;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	nx = strlen(x->name);
	ny = strlen(y->name);
	if (nx != ny)
		return nx < ny ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* Without the version, and no longer than a reader takes. */
static size_t name_len(const char *name)
{
	size_t n = strcspn(name, "@");

	if (n == 0 || strcmp(name + n, "@plt") == 0)
		n = strlen(name);
	return n < NAME_MAX_LEN ? n : NAME_MAX_LEN;
}

/* Of all names at one address keep the best, with a size if any of them states one. */
static uint32_t keep_best(struct candidate *c, size_t n)
{
	uint32_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (kept && c[kept - 1].addr == c[i].addr) {
			if (c[kept - 1].size == 0)
				c[kept - 1].size = c[i].size;
			continue;
		}
		c[kept++] = c[i];
	}
	return kept;
}

/* An unsized symbol reaches to the next one or the end of its section. */
static uint64_t sym_end(const struct candidate *c, size_t i, size_t n)
{
	uint64_t end = c[i].size ? c[i].addr + c[i].size : i + 1 < n ? c[i + 1].addr : c[i].limit;

	return end < c[i].addr || end > c[i].limit ? c[i].limit : end;
}

/* Functions in order of address; each knows the one it lies inside. */
static void place(struct symtab *t, const struct candidate *c, size_t n)
{
	uint32_t open = SYM_NONE;
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		struct sym *s = &t->sym[t->n];
		size_t len = name_len(c[i].name);

		while (open != SYM_NONE && t->sym[open].end <= c[i].addr)
			open = t->sym[open].around;
		if (open != SYM_NONE && c[i].size == 0)
			continue;
		*s = (struct sym){ c[i].addr, sym_end(c, i, n), (uint32_t)used, open };
		memcpy(t->names + used, c[i].name, len);
		utf8_clean_controls(t->names + used, len);
		used += len + 1;
		open = t->n++;
	}
}

void symtab_free(const struct symtab *t)
{
	if (!t || t == &empty)
		return;
	free(t->sym);
	free(t->names);
	free((void *)(uintptr_t)t);
}

static int build(struct reader *r, const struct symtab **out)
{
	struct symtab *t;
	size_t names = 1;

	qsort(r->c, r->n, sizeof *r->c, candidate_cmp);
	r->n = keep_best(r->c, r->n);
	for (size_t i = 0; i < r->n; i++)
		names += name_len(r->c[i].name) + 1;
	if (names > NAMES_MAX)
		return 0;
	t = calloc(1, sizeof *t);
	if (!t)
		return -ENOMEM;
	t->sym = calloc(r->n, sizeof *t->sym);
	t->names = calloc(1, names);
	if (!t->sym || !t->names) {
		symtab_free(t);
		return -ENOMEM;
	}
	place(t, r->c, r->n);
	*out = t;
	return 0;
}

/* 1: *out is a table; 0: this kind of section holds no functions; -ENOMEM. */
static int try_table(struct reader *r, uint32_t type, const struct symtab **out)
{
	const Elf64_Shdr *sh = find_section(r, type);
	int rc = sh ? read_candidates(r, sh) : 0;

	if (rc > 0 && r->n > 0) {
		rc = plt_candidates(r);
		rc = rc == 0 ? build(r, out) : rc;
	} else if (rc > 0) {
		rc = 0;
	}
	free(r->c);
	free(r->str);
	arena_free(&r->arena);
	r->c = NULL;
	r->str = NULL;
	r->n = r->cap = 0;
	return rc < 0 ? rc : *out != &empty;
}

int symtab_read(const struct weft_module *m, const struct symtab **out)
{
	struct reader r = { .m = m };
	int rc = 0;

	*out = &empty;
	if (!image_open(&r.im, m))
		return 0;
	rc = read_sections(&r);
	if (rc > 0)
		rc = try_table(&r, SHT_SYMTAB, out);
	if (rc == 0 && r.n_sec)
		rc = try_table(&r, SHT_DYNSYM, out);
	free(r.sec);
	if (r.im.own_fd)
		close(r.im.fd);
	return rc < 0 ? rc : 0;
}

const struct sym *symtab_at(const struct symtab *t, uint64_t addr)
{
	uint32_t n = t->n ? (uint32_t)sorted_upto(&t->sym->addr, sizeof *t->sym, t->n, addr) : 0;

	for (uint32_t i = n ? n - 1 : SYM_NONE; i != SYM_NONE; i = t->sym[i].around)
		if (addr < t->sym[i].end)
			return &t->sym[i];
	return NULL;
}
