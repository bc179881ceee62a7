#!/usr/bin/env bash
# The CPU profile through `go tool pprof`: shares, total, labels, and the real time of the window.
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_go
need_plugins burn wedge
SECONDS_EACH=4

cpu_ms() { awk '{ sub(/.*\) /, ""); print ($12 + $13) * 10 }' "/proc/$PID/stat"; }

config '{ "instances": [ { "name": "burn", "plugin": "burn.so" } ] }'
weftd_start
before=$(cpu_ms)
get "/debug/pprof/profile?seconds=$SECONDS_EACH"
used=$(($(cpu_ms) - before))
eq "it is served" "$CODE" 200
cp "$BODY" "$T/cpu.pb.gz"

pprof -raw "$T/cpu.pb.gz" >"$T/raw" || fail "pprof -raw reads it" "$(cat "$T/pprof.err")"
has "-raw: sample types" "$T/raw" '^samples/count cpu/nanoseconds'
has "-raw: period type" "$T/raw" '^PeriodType: cpu nanoseconds'
has "-raw: period of 100 Hz" "$T/raw" '^Period: 10000000$'
total=$(awk '/^Samples:/ { on = 1; next } /^Locations/ { exit } on && /^ *[0-9]+ +[0-9]+:/ { sub(/:/, ""); n += $2 } END { print n / 1e6 }' "$T/raw")
between "-raw: the duration is the window" "$(sed -n 's/^Duration: \([0-9.]*\).*/\1/p' "$T/raw")" "$SECONDS_EACH" $((SECONDS_EACH + 1))

# On two P one burns: about all of one CPU, whatever else runs here; the total is what the kernel counted.
between "the total is within 10 % of the process's CPU time of $used ms (and 50 ms)" "$total" \
	"$(awk -v u="$used" 'BEGIN { print u * 0.9 - 50 }')" "$(awk -v u="$used" 'BEGIN { print u * 1.1 + 50 }')"

pprof -top "$T/cpu.pb.gz" >"$T/top" || fail "pprof -top reads it" "$(cat "$T/pprof.err")"
share() { awk -v f="$1" '$6 == f { sub(/%/, "", $5); print $5; exit }' "$T/top"; }
between "-top: about 70 % in burn_seventy" "$(share burn_seventy)" 60 77
between "-top: about 30 % in burn_thirty" "$(share burn_thirty)" 23 37
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

# The tool fetches a profile by itself.
pprof -top -seconds 1 "$URL" >"$T/top.url" || fail "pprof fetches from a bare host" "$(cat "$T/pprof.err")"
has "pprof fetches from a bare host" "$T/top.url" 'burn_seventy'

# Twice the frequency: half the period.
get '/debug/pprof/profile?seconds=1&hz=200'
pprof -raw "$BODY" >"$T/raw" || fail "pprof reads hz=200" "$(cat "$T/pprof.err")"
has "hz=200: the period" "$T/raw" '^Period: 5000000$'
weftd_stop

# Two Ps in a loop without a call: both CPUs' time is there, no more and no less.
config '{ "shutdown_timeout": "500ms", "instances": [ { "name": "stuck", "plugin": "wedge.so" } ] }'
weftd_start
before=$(cpu_ms)
get '/debug/pprof/profile?seconds=3'
used=$(($(cpu_ms) - before))
cp "$BODY" "$T/cpu2.pb.gz"
pprof -raw "$T/cpu2.pb.gz" >"$T/raw" || fail "pprof -raw reads it" "$(cat "$T/pprof.err")"
total=$(awk '/^Samples:/ { on = 1; next } /^Locations/ { exit } on && /^ *[0-9]+ +[0-9]+:/ { sub(/:/, ""); n += $2 } END { print n / 1e6 }' "$T/raw")
between "two spinners: the total is within 10 % of $used ms (and 50 ms)" "$total" \
	"$(awk -v u="$used" 'BEGIN { print u * 0.9 - 50 }')" "$(awk -v u="$used" 'BEGIN { print u * 1.1 + 50 }')"
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
get '/debug/pprof/profile?seconds=2'
between "idle: being profiled costs next to nothing, ms" $(($(cpu_ms) - before)) 0 $((150 * E2E_SLOW))
weftd_stop
finish
