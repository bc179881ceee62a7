/* out.h - text to a descriptor from places where nothing may be called: signal handlers, broken heaps. */
#ifndef WEFT_RT_OUT_H
#define WEFT_RT_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rt_out_kind { RT_OUT_PLAIN, RT_OUT_PIPE, RT_OUT_SOCKET };

struct rt_out {
	int fd, opened; /* opened: a descriptor of our own on the same pipe, or -1 */
	enum rt_out_kind kind;
	int64_t patience; /* ns that may still be spent waiting for the reader */
	bool dead;        /* the reader is gone, or patience is */
	size_t n;
	char buf[1024];
};

/* All of it is sig. */
void rt_out_begin(struct rt_out *o, int fd, int64_t patience);
void rt_out_end(struct rt_out *o); /* writes what is left */
void rt_out_flush(struct rt_out *o);
void rt_out_str(struct rt_out *o, const char *s);
void rt_out_strn(struct rt_out *o, const char *s, size_t n);
void rt_out_u64(struct rt_out *o, uint64_t v);
void rt_out_hex(struct rt_out *o, uint64_t v); /* 0x1f */

#endif
