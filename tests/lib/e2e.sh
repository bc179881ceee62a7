# e2e.sh - what the scripts in tests/e2e share; sourced by bash.
#
# A script is independent of the others: it writes its own configuration, starts its own weftd on a
# port the kernel picks, and ends with `finish`. Exit status: 0 all checks passed, 1 some did not,
# 77 skipped. Every check prints a line, "ok - ..." or "not ok - ...".
#
# Nothing waits by sleeping a fixed time: wait_until polls a condition with a deadline. Only processes
# that the script itself started are ever signalled, by id, and they are gone when it ends.
#
# Environment, all of it set by tests/run.sh: B, the build folder (default build/release of this tree);
# WEFTD, the daemon (default $B/weftd); TMP, the work folder, which its owner removes (default: one
# under $B/e2e, removed unless a check failed or E2E_KEEP is set); E2E_SLOW, a factor for every
# deadline (default 1; the sanitizer variants take 5).
#
# Variables a script reads: T its work folder, URL and PORT of the weftd started last, PID its
# process, LOG its standard error; CODE, BODY, HEAD of the last request; STATUS of the last exit.
# shellcheck shell=bash disable=SC2034,SC2054 # the scripts use what is set here; -Wl, takes commas

set -u
set -o pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
B=${B:-build/release}
case $B in /*) ;; *) B=$ROOT/$B ;; esac
WEFTD=${WEFTD:-$B/weftd}
E2E_SLOW=${E2E_SLOW:-1}
TEST=$(basename "$0" .sh)
mkdir -p "$B/e2e"
T=${TMP:-$(mktemp -d "$B/e2e/$TEST.XXXXXX")}
export LC_ALL=C PPROF_TMPDIR=$T GOTOOLCHAIN=local GOFLAGS=-mod=mod

FAILED=0
PASSED=0
STARTED=()
PID='' LOG='' PORT='' URL='' CODE='' STATUS=''
BODY=$T/body
HEAD=$T/head
RUNS=0

# --- Checks --------------------------------------------------------------------

ok() {
	PASSED=$((PASSED + 1))
	printf 'ok - %s: %s\n' "$TEST" "$1"
}

fail() {
	FAILED=$((FAILED + 1))
	printf 'not ok - %s: %s\n' "$TEST" "$1"
	[ $# -lt 2 ] || printf '%s\n' "${@:2}" | sed 's/^/    /'
}

skip() {
	printf 'SKIP %s: %s\n' "$TEST" "$1"
	exit 77
}

# check WHAT COMMAND...: passes when the command does.
check() {
	if "${@:2}"; then ok "$1"; else fail "$1" "failed: ${*:2}"; fi
}

# eq WHAT GOT WANT
eq() {
	if [ "$2" = "$3" ]; then ok "$1"; else fail "$1" "got:  $2" "want: $3"; fi
}

# match WHAT TEXT REGEX (extended)
match() {
	if grep -Eq -e "$3" <<<"$2"; then ok "$1"; else fail "$1" "no match for: $3" "in: ${2:0:2000}"; fi
}

no_match() {
	if grep -Eq -e "$3" <<<"$2"; then fail "$1" "should not match: $3" "in: ${2:0:2000}"; else ok "$1"; fi
}

# has WHAT FILE REGEX; has_not likewise
has() {
	if grep -Eqa -e "$3" "$2"; then ok "$1"; else fail "$1" "no match for: $3" "in $2, which ends:" "$(tail -n 15 "$2" | cut -c1-300)"; fi
}

has_not() {
	if grep -Eqa -e "$3" "$2"; then fail "$1" "found:" "$(grep -Ea -e "$3" "$2" | head -n 5)"; else ok "$1"; fi
}

# between WHAT VALUE LEAST MOST (decimals allowed)
between() {
	if awk -v v="$2" -v a="$3" -v b="$4" 'BEGIN { exit !(v != "" && v + 0 >= a && v + 0 <= b) }'; then
		ok "$1 ($2)"
	else
		fail "$1" "got $2, allowed $3 to $4"
	fi
}

finish() {
	[ "$FAILED" -eq 0 ] && [ "$PASSED" -gt 0 ]
	exit
}

# --- Waiting ---------------------------------------------------------------------

now_ms() {
	local s
	read -r s _ </proc/uptime
	echo $((${s%.*} * 1000 + 10#${s#*.} * 10))
}

# wait_until SECONDS COMMAND...: 0 as soon as the command succeeds, 1 when the time is over.
wait_until() {
	local end=$(($(now_ms) + $1 * 1000 * E2E_SLOW))
	shift
	until "$@"; do
		[ "$(now_ms)" -lt "$end" ] || return 1
		sleep 0.02
	done
}

gone() {
	! kill -0 "$1" 2>/dev/null || [ "$(awk '{ sub(/.*\) /, ""); print $1 }' "/proc/$1/stat" 2>/dev/null)" = Z ]
}

logged() { grep -Eqa -e "$1" "$LOG"; }

# --- Processes ---------------------------------------------------------------------

cleanup() {
	local rc=$? p
	trap - EXIT
	for p in ${STARTED[@]+"${STARTED[@]}"}; do
		kill -KILL "$p" 2>/dev/null && wait "$p" 2>/dev/null
	done
	if [ "$rc" -ne 0 ] && [ "$rc" -ne 77 ]; then
		[ -s "$LOG" ] && printf -- '--- end of %s\n' "$LOG" && tail -n 20 "$LOG" | cut -c1-300
		printf -- '--- files: %s\n' "$T"
	elif [ -z "${E2E_KEEP:-}${TMP:-}" ]; then
		rm -rf "$T"
	fi
	exit "$rc"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# The port of the first listening IPv4 socket of a process.
listening_port() {
	local inodes
	inodes=$(readlink /proc/"$1"/fd/* 2>/dev/null | sed -n 's/^socket:\[\(.*\)\]$/\1/p' | tr '\n' ' ')
	awk -v inodes="$inodes" 'BEGIN { n = split(inodes, a); for (i = 1; i <= n; i++) mine[a[i]] = 1 }
		$4 == "0A" && ($10 in mine) { split($2, at, ":"); print at[2]; exit }' "/proc/$1/net/tcp" 2>/dev/null |
		{ read -r hex && echo $((16#$hex)); }
}

has_port() { PORT=$(listening_port "$PID") || gone "$PID"; }

ready() { gone "$PID" || [ "$(curl -s -m 2 -o "$T/ready" -w '%{http_code}' "$URL/readyz")" = 200 ]; }

# config JSON: the file that the next weftd_start uses. The listener is 127.0.0.1, any port, unless the
# JSON says otherwise; plugins come from the test plugins' folder.
CONFIG=$T/weftd.json
config() {
	jq -n --arg plugins "$B/e2e/plugins" --argjson mine "$1" '
		{ http: { listen: ["127.0.0.1:0"] }, runtime: { maxprocs: 2 }, plugins: { path: $plugins },
		  shutdown_timeout: "5s" } * $mine' >"$CONFIG" || exit 1
}

# weftd_spawn [ARGS]: start without waiting for readiness; stderr to LOG.
weftd_spawn() {
	RUNS=$((RUNS + 1))
	LOG=$T/log.$RUNS
	: >"$LOG"
	"$WEFTD" --config "$CONFIG" "$@" >"$T/stdout.$RUNS" 2>"$LOG" </dev/null &
	PID=$!
	STARTED+=("$PID")
}

# Wait for the listener of PID: sets PORT and URL.
weftd_listens() {
	wait_until 15 has_port && [ -n "$PORT" ] || return 1
	URL=http://127.0.0.1:$PORT
}

weftd_start() {
	weftd_spawn "$@"
	if ! weftd_listens || ! wait_until 15 ready || gone "$PID"; then
		fail "weftd starts" "no answer on /readyz; log:" "$(tail -n 15 "$LOG")"
		exit 1
	fi
}

# port_of WORDS: the port that the log names after them.
port_of() { sed -nE "s/.*$1:?([0-9]+).*/\1/p" "$LOG" | head -n 1; }

