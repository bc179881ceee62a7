/* dwunit.c - see dwunit.h.
 *
 * The walk goes down where code may be: functions, what was inlined into them, blocks; and, in languages
 * that have them, the namespaces and classes that functions are declared in, which is where their
 * qualified names come from.  It can be left at any entry and resumed.  Entries stand in the order of the walk,
 * which is held against them: in damaged ones that refer to the same children again and again it would not end.
 *
 * A function's code may be in several ranges.  Ranges nest as what is inlined nests; each knows the one
 * around it.  From the innermost at an address the chain goes on through `parent`: a function inlined
 * there was called in the line that its entry names, in the function it was inlined into. */
#include "dwunit.h"

#include <dwarf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pprof_impl.h"
#include "store.h"

#define NONE UINT32_MAX
#define DEPTH_MAX 256
#define SCOPES_MAX 32 /* of a name */
#define NAME_CAP 1024
#define LOOK_EVERY 64 /* entries between looks at the clock */
#define PIECES_MAX (1u << 22)

struct fn {
	Dwarf_Off die;
	uint32_t parent; /* of an inlined one: what it was inlined into */
	uint32_t call_line, call_file;
	int start_line;
	bool inlined, read; /* read: the following are filled */
	const char *name, *linkage;
};
struct piece {
	uint64_t lo, hi;
	uint32_t fn, around;
};
/* A function that was met inside a scope, by its entry. */
struct decl {
	Dwarf_Off die;
	uint32_t scope;
};
struct scope {
	Dwarf_Off die;
	uint32_t parent;
};
struct level {
	Dwarf_Die die; /* next to be visited */
	bool more;
	uint32_t fn, scope;
};

struct unit {
	Dwarf_Die cu;
	enum { NEW, WALKING, READY } state;
	bool scoped; /* the language has namespaces or classes */
	const char *dir;
	Dwarf_Files *files;
	size_t n_files;
	struct arena arena;
	struct level *level; /* [DEPTH_MAX] while WALKING */
	int depth;
	Dwarf_Off last; /* visited */

	struct fn *fn;
	uint32_t n_fn, cap_fn;
	struct piece *piece; /* when READY: by lo, the wider first */
	uint32_t n_piece, cap_piece;
	struct decl *decl; /* in order of the entries */
	uint32_t n_decl, cap_decl;
	struct scope *scope;
	uint32_t n_scope, cap_scope;
};

struct unit *unit_new(const Dwarf_Die *cu)
{
	struct unit *u = calloc(1, sizeof *u);

	if (u)
		u->cu = *cu;
	return u;
}

void unit_free(struct unit *u)
{
	if (!u)
		return;
	free(u->level);
	free(u->fn);
	free(u->piece);
	free(u->decl);
	free(u->scope);
	arena_free(&u->arena);
	free(u);
}

/* --- The walk ------------------------------------------------------------------------------------- */

static uint32_t number(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute a;
	Dwarf_Word v = 0;

	return dwarf_attr(die, name, &a) && dwarf_formudata(&a, &v) == 0 && v <= INT32_MAX ? (uint32_t)v : 0;
}

/* A function with its ranges: its number, NONE if it has no code, or -ENOMEM. */
static int64_t add_fn(struct unit *u, Dwarf_Die *die, uint32_t parent, bool inlined)
{
	uint32_t me = u->n_fn, before = u->n_piece;
	ptrdiff_t at = 0;
	Dwarf_Addr base, lo, hi;

	while (u->n_piece < PIECES_MAX && (at = dwarf_ranges(die, at, &base, &lo, &hi)) > 0) {
		if (lo == 0 || lo >= hi)
			continue;
		if (array_room(&u->piece, u->n_piece, &u->cap_piece, sizeof *u->piece) < 0)
			return -ENOMEM;
		u->piece[u->n_piece++] = (struct piece){ lo, hi, me, NONE };
	}
	if (u->n_piece == before)
		return NONE;
	if (array_room(&u->fn, u->n_fn, &u->cap_fn, sizeof *u->fn) < 0) {
		u->n_piece = before; /* they are of nobody */
		return -ENOMEM;
	}
	u->fn[u->n_fn++] = (struct fn){ .die = dwarf_dieoffset(die),
					.parent = inlined ? parent : NONE,
					.inlined = inlined,
					.call_line = inlined ? number(die, DW_AT_call_line) : 0,
					.call_file = inlined ? number(die, DW_AT_call_file) : 0 };
	return me;
}

