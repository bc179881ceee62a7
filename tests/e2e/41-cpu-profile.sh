#!/usr/bin/env bash
# The CPU profile through `go tool pprof`: shares, total, labels, and the real time of the window.
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_go
need_plugins burn wedge
SECONDS_EACH=4

# timed_get PATH: as get, and TIME is how long it took, in seconds.
timed_get() {
	local start
	start=$(now_ms)
	get "$1"
	TIME=$(awk -v ms=$(($(now_ms) - start)) 'BEGIN { print ms / 1000 }')
}
cpu_total() { # of the profile FILE, ms
	pprof -raw "$1" | awk '/^Samples:/ { on = 1; next } /^Locations/ { exit } on && /^ *[0-9]+ +[0-9]+:/ { sub(/:/, ""); n += $2 } END { print n / 1e6 }'
}
# A profile of SECONDS in FILE whose total is within 10 % (and 50 ms) of the CPU time that the kernel counted for
# the process meanwhile: USED, TOTAL.  On a busy machine curl itself may start so late that the process
# has burnt more before the window: then once more, three times at most.
profile_and_usage() { # SECONDS FILE
	local before
	for _ in 1 2 3; do
		before=$(cpu_ms)
		timed_get "/debug/pprof/profile?seconds=$1"
		USED=$(($(cpu_ms) - before))
		cp "$BODY" "$2"
		TOTAL=$(cpu_total "$2")
		awk -v t="$TOTAL" -v u="$USED" 'BEGIN { exit !(t >= u * 0.9 - 50 && t <= u * 1.1 + 50) }' && return
	done
}
check_usage() { # WHAT
	between "$1: the total is within 10 % of the process's CPU time of $USED ms (and 50 ms)" "$TOTAL" \
		"$(awk -v u="$USED" 'BEGIN { print u * 0.9 - 50 }')" "$(awk -v u="$USED" 'BEGIN { print u * 1.1 + 50 }')"
}

cpu_ms() { awk '{ sub(/.*\) /, ""); print ($12 + $13) * 10 }' "/proc/$PID/stat"; }

config '{ "instances": [
	{ "name": "left", "plugin": "burn.so", "config": { "goroutines": 0, "own": "0s", "file": "unused" } },
	{ "name": "burn", "plugin": "burn.so", "config": { "file": "'"$T/own.pb.gz"'" } } ] }'
weftd_start
timed_get '/debug/pprof/profile?seconds=1'
between "the first profile of a daemon comes soon after its window" "$TIME" 1 $((1 + 2 * E2E_SLOW))
profile_and_usage "$SECONDS_EACH" "$T/cpu.pb.gz"
eq "it is served" "$CODE" 200
between "a later one comes sooner" "$TIME" "$SECONDS_EACH" $((SECONDS_EACH + E2E_SLOW))

pprof -raw "$T/cpu.pb.gz" >"$T/raw" || fail "pprof -raw reads it" "$(cat "$T/pprof.err")"
has "-raw: sample types" "$T/raw" '^samples/count cpu/nanoseconds'
has "-raw: period type" "$T/raw" '^PeriodType: cpu nanoseconds'
has "-raw: period of 100 Hz" "$T/raw" '^Period: 10000000$'
between "-raw: the duration is the window" "$(sed -n 's/^Duration: \([0-9.]*\).*/\1/p' "$T/raw")" "$SECONDS_EACH" $((SECONDS_EACH + 1))

# On two P one burns: about all of one CPU, whatever else runs here; the total is what the kernel counted.
check_usage "one burns"

pprof -top "$T/cpu.pb.gz" >"$T/top" || fail "pprof -top reads it" "$(cat "$T/pprof.err")"
share() { awk -v f="$1" '$6 == f { sub(/%/, "", $5); print $5; exit }' "$T/top"; }
# about WHAT PERCENT SHARE: three standard deviations of that many samples, and 2 %, off at most; 7 % of 400.
about() {
	between "$1" "$2" "$(awk -v p="$3" -v n="$(awk -v t="$TOTAL" 'BEGIN { print t / 10 + 1 }')" \
		'BEGIN { print p - 300 * sqrt(p / 100 * (1 - p / 100) / n) - 2 }')" \
		"$(awk -v p="$3" -v n="$(awk -v t="$TOTAL" 'BEGIN { print t / 10 + 1 }')" \
		'BEGIN { print p + 300 * sqrt(p / 100 * (1 - p / 100) / n) + 2 }')"
}
about "-top: about 70 % in burn_seventy" "$(share burn_seventy)" 70
about "-top: about 30 % in burn_thirty" "$(share burn_thirty)" 30
between "-top: all of it under burn_loop" "$(share burn_loop)" 90 100
has_not "-top: no frame of the sampler" "$T/top" 'sigprof|SIGPROF|sigreturn|handler'

