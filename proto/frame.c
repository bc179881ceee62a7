/* frame.c - see frame.h.
 *
 * Two locks.  cache_lock guards what is known and is held for a look-up.  work_lock guards what it takes
 * to find out, debug information above all, and is held for one step of that; cache_lock may be taken
 * inside it.  What is in the cache never changes and is never freed, so pointers into it are good for
 * ever, also for profiles that are in the making while the cache fills up. */
#include "frame.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "debuginfo.h"
#include "pprof.h"
#include "store.h"
#include "symbols.h"
#include "utf8.h"

/* An address is known by where it is and by the object that it is in: another may come to lie there. */
struct known {
	uint64_t pc;
	const char *path; /* of the module, by address */
	struct frames v;
};

static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;
/* under cache_lock */
static struct known *known;
static uint32_t n_known, cap_known;
static struct index known_index;

/* Objects whose debug information is open. */
struct object {
	struct object *next;
	const char *path; /* of the module, by address */
	struct debug *debug;
	bool used;
};

static pthread_mutex_t work_lock = PTHREAD_MUTEX_INITIALIZER;
/* under work_lock */
static struct object *objects;
static struct arena arena; /* frames and strings */
static const char **string;
static uint32_t n_string, cap_string;
static struct index string_index;

/* --- Frames that are always known ------------------------------------------------------------------- */

#define PSEUDO(pc, text)                                                                                               \
	[pc] = { .name = text, .system = text, .entry = (pc), .file = "", .named = true, .exact = true }
static const struct frame pseudo[] = {
	PSEUDO(PPROF_PC_SYSTEM, "weft._System"), PSEUDO(PPROF_PC_EXTERNAL, "weft._ExternalCode"),
	PSEUDO(PPROF_PC_LOST, "weft._Lost"),     PSEUDO(PPROF_PC_OVERFLOW, "weft._Overflow"),
	PSEUDO(PPROF_PC_SCHED, "weft._Sched"),
};
static const struct frame unknown = { .name = "[unknown]", .system = "[unknown]", .file = "" };

bool frame_is_pseudo(uint64_t pc)
{
	return pc >= PPROF_PC_SYSTEM && pc <= PPROF_PC_SCHED;
}

static struct frames one(const struct frame *f)
{
	return (struct frames){ f, 1 };
}

/* --- The cache ---------------------------------------------------------------------------------------- */

static bool known_eq(const void *user, uint32_t ref, const void *key)
{
	const struct known *want = key;

	(void)user;
	return known[ref].pc == want->pc && known[ref].path == want->path;
}

static uint64_t known_hash(const struct known *k)
{
	return hash_u64((uint64_t)(uintptr_t)k->path, k->pc);
}

static bool cache_find(uint64_t pc, const struct weft_module *m, struct frames *out)
{
	struct known key = { .pc = pc, .path = m->path };
	uint32_t ref;

	pthread_mutex_lock(&cache_lock);
	ref = index_find(&known_index, known_hash(&key), known_eq, NULL, &key);
	if (ref != INDEX_NONE)
		*out = known[ref].v;
	pthread_mutex_unlock(&cache_lock);
	return ref != INDEX_NONE;
}

static void cache_add(uint64_t pc, const struct weft_module *m, struct frames v)
{
	struct known k = { pc, m->path, v };

	pthread_mutex_lock(&cache_lock);
	if (array_room(&known, n_known, &cap_known, sizeof *known) == 0 &&
	    index_add(&known_index, known_hash(&k), n_known) == 0)
		known[n_known++] = k; /* without memory for it, it is found out again */
	pthread_mutex_unlock(&cache_lock);
}

static bool cache_full(void)
{
	bool full;

	pthread_mutex_lock(&cache_lock);
	full = n_known >= FRAMES_MAX;
	pthread_mutex_unlock(&cache_lock);
	return full;
}

/* --- Finding out; work_lock is held ----------------------------------------------------------------- */

static bool string_eq(const void *user, uint32_t ref, const void *key)
{
	(void)user;
	return strcmp(string[ref], key) == 0;
}

/* The one copy of a string, in UTF-8; NULL: no memory. */
static const char *intern(const char *s)
{
	uint64_t hash = hash_bytes(0, s, strlen(s));
	uint32_t ref = index_find(&string_index, hash, string_eq, NULL, s);
	char *copy;

	if (ref != INDEX_NONE)
		return string[ref];
	copy = arena_copy(&arena, s, strlen(s) + 1);
	if (!copy)
		return NULL;
	utf8_clean_controls(copy, strlen(copy));
	/* One that had to be repaired is not found again, and copied each time: rare. */
	if (array_room(&string, n_string, &cap_string, sizeof *string) == 0 &&
	    index_add(&string_index, hash, n_string) == 0)
		string[n_string++] = copy;
	return copy;
}

/* NULL: no memory. */
static struct object *object_of(const struct weft_module *m)
{
	struct object *o = objects;

	while (o && o->path != m->path)
		o = o->next;
	if (!o) {
		o = calloc(1, sizeof *o);
		if (!o)
			return NULL;
		o->debug = debug_open(m);
		if (!o->debug) {
			free(o);
			return NULL;
		}
		o->path = m->path;
		o->next = objects;
		objects = o;
	}
	o->used = true;
	return o;
}