# weftd_start_servers [ARGS]: where plugins listen as well, the log says which port is the debug server's.
weftd_start_servers() {
	weftd_spawn "$@"
	if ! wait_until 15 logged ' ready: '; then
		fail "weftd starts" "$(tail -n 15 "$LOG")"
		exit 1
	fi
	PORT=$(port_of 'listening on 127.0.0.1')
	URL=http://127.0.0.1:$PORT
}

# weftd_exit SECONDS: wait for the end of PID; STATUS is its exit status, "late" if it did not come.
weftd_exit() {
	if wait_until "$1" gone "$PID"; then
		wait "$PID" 2>/dev/null
		STATUS=$?
	else
		STATUS=late
	fi
}

# weftd_stop [SIGNAL]: stop and check that it ends with status 0.
weftd_stop() {
	kill -"${1:-TERM}" "$PID"
	weftd_exit 15
	eq "weftd stops on SIG${1:-TERM} with status 0" "$STATUS" 0
}

# weftd_run ARGS: run to the end; sets STATUS, OUT (stdout) and ERR (stderr).
weftd_run() {
	timeout $((20 * E2E_SLOW)) "$WEFTD" "$@" >"$T/out" 2>"$T/err" </dev/null
	STATUS=$?
	OUT=$(cat "$T/out")
	ERR=$(cat "$T/err")
}

