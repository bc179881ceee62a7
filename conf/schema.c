/* schema.c - the one table of all keys.
 *
 * Loading, messages, --print-config and the table in weftd.json.5 are made from it, so a new key is a field
 * in struct conf and a row here.  Rows of one object stand together; objects have no rows of their own
 * (except reserved ones), they are the dotted prefixes of the paths.  `have` names keys that are reserved
 * for a feature which this version lacks: only the value that is true without it is taken. */
#include "conf_impl.h"

#include <string.h>

#define AT(field) .off = offsetof(struct conf, field)
#define AT_INST(field) .off = offsetof(struct conf_instance, field)

#define MS INT64_C(1000000)
#define HOUR (3600 * 1000 * MS)
#define GIB (INT64_C(1) << 30)

/* A list of strings is a pointer and, right behind it, its length. */
#define LIST_OK(s, f) (offsetof(struct conf, s.n_##f) == offsetof(struct conf, s.f) + sizeof(const char **))
_Static_assert(LIST_OK(http, listen) && LIST_OK(http, allowed_hosts), "set_strings() in load.c writes both");

static const char *const preempt_words[] = { "handoff", "signal", NULL };
static const char *const stack_words[] = { "64KiB", "256KiB", "1MiB", NULL };
static const char *const rounding_words[] = { "ceil", "floor", NULL };
static const char *const traceback_words[] = { "short", "full", NULL };
static const char *const level_words[] = { "error", "warn", "notice", "info", "debug", NULL };

