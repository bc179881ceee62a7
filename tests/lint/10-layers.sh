#!/bin/bash
# The tree keeps its layers, and each kind of violation planted in a copy is seen.
# runs beside others
set -eu
tests/layers.sh

plant() { # FILE LINE
	rm -rf "$TMP/tree"
	mkdir -p "$TMP/tree/$(dirname "$1")"
	printf '%s\n' "$2" >"$TMP/tree/$1"
	if tests/layers.sh "$TMP/tree" >/dev/null 2>&1; then
		echo "not seen in $1: $2"
		exit 1
	fi
}
plant runtime/a.c '#include "../proto/pprof.h"'
plant runtime/a.h '  #  include <uv.h>'
plant http/a.c '#include <uv.h>'
plant daemon/a.c '#include <microhttpd.h>'
plant proto/a.c '#include <jansson.h>'
plant http/a.c '#include <elfutils/libdw.h>'
plant runtime/a.c '#include <conf/conf.h>'
plant daemon/plugins/a.c '#include "rt.h"'
plant runtime/include/a.h '#include "rt.h"'
plant runtime/a.c '#include NAME'
plant proto/a.c '	p = dlsym(h, "x");'
mkdir -p "$TMP/tree/daemon"
rm -r "$TMP/tree/proto"
printf '#include <uv.h>\n#include "daemon.h"\n' >"$TMP/tree/daemon/loop.c"
tests/layers.sh "$TMP/tree"