# ThreadSanitizer: at most 8,128 goroutines, and it flushes stdout when the process ends, so that one
# whose stdout is locked for ever does not end by itself.
tsan() { [ "${V:-}" = tsan ]; }

# crowd N: how many goroutines a test of N may have.
crowd() { if tsan && [ "$1" -gt 5000 ]; then echo 5000; else echo "$1"; fi; }

# busy N: keep N CPUs busy until the script ends.
busy() {
	local i
	for ((i = 0; i < $1; i++)); do
		bash -c 'while :; do :; done' &
		STARTED+=("$!")
	done
}

# --- Requests ------------------------------------------------------------------------

# get PATH [CURL ARGS]: CODE, BODY, HEAD. Against the Go server: get_from URL PATH [CURL ARGS].
get_from() {
	: >"$HEAD"
	: >"$BODY"
	CODE=$(curl -sS -m $((60 * E2E_SLOW)) --path-as-is -o "$BODY" -D "$HEAD" -w '%{http_code}' "${@:3}" "$1$2" 2>"$T/curl.err") || CODE="$CODE ($(cat "$T/curl.err"))"
}

get() { get_from "$URL" "$@"; }

# header NAME: its value in the last answer.
header() {
	awk -v want="$1:" 'BEGIN { want = tolower(want) }
		tolower(substr($0, 1, length(want))) == want { sub(/^[^:]*:[ \t]*/, ""); sub(/\r$/, ""); print; exit }' "$HEAD"
}

# --- Plugins and tools ------------------------------------------------------------------

CC=${CC:-gcc}
PLUGIN_FLAGS=(-std=gnu17 -O2 -g -Wall -Wextra -shared -fPIC -fno-omit-frame-pointer -fstack-clash-protection
	-Wl,-z,now -Wl,--build-id -I"$ROOT/runtime/include")

# build_plugin SOURCE OUT [FLAGS]
build_plugin() {
	"$CC" "${PLUGIN_FLAGS[@]}" "${@:3}" -o "$2.$$" "$1" && mv "$2.$$" "$2"
}

# need_plugins NAME...: builds tests/e2e/plugins/NAME.c where config's plugins.path finds it.
need_plugins() {
	local name
	mkdir -p "$B/e2e/plugins"
	for name; do
		local src=$ROOT/tests/e2e/plugins/$name.c so=$B/e2e/plugins/$name.so
		[ "$so" -nt "$src" ] && [ "$so" -nt "$ROOT/runtime/include/weft.h" ] && continue
		build_plugin "$src" "$so" || { fail "plugin $name builds"; exit 1; }
	done
}

