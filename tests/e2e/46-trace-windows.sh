#!/usr/bin/env bash
# Execution traces in bulk: windows of random schedules before Go's own reader; windows every 100 ms while plugins
# start, work and stop; 100,000 parked goroutines in one.
# WEFT_STRESS_SECONDS for thousands of them.
# limit: 900
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_trace_tool
need_plugins burn churn life traced
need_tracefiles
"${MAKE:-make}" -s -C "$ROOT" B="$B" V="${V:-release}" "${B#"$ROOT"/}/unit" || exit 1

# by_tool FILE...: a line per file that Go's reader refuses.
by_tool() {
	# shellcheck disable=SC2016 # for the inner shell
	printf '%s\0' "$@" | xargs -0 -n 1 -P 2 sh -c '
		"$TRACE_TOOL" "$TRACE_EVENTS" "$1" >/dev/null 2>"$1.err" || echo "$1: $(head -c 300 "$1.err")"' sh
}
# silent WHAT COMMAND...: passes when it says nothing.
silent() {
	local said
	said=$("${@:2}" 2>&1)
	if [ -z "$said" ]; then ok "$1"; else fail "$1" "$(head -n 5 <<<"$said")"; fi
}

# --- Random schedules: the unit test's own windows.
N=$((${WEFT_STRESS_SECONDS:-2} * 25))
mkdir "$T/random"
unit() { WEFT_TRACES=$T/random WEFT_TRACES_N=$N CK_RUN_SUITE=$1 CK_RUN_CASE=$2 "$B/unit" >"$T/unit" 2>&1; }
check "random schedules become files" unit gotrace_random gotrace_random
check "broken ones, too" unit gotrace bytes
between "there are as many as asked for" "$(find "$T/random" -name 'window.*' | wc -l)" "$N" "$N"
silent "Go's reader takes each" by_tool "$T"/random/{window,holes}.* "$T/random/example"
for broken in "$T"/random/broken.*; do
	check "it refuses what our checker refuses: ${broken##*.}" [ -n "$(by_tool "$broken")" ]
done
rm -r "$T/random"

# --- A daemon at work.
# window NAME SECONDS: sets off one; its name goes to $T/whole once it is complete.
windows=()
window() {
	{
		curl -sf -m $((60 * E2E_SLOW)) -o "$T/windows/$1" "$URL/debug/pprof/trace?seconds=$2" && echo "$T/windows/$1" >>"$T/whole"
	} 2>/dev/null &
	windows+=("$!")
}
# checked WHAT: all that were set off are complete or broken off, and those that are complete are traces.
checked() {
	local whole
	wait "${windows[@]}"
	windows=()
	mapfile -t whole <"$T/whole"
	between "$1: windows were taken" "${#whole[@]}" 1 100000
	silent "$1: all are traces" "$TRACEFILES" "${whole[@]}"
	[ ${#whole[@]} = 0 ] ||
		silent "$1: Go's reader thinks so, too" by_tool "${whole[0]}" "${whole[-1]}" "${whole[${#whole[@]} / 2]}"
	: >"$T/whole"
	rm -rf "$T/windows"
	mkdir "$T/windows"
}
mkdir "$T/windows"
: >"$T/whole"

config '{ "http": { "max_collections": 20 }, "runtime": { "maxprocs": 4 }, "instances": [
	{ "name": "burn", "plugin": "burn.so", "config": { "goroutines": 2 } },
	{ "name": "traced", "plugin": "traced.so" },
	{ "name": "life", "plugin": "life.so" },
	{ "name": "churn", "plugin": "churn.so", "config": { "parked": 300, "per_second": 2000 } } ] }'
end=$((SECONDS + ${WEFT_STRESS_SECONDS:-4}))
while :; do
	weftd_spawn
	weftd_listens || fail "weftd listens" # the plugins start now
	for i in {1..25}; do
		window "$i" "0.$((i % 4))5"
		sleep 0.1
	done
	for i in {26..35}; do # some are on their way when it stops
		window "$i" "0.$((i % 4))5"
		sleep 0.02
	done
	kill -TERM "$PID"
	weftd_exit 15
	eq "it stops beside windows" "$STATUS" 0
	checked "every 100 ms from start to stop"
	has_not "no crash, no warning" "$LOG" 'SIGSEGV|SIGABRT|Sanitizer|^fatal'
	[ $SECONDS -lt $end ] || break
done

# --- A crowd: of each who waits there is one event and no more.
CROWD=$([ "$E2E_SLOW" -gt 1 ] && echo 5000 || echo 100000)
config "{ \"instances\": [ { \"name\": \"crowd\", \"plugin\": \"churn.so\",
	\"config\": { \"parked\": $CROWD, \"per_second\": 1000 } } ] }"
weftd_start
check "$CROWD goroutines start" wait_until 60 logged 'all started'
for i in 1 2 3; do window "$i" 0.3; done
wait "${windows[@]}"
between "bytes of a window with $CROWD parked" "$(stat -c %s "$T/windows/2")" $((CROWD * 8)) $((CROWD * 20 + 1000000))
checked "a crowd"
weftd_stop
finish
