#!/usr/bin/env bash
# Goroutines that compute or block lose their P and are shown for what they do: counters, dumps, the log.
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_plugins share parked

share() { printf '{ "name": "%s", "plugin": "share.so", "config": { "computing": %s, "reading": %s, "declared": %s } }' "$@"; }
metric() { awk -v m="$1" '$1 == m { print $2 }' "$BODY"; }
at_least() { get /metrics && [ "$(metric "$1")" -ge "$2" ]; }
shown() { get '/debug/pprof/goroutine?debug=2' && [ "$(awk -v RS= -v s="$1" -v f="$2" '$0 ~ s && $0 ~ f' "$BODY" | grep -c '^goroutine ')" -eq "$3" ]; }

sanitized() { [ "${V:-}" = asan ] || [ "${V:-}" = tsan ]; }

# Two Ps for twelve of them; the crowd behind them gets its turn all the same.
config "{ \"instances\": [ $(share mixed 4 4 4), { \"name\": \"crowd\", \"plugin\": \"parked.so\", \"config\": { \"receiving\": 50 } } ] }"
weftd_start
check "one that computes loses its P, while others wait for one" wait_until 15 at_least 'weft_handoffs_total{reason="slice"}' 1
sanitized || check "further ones are interrupted" wait_until 15 at_least weft_preempted_total 10
check "those in a call that nobody declared do" wait_until 15 at_least 'weft_handoffs_total{reason="blocked"}' 4
check "those in a declared section do" wait_until 15 at_least 'weft_handoffs_total{reason="section"}' 3
check "computing ones run, or are about to" wait_until 15 shown '\\[run(ning|nable)' share_in_a_loop 4
check "blocked ones are in a system call" wait_until 15 shown '\\[syscall' share_in_read 4
check "declared ones are in a system call" wait_until 15 shown '\\[syscall' share_in_a_section 4
get /metrics
eq "only those were taken for blocked ones" "$(metric 'weft_handoffs_total{reason="blocked"}')" 4
weftd_stop

# One may run on without a P: the others keep theirs, which is counted and said once.
config "{ \"runtime\": { \"handoff_max\": 1 }, \"instances\": [ $(share hogs 4 0 0) ] }"
weftd_start
check "refusals are counted" wait_until 15 at_least 'weft_preempt_refused_total{reason="handoff_max"}' 5
get /metrics
between "threads that run on" "$(metric weft_handed_off)" 0 1
check "the log names a hog" wait_until 5 logged 'runtime\.handoff_max.*of "hogs" \(share_in_a_loop\)'
eq "once" "$(grep -c 'runtime\.handoff_max' "$LOG")" 1
weftd_stop

# By signal, for one instance and for all: nobody runs on without a P.
for where in instance runtime; do
	case $where in
	instance) config "{ \"instances\": [ $(share hogs 6 0 0 | jq '.preempt = "signal"') ] }" ;;
	runtime) config "{ \"runtime\": { \"preempt\": \"signal\" }, \"instances\": [ $(share hogs 6 0 0) ] }" ;;
	esac
	weftd_start
	if sanitized; then
		check "$where: a sanitizer's build hands off" wait_until 15 at_least 'weft_handoffs_total{reason="slice"}' 4
	else
		check "$where: they are interrupted" wait_until 15 at_least weft_preempted_total 20
		check "$where: and shown" wait_until 15 shown '\\[(running|runnable)' share_in_a_loop 6
	fi
	weftd_stop
done
finish
