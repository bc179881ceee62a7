/* pprof_encode.c - from a builder to the gzipped message, in steps.
 *
 * A protobuf message may be written in pieces: repeated fields of the pieces are appended to each
 * other.  So each batch of samples, locations, ... is packed as a small Profile of its own and goes
 * straight into the compressor; the string table comes last, when all strings are known.
 *
 * Ids are given in order of first use, in the order of the sorted samples: equal input, equal bytes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "debuginfo.h"
#include "pprof_impl.h"
#include "profile.pb-c.h"
#include "symbols.h"

#define BATCH 64

typedef Perftools__Profiles__Profile Profile;
typedef Perftools__Profiles__ValueType ValueType;
typedef Perftools__Profiles__Sample Sample;
typedef Perftools__Profiles__Label Label;
typedef Perftools__Profiles__Mapping Mapping;
typedef Perftools__Profiles__Location Location;
typedef Perftools__Profiles__Line Line;
typedef Perftools__Profiles__Function Function;

#define MARKS 4096 /* mappings beyond claim nothing */

/* What a sampled location of a mapping lacks, so that the mapping must not claim it. */
enum { LACKS_NAME, LACKS_FILE, LACKS_LINE, LACKS_INLINES, LACKS };

struct pprof_encoder {
	int stage, rc; /* rc: the first failure, it stays */
	uint32_t at;   /* within the stage */
	int64_t until; /* when this step should end */
	int64_t time_ns, duration_ns;
	struct gz gz;
	struct buf packed;

	struct mapping_list mappings;
	uint8_t lacks[MARKS]; /* by mapping: bit per thing lacked */
	uint8_t named[MARKS]; /* a sampled location has a name */
	uint32_t *used;       /* numbers of locations; id 1 first */
	uint32_t n_used, cap_used;

	struct pprof_function *function;
	uint32_t n_function, cap_function;
	struct index function_index;

	const char **string;
	uint32_t n_string, cap_string;
	struct index string_index;

	/* one batch of messages and what they point to */
	union {
		struct {
			Sample v[BATCH], *p[BATCH];
			uint64_t loc[BATCH][WEFT_STACK_MAX];
			Label label[BATCH][PPROF_LABELS_MAX + 1], *label_p[BATCH][PPROF_LABELS_MAX + 1];
		} sample;
		struct {
			Location v[BATCH], *p[BATCH];
			Line line[BATCH][DEBUG_FRAMES_MAX], *line_p[BATCH][DEBUG_FRAMES_MAX];
		} location;
		struct {
			Mapping v[BATCH], *p[BATCH];
		} mapping;
		struct {
			Function v[BATCH], *p[BATCH];
		} function;
	} batch;
};

void pprof_encoder_free(struct pprof_encoder *e)
{
	if (!e)
		return;
	gz_abort(&e->gz);
	buf_free(&e->packed);
	mapping_free(&e->mappings);
	index_free(&e->function_index);
	index_free(&e->string_index);
	free(e->used);
	free(e->function);
	free(e->string);
	free(e);
}

/* --- strings and functions: numbered when first asked for ------------------------------------- */

static bool string_eq(const void *user, uint32_t ref, const void *key)
{
	return strcmp(((const struct pprof_encoder *)user)->string[ref], key) == 0;
}

/* s must outlive the builder or be in its arena. */
static int64_t string_id(struct pprof_encoder *e, const char *s)
{
	uint64_t hash = hash_bytes(0, s, strlen(s));
	uint32_t ref = index_find(&e->string_index, hash, string_eq, e, s);

	if (ref != INDEX_NONE)
		return ref;
	if (array_room(&e->string, e->n_string, &e->cap_string, sizeof *e->string) < 0 ||
	    index_add(&e->string_index, hash, e->n_string) < 0) {
		e->rc = -ENOMEM;
		return 0;
	}
	e->string[e->n_string] = s;
	return e->n_string++;
}

static int64_t string_copy_id(struct pprof *p, const char *s)
{
	const char *copy = arena_copy(&p->arena, s, strlen(s) + 1);

	if (!copy)
		p->enc->rc = -ENOMEM;
	return copy ? string_id(p->enc, copy) : 0;
}

static bool function_eq(const void *user, uint32_t ref, const void *key)
{
	const struct pprof_function *a = &((const struct pprof_encoder *)user)->function[ref], *b = key;

	return a->entry == b->entry && a->name == b->name && a->system == b->system && a->file == b->file;
}

