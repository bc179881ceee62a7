#!/usr/bin/env bash
# conf/examples/contend.json: timers report how late they come, locks are contended for, both seen from outside;
# and stopping calls every wait off.
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
jq '.http.listen = ["127.0.0.1:0"] | .instances[0].config.report = "500ms" | .instances[1].config.hold = "2ms"' \
	"$ROOT/conf/examples/contend.json" >"$CONFIG"
weftd_start

check "ticks are reported" wait_until 30 logged '[0-9]+ ticks, [0-9]+ missed: half within [0-9]+ us'
check "timeouts are reported" wait_until 30 logged '[0-9]+ timeouts, 0 missed: half within [0-9]+ us'

# A wait for each lock is seen sooner or later, in Go's words.
seen() {
	get '/debug/pprof/goroutine?debug=2'
	grep -Eq "^goroutine [0-9]+ \[$1" "$BODY"
}
for reason in 'select' 'sync\.Mutex\.Lock' 'sync\.RWMutex\.RLock' 'sync\.RWMutex\.Lock' 'sync\.Cond\.Wait' \
	'chan receive \(nil chan\)'; do
	check "somebody waits: $reason" wait_until 60 seen "$reason"
done
get '/debug/pprof/goroutine?debug=1'
has "contenders carry labels" "$BODY" '"lock":"(mutex|rwmutex|cond)"'
has "timers carry labels" "$BODY" '"timer":"(tick|timeout)"'
weftd_stop TERM
has "each group had its turns" "$LOG" 'mutex held [1-9][0-9]* times; rwmutex read [1-9][0-9]*, written [1-9][0-9]* times; [1-9][0-9]* put, [1-9][0-9]* taken'
finish
