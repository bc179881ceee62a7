#!/bin/bash
# With 8 CPUs: MAXPROCS by itself is 8, all Ps are used, and it follows affinity and the quota of a real control group
# (version 2) while the daemon runs; a memory limit bounds the number of goroutines.
# limit: 1500
set -eu
tests/vm/tree.sh "$TMP/root" tests/e2e/plugins/parked.c
tests/vm/vm.sh -s 8 -m 2048 -c "$TMP/root" tests/vm/cpus-inside.sh
