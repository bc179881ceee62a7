/* modules.c - which objects are mapped executable: paths, build-ids, open files, unwind tables.
 *
 * The loader thread calls weft_host_scan_modules() after it has loaded something.  It makes a new set
 * and publishes it by one atomic pointer; sets, objects, their tables and files are immutable from then
 * on and never freed, so any thread and any signal handler may hold on to them.  What cannot be known
 * twice is not made twice: an object that is found again, or loaded again with the same build-id,
 * keeps its table and its descriptor.
 *
 * dl_iterate_phdr() holds the dynamic linker's lock: only the loader thread comes here (and whoever
 * starts the runtime, before there is one).  Objects cannot go away inside its callback, which is
 * therefore where their memory is read. */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "unwind_table.h"

#include "sys.h"

/* An object as it was found once. */
struct object {
	struct object *next;
	char *name;           /* as the dynamic linker calls it */
	struct weft_module m; /* without start, limit, offset */
	uintptr_t base;       /* lowest executable address */
	size_t span;
	const struct rt_table *table;
};

struct part {
	const struct object *o;
	uintptr_t start, limit;
	uint64_t offset;
};
struct scan {
	struct part *parts;
	size_t n, cap;
	unsigned long long adds, subs;
	bool unchanged;
	int rc;
};

struct rt_module_set *_Atomic rt_modules;

/* Loader thread only */
static struct object *objects;
static unsigned long long seen_adds, seen_subs; /* the dynamic linker's counters at the last scan */

/* --- Build-ids ------------------------------------------------------------------------------ */

struct build_id {
	uint8_t len, b[WEFT_BUILD_ID_MAX];
};

/* Find NT_GNU_BUILD_ID among the notes in [p, p + n). */
static void id_in_notes(const uint8_t *p, size_t n, size_t align, struct build_id *out)
{
	align = align == 8 ? 8 : 4;
	while (n >= sizeof(ElfW(Nhdr))) {
		const ElfW(Nhdr) *h = (const ElfW(Nhdr) *)p;
		size_t desc = (sizeof *h + h->n_namesz + align - 1) & ~(align - 1);
		size_t all = (desc + h->n_descsz + align - 1) & ~(align - 1);

		if (h->n_namesz > n || h->n_descsz > n || desc + h->n_descsz > n)
			return;
		if (h->n_type == NT_GNU_BUILD_ID && h->n_namesz == 4 && !memcmp(h + 1, "GNU", 4) &&
		    h->n_descsz <= sizeof out->b) {
			out->len = (uint8_t)h->n_descsz;
			memcpy(out->b, p + desc, h->n_descsz);
			return;
		}
		if (all >= n)
			return;
		p += all;
		n -= all;
	}
}

/* Is what ph describes in memory? */
static bool is_loaded(const struct dl_phdr_info *info, const ElfW(Phdr) * ph)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *l = &info->dlpi_phdr[i];

		if (l->p_type == PT_LOAD && l->p_flags & PF_R && ph->p_vaddr >= l->p_vaddr &&
		    ph->p_memsz <= l->p_memsz && ph->p_vaddr - l->p_vaddr <= l->p_memsz - ph->p_memsz)
			return true;
	}
	return false;
}

static struct build_id id_in_memory(const struct dl_phdr_info *info)
{
	struct build_id id = { 0 };

	for (int i = 0; i < info->dlpi_phnum && !id.len; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_NOTE && is_loaded(info, ph))
			id_in_notes((const uint8_t *)(info->dlpi_addr + ph->p_vaddr), ph->p_memsz, ph->p_align, &id);
	}
	return id;
}

static struct build_id id_in_file(int fd)
{
	struct build_id id = { 0 };
	ElfW(Ehdr) eh;
	ElfW(Phdr) ph;
	_Alignas(8) uint8_t notes[4096];

