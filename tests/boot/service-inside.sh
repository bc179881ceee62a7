#!/bin/bash
# What boot.sh runs inside the booted system for 10-service.sh.  The machine's own files are there, weft
# is installed with the default prefix, and nothing outside this system is reached.
# shellcheck disable=SC2317 # check calls them
set -u
failed=0
UP=60 # seconds that the service has to stay up

say() { echo "$1"; [ "$1" != "${1#not ok}" ] && failed=1; return 0; }
check() { # WHAT COMMAND...
	if "${@:2}"; then say "ok - $1"; else say "not ok - $1"; fi
}
property() { systemctl show -P "$1" weftd; }
is() { # PROPERTY VALUE
	[ "$(property "$1")" = "$2" ] || { echo "  $1 is \"$(property "$1")\", expected \"$2\""; return 1; }
}
answers() { # PATH REGEX
	curl -sf --max-time 10 "http://127.0.0.1:6060$1" >/tmp/answer && grep -Eqa "$2" /tmp/answer
}
journal() { journalctl -q -u weftd -o cat "$@"; }

systemd-sysusers
systemctl daemon-reload
check "the unit is clean in the installed system" systemd-analyze verify weftd.service
# Enabled, so that systemd keeps its last result in mind after the stop.
check "enabled and started" systemctl -q enable --now weftd
check "active" is ActiveState active
check "runs as weft" [ "$(ps -o user= -p "$(property MainPID)")" = weft ]
check "says what it does in systemctl status" [ -n "$(property StatusText)" ]
echo "  $(property StatusText)"
check "exposure of the loaded unit is at most 1.2" systemd-analyze security --threshold=12 --no-pager weftd.service >/dev/null
check "/healthz" answers /healthz ''
check "/readyz" answers /readyz ''
check "/version" answers /version '[0-9]+\.[0-9]+'
check "/metrics" answers /metrics '^weft_goroutines\{'
check "/debug/pprof/" answers /debug/pprof/ goroutine
check "the goroutine dump names a plugin's function" answers '/debug/pprof/goroutine?debug=2' '^digest_pages\('
check "a CPU profile is gzip and not empty" answers '/debug/pprof/profile?seconds=2' .
check "  its first bytes are gzip's" [ "$(head -c 2 /tmp/answer | od -An -tx1)" = ' 1f 8b' ]

pid=$(property MainPID)
since=$(($(property ActiveEnterTimestampMonotonic) / 1000000))
while read -r now _ </proc/uptime && [ $((${now%.*} - since)) -lt $UP ] && [ "$(property ActiveState)" = active ]; do
	sleep 1
done
check "still active after $UP s" is ActiveState active
check "the same process" is MainPID "$pid"
check "never restarted" is NRestarts 0
check "still answers" answers /readyz ''

check "a reload is not offered" [ "$(property CanReload)" = no ]
systemctl kill -s HUP --kill-who=main weftd
sleep 1
check "SIGHUP changes nothing" is MainPID "$pid"

check "stopped" systemctl stop weftd
check "inactive" is ActiveState inactive
check "result success" is Result success
check "exit status 0" [ "$(property ExecMainCode)/$(property ExecMainStatus)" = 1/0 ]
journalctl --sync
check "journal: no line of priority err or worse" [ -z "$(journal -p err)" ]
check "journal: nothing lost" [ -z "$(journalctl -q -o cat | grep -i 'suppressed.*weftd')" ]
check "journal: says that it stopped" [ -n "$(journalctl -q -o cat | grep 'Stopped weftd.service')" ]

cp /etc/weft/weftd.json /etc/weft/good.json
echo '{ "instanses": [] }' >/etc/weft/weftd.json
before=$(journal | wc -l)
if systemctl start weftd 2>/dev/null; then say "not ok - a bad configuration does not start"; fi
check "a bad configuration ends with 78" is ExecMainStatus 78
check "and is not tried again" is NRestarts 0
journalctl --sync
check "the journal says what was wrong" grep -q instanses <(journal | tail -n "+$((before + 1))")
cp /etc/weft/good.json /etc/weft/weftd.json
systemctl reset-failed weftd
check "starts again with a good one" systemctl start weftd
check "answers again" answers /readyz ''
check "stops again" systemctl stop weftd
check "result success again" is Result success
if [ $failed != 0 ]; then
	journalctl -q -u weftd --no-pager | tail -n 40
fi
exit $failed
