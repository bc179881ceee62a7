/* dwunit.h - the functions of one compilation unit by address, with what was inlined into them.
 *
 * libdw can say this, too, but walks the whole unit for each address; here it is walked once, in steps.
 * Not thread-safe: a unit belongs to its struct debug.  Addresses are those of the ELF file. */
#ifndef WEFT_PROTO_DWUNIT_H
#define WEFT_PROTO_DWUNIT_H

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stdint.h>

#include "debuginfo.h"

struct unit;
struct unit *unit_new(const Dwarf_Die *cu); /* NULL: no memory */
void unit_free(struct unit *u);
/* What stands at addr, which the unit's ranges hold.  1: not finished at `until`, call again; 0; -ENOMEM. */
int unit_at(struct unit *u, uint64_t addr, int64_t until, struct debug_frames *out);

#endif
