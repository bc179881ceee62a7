#!/bin/bash
# What vm.sh runs inside for 10-userfaultfd.sh.
# shellcheck source=inside.sh disable=SC1091 # there
. /vm-inside

N=100000
weftd_start '{ "instances": [ { "name": "crowd", "plugin": "parked.so", "config": { "receiving": '$N' } } ] }'
check "the service is up" [ "$(property ActiveState)" = active ]
check "$N goroutines live" wait_until 300 at_least weft_stacks_in_use $N
check "all are started" wait_until 300 logged 'all started'
check "the log says how stacks are guarded" logged 'stack guards: write-protected through userfaultfd'
check "so does /metrics" is 'weft_stack_guard{kind="userfaultfd"}' 1
check "none has a canary only" is weft_stacks_unguarded 0
pid=$(property MainPID)
maps=$(wc -l <"/proc/$pid/maps")
check "guards cost no mappings: $maps of them" [ "$maps" -lt 1000 ]
kib=$(awk '/^(VmRSS|VmPTE):/ { sum += $2 } END { print sum }' "/proc/$pid/status")
check "memory for each: $((kib * 1024 / N)) bytes, the daemon's own included" [ $((kib * 1024 / N)) -lt 5120 ]
check "a goroutine profile comes" [ "$(get '/debug/pprof/goroutine?debug=1' | sed -n 's/^goroutine profile: total //p')" -ge $N ]
check "stops" systemctl stop weftd
check "result success" [ "$(property Result)" = success ]

for size in 64KiB:60 256KiB:252 1MiB:1020; do
	weftd_start '{ "instances": [ { "name": "crowd", "plugin": "parked.so", "config": { "receiving": 100 } },
		{ "name": "deep", "plugin": "overflow.so", "stack": "'${size%:*}'" } ] }' 2>/dev/null
	check "an overflow of ${size%:*} is named" wait_until 120 logged \
		"stack overflow: goroutine [0-9]+ of instance deep \\(started in without_end.*has used all ${size#*:} KiB of its stack"
	check "and the process dies" wait_until 60 logged 'weftd.service: (Main process exited|Failed with result)'
	systemctl stop weftd
done
check "by SIGBUS, in a write-protected page" logged 'SIGBUS: bus error'
finish
