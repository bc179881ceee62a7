#!/usr/bin/env bash
# block, mutex, threadcreate, blocking, fgprof, differences and a plugin's profile through `go tool pprof`, of waits of
# known number and length; status, headers and texts beside a Go server's.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_go
need_plugins waits parked
config '{ "profiles": { "block_rate": 1, "mutex_fraction": 1 }, "instances": [
	{ "name": "waits", "plugin": "waits.so", "config": { "hold": "500ms", "again": true, "file": "'"$T/written.pb.gz"'" } },
	{ "name": "crowd", "plugin": "parked.so", "config": { "receiving": 6, "sending": 3, "locking": 2, "sleeping": 1 } } ] }'
weftd_start
check "all has been waited for" wait_until 20 logged 'all has been waited for'
has "a profile gets through a pipe that is full meanwhile" "$LOG" 'to a slow reader: Success'
has "profiles that take a request are not found, and their names not given away" "$LOG" 'delta_heap: refused'
gooracle_start
P=/debug/pprof

# fetch NAME PATH: a profile into $T/NAME.pb.gz
fetch() {
	get "$2"
	eq "$1 is served" "$CODE" 200
	cp "$BODY" "$T/$1.pb.gz"
}
# top FILE TYPE [OPTION...]: "function flat cumulative", in plain units; each is asked for once
top() {
	local key="$T/top.${U:-ms}.${*//[^a-z._]/-}"
	if [ ! -s "$key" ] || [ "$T/$1.pb.gz" -nt "$key" ]; then
		pprof -top -nodecount=0 -nodefraction=0 -unit="${U:-ms}" -sample_index="$2" "${@:3}" "$T/$1.pb.gz" |
			awk '$2 ~ /%$/ { print $6, $1 + 0, $4 + 0 }' >"$key"
	fi
	cat "$key"
}
# cum FILE TYPE FUNCTION [OPTION...]: its cumulative value, 0 if it isn't there
cum() { top "$1" "$2" "${@:4}" | awk -v f="$3" '$1 == f { print $3; found = 1; exit } END { if (!found) print 0 }'; }

# --- mutex: whoever let go is charged for all who waited ---
fetch mutex "$P/mutex"
pprof -raw "$T/mutex.pb.gz" >"$T/raw" || fail "pprof -raw reads mutex" "$(cat "$T/pprof.err")"
has "mutex: sample types" "$T/raw" '^contentions/count delay/nanoseconds'
has "mutex: period type" "$T/raw" '^PeriodType: contentions count'
has "mutex: period" "$T/raw" '^Period: 1$'
between "mutex: 5 waited 500 ms for waits_holder" "$(cum mutex delay waits_holder)" 2250 $((4000 * E2E_SLOW))
eq "mutex: it was one unlock" "$(U=count cum mutex contentions waits_holder)" 1
pprof -traces "$T/mutex.pb.gz" >"$T/traces" || fail "pprof -traces reads it" "$(cat "$T/pprof.err")"
match "mutex: the leaf is the unlock" "$(grep -B 2 'waits_holder$' "$T/traces" | tr -s ' \n' ' ')" 'weft_unlock (hold )?waits_holder'
eq "mutex: no leaf is the runtime's own inside" "$(top mutex delay | awk '$2 > 0 && $1 !~ /^weft_/')" ''
has "mutex: the label of who let go" "$T/traces" 'phase: *first'
pprof -tags "$T/mutex.pb.gz" >"$T/tags" || fail "pprof -tags reads it" "$(cat "$T/pprof.err")"
has "mutex: the instance" "$T/tags" ': waits$'
eq "mutex: -tagfocus leaves what has not the label" "$(cum mutex delay waits_holder_again -tagfocus=phase=first)" 0
check "the plugin wrote it by itself" test -s "$T/written.pb.gz"
between "what the plugin wrote says the same" "$(cum written delay waits_holder)" 2250 $((4000 * E2E_SLOW))

