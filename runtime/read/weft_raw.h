/* weft_raw.h - what a fatal signal writes of the recorder, for another process to make a trace of.
 *
 * WEFT_RAW_MAGIC, then sections, each a struct weft_raw_section and so many bytes; the last one, the text of the dump,
 * reaches to the end of the file.  A file may end anywhere: the process was dying.  Byte order and sizes are those of
 * the machine. */
#ifndef WEFT_READ_RAW_H
#define WEFT_READ_RAW_H

#include "weft_read.h"

#define WEFT_RAW_MAGIC "weft raw 2\n\0\0\0\0" /* 16 bytes; the number is that of the form */

enum weft_raw_kind {
	WEFT_RAW_HEAD = 1,  /* struct weft_raw_head */
	WEFT_RAW_MODULE,    /* struct weft_raw_module */
	WEFT_RAW_GOROUTINE, /* struct weft_raw_goroutine, cut behind its frames */
	WEFT_RAW_THREADS,   /* struct weft_sched_m[] */
	WEFT_RAW_STACK,     /* struct weft_raw_stack, likewise */
	WEFT_RAW_CHUNK,     /* struct weft_raw_chunk, then its records as they are in memory */
	WEFT_RAW_END,       /* the time up to which records are missing, ns */
	WEFT_RAW_TEXT,
	WEFT_RAW_NAME,   /* struct weft_raw_name */
	WEFT_RAW_LABELS, /* struct weft_raw_labels, cut behind its labels */
};
struct weft_raw_section {
	uint32_t kind, reserved;
	uint64_t bytes;
};

struct weft_raw_head {
	int64_t now, real; /* of the signal: CLOCK_MONOTONIC, CLOCK_REALTIME */
	int64_t lost;
	/* The scale of the records' times: ns + (t - tsc) * mult / 2^32 */
	uint64_t tsc;
	int64_t ns;
	uint64_t mult;
	uint64_t runtime, runtime_end; /* where the runtime's own code is */
	int32_t pid, signo;
	int32_t maxprocs, n_ps;
	uint8_t p_status[256]; /* enum weft_p_status */
	char what[256];
};
struct weft_raw_module {
	uint64_t bias, start, limit, offset;
	uint8_t build_id[WEFT_BUILD_ID_MAX];
	uint8_t build_id_len, plugin, program, reserved[5];
	char path[1024];
};
struct weft_raw_goroutine {
	uint64_t id, start;
	int64_t since;
	uint32_t instance, status, flags;
	int32_t tid, depth, reserved;
	uint64_t label_slot; /* of weft_read_labels() */
	uint32_t label_generation, reserved2;
	uint64_t pc[WEFT_STACK_MAX];
};
struct weft_raw_stack {
	uint32_t id, depth;
	uint64_t pc[WEFT_STACK_MAX];
};
struct weft_raw_chunk {
	uint64_t first_index;
	int32_t tid;
	uint32_t n; /* records of 32 bytes */
};
/* What weft_read_trace_name() and weft_read_labels() know. */
struct weft_raw_name {
	uint32_t number, reserved;
	char text[64];
};
struct weft_raw_labels {
	uint64_t slot;
	uint32_t generation, n;
	struct {
		char key[64], value[128];
	} l[WEFT_LABELS_MAX];
};

#endif
