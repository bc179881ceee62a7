/* probe_scan.h - does a shared object have functions that can step over a guard page?  See probe_scan.c. */
#ifndef WEFT_DAEMON_PROBE_SCAN_H
#define WEFT_DAEMON_PROBE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The guard page below a goroutine's stack: what moves the stack pointer by more in one step can pass it. */
#define PROBE_GUARD 4096

struct probe_found {
	size_t functions;   /* how many do it; 0: none */
	uint64_t frame;     /* bytes, the largest */
	uint64_t address;   /* where that one does it, as the file counts addresses */
	char function[128]; /* and in which function; "" if no symbol says */
};
/* Look through the code of an ELF file.  0; -Exxx when it can't be read, and then *out is untouched.  Any
 * thread that may wait for a disk. */
int probe_scan(const char *path, struct probe_found *out);
/* The same as a sentence about `path` that names function and flag.  1: there is one, 0: all is well. */
int probe_sentence(const char *path, char *out, size_t cap);
/* What loading a plugin asks for: the sentence is a warning in the log and the result 0, or, if probes are
 * required, it is in err and the result -ENOEXEC. */
int probe_check(const char *path, bool require, char *err, size_t cap);

#endif
