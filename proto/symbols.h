/* symbols.h - names of functions from the objects' own symbol tables.
 *
 * Flat sorted tables, one per module of weft_read_modules(), built from .symtab and .dynsym of the file
 * that is mapped (through the descriptor in struct weft_module, so a replaced or deleted file still
 * resolves).  Published whole and never freed, so look-ups take no lock and are async-signal-safe.
 * Where there is no symbol: module+0xoffset, folded by the function's start in the unwind tables. */
#ifndef WEFT_PROTO_SYMBOLS_H
#define WEFT_PROTO_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Read tables of modules that have none yet.  Slow (milliseconds a module): on the pool or the loader
 * thread; callers wait for each other.  Nothing to do: nanoseconds.  0, or -ENOMEM. */
int symbols_update(void);

struct symbol {
	const char *name;                 /* never NULL; lives as long as the process */
	uint64_t start;                   /* run-time address of the function, 0: unknown */
	bool exact;                       /* from a symbol table, not made up */
	bool internal;                    /* the runtime's own inside, not a weft_* function: hidden in texts */
	const struct weft_module *module; /* or NULL */
};
/* pc: a call address (return address - 1).  Names made up for unknown functions are interned.
 * Not signal-safe (may allocate).  Any thread. */
struct symbol symbols_at(uint64_t pc);
/* Async-signal-safe form for dumps: writes "name+0x12" (or "module+0x34"), returns the length. */
size_t symbols_name(uintptr_t pc, char *buf, size_t cap);

#endif
