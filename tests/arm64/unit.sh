#!/bin/bash
# unit.sh [-jN] - builds weft and its unit tests for aarch64 and runs them under qemu's emulation of a process: make check-arm64.
#
# The cross compiler and the emulator come from Debian (tests/setup.sh arm64), the libraries from sysroot.sh.  Where
# one of them is not to be had it says so, as a test that was skipped.  Sources and tests named *_amd64.* are not
# built; what an emulated process cannot do stands in tests/exclusions.
#
# No emulator reorders memory as processors do: this proves the code and its unwinding, not its memory order.
set -u
cd "$(dirname "$0")/../.." || exit 1
MAKE=${MAKE:-make}
B=$PWD/build/arm64
sysroot=$PWD/build/arm64-sysroot
tool=aarch64-linux-gnu

skip() {
	echo "SKIP  arm64: $*"
	echo '0 passed, 0 failed, 1 skipped'
	exit 0
}

said=$(tests/setup.sh arm64 2>&1) || skip "$(tail -n 1 <<<"$said")"
said=$(tests/arm64/sysroot.sh "$sysroot") || skip "$(tail -n 1 <<<"$said")"

export CC="$tool-gcc --sysroot=$sysroot" CXX="$tool-g++ --sysroot=$sysroot"
export PKG_CONFIG_SYSROOT_DIR=$sysroot PKG_CONFIG_LIBDIR=$sysroot/usr/lib/$tool/pkgconfig:$sysroot/usr/share/pkgconfig
# Not yet: how proto/ names and renders addresses; these tests bring functions of their own in x86-64's shape.
not_yet='symbols|text|pprof|pprof_.*|frame'
mapfile -t unit < <(printf '%s\n' tests/unit/test_*.c | grep -vE "/test_(.*_amd64|$not_yet)\.c$")
"$MAKE" --no-print-directory "$@" V=release B=build/arm64 CC="$CC" AR=$tool-ar OBJCOPY=$tool-objcopy UNIT="${unit[*]}" \
	build/arm64/weftd build/arm64/unit.elf || exit 1

# What the driver starts as $B/unit
cat >"$B/unit" <<END
#!/bin/sh
exec qemu-aarch64-static -L '$sysroot' '$B/unit.elf'
END
chmod +x "$B/unit"
CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-5} V=arm64 B=$B exec tests/run.sh unit
