#!/bin/bash
# setup.sh run|check|vm|arm64 - installs what building and running, or testing, needs and is missing.
#
# Debian 12, as root or with sudo: says what it installs, and installs it with the machine's own apt
# sources.  Elsewhere: lists what is needed and stops.  Silent when nothing is missing.
#
# Two things come from elsewhere than apt-get install, into build/tools:
#   promtool   unpacked from Debian's prometheus package, whose installation would start a service;
#   go         >= 1.23 when PATH has none: from bookworm-backports, reached through a private list made
#              from the machine's own sources, so that no file of the machine's configuration changes.
# Neither stops anybody: without them the tests that need them skip and say why.
set -u
cd "$(dirname "$0")/.." || exit 1
TOOLS=$PWD/build/tools
PATH=$TOOLS/bin:$PATH
GO_WANTED=1.23

say() { echo "setup: $*" >&2; }

# What shows that it is there, and the package that brings it; pc: a pkg-config module.
for_run='
	gcc gcc
	pkg-config pkg-config
	protoc-c protobuf-c-compiler
	header:stdlib.h libc6-dev
	pc:jansson libjansson-dev
	pc:libmicrohttpd libmicrohttpd-dev
	pc:libprotobuf-c libprotobuf-c-dev
	pc:libuv libuv1-dev
	pc:libdw libdw-dev
	pc:zlib zlib1g-dev'
for_check='
	pc:check check
	g++ g++
	clang clang
	clang-format clang-format
	clang-tidy clang-tidy
	curl curl
	dbus-daemon dbus
	file:/lib/systemd/systemd systemd
	systemd-nspawn systemd-container
	jq jq
	man man-db
	mandoc mandoc
	ps procps
	python3 python3
	shellcheck shellcheck
	valgrind valgrind'
for_vm='
	qemu-system-x86_64 qemu-system-x86
	cpio cpio
	mmdebstrap mmdebstrap'
for_arm64='
	aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
	aarch64-linux-gnu-g++ g++-aarch64-linux-gnu
	qemu-aarch64-static qemu-user-static'

present() {
	case $1 in
	pc:*) pkg-config --exists "${1#pc:}" 2>/dev/null ;;
	header:*) echo "#include <${1#header:}>" | gcc -E - >/dev/null 2>&1 ;;
	file:*) [ -e "${1#file:}" ] ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

# Packages whose sign is absent, from a list as above on stdin.
missing() {
	local sign package
	while read -r sign package; do
		[ -z "$sign" ] || present "$sign" || echo "$package"
	done
}

# shellcheck disable=SC1091 # only where it exists
on_debian12() { (. /etc/os-release && [ "$ID" = debian ] && [ "$VERSION_ID" = 12 ]) 2>/dev/null; }

# Runs a command as root; with sudo it may ask for a password only where somebody can type one.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif [ -t 0 ]; then
		sudo "$@"
	else
		sudo -n "$@"
	fi
}
may_install() { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }

apt_install() { # [-o OPTION]... PACKAGE...: what apt says is kept in $TOOLS/apt.log
	mkdir -p "$TOOLS"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 \
		-y --no-install-recommends install "$@" >"$TOOLS/apt.log" 2>&1
}

install_packages() {
	local want=("$@")
	if ! on_debian12; then
		say "needs, under Debian 12's names: ${want[*]}"
		say "this is not Debian 12: install them (pkg-config must find the libraries), then call make again"
		exit 1
	fi
	if ! may_install; then
		say "needs: ${want[*]}"
		say "neither root nor sudo here: have them installed (apt-get install ${want[*]}), then call make again"
		exit 1
	fi
	say "installing from Debian: ${want[*]}"
	# The package lists may be absent or too old: then fetch them and try once more.
	apt_install "${want[@]}" || {
		as_root apt-get -qq update >&2
		apt_install "${want[@]}"
	} || {
		cat "$TOOLS/apt.log" >&2
		say "apt-get could not install: ${want[*]} (its messages are above)"
		exit 1
	}
}