	if (pread(fd, &eh, sizeof eh, 0) != (ssize_t)sizeof eh || memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0)
		return id;
	for (unsigned i = 0; i < eh.e_phnum && !id.len; i++) {
		ssize_t n;

		if (pread(fd, &ph, sizeof ph, (off_t)(eh.e_phoff + i * sizeof ph)) != (ssize_t)sizeof ph)
			return id;
		if (ph.p_type != PT_NOTE)
			continue;
		n = pread(fd, notes, ph.p_filesz < sizeof notes ? ph.p_filesz : sizeof notes, (off_t)ph.p_offset);
		if (n > 0)
			id_in_notes(notes, (size_t)n, ph.p_align, &id);
	}
	return id;
}

static bool same_id(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	return a_len == b_len && memcmp(a, b, a_len) == 0;
}

/* --- Objects ----------------------------------------------------------------------------------- */

/* "" is how the dynamic linker calls the program. */
static bool is_program(const struct dl_phdr_info *info)
{
	return !*info->dlpi_name;
}

static bool is_vdso(const struct dl_phdr_info *info)
{
	uintptr_t vdso = getauxval(AT_SYSINFO_EHDR);

	return vdso && (uintptr_t)info->dlpi_phdr > vdso && (uintptr_t)info->dlpi_phdr < vdso + RT_PAGE;
}

/* Bounds of the executable part; false: it has none. */
static bool text_bounds(const struct dl_phdr_info *info, uintptr_t *base, size_t *span)
{
	uintptr_t lo = UINTPTR_MAX, hi = 0;

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t at = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X) || !ph->p_memsz)
			continue;
		lo = at < lo ? at : lo;
		hi = at + ph->p_memsz > hi ? at + ph->p_memsz : hi;
	}
	*base = lo;
	*span = hi - lo;
	return hi > lo;
}

/* The file's own path and a descriptor on it.  A file that was replaced since (its build-id differs)
 * gets no descriptor: it would give wrong names. */
static int open_file(struct object *o, const struct dl_phdr_info *info)
{
	const char *name = o->m.program ? "/proc/self/exe" : info->dlpi_name;
	char link[48], path[4096];
	ssize_t n = -1;
	struct build_id id;

	o->m.fd = rt_sys_open(name, O_RDONLY | O_CLOEXEC);
	if (o->m.fd >= 0) {
		id = id_in_file(o->m.fd);
		(void)snprintf(link, sizeof link, "/proc/self/fd/%d", o->m.fd);
		n = readlink(link, path, sizeof path - 1);
		if (!same_id(id.b, id.len, o->m.build_id, o->m.build_id_len)) {
			(void)rt_sys_close(o->m.fd);
			o->m.fd = -1;
			n = o->m.program ? n : -1;
		}
	} else {
		o->m.fd = -1;
	}
	if (n > 0) {
		static const char gone[] = " (deleted)";

		path[n] = '\0';
		if ((size_t)n > sizeof gone && strcmp(path + n + 1 - sizeof gone, gone) == 0)
			path[(size_t)n + 1 - sizeof gone] = '\0';
	} else {
		(void)snprintf(path, sizeof path, "%s", o->m.program ? program_invocation_name : info->dlpi_name);
	}
	o->m.path = strdup(path);
	return o->m.path ? 0 : -ENOMEM;
}

/* What a build with this id had when it was loaded before, also elsewhere in memory. */
static const struct object *same_build(const struct object *o)
{
	for (const struct object *k = objects; k && o->m.build_id_len; k = k->next)
		if (k->span == o->span && k->m.fd >= 0 &&
		    same_id(k->m.build_id, k->m.build_id_len, o->m.build_id, o->m.build_id_len))
			return k;
	return NULL;
}