need_go() {
	local v
	v=$(go env GOVERSION 2>/dev/null) || skip "Go >= 1.23 is not on PATH"
	[ "$(printf '%s\n' go1.23 "$v" | sort -V | head -n 1)" = go1.23 ] || skip "Go on PATH is $v, 1.23 is needed"
}

# need_trace_tool: $TRACE_TOOL, what `go tool trace` runs, and $TRACE_EVENTS, its option that lists events: then its
# status says whether a file is a trace, else not.
need_trace_tool() {
	need_go
	TRACE_TOOL=$(go tool -n trace) || skip "go tool trace does not run"
	TRACE_EVENTS=-d=parsed
	[ "$(printf '%s\n' go1.24 "$(go env GOVERSION)" | sort -V | head -n 1)" = go1.24 ] || TRACE_EVENTS=-d=1
	export TRACE_TOOL TRACE_EVENTS
}

# need_tracefiles: $TRACEFILES, our own reader of traces. Scripts that want it may run at once.
need_tracefiles() {
	TRACEFILES=$B/e2e/tracefiles
	[ -z "$(find "$ROOT"/tests/e2e/tracefiles.c "$ROOT"/tests/lib/{trace,chrome}check* -newer "$TRACEFILES" 2>&1)" ] && return
	# shellcheck disable=SC2046 # flags
	"$CC" -std=gnu17 -D_GNU_SOURCE -O2 -I"$ROOT/tests/lib" -o "$TRACEFILES.$$" "$ROOT"/tests/e2e/tracefiles.c \
		"$ROOT"/tests/lib/{tracecheck*,chromecheck}.c $(pkg-config --cflags --libs jansson) -lm || {
		fail "tracefiles builds"
		exit 1
	}
	mv "$TRACEFILES.$$" "$TRACEFILES"
}

# The Go oracle: a net/http/pprof server with the goroutines of tests/e2e/plugins/parked.c; sets GO_URL.
gooracle_start() {
	need_go
	(cd "$ROOT/tests/lib/gooracle" && go build -o "$B/e2e/gooracle.$$" .) || { fail "the Go oracle builds"; exit 1; }
	mv "$B/e2e/gooracle.$$" "$B/e2e/gooracle"
	"$B/e2e/gooracle" "$@" >"$T/gooracle.addr" 2>"$T/log.gooracle" &
	STARTED+=("$!")
	wait_until 10 test -s "$T/gooracle.addr" || { fail "the Go oracle starts"; exit 1; }
	GO_URL=http://$(cat "$T/gooracle.addr")
}

# viewer FILE: what `go tool trace` serves of a trace, at $VIEWER; page PATH REGEX: it has that page, with that in it;
# profile PATH REGEX: it has that profile, with that among its words.
# The tool itself is run: go would start it as a child, and leave it behind.
viewer() {
	BROWSER=/bin/true "$(go tool -n trace)" -http=127.0.0.1:0 "$1" >"$T/viewer" 2>&1 &
	STARTED+=("$!")
	check "the viewer opens it" wait_until 60 grep -qs "listening on" "$T/viewer"
	VIEWER=$(sed -nE 's/.*listening on (http:[^ ]*).*/\1/p' "$T/viewer")
}
page() {
	local code
	code=$(curl -s -m 60 -o "$T/page" -w '%{http_code}' "$VIEWER$1")
	eq "$1" "$code" 200
	has "$1 shows $2" "$T/page" "$2"
}
profile() {
	page "$1" .
	gzip -dc "$T/page" >"$T/words"
	has "$1 has $2" "$T/words" "$2"
}

pprof() { go tool pprof "$@" 2>"$T/pprof.err"; }

[ -x "$WEFTD" ] || skip "$WEFTD is not built"
