#!/usr/bin/env bash
# Instances whose goroutines wait for one another: said once, with the cycle, and everything else goes on.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_plugins deadlock
config '{ "shutdown_timeout": "1s", "instances": [
	{ "name": "locks", "plugin": "deadlock.so" },
	{ "name": "receivers", "plugin": "deadlock.so", "config": { "how": "receive", "goroutines": 1500 } },
	{ "name": "alive", "plugin": "deadlock.so", "config": { "how": "alive", "goroutines": 10 } },
	{ "name": "helped", "plugin": "deadlock.so", "config": { "how": "nobody", "goroutines": 10 } } ] }'
weftd_start
check "locks: reported" wait_until 15 logged 'locks.*deadlock: all 2 goroutines wait'
check "locks: the cycle, with who holds what" wait_until 5 logged \
	'locks.*deadlock, a cycle of 2: goroutine [0-9]+ waits for the mutex at 0x[0-9a-f]+, locked by goroutine [0-9]+, which waits for the mutex'
check "locks: one stack by name" wait_until 5 logged 'locks.*\[sync\.Mutex\.Lock\].*as [0-9]+: one_then_other'
check "locks: the other stack by name" wait_until 5 logged 'locks.*\[sync\.Mutex\.Lock\].*as [0-9]+: other_then_one'
check "receivers: reported" wait_until 15 logged 'receivers.*deadlock: all 1500 goroutines wait'
check "receivers: counted by stack" wait_until 5 logged 'receivers.*deadlock: 1500 goroutines \[chan receive\], as [0-9]+: receive_for_ever'

# Five more looks.
looked=$(now_ms)
later() { [ "$(now_ms)" -ge $((looked + 5000)) ]; }
check "the daemon goes on" wait_until 10 later
get /healthz
eq "the daemon answers" "$CODE" 200
eq "locks: said once" "$(grep -c 'locks.*deadlock: all' "$LOG")" 1
eq "receivers: said once" "$(grep -c 'receivers.*deadlock: all' "$LOG")" 1
has_not "one that lives is not reported" "$LOG" '\[alive.*deadlock:'
has_not "one that a thread is inside of is not reported" "$LOG" '\[helped.*deadlock:'
has_not "nobody was woken" "$LOG" 'has both|somebody sent'
get '/debug/pprof/goroutine?debug=2'
eq "all of them are still there" "$(grep -c '^goroutine .*\(sync.Mutex.Lock\|chan receive\)' "$BODY")" 1522
finish
