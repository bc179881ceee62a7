/* pprof.c - the collecting half of the builder of pprof.h; its order of samples. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pprof_impl.h"
#include "utf8.h"

#include "weft_read.h"

/* What a sample is known by. */
struct sample_key {
	const uint64_t *call;
	int depth;
	const char *labels; /* as pprof_labels.text */
	size_t labels_len;
	uint32_t n_labels;
	int64_t bytes;
	uint64_t hash;
};

/* --- life ---------------------------------------------------------------------------------- */

static const char *keep(struct pprof *p, const char *s)
{
	char *q = s ? arena_copy(&p->arena, s, strlen(s) + 1) : NULL;

	if (q)
		utf8_clean(q, strlen(q));
	return q;
}

static bool keep_type(struct pprof *p, struct pprof_type *t)
{
	t->type = keep(p, t->type);
	t->unit = keep(p, t->unit);
	return t->type && t->unit;
}

struct pprof *pprof_new(const struct pprof_spec *spec)
{
	struct pprof *p = calloc(1, sizeof *p);
	bool ok;

	if (!p)
		return NULL;
	p->spec = *spec;
	ok = keep_type(p, &p->spec.period_type);
	for (int i = 0; i < spec->n_sample; i++)
		ok = keep_type(p, &p->spec.sample[i]) && ok;
	p->spec.default_sample_type = keep(p, spec->default_sample_type);
	p->spec.drop_frames = keep(p, spec->drop_frames);
	if (!ok || (spec->default_sample_type && !p->spec.default_sample_type) ||
	    (spec->drop_frames && !p->spec.drop_frames)) {
		pprof_free(p);
		return NULL;
	}
	return p;
}

void pprof_free(struct pprof *p)
{
	if (!p)
		return;
	pprof_encoder_free(p->enc);
	free(p->sort.order);
	free(p->sort.spare);
	free(p->loc);
	free(p->sample);
	free(p->labels);
	free(p->comment);
	index_free(&p->loc_index);
	index_free(&p->sample_index);
	index_free(&p->labels_index);
	buf_free(&p->scratch);
	arena_free(&p->arena);
	free(p);
}

void pprof_comment(struct pprof *p, const char *text)
{
	const char *copy = keep(p, text);

	if (copy && array_room(&p->comment, p->n_comment, &p->cap_comment, sizeof *p->comment) == 0)
		p->comment[p->n_comment++] = copy;
}

size_t pprof_samples(const struct pprof *p)
{
	return p->n_sample;
}

int64_t pprof_total(const struct pprof *p, int value)
{
	return p->total[value];
}

/* --- labels ---------------------------------------------------------------------------------- */

struct pair {
	const char *key, *value;
};

/* Ours replace the goroutine's of the same name: who looks at "instance" must be able to trust it. */
static int label_pairs(const struct weft_labels *labels, const struct pprof_extra *extra, struct pair *out)
{
	const struct pair own[] = { { "instance", extra->instance },
				    { "thread", extra->thread },
				    { extra->key, extra->value } };
	int n = 0;

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (own[i].value && *own[i].value)
			out[n++] = own[i];
	for (int ours = n, i = 0; labels && i < labels->n && n < PPROF_LABELS_MAX; i++) {
		const char *key = labels->l[i].key;
		bool taken = key[0] == 0;

		for (int j = 0; j < ours; j++)
			taken = taken || strcmp(out[j].key, key) == 0;
		if (!taken)
			out[n++] = (struct pair){ key, labels->l[i].value };
	}
	return n;
}

static void add_clean(struct buf *b, const char *s)
{
	size_t at = b->len;

	buf_add(b, s, strlen(s) + 1);
	if (!b->failed)
		utf8_clean(b->b + at, b->len - at - 1);
}

/* Leaves the labels, by key, in p->scratch. */
static int collect_labels(struct pprof *p, const struct weft_labels *labels, const struct pprof_extra *extra)
{
	struct pair v[PPROF_LABELS_MAX];
	int n = label_pairs(labels, extra, v);

	p->scratch.len = 0;
	p->scratch.failed = 0;
	for (int i = 1; i < n; i++) {
		struct pair x = v[i];
		int j = i;

		for (; j > 0 && strcmp(v[j - 1].key, x.key) > 0; j--)
			v[j] = v[j - 1];
		v[j] = x;
	}
	for (int i = 0; i < n; i++) {
		add_clean(&p->scratch, v[i].key);
		add_clean(&p->scratch, v[i].value);
	}
	return p->scratch.failed ? -ENOMEM : n;
}

static bool labels_eq(const void *user, uint32_t ref, const void *key)
{
	const struct pprof_labels *l = ((const struct pprof *)user)->labels[ref];
	const struct sample_key *k = key;

	return l->len == k->labels_len && memcmp(l->text, k->labels, l->len) == 0;
}