static uint64_t function_id(struct pprof_encoder *e, const struct frame *f)
{
	struct pprof_function fn = { f->inlined ? 0 : f->entry, string_id(e, f->name), string_id(e, f->system),
				     string_id(e, f->file), f->start_line };
	uint64_t hash = hash_u64(hash_u64((uint64_t)fn.name, (uint64_t)fn.file), fn.entry);
	uint32_t ref = index_find(&e->function_index, hash, function_eq, e, &fn);

	if (ref != INDEX_NONE)
		return ref + 1;
	if (array_room(&e->function, e->n_function, &e->cap_function, sizeof fn) < 0 ||
	    index_add(&e->function_index, hash, e->n_function) < 0) {
		e->rc = -ENOMEM;
		return 0;
	}
	e->function[e->n_function] = fn;
	return ++e->n_function;
}

static uint64_t location_id(struct pprof *p, uint32_t loc)
{
	struct pprof_encoder *e = p->enc;

	if (p->loc[loc].id == 0) {
		if (array_room(&e->used, e->n_used, &e->cap_used, sizeof *e->used) < 0) {
			e->rc = -ENOMEM;
			return 0;
		}
		e->used[e->n_used++] = loc;
		p->loc[loc].id = e->n_used;
	}
	return p->loc[loc].id;
}

/* --- stages: 1 more to do, 0 done --------------------------------------------------------------- */

static int emit(struct pprof_encoder *e, const Profile *msg)
{
	size_t n = perftools__profiles__profile__get_packed_size(msg);

	if (e->packed.cap < n) {
		uint8_t *b = realloc(e->packed.b, n);

		if (!b)
			return -ENOMEM;
		e->packed.b = (char *)b;
		e->packed.cap = n;
	}
	perftools__profiles__profile__pack(msg, (uint8_t *)e->packed.b);
	return gz_write(&e->gz, e->packed.b, n);
}

static int stage_symbols(struct pprof *p)
{
	p->enc->rc = symbols_update();
	return 0;
}

static int stage_frames(struct pprof *p)
{
	return pprof_frames_step(p, p->enc->until);
}

static void value_type(struct pprof_encoder *e, ValueType *v, const struct pprof_type *t)
{
	perftools__profiles__value_type__init(v);
	v->type = string_id(e, t->type);
	v->unit = string_id(e, t->unit);
}

static int stage_head(struct pprof *p)
{
	struct pprof_encoder *e = p->enc;
	Profile msg = PERFTOOLS__PROFILES__PROFILE__INIT;
	ValueType sample[PPROF_VALUES], *sample_p[PPROF_VALUES], period;
	int64_t *comment = calloc(p->n_comment + 1, sizeof *comment);
	int rc = gz_begin(&e->gz);

	if (!comment)
		rc = -ENOMEM;
	string_id(e, "");
	for (int i = 0; i < p->spec.n_sample; i++) {
		value_type(e, &sample[i], &p->spec.sample[i]);
		sample_p[i] = &sample[i];
	}
	value_type(e, &period, &p->spec.period_type);
	for (uint32_t i = 0; i < p->n_comment && comment; i++)
		comment[i] = string_id(e, p->comment[i]);
	msg.n_sample_type = (size_t)p->spec.n_sample;
	msg.sample_type = sample_p;
	msg.period_type = &period;
	msg.period = p->spec.period;
	msg.time_nanos = e->time_ns;
	msg.duration_nanos = e->duration_ns;
	msg.n_comment = p->n_comment;
	msg.comment = comment;
	if (p->spec.default_sample_type)
		msg.default_sample_type = string_id(e, p->spec.default_sample_type);
	if (p->spec.drop_frames)
		msg.drop_frames = string_id(e, p->spec.drop_frames);
	if (rc == 0)
		rc = mapping_begin(&e->mappings, (uint64_t)(uintptr_t)&pprof_new);
	if (rc == 0 && e->rc == 0)
		rc = emit(e, &msg);
	free(comment);
	return rc;
}

static int stage_sort(struct pprof *p)
{
	return pprof_sort_step(p);
}

static void fill_labels(struct pprof_encoder *e, uint32_t i, const struct pprof_labels *l, int64_t bytes)
{
	const char *s = l->text;
	uint32_t n = l->n;
	Sample *out = &e->batch.sample.v[i];

	for (uint32_t k = 0; k < l->n; k++) {
		Label *label = &e->batch.sample.label[i][k];

		perftools__profiles__label__init(label);
		label->key = string_id(e, s);
		s += strlen(s) + 1;
		label->str = string_id(e, s);
		s += strlen(s) + 1;
		e->batch.sample.label_p[i][k] = label;
	}
	if (bytes) {
		Label *label = &e->batch.sample.label[i][n];

		perftools__profiles__label__init(label);
		label->key = string_id(e, "bytes");
		label->num = bytes;
		e->batch.sample.label_p[i][n++] = label;
	}
	out->label = e->batch.sample.label_p[i];
	out->n_label = n;
}

