#!/usr/bin/env bash
# The goroutine profile through `go tool pprof`: counts by function, labels, and the tool's own fetching.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_go
need_plugins parked
config '{ "instances": [ { "name": "crowd", "plugin": "parked.so",
	"config": { "receiving": 600, "sending": 300, "locking": 100, "sleeping": 10 } } ] }'
weftd_start
all_parked() {
	get '/debug/pprof/goroutine?debug=2'
	[ "$(grep -Ec '^parked_(receiving|sending|locking|sleeping)\(' "$BODY")" = 1010 ]
}
check "all are parked" wait_until 20 all_parked

get /debug/pprof/goroutine
eq "it is served" "$CODE" 200
cp "$BODY" "$T/goroutine.pb.gz"
check "it is gzip" cmp -s -n 2 "$T/goroutine.pb.gz" <(printf '\037\213')

# cumulative FUNCTION: its cumulative count in -top.
pprof -top "$T/goroutine.pb.gz" >"$T/top" || fail "pprof -top reads it" "$(cat "$T/pprof.err")"
cumulative() { awk -v f="$1" '$6 == f { print $4; exit }' "$T/top"; }
eq "-top: the type" "$(sed -n 's/^Type: //p' "$T/top")" goroutine
eq "-top: 600 receive" "$(cumulative parked_receiving)" 600
eq "-top: 300 send" "$(cumulative parked_sending)" 300
eq "-top: 100 want a lock" "$(cumulative parked_locking)" 100
eq "-top: 10 sleep" "$(cumulative parked_sleeping)" 10

pprof -traces "$T/goroutine.pb.gz" >"$T/traces" || fail "pprof -traces reads it" "$(cat "$T/pprof.err")"
match "-traces: the leaf is the call that waits" "$(grep -B 1 parked_receiving "$T/traces")" 'weft_chan_recv'
pprof -tags "$T/goroutine.pb.gz" >"$T/tags" || fail "pprof -tags reads it" "$(cat "$T/pprof.err")"
for kind in receiving:600 sending:300 locking:100; do
	match "-tags: kind ${kind%:*}" "$(cat "$T/tags")" "${kind#*:}(\\.0)? .*: ${kind%:*}\$"
done
match "-tags: the instance" "$(cat "$T/tags")" 'crowd'
pprof -top -tagfocus=kind=sending "$T/goroutine.pb.gz" >"$T/top.sending"
has "-tagfocus picks by label" "$T/top.sending" 'parked_sending'
has_not "-tagfocus leaves the others" "$T/top.sending" 'parked_receiving'

pprof -raw "$T/goroutine.pb.gz" >"$T/raw" || fail "pprof -raw reads it" "$(cat "$T/pprof.err")"
has "-raw: sample type" "$T/raw" '^goroutine/count'
has "-raw: period type" "$T/raw" '^PeriodType: goroutine count'
has "-raw: period" "$T/raw" '^Period: 1$'
has "-raw: the plugin's mapping with its build-id" "$T/raw" 'parked\.so [0-9a-f]{20,}'
first_mapping=$(awk '/^Mappings/ { getline; print; exit }' "$T/raw")
match "-raw: the first mapping is the main program" "$first_mapping" "weftd"

# No stack ends in the middle: every one reaches the plugin's function or a callback of it.
locations=$(awk '/^Samples:/ { on = 1; next } /^Locations/ { exit } on && /^ *[0-9]+:/ { print NF - 1 }' "$T/raw" | sort -n | head -n 1)
between "-raw: no stack is a single frame" "$locations" 2 64

# The tool fetches by itself, and asks nothing back that fails.
pprof -top "$URL/debug/pprof/goroutine" >"$T/top.url" || fail "pprof fetches by URL" "$(cat "$T/pprof.err")"
has "pprof fetches by URL" "$T/top.url" 'parked_receiving'
pprof -proto -output "$T/again.pb.gz" "$T/goroutine.pb.gz" || fail "pprof -proto writes it again" "$(cat "$T/pprof.err")"
pprof -top -base "$T/goroutine.pb.gz" "$T/again.pb.gz" >"$T/base"
match "-base with itself is empty" "$(grep 'of .* total' "$T/base")" ' 0 total|, 0% of'

# A consistent look: while goroutines come and go, the parked ones are always all there.
for _ in 1 2 3 4 5; do
	get /debug/pprof/goroutine
	cp "$BODY" "$T/now.pb.gz"
	pprof -top "$T/now.pb.gz" >"$T/top"
	eq "again: 600 receive" "$(cumulative parked_receiving)" 600
done
weftd_stop
finish