/* The one copy of a label set; NULL: no memory. */
static const struct pprof_labels *labels_intern(struct pprof *p, const struct sample_key *k)
{
	static const struct pprof_labels none;
	uint64_t hash = hash_bytes(0, k->labels, k->labels_len);
	struct pprof_labels *l;
	uint32_t ref;

	if (k->labels_len == 0)
		return &none;
	ref = index_find(&p->labels_index, hash, labels_eq, p, k);
	if (ref != INDEX_NONE)
		return p->labels[ref];
	l = arena_alloc(&p->arena, sizeof *l + k->labels_len);
	if (!l || array_room(&p->labels, p->n_labels, &p->cap_labels, sizeof *p->labels) < 0 ||
	    index_add(&p->labels_index, hash, p->n_labels) < 0)
		return NULL;
	l->n = k->n_labels;
	l->len = (uint32_t)k->labels_len;
	memcpy(l->text, k->labels, k->labels_len);
	p->labels[p->n_labels++] = l;
	return l;
}

/* --- samples ------------------------------------------------------------------------------------ */

static bool loc_eq(const void *user, uint32_t ref, const void *key)
{
	return ((const struct pprof *)user)->loc[ref].call == *(const uint64_t *)key;
}

static uint32_t loc_intern(struct pprof *p, uint64_t call)
{
	uint64_t hash = hash_u64(0, call);
	uint32_t ref = index_find(&p->loc_index, hash, loc_eq, p, &call);

	if (ref != INDEX_NONE)
		return ref;
	if (array_room(&p->loc, p->n_loc, &p->cap_loc, sizeof *p->loc) < 0 ||
	    index_add(&p->loc_index, hash, p->n_loc) < 0)
		return INDEX_NONE;
	p->loc[p->n_loc] = (struct pprof_loc){ .call = call };
	return p->n_loc++;
}

static bool sample_eq(const void *user, uint32_t ref, const void *key)
{
	const struct pprof *p = user;
	const struct pprof_sample *s = &p->sample[ref];
	const struct sample_key *k = key;

	if ((int)s->depth != k->depth || s->bytes != k->bytes || s->labels->len != k->labels_len)
		return false;
	for (int i = 0; i < k->depth; i++)
		if (p->loc[s->loc[i]].call != k->call[i])
			return false;
	return memcmp(s->labels->text, k->labels, k->labels_len) == 0;
}

static void key_hash(struct sample_key *k)
{
	k->hash = hash_bytes(0, k->call, (size_t)k->depth * sizeof *k->call);
	k->hash = hash_bytes(k->hash, k->labels, k->labels_len);
	k->hash = hash_u64(k->hash, (uint64_t)k->bytes);
}

static uint32_t sample_new(struct pprof *p, const struct sample_key *k)
{
	struct pprof_sample s = { .depth = (uint32_t)k->depth, .bytes = k->bytes };
	uint32_t *loc = arena_alloc(&p->arena, (size_t)k->depth * sizeof *loc);

	s.loc = loc;
	s.labels = labels_intern(p, k);
	if (!loc || !s.labels || array_room(&p->sample, p->n_sample, &p->cap_sample, sizeof s) < 0)
		return INDEX_NONE;
	for (int i = 0; i < k->depth; i++) {
		loc[i] = loc_intern(p, k->call[i]);
		if (loc[i] == INDEX_NONE)
			return INDEX_NONE;
	}
	if (index_add(&p->sample_index, k->hash, p->n_sample) < 0)
		return INDEX_NONE;
	p->sample[p->n_sample] = s;
	return p->n_sample++;
}

/* Sums stop at the end of the range rather than wrap. */
static void add_value(int64_t *sum, int64_t v)
{
	if (__builtin_add_overflow(*sum, v, sum))
		*sum = v > 0 ? INT64_MAX : INT64_MIN;
}

int pprof_add_with(struct pprof *p, const uint64_t *pc, int depth, unsigned flags, const struct weft_labels *labels,
		   const struct pprof_extra *extra, const int64_t *values)
{
	uint64_t call[WEFT_STACK_MAX];
	static const uint64_t overflow = PPROF_PC_OVERFLOW;
	struct sample_key k = { .call = call, .depth = frame_calls(pc, depth, flags & WEFT_GF_EXACT, call) };
	int rc = collect_labels(p, labels, extra);
	uint32_t ref;

	if (rc < 0)
		return rc;
	if (k.depth == 0) {
		call[0] = PPROF_PC_SYSTEM; /* the text form can't say "no frames" */
		k.depth = 1;
	}
	k.labels = p->scratch.len ? p->scratch.b : "";
	k.labels_len = p->scratch.len;
	k.n_labels = (uint32_t)rc;
	k.bytes = extra->bytes;
	key_hash(&k);
	ref = index_find(&p->sample_index, k.hash, sample_eq, p, &k);
	if (ref == INDEX_NONE && p->n_sample >= PPROF_MAX_STACKS) {
		k = (struct sample_key){ .call = &overflow, .depth = 1, .labels = "" };
		key_hash(&k);
		ref = index_find(&p->sample_index, k.hash, sample_eq, p, &k);
	}
	if (ref == INDEX_NONE)
		ref = sample_new(p, &k);
	if (ref == INDEX_NONE)
		return -ENOMEM;
	for (int i = 0; i < p->spec.n_sample; i++) {
		add_value(&p->sample[ref].value[i], values[i]);
		add_value(&p->total[i], values[i]);
	}
	p->sort.done = false;
	p->sort.width = 0;
	return 0;
}