/* The frames that every goroutine begins with tell nothing and would hide the roots that differ. */
static uint32_t depth_shown(struct pprof *p, const struct pprof_sample *s)
{
	uint32_t n = s->depth;

	while (n > 1 && pprof_frame(p, s->loc[n - 1])->root)
		n--;
	return n;
}

static bool all_zero(const int64_t *value, int n)
{
	for (int i = 0; i < n; i++)
		if (value[i])
			return false;
	return true;
}

static int stage_samples(struct pprof *p)
{
	struct pprof_encoder *e = p->enc;
	Profile msg = PERFTOOLS__PROFILES__PROFILE__INIT;
	uint32_t n = 0;

	for (; n < BATCH && e->at < p->n_sample; e->at++) {
		struct pprof_sample *s = &p->sample[p->sort.order[e->at]];
		Sample *out = &e->batch.sample.v[n];

		if (all_zero(s->value, p->spec.n_sample)) /* a difference where nothing changed */
			continue;
		perftools__profiles__sample__init(out);
		out->n_location_id = depth_shown(p, s);
		out->location_id = e->batch.sample.loc[n];
		for (size_t i = 0; i < out->n_location_id; i++)
			out->location_id[i] = location_id(p, s->loc[i]);
		out->n_value = (size_t)p->spec.n_sample;
		out->value = s->value;
		fill_labels(e, n, s->labels, s->bytes);
		e->batch.sample.p[n++] = out;
	}
	msg.n_sample = n;
	msg.sample = e->batch.sample.p;
	return n == 0 ? 0 : emit(e, &msg) < 0 ? -ENOMEM : 1;
}

/* The one place that turns an address into lines of a location: innermost function first. */
static void fill_lines(struct pprof_encoder *e, Location *out, uint32_t i, struct frames v)
{
	for (int k = 0; k < v.n && v.f[k].named; k++) {
		Line *line = &e->batch.location.line[i][k];

		perftools__profiles__line__init(line);
		line->function_id = function_id(e, &v.f[k]);
		line->line = v.f[k].line;
		e->batch.location.line_p[i][k] = line;
		out->n_line++;
	}
	out->line = e->batch.location.line_p[i];
}

static void mark(struct pprof_encoder *e, int64_t mapping, struct frames v)
{
	uint8_t *lacks;

	if (mapping < 1 || mapping > MARKS)
		return;
	lacks = &e->lacks[mapping - 1];
	e->named[mapping - 1] = 1;
	for (int i = 0; i < v.n; i++) {
		const struct frame *f = &v.f[i];

		*lacks |= (uint8_t)(!f->exact << LACKS_NAME | !*f->file << LACKS_FILE | !f->line << LACKS_LINE |
				    !f->inlines << LACKS_INLINES);
	}
}

/* Where its location is in the mapped file, for those who look names up themselves. */
static const struct weft_module *module_of(const struct pprof_loc *l)
{
	return frame_is_pseudo(l->call) ? NULL : weft_module_at(weft_read_modules(), l->call);
}

static int stage_locations(struct pprof *p)
{
	struct pprof_encoder *e = p->enc;
	Profile msg = PERFTOOLS__PROFILES__PROFILE__INIT;
	uint32_t n = 0;

	for (; n < BATCH && e->at < e->n_used; n++, e->at++) {
		struct pprof_loc *l = &p->loc[e->used[e->at]];
		struct frames v = pprof_frames(p, e->used[e->at]);
		int64_t mapping = mapping_id(&e->mappings, p->spec.bare ? module_of(l) : v.f->module);
		Location *out = &e->batch.location.v[n];

		if (mapping < 0)
			return -ENOMEM;
		perftools__profiles__location__init(out);
		out->id = l->id;
		out->mapping_id = (uint64_t)mapping;
		out->address = l->call;
		fill_lines(e, out, n, v);
		mark(e, mapping, v);
		e->batch.location.p[n] = out;
	}
	msg.n_location = n;
	msg.location = e->batch.location.p;
	return n == 0 ? 0 : emit(e, &msg) < 0 ? -ENOMEM : 1;
}

/* has_functions tells viewers to leave a mapping's names alone.  It is set where every sampled location has
 * one that was not made up: `go tool pprof` would otherwise look the file up itself, and for a function
 * that was also inlined somewhere it replaces the right name by none.  Where a name had to be made up a
 * viewer with the debug file may do better, so there it stays off.  The other flags likewise say what is
 * known of every sampled location. */