const struct conf_row conf_schema[] = {
	{ .path = "http.listen",
	  .type = CONF_T_STRINGS,
	  .min = 1,
	  .max = 300,
	  .form = "\"HOST:PORT\", \"[IPV6]:PORT\", \"unix:PATH\" or \"fd:NAME\"",
	  .check = conf_check_listen,
	  .def = "[\"127.0.0.1:6060\", \"[::1]:6060\"]",
	  AT(http.listen),
	  .help = "Where the debug server listens. An empty list switches it off. Port 0 takes a free port. fd:NAME is "
		  "a "
		  "socket that the service manager passes under that name." },
	{ .path = "http.allowed_hosts",
	  .type = CONF_T_STRINGS,
	  .min = 1,
	  .max = 253,
	  .form = "a host name without port",
	  .check = conf_check_host,
	  .def = "[]",
	  AT(http.allowed_hosts),
	  .live = true,
	  .help = "Names that a request over TCP may carry in its Host header, besides localhost and addresses. Others "
		  "are "
		  "refused, which keeps web pages from reaching the server through a name of their own." },
	{ .path = "http.allow_remote",
	  .type = CONF_T_BOOL,
	  .def = "false",
	  AT(http.allow_remote),
	  .help = "Whether http.listen may name an address outside this machine. There is no authentication: whoever "
		  "reaches the address can read everything." },
	{ .path = "http.max_profile_seconds",
	  .type = CONF_T_INT,
	  .unit = "seconds",
	  .min = 1,
	  .max = 86400,
	  .def = "3600",
	  AT(http.max_profile_seconds),
	  .live = true,
	  .help = "The longest collection that seconds= may ask for." },
	{ .path = "http.max_collections",
	  .type = CONF_T_INT,
	  .min = 1,
	  .max = 64,
	  .def = "8",
	  AT(http.max_collections),
	  .live = true,
	  .help = "How many collections (profiles, dumps) may run at once. More are refused with status 429." },
	{ .path = "http.endpoints.pprof",
	  .type = CONF_T_BOOL,
	  .def = "true",
	  AT(http.endpoints.pprof),
	  .live = true,
	  .help = "Whether /debug/pprof/ and /debug/weft/ and everything below them is served. What is switched off "
		  "answers with status 403. /healthz, /readyz and /version are always served." },
	{ .path = "http.endpoints.metrics",
	  .type = CONF_T_BOOL,
	  .def = "true",
	  AT(http.endpoints.metrics),
	  .live = true,
	  .help = "Whether /metrics is served." },
	{ .path = "http.endpoints.cmdline",
	  .type = CONF_T_BOOL,
	  .def = "true",
	  AT(http.endpoints.cmdline),
	  .live = true,
	  .help = "Whether /debug/pprof/cmdline is served, for a command line may hold secrets." },
	{ .path = "http.endpoints.symbol",
	  .type = CONF_T_BOOL,
	  .def = "true",
	  AT(http.endpoints.symbol),
	  .live = true,
	  .help = "Whether /debug/pprof/symbol is served, which tells what lies at an address. Profiles carry their "
		  "names, but go tool pprof asks there for those they lack, and gives up when refused." },
	{ .path = "http.endpoints.dump",
	  .type = CONF_T_BOOL,
	  .def = "true",
	  AT(http.endpoints.dump),
	  .live = true,
	  .help = "Whether /debug/pprof/goroutine?debug=2 is served, the dump of each single goroutine." },
	{ .path = "http.endpoints.trace",
	  .type = CONF_T_BOOL,
	  .def = "true",
	  AT(http.endpoints.trace),
	  .live = true,
	  .help = "Whether /debug/pprof/trace, /debug/flight and its snapshots are served, which tell what each "
		  "goroutine did when." },
	{ .path = "http.labels",
	  .type = CONF_T_BOOL,
	  .def = "true",
	  AT(http.labels),
	  .live = true,
	  .help = "Whether profiles carry the labels of goroutines, which may name users or requests. Without them "
		  "only the instance and the thread remain." },
	{ .path = "runtime.maxprocs",
	  .type = CONF_T_INT,
	  .min = 1,
	  .max = 256,
	  .zero = "auto",
	  .def = "\"auto\"",
	  AT(runtime.maxprocs),
	  .live = true,
	  .help = "How many goroutines may run at once. \"auto\" is the number of CPUs that the process may use, and "
		  "no "
		  "more than the tightest CPU quota of its control groups is worth (at least 2); it is looked at anew "
		  "each second. The environment variable WEFT_MAXPROCS overrides it." },
	{ .path = "runtime.maxprocs_rounding",
	  .type = CONF_T_SWITCH,
	  .words = rounding_words,
	  .def = "\"ceil\"",
	  AT(runtime.maxprocs_floor),
	  .help = "What a CPU quota of 2.5 CPUs is worth when runtime.maxprocs is \"auto\": 3 with \"ceil\", 2 with "
		  "\"floor\"." },
	{ .path = "runtime.max_goroutines",
	  .type = CONF_T_INT,
	  .min = 1,
	  .max = 1 << 24,
	  .zero = "auto",
	  .def = "\"auto\"",
	  AT(runtime.max_goroutines),
	  .live = true,
	  .help = "How many goroutines may exist at once. Starting more fails with EAGAIN. \"auto\" is as many as "
		  "80 % of the memory limit pay for, at 4.5 KiB each, 5 KiB with a stack of 256 KiB and 6.5 KiB with "
		  "one of 1 MiB." },
	{ .path = "runtime.stack",
	  .type = CONF_T_WORD,
	  .words = stack_words,
	  .def = "\"64KiB\"",
	  AT(runtime.stack),
	  .help = "The size of a goroutine's stack, 4 KiB of guard included, where the plugin asks for none. Memory is "
		  "used for the pages that were needed, whatever the size. /debug/weft/stacks shows how much is." },
	{ .path = "runtime.preempt",
	  .type = CONF_T_WORD,
	  .words = preempt_words,
	  .def = "\"handoff\"",
	  AT(runtime.preempt),
	  .help = "How a goroutine that never waits is made to share: \"handoff\" lets the others go on elsewhere, "
		  "and interrupts it where too many threads would compute at once; "
		  "\"signal\" interrupts it wherever that is safe (on x86-64 only; elsewhere it is handed off)." },
	{ .path = "runtime.handoff_max",
	  .type = CONF_T_INT,
	  .min = 1,
	  .max = 10000,
	  .zero = "auto",
	  .def = "\"auto\"",
	  AT(runtime.handoff_max),
	  .help = "How many threads may run on without a processor after a hand-off. \"auto\" is 4 for each processor, "
		  "plus 8." },
	{ .path = "runtime.max_threads",
	  .type = CONF_T_INT,
	  .min = 1,
	  .max = 10000,
	  .zero = "auto",
	  .def = "\"auto\"",
	  AT(runtime.max_threads),
	  .help = "How many threads may run goroutines at once, those that wait in system calls included. Beyond it "
		  "goroutines queue. \"auto\" is 10,000." },
	{ .path = "runtime.init_timeout",
	  .type = CONF_T_DUR,
	  .min = MS,
	  .max = HOUR,
	  .def = "\"10s\"",
	  AT(runtime.init_timeout),
	  .live = true,
	  .help = "How long loading a plugin and its init function may take, each. A later one is refused." },
	{ .path = "runtime.traceback",
	  .type = CONF_T_SWITCH,
	  .words = traceback_words,
	  .def = "\"short\"",
	  AT(runtime.traceback_full),
	  .help = "Whether a fatal dump prints every goroutine (\"full\") or at most 10,000 of them, the rest grouped "
		  "by "
		  "stack." },
	{ .path = "runtime.recorder.memory",
	  .type = CONF_T_SIZE,
	  .min = 256 << 10,
	  .max = 64 * GIB,
	  .zero = "0",
	  .def = "\"16MiB\"",
	  AT(runtime.recorder_memory),
	  .help = "Memory of the event recorder that is always on. 0 switches it off." },
	{ .path = "profiles.cpu_hz",
	  .type = CONF_T_INT,
	  .unit = "samples per second of CPU time",
	  .min = 1,
	  .max = 1000,
	  .def = "100",
	  AT(profiles.cpu_hz),
	  .live = true,
	  .help = "The rate of a CPU profile whose request does not name one." },
	{ .path = "profiles.block_rate",
	  .type = CONF_T_INT,
	  .unit = "nanoseconds",
	  .min = 0,
	  .max = 1000000000,
	  .def = "1000000",
	  AT(profiles.block_rate),
	  .live = true,
	  .help = "Which waits the block profile counts: all that take so long, and of shorter ones as many as there "
		  "is "
		  "that much waiting. 1 is all of them, 0 none." },
	{ .path = "profiles.mutex_fraction",
	  .type = CONF_T_INT,
	  .unit = "events",
	  .min = -1,
	  .max = 1000000000,
	  .def = "-1",
	  AT(profiles.mutex_fraction),
	  .live = true,
	  .help = "Of how many unlocks that others had to wait for the mutex profile counts one. -1 is each that cost "
		  "others 1 ms or more and one in 100 of the rest; 1 is all of them, 0 none." },
	{ .path = "profiles.heap_rate",
	  .type = CONF_T_SIZE,
	  .min = 1,
	  .max = 64 * GIB,
	  .zero = "0",
	  .def = "\"512KiB\"",
	  AT(profiles.heap_rate),
	  .live = true,
	  .help = "How many bytes are allocated for one sample of the heap profile, on average. 1 samples every block, "
		  "0 "
		  "none." },
	{ .path = "plugins.path",
	  .type = CONF_T_STRING,
	  .min = 1,
	  .max = 4000,
	  .form = "a folder",
	  .def = "null",
	  AT(plugins.path),
	  .live = true,
	  .help = "Where a plugin without a slash in its name is looked for. null is the folder plugins beside the "
		  "program "
		  "if there is one, else the installed plugin folder." },
	{ .path = "plugins.max_builds",
	  .type = CONF_T_INT,
	  .min = 1,
	  .max = 1024,
	  .def = "16",
	  AT(plugins.max_builds),
	  .live = true,
	  .help = "How many builds of one plugin may stay in memory, since none is ever unloaded." },
	{ .path = "plugins.require_probes",
	  .type = CONF_T_BOOL,
	  .def = "false",
	  AT(plugins.require_probes),
	  .live = true,
	  .help = "Whether a plugin with a function that can step over the guard page below its stack, because it was "
		  "built without -fstack-clash-protection, is refused. If not, loading it logs a warning that names "
		  "the function." },
	{ .path = "flight.directory",
	  .type = CONF_T_STRING,
	  .min = 1,
	  .max = 3000,
	  .form = "a folder",
	  .def = "null",
	  AT(flight.directory),
	  .help = "Where the flight recorder keeps its snapshots; made if it is not there. null is the first folder of "
		  "the environment variable STATE_DIRECTORY, which systemd sets; without one none are kept." },
	{ .path = "flight.seconds",
	  .type = CONF_T_DUR,
	  .min = MS,
	  .max = HOUR,
	  .def = "\"10s\"",
	  AT(flight.seconds),
	  .help = "How much of the past is in a snapshot, if runtime.recorder.memory reaches back that far." },
	{ .path = "flight.cooldown",
	  .type = CONF_T_DUR,
	  .min = 0,
	  .max = 24 * HOUR,
	  .def = "\"1m\"",
	  AT(flight.cooldown),
	  .help = "How long after a snapshot no other is taken, but for SIGUSR2 and fatal signals." },
	{ .path = "flight.max_snapshots",
	  .type = CONF_T_INT,
	  .min = 1,
	  .max = 10000,
	  .def = "20",
	  AT(flight.max_snapshots),
	  .help = "How many snapshots are kept. The oldest goes." },
	{ .path = "flight.max_bytes",
	  .type = CONF_T_SIZE,
	  .min = 256 << 10,
	  .max = 64 * GIB,
	  .zero = "0",
	  .def = "\"256MiB\"",
	  AT(flight.max_bytes),
	  .help = "How much room the snapshots may take. The oldest goes, never the newest. 0 is no limit." },
	{ .path = "flight.on.runq_wait",
	  .type = CONF_T_DUR,
	  .min = 0,
	  .max = HOUR,
	  .def = "\"0s\"",
	  AT(flight.on.runq_wait),
	  .help = "A snapshot is taken when a goroutine could run and has not for that long. 0s: never. A look at all "
		  "goroutines, each quarter of that time (every 10 ms to 250 ms, and more rarely where there are so "
		  "many that looking would take more than 2 % of a CPU), finds it; waits that end between two looks "
		  "are not seen." },
	{ .path = "flight.on.block",
	  .type = CONF_T_DUR,
	  .min = 0,
	  .max = HOUR,
	  .def = "\"0s\"",
	  AT(flight.on.block),
	  .help = "The same when a goroutine has waited for a mutex, a lock for reading or writing, a once or a "
		  "semaphore for that long; once for each wait. 0s: never." },
	{ .path = "flight.on.stall",
	  .type = CONF_T_DUR,
	  .min = 0,
	  .max = HOUR,
	  .def = "\"0s\"",
	  AT(flight.on.stall),
	  .help = "The same when in an instance no goroutine has begun or ended a wait for that long although not all "
		  "of them wait: one computes without a pause, sits in a system call that is not declared, or gets no "
		  "processor. One that is interrupted at the end of its slices has moved. 0s: never." },
	{ .path = "flight.on.deadlock",
	  .type = CONF_T_BOOL,
	  .def = "true",
	  AT(flight.on.deadlock),
	  .help = "Whether a snapshot is taken when an instance is found in a deadlock, which is looked for each "
		  "second." },
	{ .path = "flight.on.fatal",
	  .type = CONF_T_BOOL,
	  .def = "true",
	  AT(flight.on.fatal),
	  .help = "Whether a fatal signal writes what the recorder holds to the folder before the process dies. The "
		  "next start makes a snapshot of it, as weftd --convert does." },
	{ .path = "metrics",
	  .type = CONF_T_RESERVED,
	  .def = "{}",
	  .help = "Reserved. It has no keys in this version." },
	{ .path = "log.level",
	  .type = CONF_T_WORD,
	  .words = level_words,
	  .def = "\"info\"",
	  AT(log.level),
	  .live = true,
	  .help = "The least important lines that are still logged." },
	{ .path = "shutdown_timeout",
	  .type = CONF_T_DUR,
	  .min = 0,
	  .max = 24 * HOUR,
	  .def = "\"30s\"",
	  AT(shutdown_timeout),
	  .live = true,
	  .help = "How long a stop waits for goroutines to end before it names those that did not." },
	{ .path = "instances",
	  .type = CONF_T_INSTANCES,
	  .max = 1000,
	  .def = "[]",
	  .live = true,
	  .help = "What to run. Each is a plugin with a name and a configuration of its own; one plugin may stand in "
		  "several." },
	{ .path = "instances[].name",
	  .type = CONF_T_STRING,
	  .min = 1,
	  .max = 63,
	  .form = "letters, digits, dots, _ and -",
	  .check = conf_check_name,
	  AT_INST(name),
	  .live = true,
	  .help = "Unique. It stands in logs, profiles and metrics." },
	{ .path = "instances[].plugin",
	  .type = CONF_T_STRING,
	  .min = 1,
	  .max = 4000,
	  .form = "a file name, or a path with a slash",
	  AT_INST(plugin),
	  .live = true,
	  .help = "The plugin's shared object. Without a slash it is looked for in plugins.path." },
	{ .path = "instances[].config",
	  .type = CONF_T_FREE,
	  .def = "null",
	  AT_INST(config),
	  .live = true,
	  .help = "Handed to the plugin, which knows its keys." },
	{ .path = "instances[].preempt",
	  .type = CONF_T_WORD,
	  .words = preempt_words,
	  .def = "null",
	  AT_INST(preempt),
	  .live = true,
	  .help = "The same as runtime.preempt, for this instance. null takes that one's value." },
	{ .path = "instances[].stack",
	  .type = CONF_T_WORD,
	  .words = stack_words,
	  .def = "null",
	  AT_INST(stack),
	  .live = true,
	  .help = "The same as runtime.stack, for this instance. null takes that one's value." },
};
const size_t conf_schema_n = sizeof conf_schema / sizeof conf_schema[0];