pprof -tags "$T/cpu.pb.gz" >"$T/tags" || fail "pprof -tags reads it" "$(cat "$T/pprof.err")"
match "-tags: labels of the parts" "$(tr '\n' ' ' <"$T/tags")" 'part.*seventy.*thirty'
match "-tags: the instance" "$(cat "$T/tags")" 'burn'
pprof -top -tagfocus=part=thirty "$T/cpu.pb.gz" >"$T/top.thirty"
has "-tagfocus=part=thirty keeps its function" "$T/top.thirty" 'burn_thirty'
has_not "-tagfocus=part=thirty leaves the other" "$T/top.thirty" 'burn_seventy'
pprof -traces "$T/cpu.pb.gz" >"$T/traces" || fail "pprof -traces reads it" "$(cat "$T/pprof.err")"
match "-traces: caller under callee" "$(grep -A 1 ' burn_seventy' "$T/traces")" 'burn_loop'

# Lines and the function that the compiler inlined, from the plugin's debug information, in every view.
match "-raw: the plugin's mapping claims functions, files, lines and inlines" "$(grep 'burn\.so' "$T/raw")" '\[FN\]\[FL\]\[LN\]\[IN\]'
source_line() { grep -n "$1" "$ROOT/tests/e2e/plugins/burn.c" | cut -d: -f1; }
share_of_line() { awk -v l="burn.c:$1" 'index($0, l) { sub(/%/, "", $5); print $5; exit }' "$T/lines"; }
pprof -top -lines "$T/cpu.pb.gz" >"$T/lines" || fail "pprof -lines reads it" "$(cat "$T/pprof.err")"
about "-lines: the line that calls seven times" "$(share_of_line "$(source_line 'i < 7' | awk '{ print $1 + 1 }')")" 70
has "-lines: lines of the inlined function" "$T/lines" "burn_unit .*burn\.c:$(source_line 'x << 13') \(inline\)"
pprof -peek '^burn_unit$' "$T/cpu.pb.gz" >"$T/peek" || fail "pprof -peek reads it" "$(cat "$T/pprof.err")"
has "-peek: inlined into one" "$T/peek" 'burn_seventy \(inline\)'
has "-peek: and into the other" "$T/peek" 'burn_thirty \(inline\)'
pprof -list '^burn_seventy$' "$T/cpu.pb.gz" >"$T/list" || fail "pprof -list reads it" "$(cat "$T/pprof.err")"
has "-list: time beside the source" "$T/list" '[0-9]m?s +[0-9]+:.*x = burn_unit\(x\);'
pprof -weblist '^burn_seventy$' -output "$T/weblist.html" "$T/cpu.pb.gz" >/dev/null || fail "pprof -weblist reads it" "$(cat "$T/pprof.err")"
has "-weblist: source and instructions" "$T/weblist.html" 'x &lt;&lt; 13|x << 13'
pprof -proto -output "$T/again.pb.gz" "$T/cpu.pb.gz" >/dev/null || fail "pprof -proto writes it" "$(cat "$T/pprof.err")"
pprof -top "$T/again.pb.gz" >"$T/top.again"
eq "-proto: the same when read again" "$(grep burn_ "$T/top.again")" "$(grep burn_ "$T/top")"

# The web UI's flame graph and source view.
"$(go tool -n pprof)" -http=127.0.0.1:0 -no_browser "$T/cpu.pb.gz" >"$T/ui.log" 2>&1 &
ui=$!
STARTED+=("$ui")
ui_listens() { UI=$(listening_port "$ui") && [ -n "$UI" ]; }
check "the web UI starts" wait_until 20 ui_listens
get_from "http://127.0.0.1:$UI" /ui/flamegraph
eq "flame graph: it is served" "$CODE" 200
has "flame graph: the function that was inlined" "$BODY" 'burn_unit'
has "flame graph: who called it" "$BODY" 'burn_thirty'
get_from "http://127.0.0.1:$UI" '/ui/source?f=burn_seventy'
has "source view: the inlined function's lines" "$BODY" 'x &lt;&lt; 13'
kill "$ui"
wait "$ui" 2>/dev/null

# The tool fetches a profile by itself.
pprof -top -seconds 1 "$URL" >"$T/top.url" || fail "pprof fetches from a bare host" "$(cat "$T/pprof.err")"
has "pprof fetches from a bare host" "$T/top.url" 'burn_seventy'

