#!/usr/bin/env bash
# SIGQUIT, SIGUSR1, SIGHUP and crashes: what is dumped, and how the process ends.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_plugins life parked
ulimit -c 0

PARKED='{ "instances": [ { "name": "crowd", "plugin": "parked.so",
	"config": { "receiving": 20, "sending": 3, "locking": 2, "sleeping": 1 } } ] }'

dumped() {
	has "$1: goroutines in Go's form" "$LOG" '^(<[0-7]>)?goroutine [0-9]+ \[chan receive.*\]:'
	has "$1: the receiving function" "$LOG" 'parked_receiving'
	has "$1: the sending function" "$LOG" 'parked_sending'
	has "$1: the locking function" "$LOG" 'parked_locking'
	has "$1: who started them" "$LOG" 'created by .* in goroutine [0-9]+'
}

all_parked() {
	get '/debug/pprof/goroutine?debug=2'
	[ "$(grep -c '^parked_receiving(' "$BODY")" = 20 ] && [ "$(grep -c '^parked_locking(' "$BODY")" = 2 ]
}

config "$PARKED"
weftd_start
check "all are parked" wait_until 10 all_parked
kill -USR1 "$PID"
check "USR1: dumps" wait_until 10 logged 'created by'
get /healthz
eq "USR1: the daemon goes on" "$CODE" 200
dumped USR1

kill -HUP "$PID"
check "HUP: says that live reload is not in this version" wait_until 5 logged '[Rr]eload'
get /healthz
eq "HUP: the daemon goes on" "$CODE" 200
weftd_stop

weftd_start
check "all are parked again" wait_until 10 all_parked
kill -QUIT "$PID"
weftd_exit 15
eq "QUIT: dies with the true signal" "$STATUS" $((128 + 3))
dumped QUIT

crash() { # how signal-number function
	config "{ \"instances\": [ { \"name\": \"doomed\", \"plugin\": \"life.so\", \"config\": { \"end\": \"$1\" } },
		{ \"name\": \"crowd\", \"plugin\": \"parked.so\", \"config\": { \"receiving\": 5 } } ] }"
	weftd_start
	kill -TERM "$PID"
	weftd_exit 15
	eq "$1: dies with the true signal" "$STATUS" $((128 + $2))
	has "$1: names the function" "$LOG" "$3"
	has "$1: names the instance" "$LOG" 'doomed'
	has "$1: shows the other goroutines" "$LOG" 'goroutine [0-9]+ \['
}
crash segv 11 life_segv
crash overflow 11 life_deeper
has "overflow: said in words" "$LOG" '[Ss]tack.*overflow|overflow.*stack'
finish
