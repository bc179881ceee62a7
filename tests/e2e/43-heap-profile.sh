#!/usr/bin/env bash
# heap and allocs through `go tool pprof`, of what the bundled plugin alloc is known to hold and to allocate.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_go

# start RATE CONFIG: a daemon as in the example but for that, which holds all that it shall
start() {
	jq ".http.listen = [\"127.0.0.1:0\"] | .profiles.heap_rate = $1 | .instances[0].config += $2" \
		"$ROOT/conf/examples/alloc.json" >"$CONFIG"
	weftd_start
	check "it holds its blocks" wait_until 20 logged 'holding [0-9]+ blocks'
}
# flat FILE FUNCTION TYPE: what -top says, in objects or bytes; the tool is asked once for each file and type
flat() {
	[ "$1.$3" -nt "$1" ] || pprof -top -nodecount=0 -nodefraction=0 -unit=B -sample_index="$3" "$1" >"$1.$3"
	awk -v f="$2" '$6 == f { print $1 + 0; found = 1 } END { if (!found) print 0 }' "$1.$3"
}

# Switched off, and in builds with a sanitizer, there is nothing in it.
start 0 '{}'
for what in 'heap' 'allocs' 'heap?gc=1' 'heap?seconds=1'; do
	get "/debug/pprof/$what"
	eq "off: $what is served" "$CODE" 200
	pprof -raw "$BODY" >"$T/raw" || fail "off: pprof reads $what" "$(cat "$T/pprof.err")"
	has "off: $what has its types" "$T/raw" '^alloc_objects/count alloc_space/bytes(\[dflt\])? inuse_objects/count inuse_space/bytes'
	has_not "off: nothing is in $what" "$T/raw" '^ +[0-9]+ +[0-9]+'
done
get '/debug/pprof/heap?debug=1'
has "off: the text says nothing" "$BODY" '^heap profile: 0: 0 \[0: 1\] @ heap/'
weftd_stop
case ${V:-} in asan | tsan) finish ;; esac

start 1 '{ "small": 1000, "large": 3, "churn": 5, "every": "10ms" }'
get /debug/pprof/heap
eq "heap is served" "$CODE" 200
cp "$BODY" "$T/heap.pb.gz"
get /debug/pprof/allocs
eq "allocs is served" "$CODE" 200
cp "$BODY" "$T/allocs.pb.gz"

pprof -raw "$T/heap.pb.gz" >"$T/raw" || fail "pprof -raw reads it" "$(cat "$T/pprof.err")"
has "-raw: sample types" "$T/raw" '^alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes'
has "-raw: period type" "$T/raw" '^PeriodType: space bytes$'
has "-raw: the period is the rate" "$T/raw" '^Period: 1$'
for of in hold_small:1000:1024000 hold_large:3:3145728; do
	IFS=: read -r name objects bytes <<<"$of"
	eq "$name: objects in use" "$(flat "$T/heap.pb.gz" "$name" inuse_objects)" "$objects"
	eq "$name: bytes in use" "$(flat "$T/heap.pb.gz" "$name" inuse_space)" "$bytes"
	eq "$name: objects allocated" "$(flat "$T/heap.pb.gz" "$name" alloc_objects)" "$objects"
	eq "$name: bytes allocated" "$(flat "$T/allocs.pb.gz" "$name" alloc_space)" "$bytes"
done
has_not "malloc itself does not stand in the way" "$T/allocs.pb.gz.alloc_space" ' (malloc|calloc|realloc|note)$'
pprof -top "$T/heap.pb.gz" >"$T/top"
has "heap shows inuse_space by default" "$T/top" '^Type: inuse_space$'
pprof -top "$T/allocs.pb.gz" >"$T/top"
has "allocs shows alloc_space by default" "$T/top" '^Type: alloc_space$'
pprof -list '^hold_large$' "$T/heap.pb.gz" >"$T/list"
has "-list: the line that allocates" "$T/list" '^ +3MB +3MB +[0-9]+:[[:space:]]*a->large\[i\] = touch\(malloc\(LARGE\), LARGE\);'
pprof -traces "$T/heap.pb.gz" >"$T/traces"
match "-traces: callers" "$(grep -A 2 ' hold_small' "$T/traces" | tr '\n' ' ')" 'hold_small +alloc_run'
pprof -tags "$T/heap.pb.gz" >"$T/tags"
match "-tags: sizes, labels, the instance" "$(tr '\n' ' ' <"$T/tags")" 'blocks: .*large.*small.*bytes: .*1MB.*1kB.*instance: .*alloc'
eq "-tagfocus=blocks=small keeps its function alone" \
	"$(pprof -top -tagfocus=blocks=small -nodefraction=0 "$T/heap.pb.gz" 2>/dev/null | awk '/hold_/ { print $6 }')" hold_small

