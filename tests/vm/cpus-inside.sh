#!/bin/bash
# What vm.sh runs inside, with 8 CPUs: 20-cpus.sh under control groups of version 2, 30-cgroup-v1.sh of version 1.
# shellcheck source=inside.sh disable=SC1091 # there
. /vm-inside

auto() { # CPUS: what "auto" has come to
	wait_until 60 is weft_maxprocs "$1"
}
# Every P has switched more often than before, since the numbers in $1, a line a P.
all_go_on() {
	local now
	now=$(ticks)
	[ "$(wc -l <<<"$now")" = "$(wc -l <<<"$1")" ] &&
		paste <(echo "$1") <(echo "$now") | awk '$2 <= $1 { idle = 1 } END { exit idle }'
}
ticks() { get /debug/weft/sched | sed -nE 's/^ *P[0-9]+:.* schedtick=([0-9]+) .*/\1/p'; }

echo "hierarchy: $(stat -fc %T /sys/fs/cgroup)"
weftd_start '{ "instances": [ { "name": "burn", "plugin": "cpuburn.so",
	"config": { "load": 60, "goroutines": 24, "period": "100ms" } } ] }'
check "8 CPUs are 8 Ps" auto 8
before=$(ticks)
check "there are 8" [ "$(wc -l <<<"$before")" = 8 ]
check "all of them run goroutines" wait_until 60 all_go_on "$before"

pid=$(property MainPID)
taskset -apc 0-2 "$pid" >/dev/null
check "bound to 3 CPUs while it runs: 3" auto 3
taskset -apc 0-7 "$pid" >/dev/null
check "unbound: 8" auto 8

systemctl set-property --runtime weftd.service CPUQuota=350%
check "a quota of 3.5 CPUs: 4" auto 4
systemctl set-property --runtime weftd.service CPUQuota=20%
check "a quota of a fifth of a CPU: 2, the least" auto 2
systemctl set-property --runtime weftd.service CPUQuota=
check "no quota: 8" auto 8
before=$(ticks)
check "all of them run goroutines again" wait_until 60 all_go_on "$before"
check "the same process all the time" [ "$(property MainPID)" = "$pid" ]
systemctl daemon-reload
check "stops" systemctl stop weftd

# 80 % of the limit, 4.5 KiB each
systemctl set-property --runtime weftd.service MemoryMax=209715200
weftd_start '{ "instances": [ { "name": "crowd", "plugin": "parked.so", "config": { "receiving": 1000000 } } ] }'
check "a memory limit of 200 MiB: 36,408 goroutines" is weft_goroutines_max 36408
check "one more is refused" wait_until 300 logged 'cannot start: .*[Rr]esource temporarily unavailable|cannot start: .*EAGAIN'
check "and the process lives on" [ "$(get /healthz)" = ok ]
check "stops again" systemctl stop weftd
check "result success" [ "$(property Result)" = success ]
finish