static int fill(struct object *o, const struct dl_phdr_info *info)
{
	const struct object *twin = same_build(o);
	struct rt_table *table = NULL;
	int rc = 0;

	if (twin) {
		o->m.path = twin->m.path;
		o->m.fd = twin->m.fd;
		o->table = twin->table;
		return 0;
	}
	if (is_vdso(info)) {
		o->m.path = "[vdso]";
		o->m.fd = -1;
	} else {
		rc = open_file(o, info);
	}
	/* Any other failure leaves it without a table, which is counted. */
	if (rc == 0 && rt_table_build(info, o->base, o->span, &table) == -ENOMEM) {
		if (!is_vdso(info))
			free((char *)o->m.path);
		rc = -ENOMEM;
	}
	o->table = table;
	if (rc < 0 && o->m.fd >= 0)
		(void)rt_sys_close(o->m.fd);
	return rc;
}

static const struct object *find_or_add(const struct dl_phdr_info *info, int *rc)
{
	struct build_id id = id_in_memory(info);
	struct object *o;
	uintptr_t base;
	size_t span;

	*rc = 0;
	if (!text_bounds(info, &base, &span))
		return NULL;
	for (o = objects; o; o = o->next)
		if (o->m.bias == info->dlpi_addr && o->base == base && o->span == span &&
		    same_id(o->m.build_id, o->m.build_id_len, id.b, id.len) && strcmp(o->name, info->dlpi_name) == 0)
			return o;
	*rc = -ENOMEM;
	o = calloc(1, sizeof *o);
	if (!o)
		return NULL;
	o->name = strdup(info->dlpi_name);
	o->base = base;
	o->span = span;
	o->m.bias = info->dlpi_addr;
	o->m.fd = -1;
	o->m.program = is_program(info);
	o->m.plugin = rt_modules != NULL;
	o->m.build_id_len = id.len;
	memcpy(o->m.build_id, id.b, id.len);
	if (o->name)
		*rc = fill(o, info);
	if (*rc < 0) {
		free(o->name);
		free(o);
		return NULL;
	}
	o->next = objects;
	objects = o;
	return o;
}

/* --- Scanning -------------------------------------------------------------------------------------- */

static int add_part(struct scan *s, struct part part)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 32;
		struct part *parts = realloc(s->parts, cap * sizeof part);

		if (!parts)
			return -ENOMEM;
		s->parts = parts;
		s->cap = cap;
	}
	s->parts[s->n++] = part;
	return 0;
}

static int visit(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct scan *s = arg;
	const struct object *o;

	(void)size;
	s->adds = info->dlpi_adds;
	s->subs = info->dlpi_subs;
	if (rt_modules && s->adds == seen_adds && s->subs == seen_subs) {
		s->unchanged = true;
		return 1;
	}
	o = find_or_add(info, &s->rc);
	for (int i = 0; o && s->rc == 0 && i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t at = info->dlpi_addr + ph->p_vaddr, in_page = at & (RT_PAGE - 1);

		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X) || !ph->p_memsz)
			continue;
		s->rc = add_part(s,
				 (struct part){ .o = o,
						.start = at - in_page,
						.limit = (at + ph->p_memsz + RT_PAGE - 1) & ~(uintptr_t)(RT_PAGE - 1),
						.offset = ph->p_offset - in_page });
	}
	return s->rc;
}