int pprof_add(struct pprof *p, const uint64_t *pc, int depth, unsigned flags, const struct weft_labels *labels,
	      const char *instance, const char *thread, const int64_t *values)
{
	struct pprof_extra extra = { .instance = instance, .thread = thread };

	return pprof_add_with(p, pc, depth, flags, labels, &extra, values);
}

struct frames pprof_frames(struct pprof *p, uint32_t loc)
{
	struct pprof_loc *l = &p->loc[loc];

	if (l->v.n)
		return l->v;
	l->v = p->spec.bare && !frame_is_pseudo(l->call) ? frames_none() : frames_at(l->call);
	if (p->spec.calls && l->v.n > 1 && weft_read_is_runtime(l->call)) {
		l->v.f += l->v.n - 1;
		l->v.n = 1;
	}
	return l->v;
}

const struct frame *pprof_frame(struct pprof *p, uint32_t loc)
{
	struct frames v = pprof_frames(p, loc);

	return &v.f[v.n - 1];
}

int pprof_frames_step(struct pprof *p, int64_t until)
{
	for (; !p->spec.bare && p->n_prepared < p->n_loc; p->n_prepared++) {
		if (frames_prepare(p->loc[p->n_prepared].call, until) > 0)
			return 1;
		if (p->n_prepared % 64 == 63 && pprof_now() >= until) {
			p->n_prepared++;
			return 1;
		}
	}
	return 0;
}

int64_t pprof_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* --- order ------------------------------------------------------------------------------------------ */

/* As the hexadecimal texts of the two would compare. */
static int cmp_as_text(uint64_t a, uint64_t b)
{
	uint64_t x = a ? a << (__builtin_clzll(a) & ~3) : 0, y = b ? b << (__builtin_clzll(b) & ~3) : 0;

	if (x != y)
		return x < y ? -1 : 1;
	return a < b ? -1 : a > b;
}

/* By the value that the spec names, then by the text of stack and labels, as Go orders count profiles: equal
 * samples give equal bytes, in whatever order they came. */
static int sample_cmp(const struct pprof *p, uint32_t x, uint32_t y)
{
	const struct pprof_sample *a = &p->sample[x], *b = &p->sample[y];
	uint32_t n = a->depth < b->depth ? a->depth : b->depth;
	int c, by = p->spec.sort;

	if (a->value[by] != b->value[by])
		return (a->value[by] > b->value[by]) != p->spec.ascending ? -1 : 1;
	for (uint32_t i = 0; i < n; i++)
		if (a->loc[i] != b->loc[i])
			return cmp_as_text(p->loc[a->loc[i]].call + 1, p->loc[b->loc[i]].call + 1);
	if (a->depth != b->depth)
		return a->depth < b->depth ? -1 : 1;
	n = a->labels->len < b->labels->len ? a->labels->len : b->labels->len;
	c = memcmp(a->labels->text, b->labels->text, n);
	if (c != 0)
		return c;
	if (a->labels->len != b->labels->len)
		return a->labels->len < b->labels->len ? -1 : 1;
	return a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

static int sort_begin(struct pprof *p)
{
	struct pprof_sort *s = &p->sort;

	free(s->order);
	free(s->spare);
	s->order = calloc(p->n_sample + 1, sizeof *s->order);
	s->spare = calloc(p->n_sample + 1, sizeof *s->spare);
	if (!s->order || !s->spare)
		return -ENOMEM;
	s->n = p->n_sample;
	s->at = 0;
	s->width = 1;
	for (uint32_t i = 0; i < s->n; i++)
		s->order[i] = i;
	return 1;
}

/* Merge the next two runs. */
static void sort_merge(struct pprof *p)
{
	struct pprof_sort *s = &p->sort;
	uint32_t left = s->at, mid = s->n - left < s->width ? s->n : left + s->width;
	uint32_t right = mid, end = s->n - mid < s->width ? s->n : mid + s->width;

	for (uint32_t to = s->at; to < end; to++) {
		bool take_left = right == end || (left < mid && sample_cmp(p, s->order[left], s->order[right]) <= 0);

		s->spare[to] = s->order[take_left ? left++ : right++];
	}
	s->at = end;
}

int pprof_sort_step(struct pprof *p)
{
	struct pprof_sort *s = &p->sort;

	if (s->done)
		return 0;
	if (s->width == 0)
		return sort_begin(p);
	if (s->at < s->n) {
		sort_merge(p);
		return 1;
	}
	if (s->width < s->n) {
		uint32_t *t = s->order;

		s->order = s->spare;
		s->spare = t;
		s->width *= 2;
		s->at = 0;
		return 1;
	}
	/* One run is left: merged with nothing in the last pass, so spare holds it as well. */
	s->done = true;
	return 0;
}
