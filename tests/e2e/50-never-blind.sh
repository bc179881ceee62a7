#!/usr/bin/env bash
# The debug server answers when every P is wedged, whatever wedged it: 20 requests of each kind on busy
# CPUs, the median within 200 ms beyond the window, none beyond 1 s; and the culprit is named.
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_plugins wedge wedge_constructor parked
REQUESTS=20

# ask NAME PATH WINDOW-MS AT-ONCE: the requests, and what they took beyond the window.
ask() {
	local times median worst
	times=$(seq $REQUESTS | xargs -P "$4" -I{} curl -s -m 30 -o "$T/answer.{}" -w '%{http_code} %{time_total}\n' "$URL$2")
	eq "$1: $2: all answered" "$(grep -c '^200 ' <<<"$times")" $REQUESTS
	read -r median worst < <(awk -v w="$3" '{ print $2 * 1000 - w }' <<<"$times" | sort -n |
		awk '{ t[NR] = $1 } END { printf "%.0f %.0f\n", t[int((NR + 1) / 2)], t[NR] }')
	between "$1: $2: median beyond the window, ms" "${median:-}" -1000 $((200 * E2E_SLOW))
	between "$1: $2: worst beyond the window, ms" "${worst:-}" -1000 $((1000 * E2E_SLOW))
}

# ask_all NAME REGEX: NAMED is the number of dumps in which it occurs.
ask_all() {
	ask "$1" /healthz 0 1
	ask "$1" /metrics 0 1
	ask "$1" '/debug/pprof/goroutine?debug=2' 0 1
	NAMED=$(grep -lE "${2:-^}" "$T"/answer.* | wc -l)
	ask "$1" '/debug/pprof/profile?seconds=1' 1000 4
}

# Both CPUs are kept busy beside the wedges.
busy 2

# wedged NAME JSON FUNCTION-REGEX [PROFILE-REGEX]
wedged() {
	config "$(jq -n --argjson mine "$2" '{ runtime: { init_timeout: "10m" }, shutdown_timeout: "300ms" } * $mine')"
	weftd_spawn
	weftd_listens || { fail "$1: it listens" "$(tail -n 5 "$LOG")"; return; }
	up() { [ "$(curl -s -m 2 -o /dev/null -w '%{http_code}' "$URL/healthz")" = 200 ]; }
	check "$1: the server is up" wait_until 15 up
	if [ -n "$3" ]; then
		visible() { get '/debug/pprof/goroutine?debug=2'; grep -Eq "$3" "$BODY"; }
		check "$1: the dump names $3" wait_until 15 visible "$@"
	fi
	ask_all "$1" "$3"
	# A goroutine whose thread had no CPU for 20 ms is shown without its stack: rare, but not never.
	[ -z "$3" ] || between "$1: dumps that name the function" "$NAMED" $((REQUESTS * 3 / 4)) $REQUESTS
	if [ -n "${4:-}" ] && command -v go >/dev/null; then
		get '/debug/pprof/profile?seconds=1'
		cp "$BODY" "$T/wedge.pb.gz"
		pprof -top "$T/wedge.pb.gz" >"$T/top" || fail "$1: pprof reads the profile" "$(cat "$T/pprof.err")"
		has "$1: the profile names $4" "$T/top" "$4"
	fi
	get /healthz
	eq "$1: still there" "$CODE" 200
	kill -TERM "$PID"
	weftd_exit 10
	tsan && [ "$3" = wedge_holding_stdout ] && return
	check "$1: ends in time ($STATUS)" test "$STATUS" != late
}

wedge() { printf '{ "name": "%s", "plugin": "wedge.so", "config": { "how": "%s", "goroutines": %s } }' "$@"; }
CROWD='{ "name": "crowd", "plugin": "parked.so", "config": { "receiving": 100 } }'

wedged "(a) an endless loop" "{ \"instances\": [ $CROWD, $(wedge stuck loop 4) ] }" wedge_in_a_loop wedge_in_a_loop
wedged "(b) read on a silent pipe" "{ \"instances\": [ $CROWD, $(wedge stuck read 4) ] }" wedge_in_read
wedged "(c) deadlocked on mutexes, the rest spins" "{ \"instances\": [ $CROWD, $(wedge stuck mutex 4) ] }" \
	wedge_lock_both wedge_in_a_loop
wedged "(d) a constructor that never returns" "{ \"instances\": [ $CROWD, $(wedge stuck loop 2),
	{ \"name\": \"late\", \"plugin\": \"wedge_constructor.so\" } ] }" wedge_in_a_loop 'wedge_in_constructor|wedge_constructor\.so'
wedged "(e) init never returns" "{ \"instances\": [ $CROWD, $(wedge stuck loop 1), $(wedge late init 1) ] }" \
	'wedge_init|wedge_in_a_loop' wedge_in_a_loop
wedged "(g) a sleeper holds stdout's lock" "{ \"instances\": [ $CROWD, $(wedge stuck stdout 4) ] }" wedge_holding_stdout

# (f) stderr a full pipe that nobody reads, while plugins log without end.
config "{ \"shutdown_timeout\": \"300ms\", \"instances\": [ $CROWD, $(wedge chatter chatter 4) ] }"
mkfifo "$T/full"
exec 8<>"$T/full" # held open for reading, never read
RUNS=$((RUNS + 1))
LOG=$T/log.$RUNS
"$WEFTD" --config "$CONFIG" >"$LOG" 2>&8 </dev/null &
PID=$!
STARTED+=("$PID")
if weftd_listens; then
	name="(f) stderr a full pipe"
	check "$name: ready" wait_until 15 ready
	full() { get /metrics; awk '/^weft_.*log.*dropped.* [1-9]/ { found = 1 } END { exit !found }' "$BODY"; }
	check "$name: lines are dropped and counted" wait_until 15 full
	ask_all "$name"
	kill -TERM "$PID"
	weftd_exit 10
	check "$name: ends in time ($STATUS)" test "$STATUS" != late
else
	fail "(f) stderr a full pipe: it listens"
fi
finish
