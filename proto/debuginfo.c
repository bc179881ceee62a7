/* debuginfo.c - see debuginfo.h.
 *
 * Opening reads the ranges of every compilation unit (one entry of each, in steps); a unit's functions and
 * lines are read when an address in it is asked for, and kept.  The file is read, never mapped: somebody
 * may truncate it.  What libdw does in one go (decompressing sections, one unit's line table) is not
 * divided. */
#include "debuginfo.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dwunit.h"
#include "pprof_impl.h"
#include "store.h"

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
	enum { CLOSED, LISTING, READY, NOTHING } state;
	int own_fd; /* of the separate file, or -1 */
	Elf *elf;
	Dwarf *dw;
	Dwarf_CU *last; /* listed so far */
	struct entry *entry;
	uint32_t n_entry, cap_entry;
	struct range *range;
	uint32_t n_range, cap_range;
};

/* --- Finding it --------------------------------------------------------------------------------- */

static bool open_at(struct debug *d, int fd)
{
	Dwarf_CU *first = NULL;

	d->elf = elf_begin(fd, ELF_C_READ, NULL);
	d->dw = d->elf ? dwarf_begin_elf(d->elf, DWARF_C_READ, NULL) : NULL;
	if (d->dw && dwarf_get_units(d->dw, NULL, &first, NULL, NULL, NULL, NULL) == 0)
		return true;
	dwarf_end(d->dw);
	elf_end(d->elf);
	d->dw = NULL;
	d->elf = NULL;
	return false;
}

static bool same_build(const struct debug *d)
{
	const void *id = NULL;
	ssize_t n = dwelf_elf_gnu_build_id(d->elf, &id);

	return n == d->m->build_id_len && memcmp(id, d->m->build_id, (size_t)n) == 0;
}

/* /usr/lib/debug/.build-id/ab/cdef....debug */
static bool open_separate(struct debug *d)
{
	char path[64 + 2 * WEFT_BUILD_ID_MAX] = "/usr/lib/debug/.build-id/";
	size_t at = strlen(path);

	if (d->m->build_id_len < 2 || d->m->build_id_len > WEFT_BUILD_ID_MAX)
		return false;
	for (int i = 0; i < d->m->build_id_len; i++)
		at += (size_t)snprintf(path + at, sizeof path - at, i == 1 ? "/%02x" : "%02x", d->m->build_id[i]);
	snprintf(path + at, sizeof path - at, ".debug");
	d->own_fd = open(path, O_RDONLY | O_CLOEXEC);
	return d->own_fd >= 0 && open_at(d, d->own_fd) && same_build(d);
}

struct debug *debug_open(const struct weft_module *m)
{
	struct debug *d = calloc(1, sizeof *d);

	if (!d)
		return NULL;
	d->m = m;
	d->own_fd = -1;
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
	dwarf_end(d->dw);
	elf_end(d->elf);
	if (d->own_fd >= 0)
		close(d->own_fd);
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
	uint32_t lo = 0, hi = d->n_range;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (d->range[mid].lo <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo && addr < d->range[lo - 1].hi ? &d->entry[d->range[lo - 1].entry] : NULL;
}

int debug_at(struct debug *d, uint64_t addr, int64_t until, struct debug_frames *out)
{
	struct entry *e;
	int rc = 0;

	out->n = 0;
	out->functions = false;
	if (d->state == CLOSED) {
		(void)elf_version(EV_CURRENT);
		d->state = (d->m->fd >= 0 && open_at(d, d->m->fd)) || open_separate(d) ? LISTING : NOTHING;
		rc = pprof_now() >= until;
	}
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
