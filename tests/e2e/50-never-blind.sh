#!/usr/bin/env bash
# The debug server answers when every P is wedged, whatever wedged it: 20 requests of each kind on busy
# CPUs, the median within 200 ms beyond the window, none beyond 1 s; and each dump names the culprit, in a
# sanitizer build, too.
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_plugins wedge wedge_constructor wedge_sleeper parked
REQUESTS=20
AT_ONCE=10 # of those that last a second

# CPU time since boot in ticks: of the whole machine, and of what this script has started.
cpu_ticks() {
	local p stat=()
	for p in "$$" "${STARTED[@]}"; do [ -r "/proc/$p/stat" ] && stat+=("/proc/$p/stat"); done
	awk 'FILENAME == "/proc/stat" { if ($1 == "cpu") all = $2 + $3 + $4 + $7 + $8 + $9; next }
		{ sub(/.*\) /, ""); ours += $12 + $13 + $14 + $15 }
		END { print all, ours }' /proc/stat "${stat[@]}"
}

# requests PATH WINDOW-MS AT-ONCE REGEX: sets ANSWERED, MEDIAN and WORST (beyond the window, ms), NAMED (answers
# that match) and NEIGHBOURS (percent of the CPU time that others took meanwhile).
requests() {
	local times before after
	read -ra before < <(cpu_ticks)
	times=$(seq $REQUESTS | xargs -P "$3" -I{} curl -s -m 30 -o "$T/answer.{}" -w '%{http_code} %{time_total}\n' "$URL$1")
	read -ra after < <(cpu_ticks)
	NEIGHBOURS=$(((after[0] - before[0] - after[1] + before[1]) * 100 / (after[0] - before[0] + 1)))
	ANSWERED=$(grep -c '^200 ' <<<"$times")
	NAMED=$(grep -lE "$4" "$T"/answer.* | wc -l)
	read -r MEDIAN WORST < <(awk -v w="$2" '{ print $2 * 1000 - w }' <<<"$times" | sort -n |
		awk '{ t[NR] = $1 } END { printf "%.0f %.0f\n", t[int((NR + 1) / 2)], t[NR] }')
}

# ask NAME PATH WINDOW-MS AT-ONCE [REGEX]: the requests; each answer matches. Others who compute on this
# machine make everybody wait: then, and only then, a bad round may be followed by two more.
ask() {
	local name="$1: $2" try
	for try in 1 2 3; do
		requests "$2" "$3" "$4" "${5:-^}"
		[ "$MEDIAN" -gt $((200 * E2E_SLOW)) ] || [ "$WORST" -gt $((1000 * E2E_SLOW)) ] || [ "$NAMED" -lt $REQUESTS ] || break
		if [ "$ANSWERED" -lt $REQUESTS ] || [ "$NEIGHBOURS" -lt 5 ] || [ "$try" -eq 3 ]; then break; fi
		echo "# $name: again, others took $NEIGHBOURS % of the CPUs (median $MEDIAN ms, worst $WORST ms, $NAMED named)"
	done
	eq "$name: all answered" "$ANSWERED" $REQUESTS
	between "$name: median beyond the window, ms" "$MEDIAN" -1000 $((200 * E2E_SLOW))
	between "$name: worst beyond the window, ms" "$WORST" -1000 $((1000 * E2E_SLOW))
	[ -z "${5:-}" ] || eq "$name: how many name $5" "$NAMED" $REQUESTS
}

# ask_all NAME [REGEX]: every dump matches.
ask_all() {
	ask "$1" /healthz 0 1
	ask "$1" /metrics 0 1
	ask "$1" '/debug/pprof/goroutine?debug=2' 0 1 "${2:-}"
	ask "$1" '/debug/pprof/profile?seconds=1' 1000 $AT_ONCE
}

# Both CPUs are kept busy beside the wedges.
busy 2