/* The row's next component in the scope, NULL when the row is not in it. */
static const char *component(struct conf_scope scope, const struct conf_row *row, size_t *out_len)
{
	if (strncmp(row->path, scope.path, scope.len))
		return NULL;
	*out_len = strcspn(row->path + scope.len, ".[");
	return *out_len ? row->path + scope.len : NULL;
}

const struct conf_row *conf_schema_find(struct conf_scope scope, const char *key, size_t *out_len)
{
	size_t key_len = strlen(key), len;

	for (size_t i = 0; i < conf_schema_n; i++) {
		const char *name = component(scope, &conf_schema[i], &len);

		if (name && len == key_len && !memcmp(name, key, len)) {
			*out_len = scope.len + len;
			return &conf_schema[i];
		}
	}
	return NULL;
}

bool conf_schema_first(struct conf_scope scope, const struct conf_row *row, const char **out_name, size_t *out_len)
{
	size_t len, before_len;
	const char *name = component(scope, row, &len), *before;

	if (!name)
		return false;
	before = row > conf_schema ? component(scope, row - 1, &before_len) : NULL;
	if (before && before_len == len && !memcmp(before, name, len))
		return false;
	*out_name = name;
	*out_len = len;
	return true;
}

/* A key that stands in another object, or was written with its dots. */
static const char *elsewhere(const char *key)
{
	for (size_t i = 0; i < conf_schema_n; i++) {
		const char *path = conf_schema[i].path, *dot = strrchr(path, '.');

		if (!strcmp(path, key) || (dot && !strcmp(dot + 1, key)))
			return path;
	}
	return NULL;
}

