#!/usr/bin/env bash
# The flight recorder: the last seconds at once, snapshots by each trigger, their folder and its limits, the index
# page, what a fatal signal leaves, and traces that plugins take by themselves.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_go
need_plugins traced flown deadlock
STATE=$T/state

parsed() { go tool trace -d=parsed "$1" >"$1.parsed" 2>"$T/trace.err"; }
is_trace() { # WHAT FILE
	if parsed "$2"; then ok "$1"; else fail "$1" "$(head -c 2000 "$T/trace.err")"; fi
}
# kept REASON: is there a whole snapshot?  FILE is its trace.
kept() {
	FILE=$(find "$STATE" -name "flight-*Z-$1.trace" 2>/dev/null | sort | tail -n 1)
	[ -n "$FILE" ]
}
snapshot() { # REASON PATTERN-OF-THE-DUMP [unparsed]
	check "a snapshot: $1" wait_until 20 kept "$1"
	[ -n "$FILE" ] || return
	[ -n "${3:-}" ] || is_trace "$1: go tool trace reads it" "$FILE"
	has "$1: its dump says why" <(head -n 1 "${FILE%.trace}.txt") "^$1: "
	has "$1: and has the goroutines" "${FILE%.trace}.txt" "$2"
}
flown() { # DO: an instance
	jq -cn --arg what "$1" --arg dir "$T" '{ name: $what, plugin: "flown.so", config: { do: $what, dir: $dir } }'
}

# --- The past, each trigger, SIGUSR2 ------------------------------------------------------------------
# More Ps than hogs: one that is interrupted moves, and would be no stall.
config "$(jq -n --arg state "$STATE" --argjson block "$(flown block)" --argjson queue "$(flown queue)" \
	--argjson stall "$(flown stall)" --argjson trace "$(flown trace)" '{
	runtime: { maxprocs: 8 },
	flight: { directory: $state, seconds: "1s", cooldown: "0s",
		on: { runq_wait: "100ms", block: "300ms", stall: "900ms" } },
	instances: [ { name: "traced", plugin: "traced.so" }, $block, $queue, $stall, $trace,
		{ name: "deadlock", plugin: "deadlock.so", config: { how: "receive" } } ] }')"
weftd_start
snapshot block 'flown_waiter'
snapshot stall 'flown_computes' unparsed
snapshot runq-wait 'goroutine' unparsed
snapshot deadlock 'chan receive' unparsed
get '/debug/flight?seconds=0.5'
eq "the past is served" "$CODE" 200
has "as a file" "$HEAD" '^Content-Disposition: attachment; filename="flight.trace"'
cp "$BODY" "$T/flight"
is_trace "the past is a trace" "$T/flight"
has "who says nothing is in it" "$T/flight.parsed" 'traced_silent'
has "with waits" "$T/flight.parsed" 'Running->Waiting Reason="network"'
between "of as long as was asked for" "$(sed -nE 's/.* Time=([0-9]+) .*/\1/p' "$T/flight.parsed" |
	awk 'NR == 1 { first = $1 } { last = $1 } END { print (last - first) / 1e9 }')" 0.3 0.75
get '/debug/flight?seconds=0.3&instance=traced&stacks=0'
cp "$BODY" "$T/filtered"
is_trace "with filters" "$T/filtered"
has_not "without the others" "$T/filtered.parsed" 'flown_'
for q in seconds=x seconds=-1 g=0 stacks=2; do
	get "/debug/flight?$q"
	eq "$q is refused" "$CODE" 400
done

kill -USR2 "$PID"
snapshot signal 'traced_reader'
get /debug/flight/
has "the index lists it" "$BODY" "<td>signal</td><td>SIGUSR2</td>.*${FILE##*/}"
has "and the others" "$BODY" 'goroutine [0-9]+ of instance block has waited for a lock for [0-9.]+ s<'
get "/debug/flight/${FILE##*/}"
check "the trace can be fetched" cmp "$BODY" "$FILE"
get "/debug/flight/$(basename "$FILE" .trace).txt"
has "so can the dump" "$BODY" '^signal: SIGUSR2'
for bad in x ../state/x "..%2f..%2fetc%2fpasswd" flight-20261122T130501.123Z-signal.trace; do
	get "/debug/flight/$bad"
	eq "there is no $bad" "$CODE" 404
done
get /metrics
has "snapshots are counted" "$BODY" '^weft_flight_snapshots_total\{reason="block"\} [1-9]'
get /debug/pprof/
has "the index of profiles leads there" "$BODY" '/debug/flight/'