# What the plugin wrote by itself, beside the first profiles.
check "one that an instance leaves on ends with it" wait_until 20 logged 'left on: Success'
check "weft_profile_cpu_*: one at a time, written at its end" wait_until 20 logged 'own profile: Success, Device or resource busy, Success, Invalid argument'
pprof -raw "$T/own.pb.gz" >"$T/raw.own" || fail "pprof reads what the plugin wrote" "$(cat "$T/pprof.err")"
has "the plugin's own profile: its period" "$T/raw.own" '^Period: 4000000$'
between "the plugin's own profile: from start to stop" "$(sed -n 's/^Duration: \([0-9.]*\).*/\1/p' "$T/raw.own")" 1.5 $((1 + 2 * E2E_SLOW))
pprof -top "$T/own.pb.gz" >"$T/top"
TOTAL=$(cpu_total "$T/own.pb.gz")
about "the plugin's own profile: about 70 % in burn_seventy" "$(share burn_seventy)" 70
get /metrics
has "it is over" "$BODY" '^weft_http_cpu_sessions 0$'

# All at the same time, as they share the sampler: two rates, one instance, nobody's, and without names.
pids=()
for query in hz=200 hz=1000 instance=burn instance=nobody symbolize=none; do
	curl -sS -m $((60 * E2E_SLOW)) -o "$T/$query" "$URL/debug/pprof/profile?seconds=2&$query" &
	pids+=("$!")
	STARTED+=("$!")
done
wait "${pids[@]}"
# The sampler runs at the higher rate: each has its own period and all of the time.
for hz in 200 1000; do
	pprof -raw "$T/hz=$hz" >"$T/raw.$hz" || fail "pprof reads hz=$hz" "$(cat "$T/pprof.err")"
	has "hz=$hz beside another: the period" "$T/raw.$hz" "^Period: $((1000000000 / hz))\$"
done
slow_total=$(cpu_total "$T/hz=200")
between "of the same time both have the same total, ms" "$(cpu_total "$T/hz=1000")" \
	"$(awk -v t="$slow_total" 'BEGIN { print t * 0.7 - 100 }')" "$(awk -v t="$slow_total" 'BEGIN { print t * 1.3 + 100 }')"
pprof -top "$T/instance=burn" >"$T/top.mine"
has "instance=burn: what it does" "$T/top.mine" 'burn_seventy'
has_not "instance=burn: nothing of the daemon's own" "$T/top.mine" 'weft\._Sched|MHD_|uv_'
pprof -raw "$T/instance=nobody" >"$T/raw.nobody"
has_not "instance=nobody: no samples" "$T/raw.nobody" 'burn_'
pprof -symbolize=none -raw "$T/symbolize=none" >"$T/raw.bare" || fail "pprof reads symbolize=none" "$(cat "$T/pprof.err")"
match "symbolize=none: the mapping and its build-id, no claims" "$(grep 'burn\.so' "$T/raw.bare")" 'burn\.so [0-9a-f]{40} *$'
has_not "symbolize=none: no names" "$T/raw.bare" 'burn_(unit|seventy)'
get '/debug/pprof/profile?seconds=1&symbolize=all'
eq "symbolize=all is refused" "$CODE" 400
weftd_stop

# Two Ps in a loop without a call: both CPUs' time is there, no more and no less.
config '{ "shutdown_timeout": "500ms", "instances": [ { "name": "stuck", "plugin": "wedge.so" } ] }'
weftd_start
profile_and_usage 3 "$T/cpu2.pb.gz"
check_usage "two spinners"
pprof -top "$T/cpu2.pb.gz" >"$T/top"
between "two spinners: in the loop" "$(share wedge_in_a_loop)" 90 100
kill -TERM "$PID"
weftd_exit 10

# An idle daemon has an empty, valid profile.
config '{}'
weftd_start
get '/debug/pprof/profile?seconds=1'
eq "idle: it is served" "$CODE" 200
cp "$BODY" "$T/idle.pb.gz"
pprof -raw "$T/idle.pb.gz" >"$T/raw" || fail "pprof reads an empty profile" "$(cat "$T/pprof.err")"
before=$(cpu_ms)
get '/debug/pprof/profile?seconds=1'
between "idle: being profiled costs next to nothing, ms" $(($(cpu_ms) - before)) 0 $((150 * E2E_SLOW))
weftd_stop

# One that nobody ends ends with the daemon.
config '{ "instances": [ { "name": "burn", "plugin": "burn.so", "config": { "own": "1h", "file": "unused" } } ] }'
weftd_start
on() { get /metrics && grep -q '^weft_http_cpu_sessions 1$' "$BODY"; }
check "a profile that nobody ends runs" wait_until 10 on
weftd_stop
finish
