/* pprof_check.c - see pprof_check.h. */
#include "pprof_check.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

/* --- reading ----------------------------------------------------------------------------------- */

static bool broken(struct pprof_doc *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->err, sizeof d->err, fmt, ap);
	va_end(ap);
	return false;
}

static bool unzip(struct pprof_doc *d, const void *gz, size_t len)
{
	z_stream z = { .next_in = (unsigned char *)(uintptr_t)gz, .avail_in = (unsigned)len };
	size_t cap = 0;
	int rc = inflateInit2(&z, 15 + 16);

	while (rc == Z_OK) {
		cap = cap ? cap * 2 : 4096;
		d->raw = realloc(d->raw, cap);
		z.next_out = d->raw + d->raw_len;
		z.avail_out = (unsigned)(cap - d->raw_len);
		rc = inflate(&z, Z_NO_FLUSH);
		d->raw_len = cap - z.avail_out;
	}
	inflateEnd(&z);
	if (rc != Z_STREAM_END)
		return broken(d, "not gzip: %d", rc);
	return z.avail_in == 0 || broken(d, "%u bytes behind the gzip stream", z.avail_in);
}

/* By the definition: no overlong forms, no surrogates, nothing above 10ffff. */
static bool is_utf8(const char *s)
{
	const unsigned char *u = (const unsigned char *)s;

	while (*u) {
		if (*u < 0x80) {
			u += 1;
		} else if (*u >= 0xc2 && *u <= 0xdf && (u[1] & 0xc0) == 0x80) {
			u += 2;
		} else if ((*u & 0xf0) == 0xe0 && (u[1] & 0xc0) == 0x80 && (u[2] & 0xc0) == 0x80 &&
			   !(*u == 0xe0 && u[1] < 0xa0) && !(*u == 0xed && u[1] > 0x9f)) {
			u += 3;
		} else if (*u >= 0xf0 && *u <= 0xf4 && (u[1] & 0xc0) == 0x80 && (u[2] & 0xc0) == 0x80 &&
			   (u[3] & 0xc0) == 0x80 && !(*u == 0xf0 && u[1] < 0x90) && !(*u == 0xf4 && u[1] > 0x8f)) {
			u += 4;
		} else {
			return false;
		}
	}
	return true;
}

/* --- rules --------------------------------------------------------------------------------------- */

static bool string_ok(struct pprof_doc *d, const char *what, int64_t i)
{
	return (i >= 0 && (size_t)i < d->msg->n_string_table) || broken(d, "%s: string %lld", what, (long long)i);
}

static bool check_strings(struct pprof_doc *d)
{
	if (d->msg->n_string_table == 0 || *d->msg->string_table[0])
		return broken(d, "string 0 is not empty");
	for (size_t i = 0; i < d->msg->n_string_table; i++)
		if (!is_utf8(d->msg->string_table[i]))
			return broken(d, "string %zu is not UTF-8", i);
	return true;
}

static bool check_type(struct pprof_doc *d, const char *what, const Perftools__Profiles__ValueType *t)
{
	if (!t)
		return broken(d, "%s is missing", what);
	if (!string_ok(d, what, t->type) || !string_ok(d, what, t->unit))
		return false;
	if (t->type == 0 || t->unit == 0 || strchr(d->msg->string_table[t->type], '-'))
		return broken(d, "%s: bad name", what);
	return true;
}

static bool check_head(struct pprof_doc *d)
{
	bool found = d->msg->default_sample_type == 0;

	if (d->msg->n_sample_type == 0)
		return broken(d, "no sample type");
	for (size_t i = 0; i < d->msg->n_sample_type; i++) {
		if (!check_type(d, "sample type", d->msg->sample_type[i]))
			return false;
		found = found || d->msg->sample_type[i]->type == d->msg->default_sample_type;
	}
	for (size_t i = 0; i < d->msg->n_comment; i++)
		if (!string_ok(d, "comment", d->msg->comment[i]))
			return false;
	return check_type(d, "period type", d->msg->period_type) &&
	       (found || broken(d, "the default sample type is none of the types"));
}

static bool check_sample(struct pprof_doc *d, const Perftools__Profiles__Sample *s)
{
	if (s->n_value != d->msg->n_sample_type)
		return broken(d, "a sample has %zu values", s->n_value);
	if (s->n_location_id == 0)
		return broken(d, "a sample has no frames");
	for (size_t i = 0; i < s->n_location_id; i++)
		if (s->location_id[i] == 0 || s->location_id[i] > d->msg->n_location)
			return broken(d, "a sample names location %llu", (unsigned long long)s->location_id[i]);
	for (size_t i = 0; i < s->n_label; i++) {
		if (!string_ok(d, "label", s->label[i]->key) || !string_ok(d, "label", s->label[i]->str))
			return false;
		if (s->label[i]->key == 0)
			return broken(d, "a label without a key");
		for (size_t j = 0; j < i; j++)
			if (s->label[j]->key == s->label[i]->key)
				return broken(d, "a label twice");
	}
	return true;
}

