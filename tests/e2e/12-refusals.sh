#!/usr/bin/env bash
# Plugins that weftd must refuse: each with a sentence of its own, status 78, and nothing left running.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_plugins life
mkdir "$T/so"

GOOD='#include <weft.h>
static int run(void *state) { (void)state; return 0; }
WEFT_PLUGIN(.name = "tiny", .version = "1", .about = "does nothing", .run = run);'

# tiny NAME SOURCE [FLAGS]: builds $T/so/NAME.so from the text.
tiny() {
	printf '%s\n' "$2" >"$T/so/$1.c"
	build_plugin "$T/so/$1.c" "$T/so/$1.so" "${@:3}" || fail "$1.so builds"
}

# refused WHAT FILE REGEX [JSON]: weftd with a good instance before the bad one.
refused() {
	local start
	config "$(jq -n --arg so "$2" --argjson more "${4:-"{}"}" '{ instances: [
		{ name: "good", plugin: "life.so" }, { name: "bad", plugin: $so } ] } * $more')"
	start=$(now_ms)
	weftd_run --config "$CONFIG"
	eq "$1: status 78" "$STATUS" 78
	match "$1: the instance is named" "$ERR" '"bad"'
	match "$1: in words" "$ERR" "$3"
	between "$1: soon, in ms" $(($(now_ms) - start)) 0 $((10000 * E2E_SLOW))
}

tiny good "$GOOD"
config "{ \"instances\": [ { \"name\": \"good\", \"plugin\": \"$T/so/good.so\" } ] }"
weftd_start
weftd_stop

refused "missing file" "$T/so/absent.so" 'absent\.so: .*no such file'
refused "missing file in the plugin folder" absent.so 'absent\.so: .*no such file'

echo 'just text' >"$T/so/text.so"
refused "not ELF" "$T/so/text.so" 'text\.so: .*not an ELF file'
: >"$T/so/empty.so"
refused "an empty file" "$T/so/empty.so" 'empty\.so: .*(not an ELF file|cut short|damaged)'

cp "$T/so/good.so" "$T/so/foreign.so"
printf '\267\0' | dd of="$T/so/foreign.so" bs=1 seek=18 conv=notrunc status=none # EM_AARCH64
refused "wrong architecture" "$T/so/foreign.so" 'foreign\.so: .*another machine'

head -c 600 "$T/so/good.so" >"$T/so/cut.so"
refused "a file cut short" "$T/so/cut.so" 'cut\.so: .*(cut short|damaged)'

tiny entryless 'int nothing(void); int nothing(void) { return 0; }'
refused "no entry" "$T/so/entryless.so" 'entryless\.so: .*weft_plugin_entry'

tiny major '#include <weft.h>
#undef WEFT_ABI
#define WEFT_ABI ((uint32_t)(WEFT_ABI_MAJOR + 1) << 16 | WEFT_ABI_MINOR)
static int run(void *state) { (void)state; return 0; }
WEFT_PLUGIN(.name = "major", .version = "1", .run = run);'
refused "another ABI major" "$T/so/major.so" 'major\.so: .*ABI major'

tiny minor '#include <weft.h>
#undef WEFT_ABI
#define WEFT_ABI ((uint32_t)WEFT_ABI_MAJOR << 16 | (WEFT_ABI_MINOR + 1))
static int run(void *state) { (void)state; return 0; }
WEFT_PLUGIN(.name = "minor", .version = "1", .run = run);'
refused "a newer ABI minor" "$T/so/minor.so" 'minor\.so: .*newer'

tiny norun '#include <weft.h>
WEFT_PLUGIN(.name = "norun", .version = "1");'
refused "no run function" "$T/so/norun.so" 'norun\.so: .*run'

tiny undefined '#include <weft.h>
int weft_of_tomorrow(void);
static int run(void *state) { (void)state; return weft_of_tomorrow(); }
WEFT_PLUGIN(.name = "undefined", .version = "1", .run = run);'
refused "an undefined symbol" "$T/so/undefined.so" 'undefined\.so: .*weft_of_tomorrow'

