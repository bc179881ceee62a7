#!/bin/bash
# sysroot.sh FOLDER - Debian 12's libraries for aarch64, unpacked into FOLDER, to build weft for it and to run that
# under emulation.  Nothing outside of FOLDER changes: apt is run with package lists of its own, made from the machine's
# sources, and nothing is installed.
#
# Ends with 0 and FOLDER/done; or with 1, the last line of its output saying why.
set -u
dir=$(realpath -m "${1:?FOLDER is missing}")
want=(libc6-dev libjansson-dev libmicrohttpd-dev libprotobuf-c-dev libuv1-dev libdw-dev zlib1g-dev check)

fail() {
	echo "$*"
	exit 1
}

[ ! -e "$dir/done" ] || exit 0
# shellcheck disable=SC1091 # only where it exists
(. /etc/os-release && [ "$ID" = debian ] && [ "$VERSION_ID" = 12 ]) 2>/dev/null ||
	fail "the libraries for aarch64 are taken from Debian 12, which this is not"
rm -rf "$dir"
mkdir -p "$dir"/apt/{lists,archives}/partial "$dir/apt/parts" || fail "cannot write to $dir"
: >"$dir/apt/status"

# The machine's sources of bookworm, for any processor.
sed -nE 's/#.*//; s/\[[^]]*arch=[^]]*\] *//; /^deb[ \t].*[ \t]bookworm/p' /etc/apt/sources.list /etc/apt/sources.list.d/*.list \
	2>/dev/null >"$dir/apt/parts/here.list"
for f in /etc/apt/sources.list.d/*.sources; do
	[ -r "$f" ] && awk -v RS= '/(^|\n)Types:[^\n]*deb/ && /(^|\n)Suites:([^\n]*[ \t])?bookworm/ {
		gsub(/(^|\n)(#|Architectures:)[^\n]*/, ""); print $0 "\n" }' "$f"
done >"$dir/apt/parts/here.sources"

apt() {
	apt-get -q -y --no-install-recommends -o APT::Architecture=arm64 -o APT::Architectures::=arm64 \
		-o APT::Update::Error-Mode=any -o APT::Sandbox::User=root -o Debug::NoLocking=1 -o Dir::Etc::sourcelist=/dev/null \
		-o Dir::Etc::sourceparts="$dir/apt/parts" -o Dir::State::status="$dir/apt/status" \
		-o Dir::State::lists="$dir/apt/lists" -o Dir::Cache::archives="$dir/apt/archives" \
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@" >>"$dir/apt/log" 2>&1
}
apt update || fail "Debian's package lists for aarch64 cannot be fetched (see $dir/apt/log)"
apt --download-only install "${want[@]}" || fail "the libraries for aarch64 cannot be fetched (see $dir/apt/log)"
for package in "$dir"/apt/archives/*.deb; do
	dpkg-deb -x "$package" "$dir" || fail "$package cannot be unpacked"
done
# Links to absolute paths would lead out of it.
find "$dir/usr" "$dir/lib" -type l -lname '/*' | while read -r link; do
	ln -sfn "$dir$(readlink "$link")" "$link"
done
rm -rf "$dir"/apt/archives "$dir"/apt/lists
touch "$dir/done"