# What comes and goes is in allocs, in whole blocks, and not in heap.
churned=$(flat "$T/allocs.pb.gz" churn alloc_space)
match "churn: some" "$churned" '^[1-9][0-9]*$'
eq "churn: whole blocks" $((churned % 16384)) 0
between "churn: a round at most is in use" "$(flat "$T/heap.pb.gz" churn inuse_space)" 0 $((5 * 16384))

# Differences, by the tool and by the daemon.
more() { [ "$(curl -s "$URL/debug/pprof/heap?debug=1" | sed -n 's/^# Mallocs = //p')" -gt "$mallocs" ]; }
mallocs=$(($(curl -s "$URL/debug/pprof/heap?debug=1" | sed -n 's/^# Mallocs = //p') + 10))
check "churn goes on" wait_until 20 more
get /debug/pprof/allocs
cp "$BODY" "$T/later.pb.gz"
pprof -top -base "$T/allocs.pb.gz" "$T/later.pb.gz" >"$T/top"
has "-base: what was allocated in between" "$T/top" ' churn$'
has_not "-base: and nothing else of it" "$T/top" 'hold_'
get '/debug/pprof/heap?seconds=1'
eq "seconds=1 is served" "$CODE" 200
match "seconds=1: as a delta" "$(header Content-Disposition)" 'heap-delta'
cp "$BODY" "$T/delta.pb.gz"
pprof -top -sample_index=alloc_space "$T/delta.pb.gz" >"$T/top"
has "seconds=1: what was allocated meanwhile" "$T/top" ' churn$'
has_not "seconds=1: and nothing that was there before" "$T/top" 'hold_'

# The text, and what pprof makes of it.
get '/debug/pprof/heap?debug=1'
cp "$BODY" "$T/heap.txt"
has "debug=1: head" "$T/heap.txt" '^heap profile: [0-9]+: [0-9]+ \[[0-9]+: [0-9]+\] @ heap/2$'
has "debug=1: a record" "$T/heap.txt" '^1000: 1024000 \[1000: 1024000\] @( 0x[0-9a-f]+)+$'
has "debug=1: its frames" "$T/heap.txt" '^#	0x[0-9a-f]+	hold_small\+0x[0-9a-f]+	+/.*alloc\.c:[0-9]+$'
has "debug=1: statistics" "$T/heap.txt" '^# MaxRSS = [1-9][0-9]+$'
has_not "debug=1: malloc itself is not shown" "$T/heap.txt" '/runtime/heap\.c:[0-9]'
for of in inuse_objects:1000 alloc_space:1024000; do
	eq "debug=1: pprof reads ${of%:*} back" "$(flat "$T/heap.txt" hold_small "${of%:*}")" "${of#*:}"
done
get '/debug/pprof/heap?gc=1'
eq "gc=1 is served" "$CODE" 200
cp "$BODY" "$T/gc.pb.gz"
eq "gc=1: the numbers are the same" "$(flat "$T/gc.pb.gz" hold_large inuse_space)" 3145728
get /debug/pprof/
has "the index counts heap" "$BODY" '<td class="n">[1-9][0-9]*</td><td><a href="heap\?debug=1">heap</a>'
has "the index counts allocs" "$BODY" '<td class="n">[1-9][0-9]*</td><td><a href="allocs\?debug=1">allocs</a>'
weftd_stop
has "it says what came and went" "$LOG" 'freed; in [0-9]+ rounds [0-9]+ bytes'

# At the default rate: 64 MiB are some 128 samples, whose sum scatters by 9 %.
start '"512KiB"' '{ "small": 65536, "large": 0, "churn": 0 }'
get /debug/pprof/heap
cp "$BODY" "$T/heap.pb.gz"
get '/debug/pprof/heap?debug=1'
cp "$BODY" "$T/heap.txt"
bytes=$(flat "$T/heap.pb.gz" hold_small inuse_space)
between "512KiB: what is sampled stands for all" "$bytes" $((32 << 20)) $((96 << 20))
between "512KiB: the text says the same" "$(flat "$T/heap.txt" hold_small inuse_space)" $((bytes * 999 / 1000)) $((bytes * 1001 / 1000))
has "512KiB: the text has the samples" "$T/heap.txt" '@ heap/1048576$'
weftd_stop

finish
