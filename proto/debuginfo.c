/* debuginfo.c - see debuginfo.h.
 *
 * Opening reads the file and the ranges of every compilation unit (one entry of each), in steps; a unit's
 * functions and lines are read when an address in it is asked for, and kept.  What libdw does in one go
 * (decompressing sections, one unit's line table) is not divided.
 *
 * Damage must cost frames, no more.  The file is read whole into memory of ours, never mapped: somebody may
 * truncate it.  It ends in zeroes there, for libdw goes through text without looking where its section ends.
 * The same ranges may be listed for many units; how many are kept is bounded. */
#include "debuginfo.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dwunit.h"
#include "pprof_impl.h"
#include "store.h"

#define RANGES_MAX (1u << 22)
#define PART (4u << 20) /* read between looks at the clock */
#define ENDING 4096

struct entry { /* one unit */
	Dwarf_Die cu;
	struct unit *u; /* when first asked for */
};
struct range {
	uint64_t lo, hi;
	uint32_t entry;
};

struct debug {
	const struct weft_module *m;
	enum { CLOSED, READING, LISTING, READY, NOTHING } state;
	int fd;      /* while READING; the module's, or of the separate file */
	bool own_fd; /* it is the separate file's */
	char *image; /* what is read of it, with room for ENDING bytes more; size 0: nothing */
	size_t size, got;
	Elf *elf;
	Dwarf *dw;
	Dwarf_CU *last; /* listed so far */
	struct entry *entry;
	uint32_t n_entry, cap_entry;
	struct range *range;
	uint32_t n_range, cap_range;
};

/* --- Finding it --------------------------------------------------------------------------------- */

/* Is there anything to read the file for? */
static bool has_dwarf(int fd)
{
	Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
	Elf_Scn *scn = NULL;
	size_t names;
	bool found = false;

	if (elf_getshdrstrndx(elf, &names) == 0)
		while (!found && (scn = elf_nextscn(elf, scn))) {
			GElf_Shdr sh;
			const char *name = gelf_getshdr(scn, &sh) ? elf_strptr(elf, names, sh.sh_name) : NULL;

			found = name && (!strcmp(name, ".debug_info") || !strcmp(name, ".zdebug_info"));
		}
	elf_end(elf);
	return found;
}

static void shut(struct debug *d)
{
	dwarf_end(d->dw);
	elf_end(d->elf);
	d->dw = NULL;
	d->elf = NULL;
	if (d->size)
		munmap(d->image, d->size + ENDING);
	d->size = 0;
	if (d->own_fd)
		close(d->fd);
	d->own_fd = false;
}

/* Begin to read fd. */
static bool begin(struct debug *d, int fd, bool own)
{
	struct stat st;
	void *p;

	d->fd = fd;
	d->own_fd = own;
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0 || !has_dwarf(fd))
		return false;
	p = mmap(NULL, (size_t)st.st_size + ENDING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	if (p == MAP_FAILED)
		return false;
	d->image = p;
	d->size = (size_t)st.st_size;
	d->got = 0;
	return true;
}

/* 1: time is up; 0: as much is read as there is. */
static int read_on(struct debug *d, int64_t until)
{
	while (d->got < d->size) {
		size_t n = d->size - d->got < PART ? d->size - d->got : PART;
		ssize_t rc = pread(d->fd, d->image + d->got, n, (off_t)d->got);

		if (rc < 0 && errno == EINTR)
			continue;
		if (rc <= 0)
			break; /* shorter by now: the rest is zeroes */
		d->got += (size_t)rc;
		if (d->got < d->size && pprof_now() >= until)
			return 1;
	}
	return 0;
}

static bool parse(struct debug *d)
{
	Dwarf_CU *first = NULL;

	d->elf = elf_memory(d->image, d->size);
	d->dw = d->elf ? dwarf_begin_elf(d->elf, DWARF_C_READ, NULL) : NULL;
	return d->dw && dwarf_get_units(d->dw, NULL, &first, NULL, NULL, NULL, NULL) == 0;
}

static bool same_build(const struct debug *d)
{
	const void *id = NULL;
	ssize_t n = dwelf_elf_gnu_build_id(d->elf, &id);

	return n == d->m->build_id_len && memcmp(id, d->m->build_id, (size_t)n) == 0;
}