static bool check_mapping(struct pprof_doc *d, size_t i)
{
	const Perftools__Profiles__Mapping *m = d->msg->mapping[i];

	if (m->id != i + 1)
		return broken(d, "mapping %zu has id %llu", i + 1, (unsigned long long)m->id);
	if (m->memory_start >= m->memory_limit)
		return broken(d, "mapping %zu is empty", i + 1);
	return string_ok(d, "file of a mapping", m->filename) && string_ok(d, "build id", m->build_id);
}

static bool check_location(struct pprof_doc *d, size_t i)
{
	const Perftools__Profiles__Location *l = d->msg->location[i];
	const Perftools__Profiles__Mapping *m;

	if (l->id != i + 1 || l->mapping_id > d->msg->n_mapping)
		return broken(d, "location %zu: id %llu, mapping %llu", i + 1, (unsigned long long)l->id,
			      (unsigned long long)l->mapping_id);
	m = l->mapping_id ? d->msg->mapping[l->mapping_id - 1] : NULL;
	if (m && (l->address < m->memory_start || l->address >= m->memory_limit))
		return broken(d, "location %zu lies outside its mapping", i + 1);
	if (m && m->has_functions && l->n_line == 0)
		return broken(d, "location %zu has no function but its mapping says so", i + 1);
	for (size_t k = 0; k < l->n_line; k++)
		if (l->line[k]->function_id == 0 || l->line[k]->function_id > d->msg->n_function)
			return broken(d, "location %zu names a function that is not there", i + 1);
	for (size_t k = 0; k < i; k++)
		if (d->msg->location[k]->address == l->address)
			return broken(d, "location %zu repeats an address", i + 1);
	return true;
}

/* A mapping's flag is a promise about each of its locations. */
static bool check_flags(struct pprof_doc *d, size_t i)
{
	const Perftools__Profiles__Location *l = d->msg->location[i];
	const Perftools__Profiles__Mapping *m = l->mapping_id ? d->msg->mapping[l->mapping_id - 1] : NULL;

	for (size_t k = 0; m && k < l->n_line; k++) {
		const Perftools__Profiles__Line *line = l->line[k];

		if (m->has_filenames && !d->msg->function[line->function_id - 1]->filename)
			return broken(d, "location %zu has no file but its mapping says so", i + 1);
		if (m->has_line_numbers && !line->line)
			return broken(d, "location %zu has no line but its mapping says so", i + 1);
	}
	return true;
}

static bool check_function(struct pprof_doc *d, size_t i)
{
	const Perftools__Profiles__Function *f = d->msg->function[i];

	if (f->id != i + 1 || f->name == 0)
		return broken(d, "function %zu: id %llu, name %lld", i + 1, (unsigned long long)f->id,
			      (long long)f->name);
	return string_ok(d, "function", f->name) && string_ok(d, "function", f->system_name) &&
	       string_ok(d, "file of a function", f->filename);
}

static bool check(struct pprof_doc *d)
{
	bool ok = check_strings(d) && check_head(d);

	for (size_t i = 0; ok && i < d->msg->n_mapping; i++)
		ok = check_mapping(d, i);
	for (size_t i = 0; ok && i < d->msg->n_function; i++)
		ok = check_function(d, i);
	for (size_t i = 0; ok && i < d->msg->n_location; i++)
		ok = check_location(d, i) && check_flags(d, i);
	for (size_t i = 0; ok && i < d->msg->n_sample; i++)
		ok = check_sample(d, d->msg->sample[i]);
	return ok;
}

int pprof_doc_open(struct pprof_doc *d, const void *gz, size_t len)
{
	memset(d, 0, sizeof *d);
	if (!unzip(d, gz, len))
		return -1;
	d->msg = perftools__profiles__profile__unpack(NULL, d->raw_len, d->raw);
	if (!d->msg) {
		broken(d, "not a profile");
		return -1;
	}
	return check(d) ? 0 : -1;
}

void pprof_doc_close(struct pprof_doc *d)
{
	if (d->msg)
		perftools__profiles__profile__free_unpacked(d->msg, NULL);
	free(d->raw);
}

/* --- what receivers of uploads demand -------------------------------------------------------------------- */

#define UPLOAD_BYTES (4u << 20)
#define UPLOAD_SAMPLES 16000
#define UPLOAD_LABELS 100
#define UPLOAD_DEPTH 1000
#define UPLOAD_STRING (64u << 10)
#define MINUTE 60000000000LL

