/* unwind_cursor.c - reading unwind information with bounds: numbers of DWARF's forms and encoded pointers.
 *
 * A cursor that has been asked for more than there is goes bad, stays so, and gives zeros, so that callers
 * check once per entry.  Loader thread only. */
#include <string.h>

#include "unwind_table.h"

/* Pointer encodings, DW_EH_PE_* */
enum { PE_ABS = 0, PE_ULEB, PE_U2, PE_U4, PE_U8, PE_SLEB = 9, PE_S2, PE_S4, PE_S8, PE_FORMAT = 0x0f };
enum { PE_PCREL = 0x10, PE_DATAREL = 0x30, PE_BASE = 0x70, PE_INDIRECT = 0x80, PE_OMIT = 0xff };

uint64_t rt_cur_uint(struct rt_cursor *c, int bytes)
{
	uint64_t v = 0;

	if (c->bad || c->end - c->p < bytes) {
		c->bad = true;
		return 0;
	}
	memcpy(&v, c->p, (size_t)bytes);
	c->p += bytes;
	return v;
}

uint64_t rt_cur_uleb(struct rt_cursor *c)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint64_t b = rt_cur_uint(c, 1);

		if (shift < 64)
			v |= (b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
	c->bad = true;
	return 0;
}

int64_t rt_cur_sleb(struct rt_cursor *c)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70;) {
		uint64_t b = rt_cur_uint(c, 1);

		if (shift < 64)
			v |= (b & 0x7f) << shift;
		shift += 7;
		if (b & 0x80)
			continue;
		if (shift < 64 && (b & 0x40))
			v |= ~UINT64_C(0) << shift;
		return (int64_t)v;
	}
	c->bad = true;
	return 0;
}

void rt_cur_skip(struct rt_cursor *c, uint64_t n)
{
	if (c->bad || (uint64_t)(c->end - c->p) < n)
		c->bad = true;
	else
		c->p += n;
}

static uint64_t sign_extend(uint64_t v, int bytes)
{
	int shift = 64 - 8 * bytes;

	return (uint64_t)((int64_t)(v << shift) >> shift);
}

static uint64_t plain_pointer(struct rt_cursor *c, uint8_t format)
{
	switch (format) {
	case PE_ABS:
	case PE_U8:
	case PE_S8:
		return rt_cur_uint(c, 8);
	case PE_U2:
		return rt_cur_uint(c, 2);
	case PE_U4:
		return rt_cur_uint(c, 4);
	case PE_S2:
		return sign_extend(rt_cur_uint(c, 2), 2);
	case PE_S4:
		return sign_extend(rt_cur_uint(c, 4), 4);
	case PE_ULEB:
		return rt_cur_uleb(c);
	case PE_SLEB:
		return (uint64_t)rt_cur_sleb(c);
	default:
		c->bad = true;
		return 0;
	}
}

uint64_t rt_cur_pointer(struct rt_cursor *c, uint8_t encoding, uintptr_t data)
{
	uintptr_t at = (uintptr_t)c->p;
	uint64_t v;

	if (encoding == PE_OMIT)
		return 0;
	v = plain_pointer(c, encoding & PE_FORMAT);
	switch (encoding & PE_BASE) {
	case 0:
		return v;
	case PE_PCREL:
		return at + v;
	case PE_DATAREL:
		return data + v;
	default:
		c->bad = true;
		return 0;
	}
}