/* /usr/lib/debug/.build-id/ab/cdef....debug */
static bool begin_separate(struct debug *d)
{
	char path[64 + 2 * WEFT_BUILD_ID_MAX] = "/usr/lib/debug/.build-id/";
	size_t at = strlen(path);
	int fd;

	if (d->m->build_id_len < 2 || d->m->build_id_len > WEFT_BUILD_ID_MAX)
		return false;
	for (int i = 0; i < d->m->build_id_len; i++)
		at += (size_t)snprintf(path + at, sizeof path - at, i == 1 ? "/%02x" : "%02x", d->m->build_id[i]);
	snprintf(path + at, sizeof path - at, ".debug");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return begin(d, fd, fd >= 0);
}

/* 1: time is up; 0: the units are to be listed, or there is NOTHING. */
static int open_any(struct debug *d, int64_t until)
{
	if (d->state == CLOSED) {
		(void)elf_version(EV_CURRENT);
		d->state = begin(d, d->m->fd, false) || begin_separate(d) ? READING : NOTHING;
	}
	while (d->state == READING) {
		bool separate = d->own_fd;

		if (read_on(d, until) > 0)
			return 1;
		if (parse(d) && (!separate || same_build(d))) {
			d->state = LISTING;
		} else {
			shut(d);
			d->state = !separate && begin_separate(d) ? READING : NOTHING;
		}
	}
	if (d->state == NOTHING)
		shut(d);
	return pprof_now() >= until;
}

struct debug *debug_open(const struct weft_module *m)
{
	struct debug *d = calloc(1, sizeof *d);

	if (!d)
		return NULL;
	d->m = m;
	return d;
}

void debug_close(struct debug *d)
{
	if (!d)
		return;
	for (uint32_t i = 0; i < d->n_entry; i++)
		unit_free(d->entry[i].u);
	free(d->entry);
	free(d->range);
	shut(d);
	free(d);
}

/* --- Its units ---------------------------------------------------------------------------------- */

/* Code at address 0 is what the linker threw away. */
static int add_ranges(struct debug *d, Dwarf_Die *cu)
{
	ptrdiff_t at = 0;
	Dwarf_Addr base, lo, hi;

	if (array_room(&d->entry, d->n_entry, &d->cap_entry, sizeof *d->entry) < 0)
		return -ENOMEM;
	while ((at = dwarf_ranges(cu, at, &base, &lo, &hi)) > 0) {
		if (lo == 0 || lo >= hi)
			continue;
		if (d->n_range == RANGES_MAX)
			break;
		if (array_room(&d->range, d->n_range, &d->cap_range, sizeof *d->range) < 0)
			return -ENOMEM;
		d->range[d->n_range++] = (struct range){ lo, hi, d->n_entry };
	}
	d->entry[d->n_entry++] = (struct entry){ .cu = *cu };
	return 0;
}

static int range_cmp(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return (x->lo > y->lo) - (x->lo < y->lo);
}

/* 1: time is up; 0: all are listed; -ENOMEM. */
static int list_units(struct debug *d, int64_t until)
{
	for (int n = 1;; n++) {
		Dwarf_Die cu;
		int rc = dwarf_get_units(d->dw, d->last, &d->last, NULL, NULL, &cu, NULL);

		if (rc != 0) /* the end, or damage: what was listed before it holds */
			break;
		rc = dwarf_tag(&cu) == DW_TAG_compile_unit ? add_ranges(d, &cu) : 0;
		if (rc < 0)
			return rc;
		if (n % 16 == 0 && pprof_now() >= until)
			return 1;
	}
	if (d->n_range)
		qsort(d->range, d->n_range, sizeof *d->range, range_cmp);
	d->state = READY;
	return 0;
}

static struct entry *entry_at(const struct debug *d, uint64_t addr)
{
	size_t n = d->n_range ? sorted_upto(&d->range->lo, sizeof *d->range, d->n_range, addr) : 0;

	return n && addr < d->range[n - 1].hi ? &d->entry[d->range[n - 1].entry] : NULL;
}

int debug_at(struct debug *d, uint64_t addr, int64_t until, struct debug_frames *out)
{
	struct entry *e;
	int rc = 0;

	out->n = 0;
	out->functions = false;
	if (d->state < LISTING)
		rc = open_any(d, until);
	if (rc == 0 && d->state == LISTING)
		rc = list_units(d, until);
	if (rc != 0 || d->state == NOTHING)
		return rc;
	e = entry_at(d, addr);
	if (!e)
		return 0;
	if (!e->u)
		e->u = unit_new(&e->cu);
	return e->u ? unit_at(e->u, addr, until, out) : -ENOMEM;
}
