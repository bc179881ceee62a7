#!/usr/bin/env bash
# The text forms of the goroutine profile, against a Go server with the same goroutines: one grammar,
# the same shapes when addresses, ids, names and files are taken out; and pprof reads them back.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_plugins parked
config '{ "instances": [ { "name": "crowd", "plugin": "parked.so",
	"config": { "receiving": 6, "sending": 3, "locking": 2, "sleeping": 1, "nil": 2 } } ] }'
weftd_start
gooracle_start 6 3 2 1
texts() { python3 "$ROOT/tests/lib/texts.py" "$@"; }

all_parked() {
	get '/debug/pprof/goroutine?debug=2'
	[ "$(grep -Ec '^parked_(receiving|sending|locking|sleeping|on_nil)\(' "$BODY")" = 14 ]
}
check "all are parked" wait_until 10 all_parked

# grammar FORM WHAT: texts.py accepts weftd's text; its words are the reason if not.
grammar() {
	local why
	if why=$(texts "$1" "$BODY" 2>&1); then ok "$2"; else fail "$2" "$why"; fi
}

get '/debug/pprof/goroutine?debug=1'
cp "$BODY" "$T/ours.1"
grammar shapes1 "debug=1 follows the grammar and adds up"
has "debug=1 ends with the memory map" "$BODY" '^--- Memory map: ---$'
get_from "$GO_URL" '/debug/pprof/goroutine?debug=1'
eq "debug=1: the shapes of Go's records" "$(texts shapes1 "$T/ours.1")" "$(texts shapes1 "$BODY" | grep -vx record)"
sequence() { grep -oE '^[0-9]+ @' "$1" | cut -d' ' -f1; }
eq "debug=1: the largest first" "$(sequence "$T/ours.1")" "$(sequence "$T/ours.1" | sort -rn)"
has "debug=1: labels" "$T/ours.1" '^# labels: \{"instance":"crowd", "kind":"receiving"\}$'
record() { tail -n +2 "$T/ours.1" | awk -v want="$1" 'BEGIN { RS = "" } index($0, want) { print $1; exit }'; }
eq "debug=1: receiving goroutines in one record" "$(record parked_receiving)" 6
eq "debug=1: sending goroutines in one record" "$(record parked_sending)" 3
eq "debug=1: locking goroutines in one record" "$(record parked_locking)" 2
has_not "debug=1: the runtime's own frames are hidden" "$T/ours.1" '^#.*[[:space:]]rt_[a-z]'

get '/debug/pprof/goroutine?debug=2'
cp "$BODY" "$T/ours.2"
grammar shapes2 "debug=2 follows the grammar"
get_from "$GO_URL" '/debug/pprof/goroutine?debug=2'
common='^\[(chan receive|chan send|sync\.Mutex\.Lock|sleep)\]'
eq "debug=2: states and shapes of equal waits" "$(texts shapes2 "$T/ours.2" | grep -E "$common" | grep -F created)" \
	"$(texts shapes2 "$BODY" | grep -E "$common")"
for want in '6 parked_receiving' '3 parked_sending' '2 parked_locking' '1 parked_sleeping' '2 parked_on_nil'; do
	match "debug=2: $want" "$(texts counts "$T/ours.2")" "^$want\$"
done
state() { awk -v want="$1" '/^goroutine / { split($0, a, /[][]/); s = a[2] } index($0, want "(") == 1 { print s; exit }' "$T/ours.2"; }
eq "debug=2: the state of a receiver" "$(state parked_receiving)" "chan receive"
eq "debug=2: the state of a sender" "$(state parked_sending)" "chan send"
eq "debug=2: the state of one that wants a lock" "$(state parked_locking)" "sync.Mutex.Lock"
eq "debug=2: the state of a sleeper" "$(state parked_sleeping)" "sleep"
eq "debug=2: the state on a nil channel" "$(state parked_on_nil)" "chan receive (nil chan)"
ids=$(texts ids "$T/ours.2")
eq "debug=2: no id twice" "$(sort -n <<<"$ids" | uniq -d)" ""
creator=$(sed -n 's/^created by .* in goroutine //p' "$T/ours.2" | sort -u)
match "debug=2: the creator of a goroutine is one of them" "$ids" "^$(head -n 1 <<<"$creator")\$"

# pprof reads debug=1 back: the same total as the binary form.
get /debug/pprof/goroutine
pprof -raw "$BODY" >"$T/raw.0" || fail "pprof reads the binary form" "$(cat "$T/pprof.err")"
pprof -raw "$T/ours.1" >"$T/raw.1" || fail "pprof reads the text" "$(cat "$T/pprof.err")"
total() { awk '/^Samples:/ { on = 1; next } /^Locations/ { on = 0 } on && /^ *[0-9]+:/ { sub(/:.*/, ""); n += $1 } END { print n + 0 }' "$1"; }
eq "pprof: text and binary have the same total" "$(total "$T/raw.1")" "$(total "$T/raw.0")"
between "pprof: that total is the goroutines" "$(total "$T/raw.0")" 14 30
weftd_stop
finish