static int64_t add_scope(struct unit *u, Dwarf_Die *die, uint32_t parent)
{
	if (!u->scoped)
		return NONE;
	if (array_room(&u->scope, u->n_scope, &u->cap_scope, sizeof *u->scope) < 0)
		return -ENOMEM;
	u->scope[u->n_scope] = (struct scope){ dwarf_dieoffset(die), parent };
	return u->n_scope++;
}

static int go_down(struct unit *u, Dwarf_Die *die, int64_t fn, int64_t scope)
{
	struct level *l = &u->level[u->depth];

	if (fn < 0 || scope < 0)
		return -ENOMEM;
	if (u->depth == DEPTH_MAX || dwarf_child(die, &l->die) != 0)
		return 0;
	l->more = true;
	l->fn = (uint32_t)fn;
	l->scope = (uint32_t)scope;
	u->depth++;
	return 0;
}

static int visit_function(struct unit *u, Dwarf_Die *die, uint32_t scope)
{
	int64_t fn = add_fn(u, die, NONE, false);

	if (scope != NONE) {
		if (array_room(&u->decl, u->n_decl, &u->cap_decl, sizeof *u->decl) < 0)
			return -ENOMEM;
		u->decl[u->n_decl++] = (struct decl){ dwarf_dieoffset(die), scope };
	}
	if (fn == NONE && !u->scoped)
		return 0;
	return go_down(u, die, fn, add_scope(u, die, scope));
}

static int visit(struct unit *u, Dwarf_Die *die, uint32_t fn, uint32_t scope)
{
	switch (dwarf_tag(die)) {
	case DW_TAG_subprogram:
		return visit_function(u, die, scope);
	case DW_TAG_inlined_subroutine:
		return go_down(u, die, add_fn(u, die, fn, true), scope);
	case DW_TAG_lexical_block:
	case DW_TAG_try_block:
	case DW_TAG_catch_block:
		return go_down(u, die, fn, scope);
	case DW_TAG_namespace:
	case DW_TAG_module:
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_union_type:
	case DW_TAG_interface_type:
		return u->scoped ? go_down(u, die, NONE, add_scope(u, die, scope)) : 0;
	default:
		return 0;
	}
}

/* 1: time is up; 0: done; -ENOMEM. */
static int walk(struct unit *u, int64_t until)
{
	for (int n = 1; u->depth > 0; n++) {
		struct level *l = &u->level[u->depth - 1];
		Dwarf_Die die = l->die;
		int rc;

		if (!l->more || dwarf_dieoffset(&die) <= u->last) {
			u->depth--;
			continue;
		}
		u->last = dwarf_dieoffset(&die);
		l->more = dwarf_siblingof(&die, &l->die) == 0;
		rc = visit(u, &die, l->fn, l->scope);
		if (rc < 0)
			return rc;
		if (n % LOOK_EVERY == 0 && pprof_now() >= until)
			return 1;
	}
	return 0;
}

static int piece_cmp(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	if (x->lo != y->lo)
		return x->lo < y->lo ? -1 : 1;
	if (x->hi != y->hi)
		return x->hi > y->hi ? -1 : 1;
	return (x->fn > y->fn) - (x->fn < y->fn); /* what is inlined comes after what it is in */
}

static void nest(struct unit *u)
{
	uint32_t open = NONE;

	if (u->n_piece)
		qsort(u->piece, u->n_piece, sizeof *u->piece, piece_cmp);
	for (uint32_t i = 0; i < u->n_piece; i++) {
		while (open != NONE && u->piece[open].hi <= u->piece[i].lo)
			open = u->piece[open].around;
		u->piece[i].around = open;
		open = i;
	}
}

