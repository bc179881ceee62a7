#!/usr/bin/env bash
# The execution trace through `go tool trace`: valid under load, several at once, with the filters; waits of known
# lengths read what they are; each page of the viewer has something to show.  The same as JSON for Perfetto.
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_go
need_plugins traced
need_tracefiles

# parsed FILE: the events of a trace in FILE.txt; the status says whether it is one.
parsed() { go tool trace -d=parsed "$1" >"$1.txt" 2>"$T/trace.err"; }
is_trace() { # WHAT FILE
	if parsed "$2"; then ok "$1"; else fail "$1" "$(head -c 2000 "$T/trace.err")"; fi
}
sanitized() { [ "${V:-}" = asan ] || [ "${V:-}" = tsan ]; } # their malloc() is not counted
samples() { get /metrics && awk '$1 == "weft_cpu_samples_total" { print $2 }' "$BODY"; }
sampler_rests() { # goroutines of this test compute all the time
	local before
	before=$(samples)
	sleep 0.3
	[ "$before" = "$(samples)" ]
}
# waits KIND FILE FUNCTION: of those on stacks with FUNCTION in one of the tool's profiles the number, and nanoseconds.
waits() {
	go tool trace -pprof="$1" "$2" >"$T/$1.pb" 2>/dev/null
	pprof -raw -focus="$3" "$T/$1.pb" | awk '/^Samples:/ { on = 1; next } /^Locations/ { exit }
		on && /^ *[0-9]+ +[0-9]+:/ { sub(/:/, ""); n += $1; ns += $2 } END { printf "%d %d\n", n, ns }'
}
mean() { waits "$@" | awk '{ print $1 ? $2 / $1 / 1e6 : 0 }'; } # in ms

config "$(jq -n --arg here "$B/e2e/plugins" --arg path "$B/plugins" '{ plugins: { path: $here }, runtime: { maxprocs: 4 },
	instances: [ { name: "traced", plugin: "traced.so" },
		{ name: "contend", plugin: ($path + "/contend.so"), config: { pause: "1ms" } },
		{ name: "timers", plugin: ($path + "/timers.so"), config: { tickers: 20 } } ] }')"
weftd_start
get '/debug/pprof/trace?seconds=1'
eq "it is served" "$CODE" 200
has "as a file" "$HEAD" '^Content-Disposition: attachment; filename="trace"'
cp "$BODY" "$T/trace"
is_trace "go tool trace reads it" "$T/trace"

# Go's tools before 1.26 let a wait last until the next event with a stack: ours have one each.
between "a byte every 10 ms is waited for that long" "$(mean net "$T/trace" traced_reader)" 9.9 $((11 + 10 * E2E_SLOW))
between "a section of 2 ms lasts 2 ms" "$(mean syscall "$T/trace" traced_section)" 1.9 $((3 + 10 * E2E_SLOW))
go tool trace -pprof=sync "$T/trace" 2>/dev/null >"$T/sync.pb" && pprof -top "$T/sync.pb" >"$T/sync"
has "waits for locks by what was called" "$T/sync" 'weft_lock$'
has_not "stacks lead to what the user has written" "$T/trace.txt" '^\s(weft_o(n|ff)_|rt_)'
has "a sleep is called that" "$T/trace.txt" 'Reason="sleep"'
has "children are made and end" "$T/trace.txt" 'NotExist->Runnable'
has "labels are told" "$T/trace.txt" 'kind=tasks'
sanitized || has "and memory in use" "$T/trace.txt" 'Metric .*heap'
has "who says nothing is there from the start" "$T/trace.txt" 'traced_silent'

# Four at once, short and long, with whatever there is to choose.
names=(all bare mine one short sampled)
queries=(seconds=0.5 'seconds=0.3&stacks=0' 'seconds=0.4&instance=contend' "seconds=0.3&g=$(
	sed -nE 's/.*GoID=([0-9]+) Running->Waiting Reason="network".*/\1/p' "$T/trace.txt" | head -n 1)" 'seconds=10&max_bytes=20000' 'seconds=1&cpu=1')
clients=()
for i in "${!names[@]}"; do
	curl -s -o "$T/${names[i]}" "$URL/debug/pprof/trace?${queries[i]}" &
	clients+=("$!")
done
wait "${clients[@]}"
for name in "${names[@]}"; do
	is_trace "with others: $name" "$T/$name"