static bool claims(const struct pprof *p, uint32_t mapping, int what)
{
	const struct pprof_encoder *e = p->enc;

	if (mapping >= MARKS)
		return false;
	/* Of what was not sampled there is nothing to be said: taken for complete, as nobody needs more. */
	return !p->spec.bare && !(e->lacks[mapping] >> what & 1) && (e->named[mapping] || what == LACKS_NAME);
}

static int stage_mappings(struct pprof *p)
{
	struct pprof_encoder *e = p->enc;
	Profile msg = PERFTOOLS__PROFILES__PROFILE__INIT;
	uint32_t n = 0;

	for (; n < BATCH && e->at < e->mappings.n; n++, e->at++) {
		const struct weft_module *m = e->mappings.v[e->at];
		char path[4200], id[2 * WEFT_BUILD_ID_MAX + 1];
		Mapping *out = &e->batch.mapping.v[n];

		perftools__profiles__mapping__init(out);
		out->id = e->at + 1;
		out->memory_start = m->start;
		out->memory_limit = m->limit;
		out->file_offset = m->offset;
		out->filename = string_copy_id(p, mapping_path(m, path, sizeof path));
		out->build_id = string_copy_id(p, mapping_build_id(m, id));
		out->has_functions = claims(p, e->at, LACKS_NAME);
		out->has_filenames = claims(p, e->at, LACKS_FILE);
		out->has_line_numbers = claims(p, e->at, LACKS_LINE);
		out->has_inline_frames = claims(p, e->at, LACKS_INLINES);
		e->batch.mapping.p[n] = out;
	}
	msg.n_mapping = n;
	msg.mapping = e->batch.mapping.p;
	return n == 0 ? 0 : emit(e, &msg) < 0 ? -ENOMEM : 1;
}

static int stage_functions(struct pprof *p)
{
	struct pprof_encoder *e = p->enc;
	Profile msg = PERFTOOLS__PROFILES__PROFILE__INIT;
	uint32_t n = 0;

	for (; n < BATCH && e->at < e->n_function; n++, e->at++) {
		const struct pprof_function *f = &e->function[e->at];
		Function *out = &e->batch.function.v[n];

		perftools__profiles__function__init(out);
		out->id = e->at + 1;
		out->name = f->name;
		out->system_name = f->system;
		out->filename = f->file;
		out->start_line = f->start_line;
		e->batch.function.p[n] = out;
	}
	msg.n_function = n;
	msg.function = e->batch.function.p;
	return n == 0 ? 0 : emit(e, &msg) < 0 ? -ENOMEM : 1;
}

static int stage_strings(struct pprof *p)
{
	struct pprof_encoder *e = p->enc;
	Profile msg = PERFTOOLS__PROFILES__PROFILE__INIT;
	uint32_t n = e->n_string - e->at < 4 * BATCH ? e->n_string - e->at : 4 * BATCH;

	msg.n_string_table = n;
	msg.string_table = (char **)&e->string[e->at]; /* pack() only reads them */
	e->at += n;
	return n == 0 ? 0 : emit(e, &msg) < 0 ? -ENOMEM : 1;
}

static int stage_end(struct pprof *p)
{
	return gz_end(&p->enc->gz);
}

static int (*const stages[])(struct pprof *p) = {
	stage_symbols,   stage_frames,   stage_head,      stage_sort,    stage_samples,
	stage_locations, stage_mappings, stage_functions, stage_strings, stage_end,
};
#define STAGES ((int)(sizeof stages / sizeof *stages))

static int encoder_new(struct pprof *p, int64_t time_ns, int64_t duration_ns)
{
	p->enc = calloc(1, sizeof *p->enc);
	if (!p->enc)
		return -ENOMEM;
	p->enc->time_ns = time_ns;
	p->enc->duration_ns = duration_ns;
	return 0;
}

int pprof_step(struct pprof *p, int64_t time_ns, int64_t duration_ns, int64_t budget_ns)
{
	int64_t until = pprof_now() + budget_ns;
	struct pprof_encoder *e;

	if (!p->enc && encoder_new(p, time_ns, duration_ns) < 0)
		return -ENOMEM;
	e = p->enc;
	e->until = until;
	while (e->stage < STAGES && e->rc == 0) {
		int rc = stages[e->stage](p);

		if (rc < 0)
			e->rc = rc;
		if (rc == 0) {
			e->stage++;
			e->at = 0;
		}
		if (e->stage < STAGES && e->rc == 0 && pprof_now() >= until)
			return 1;
	}
	return e->rc;
}

void *pprof_take(struct pprof *p, size_t *len)
{
	void *b;

	*len = 0;
	if (!p->enc || p->enc->stage < STAGES)
		return NULL;
	b = p->enc->gz.out.b;
	*len = p->enc->gz.out.len;
	p->enc->gz.out = (struct buf){ 0 };
	return b;
}
