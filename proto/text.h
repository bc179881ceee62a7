/* text.h - the text forms of a profile: debug=1 (count records) and debug=2 (goroutine dump).
 *
 * Grammar: as Go's runtime/pprof writes and pprof reads back; addresses in the first line of a record
 * are return addresses, those in # lines are call addresses; a "--- Memory map: ---" tail lets pprof
 * name them offline. */
#ifndef WEFT_PROTO_TEXT_H
#define WEFT_PROTO_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "pprof.h"
#include "weft_read.h"

/* A growing byte string.  After a failed allocation `failed` is set and everything is a no-op. */
struct buf {
	char *b;
	size_t len, cap;
	int failed;
};
void buf_free(struct buf *b);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, const char *s);
void buf_fmt(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* To a descriptor, all of it, and empty it.  0, -ENOMEM, or what write(2) failed with. */
int buf_write(struct buf *b, int fd);
void buf_html(struct buf *b, const char *s); /* as text of HTML */
void buf_json(struct buf *b, const char *s); /* as a JSON string; bytes that are no UTF-8 become ? */
void buf_json_n(struct buf *b, const char *s, size_t n);

/* debug=1: head, records in the order of the profile's spec, memory map. */
enum text_form {
	TEXT_COUNT,      /* "<name> profile: total <N>"; one value */
	TEXT_CONTENTION, /* "--- <name>:"; values: events, ns */
	TEXT_FOLDED,     /* "root;caller;leaf <first value>" and nothing else: for flame graphs */
	TEXT_HEAP,       /* "heap profile: ..."; values: objects and bytes allocated, in use; not scaled */
};
struct text_head {
	enum text_form form;
	const char *name;    /* "mutex" adds the sampling period that its readers expect */
	int64_t rate;        /* TEXT_HEAP: bytes between samples */
	const char *comment; /* lines that begin with #, or NULL: behind the head, in TEXT_HEAP behind the records */
};
void text_profile(struct buf *out, struct pprof *p, const struct text_head *head);
/* The same in steps for a pool whose tasks may take 50 ms.  1: call again (out may be taken and emptied
 * in between); 0: done; -ENOMEM.  Symbol tables are brought up to date first. */
int text_profile_step(struct buf *out, struct pprof *p, const struct text_head *head, int64_t budget_ns);
/* debug=2: one goroutine and the blank line after it. */
void text_goroutine(struct buf *out, const struct weft_goroutine *g, int64_t now);
/* Find the words for it till about `until` (CLOCK_MONOTONIC ns), which text_goroutine() else does for as
 * long as that takes.  1: call again; 0: they are there. */
int text_goroutine_prepare(const struct weft_goroutine *g, int64_t until);
/* "--- Memory map: ---" and /proc/self/maps */
void text_memory_map(struct buf *out);
/* Answer of /debug/pprof/symbol: "num_symbols: 1" and a line per resolved address of `in`
 * ("0x12+0x34", any C base). */
void text_symbols(struct buf *out, const char *in, size_t len);

#endif