go_is_new_enough() { # COMMAND
	local v
	v=$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
	[ "$(printf '%s\n' "$GO_WANTED" "${v#go}" | sort -V | head -n 1)" = "$GO_WANTED" ]
}

# The machine's sources of bookworm itself, turned into bookworm-backports with all their options, in
# either of the two formats.
backports_list() { # FOLDER
	local f
	for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -r "$f" ] && sed -nE 's/#.*//; s/^(deb[ \t].*[ \t])bookworm([ \t].*)$/\1bookworm-backports\2/p' "$f"
	done >"$1/backports.list"
	for f in /etc/apt/sources.list.d/*.sources; do
		[ -r "$f" ] && awk -v RS= '
			/(^|\n)Types:[^\n]*deb/ && /(^|\n)Suites:([^\n]*[ \t])?bookworm([ \t\n]|$)/ {
				gsub(/(^|\n)#[^\n]*/, ""); sub(/\nSuites:[^\n]*/, "\nSuites: bookworm-backports")
				print $0 "\n" }' "$f"
	done >"$1/backports.sources"
	[ -s "$1/backports.list" ] || [ -s "$1/backports.sources" ]
}

# Debian's Go from backports; prints nothing and fails with a reason in $why.
go_from_backports() {
	local apt=$TOOLS/apt package opts
	why='this is not Debian 12'
	on_debian12 || return 1
	why='neither root nor sudo here'
	may_install || return 1
	mkdir -p "$apt/parts" "$apt/lists/partial"
	why="the machine's apt sources name no bookworm"
	backports_list "$apt/parts" || return 1
	opts=(-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$apt/parts" -o Dir::State::lists="$apt/lists")
	why='bookworm-backports cannot be reached'
	as_root apt-get -qq "${opts[@]}" -o APT::Update::Error-Mode=any update >/dev/null 2>&1 || return 1
	package=$(apt-cache "${opts[@]}" search --names-only '^golang-1\.[0-9]+-go$' | cut -d' ' -f1 | sort -V | tail -n 1)
	why="bookworm-backports has no Go >= $GO_WANTED"
	[ "$(printf '%s\n' "golang-$GO_WANTED-go" "$package" | sort -V | head -n 1)" = "golang-$GO_WANTED-go" ] || return 1
	say "installing from bookworm-backports: $package"
	why="apt-get could not install $package (see build/tools/apt.log)"
	apt_install "${opts[@]}" "$package" || return 1
	mkdir -p "$TOOLS/bin"
	package=${package#golang-}
	ln -sfn "/usr/lib/go-${package%-go}/bin/go" "$TOOLS/bin/go"
	go_is_new_enough go
}

want_go() {
	local why
	go_is_new_enough go && return
	go_from_backports || say "no Go >= $GO_WANTED on PATH, and $why: the tests that need one will be skipped"
}

want_promtool() {
	local d=$TOOLS/promtool why='apt-get could not download it'
	present promtool && return
	if on_debian12 && command -v apt-get >/dev/null; then
		say "unpacking promtool from Debian's package prometheus into build/tools"
		rm -rf "$d" && mkdir -p "$d" "$TOOLS/bin"
		(cd "$d" && { apt-get -qq download prometheus ||
			{ may_install && as_root apt-get -qq update && apt-get -qq download prometheus; }; }) >/dev/null 2>&1 &&
			dpkg-deb --fsys-tarfile "$d"/prometheus_*.deb | tar -C "$d" -x ./usr/bin/promtool &&
			mv "$d/usr/bin/promtool" "$TOOLS/bin/" && rm -rf "$d" && return
	else
		why='this is not Debian 12'
	fi
	say "no promtool, and $why: the tests that need it will be skipped"
}

case ${1:-} in
run) list=$for_run ;;
check) list=$for_run$for_check ;;
vm) list=$for_run$for_vm ;;
arm64) list=$for_run$for_check$for_arm64 ;;
*)
	echo "usage: tests/setup.sh run|check|vm|arm64" >&2
	exit 2
	;;
esac
mapfile -t want < <(echo "$list" | missing)
[ ${#want[@]} = 0 ] || install_packages "${want[@]}"
if [ "$1" = check ]; then
	want_go
	want_promtool
fi