static int by_start(const void *a, const void *b)
{
	const struct part *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static bool same_set(const struct rt_module_set *set, const struct scan *s)
{
	if (!set || set->mods.n != s->n)
		return false;
	for (size_t i = 0; i < s->n; i++)
		if (set->mods.m[i].start != s->parts[i].start || set->mods.m[i].path != s->parts[i].o->m.path ||
		    set->mods.m[i].bias != s->parts[i].o->m.bias || set->seg[i].table != s->parts[i].o->table)
			return false;
	return true;
}

static int publish(const struct scan *s)
{
	struct rt_module_set *old = rt_modules, *set = malloc(sizeof *set + s->n * sizeof set->mods.m[0]);

	if (!set)
		return -ENOMEM;
	set->seg = malloc((s->n + 1) * sizeof *set->seg);
	if (!set->seg) {
		free(set);
		return -ENOMEM;
	}
	set->older = old;
	set->mods.generation = old ? old->mods.generation + 1 : 1;
	set->mods.n = s->n;
	for (size_t i = 0; i < s->n; i++) {
		const struct part *part = &s->parts[i];
		struct weft_module *m = &set->mods.m[i];

		*m = part->o->m;
		m->start = part->start;
		m->limit = part->limit;
		m->offset = part->offset;
		set->seg[i] = (struct rt_seg){ part->start, part->limit, part->o->base, part->o->table };
	}
	st_rel(&rt_modules, set); /* pairs with the acquire of every reader */
	return 0;
}

int weft_host_scan_modules(void)
{
	struct scan s = { 0 };

	(void)dl_iterate_phdr(visit, &s);
	if (!s.unchanged && s.rc == 0) {
		qsort(s.parts, s.n, sizeof *s.parts, by_start);
		if (!same_set(rt_modules, &s))
			s.rc = publish(&s);
		if (s.rc == 0) {
			seen_adds = s.adds;
			seen_subs = s.subs;
		}
	}
	free(s.parts);
	return s.rc;
}

/* --- Reading ------------------------------------------------------------------------------------------ */

/* Of another process: who looks at a file of it sets them, and has no second thread. */
static const struct weft_modules *foreign;
static uint64_t foreign_runtime, foreign_runtime_end;

const struct weft_modules *weft_read_modules(void)
{
	const struct rt_module_set *set = ld_acq(&rt_modules); /* pairs with the release in publish() */

	return foreign ? foreign : set ? &set->mods : NULL;
}

/* sig */
RT_NOSAN const struct weft_module *weft_module_at(const struct weft_modules *ms, uint64_t pc)
{
	size_t a = 0, b = ms ? ms->n : 0;

	while (a < b) {
		size_t c = (a + b) / 2;

		if (pc < ms->m[c].start)
			b = c;
		else if (pc >= ms->m[c].limit)
			a = c + 1;
		else
			return &ms->m[c];
	}
	return NULL;
}

void rt_unwind_counters(struct weft_counters *out)
{
	const struct rt_module_set *set = ld_acq(&rt_modules); /* pairs with the release in publish() */

	out->unwind_rows = out->unwind_modules = out->unwind_failed = 0;
	for (size_t i = 0; set && i < set->mods.n; i++) {
		const struct rt_table *t = set->seg[i].table;

		if (i && t && set->seg[i - 1].table == t)
			continue; /* a further segment of one object */
		out->unwind_modules++;
		out->unwind_rows += t ? t->n_rows : 0;
		out->unwind_failed += t ? t->failed : 1;
	}
}

/* Bounds of the section that the Makefile puts the runtime's code into. */
extern const char __start_rt_text[], __stop_rt_text[];

void rt_text_bounds(uint64_t *start, uint64_t *end)
{
	*start = (uintptr_t)__start_rt_text;
	*end = (uintptr_t)__stop_rt_text;
}

size_t weft_read_foreign(struct weft_modules *ms, uint64_t runtime, uint64_t runtime_end)
{
	size_t missing = 0;

	for (size_t i = 0; i < ms->n; i++) {
		struct weft_module *m = &ms->m[i];
		struct build_id id;

		m->fd = *m->path == '/' ? rt_sys_open(m->path, O_RDONLY | O_CLOEXEC) : -1;
		if (m->fd >= 0) {
			id = id_in_file(m->fd);
			if (!same_id(id.b, id.len, m->build_id, m->build_id_len)) {
				(void)rt_sys_close(m->fd);
				m->fd = -1;
			}
		}
		m->fd = m->fd >= 0 ? m->fd : -1;
		missing += m->fd < 0 && *m->path == '/';
	}
	foreign_runtime = runtime;
	foreign_runtime_end = runtime_end;
	foreign = ms;
	return missing;
}

/* sig */
RT_NOSAN bool weft_read_is_runtime(uint64_t pc)
{
	if (foreign)
		return pc >= foreign_runtime && pc < foreign_runtime_end;
	return pc >= (uintptr_t)__start_rt_text && pc < (uintptr_t)__stop_rt_text;
}
