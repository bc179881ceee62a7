#!/bin/bash
# vm.sh [-s CPUS] [-m MIB] [-a KERNEL_ARGUMENTS] [-c TREE] [-k KEEP] SCRIPT - boots Debian 12's own kernel and systemd
# under QEMU, runs SCRIPT inside as root and prints what it writes; the exit status is SCRIPT's, or 77 with a reason
# where that cannot be.
#
# Kernel and root tree come from the machine's apt sources, once, into build/tools/vm (KEEP). There is no disk: the root
# is an initramfs of that tree with TREE (what make install DESTDIR= made) on top, so that nothing has to be cleaned up.
# QEMU takes KVM where a kernel boots under it (looked at once a boot of this machine), else it emulates.
#
# VM_TIMEOUT: seconds for all of it (900).
set -euo pipefail
CPUS=2 MIB=2048 ARGS='' TREE='' KEEP=build/tools/vm
INCLUDE=systemd,dbus,libjansson4,libmicrohttpd12,libuv1,libprotobuf-c1,libdw1,zlib1g,curl,procps

skip() {
	echo "SKIP: $*"
	exit 77
}

while getopts s:m:a:c:k: o; do
	case $o in
	s) CPUS=$OPTARG ;;
	m) MIB=$OPTARG ;;
	a) ARGS=$OPTARG ;;
	c) TREE=$OPTARG ;;
	k) KEEP=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# = 1 ] || { echo "usage: tests/vm/vm.sh [-s CPUS] [-m MIB] [-a ARGUMENTS] [-c TREE] [-k KEEP] SCRIPT" >&2; exit 2; }
for o in qemu-system-x86_64 cpio mmdebstrap apt-get dpkg; do
	command -v $o >/dev/null || skip "no $o here (tests/setup.sh vm installs it)"
done
[ "$(uname -m)" = x86_64 ] || skip "the machine is no x86-64"
mkdir -p "$KEEP"
KEEP=$(realpath "$KEEP")
WORK=$(mktemp -d -t weft-vm.XXXXXX)
QEMU=
# shellcheck disable=SC2317 # the trap calls it
finish() {
	[ -z "$QEMU" ] || kill -KILL "$QEMU" 2>/dev/null || :
	rm -rf "$WORK"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- What is kept: each is made aside and renamed, so that it is there whole or not at all ---

kernel() {
	local package
	[ ! -s "$KEEP/vmlinuz" ] || return 0
	package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
	[ -n "$package" ] || return 1
	(cd "$WORK" && apt-get -qq -o APT::Sandbox::User=root download "$package" && dpkg -x "$package"_*.deb kernel) >&2 || return 1
	mv "$WORK"/kernel/boot/vmlinuz-* "$KEEP/vmlinuz"
	rm -rf "${WORK:?}"/*
}

root() {
	[ ! -s "$KEEP/root.cpio" ] || return 0
	mmdebstrap --quiet --variant=minbase --include=$INCLUDE bookworm "$WORK/root" >&2 || return 1
	(cd "$WORK/root" && find . -xdev \( -path ./usr/share/locale -o -path ./usr/share/zoneinfo -o -path ./usr/share/doc \
		-o -path ./usr/share/man -o -path ./usr/share/perl -o -path './usr/lib/*/perl*' -o -path ./var/lib/apt \
		-o -path ./var/cache -o -path ./var/lib/dpkg/info \) -prune -o -print0 |
		cpio -0 -o -H newc --quiet) >"$WORK/root.cpio" || return 1
	mv "$WORK/root.cpio" "$KEEP/root.cpio"
	rm -rf "$WORK/root"
}

[ -s "$KEEP/root.cpio" ] || [ "$(id -u)" = 0 ] || skip "making the root tree needs root"
kernel || skip "Debian 12's kernel can't be had from the apt sources"
root || skip "Debian 12's root tree can't be had from the apt sources"

# --- What is on top: the later of two archives in an initramfs wins ---

TOP=$WORK/top
UNITS=$TOP/etc/systemd/system
mkdir -p "$UNITS/multi-user.target.wants"
[ -z "$TREE" ] || cp -a "$TREE/." "$TOP/"
cp "$1" "$TOP/vm-script"
cat >"$TOP/vm-run" <<'RUN'
#!/bin/bash
# The first line says that this kernel boots here; the last is the script's status.
echo "vm: up, $(uname -r), $(nproc) CPUs, $(systemctl --version | head -n 1)"
bash /vm-script
echo "vm: status $?"
RUN
cat >"$UNITS/vm-run.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
TimeoutStartSec=infinity
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
ExecStart=/bin/bash /vm-run
ExecStopPost=/bin/systemctl poweroff --force --force
UNIT
ln -s ../vm-run.service "$UNITS/multi-user.target.wants/"
for o in serial-getty@ttyS0.service console-getty.service systemd-logind.service; do
	ln -s /dev/null "$UNITS/$o"
done
(cd "$TOP" && find . -mindepth 1 -print0 | cpio -0 -o -H newc --quiet -R 0:0) >"$WORK/top.cpio"
cat "$KEEP/root.cpio" "$WORK/top.cpio" >"$WORK/initrd"
rm -rf "$TOP" "$WORK/top.cpio"

# --- The machine ---

qemu() { # ACCELERATION...
	qemu-system-x86_64 "$@" -smp "$CPUS" -m "$MIB" -nodefaults -no-reboot -display none -kernel "$KEEP/vmlinuz" \
		-initrd "$WORK/initrd" -serial "file:$WORK/console" -serial "file:$WORK/out" -append "rdinit=/lib/systemd/systemd \
console=ttyS0 quiet loglevel=3 systemd.show_status=0 mitigations=off random.trust_cpu=on $ARGS" \
		</dev/null 2>"$WORK/errors" &
	QEMU=$!
}

wait_for() { # SECONDS PATTERN: false when the machine has ended, or the time
	local until=$((SECONDS + $1))
	while [ $SECONDS -lt $until ]; do
		! grep -Eqas "$2" "$WORK/out" || return 0
		kill -0 "$QEMU" 2>/dev/null || return 1
		sleep 0.2
	done
	return 1
}

: >"$WORK/out"
this_boot=$(cat /proc/sys/kernel/random/boot_id)
up=
if [ -w /dev/kvm ] && [ "$(cat "$KEEP/no-kvm" 2>/dev/null)" != "$this_boot" ]; then
	qemu -accel kvm -cpu host,-arch-capabilities
	if wait_for 40 '^vm: up'; then
		up=kvm
	else
		echo "$this_boot" >"$KEEP/no-kvm"
		kill -KILL "$QEMU" 2>/dev/null || :
		wait "$QEMU" 2>/dev/null || :
	fi
fi
[ -n "$up" ] || qemu -accel tcg,thread=multi -cpu max
wait_for "${VM_TIMEOUT:-900}" '^vm: status [0-9]+' || {
	tr -d '\r' <"$WORK/out"
	tail -n 5 "$WORK/errors" "$WORK/console"
	echo "the machine came to no end${up:+ under KVM}"
	exit 1
}
tr -d '\r' <"$WORK/out"
exit "$(sed -nE 's/^vm: status ([0-9]+).*/\1/p' "$WORK/out" | tr -d '\r' | tail -n 1)"
