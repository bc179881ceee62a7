#!/bin/bash
# boot.sh [-c TREE] SCRIPT - boots a real systemd on this machine's own files, runs SCRIPT inside as root,
# shuts it down; the exit status is SCRIPT's, or 77 with a reason where that cannot be.
#
# The root is an overlay: this machine's / below, TREE (what make install DESTDIR= made) copied on top,
# every write in a tmpfs.  PID 1 is systemd, started by systemd-nspawn, with a network of its own that
# has nothing but lo: ports inside do not meet ports outside.
#
# Who cleans up: all processes of the boot, this script's second half included, live in a mount namespace
# and in control groups of their own.  The first half, outside, ends them by their control group, removes
# the groups and the folder whatever happened to the second; the mounts go with their namespace.  What a
# killed first half left behind is removed by the next run.
set -euo pipefail
CG=/sys/fs/cgroup
NAME=weft-boot

skip() {
	echo "SKIP: $*"
	exit 77
}

# The hierarchies that systemd needs a group in: v1's and the unified one beside them, or v2 alone.
hierarchies() {
	local h
	if [ -e $CG/cgroup.procs ]; then
		echo $CG
		return
	fi
	for h in systemd unified cpu cpuacct memory pids; do
		[ ! -e $CG/$h/cgroup.procs ] || echo $CG/$h
	done
}

# clear_group ID: ends everything in the groups of that name and removes them.
clear_group() {
	local h i
	for h in $(hierarchies); do
		[ -d "$h/$1" ] || continue
		for ((i = 0; i < 100; i++)); do
			find "$h/$1" -name cgroup.procs -exec cat {} + 2>/dev/null | grep -v '^0$' | xargs -r kill -KILL 2>/dev/null || :
			find "$h/$1" -depth -type d -exec rmdir {} + 2>/dev/null || :
			[ -d "$h/$1" ] || break
			sleep 0.05
		done
	done
}

