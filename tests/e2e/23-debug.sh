#!/usr/bin/env bash
# What the daemon says of itself when asked: WEFTDEBUG, /debug/weft/sched, --dump-plugin.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_plugins parked wedge_constructor
config '{ "instances": [ { "name": "crowd", "plugin": "parked.so", "config": { "receiving": 50 } } ] }'

# --- schedtrace
export WEFTDEBUG=schedtrace=100
weftd_start
HEAD_LINE='SCHED [0-9]+ms: gomaxprocs=2 idleprocs=[0-2] threads=[0-9]+ spinningthreads=[0-9]+ needspinning=[01] idlethreads=[0-9]+ runqueue=[0-9]+'
three_lines() { [ "$(grep -Ec "$HEAD_LINE \\[[0-9]+ [0-9]+\\]\$" "$LOG")" -ge 3 ]; }
check "schedtrace: a line again and again" wait_until 10 three_lines
has_not "schedtrace: without detail no goroutines" "$LOG" ' G[0-9]+: status='
eq "schedtrace: time goes up" "$(grep -o 'SCHED [0-9]*' "$LOG" | sort -c -k2 -n 2>&1)" ""
weftd_stop

WEFTDEBUG=schedtrace=200,scheddetail=1
weftd_start
for line in "$HEAD_LINE\$" ' P0: status=[014] schedtick=[0-9]+ m=(nil|[0-9]+) runqsize=[0-9]+ gfreecnt=[0-9]+ timerslen=[0-9]+$' \
	' M[0-9]+: p=(nil|[0-9]+) curg=(nil|[0-9]+) spinning=(true|false) blocked=(true|false) tid=[0-9]+$' \
	' G[0-9]+: status=4\(chan receive\) m=nil$'; do
	check "scheddetail: ${line:0:12}" wait_until 10 logged "$line"
done
has_not "scheddetail: nothing is dropped" "$LOG" 'lines? (was|were) dropped'
weftd_stop

# --- inittrace
WEFTDEBUG=inittrace=1
config '{ "instances": [ { "name": "one", "plugin": "parked.so" }, { "name": "two", "plugin": "parked.so" } ] }'
weftd_start
counts=', [0-9]+ bytes, [0-9]+ allocs'
case ${V:-} in asan | tsan) counts='' ;; esac # an allocator of their own
eq "inittrace: one load of the shared object" "$(grep -Ec "init /[^ ]*/parked\.so @[0-9.]+ ms, [0-9.]+ ms clock$counts\$" "$LOG")" 1
for name in one two; do
	has "inittrace: init of instance $name" "$LOG" "$name.*init parked\\.so @[0-9.]+ ms, [0-9.]+ ms clock$counts\$"
done
has "inittrace: says what the numbers are" "$LOG" 'inittrace: bytes and allocs are what malloc was asked for in the whole process'
weftd_stop

# --- What is not understood
WEFTDEBUG=gctrace=1,inittrace=1,schedtrace=often
weftd_start
eq "unknown keys: one warning" "$(grep -c 'warn.*WEFTDEBUG' "$LOG")" 1
has "unknown keys: named, with what is allowed" "$LOG" \
	'WEFTDEBUG: not understood: "gctrace=1", "schedtrace=often"; allowed are schedtrace=MILLISECONDS, scheddetail=1, inittrace=1'
has "unknown keys: the others count" "$LOG" 'init parked\.so @'
weftd_stop
unset WEFTDEBUG

# --- /debug/weft/sched
config '{ "instances": [ { "name": "crowd", "plugin": "parked.so", "config": { "receiving": 1200 } } ] }'
weftd_start
check "1,200 goroutines start" wait_until 20 logged 'all started'
has_not "without WEFTDEBUG nothing is traced" "$LOG" 'SCHED|init parked'
get /debug/weft/sched
eq "sched: 200" "$CODE" 200
match "sched: as text" "$(header Content-Type)" '^text/plain'
match "sched: the head first" "$(head -n 1 "$BODY")" "^$HEAD_LINE\$"
eq "sched: Ps" "$(grep -c '^  P[01]: ' "$BODY")" 2
eq "sched: at most 1,000 goroutines" "$(grep -c '^  G[0-9]*: ' "$BODY")" 1000
has "sched: and how many more" "$BODY" '^  \.\.\. and [0-9]+ more goroutines$'
get '/debug/weft/sched?format=json'
eq "sched: JSON" "$(header Content-Type)" application/json
eq "sched: JSON that jq reads" "$(jq -r '"\(.gomaxprocs) \(.ps|length) \(.gs|length) \(.goroutines >= 1200)"' "$BODY" 2>&1)" "2 2 1000 true"
eq "sched: as many threads as it says" "$(jq '(.ms|length) == .threads' "$BODY")" true
eq "sched: who waits says for what" "$(jq '[.gs[] | select(.status == "waiting" and (.reason|length) > 0)] | length > 900' "$BODY")" true
get '/debug/weft/sched' -I
eq "sched: HEAD" "$CODE" 200
get '/debug/weft/sched?format=xml'
eq "sched: another format is refused" "$CODE" 400

# --- /debug/weft/stacks, of the same daemon
get /debug/weft/stacks
eq "stacks: 200" "$CODE" 200
has "stacks: in use, guarded how" "$BODY" '^stacks: 12[0-9][0-9] in use, guarded by [a-z]+, [0-9]+ with a canary only$'
has "stacks: a row per start function" "$BODY" '^ +[0-9]+ +[0-9]+ +1[0-9]{3}  parked_receiving$'
get '/debug/weft/stacks?format=json'
eq "stacks: JSON" "$(header Content-Type)" application/json
eq "stacks: JSON that jq reads" "$(jq '[.functions[] | select(.used > 0 and .used <= .size)] | length > 0' "$BODY" 2>&1)" true
get '/debug/weft/stacks?format=xml'
eq "stacks: another format is refused" "$CODE" 400

get '/debug/weft/sched' -X POST -d x
match "sched: POST is refused" "$CODE" '^40[05]$'
weftd_stop
config '{ "http": { "endpoints": { "pprof": false } } }'
weftd_start
get /debug/weft/sched
eq "sched: switched off together with pprof" "$CODE" 403
weftd_stop

# --- --dump-plugin
weftd_run --dump-plugin "$B/plugins/leak.so"
eq "dump-plugin: status 0" "$STATUS" 0
eq "dump-plugin: nothing on stderr" "$ERR" ""
for line in 'name +leak' 'version +1' 'about +goroutines that never end' 'abi +0\.[0-9]+' 'entry +[0-9]+ bytes.*' \
	'state +[0-9]+ bytes' 'callbacks +init run fini' 'build-id +[0-9a-f]{16,}' 'probes +.+'; do
	match "dump-plugin: $line" "$OUT" "^$line\$"
done
eq "dump-plugin: the build-id is the file's" "$(sed -n 's/^build-id *//p' <<<"$OUT")" \
	"$(readelf -n "$B/plugins/leak.so" 2>/dev/null | sed -n 's/.*Build ID: *//p')"
weftd_run --dump-plugin "$B/e2e/plugins/wedge_constructor.so"
eq "dump-plugin: a constructor that hangs does not run" "$STATUS" 0
weftd_run --dump-plugin /etc/passwd
eq "dump-plugin: what is no plugin: status 78" "$STATUS" 78
match "dump-plugin: in a sentence that names it" "$ERR" '^weftd: /etc/passwd: this is not an ELF file'
weftd_run --dump-plugin
eq "dump-plugin: without a file: usage" "$STATUS" 2
finish