static bool language_is_scoped(Dwarf_Die *cu)
{
	switch (dwarf_srclang(cu)) {
	case DW_LANG_C:
	case DW_LANG_C89:
	case DW_LANG_C99:
	case DW_LANG_C11:
	case DW_LANG_Mips_Assembler:
		return false;
	default:
		return true;
	}
}

static int begin(struct unit *u)
{
	Dwarf_Attribute a;

	u->level = calloc(DEPTH_MAX, sizeof *u->level);
	if (!u->level)
		return -ENOMEM;
	u->scoped = language_is_scoped(&u->cu);
	u->dir = dwarf_attr(&u->cu, DW_AT_comp_dir, &a) ? dwarf_formstring(&a) : NULL;
	if (dwarf_getsrcfiles(&u->cu, &u->files, &u->n_files) != 0)
		u->files = NULL;
	u->state = WALKING;
	return go_down(u, &u->cu, NONE, NONE);
}

static int prepare(struct unit *u, int64_t until)
{
	int rc = 0;

	if (u->state == NEW) {
		rc = begin(u);
		if (rc == 0 && pprof_now() >= until)
			return 1;
	}
	if (rc == 0 && u->state == WALKING)
		rc = walk(u, until);
	if (rc != 0 || u->state == READY)
		return rc;
	free(u->level);
	u->level = NULL;
	nest(u);
	u->state = READY;
	return 0;
}

/* --- Names ---------------------------------------------------------------------------------------- */

/* Without template arguments, as pprof shows names.  An operator may have a '<' of its own. */
static size_t plain_length(const char *name)
{
	size_t n = strlen(name);
	int open = 0;

	if (n == 0 || name[n - 1] != '>' || name[0] == '<')
		return n;
	if (strncmp(name, "operator", 8) == 0 && strspn(name + 8, "<>=-") == n - 8)
		return n;
	for (size_t i = n; i-- > 1;) {
		open += name[i] == '>' && name[i - 1] != '-';
		open -= name[i] == '<';
		if (open == 0)
			return i;
	}
	return n;
}

static size_t put(char *buf, size_t len, const char *s, size_t n)
{
	n = n < NAME_CAP - 1 - len ? n : NAME_CAP - 1 - len;
	memcpy(buf + len, s, n);
	buf[len + n] = 0;
	return len + n;
}

static Dwarf *dwarf_of(struct unit *u)
{
	return dwarf_cu_getdwarf(u->cu.cu);
}

static const char *scope_name(struct unit *u, uint32_t scope)
{
	Dwarf_Die die;
	const char *name;

	if (!dwarf_offdie(dwarf_of(u), u->scope[scope].die, &die))
		return "?";
	name = dwarf_diename(&die);
	return name ? name : dwarf_tag(&die) == DW_TAG_namespace ? "(anonymous namespace)" : "(anonymous)";
}

static uint32_t scope_of(const struct unit *u, Dwarf_Off die)
{
	size_t n = u->n_decl ? sorted_upto(&u->decl->die, sizeof *u->decl, u->n_decl, die) : 0;

	return n && u->decl[n - 1].die == die ? u->decl[n - 1].scope : NONE;
}

/* Where a function was declared is said by the last of the entries that its own refers to. */
static uint32_t scope_of_origin(const struct unit *u, Dwarf_Die die)
{
	uint32_t scope = scope_of(u, dwarf_dieoffset(&die));
	Dwarf_Attribute a;

	for (int hop = 0; hop < 8; hop++) {
		uint32_t s;

		if ((!dwarf_attr(&die, DW_AT_abstract_origin, &a) && !dwarf_attr(&die, DW_AT_specification, &a)) ||
		    !dwarf_formref_die(&a, &die))
			break;
		s = scope_of(u, dwarf_dieoffset(&die));
		scope = s != NONE ? s : scope;
	}
	return scope;
}

