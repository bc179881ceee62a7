/* flight_dir.h - the folder in which the flight recorder keeps its snapshots.
 *
 * A snapshot is flight-TIME-REASON.trace and flight-TIME-REASON.txt, the goroutines of that time below a line that says
 * why; names sort by time.  What a fatal signal left is flight-TIME-REASON.raw until it is converted.  Files are
 * written under names that begin with a dot, locked with flock(), and renamed when they are whole: so whatever has
 * such a name and no lock was left behind.
 *
 * The folder is the only state: several may read it, one process writes and deletes.  Every call waits for the disk. */
#ifndef WEFT_HTTP_FLIGHT_DIR_H
#define WEFT_HTTP_FLIGHT_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLIGHT_NAME 64 /* bytes of a name without its ending, and of a file's */
#define FLIGHT_REASON 24

struct flight_snapshot {
	char name[FLIGHT_NAME]; /* without an ending */
	char reason[FLIGHT_REASON];
	char what[256];                              /* the first line of the dump, without the reason */
	uint64_t trace_bytes, dump_bytes, raw_bytes; /* 0: there is none */
};

/* reason: letters and dashes. */
void flight_name(char out[FLIGHT_NAME], int64_t real_ns, const char *reason);
/* Is it the name of a file of a snapshot, and nothing else (a path, say)? */
bool flight_is_file(const char *name);
/* Those that are there, newest first; how many, or -Exxx.  *out is the caller's to free. */
int flight_list(const char *dir, struct flight_snapshot **out);
/* Fill `what` in. */
void flight_describe(const char *dir, struct flight_snapshot *s);
/* Delete the oldest ones beyond these limits, but never the newest.  0 or -Exxx. */
int flight_prune(const char *dir, size_t keep, uint64_t max_bytes);
/* For reading: a descriptor, or -Exxx; what is no such file is -ENOENT. */
int flight_open(const char *dir, const char *file);
/* A new file under a name of its own, locked: a descriptor, or -Exxx. */
int flight_create(const char *dir, const char *temporary);
/* Give a whole file its name. */
int flight_publish(const char *dir, const char *temporary, const char *file);
/* Delete what processes that are gone have left unfinished. */
void flight_sweep(const char *dir);

#endif
