/* plugin_dump.c - `weftd --dump-plugin FILE`: what a plugin's entry says, read from its file.
 *
 * Nothing of it is mapped or run.  weft_plugin_entry is found by the dynamic symbol table, as the dynamic linker
 * would find it; its bytes are read from the segment that holds them; and of its pointers, which are zero or
 * relative in the file, the relocations tell where they lead.  Every offset is checked: the file may be anything. */
#include "daemon.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probe_scan.h"

#define SEGMENTS_MAX 64
#define DYNAMIC_MAX 512
#define SYMBOLS_MAX (1u << 20)
#define RELOCS_MAX (1u << 22)
#define STRING_MAX 256

#if defined(__x86_64__)
#define RELATIVE R_X86_64_RELATIVE
#define ABSOLUTE R_X86_64_64
#elif defined(__aarch64__)
#define RELATIVE R_AARCH64_RELATIVE
#define ABSOLUTE R_AARCH64_ABS64
#endif

struct image {
	int fd;
	uint64_t size;
	Elf64_Phdr ph[SEGMENTS_MAX];
	int n_ph;
	/* addresses and sizes in the image, from PT_DYNAMIC; 0: there is none */
	uint64_t symtab, strtab, strsz, hash, gnu_hash, rela, relasz, relr, relrsz;
	/* the entry */
	uint64_t at;
	struct weft_plugin entry;
	uint32_t given; /* bytes of it that the plugin has */
};

/* --- Bytes -------------------------------------------------------------------------------------------- */

