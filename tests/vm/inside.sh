# shellcheck shell=bash
# inside.sh - what the scripts share that run in a machine of vm.sh. Emulated CPUs are slow: deadlines are generous.
set -u
failed=0

say() { echo "$1"; [ "$1" != "${1#not ok}" ] && failed=1; return 0; }
check() { # WHAT COMMAND...
	if "${@:2}"; then say "ok - $1"; else say "not ok - $1"; fi
}
wait_until() { # SECONDS COMMAND...
	local until=$((SECONDS + $1))
	while ! "${@:2}"; do
		[ $SECONDS -lt $until ] || return 1
		sleep 0.3
	done
}
property() { systemctl show -P "$1" weftd; }
journal() { journalctl --sync; journalctl -q -u weftd -o cat; }
# Not by a pipe into grep -q: a journal cut off would count as failed.
logged() { grep -Eqa -e "$1" <(journal); }
get() { curl -sf --max-time 30 "http://127.0.0.1:6060$1"; }
metric() { get /metrics | awk -v m="$1" '$1 == m { print $2 }'; }
is() { # METRIC VALUE
	[ "$(metric "$1")" = "$2" ]
}
at_least() { # METRIC VALUE
	local v
	v=$(metric "$1")
	[ -n "$v" ] && [ "${v%.*}" -ge "$2" ]
}
# With that configuration; the shipped unit but for its limits on time, which are a real machine's.
weftd_start() { # JSON
	mkdir -p /etc/weft /run/systemd/system/weftd.service.d
	echo "$1" >/etc/weft/weftd.json
	printf '[Service]\nTimeoutStartSec=300\nTimeoutStopSec=300\n' >/run/systemd/system/weftd.service.d/slow.conf
	systemctl daemon-reload
	systemctl reset-failed weftd 2>/dev/null
	systemctl restart weftd
}
finish() {
	[ $failed = 0 ] || journal | tail -n 60 | cut -c 1-200
	exit $failed
}
systemd-sysusers