/* The compiler's name of a function without what it appends to that of a part or a clone. */
static bool is_clone_of(const char *symbol, const char *name)
{
	size_t n = strlen(name);

	return strncmp(symbol, name, n) == 0 && symbol[n] == '.';
}

static bool is_mangled(const char *symbol)
{
	return strncmp(symbol, "_Z", 2) == 0;
}

/* The function itself: symbol tables know its name better, except one of C++ or a clone's. */
static void name_function(struct frame *f, const struct symbol *s, const struct debug_frame *d)
{
	f->system = s->exact ? s->name : d->linkage ? d->linkage : d->name;
	f->name = s->exact && !is_mangled(s->name) && !is_clone_of(s->name, d->name) ? s->name : d->name;
	f->exact = true;
}

static bool is_public(const char *name)
{
	return strncmp(name, "weft_", 5) == 0;
}

static bool describe(struct frame *f, const struct symbol *s, const struct debug_frame *d, bool last)
{
	*f = (struct frame){ .name = s->name, .system = s->name, .entry = s->start, .module = s->module };
	f->named = true;
	f->exact = s->exact;
	f->internal = s->internal;
	f->inlined = !last;
	if (d->name && last)
		name_function(f, s, d);
	else if (d->name) {
		f->name = d->name;
		f->system = d->linkage ? d->linkage : d->name;
		f->exact = true;
		f->internal = weft_read_is_runtime(s->start) && !is_public(d->name);
	}
	f->root = last && s->internal && (!strcmp(s->name, "rt_g_main") || !strcmp(s->name, "rt_g_entry"));
	f->name = intern(f->name);
	f->system = intern(f->system);
	f->file = intern(d->file);
	f->line = d->line;
	f->start_line = d->start_line;
	return f->name && f->system && f->file;
}

static struct frames build(uint64_t pc, const struct weft_module *m, const struct symbol *s,
			   const struct debug_frames *d)
{
	int n = d->n ? d->n : 1;
	struct frame *f = arena_alloc(&arena, (size_t)n * sizeof *f);
	struct frames v = { f, n };

	for (int i = 0; f && i < n; i++) {
		if (!describe(&f[i], s, &d->f[i], i == n - 1))
			return one(&unknown);
		f[i].inlines = d->functions;
	}
	if (!f)
		return one(&unknown);
	cache_add(pc, m, v);
	return v;
}

/* 0: *out is what there is to say; 1: not yet. */
static int find_out(uint64_t pc, const struct weft_module *m, int64_t until, struct frames *out)
{
	struct debug_frames d = { .f[0].file = "" };
	bool full = cache_full();
	struct object *o = full ? NULL : object_of(m);
	struct symbol s;
	int rc;

	*out = one(&unknown);
	if (symbols_update() < 0)
		return 0;
	s = symbols_at(pc);
	if (full) { /* functions alone, of which there are not so many */
		pc = s.start ? s.start : m->start;
		if (cache_find(pc, m, out))
			return 0;
	}
	rc = o ? debug_at(o->debug, pc - m->bias, until, &d) : 0;
	if (rc > 0)
		return 1;
	if (rc < 0 || d.n == 0)
		d = (struct debug_frames){ .f[0].file = "" };
	*out = build(pc, m, &s, &d);
	return 0;
}

static int look_up(uint64_t pc, int64_t until, struct frames *out)
{
	const struct weft_module *m;
	int rc = 0;

	if (frame_is_pseudo(pc)) {
		*out = one(&pseudo[pc]);
		return 0;
	}
	m = weft_module_at(weft_read_modules(), pc);
	if (!m) {
		*out = one(&unknown);
		return 0;
	}
	if (cache_find(pc, m, out))
		return 0;
	pthread_mutex_lock(&work_lock);
	if (!cache_find(pc, m, out))
		rc = find_out(pc, m, until, out);
	pthread_mutex_unlock(&work_lock);
	return rc;
}

struct frames frames_at(uint64_t pc)
{
	struct frames v;

	while (look_up(pc, INT64_MAX, &v) > 0)
		;
	return v;
}

struct frames frames_none(void)
{
	return one(&unknown);
}

struct frame frame_at(uint64_t pc)
{
	struct frames v = frames_at(pc);

	return v.f[v.n - 1];
}

int frames_prepare(uint64_t pc, int64_t until)
{
	struct frames v;

	return look_up(pc, until, &v);
}

bool frames_trim(void)
{
	struct object **at = &objects;
	bool left;

	pthread_mutex_lock(&work_lock);
	while (*at) {
		struct object *o = *at;

		if (o->used) {
			o->used = false;
			at = &o->next;
			continue;
		}
		*at = o->next;
		debug_close(o->debug);
		free(o);
	}
	left = objects != NULL;
	pthread_mutex_unlock(&work_lock);
	return left;
}

int frame_calls(const uint64_t *pc, int depth, bool exact, uint64_t *call)
{
	int n = 0;

	for (int i = 0; i < depth && n < WEFT_STACK_MAX; i++) {
		if (pc[i] == 0)
			continue;
		call[n++] = frame_is_pseudo(pc[i]) || (exact && i == 0) ? pc[i] : pc[i] - 1;
	}
	return n;
}
