/* conf.h - the configuration file as a plain struct.
 *
 * One schema table (schema.c) gives every key its path, type, unit, range, default, whether a reload
 * can change it, and its help; loading, messages, --print-config and the man page come from it.
 * Libraries return, the daemon logs: an error is text in struct conf_error, nothing is printed.
 * Not thread-safe per object; objects are independent. */
#ifndef WEFT_CONF_CONF_H
#define WEFT_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct conf_node; /* a JSON object or value inside a loaded file; lives as long as its struct conf */

struct conf_instance {
	const char *name, *plugin;
	const char *preempt;            /* "handoff", "signal", or NULL: runtime.preempt */
	const char *stack;              /* "64KiB", "256KiB", "1MiB", or NULL: runtime.stack */
	const struct conf_node *config; /* the plugin's own object, or NULL */
	int line;                       /* where it stands in the file */
};

struct conf {
	struct {
		const char **listen; /* "host:port", "[v6]:port", "unix:PATH", "fd:NAME" */
		size_t n_listen;
		const char **allowed_hosts;
		size_t n_allowed_hosts;
		bool allow_remote; /* a non-loopback TCP address is refused without it */
		int64_t max_profile_seconds;
		int64_t max_collections; /* long requests at once */
		struct {
			bool pprof, metrics;
			bool cmdline, symbol, dump, trace; /* of pprof */
		} endpoints;
		bool labels; /* in profiles */
	} http;
	struct {
		int64_t maxprocs;       /* 0: "auto" */
		bool maxprocs_floor;    /* runtime.maxprocs_rounding */
		int64_t max_goroutines; /* 0: "auto" */
		const char *stack;
		const char *preempt;
		int64_t handoff_max;  /* 0: "auto" = 4 x P + 8 */
		int64_t max_threads;  /* 0: "auto" */
		int64_t init_timeout; /* ns */
		bool traceback_full;
		int64_t recorder_memory; /* bytes */
	} runtime;
	struct {
		int64_t cpu_hz;                     /* default of profile?hz= */
		int64_t block_rate, mutex_fraction; /* as weft_host_rate() takes them */
		int64_t heap_rate;                  /* bytes; 0: off */
	} profiles;
	struct {
		const char *path; /* folder, or NULL: beside the binary, then PLUGINDIR */
		int64_t max_builds;
		bool require_probes;
	} plugins;
	struct {
		const char *directory;     /* NULL: $STATE_DIRECTORY */
		int64_t seconds, cooldown; /* ns */
		int64_t max_snapshots, max_bytes;
		struct {
			int64_t runq_wait, block, stall; /* ns; 0: off */
			bool deadlock, fatal;
		} on;
	} flight;
	struct {
		const char *level; /* "error".."debug" */
	} log;
	int64_t shutdown_timeout; /* ns */
	struct conf_instance *instances;
	size_t n_instances;
	struct conf_impl *impl; /* what the strings live in */
};

/* file:line: path: what was wrong; what is allowed (and perhaps: did you mean "x"?) */
struct conf_error {
	char text[1024];
};

/* 0; -ENOENT and other errors of open/read; -EINVAL: err says what. *out is untouched on failure. */
int conf_load(const char *file, struct conf **out, struct conf_error *err);
/* The same from memory; `file` is only named in messages. */
int conf_parse(const char *text, size_t len, const char *file, struct conf **out, struct conf_error *err);
void conf_free(struct conf *c);

/* The effective configuration, every key, as JSON that loads again to the same thing. */
int conf_print(const struct conf *c, FILE *to);
/* One line a key: path, type, default, range, help: the man page's table and --help-config. */
void conf_print_schema_mdoc(FILE *to);

/* What a plugin reads of its own object.  1: found, *out set; 0: absent, *out untouched; -EINVAL: err
 * says what, with the JSON path and line.  node NULL is an empty object. */
int conf_get_int(const struct conf_node *n, const char *key, int64_t min, int64_t max, int64_t *out,
		 struct conf_error *err);
int conf_get_dur(const struct conf_node *n, const char *key, int64_t *out, struct conf_error *err);
int conf_get_bool(const struct conf_node *n, const char *key, bool *out, struct conf_error *err);
int conf_get_str(const struct conf_node *n, const char *key, const char **out, struct conf_error *err);
const struct conf_node *conf_get_sub(const struct conf_node *n, const char *key);
/* Keys of n (and of objects below it that were looked into) that no conf_get_* asked for: calls fn with
 * the JSON path of each. */
void conf_unused(const struct conf_node *n, void (*fn)(void *user, const char *path), void *user);

/* "250ms", "1.5s", "2m", "1h", "500us", "10ns"; 0 or -EINVAL. */
int conf_parse_dur(const char *text, int64_t *out_ns);

#endif
