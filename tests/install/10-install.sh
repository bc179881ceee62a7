#!/bin/bash
# make install puts what it lists where it should, uninstall takes all of it back, and an existing
# configuration survives both.  For the default prefix and for /usr.
set -eu
try() { # PREFIX
	local root=$TMP/root list
	local make=("$MAKE" -s B="$B" V="$V" PREFIX="$1" DESTDIR="$root")
	echo "PREFIX=$1"
	rm -rf "$root"
	"${make[@]}" install
	list=$(cd "$root" && find . -type f -printf '%m %P\n' | sort -k2)
	echo "$list"
	for want in "755 ${1#/}/sbin/weftd" "644 ${1#/}/include/weft.h" "644 ${1#/}/share/pkgconfig/weft.pc" \
		"644 ${1#/}/lib/systemd/system/weftd.service" "644 ${1#/}/lib/sysusers.d/weftd.conf" \
		"644 ${1#/}/share/man/man8/weftd.8" "644 ${1#/}/share/man/man5/weftd.json.5" \
		"755 ${1#/}/lib/weft/plugins/primes.so" "644 etc/weft/weftd.json"; do
		grep -qxF "$want" <<<"$list" || { echo "missing: $want"; exit 1; }
	done
	[ "$(find daemon/plugins -name '*.c' | wc -l)" = "$(grep -c '/weft/plugins/' <<<"$list")" ]

	# The installed daemon runs, and its paths are those of this prefix.
	"$root$1/sbin/weftd" --version
	grep -qx "ExecStart=$1/sbin/weftd --config /etc/weft/weftd.json" "$root$1/lib/systemd/system/weftd.service"
	grep -qx "plugindir=$1/lib/weft/plugins" "$root$1/share/pkgconfig/weft.pc"
	strings -a "$root$1/sbin/weftd" | grep -qx "$1/lib/weft/plugins"

	"${make[@]}" uninstall
	[ -z "$(find "$root" ! -type d)" ] || { find "$root" ! -type d; exit 1; }
	[ -z "$(find "$root" -name '*weft*' -o -name plugins)" ] || { find "$root"; exit 1; }

	# What somebody configured is neither overwritten nor removed.
	mkdir -p "$root/etc/weft"
	echo '{ "instances": [] }' >"$root/etc/weft/weftd.json"
	"${make[@]}" install
	grep -qx '{ "instances": \[\] }' "$root/etc/weft/weftd.json"
	"${make[@]}" uninstall
	[ "$(cd "$root" && find . -type f)" = ./etc/weft/weftd.json ]
	# Twice is no error.
	"${make[@]}" uninstall
}
try /usr
try /usr/local