# --- block: whoever waited ---
fetch block "$P/block"
eq "block: 5 waited for the lock at first" "$(U=count cum block contentions waits_locker -tagfocus=phase=first)" 5
between "block: for 500 ms each" "$(cum block delay waits_locker -tagfocus=phase=first)" 2250 $((4000 * E2E_SLOW))
between "block: 10 sends of 50 ms" "$(cum block delay waits_producer)" 400 $((900 * E2E_SLOW))
pprof -traces "$T/block.pb.gz" >"$T/traces" || fail "pprof -traces reads it" "$(cat "$T/pprof.err")"
eq "block: no leaf is the runtime's own inside" "$(top block delay | awk '$2 > 0 && $1 !~ /^weft_/')" ''
match "block: the leaf is the call" "$(tr -s ' \n' ' ' <"$T/traces")" 'weft_lock waits_locker.*weft_chan_send waits_producer|weft_chan_send waits_producer.*weft_lock waits_locker'
has_not "block: sleeps are no contention" "$T/traces" 'weft_sleep'
fetch all "$P/block?include=sleep,io"
check "include=sleep adds them" test "$(cum all delay weft_sleep -tagfocus=wait=sleep)" != 0

# --- the texts read back to the same ---
for name in block mutex; do
	get "$P/$name?debug=1"
	cp "$BODY" "$T/$name.txt"
	fetch $name "$P/$name"
	pprof -raw "$T/$name.txt" >"$T/raw" || fail "pprof reads $name?debug=1" "$(cat "$T/pprof.err")"
	has "$name?debug=1: sample types" "$T/raw" '^contentions/count delay/'
	# What has come since apart: the lock is held again all the time.
	# shellcheck disable=SC2016
	sum='/^Samples:/ { on = 1; next } /^Locations/ { exit } on && /^ *[0-9]+ +[0-9]+:/ { sub(/:/, ""); n += $2 } END { print n / 1e6 }'
	text=$(awk "$sum" "$T/raw")
	now=$(pprof -raw "$T/$name.pb.gz" | awk "$sum")
	between "$name?debug=1: the total of the text" "$text" "$(awk -v n="$now" 'BEGIN { print n * 0.7 }')" "$now"
	has "$name?debug=1: the memory map" "$T/$name.txt" '^--- Memory map: ---$'
done
eq "block?debug=1: head" "$(head -n 2 "$T/block.txt" | tr '\n' ' ')" "--- contention: cycles/second=1000000000 "
eq "mutex?debug=1: head" "$(head -n 3 "$T/mutex.txt" | tr '\n' ' ')" "--- mutex: cycles/second=1000000000 sampling period=1 "

# --- differences ---
fetch delta "$P/mutex?seconds=2"
eq "mutex?seconds=: the file's name" "$(header Content-Disposition)" 'attachment; filename="mutex-delta"'
check "mutex?seconds=: what comes meanwhile is in it" test "$(cum delta delay waits_holder_again)" != 0
eq "mutex?seconds=: what was before is not" "$(cum delta delay waits_holder)" 0
fetch client "$P/delta_mutex?client=test"
between "delta_mutex: the first time all there is" "$(cum client delay waits_holder)" 2250 $((4000 * E2E_SLOW))
fetch client "$P/delta_mutex?client=test"
eq "delta_mutex: then what is new" "$(cum client delay waits_holder)" 0
fetch other "$P/delta_mutex?client=another"
between "delta_mutex: another client has its own" "$(cum other delay waits_holder)" 2250 $((4000 * E2E_SLOW))
fetch heap "$P/delta_heap?client=test"
pprof -raw "$T/heap.pb.gz" >"$T/raw" || fail "pprof reads delta_heap" "$(cat "$T/pprof.err")"
has "delta_heap: sample types" "$T/raw" '^alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes'
get "$P/delta_block"
eq "delta_block: somebody must ask" "$CODE" 400
pprof -top -base "$T/mutex.pb.gz" "$T/mutex.pb.gz" >"$T/base"
match "-base with itself is empty" "$(grep 'of .* total' "$T/base")" ' 0 total|, 0% of'

# --- filters ---
fetch crowd "$P/block?instance=crowd"
eq "instance= leaves out the others" "$(cum crowd delay waits_locker)" 0
fetch plugin "$P/goroutine?plugin=parked"
eq "plugin= keeps its own" "$(U=count cum plugin goroutine parked_receiving)" 6
eq "plugin= leaves out the others" "$(U=count cum plugin goroutine waits_run)" 0
fetch bare "$P/mutex?symbolize=none"
zcat "$T/bare.pb.gz" >"$T/bare"
has_not "symbolize=none has no names" "$T/bare" 'waits_holder'
long=$(printf 'x%.0s' {1..100})
for key in instance plugin symbolize include; do
	get "$P/block?$key=$long"
	eq "a $key that is too long is refused, not left out" "$CODE" 400
	has "and the answer names it" "$BODY" "$key"
