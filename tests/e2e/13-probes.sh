#!/usr/bin/env bash
# Plugins with functions that can step over the guard page of a stack: named in the log once, and refused
# with plugins.require_probes; never those built with -fstack-clash-protection.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
[ "$(uname -m)" = x86_64 ] || skip "only x86-64 code is looked at"
mkdir -p "$T/so"

cat >"$T/so/deep.c" <<'END'
#include <weft.h>
#include <string.h>

static volatile int seven = 7; /* or the compiler makes a function for just this call */

__attribute__((noinline)) static int deep_frame(int n)
{
	char a[40000]; /* the frame is made behind the return: not at the function's start */

	if (n < 0)
		return n;
	memset(a, n, sizeof a);
	__asm__ volatile("" : : "r"(a) : "memory");
	return a[n];
}

static int run(void *state)
{
	(void)state;
	weft_log(WEFT_NOTICE, "the deep one ran: %d", deep_frame(seven));
	return 0;
}
WEFT_PLUGIN(.name = "deep", .version = "1", .run = run);
END
build() { build_plugin "$T/so/deep.c" "$T/so/$1.so" "${@:2}" || fail "$1.so builds"; }
build unprobed -fno-stack-clash-protection
build probed
build nameless -fno-stack-clash-protection -s
cp "$T/so/unprobed.so" "$T/so/copy.so"

# two REQUIRE NAME NAME: a configuration with two instances.
two() {
	config "$(jq -n --argjson require "$1" --arg a "$T/so/$2.so" --arg b "$T/so/$3.so" '{
		plugins: { require_probes: $require },
		instances: [ { name: "one", plugin: $a }, { name: "two", plugin: $b } ] }')"
}
WARNING='/unprobed\.so: function deep_frame has a frame of 40[0-9]{3} bytes.*-fstack-clash-protection'

# Not required: a warning, once for an object however often and under whatever name it is loaded.
two false unprobed copy
weftd_start
check "an unprobed plugin runs" wait_until 10 logged 'the deep one ran: 7'
has "the log names file, function, size and flag" "$LOG" "warn.*$WARNING"
eq "once for the object" "$(grep -c 'fstack-clash-protection' "$LOG")" 1
weftd_stop
two false nameless probed
weftd_start
has "a stripped one is given by its offset" "$LOG" 'warn.*/nameless\.so: the function around offset 0x[0-9a-f]+ has a frame'
has_not "a probed one is not mentioned" "$LOG" '/probed\.so: .*frame'
weftd_stop

# Required: refused like every other bad plugin, before anything of it runs.
for name in unprobed nameless; do
	two true probed $name
	weftd_run --config "$CONFIG"
	eq "required: $name is refused with status 78" "$STATUS" 78
	match "required: the instance, the flag and the key are named ($name)" "$ERR" \
		"\"two\": plugin .*/$name\\.so: .*-fstack-clash-protection.*plugins\\.require_probes"
	eq "required: in one line ($name)" "$(grep -c . <<<"$ERR")" 1
	no_match "required: nothing ran ($name)" "$ERR" 'the deep one ran'
	weftd_run --check --config "$CONFIG"
	eq "required: --check says so, too ($name)" "$STATUS" 78
	match "required: --check names the flag ($name)" "$ERR" "/$name\\.so: .*-fstack-clash-protection"
done
two true probed probed
weftd_start
check "required: a probed plugin runs" wait_until 10 logged 'the deep one ran: 7'
weftd_stop

# --check without the requirement: good, with what the log would say.
two false unprobed unprobed
weftd_run --check --config "$CONFIG"
eq "--check: an unprobed plugin is good" "$STATUS" 0
match "--check: but mentioned" "$ERR" "warning: plugin .*$WARNING"
eq "--check: once" "$(grep -c 'fstack-clash-protection' <<<"$ERR")" 1
two false probed probed
weftd_run --check --config "$CONFIG"
eq "--check: nothing to say about a probed one" "$STATUS$ERR" 0

# The flags that pkg-config gives are enough, and the bundled plugins are built with them.
if flags=$(PKG_CONFIG_PATH=$B pkg-config --cflags --libs weft-uninstalled 2>"$T/pkg.err"); then
	# shellcheck disable=SC2086 # flags are words
	check "a plugin builds with pkg-config's flags" "$CC" -O2 -g -shared -fPIC "$T/so/deep.c" -o "$T/so/pkg.so" $flags
	two true pkg pkg
	weftd_run --check --config "$CONFIG"
	eq "required: pkg-config's flags will do" "$STATUS$ERR" 0
else
	fail "pkg-config knows weft" "$(cat "$T/pkg.err")"
fi
bundled=("$B"/plugins/*.so)
check "there are bundled plugins" test -e "${bundled[0]}"
config "$(printf '%s\n' "${bundled[@]}" | jq -Rn '{ plugins: { require_probes: true },
	instances: [ inputs | { name: "i\(input_line_number)", plugin: . } ] }')"
weftd_run --check --config "$CONFIG"
eq "required: all ${#bundled[@]} bundled plugins are good" "$STATUS$ERR" 0
finish