# wedged NAME JSON FUNCTION-REGEX [PROFILE-REGEX [SIGNAL]]: SIGNAL QUIT ends it with a dump.
wedged() {
	config "$(jq -n --argjson mine "$2" --argjson most $AT_ONCE '{ runtime: { init_timeout: "10m" },
		http: { max_collections: $most }, shutdown_timeout: "300ms" } * $mine')"
	weftd_spawn
	weftd_listens || { fail "$1: it listens" "$(tail -n 5 "$LOG")"; return; }
	up() { [ "$(curl -s -m 2 -o /dev/null -w '%{http_code}' "$URL/healthz")" = 200 ]; }
	check "$1: the server is up" wait_until 15 up
	visible() { get "/debug/pprof/goroutine?debug=$1"; grep -Eq "$2" "$BODY"; }
	check "$1: the dump names $3" wait_until 15 visible 2 "$3"
	ask_all "$1" "$3"
	check "$1: debug=1 names it" wait_until 5 visible 1 "$3"
	if command -v go >/dev/null; then
		in_profile() {
			get /debug/pprof/goroutine
			cp "$BODY" "$T/goroutine.pb.gz"
			pprof -top "$T/goroutine.pb.gz" >"$T/top" && grep -Eq "$1" "$T/top"
		}
		check "$1: the goroutine profile names it" wait_until 15 in_profile "$3"
	fi
	if [ -n "${4:-}" ] && command -v go >/dev/null; then
		# On a busy machine one window may have few samples, of others.
		for _ in 1 2 3 4 5; do
			get '/debug/pprof/profile?seconds=1'
			cp "$BODY" "$T/wedge.pb.gz"
			pprof -top "$T/wedge.pb.gz" >"$T/top" || fail "$1: pprof reads the profile" "$(cat "$T/pprof.err")"
			! grep -Eq "$4" "$T/top" || break
		done
		has "$1: the profile names $4" "$T/top" "$4"
	fi
	get /healthz
	eq "$1: still there" "$CODE" 200
	if tsan && [ "$3" = wedge_holding_stdout ]; then # it would not end by itself
		kill -KILL "$PID" && wait "$PID" 2>/dev/null
		return
	fi
	kill -"${5:-TERM}" "$PID"
	weftd_exit 10
	check "$1: ends in time ($STATUS)" test "$STATUS" != late
	[ "${5:-}" != QUIT ] || has "$1: the last dump names $3, too" "$LOG" "^($3)\("
}

wedge() { printf '{ "name": "%s", "plugin": "wedge.so", "config": { "how": "%s", "goroutines": %s } }' "$@"; }
CROWD='{ "name": "crowd", "plugin": "parked.so", "config": { "receiving": 100 } }'

wedged "(a) an endless loop" "{ \"instances\": [ $CROWD, $(wedge stuck loop 2) ] }" wedge_in_a_loop wedge_in_a_loop
wedged "(b) read on a silent pipe" "{ \"instances\": [ $CROWD, $(wedge stuck read 4) ] }" wedge_in_read
wedged "(c) deadlocked on mutexes, the rest spins" "{ \"instances\": [ $CROWD, $(wedge stuck mutex 4) ] }" \
	wedge_lock_both wedge_in_a_loop
wedged "(d) a constructor that never returns" "{ \"instances\": [ $CROWD, $(wedge stuck loop 2),
	{ \"name\": \"late\", \"plugin\": \"wedge_constructor.so\" } ] }" wedge_in_constructor \
	'wedge_in_constructor|wedge_constructor\.so' QUIT
wedged "(d) a constructor that sleeps for ever" "{ \"instances\": [ $CROWD, $(wedge stuck loop 2),
	{ \"name\": \"late\", \"plugin\": \"wedge_sleeper.so\" } ] }" wedge_in_sleep '' QUIT
wedged "(e) init never returns" "{ \"instances\": [ $CROWD, $(wedge stuck loop 1), $(wedge late init 1) ] }" \
	'wedge_init|wedge_in_a_loop' wedge_in_a_loop
wedged "(g) a sleeper holds stdout's lock" "{ \"instances\": [ $CROWD, $(wedge stuck stdout 4) ] }" wedge_holding_stdout

# (f) stderr a full pipe that nobody reads, while plugins log without end.
config "{ \"shutdown_timeout\": \"300ms\", \"http\": { \"max_collections\": $AT_ONCE }, \"instances\": [ $CROWD, $(wedge chatter chatter 4) ] }"
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
