#!/bin/bash
# The same under control groups of version 1.
# limit: 1500
set -eu
tests/vm/tree.sh "$TMP/root" tests/e2e/plugins/parked.c
tests/vm/vm.sh -s 8 -m 2048 -a systemd.unified_cgroup_hierarchy=0 -c "$TMP/root" tests/vm/cpus-inside.sh