# What the plugin has written by itself.
check "the plugin's calls return" wait_until 10 logged 'snapshot to nowhere: -2'
for line in 'stop without start: -22' 'start: 0' 'start again: -16' 'stop: 0' 'snapshot: 0' 'snapshot of nothing: -22'; do
	check "trace API: $line" logged "$line\$"
done
is_trace "from start to stop" "$T/mine.trace"
has "there is something in it" "$T/mine.trace.parsed" 'traced_'
is_trace "the last second" "$T/past.trace"
weftd_stop TERM
is_trace "a trace is whole when the daemon ends" "$T/end.trace"

# --- Limits: number and cool-down ------------------------------------------------------------------------
rm -r "$STATE"
config "$(jq -n --argjson block "$(flown block)" --argjson stall "$(flown stall)" '{
	flight: { cooldown: "1h", max_snapshots: 2, on: { block: "100ms", stall: "500ms" } },
	instances: [ $block, $stall ] }')"
export STATE_DIRECTORY=$STATE:/elsewhere
weftd_start
check "the service manager's folder is taken" wait_until 20 kept block
suppressed() { get /metrics && grep -Eq '^weft_flight_suppressed_total [1-9]' "$BODY"; }
check "in the cool-down a trigger is counted" wait_until 20 suppressed
check "but not taken" test -z "$(find "$STATE" -name '*-stall.*')"
for n in 1 2; do
	kill -USR2 "$PID"
	counted() { get /metrics && grep -q "^weft_flight_snapshots_total{reason=\"signal\"} $n" "$BODY"; }
	check "SIGUSR2 is ($n)" wait_until 20 counted
done
eq "two are kept, the oldest is gone" "$(find "$STATE" -name 'flight-*' -printf '%f\n' | sed 's/.*Z-//' | sort | xargs)" \
	'signal.trace signal.trace signal.txt signal.txt'
get "/debug/flight/$(basename "$(find "$STATE" -name '*.txt' | tail -n 1)")" -I
has "HEAD says what there would be" "$HEAD" '^Content-Type: text/plain'
ln -s /etc/passwd "$STATE/flight-20261122T130501.123Z-signal.txt"
get /debug/flight/flight-20261122T130501.123Z-signal.txt
eq "a link is no snapshot" "$CODE" 404
asked() { grep -c 'flight recorder: SIGUSR2' "$LOG"; }
begun() { [ -n "$(find "$STATE" -name '.flight-*.trace')" ] || [ "$(asked)" = 3 ]; }
kill -USR2 "$PID"
check "a third is begun" wait_until 10 begun
weftd_stop TERM
eq "it is whole at the end" "$(asked)" 3
eq "so nothing is left" "$(find "$STATE" -name '.flight-*')" ''
unset STATE_DIRECTORY
ln -sf /dev/full "$T/end.trace"
config "$(jq -n --argjson trace "$(flown trace)" '{ instances: [ $trace ] }')"
weftd_start
kill -USR2 "$PID"
check "without a folder SIGUSR2 says so" wait_until 5 logged 'SIGUSR2: no snapshot'
get /debug/flight/
has "so does the index" "$BODY" 'No snapshots are kept'
started_twice() { [ "$(grep -c ' start: 0$' "$LOG")" = 2 ]; }
check "a trace is begun that nobody stops" wait_until 10 started_twice
weftd_stop TERM
check "it is said that it can't be written" logged "trace that instance trace began can't be written: No space left"
config "$(jq -n --arg here "$CONFIG" '{ flight: { directory: $here }, runtime: { recorder: { memory: 0 } } }')"
weftd_start
check "what is no folder is named" wait_until 5 logged "$CONFIG can't be used: Not a directory"
get /debug/flight/
has "also in the index" "$BODY" "No snapshots can be read: $CONFIG: Not a directory"
for path in /debug/flight '/debug/pprof/trace?seconds=0.1'; do
	get "$path"
	match "without a recorder there is no $path" "$CODE $(cat "$BODY")" '^503 .*runtime.recorder.memory is 0'
done
weftd_stop TERM

# --- A fatal signal ----------------------------------------------------------------------------------------
rm -r "$STATE"
crash=$(jq -n --arg state "$STATE" --argjson crash "$(flown crash)" '{ flight: { directory: $state },
	instances: [ { name: "traced", plugin: "traced.so" }, $crash ] }')
