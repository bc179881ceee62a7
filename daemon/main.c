/* main.c - weftd's command line: what is asked for, whether it can be done, and then weftd_run().
 *
 * Until the logger starts, messages go to stderr from here; after that nothing but the logger's thread
 * writes there. */
#include "flight.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe_scan.h"
#include "version.h"

#define DEFAULT_FILE "/etc/weft/weftd.json"

static const char usage[] =
	"usage: weftd [-c FILE]            run\n"
	"       weftd -t [-c FILE]         check the configuration and the plugins' files\n"
	"       weftd -T [-c FILE]         print the effective configuration\n"
	"       weftd --dump-plugin FILE   print what a plugin says about itself\n"
	"       weftd --convert FILE [OUT] make a trace of what a fatal signal has left\n"
	"       weftd --version | --help\n"
	"\n"
	"  -c, --config FILE    the configuration; " DEFAULT_FILE " if not given\n"
	"  -t, --check          exit 0 when it is good, 78 when it is not\n"
	"  -T, --print-config   every key with its value, as JSON that loads again\n"
	"      --dump-plugin FILE   name, version, callbacks ..., read from the file; nothing of it "
	"runs\n"
	"      --convert FILE   into OUT, else FILE with the ending .trace; the goroutines beside it, ending .txt\n"
	"                       OUT that ends in .json is one for Perfetto and chrome://tracing\n"
	"      --help-config    every key with its type, default and meaning, as mdoc\n"
	"      --version        print the version\n"
	"      --help           print this\n"
	"\n"
	"WEFT_MAXPROCS in the environment (\"auto\" or a number) wins over runtime.maxprocs.\n"
	"WEFTDEBUG=schedtrace=1000,scheddetail=1,inittrace=1 says more in the log.\n"
	"See weftd(8) and weftd.json(5).\n";

enum action { RUN, CHECK, PRINT_CONFIG };
enum { OPT_VERSION = 256, OPT_HELP, OPT_HELP_CONFIG, OPT_DUMP_PLUGIN, OPT_CONVERT };

/* There in coverage builds only: they write their counts at exit(), which a running daemon can't use. */
extern void __gcov_dump(void) __attribute__((weak));

static void complain(const char *text)
{
	fprintf(stderr, "%s%s\n", logger_style_of(STDERR_FILENO) == LOGGER_JOURNAL ? "<3>" : "weftd: ", text);
}

/* Exit unless what was printed has arrived. */
static _Noreturn void printed(void)
{
	if (fflush(stdout) != 0 || ferror(stdout)) {
		complain("standard output can't be written");
		exit(1);
	}
	exit(0);
}

static _Noreturn void refuse(const char *text)
{
	complain(text);
	exit(EXIT_REFUSED);
}

static _Noreturn void dump_plugin(const char *path)
{
	char err[1024];

	if (plugin_dump(path, stdout, err, sizeof err) < 0)
		refuse(err);
	printed();
}

static _Noreturn void convert(const char *path, int argc, char **argv)
{
	char err[2 * PATH_MAX];
	int rc;

	if (argc > 1) {
		fprintf(stderr, "weftd: %s: --convert takes a file and where to\n%s", argv[1], usage);
		exit(EXIT_USAGE);
	}
	rc = convert_file(path, argc ? argv[0] : NULL, err, sizeof err);
	if (*err)
		complain(err);
	exit(rc < 0 ? 1 : 0);
}

static enum action parse_options(int argc, char **argv, const char **file)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, 't' },
		{ "print-config", no_argument, NULL, 'T' },
		{ "dump-plugin", required_argument, NULL, OPT_DUMP_PLUGIN },
		{ "convert", required_argument, NULL, OPT_CONVERT },
		{ "help-config", no_argument, NULL, OPT_HELP_CONFIG },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ "help", no_argument, NULL, OPT_HELP },
		{ 0 },
	};
	enum action action = RUN;
	int c;

	while ((c = getopt_long(argc, argv, "c:tT", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			*file = optarg;
			break;
		case 't':
			action = CHECK;
			break;
		case 'T':
			action = PRINT_CONFIG;
			break;
		case OPT_DUMP_PLUGIN:
			dump_plugin(optarg);
		case OPT_CONVERT:
			convert(optarg, argc - optind, argv + optind);
		case OPT_HELP_CONFIG:
			conf_print_schema_mdoc(stdout);
			printed();
		case OPT_VERSION:
			printf("weftd %s (ABI %d.%d)\n", WEFT_VERSION, WEFT_ABI_MAJOR, WEFT_ABI_MINOR);
			printed();
		case OPT_HELP:
			fputs(usage, stdout);
			printed();
		default:
			fputs(usage, stderr);
			exit(EXIT_USAGE);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "weftd: %s: an argument that is no option\n%s", argv[optind], usage);
		exit(EXIT_USAGE);
	}
	return action;
}

/* A closed standard descriptor would be handed out again: to a socket, say, that then gets the log. */
static void open_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		(void)close(fd);
}

/* What the log would say about each plugin's file when it is loaded. */
static void warn_of_files(const struct weftd *d)
{
	char text[PATH_MAX + 512];

	for (size_t i = 0; i < d->n_instances; i++) {
		size_t same = 0;

		while (strcmp(d->instances[same].path, d->instances[i].path) != 0)
			same++;
		if (same == i && probe_sentence(d->instances[i].path, text, sizeof text) != 0)
			fprintf(stderr, "weftd: warning: plugin %s\n", text);
	}
}

static void start_log(const struct weftd *d)
{
	int rc = signals_init();

	if (rc >= 0)
		rc = logger_start(STDERR_FILENO, logger_style_of(STDERR_FILENO),
				  logger_level_parse(d->conf->log.level));
	if (rc >= 0)
		return;
	complain(weft_strerror(rc));
	exit(1);
}

int main(int argc, char **argv)
{
	static struct weftd d; /* zero; large, and threads see it */
	struct conf *conf = NULL;
	struct conf_error conf_err;
	struct weft_host_opts host;
	enum action action;
	char err[1024];
	int code;

	open_standard_fds();
	d.conf_file = DEFAULT_FILE;
	d.argc = argc;
	d.argv = argv;
	action = parse_options(argc, argv, &d.conf_file);
	if (conf_load(d.conf_file, &conf, &conf_err) < 0)
		refuse(conf_err.text);
	d.conf = conf;
	if (action == PRINT_CONFIG) {
		(void)conf_print(d.conf, stdout);
		printed();
	}
	if (weftd_check(&d, err, sizeof err) < 0 ||
	    options_host(d.conf, getenv("WEFT_MAXPROCS"), &host, err, sizeof err) < 0)
		refuse(err);
	if (action == CHECK) {
		warn_of_files(&d);
		printf("%s: good, %zu instance%s\n", d.conf_file, d.n_instances, d.n_instances == 1 ? "" : "s");
		printed();
	}
	start_log(&d);
	code = weftd_run(&d, &host);
	if (__gcov_dump)
		__gcov_dump();
	_exit(code);
}
