/* utf8.h - readers of every format here refuse text that is not UTF-8; names and labels come from
 * plugins and may be anything. */
#ifndef WEFT_PROTO_UTF8_H
#define WEFT_PROTO_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length of the valid sequence at s (at most n bytes), or 0; *rune is set when it is not 0. */
size_t utf8_next(const char *s, size_t n, uint32_t *rune);
/* Overwrite the bytes of invalid sequences with ?; the second one ASCII control characters too. */
void utf8_clean(char *s, size_t n);
void utf8_clean_controls(char *s, size_t n);
/* Append s the way Go's %q prints it. */
struct buf;
void utf8_quote(struct buf *out, const char *s);

#endif