outside() {
	local tree='' h o left
	while getopts c: o; do
		case $o in
		c) tree=$(realpath "$OPTARG") ;;
		*) exit 2 ;;
		esac
	done
	shift $((OPTIND - 1))
	[ "$(id -u)" = 0 ] || skip "booting needs root"
	for o in systemd-nspawn unshare nsenter dbus-daemon; do
		command -v $o >/dev/null || skip "no $o here (tests/setup.sh check installs it)"
	done
	[ -x /lib/systemd/systemd ] || skip "no systemd here (tests/setup.sh check installs it)"
	[ -n "$(hierarchies)" ] || skip "no control groups under $CG"
	! mountpoint -q /usr || skip "/usr is a file system of its own, an overlay of / would not show it"

	for left in "$CG/$NAME".* "$CG"/*/"$NAME".* "${TMPDIR:-/tmp}/$NAME".*; do
		o=$(grep -oE "$NAME\.[0-9]+" <<<"$left") || continue
		if [ ! -d "/proc/${o##*.}" ]; then
			clear_group "$o"
			rmdir "$left" 2>/dev/null || :
		fi
	done
	ID=$NAME.$$
	WORK=$(mktemp -d -t "$ID.XXXXXX")
	INNER=
	trap finish EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	for h in $(hierarchies); do
		mkdir "$h/$ID" 2>/dev/null || skip "no control group can be made under $h"
	done
	unshare --mount --propagation private setpriv --pdeathsig TERM \
		bash "$0" --inside "$ID" "$WORK" "$tree" "$(realpath "$1")" &
	INNER=$!
	wait $INNER
}

finish() {
	local rc=$?
	set +e
	trap '' INT TERM HUP
	if [ -n "$INNER" ] && [ -d "/proc/$INNER" ]; then
		kill -TERM "$INNER" 2>/dev/null
		for ((i = 0; i < 100; i++)); do
			kill -0 "$INNER" 2>/dev/null || break
			sleep 0.1
		done
	fi
	clear_group "$ID"
	rmdir "$WORK"
	exit $rc
}

# --- The second half: in a mount namespace and control groups of its own --------------------------

inside() { # ID WORK TREE SCRIPT
	local h root=$2/root rc=0
	WORK=$2 NSPAWN='' LEADER=''
	for h in $(hierarchies); do
		echo $$ >"$h/$1/cgroup.procs"
	done
	trap power_off EXIT
	trap 'exit 143' INT TERM HUP
	mount -t tmpfs -o size=1g,mode=755 tmpfs "$WORK" || skip "a tmpfs cannot be mounted"
	mkdir "$WORK/upper" "$WORK/work" "$root"
	mount -t overlay overlay -o "lowerdir=/,upperdir=$WORK/upper,workdir=$WORK/work" "$root" ||
		skip "an overlay of / cannot be mounted"
	prepare "$root" "$3"
	cp "$4" "$root/run-inside"
	boot "$root" "${1//./-}"
	nsenter -t "$LEADER" -a env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
		TERM=dumb LC_ALL=C.UTF-8 bash /run-inside &
	wait $! || rc=$? # not in the foreground: a signal would wait for its end
	return $rc
}

# No service of this machine starts in there, and packages' own rules against starting any are off.
prepare() { # ROOT TREE
	rm -rf "$1"/etc/systemd/system/*.wants "$1/var/lib/systemd/linger" "$1/etc/machine-id"
	rm -f "$1/usr/sbin/policy-rc.d"
	: >"$1/etc/machine-id"
	mkdir -p "$1/var/log/journal" "$1/etc/systemd/system"
	ln -sfn /dev/null "$1/etc/systemd/system/console-getty.service"
	[ -z "$2" ] || cp -a "$2/." "$1/"
}

boot() { # ROOT MACHINE
	local i state=
	# Beyond nspawn's default filter: what weftd asks for and a real machine would allow.
	SYSTEMD_NSPAWN_USE_CGNS=1 systemd-nspawn -q -D "$1" -M "$2" --boot --register=no --keep-unit --link-journal=no \
		--console=read-only --private-network --capability=CAP_SYS_RESOURCE \
		--system-call-filter='@debug userfaultfd' </dev/null >"$WORK/console" 2>&1 &
	NSPAWN=$!
	for ((i = 0; i < 150; i++)); do
		LEADER=$(leader)
		[ -z "$LEADER" ] || break
		kill -0 $NSPAWN 2>/dev/null || break
		sleep 0.1
	done
	[ -n "$LEADER" ] || { cat "$WORK/console"; echo "systemd-nspawn started no systemd"; exit 1; }
	for ((i = 0; i < 300; i++)); do
		state=$(nsenter -t "$LEADER" -a systemctl is-system-running 2>/dev/null) || :
		case $state in running | degraded) break ;; esac
		sleep 0.1
	done
	echo "booted: $state, $(nsenter -t "$LEADER" -a systemctl --version | head -n 1)"
	case $state in running | degraded) ;; *) cat "$WORK/console"; exit 1 ;; esac
}

# nspawn's child that has become systemd
leader() {
	cat /proc/$NSPAWN/task/*/children 2>/dev/null | tr ' ' '\n' | while read -r c; do
		[ "$(cat "/proc/$c/comm" 2>/dev/null)" != systemd ] || echo "$c"
	done || :
}

power_off() {
	local rc=$? i
	set +e
	trap '' INT TERM HUP
	if [ -n "$LEADER" ]; then
		kill -RTMIN+4 "$LEADER"
		for ((i = 0; i < 100; i++)); do
			kill -0 "$NSPAWN" 2>/dev/null || break
			sleep 0.1
		done
	fi
	[ -z "$NSPAWN" ] || { kill "$NSPAWN" 2>/dev/null; wait "$NSPAWN" 2>/dev/null; }
	exit $rc
}

case ${1:-} in
--inside) inside "${@:2}" ;;
'')
	echo "usage: tests/boot/boot.sh [-c TREE] SCRIPT" >&2
	exit 2
	;;
*) outside "$@" ;;
esac
