#!/usr/bin/env bash
# Start and stop: the order of callbacks, exit statuses, stragglers, the second signal, a wedged process.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_plugins life wedge parked

# Callbacks in order, twice, for two instances of one plugin.
config '{ "instances": [ { "name": "one", "plugin": "life.so" }, { "name": "two", "plugin": "life.so" } ] }'
for signal in TERM INT; do
	weftd_start
	check "$signal: run is called" wait_until 5 logged 'life: run'
	weftd_stop "$signal"
	for name in one two; do
		order=$(grep -a "$name" "$LOG" | grep -ao 'life: [a-z ]*' | sort -u | tr '\n' ';')
		match "$signal: $name saw its whole life" "$order" 'fini.*init.*run.*stop.*worker called off'
	done
	eq "$signal: fini is last" "$(grep -ao 'life: [a-z]*' "$LOG" | tail -n 1)" 'life: fini'
	has "$signal: stop runs before the context is over" "$LOG" 'life: stop, context alive'
done

# No instances at all is a fine daemon.
config '{}'
weftd_start
get /healthz
eq "without instances /healthz answers" "$CODE" 200
weftd_stop

# run failing cancels its instance only.
config '{ "instances": [ { "name": "failing", "plugin": "life.so", "config": { "end": "run" } },
	{ "name": "fine", "plugin": "life.so" } ] }'
weftd_start
check "run fails: said, with the instance and the reason" wait_until 5 logged 'failing.*run failed.*Input/output error'
check "run fails: its goroutines are called off" wait_until 5 logged 'failing.*life: worker called off'
get /healthz
eq "run fails: the daemon goes on" "$CODE" 200
has_not "run fails: the other instance goes on" "$LOG" 'fine.*worker called off'
weftd_stop

# A goroutine that does not come: named with its stack, status 1, in time.
config '{ "shutdown_timeout": "1s",
	"instances": [ { "name": "slow", "plugin": "life.so", "config": { "end": "straggler" } } ] }'
weftd_start
start=$(now_ms)
kill -TERM "$PID"
weftd_exit 15
eq "straggler: status 1" "$STATUS" 1
between "straggler: ends within shutdown_timeout + 1 s, in ms" $(($(now_ms) - start)) 900 $((2000 * E2E_SLOW))
has "straggler: the instance is named" "$LOG" '"?slow"?'
has "straggler: its stack is shown" "$LOG" 'life_straggler'

# A second signal ends it at once.
config '{ "shutdown_timeout": "60s",
	"instances": [ { "name": "slow", "plugin": "life.so", "config": { "end": "straggler" } } ] }'
weftd_start
kill -TERM "$PID"
check "second signal: the first one begins the stop" wait_until 10 logged 'life: stop'
start=$(now_ms)
kill -TERM "$PID"
weftd_exit 15
check "second signal: not a clean end ($STATUS)" test "$STATUS" != 0 -a "$STATUS" != late
between "second signal: at once, in ms" $(($(now_ms) - start)) 0 $((1000 * E2E_SLOW))

# Every P wedged: still status 1 within the time.
for how in loop read $(tsan || echo stdout); do
	config "{ \"shutdown_timeout\": \"1s\",
		\"instances\": [ { \"name\": \"stuck\", \"plugin\": \"wedge.so\", \"config\": { \"how\": \"$how\", \"goroutines\": 4 } } ] }"
	weftd_start
	start=$(now_ms)
	kill -TERM "$PID"
	weftd_exit 15
	eq "wedged by $how: status 1" "$STATUS" 1
	between "wedged by $how: within shutdown_timeout + 1 s, in ms" $(($(now_ms) - start)) 0 $((2000 * E2E_SLOW))
	has "wedged by $how: names the function" "$LOG" 'wedge_(in_a_loop|in_read|holding_stdout|printing)'
done

# 20,000 parked goroutines are called off and awaited.
config "{ \"instances\": [ { \"name\": \"crowd\", \"plugin\": \"parked.so\",
	\"config\": { \"receiving\": $(crowd 20000), \"locking\": 100 } } ] }"
weftd_start
check "20,000 goroutines start" wait_until 20 logged 'all started'
weftd_stop
finish
