/* probe_scan.c - plugins built without stack probes.
 *
 * A goroutine's stack ends at a guard page.  A function whose frame is larger than that page may pass it in
 * one step and then write into a neighbour's stack, unless it was compiled with -fstack-clash-protection:
 * then it moves the stack pointer by at most a page at a time and touches each.  No macro and no note in the
 * file tells whether the flag was given, so the code itself is looked at: an instruction `sub $imm32,%rsp`
 * with imm32 above a page is what the flag never lets happen.
 *
 * The instruction's seven bytes are looked for at every offset of the executable sections.  Only looking near
 * the starts of functions would miss frames that are made late, behind an early return, and all functions
 * that a stripped file does not name; decoding everything before it would be lost behind the first table
 * inside the text.  What makes up for that is how little random bytes look like one: three bytes are fixed,
 * the size must be positive and, since the stack pointer is a multiple of 8, one of 8 too: one chance in
 * 2^28 for each byte that is no code.
 *
 * Not seen: frames made with a register (variable-length arrays, alloca) or with lea, and the libraries that
 * the plugin is linked with.  x86-64 only; elsewhere nothing is ever found.
 *
 * The file is read piece by piece and not mapped: one that shrinks meanwhile must not kill the daemon. */
#include "probe_scan.h"

#include "daemon.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INSN 7          /* 48 81 ec, imm32 */
#define PIECE 65536     /* bytes read at once */
#define HITS_MAX 4096   /* beyond that the count is wrong, and nobody minds */
#define RANGES_MAX 4096 /* sections or program headers */
#define SYMBOLS_MAX (1u << 24)

struct hit {
	uint64_t address, frame;
	uint64_t start; /* of the function, or the address itself */
	uint32_t name;  /* in the string table, 0: none */
};

struct scan {
	int fd;
	uint64_t size;
	Elf64_Ehdr eh;
	Elf64_Shdr *sh; /* NULL: the file has none that make sense */
	size_t n_sh;
	struct hit *hits;
	size_t n_hits;
	unsigned char piece[PIECE];
};