done
get "$P/mutex?symbolize=all"
eq "another word for it is refused" "$CODE" 400

# --- rates of a request ---
get "$P/block?rate=10"
eq "rate= without seconds" "$CODE" 400
get "$P/mutex?fraction=0&seconds=1"
eq "fraction=0" "$CODE" 400
get "$P/mutex?fraction=1&seconds=1"
eq "fraction= with seconds" "$CODE" 200

# --- threads, calls, things of a plugin ---
case $B in *asan* | *tsan*) ;; *)
	fetch threads "$P/threadcreate"
	eq "threadcreate: a plugin's thread with its stack" "$(U=count cum threads threadcreate waits_thread -tagfocus=reason=plugin)" 1
	;;
esac
get "$P/threadcreate?debug=1"
has "threadcreate?debug=1" "$BODY" '^threadcreate profile: total [0-9]+$'
has "threadcreate?debug=1: why" "$BODY" '^# labels: \{"reason":"worker"\}$'
fetch blocking "$P/blocking"
between "blocking: a call of 200 ms" "$(cum blocking delay waits_undeclared)" 150 $((400 * E2E_SLOW))
pprof -tags "$T/blocking.pb.gz" >"$T/tags"
has "blocking: which call" "$T/tags" 'nanosleep'
fetch held "$P/waits.held"
eq "a plugin's profile: the file's name" "$(header Content-Disposition)" 'attachment; filename="waits.held"'
for of in five:5 ten:10 fifteen:15; do
	eq "a plugin's profile: ${of%:*}" "$(U=count cum held waits.held "waits_take_${of%:*}")" "${of#*:}"
done
get "$P/"
has "a plugin's profile is listed" "$BODY" '<td class="n">30</td><td><a href="waits.held\?debug=1">waits.held</a>'
for name in allocs block blocking delta_heap goroutine heap mutex threadcreate; do
	has "$name is listed" "$BODY" "<li><b>$name</b>: [A-Z]"
done

# --- wall-clock time ---
fetch fgprof "/debug/fgprof?seconds=2"
between "fgprof: 6 goroutines for 2 s" "$(cum fgprof time parked_receiving)" 10800 13200
get "/debug/fgprof?seconds=1&format=folded"
has "fgprof folded: root first" "$BODY" '^(instance_[a-z]+;)?([a-z_]+;)*parked_receiving;weft_chan_recv;?[a-z_;]* [0-9]+$'

# --- beside Go ---
# What the last answer says, without what may differ.
signature() {
	printf '%s' "$CODE"
	for name in Content-Type Content-Disposition X-Content-Type-Options X-Go-Pprof; do printf ' | %s' "$(header "$name")"; done
}
same() {
	local theirs
	get_from "$GO_URL" "$1"
	theirs=$(signature)
	get "$1"
	eq "as Go: $1" "$(signature)" "$theirs"
}
for name in block mutex threadcreate waits.held; do
	same "$P/$name"
	same "$P/$name?debug=1"
	same "$P/$name?seconds=abc"
	same "$P/$name?debug=1&seconds=1"
done
same "$P/waits.held?seconds=1"
same "$P/block?seconds=1"
same "$P/nothing?seconds=abc"
for name in block mutex threadcreate waits.held; do
	for url in "$GO_URL" "$URL"; do
		curl -s -o "$T/raw.pb.gz" "$url$P/$name"
		pprof -raw "$T/raw.pb.gz" | sed -n '1,/^Samples:/p; /^[a-z.]*\/count/p' | grep -Ev '^(Time|Duration|File|Build|Comment)' >"$T/types.${url##*:}"
	done
	eq "as Go: types and period of $name" "$(sort -u "$T/types.${URL##*:}")" "$(sort -u "$T/types.${GO_URL##*:}")"
	# shellcheck disable=SC2016
	grammar='s/0x[0-9a-f]+/PC/g; s/( PC)+$/ PC/; s/[0-9]+/N/g; s/^#.*/#/; /^--- Memory/,$d'
	for url in "$GO_URL" "$URL"; do
		curl -s "$url$P/$name?debug=1" | sed -E "$grammar" | sort -u >"$T/grammar.${url##*:}"
	done
	eq "as Go: the shape of $name?debug=1" "$(grep -v '^#' "$T/grammar.${URL##*:}")" "$(grep -v '^#' "$T/grammar.${GO_URL##*:}")"
done
weftd_stop
finish
