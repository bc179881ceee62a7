#!/bin/bash
# Under a real systemd: weftd starts, stays up 60 s, answers, stops in order; its journal is clean; a bad
# configuration is refused at once and for good.
# runs beside others
# limit: 300
set -eu
$MAKE -s install B="$B" V="$V" DESTDIR="$TMP/root"
tests/boot/boot.sh -c "$TMP/root" tests/boot/service-inside.sh