void conf_schema_suggest(struct conf_scope scope, const char *key, struct conf_text *to)
{
	const char *name, *best = NULL, *other = elsewhere(key), *comma = "; allowed here: ";
	unsigned best_distance = 99;
	size_t len, best_len = 0;
	char copy[64];

	for (size_t i = 0; i < conf_schema_n; i++) {
		if (!conf_schema_first(scope, &conf_schema[i], &name, &len))
			continue;
		conf_text_add(to, "%s%.*s", comma, (int)len, name);
		comma = ", ";
		(void)snprintf(copy, sizeof copy, "%.*s", (int)len, name);
		if (conf_similar(key, copy) && conf_distance(key, copy) < best_distance) {
			best_distance = conf_distance(key, copy);
			best = name;
			best_len = len;
		}
	}
	if (*comma == ';')
		conf_text_add(to, "; this version has no keys here");
	if (best)
		conf_text_add(to, " (did you mean \"%.*s\"?)", (int)best_len, best);
	else if (other)
		conf_text_add(to, " (did you mean %s? Every dot is an object inside an object)", other);
}

bool conf_row_nullable(const struct conf_row *row)
{
	return row->def && !strcmp(row->def, "null");
}

static void words_allowed(const struct conf_row *row, struct conf_text *to)
{
	for (size_t i = 0; row->words[i]; i++)
		conf_text_add(to, "%s\"%s\"", !i ? "" : row->words[i + 1] ? ", " : " or ", row->words[i]);
}

