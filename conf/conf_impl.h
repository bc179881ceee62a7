/* conf_impl.h - what the files of conf/ share; nobody outside includes it (tests/unit/test_conf.c may).
 *
 * A loaded file is a tree of struct conf_node.  Every node knows its line, its parent and its key, so that
 * any message can name FILE:LINE: JSON.path.  Nodes, lists and strings belong to struct conf_impl and are
 * freed together with it; struct conf points into them.
 *
 * Constant once loaded, except the `asked` marks, which conf_get_*() sets: whoever reads an instance's
 * object does so from one thread (or goroutine) at a time. */
#ifndef WEFT_CONF_IMPL_H
#define WEFT_CONF_IMPL_H

#include "conf.h"

#include <jansson.h>
#include <stdarg.h>

#define CONF_PRINTF(f, a) __attribute__((format(printf, f, a)))

enum {
	CONF_FILE_MAX = 1 << 20, /* bytes */
	CONF_DEPTH_MAX = 32,     /* objects and lists inside each other */
	CONF_PATH_MAX = 320,     /* a JSON path in a message, longer ones are cut */
	CONF_LIST_MAX = 64,      /* strings in a list */
};

enum conf_kind { CONF_NULL, CONF_BOOL, CONF_INT, CONF_REAL, CONF_STRING, CONF_LIST, CONF_OBJECT };

struct conf_node {
	struct conf_impl *impl;
	struct conf_node *parent, *first, *next; /* members and items stand in the order of the file */
	struct conf_node *all;                   /* every node of impl */
	json_t *json;                            /* the value of a scalar */
	json_t *key_json;
	const char *key; /* NULL: the top, or an item of a list */
	size_t index;    /* of an item */
	size_t n;        /* members or items */
	int line, key_line;
	enum conf_kind kind;
	bool asked; /* some conf_get_*() wanted it */
};

struct conf_impl {
	char *file; /* as the caller named it */
	struct conf_node *root, *all;
	struct conf_block *blocks;
};

/* --- node.c: memory and messages --- */

struct conf_impl *conf_impl_new(const char *file); /* NULL: no memory */
void conf_impl_free(struct conf_impl *impl);
void *conf_alloc(struct conf_impl *impl, size_t size); /* zeroed; NULL: no memory */
/* The last child of parent (NULL: a top), which it is appended to after `prev`. */
struct conf_node *conf_node_new(struct conf_impl *impl, struct conf_node *parent, struct conf_node *prev);
const struct conf_node *conf_node_member(const struct conf_node *object, const char *key);
bool conf_node_equal(const struct conf_node *a, const struct conf_node *b); /* scalars only */

/* Text that is cut, never overrun; always terminated, never in the middle of a UTF-8 sequence. */
struct conf_text {
	char *s;
	size_t cap, len;
};
void conf_text_add(struct conf_text *t, const char *fmt, ...) CONF_PRINTF(2, 3);
/* In double quotes, control characters and bytes that aren't UTF-8 escaped, cut after max bytes. */
void conf_text_quote(struct conf_text *t, const char *s, size_t len, size_t max);
void conf_text_path(struct conf_text *t, const struct conf_node *n);  /* "instances[0].config.limit" */
void conf_text_value(struct conf_text *t, const struct conf_node *n); /* `the number 12`, `a list`, ... */

/* FILE:LINE: PATH: text.  Returns -EINVAL. */
int conf_fail(struct conf_error *err, const struct conf_node *n, const char *fmt, ...) CONF_PRINTF(3, 4);
int conf_fail_at(struct conf_error *err, const struct conf_node *n, int line, const char *fmt, ...) CONF_PRINTF(4, 5);
int conf_fail_memory(struct conf_error *err, const char *file); /* -ENOMEM */

/* --- parse.c --- */

/* JSON text to nodes of impl.  0, -EINVAL, -ENOMEM. */
int conf_parse_json(struct conf_impl *impl, const char *text, size_t len, struct conf_node **out,
		    struct conf_error *err);

/* --- units.c --- */

int conf_parse_size(const char *text, int64_t *out_bytes); /* "64KiB", "16MiB", "1.5GiB"; 0 or -EINVAL */
/* The shortest text that parses to the same: "90s", "1h", "1500ms"; "16MiB".  buf of 32. */
void conf_format_dur(int64_t ns, char *buf);
void conf_format_size(int64_t bytes, char *buf);

/* --- schema.c --- */

enum conf_type {
	CONF_T_BOOL,
	CONF_T_INT,
	CONF_T_DUR,
	CONF_T_SIZE,
	CONF_T_STRING,
	CONF_T_WORD,   /* one of words; const char * */
	CONF_T_SWITCH, /* one of two words; bool, the second is true */
	CONF_T_STRINGS,
	CONF_T_FREE,      /* an object whose keys are somebody else's */
	CONF_T_INSTANCES, /* a list of objects with rows of their own, below path "[]." */
	CONF_T_RESERVED,  /* an object that has no keys in this version */
};

struct conf_row {
	const char *path; /* rows of one object stand together */
	enum conf_type type;
	const char *unit;
	int64_t min, max;         /* INT: itself, DUR: ns, SIZE: bytes, STRING, STRINGS: bytes of a string */
	const char *zero;         /* a word or "0" that stands for the value 0, outside the range; or NULL */
	const char *const *words; /* WORD, SWITCH: ends with NULL */
	const char *form;         /* STRING, STRINGS: how one must look, in words */
	/* NULL: the string is good, else what is wrong with it */
	const char *(*check)(const char *s);
	const char *def;  /* JSON; NULL: must be given */
	const char *have; /* JSON: the only value this version can keep; NULL: all */
	size_t off;       /* in struct conf, or in struct conf_instance */
	bool live;        /* a reload may change it */
	const char *help; /* whole sentences */
};

extern const struct conf_row conf_schema[];
extern const size_t conf_schema_n;

/* An object of the schema: the first len bytes of path, e.g. "http." of "http.listen"; len 0: the top. */
struct conf_scope {
	const char *path;
	size_t len;
};
/* The row of `key` in the scope: of the key itself or, when it is an object, the first row below; *out_len
 * gets the length of the path up to and with the key.  NULL: no such key. */
const struct conf_row *conf_schema_find(struct conf_scope scope, const char *key, size_t *out_len);
/* Is it the first row of its key in the scope?  *name, *name_len: the key. */
bool conf_schema_first(struct conf_scope scope, const struct conf_row *row, const char **name, size_t *name_len);
/* "; allowed here: ..." with "did you mean" for a key that the scope lacks. */
void conf_schema_suggest(struct conf_scope scope, const char *key, struct conf_text *to);
/* May null stand for "not given"? */
bool conf_row_nullable(const struct conf_row *row);
/* What the row allows, in words. */
void conf_schema_allowed(const struct conf_row *row, struct conf_text *to);

/* --- suggest.c --- */

/* Edits between two names: insert, delete, change, swap; case doesn't count. */
unsigned conf_distance(const char *a, const char *b);
/* May `have` be a slip for `want`? */
bool conf_similar(const char *have, const char *want);

/* --- check.c: what a string must look like; NULL, or what is wrong with it --- */

const char *conf_check_listen(const char *s);
const char *conf_check_host(const char *s);
const char *conf_check_name(const char *s);
/* A listen entry that is an IP address outside this machine. */
bool conf_listen_is_remote(const char *s);

#endif
