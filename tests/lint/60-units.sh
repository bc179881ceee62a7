#!/bin/bash
# The installed unit stands systemd's own checks: verify on an installed root, and exposure <= 1.2.
# runs beside others
set -eu
root=$TMP/root
$MAKE -s install B="$B" V="$V" DESTDIR="$root"
# What the unit stands on is the machine's systemd.
mkdir -p "$root/usr/lib/systemd"
cp -a /lib/systemd/system "$root/usr/lib/systemd/"
ln -s usr/lib "$root/lib"
MANPATH=$root/usr/local/share/man systemd-analyze verify --root="$root" weftd.service

unit=$root/usr/local/lib/systemd/system/weftd.service
systemd-analyze security --offline=true --threshold=12 --no-pager "$unit" >"$TMP/exposure" || {
	cat "$TMP/exposure"
	exit 1
}
tail -n 1 "$TMP/exposure"
for line in Type=notify NotifyAccess=main RestartPreventExitStatus=78; do
	grep -qx "$line" "$unit"
done
# Not before the daemon sends WATCHDOG=1 and reloads on SIGHUP: they would kill it.
if grep -E '^(WatchdogSec|ExecReload)=|^SystemCallFilter=~.*userfaultfd|@[A-Z]+@' "$unit"; then
	echo "the unit has a line that this version cannot have"
	exit 1
fi