void conf_schema_allowed(const struct conf_row *row, struct conf_text *to)
{
	char from[32], up_to[32];

	switch (row->type) {
	case CONF_T_BOOL:
		conf_text_add(to, "true or false");
		break;
	case CONF_T_INT:
		conf_text_add(to, "a whole number from %lld to %lld", (long long)row->min, (long long)row->max);
		if (row->unit)
			conf_text_add(to, " (%s)", row->unit);
		if (row->zero)
			conf_text_add(to, ", or \"%s\"", row->zero);
		break;
	case CONF_T_DUR:
		conf_format_dur(row->min, from);
		conf_format_dur(row->max, up_to);
		conf_text_add(to, "a duration from %s to %s, such as \"1.5s\" (units h, m, s, ms, us, ns)", from,
			      up_to);
		break;
	case CONF_T_SIZE:
		conf_format_size(row->min, from);
		conf_format_size(row->max, up_to);
		conf_text_add(to,
			      "a size from %s to %s, as a number of bytes or such as \"16MiB\" (units KiB, MiB, GiB)",
			      from, up_to);
		if (row->zero)
			conf_text_add(to, ", or %s", row->zero);
		break;
	case CONF_T_STRING:
		conf_text_add(to, "a string of at most %lld bytes: %s", (long long)row->max, row->form);
		break;
	case CONF_T_STRINGS:
		conf_text_add(to, "a list of at most %d different strings: %s", CONF_LIST_MAX, row->form);
		break;
	case CONF_T_WORD:
	case CONF_T_SWITCH:
		words_allowed(row, to);
		break;
	case CONF_T_FREE:
		conf_text_add(to, "an object");
		break;
	case CONF_T_INSTANCES:
		conf_text_add(to, "a list of at most %lld objects", (long long)row->max);
		break;
	case CONF_T_RESERVED:
		conf_text_add(to, "an empty object");
		break;
	}
	if (conf_row_nullable(row))
		conf_text_add(to, ", or null");
}