static bool read_file(const struct image *im, uint64_t offset, void *out, size_t n)
{
	if (offset > im->size || n > im->size - offset)
		return false;
	while (n > 0) {
		ssize_t got = pread(im->fd, out, n, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		out = (char *)out + got;
		offset += (uint64_t)got;
		n -= (size_t)got;
	}
	return true;
}

/* How many bytes from `address` on its segment has in the file, and where.  0: none. */
static uint64_t locate(const struct image *im, uint64_t address, uint64_t *offset)
{
	for (int i = 0; i < im->n_ph; i++) {
		const Elf64_Phdr *ph = &im->ph[i];

		if (ph->p_type == PT_LOAD && address - ph->p_vaddr < ph->p_filesz) {
			*offset = ph->p_offset + (address - ph->p_vaddr);
			return ph->p_filesz - (address - ph->p_vaddr);
		}
	}
	return 0;
}

static bool read_at(const struct image *im, uint64_t address, void *out, size_t n)
{
	uint64_t offset;

	return locate(im, address, &offset) >= n && read_file(im, offset, out, n);
}

/* A string, cut to cap - 1 bytes; what can't be printed becomes '?'. */
static bool read_string(const struct image *im, uint64_t address, char *out, size_t cap)
{
	uint64_t offset, left = locate(im, address, &offset);
	size_t n = left < cap - 1 ? (size_t)left : cap - 1;

	if (n == 0 || !read_file(im, offset, out, n))
		return false;
	out[n] = '\0';
	for (char *s = out; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = '?';
	return true;
}

static bool is_named(const struct image *im, const Elf64_Sym *sym, const char *name)
{
	char text[STRING_MAX];

	return sym->st_name < im->strsz && read_string(im, im->strtab + sym->st_name, text, sizeof text) &&
	       !strcmp(text, name);
}

/* --- The dynamic section ---------------------------------------------------------------------------------- */

static void take_dynamic(struct image *im, const Elf64_Dyn *d)
{
	const struct {
		int64_t tag;
		uint64_t *to;
	} wanted[] = {
		{ DT_SYMTAB, &im->symtab },
		{ DT_STRTAB, &im->strtab },
		{ DT_STRSZ, &im->strsz },
		{ DT_HASH, &im->hash },
		{ DT_RELA, &im->rela },
		{ DT_RELASZ, &im->relasz },
		{ DT_GNU_HASH, &im->gnu_hash },
		{ 36, &im->relr },
		{ 35, &im->relrsz }, /* DT_RELR, DT_RELRSZ */
	};

	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
		if (d->d_tag == wanted[i].tag)
			*wanted[i].to = d->d_un.d_val;
}

static bool read_dynamic(struct image *im)
{
	for (int i = 0; i < im->n_ph; i++) {
		const Elf64_Phdr *ph = &im->ph[i];

		if (ph->p_type != PT_DYNAMIC)
			continue;
		for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= ph->p_filesz && at < DYNAMIC_MAX * sizeof(Elf64_Dyn);
		     at += sizeof(Elf64_Dyn)) {
			Elf64_Dyn d;

			if (!read_file(im, ph->p_offset + at, &d, sizeof d))
				return false;
			if (d.d_tag == DT_NULL)
				return im->symtab && im->strtab;
			take_dynamic(im, &d);
		}
	}
	return false;
}

static bool read_symbol(const struct image *im, uint64_t i, Elf64_Sym *out)
{
	return i < SYMBOLS_MAX && read_at(im, im->symtab + i * sizeof *out, out, sizeof *out);
}

/* The chain of that name's bucket; each of its words is the hash of one symbol, the last with bit 0 set. */
static bool find_by_gnu_hash(const struct image *im, const char *name, Elf64_Sym *out)
{
	struct {
		uint32_t buckets, first, bloom_words, bloom_shift;
	} head;
	uint32_t hash = 5381, i, word;
	uint64_t buckets, chains;

	for (const char *s = name; *s; s++)
		hash = hash * 33 + (unsigned char)*s;
	if (!read_at(im, im->gnu_hash, &head, sizeof head) || head.buckets == 0)
		return false;
	buckets = im->gnu_hash + sizeof head + 8 * (uint64_t)head.bloom_words;
	chains = buckets + 4 * (uint64_t)head.buckets;
	if (!read_at(im, buckets + 4 * (uint64_t)(hash % head.buckets), &i, sizeof i) || i < head.first)
		return false;
	do {
		if (!read_at(im, chains + 4 * (uint64_t)(i - head.first), &word, sizeof word))
			return false;
		if ((word | 1) == (hash | 1) && read_symbol(im, i, out) && is_named(im, out, name))
			return true;
	} while (++i < SYMBOLS_MAX && !(word & 1));
	return false;
}

/* By going through all: the old table tells their number. */
static bool find_by_hash(const struct image *im, const char *name, Elf64_Sym *out)
{
	uint32_t head[2]; /* buckets, symbols */

	if (!read_at(im, im->hash, head, sizeof head))
		return false;
	for (uint64_t i = 0; i < head[1] && read_symbol(im, i, out); i++)
		if (is_named(im, out, name))
			return true;
	return false;
}

static bool find_symbol(const struct image *im, const char *name, Elf64_Sym *out)
{
	bool found = im->gnu_hash ? find_by_gnu_hash(im, name, out) : im->hash && find_by_hash(im, name, out);

	return found && out->st_shndx != SHN_UNDEF;
}

/* --- Relocations --------------------------------------------------------------------------------------------- */

/* The word at `where` in the image will hold `value`. */
static void set_word(struct image *im, uint64_t where, uint64_t value)
{
	uint64_t i = where - im->at;

	if (i < im->given && i + sizeof value <= sizeof im->entry)
		memcpy((char *)&im->entry + i, &value, sizeof value);
}

/* A symbol of another object has no address here, but it is there: any value but 0 says so. */
static uint64_t symbol_value(const struct image *im, uint64_t i)
{
	Elf64_Sym sym;

	if (!read_symbol(im, i, &sym))
		return 0;
	return sym.st_shndx != SHN_UNDEF ? sym.st_value : 1;
}

static bool apply_rela(struct image *im)
{
	uint64_t n = im->rela ? im->relasz / sizeof(Elf64_Rela) : 0;

	for (uint64_t i = 0; i < n && i < RELOCS_MAX; i++) {
		Elf64_Rela r;

		if (!read_at(im, im->rela + i * sizeof r, &r, sizeof r))
			return false;
		if (r.r_offset - im->at >= sizeof im->entry)
			continue;
		if (ELF64_R_TYPE(r.r_info) == RELATIVE)
			set_word(im, r.r_offset, (uint64_t)r.r_addend);
		else if (ELF64_R_TYPE(r.r_info) == ABSOLUTE)
			set_word(im, r.r_offset, symbol_value(im, ELF64_R_SYM(r.r_info)) + (uint64_t)r.r_addend);
	}
	return true;
}

/* Packed relative relocations (DT_RELR) add the load address to what the file has in place, so for an image at 0
 * there is nothing to do. */

/* --- The entry -------------------------------------------------------------------------------------------------- */

static const char *read_entry(struct image *im)
{
	Elf64_Sym sym;
	uint32_t head[2]; /* abi, size */

	if (!read_dynamic(im))
		return "it has no dynamic symbol table";
	if (!find_symbol(im, "weft_plugin_entry", &sym))
		return "it has no weft_plugin_entry, so it is no plugin of weftd's: see WEFT_PLUGIN()";
	im->at = sym.st_value;
	if (!read_at(im, im->at, head, sizeof head))
		return "its weft_plugin_entry lies outside of the file";
	im->given = head[1] < sizeof im->entry ? head[1] : (uint32_t)sizeof im->entry;
	if (im->given < sizeof head || !read_at(im, im->at, &im->entry, im->given))
		return "its weft_plugin_entry is cut short";
	im->entry.size = head[1];
	return apply_rela(im) ? NULL : "its relocations are cut short";
}

static const char *open_image(struct image *im, const char *path)
{
	struct stat st;
	Elf64_Ehdr eh;

	im->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (im->fd < 0 || fstat(im->fd, &st) < 0)
		return "can't be opened";
	im->size = (uint64_t)st.st_size;
	if (!read_file(im, 0, &eh, sizeof eh) || eh.e_phnum > SEGMENTS_MAX || eh.e_phentsize != sizeof *im->ph ||
	    !read_file(im, eh.e_phoff, im->ph, eh.e_phnum * sizeof *im->ph))
		return "its program headers can't be read";
	im->n_ph = eh.e_phnum;
	return read_entry(im);
}

/* --- What is printed ---------------------------------------------------------------------------------------------- */

static void print_string(FILE *out, const struct image *im, const char *label, const char *address)
{
	char text[STRING_MAX];

	if (!address)
		fprintf(out, "%-12s-\n", label);
	else if (read_string(im, (uintptr_t)address, text, sizeof text))
		fprintf(out, "%-12s%s\n", label, text);
	else
		fprintf(out, "%-12s(not in the file)\n", label);
}

static void print_callbacks(FILE *out, const struct weft_plugin *e)
{
	fprintf(out, "%-11s%s%s%s%s%s\n", "callbacks", e->init ? " init" : "", e->run ? " run" : "",
		e->stop ? " stop" : "", e->fini ? " fini" : "",
		e->run ? "" : " (no run, and that one is required: weftd refuses it)");
}

static void print_abi(FILE *out, const struct weft_plugin *e)
{
	uint32_t major = e->abi >> 16, minor = e->abi & 0xffff;
	const char *verdict = major != WEFT_ABI_MAJOR  ? "another major than this weftd's, which refuses it"
			      : minor > WEFT_ABI_MINOR ? "newer than this weftd, which refuses it"
						       : "";

	fprintf(out, "%-12s%u.%u%s%s%s\n", "abi", major, minor, *verdict ? " (" : "", verdict, *verdict ? ")" : "");
	fprintf(out, "%-12s%u bytes (this weftd's: %zu)\n", "entry", e->size, sizeof *e);
}

static void print(FILE *out, const struct image *im, const char *path, const struct plugin_file *file)
{
	const struct weft_plugin *e = &im->entry;
	char probes[PATH_MAX + 512];
	int rc = probe_sentence(path, probes, sizeof probes);

	fprintf(out, "%-12s%s\n", "file", path);
	print_string(out, im, "name", e->name);
	print_string(out, im, "version", e->version);
	print_string(out, im, "about", e->about);
	print_abi(out, e);
	fprintf(out, "%-12s%zu bytes\n", "state", e->state_size);
	print_callbacks(out, e);
	fprintf(out, "%-12s", "build-id");
	for (int i = 0; i < file->build_id_len; i++)
		fprintf(out, "%02x", file->build_id[i]);
	fprintf(out, "\n%-12s%s\n", "probes", rc == 0 ? "good" : probes);
}

int plugin_dump(const char *path, FILE *out, char *err, size_t cap)
{
	struct plugin_file file;
	struct image *im;
	const char *why;
	int rc = plugin_examine(path, &file, err, cap);

	if (rc < 0)
		return rc;
	im = calloc(1, sizeof *im);
	if (!im) {
		snprintf(err, cap, "%s: no memory", path);
		return -ENOMEM;
	}
	im->fd = -1;
	why = open_image(im, path);
	if (why) {
		snprintf(err, cap, "%s: %s", path, why);
		rc = -ENOEXEC;
	} else {
		print(out, im, path, &file);
	}
	if (im->fd >= 0)
		(void)close(im->fd);
	free(im);
	return rc;
}
