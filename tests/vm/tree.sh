#!/bin/bash
# tree.sh FOLDER PLUGIN.c... - what a machine of vm.sh gets: weft installed, the test's plugins beside its own, and
# inside.sh as /vm-inside.
set -eu
tree=$1
shift
$MAKE -s install B="$B" V="$V" DESTDIR="$tree"
read -ra flags < <(PKG_CONFIG_PATH=$B pkg-config --cflags --libs weft-uninstalled)
for source; do
	"${CC:-gcc}" -O2 -g -shared -fPIC "${flags[@]}" -o "$tree/usr/local/lib/weft/plugins/$(basename "$source" .c).so" "$source"
done
cp tests/vm/inside.sh "$tree/vm-inside"