tiny internal '#include <weft.h>
int weft_host_stop(int64_t);
static int run(void *state) { (void)state; return weft_host_stop(0); }
WEFT_PLUGIN(.name = "internal", .version = "1", .run = run);'
refused "a symbol of weftd that plugins may not call" "$T/so/internal.so" 'internal\.so: .*weft_host_stop'

tiny nobuildid "$GOOD" -Wl,--build-id=none
refused "no build-id" "$T/so/nobuildid.so" 'nobuildid\.so: .*build-id'

tiny execstack "$GOOD" -Wl,-z,execstack
refused "an executable stack" "$T/so/execstack.so" 'execstack\.so: .*executable stack'

tiny initfails '#include <weft.h>
static int init(void *state, const weft_conf *conf) { (void)state; (void)conf; return -EACCES; }
static int run(void *state) { (void)state; return 0; }
WEFT_PLUGIN(.name = "initfails", .version = "1", .init = init, .run = run);'
refused "init fails" "$T/so/initfails.so" 'init.* failed.*Permission denied'

tiny initsleeps '#include <weft.h>
static int init(void *state, const weft_conf *conf) { (void)state; (void)conf; return weft_sleep(3600 * WEFT_SEC); }
static int run(void *state) { (void)state; return 0; }
WEFT_PLUGIN(.name = "initsleeps", .version = "1", .init = init, .run = run);'
refused "init takes too long" "$T/so/initsleeps.so" 'init.*(300 ?ms|0\.3 s)' '{"runtime":{"init_timeout":"300ms"}}'

tiny initspins '#include <weft.h>
static volatile int spins;
static int init(void *state, const weft_conf *conf) { (void)state; (void)conf; for (;;) spins = spins + 1; }
static int run(void *state) { (void)state; return 0; }
WEFT_PLUGIN(.name = "initspins", .version = "1", .init = init, .run = run);'
refused "init spins" "$T/so/initspins.so" 'init.*(300 ?ms|0\.3 s)' '{"runtime":{"init_timeout":"300ms"},"shutdown_timeout":"1s"}'

need_plugins wedge_constructor
refused "a constructor that never returns" wedge_constructor.so 'constructor.*(300 ?ms|0\.3 s)' \
	'{"runtime":{"init_timeout":"300ms"},"shutdown_timeout":"1s"}'

tiny conf '#include <weft.h>
static int init(void *state, const weft_conf *conf)
{
	int64_t n = 0;
	(void)state;
	return weft_conf_int(conf, "size", 1, 10, &n);
}
static int run(void *state) { (void)state; return 0; }
WEFT_PLUGIN(.name = "conf", .version = "1", .init = init, .run = run);'
config "{ \"instances\": [ { \"name\": \"bad\", \"plugin\": \"$T/so/conf.so\", \"config\": { \"size\": 11 } } ] }"
weftd_run --config "$CONFIG"
eq "a plugin's own key out of range: status 78" "$STATUS" 78
match "a plugin's own key out of range: its JSON path and what is allowed" "$ERR" 'instances\[0\]\.config\.size.*10'

config "{ \"instances\": [ { \"name\": \"twin\", \"plugin\": \"$T/so/good.so\" }, { \"name\": \"twin\", \"plugin\": \"$T/so/good.so\" } ] }"
weftd_run --config "$CONFIG"
eq "a duplicate instance: status 78" "$STATUS" 78
match "a duplicate instance: named" "$ERR" 'twin'

config "{ \"instances\": [ { \"name\": \"a\", \"plugin\": \"$T/so/conf.so\", \"config\": { \"size\": 1, \"sise\": 2 } },
	{ \"name\": \"b\", \"plugin\": \"$T/so/conf.so\" } ] }"
weftd_start
has "a key that no plugin asked for is a warning" "$LOG" 'sise'
weftd_stop
finish
