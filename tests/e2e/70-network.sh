#!/usr/bin/env bash
# Servers written as plugins: 10,000 idle connections and 1,000 busy ones at once, peers that break off, more clients
# than descriptors; idle connections cost nothing.
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
ulimit -n "$(ulimit -Hn)"
most=$((($(ulimit -Hn) - 200) * 9 / 10))
IDLE=$(crowd 10000) BUSY=1000 ROUNDS=20
[ -z "${E2E_SLOW:-}" ] || [ "$E2E_SLOW" -eq 1 ] || IDLE=1000 BUSY=100
[ "$IDLE" -le "$most" ] || IDLE=$most

netload() { python3 "$ROOT/tests/lib/netload.py" "$@"; }
metric() { get /metrics && awk -v m="$1" '$1 == m { print $2 }' "$BODY"; }
cpu_ms() { awk '{ sub(/.*\) /, ""); print ($12 + $13) * 10 }' "/proc/$PID/stat"; }

start() { # CONFIG [COMMAND...]
	config "$(jq -n --argjson mine "$1" --arg path "$B/plugins" '{ plugins: { path: $path } } * $mine')"
	weftd_start_servers
}

echo_on() { printf '{ "name": "%s", "plugin": "echo.so", "config": { "listen": "127.0.0.1:0", "idle": "%s" } }' "$@"; }

start "{ \"instances\": [ $(echo_on echo 10m),
	{ \"name\": \"hello\", \"plugin\": \"http_hello.so\", \"config\": { \"listen\": \"127.0.0.1:0\", \"text\": \"hej\" } },
	{ \"name\": \"files\", \"plugin\": \"files.so\", \"config\": { \"folder\": \"$T\", \"every\": \"50ms\" } },
	{ \"name\": \"short\", \"plugin\": \"echo.so\", \"config\": { \"listen\": \"$T/short.sock\", \"idle\": \"100ms\" } } ] }"
ECHO=$(port_of 'echo on 127.0.0.1')
HELLO=$(port_of 'hello on port ')
before=$(metric weft_netpoll_descriptors)

# Many connections
coproc LOAD { netload load "$ECHO" "$IDLE" "$BUSY" "$ROUNDS" 2>"$T/load.err"; }
STARTED+=("$LOAD_PID")
read -r -t 60 line <&"${LOAD[0]}"
eq "$IDLE connections are made" "$line" idle
all_there() { [ "$(metric weft_netpoll_descriptors)" -eq $((before + IDLE)) ]; }
check "and accepted" wait_until 20 all_there
eq "a goroutine for each" "$(($(metric 'weft_goroutines{state="waiting"}') >= IDLE))" 1
echo >&"${LOAD[1]}"
read -r -t 100 line <&"${LOAD[0]}"
eq "round trips beside them" "${line:-none: $(cat "$T/load.err")}" $((BUSY * ROUNDS))
read -r -t 100 line <&"${LOAD[0]}"
eq "idle ones that answer when asked" "${line:-none: $(cat "$T/load.err")}" "$IDLE"
wait "$LOAD_PID" 2>/dev/null
all_gone() { [ "$(metric weft_netpoll_descriptors)" -eq "$before" ]; }
check "all are closed again" wait_until 20 all_gone

# Rough peers
check "peers that reset, peers that close one side" netload rough "$ECHO" 100
check "nothing is left of them" wait_until 20 all_gone

# Deadlines
eq "a silent client is closed after its time" "$(python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
s.connect(sys.argv[1])
print(len(s.recv(1)))' "$T/short.sock")" 0

# HTTP
get_from "http://127.0.0.1:$HELLO" /
eq "hello: status" "$CODE" 200
eq "hello: body" "$(cat "$BODY")" hej
eq "hello: connections for three requests" "$(curl -s -o "$T/x" -o "$T/x" -o "$T/x" -w '%{num_connects}' "http://127.0.0.1:$HELLO/"{1,2,3})" 100
eq "hello: pipelined requests" "$(netload pipeline "$HELLO" 50)" 50
get_from "http://127.0.0.1:$HELLO" / -X DELETE
eq "hello: another method" "$CODE" 405
get_from "http://127.0.0.1:$HELLO" / -X GET -d body
eq "hello: a body" "$CODE" 413
get_from "http://127.0.0.1:$HELLO" / -H "X: $(printf '%09000d' 0)"
eq "hello: a head too long" "$CODE" 431

# How it looks, and what it costs
get '/debug/pprof/goroutine?debug=2'
has "waiting for the network is an IO wait" "$BODY" '^goroutine [0-9]+ \[IO wait'
get /metrics
has "and counted" "$BODY" '^weft_parks_total\{reason="IO wait"\} [1-9]'
weftd_stop
has "files were written and read back" "$LOG" '\[files [0-9]+\] [1-9][0-9]* times 65536 bytes'
has_not "and none was wrong" "$LOG" 'a file in'

start "{ \"instances\": [ $(echo_on echo 10m) ] }"
ECHO=$(port_of 'echo on 127.0.0.1')
coproc LOAD { netload load "$ECHO" "$IDLE" 1 1 2>"$T/load.err"; }
STARTED+=("$LOAD_PID")
read -r -t 60 line <&"${LOAD[0]}"
quiet() {
	local polls cpu
	polls=$(metric weft_netpoll_polls_total) cpu=$(cpu_ms)
	sleep 0.5
	[ $(($(cpu_ms) - cpu)) -le $((20 * E2E_SLOW)) ] && [ "$(metric weft_netpoll_polls_total)" -eq "$polls" ]
}
check "$IDLE idle connections use no CPU, and nobody asks for them" wait_until 10 quiet
echo >&"${LOAD[1]}"
wait "$LOAD_PID" 2>/dev/null
weftd_stop

# More clients than descriptors
ulimit -Sn 150
start "{ \"instances\": [ $(echo_on echo 10m) ] }"
ulimit -Sn "$(ulimit -Hn)"
ECHO=$(port_of 'echo on 127.0.0.1')
coproc HOLD { netload hold "$ECHO" 200 2>"$T/hold.err"; }
STARTED+=("$HOLD_PID")
read -r -t 60 line <&"${HOLD[0]}"
between "clients served with 150 descriptors" "$line" 20 149
has "the log says that there are no more" "$LOG" 'no more connections at present: Too many open files'
between "times it says so" "$(grep -c 'no more connections' "$LOG")" 1 10
polled=$(cpu_ms)
wait_until 1 false # a second of it
between "CPU time meanwhile, in ms" $(($(cpu_ms) - polled)) 0 $((300 * E2E_SLOW))
echo >&"${HOLD[1]}"
read -r -t 100 line <&"${HOLD[0]}"
eq "as others leave all the rest are served" "${line:-none: $(cat "$T/hold.err")}" 100
wait "$HOLD_PID" 2>/dev/null
weftd_stop
finish
