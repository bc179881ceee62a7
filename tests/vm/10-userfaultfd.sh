#!/bin/bash
# On Debian 12's kernel, under the shipped unit: 100,000 goroutines, each with a guard of userfaultfd's; an overflow into
# one is named.
# limit: 1500
set -eu
tests/vm/tree.sh "$TMP/root" tests/e2e/plugins/parked.c tests/vm/plugins/overflow.c
tests/vm/vm.sh -s 2 -m 2560 -c "$TMP/root" tests/vm/userfaultfd-inside.sh