/* [a-zA-Z_][a-zA-Z0-9_]*, or Parca renames it. */
static bool is_label_name(const char *s)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";

	return *s && strchr(letters, *s) &&
	       s[strspn(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")] == 0;
}

static bool check_limits(struct pprof_doc *d, int64_t now)
{
	const Perftools__Profiles__Profile *p = d->msg;

	if (p->time_nanos < now - 60 * MINUTE || p->time_nanos > now + 10 * MINUTE)
		return broken(d, "its time is %lld s from now", (long long)((p->time_nanos - now) / 1000000000));
	if (p->duration_nanos < 0)
		return broken(d, "its duration is negative");
	if (d->raw_len > UPLOAD_BYTES)
		return broken(d, "%zu bytes", d->raw_len);
	if (p->n_sample > UPLOAD_SAMPLES)
		return broken(d, "%zu samples", p->n_sample);
	for (size_t i = 0; i < p->n_string_table; i++)
		if (strlen(p->string_table[i]) > UPLOAD_STRING)
			return broken(d, "string %zu is too long", i);
	/* One of these is taken for a list with an entry per mapping. */
	for (size_t i = 0; i < p->n_comment; i++)
		if (strncmp(p->string_table[p->comment[i]], "executableInfo=", 15) == 0)
			return broken(d, "comment %zu begins with executableInfo=", i);
	return true;
}

static bool check_upload_sample(struct pprof_doc *d, const Perftools__Profiles__Sample *s)
{
	if (s->n_location_id > UPLOAD_DEPTH)
		return broken(d, "a sample has %zu frames", s->n_location_id);
	if (s->n_label > UPLOAD_LABELS)
		return broken(d, "a sample has %zu labels", s->n_label);
	for (size_t i = 0; i < s->n_label; i++)
		if (!is_label_name(d->msg->string_table[s->label[i]->key]))
			return broken(d, "label name \"%.100s\"", d->msg->string_table[s->label[i]->key]);
	return true;
}

int pprof_doc_uploadable(struct pprof_doc *d, int64_t now)
{
	bool ok = check_limits(d, now);

	for (size_t i = 0; ok && i < d->msg->n_sample; i++)
		ok = check_upload_sample(d, d->msg->sample[i]);
	return ok ? 0 : -1;
}

/* --- looking ----------------------------------------------------------------------------------------- */

const char *pprof_doc_string(const struct pprof_doc *d, int64_t i)
{
	return d->msg->string_table[i];
}

int64_t pprof_doc_total(const struct pprof_doc *d, size_t value)
{
	int64_t sum = 0;

	for (size_t i = 0; i < d->msg->n_sample; i++)
		sum += d->msg->sample[i]->value[value];
	return sum;
}

const char *pprof_doc_stack(const struct pprof_doc *d, size_t sample, char *out, size_t cap)
{
	const Perftools__Profiles__Sample *s = d->msg->sample[sample];
	size_t n = 0;

	out[0] = 0;
	for (size_t i = 0; i < s->n_location_id && n < cap; i++) {
		const Perftools__Profiles__Location *l = d->msg->location[s->location_id[i] - 1];
		const char *name = "?";

		if (l->n_line)
			name = pprof_doc_string(d, d->msg->function[l->line[0]->function_id - 1]->name);
		n += (size_t)snprintf(out + n, cap - n, "%s%s", i ? ";" : "", name);
	}
	return out;
}

const char *pprof_doc_label(const struct pprof_doc *d, size_t sample, const char *key)
{
	const Perftools__Profiles__Sample *s = d->msg->sample[sample];

	for (size_t i = 0; i < s->n_label; i++)
		if (strcmp(pprof_doc_string(d, s->label[i]->key), key) == 0)
			return pprof_doc_string(d, s->label[i]->str);
	return NULL;
}

/* --- the real tool -------------------------------------------------------------------------------------- */

static char *output_of(const char *command)
{
	FILE *f = popen(command, "r");
	size_t n = 0, cap = 1 << 16;
	char *out = malloc(cap);

	for (;;) {
		size_t got = fread(out + n, 1, cap - n - 1, f);

		if (got == 0)
			break;
		n += got;
		if (cap - n < 4096)
			out = realloc(out, cap *= 2);
	}
	out[n] = 0;
	pclose(f);
	return out;
}

char *go_pprof_raw(const void *profile, size_t len)
{
	const char *dir = getenv("TMPDIR");
	char path[300], command[400];
	char *out;
	int fd;

	if (system("command -v go >/dev/null 2>&1") != 0)
		return NULL;
	snprintf(path, sizeof path, "%s/weft-profile-XXXXXX", dir && *dir ? dir : P_tmpdir);
	fd = mkstemp(path);
	if (fd < 0 || write(fd, profile, len) != (ssize_t)len) {
		perror(path);
		abort();
	}
	close(fd);
	snprintf(command, sizeof command, "go tool pprof -symbolize=none -raw '%s' 2>&1", path);
	out = output_of(command);
	unlink(path);
	return out;
}

int64_t go_pprof_total(const char *raw, int column)
{
	const char *line = strstr(raw, "\nSamples:\n");
	int64_t sum = 0;

	if (!line)
		return -1;
	line = strchr(line + 10, '\n'); /* the line of types */
	for (; line && strncmp(line + 1, "Locations", 9) != 0; line = strchr(line + 1, '\n')) {
		const char *p = line + 1, *colon = strpbrk(p, ":\n");
		int64_t v = 0;
		char *end;

		if (!colon || *colon != ':' || strspn(p, " -0123456789") != (size_t)(colon - p))
			continue; /* a line of labels */
		for (int i = 0; i <= column; i++, p = end)
			v = strtoll(p, &end, 10);
		sum += v;
	}
	return sum;
}
