#!/bin/bash
# No goroutine is left in a queue while all workers sleep, in every interleaving.
. tests/model/lib.sh
model idle