static const char *qualified(struct unit *u, Dwarf_Die *die, const char *name)
{
	uint32_t chain[SCOPES_MAX], scope = u->n_decl ? scope_of_origin(u, *die) : NONE;
	char buf[NAME_CAP];
	size_t len = 0;
	int n = 0;

	for (; scope != NONE && n < SCOPES_MAX; scope = u->scope[scope].parent)
		chain[n++] = scope;
	while (n > 0) {
		const char *s = scope_name(u, chain[--n]);

		len = put(buf, len, s, plain_length(s));
		len = put(buf, len, "::", 2);
	}
	len = put(buf, len, name, plain_length(name));
	return arena_copy(&u->arena, buf, len + 1);
}

static const char *linkage(Dwarf_Die *die)
{
	Dwarf_Attribute a;

	if (!dwarf_attr_integrate(die, DW_AT_linkage_name, &a) &&
	    !dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &a))
		return NULL;
	return dwarf_formstring(&a);
}

static int read_fn(struct unit *u, struct fn *f)
{
	Dwarf_Die die;
	const char *name;

	if (f->read)
		return 0;
	if (dwarf_offdie(dwarf_of(u), f->die, &die)) {
		name = dwarf_diename(&die);
		f->linkage = linkage(&die);
		if (dwarf_decl_line(&die, &f->start_line) != 0)
			f->start_line = 0;
		f->name = name ? qualified(u, &die, name) : NULL;
		if (name && !f->name)
			return -ENOMEM;
	}
	f->read = true;
	return 0;
}

/* --- Look-ups ------------------------------------------------------------------------------------- */

/* Absolute, if the unit says in what folder it was compiled; NULL: no memory. */
static const char *path(struct unit *u, const char *file)
{
	size_t dir, n;
	char *p;

	while (file && file[0] == '.' && file[1] == '/')
		file += 2;
	if (!file || !*file)
		return "";
	if (file[0] == '/' || !u->dir)
		return file;
	dir = strlen(u->dir);
	n = strlen(file);
	p = arena_alloc(&u->arena, dir + n + 2);
	if (!p)
		return NULL;
	memcpy(p, u->dir, dir);
	p[dir] = '/';
	memcpy(p + dir + 1, file, n + 1);
	return p;
}

static struct fn *innermost(const struct unit *u, uint64_t addr)
{
	uint32_t n = u->n_piece ? (uint32_t)sorted_upto(&u->piece->lo, sizeof *u->piece, u->n_piece, addr) : 0;

	for (uint32_t i = n ? n - 1 : NONE; i != NONE; i = u->piece[i].around)
		if (addr < u->piece[i].hi)
			return &u->fn[u->piece[i].fn];
	return NULL;
}

/* The position that the line table has for addr. */
static int position(struct unit *u, uint64_t addr, struct debug_frame *out)
{
	Dwarf_Line *line = dwarf_getsrc_die(&u->cu, addr);

	out->file = "";
	if (!line)
		return 0;
	if (dwarf_lineno(line, &out->line) != 0)
		out->line = 0;
	out->file = path(u, dwarf_linesrc(line, NULL, NULL));
	return out->file ? 0 : -ENOMEM;
}

static int add_function(struct unit *u, struct fn *f, struct debug_frame *out)
{
	int rc = read_fn(u, f);

	out->name = f->name;
	out->linkage = f->linkage;
	out->start_line = f->start_line;
	return rc;
}

int unit_at(struct unit *u, uint64_t addr, int64_t until, struct debug_frames *out)
{
	struct fn *f;
	int rc = prepare(u, until);

	if (rc != 0)
		return rc;
	memset(out, 0, sizeof *out);
	rc = position(u, addr, &out->f[0]);
	f = innermost(u, addr);
	out->functions = f != NULL;
	out->n = f || out->f[0].line ? 1 : 0;
	for (int n = 0; f && rc == 0; n++) {
		rc = add_function(u, f, &out->f[n]);
		out->n = n + 1;
		if (!f->inlined || f->parent == NONE || n + 1 == DEBUG_FRAMES_MAX)
			break;
		out->f[n + 1].line = (int)f->call_line;
		out->f[n + 1].file = path(u, u->files ? dwarf_filesrc(u->files, f->call_file, NULL, NULL) : NULL);
		rc = rc == 0 && !out->f[n + 1].file ? -ENOMEM : rc;
		f = &u->fn[f->parent];
	}
	return rc;
}