done
has_not "stacks=0 has none of waits" "$T/bare.txt" 'weft_sleep'
has "instance= has its own" "$T/mine.txt" 'want_mutex'
has_not "instance= has no others'" "$T/mine.txt" 'traced_'
eq "g= has one" "$(grep -o 'GoID=[0-9]*' "$T/one.txt" | sort -u | wc -l)" 1
has "cpu=1 has samples" "$T/sampled.txt" '^M=.* StackSample '
check "and then the sampler rests" wait_until 5 sampler_rests
between "max_bytes= ends it" "$(stat -c %s "$T/short")" 20000 80000

# As JSON, from the same daemon: by our own rules (tests/lib/chromecheck.h), and what is in it.
names=(chrome bare mine short)
queries=('seconds=0.5&plugin=traced' 'seconds=0.1&stacks=0' 'seconds=0.1&instance=contend' 'seconds=10&max_bytes=300000')
clients=()
for i in "${!names[@]}"; do
	curl -s -D "$T/${names[i]}.head" -o "$T/${names[i]}.json" "$URL/debug/pprof/trace?format=chrome&cpu=1&${queries[i]}" &
	clients+=("$!")
done
wait "${clients[@]}"
get '/debug/flight?seconds=0.1&format=chrome'
cp "$BODY" "$T/flight.json"
has "the past has its name" "$HEAD" 'filename="flight.json"'
for name in "${names[@]}" flight; do
	check "JSON: $name" "$TRACEFILES" "$T/$name.json"
done
has "it is JSON by its type" "$T/chrome.head" '^Content-Type: application/json'
has "and by its name" "$T/chrome.head" '^Content-Disposition: attachment; filename="trace.json"'
# What is in it, in one go: a line each, with true or false.
cat >"$T/filter" <<'END'
.traceEvents as $e | .stackFrames as $f |
def some(which): any($e[]; which);
{
	"slices are called by functions": some(.ph == "X" and .name == "traced_reader" and .args.end == "network"),
	"a section of 2 ms lasts 2 ms": some(.ph == "X" and .cat == "syscall" and .dur >= 1900),
	"who says nothing runs all the time": some(.ph == "X" and .name == "traced_silent" and .dur > 1000),
	"tasks": some(.ph == "b" and .cat == "task" and .name == "traced_request" and .args.goroutine > 0),
	"one within another": some(.ph == "b" and .name == "traced_part" and .args.parent > 0),
	"regions": some(.ph == "b" and .cat == "region" and .name == "traced_inner" and .args.task > 0),
	"log lines": some(.ph == "i" and .cat == "log" and .name == "one of 2" and .args.category == "step"),
	"labels": some(.ph == "X" and .args.labels == "kind=tasks"),
	"counters": some(.ph == "C" and .name == "goroutines" and .args.running > 0),
	"CPU samples": some(.ph == "i" and .cat == "cpu" and .sf > 0),
	"frames have names and lines": any($f[]; .name | test("^traced_reader:[0-9]+$"))
} | to_entries[] | "\(.value) \(.key)"
END
jq -r -f "$T/filter" "$T/chrome.json" >"$T/found"
eq "JSON: all is looked for" "$(wc -l <"$T/found")" 11
while read -r value what; do eq "JSON: $what" "$value" true; done <"$T/found"
has_not "JSON: stacks=0 has none" "$T/bare.json" '"sf"'
has "JSON: instance= has its own" "$T/mine.json" '"want_mutex"'
has_not "JSON: instance= has no others'" "$T/mine.json" 'traced_'
between "JSON: max_bytes= ends it" "$(stat -c %s "$T/short.json")" 300000 600000
get '/debug/pprof/trace?format=perfetto'
eq "another format is refused" "$CODE" 400
has "with what is allowed" "$BODY" 'format must be "go".* or "chrome"'
get '/debug/pprof/trace?format=go&seconds=0.1'
cp "$BODY" "$T/go"
is_trace "format=go is what there is without" "$T/go"

for q in g=0 g=x stacks=2 cpu=2 max_bytes=-1 seconds=1000000; do
	get "/debug/pprof/trace?$q"
	eq "$q is refused" "$CODE" 400
done
get /debug/pprof/
has "it is on the index page" "$BODY" '"trace\?seconds='