config "$crash"
weftd_spawn
weftd_exit 20
eq "the plugin's fault ends the daemon" "$STATUS" 139
LEFT=$(find "$STATE" -name '.flight-*.fatal' -size +10k)
check "what the recorder held is left" test -n "$LEFT"
cp "$LEFT" "$T/left.raw"
weftd_run --convert "$T/left.raw"
eq "it is converted by hand" "$STATUS" 0
eq "without a complaint" "$ERR" ''
is_trace "and is a trace" "$T/left.trace"
has "with names" "$T/left.trace.parsed" 'traced_(reader|sleeper|section)'
has "of the runtime too" "$T/left.trace.parsed" 'weft_sleep'
has "with who said nothing" "$T/left.trace.parsed" 'traced_silent'
for said in 'TaskBegin .*"flown_task"' 'RegionBegin .*"flown_region"' 'Log .*Category="flown_category" Message="1 of flown_text"' \
	'Label="flown_key=flown_value"' 'TaskBegin .*"traced_request"' 'RegionBegin .*"traced_inner"'; do
	has "what plugins said, by its name: $said" "$T/left.trace.parsed" "$said"
done
has "and a dump" "$T/left.txt" 'flown_crashes'
has "from its first word on" "$T/left.txt" '^weft: fatal signal in goroutine'
weftd_run --convert "$T/left.raw" "$T/other.json"
eq "it is one for other viewers, by its ending" "$STATUS $(jq '.traceEvents | any(.name == "traced_reader")' "$T/other.json")" '0 true'
check "with the dump beside it" cmp -s "$T/left.txt" "$T/other.txt"
head -c $(($(stat -c %s "$LEFT") / 2)) "$LEFT" >"$T/cut.raw"
weftd_run --convert "$T/cut.raw" "$T/elsewhere"
match "of a part what is there, or why not" "$STATUS $ERR" '^0 .*ends in the middle|^1 .*it ends before'
head -c 100 "$WEFTD" >"$T/none.raw"
weftd_run --convert "$T/none.raw"
eq "what is none is refused" "$STATUS" 1
match "in words" "$ERR" 'none.raw: this is nothing that a fatal signal'
cp "$LEFT" "$T/same.txt"
for out in same.txt same.trace; do
	weftd_run --convert "$T/same.txt" "$T/$out"
	match "it is not overwritten: $out" "$STATUS $ERR" '^1 .*same.txt: .*would overwrite it'
done
check "and stays as it was" cmp "$LEFT" "$T/same.txt"
weftd_run --convert "$T/nothing.raw"
match "so is what is not there" "$STATUS $ERR" '^1 .*No such file'
sed '1s/weft raw .*/weft raw 1/' "$LEFT" >"$T/old.raw"
weftd_run --convert "$T/old.raw"
match "so is another version's, of which is said whose" "$STATUS $ERR" '^1 .*old.raw: another version .* in form 1;'
# Left by others: a part, another version's, and one that was tried before.
head -c 100 "$LEFT" >"$STATE/.flight-1.fatal"
cp "$T/old.raw" "$STATE/flight-20200101T000000.000Z-fatal.raw"
cp "$T/old.raw" "$STATE/flight-20200102T000000.000Z-fatal.raw"
echo 'fatal: tried' >"$STATE/flight-20200102T000000.000Z-fatal.txt"
config "$(jq '.instances = [ .instances[0] ]' <<<"$crash")"
weftd_start
snapshot fatal 'flown_crashes'
has "the next start makes a snapshot of it" "$FILE.parsed" 'traced_'
eq "and nothing of it is left" "$(find "$STATE" -name "$(basename "$FILE" .trace).raw" -o -name '.flight-*' -size +0)" ''
check "what can't be converted is named once" wait_until 10 logged '20200101T000000.000Z-fatal.raw can.t be converted: another version'
check "so is a part of one" logged "-fatal.raw can't be converted: this is nothing"
eq "both stay, with the reason beside them" "$(grep -l "^fatal: no trace: .* can't be converted: " "$STATE"/*.txt | sed 's/txt$/raw/' |
	xargs ls | wc -l)" 2
check "what was tried before is left alone" test "$(cat "$STATE/flight-20200102T000000.000Z-fatal.txt")" = 'fatal: tried'
get /debug/flight/
has "the index says why" "$BODY" '<td>no trace: flight-20200101T.* another version'
weftd_stop TERM
eq "an end in order leaves no file" "$(find "$STATE" -name '.flight-*')" ''

for bad in '{ "flight": { "on": { "block": "1 second" } } }' '{ "flight": { "seconds": "0s" } }' \
	'{ "flight": { "max_snapshots": 0 } }' '{ "flight": { "dir": "x" } }'; do
	echo "$bad" >"$T/bad.json"
	weftd_run -t -c "$T/bad.json"
	match "refused: $bad" "$STATUS $ERR" '^78 .*bad.json:1: flight\..*allowed'
done
finish