static int read_at(const struct scan *s, uint64_t offset, void *out, size_t n)
{
	if (offset > s->size || n > s->size - offset)
		return -ENOEXEC;
	while (n > 0) {
		ssize_t got = pread(s->fd, out, n, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -ENOEXEC;
		out = (char *)out + got;
		offset += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

/* --- The code ------------------------------------------------------------------------------- */

/* The frame that the instruction at p makes in one step, or 0. */
static uint32_t unprobed(const unsigned char *p)
{
	uint32_t imm = p[3] | (uint32_t)p[4] << 8 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 24;

	if (p[0] != 0x48 || p[1] != 0x81 || p[2] != 0xec)
		return 0;
	return imm > PROBE_GUARD && imm <= INT32_MAX && imm % 8 == 0 ? imm : 0;
}

static int note_hit(struct scan *s, uint64_t address, uint32_t frame)
{
	if (!s->hits)
		s->hits = calloc(HITS_MAX, sizeof *s->hits);
	if (!s->hits)
		return -ENOMEM;
	if (s->n_hits < HITS_MAX)
		s->hits[s->n_hits++] = (struct hit){ .address = address, .frame = frame, .start = address };
	return 0;
}

static int scan_range(struct scan *s, uint64_t offset, uint64_t len, uint64_t address)
{
	uint64_t at = 0;

	while (len - at >= INSN) {
		size_t n = len - at < PIECE ? (size_t)(len - at) : PIECE, last = n - INSN;
		int rc = read_at(s, offset + at, s->piece, n);

		for (size_t i = 0; rc == 0 && i <= last; i++) {
			const unsigned char *p = memchr(s->piece + i, 0x48, last + 1 - i);

			if (!p)
				break;
			i = (size_t)(p - s->piece);
			if (unprobed(p))
				rc = note_hit(s, address + at + i, unprobed(p));
		}
		if (rc < 0)
			return rc;
		at += last + 1; /* an instruction may begin in this piece's last bytes */
	}
	return 0;
}

/* The executable sections; what has no section table has segments, with more around the code. */
static int scan_code(struct scan *s)
{
	Elf64_Phdr ph;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s->n_sh; i++)
		if ((s->sh[i].sh_flags & SHF_EXECINSTR) && s->sh[i].sh_type == SHT_PROGBITS)
			rc = scan_range(s, s->sh[i].sh_offset, s->sh[i].sh_size, s->sh[i].sh_addr);
	if (s->n_sh > 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < s->eh.e_phnum; i++) {
		rc = read_at(s, s->eh.e_phoff + i * sizeof ph, &ph, sizeof ph);
		if (rc == 0 && ph.p_type == PT_LOAD && (ph.p_flags & PF_X))
			rc = scan_range(s, ph.p_offset, ph.p_filesz, ph.p_vaddr);
	}
	return rc;
}

/* --- Names ------------------------------------------------------------------------------------- */

static void name_hits(struct scan *s, const Elf64_Sym *sym)
{
	if (ELF64_ST_TYPE(sym->st_info) != STT_FUNC || sym->st_shndx == SHN_UNDEF)
		return;
	for (size_t i = 0; i < s->n_hits; i++) {
		struct hit *h = &s->hits[i];

		if (!h->name && h->address - sym->st_value < sym->st_size) {
			h->name = sym->st_name;
			h->start = sym->st_value;
		}
	}
}

static const Elf64_Shdr *find_section(const struct scan *s, uint32_t type)
{
	for (size_t i = 0; i < s->n_sh; i++)
		if (s->sh[i].sh_type == type)
			return &s->sh[i];
	return NULL;
}

/* Names for what was found; the string table is that of the section returned.  A file without symbols, or
 * with damaged ones, gives addresses. */
static const Elf64_Shdr *name_from_symbols(struct scan *s)
{
	const Elf64_Shdr *table = find_section(s, SHT_SYMTAB);
	Elf64_Sym *syms = (Elf64_Sym *)s->piece; /* no code is read any more */
	size_t cap = PIECE / sizeof *syms;
	uint64_t n;

	if (!table)
		table = find_section(s, SHT_DYNSYM);
	if (!table || table->sh_link >= s->n_sh)
		return NULL;
	n = table->sh_size / sizeof *syms;
	if (n > SYMBOLS_MAX)
		n = SYMBOLS_MAX;
	for (uint64_t at = 0; at < n; at += cap) {
		size_t now = n - at < cap ? (size_t)(n - at) : cap;

		if (read_at(s, table->sh_offset + at * sizeof *syms, syms, now * sizeof *syms) < 0)
			break;
		for (size_t i = 0; i < now; i++)
			name_hits(s, &syms[i]);
	}
	return &s->sh[table->sh_link];
}

static void read_name(const struct scan *s, const Elf64_Shdr *strings, uint32_t at, char *out, size_t cap)
{
	uint64_t left = at < strings->sh_size ? strings->sh_size - at : 0;
	size_t n = left < cap ? (size_t)left : cap;

	*out = '\0';
	if (n == 0 || read_at(s, strings->sh_offset + at, out, n) < 0)
		return;
	out[n - 1] = '\0'; /* the table's last byte is one anyway, a longer name is cut */
	for (; *out; out++)
		if ((unsigned char)*out <= ' ' || *out == 0x7f)
			*out = '?';
}

static void conclude(struct scan *s, struct probe_found *out)
{
	const Elf64_Shdr *strings = s->n_hits ? name_from_symbols(s) : NULL;
	const struct hit *most = s->hits;

	*out = (struct probe_found){ 0 };
	for (size_t i = 0; i < s->n_hits; i++) {
		/* In the order of the code, so a function's own stand together. */
		out->functions += i == 0 || s->hits[i].start != s->hits[i - 1].start;
		if (s->hits[i].frame > most->frame)
			most = &s->hits[i];
	}
	if (!out->functions)
		return;
	out->frame = most->frame;
	out->address = most->address;
	if (strings && most->name)
		read_name(s, strings, most->name, out->function, sizeof out->function);
}

/* --- The file ------------------------------------------------------------------------------------ */

static int read_sections(struct scan *s)
{
	size_t n = s->eh.e_shnum;
	int rc;

	if (n == 0 || n > RANGES_MAX || s->eh.e_shentsize != sizeof *s->sh)
		return 0;
	s->sh = calloc(n, sizeof *s->sh);
	if (!s->sh)
		return -ENOMEM;
	rc = read_at(s, s->eh.e_shoff, s->sh, n * sizeof *s->sh);
	if (rc == 0)
		s->n_sh = n;
	return rc == -ENOEXEC ? 0 : rc; /* cut off: nobody needs them to run it */
}

static int scan_file(struct scan *s, struct probe_found *out)
{
	struct stat st;
	int rc;

	if (fstat(s->fd, &st) < 0)
		return -errno;
	s->size = (uint64_t)st.st_size;
	rc = read_at(s, 0, &s->eh, sizeof s->eh);
	if (rc < 0)
		return rc;
	if (memcmp(s->eh.e_ident, ELFMAG, SELFMAG) != 0 || s->eh.e_ident[EI_CLASS] != ELFCLASS64 ||
	    (s->eh.e_phnum > 0 && s->eh.e_phentsize != sizeof(Elf64_Phdr)))
		return -ENOEXEC;
	if (s->eh.e_machine == EM_X86_64) {
		rc = read_sections(s);
		if (rc == 0)
			rc = scan_code(s);
	}
	if (rc == 0)
		conclude(s, out);
	return rc;
}

int probe_scan(const char *path, struct probe_found *out)
{
	struct scan *s = calloc(1, sizeof *s);
	int rc;

	if (!s)
		return -ENOMEM;
	s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	rc = s->fd < 0 ? -errno : scan_file(s, out);
	if (s->fd >= 0)
		(void)close(s->fd);
	free(s->sh);
	free(s->hits);
	free(s);
	return rc;
}

/* --- In words -------------------------------------------------------------------------------------- */

int probe_sentence(const char *path, char *out, size_t cap)
{
	char where[160], more[64] = "";
	struct probe_found f = { 0 };
	int rc = probe_scan(path, &f);

	if (rc < 0) {
		snprintf(out, cap, "%s: its code can't be read for stack probes: %s", path, weft_strerror(rc));
		return rc;
	}
	if (!f.functions)
		return 0;
	if (*f.function)
		snprintf(where, sizeof where, "function %s", f.function);
	else
		snprintf(where, sizeof where, "the function around offset 0x%llx", (unsigned long long)f.address);
	if (f.functions > 1)
		snprintf(more, sizeof more, " (and %zu more function%s)", f.functions - 1, f.functions > 2 ? "s" : "");
	snprintf(out, cap,
		 "%s: %s%s has a frame of %llu bytes and can step over the guard page of its stack: build it with "
		 "-fstack-clash-protection, as `pkg-config --cflags weft` says",
		 path, where, more, (unsigned long long)f.frame);
	return 1;
}

int probe_check(const char *path, bool require, char *err, size_t cap)
{
	char text[PATH_MAX + 512];
	int rc = probe_sentence(path, text, sizeof text);

	if (rc == 0)
		return 0;
	if (!require) {
		log_warn("%s", text);
		return 0;
	}
	snprintf(err, cap, "%s%s", text, rc > 0 ? " (plugins.require_probes)" : "");
	return rc > 0 ? -ENOEXEC : rc;
}