# The viewer's pages: those it links to, and what those ask for. Of the shorter one: its timelines are a megabyte a click.
viewer "$T/all"
reader=$(sed -nE 's/.*GoID=([0-9]+) .*Reason="network".*/\1/p' "$T/all.txt" | head -n 1)
page / 'View trace'
page '/trace?view=proc' 'trace_viewer_full'
page '/trace?view=thread' 'trace_viewer_full'
page /static/trace_viewer_full.html 'tracing'
page '/jsontrace?view=proc' '"name":"Proc 0"'
has "with slices" "$T/page" 'traced_section'
sanitized || has "with memory in use" "$T/page" '"Allocated":[1-9]'
page '/jsontrace?view=proc&start=0&end=100000' 'traceEvents'
page '/jsontrace?view=thread' '"name":"Thread [0-9]+"'
has "with slices, too" "$T/page" 'traced_section'
page /goroutines 'traced_parent'
has_not "by what they were started with" "$T/page" 'name=("|instance_|rt_|run_member)'
page '/goroutine?name=traced_sleeper' 'Block time \(sleep\)'
page '/goroutine?name=traced_sleeper&sortby=Block+time+%28sleep%29' 'Block time \(sleep\)'
page "/trace?goid=$reader" 'trace_viewer_full'
page "/jsontrace?goid=$reader" 'traced_reader'
page /usertasks 'traced_request'
page '/usertask?type=traced_request' 'one of 2'
page '/usertask?type=traced_part&complete=1&latmin=1ms' 'two, in a section'
TASK=$(sed -nE 's/.*focustask=([0-9]+).*/\1/p' "$T/page" | head -n 1)
for kind in focustask taskid; do
	page "/trace?$kind=$TASK" 'trace_viewer_full'
	page "/jsontrace?$kind=$TASK" 'traced_part'
done
page /userregions '<pre>.*traced_inner'
page '/userregion?type=traced_outer' 'traced_outer'
profile '/io?raw=1' traced_reader
profile '/block?raw=1' want_mutex
profile '/syscall?raw=1' traced_section
profile '/sched?raw=1' want_mutex
profile '/io?name=traced_reader&raw=1' weft_read
profile '/block?name=want_mutex&raw=1' weft_lock
profile '/syscall?name=traced_section&raw=1' traced_section
profile '/sched?name=traced_parent&raw=1' 'weft\._Sched'
profile '/regionio?raw=1&type=traced_late' nanoseconds
profile '/regionblock?raw=1&type=traced_outer' nanoseconds
profile '/regionsyscall?raw=1&type=traced_inner' traced_tasks
profile '/regionsched?raw=1&type=traced_outer' nanoseconds
page /mmu 'MMU'
page '/mmu?mode=plot&flags=stw' 'curve'
page '/mmu?mode=details&window=1000000&flags=stw' '\['
weftd_stop TERM

# One P, whose owner wakes somebody and computes for 5 ms before it waits, or longer where it gets no CPU: so long could he
# who was woken have run. How long that was it says in the trace; what counts are the rounds in which it kept the P.
config '{ "runtime": { "maxprocs": 1 }, "instances": [ { "name": "late", "plugin": "traced.so", "config": { "late": "5ms" } } ] }'
weftd_start
by_hand() { # PERCENT: what he had to wait of what was computed meanwhile
	get '/debug/pprof/trace?seconds=0.4'
	cp "$BODY" "$T/late"
	"$TRACEFILES" --latency "$T/late" | sort -rnk 3 >"$T/latency"
	read -r woken times ns most <"$T/latency"
	parsed "$T/late"
	PERCENT=$(awk -v woken="GoID=$woken" '
		function time() { match($0, /Time=[0-9]+/); return substr($0, RSTART + 5, RLENGTH - 5) }
		index($0, woken " Waiting->Runnable") { since = time() }
		/ Running->(Syscall|Runnable)/ { since = computed = 0 }
		/Category="computed"/ && since { match($0, /Message="[0-9]+/); computed = substr($0, RSTART + 9, RLENGTH - 9) }
		index($0, woken " Runnable->Running") && computed { ns += time() - since; all += computed; since = computed = 0 }
		END { if (all) print 100 * ns / all }' "$T/late.txt")
	[ -n "$PERCENT" ]
}
check "somebody is woken while the only P is busy" wait_until 20 by_hand
between "he waits for what the waker computes, in percent" "$PERCENT" 99 $((105 + 10 * E2E_SLOW))
between "5 ms or more" $((ns / times / 1000)) 5000 1000000
read -r _ profiled < <(waits sched "$T/late" 'traced_waker$')
between "so says go tool trace, give or take one" "$profiled" $((ns - most - 1000)) $((ns + 1000))
has "a plugin's run() is known by its name" "$T/late.txt" 'traced_run @'
has_not "and not by what called it" "$T/late.txt" 'instance_run'
weftd_stop TERM

config "$(jq '.http.endpoints.trace = false' "$CONFIG")"
weftd_start
get /debug/pprof/trace
eq "it can be switched off" "$CODE" 403
has "in words" "$BODY" 'http.endpoints.trace is false'
get /debug/pprof/
has_not "then the index page has none" "$BODY" '"trace\?'
weftd_stop TERM
finish
